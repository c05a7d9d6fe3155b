"""Every command in an environment that has what the README's first command installs and nothing else

FASTRECIPES_PLAIN names that environment's folder of commands, such as .venv/bin; `.ci/run` makes one. The browser for
the explorers belongs to the environment that runs these tests. There is no network, the home is empty, and the folder
is outside the checkout."""
import os, subprocess
from pathlib import Path
import pytest
from conftest import once
from pages import after, served

BIN = os.environ.get('FASTRECIPES_PLAIN') and Path(os.environ['FASTRECIPES_PLAIN']).resolve()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BIN,
        reason='FASTRECIPES_PLAIN does not name the commands of an environment of the first command of the README'),
]
ABSENT = 'pytest nbdev jupyterlab onnx tensorboard accelerate graphviz playwright'.split() # Only in extras


@pytest.fixture(scope='session')
def work(tmp_path_factory):
    "A folder with an empty home, small images by class, a comparison and a model"
    def make(folder):
        import numpy as np
        from PIL import Image
        from sklearn.datasets import load_digits
        (folder/'home').mkdir()
        digits = load_digits()
        for i, (image, digit) in enumerate(zip(digits.images, digits.target)):
            if digit in (3, 7):
                (folder/'images'/str(digit)).mkdir(parents=True, exist_ok=True)
                Image.fromarray((image * 15).astype(np.uint8)).save(folder/'images'/str(digit)/f'{i}.png')
        done(folder, 'compare', 'images', '--recipes', 'similarity,linear,mlp', '--out', 'compared')
        done(folder, 'fit', 'mlp', 'images', '--out', 'model')
    return once(tmp_path_factory, 'plain', make)

def environ(folder):
    "The variables of this environment that are not about Python or its threads, and another home"
    about_python = 'PYTHON', 'FAST', 'VIRTUAL_ENV', 'JUPYTER', 'IPYTHON', 'OMP_'
    kept = {k: v for k, v in os.environ.items() if not k.startswith(about_python)}
    return kept | dict(HOME=str(folder/'home'), PATH=f'{BIN}{os.pathsep}/usr/bin{os.pathsep}/bin', MPLBACKEND='agg')

def run(folder, *args):
    return subprocess.run([BIN/'fastrecipes', *args], cwd=folder, env=environ(folder), capture_output=True, text=True,
                          timeout=600)

def done(folder, *args):
    "What a command prints; it must succeed"
    r = run(folder, *args)
    assert r.returncode == 0 and 'Traceback' not in r.stderr and 'Warning' not in r.stderr, r.stdout + r.stderr
    return r.stdout


@pytest.mark.parametrize('module', ABSENT)
def test_the_environment_is_a_plain_one(work, module):
    r = subprocess.run([BIN/'python', '-c', f'import {module}'], cwd=work, env=environ(work), capture_output=True,
                       text=True)
    assert r.returncode == 1 and 'ModuleNotFoundError' in r.stderr, f'{module} is there'

def test_compare_and_fit_keep_what_they_are_asked_for(work):
    assert (work/'compared/comparison.json').is_file()
    assert (work/'compared/report.html').is_file() and (work/'model/card.json').is_file()

def test_predict_names_a_class_for_every_image(work):
    said = done(work, 'predict', 'model', 'images/7')
    assert said.count('.png') == len(list((work/'images/7').iterdir()))

def test_check_finds_the_images_healthy(work): assert '3' in done(work, 'check', 'images')

def test_cache_shows_what_is_kept(work): assert done(work, 'cache').strip()

def test_report_makes_the_page_again(work):
    done(work, 'report', 'compared', '--out', 'page')
    assert list((work/'page').glob('*.html'))

def test_list_names_the_recipes(work): assert 'resnet18' in done(work, 'list')

@pytest.mark.parametrize('args, package', [
    (['export', 'model', '--onnx', 'model.onnx'], 'onnx'),
    (['compare', 'images', '--recipes', 'similarity', '--out', 'tracked', '--track', 'tensorboard'], 'tensorboard'),
], ids=['export', 'track'])
def test_what_needs_an_extra_says_so_in_one_line(work, args, package):
    r = run(work, *args)
    said = [line for line in r.stderr.splitlines() if line.startswith('fastrecipes: ')]
    assert r.returncode == 2 and r.stdout == '' and 'Traceback' not in r.stderr and len(said) == 1, r.stdout + r.stderr
    assert 'pip install' in said[0] and package in said[0]

def test_several_processes_need_nothing_but_torchrun(work):
    command = [BIN/'torchrun', '--nproc-per-node', '2', '--no-python', 'fastrecipes', 'fit', 'linear', 'images']
    r = subprocess.run(command, cwd=work, env=environ(work), capture_output=True, text=True, timeout=600)
    assert r.returncode == 0 and 'Traceback' not in r.stderr, r.stdout + r.stderr
    assert r.stdout.count('linear:') == 1 and r.stderr.count('epoch') == 1 # One of the processes speaks


@pytest.fixture(scope='module')
def plain_app(work):
    "The explorers, served by the plain environment"
    with served([BIN/'fastrecipes', 'explore', '--port', '0', '--no-browser'], cwd=work, env=environ(work)) as it:
        yield it

def test_a_slider_of_the_explorers_moves_the_picture(plain_app):
    with plain_app.page('quadratic') as page:
        slider = page.get_by_role('slider', name='a', exact=True)
        before = float(slider.get_attribute('aria-valuetext'))
        after(page, lambda: slider.press('ArrowRight'))
        assert float(slider.get_attribute('aria-valuetext')) > before

def test_every_explorer_opens(plain_app):
    with plain_app.page('quadratic') as page:
        for name, shown in (('relus', 'img.fr-picture'), ('surface', 'img.fr-picture'), ('network', 'img.fr-picture'),
                            ('training', 'img.fr-picture'), ('drawing', 'canvas')):
            page.locator(f'.fr-to-{name}').click()
            page.locator(f'.fr-to-{name}.fr-here').wait_for()
            page.locator(shown).first.wait_for(timeout=90_000)
