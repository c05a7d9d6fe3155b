"""Small models train on one thread, large ones on all; the caller's number is put back"""
import json
from pathlib import Path
import pytest, torch
from conftest import refused
from reporters import Each
from fastrecipes.training import cost
from fastrecipes.training.checkpoint import Checkpoint
from fastrecipes.answer.climb import Climb, compare
from fastrecipes.training.cost import choose_threads, LARGE_STEP, on_threads, pick_threads
from fastrecipes.ladder.recipe import fit, recipe
from fastrecipes.ladder.settings import global_settings, recipes
from torch import nn


@pytest.fixture(autouse=True)
def two_threads():
    "The caller's number, which every test must leave as it was"
    with on_threads(2):
        yield
        assert torch.get_num_threads() == 2

@pytest.fixture
def all_large(monkeypatch): monkeypatch.setattr(cost, 'LARGE_STEP', 1)

def seen_by(name, images, **kwargs) -> tuple: # The fitted recipe, and the numbers while it trained
    numbers = []
    fitted = fit(name, images, device='cpu', epochs=1,
                 reporter=Each(lambda row: numbers.append(torch.get_num_threads())), **kwargs)
    return fitted, numbers


def test_the_border_lies_at_so_many_multiply_adds_of_a_batch():
    net = nn.Sequential(nn.Flatten(), nn.Linear(1024, 512, bias=False))
    bs = LARGE_STEP // (1024 * 512)
    assert [pick_threads(net, (1, 32, 32), n, most=4) for n in (1, bs - 1, bs, bs + 1)] == [1, 1, 4, 4]
    assert pick_threads(net, (1, 32, 32), bs) == 2, "as many as PyTorch has"
    assert pick_threads(nn.Flatten(), (1, 32, 32), 1, most=4) == 4, 'nothing is known of it'

def test_choosing_draws_no_random_numbers():
    class Noisy(nn.Linear):
        def forward(self, x): return super().forward(x.flatten(1) + torch.rand(1))
    before = torch.get_rng_state()
    pick_threads(Noisy(64, 10), (1, 8, 8), 32)
    assert not torch.equal(before, torch.get_rng_state()), 'the layer draws its weights'
    net, before = Noisy(64, 10), torch.get_rng_state()
    pick_threads(net, (1, 8, 8), 32)
    assert torch.equal(before, torch.get_rng_state())

@pytest.mark.parametrize('name', ['sgd', 'logistic', 'linear', 'simple_net', 'mlp', 'convnet'])
def test_a_small_model_trains_on_one_thread(name, threes_sevens):
    fitted, numbers = seen_by(name, threes_sevens)
    assert (fitted.threads, numbers) == (1, [1])

@pytest.mark.parametrize('name', ['sgd', 'mlp'])
def test_a_large_model_trains_on_all(name, threes_sevens, all_large):
    fitted, numbers = seen_by(name, threes_sevens)
    assert (fitted.threads, numbers) == (2, [2])

class OnlyPairs(nn.Module):
    "Takes no single image"
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 1)
    def forward(self, x):
        if len(x) < 2: raise ValueError('two images or more')
        return self.layer(x.flatten(1))

def test_a_model_that_takes_no_single_image_is_not_asked_for_more():
    many = 2**20 # So large a batch that the weights alone do not show that the step is small
    assert pick_threads(OnlyPairs(), (1, 8, 8), many, most=4) == 4
    assert pick_threads(OnlyPairs(), (1, 8, 8), 1, most=4) == 1

def test_a_fit_within_a_recipe_has_the_callers_threads(threes_sevens, monkeypatch):
    inner = []
    @recipe(rung=False)
    def outer(images, run):
        from fastrecipes.training.fitting import fit_learner
        outcome = fit_learner(_own_net(images), 1, .1)
        numbers.append(torch.get_num_threads())
        with monkeypatch.context() as m:
            m.setattr(cost, 'LARGE_STEP', 1)
            inner.append(fit('linear', images_whole, device='cpu', epochs=1).threads)
        inner.append(fit('linear', images_whole, device='cpu', epochs=1).threads)
        numbers.append(torch.get_num_threads())
        return outcome
    numbers, images_whole = [], threes_sevens
    try:
        assert fit('outer', threes_sevens, device='cpu').threads == 1
        assert fit('outer', threes_sevens, device='cpu', threads=3).threads == 3
    finally: del recipes['outer']
    assert inner == [2, 1, 3, 1] and numbers == [1, 1, 3, 3]

def test_a_residual_network_is_large():
    from fastrecipes.lessons.nets import resnet18
    assert pick_threads(resnet18((1, 8, 8), 10), (1, 8, 8), 32, most=4) == 4

def test_what_is_not_trained_chooses_too(threes_sevens, monkeypatch):
    assert fit('similarity', threes_sevens, device='cpu').threads == 1
    monkeypatch.setattr(cost, 'LARGE_STEP', 1)
    assert fit('similarity', threes_sevens, device='cpu').threads == 2

@pytest.mark.parametrize('name', ['sgd', 'mlp'])
def test_a_number_that_is_given_overrules(name, threes_sevens):
    assert seen_by(name, threes_sevens, threads=2)[1] == [2]
    assert seen_by(name, threes_sevens, threads='2')[0].threads == 2
    with on_threads(1): assert seen_by(name, threes_sevens, threads=2)[1] == [2]

def test_predictions_are_made_on_the_same_number(threes_sevens, monkeypatch):
    import fastrecipes.ladder.recipe as module
    numbers, predict = set(), module.predict_scores
    def spy(*args):
        numbers.add(torch.get_num_threads())
        return predict(*args)
    monkeypatch.setattr(module, 'predict_scores', spy)
    fit('sgd', threes_sevens, device='cpu', epochs=1)
    assert numbers == {1}

@pytest.mark.parametrize('error', [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize('name', ['sgd', 'mlp'])
def test_the_callers_number_comes_back_when_a_training_ends_early(name, error, threes_sevens):
    def fail(row): raise error('in an epoch')
    with pytest.raises(error): fit(name, threes_sevens, device='cpu', reporter=Each(fail))
    assert torch.get_num_threads() == 2

def _own_net(images):
    from fastai.learner import Learner
    from fastrecipes.data.loaders import dataloaders
    from fastrecipes.lessons.nets import linear
    from fastrecipes.lessons.sgd import basic_opt, ClassLoss, lesson_loss
    return Learner(dataloaders(images, 64, 'cpu'), linear(64, 1), loss_func=ClassLoss(lesson_loss(2)),
                   opt_func=basic_opt)

@pytest.fixture
def own():
    "Recipes of a user's own: through `fit_learner`, and with a loop that chooses for itself, or does not"
    from fastrecipes.training.fitting import Outcome
    @recipe(rung=False)
    def learned(images, run): return run.fit(_own_net(images), 1, .1)
    @recipe(rung=False)
    def looped(images, run):
        learn = _own_net(images)
        choose_threads(learn.model, 64)
        return Outcome(learn.model)
    @recipe(rung=False)
    def silent(images, run): return Outcome(_own_net(images).model)
    names = ('learned', 'looped', 'silent')
    yield names
    for n in names: del recipes[n]

def test_recipes_of_ones_own(own, threes_sevens):
    def numbers(**how):
        return [fit(n, threes_sevens, device='cpu', **how).threads for n in own]
    assert numbers() == [1, 1, 2], 'of the last nothing is known'
    assert numbers(threads=2) == [2, 2, 2] and numbers(threads=1) == [1, 1, 1]

def test_fit_learner_alone_changes_nothing(threes_sevens):
    from fastrecipes.training.fitting import fit_learner
    numbers = []
    fit_learner(_own_net(threes_sevens), 1, .1, reporter=Each(lambda row: numbers.append(torch.get_num_threads())))
    assert numbers == [2]

def test_a_training_to_watch_has_one_thread(threes_sevens, monkeypatch):
    from fastrecipes.explore.live import LiveTraining
    live, numbers, batch = LiveTraining(threes_sevens), [], LiveTraining._batch
    def spy(self):
        numbers.append(torch.get_num_threads())
        batch(self)
    monkeypatch.setattr(LiveTraining, '_batch', spy)
    live.step(2)
    assert numbers == [1, 1]


# Settings

@pytest.mark.parametrize('bad', [0, -1, 'x', 1.5, True, 1025, ''])
def test_what_is_no_number_of_threads_is_refused(bad):
    for f in (lambda: fit('mlp', threads=bad), lambda: compare('digits', 'mlp', threads=bad)):
        with refused(f'threads={bad!r} is not a whole number from 1 to 1024 (or auto)'): f()

def test_settings_are_heeded_and_an_argument_overrules_them():
    def ini(value):
        return dict(fastrecipes=dict(threads=value))
    assert [global_settings(ini(v))['threads'] for v in ('auto', '3')] == ['auto', 3]
    assert global_settings(ini('3'), threads='auto')['threads'] == 'auto'
    assert global_settings(ini('3'), threads=1)['threads'] == 1
    with refused("threads='many' is not"): global_settings(ini('many'))

@pytest.mark.parametrize('verb', [
    ['fit', 'similarity', '--out', 'kept'],
    ['compare', '-r', 'similarity', '--out', 'kept'],
], ids=['fit', 'compare'])
@pytest.mark.slow
def test_the_command_takes_it_and_refuses_what_is_none(verb):
    from test_cli import called
    for bad in ('0', '-1', 'x'):
        r = called(*verb, '--threads', bad, '-q')
        assert r.returncode == 2 and 'threads' in r.stderr and len(r.stderr.splitlines()) == 1, r.stderr
    assert called(*verb, '--threads', '2', '-q').returncode == 0
    kept = json.loads(next(Path('kept').glob('c*.json')).read_text()) # card.json or comparison.json
    assert kept.get('threads', kept.get('rungs', [{}])[0].get('threads')) == 2
    assert called(*verb, '--threads', '1', '--resume', '-q').returncode == 2
    assert called(*verb, '--resume', '-q').returncode == 0


@pytest.mark.parametrize('verb', [
    ['fit', 'similarity', '--out', 'kept'],
    ['compare', '-r', 'similarity', '--out', 'kept'],
], ids=['fit', 'compare'])
def test_the_command_takes_it_from_settings_ini(verb):
    from test_cli import called
    Path('settings.ini').write_text('[fastrecipes]\nthreads = many\n')
    r = called(*verb, '-q')
    assert r.returncode == 2 and len(r.stderr.splitlines()) == 1, r.stderr
    assert "settings.ini [fastrecipes]: threads='many'" in r.stderr
    Path('settings.ini').write_text('[fastrecipes]\nthreads = 2\n')
    assert called(*verb, '-q').returncode == 0
    kept = json.loads(next(Path('kept').glob('c*.json')).read_text()) # card.json or comparison.json
    assert kept.get('threads', kept.get('rungs', [{}])[0].get('threads')) == 2


# Kept

def test_the_number_is_in_the_card_the_comparison_and_the_report(threes_sevens, tmp_path):
    from fastrecipes.answer.comparison import read_comparison
    from fastrecipes.answer.report import report_html
    from fastrecipes.keep.store import load, read_card, save
    f = fit('linear', threes_sevens, device='cpu', epochs=1)
    assert read_card(save(f, tmp_path/'m')).threads == 1 and load(tmp_path/'m', 'cpu').card.threads == 1
    c = compare(threes_sevens, 'similarity,linear', device='cpu', settings=dict(linear=dict(epochs=1)))
    c.save(tmp_path/'c')
    d = read_comparison(tmp_path/'c')
    assert [r.threads for r in d.rungs] == [1, 1] and 'cpu, 1 thread' in report_html(d)
    rungs = d.rungs[0], d.rungs[1].model_copy(update=dict(threads=2))
    assert 'cpu; 1 thread: similarity; 2 threads: linear' in report_html(d.model_copy(update=dict(rungs=rungs)))
    old = json.loads((tmp_path/'c/comparison.json').read_text())
    for r in old['rungs']: r['threads'] = None
    (tmp_path/'c/comparison.json').write_text(json.dumps(old))
    assert ' thread' not in report_html(read_comparison(tmp_path/'c')).split('<dl class="made">')[1].split('</dl>')[0]

@pytest.mark.parametrize('name', ['sgd', 'mlp'])
def test_equal_numbers_give_equal_bits_whatever_the_caller_has(name, threes_sevens):
    on_two = fit(name, threes_sevens, device='cpu', epochs=2)
    with on_threads(1): on_one = fit(name, threes_sevens, device='cpu', epochs=2)
    assert on_two.scores.equal(on_one.scores)
    assert on_two.scores.equal(fit(name, threes_sevens, device='cpu', epochs=2, threads=1).scores)


# Resumed

@pytest.fixture
def stopped(threes_sevens, tmp_path):
    "Interrupt a training after its second epoch; a checkpoint to resume from"
    def make(name, **how):
        def stop(row):
            if row['epoch'] == 2: raise KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt):
            fit(name, threes_sevens, device='cpu', epochs=4, reporter=Each(stop),
                checkpoint=Checkpoint(tmp_path, every=1), **how)
        return Checkpoint(tmp_path, every=1, resume=True)
    return make

@pytest.mark.parametrize('name', ['sgd', 'mlp'])
def test_a_checkpoint_keeps_its_number(name, stopped, threes_sevens):
    whole = fit(name, threes_sevens, device='cpu', epochs=4, threads=2)
    point = stopped(name, threads=2)
    with on_threads(1): resumed = fit(name, threes_sevens, device='cpu', epochs=4, checkpoint=point)
    assert resumed.threads == 2 and resumed.scores.equal(whole.scores)

def test_a_checkpoint_of_another_number_is_refused(stopped, threes_sevens):
    point = stopped('sgd')
    with refused('checkpoint.safetensors: ', 'threads 1, not 2'):
        fit('sgd', threes_sevens, device='cpu', epochs=4, checkpoint=point, threads=2)
    assert fit('sgd', threes_sevens, device='cpu', epochs=4, checkpoint=point, threads=1).threads == 1

def test_a_comparison_goes_on_with_the_numbers_that_it_has(threes_sevens, tmp_path):
    how = dict(names='similarity,linear', device='cpu', settings=dict(linear=dict(epochs=1)), out=tmp_path)
    Climb(threes_sevens, **how, threads=2).run()
    with refused('threads 2, not 1'): Climb(threes_sevens, **how, threads=1, resume=True).run()
    again = Climb(threes_sevens, **how, resume=True).run()
    assert [r.threads for r in again.results.values()] == [2, 2] and not again.fitted
