"""A kept model is the same model: weights, card and folder, whatever happens while it is written"""
import copy, json, lzma, multiprocessing, os, pickle, random, re, shutil, signal, socket, subprocess, sys, tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
import numpy as np, pytest, torch
from fastai.learner import Learner
from fastai.losses import BaseLoss
from fastai.torch_core import no_random
from fastai.vision.core import imagenet_stats
from pandas.testing import assert_frame_equal
from PIL import Image
from safetensors.torch import load_file
from fastrecipes.ladder import fitted as fitted_room
from fastrecipes.ladder import settings as settings_room
from fastrecipes.data.imagefile import Reading
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.data.sources import load as load_images
from fastrecipes.errors import InputError
from fastrecipes.data.loaders import dataloaders
from fastrecipes.ladder.recipe import fit, get_recipe, recipe
from fastrecipes.ladder.rungs import Parts
from fastrecipes.ladder.settings import recipes
from fastrecipes.lessons.sgd import batch_accuracy, ClassLoss
from fastrecipes.keep.predict import predict_files, ranked
from fastrecipes.keep.card import card_of, digest_of, FORMAT
from fastrecipes.keep.store import check_model_folder, FILES, load, read_card, save
from conftest import refused
from made import UNTRAINED
from limits import as_nobody, little_room
from processes import exit_of, process
from test_cli import called

ALL = ['majority', 'similarity', 'knn', 'sgd', 'logistic', 'linear', 'simple_net', 'mlp', 'convnet', 'resnet18']
SHAPES = {'grey': (1, 7, 9), 'RGB': (3, 11, 5)}
FULL = sorted(FILES)


def image_set(k, shape, n=40, source='made up', **kwargs):
    "Noise that is a little brighter for a higher class"
    gen = torch.Generator().manual_seed(k)
    def part(m):
        y = torch.arange(m) % k
        return Split((torch.randint(0, 120, (m, *shape), generator=gen) + (y * (120 // k)).view(-1, 1, 1, 1)).byte(), y)
    return ImageSet(source, tuple('abcdefghij'[:k]), part(n), part(12), **kwargs)

@lru_cache(None)
def fitted(name, k=10, shape=(1, 7, 9), /, **settings):
    "A recipe fitted quickly, resnet18 without timing its predictions"
    quick = {} if name in UNTRAINED else dict(epochs=2)
    with pytest.MonkeyPatch.context() as m:
        if name == 'resnet18': m.setattr(fitted_room, 'predict_ms_per_1000', lambda *a, **kw: 1.5)
        return fit(name, image_set(k, shape), device='cpu', **quick | settings)

def names(folder): return sorted(os.listdir(folder))
def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(Path(folder).rglob('*')) if p.is_file()}

@pytest.fixture(autouse=True)
def unpickled(monkeypatch):
    "Nothing in this file is unpickled or loaded by torch"
    def no(*args, **kwargs): pytest.fail('something was unpickled')
    for module, name in ((pickle, 'loads'), (pickle, 'load'), (torch, 'load')): monkeypatch.setattr(module, name, no)


# The same model

def test_every_recipe_is_tried_here_or_in_test_pretrained():
    assert sorted([*ALL, 'frozen', 'finetune']) == sorted(n for n, r in recipes.items() if r.parts)

VARIANTS = {'majority': [], 'similarity': [dict(distance='l1')], 'knn': [dict(k=2, references=7)],
            'sgd': [dict(dropout=.3, std=.1)],
            'logistic': [dict(dropout=.3, lr=.01)], 'linear': [dict(dropout=.3, wd=.1, best=False)],
            'simple_net': [dict(hidden=1), dict(hidden=17, dropout=.5, clip=.1)],
            'mlp': [dict(hidden=(5,), activation='leaky_relu'),
                    dict(hidden=(8, 3, 7, 2), dropout=.5, schedule='constant')],
            'convnet': [dict(filters=(2, 3, 4), dropout=.2, precision='fp32')],
            'resnet18': [dict(dropout=.3, bs=8, layout='channels-first')]}
CASES = [(n, k, colour, {}) for n in ALL for k, colour in ((2, 'grey'), (10, 'RGB'))]
CASES += [(n, 2, 'grey', settings) for n in ALL for settings in VARIANTS[n]]

@pytest.mark.parametrize('name, k, colour, settings', CASES,
                         ids=lambda v: ','.join(f'{a}={b}' for a, b in v.items()) if isinstance(v, dict) else str(v))
def test_a_loaded_model_is_the_one_that_was_saved(tmp_path, name, k, colour, settings):
    f = fitted(name, k, SHAPES[colour], **settings)
    state = copy.deepcopy(f.model.state_dict())
    assert save(f, tmp_path/'model') == tmp_path/'model' and names(tmp_path) == ['model']
    assert names('model') == (FULL if f.history is not None else sorted(FILES[:2]))
    kept = load('model', 'cpu')
    assert torch.equal(kept.predict_scores(f.images.valid.images), f.scores)
    assert torch.equal(kept.predict(f.images.valid.images), f.predictions)
    if f.has_probs: assert torch.equal(kept.predict_probs(f.images.valid.images), f.probs)
    for what in ('recipe', 'settings', 'classes', 'shape', 'stats', 'has_probs', 'device', 'parameters'):
        assert getattr(kept, what) == getattr(f, what), what
    assert {n: type(v) for n, v in kept.settings.items()} == {n: type(v) for n, v in f.settings.items()}
    assert type(kept.model) is type(f.model) and str(kept.model) == str(f.model)
    for model in (kept.model, f.model):
        assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
        assert list(model.state_dict()) == list(state)
    assert (kept.history is None) == (f.history is None)
    if f.history is not None: assert_frame_equal(kept.history, f.history, check_exact=True)
    files = [tmp_path/f'{i}.png' for i in range(4)]
    for file, im in zip(files, f.images.valid.images):
        Image.fromarray(im[0].numpy() if len(im) == 1 else im.permute(1, 2, 0).numpy()).save(file)
    predicted, scores, reasons = zip(*predict_files(kept, files))
    assert list(predicted) == files and set(reasons) == {None}
    assert torch.equal(torch.stack(scores), kept.predict_scores(files))
    assert torch.allclose(torch.stack(scores), f.scores[:4], atol=1e-5)

FIXTURES = Path(__file__).parent/'fixtures'/'models'

@pytest.mark.parametrize('name', [n for n in ALL if n not in ('majority', 'knn')]) # These are new
def test_a_model_kept_by_an_earlier_version_is_still_the_same_model(tmp_path, name):
    folder = Path(shutil.copytree(FIXTURES/name, tmp_path/name))
    for packed in folder.glob('*.xz'): packed.with_suffix('').write_bytes(lzma.decompress(packed.read_bytes()))
    kept = load(folder, 'cpu')
    scores = kept.predict_scores(torch.from_numpy(np.load(FIXTURES/'images.npy')))
    wanted = torch.tensor(json.loads((folder/'scores.json').read_text()))
    assert kept.recipe == name and torch.allclose(scores, wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max())
    assert scores.argmax(1).equal(wanted.argmax(1)) and scores.std(0).min() > 0
    assert kept.card.version == 1 and kept.card.source.name == 'digits'

@pytest.mark.parametrize('name', ['mlp', 'convnet'])
def test_a_model_of_two_classes_with_one_column_is_still_read_and_trained(tmp_path, name):
    folder = Path(shutil.copytree(FIXTURES/f'two-{name}', tmp_path/name))
    kept = load(folder, 'cpu')
    pixels = torch.from_numpy(np.load(FIXTURES/'images.npy'))
    wanted = torch.tensor(json.loads((folder/'scores.json').read_text()))
    scores = kept.predict_scores(pixels)
    assert scores.shape == (10, 1) and torch.allclose(scores, wanted, rtol=1e-3, atol=1e-3)
    assert torch.allclose(kept.predict_probs(pixels)[:, 1:], wanted.sigmoid(), atol=1e-3)
    learn = kept.learner(load_images('digits', classes='3,7'))
    with learn.no_bar(), learn.no_logging(): learn.fit(1, .001)
    assert learn.recorder.values[-1][-1] > .9

def test_loading_leaves_the_callers_random_state_alone(tmp_path):
    save(fitted('mlp'), 'm')
    save(fitted('resnet18'), 'r')
    torch.manual_seed(3)
    random.seed(3)
    want = torch.rand(3), random.random()
    torch.manual_seed(3)
    random.seed(3)
    load('m'), load('r')
    assert torch.equal(torch.rand(3), want[0]) and random.random() == want[1]

def test_a_loaded_model_does_not_hang_on_its_file(tmp_path):
    "A mapped file that is cut short would kill the process, and one that is written over would change the scores"
    f = fitted('mlp')
    save(f, 'm')
    kept = load('m', 'cpu')
    with open('m/model.safetensors', 'r+b') as file: file.write(b'\xff' * os.path.getsize('m/model.safetensors'))
    assert torch.equal(kept.predict_scores(f.images.valid.images), f.scores)
    os.truncate('m/model.safetensors', 0)
    assert torch.equal(kept.predict_scores(f.images.valid.images), f.scores)

def test_the_repr_tells_what_it_is(tmp_path):
    f = fitted('mlp', 2)
    text = repr(load(save(f, 'm'), 'cpu'))
    parts = ('mlp', '2 classes', f'{f.accuracy:.4f}', '12 validation', 'made up', f'{f.parameters:,}', 'cpu')
    assert '\n' not in text and [p for p in parts if p not in text] == []

@pytest.mark.parametrize('scores, wanted', [
    ([1e-9], 'ba'), ([0.], 'ab'), ([-1e-9], 'ab'), ([200.], 'ba'), ([-200.], 'ab'),
])
def test_the_first_of_two_classes_is_the_predicted_one_even_where_probabilities_are_equal(scores, wanted):
    f = fitted('linear', 2)
    assert ''.join(n for n, _ in ranked(f, torch.tensor(scores), 2)) == wanted
    assert f.classes[fitted_room._labels(torch.tensor([scores])).item()] == wanted[0]

@pytest.mark.parametrize('scores, wanted', [
    ([0., 1e-9, -1e-9], 'bac'), ([200., 200.00002, -300.], 'bac'), ([-500., 0., -400.], 'bca'), ([2., 2., 2.], 'abc'),
])
def test_the_order_of_several_classes_is_that_of_their_scores(scores, wanted):
    f = replace(fitted('linear'), classes=tuple('abc'))
    assert ''.join(n for n, _ in ranked(f, torch.tensor(scores), 3)) == wanted
    assert f.classes[torch.tensor(scores).argmax()] == wanted[0]


# Training it further

@pytest.mark.parametrize('name', [n for n in ALL if n not in UNTRAINED])
@pytest.mark.parametrize('k', [2, 10])
def test_a_learner_trains_on_as_the_original_would(tmp_path, name, k):
    f = fitted(name, k)
    parts, kept = get_recipe(name).parts(f.shape, k, **f.settings), load(save(f, 'm'), 'cpu')
    def go_on(learn):
        with learn.no_bar(), learn.no_logging(), no_random(7): learn.fit(2, .001)
        return copy.deepcopy(learn.model.state_dict())
    loss = parts.loss if isinstance(parts.loss, BaseLoss) else ClassLoss(parts.loss)
    with no_random(1): learn = kept.learner(f.images, bs=16)
    before = copy.deepcopy(kept.model.state_dict())
    with no_random(1):
        original = Learner(dataloaders(f.images, 16, 'cpu', f.stats), copy.deepcopy(f.model),
                           loss_func=loss, opt_func=parts.opt_func, metrics=batch_accuracy)
    after, wanted = go_on(learn), go_on(original)
    assert all(torch.equal(t, wanted[n]) for n, t in after.items())
    assert any(not torch.equal(t, before[n]) for n, t in after.items())
    assert learn.model is kept.model and learn.dls.train.bs == 16 and learn.dls.train.stats == f.stats

def test_training_on_improves_the_model_with_loaders_and_settings_of_a_learner(tmp_path, digits):
    kept = load(save(fit('linear', digits, epochs=1, lr=.1, device='cpu'), 'm'), 'cpu')
    learn = kept.learner(dataloaders(digits, 32, 'cpu'), metrics=[])
    assert learn.metrics == []
    with learn.no_bar(), learn.no_logging():
        before, = learn.validate()
        learn.fit(3, .5)
        assert learn.validate()[0] < before * .7

def test_a_learner_accepts_the_name_of_images_as_fit_does(tmp_path):
    kept = load(save(fit('mlp', 'digits', device='cpu', epochs=1, hidden=(8,)), 'm'), 'cpu')
    learn, images = kept.learner('digits'), load_images('digits')
    assert kept.classes == images.classes and learn.dls.train.n == len(images.train)

def of_files(where, make, n=8):
    "A folder with `n` images of each of two classes: make(class, number)"
    for k, c in enumerate('ab'):
        (where/c).mkdir(parents=True)
        for i in range(n): make(k, i).save(where/c/f'{i}.png')
    return where

@pytest.mark.parametrize('options', [
    dict(size=12, channels=1, resize='pad', background='10,20,30'), dict(size='6x9', resize='squish'),
    dict(max_pixels=500),
], ids=str)
def test_a_learner_reads_a_folder_as_the_training_images_were_read(tmp_path, options):
    def make(k, i):
        im = Image.new('RGBA', (20, 14), (100 * k, 9 * i, 50, 255))
        im.paste((0, 0, 0, 0), (0, 0, 9, 5))
        return im
    folder = of_files(tmp_path/'set', make)
    images = load_images(folder, **options)
    kept = load(save(fit('linear', images, device='cpu', epochs=1), 'm'), 'cpu')
    again = kept.learner(folder).dls.valid_ds
    assert torch.equal(again.split.images, images.valid.images) and again.reading == images.reading == kept.reading

def test_a_learner_reads_deep_images_on_the_scale_of_the_model(tmp_path):
    def deep(high): return lambda k, i: Image.fromarray(np.full((8, 8), high - 100 * i - 1000 * k, np.uint16))
    images = load_images(of_files(tmp_path/'set', deep(60000)))
    kept = load(save(fit('linear', images, device='cpu', epochs=1), 'm'), 'cpu')
    dark = of_files(tmp_path/'dark', deep(4000))
    assert load_images(dark).reading.integers == (0, 4095) and load_images(dark).train.images.max() > 200
    again = kept.learner(dark).dls.valid_ds
    assert again.reading == kept.reading and kept.reading.integers == (0, 65535) and again.split.images.max() < 20

def test_a_learner_reads_a_built_in_source_at_the_size_of_the_model(tmp_path):
    images = load_images('digits', size=6, channels=3, resize='pad')
    kept = load(save(fit('linear', images, device='cpu', epochs=1), 'm'), 'cpu')
    again = kept.learner('digits').dls.valid_ds
    assert torch.equal(again.split.images, images.valid.images) and again.reading == kept.reading

FINGERPRINT = '0f624e10bcd1645de9da87c6976b73a6' # From before readings counted
UNUSUAL = ['--resize', 'pad', '--background', 'black']

def of_noise(k, i): return Image.effect_noise((20, 14), 40 + 5 * i + 60 * k)

def test_a_finished_model_of_another_reading_is_not_the_one_to_resume(tmp_path):
    command = ['fit', 'sgd', str(of_files(tmp_path/'set', of_noise)), '--epochs', '2', '-o', 'kept', '--resume']
    assert called(*command, *UNUSUAL).returncode == 0 and called(*command, *UNUSUAL).returncode == 0
    before = Path('kept/card.json').read_bytes()
    assert called(*command).returncode == 2 and Path('kept/card.json').read_bytes() == before
    assert load('kept', 'cpu').reading == Reading('pad', (0, 0, 0))

def test_a_comparison_does_not_mix_readings_when_it_is_resumed(tmp_path):
    command = ['compare', str(of_files(tmp_path/'set', of_noise)), '-o', 'kept', '--resume']
    assert called(*command, *UNUSUAL, '-r', 'similarity').returncode == 0
    before = Path('kept/comparison.json').read_bytes()
    assert called(*command, '-r', 'similarity,sgd').returncode == 2
    assert Path('kept/comparison.json').read_bytes() == before
    assert called(*command, *UNUSUAL, '-r', 'similarity,sgd').returncode == 0

def test_the_usual_reading_leaves_the_fingerprint_as_it_was(tmp_path):
    images = image_set(2, (1, 4, 4))
    assert images.reading == Reading() and images.fingerprint == FINGERPRINT
    prints = {replace(images, reading=r).fingerprint for r in (Reading(), Reading('pad'), Reading('pad', (0, 0, 0)))}
    assert len(prints) == 3
    folder = of_files(tmp_path/'set', lambda k, i: Image.fromarray(np.full((4, 4), 900 * k + 9 * i, np.uint16)))
    cold, warm = load_images(folder), load_images(folder)
    assert cold.reading.integers == (0, 1023) and cold.fingerprint == warm.fingerprint

@pytest.mark.parametrize('name', UNTRAINED)
def test_a_model_without_weights_to_train_has_no_learner(tmp_path, name):
    f = fitted(name)
    with refused(name): load(save(f, 'm')).learner(f.images)

def test_images_that_do_not_fit_the_model_are_refused(tmp_path):
    f, plain = fitted('mlp'), fitted('linear')
    kept, s = load(save(f, 'm'), 'cpu'), f.images
    with refused('a, b', 'a, b, c'): kept.learner(image_set(2, f.shape))
    with refused('b, a, c', 'order'): kept.learner(replace(s, classes=tuple('bacdefghij')))
    with refused('(1, 9, 7)', '(1, 7, 9)', 'size'): kept.learner(image_set(10, (1, 9, 7)))
    with refused('normalised', 'None', 'stats=kept.stats'): kept.learner(dataloaders(s, 16, 'cpu'))
    with refused('normalised', '((', 'None'): load(save(plain, 'p'), 'cpu').learner(dataloaders(s, 16, 'cpu', 'train'))
    assert kept.learner(dataloaders(s, 16, 'cpu', stats=kept.stats))
    assert kept.learner(dataloaders(s, 16, 'cpu', stats=[list(v) for v in kept.stats]))

def test_stats_in_lists_such_as_fastais_are_the_same_stats(tmp_path):
    f = replace(fitted('mlp', 2, (3, 6, 5)), stats=imagenet_stats)
    assert isinstance(imagenet_stats[0], list)
    assert load(save(f, 'm'), 'cpu').learner(dataloaders(f.images, 16, 'cpu', imagenet_stats))


# The card

KEYS = [
    'format', 'version', 'recipe', 'variant', 'settings', 'asked', 'classes', 'shape', 'stats', 'has_probs', 'metrics',
    'history', 'best_epoch', 'train_seconds', 'predict_ms_per_1000', 'parameters', 'seed', 'device', 'threads',
    'source', 'reading', 'versions', 'weights', 'digest',
]

def strict(path):
    "A file of JSON, in which NaN and Infinity are errors"
    def no(name): pytest.fail(f'{name} is not JSON')
    return json.loads(Path(path).read_text('utf-8'), parse_constant=no)

@pytest.mark.parametrize('name', ['similarity', 'sgd', 'mlp'])
def test_the_card_says_all_of_it_in_strict_json(tmp_path, name):
    s = image_set(10, (3, 6, 5))
    f = fit(name, replace(s, test=s.train), device='cpu', test=True, seed=9,
            **({} if name == 'similarity' else dict(epochs=3)))
    card = strict(save(f, 'm')/'card.json')
    assert list(card) == KEYS and card['digest'] == digest_of(card)
    assert read_card('m') == load('m').card and read_card('m').to_json() == card_of(f, card['weights']).to_json()
    assert json.loads(read_card('m').to_json()) == card
    assert {n: card[n] for n in ('format', 'version', 'recipe', 'seed', 'device')} == dict(
        format=FORMAT, version=1, recipe=name, seed=9, device='cpu')
    assert card['metrics'] == {n: dict(accuracy=j.accuracy, loss=j.loss, images=len(j.targets))
                               for n, j in (('valid', f.valid), ('test', f.test))}
    assert card['metrics']['test']['images'] == 40
    assert (card['metrics']['valid']['loss'] is None) == (name == 'similarity')
    assert card['history'] == ([] if f.history is None else f.history.to_dict('records'))
    assert card['best_epoch'] == f.best_epoch
    assert card['train_seconds'] == f.seconds and card['predict_ms_per_1000'] == f.ms_per_1000
    assert card['parameters'] == f.parameters
    assert card['classes'] == list('abcdefghij') and card['shape'] == [3, 6, 5]
    assert card['stats'] == (None if f.stats is None else [list(v) for v in f.stats])
    assert card['settings'] == json.loads(json.dumps(f.settings))
    assert card['source'] == dict(name='made up', fingerprint=f.images.fingerprint,
                                  images=dict(train=40, valid=12, test=40))
    assert card['versions']['torch'] == torch.__version__.partition('+')[0]
    assert set(card['versions']) == {'fastrecipes', 'python', 'torch', 'torchvision', 'fastai'}

def test_the_card_holds_nothing_about_the_machine(image_folder, monkeypatch, tmp_path):
    image_folder({'a': 4, 'b': 4})
    text = (save(fit('sgd', './set', epochs=1, device='cpu'), tmp_path/'deep'/'model')/'card.json').read_text()
    assert json.loads(text)['source']['name'] == 'set'
    for secret in (str(tmp_path), str(Path.home()), 'deep', os.sep + 'tmp', socket.gethostname(),
                   *filter(None, [os.environ.get('USER')])):
        if len(secret) > 3: assert secret not in text, secret

def test_values_that_are_not_finite_numbers_are_null(tmp_path):
    f = fitted('sgd', 2)
    history = f.history.assign(train_loss=float('nan'), valid_loss=[float('inf'), 1.])
    scores = f.scores.clone()
    scores[0] = float('nan')
    card = strict(save(replace(f, history=history, valid=f.valid._replace(scores=scores)), 'm')/'card.json')
    assert card['metrics']['valid']['loss'] is None
    assert [r['train_loss'] for r in card['history']] == [None, None]
    assert [r['valid_loss'] for r in card['history']] == [None, 1.]
    assert load('m').history.train_loss.isna().all()

@pytest.mark.parametrize('classes', [
    ('Zürich', '東京'), ('a"b', "c'd\\"), ('x\ny', '\x1b[31m'), ('', ' '), ('b\udcff', '\ud800'), ('<script>', 'None'),
])
def test_any_names_come_back(tmp_path, classes):
    f = fitted('linear', 2)
    save(replace(f, classes=classes, images=replace(f.images, classes=classes, source='set\udce9\n')), 'm')
    assert load('m').classes == classes
    assert load('m').card.source.name == 'set\udce9\n' and (tmp_path/'m/card.json').read_bytes().decode()

def test_a_card_may_be_laid_out_otherwise(tmp_path):
    card = strict(save(fitted('mlp'), 'm')/'card.json')
    (tmp_path/'m/card.json').write_text(json.dumps(card, sort_keys=True, separators=(',', ':')))
    assert json.loads(load('m').card.to_json()) == card

def test_the_weights_are_plain_safetensors(tmp_path):
    f = fitted('resnet18')
    found = load_file(save(f, 'm')/'model.safetensors')
    assert set(found) == set(f.model.state_dict())
    assert all(torch.equal(t, f.model.state_dict()[n]) for n, t in found.items())

def test_the_same_model_is_the_same_file(tmp_path):
    f = fitted('mlp')
    assert (save(f, 'a')/'model.safetensors').read_bytes() == (save(f, 'b')/'model.safetensors').read_bytes()


# Not worth keeping, or not possible

@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_weights_that_are_not_finite_numbers_are_refused(tmp_path, value):
    f = fitted('mlp')
    broken = replace(f, model=copy.deepcopy(f.model))
    with torch.no_grad(): broken.model[1].weight[2, 3] = value
    save(f, 'm')
    old = contents('m')
    with refused('1.weight', 'lr'): save(broken, 'm')
    assert contents('m') == old and names('.') == ['m']

@pytest.fixture
def own():
    "For a user's own recipes: afterwards only those of the library are registered"
    was = dict(recipes)
    yield
    recipes.clear()
    recipes.update(was)

def _parts(shape, n_classes, **settings):
    return Parts(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(shape[0] * shape[1] * shape[2], n_classes)))

def test_a_recipe_of_ones_own_is_kept_if_it_says_how_to_build_its_model(own, tmp_path):
    from fastrecipes.training.fitting import Outcome
    def mine(images, run, *, note: settings_room.Count = None):
        return Outcome(_parts(images.shape, len(images.classes)).model)
    s = image_set(3, (1, 4, 4))
    f = recipe(mine)(s, device='cpu')
    with refused('mine', '@recipe(parts=...)'): save(f, 'm')
    assert names('.') == []
    f = recipe(parts=_parts)(mine)(s, device='cpu')
    assert torch.equal(load(save(f, 'm'), 'cpu').predict_scores(s.valid.images), f.scores)
    del recipes['mine']
    with refused("unknown recipe 'mine'", 'similarity'): load('m')
    with refused('mine', '@recipe(parts=...)'): save(f, 'n')


# The folder

def test_a_folder_is_made_with_all_above_it(tmp_path):
    assert save(fitted('linear'), 'a/b/c') == tmp_path/'a/b/c' and names('a/b/c') == FULL and names('a/b') == ['c']

def test_text_a_home_and_dots_are_understood(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    assert save(fitted('linear'), '~/x/../m') == tmp_path/'home/m'
    assert load('~/m').recipe == 'linear' and read_card('~/m').recipe == 'linear'

def test_saving_again_replaces_all_of_it(tmp_path):
    save(fitted('mlp'), 'm')
    save(fitted('similarity'), 'm')
    assert names('m') == sorted(FILES[:2]) and load('m').recipe == 'similarity' and names('.') == ['m']

def test_an_empty_folder_and_one_with_a_checkpoint_are_taken(tmp_path):
    for i, there in enumerate(([], ['checkpoint.safetensors', '.checkpoint.safetensors.123'])):
        (tmp_path/str(i)).mkdir()
        for n in there: (tmp_path/str(i)/n).write_text('x')
        save(fitted('linear'), str(i))
        assert names(str(i)) == FULL, 'the training is over, so its checkpoint is gone'

@pytest.mark.parametrize('there, named', [
    (['notes.txt'], 'notes.txt'),
    (['notes.txt', *FILES], 'card.json, history.png, model.safetensors, notes.txt'),
    (['sub/x'], 'sub'),
    (['a', 'b', 'c', 'd'], 'a, b, c, d'), ([*'abcde'], 'a, b, c and 2 more'),
    (['.hidden'], '.hidden'),
    (['model.safetensors'], 'model.safetensors'),
    (['history.png'], 'history.png'),
    (['card.json'], 'card.json'),
    (['history.png/precious', 'card.json'], 'history.png'),
    (['.checkpoint.safetensors-mine'], 'mine'),
], ids=lambda v: ' '.join(v) if isinstance(v, list) else '')
def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path, there, named):
    for n in there:
        (tmp_path/'m'/n).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/'m'/n).write_text('mine')
    old = contents('m')
    for f in (check_model_folder, lambda d: save(fitted('linear'), d)):
        with refused(tmp_path/'m', 'holds other files', named, 'choose another'): f('m')
    assert contents('m') == old and names('.') == ['m']

def test_other_files_beside_a_model_are_refused_and_left_alone(tmp_path):
    save(fitted('linear'), 'm')
    (tmp_path/'m/mine.txt').write_text('mine')
    old = contents('m')
    with refused('mine.txt'): save(fitted('mlp'), 'm')
    assert contents('m') == old and load('m').recipe == 'linear'

def test_a_model_whose_card_is_damaged_can_be_replaced(tmp_path):
    path = save(fitted('mlp'), 'm')/'card.json'
    path.write_bytes(path.read_bytes()[:300])
    assert load(save(fitted('linear'), 'm')).recipe == 'linear'

def _loop(tmp_path):
    (tmp_path/'m').symlink_to('n')
    (tmp_path/'n').symlink_to('m')
    return 'm'
def _file(tmp_path):
    (tmp_path/'m').write_text('mine')
    return 'm'
def _below_file(tmp_path):
    (tmp_path/'m').write_text('mine')
    return 'm/n'
BAD_PLACES = { # Name: how to make the place, and a part of the reason
    'file': (_file, 'is a file'),
    'below a file': (_below_file, 'choose another'),
    'loop': (_loop, 'choose another'),
    'here': (lambda t: '.', 'the current folder'),
    'above': (lambda t: t.parent, 'the current folder'),
    'root': (lambda t: '/', 'the current folder'),
    'long': (lambda t: 'x' * 240, 'choose a shorter'),
    'too long': (lambda t: 'x' * 300, 'choose'),
    'proc': (lambda t: '/proc/model', 'cannot write there'),
    'no home': (lambda t: '~nobody-of-this-name/m', 'choose another'),
}

@pytest.mark.parametrize('place, reason', BAD_PLACES.values(), ids=BAD_PLACES)
def test_a_place_for_no_model_is_refused_and_left_alone(tmp_path, place, reason):
    folder = place(tmp_path)
    before = {n: os.lstat(n).st_ino for n in names('.')}
    for f in (check_model_folder, lambda d: save(fitted('linear'), d)):
        with refused(reason): f(folder)
    assert {n: os.lstat(n).st_ino for n in names('.')} == before

def empty_mounts():
    "Mount points that are empty and can be written, where the system lists them"
    table = Path('/proc/self/mounts')
    for line in table.read_text().splitlines() if table.exists() else []:
        place = line.split()[1]
        writable = os.path.isdir(place) and os.access(place, os.W_OK) and os.access(os.path.dirname(place), os.W_OK)
        if place != '/' and writable and not os.listdir(place): yield place

def test_a_mount_point_is_refused_since_it_cannot_be_replaced():
    mounts = list(empty_mounts())
    if not mounts: pytest.skip('no empty mount point that can be written')
    with refused('mount point', mounts[0]): check_model_folder(mounts[0])

def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path/'real').mkdir()
    (tmp_path/'m').symlink_to('real')
    assert save(fitted('linear'), 'm') == tmp_path/'real'
    assert (tmp_path/'m').is_symlink() and load('m').recipe == 'linear' and names('.') == ['m', 'real']

def test_what_holds_no_model_is_refused_with_the_cure(tmp_path):
    (tmp_path/'file').write_text('x')
    (tmp_path/'empty').mkdir()
    for folder, reason in (('nowhere', 'no such folder'), ('empty', 'model.safetensors is missing'), ('file', 'file'),
                           ('x' * 300, 'no such folder'), ('~nobody-of-this-name/m', 'no such folder')):
        for f in (load, read_card):
            with refused(folder, reason, '--out DIR'): f(folder)
    assert names('.') == ['empty', 'file']


# Whatever happens while it is written

def message_of(f, *args):
    "What `f` returns, as text, or its error"
    try: return str(f(*args))
    except Exception as e: return f'{type(e).__name__}: {e}'

@pytest.mark.parametrize('most', [0, 100, 5000, 20000])
@pytest.mark.parametrize('old', [True, False])
def test_a_write_that_fails_leaves_the_old_model_and_nothing_else(tmp_path, most, old):
    if old: save(fitted('linear'), 'm')
    before = contents('.')
    f = fitted('mlp')
    with refused(tmp_path/'m', 'File too large'), little_room(most): save(f, 'm')
    assert contents('.') == before and names('.') == ['m'] * old
    if old: assert load('m').recipe == 'linear'

@pytest.mark.skipif(os.name != 'posix' or os.geteuid() != 0, reason='only root can become nobody')
@pytest.mark.parametrize('closed', ['above', 'itself', 'card', 'all'])
def test_a_folder_of_another_user_is_refused(tmp_path, closed, request):
    top = Path(tempfile.mkdtemp()) # Only its user may look into pytest's
    request.addfinalizer(lambda: shutil.rmtree(top))
    folder = save(fitted('mlp'), top/'m')
    top.chmod(dict(all=0o700).get(closed, 0o755 if closed == 'above' else 0o777))
    folder.chmod(0o755 if closed != 'all' else 0o700)
    if closed == 'card': (folder/'card.json').chmod(0o600)
    before = contents(top)
    f = fitted('linear')
    with as_nobody():
        check = message_of(check_model_folder, folder)
        saved = message_of(save, f, folder)
        read = message_of(read_card, folder)
    for message in (check, saved):
        assert message.startswith('InputError: ') and '\n' not in message
        assert str(top) in message and 'choose another' in message
    if closed == 'card': assert read.startswith(f'InputError: {folder}/card.json: ') and 'Permission denied' in read
    elif closed == 'all': assert read.startswith('InputError: ') and '\n' not in read
    else: assert 'mlp' in read
    assert contents(top) == before and names(top) == ['m']

def _two(): return fitted('similarity'), fitted('linear', 2)

def is_one_of_two(folder):
    "`folder` holds one of the two models, whole; which"
    kept, (a, b) = load(folder, 'cpu'), _two()
    f = a if kept.recipe == 'similarity' else b
    assert torch.equal(kept.predict_scores(f.images.valid.images), f.scores)
    return kept.recipe

def _save_for_ever(folder, conn):
    from fastrecipes.keep import store
    png = store._picture(_two()[1])
    store._picture = lambda fitted: png # Drawn once: what is tried here is the writing
    for i in range(10**6):
        store.save(_two()[i % 2], folder)
        if i < 2: conn.send(i)

def _save_until(folder, step):
    "Save, and be killed at the given call of the system that names this place"
    f, left = _two()[1], [step]
    def names_the_place(a): return isinstance(a, (str, os.PathLike)) and os.path.dirname(folder) in str(a)
    def hook(event, args):
        if event.split('.')[0] not in ('os', 'shutil', 'open') or not any(map(names_the_place, args)): return
        left[0] -= 1
        if left[0] < 0: os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    save(f, folder)

@pytest.mark.slow
def test_a_crash_at_any_step_leaves_the_old_model_or_the_new(tmp_path):
    found, leftovers = [], set()
    for step in range(200):
        for p in names('.'): shutil.rmtree(p)
        save(fitted('similarity'), 'm')
        ended = exit_of(_save_until, str(tmp_path/'m'), step)
        leftovers |= {re.sub(r'\d+', 'PID', n) for n in names('.')}
        before = names('.')
        found.append(is_one_of_two('m'))
        assert names('.') == before, 'reading moves nothing'
        if ended == 0: break
        assert ended == -signal.SIGKILL and read_card('m').recipe == found[-1]
        check_model_folder('m')
        assert names('.') == ['m'] and is_one_of_two('m') == found[-1], 'the next to save tidies up'
    assert step > 15 and leftovers == {'m', '.m.fastrecipes-old', '.m.fastrecipes-new-PID'}
    assert set(found) == {'similarity', 'linear'}
    assert found == sorted(found, reverse=True), 'at first always the old one, then always the new'

def test_reading_while_another_process_saves_gives_one_of_the_two_and_disturbs_nothing(tmp_path):
    here, there = multiprocessing.Pipe()
    p = process(_save_for_ever, str(tmp_path/'m'), there)
    there.close()
    here.recv()
    try: found = {is_one_of_two('m') for _ in range(150)}
    finally:
        alive = p.is_alive()
        os.kill(p.pid, signal.SIGKILL)
        p.join()
    assert alive and found == {'similarity', 'linear'}

def test_two_processes_that_save_to_one_place_leave_a_whole_model(tmp_path):
    ps = [process(_save_some, str(tmp_path/'m')) for _ in range(3)]
    for p in ps: p.join(120)
    assert [p.exitcode for p in ps] == [0] * 3 and is_one_of_two('m') and names('.') == ['m']

def _save_some(folder):
    from fastrecipes.keep.store import save
    for i in range(12):
        try: save(_two()[i % 2], folder)
        except InputError: pass # Refused, since another was quicker; the command keeps its training then

def test_what_a_crash_left_is_read_where_it_lies_and_put_back_before_the_next_save(tmp_path):
    os.replace(save(fitted('linear'), 'm'), '.m.fastrecipes-old')
    assert load('m').recipe == read_card('m').recipe == 'linear' and names('.') == ['.m.fastrecipes-old']
    assert check_model_folder('m') == tmp_path/'m' and names('.') == ['m'] and load('m').recipe == 'linear'

def test_an_old_model_that_was_left_aside_is_not_preferred_to_the_new_one(tmp_path):
    os.replace(save(fitted('linear'), 'm'), '.m.fastrecipes-old')
    os.replace(save(fitted('mlp'), 'x'), 'm')
    assert load('m').recipe == 'mlp' and check_model_folder('m') and names('.') == ['m'] and load('m').recipe == 'mlp'

def test_a_checkpoint_that_was_begun_after_a_crash_comes_along_with_the_old_model(tmp_path):
    os.replace(save(fitted('linear'), 'm'), '.m.fastrecipes-old')
    (tmp_path/'m').mkdir()
    (tmp_path/'m/checkpoint.safetensors').write_text('x')
    assert load('m').recipe == 'linear'
    assert check_model_folder('m') and names('.') == ['m'] and names('m') == sorted([*FULL, 'checkpoint.safetensors'])

def ended_process():
    "A process that has ended, so that its number is free"
    p = subprocess.Popen([sys.executable, '-c', ''])
    p.wait()
    return p

def test_a_users_folder_with_a_name_like_ours_is_left_alone(tmp_path):
    dead = ended_process()
    mine = ['.m.fastrecipes-old', f'.m.fastrecipes-new-{dead.pid}']
    for n in mine:
        (tmp_path/n).mkdir()
        (tmp_path/n/'mine.txt').write_text('mine')
    save(fitted('linear'), 'm')
    assert names('.') == sorted([*mine, 'm']) and all(contents(n) == {Path('mine.txt'): b'mine'} for n in mine)
    with refused(tmp_path/'m', 'choose another folder'): save(fitted('mlp'), 'm')
    assert names('.') == sorted([*mine, 'm'])
    assert load('m').recipe == 'linear' and all(contents(n) == {Path('mine.txt'): b'mine'} for n in mine)

@pytest.mark.parametrize('move', ['aside', 'in'])
@pytest.mark.parametrize('error', [
    KeyboardInterrupt(),
    MemoryError(),
    OSError(28, 'No space left on device'),
], ids=['ctrl-c', 'memory', 'room'])
def test_an_interruption_of_either_move_puts_the_old_model_back(tmp_path, monkeypatch, move, error):
    save(fitted('linear'), 'm')
    real, tried = os.replace, []
    def replace(a, b):
        old, new = Path(a).name, Path(b).name
        moves = {'aside': old == 'm' and new.endswith('-old'), 'in': '-new-' in old and new == 'm'}
        if moves[move]:
            tried.append(b)
            raise error
        real(a, b)
    monkeypatch.setattr(os, 'replace', replace)
    if isinstance(error, OSError):
        with refused(tmp_path/'m', error.strerror): save(fitted('mlp'), 'm')
    else:
        with pytest.raises(type(error)): save(fitted('mlp'), 'm')
    assert tried and names(tmp_path) == ['m'] and load('m').recipe == 'linear'

def test_what_a_file_manager_leaves_does_not_matter(tmp_path):
    save(fitted('linear'), 'm')
    (tmp_path/'m/.DS_Store').write_text('x')
    assert load(save(fitted('mlp'), 'm')).recipe == 'mlp' and names('m') == FULL

def test_only_what_was_abandoned_is_taken_away(tmp_path):
    p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
    dead = ended_process()
    try:
        for n in (f'.m.fastrecipes-new-{dead.pid}', f'.m.fastrecipes-new-{p.pid}', '.m.fastrecipes-new-mine',
                  '.other.fastrecipes-new-1', '.mm.fastrecipes-old'):
            (tmp_path/n).mkdir()
            (tmp_path/n/'model.safetensors').write_text('x')
        save(fitted('linear'), 'm')
        assert names('.') == sorted([f'.m.fastrecipes-new-{p.pid}', '.m.fastrecipes-new-mine',
                                     '.other.fastrecipes-new-1', '.mm.fastrecipes-old', 'm'])
    finally:
        p.kill()
        p.wait()
