"A recipe with some settings changed is a rung: its one name, its folder, its results, its kept model"
import os
import pytest, torch
from fastrecipes.answer.climb import compare
from fastrecipes.answer.curves import chosen_recipes, learning_curve
from fastrecipes.answer.report import report_html
from fastrecipes.answer.comparison import read_comparison
from fastrecipes.answer.tables import name_lines, plain, rung_table
from fastrecipes.explore.kept_ladder import KeptLadder
from fastrecipes.keep.store import load, save
from fastrecipes.ladder.recipe import fit, folder_name, get_recipe, name_of_folder
from fastrecipes.ladder.settings import read_settings, Sections, split_names, split_variant, variant_name
from conftest import refused
from reporters import Each

WIDE = 'linear(augment=shifts, class_weights=balanced)'


# Names

@pytest.mark.parametrize('text, names', [
    ('a,b', ['a', 'b']),
    (' a , b(c=1,2), d(e=(1,2),f=3) ', ['a', 'b(c=1,2)', 'd(e=(1,2),f=3)']),
    ("a(w='x,(y'),b", ["a(w='x,(y')", 'b']),
    (',,', []), ('', []),
])
def test_commas_in_brackets_belong_to_the_variant(text, names): assert split_names(text) == names

@pytest.mark.parametrize('name, parts', [
    ('mlp', ('mlp', {})),
    ('mlp()', ('mlp', {})),
    ('mlp(hidden=512,256)', ('mlp', dict(hidden='512,256'))),
    (' mlp ( lr = .1 , hidden=(512,256), best=no ) ', ('mlp', dict(lr='.1', hidden='(512,256)', best='no'))),
    ("f(weights='/a b/c,d=e(1).pth', lr=1)", ('f', dict(weights='/a b/c,d=e(1).pth', lr='1'))),
])
def test_a_name_has_its_settings_in_brackets(name, parts): assert split_variant(name) == parts

@pytest.mark.parametrize('name', ['mlp(', 'mlp)', 'mlp(512)', 'mlp(lr=1))(', 'mlp(lr=1, lr=2)', '(lr=1)', 'mlp(=3)'])
def test_a_name_that_cannot_be_read_is_one_line(name):
    with refused(): get_recipe(name)

@pytest.mark.parametrize('changed', [
    dict(hidden=(512, 256), lr=.01), dict(best=False, lr=None), dict(w="a,b(c)=' d"), dict(w='it"s, "x"'), dict(w=' '),
])
def test_a_name_is_read_as_it_was_written(changed):
    base, found = split_variant(variant_name('mlp', changed))
    wanted = {n: v if isinstance(v, str) else variant_name('x', {n: v})[len(n) + 3:-1] for n, v in changed.items()}
    assert base == 'mlp' and found == wanted

@pytest.mark.parametrize('same', [
    'mlp(hidden=32,lr=0.02)', 'mlp( lr=2e-2 , hidden = (32) )', ('mlp', dict(hidden=32, lr=.02)),
    ('mlp', dict(lr='0.02', hidden=[32])), 'mlp(lr=.02, epochs=10, hidden=32, schedule=one-cycle)',
])
def test_a_variant_has_one_name(same): assert get_recipe(same).name == 'mlp(lr=0.02, hidden=32)'

@pytest.mark.parametrize('same', [
    'mlp()', 'mlp(epochs=10)', 'mlp(hidden=auto)', ('mlp', {}), ('mlp', dict(augment='none'))])
def test_without_differences_it_is_the_recipe(same): assert get_recipe(same) is get_recipe('mlp')

def test_what_differs_depends_on_the_settings_of_the_recipe():
    settings = dict(mlp=dict(epochs=3))
    assert get_recipe('mlp(epochs=3)', settings) is get_recipe('mlp')
    assert get_recipe('mlp(epochs=10)', settings).name == 'mlp(epochs=10)'
    assert get_recipe('mlp(lr=.1)', settings).resolve({}, settings)['epochs'] == 3

@pytest.mark.parametrize('name, parts', [
    ('mlp(hiden=3)', ("mlp: unknown setting 'hiden'", "'hidden'")),
    ('mlp(hidden=x)', ("mlp: hidden='x' is not",)),
    ('mpl(hidden=3)', ("unknown recipe 'mpl'", "'mlp'")),
    (('mlp', 3), ('mlp',)), (3, ('3',)), ({'mlp': 1}, ('mlp',)),
    ('similarity(augment=flips)', ("similarity: unknown setting 'augment'",)),
])
def test_a_mistake_is_one_line(name, parts):
    with refused(*parts): get_recipe(name)

def test_a_gain_is_measured_against_the_recipe_if_it_is_there():
    found = get_recipe('frozen(side=64)')
    assert found.measured_against == ('frozen', 'linear') and found.cannot == get_recipe('frozen').cannot
    assert get_recipe('mlp(lr=.1)').measured_against == ('mlp',) and get_recipe('mlp').measured_against == ()
    with refused('finetune'): get_recipe('frozen(side=64, augment=photo)')

def test_an_argument_that_contradicts_the_name_is_refused(digits):
    with refused('mlp(lr=0.1)', 'lr=0.2'): fit('mlp(lr=.1)', digits, lr=.2)
    assert get_recipe('mlp(lr=.1)').resolve(dict(lr=.1, epochs=2))['epochs'] == 2

def test_variants_come_after_their_recipe_in_the_order_of_the_ladder():
    found = chosen_recipes('mlp(lr=.1),mlp(lr=.2),linear,mlp,mlp( lr=.1),linear(epochs=2)')
    assert list(found) == ['linear', 'linear(epochs=2)', 'mlp', 'mlp(lr=0.1)', 'mlp(lr=0.2)']
    assert all(r.name == n for n, r in found.items())


# Folders

@pytest.mark.parametrize('name', [
    'mlp', 'MyNet', 'mlp(lr=0.01, hidden=512,256)',
    "f(weights='C:/A b\\c*?.pth')", 'f(w=é)', 'f(w=%41)', 'f(w=A)', 'f(w=a)',
])
def test_the_name_of_a_folder_is_safe_and_can_be_reversed(name):
    folder = folder_name(name)
    assert name_of_folder(folder) == name
    if name.isidentifier(): return
    assert folder.isascii() and folder == folder.lower() and not set(folder) & set('<>:"/\\|?*~ ')

def test_names_that_a_file_system_may_confuse_have_different_folders():
    names = ['f(w=A)', 'f(w=a)', 'f(w=%41)', 'f(w=a )', 'f(w=' + 'x' * 300 + ')', 'f(w=' + 'x' * 301 + ')']
    folders = {folder_name(n).lower() for n in names}
    assert len(folders) == len(names) and max(map(len, folders)) <= 120
    assert name_of_folder('..') is None and name_of_folder('A(b)') is None


# settings.ini

def test_a_section_with_a_recipe_is_a_variant(tmp_path):
    file = tmp_path/'settings.ini'
    file.write_text('[linear]\nepochs = 3\n[calm]\nrecipe = linear\nlr = 0.1\n[tool]\nrecipe = soup\n')
    settings = read_settings(file)
    assert settings.variants == {'calm': 'linear'} and settings['calm'] == {'lr': .1}
    calm = get_recipe('calm', settings)
    assert calm.name == 'calm' and calm.base is get_recipe('linear')
    assert calm.resolve({}, settings)['epochs'] == 3 and calm.resolve({}, settings)['lr'] == .1
    assert calm.resolve(dict(lr=.5), settings)['lr'] == .5, 'its name does not say what it is'
    assert get_recipe('calm(epochs=2)', settings).name == 'calm(epochs=2)'
    assert list(chosen_recipes('calm,linear', settings)) == ['linear', 'calm']
    whole = list(chosen_recipes(None, settings))
    assert whole.index('calm') == whole.index('linear') + 1
    with refused("unknown recipe 'calm'"): get_recipe('calm')

def test_a_file_with_a_variant_alone_is_found(tmp_path, monkeypatch):
    (tmp_path/'settings.ini').write_text('[calm]\nrecipe = linear\n')
    monkeypatch.chdir(tmp_path)
    assert read_settings().variants == {'calm': 'linear'}

@pytest.mark.parametrize('section, values, parts', [
    ('calm', dict(recipe='liner'), ('unknown recipe', 'linear')),
    ('calm', dict(recipe='linear', lrr=1), ("unknown setting 'lrr'", 'calm')),
    ('not calm', dict(recipe='linear'), ('not calm', 'letters')),
    ('mlp', dict(recipe='linear'), ("unknown setting 'recipe'",)),
    ('calm', dict(lr=1), ("unknown section 'calm'",)),
])
def test_a_section_that_is_wrong_is_one_line(section, values, parts):
    with refused(*parts): Sections({section: values})


# Everything that has a recipe has a variant

@pytest.fixture(scope='module')
def compared(digits, tmp_path_factory):
    "Four rungs, two of them variants, in a folder"
    out = tmp_path_factory.mktemp('compared')
    settings = dict(linear=dict(epochs=2), calm=dict(recipe='linear', lr=.05))
    names = ['similarity', 'linear', 'calm', ('linear', dict(class_weights='balanced', augment='shifts'))]
    how = dict(device='cpu', settings=settings, out=out)
    return compare(digits, names, curve=WIDE, fractions=(.1, .5, 1), **how), out, settings

def test_a_comparison_has_a_rung_for_each_variant(compared):
    c, out, _ = compared
    assert list(c) == ['similarity', 'linear', 'calm', WIDE]
    assert {(p.below, p.recipe) for p in c.pairs} >= {('linear', WIDE), ('linear', 'calm')} and len(c.pairs) == 6
    rung = c.rungs[3]
    assert [r.against and r.against.recipe for r in c.rungs] == [None, 'similarity', 'linear', 'linear']
    assert rung.settings['augment'] == 'shifts' and rung.settings['epochs'] == 2
    assert rung.about.startswith(get_recipe('linear').about) and 'augment=shifts' in rung.about
    assert [r.recipe for r in c.curve.rungs] == [WIDE] and len(c.curve.rungs[0].points) == 3
    assert list(read_comparison(c.save(out)[1].parent)) == list(c)

def test_its_results_are_resumed(compared, digits):
    c, out, settings = compared
    def no(row): pytest.fail('a finished rung was fitted again')
    names = ['similarity', 'linear', 'calm', 'linear(augment=shifts,class_weights=balanced)']
    again = compare(digits, names, device='cpu', settings=settings, out=out, resume=True, reporter=Each(no))
    assert [r.accuracy for r in again.rungs] == [r.accuracy for r in c.rungs]
    compare(digits, 'similarity', device='cpu', out=out)
    assert len(os.listdir(out/'rungs')) == 1, 'the folders of a finished comparison are removed'

def test_the_report_and_the_table_have_it(compared):
    c, *_ = compared
    assert WIDE in report_html([c])
    text = plain(*rung_table(c.rungs))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    first = next(i for i, line in enumerate(lines) if line.startswith('linear('))
    names = [line[:24].strip() for line in lines[first:first + 3]]
    assert names == ['linear(', 'augment=shifts,', 'class_weights=balanced)']
    assert '%' in lines[first]

@pytest.mark.parametrize('width', [11, 24])
def test_a_long_name_has_one_setting_per_line(width):
    assert name_lines('mlp', width) == ['mlp']
    assert name_lines('mlp(hidden=512,256, lr=0.01)', width) == ['mlp(', ' hidden=512,256,', ' lr=0.01)']

def test_its_model_is_kept_and_names_its_recipe(compared, tmp_path, digits):
    c, *_ = compared
    for name in ('calm', WIDE):
        kept = load(save(c[name], tmp_path/folder_name(name)), 'cpu')
        assert (kept.recipe, kept.base, kept.card.recipe, kept.card.variant) == (name, 'linear', 'linear', name)
        assert torch.equal(kept.predict_scores(digits.valid.images), c[name].scores)
        assert kept.learner(digits).model is kept.model
    assert load(save(c['linear'], tmp_path/'m'), 'cpu').card.variant is None

def test_settings_of_a_variant_that_is_not_compared_are_refused(digits):
    with refused('calm'): compare(digits, 'similarity', settings=dict(calm=dict(recipe='linear')))
    with refused('mlp'): compare(digits, 'linear(epochs=1)', settings=dict(mlp=dict(epochs=1)))
    with refused('learning curve'): compare(digits, 'linear', curve='linear(epochs=1)')

def test_a_learning_curve_of_a_variant_in_settings(digits):
    settings = dict(calm=dict(recipe='linear', epochs=1))
    curve = learning_curve(digits, 'calm,linear(epochs=2)', (.1, 1), device='cpu', settings=settings)
    assert [r.recipe for r in curve.rungs] == ['calm', 'linear(epochs=2)']
    assert all(p.is_fitted for r in curve.rungs for p in r.points)

@pytest.mark.slow
def test_the_explorer_of_drawings_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path))
    settings = dict(calm=dict(recipe='linear', epochs=1))
    models = KeptLadder('digits', ['linear(epochs=1)', 'calm'], settings).wait()
    assert list(models) == ['linear(epochs=1)', 'calm'] and all(m.base == 'linear' for m in models.values())


# The command

def test_the_command_reads_variants(tmp_path, monkeypatch, capsys):
    from fastrecipes.cli import run
    monkeypatch.chdir(tmp_path)
    (tmp_path/'settings.ini').write_text('[linear]\nepochs = 1\n[calm]\nrecipe = linear\nlr = 0.1\n')
    status, line = run(['compare', '-r', 'similarity,linear(lr=.2,bs=64)', '-r', 'calm', '--json', '-q'])
    assert (status, line) == (0, '')
    import json
    rungs = json.loads(capsys.readouterr().out)['rungs']
    assert [r['recipe'] for r in rungs] == ['similarity', 'linear(lr=0.2, bs=64)', 'calm']
    assert run(['fit', 'linear(lr=.2,bs=64)', '--out', 'm', '-q']) == (0, '')
    assert load('m', 'cpu').recipe == 'linear(lr=0.2, bs=64)'
    assert run(['fit', 'linear(bs=64,lr=.2)', '--out', 'm', '-q', '--resume']) == (0, '')
    assert run(['fit', 'calm', '-q', '--epochs', '1']) == (0, '')
    assert run(['list', 'calm']) == (0, '')
    for arguments in (['compare', '-r', 'linear(lrr=1)'], ['fit', 'linear(lrr=1)'], ['list', 'linear(lrr=1)'],
                      ['compare', '-r', 'similarity', '--learning-curve', 'linear(lrr=1)']):
        status, line = run(arguments)
        assert status == 2 and "'lrr'" in line and "'lr'" in line
