"""settings.ini: found, checked, and heeded"""
import os
from pathlib import Path
import pytest
from conftest import refused
from fastrecipes.images import InputError
from fastrecipes.recipes import find_settings, fit, global_settings, read_settings, recipes, settings_text

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

def test_values_are_text_as_it_stands(ini):
    assert read_settings(ini('source = 100% of/it', '[sgd]', 'lr : 2 ')) == {'fastrecipes': {'source': '100% of/it'}, 'sgd': {'lr': '2'}}


@pytest.mark.parametrize('lines, where, wanted', [
    (['[mpl]'], '', "unknown section 'mpl': did you mean 'mlp'?"),
    (['[nn]', 'x = 1'], '', "unknown section 'nn': there are fastrecipes, similarity"),
    (['[mlp]', 'epoch = 3'], ' [mlp]', "unknown setting 'epoch': did you mean 'epochs'?"),
    (['[similarity]', 'bs = 3'], ' [similarity]', "unknown setting 'bs': there are distance"),
    (['sed = 1'], ' [fastrecipes]', "unknown setting 'sed': did you mean 'seed'?")])
def test_an_unknown_section_or_name_is_refused_with_the_file_and_the_nearest(ini, lines, where, wanted):
    f = ini(*lines)
    for read in (read_settings, lambda: fit('similarity')): assert refusal(read).startswith(f'{f}{where}: {wanted}')

@pytest.mark.parametrize('text', [b'seed = 1\nseed = 2\n', b'[fastrecipes]\n', b'seed\n', b'[sgd\n', b'source = \xff\xfe\n'])
def test_a_malformed_file_is_refused_in_one_line_that_names_it(tmp_path, text):
    f = tmp_path/'settings.ini'
    f.write_bytes(b'[fastrecipes]\n' + text)
    for read in (read_settings, lambda: fit('similarity')): assert refusal(read).startswith(f'{f}: cannot be read (')

@pytest.mark.parametrize('line, wanted', [
    ('bs = many', "settings.ini [fastrecipes]: bs='many' is not a whole number, 1 or more (or auto)"),
    ('seed = -1', "settings.ini [fastrecipes]: seed='-1' is not a whole number, 0 or more"), ('device = tpu', "unknown device 'tpu'"),
    ('source = digit', "unknown source 'digit': did you mean 'digits'?"),
    ('[sgd]\nlr = 0', "settings.ini [sgd]: lr='0' is not a number above 0")])
def test_a_value_that_cannot_be_is_refused_before_anything_is_fitted(ini, line, wanted):
    ini(line)
    assert refusal(lambda: fit('sgd', on_epoch=lambda row: pytest.fail('it was fitted'))).startswith(wanted)


def test_fit_heeds_the_settings_above_and_an_argument_overrules_them(ini, image_folder, tmp_path):
    pictures = image_folder({'dark': 6, 'light': 6})
    ini(f'source = {pictures}', 'seed = 5', 'device = cpu', 'bs = 4', '[linear]', 'epochs = 2', 'lr = 0.5')
    (tmp_path/'a/b').mkdir(parents=True)
    os.chdir(tmp_path/'a/b')
    f = fit('linear')
    assert f.classes == ('dark', 'light') and (f.seed, str(f.device), len(f.history)) == (5, 'cpu', 2)
    assert {n: f.settings[n] for n in ('epochs', 'lr', 'bs')} == dict(epochs=2, lr=.5, bs=4)
    g = fit('linear', 'digits', seed=1, epochs='1', bs=64)
    assert {n for n, v in g.settings.items() if v != f.settings[n]} == {'epochs', 'bs'} and (g.settings['epochs'], g.settings['bs']) == (1, 64)
    assert (g.seed, len(g.classes), len(g.history)) == (1, 10, 1)
    os.chdir('/')
    assert fit('linear', pictures, seed=5, device='cpu', epochs=2, lr=.5, bs=4).scores.equal(f.scores)

@pytest.mark.parametrize('section', ['mpl', 'MLP', 'Fastrecipes', 'simplenet_', 'lienar'])
def test_a_section_that_is_nearly_ours_is_refused(ini, tmp_path, monkeypatch, section):
    f = tmp_path/'settings.ini'
    f.write_text(f'[{section}]\nepochs = 2\n')
    monkeypatch.chdir(tmp_path)
    with refused('settings.ini', f"unknown section '{section}'"): read_settings()

def test_a_source_beside_the_file_is_found_from_a_folder_below(ini, image_folder, monkeypatch):
    at = image_folder({'a': 4, 'b': 4})
    (at.parent/'settings.ini').write_text('[fastrecipes]\nsource = set\n')
    (at.parent/'deep/er').mkdir(parents=True)
    monkeypatch.chdir(at.parent/'deep/er')
    assert Path(global_settings()['source']) == at
    monkeypatch.chdir(at.parent)
    assert global_settings()['source'] == 'set'
