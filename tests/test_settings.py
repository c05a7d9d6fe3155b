"""settings.ini: found, checked, and heeded by the command; and what Python passes instead"""
from pathlib import Path
import pytest
from conftest import refused
from fastrecipes.errors import InputError
from fastrecipes.ladder.recipe import fit, get_recipe
from fastrecipes.ladder.settings import find_settings, global_settings, read_settings, recipes, settings_text
from fastrecipes.reporter import Reporter
from reporters import Untrained

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
    wanted = {'fastrecipes': {'source': '100% of/it', 'seed': 3}, 'sgd': {'lr': 2., 'bs': None},
              'mlp': {'hidden': (8, 8), 'best': False}}
    assert read_settings(ini('source = 100% of/it', 'seed = 3', '[sgd]', 'lr : 2 ', 'bs = auto', '[mlp]',
                             'hidden = 8,8', 'best = no')) == wanted


@pytest.mark.parametrize('lines, where, words', [
    (['[mpl]'], '', ["'mpl'", "'mlp'"]),
    (['[mlp]', 'epoch = 3'], ' [mlp]', ["'epoch'", "'epochs'"]),
    (['[similarity]', 'bs = 3'], ' [similarity]', ["'bs'", 'distance']),
    (['sed = 1'], ' [fastrecipes]', ["'sed'", "'seed'"]),
])
def test_an_unknown_section_or_name_is_refused_with_the_file_and_the_nearest(ini, lines, where, words):
    f = ini(*lines)
    with refused(f'{f}{where}: unknown', *words): read_settings()

@pytest.mark.parametrize('text', [
    b'seed = 1\nseed = 2\n', b'[fastrecipes]\n', b'seed\n', b'[sgd\n', b'source = \xff\xfe\n',
])
def test_a_malformed_file_is_refused_in_one_line_that_names_it(tmp_path, text):
    f = tmp_path/'settings.ini'
    f.write_bytes(b'[fastrecipes]\n' + text)
    assert refusal(read_settings).startswith(f'{f}: cannot be read (')

@pytest.mark.parametrize('line, section, words', [
    ('bs = many', 'fastrecipes', ["bs='many'", 'auto']),
    ('seed = -1', 'fastrecipes', ["seed='-1'"]),
    ('device = tpu', 'fastrecipes', ["device='tpu'", 'cpu']),
    ('source = digit', 'fastrecipes', ["'digit'", "'digits'"]),
    ('source = no/such', 'fastrecipes', ['no/such']),
    ('[sgd]\nlr = 0', 'sgd', ["lr='0'"]),
])
def test_a_bad_value_names_its_file_and_section_before_anything_is_fitted(ini, line, section, words):
    f = ini(line)
    with refused(f'{f} [{section}]: ', *words): fit('linear', settings=read_settings(f), reporter=Untrained())

@pytest.fixture
def loud(ini, image_folder, tmp_path, monkeypatch):
    "The current folder is below one with a settings.ini that changes everything"
    pictures = image_folder({'dark': 6, 'light': 6})
    file = ini(f'source = {pictures}', 'seed = 5', 'device = cpu', 'threads = 2', 'bs = 4', '[linear]', 'epochs = 2',
               'lr = 0.5', '[similarity]', 'distance = l1')
    (tmp_path/'a/b').mkdir(parents=True)
    monkeypatch.chdir(tmp_path/'a/b')
    return file

def test_fit_depends_on_its_arguments_alone(loud):
    f = fit('linear', epochs=1, device='cpu')
    assert (len(f.classes), f.seed, f.settings['bs']) == (10, 42, 32)
    assert get_recipe('linear').resolve({})['epochs'] == 20
    assert global_settings() == dict(source='digits', seed=42, device='auto', threads='auto')

@pytest.fixture
def kept_ladder():
    "Make a `KeptLadder` that trains nothing that takes long, and stop it"
    from fastrecipes.explore.kept_ladder import KeptLadder
    made = []
    def make(*args, **kwargs):
        made.append(KeptLadder('digits', ['similarity'], *args, **kwargs))
        return made[-1]
    yield make
    for ladder in made: ladder.stop()

def test_no_other_function_reads_the_file_either(loud, monkeypatch, kept_ladder):
    from fastrecipes.answer.climb import compare
    from fastrecipes.answer.curves import learning_curve
    from fastrecipes.ladder import settings as settings_room
    monkeypatch.setattr(settings_room, 'find_settings', lambda *args: pytest.fail('it looked for a settings.ini'))
    monkeypatch.setattr(settings_room, '_parse_ini', lambda *args: pytest.fail('it read a settings.ini'))
    c = compare(names='similarity', device='cpu', curve='similarity', fractions=(.5, 1))
    assert (c.seed, c.source, c['similarity'].settings) == (42, 'digits', {'distance': 'l2'})
    assert learning_curve('digits', 'similarity', (.5, 1), device='cpu').seed == 42
    ladder = kept_ladder()
    assert (ladder.seed, ladder.settings['similarity']) == (42, {'distance': 'l2'})

def test_settings_that_were_read_are_heeded_and_an_argument_overrules_them(loud):
    settings = read_settings()
    f = fit('linear', settings=settings)
    assert f.classes == ('dark', 'light') and (f.seed, str(f.device), len(f.history)) == (5, 'cpu', 2)
    assert {n: f.settings[n] for n in ('epochs', 'lr', 'bs')} == dict(epochs=2, lr=.5, bs=4)
    g = fit('linear', 'digits', seed=1, epochs='1', bs=64, settings=settings)
    assert {n for n, v in g.settings.items() if v != f.settings[n]} == {'epochs', 'bs'}
    assert (g.settings['epochs'], g.settings['bs']) == (1, 64)
    assert (g.seed, len(g.classes), len(g.history)) == (1, 10, 1)
    pictures = settings['fastrecipes']['source']
    assert fit('linear', pictures, seed=5, device='cpu', epochs=2, lr=.5, bs=4).scores.equal(f.scores)

class Threads(Reporter):
    "Keeps the number of threads of each fit"
    def __init__(self): self.seen = []
    def finished(self, result=None):
        if result is not None: self.seen.append(result.threads)

def test_all_functions_take_the_same_settings(loud, kept_ladder):
    from fastrecipes.answer.climb import compare
    from fastrecipes.answer.curves import learning_curve
    settings = read_settings(loud)
    plain = {section: dict(values) for section, values in settings.items() if section in ('fastrecipes', 'linear')}
    for given in (settings, plain):
        c = compare(names='linear', settings=given)
        rung = c['linear']
        assert c.seed == 5 and c.classes == ('dark', 'light')
        assert (rung.settings['bs'], len(rung.history), rung.threads) == (4, 2, 2)
        threads = Threads()
        assert learning_curve(None, 'linear', (1,), settings=given, reporter=threads).seed == 5 and threads.seen == [2]
    assert (kept_ladder(settings).seed, kept_ladder(settings, seed=1).seed) == (5, 1)

@pytest.mark.parametrize('settings, words', [
    ({'mpl': {}}, ['settings: ', "'mpl'", "'mlp'"]),
    ({'mlp': {'epoch': 3}}, ['mlp: ', "'epoch'"]),
    ({'mlp': {'epochs': 'x'}}, ["mlp: epochs='x'"]),
    ({'fastrecipes': {'seed': -1}}, ['fastrecipes: seed=-1']),
    ({'mlp': 3}, ['mlp: ', 'dict']),
])
def test_settings_of_python_are_checked_as_those_of_a_file(settings, words):
    with refused(*words): fit('similarity', settings=settings)


@pytest.mark.parametrize('section', ['mpl', 'MLP', 'Fastrecipes', 'simplenet_', 'lienar'])
def test_a_section_that_is_nearly_ours_is_refused(tmp_path, section):
    (tmp_path/'settings.ini').write_text(f'[{section}]\nepochs = 2\n')
    with refused('settings.ini', repr(section)): read_settings()

@pytest.mark.parametrize('section, nearest', [
    ('resnet', 'resnet18'), ('liner', 'linear'), ('Fast_recipes', 'fastrecipes'), ('logistics', 'logistic'),
])
def test_beside_a_section_of_ours_more_is_taken_for_a_mistake(ini, section, nearest):
    ini(f'[{section}]', 'epochs = 2')
    with refused('settings.ini', repr(section), repr(nearest)): read_settings()

def test_sections_of_other_programs_are_ignored(ini):
    nbdev = ['[DEFAULT]', 'lib_name = mine', 'seed = 3', 'version = 0.0.1', 'epochs = 9']
    f = ini('seed = 4', '[mlp]', 'epochs = 2', '[flake8]', 'max-line-length = 160', '[mypy]', '[metadata]',
            'name = mine', '[isort]', 'x = 1', *nbdev)
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

def test_a_table_beside_the_file_is_found_from_a_folder_below(tmp_path, monkeypatch):
    (tmp_path/'labels.csv').write_text('path,label\n')
    (tmp_path/'settings.ini').write_text('[fastrecipes]\nsource = labels.csv\n')
    (tmp_path/'below').mkdir()
    monkeypatch.chdir(tmp_path/'below')
    assert global_settings(read_settings())['source'] == str(tmp_path/'labels.csv')

def test_a_named_source_is_meant_even_if_a_folder_beside_the_file_has_its_name(tmp_path, monkeypatch):
    (tmp_path/'settings.ini').write_text('[fastrecipes]\nsource = digits\n')
    for below in ('digits', 'deep'): (tmp_path/below).mkdir()
    monkeypatch.chdir(tmp_path/'deep')
    assert read_settings()['fastrecipes']['source'] == 'digits'
