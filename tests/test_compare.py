"""The ladder side by side: numbers, what failed, seeds, and the files that hold it all"""
import itertools, json, os, re
from dataclasses import replace
from html import escape
import numpy as np, pandas as pd, pytest, torch
from pandas.testing import assert_frame_equal
from PIL import Image
from pydantic import ValidationError
from fastrecipes.answer.chance import (
    grouped_interval, holm, in_words, Interval, mid_p, over_seeds, paired_difference, seeds_difference, wilson,
)
from fastrecipes.answer.climb import Climb, compare
from fastrecipes.answer.comparison import Comparison, comparison_of, read_comparison, standings
from fastrecipes.answer.records import Pair, Step
from fastrecipes.answer.results import Fits
from fastrecipes.answer.rules import claimed_step
from fastrecipes.data.images import Split
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError, write_atomic
from fastrecipes.ladder.fitted import Judged
from fastrecipes.ladder.recipe import fit, ladder, recipe
from fastrecipes.ladder.settings import Count, recipes
from fastrecipes.text import p_cell, range_text, short_number
from fastrecipes.training.cost import Cost
from fastrecipes.training.fitting import Outcome
from conftest import Heard, refused

WORTH = [
    'recipe', 'accuracy', 'low', 'high', 'loss', 'gain_points', 'gain_low', 'gain_high', 'p', 'p_adjusted', 'words',
    'against']
TESTED = ['test_accuracy', 'test_low', 'test_high']
SEEDS = ['seeds', 'sd']
PRICE = [*Cost._fields, 'status', 'reason', 'cure']
GAIN = ['gain_points', 'gain_low', 'gain_high', 'p']
NAMES = ['similarity', 'sgd', 'mlp']
FILES = ['comparison.csv', 'comparison.json', 'comparison.png']
SHORT = {'mlp': {'epochs': 1}, 'sgd': {'epochs': 2}}
MLP = {'mlp': {'epochs': 1}}
NAN = {'logistic': {'epochs': 3, 'lr': 9e37}} # A learning rate with which the loss is soon not a number


@pytest.fixture(scope='module')
def heard(): return Heard()

@pytest.fixture(scope='module')
def three(threes_sevens, heard):
    "Three rungs, requested in another order"
    return compare(
        threes_sevens, ['mlp', 'similarity', 'sgd', 'mlp'], seed=3, device='cpu', reporter=heard, settings=SHORT)

@pytest.fixture(scope='module')
def hurt(threes_sevens):
    "Four rungs, the second and the third of which fail: one has a loss that is not a number, the other finds no memory"
    def no_memory(n): return torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')
    with own(no_memory):
        return compare(threes_sevens, ['similarity', 'logistic', 'own', 'mlp'], device='cpu', settings=NAN | MLP)

class own:
    """A recipe `own` above logistic for the time of a `with` block.

    It is similarity, and raises what `error` makes of the number of times it was called"""
    def __init__(self, error, model=None):
        self.error = error
        self.model = model

    def __enter__(self):
        calls, error, model = [], self.error, self.model
        @recipe(after='logistic', rung=False)
        def own(images, run, *, k:Count=1):
            "A recipe of the test"
            calls.append(images)
            e = error(len(calls))
            if e is not None: raise e
            return recipes['similarity'].func(images, run, distance='l2') if model is None else Outcome(model)
        return calls

    def __exit__(self, *args): del recipes['own']

def scored(fitted, scores, targets):
    return replace(fitted, valid=Judged(torch.tensor(scores), torch.tensor(targets), fitted.has_probs))
def right_of(fitted): return int((fitted.predictions == fitted.targets).sum())
def plain(comparison): return json.loads(comparison.model_dump_json())

def step_of(recipe, d, p_adjusted):
    "A `Difference` as the step over `recipe`"
    return Step(
        recipe=recipe, gain_points=d.gain * 100, interval_points=Interval(d.low * 100, d.high * 100), p=d.p,
        p_adjusted=p_adjusted, words=in_words(d.gain, p_adjusted))
def adjusted(comparison):
    "p of all pairs, adjusted by hand"
    pairs = comparison.pairs
    return {(p.below, p.recipe): a for p, a in zip(pairs, holm(p.p for p in pairs), strict=True)}

def without_costs(comparison):
    "The table without what depends on the clock or on other use of the memory"
    clock = ['train_seconds', 'peak_memory_bytes', 'peak_gpu_memory_bytes', 'predict_ms_1', 'predict_ms_1000']
    return comparison.table.drop(columns=clock)

def never(): return Heard(lambda told: pytest.fail('something was fitted'))


# Comparing

def test_rungs_come_in_the_order_of_the_ladder_and_once(three):
    assert [f.recipe for f in three.fitted] == list(three.results) == [r.recipe for r in three.rungs] == NAMES
    assert all(three[n].recipe == n for n in NAMES)

def test_the_reporter_hears_each_task_its_epochs_and_what_was_fitted(heard, three, threes_sevens):
    n = len(threes_sevens.train)
    assert [what[0] for what in heard.told] == [
        'started', 'finished', *['started', 'epoch', 'epoch', 'finished'], *['started', 'epoch', 'finished']]
    assert [tuple(t) for t in heard.of('started')] == [('fit', name, i, 3, 3, n) for i, name in enumerate(NAMES)]
    assert [row['epoch'] for row in heard.of('epoch')] == [0, 1, 0]
    assert heard.of('finished') == list(three.fitted)

def test_seed_and_settings_reach_every_recipe(three):
    assert {f.seed for f in three.fitted} == {r.seed for r in three.results.values()} == {three.seed} == {3}
    assert (three['sgd'].settings['epochs'], three['mlp'].settings['epochs']) == (2, 1)

def test_a_comparison_has_what_fitting_alone_gives(three, threes_sevens):
    for n in NAMES:
        assert torch.equal(fit(n, threes_sevens, seed=3, device='cpu', **SHORT.get(n, {})).scores, three[n].scores)

def test_all_recipes_are_compared_unless_some_are_named(threes_sevens):
    climb = Climb(threes_sevens, device='cpu')
    assert list(climb.settings) == ladder() == [r.recipe for r in climb.comparison.rungs] and climb.count == 10

def test_names_and_fractions_may_come_from_a_generator(threes_sevens):
    names, curve, fractions = (n for n in ['sgd', 'similarity']), (n for n in ['similarity']), (f for f in (.5, 1))
    c = compare(threes_sevens, names, device='cpu', settings={'sgd': {'epochs': 1}}, curve=curve, fractions=fractions)
    assert list(c.results) == ['similarity', 'sgd'] and [p.fraction for p in c.curve.rungs[0].points] == [.5, 1]

@pytest.mark.parametrize('kwargs, wanted', [
    (dict(names=['similarity', 'sdg']), ['sdg', 'sgd']),
    (dict(names=[]), ['no recipe', 'similarity']),
    (dict(settings={'mpl': {}}), ['mpl', 'mlp']),
    (dict(settings={'mlp': {'epoch': 1}}), ['mlp', 'epoch']),
    (dict(settings={'mlp': {'epochs': 'x'}}), ["epochs='x'"]),
    (dict(names=['mlp'], settings={'mlp': {'lr': 0}}), ['lr=0']),
    (dict(settings={'convnet': {'precision': 'fp16'}}, device='cpu'), ['convnet', 'fp16', 'CUDA']),
    (dict(names='sgd,linear', settings={'mlp': {'lr': 1}}), ['settings for mlp', 'sgd, linear']),
    (dict(repeats=0), ['repeats=0']),
    (dict(repeats=True), ['repeats=True']),
    (dict(repeats=2.), ['repeats=2.0']),
    (dict(names='sgd', curve='mlp'), ['curve of mlp', 'sgd']),
    (dict(curve='mpl'), ["'mpl'"]),
    (dict(curve=[]), ['no recipe']),
    (dict(curve='all', fractions=[0]), ['fraction=0']),
    (dict(curve='all', fractions=[]), ['no fraction']),
    (dict(resume=True), ['resume=True', '`out`']),
    (dict(test=True), ['digits', 'test split']),
    (dict(seed=-1), ['seed=-1']),
    (dict(images='digit'), ['digit', 'digits']),
])
def test_what_cannot_be_done_is_refused_before_anything_is_fitted(threes_sevens, tmp_path, kwargs, wanted):
    out = {} if 'resume' in kwargs else {'out': tmp_path/'out'}
    with refused(*wanted): compare(**{'images': threes_sevens} | out | kwargs, reporter=never())
    assert list(tmp_path.iterdir()) == []

def test_under_a_launcher_a_comparison_is_refused(threes_sevens, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    with refused('one process', 'torchrun'): compare(threes_sevens, 'similarity', reporter=never())

def test_a_recipe_beside_the_ladder_is_fitted_in_its_place_if_it_is_named(threes_sevens):
    assert 'logistic' in recipes and 'logistic' not in ladder()
    both = compare(
        threes_sevens, 'linear,logistic,sgd', device='cpu',
        settings={n: {'epochs': 1} for n in ('sgd', 'logistic', 'linear')})
    assert both.table.recipe.tolist() == ['sgd', 'logistic', 'linear'] and both['logistic'].settings['bs'] == 128

def test_a_comparison_of_nothing_is_refused(threes_sevens):
    with refused('nothing to compare'): comparison_of(threes_sevens, [])

def test_a_rung_that_is_not_there_is_refused_with_those_that_are(three):
    with refused("rung 'lin'", 'similarity, sgd, mlp'): three['lin']


# The test split

@pytest.fixture(scope='module')
def with_test(threes_sevens):
    "Threes and sevens with a test split: the validation images, the labels of the first ten exchanged"
    v = threes_sevens.valid
    labels = v.labels.clone()
    labels[:10] = 1 - labels[:10]
    return replace(threes_sevens, test=Split(v.images, labels))

def test_test_images_are_reported_on_request_and_change_nothing_else(with_test, threes_sevens):
    asked, not_asked, none = (
        compare(s, NAMES, device='cpu', test=t, settings=SHORT) for s,
        t in ((with_test, True), (with_test, False), (threes_sevens, False)))
    for a, b, c in zip(asked.fitted, not_asked.fitted, none.fitted, strict=True):
        assert torch.equal(a.scores, b.scores) and torch.equal(a.scores, c.scores) and b.test is c.test is None
        assert torch.equal(a.test.scores, a.scores), 'the same images get the same scores'
        wrong = (a.predictions[:10] != with_test.test.labels[:10]).sum() + (a.predictions[10:] != a.targets[10:]).sum()
        assert a.test.accuracy == pytest.approx(1 - wrong.item() / len(a.targets)) != a.accuracy
    assert list(asked.table) == [*WORTH, *TESTED, *PRICE] and list(not_asked.table) == [*WORTH, *PRICE]
    assert_frame_equal(without_costs(asked).drop(columns=TESTED), without_costs(not_asked))
    assert_frame_equal(without_costs(not_asked), without_costs(none))
    assert asked.test_asked and not not_asked.test_asked

def test_the_step_of_the_verdict_is_tested_on_the_test_images(with_test):
    c = compare(with_test, 'similarity,sgd', device='cpu', test=True)
    step = c.decision.on_test
    assert (step.below, step.recipe) == claimed_step(c.decision, standings(c._fits))
    cheap, dear = ((f.test.predictions == f.test.targets).numpy() for f in (c[step.below], c[step.recipe]))
    assert (step.won, step.lost) == (int((dear & ~cheap).sum()), int((cheap & ~dear).sum()))
    assert step.p == step.p_adjusted == pytest.approx(mid_p(step.lost, step.won))
    assert step.gain_points == pytest.approx(100 * (dear.mean() - cheap.mean()))
    assert compare(with_test, 'similarity,sgd', device='cpu').decision.on_test is None

def test_the_test_accuracy_is_in_text_records_and_files(with_test, tmp_path):
    c = compare(with_test, 'similarity,sgd', device='cpu', test=True, settings={'sgd': {'epochs': 1}})
    head, *lines = str(c).splitlines()
    assert ' test ' in head and all(f'{100 * f.test.accuracy:.2f}%' in line.split() for line, f in zip(lines, c.fitted))
    assert c.images.test == len(with_test.test)
    for r, f in zip(c.rungs, c.fitted, strict=True):
        assert (r.test_accuracy, r.test_interval) == (
            f.test.accuracy, wilson(int((f.test.predictions == f.test.targets).sum()), len(f.test.targets)))
    c.save(tmp_path)
    kept = pd.read_csv(tmp_path/'comparison.csv').test_accuracy
    assert kept.tolist() == pytest.approx([f.test.accuracy for f in c.fitted])


# The table

def test_the_table_has_the_numbers_of_what_was_fitted(three):
    t = three.table
    assert list(t) == [*WORTH, *PRICE]
    for row, f in zip(t.itertuples(), three.fitted, strict=True):
        assert (row.recipe, row.accuracy, row.status) == (f.recipe, f.accuracy, 'fitted')
        assert (row.low, row.high) == wilson(right_of(f), len(f.targets))
        for n, v in f.cost._asdict().items(): assert pd.isna(getattr(row, n)) if v is None else getattr(row, n) == v, n
    assert np.isnan(t.loss[0]) and t.loss[1:].tolist() == [three['sgd'].loss, three['mlp'].loss]
    assert t.reason.isna().all() and t.cure.isna().all()

def test_the_gain_is_over_the_row_above_with_its_interval_and_test(three):
    t = three.table
    right = [f.predictions == f.targets for f in three.fitted]
    assert t.loc[0, GAIN].isna().all()
    for i in (1, 2):
        d = paired_difference(right[i - 1], right[i])
        assert t.loc[i, GAIN].tolist() == [d.gain * 100, d.low * 100, d.high * 100, d.p]
        p = adjusted(three)[NAMES[i - 1], NAMES[i]]
        assert (t.p_adjusted[i], t.words[i]) == (p, in_words(d.gain, p))

def test_gains_of_a_hand_worked_case(three, threes_sevens):
    f, y = three['sgd'], [0, 1, 1, 1]
    scores = {.5: [[1.], [1], [1], [-1]], .75: [[1.], [1], [1], [1]], .25: [[1.], [-1], [-1], [1]]}
    c = comparison_of(threes_sevens, [replace(scored(f, s, y), recipe=n) for n, s in zip('abc', scores.values())])
    assert c.table.accuracy.tolist() == list(scores)
    assert np.isnan(c.table.gain_points[0]) and c.table.gain_points[1:].tolist() == [25, -50]
    assert c.table.p[1:].tolist() == pytest.approx([.5, .25]) and c.table.words[1:].tolist() == ['no clear gain'] * 2
    pairs = [(p.below, p.recipe, p.gain_points, p.won, p.lost) for p in c.pairs]
    assert pairs == [('a', 'b', 25, 1, 0), ('a', 'c', -25, 1, 2), ('b', 'c', -50, 0, 2)]

def test_the_text_has_one_table_with_a_row_per_rung(three):
    table, *prose = str(three).split('\n\n')
    head, *lines = table.splitlines()
    titles = ['recipe', 'accuracy', '95% interval', 'gain', 'vs rung below', 'seconds']
    assert re.split('  +', head.strip()) == titles
    assert 'nan' not in str(three).lower() and 'None' not in str(three)
    for line, row in zip(lines, three.table.itertuples(), strict=True):
        seen = [row.recipe, f'{100 * row.accuracy:.2f}%', f'{100 * row.low:.1f}-{100 * row.high:.1f}%']
        if row.recipe != 'similarity': seen += [f'{row.gain_points:+.2f}', *row.words.split()] # The first has neither
        assert line.split()[:-1] == seen
    assert repr(three) == str(three) and max(map(len, str(three).splitlines())) <= 80 and 2 <= len(prose) <= 5

def test_the_rest_is_in_costs_and_details(three):
    costs, details = three.costs(), three.details()
    assert max(map(len, (costs + '\n' + details).splitlines())) <= 80
    for line, row in zip(costs.splitlines()[2:], three.table.itertuples(), strict=True):
        assert line.split()[:2] == [row.recipe, f'{row.parameters:,}']
        assert line.endswith(short_number(row.multiply_adds))
    table, *prose = details.split('\n\n')
    for line, row in zip(table.splitlines()[1:], three.table.itertuples(), strict=True):
        seen = [row.recipe, f'{100 * row.accuracy:.2f}%']
        if row.recipe != 'similarity':
            gain_range = range_text(row.gain_low, row.gain_high).split()
            gain = [f'{row.gain_points:+.2f}', *gain_range, p_cell(row.p_adjusted)]
            seen += [f'{row.loss:.4f}', *gain, *row.words.split()]
        assert line.split() == seen
    assert ' '.join(prose).split() == str(three.verdict).split()

def test_the_notebook_table_has_the_same_numbers(three):
    html = three._repr_html_()
    assert all(f'{100 * v:.2f}%' in html for v in three.table.accuracy) and html.count('<tr>') == 4
    assert 'nan' not in html
    assert all(f'{v:,}' in html for v in three.table.parameters)

def test_a_huge_loss_keeps_the_table_narrow(three, threes_sevens):
    c = comparison_of(threes_sevens, [scored(three['sgd'], [[1e30], [1.]], [0, 1])])
    assert '5.0e+29' in c.details().splitlines()[1].split()

def test_the_plot_has_one_row_per_rung(three):
    fig = three.plot()
    left, right = fig.axes
    assert [t.get_text() for t in left.get_yticklabels()] == NAMES
    for ax, values in ((left, three.table.accuracy), (right, three.table.train_seconds.clip(lower=1e-3))):
        assert [line.get_xydata().tolist() for line in ax.lines] == [[[v, i]] for i, v in enumerate(values)]
        assert len(ax.texts) == 3
    assert [t.get_text() for t in left.texts] == [f'{a:.4f}' for a in three.table.accuracy]
    bars = [segment[:, 0].tolist() for lines in left.collections for segment in lines.get_segments()]
    assert bars == three.table[['low', 'high']].values.tolist()
    assert 'digits' in fig.get_suptitle() and f'{three.images.valid}' in fig.get_suptitle()


# Rungs that fail

def test_a_rung_that_fails_has_its_reason_and_cure_and_the_others_go_on(hurt):
    assert hurt.table.status.tolist() == ['fitted', 'failed', 'failed', 'fitted']
    nan, memory = hurt.rungs[1:3]
    assert 'loss' in nan.reason and 'epoch 1' in nan.reason and '(lr)' in nan.cure
    assert not nan.reason.startswith('logistic')
    assert 'OutOfMemoryError' in memory.reason and '(bs)' in memory.cure
    assert [f.recipe for f in hurt.fitted] == [r.recipe for r in hurt.fitted_rungs] == ['similarity', 'mlp']
    assert list(hurt.results) == ['similarity', 'mlp']
    assert hurt['own'] is memory
    assert hurt.table.loc[1:2].drop(columns=['recipe', 'status', 'reason', 'cure']).isna().all(axis=None)
    assert hurt.table.loc[1:2, ['reason', 'cure']].values.tolist() == [
        [nan.reason, nan.cure], [memory.reason, memory.cure]]

def test_the_gain_is_over_the_nearest_fitted_rung_below(hurt):
    d = paired_difference(hurt.results['similarity'].right, hurt.results['mlp'].right)
    assert hurt.rungs[3].against == step_of('similarity', d, d.p) # One pair
    assert hurt.table.gain_points[3] == pytest.approx(100 * (hurt['mlp'].accuracy - hurt['similarity'].accuracy))

def test_a_rung_that_failed_is_in_text_picture_records_and_files(hurt, tmp_path):
    table = str(hurt).split('\n\n')[0]
    for r in hurt.rungs[1:3]:
        assert ' '.join(f'{r.recipe} failed: {r.reason}; {r.cure}'.split()) in ' '.join(table.split())
    first_words = [line.split()[0] for line in table.splitlines() if line[0] != ' ']
    assert first_words == ['recipe', *(r.recipe for r in hurt.rungs)]
    assert 'nan' not in table.lower()
    assert [t.get_text() for t in hurt.plot().axes[0].texts].count('failed') == 2
    rung = hurt.rungs[1]
    assert rung.settings['lr'] == 9e37 and rung.history == rung.lost == ()
    kept = {'recipe', 'about', 'status', 'reason', 'cure', 'settings', 'history', 'lost'}
    assert {name for name, v in rung if v is not None} == kept
    hurt.save(tmp_path)
    t = pd.read_csv(tmp_path/'comparison.csv')
    assert t.reason[1] == hurt.rungs[1].reason and np.isnan(t.accuracy[1])
    html = hurt._repr_html_()
    assert len(re.findall(r'<td[^>]*>failed</td>', html)) == 2
    assert all(escape(r.reason) in html for r in hurt.rungs[1:3])

def test_what_was_fitted_is_the_same_as_without_the_one_that_failed(hurt, threes_sevens):
    alone = compare(threes_sevens, ['similarity', 'mlp'], device='cpu', settings=MLP)
    for n in alone.results: assert torch.equal(alone[n].scores, hurt[n].scores)

@pytest.mark.parametrize('error, reason, cure', [
    (ValueError('no\nsuch luck'), 'ValueError: no such luck', 'FASTRECIPES_DEBUG=1'),
    (MemoryError(), 'MemoryError', 'smaller'),
    (InputError('own: k=1 is too few; use more'), 'k=1 is too few', 'use more'),
    (InputError('there is no cure'), 'there is no cure', ''),
    (KeyError('x'), "KeyError: 'x'", 'not part of fastrecipes'),
])
def test_a_recipe_of_ones_own_may_raise_anything(threes_sevens, error, reason, cure):
    heard = Heard()
    with own(lambda n: error): c = compare(threes_sevens, ['own', 'similarity'], device='cpu', reporter=heard)
    rung = c.rungs[1]
    assert reason in rung.reason and cure in rung.cure and '\n' not in rung.reason
    assert heard.of('failed') == [(rung.reason, rung.cure)] and list(c.results) == ['similarity']
    assert f'own failed: {rung.reason}' in ' '.join(str(c).split())

def test_with_debug_a_fault_in_a_program_is_raised_and_a_wrong_request_is_not(threes_sevens, monkeypatch):
    monkeypatch.setenv('FASTRECIPES_DEBUG', '1')
    how = dict(names='own,similarity', device='cpu')
    with own(lambda n: ZeroDivisionError('mine')), pytest.raises(ZeroDivisionError, match='mine'):
        compare(threes_sevens, **how)
    with own(lambda n: InputError('wrong; mend it')): c = compare(threes_sevens, **how)
    assert c.rungs[1].reason == 'wrong'

def test_a_cost_that_cannot_be_measured_is_a_failure_of_that_rung_alone(threes_sevens):
    class Odd(torch.nn.Module):
        def forward(self, x):
            if not x.any(): raise RuntimeError('an empty image')
            return x.flatten(1)[:, :1]
    with own(lambda n: None, Odd()): c = compare(threes_sevens, 'similarity,own', device='cpu')
    assert [r.status for r in c.rungs] == ['fitted', 'failed'] and 'an empty image' in c.rungs[1].reason

def test_ctrl_c_passes_and_what_was_fitted_is_there(threes_sevens):
    with own(lambda n: KeyboardInterrupt()):
        climb = Climb(threes_sevens, ['similarity', 'own', 'mlp'], device='cpu', settings=MLP)
        with pytest.raises(KeyboardInterrupt): climb.run()
        c = climb.comparison
    assert c.table.status.tolist() == ['fitted', 'stopped', 'stopped'] and c.table.reason[1:].notna().all()
    assert list(c.results) == ['similarity'] and 'own, mlp' in str(c) and c.rungs[1].cure is None

def test_a_climb_that_was_stopped_can_run_on(threes_sevens):
    heard = Heard()
    with own(lambda n: KeyboardInterrupt() if n == 1 else None) as calls:
        climb = Climb(threes_sevens, ['similarity', 'own'], device='cpu', reporter=heard)
        with pytest.raises(KeyboardInterrupt): climb.run()
        c = climb.run()
    assert [t.name for t in heard.of('started')] == ['similarity', 'own', 'own'] and len(calls) == 2
    assert len(c.fitted_rungs) == 2

def test_a_rung_alone_is_what_it_is_in_the_comparison(threes_sevens):
    climb = Climb(threes_sevens, NAMES, device='cpu', settings=SHORT)
    c = climb.run()
    assert [climb.rung(n) for n in NAMES] == list(c.rungs)

def test_the_first_may_fail_or_all_of_them(threes_sevens, tmp_path):
    with own(lambda n: MemoryError()):
        first = compare(threes_sevens, ['own', 'mlp'], device='cpu', settings=MLP)
        none = compare(threes_sevens, ['own', 'logistic'], device='cpu', settings=NAN)
    assert first.table.words.isna().all() and first.rungs[1].against is None and first.verdict.stop_at in ('mlp', None)
    assert none.table.status.tolist() == ['failed'] * 2 and none.fitted == none.pairs == () and none.results == {}
    assert none.pictures == {} and none.shared.missed_by_all.count == 0 and none.verdict.stop_at is None
    assert none.verdict.headline
    failed = sorted(line.split()[0] for line in str(none).splitlines() if ' failed: ' in line)
    assert failed == ['logistic', 'own']
    assert none._repr_html_() and [p.name for p in none.save(tmp_path)] == FILES
    assert pd.read_csv(tmp_path/'comparison.csv').status.tolist() == ['failed'] * 2
    assert read_comparison(tmp_path).model_dump() == none.model_dump()


# Seeds

@pytest.fixture(scope='module')
def thrice(threes_sevens): return compare(threes_sevens, NAMES, seed=3, device='cpu', settings=SHORT, repeats=3)

def test_the_first_seed_gives_what_it_gives_alone(three, thrice):
    for one, several in zip(three.rungs, thrice.rungs, strict=True):
        same = 'recipe', 'settings', 'accuracy', 'interval', 'right', 'loss', 'best_epoch', 'failures'
        assert [getattr(one, n) for n in same] == [getattr(several, n) for n in same]
    columns = list(thrice.table)
    assert sorted(columns) == sorted([*WORTH, *SEEDS, *PRICE]) and columns.index('seeds') > columns.index('words')

def test_seeds_follow_each_other_and_each_gives_what_it_gives_alone(thrice, threes_sevens):
    for r in thrice.rungs:
        assert r.repeats.seeds == (3, 4, 5)
        alone = fit(r.recipe, threes_sevens, seed=5, device='cpu', **SHORT.get(r.recipe, {}))
        assert r.repeats.accuracies[2] == alone.accuracy

def rights(comparison):
    "Right or wrong of each rung, (seeds, images)"
    return {f.recipe: torch.stack([r.right for r in f.results]).numpy() for f in comparison._fits}

def test_what_is_shown_over_seeds_agrees_with_chance(thrice):
    right = rights(thrice)
    below = None
    for rung, row in zip(thrice.rungs, thrice.table.itertuples(), strict=True):
        r, s = rung.repeats, over_seeds(right[rung.recipe])
        assert (r.mean, r.sd, r.interval) == (s.mean, s.sd, (s.low, s.high)) and rung.lost == ()
        assert (row.seeds, row.accuracy, row.sd, row.low, row.high) == (3, *s)
        if below is None: assert r.against is rung.against is None
        else:
            d = seeds_difference(right[below], right[rung.recipe])
            assert r.against == rung.against == step_of(below, d, adjusted(thrice)[below, rung.recipe])
        below = rung.recipe
    assert thrice.decision.seeds == 3 and {p.seeds for p in thrice.pairs} == {3}

def test_the_table_shows_means_and_the_spread_stands_below(thrice):
    table, seeds, *_ = str(thrice).split('\n\n')
    means = [f'{100 * right.mean():.2f}%' for right in rights(thrice).values()]
    assert [line.split()[1] for line in table.splitlines()[1:]] == means
    sds = [f'{100 * right.mean(1).std(ddof=1):.2f}' for right in rights(thrice).values()]
    assert [line.split() for line in seeds.splitlines()[1:]] == [[n, '3', sd] for n, sd in zip(NAMES, sds)]

def test_the_plot_shows_means(thrice):
    left, _ = thrice.plot().axes
    assert [line.get_xdata()[0] for line in left.lines] == [r.repeats.mean for r in thrice.rungs]

def test_one_run_has_no_spread(three, threes_sevens):
    assert all(r.repeats is None for r in three.rungs) and not set(SEEDS) & set(three.table)
    with own(lambda n: ValueError('x') if n > 1 else None): # One of two seeds is lost
        c = compare(threes_sevens, 'similarity,own', device='cpu', repeats=2)
    one = c.rungs[1]
    assert one.is_fitted and one.repeats is None and c.table.loc[1, SEEDS].isna().all() and c.table.seeds[0] == 2
    (lost,) = one.lost
    assert lost.seed == 43 and 'ValueError: x' in lost.reason and f'seed 43: {lost.reason}' in ' '.join(str(c).split())

def test_seeds_that_fail_are_reported_and_the_others_are_compared_pair_by_pair(threes_sevens):
    heard = Heard()
    with own(lambda n: MemoryError() if n == 2 else None) as calls:
        c = compare(
            threes_sevens, 'sgd,own', device='cpu', repeats=3, settings={'sgd': {'epochs': 1, 'std': 1.}},
            reporter=heard)
    below, this = c.rungs
    assert len(calls) == 3 and len(heard.of('failed')) == 1 and this.repeats.seeds == (42, 44)
    assert [(lost.seed, 'MemoryError' in lost.reason) for lost in this.lost] == [(43, True)]
    right = rights(c)
    d = seeds_difference(right['sgd'][[0, 2]], right['own'])
    a = below.repeats.accuracies
    assert len(a) == 3 and a[1] not in (a[0], a[2]) and c.decision.seeds == 2
    assert (this.repeats.against.gain_points, this.repeats.against.p) == (d.gain * 100, d.p)

def test_rungs_without_a_common_seed_are_compared_by_their_first_fits(threes_sevens):
    a = fit('similarity', threes_sevens, seed=1, device='cpu')
    b = fit('sgd', threes_sevens, seed=2, epochs=1, device='cpu')
    c = comparison_of(threes_sevens, [a, b])
    d = paired_difference(a.predictions == a.targets, b.predictions == b.targets)
    assert c.rungs[1].against == step_of('similarity', d, d.p) and c.decision.seeds == 1


# Groups and the margin

def test_groups_widen_every_interval_and_the_margin_is_kept(threes_sevens):
    n = len(threes_sevens.valid)
    groups = [f'patient {i // 4}' for i in range(n)]
    climb = Climb(threes_sevens, NAMES, device='cpu', settings=SHORT, groups=groups, worth=2)
    c = climb.run()
    assert c.decision.margin_points == 2 and c.decision.effective_images <= n
    for r, f in zip(c.rungs, c.fitted, strict=True):
        assert r.interval == grouped_interval(f.predictions == f.targets, groups)[0] == climb.rung(r.recipe).interval

@pytest.mark.parametrize('more, said', [
    (dict(groups=[1, 2]), 'groups'), (dict(groups=itertools.repeat(1, 72)), 'groups'), (dict(worth=0), 'worth'),
    (dict(worth=101), 'worth'), (dict(worth='1'), 'worth'), (dict(worth=float('nan')), 'worth')])
def test_groups_and_a_worth_that_do_not_fit_are_refused_at_once(threes_sevens, more, said):
    with refused(said): Climb(threes_sevens, NAMES, device='cpu', **more)

def test_a_rung_whose_first_seed_fails_is_not_tried_with_others(threes_sevens):
    heard = Heard()
    with own(lambda n: MemoryError()) as calls:
        compare(threes_sevens, 'similarity,own', device='cpu', repeats=3, reporter=heard)
    tasks = [(t.number, t.count, t.name, t.seed, t.what) for t in heard.of('started')]
    assert len(calls) == 1
    assert tasks == [
        (0, 6, 'similarity', 42, 'fit'), (1, 6, 'own', 42, 'fit'), (2, 6, 'similarity', 43, 'repeat'),
        (4, 6, 'similarity', 44, 'repeat')]


# A learning curve

def test_a_learning_curve_ends_in_the_rungs(threes_sevens):
    heard = Heard()
    c = compare(threes_sevens, NAMES, device='cpu', settings=SHORT, curve='all', fractions=[1, .1], reporter=heard)
    tasks = heard.of('started')
    assert [(t.number, t.count, t.what) for t in tasks] == [(i, 9, 'fit' if i < 3 else 'point') for i in range(9)]
    assert [t.images for t in tasks[-3:]] == [len(threes_sevens.train)] * 3
    assert c.curve.fractions == (.1, 1) and [r.recipe for r in c.curve.rungs] == NAMES
    for r in c.curve.rungs:
        last = r.points[-1]
        assert (last.accuracy, last.train_seconds) == (c[r.recipe].accuracy, c[r.recipe].seconds) and r.more_data.words
    tenth = c.curve.rungs[0].points[0].images
    assert [(t.name, t.seed, t.images) for t in tasks[3:6]] == [(n, 42, tenth) for n in NAMES]

def test_a_rung_that_failed_has_no_curve_and_a_point_that_fails_leaves_the_others(threes_sevens):
    how = dict(names='similarity,own', device='cpu', fractions=[.5, 1])
    with own(lambda n: MemoryError()) as calls: c = compare(threes_sevens, curve='all', **how)
    assert len(calls) == 1 and [r.recipe for r in c.curve.rungs] == ['similarity']
    with own(lambda n: MemoryError() if n == 2 else None): c = compare(threes_sevens, curve='own', **how)
    assert [p.status for p in c.curve.rungs[0].points] == ['failed', 'fitted']
    with own(lambda n: ValueError('few') if n == 2 else None): c = compare(threes_sevens, curve='own', **how)
    assert [p.status for p in c.curve.rungs[0].points] == ['failed', 'fitted']

def test_a_fault_of_ours_ends_the_curve_and_not_the_comparison(threes_sevens, monkeypatch):
    monkeypatch.setattr('fastrecipes.answer.curves.check_scores', int)
    with pytest.warns(UserWarning, match='learning curve.*TypeError'):
        c = compare(threes_sevens, 'similarity,linear', device='cpu', curve='all', fractions=[.5, 1])
    assert list(c.results) == ['similarity', 'linear']
    assert [p.fraction for r in c.curve.rungs for p in r.points] == [1, 1]


# The records

def test_a_comparison_says_what_it_is_of(three, threes_sevens):
    assert (three.schema_version, three.source, three.classes, three.shape) == (3, 'digits', ('3', '7'), (1, 8, 8))
    assert (three.device, three.seed) == ('cpu', 3)
    assert (three.images.train, three.images.valid) == (len(threes_sevens.train), len(threes_sevens.valid))
    assert three.images.test is None
    assert three.command is three.curve is None and not three.test_asked
    assert three.fingerprint == threes_sevens.fingerprint
    assert torch.__version__.startswith(three.versions.torch)
    assert three.machine.cores >= 1 and three.machine.gpu is None and pd.Timestamp(three.made).tzname() == 'UTC'

def test_a_rung_has_what_was_fitted(three):
    for rung, f in zip(three.rungs, three.fitted, strict=True):
        assert (rung.recipe, rung.accuracy, rung.right) == (f.recipe, f.accuracy, right_of(f))
        assert (rung.loss, rung.best_epoch) == (f.loss, f.best_epoch)
        assert rung.interval == wilson(rung.right, len(f.targets))
        assert rung.settings == f.settings and dict(rung.cost) == f.cost._asdict()
        assert rung.about == recipes[f.recipe].about
        assert [dict(row) for row in rung.history] == ([] if f.history is None else f.history.to_dict('records'))
        assert sum(map(sum, rung.failures.confusion)) == len(f.targets)
    first = three.rungs[0]
    assert first.loss is first.against is first.failures.calibration is None
    assert three.rungs[2].settings['hidden'] == (64, 64, 64)

def test_the_most_frequent_class_is_what_always_saying_it_would_get(three, threes_sevens):
    n = threes_sevens.valid.labels.bincount()
    assert (three.majority.name, three.majority.share) == (
        threes_sevens.classes[int(n.argmax())], int(n.max()) / int(n.sum()))
    tie = Split(threes_sevens.valid.images[:4], torch.tensor([1, 1, 0, 0]))
    c = comparison_of(replace(threes_sevens, valid=tie), [scored(three['sgd'], [[1.]] * 4, [1, 1, 0, 0])])
    assert (c.majority.name, c.majority.share) == ('3', .5)

def test_every_image_that_is_listed_has_its_picture(three):
    listed = {i.image for r in three.rungs for i in r.failures.worst}
    listed |= {i.image for group in (three.shared.missed_by_all, three.shared.only_top) for i in group.images}
    assert set(three.pictures) == listed != set()
    assert all(p.uri.startswith('data:image/png;base64,') for p in three.pictures.values())

def test_every_pair_of_rungs_is_there(three):
    assert [(p.below, p.recipe) for p in three.pairs] == [('similarity', 'sgd'), ('similarity', 'mlp'), ('sgd', 'mlp')]
    assert all(isinstance(p, Pair) for p in three.pairs)

def test_nothing_in_a_comparison_can_be_changed(three):
    with pytest.raises(ValidationError): three.seed = 4
    with pytest.raises(ValidationError): three.rungs[0].accuracy = 1.
    assert isinstance(three.rungs, tuple) and isinstance(three.rungs[0].history, tuple)

@pytest.mark.parametrize('score', [float('nan'), float('inf'), float('-inf')])
def test_scores_that_are_not_finite_are_a_failure_and_can_be_saved(three, threes_sevens, tmp_path, score):
    diverged = comparison_of(
        threes_sevens, [scored(three['sgd'], [[score], [1.]], [0, 1]), scored(three['mlp'], [[3.], [1.]], [1, 0])])
    lost, kept = diverged.rungs
    assert (lost.status, lost.loss, kept.status, kept.against) == ('failed', None, 'fitted', None)
    assert '1 of 2' in lost.reason and 'lr' in lost.cure and [p.name for p in diverged.save(tmp_path)] == FILES

def test_a_model_that_went_to_infinity_is_a_failure_even_if_nothing_was_raised(threes_sevens):
    class Infinite(torch.nn.Module):
        def forward(self, x): return x.flatten(1)[:, :1] / 0
    with own(lambda n: None, Infinite()): c = compare(threes_sevens, 'similarity,own', device='cpu')
    assert c.rungs[1].status == 'failed' and 'not finite' in c.rungs[1].reason and str(c)

def test_a_reason_of_any_length_or_kind_can_be_kept(threes_sevens):
    with own(lambda n: InputError('x\x00\udcff' * 20_000)): c = compare(threes_sevens, 'similarity,own', device='cpu')
    assert c.rungs[1].reason.startswith('x\\x00\\udcff') and c.rungs[1].reason.isprintable()
    assert Comparison.model_validate_json(c.model_dump_json()).rungs[1] == c.rungs[1]

def test_a_losses_row_that_is_not_finite_is_none(threes_sevens, three):
    result = replace(
        three.results['sgd'],
        history=[dict(epoch=0, train_loss=float('nan'), valid_loss=float('inf'), accuracy=.5, seconds=1.)])
    row, = comparison_of(threes_sevens, [Fits('sgd', {}, (result,))]).rungs[0].history
    assert (row.train_loss, row.valid_loss, row.accuracy) == (None, None, .5)

ODD = ('$a^', '<b>&amp;"', 'c\nd\x1b[31m', 'e\udcff')

def test_odd_names_of_classes_and_sources_are_made_readable(tmp_path):
    digits = load('digits')
    def keep(s): return Split(s.images[s.labels < 4], s.labels[s.labels < 4])
    images = replace(
        digits, source='set $x^ <i>\n\udce9', classes=ODD, train=keep(digits.train), valid=keep(digits.valid))
    c = compare(images, 'similarity,sgd', device='cpu', settings={'sgd': {'epochs': 1}})
    assert c.classes == ('$a^', '<b>&amp;"', 'c\\nd\\x1b[31m', 'e\\udcff') and c.source == 'set $x^ <i>\\n\\udce9'
    assert c.majority.name in c.classes and '\x1b' not in str(c)
    c._repr_html_().encode(), c.plot()
    c.save(tmp_path)
    assert read_comparison(tmp_path).model_dump() == c.model_dump()
    assert pd.read_csv(tmp_path/'comparison.csv').recipe.tolist() == ['similarity', 'sgd']


# Files

def names(folder): return sorted(os.listdir(folder))
def contents(folder): return {n: (folder/n).read_bytes() for n in names(folder)}

def fail(*args, **kwargs): raise OSError(28, 'No space left on device')
def interrupt(*args, **kwargs): raise KeyboardInterrupt

def test_saving_writes_three_files_that_read_back_and_nothing_else(three, tmp_path):
    folder = tmp_path/'new'/'folder'
    assert three.save(folder) == [folder/n for n in FILES] and names(folder) == FILES
    t = three.table.drop(columns=['reason', 'cure'])
    assert_frame_equal(pd.read_csv(folder/'comparison.csv', dtype=t.dtypes.to_dict())[list(t)], t, check_exact=False)
    again = read_comparison(folder)
    assert again.model_dump() == three.model_dump() and again == read_comparison(str(folder/'comparison.json'))
    with Image.open(folder/'comparison.png') as im:
        im.load()
        assert im.format == 'PNG' and im.width > 800 and im.height > 200 and len(im.convert('RGB').getcolors(2**20)) > 3

def test_a_comparison_that_was_read_shows_the_same(thrice, tmp_path):
    thrice.save(tmp_path)
    again = read_comparison(tmp_path)
    assert (str(again), again.details(), again.costs(), again._repr_html_()) == (
        str(thrice), thrice.details(), thrice.costs(), thrice._repr_html_())
    assert_frame_equal(again.table, thrice.table)
    assert again.fitted == () and again.results == {} and again['mlp'] == thrice.rungs[2]

def test_saving_again_replaces_the_files(three, threes_sevens, tmp_path):
    three.save(tmp_path)
    comparison_of(threes_sevens, three.fitted[1:]).save(str(tmp_path))
    assert names(tmp_path) == FILES and pd.read_csv(tmp_path/'comparison.csv').recipe.tolist() == ['sgd', 'mlp']

def test_one_rung_can_be_drawn_and_shown(three, threes_sevens, tmp_path):
    one = comparison_of(threes_sevens, three.fitted[:1])
    assert [p.name for p in one.save(tmp_path/'one')] == FILES
    assert one.rungs[0].loss is one.rungs[0].against is None and 'nan' not in str(one).lower()

@pytest.mark.parametrize('below', ['taken', 'taken/deeper'])
def test_a_folder_that_cannot_be_made_is_refused_and_what_is_there_stays(three, threes_sevens, tmp_path, below):
    (tmp_path/'taken').write_text('mine')
    for write in (three.save, lambda folder: compare(threes_sevens, 'similarity', out=folder, reporter=never())):
        with refused('taken', 'choose another folder'): write(tmp_path/below)
    assert contents(tmp_path) == {'taken': b'mine'}

@pytest.mark.parametrize('broken', ['replace', 'fsync'])
def test_a_failing_write_is_refused_and_the_old_files_stay(three, threes_sevens, tmp_path, monkeypatch, broken):
    three.save(tmp_path)
    old = contents(tmp_path)
    monkeypatch.setattr(os, broken, fail)
    with refused('comparison.csv', 'No space left'): comparison_of(threes_sevens, three.fitted[1:]).save(tmp_path)
    assert contents(tmp_path) == old

def test_a_write_that_fails_midway_is_refused_and_leaves_no_temporary_file(three, tmp_path):
    (tmp_path/'comparison.json').mkdir()
    with refused('comparison.json'): three.save(tmp_path)
    assert set(names(tmp_path)) <= {'comparison.csv', 'comparison.json'}

@pytest.mark.parametrize('broken', ['replace', 'fsync'])
@pytest.mark.parametrize('how, error', [(fail, OSError), (interrupt, KeyboardInterrupt)])
@pytest.mark.parametrize('old', [{}, {'a.txt': b'old'}])
def test_an_interrupted_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch, broken, how, error, old):
    for n, data in old.items(): (tmp_path/n).write_bytes(data)
    monkeypatch.setattr(os, broken, how)
    with pytest.raises(error): write_atomic(tmp_path/'a.txt', b'new')
    assert contents(tmp_path) == old

def test_a_written_file_has_its_bytes_and_the_permissions_of_any_new_file(tmp_path):
    (tmp_path/'usual').touch()
    write_atomic(tmp_path/'a.txt', b'new\n\0')
    assert contents(tmp_path) == {'a.txt': b'new\n\0', 'usual': b''}
    assert (tmp_path/'a.txt').stat().st_mode == (tmp_path/'usual').stat().st_mode


# A mapping

def test_a_comparison_is_a_mapping_of_its_rungs(three, tmp_path):
    assert three.to_dict() == json.loads(three.model_dump_json())
    assert list(three) == list(three.keys()) == ['similarity', 'sgd', 'mlp'] and len(three) == 3 and three
    assert 'sgd' in three and 'source' not in three and None not in three
    assert three.get('sgd') is three['sgd'] and three.get('convnet') is None and three.get('convnet', 3) == 3
    assert dict(three) == dict(three.items()) == dict(zip(three.keys(), three.values()))
    assert [v.accuracy for v in three.values()] == [r.accuracy for r in three.rungs]
    assert {**three}['mlp'] is three['mlp'] and [*three] == list(three)
    three.save(tmp_path)
    read = read_comparison(tmp_path)
    assert list(read) == list(three) and dict(read) == {r.recipe: r for r in read.rungs} and read.tracebacks == {}

def test_the_fields_of_a_comparison_are_in_its_dump(three):
    assert set(three.model_dump()) == set(Comparison.model_fields) and three == three.model_copy()

def test_the_traceback_of_a_rung_that_failed_is_there(hurt):
    assert set(hurt.tracebacks) == {'logistic', 'own'} and 'Traceback' in hurt.tracebacks['own']
    assert 'OutOfMemoryError' in hurt.tracebacks['own'] and not hurt['own'].is_fitted
