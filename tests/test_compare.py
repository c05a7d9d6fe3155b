"""The ladder side by side: the table, and the files that hold it"""
import json, os
from dataclasses import replace
import numpy as np, pandas as pd, pytest, torch
from pandas.testing import assert_frame_equal
from PIL import Image
from fastrecipes.compare import Comparison, compare, write_atomic
from fastrecipes.images import InputError, Split
from fastrecipes.recipes import Fitted, Judged, fit, ladder, recipes

COLUMNS = ['recipe', 'accuracy', 'loss', 'gain_points', 'parameters', 'train_seconds', 'predict_ms_per_1000', 'device']
NAMES = ['similarity', 'sgd', 'mlp']
FILES = ['comparison.csv', 'comparison.json', 'comparison.png']


@pytest.fixture(scope='module')
def heard(): return []

@pytest.fixture(scope='module')
def three(threes_sevens, heard):
    "Three rungs, asked for in another order; `heard` has what the callbacks were told"
    return compare(threes_sevens, ['mlp', 'similarity', 'sgd', 'mlp'], seed=3, device='cpu', on_rung=lambda *a: heard.append(a),
                   on_fitted=heard.append, on_epoch=heard.append, settings={'mlp': {'epochs': 1}, 'sgd': {'epochs': 2}})

def scored(fitted, scores, targets): return replace(fitted, valid=Judged(torch.tensor(scores), torch.tensor(targets), fitted.has_probs))


# Comparing

def test_rungs_come_in_the_order_of_the_ladder_and_once(three):
    assert [f.recipe for f in three.fitted] == NAMES and all(three[n].recipe == n for n in NAMES)

def test_the_callbacks_hear_each_rung_its_epochs_and_what_was_fitted(three, heard):
    kinds = [h if isinstance(h, tuple) else h.recipe if isinstance(h, Fitted) else h['epoch'] for h in heard]
    assert kinds == [(0, 3, 'similarity'), 'similarity', (1, 3, 'sgd'), 0, 1, 'sgd', (2, 3, 'mlp'), 0, 'mlp']

def test_seed_and_settings_reach_every_recipe(three):
    assert {f.seed for f in three.fitted} == {3}
    assert (three['sgd'].settings['epochs'], three['mlp'].settings['epochs']) == (2, 1)

def test_all_recipes_are_compared_unless_some_are_named(threes_sevens):
    class Enough(Exception): pass
    def stop(i, n, name): raise Enough(f'{i} of {n}: {name}')
    with pytest.raises(Enough, match='0 of 6: similarity'): compare(threes_sevens, device='cpu', on_rung=stop)

@pytest.mark.parametrize('kwargs, wanted', [
    (dict(names=['similarity', 'sdg']), "unknown recipe 'sdg': did you mean 'sgd'?"),
    (dict(names=[]), 'no recipe to compare; there are similarity'),
    (dict(settings={'mpl': {}}), "unknown recipe 'mpl': did you mean 'mlp'?"),
    (dict(settings={'mlp': {'epoch': 1}}), "mlp: unknown setting 'epoch'"),
    (dict(settings={'mlp': {'epochs': 'x'}}), "mlp: epochs='x' is not a whole number"),
    (dict(names=['mlp'], settings={'mlp': {'lr': 0}}), 'mlp: lr=0 is not'),
    (dict(names='sgd,linear', settings={'mlp': {'lr': 1}}), 'there are settings for mlp, which is not among the recipes to compare'),
    (dict(seed=-1), 'seed: seed=-1 is not'), (dict(images='digit'), "unknown source 'digit': did you mean 'digits'?")])
def test_what_cannot_be_done_is_refused_before_anything_is_fitted(threes_sevens, kwargs, wanted):
    with pytest.raises(InputError) as e: compare(**{'images': threes_sevens, **kwargs}, on_rung=lambda *a: pytest.fail('a rung was begun'))
    assert str(e.value).startswith(wanted)

def test_a_bad_value_in_settings_ini_is_refused_before_anything_is_fitted(threes_sevens, tmp_path):
    (tmp_path/'settings.ini').write_text('[fastrecipes]\n[mlp]\nepochs = x\n')
    with pytest.raises(InputError, match=r"settings.ini \[mlp\]: epochs='x'"):
        compare(threes_sevens, ['similarity', 'mlp'], on_rung=lambda *a: pytest.fail('a rung was begun'))

def test_a_recipe_beside_the_ladder_is_fitted_when_it_is_named_in_its_place(threes_sevens):
    assert 'logistic' in recipes and 'logistic' not in ladder() and ladder() == ['similarity', 'sgd', 'linear', 'simple_net', 'mlp', 'resnet18']
    both = compare(threes_sevens, 'linear,logistic,sgd', device='cpu', settings={n: {'epochs': 1} for n in ('sgd', 'logistic', 'linear')})
    assert both.table.recipe.tolist() == ['sgd', 'logistic', 'linear'] and both['logistic'].settings['bs'] == 128

def test_nothing_is_no_comparison(threes_sevens):
    with pytest.raises(InputError, match='nothing to compare'): Comparison(threes_sevens, ())

def test_a_rung_that_is_not_there_is_refused_with_those_that_are(three):
    with pytest.raises(InputError, match="unknown rung 'lin': .*similarity, sgd, mlp"): three['lin']


# The test split

@pytest.fixture(scope='module')
def with_test(threes_sevens):
    "Threes and sevens with a test split: the validation images, their labels turned round for the first ten"
    v = threes_sevens.valid
    labels = v.labels.clone()
    labels[:10] = 1 - labels[:10]
    return replace(threes_sevens, test=Split(v.images, labels))

def test_test_images_are_reported_when_asked_for_and_change_nothing_else(with_test, threes_sevens):
    asked, not_asked, none = (compare(s, NAMES, device='cpu', test=t, settings={'mlp': {'epochs': 2}, 'sgd': {'epochs': 2}})
                              for s, t in ((with_test, True), (with_test, False), (threes_sevens, False)))
    for a, b, c in zip(asked.fitted, not_asked.fitted, none.fitted, strict=True):
        assert torch.equal(a.scores, b.scores) and torch.equal(a.scores, c.scores) and b.test is c.test is None
        assert torch.equal(a.test.scores, a.scores), 'the same images get the same scores'
        wrong = (a.predictions[:10] != with_test.test.labels[:10]).sum() + (a.predictions[10:] != a.targets[10:]).sum()
        assert a.test.accuracy == pytest.approx(1 - wrong.item() / len(a.targets)) != a.accuracy
    assert list(asked.table) == [*COLUMNS[:4], 'test_accuracy', *COLUMNS[4:]] and list(not_asked.table) == COLUMNS
    assert asked.table.test_accuracy.tolist() == [f.test.accuracy for f in asked.fitted]
    assert asked.table.gain_points[1:].tolist() == not_asked.table.gain_points[1:].tolist()

def test_the_test_accuracy_is_in_text_json_and_files(with_test, tmp_path):
    c = compare(with_test, 'similarity,sgd', device='cpu', test=True, settings={'sgd': {'epochs': 1}})
    head, *lines = str(c).splitlines()
    assert 'test accuracy' in head and all(f'{f.test.accuracy:.4f}' in line.split() for line, f in zip(lines, c.fitted, strict=True))
    d = strict(c)
    assert [r['test_accuracy'] for r in d['rungs']] == [f.test.accuracy for f in c.fitted] and d['images']['test'] == len(with_test.test)
    c.save(tmp_path)
    assert pd.read_csv(tmp_path/'comparison.csv').test_accuracy.tolist() == pytest.approx([f.test.accuracy for f in c.fitted])

def test_a_test_split_that_is_not_there_is_refused_before_anything_is_fitted(threes_sevens):
    with pytest.raises(InputError, match='digits: there is no test split'): compare(threes_sevens, test=True, on_rung=lambda *a: pytest.fail('a rung was begun'))
    with pytest.raises(InputError, match='digits: there is no test split'): fit('similarity', threes_sevens, test=True, device='cpu')


# The table

def test_the_table_has_the_figures_of_what_was_fitted(three):
    t = three.table
    assert list(t) == COLUMNS
    for row, f in zip(t.itertuples(), three.fitted, strict=True):
        assert (row.recipe, row.accuracy, row.parameters, row.device) == (f.recipe, f.accuracy, f.parameters, 'cpu')
        assert (row.train_seconds, row.predict_ms_per_1000) == (f.seconds, f.ms_per_1000)
    assert np.isnan(t.loss[0]) and t.loss[1:].tolist() == [three['sgd'].loss, three['mlp'].loss]

def test_the_gain_is_the_accuracy_over_the_row_above_in_points(three, threes_sevens):
    f, y = three['sgd'], [0, 1, 1, 1]
    right = {.5: [[1.], [1], [1], [-1]], .75: [[1.], [1], [1], [1]], .25: [[1.], [-1], [-1], [1]]}
    t = Comparison(threes_sevens, tuple(scored(f, s, y) for s in right.values())).table
    assert t.accuracy.tolist() == list(right) and np.isnan(t.gain_points[0]) and t.gain_points[1:].tolist() == [25, -50]

def test_the_text_has_the_figures_rounded_and_a_line_a_rung(three):
    head, *lines = str(three).splitlines()
    assert all(h in head for h in ('recipe', 'accuracy', 'gain (points)', 'predict 1,000 (ms)')) and 'nan' not in str(three).lower()
    for line, row in zip(lines, three.table.itertuples(), strict=True):
        some = [] if row.recipe == 'similarity' else [f'{row.loss:.4f}', f'{row.gain_points:+.2f}'] # the first rung has neither
        assert line.split() == [row.recipe, f'{row.accuracy:.4f}', *some, f'{row.parameters:,}', f'{row.train_seconds:.2f}',
                                f'{row.predict_ms_per_1000:.1f}', 'cpu']
    assert repr(three) == str(three)

def test_the_notebook_table_has_the_same_figures(three):
    html = three._repr_html_()
    assert all(f'{v:.4f}' in html for v in three.table.accuracy) and html.count('<tr>') == 4 and 'nan' not in html

def test_the_plot_has_a_row_a_rung(three):
    fig = three.plot()
    left, right = fig.axes
    assert [t.get_text() for t in left.get_yticklabels()] == NAMES
    for ax, values in ((left, three.table.accuracy), (right, three.table.train_seconds.clip(lower=1e-3))):
        assert ax.lines[0].get_xydata().tolist() == [[v, i] for i, v in enumerate(values)] and len(ax.texts) == 3
    assert [t.get_text() for t in left.texts] == [f'{a:.4f}' for a in three.table.accuracy]
    assert 'digits' in fig.get_suptitle() and f'{len(three.images.valid)}' in fig.get_suptitle()

def test_one_rung_can_be_drawn_and_told(three, tmp_path):
    one = Comparison(three.images, three.fitted[:1])
    assert [p.name for p in one.save(tmp_path/'one')] == FILES
    (rung,) = one.to_dict()['rungs']
    assert rung['loss'] is rung['gain_points'] is None and 'nan' not in str(one).lower()


# As JSON

def strict(comparison): return json.loads(json.dumps(comparison.to_dict(), allow_nan=False))

def test_the_json_is_strict_and_complete(three):
    d = strict(three)
    assert {k: v for k, v in d.items() if k != 'rungs'} == dict(schema_version=1, source='digits', classes=['3', '7'], device='cpu', seed=3,
                                                                images={n: len(s) for n, s in three.images.splits.items()})
    for rung, f in zip(d['rungs'], three.fitted, strict=True):
        assert list(rung) == [*COLUMNS[:-1], 'settings']
        assert (rung['recipe'], rung['accuracy'], rung['loss'], rung['parameters']) == (f.recipe, f.accuracy, f.loss, f.parameters)
        assert rung['settings'] == json.loads(json.dumps(f.settings))
    assert d['rungs'][0]['loss'] is d['rungs'][0]['gain_points'] is None
    assert d['rungs'][2]['settings']['hidden'] == [64, 64, 64]

@pytest.mark.parametrize('score', [float('nan'), float('inf')])
def test_a_loss_that_is_no_number_is_null_and_can_be_saved(three, threes_sevens, tmp_path, score):
    diverged = Comparison(threes_sevens, (scored(three['sgd'], [[score], [1.]], [0, 1]),))
    assert strict(diverged)['rungs'][0]['loss'] is None
    assert [p.name for p in diverged.save(tmp_path)] == FILES


# Files

def names(folder): return sorted(os.listdir(folder))
def contents(folder): return {n: (folder/n).read_bytes() for n in names(folder)}

def fail(*args, **kwargs): raise OSError(28, 'No space left on device')
def interrupt(*args, **kwargs): raise KeyboardInterrupt

def test_saving_writes_three_files_that_read_back_and_nothing_else(three, tmp_path):
    folder = tmp_path/'new'/'folder'
    assert three.save(folder) == [folder/n for n in FILES] and names(folder) == FILES
    assert_frame_equal(pd.read_csv(folder/'comparison.csv'), three.table, check_dtype=False, check_exact=False)
    assert json.loads((folder/'comparison.json').read_text()) == strict(three)
    with Image.open(folder/'comparison.png') as im:
        im.load()
        assert im.format == 'PNG' and im.width > 800 and im.height > 200 and len(im.convert('RGB').getcolors(2**20)) > 3

def test_saving_again_replaces_the_files(three, tmp_path):
    three.save(tmp_path)
    Comparison(three.images, three.fitted[1:]).save(str(tmp_path))
    assert names(tmp_path) == FILES and pd.read_csv(tmp_path/'comparison.csv').recipe.tolist() == ['sgd', 'mlp']

@pytest.mark.parametrize('below', ['taken', 'taken/deeper'])
def test_a_folder_that_cannot_be_made_is_refused_and_what_is_there_stays(three, tmp_path, below):
    (tmp_path/'taken').write_text('mine')
    with pytest.raises(InputError, match='taken.*cannot write there.*choose another folder'): three.save(tmp_path/below)
    assert contents(tmp_path) == {'taken': b'mine'}

@pytest.mark.parametrize('broken', ['replace', 'fsync'])
def test_a_failing_write_is_refused_and_the_old_files_stay(three, tmp_path, monkeypatch, broken):
    three.save(tmp_path)
    old = contents(tmp_path)
    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(InputError, match=r'comparison.csv: cannot write it \(No space left'):
        Comparison(three.images, three.fitted[1:]).save(tmp_path)
    assert contents(tmp_path) == old

def test_a_write_that_fails_midway_is_refused_and_leaves_no_temporary_file(three, tmp_path):
    (tmp_path/'comparison.json').mkdir()
    with pytest.raises(InputError, match='comparison.json: cannot write it'): three.save(tmp_path)
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
