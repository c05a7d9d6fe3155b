"Whole batches: every image once, in floats that numpy agrees with, and in all that fastai does with a loader"
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt, numpy as np, pytest, torch
from fastai.data.core import DataLoaders
from fastai.data.transforms import Normalize
from fastai.interpret import ClassificationInterpretation
from fastai.learner import Learner, load_learner
from fastai.torch_core import TensorCategory, TensorImage, TensorImageBW, set_seed
from fastai.vision.augment import Brightness, Flip, RandomErasing
from PIL import Image
from conftest import refused
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.errors import InputError
from fastrecipes.data.loaders import (
    as_split, channel_stats, dataloaders, default_bs, ImageDataset, ImageDL, pick_device, to_floats,
)
from fastrecipes.lessons.nets import linear, n_outputs
from fastrecipes.lessons.sgd import basic_opt, batch_accuracy, class_probs, ClassLoss, cross_entropy, lesson_loss
from fastrecipes.training.fitting import fit_learner


def numbered(n, n_valid=3, k=2, shape=(1, 2, 3)):
    "Image i is filled with i; its label is i % k"
    def part(n): return Split((torch.arange(n).view(n, 1, 1, 1) + torch.zeros(n, *shape)).byte(), torch.arange(n) % k)
    return ImageSet('numbered', tuple('abcdefghij'[:k]), part(n), part(n_valid))

def plain(x): return x.as_subclass(torch.Tensor)

def seen(batches):
    "Numbers of the images in `batches` of a `numbered` set, batch by batch; their labels must go with them"
    out = []
    for x, y in batches:
        i = (plain(x)[:, 0, 0, 0] * 255).round().long()
        assert torch.equal(i % 2, plain(y))
        out.append(i.tolist())
    return out

def flat(batches): return [i for b in batches for i in b]


# Devices and sizes

def test_the_best_device_is_one_that_is_there():
    best = pick_device()
    assert best == pick_device(None) == pick_device(best) == pick_device('auto')
    assert best.type == ('cuda' if torch.cuda.is_available() else 'mps' if torch.backends.mps.is_available() else 'cpu')
    assert pick_device('cpu') == pick_device('cpu:0') == pick_device(torch.device('cpu')) == torch.empty(1).device

@pytest.mark.parametrize('name, parts', [
    ('tpu', ("unknown device 'tpu'", 'auto, cuda, mps, cpu')),
    ('cuda:x', ("unknown device 'cuda:x'",)),
    ('', ('unknown device',)),
    ('cpu:3', ("'cpu:3' is not on this machine", 'leave it out')),
    ('cuda:99', ("'cuda:99' is not on this machine",)),
    pytest.param('cuda', ("'cuda' is not on this machine", 'leave it out'),
                 marks=pytest.mark.skipif(torch.cuda.is_available(), reason='cuda is here')),
    pytest.param('mps', ("'mps' is not",),
                 marks=pytest.mark.skipif(torch.backends.mps.is_available(), reason='mps is here')),
])
def test_a_device_that_is_not_there_is_refused(name, parts):
    with refused(*parts): pick_device(name)

@pytest.mark.parametrize('n, bs', [(1, 8), (384, 8), (543, 8), (544, 16), (1437, 32), (12_396, 256), (60_000, 256)])
def test_the_default_batch_size_is_the_power_of_two_nearest_to_48_steps_from_8_to_256(n, bs): assert default_bs(n) == bs

def test_the_default_batch_size_goes_by_its_own_bounds():
    assert default_bs(6000, most=512, steps=12) == 512 and default_bs(100, steps=2) == 64

@pytest.mark.parametrize('bs', [0, -3])
def test_a_batch_of_no_images_is_refused(bs):
    with refused(f'bs={bs}', '1 or more'): dataloaders(numbered(4), bs, 'cpu')


# Floats

def test_floats_are_bytes_over_255_to_the_last_bit():
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    got = to_floats(x)
    assert got.dtype == torch.float32
    assert np.array_equal(got.numpy().ravel(), np.arange(256, dtype=np.float32) / np.float32(255))
    assert x.flatten().tolist() == list(range(256)), 'the bytes are left as they are'

@pytest.mark.parametrize('channels', [1, 3])
def test_stats_and_normalised_floats_agree_with_numpy(channels):
    x = torch.randint(0, 256, (7, channels, 5, 4), generator=torch.Generator().manual_seed(0)).byte()
    a = x.numpy() / 255
    mean, std = channel_stats(x)
    assert len(mean) == len(std) == channels
    assert np.allclose(mean, a.mean((0, 2, 3)), atol=1e-12) and np.allclose(std, a.std((0, 2, 3)), atol=1e-12)
    wanted = (a - a.mean((0, 2, 3), keepdims=True)) / a.std((0, 2, 3), keepdims=True)
    assert np.allclose(to_floats(x, (mean, std)).numpy(), wanted, atol=1e-5)

def test_stats_of_two_pixels_by_hand():
    assert channel_stats(torch.tensor([0, 255]).byte().view(1, 1, 1, 2)) == ((.5,), (.5,))

def test_a_channel_without_contrast_does_not_divide_by_zero():
    x = torch.full((2, 1, 3, 3), 51).byte()
    mean, std = channel_stats(x)
    assert mean == pytest.approx((.2,)) and std == (1e-3,) and to_floats(x, (mean, std)).abs().max() < 1e-3

def test_train_stats_are_those_of_the_training_images_in_both_loaders():
    images = numbered(9, 4)
    dls = dataloaders(images, 4, 'cpu', stats='train', shuffle=False)
    assert dls.train.stats == dls.valid.stats == channel_stats(images.train.images)
    assert torch.equal(dls.valid.one_batch()[0], to_floats(images.valid.images, dls.train.stats))
    x = torch.cat([x for x, _ in dls.train])
    assert abs(x.mean()) < 1e-6 and abs(x.std(correction=0) - 1) < 1e-6


# Order

def test_an_epoch_has_every_image_once_and_keeps_the_last_smaller_batch():
    train = dataloaders(numbered(10), 4, 'cpu').train
    for _ in range(2):
        batches = seen(train)
        assert [len(b) for b in batches] == [4, 4, 2] and sorted(flat(batches)) == list(range(10))
    assert len(train) == 3 and train.n == 10

def test_the_order_differs_between_epochs_and_repeats_under_a_seed():
    def epochs(seed):
        set_seed(seed)
        train = dataloaders(numbered(50), 8, 'cpu').train
        return [flat(seen(train)) for _ in range(3)]
    a, b, c = epochs(5), epochs(5), epochs(6)
    assert a == b and a[0] != c[0] and len({tuple(e) for e in a}) == 3 and a[0] != list(range(50))

def test_validation_comes_in_order_and_so_does_training_without_shuffling():
    dls = dataloaders(numbered(10, 300), 4, 'cpu', shuffle=False) # Numbers are bytes
    assert seen(dls.valid) == [[*range(256)], [*range(44)]] and seen(dls.train) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]

@pytest.mark.parametrize('side, bs', [(8, 256), (64, 256), (362, 8), (600, 4), (2000, 4)])
def test_validation_batches_have_256_images_where_they_are_small(side, bs):
    split = Split(torch.zeros(2, 1, side, side, dtype=torch.uint8), torch.tensor([0, 1]))
    dls = dataloaders(ImageSet('blank', 'ab', split, split), 4, 'cpu')
    assert (dls.train.bs, dls.valid.bs) == (4, bs)

def test_a_batch_larger_than_the_set_is_the_set():
    dls = dataloaders(numbered(5, 3), 64, 'cpu')
    assert [sorted(b) for b in seen(dls.train)] == [[0, 1, 2, 3, 4]] and seen(dls.valid) == [[0, 1, 2]]

def test_drop_last_leaves_the_smaller_batch_out_and_refuses_to_leave_nothing():
    dl = dataloaders(numbered(10), 4, 'cpu').train.new(drop_last=True)
    assert len(dl) == 2 and [len(b) for b in seen(dl)] == [4, 4]
    with refused('10 images', 'bs=11', 'smaller bs'): dl.new(bs=11).one_batch()

def test_a_loader_of_the_first_n_images_is_one(): # fastai's `n`
    assert seen(dataloaders(numbered(10, 9), 4, 'cpu').valid.new(n=6, bs=4)) == [[0, 1, 2, 3], [4, 5]]

@pytest.mark.parametrize('shape', [(1, 2, 3), (3, 4, 2)])
def test_a_batch_is_float_images_and_int64_labels(shape):
    x, y = dataloaders(numbered(6, shape=shape), 4, 'cpu').one_batch()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((4, *shape), torch.float32, (4,), torch.int64)
    assert 0 <= x.min() <= x.max() <= 1


# As fastai uses a loader

@pytest.fixture(scope='module', params=['two', 'ten'])
def data(request, digits, threes_sevens):
    "70 images to train and 30 to validate, of two or of ten classes"
    images = threes_sevens if request.param == 'two' else digits
    parts = (Split(s.images[:n], s.labels[:n]) for s, n in ((images.train, 70), (images.valid, 30)))
    return ImageSet(images.source, images.classes, *parts)

def a_learner(data, bs=16, stats='train', **kwargs):
    dls = dataloaders(data, bs, 'cpu', stats, **kwargs)
    return Learner(dls, linear(64, n_outputs(len(data.classes))), ClassLoss(cross_entropy), opt_func=basic_opt,
                   metrics=batch_accuracy)

@pytest.fixture(scope='module')
def learner(data):
    set_seed(0)
    learn = a_learner(data)
    fit_learner(learn, 3, .1)
    return learn

def probs(learn, images):
    "By a forward pass, without a loader"
    with torch.no_grad(): return class_probs(learn.model.eval()(to_floats(images, learn.dls.stats)))

@pytest.fixture
def drawn():
    "The axes of the figure that is drawn, in a list; all figures are closed afterwards"
    plt.close('all')
    yield lambda: [ax for n in plt.get_fignums() for ax in plt.figure(n).axes if ax.images]
    plt.close('all')

def test_get_preds_is_a_forward_pass_in_the_images_order(learner, data):
    for split, dl in ((data.valid, 1), (data.train, 0)):
        got, targets = learner.get_preds(ds_idx=dl)
        assert torch.allclose(got, probs(learner, split.images), atol=1e-6)
        assert torch.equal(plain(targets), split.labels)
    assert got.shape == (70, len(data.classes)) and torch.allclose(got.sum(1), torch.ones(70))

def test_get_preds_of_the_shuffled_loader_itself_is_in_order(learner, data):
    got, targets = learner.get_preds(dl=learner.dls.train)
    assert torch.allclose(got, probs(learner, data.train.images), atol=1e-6)
    assert torch.equal(plain(targets), data.train.labels)

def test_get_preds_decodes_and_gives_each_images_loss(learner, data):
    _, targets, decoded, losses = learner.get_preds(with_decoded=True, with_loss=True)
    p = probs(learner, data.valid.images)
    assert torch.equal(decoded, p.argmax(1))
    assert torch.allclose(losses, -p[range(30), data.valid.labels].log(), atol=1e-5)

def test_validate_is_the_mean_over_all_images(learner, data):
    p = probs(learner, data.valid.images)
    loss, accuracy = learner.validate()
    assert loss == pytest.approx(-p[range(30), data.valid.labels].log().mean().item(), abs=1e-5)
    assert accuracy == pytest.approx((p.argmax(1) == data.valid.labels).float().mean().item())

def forms(images, folder):
    "The first three of `images`, grey, in every form that a test loader takes"
    arrays, files = [im[0].numpy() for im in images[:3]], [folder/f'{i}.png' for i in range(3)]
    for a, f in zip(arrays, files): Image.fromarray(a).save(f)
    return dict(
        tensor=images[:3], tensors=list(images[:3]), flat=list(images[:3, 0]), numpy=images[:3].numpy(), arrays=arrays,
        rgb=[np.stack([a] * 3, -1) for a in arrays], pillow=list(map(Image.fromarray, arrays)), path=files,
        text=list(map(str, files)))

@pytest.mark.parametrize('form', 'tensor tensors flat numpy arrays rgb pillow path text'.split())
def test_new_images_of_any_form_are_predicted_as_the_same(learner, data, tmp_path, form):
    items = forms(data.valid.images, tmp_path)[form]
    dl = learner.dls.test_dl(items, bs=2)
    assert len(dl) == 2 and len(dl.one_batch()) == 1
    assert torch.allclose(learner.get_preds(dl=dl)[0], probs(learner, data.valid.images[:3]), atol=1e-6)
    name, label, p = learner.predict(items[1])
    assert torch.allclose(p, probs(learner, data.valid.images[1:2])[0], atol=1e-6)
    assert label == p.argmax() and name == data.classes[int(label)]

def test_pairs_of_image_and_label_make_a_labelled_test_loader(learner, data):
    pairs = list(zip(data.valid.images, data.valid.labels))[:9]
    got, targets = learner.get_preds(dl=learner.dls.test_dl(pairs, with_labels=True))
    assert torch.equal(plain(targets), data.valid.labels[:9])
    assert torch.allclose(got, probs(learner, data.valid.images[:9]), atol=1e-6)

def test_a_split_makes_a_labelled_test_loader(learner, data):
    loss = cross_entropy(probs(learner, data.train.images).log(), data.train.labels).item()
    assert learner.validate(dl=learner.dls.test_dl(data.train))[0] == pytest.approx(loss, abs=1e-5)

@pytest.mark.parametrize('items, parts', [
    ([], ('no images to predict', 'at least one')),
    (torch.zeros(0, 1, 2, 3).byte(), ('no images to predict',)),
    ([torch.zeros(1, 2, 3)], ('uint8', 'float32')),
    (np.zeros((1, 2, 3)), ('uint8', 'float64')),
    ([3], ('must be a file', 'int')),
    (['nope.png'], ('nope.png',)),
    ([torch.zeros(1, 5, 3).byte()], ('(1, 5, 3)', '(1, 2, 3)', 'resize it')),
    ([torch.zeros(3, 2, 3).byte()], ('(3, 2, 3)',)),
    (Split(torch.zeros(2, 1, 5, 5).byte(), None), ('(1, 5, 5)', '(1, 2, 3)')),
], ids='empty none floats float64 number no-file size channels split'.split())
def test_what_cannot_become_an_image_of_the_set_is_refused(items, parts):
    with refused(*parts): as_split(items, (1, 2, 3))

def test_a_pillow_image_or_a_file_of_another_size_and_colour_is_brought_to_the_sets(tmp_path):
    im = Image.new('RGB', (9, 7), (40, 40, 40))
    im.save(tmp_path/'a.png')
    for item in (im, tmp_path/'a.png', np.asarray(im)):
        assert as_split([item], (1, 2, 3)).images.tolist() == [[[[40] * 3] * 2]]

def test_one_file_or_pillow_image_alone_is_a_set_of_one(tmp_path):
    im = Image.new('L', (3, 2), 40)
    im.save(tmp_path/'a.png')
    for items in (im, tmp_path/'a.png', str(tmp_path/'a.png')):
        assert as_split(items, (1, 2, 3)).images.tolist() == [[[[40] * 3] * 2]]

def pillow_images():
    rgba = Image.new('RGBA', (3, 2), (200, 100, 50, 51)) # A fifth of it, on white: (244, 224, 214)
    turned = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(3, 2))
    turned.getexif()[0x112] = 6
    return dict(deep=Image.fromarray(np.full((2, 3), 40 * 257, np.uint16)), rgba=rgba, turned=turned)

@pytest.mark.parametrize('kind', ['deep', 'rgba', 'turned'])
def test_a_pillow_image_gives_the_bytes_that_its_file_gives(kind, tmp_path):
    im = pillow_images()[kind]
    im.save(tmp_path/'a.png', exif=im.getexif())
    shape = (3 if kind == 'rgba' else 1, 2, 3)
    of_file = as_split([tmp_path/'a.png'], shape).images
    assert of_file[0, :, 0, 0].tolist() == dict(deep=[40], rgba=[244, 224, 214], turned=[4])[kind]
    assert as_split([Image.open(tmp_path/'a.png')], shape).images.tolist() == of_file.tolist()

@pytest.mark.parametrize('label', [10, -1, 99])
def test_a_label_without_a_class_is_refused(learner, data, label):
    with refused(label): learner.dls.test_dl([(data.valid.images[0], label)], with_labels=True)

def test_a_class_name_as_label_is_never_taken_for_another_class(learner, data):
    name = data.classes[1]
    try: dl = learner.dls.test_dl([(data.valid.images[0], name)], with_labels=True)
    except InputError: return
    assert dl.one_batch()[1].tolist() == [1]

def test_show_batch_draws_images_under_their_class_names(learner, data, drawn):
    learner.dls.valid.show_batch(max_n=4)
    assert [ax.get_title() for ax in drawn()] == [data.classes[y] for y in data.valid.labels[:4]]
    shown = [ax.images[0].get_array().squeeze() for ax in drawn()]
    assert np.allclose(shown, data.valid.images[:4, 0] / 255, atol=1e-6), 'normalisation is undone'

def test_show_batch_can_repeat_one_image(data, drawn): # As fastai does to show what an augmentation does
    dls = dataloaders(data, 16, 'cpu')
    dls.show_batch(max_n=3, unique=True)
    a, b, c = (ax.images[0].get_array() for ax in drawn())
    assert np.array_equal(a, b) and np.array_equal(b, c)
    labels = torch.cat([y for _, y in dls.train])
    assert torch.equal(labels.sort().values, data.train.labels.sort().values), 'the loader is left as it was'

def test_show_results_draws_the_true_and_the_predicted_class(learner, data, drawn):
    learner.show_results(max_n=4, shuffle=False)
    wanted = [f'{data.classes[y]}\n{data.classes[p]}'
              for y, p in zip(data.valid.labels, probs(learner, data.valid.images).argmax(1))]
    assert [ax.get_title() for ax in drawn()] == wanted[:4]

def test_interpretation_counts_confusions_and_draws_the_worst(learner, data, drawn):
    from sklearn.metrics import confusion_matrix
    p = probs(learner, data.valid.images)
    wanted = confusion_matrix(data.valid.labels, p.argmax(1), labels=range(len(data.classes)))
    interp = ClassificationInterpretation.from_learner(learner)
    assert np.array_equal(interp.confusion_matrix(), wanted)
    assert {(a, b): n for a, b, n in interp.most_confused()} == {
        (data.classes[i], data.classes[j]): n for (i, j), n in np.ndenumerate(wanted) if i != j and n}
    losses, index = interp.top_losses(3)
    assert torch.allclose(losses, (-p[range(30), data.valid.labels].log()).topk(3).values, atol=1e-5)
    interp.plot_top_losses(3)
    true = [data.classes[data.valid.labels[i]] for i in index]
    assert [ax.get_title().split('/')[1].strip() for ax in drawn()] == true

def test_lr_find_suggests_a_rate_and_gives_the_weights_back(learner):
    before = learner.model[1].weight.detach().clone()
    found = learner.lr_find(num_it=12, show_plot=False)
    assert 0 < found.valley < 10 and torch.equal(learner.model[1].weight, before)

def test_tta_without_augmentation_is_get_preds(learner, data):
    got, targets = learner.tta(n=2)
    assert torch.allclose(got, probs(learner, data.valid.images), atol=1e-5)
    assert torch.equal(plain(targets), data.valid.labels)

def test_an_exported_learner_predicts_the_same_and_holds_no_images(learner, data, tmp_path):
    learner.path = tmp_path
    learner.export('a.pkl')
    again = load_learner(tmp_path/'a.pkl')
    name, label, p = again.predict(data.valid.images[3])
    assert torch.allclose(p, probs(learner, data.valid.images[3:4])[0], atol=1e-6)
    assert name == data.classes[int(p.argmax())]
    assert len(again.dls.train_ds) == 0 and len(learner.dls.train_ds) == 70, 'the learner keeps its own'


# Transforms of a batch

def test_a_batch_transform_sees_fastais_image_types_and_decode_undoes_it(data):
    dls = dataloaders(data, 16, 'cpu')
    dls.add_tfms([Normalize.from_stats([.3], [.2], cuda=False)], 'after_batch')
    x, y = b = dls.valid.one_batch()
    assert type(x) is TensorImageBW and type(y) is TensorCategory
    assert torch.allclose(plain(x), (data.valid.images[:64] / 255 - .3) / .2, atol=1e-5)
    back, labels = dls.valid.decode(b)
    assert torch.allclose(plain(back), data.valid.images[:64] / 255, atol=1e-6)
    assert torch.equal(plain(labels), data.valid.labels[:64])

def test_colour_batches_are_tensor_images_and_are_drawn_in_colour(drawn):
    images = numbered(6, shape=(3, 8, 8))
    dls = dataloaders(images, 4, 'cpu', stats='train')
    dls.add_tfms([Normalize.from_stats([.1] * 3, [2.] * 3, cuda=False)], 'after_batch')
    assert type(dls.one_batch()[0]) is TensorImage
    dls.valid.show_batch(max_n=3)
    assert [ax.images[0].get_array().shape for ax in drawn()] == [(8, 8, 3)] * 3
    assert np.allclose([ax.images[0].get_array().max() for ax in drawn()], [0, 1 / 255, 2 / 255], atol=1e-6)

@pytest.mark.parametrize('tfm', [
    Flip(p=1.), Brightness(max_lighting=.6, p=1.), RandomErasing(p=1.),
], ids=['flip', 'brightness', 'erasing'])
def test_augmentation_changes_training_batches_and_leaves_validation_alone(data, tfm):
    dls = dataloaders(data, 30, 'cpu', shuffle=False)
    dls.add_tfms([tfm], 'after_batch')
    def changed(dl, split): return not torch.allclose(plain(dl.one_batch()[0]), to_floats(split.images[:30]), atol=1e-4)
    assert (changed(dls.train, data.train), changed(dls.valid, data.valid)) == (True, False)

def test_predictions_go_through_batch_transforms_too(learner, data):
    set_seed(1)
    with_tfm = Learner(dataloaders(data, 16, 'cpu'), learner.model, ClassLoss(cross_entropy))
    mean, std = learner.dls.stats
    with_tfm.dls.add_tfms([Normalize.from_stats(mean, std, cuda=False)], 'after_batch')
    assert torch.allclose(with_tfm.get_preds()[0], probs(learner, data.valid.images), atol=1e-5)
    likeliest = int(probs(learner, data.valid.images[:1]).argmax())
    assert with_tfm.predict(data.valid.images[0])[0] == data.classes[likeliest]


# Copies

def test_a_new_loader_keeps_stats_classes_and_size_of_batch_unless_told(data):
    dls = dataloaders(data, 16, 'cpu', stats='train')
    for dl in (dls.new(), dls.new(data.valid.images), dls.train.new(shuffle=False)):
        assert isinstance(dl, ImageDL) and (dl.bs, dl.stats, tuple(dl.vocab)) == (16, dls.train.stats, data.classes)
    assert dls.train.new(bs=5).bs == 5 and dls.valid.new(stats=None).stats is None
    assert torch.equal(dls.valid.new(stats=None).one_batch()[0], to_floats(data.valid.images[:64]))

def test_loaders_move_with_their_images_and_give_back_themselves(data):
    dls = dataloaders(data, 16, 'cpu')
    assert dls.to('meta') is dls and {b.device.type for dl in dls for batch in dl for b in batch} == {'meta'}
    free = DataLoaders(ImageDL(ImageDataset(data.valid, data.classes)))
    assert {b.device.type for b in free.one_batch()} == {'cpu'}, 'the CPU where none is given'

def test_vocab_c_and_items_are_there_for_fastai(data):
    dls = dataloaders(data, 16, 'cpu')
    assert tuple(dls.vocab) == data.classes and dls.c == len(data.classes) and dls.n_inp == 1
    assert dls.vocab.o2i[data.classes[-1]] == dls.c - 1
    image, label = dls.valid_ds.items[4]
    assert torch.equal(image, data.valid.images[4]) and label == data.valid.labels[4] and len(dls.train_ds) == 70

def test_the_lessons_loss_trains_through_the_loader_better_than_chance(data):
    set_seed(0)
    learn = a_learner(data)
    learn.loss_func = ClassLoss(lesson_loss(len(data.classes)))
    assert fit_learner(learn, 8, .1).history.accuracy.iloc[-1] > (.9 if len(data.classes) == 2 else .5)

@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device here')
def test_batches_on_a_gpu_are_those_on_the_cpu(data):
    gpu, cpu = (dataloaders(data, 16, d, 'train', shuffle=False) for d in ('cuda', 'cpu'))
    for (a, y), (b, z) in zip(gpu.train, cpu.train):
        assert a.is_cuda and y.is_cuda and torch.allclose(a.cpu(), b, atol=1e-6) and torch.equal(y.cpu(), z)
    assert dataloaders(data, 16, 'cuda').device == pick_device('cuda')
