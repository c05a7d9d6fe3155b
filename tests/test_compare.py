"""The ladder side by side: figures, what failed, seeds, and the files that hold it all"""
import json, os, re
from dataclasses import replace
from html import escape
import numpy as np, pandas as pd, pytest, torch
from pandas.testing import assert_frame_equal
from PIL import Image
from fastrecipes.answer.chance import over_seeds, paired_difference, seeds_difference, wilson
from fastrecipes.answer.climb import Climb, compare
from fastrecipes.answer.comparison import Comparison
from fastrecipes.errors import write_atomic
from fastrecipes.training.cost import Cost
from fastrecipes.data.images import Split
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError
from fastrecipes.answer.tables import STEP_WORDS
from fastrecipes.text import p_cell, short_number
from fastrecipes.ladder.fitted import Fitted, Judged
from fastrecipes.ladder.recipe import fit, ladder, recipe
from fastrecipes.ladder.settings import Count, recipes
from fastrecipes.training.fitting import Outcome
from conftest import refused

WORTH = ['recipe', 'accuracy', 'low', 'high', 'loss', 'gain_points', 'gain_low', 'gain_high', 'p', 'words']
TESTED = ['test_accuracy', 'test_low', 'test_high']
SEEDS = ['seeds', 'mean', 'sd', 'mean_low', 'mean_high', 'seeds_gain', 'seeds_gain_low', 'seeds_gain_high', 'seeds_p', 'seeds_words']
PRICE = [*Cost._fields, 'status', 'reason', 'cure']
NAMES = ['similarity', 'sgd', 'mlp']
FILES = ['comparison.csv', 'comparison.json', 'comparison.png']
SHORT = {'mlp': {'epochs': 1}, 'sgd': {'epochs': 2}}
MLP = {'mlp': {'epochs': 1}}
NAN = {'logistic': {'epochs': 3, 'lr': 9e37}} # An absurd learning rate, whose loss is a number no longer


@pytest.fixture(scope='module')
def heard(): return []

@pytest.fixture(scope='module')
def three(threes_sevens, heard):
    "Three rungs, asked for in another order; `heard` has what the callbacks were told"
    return compare(threes_sevens, ['mlp', 'similarity', 'sgd', 'mlp'], seed=3, device='cpu', on_step=heard.append, on_result=heard.append, on_epoch=heard.append, settings=SHORT)

@pytest.fixture(scope='module')
def hurt(threes_sevens):
    "Four rungs, the second and the third of which fail: the one has a loss that is no number, the other finds no memory"
    with own(lambda n: torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')): return compare(threes_sevens, ['similarity', 'logistic', 'own', 'mlp'], device='cpu', settings=NAN | MLP)

class own:
    "A recipe `own` above logistic for the time of a `with` block: similarity, which raises what `error` makes of the number of times it was called"
    def __init__(self, error, model=None): self.error, self.model = error, model
    def __enter__(self):
        calls, error, model = [], self.error, self.model
        @recipe(after='logistic', rung=False)
        def own(images, run, *, k:Count=1):
            "Of the test's own making"
            calls.append(images)
            if (e := error(len(calls))) is not None: raise e
            return recipes['similarity'].func(images, run, distance='l2') if model is None else Outcome(model)
        return calls
    def __exit__(self, *args): del recipes['own']

def scored(fitted, scores, targets): return replace(fitted, valid=Judged(torch.tensor(scores), torch.tensor(targets), fitted.has_probs))

def strict(comparison):
    "As JSON that has no NaN"
    return json.loads(json.dumps(comparison.to_dict(), allow_nan=False))

def figures(comparison):
    "The table without what depends on the clock or on who else uses the memory"
    return comparison.table.drop(columns=['train_seconds', 'peak_memory_bytes', 'peak_gpu_memory_bytes', 'predict_ms_1', 'predict_ms_1000'])

def never(*args): pytest.fail('something was fitted')


# Comparing

def test_rungs_come_in_the_order_of_the_ladder_and_once(three):
    assert [f.recipe for f in three.fitted] == list(three.results) == [r.recipe for r in three.rungs] == NAMES and all(three[n].recipe == n for n in NAMES)

def test_the_callbacks_hear_each_step_its_epochs_and_what_was_fitted(three, heard, threes_sevens):
    kinds = [('fitted', h.recipe) if isinstance(h, Fitted) else h['epoch'] if isinstance(h, dict) else tuple(h) for h in heard]
    n = len(threes_sevens.train)
    assert kinds == [(0, 3, 'similarity', 3, n, 'rung'), ('fitted', 'similarity'), (1, 3, 'sgd', 3, n, 'rung'), 0, 1, ('fitted', 'sgd'), (2, 3, 'mlp', 3, n, 'rung'), 0, ('fitted', 'mlp')]

def test_seed_and_settings_reach_every_recipe(three):
    assert {f.seed for f in three.fitted} == {r.seed for r in three.results.values()} == {3}
    assert (three['sgd'].settings['epochs'], three['mlp'].settings['epochs']) == (2, 1)

def test_a_comparison_has_what_fitting_alone_gives(three, threes_sevens):
    for n in NAMES: assert torch.equal(fit(n, threes_sevens, seed=3, device='cpu', **SHORT.get(n, {})).scores, three[n].scores)

def test_all_recipes_are_compared_unless_some_are_named(threes_sevens):
    climb = Climb(threes_sevens, device='cpu')
    assert list(climb.asked) == ladder() == [r.recipe for r in climb.comparison.rungs] and climb.count == 7

def test_names_and_fractions_may_come_from_a_generator(threes_sevens):
    c = compare(threes_sevens, (n for n in ['sgd', 'similarity']), device='cpu', settings={'sgd': {'epochs': 1}}, curve=(n for n in ['similarity']), fractions=(f for f in (.5, 1)))
    assert list(c.results) == ['similarity', 'sgd'] and [p['fraction'] for p in c.curve['rungs'][0]['points']] == [.5, 1]

@pytest.mark.parametrize('kwargs, wanted', [
    (dict(names=['similarity', 'sdg']), "unknown recipe 'sdg': did you mean 'sgd'?"),
    (dict(names=[]), 'no recipe to compare; there are similarity'),
    (dict(settings={'mpl': {}}), "settings: unknown section 'mpl': did you mean 'mlp'?"),
    (dict(settings={'mlp': {'epoch': 1}}), "mlp: unknown setting 'epoch'"),
    (dict(settings={'mlp': {'epochs': 'x'}}), "mlp: epochs='x' is not a whole number"),
    (dict(names=['mlp'], settings={'mlp': {'lr': 0}}), 'mlp: lr=0 is not'),
    (dict(settings={'convnet': {'precision': 'fp16'}}, device='cpu'), "convnet: precision='fp16' needs a CUDA GPU"),
    (dict(names='sgd,linear', settings={'mlp': {'lr': 1}}), 'there are settings for mlp, which is not among the recipes to compare'),
    (dict(repeats=0), 'repeats=0: give a whole number of seeds'), (dict(repeats=True), 'repeats=True'), (dict(repeats=2.), 'repeats=2.0'),
    (dict(names='sgd', curve='mlp'), 'there is a learning curve asked of mlp, which is not among the recipes to compare (sgd)'),
    (dict(curve='mpl'), "unknown recipe 'mpl'"), (dict(curve=[]), 'no recipe'), (dict(curve='all', fractions=[0]), 'fraction=0'), (dict(curve='all', fractions=[]), 'no fraction'),
    (dict(resume=True), 'resume=True needs the folder `out`'), (dict(test=True), 'digits: there is no test split to report'),
    (dict(seed=-1), 'seed: seed=-1 is not'), (dict(images='digit'), "unknown source 'digit': did you mean 'digits'?")])
def test_what_cannot_be_done_is_refused_before_anything_is_fitted(threes_sevens, tmp_path, kwargs, wanted):
    with pytest.raises(InputError) as e: compare(**{'images': threes_sevens, **({} if 'resume' in kwargs else {'out': tmp_path/'out'}), **kwargs}, on_step=never)
    assert str(e.value).startswith(wanted) and '\n' not in str(e.value) and list(tmp_path.iterdir()) == []

def test_a_recipe_beside_the_ladder_is_fitted_when_it_is_named_in_its_place(threes_sevens):
    assert 'logistic' in recipes and 'logistic' not in ladder()
    both = compare(threes_sevens, 'linear,logistic,sgd', device='cpu', settings={n: {'epochs': 1} for n in ('sgd', 'logistic', 'linear')})
    assert both.table.recipe.tolist() == ['sgd', 'logistic', 'linear'] and both['logistic'].settings['bs'] == 128

def test_nothing_is_no_comparison(threes_sevens):
    with refused('nothing to compare'): Comparison(threes_sevens, ())

def test_a_rung_that_is_not_there_is_refused_with_those_that_are(three):
    with refused("unknown rung 'lin': ", 'similarity, sgd, mlp'): three['lin']


# The test split

@pytest.fixture(scope='module')
def with_test(threes_sevens):
    "Threes and sevens with a test split: the validation images, their labels turned round for the first ten"
    v = threes_sevens.valid
    labels = v.labels.clone()
    labels[:10] = 1 - labels[:10]
    return replace(threes_sevens, test=Split(v.images, labels))

def test_test_images_are_reported_when_asked_for_and_change_nothing_else(with_test, threes_sevens):
    asked, not_asked, none = (compare(s, NAMES, device='cpu', test=t, settings=SHORT) for s, t in ((with_test, True), (with_test, False), (threes_sevens, False)))
    for a, b, c in zip(asked.fitted, not_asked.fitted, none.fitted, strict=True):
        assert torch.equal(a.scores, b.scores) and torch.equal(a.scores, c.scores) and b.test is c.test is None
        assert torch.equal(a.test.scores, a.scores), 'the same images get the same scores'
        wrong = (a.predictions[:10] != with_test.test.labels[:10]).sum() + (a.predictions[10:] != a.targets[10:]).sum()
        assert a.test.accuracy == pytest.approx(1 - wrong.item() / len(a.targets)) != a.accuracy
    assert list(asked.table) == [*WORTH, *TESTED, *PRICE] and list(not_asked.table) == [*WORTH, *PRICE]
    assert_frame_equal(figures(asked).drop(columns=TESTED), figures(not_asked))
    assert_frame_equal(figures(not_asked), figures(none))
    assert (asked.to_dict()['test_asked'], not_asked.to_dict()['test_asked']) == (True, False)

def test_the_test_accuracy_is_in_text_json_and_files(with_test, tmp_path):
    c = compare(with_test, 'similarity,sgd', device='cpu', test=True, settings={'sgd': {'epochs': 1}})
    head, *lines = str(c).splitlines()
    assert ' test ' in head and all(f'{100 * f.test.accuracy:.2f}%' in line.split() for line, f in zip(lines, c.fitted))
    d = strict(c)
    assert [r['test_accuracy'] for r in d['rungs']] == [f.test.accuracy for f in c.fitted] and d['images']['test'] == len(with_test.test)
    for r, f in zip(d['rungs'], c.fitted): assert r['test_interval'] == list(wilson(int((f.test.predictions == f.test.targets).sum()), len(f.test.targets)))
    c.save(tmp_path)
    assert pd.read_csv(tmp_path/'comparison.csv').test_accuracy.tolist() == pytest.approx([f.test.accuracy for f in c.fitted])


# The table

def test_the_table_has_the_figures_of_what_was_fitted(three):
    t = three.table
    assert list(t) == [*WORTH, *PRICE]
    for row, f in zip(t.itertuples(), three.fitted, strict=True):
        assert (row.recipe, row.accuracy, row.status) == (f.recipe, f.accuracy, 'fitted') and (row.low, row.high) == wilson(int((f.predictions == f.targets).sum()), len(f.targets))
        for n, v in f.cost._asdict().items(): assert pd.isna(getattr(row, n)) if v is None else getattr(row, n) == v, n
    assert np.isnan(t.loss[0]) and t.loss[1:].tolist() == [three['sgd'].loss, three['mlp'].loss]
    assert t.reason.isna().all() and t.cure.isna().all()

def test_the_gain_is_over_the_row_above_with_its_interval_and_test(three):
    t, right = three.table, [f.predictions == f.targets for f in three.fitted]
    assert t.loc[0, ['gain_points', 'gain_low', 'gain_high', 'p', 'words']].isna().all()
    for i in (1, 2):
        d = paired_difference(right[i - 1], right[i])
        assert t.loc[i, ['gain_points', 'gain_low', 'gain_high', 'p', 'words']].tolist() == [d.gain * 100, d.low * 100, d.high * 100, d.p, d.words]

def test_gains_of_a_hand_worked_case(three, threes_sevens):
    f, y = three['sgd'], [0, 1, 1, 1]
    right = {.5: [[1.], [1], [1], [-1]], .75: [[1.], [1], [1], [1]], .25: [[1.], [-1], [-1], [1]]}
    c = Comparison(threes_sevens, tuple(replace(scored(f, s, y), recipe=n) for n, s in zip('abc', right.values())))
    assert c.table.accuracy.tolist() == list(right) and np.isnan(c.table.gain_points[0]) and c.table.gain_points[1:].tolist() == [25, -50]
    assert c.table.p[1:].tolist() == [1, .5] and c.table.words[1:].tolist() == ['no difference shown'] * 2
    assert {k: d.gain for k, d in c.differences.items()} == {('a', 'b'): .25, ('a', 'c'): -.25, ('b', 'c'): -.5}

def test_the_text_has_one_table_with_a_row_per_rung(three):
    table, *prose = str(three).split('\n\n')
    head, *lines = table.splitlines()
    assert head.split() == 'recipe accuracy 95% interval gain vs rung below seconds'.split() and 'nan' not in str(three).lower() and 'None' not in str(three)
    for line, row in zip(lines, three.table.itertuples(), strict=True):
        seen = [row.recipe, f'{100 * row.accuracy:.2f}%', f'{100 * row.low:.1f}-{100 * row.high:.1f}%']
        if row.recipe != 'similarity': seen += [f'{row.gain_points:+.2f}', *STEP_WORDS[row.words].split()] # The first has neither
        assert line.split()[:-1] == seen
    assert repr(three) == str(three) and max(map(len, str(three).splitlines())) <= 80 and 2 <= len(prose) <= 5

def test_the_rest_is_in_costs_and_details(three):
    costs, details = three.costs(), three.details()
    assert max(map(len, (costs + '\n' + details).splitlines())) <= 80
    for line, row in zip(costs.splitlines()[2:], three.table.itertuples(), strict=True):
        assert line.split()[:2] == [row.recipe, f'{row.parameters:,}'] and line.endswith(short_number(row.multiply_adds))
    table, *prose = details.split('\n\n')
    for line, row in zip(table.splitlines()[1:], three.table.itertuples(), strict=True):
        seen = [row.recipe, f'{100 * row.accuracy:.2f}%']
        if row.recipe != 'similarity': seen += [f'{row.loss:.4f}', f'{row.gain_points:+.2f}', f'{row.gain_low:+.1f}', 'to', f'{row.gain_high:+.1f}', p_cell(row.p), *STEP_WORDS[row.words].split()]
        assert line.split() == seen
    assert ' '.join(prose).split() == three.verdict.split()

def test_the_notebook_table_has_the_same_figures(three):
    html = three._repr_html_()
    assert all(f'{100 * v:.2f}%' in html for v in three.table.accuracy) and html.count('<tr>') == 4 and 'nan' not in html
    assert all(f'{v:,}' in html for v in three.table.parameters)

def test_a_huge_loss_keeps_the_table_narrow(three, threes_sevens):
    c = Comparison(threes_sevens, (scored(three['sgd'], [[1e30], [1.]], [0, 1]),))
    assert '5.0e+29' in c.details().splitlines()[1].split()

def test_the_plot_has_a_row_a_rung(three):
    fig = three.plot()
    left, right = fig.axes
    assert [t.get_text() for t in left.get_yticklabels()] == NAMES
    for ax, values in ((left, three.table.accuracy), (right, three.table.train_seconds.clip(lower=1e-3))):
        assert ax.lines[0].get_xydata().tolist() == [[v, i] for i, v in enumerate(values)] and len(ax.texts) == 3
    assert [t.get_text() for t in left.texts] == [f'{a:.4f}' for a in three.table.accuracy]
    assert [s[:, 0].tolist() for s in left.collections[0].get_segments()] == three.table[['low', 'high']].values.tolist()
    assert 'digits' in fig.get_suptitle() and f'{len(three.images.valid)}' in fig.get_suptitle()


# Rungs that fail

def test_a_rung_that_fails_has_its_reason_and_cure_and_the_others_go_on(hurt):
    assert hurt.table.status.tolist() == ['fitted', 'failed', 'failed', 'fitted']
    nan, memory = hurt.rungs[1:3]
    assert 'loss is' in nan.reason and 'epoch 1' in nan.reason and 'take a smaller learning rate' in nan.cure and not nan.reason.startswith('logistic')
    assert 'not enough memory (OutOfMemoryError: CUDA out of memory' in memory.reason and 'smaller batch' in memory.cure
    assert hurt['logistic'] is hurt['own'] is None and [f.recipe for f in hurt.fitted] == list(hurt.results) == ['similarity', 'mlp']
    assert hurt.table.loc[1:2].drop(columns=['recipe', 'status', 'reason', 'cure']).isna().all(axis=None)
    assert hurt.table.loc[1:2, ['reason', 'cure']].values.tolist() == [[nan.reason, nan.cure], [memory.reason, memory.cure]]

def test_the_gain_is_over_the_nearest_fitted_rung_below(hurt):
    d = paired_difference(hurt.results['similarity'].right, hurt.results['mlp'].right)
    against = hurt.to_dict()['rungs'][3]['against']
    assert against == dict(recipe='similarity', gain_points=d.gain * 100, interval_points=[d.low * 100, d.high * 100], p=d.p, words=d.words)
    assert hurt.table.gain_points[3] == pytest.approx(100 * (hurt['mlp'].accuracy - hurt['similarity'].accuracy))

def test_a_rung_that_failed_is_told_in_text_picture_json_and_files(hurt, tmp_path):
    table = str(hurt).split('\n\n')[0]
    for r in hurt.rungs[1:3]: assert ' '.join(f'{r.recipe} failed: {r.reason}; {r.cure}'.split()) in ' '.join(table.split())
    assert [line.split()[0] for line in table.splitlines() if line[0] != ' '] == ['recipe', *(r.recipe for r in hurt.rungs)] and 'nan' not in table.lower()
    assert [t.get_text() for t in hurt.plot().axes[0].texts].count('failed') == 2
    rung = strict(hurt)['rungs'][1]
    assert rung['status'] == 'failed' and rung['settings']['lr'] == 9e37 and rung['history'] == []
    assert {k for k, v in rung.items() if v is None} == {'accuracy', 'interval', 'right', 'loss', 'test_accuracy', 'test_interval', 'against', 'repeats', 'cost', 'threads', 'best_epoch', 'failures'}
    hurt.save(tmp_path)
    t = pd.read_csv(tmp_path/'comparison.csv')
    assert t.reason[1] == hurt.rungs[1].reason and np.isnan(t.accuracy[1]) and len(re.findall(r'<td[^>]*>failed</td>', hurt._repr_html_())) == 2 and all(escape(r.reason) in hurt._repr_html_() for r in hurt.rungs[1:3])

def test_what_was_fitted_is_the_same_as_without_the_one_that_failed(hurt, threes_sevens):
    alone = compare(threes_sevens, ['similarity', 'mlp'], device='cpu', settings=MLP)
    for n in alone.results: assert torch.equal(alone[n].scores, hurt[n].scores)

@pytest.mark.parametrize('error, reason, cure', [
    (ValueError('no\nsuch luck'), 'this should not happen (ValueError: no such luck)', 'FASTRECIPES_DEBUG=1'), (MemoryError(), 'not enough memory (MemoryError)', 'smaller'),
    (InputError('own: k=1 is too few; take more'), 'k=1 is too few', 'take more'), (InputError('there is no cure'), 'there is no cure', ''), (KeyError('x'), "this should not happen (KeyError: 'x')", 'report')])
def test_a_recipe_of_ones_own_may_raise_anything(threes_sevens, error, reason, cure):
    failed = []
    with own(lambda n: error): c = compare(threes_sevens, ['own', 'similarity'], device='cpu', on_failed=lambda *a: failed.append(a))
    assert c.rungs[1].reason == reason and cure in c.rungs[1].cure and failed == [('own', 42, c.rungs[1].reason, c.rungs[1].cure)] and list(c.results) == ['similarity']
    assert f'own failed: {reason}' in ' '.join(str(c).split())

def test_a_fault_in_a_program_is_raised_with_debug_and_what_was_asked_wrong_is_not(threes_sevens, monkeypatch):
    monkeypatch.setenv('FASTRECIPES_DEBUG', '1')
    with own(lambda n: ZeroDivisionError('mine')), pytest.raises(ZeroDivisionError, match='mine'): compare(threes_sevens, 'own,similarity', device='cpu')
    with own(lambda n: InputError('wrong; mend it')): assert compare(threes_sevens, 'own,similarity', device='cpu').rungs[1].reason == 'wrong'

def test_a_cost_that_cannot_be_measured_is_a_failure_of_that_rung_alone(threes_sevens):
    class Odd(torch.nn.Module):
        def forward(self, x):
            if not x.any(): raise RuntimeError('an empty image')
            return x.flatten(1)[:, :1]
    with own(lambda n: None, Odd()): c = compare(threes_sevens, 'similarity,own', device='cpu')
    assert c.rungs[1].status == 'failed' and 'an empty image' in c.rungs[1].reason and c.rungs[0].status == 'fitted'

def test_ctrl_c_passes_and_what_was_fitted_is_there(threes_sevens):
    with own(lambda n: KeyboardInterrupt()):
        climb = Climb(threes_sevens, ['similarity', 'own', 'mlp'], device='cpu', settings=MLP)
        with pytest.raises(KeyboardInterrupt): climb.run()
        c = climb.comparison
        assert c.table.status.tolist() == ['fitted', 'stopped', 'stopped'] and set(c.table.reason[1:]) == {'it was not finished'} and list(c.results) == ['similarity']
        assert 'not finished: own, mlp' in str(c) and strict(c)['rungs'][1]['cure'] is None

def test_a_climb_that_was_stopped_can_run_on(threes_sevens):
    with own(lambda n: KeyboardInterrupt() if n == 1 else None) as calls:
        steps = []
        climb = Climb(threes_sevens, ['similarity', 'own'], device='cpu', on_step=lambda s: steps.append(s.recipe))
        with pytest.raises(KeyboardInterrupt): climb.run()
        c = climb.run()
    assert steps == ['similarity', 'own', 'own'] and len(calls) == 2 and [len(r.results) for r in c.rungs] == [1, 1]

def test_the_first_may_fail_or_all_of_them(threes_sevens, tmp_path):
    with own(lambda n: MemoryError()):
        first = compare(threes_sevens, ['own', 'mlp'], device='cpu', settings=MLP)
        none = compare(threes_sevens, ['own', 'logistic'], device='cpu', settings=NAN)
    assert first.table.words.isna().all() and first.to_dict()['rungs'][1]['against'] is None and 'mlp gets' in first.verdict
    assert none.table.status.tolist() == ['failed'] * 2 and none.fitted == () and none.results == none.differences == {}
    d = strict(none)
    assert d['pictures'] == {} and d['shared']['missed_by_all'] == dict(count=0, images=[]) and d['verdict']['headline']
    assert sorted(l.split()[:2] for l in str(none).splitlines() if ' failed: ' in l) == [['logistic', 'failed:'], ['own', 'failed:']] and none._repr_html_()
    assert [p.name for p in none.save(tmp_path)] == FILES and pd.read_csv(tmp_path/'comparison.csv').status.tolist() == ['failed'] * 2


# Seeds

@pytest.fixture(scope='module')
def thrice(threes_sevens): return compare(threes_sevens, NAMES, seed=3, device='cpu', settings=SHORT, repeats=3)

def test_the_first_seed_gives_what_it_gives_alone(three, thrice):
    assert_frame_equal(figures(thrice).drop(columns=SEEDS), figures(three))
    assert list(thrice.table) == [*WORTH, *SEEDS, *PRICE]

def test_seeds_follow_each_other_and_each_gives_what_it_gives_alone(thrice, threes_sevens):
    assert all([x.seed for x in r.results] == [3, 4, 5] for r in thrice.rungs)
    for r in thrice.rungs:
        for x in r.results[2:]: assert torch.equal(x.valid.scores, fit(r.recipe, threes_sevens, seed=x.seed, device='cpu', **SHORT.get(r.recipe, {})).scores)

def test_what_stands_over_seeds_agrees_with_chance(thrice):
    accuracies = {r.recipe: [x.accuracy for x in r.results] for r in thrice.rungs}
    below = None
    for e, row in zip(strict(thrice)['rungs'], thrice.table.itertuples(), strict=True):
        r, s = e['repeats'], over_seeds(accuracies[e['recipe']])
        assert (r['seeds'], r['accuracies'], r['mean'], r['sd'], r['interval'], r['lost']) == ([3, 4, 5], accuracies[e['recipe']], s.mean, s.sd, [s.low, s.high], [])
        assert (row.seeds, row.mean, row.sd, row.mean_low, row.mean_high) == (3, *s)
        if below is None: assert r['against'] is None and np.isnan(row.seeds_gain)
        else:
            d = seeds_difference(accuracies[below], accuracies[e['recipe']], len(thrice.images.valid))
            assert r['against'] == dict(recipe=below, gain_points=d.gain * 100, interval_points=[d.low * 100, d.high * 100], p=d.p, words=d.words)
            assert (row.seeds_gain, row.seeds_gain_low, row.seeds_gain_high, row.seeds_p, row.seeds_words) == (d.gain * 100, d.low * 100, d.high * 100, d.p, d.words)
        below = e['recipe']
    _, seeds, *_ = str(thrice).split('\n\n')
    assert [line.split()[:3] for line in seeds.splitlines()[1:]] == [[n, '3', f'{100 * over_seeds(a).mean:.2f}%'] for n, a in accuracies.items()]
    _, seeds, *_ = thrice.details().split('\n\n')
    assert [line.split()[:3] for line in seeds.splitlines()[1:]] == [[n, f'{100 * over_seeds(a).mean:.2f}%', f'{100 * over_seeds(a).sd:.2f}'] for n, a in accuracies.items()]

def test_one_run_has_no_spread(three, threes_sevens):
    assert all(e['repeats'] is None for e in three.to_dict()['rungs']) and not set(SEEDS) & set(three.table)
    with own(lambda n: ValueError('x') if n > 1 else None): c = compare(threes_sevens, 'similarity,own', device='cpu', repeats=2) # One of two seeds is lost
    one = c.to_dict()['rungs'][1]
    assert one['status'] == 'fitted' and one['repeats'] is None and c.table.loc[1, SEEDS].isna().all() and c.table.seeds[0] == 2
    assert c.rungs[1].lost == ((43, 'this should not happen (ValueError: x)'),) and 'own failed with seed 43: this should not happen (ValueError: x)' in str(c)

def test_seeds_that_fail_are_told_and_the_others_are_compared_pair_by_pair(threes_sevens):
    with own(lambda n: MemoryError() if n == 2 else None) as calls:
        failed = []
        c = compare(threes_sevens, 'sgd,own', device='cpu', repeats=3, settings={'sgd': {'epochs': 1, 'std': 1.}}, on_failed=lambda *a: failed.append(a[:2]))
    below, this = c.to_dict()['rungs']
    assert len(calls) == 3 and failed == [('own', 43)] and this['repeats']['seeds'] == [42, 44] and this['repeats']['lost'] == [dict(seed=43, reason='not enough memory (MemoryError)')]
    a = below['repeats']['accuracies']
    d = seeds_difference([a[0], a[2]], this['repeats']['accuracies'], len(threes_sevens.valid))
    assert len(a) == 3 and a[1] not in (a[0], a[2]) and this['repeats']['against']['gain_points'] == d.gain * 100 and this['repeats']['against']['p'] == d.p

def test_a_rung_whose_first_seed_fails_is_not_tried_with_others(threes_sevens):
    with own(lambda n: MemoryError()) as calls:
        steps = []
        c = compare(threes_sevens, 'similarity,own', device='cpu', repeats=3, on_step=lambda s: steps.append((s.number, s.count, s.recipe, s.seed, s.what)))
    assert len(calls) == 1 and steps == [(0, 6, 'similarity', 42, 'rung'), (1, 6, 'own', 42, 'rung'), (2, 6, 'similarity', 43, 'repeat'), (4, 6, 'similarity', 44, 'repeat')]


# A learning curve

def test_a_learning_curve_ends_in_the_rungs(threes_sevens):
    steps = []
    c = compare(threes_sevens, NAMES, device='cpu', settings=SHORT, curve='all', fractions=[1, .1], on_step=steps.append)
    assert [(s.number, s.count, s.what) for s in steps] == [(i, 9, 'rung' if i < 3 else 'point') for i in range(9)] and [s.images for s in steps[-3:]] == [len(threes_sevens.train)] * 3
    curve = strict(c)['curve']
    assert curve['fractions'] == [.1, 1] and [r['recipe'] for r in curve['rungs']] == NAMES
    for r in curve['rungs']: assert (r['points'][-1]['accuracy'], r['points'][-1]['train_seconds']) == (c[r['recipe']].accuracy, c[r['recipe']].seconds) and r['more_data']['words']
    assert [tuple(s[2:5]) for s in steps[3:6]] == [(n, 42, curve['rungs'][0]['points'][0]['images']) for n in NAMES]

def test_a_rung_that_failed_has_no_curve_and_a_point_that_fails_takes_nothing_with_it(threes_sevens):
    with own(lambda n: MemoryError()) as calls: c = compare(threes_sevens, 'similarity,own', device='cpu', curve='all', fractions=[.5, 1])
    assert len(calls) == 1 and [r['recipe'] for r in c.curve['rungs']] == ['similarity']
    with own(lambda n: MemoryError() if n == 2 else None): c = compare(threes_sevens, 'similarity,own', device='cpu', curve='own', fractions=[.5, 1])
    assert [p['status'] for p in strict(c)['curve']['rungs'][0]['points']] == ['failed', 'fitted']
    with own(lambda n: ValueError('few') if n == 2 else None), pytest.warns(UserWarning, match='learning curve was not finished: this should not happen .ValueError: few'):
        c = compare(threes_sevens, 'similarity,own', device='cpu', curve='all', fractions=[.5, 1])
    assert list(c.results) == ['similarity', 'own'] and [p['fraction'] for r in c.curve['rungs'] for p in r['points']] and strict(c)


# As JSON

KEYS = ['schema_version', 'source', 'classes', 'shape', 'fingerprint', 'images', 'notes', 'majority', 'seed', 'device', 'command', 'made', 'versions', 'machine', 'test_asked', 'rungs', 'pairs', 'shared', 'pictures', 'curve', 'verdict']
RUNG = ['recipe', 'about', 'status', 'reason', 'cure', 'settings', 'accuracy', 'interval', 'right', 'loss', 'test_accuracy', 'test_interval', 'against', 'repeats', 'cost', 'threads', 'best_epoch', 'history', 'failures']

def test_the_json_is_strict_and_complete(three, hurt):
    d = strict(three)
    assert list(d) == KEYS
    told = {k: d[k] for k in ('schema_version', 'source', 'classes', 'shape', 'device', 'seed', 'images', 'command', 'curve', 'test_asked', 'fingerprint')}
    assert told == dict(schema_version=2, source='digits', classes=['3', '7'], shape=[1, 8, 8], device='cpu', seed=3, images={n: len(s) for n, s in three.images.splits.items()}, command=None, curve=None, test_asked=False,
                        fingerprint=three.images.fingerprint)
    assert set(d['versions']) == {'fastrecipes', 'python', 'torch', 'torchvision', 'fastai'} and torch.__version__.startswith(d['versions']['torch'])
    assert set(d['machine']) == {'system', 'processor', 'cores', 'memory_bytes', 'gpu'} and d['machine']['cores'] >= 1 and d['machine']['gpu'] is None
    assert pd.Timestamp(d['made']).tzname() == 'UTC' and set(d['verdict']) == {'stop_at', 'headline', 'paragraphs'}
    for rungs in (d['rungs'], strict(hurt)['rungs']): assert all(set(r) == set(RUNG) for r in rungs)
    for rung, f in zip(d['rungs'], three.fitted, strict=True):
        right = int((f.predictions == f.targets).sum())
        assert (rung['recipe'], rung['accuracy'], rung['right'], rung['loss'], rung['best_epoch']) == (f.recipe, f.accuracy, right, f.loss, f.best_epoch) and rung['interval'] == list(wilson(right, len(f.targets)))
        assert rung['settings'] == json.loads(json.dumps(f.settings)) and rung['cost'] == f.cost._asdict() and rung['about'] == recipes[f.recipe].about
        assert rung['history'] == ([] if f.history is None else f.history.to_dict('records')) and sum(map(sum, rung['failures']['confusion'])) == len(f.targets)
    assert d['rungs'][0]['loss'] is d['rungs'][0]['against'] is d['rungs'][0]['failures']['calibration'] is None
    assert d['rungs'][2]['settings']['hidden'] == [64, 64, 64]

def test_the_most_frequent_class_is_what_always_saying_it_would_get(three, threes_sevens):
    n = threes_sevens.valid.labels.bincount()
    assert three.to_dict()['majority'] == {'class': threes_sevens.classes[int(n.argmax())], 'share': int(n.max()) / int(n.sum())}
    tie = Split(threes_sevens.valid.images[:4], torch.tensor([1, 1, 0, 0]))
    c = Comparison(replace(threes_sevens, valid=tie), (scored(three['sgd'], [[1.]] * 4, [1, 1, 0, 0]),))
    assert c.to_dict()['majority'] == {'class': '3', 'share': .5}

def test_every_image_that_is_named_has_its_picture(three):
    d = strict(three)
    named = {i['image'] for r in d['rungs'] for i in r['failures']['worst']} | {i['image'] for s in d['shared'].values() if s for i in s['images']}
    assert set(map(int, d['pictures'])) == named != set() and all(p['uri'].startswith('data:image/png;base64,') for p in d['pictures'].values())

def test_every_pair_of_rungs_is_told(three):
    assert [(p['below'], p['recipe']) for p in three.to_dict()['pairs']] == [('similarity', 'sgd'), ('similarity', 'mlp'), ('sgd', 'mlp')]

def test_what_to_dict_gives_is_a_copy(three):
    before = strict(three)
    d = three.to_dict()
    d['rungs'][0]['recipe'] = 'mine'; d['classes'].append('x'); d['rungs'].pop(); d['verdict'].clear()
    assert strict(three) == before and three.verdict

@pytest.mark.parametrize('score', [float('nan'), float('inf'), float('-inf')])
def test_scores_that_are_no_numbers_are_a_failure_and_can_be_saved(three, threes_sevens, tmp_path, score):
    diverged = Comparison(threes_sevens, (scored(three['sgd'], [[score], [1.]], [0, 1]), scored(three['mlp'], [[3.], [1.]], [1, 0])))
    lost, kept = strict(diverged)['rungs']
    assert (lost['status'], lost['loss'], kept['status'], kept['against']) == ('failed', None, 'fitted', None) and 'of 1 of 2 validation images are no finite numbers' in lost['reason'] and 'lr' in lost['cure']
    assert [p.name for p in diverged.save(tmp_path)] == FILES

def test_a_model_that_went_to_infinity_is_a_failure_even_if_nothing_was_raised(threes_sevens):
    class Infinite(torch.nn.Module):
        def forward(self, x): return x.flatten(1)[:, :1] / 0
    with own(lambda n: None, Infinite()): c = compare(threes_sevens, 'similarity,own', device='cpu')
    assert c.rungs[1].status == 'failed' and 'no finite numbers' in c.rungs[1].reason and strict(c) and str(c)

ODD = ('$a^', '<b>&amp;"', 'c\nd\x1b[31m', 'e\udcff')

def test_odd_names_of_classes_and_sources_survive(threes_sevens, tmp_path):
    digits = load('digits')
    keep = lambda s: Split(s.images[s.labels < 4], s.labels[s.labels < 4])
    images = replace(digits, source='set $x^ <i>\n\udce9', classes=ODD, train=keep(digits.train), valid=keep(digits.valid))
    c = compare(images, 'similarity,sgd', device='cpu', settings={'sgd': {'epochs': 1}})
    str(c).encode(); c._repr_html_().encode() # A terminal takes them
    assert '\x1b' not in str(c)
    c.save(tmp_path)
    d = json.loads((tmp_path/'comparison.json').read_bytes())
    assert tuple(d['classes']) == ODD and d['source'] == images.source and d == strict(c) and d['majority']['class'] in ODD
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
    assert json.loads((folder/'comparison.json').read_text()) == strict(three)
    with Image.open(folder/'comparison.png') as im:
        im.load()
        assert im.format == 'PNG' and im.width > 800 and im.height > 200 and len(im.convert('RGB').getcolors(2**20)) > 3

def test_saving_again_replaces_the_files(three, tmp_path):
    three.save(tmp_path)
    Comparison(three.images, three.fitted[1:]).save(str(tmp_path))
    assert names(tmp_path) == FILES and pd.read_csv(tmp_path/'comparison.csv').recipe.tolist() == ['sgd', 'mlp']

def test_one_rung_can_be_drawn_and_told(three, tmp_path):
    one = Comparison(three.images, three.fitted[:1])
    assert [p.name for p in one.save(tmp_path/'one')] == FILES
    (rung,) = one.to_dict()['rungs']
    assert rung['loss'] is rung['against'] is None and 'nan' not in str(one).lower()

@pytest.mark.parametrize('below', ['taken', 'taken/deeper'])
def test_a_folder_that_cannot_be_made_is_refused_and_what_is_there_stays(three, threes_sevens, tmp_path, below):
    (tmp_path/'taken').write_text('mine')
    for write in (three.save, lambda folder: compare(threes_sevens, 'similarity', out=folder, on_step=never)):
        with refused('taken', 'cannot write there', 'choose another folder'): write(tmp_path/below)
    assert contents(tmp_path) == {'taken': b'mine'}

@pytest.mark.parametrize('broken', ['replace', 'fsync'])
def test_a_failing_write_is_refused_and_the_old_files_stay(three, tmp_path, monkeypatch, broken):
    three.save(tmp_path)
    old = contents(tmp_path)
    monkeypatch.setattr(os, broken, fail)
    with refused('comparison.csv: cannot write it (No space left'): Comparison(three.images, three.fitted[1:]).save(tmp_path)
    assert contents(tmp_path) == old

def test_a_write_that_fails_midway_is_refused_and_leaves_no_temporary_file(three, tmp_path):
    (tmp_path/'comparison.json').mkdir()
    with refused('comparison.json: cannot write it'): three.save(tmp_path)
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
