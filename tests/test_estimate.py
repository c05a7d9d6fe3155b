"The time of a rung: estimated from its first steps, without a trace; rungs that take too long are left out and named"
import math, random
import numpy as np, pytest, torch
from fastrecipes.answer import climb as room
from fastrecipes.answer.climb import Climb, compare
from fastrecipes.answer.comparison import read_comparison
from fastrecipes.answer.report import report_html
from fastrecipes.answer.verdict import brief
from fastrecipes.errors import InputError
from fastrecipes.ladder.estimate import estimate, TooLong, Watch
from fastrecipes.ladder.pretrained import missing_weights
from fastrecipes.ladder.recipe import fit, get_recipe, Recipe
from fastrecipes.ladder.settings import Count, recipes
from fastrecipes.reporter import Reporter
from fastrecipes.training.fitting import ReportBatches
from conftest import refused
from made import noise_images

CPU = torch.device('cpu')
NAMES = ['similarity', 'sgd', 'linear', 'mlp']
LONG = dict(mlp=dict(epochs=100_000)) # Hours
SHORT = dict(sgd=dict(epochs=1), linear=dict(epochs=1), mlp=dict(epochs=1))


class Told(Reporter):
    "Keeps what it hears of time, and with which task"
    def __init__(self): self.estimates, self.out, self.tasks, self.task = {}, {}, [], None
    def started(self, task):
        self.task = task.name
        self.tasks.append((task.what, task.name))
    def estimated(self, seconds): self.estimates[self.task] = seconds
    def left_out(self, seconds): self.out[self.task] = seconds

@pytest.fixture
def four_rungs(monkeypatch):
    "A ladder of four quick rungs"
    for name, r in recipes.items(): monkeypatch.setattr(r, 'rung', name in NAMES)

def random_state(): return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()

def test_a_fit_that_is_watched_is_the_same_to_the_last_bit(threes_sevens):
    for name in ('sgd', 'mlp'):
        alone, watched = (fit(name, threes_sevens, seed=5, device='cpu', epochs=2, reporter=r)
                          for r in (None, Watch(Reporter())))
        assert torch.equal(alone.scores, watched.scores)
        assert all(map(torch.equal, alone.model.state_dict().values(), watched.model.state_dict().values()))
        assert alone.history.drop(columns='seconds').equals(watched.history.drop(columns='seconds'))

def test_a_fit_that_was_ended_leaves_no_trace(threes_sevens):
    alone, before = fit('mlp', threes_sevens, seed=5, device='cpu', epochs=2), random_state()
    threads = torch.get_num_threads()
    with pytest.raises(TooLong) as ended:
        fit('mlp', threes_sevens, seed=5, device='cpu', epochs=100_000, reporter=Watch(Reporter(), 60.))
    assert ended.value.seconds > 60 and random_state() == before and torch.get_num_threads() == threads
    assert torch.equal(fit('mlp', threes_sevens, seed=5, device='cpu', epochs=2).scores, alone.scores)

@pytest.mark.skipif(bool(missing_weights()), reason='no ImageNet weights')
@pytest.mark.parametrize('name, settings', [
    ('convnet', dict(epochs=3)), ('frozen', dict(side=64)), ('finetune', dict(side=64, epochs=3, bs=8))])
def test_larger_rungs_are_estimated_too_and_fitted_as_if_they_had_not_been(name, settings):
    images = noise_images(150)
    how = dict(seed=5, device=CPU, **settings)
    before = random_state()
    assert 0 < estimate(get_recipe(name), images, **how) < 100 and random_state() == before
    estimated = fit(name, images, **how)
    estimate(get_recipe(name), images, **how)
    assert torch.equal(estimated.scores, fit(name, images, **how).scores)

def test_the_estimate_is_the_median_step_times_their_number(monkeypatch):
    clock = iter([0., 1., 3., 3.5])
    monkeypatch.setattr('time.perf_counter', lambda: next(clock))
    told = Told()
    watch = Watch(told, most=math.inf, more=.5)
    for done in (1, 2, 3, 4): watch.progress(done, 100)
    assert watch.seconds == told.estimates[None] == 1.5 * 100 * 1.5 # After two steps that took three seconds

def test_near_the_limit_it_looks_longer_than_far_from_it(monkeypatch):
    def steps_looked_at(seconds, most):
        now = [0.]
        monkeypatch.setattr('time.perf_counter', lambda: now[0])
        watch, done = Watch(Reporter(), most), 0
        try:
            while watch.seconds is None:
                done += 1
                watch.progress(done, 1000)
                now[0] += seconds
        except TooLong: pass
        return done
    assert steps_looked_at(.1, 1000) == 4 and steps_looked_at(.1, 10) == 4 and steps_looked_at(.1, 90) > 25

def test_a_fit_that_continues_is_not_ended():
    watch = Watch(Reporter(), most=0.)
    for done in range(50, 61): watch.progress(done, 60)
    assert watch.seconds is not None

def test_batches_that_train_everything_count_for_more_than_those_of_the_head(monkeypatch):
    cb = ReportBatches(Reporter(), 1)
    monkeypatch.setattr(ReportBatches, 'n_iter', 10, raising=False)
    assert [cb._weighted(n) for n in (1, 10, 20, 40)] == [1, 10, 27, 61]
    assert ReportBatches(Reporter())._weighted(40) == 40

def test_recipes_without_training_and_those_of_users_are_not_begun_for_an_estimate(threes_sevens):
    def mine(images, run, *, epochs:Count=1): pytest.fail('it was begun')
    for r in (*map(get_recipe, ('majority', 'similarity', 'knn')), Recipe(mine)): assert estimate(r, threes_sevens) == 0


# The ladder

def test_a_variant_is_estimated_too(threes_sevens):
    "Also one that only settings.ini names; 0 would say that it cannot be estimated"
    settings = dict(long=dict(recipe='mlp', epochs='40'))
    variants = get_recipe('long', settings), get_recipe('mlp(epochs=40)')
    assert all(estimate(r, threes_sevens, device='cpu', settings=settings) > 0 for r in variants)

def test_a_rung_of_over_a_minute_is_left_out_of_the_ladder_and_named(threes_sevens, four_rungs, tmp_path):
    told = Told()
    c = compare(threes_sevens, device='cpu', settings=SHORT | LONG, reporter=told, out=tmp_path)
    out, = c.left_out
    assert list(c) == NAMES[:-1] and out.recipe == 'mlp' and out.seconds == told.out['mlp'] > 60
    for text in (str(c), c._repr_html_(), str(c.verdict), str(brief(c)), report_html(c)):
        assert 'mlp' in text and f'{out.seconds / 3600:.1f} h' in text and 'all_rungs=True' in text
    assert len(c.pairs) == 3
    c.save(tmp_path)
    assert read_comparison(tmp_path).left_out == c.left_out

def test_what_is_named_or_requested_with_all_is_fitted(threes_sevens, four_rungs, monkeypatch, tmp_path):
    monkeypatch.setattr(room, 'LONG', -1.) # Every rung takes longer
    assert list(compare(threes_sevens, device='cpu', settings=SHORT, out=tmp_path)) == ['similarity']
    how = dict(device='cpu', settings=SHORT)
    told = Told()
    again = compare(threes_sevens, out=tmp_path, resume=True, all_rungs=True, reporter=told, **how)
    assert list(again) == NAMES and again.left_out == () and list(told.estimates) == NAMES[1:]
    assert list(compare(threes_sevens, NAMES, **how)) == NAMES
    kept = compare(threes_sevens, out=tmp_path, resume=True, **how) # Their results are there
    assert list(kept) == NAMES and kept.left_out == ()
    assert torch.equal(kept['mlp'].valid.scores, fit('mlp', threes_sevens, device='cpu', epochs=1).scores)

def test_minutes_fit_the_cheapest_first(threes_sevens, monkeypatch):
    seconds = dict(sgd=30., linear=5., mlp=20.)
    monkeypatch.setattr(room, 'estimate', lambda r, *args, **how: seconds.get(r.name, 0.))
    def rungs(minutes, **more):
        c = compare(threes_sevens, NAMES, device='cpu', settings=SHORT, minutes=minutes, **more)
        assert all(r.seconds == times * seconds[r.recipe] for r in c.left_out)
        return list(c)
    times = 1
    assert rungs(1) == NAMES and rungs(.5) == ['similarity', 'linear', 'mlp'] and rungs(.3) == NAMES[:1] + ['linear']
    times = 2
    assert rungs(.5, repeats=2) == ['similarity', 'linear']
    with refused('linear', '5.00 s'): compare(threes_sevens, NAMES[1:], device='cpu', minutes=.01)

def test_estimates_of_minutes_come_before_the_first_fit(threes_sevens):
    told = Told()
    c = compare(threes_sevens, NAMES, device='cpu', settings=SHORT | LONG, minutes=10, reporter=told)
    assert told.tasks[:4] == [('estimate', n) for n in NAMES] and [t for t, _ in told.tasks[4:]] == ['fit'] * 3
    assert [r.recipe for r in c.left_out] == ['mlp']

@pytest.mark.parametrize('how', [dict(minutes=0), dict(minutes=-1), dict(minutes='5'), dict(minutes=math.inf),
                                 dict(minutes=5, all_rungs=True)])
def test_minutes_that_are_none_are_refused(threes_sevens, how):
    with pytest.raises(InputError, match='minutes'): Climb(threes_sevens, **how)

def test_a_gain_is_over_the_rung_that_the_recipe_names_if_it_was_fitted(threes_sevens, monkeypatch):
    monkeypatch.setattr(get_recipe('mlp'), 'against', 'sgd')
    def over(names): return {r.recipe: r.against and r.against.recipe for r in rungs_of(names)}
    def rungs_of(names):
        settings = {name: of for name, of in SHORT.items() if name in names}
        return compare(threes_sevens, names, device='cpu', settings=settings).rungs
    assert over(NAMES) == dict(similarity=None, sgd='similarity', linear='sgd', mlp='sgd')
    assert over(['similarity', 'linear', 'mlp'])['mlp'] == 'linear', 'the nearest below'
    lines = str(compare(threes_sevens, NAMES, device='cpu', settings=SHORT)).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith('mlp'))
    assert lines[at + 1].split() == ['vs', 'sgd'] and 'vs sgd' not in '\n'.join(lines[:at])
