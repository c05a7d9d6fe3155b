"""settings.ini: found, checked, and heeded by the command; and what Python passes instead"""
from pathlib import Path
import pytest
from conftest import refused
from fastrecipes.errors import InputError
from fastrecipes.ladder.recipe import fit, get_recipe
from fastrecipes.ladder.settings import find_settings, global_settings, read_settings, recipes, settings_text

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture
def ini(tmp_path):
    "Write a settings.ini: ini('[mlp]', 'epochs = 2') or, elsewhere, ini(..., folder='a/b')"
    def make(*lines, folder='.', head='[fastrecipes]'):
        f = tmp_path/folder/'settings.ini'
        f.parent.mkdir(parents=True, exist_ok=True)
        f.write_text('\n'.join([head, *lines]) + '\n')
        return f
    return make

def refusal(f, *args):
    "The message of the InputError, which is one line"
    with pytest.raises(InputError) as e: f(*args)
    assert '\n' not in str(e.value)
    return str(e.value)


def test_the_settings_ini_of_the_repository_is_the_one_that_the_recipes_write():
    assert (REPO/'settings.ini').read_text() == settings_text()

def test_the_written_settings_are_the_defaults(tmp_path):
    (tmp_path/'settings.ini').write_text(settings_text())
    found = read_settings()
    assert list(found) == ['fastrecipes', *recipes]
    for r in recipes.values(): assert r.resolve({}, found) == {n: s.default for n, s in r.settings.items()}
    assert global_settings(found) == global_settings({})


def test_the_nearest_settings_above_are_found(ini, tmp_path):
    top, near = ini(), ini(folder='a/b')
    (tmp_path/'a/b/c').mkdir()
    assert [find_settings(tmp_path/p) for p in ('.', 'a', 'a/b', 'a/b/c')] == [top, top, near, near]

def test_a_settings_ini_of_another_tool_is_passed_over(ini, tmp_path):
    top = ini()
    ini('lib_name = other', folder='a', head='[DEFAULT]')
    ini('rate = 100%', folder='a/b', head='[tool]')
    ini('no ini at all', folder='a/b/c', head='just text')
    assert find_settings(tmp_path/'a/b/c') == top

def test_a_settings_ini_that_only_mentions_the_section_is_passed_over(ini, tmp_path):
    top = ini()
    ini('[tool]', 'x = 1', folder='a', head='# [fastrecipes] is no section of ours')
    assert find_settings(tmp_path/'a') == top

def test_a_folder_called_settings_ini_is_passed_over(ini, tmp_path):
    top = ini()
    (tmp_path/'a/settings.ini').mkdir(parents=True)
    assert find_settings(tmp_path/'a') == top

def test_without_a_file_there_are_no_settings(tmp_path):
    assert find_settings(tmp_path) is None and read_settings() == {}

def test_values_are_read_as_the_recipes_take_them(ini):
    wanted = {'fastrecipes': {'source': '100% of/it', 'seed': 3}, 'sgd': {'lr': 2., 'bs': None}, 'mlp': {'hidden': (8, 8), 'best': False}}
    assert read_settings(ini('source = 100% of/it', 'seed = 3', '[sgd]', 'lr : 2 ', 'bs = auto', '[mlp]', 'hidden = 8,8', 'best = no')) == wanted


@pytest.mark.parametrize('lines, where, wanted', [
    (['[mpl]'], '', "unknown section 'mpl': did you mean 'mlp'?"),
    (['[mlp]', 'epoch = 3'], ' [mlp]', "unknown setting 'epoch': did you mean 'epochs'?"),
    (['[similarity]', 'bs = 3'], ' [similarity]', "unknown setting 'bs': there are distance"),
    (['sed = 1'], ' [fastrecipes]', "unknown setting 'sed': did you mean 'seed'?")])
def test_an_unknown_section_or_name_is_refused_with_the_file_and_the_nearest(ini, lines, where, wanted):
    f = ini(*lines)
    assert refusal(read_settings).startswith(f'{f}{where}: {wanted}')

@pytest.mark.parametrize('text', [b'seed = 1\nseed = 2\n', b'[fastrecipes]\n', b'seed\n', b'[sgd\n', b'source = \xff\xfe\n'])
def test_a_malformed_file_is_refused_in_one_line_that_names_it(tmp_path, text):
    f = tmp_path/'settings.ini'
    f.write_bytes(b'[fastrecipes]\n' + text)
    assert refusal(read_settings).startswith(f'{f}: cannot be read (')

@pytest.mark.parametrize('line, section, wanted', [
    ('bs = many', 'fastrecipes', "bs='many' is not a whole number, 1 or more (or auto)"),
    ('seed = -1', 'fastrecipes', "seed='-1' is not a whole number, 0 or more"),
    ('device = tpu', 'fastrecipes', "device='tpu' is not auto, cpu"),
    ('source = digit', 'fastrecipes', "unknown source 'digit': did you mean 'digits'?"),
    ('source = no/such', 'fastrecipes', 'no/such: no such folder'),
    ('[sgd]\nlr = 0', 'sgd', "lr='0' is not a number above 0")])
def test_a_bad_value_names_its_file_and_section_before_anything_is_fitted(ini, line, section, wanted):
    f = ini(line)
    def fitted(): fit('linear', settings=read_settings(f), on_epoch=lambda row: pytest.fail('it was fitted'))
    assert refusal(fitted).startswith(f'{f} [{section}]: {wanted}')


@pytest.fixture
def loud(ini, image_folder, tmp_path, monkeypatch):
    "The current folder is below one with a settings.ini that changes everything"
    pictures = image_folder({'dark': 6, 'light': 6})
    file = ini(f'source = {pictures}', 'seed = 5', 'device = cpu', 'threads = 2', 'bs = 4', '[linear]', 'epochs = 2', 'lr = 0.5', '[similarity]', 'distance = l1')
    (tmp_path/'a/b').mkdir(parents=True)
    monkeypatch.chdir(tmp_path/'a/b')
    return file

def test_fit_depends_on_its_arguments_alone(loud):
    f = fit('linear', epochs=1, device='cpu')
    assert (len(f.classes), f.seed, f.settings['bs']) == (10, 42, 32)
    assert get_recipe('linear').resolve({})['epochs'] == 20 and global_settings() == dict(source='digits', seed=42, device='auto', threads='auto')

def test_no_other_function_reads_the_file_either(loud, monkeypatch):
    from fastrecipes.answer import climb as comparing
    from fastrecipes.explore import kept_ladder as digits
    from fastrecipes.ladder import settings as settings_room
    from fastrecipes.answer.curves import learning_curve
    monkeypatch.setattr(settings_room, 'find_settings', lambda *args: pytest.fail('it looked for a settings.ini'))
    monkeypatch.setattr(settings_room, '_parse_ini', lambda *args: pytest.fail('it read a settings.ini'))
    c = comparing.compare(names='similarity', device='cpu', curve='similarity', fractions=(.5, 1))
    assert (c.seed, c.images.source, c['similarity'].settings) == (42, 'digits', {'distance': 'l2'})
    curve = learning_curve('digits', 'similarity', (.5, 1), device='cpu')
    assert curve['seed'] == 42
    rungs = digits.KeptLadder('digits', ['similarity'])
    assert (rungs.seed, rungs.settings['similarity']) == (42, {'distance': 'l2'})

def test_settings_that_were_read_are_heeded_and_an_argument_overrules_them(loud):
    settings = read_settings()
    f = fit('linear', settings=settings)
    assert f.classes == ('dark', 'light') and (f.seed, str(f.device), len(f.history)) == (5, 'cpu', 2)
    assert {n: f.settings[n] for n in ('epochs', 'lr', 'bs')} == dict(epochs=2, lr=.5, bs=4)
    g = fit('linear', 'digits', seed=1, epochs='1', bs=64, settings=settings)
    assert {n for n, v in g.settings.items() if v != f.settings[n]} == {'epochs', 'bs'} and (g.settings['epochs'], g.settings['bs']) == (1, 64)
    assert (g.seed, len(g.classes), len(g.history)) == (1, 10, 1)
    pictures = settings['fastrecipes']['source']
    assert fit('linear', pictures, seed=5, device='cpu', epochs=2, lr=.5, bs=4).scores.equal(f.scores)

def test_all_functions_take_the_same_settings(loud):
    from fastrecipes.answer.climb import compare
    from fastrecipes.answer.curves import learning_curve
    from fastrecipes.explore.kept_ladder import KeptLadder
    settings = read_settings(loud)
    plain = {section: dict(values) for section, values in settings.items() if section in ('fastrecipes', 'linear')}
    for given in (settings, plain):
        c = compare(names='linear', settings=given)
        assert (c.seed, c.images.classes, c['linear'].settings['bs'], len(c['linear'].history)) == (5, ('dark', 'light'), 4, 2)
        fitted = []
        assert learning_curve(None, 'linear', (1,), settings=given, on_fitted=fitted.append)['seed'] == 5
        assert [f.threads for f in fitted] == [c['linear'].threads] == [2]
    assert (KeptLadder('digits', ['similarity'], settings).seed, KeptLadder('digits', ['similarity'], settings, seed=1).seed) == (5, 1)

@pytest.mark.parametrize('settings, wanted', [
    ({'mpl': {}}, "settings: unknown section 'mpl': did you mean 'mlp'?"), ({'mlp': {'epoch': 3}}, "mlp: unknown setting 'epoch'"),
    ({'mlp': {'epochs': 'x'}}, "mlp: epochs='x'"), ({'fastrecipes': {'seed': -1}}, 'fastrecipes: seed=-1'), ({'mlp': 3}, 'mlp: give a dict')])
def test_settings_of_python_are_checked_as_those_of_a_file(settings, wanted):
    assert refusal(lambda: fit('similarity', settings=settings)).startswith(wanted)


@pytest.mark.parametrize('section', ['mpl', 'MLP', 'Fastrecipes', 'simplenet_', 'lienar'])
def test_a_section_that_is_nearly_ours_is_refused(tmp_path, section):
    (tmp_path/'settings.ini').write_text(f'[{section}]\nepochs = 2\n')
    with refused('settings.ini', f"unknown section '{section}'"): read_settings()

@pytest.mark.parametrize('section, nearest', [('resnet', 'resnet18'), ('liner', 'linear'), ('Fast_recipes', 'fastrecipes'), ('logistics', 'logistic')])
def test_beside_a_section_of_ours_more_is_taken_for_a_mistake(ini, section, nearest):
    ini(f'[{section}]', 'epochs = 2')
    with refused('settings.ini', f"unknown section '{section}': did you mean '{nearest}'?"): read_settings()

def test_sections_of_other_programs_are_ignored(ini):
    nbdev = ['[DEFAULT]', 'lib_name = mine', 'seed = 3', 'version = 0.0.1', 'epochs = 9']
    f = ini('seed = 4', '[mlp]', 'epochs = 2', '[flake8]', 'max-line-length = 160', '[mypy]', '[metadata]', 'name = mine', '[nn]', 'x = 1', *nbdev)
    assert read_settings(f) == {'fastrecipes': {'seed': 4}, 'mlp': {'epochs': 2}}

def test_a_file_without_any_section_of_ours_has_no_settings(ini):
    assert read_settings(ini('lib_name = mine', 'seed = 3', head='[DEFAULT]')) == {}

def test_a_source_beside_the_file_is_found_from_a_folder_below(ini, image_folder, monkeypatch):
    at = image_folder({'a': 4, 'b': 4})
    (at.parent/'settings.ini').write_text('[fastrecipes]\nsource = set\n')
    (at.parent/'deep/er').mkdir(parents=True)
    monkeypatch.chdir(at.parent/'deep/er')
    assert Path(global_settings(read_settings())['source']) == at
    monkeypatch.chdir(at.parent)
    assert global_settings(read_settings())['source'] == 'set'
