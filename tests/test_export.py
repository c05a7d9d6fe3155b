"""ONNX: the same scores and probabilities without PyTorch, from bytes, in any number; of our models and of fastai's"""
import json, os, random, re, subprocess, sys
from functools import partial
from pathlib import Path
import numpy as np, onnx, onnxruntime, pytest, torch
from fastai.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, LabelSmoothingCrossEntropyFlat, MSELossFlat
from fastai.vision.all import (
    aug_transforms, DataBlock, DataLoader, DataLoaders, imagenet_stats, ImageBlock, ImageDataLoaders, Learner,
    load_learner, MultiCategoryBlock, Normalize, parent_label, PILImage, PILImageBW, RandomResizedCrop, RegressionBlock,
    Resize, resnet18, TensorImage, ToTensor, Transform, vision_learner)
from PIL import Image, ImageOps
from torch import nn
from fastrecipes import __version__
from fastrecipes.data.imagefile import Reading, reading_of
from fastrecipes.data.loaders import dataloaders
from fastrecipes.errors import InputError
from fastrecipes.ladder.recipe import fit
from fastrecipes.keep.export import export_onnx
from fastrecipes.keep.store import load, save
from fastrecipes.keep import pixels as pixels_room
from conftest import refused, REPO
from limits import little_room
from test_cli import called, refused as ended
from test_store import fitted, image_set

CASES = [('majority', 10, (1, 7, 9), {}), ('knn', 2, (3, 6, 5), dict(k=3)),
         ('similarity', 2, (1, 7, 9), {}), ('similarity', 10, (3, 60, 50), dict(distance='l1')),
         ('sgd', 2, (1, 7, 9), {}), ('logistic', 10, (3, 6, 5), dict(dropout=.3)), ('linear', 10, (1, 7, 9), {}),
         ('simple_net', 2, (3, 6, 5), dict(dropout=.5, hidden=7)),
         ('mlp', 10, (3, 6, 5), dict(activation='leaky_relu', dropout=.2, hidden=(9, 4))), ('mlp', 2, (1, 7, 9), {}),
         ('convnet', 10, (3, 6, 5), {}), ('convnet', 2, (1, 33, 26), dict(filters=(4, 6, 8), dropout=.3)),
         pytest.param('resnet18', 10, (1, 7, 9), {}, marks=pytest.mark.slow),
         pytest.param('resnet18', 2, (3, 33, 26), dict(bs=8), marks=pytest.mark.slow)]

def session(file): return onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])
def about(file): return session(file).get_modelmeta().custom_metadata_map

@pytest.mark.parametrize('name, k, shape, settings', CASES,
                         ids=lambda v: ','.join(f'{a}={b}' for a, b in v.items()) if isinstance(v, dict) else str(v))
def test_the_scores_are_those_of_the_model_for_any_number_of_images(tmp_path, name, k, shape, settings):
    f = fitted(name, k, shape, **settings)
    kept, state = load(save(f, 'm'), 'cpu'), {n: t.clone() for n, t in f.model.state_dict().items()}
    was = f.model.training
    difference = export_onnx(kept, tmp_path/'m.onnx')
    assert 0 <= difference < 1e-5 and sorted(os.listdir()) == ['m', 'm.onnx'], 'one file, the weights in it'
    assert f.model.training == was and all(torch.equal(t, state[n]) for n, t in kept.model.state_dict().items())
    net, outputs = session('m.onnx'), f.scores.shape[1]
    (i,), (o, *probs) = net.get_inputs(), net.get_outputs()
    assert (i.name, i.type, i.shape[1:]) == ('images', 'tensor(uint8)', list(shape))
    assert (o.name, o.type, o.shape[1:]) == ('scores', 'tensor(float)', [outputs])
    assert isinstance(i.shape[0], str) and i.shape[0] == o.shape[0]
    assert [(p.name, p.type, p.shape) for p in probs] == [('probs', 'tensor(float)', [o.shape[0], k])] * f.has_probs
    for n in (1, 3, 12, 300):
        images = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
        scores, *probs = net.run(None, {'images': images.numpy()})
        assert scores.shape == (n, outputs)
        torch.testing.assert_close(torch.from_numpy(scores), kept.predict_scores(images), atol=1e-5, rtol=1e-5)
        for p in probs: torch.testing.assert_close(torch.from_numpy(p), kept.predict_probs(images), atol=1e-5, rtol=0)
    scores, *probs = net.run(None, {'images': f.images.valid.images.numpy()})
    torch.testing.assert_close(torch.from_numpy(scores), f.scores, atol=1e-5, rtol=1e-5)
    for p in probs: torch.testing.assert_close(torch.from_numpy(p), f.probs, atol=1e-5, rtol=0)

def test_the_means_of_large_images_too_are_compared_in_any_number(tmp_path):
    large = image_set(10, (3, 250, 250), n=10) # In PyTorch only a few of them are compared at a time
    f = fit('similarity', large, device='cpu')
    assert export_onnx(f, 'm.onnx') < 1e-5
    images = torch.cat([f.images.valid.images] * 2)
    scores, = session('m.onnx').run(None, {'images': images.numpy()})
    torch.testing.assert_close(torch.from_numpy(scores), f.predict_scores(images), atol=1e-5, rtol=1e-5)

def test_the_file_says_what_it_is(tmp_path):
    from dataclasses import replace
    f = replace(fitted('mlp', 2), classes=('Zürich "東京"', 'b\udcff\n'))
    export_onnx(f, 'm.onnx')
    model = onnx.load('m.onnx')
    onnx.checker.check_model(model, full_check=True)
    found = {p.key: p.value for p in model.metadata_props}
    assert json.loads(found['classes']) == list(f.classes)
    assert found['recipe'] == 'mlp' and found['fastrecipes'] == __version__
    assert json.loads(found['shape']) == list(f.shape) and found['resize'] == 'crop'
    assert json.loads(found['versions']).keys() >= {'fastrecipes', 'torch', 'fastai'} and 'card' not in found

READINGS = {'pad': Reading('pad', (10, 20, 30), integers=(-1000, 3000)), 'squish': Reading('squish'), 'crop': Reading()}

@pytest.mark.parametrize('reading', READINGS.values(), ids=READINGS)
@pytest.mark.parametrize('kind', ['fitted', 'kept', 'learner'])
def test_the_file_says_how_image_files_become_pixels(tmp_path, kind, reading):
    f = fit('linear', image_set(2, (1, 7, 9), reading=reading), device='cpu', epochs=1)
    export_onnx(f if kind == 'fitted' else save(f, 'm') if kind == 'kept' else f.learner, 'm.onnx')
    found = about('m.onnx')
    assert reading_of(json.loads(found['reading'])) == reading and found['resize'] == reading.resize

def test_nothing_is_said_of_what_only_fastai_knows(tmp_path, pictures):
    export_onnx(learner(loaders(pictures)), 'm.onnx')
    assert 'reading' not in about('m.onnx')

def test_the_card_of_a_saved_model_is_in_its_file(tmp_path):
    folder = save(fitted('mlp', 2), 'm')
    export_onnx(folder, 'm.onnx')
    assert json.loads(about('m.onnx')['card']) == json.loads((folder/'card.json').read_text(encoding='utf-8'))

@pytest.mark.parametrize('kind', ['kept', 'learner'])
def test_the_file_knows_nothing_of_the_machine(tmp_path, pictures, kind):
    model = load(save(fitted('mlp'), 'm'), 'cpu') if kind == 'kept' else learner(loaders(pictures))
    export_onnx(model, 'm.onnx')
    data = Path('m.onnx').read_bytes()
    for secret in (os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(torch.__file__),
                   str(tmp_path), str(Path.home()), str(pictures)):
        if len(secret) > 3: assert secret.encode() not in data, secret

def test_the_command_writes_the_file_and_says_how_near_it_is(tmp_path):
    save(fitted('linear'), 'm')
    r = called('export', 'm', '--onnx', 'deep/er/m.onnx')
    assert r.returncode == 0 and r.stderr == '' and 'deep/er/m.onnx' in r.stdout and os.listdir('deep/er') == ['m.onnx']
    assert float(r.stdout.split()[-1]) < 1e-5
    first = Path('deep/er/m.onnx').read_bytes()
    save(fitted('linear', 2), 'm')
    assert called('export', 'm', '--onnx', 'deep/er/m.onnx').returncode == 0
    assert Path('deep/er/m.onnx').read_bytes() != first and os.listdir('deep/er') == ['m.onnx']

@pytest.mark.slow
def test_the_exporter_is_quiet(capfd, recwarn):
    assert export_onnx(fitted('resnet18'), 'm.onnx') < 1e-5
    assert tuple(capfd.readouterr()) == ('', '')
    assert [str(w.message) for w in recwarn if 'jit' not in str(w.message)] == []

@pytest.mark.parametrize('missing', ['onnx', 'onnxruntime', 'onnxscript'])
def test_without_a_package_there_is_one_line_with_the_cure(tmp_path, monkeypatch, missing):
    save(fitted('linear'), 'm')
    monkeypatch.setitem(sys.modules, missing, None)
    ended(called('export', 'm', '--onnx', 'm.onnx'), f'({missing})', 'pip install')
    assert os.listdir() == ['m']

@pytest.mark.parametrize('make, file, words', [
    (lambda p: (p/'taken').write_text('mine'), 'taken/m.onnx', ['cannot write there', 'choose another']),
    (lambda p: (p/'m.onnx').mkdir(), 'm.onnx', ['is a folder', 'm.onnx/model.onnx']),
    (lambda p: (p/'loop').symlink_to('loop'), 'loop/m.onnx', ['loop']),
    (lambda p: None, 'x' * 300, ['cannot write', 'choose another']),
    (lambda p: None, '/proc/m.onnx', ['/proc', 'choose another']),
    (lambda p: None, '~nobody-of-this-name/m.onnx', ['~nobody-of-this-name']),
], ids=['below a file', 'a folder', 'a loop', 'a long name', 'proc', 'no home'])
def test_a_file_that_cannot_be_written_is_refused_and_nothing_is_left(tmp_path, make, file, words):
    save(fitted('linear'), 'm')
    make(tmp_path)
    before = sorted(os.listdir())
    ended(called('export', 'm', '--onnx', file), *words)
    assert sorted(os.listdir()) == before

@pytest.mark.parametrize('old', [True, False])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, old):
    save(fitted('linear'), 'm')
    if old: Path('m.onnx').write_text('old')
    with little_room(1000): r = called('export', 'm', '--onnx', 'm.onnx')
    ended(r, 'm.onnx', 'File too large')
    assert sorted(os.listdir()) == ['m', 'm.onnx'][:1 + old] and (not old or Path('m.onnx').read_text() == 'old')

def test_a_model_that_onnx_runtime_refuses_is_not_written(tmp_path, monkeypatch):
    def fail(*args, **kwargs): raise RuntimeError('cannot run it')
    monkeypatch.setattr(onnxruntime, 'InferenceSession', fail)
    with pytest.raises(RuntimeError): export_onnx(fitted('linear'), 'm.onnx')
    assert os.listdir() == []

def test_a_damaged_model_is_refused(tmp_path):
    save(fitted('linear'), 'm')
    Path('m/model.safetensors').write_bytes(b'x')
    ended(called('export', 'm', '--onnx', 'm.onnx'), 'model.safetensors')
    ended(called('export', 'nowhere', '--onnx', 'm.onnx'), 'nowhere')
    ended(called('export', 'm'), '--onnx')
    assert os.listdir() == ['m']


# Any fastai `Learner`

@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    "A folder of coloured PNG files in ten classes, no two sizes alike in a class"
    home = tmp_path_factory.mktemp('learner')/'pictures'
    draw = np.random.default_rng(0)
    for i in range(120):
        name = 'abcdefghij'[i % 10]
        (home/name).mkdir(parents=True, exist_ok=True)
        noise = draw.integers(0, 12 * (i % 10) + 100, (20 + i // 10, 34 - i // 10, 3), dtype=np.uint8)
        Image.fromarray(noise).save(home/name/f'{i:03}.png')
    return home

def loaders(home, classes='abcdefghij', img_cls=PILImage, item_tfms=None, batch_tfms=None, **kwargs):
    "`ImageDataLoaders` of a folder, with one image in four for validation"
    files = [f for c in classes for f in sorted((home/c).iterdir())]
    return ImageDataLoaders.from_path_func(
        home, files, parent_label, valid_pct=.25, seed=0, bs=16, num_workers=0, img_cls=img_cls,
        item_tfms=item_tfms or Resize(16), batch_tfms=batch_tfms, **kwargs)

def small_net(dls, columns):
    channels = dls.one_batch()[0].shape[1]
    body = [nn.Conv2d(channels, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()]
    return nn.Sequential(*body, nn.Dropout(.2), nn.Linear(72, columns))

def learner(dls, columns=None, loss_func=None, **kwargs):
    "A small net, trained for two epochs"
    loss_func = loss_func or CrossEntropyLossFlat()
    learn = Learner(dls, small_net(dls, columns or dls.c), loss_func=loss_func, **kwargs)
    with learn.no_bar(), learn.no_logging(): learn.fit(2, 1e-2)
    return learn

def preds(learn, **kwargs):
    with learn.no_bar(): return learn.get_preds(**kwargs)[0]

def stored(dls):
    "The validation images after the item transforms, uint8 (n, c, h, w)"
    return torch.cat([b[0] for b in dls.valid.new(after_batch=[])]).as_subclass(torch.Tensor).cpu()

LEARNERS = {
    'plain': (dict(), dict(), [3, 16, 16], 'crop'),
    'normalised, not square': (dict(item_tfms=Resize((12, 18), method='squish'),
                                    batch_tfms=Normalize.from_stats(*imagenet_stats)), dict(), [3, 12, 18], 'squish'),
    'grey': (dict(img_cls=PILImageBW, batch_tfms=Normalize()), dict(), [1, 16, 16], 'crop'),
    'padded': (dict(item_tfms=Resize(16, method='pad')), dict(), [3, 16, 16], 'pad'),
    'augmented': (dict(batch_tfms=[*aug_transforms(), Normalize()]), dict(), [3, 16, 16], 'crop'),
    'resized in the batch': (dict(item_tfms=Resize((44, 40)), batch_tfms=[*aug_transforms(size=(14, 16)), Normalize()]),
                             dict(), [3, 44, 40], 'crop'),
    'cropped at random': (dict(item_tfms=RandomResizedCrop(16)), dict(), [3, 16, 16],
                          'squish to 24x24, then crop the centre'),
    'two classes': (dict(classes='aj'), dict(loss_func=LabelSmoothingCrossEntropyFlat()), [3, 16, 16], 'crop'),
    'two classes, one score': (dict(classes='aj'), dict(columns=1, loss_func=BCEWithLogitsLossFlat()), [3, 16, 16],
                               'crop'),
}

@pytest.mark.parametrize('data, model, shape, resize', LEARNERS.values(), ids=LEARNERS)
def test_a_learner_gives_the_same_probabilities_for_any_number_of_images(
        tmp_path, pictures, data, model, shape, resize):
    learn = learner(loaders(pictures, **data), **model)
    state = {n: t.clone() for n, t in learn.model.state_dict().items()}
    drawn, callbacks = (random.getstate(), torch.get_rng_state()), set(learn.cbs)
    learn.model.train()
    assert 0 <= export_onnx(learn, 'm.onnx') < 1e-4 and os.listdir() == ['m.onnx']
    assert learn.model.training and set(learn.cbs) == callbacks
    assert random.getstate() == drawn[0] and torch.equal(torch.get_rng_state(), drawn[1])
    assert all(torch.equal(t, state[n]) for n, t in learn.model.state_dict().items())
    images, wanted = stored(learn.dls), preds(learn)
    if wanted.shape[1] == 1: wanted = torch.cat([1 - wanted, wanted], 1)
    for n in (1, 3, 300):
        rows = torch.arange(n) % len(images)
        probs, = session('m.onnx').run(['probs'], {'images': images[rows].numpy()})
        torch.testing.assert_close(torch.from_numpy(probs), wanted[rows].as_subclass(torch.Tensor), atol=1e-4, rtol=0)
    found = about('m.onnx')
    assert json.loads(found['shape']) == shape == list(images.shape[1:]) and found['resize'] == resize
    assert json.loads(found['classes']) == list(learn.dls.vocab) and 'recipe' not in found

@pytest.mark.slow
@pytest.mark.parametrize('half', [False, True])
def test_a_vision_learner_too(tmp_path, pictures, half):
    dls = loaders(pictures, item_tfms=Resize(70), batch_tfms=aug_transforms(size=64))
    learn = vision_learner(dls, resnet18, pretrained=False, normalize=True)
    if half: learn.to_fp16()
    assert export_onnx(learn, 'm.onnx') < 1e-4
    probs, = session('m.onnx').run(['probs'], {'images': stored(dls).numpy()})
    torch.testing.assert_close(torch.from_numpy(probs), preds(learn), atol=1e-4, rtol=0, check_dtype=False)
    onnx.checker.check_model('m.onnx', full_check=True)

def test_a_plain_function_as_loss_is_enough(tmp_path, pictures):
    learn = learner(loaders(pictures), loss_func=nn.functional.cross_entropy)
    assert export_onnx(learn, 'm.onnx') < 1e-4
    probs, = session('m.onnx').run(['probs'], {'images': stored(learn.dls).numpy()})
    torch.testing.assert_close(torch.from_numpy(probs), preds(learn).softmax(1), atol=1e-4, rtol=0)

def my_loss(scores, targets): return nn.functional.cross_entropy(scores, targets)

class MyLoss:
    def __call__(self, scores, targets): return my_loss(scores, targets)

class Sharper(CrossEntropyLossFlat):
    def activation(self, scores): return (2 * scores).softmax(-1)

UNKNOWN = {
    'function': (my_loss, ['my_loss', 'CrossEntropyLossFlat()']),
    'partial': (partial(my_loss), ['my_loss', 'CrossEntropyLossFlat()']),
    'object': (MyLoss(), ['MyLoss', 'CrossEntropyLossFlat()']),
    'other probabilities': (Sharper(), ['CrossEntropyLoss', 'not softmax']),
}

@pytest.mark.parametrize('loss, words', UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_said_of_a_loss_is_true(pictures, loss, words):
    learn = untrained(loaders(pictures), 10, loss)
    with pytest.raises(InputError) as e: export_onnx(learn, 'm.onnx')
    assert all(word in str(e.value) for word in words) and ' at 0x' not in str(e.value)
    if 'CrossEntropyLossFlat()' not in words: return
    learn.loss_func = CrossEntropyLossFlat()
    assert export_onnx(learn, 'm.onnx') < 1e-4

def test_the_learner_of_a_rung_gives_what_its_model_gives(tmp_path):
    f = fitted('mlp', 2)
    assert export_onnx(f.learner, 'learner.onnx') < 1e-4 and export_onnx(f, 'm.onnx') < 1e-5
    images = {'images': f.images.valid.images.numpy()}
    scores, probs = session('learner.onnx').run(None, images)
    np.testing.assert_allclose(scores, session('m.onnx').run(['scores'], images)[0], atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(probs), f.probs, atol=1e-5, rtol=0)

def test_batch_transforms_of_our_loaders_are_in_the_file(tmp_path):
    dls = dataloaders(image_set(10, (1, 20, 20)), device='cpu', stats='train')
    dls.add_tfms(aug_transforms(size=16), 'after_batch')
    learn = learner(dls)
    assert export_onnx(learn, 'm.onnx') < 1e-4
    probs, = session('m.onnx').run(['probs'], {'images': dls.valid_ds.split.stored.numpy()})
    torch.testing.assert_close(torch.from_numpy(probs), preds(learn), atol=1e-4, rtol=0, check_dtype=False)

@pytest.mark.filterwarnings('ignore')
def test_a_pickled_learner_without_images_gets_out(tmp_path, pictures):
    for number, data in enumerate([dict(batch_tfms=Normalize()), dict(img_cls=PILImageBW)]):
        learn = learner(loaders(pictures, **data))
        learn.export(tmp_path/'m.pkl')
        assert export_onnx(load_learner(tmp_path/'m.pkl'), f'{number}.onnx') < 1e-4
        probs, = session(f'{number}.onnx').run(['probs'], {'images': stored(learn.dls).numpy()})
        torch.testing.assert_close(torch.from_numpy(probs), preds(learn), atol=1e-4, rtol=0, check_dtype=False)

@pytest.mark.parametrize('method, size, allowed', [('squish', (12, 18), 0), ('crop', (16, 16), 40)])
def test_pillow_resizes_as_the_item_transform(tmp_path, pictures, method, size, allowed):
    dls, (h, w) = loaders(pictures, item_tfms=Resize(size, method=method)), size
    files = [Image.open(f) for f in dls.valid_ds.items]
    if method == 'squish': found = [f.resize((w, h), Image.Resampling.BILINEAR) for f in files]
    else: found = [ImageOps.fit(f, (w, h), Image.Resampling.BILINEAR) for f in files]
    difference = np.stack([np.asarray(f, int).transpose(2, 0, 1) for f in found]) - stored(dls).numpy()
    assert np.abs(difference).mean() <= allowed / 10 and np.abs(difference).max() <= allowed

def test_the_example_in_the_docs_needs_neither_torch_nor_fastai(tmp_path, pictures):
    page = (REPO/'docs'/'models.md').read_text(encoding='utf-8')
    code, = [b for b in re.findall(r'^```python\n(.*?)^```', page, re.M | re.S) if 'InferenceSession' in b]
    learn = learner(loaders(pictures, item_tfms=Resize(16, method='squish')))
    export_onnx(learn, 'pets.onnx')
    file = learn.dls.valid_ds.items[0]
    Image.open(file).save('photo.png')
    with learn.no_bar(): name, _, probs = learn.predict(file)
    without = "import sys; sys.modules['torch'] = sys.modules['fastai'] = sys.modules['fastrecipes'] = None\n"
    printed = subprocess.run([sys.executable, '-c', without + code], capture_output=True, text=True, check=True).stdout
    assert printed.split()[0] == name and abs(float(printed.split()[1]) - probs.max().item()) < 1e-4


class Brighter(Transform):
    "A batch transform that is no augmentation"
    order = 20
    def encodes(self, x:TensorImage): return x + .1

class Floats(Transform):
    "An item transform after which images are no bytes"
    order = 6 # After `ToTensor`
    def encodes(self, x:TensorImage): return x.float()

class Choosy(nn.Module):
    "A model whose operations depend on the images"
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x): return self.net(x) if x.mean() > .1 else -self.net(x)

class Counting(Choosy):
    "A model whose operations depend on the number of images"
    def forward(self, x): return self.net(x) if len(x) < 5 else -self.net(x)

CE = CrossEntropyLossFlat()

def block(home, target, get_y):
    return DataBlock((ImageBlock, target), get_items=lambda h: sorted(h.glob('*/*.png')), get_y=get_y,
                     item_tfms=Resize(16)).dataloaders(home, bs=16, num_workers=0)

def of_pairs(home):
    "`DataLoaders` of numbers, not images"
    pairs = [(torch.rand(5), torch.tensor(i % 2)) for i in range(40)]
    dls = DataLoaders.from_dsets(pairs, pairs, bs=8, num_workers=0)
    dls.vocab = ['a', 'b']
    return Learner(dls, nn.Linear(5, 2), loss_func=CE)

def of_plain_loaders(home):
    dls = DataLoaders(*[DataLoader([(torch.rand(5), torch.tensor(0))] * 8, bs=4)] * 2)
    dls.vocab = ['a', 'b']
    return Learner(dls, nn.Linear(5, 2), loss_func=CE)

def untrained(dls, columns, loss_func, wrap=lambda net: net):
    return Learner(dls, wrap(small_net(dls, columns)), loss_func=loss_func)

def segmenting(home):
    return Learner(loaders(home), nn.Conv2d(3, 10, 1), loss_func=lambda pred, y: pred.mean())

REFUSED = {
    'several labels': (lambda h: untrained(
        block(h, MultiCategoryBlock, lambda f: [f.parent.name]), 10, BCEWithLogitsLossFlat()), ['BCE', 'torch.onnx']),
    'a number': (lambda h: untrained(
        block(h, RegressionBlock, lambda f: float(f.stem)), 1, MSELossFlat()), ['vocab', 'torch.onnx']),
    'a mask': (segmenting, ['(30, 10, 16, 16)', 'torch.onnx']),
    'no images': (of_pairs, ['inputs', 'torch.onnx']),
    'plain loaders': (of_plain_loaders, ['fastai.data.load.DataLoader', 'ImageDataLoaders']),
    'other classes': (lambda h: untrained(loaders(h), 12, CE), ['12', '10', 'dls.c']),
    'sizes': (lambda h: Learner(
        loaders(h, item_tfms=ToTensor()), nn.Flatten(), loss_func=CE), ['sizes', 'Resize(...)']),
    'floats': (lambda h: untrained(
        loaders(h, item_tfms=[Resize(16), Floats()]), 10, CE), ['float32', 'batch_tfms']),
    'a batch transform': (lambda h: untrained(loaders(h, batch_tfms=Brighter()), 10, CE), ['Brighter', 'item_tfms']),
    'operations that change': (lambda h: untrained(loaders(h), 10, CE, Choosy), ['ONNX cannot hold', 'forward']),
    'operations that count': (lambda h: untrained(loaders(h), 10, CE, Counting), ['ONNX cannot hold', 'forward']),
    'no model': (lambda h: small_net(loaders(h), 10), ['Sequential', 'Learner']),
}

@pytest.mark.parametrize('make, words', REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path, pictures, make, words):
    model = make(pictures)
    with refused(*words): export_onnx(model, 'm.onnx')
    assert os.listdir() == []

def test_a_file_that_gives_other_results_is_not_written(tmp_path, pictures, monkeypatch):
    learn = learner(loaders(pictures, batch_tfms=Normalize()))
    allowed = pixels_room.ALLOWED['gpu' if torch.cuda.is_available() else 'learner']
    monkeypatch.setattr(pixels_room._Normalise, 'forward', lambda self, x: (x - self.mean) / (self.std + .01))
    with refused('differ', f'{allowed:.0e}'): export_onnx(learn, 'm.onnx')
    assert os.listdir() == []
