"""A user's recipe: what it may return, what it may raise, and that only its rung fails"""
import traceback
from copy import deepcopy
from dataclasses import replace
import numpy as np, pandas as pd, pytest, torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from fastai.metrics import accuracy
from torch import nn
from fastrecipes.answer.climb import Climb, compare
from fastrecipes.answer.comparison import read_comparison
from fastrecipes.cli import run
from fastrecipes.data.loaders import dataloaders
from fastrecipes.errors import explained, InputError, is_fault, origin
from fastrecipes.ladder.recipe import fit, ImagesChanged, recipe
from fastrecipes.ladder.settings import recipes
from fastrecipes.lessons.sgd import ClassLoss, cross_entropy
from fastrecipes.training.fitting import Outcome

@pytest.fixture(autouse=True)
def registry():
    "The recipes, put back as they were"
    was = dict(recipes)
    yield
    recipes.clear()
    recipes.update(was)

def net(images, n=None): return nn.Sequential(nn.Flatten(), nn.Linear(images.shape[1] * images.shape[2], n or 10))

def learner(images, device='cpu', **kwargs):
    dls = dataloaders(images, 64, device)
    return Learner(dls, net(images), loss_func=ClassLoss(cross_entropy), metrics=accuracy, **kwargs)

def fitted_learner(images, epochs=2):
    learn = learner(images)
    with learn.no_bar(), learn.no_logging(): learn.fit(epochs, .01)
    return learn

def mine_returns(returned):
    "A recipe `mine` above `linear` that returns `returned(images, run)`"
    @recipe(after='linear')
    def mine(images, run): return returned(images, run)
    return mine

def line_of(text) -> int:
    "The number of the line of this file with this text"
    lines = open(__file__, encoding='utf-8').read().splitlines()
    return next(i for i, line in enumerate(lines, 1) if text in line and 'line_of' not in line)


# What it may return

def test_a_fitted_learner_is_enough(digits):
    found = fit(mine_returns(lambda images, run: fitted_learner(images)), digits, device='cpu')
    recorded = found.learner.recorder.values
    assert [list(row) for row in recorded] == found.history[['train_loss', 'valid_loss', 'accuracy']].values.tolist()
    assert found.history.epoch.tolist() == [0, 1] and found.history.seconds.isna().all() and found.seconds > 0
    assert found.accuracy == pytest.approx(found.history.accuracy.iloc[-1]) and found.has_probs
    compared = compare(digits, 'similarity,mine', device='cpu')
    assert [e.seconds for e in compared.rungs[1].history] == [None, None]
    assert compared['mine'].accuracy == found.accuracy

def test_a_learner_without_validation_or_accuracy_has_a_history_with_gaps(digits):
    def trained(images, run):
        learn = learner(images)
        learn.metrics = []
        learn.recorder.train_metrics = True
        with learn.no_bar(), learn.no_logging(): learn.fit(1, .01)
        return learn
    history = fit(mine_returns(trained), digits, device='cpu').history
    assert history.accuracy.isna().all() and history.train_loss.notna().all() and len(history) == 1

def test_the_normalisation_of_the_loaders_of_a_learner_is_used(digits):
    def trained(images, run):
        learn = Learner(dataloaders(images, 64, 'cpu', stats='train'), net(images), loss_func=ClassLoss(cross_entropy))
        with learn.no_bar(), learn.no_logging(): learn.fit(1, .01)
        return learn
    found = fit(mine_returns(trained), digits, device='cpu')
    assert found.stats is not None and found.loss == pytest.approx(found.history.valid_loss.iloc[-1], rel=1e-4)

def test_a_model_is_enough(digits):
    found = fit(mine_returns(lambda images, run: net(images)), digits, device='cpu')
    assert found.history is None and found.learner is None and found.scores.shape == (len(digits.valid), 10)

@pytest.mark.parametrize('columns', [1, 2])
def test_two_classes_have_one_score_or_two(columns, threes_sevens):
    found = fit(mine_returns(lambda images, run: net(images, columns)), threes_sevens, device='cpu')
    assert found.scores.shape[1] == columns and 0 <= found.accuracy <= 1

class Squeezed(nn.Sequential):
    def forward(self, x): return super().forward(x)[:, 0]
class Pair(nn.Sequential):
    def forward(self, x): return super().forward(x), 1
class Twice(nn.Sequential):
    def forward(self, x): return super().forward(x).repeat(2, 1)

BAD = {
    'None': (lambda images, run: None, 'NoneType'),
    'text': (lambda images, run: 'mlp', 'str'),
    'pair': (lambda images, run: (net(images), 1), 'tuple'),
    'class': (lambda images, run: nn.Linear, 'type'),
    'outcome of nothing': (lambda images, run: Outcome(None), 'an Outcome of NoneType'),
    'learner that was not fitted': (lambda images, run: learner(images), 'learn.fit'),
    'seven of ten': (lambda images, run: net(images, 7), '(360, 7)'),
    'one of ten': (lambda images, run: net(images, 1), '(360, 1)'),
    'no columns': (lambda images, run: Squeezed(*net(images)), '(360,)'),
    'two results': (lambda images, run: Pair(*net(images)), 'AttributeError'),
    'twice the images': (lambda images, run: Twice(*net(images)), '(720, 10)'),
    'other images': (lambda images, run: nn.Linear(3, 10), 'RuntimeError'),
    'nowhere': (lambda images, run: net(images).to('meta'), 'NotImplementedError'),
    'history of something': (lambda images, run: Outcome(net(images), pd.DataFrame(dict(epoch=[0]))), "'train_loss'"),
    'history as a list': (lambda images, run: Outcome(net(images), [1]), "'epoch'"),
    'stats': (lambda images, run: Outcome(net(images), stats=((.5, .5), (.1, .1))), 'Error'),
}

@pytest.mark.parametrize('returned, named', BAD.values(), ids=BAD)
def test_what_cannot_be_a_rung_is_refused_where_it_comes_in(returned, named, digits):
    with pytest.raises(InputError) as e: fit(mine_returns(returned), digits, device='cpu')
    assert str(e.value).startswith('mine: ') and named in str(e.value) and '\n' not in str(e.value)

@pytest.mark.parametrize('returned, named', [
    BAD['seven of ten'],
    BAD['None'],
    (lambda images, run: nn.Sequential(net(images), Times(torch.nan)), '360 of 360'),
    (lambda images, run: Outcome(net(images)).with_settings(k=torch.ones(2)), 'settings.k'),
    (lambda images, run: Outcome(net(images), best_epoch=-1), 'best_epoch'),
    (lambda images, run: Outcome(net(images), frame(epoch=[.5])), 'epoch'),
], ids=['seven', 'None', 'NaN', 'setting', 'best epoch', 'epoch'])
def test_it_is_one_failed_rung_and_the_others_are_kept(returned, named, digits, tmp_path):
    mine_returns(returned)
    c = compare(digits, 'similarity,mine,linear', device='cpu', settings=dict(linear=dict(epochs=1)), out=tmp_path)
    assert [r.status for r in c.rungs] == ['fitted', 'fitted', 'failed'] and c.rungs[2].recipe == 'mine'
    assert named in c.rungs[2].reason and c.rungs[2].reason in ' '.join(str(c).split()) and len(c.table) == 3
    c.save(tmp_path)
    assert read_comparison(tmp_path).rungs[2].reason == c.rungs[2].reason

class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor
    def forward(self, x): return x * self.factor

def frame(**columns):
    numbers = dict(epoch=[0], train_loss=[1.], valid_loss=[1.], accuracy=[.5], seconds=[1.])
    return pd.DataFrame(numbers | columns)


# What it may raise

def helper(): raise ZeroDivisionError('by\nzero') # The line

class Breaks(Callback):
    def after_batch(self): raise ValueError('in a callback') # Its line

class Silent(Callback):
    def after_batch(self): raise LookupError

class Crooked(nn.Sequential):
    def forward(self, x):
        if not self.training: raise KeyError('predicting') # Where it predicts
        return super().forward(x)

def test_fit_raises_it_unchanged_with_its_traceback(digits):
    error = ZeroDivisionError('mine')
    def fail(images, run): raise error
    with pytest.raises(ZeroDivisionError) as e: fit(mine_returns(fail), digits, device='cpu')
    assert e.value is error and error.args == ('mine',) and error.__cause__ is None
    assert 'fail' in [frame.name for frame in traceback.extract_tb(error.__traceback__)]

@pytest.mark.parametrize('returned, kind, line', [
    (lambda images, run: helper(), 'ZeroDivisionError: by zero', '# The line'),
    (lambda images, run: Crooked(*net(images)), "KeyError: 'predicting'", '# Where it predicts'),
    (lambda images, run: np.zeros(2)[5], 'IndexError', 'np.zeros(2)[5]'),
], ids=['helper', 'model', 'NumPy'])
def test_its_rung_names_the_recipe_the_file_and_the_line(returned, kind, line, digits, capsys):
    mine_returns(returned)
    c = compare(digits, 'similarity,mine', device='cpu')
    reason = c.rungs[1].reason
    assert kind in reason and f'(test_own_recipes.py, line {line_of(line)})' in reason
    assert 'report' not in c.rungs[1].cure and c.fitted_rungs and '\n' not in reason
    assert f'test_own_recipes.py", line {line_of(line)}' in c.tracebacks['mine']
    assert run(['compare', 'digits', '-r', 'similarity,mine', '-q'])[0] == 2
    status, printed = run(['fit', 'mine', 'digits', '-q'])
    assert status == 2 and kind in printed and '\n' not in printed and 'Traceback' not in capsys.readouterr().err

def test_the_name_in_the_reason_is_that_of_the_recipe(digits):
    @recipe(after='linear')
    def mine(images, run): helper()
    assert 'the code of mine (' in compare(digits, 'similarity,mine', device='cpu').rungs[1].reason

@pytest.mark.parametrize('name', ['linear', 'mlp'])
@pytest.mark.parametrize('callback, kind, place', [
    (Breaks, 'ValueError: in a callback', '# Its line'), (Silent, 'LookupError', 'raise LookupError'),
])
def test_a_callback_is_told_as_the_users(name, callback, kind, place, threes_sevens):
    c = compare(threes_sevens, ['similarity', name], device='cpu', cbs=[callback()])
    reason = c.rungs[1].reason
    assert c.rungs[0].is_fitted and 'report' not in c.rungs[1].cure
    assert f'{callback.__name__}.after_batch (test_own_recipes.py, line {line_of(place)}): {kind}' in reason

def test_with_debug_it_is_raised(digits, monkeypatch):
    monkeypatch.setenv('FASTRECIPES_DEBUG', '1')
    mine_returns(lambda images, run: helper())
    with pytest.raises(ZeroDivisionError): compare(digits, 'mine', device='cpu')
    with pytest.raises(ZeroDivisionError): run(['fit', 'mine', 'digits', '-q'])

@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_passes_and_finished_rungs_are_kept(error, digits):
    def end(images, run): raise error
    mine_returns(end)
    climb = Climb(digits, 'similarity,mine', device='cpu')
    with pytest.raises(error): climb.run()
    assert [r.status for r in climb.comparison.rungs] == ['fitted', 'stopped']

def test_memory_that_ran_out_is_told_as_such(digits):
    def large(images, run): raise MemoryError
    mine_returns(large)
    rung = compare(digits, 'mine,similarity', device='cpu').rungs[1]
    assert 'MemoryError' in rung.reason and 'bs' in rung.cure

def test_a_learning_curve_has_a_failed_point_where_a_recipe_fails(digits):
    def picky(images, run):
        if len(images.train) < 500: raise ValueError('too few')
        return net(images)
    mine_returns(picky)
    c = compare(digits, 'similarity,mine', device='cpu', curve='all', fractions=[.1, .5])
    points = {r.recipe: r.points for r in c.curve.rungs}
    assert [p.accuracy is None for p in points['mine']] == [True, False]
    assert all(p.accuracy is not None for p in points['similarity'])

def test_only_the_users_code_is_the_users(digits):
    def raised(f):
        try: f()
        except Exception as e: return e
    ours = raised(lambda: None) or ValueError('made, not raised')
    assert origin(ours) is None and is_fault(ours) and 'report' in explained(ours)[1]
    theirs = raised(helper)
    assert origin(theirs)[1:] == ('test_only_the_users_code_is_the_users.<locals>.raised'.rpartition('.')[2],
                                  'test_own_recipes.py', line_of('# The line'))
    assert not is_fault(theirs) and not is_fault(InputError('no; yes')) and not is_fault(MemoryError())
    circle = ValueError('a')
    circle.__cause__ = circle
    assert origin(circle) is None


# Names and images

@pytest.mark.parametrize('name', ['mlp', 'logistic', 'resnet18', 'fastrecipes', '<lambda>', 'two words'])
def test_a_name_that_is_taken_or_is_none_is_refused(name):
    def f(images, run): return net(images)
    f.__name__ = name
    before = dict(recipes)
    with pytest.raises(InputError, match=name): recipe(f)
    assert recipes == before

def test_ones_own_recipe_can_be_defined_again():
    first, second = mine_returns(len), mine_returns(repr)
    assert recipes['mine'] is second is not first

CHANGES = {
    'train': lambda images: images.train.images.div_(2, rounding_mode='floor'),
    'part of valid': lambda images: images.valid.images[:3].zero_(),
    'labels': lambda images: images.train.labels.zero_(),
    'NumPy': lambda images: images.train.images.numpy().fill(3),
}

def careless(change, fails=False):
    "A recipe `mine` that changes the images, and may then fail"
    def changes(images, run):
        change(images)
        return helper() if fails else net(images)
    mine_returns(changes)

def own_copy(images):
    "An image set that a test may change"
    return replace(images, train=deepcopy(images.train), valid=deepcopy(images.valid))

@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize('fails', [False, True])
def test_a_recipe_that_changes_the_images_is_one_failed_rung(change, fails, digits):
    images, names, how = own_copy(digits), 'similarity,linear', dict(device='cpu', settings=dict(linear=dict(epochs=1)))
    alone = compare(images, names, **how)
    careless(change, fails)
    with pytest.raises(ZeroDivisionError if fails else ImagesChanged): fit('mine', images, device='cpu')
    recipes['linear'] = recipes.pop('linear') # Above mine
    c = compare(images, 'similarity,mine,linear', **how)
    assert [r.status for r in c.rungs] == ['fitted', 'failed', 'fitted']
    assert ('ZeroDivisionError' if fails else 'in place') in c.rungs[1].reason
    assert [c[n].accuracy for n in names.split(',')] == [r.accuracy for r in alone.rungs]
    for split, wanted in images.splits.items():
        assert torch.equal(digits.splits[split].images, wanted.images)
        assert torch.equal(digits.splits[split].labels, wanted.labels)

@pytest.mark.parametrize('fails', [False, True])
def test_images_that_cannot_be_restored_are_not_used_any_more(fails, digits, monkeypatch):
    monkeypatch.setattr('fastrecipes.ladder.recipe._most_copied', 100)
    def change(images):
        images.train.images.zero_()
        images.train.labels.zero_()
    images = own_copy(digits)
    careless(change, fails)
    with pytest.warns(UserWarning, match='mine has changed'):
        c = compare(images, 'similarity,mine,mlp', device='cpu', curve='similarity', fractions=[.5])
    assert [r.status for r in c.rungs] == ['fitted', 'failed', 'failed'] and 'mine' in c.rungs[2].reason
    assert [p.accuracy for rung in c.curve.rungs for p in rung.points][:-1] == []
    assert torch.equal(images.train.labels, digits.train.labels) # Which the first rung was judged by
    with pytest.raises(ImagesChanged): fit('similarity', images, device='cpu')
    assert fit('similarity', digits, device='cpu').accuracy == c.rungs[0].accuracy

def test_a_model_on_another_device_comes_to_the_one_of_the_run(digits):
    if not torch.cuda.is_available(): pytest.skip('no second device here')
    found = fit(mine_returns(lambda images, run: net(images)), digits, device='cuda')
    assert found.scores.shape == (len(digits.valid), 10)
