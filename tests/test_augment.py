"Random changes of training images, and classes that count the same: what they do, and that a stopped training resumes"
import pickle
import pytest, torch
from fastai.callback.mixup import MixUp
from fastai.losses import CrossEntropyLossFlat
from conftest import refused
from fastrecipes.data.augment import Augment, augment_loaders, flips, shifts
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.data.loaders import dataloaders
from fastrecipes.keep.store import load, save
from fastrecipes.ladder.pretrained import fit_linear
from fastrecipes.ladder.recipe import fit, recipe
from fastrecipes.ladder.settings import recipes
from fastrecipes.lessons.sgd import ClassLoss, cross_entropy, mnist_loss
from fastrecipes.training.checkpoint import Checkpoint
from fastrecipes.training.fitting import balanced_weights, WeightedLoss
from made import noise_images
from reporters import Each

KINDS = ['flips', 'shifts', 'photo']
QUICK = dict(
    sgd=dict(epochs=3), linear=dict(epochs=3), simple_net=dict(epochs=3), mlp=dict(epochs=3, dropout=.3),
    logistic=dict(epochs=3), convnet=dict(epochs=3), resnet18=dict(epochs=3, bs=8),
    finetune=dict(epochs=3, bs=8, side=64))
FAST = ['sgd', 'linear', 'simple_net', 'mlp', 'logistic', 'convnet']


def weights_of(model): return {n: t.clone() for n, t in model.state_dict().items()}
def equal(a, b): return a.keys() == b.keys() and all(torch.equal(t, b[n]) for n, t in a.items())

def numbers(n, h, w):
    "Images in which every pixel has another value, in [0, 1]"
    return torch.arange(h * w).view(1, 1, h, w).expand(n, 1, h, w) / (h * w)


# The changes

def test_flips_mirror_about_half_of_the_images_and_change_no_pixel():
    torch.manual_seed(0)
    x = torch.rand(400, 3, 5, 4)
    changed = flips(x)
    is_same = (changed == x).flatten(1).all(1)
    is_mirrored = (changed == x.flip(-1)).flatten(1).all(1)
    assert (is_same ^ is_mirrored).all() and 150 < is_mirrored.sum() < 250

@pytest.mark.parametrize('h, w', [(8, 8), (24, 40), (3, 2)])
def test_shifts_move_each_image_by_up_to_an_eighth(h, w):
    torch.manual_seed(0)
    x = numbers(300, h, w)
    at = (shifts(x) * h * w).round().long()[:, 0]
    most = [max(1, round(h / 8)), max(1, round(w / 8))]
    rows, columns = at // w, at % w
    middle = h // 2, w // 2
    dy, dx = rows[:, middle[0], 0] - middle[0], columns[:, 0, middle[1]] - middle[1]
    if h > 3: # Nothing is mirrored in the middle
        for moved, m in ((dy, most[0]), (dx, most[1])): assert set(moved.tolist()) == set(range(-m, m + 1))
    assert torch.equal(rows, rows[:, :, :1].expand_as(rows)) and torch.equal(columns, columns[:, :1].expand_as(rows))

@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 20, 31)])
@pytest.mark.parametrize('kind', KINDS)
def test_a_batch_keeps_its_shape_its_range_and_its_type(kind, shape):
    x = torch.rand(6, *shape)
    before = x.clone()
    changed = Augment(kind)(x)
    assert type(changed) is torch.Tensor and changed.shape == x.shape and changed.dtype == torch.float32
    assert changed.min() >= 0 and changed.max() <= 1 and torch.equal(x, before)

def test_each_image_gets_a_draw_of_its_own():
    for kind in KINDS:
        torch.manual_seed(0)
        changed = Augment(kind)(numbers(64, 16, 16))
        assert len({tuple(c.flatten().tolist()) for c in changed}) > 1

def test_an_unknown_kind_is_one_line():
    with refused('flip', 'flips'): Augment('flip')


# In the loaders

def test_validation_images_are_never_changed_and_training_images_are_changed_before_they_are_normalised(digits):
    plain = dataloaders(digits, 64, 'cpu', 'train', shuffle=False)
    changed = dataloaders(digits, 64, 'cpu', 'train', shuffle=False)
    augment_loaders(changed, 'photo')
    for (x, _), (y, _) in zip(plain.valid, changed.valid): assert torch.equal(x, y)
    new = digits.valid.images[:5]
    assert torch.equal(plain.test_dl(new).one_batch()[0], changed.test_dl(new).one_batch()[0])
    assert not torch.equal(plain.train.one_batch()[0], changed.train.one_batch()[0])
    pixels, _ = changed.train.decode(changed.train.one_batch())
    assert pixels.min() >= 0 and pixels.max() <= 1
    mean, std = (torch.tensor(s).view(1, -1, 1, 1) for s in changed.train.stats)
    x = changed.train.one_batch()[0]
    assert (x * std + mean).min() > -1e-5 and (x * std + mean).max() < 1 + 1e-5

def test_loaders_of_another_kind_are_refused(digits):
    from fastai.data.core import DataLoaders
    from torch.utils.data import DataLoader
    dls = dataloaders(digits, 64, 'cpu')
    other = DataLoaders(DataLoader([1, 2]), dls.valid)
    with refused('augment=flips', 'dataloaders(images)'): augment_loaders(other, 'flips')
    augment_loaders(other, 'none')

def test_tta_changes_validation_images_on_request(digits):
    f = fit('linear', digits, device='cpu', epochs=1, augment='shifts')
    with f.learner.no_bar(), f.learner.no_logging():
        plain = f.learner.get_preds()[0]
        assert not torch.equal(f.learner.tta(n=2)[0], plain)
        assert torch.equal(f.learner.get_preds()[0], plain)

@pytest.mark.parametrize('kind', KINDS)
def test_the_learner_can_be_exported(tmp_path, digits, kind):
    dls = dataloaders(digits, 64, 'cpu')
    augment_loaders(dls, kind)
    assert pickle.loads(pickle.dumps(dls.train.augment)).kind == kind


# In the recipes

@pytest.mark.parametrize('name', FAST)
@pytest.mark.parametrize('kind', ['shifts', 'photo'])
def test_a_stopped_training_with_augmentation_resumes_bit_for_bit(tmp_path, name, kind):
    _resumes(tmp_path, name, augment=kind, class_weights='balanced')

@pytest.mark.slow
@pytest.mark.parametrize('name', ['resnet18', 'finetune'])
def test_a_stopped_training_of_a_large_net_resumes_bit_for_bit(tmp_path, name):
    _resumes(tmp_path, name, augment='photo', class_weights='balanced')

def _resumes(folder, name, **settings):
    images = noise_images(26, 'abc')
    how = dict(device='cpu', **QUICK[name], **settings)
    def stop(row):
        if row['epoch'] == 1: raise KeyboardInterrupt
    whole = fit(name, images, **how)
    with pytest.raises(KeyboardInterrupt):
        fit(name, images, checkpoint=Checkpoint(folder, every=1), reporter=Each(stop), **how)
    rest = fit(name, images, checkpoint=Checkpoint(folder, every=1, resume=True), **how)
    assert equal(weights_of(whole.model), weights_of(rest.model))
    columns = ['train_loss', 'valid_loss', 'accuracy']
    assert rest.history[columns].equals(whole.history[columns])

def test_the_seed_decides_the_draws_and_none_changes_nothing(digits):
    def run(**settings): return fit('linear', digits, device='cpu', epochs=2, **settings)
    a, b = (run(augment='photo') for _ in range(2))
    assert equal(weights_of(a.model), weights_of(b.model)) and a.settings['augment'] == 'photo'
    assert not equal(weights_of(a.model), weights_of(run(augment='photo', seed=7).model))
    assert equal(weights_of(run().model), weights_of(run(augment='none', class_weights='none').model))

def test_mixup_works_with_both(digits):
    f = fit('mlp', digits, device='cpu', epochs=3, augment='shifts', class_weights='balanced', cbs=MixUp)
    assert f.accuracy > .5

def test_a_recipe_of_a_user_has_them_too(digits):
    @recipe(rung=False)
    def own(images, run, *, bs, dropout, lr, **training):
        from torch import nn
        from fastai.learner import Learner
        from fastai.metrics import accuracy
        dls = dataloaders(images, bs, run.device)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        return run.fit(Learner(dls, model, loss_func=CrossEntropyLossFlat(), metrics=accuracy), lr=.01, **training)
    try:
        f = fit('own', digits, device='cpu', epochs=1, augment='shifts', class_weights='balanced')
        assert f.learner.dls.train.augment.kind == 'shifts' and isinstance(f.learner.loss_func, WeightedLoss)
    finally: del recipes['own']

def test_frozen_says_that_it_cannot_augment():
    with refused('frozen', 'once', 'finetune'): fit('frozen', noise_images(8), device='cpu', augment='photo')

def test_a_kept_model_continues_as_it_was_trained(tmp_path, digits):
    f = fit('mlp', digits, device='cpu', epochs=1, augment='shifts', class_weights='balanced')
    kept = load(save(f, tmp_path/'m'), 'cpu')
    assert kept.settings == f.settings
    learn = kept.learner(digits)
    assert learn.dls.train.augment.kind == 'shifts' and isinstance(learn.loss_func, WeightedLoss)
    with learn.no_bar(), learn.no_logging(): learn.fit(1, .001)

def test_a_model_that_was_kept_before_there_were_these_settings_can_be_read(tmp_path, digits):
    import json
    from fastrecipes.keep.card import digest_of
    f = fit('linear', digits, device='cpu', epochs=1)
    folder = save(f, tmp_path/'m')
    card = json.loads((folder/'card.json').read_text())
    for name in ('augment', 'class_weights'): del card['settings'][name]
    (folder/'card.json').write_text(json.dumps(card | dict(digest=digest_of(card))))
    assert load(folder, 'cpu').settings['augment'] == 'none'


# Classes of different sizes

def test_balanced_weights_make_every_class_count_the_same():
    labels = torch.tensor([0] * 12 + [1] * 3 + [2])
    weights = balanced_weights(labels, 4)
    sums = torch.stack([weights[labels[labels == c]].sum() for c in range(3)])
    torch.testing.assert_close(sums, torch.full((3,), 4.)) # 16 images, 4 classes
    assert weights.isfinite().all()

@pytest.mark.parametrize('loss', [CrossEntropyLossFlat(), ClassLoss(cross_entropy)])
def test_a_weighted_loss_is_the_mean_of_weighted_losses(loss):
    scores, targets = torch.randn(9, 3), torch.arange(9) % 3
    weights = torch.tensor([.5, 1., 4.])
    weighted = WeightedLoss(loss, weights)
    each = cross_entropy(scores, targets, 'none') * weights[targets]
    torch.testing.assert_close(torch.as_tensor(weighted(scores, targets)).as_subclass(torch.Tensor), each.mean())
    weighted.reduction = 'none'
    torch.testing.assert_close(weighted(scores, targets).as_subclass(torch.Tensor), each)
    assert loss.reduction == 'mean' and weighted.y_int

def test_one_column_of_scores_is_weighted_too():
    scores, targets = torch.randn(6, 1), torch.tensor([0, 0, 0, 0, 1, 1])
    weights = torch.tensor([1., 3.])
    found = WeightedLoss(ClassLoss(mnist_loss), weights)(scores, targets)
    torch.testing.assert_close(found, (mnist_loss(scores, targets, 'none').flatten() * weights[targets]).mean())

@pytest.fixture(scope='module')
def few_ones(digits):
    "The digits, with a tenth of the ones for training"
    is_kept = (digits.train.labels != 1) | (torch.arange(len(digits.train)) % 10 == 0)
    return ImageSet('few ones', digits.classes, digits.train.take(is_kept.nonzero().flatten()), Split(*digits.valid[:]))

@pytest.mark.parametrize('name', ['sgd', 'linear', 'mlp'])
def test_balanced_weights_find_more_of_a_rare_class(few_ones, name):
    is_one = few_ones.valid.labels == 1
    def recall(kind):
        f = fit(name, few_ones, device='cpu', epochs=4, class_weights=kind)
        return (f.predictions[is_one] == 1).float().mean()
    assert recall('balanced') > recall('none') + .1

def test_the_linear_model_of_frozen_weighs_classes_too():
    gen = torch.Generator().manual_seed(0)
    y = (torch.arange(60) < 6).long()
    x = torch.randn(60, 4, generator=gen) + y[:, None]
    def n_rare(weights):
        w, b, *_ = fit_linear(x, y, 2, (.1,), class_weights=weights)
        return int((x @ w.T + b).argmax(1).sum())
    assert n_rare(None) == n_rare(torch.ones(2)) < n_rare(balanced_weights(y, 2))
    assert fit_linear(x, y, 2, class_weights=balanced_weights(y, 2))[0].isfinite().all()

def test_the_names_of_the_setting_are_those_of_the_changes():
    "They are written twice, because settings are read without PyTorch"
    from typing import get_args
    from fastrecipes.data import augment
    from fastrecipes.ladder import settings
    assert get_args(augment.Change) == get_args(settings.Change)
    assert all(augment.Augment(kind).kind == kind for kind in get_args(settings.Change) if kind != 'none')
