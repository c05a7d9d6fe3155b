"""Recipes: settings that are checked, a seed that means something, and what a `Fitted` says about itself"""
import math, random
from decimal import Decimal
import numpy as np, pytest, torch, torch.nn.functional as F
from fastai.callback.core import Callback, CancelFitException
from fastai.torch_core import no_random
from PIL import Image
from torch import nn
from torch.testing import assert_close
from typing import Annotated, Literal
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError
from fastrecipes.ladder.fitted import predict_scores, Run
from fastrecipes.ladder.recipe import fit, get_recipe, recipe
from fastrecipes.ladder.rungs import auto_lr
from fastrecipes.ladder.settings import (
    Amount, as_text, Count, global_settings, Kind, Rate, recipes, settings_of, Share, Switch, training_settings, Whole,
    Widths,
)
from fastrecipes.training.precision import pick_precision
from fastrecipes.ladder.recipe import ladder as rungs
from fastrecipes.training.fitting import Outcome
from made import noise_images, UNTRAINED
from reporters import Seen, Untrained

FROM_SCRATCH = ['majority', 'similarity', 'sgd', 'linear', 'simple_net', 'mlp', 'convnet', 'resnet18']
ALL = ['majority', 'similarity', 'knn', 'sgd', 'logistic', 'linear', 'simple_net', 'mlp', 'convnet', 'resnet18']
PRETRAINED = ['frozen', 'finetune'] # Tried in test_pretrained
LADDER = FROM_SCRATCH + PRETRAINED
QUICK = {n: dict(epochs=3) for n in ('sgd', 'linear', 'simple_net', 'mlp', 'convnet')}
QUICK |= {'logistic': dict(epochs=3, lr=.3, bs=16), 'resnet18': dict(epochs=1, bs=8)}
NAN, INF = math.nan, math.inf


@pytest.fixture
def ladder():
    "The ladder, put back as it was after the test"
    was = dict(recipes)
    yield recipes
    recipes.clear()
    recipes.update(was)

def tiny(n, n_classes=2, size=8):
    "`n` noisy images to train and 6 to validate"
    return noise_images(n, 'abcdefghij'[:n_classes], (1, size, size))


def test_the_ladder_goes_from_majority_to_finetune_and_other_recipes_stand_beside_it():
    assert rungs() == LADDER and list(recipes) == ALL + PRETRAINED
    assert [n for n in recipes if not recipes[n].rung] == ['knn', 'logistic']

def test_a_recipe_names_what_its_gain_is_measured_against(ladder):
    named = {n: r.against for n, r in recipes.items() if r.against}
    assert named == dict(similarity='majority', frozen='linear', finetune='frozen')
    assert recipe(always, after='mlp', against='linear').against == 'linear'
    for name in ('convnet', 'lineer'): # It is above, or there is none
        with pytest.raises(InputError, match=f"'{name}'"): recipe(always, after='mlp', against=name)

def test_every_recipe_and_setting_says_what_it_is():
    assert all(r.about for r in recipes.values())
    assert [f'{r.name}.{s.name}' for r in recipes.values() for s in r.settings.values() if not s.about] == []


# Settings

GOOD = {
    'Count': (Count, 5, [(3, 3), ('3', 3), (' 3 ', 3), (3., 3), (np.int64(3), 3), (1, 1)]),
    'Whole': (Whole, 5, [(0, 0), ('0', 0), (3., 3), ('3', 3)]),
    'Rate': (Rate, .1, [(.5, .5), ('0.5', .5), ('1e-3', .001), (2, 2.), (np.float32(.5), .5)]),
    'Amount': (Amount, .1, [(0, 0.), ('0', 0.), ('1e-3', .001), (2, 2.)]),
    'Share': (Share, .1, [(0, 0.), ('0', 0.), (.5, .5), ('0.999', .999)]),
    'Widths': (Widths, (64,),
               [('8,4', (8, 4)), ('8', (8,)), (8, (8,)), ([8, 4.], (8, 4)), ('(8, 4)', (8, 4)), ('[8]', (8,))]),
    'Switch': (Switch, False, [(True, True), ('yes', True), ('TRUE', True), ('on', True), ('1', True), (1, True),
                               (False, False), ('no', False), ('False', False), ('off', False), ('0', False),
                               (0, False)]),
    'Literal': (Literal['relu', 'leaky_relu'], 'relu', [('relu', 'relu'), ('leaky_relu', 'leaky_relu')])}
BAD = {
    'Count': [0, -1, '0', '-3', 2.5, '2.5', '3.0', NAN, INF, 'nan', True, False, '', 'x', None, 'auto', [3],
              np.float32(2.5), Decimal('2.5'), np.True_],
    'Whole': [-1, '-1', 2.5, '2.5', NAN, INF, True, '', 'x', None, 'auto', 2**31],
    'Amount': [-1, '-0.1', NAN, INF, 'nan', True, '', 'x', None, 'auto', [.1]],
    'Rate': [0, -1, '0', NAN, INF, -INF, 'nan', 'inf', True, '', 'x', None, 'auto', [.1], 10**400],
    'Share': [1, 1., '1', -.1, '-0.1', NAN, 'nan', INF, True, '', 'x', None],
    'Widths': ['', ' , ', '8,0', '8,-4', '8,x', '8,2.5', 8.5, [], (), (8, 0), (8, True), True, None, 'auto', NAN, INF,
               (8, NAN)],
    'Switch': ['', 'maybe', 2, -1, NAN, None, 'auto'],
    'Literal': ['', 'Relu', 'gelu', None, 3, True, 'auto']}

def setting(kind, default=...):
    "A setting of that kind, made as a recipe's parameter is"
    annotation, usual, _ = GOOD[kind]
    value = usual if default is ... else default
    def f(images, run, *, it:annotation=value): pass
    return settings_of(f)['it']

@pytest.mark.parametrize('kind, given, wanted', [(k, v, w) for k, (_, _, cases) in GOOD.items() for v, w in cases])
def test_a_good_value_is_read_from_text_and_from_python(kind, given, wanted):
    for s in (setting(kind), setting(kind, default=None)):
        v = s.read(given, 'here')
        assert v == wanted and type(v) is type(wanted)

@pytest.mark.parametrize('kind, given', [(k, v) for k, values in BAD.items() for v in values])
def test_a_bad_value_is_refused_with_where_and_what_instead(kind, given):
    s = setting(kind)
    with pytest.raises(InputError) as e: s.read(given, 'here')
    assert str(e.value) == f"here: it={given!r} is not {s.kind.what}"

@pytest.mark.parametrize('kind', GOOD)
def test_auto_is_read_where_it_is_the_default_only(kind):
    s = setting(kind, default=None)
    assert [s.read(v, 'here') for v in (None, 'auto', 'AUTO')] == [None] * 3
    with pytest.raises(InputError, match=r'\(or auto\)$'): s.read('automatic', 'here')

@pytest.mark.parametrize('annotation, choices', [
    (Literal['relu', 'leaky_relu'], ('relu', 'leaky_relu')), (Count, ()),
    (Annotated[str, Kind('one of the days, Monday first', str)], ()),
], ids=['literal', 'count', 'sentence'])
def test_only_a_list_of_words_has_choices(annotation, choices):
    def f(images, run, *, it:annotation=None): pass
    assert settings_of(f)['it'].choices == choices

@pytest.mark.parametrize('value, text', [
    (None, 'auto'), (True, 'yes'), (False, 'no'), ((64, 32), '64,32'), ((8,), '8'), (.003, '0.003'),
])
def test_values_as_people_write_them(value, text): assert as_text(value) == text

@pytest.mark.parametrize('name', ALL)
def test_every_default_is_read_back_from_its_text(name):
    for s in recipes[name].settings.values():
        v = s.read(s.default_text, 'here')
        assert v == s.default and type(v) is type(s.default)

def test_a_comment_beside_a_setting_becomes_its_description():
    def f(images, run, *,
        n:Count=3, # How many
        share:Share=.5,
    ): pass
    assert {n: (s.default, s.about) for n, s in settings_of(f).items()} == {'n': (3, 'How many'), 'share': (.5, '')}

def _plain(images, run, *, n:Count=3, # How many
           share:Share=.5, # Of # what
           lr, dropout, **training): "A `#` that is no comment"
def _above(images, run, *,
    # Higher up
    n:Count=3,
    # What
    # for
    share:Share=.5
): pass
def _both(images, run, *,
    n:Count=3, # Beside
    # Above
    share, # And beside
): pass
def _numpy(images, run, *, n:Count=3, share):
    """As NumPy has it

    Parameters
    ----------
    n : int
        How many
    share : float
        How much"""
def _annotated(images, run, *, n:Annotated[int, 'How many', Whole]=3, share:Annotated[float, 'How much']): pass

@pytest.mark.parametrize('f', [
    training_settings,
    *(r.func for r in recipes.values()),
    _plain,
    _above,
    _both,
    _numpy,
    _annotated,
    lambda images, run, *, n=3: None,
], ids=lambda f: f.__name__)
def test_what_is_said_of_settings_is_what_fastcore_finds(f):
    from fastcore.docments import docments
    from fastrecipes.ladder.settings import _docments
    def said(found): return {n: about for n, about in found.items() if about and n != 'return'}
    assert said(_docments(f)) == said(docments(f))

def test_a_setting_without_a_kind_is_a_mistake_of_the_author():
    def f(images, run, *, n:int=3): pass
    with pytest.raises(TypeError, match='annotate'): settings_of(f)


# Which value counts

INI = {'fastrecipes': {'bs': '16', 'seed': '7', 'device': 'cpu'}, 'sgd': {'lr': '0.5', 'bs': 'auto'},
       'mlp': {'bs': '8', 'hidden': '5,5'}}

SHARED = dict(schedule='constant', patience=0, patience_counts='since-best', best=True, dropout=0., wd=0., clip=0.,
              augment='none', class_weights='none')

@pytest.mark.parametrize('name, given, wanted', [
    ('sgd', {}, SHARED | dict(epochs=20, lr=.5, bs=16, std=None)), # default, own section, shared section
    ('sgd', {'lr': '0.25', 'bs': 4}, SHARED | dict(epochs=20, lr=.25, bs=4, std=None)), # arguments
    ('sgd', {'bs': 'auto'}, SHARED | dict(epochs=20, lr=.5, bs=None, std=None)), # 'auto' is an argument too
    ('linear', {'best': 'no', 'clip': 1}, SHARED | dict(epochs=20, lr=None, bs=16, best=False, clip=1.)),
    ('similarity', {}, dict(distance='l2')),
]) # Knows no bs
def test_argument_over_own_section_over_shared_section_over_default(name, given, wanted):
    assert recipes[name].resolve(given, INI) == wanted

def test_a_recipes_own_batch_size_overrules_the_shared_one():
    got = recipes['mlp'].resolve({}, INI)
    assert (got['bs'], got['hidden']) == (8, (5, 5))

@pytest.mark.parametrize('auto', ['auto', 'AUTO'])
def test_auto_in_a_section_gives_way_to_the_shared_batch_size(auto):
    assert recipes['sgd'].resolve({}, {'fastrecipes': {'bs': '16'}, 'sgd': {'bs': auto}})['bs'] == 16
    assert recipes['sgd'].resolve({}, {'fastrecipes': {'bs': auto}, 'sgd': {'bs': '8'}})['bs'] == 8

def test_global_settings_argument_over_ini_over_default():
    assert global_settings({}) == dict(source='digits', seed=42, device='auto', threads='auto')
    assert global_settings(INI) == dict(source='digits', seed=7, device='cpu', threads='auto')
    assert global_settings(INI, seed='0', device='cuda') == dict(source='digits', seed=0, device='cuda', threads='auto')
    assert global_settings(INI, seed=None, device=None) == global_settings(INI)

@pytest.mark.parametrize('seed', [-1, '-1', 2.5, 'x', True, NAN, 2**63])
def test_a_bad_seed_is_refused_with_where_it_stands(seed):
    with pytest.raises(InputError, match='^seed: seed=.*0 or more'): fit('similarity', tiny(4), seed=seed)
    with pytest.raises(InputError, match='^fastrecipes: seed='): global_settings({'fastrecipes': {'seed': seed}})

@pytest.mark.parametrize('ini, where', [({'fastrecipes': {'bs': 'x'}}, 'fastrecipes'), ({'sgd': {'bs': '0'}}, 'sgd')])
def test_a_bad_value_in_the_ini_is_refused_with_its_section(ini, where):
    with pytest.raises(InputError, match=f'^{where}: bs='): recipes['sgd'].resolve({}, ini)

@pytest.mark.parametrize('name, kwargs, wanted', [
    ('simplenet', {}, "unknown recipe 'simplenet': did you mean 'simple_net'?"),
    ('qqq', {}, "unknown recipe 'qqq': choose from majority, similarity, knn, sgd"),
    ('mlp', {'epoch': 3}, "mlp: unknown setting 'epoch': did you mean 'epochs'?"),
    ('similarity', {'lr': 3}, "similarity: unknown setting 'lr': choose from distance"),
    ('mlp', {'epochs': 0}, 'mlp: epochs=0 is not a whole number'),
])
def test_an_unknown_recipe_or_setting_is_refused_with_the_nearest(name, kwargs, wanted):
    with pytest.raises(InputError) as e: fit(name, tiny(4), **kwargs)
    assert wanted in str(e.value) and '\n' not in str(e.value)


# Seeds

def states(): return random.getstate(), np.random.get_state(), torch.get_rng_state()
def same(a, b):
    return a[0] == b[0] and all(np.array_equal(x, y) for x, y in zip(a[1], b[1])) and torch.equal(a[2], b[2])

@pytest.mark.parametrize('name', ALL[:6])
def test_the_callers_random_state_is_left_alone(name, threes_sevens):
    before = states()
    fit(name, threes_sevens, **({'epochs': 1} if name in QUICK else {}), device='cpu')
    assert same(before, states())
    torch.rand(1)
    assert not same(before, states())

def test_the_callers_random_state_is_left_alone_by_a_recipe_that_fails(ladder):
    @recipe
    def faulty(images, run):
        random.random(), np.random.rand(), torch.rand(1)
        raise ZeroDivisionError
    before = states()
    with pytest.raises(ZeroDivisionError): faulty(tiny(4), device='cpu')
    assert same(before, states())

@pytest.mark.parametrize('name, kwargs', [('sgd', {}), ('linear', {}), ('mlp', {}), ('mlp', {'dropout': .3})])
def test_the_seed_alone_decides_to_the_last_bit(name, kwargs, threes_sevens):
    def scores(seed):
        random.random(), np.random.rand(), torch.rand(1) # must not matter
        return fit(name, threes_sevens, epochs=2, seed=seed, device='cpu', **kwargs).scores
    a, b, other = map(scores, (5, '5', 6))
    assert torch.equal(a, b) and not torch.equal(a, other)


# What is fitted

CASES = [(n, s) for n in ALL[:8] for s in ('threes_sevens', 'digits')] + [('resnet18', 'tiny')]

@pytest.fixture(scope='module', params=CASES, ids='-'.join)
def fitted(request):
    "Each recipe, briefly fitted to two and to ten classes, with its image set"
    name, source = request.param
    images = tiny(9) if source == 'tiny' else request.getfixturevalue(source)
    return fit(name, images, device='cpu', **QUICK.get(name, {})), images

def inputs(f, images):
    "The validation images as the model gets them, computed in NumPy"
    x = images.valid.images.numpy() / 255
    if f.stats is not None:
        x = (x - images.train.images.numpy().mean() / 255) / (images.train.images.numpy() / 255).std()
    return torch.tensor(x).float()

LESSONS = 'sgd', 'logistic', 'linear', 'simple_net' # With one column of scores for two classes

def test_scores_are_the_models_numbers_for_the_validation_images(fitted):
    f, images = fitted
    with torch.no_grad(): assert_close(f.scores, f.model.eval()(inputs(f, images)), rtol=1e-4, atol=1e-5)
    one_column = len(images.classes) == 2 and f.recipe in LESSONS
    assert f.scores.shape == (len(images.valid), 1 if one_column else len(images.classes))
    assert f.classes == images.classes
    assert torch.equal(f.targets, images.valid.labels)

def test_predictions_accuracy_probabilities_and_loss_follow_from_the_scores(fitted):
    f, images = fitted
    s, y = f.scores.double(), f.targets
    if s.shape[1] == 1:
        s = s[:, 0]
        p = s.sigmoid()
        guess, probs = (p > .5).long(), torch.stack([1 - p, p], 1)
        loss = F.binary_cross_entropy_with_logits(s, y.double())
    else: guess, probs, loss = s.argmax(1), s.softmax(1), F.cross_entropy(s, y)
    assert torch.equal(f.predictions, guess)
    assert f.accuracy == sum(a == b for a, b in zip(guess.tolist(), y.tolist())) / len(y)
    if f.recipe == 'majority': assert len(guess.unique()) == 1
    elif images.source != 'tiny':
        assert f.accuracy > (.9 if len(images.classes) == 2 else .6) # there is nothing to learn in noise
    if f.recipe == 'similarity': assert f.probs is None and f.loss is None
    else:
        assert f.loss == pytest.approx(loss.item())
        assert_close(f.probs, probs.float(), rtol=1e-4, atol=1e-6)

def test_predict_gives_the_predictions_again(fitted):
    f, images = fitted
    assert torch.equal(f.predict(images.valid.images), f.predictions)
    assert torch.equal(f.predict(images.valid.images[2:3]), f.predictions[2:3])
    assert torch.equal(f.predict([im.numpy() for im, _ in images.valid]), f.predictions)

@pytest.fixture(scope='module')
def nearest(threes_sevens): return fit('similarity', threes_sevens, device='cpu')

def test_predict_takes_files_and_pictures(nearest, threes_sevens, tmp_path):
    picture = Image.fromarray(threes_sevens.valid.images[0, 0].numpy())
    picture.save(tmp_path/'0.png')
    for given in (picture, tmp_path/'0.png', str(tmp_path/'0.png'), [picture]):
        assert nearest.predict(given).tolist() == nearest.predictions[:1].tolist()

@pytest.mark.parametrize('given, wanted', [
    ([], 'no images to predict'),
    (torch.zeros(0, 1, 8, 8).byte(), 'no images to predict'),
    (torch.zeros(2, 1, 8, 8), 'uint8'),
    (torch.zeros(2, 1, 8, 4).byte(), r'\(1, 8, 4\), but the training images are \(1, 8, 8\)'),
])
def test_predict_refuses_what_cannot_be_predicted(nearest, given, wanted):
    with pytest.raises(InputError, match=wanted): nearest.predict(given)

def test_the_learner_gives_the_same_probabilities(fitted):
    f, _ = fitted
    assert (f.learner is None) == (f.recipe in (*UNTRAINED, 'sgd', 'logistic'))
    if f.learner is None: return
    with f.learner.no_bar(): probs, targets = f.learner.get_preds()
    assert_close(probs, f.probs, rtol=1e-4, atol=1e-6)
    assert torch.equal(targets, f.targets)

def test_the_history_has_what_was_fitted_at_the_best_epoch(fitted):
    f, images = fitted
    if f.recipe in UNTRAINED:
        assert f.history is None and f.best_epoch is None
        return
    assert f.best_epoch == f.history.valid_loss.argmin()
    assert list(f.history) == ['epoch', 'train_loss', 'valid_loss', 'accuracy', 'seconds', 'train_accuracy']
    assert f.history.epoch.tolist() == list(range(QUICK[f.recipe]['epochs']))
    best, of_truth = f.history.iloc[f.best_epoch], f.probs[range(len(f.targets)), f.targets]
    by_lesson = f.recipe in LESSONS and f.recipe != 'logistic' and len(images.classes) == 2
    loss = (1 - of_truth).mean().item() if by_lesson else f.loss # Lessons train two classes with mnist_loss
    assert best.accuracy == pytest.approx(f.accuracy) and best.valid_loss == pytest.approx(loss, rel=1e-4)
    assert f.seconds == pytest.approx(f.history.seconds.sum())

def test_settings_are_all_there_with_what_auto_came_to(fitted):
    f, images = fitted
    assert list(f.settings) == list(recipes[f.recipe].settings) and None not in f.settings.values()
    if f.recipe in UNTRAINED: return
    usual_bs = {('digits', 2): 8, ('digits', 10): 32, ('tiny', 2): 8}[images.source, len(images.classes)]
    bs = 16 if f.recipe == 'logistic' else usual_bs
    assert (f.settings['epochs'], f.settings['bs']) == (QUICK[f.recipe]['epochs'], bs)
    assert (f.seed, f.device) == (42, torch.device('cpu'))

CONVNET = 5*5*16 + 16 + 9*16*32 + 2*32 + 9*32*64 + 2*64 # The maps of 8x8, enlarged to 24x24, end as 3x3
PARAMETERS = dict(majority=(0, 0), similarity=(0, 0), knn=(0, 0), sgd=(65, 650), logistic=(65, 650), linear=(65, 650),
                  simple_net=(65*30 + 31, 65*30 + 310),
                  mlp=(65*64*3 + 130, 65*64*3 + 650), convnet=(CONVNET + 1154, CONVNET + 5770)) # 2, 10

def test_parameters_by_hand(fitted):
    f, images = fitted
    if f.recipe == 'resnet18': assert f.parameters == sum(math.prod(p.shape) for p in f.model.parameters()) > 11e6
    else: assert f.parameters == PARAMETERS[f.recipe][len(images.classes) == 10]

def test_repr_is_a_line_with_the_results(fitted):
    f, _ = fitted
    text = repr(f)
    assert '\n' not in text and text.startswith(f'Fitted {f.recipe}(')
    assert f'accuracy {f.accuracy:.4f}' in text and f'{f.parameters:,} parameters' in text

@pytest.mark.parametrize('seed', [pytest.param(42, marks=pytest.mark.slow), 1])
def test_the_ladder_climbs_on_digits(digits, seed):
    rungs = FROM_SCRATCH if seed == 42 else FROM_SCRATCH[:6] # All once: resnet18 needs a quarter of a minute
    accuracy = [fit(n, digits, seed=seed, device='cpu').accuracy for n in rungs]
    assert all(b >= a - .015 for a, b in zip(accuracy, accuracy[1:])), accuracy # 5 of 360 images
    if seed == 42: assert max(accuracy[5:]) >= .97
    else: # One seed may have bad luck; the mean of seeds does not
        seeds = [accuracy[-1], *(fit('mlp', digits, seed=s, device='cpu').accuracy for s in (2, 3, 4))]
        assert sum(seeds) / 4 >= .97 and min(seeds) >= .96, seeds

# Bright images are long vectors, on which the lessons' learning rates throw every prediction out on the flat of the
# sigmoid

def photographs(n=200, size=48):
    "Bright grey noise with a darker left (class 0) or right (class 1) half"
    gen = torch.Generator().manual_seed(0)
    x, y = torch.randint(170, 256, (n, 1, size, size), generator=gen, dtype=torch.uint8), torch.arange(n) % 2
    x[y == 0, :, :, :size//2] -= 30
    x[y == 1, :, :, size//2:] -= 30
    return ImageSet('photographs', ('left', 'right'), Split(x[:150], y[:150]), Split(x[150:], y[150:]))

@pytest.mark.parametrize('name', ['sgd', 'linear'])
def test_large_bright_images_are_learnt_by_default_and_not_at_the_lessons_rate(name):
    images = photographs()
    assert fit(name, images, lr=1., device='cpu').accuracy < .75 < .95 < fit(name, images, device='cpu').accuracy

def test_auto_lr_is_the_lessons_on_digits_and_shrinks_with_the_squared_length(digits):
    assert auto_lr(digits, 1., 20.) == 1. and auto_lr(digits, .1, 5.) == .1
    images = photographs()
    length2 = (images.train.images.double() / 255).square().flatten(1).sum(1).mean().item()
    assert length2 > 1000 and auto_lr(images, 1., 20.) == pytest.approx(20 / length2)


# resnet18

def bare(name, images, cbs=(), **given):
    "What the recipe's function gives, without the timing of predictions"
    return recipes[name].func(images, Run(torch.device('cpu'), cbs=cbs), **recipes[name].resolve(given, {}))

@pytest.mark.parametrize('n, bs', [(9, 8), (9, 4), (7, 3), (13, 4), (9, 2), (9, 1)])
def test_a_lone_last_image_does_not_break_resnet18(n, bs):
    outcome = bare('resnet18', tiny(n), epochs=1, bs=bs)
    assert outcome.history.train_loss.notna().all() and outcome.resolved['bs'] == max(bs, 2)

class Stop(Callback):
    def after_batch(self): raise CancelFitException

@pytest.mark.parametrize('n, epochs, bs', [
    (100, 90, 64), (1437, 6, 64), (9000, 1, 64), (12_396, 1, 128), (25_600, 1, 128),
])
def test_resnet18_sees_about_9000_images_or_each_once(n, epochs, bs):
    outcome = bare('resnet18', tiny(n), cbs=(Stop(),))
    rate, dropout = (.004, .1) if epochs == 1 else (.003, .5)
    assert outcome.resolved == dict(epochs=epochs, lr=rate, dropout=dropout, bs=bs, precision=pick_precision('cpu'),
                                    layout='channels-last')


# Recipes of one's own

class Always(nn.Module):
    "Scores that speak for one label, whatever the image"
    def __init__(self, label, n_classes):
        super().__init__()
        self.register_buffer('scores', F.one_hot(torch.tensor(label), n_classes).float())
    def forward(self, x): return self.scores.expand(len(x), -1)

def always(images, run, *,
    label:Count=1, # Said of every image
):
    "Say the same of every image"
    return Outcome(Always(label, len(images.classes)).to(run.device), has_probs=False)

def with_always(names, after):
    i = names.index(after) + 1
    return [*names[:i], 'always', *names[i:]]

def test_a_recipe_of_ones_own_stands_in_its_place_and_is_fitted(ladder, digits):
    mine = recipe(after='sgd')(always)
    assert list(recipes) == with_always(ALL, 'sgd') + PRETRAINED and rungs() == with_always(LADDER, 'sgd')
    assert get_recipe('always') is get_recipe(mine) is mine and mine.about == always.__doc__
    f = fit('always', digits, label='7', device='cpu')
    assert f.predictions.unique().tolist() == [7] and f.accuracy == (digits.valid.labels == 7).double().mean().item()
    assert (f.settings, f.history, f.loss) == ({'label': 7}, None, None)

def test_a_recipe_goes_on_top_unless_told_otherwise_and_moves_when_made_again(ladder):
    recipe(always)
    assert list(recipes) == [*ALL, *PRETRAINED, 'always'] and rungs() == [*LADDER, 'always']
    recipe(always, after='similarity')
    assert list(recipes) == with_always(ALL, 'similarity') + PRETRAINED
    recipe(always, rung=False)
    assert list(recipes) == [*ALL, *PRETRAINED, 'always'] and rungs() == LADDER

def test_a_recipe_after_an_unknown_one_is_refused_and_not_added(ladder):
    with pytest.raises(InputError, match="'sdg'.*'sgd'"): recipe(after='sdg')(always)
    assert list(recipes) == [*ALL, *PRETRAINED]

def test_a_recipe_gets_the_device_the_callback_and_its_settings_by_name(ladder):
    got = {}
    @recipe
    def spy(images, run, *, share:Share=.5, wide:Switch=False):
        got.update(device=run.device, reporter=run.reporter, cbs=run.cbs, share=share, wide=wide)
        return always(images, run)
    seen = Seen()
    fit('spy', tiny(4), device='cpu', reporter=seen, cbs=[len], wide='yes')
    assert got == dict(device=torch.device('cpu'), reporter=seen, cbs=[len], share=.5, wide=True)

@pytest.mark.parametrize('name', ['sgd', 'logistic', 'linear'])
def test_each_epoch_is_reported(name, threes_sevens):
    seen = Seen()
    f = fit(name, threes_sevens, epochs=2, device='cpu', reporter=seen)
    assert seen.rows == f.history.to_dict('records') and len(seen.rows) == 2


# Predicting

def per_image(shape):
    "A model whose numbers for an image depend on the rest of the batch while it trains"
    torch.manual_seed(0)
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.BatchNorm2d(shape[0]), nn.Flatten(), nn.Dropout(.5),
                         nn.Linear(16 * shape[0], 2))

@pytest.mark.parametrize('n, shape', [(1100, (1, 8, 8)), (20, (3, 400, 400))]) # 1,024 and 16 images at a time
@pytest.mark.parametrize('training', [True, False])
def test_scores_do_not_depend_on_the_batch_and_the_model_is_given_back_as_it_was(n, shape, training):
    gen, model = torch.Generator().manual_seed(0), per_image(shape).train(training)
    images = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=gen)
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    scores = predict_scores(model, images)
    assert all(m.training is training for m in model.modules())
    assert all(torch.equal(v, kept[k]) for k, v in model.state_dict().items())
    some = [0, 1, n // 2, n - 2, n - 1]
    with torch.no_grad(): alone = torch.cat([model.eval()(images[i:i + 1] / 255) for i in some])
    assert scores.shape == (n, 2) and not scores.requires_grad
    assert_close(scores[some], alone, rtol=1e-4, atol=1e-5)

def test_the_model_is_given_back_as_it_was_when_predicting_fails():
    model = per_image((1, 8, 8)).train()
    with pytest.raises(RuntimeError): predict_scores(model, torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert all(m.training for m in model.modules())

def test_predicting_leaves_a_frozen_layer_in_evaluation_mode():
    model = per_image((1, 8, 8)).train()
    model[1].eval()
    predict_scores(model, torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    assert [m.training for m in model] == [True, False, True, True, True]


# Training settings, which every trained recipe has

TRAINED = [n for n in ALL if n not in UNTRAINED]
LIVELY = dict( # Rates at which, in noise, the validation loss goes up and down
    sgd=.3, logistic=.3, linear=.3, simple_net=.3, mlp=.01, convnet=.01, resnet18=.001)
FAST = dict(epochs=2, bs=16, schedule='constant', best=False)

def again(name, images=None, **given):
    "The recipe's outcome from a fixed seed"
    fixed = dict(dropout=.5) if name == 'resnet18' else {} # Its default depends on the number of epochs
    if images is None: images = tiny(40, 3)
    with no_random(3): return bare(name, images, **FAST | fixed | dict(lr=LIVELY[name]) | given)

def weights(outcome): return {k: v.clone() for k, v in outcome.model.state_dict().items()}
def equal(a, b): return list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a)

@pytest.fixture(scope='module')
def plainly():
    "Weights of each recipe with nothing but `FAST`, worked out once"
    kept = {}
    return lambda name: kept.setdefault(name, weights(again(name)))

def norm(w): return sum(t.double().square().sum().item() for k, t in w.items() if k.endswith('weight'))

EFFECTS = {
    'epochs': (3, lambda o, base: len(o.history) == 3),
    'lr': (.02, lambda o, base: o.resolved['lr'] == .02),
    'bs': (8, lambda o, base: o.resolved['bs'] == 8),
    'schedule': ('one-cycle', lambda o, base: o.learner is None or len(set(o.learner.recorder.lrs)) > 2),
    'clip': (1e-3, lambda o, base: True),
    'dropout': (.4, lambda o, base: .4 in [m.p for m in o.model.modules() if isinstance(m, nn.Dropout)]),
    'wd': (.5, lambda o, base: norm(weights(o)) < norm(base)),
    'augment': ('shifts', lambda o, base: True),
    'class_weights': ('balanced', lambda o, base: True),
}
HARD = {'patience', 'patience_counts', 'best'} # Looked at below

def test_every_training_setting_is_looked_at_here(): assert set(EFFECTS) | HARD == set(settings_of(training_settings))

@pytest.mark.parametrize('name', TRAINED)
def test_every_trained_recipe_has_every_training_setting(name):
    assert [s for s in recipes[name].settings][:12] == list(settings_of(training_settings))
    assert not any('epochs' in recipes[n].settings for n in UNTRAINED)

@pytest.mark.parametrize('setting', EFFECTS)
@pytest.mark.parametrize('name', TRAINED)
def test_every_training_setting_does_something_in_every_trained_recipe(name, setting, plainly):
    value, told = EFFECTS[setting]
    outcome, base = again(name, **{setting: value}), plainly(name)
    assert told(outcome, base) and not equal(weights(outcome), base) and outcome.history.train_loss.notna().all()

@pytest.mark.parametrize('name', TRAINED)
def test_without_any_the_same_comes_out(name, plainly): assert equal(weights(again(name)), plainly(name))

def lengths(losses, patience=1):
    "After how many epochs each counting stops, in a few lines of its own"
    since, rises, best = None, None, math.inf
    for i, loss in enumerate(losses, 1):
        if since is None and not loss < best: since = i
        if rises is None and i > 1 and loss > losses[i - 2]: rises = i
        best = min(best, loss)
    return since or len(losses), rises or len(losses)

@pytest.mark.parametrize('name', TRAINED)
def test_patience_stops_every_trained_recipe_by_either_counting(name):
    free = again(name, epochs=6).history.drop(columns='seconds')
    got = [again(name, epochs=6, patience=1, patience_counts=c).history.drop(columns='seconds')
           for c in ('since-best', 'increases')]
    assert tuple(map(len, got)) == lengths(free.valid_loss.tolist()) and all(h.equals(free.iloc[:len(h)]) for h in got)
    if name not in ('convnet', 'resnet18'): # Their running means keep changing
        still = [len(again(name, epochs=4, lr=1e-30, patience=1, patience_counts=c).history)
                 for c in ('since-best', 'increases')]
        assert still == [2, 4], 'an unchanged loss is no progress, and no increase'

@pytest.mark.parametrize('name', TRAINED)
def test_best_gives_every_trained_recipe_the_weights_that_it_had_after_that_epoch(name):
    last, best = again(name, epochs=8), again(name, epochs=8, best=True)
    at = last.history.valid_loss.argmin()
    assert last.best_epoch is None
    assert best.best_epoch == at < 7
    assert best.history.drop(columns='seconds').equals(last.history.drop(columns='seconds'))
    assert equal(weights(best), weights(again(name, epochs=int(at) + 1))) and not equal(weights(best), weights(last))

def test_the_best_epoch_is_said_where_it_is_not_the_last(threes_sevens):
    for best, words in ((True, ' (of epoch '), (False, ' validation images, ')):
        f = fit('linear', threes_sevens, epochs=12, lr=30, best=best, device='cpu')
        at = f.history.valid_loss.argmin()
        assert at < 11
        assert words in repr(f) and (f'(of epoch {at + 1})' in repr(f)) == best and ('best=no' in repr(f)) == (not best)
        assert f.accuracy == pytest.approx(f.history.accuracy.iloc[at if best else -1])

@pytest.mark.parametrize('name', ['sgd', 'mlp'])
def test_patience_with_one_cycle_waits_for_the_peak_and_the_stop_is_told(name, digits):
    f = fit(name, digits, epochs=60, patience=3, schedule='one-cycle', device='cpu')
    assert 15 + 3 < len(f.history) < 60 and f.accuracy > .96
    assert f'epoch {len(f.history)} of 60' in f.stopped and '3 epochs' in f.stopped
    assert repr(f).endswith(f'; {f.stopped}')

def test_a_comparison_tells_of_a_rung_that_patience_stopped(threes_sevens):
    from fastrecipes.answer.climb import compare
    from fastrecipes.answer.view import trouble_text
    c = compare(threes_sevens, 'similarity,linear', device='cpu',
                settings=dict(linear=dict(epochs=30, lr=30, patience=2)))
    assert trouble_text(c) == [f"linear {c['linear'].stopped}"] and c['linear'].stopped in str(c)

def test_settings_that_do_nothing_are_not_said(threes_sevens):
    few = fit('linear', threes_sevens, epochs=1, lr=1, bs=64, device='cpu')
    assert repr(few).startswith('Fitted linear(epochs=1, lr=1.0, bs=64, schedule=constant): accuracy ')
    more = dict(patience=3, patience_counts='increases', dropout=.1, wd=.01, clip=1)
    many = fit('linear', threes_sevens, epochs=1, device='cpu', **more)
    assert 'patience=3, patience_counts=increases, dropout=0.1, wd=0.01, clip=1.0)' in repr(many)

@pytest.mark.parametrize('n, hidden, dropout, lr', [(19_999, (64, 64, 64), 0., .01), (20_000, (512, 256), .2, .003)])
def test_what_auto_is_for_the_deeper_net_depends_on_the_number_of_images(n, hidden, dropout, lr):
    outcome = bare('mlp', tiny(n), cbs=(Stop(),))
    assert outcome.resolved | dict(bs=0) == dict(epochs=10, lr=lr, bs=0, hidden=hidden, dropout=dropout)
    assert [m.out_features for m in outcome.model if isinstance(m, nn.Linear)] == [*hidden, 2]
    assert {m.p for m in outcome.model if isinstance(m, nn.Dropout)} == {dropout} - {0.}
    outcome = bare('mlp', tiny(n), cbs=(Stop(),), hidden='7,5', dropout=0, lr=.5)
    assert outcome.resolved | dict(bs=0) == dict(epochs=10, lr=.5, bs=0, hidden=(7, 5), dropout=0.)
    assert not [m for m in outcome.model if isinstance(m, nn.Dropout)]


# The test images

def with_test(images, shift=0, labels=None):
    "The set with validation images as its test split, their pixels and labels changed"
    x = (images.valid.images[:50] + shift).to(torch.uint8)
    return ImageSet(images.source, images.classes, images.train, images.valid,
                    Split(x, images.valid.labels[:50] if labels is None else torch.full((50,), labels)))

@pytest.mark.parametrize('name', ALL[1:8])
def test_test_images_influence_nothing_but_their_own_results(name, threes_sevens):
    quick = {} if name in UNTRAINED else dict(epochs=2, patience=1)
    how = dict(device='cpu') | quick
    one = fit(name, with_test(threes_sevens), test=True, **how)
    other = fit(name, with_test(threes_sevens, 77, 1), test=True, **how)
    none = fit(name, threes_sevens, test=False, **how)
    for f in (other, none):
        assert equal(dict(one.model.state_dict()), dict(f.model.state_dict()))
        assert torch.equal(one.scores, f.scores) and one.stats == f.stats
        assert f.history is None or f.history.drop(columns='seconds').equals(one.history.drop(columns='seconds'))
    assert none.test is None
    assert not torch.equal(one.test.scores, other.test.scores) and one.test.accuracy != other.test.accuracy

def test_no_recipe_can_see_the_test_images(ladder, threes_sevens):
    @recipe
    def curious(images, run):
        assert images.test is None and list(images.splits) == ['train', 'valid']
        return always(images, run, label=0)
    f = fit('curious', with_test(threes_sevens), test=True, device='cpu')
    assert f.test.accuracy == (threes_sevens.valid.labels[:50] == 0).double().mean().item()
    assert f.images.test is not None

def test_the_figures_of_the_test_images_follow_from_their_scores(threes_sevens):
    images = with_test(threes_sevens, 3)
    f = fit('logistic', images, lr=.3, test=True, device='cpu')
    assert_close(f.test.scores, predict_scores(f.model, images.test.images))
    assert torch.equal(f.test.predictions, (f.test.scores[:, 0] > 0).long())
    assert torch.equal(f.test.targets, images.test.labels)
    loss = F.binary_cross_entropy_with_logits(f.test.scores[:, 0].double(), f.test.targets.double())
    assert f.test.loss == pytest.approx(loss.item())
    assert f.test.accuracy == (f.test.predictions == f.test.targets).double().mean().item()
    assert f', {f.test.accuracy:.4f} on 50 test images,' in repr(f)
    assert_close(f.test.probs.sum(1), torch.ones(50))
    assert fit('logistic', images, epochs=1, device='cpu').test is None
    assert 'test images' not in repr(fit('logistic', images, epochs=1, device='cpu'))

@pytest.mark.parametrize('name', TRAINED[:5])
def test_asking_for_test_images_that_are_not_there_is_refused_before_training(name):
    with pytest.raises(InputError) as e: fit(name, tiny(4), test=True, device='cpu', reporter=Untrained())
    assert str(e.value).startswith('tiny: ') and 'no test split' in str(e.value)


# What a recipe trains

@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('n_classes', [2, 4])
def test_the_parts_are_the_model_that_is_trained(name, n_classes):
    images = tiny(8, n_classes)
    outcome = bare(name, images, **({} if name in UNTRAINED else dict(epochs=1, bs=4)))
    settings = recipes[name].resolve({}, {}) | outcome.resolved
    parts = recipes[name].parts(images.shape, n_classes, **settings)
    assert repr(parts.model) == repr(outcome.model)
    assert [(k, v.shape, v.dtype) for k, v in parts.model.state_dict().items()] == [(k, v.shape, v.dtype)
        for k, v in outcome.model.state_dict().items()]
    assert (parts.loss is None) == (parts.opt_func is None) == (name in UNTRAINED)
    if parts.loss is not None:
        assert parts.loss(outcome.model(torch.rand(6, *images.shape)), images.valid.labels).ndim == 0

def test_a_recipe_of_ones_own_has_the_training_settings_where_it_asks_for_them(ladder):
    got = {}
    @recipe(epochs=3, wd=.5)
    def mine(images, run, *, width:Count=4, lr, **training):
        got.update(training, lr=lr, width=width)
        return always(images, run, label=0)
    assert mine.settings['epochs'].default == 3
    assert mine.settings['wd'].default == .5 and mine.settings['width'].default == 4
    fit('mine', tiny(4), device='cpu', clip='2')
    assert got == SHARED | dict(epochs=3, wd=.5, lr=None, bs=None, clip=2., width=4)

def test_what_every_recipe_takes_cannot_be_a_setting(ladder):
    def old(images, run, *, test:Count=1): pass
    def new(images, run, *, checkpoint:Count=1, **training): pass
    for f, name in ((old, 'test'), (new, 'checkpoint')):
        with pytest.raises(TypeError, match=f'called {name!r}'): recipe(f).settings


# Who runs the loop

@pytest.mark.parametrize('seed', [0, 42])
def test_the_same_steps_by_hand_and_through_learner_come_to_the_same(digits, seed):
    a, b = (fit(n, digits, seed=seed, device='cpu', epochs=4) for n in ('sgd', 'linear'))
    torch.testing.assert_close(a.scores, b.scores, rtol=1e-3, atol=1e-4)
    first, second = (f.history.drop(columns='seconds').to_numpy() for f in (a, b))
    assert first == pytest.approx(second, abs=1e-4)

def test_bright_images_do_not_leave_linear_where_it_started(bitmoji):
    "With PyTorch's start of a linear layer, seed 42 stays at 0.5 on these"
    assert fit('linear', load(bitmoji, size=32), seed=42, device='cpu', epochs=8).accuracy > .57
