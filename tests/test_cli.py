"The command as users have it: installed from a wheel, run as a process, outside the checkout"
import csv, json, os, re, shlex, shutil, signal, subprocess, sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen
import pytest
from conftest import REPO, needs_posix, once
from strikes import KILL

FAST = 'similarity,sgd,linear'
VERBS = ['compare', 'fit', 'report', 'list', 'check', 'cache', 'predict', 'export', 'explore']
KEPT = ['comparison.csv', 'comparison.json', 'comparison.png', 'figures', 'report.html', 'rungs']
MODEL = ['card.json', 'history.png', 'model.safetensors']


@pytest.fixture(scope='session')
def installed(tmp_path_factory):
    "A folder with the package installed from a wheel that was built from a copy of the sources"
    def make(site):
        src, dist = (tmp_path_factory.mktemp(n) for n in ('src', 'dist'))
        for f in ('pyproject.toml', 'README.md', 'LICENSE'): shutil.copy(REPO/f, src)
        shutil.copytree(REPO/'fastrecipes', src/'fastrecipes', ignore=shutil.ignore_patterns('__pycache__'))
        pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check']
        subprocess.run([*pip, 'wheel', '--no-deps', '--no-build-isolation', '-w', dist, src], check=True)
        subprocess.run([*pip, 'install', '--no-deps', '--target', site, next(dist.glob('*.whl'))], check=True)
    return once(tmp_path_factory, 'site', make)


@pytest.fixture
def env(installed):
    "One thread, as in this process: with more threads, sums differ in their last bits"
    return os.environ | {'PYTHONPATH': str(installed), 'COLUMNS': '100', 'OMP_NUM_THREADS': '1'}

@pytest.fixture
def run(installed, env, tmp_path):
    "Run the installed console script; returns the finished process"
    def call(*args, **kwargs):
        command = [sys.executable, installed/'bin/fastrecipes', *map(str, args)]
        how = {'text': True, **kwargs, 'env': env | kwargs.get('env', {})}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=300, **how)
    return call


def called(*args, stdin=b''):
    "The command in this process, which saves the seconds that a new one needs to import torch"
    from fastrecipes.cli import main
    out, err, was = StringIO(), StringIO(), sys.stdin
    sys.stdin = SimpleNamespace(buffer=BytesIO(stdin))
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as e: main(list(map(str, args)))
    finally: sys.stdin = was
    return SimpleNamespace(returncode=e.value.code, stdout=out.getvalue(), stderr=err.getvalue())


def struck(folder, *args, until=None, sent=signal.SIGINT, after=0, strike=None):
    "The command in a process that gets a signal: see struck.py; `strike` is recipe, epoch, and 'fit' or 'repeat'"
    needs_posix()
    how = json.dumps([list(map(str, args)), strike, until, sent, after])
    env = os.environ | {'OMP_NUM_THREADS': '1'}
    command = [sys.executable, REPO/'tests'/'struck.py', how]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def refused(r, *words):
    "The process ended with status 2 and one line on standard error that has all the words"
    assert r.returncode == 2, (r.returncode, r.stdout, r.stderr)
    assert r.stdout == '' and 'Traceback' not in r.stderr
    lines = r.stderr.strip().splitlines()
    assert [l for l in lines if l.startswith('fastrecipes: ')] == lines[-1:]
    for w in words: assert w in lines[-1], f"{w!r} is not in {lines[-1]!r}"


def printed_settings(text):
    "The settings that `fit` prints, by name"
    line = ' '.join(text.split('settings: ')[1].split())
    return dict(pair.split('=') for pair in line.split(', '))


def test_the_installed_package_is_the_one_that_runs(installed, env, tmp_path):
    out = subprocess.run([sys.executable, '-c', 'import fastrecipes; print(fastrecipes.__file__)'], cwd=tmp_path,
                         env=env, capture_output=True, text=True, check=True).stdout
    assert out.startswith(str(installed))


def test_compare_prints_one_table_with_a_row_per_rung(run):
    r = run('compare', '--recipes', FAST)
    assert r.returncode == 0, r.stderr
    head, *rows = r.stdout.splitlines()
    assert all(h in head for h in ('accuracy', '95% interval', 'gain', 'vs rung below', 'seconds'))
    assert [row.split()[0] for row in rows[:3]] == FAST.split(',')
    assert '\n\nStop at ' in r.stdout and '--costs' in rows[-1]
    assert [line.split()[0] for line in r.stderr.splitlines()] == ['digits:'] # The table is printed once
    assert not re.search('[\x1b\r]', r.stdout + r.stderr)
    assert max(map(len, r.stdout.splitlines())) <= 80 # COLUMNS does not count, because this is not a terminal


def test_json_is_one_object_and_nothing_else():
    r = called('compare', '--classes', '3,7', '-r', FAST, '--json', '--seed', 1, '--device', 'cpu')
    d = json.loads(r.stdout)
    assert r.stdout.count('\n') == 1
    assert d['schema_version'] == 3
    assert (d['source'], d['classes'], d['device'], d['seed']) == ('digits', ['3', '7'], 'cpu', 1)
    assert 'pictures' not in d
    assert [g['recipe'] for g in d['rungs']] == FAST.split(',')
    assert d['command'] == f'fastrecipes compare --classes 3,7 -r {FAST} --json --seed 1 --device cpu'
    similarity, sgd, _ = d['rungs']
    assert similarity['loss'] is None and similarity['against'] is None and similarity['settings'] == {'distance': 'l2'}
    assert sgd['against']['gain_points'] == pytest.approx(100 * (sgd['accuracy'] - similarity['accuracy']))
    assert sgd['cost']['parameters'] == 65


def test_out_writes_page_table_json_and_pictures(run, tmp_path):
    args = 'compare', '-r', 'similarity,sgd', '--out', 'runs/first', '--quiet'
    r = run(*args)
    assert r.returncode == 0 and r.stderr == ''
    folder = tmp_path/'runs/first'
    assert sorted(p.name for p in folder.iterdir()) == KEPT
    with open(folder/'comparison.csv') as f:
        assert [row['recipe'] for row in csv.DictReader(f)] == ['similarity', 'sgd']
    d = json.loads((folder/'comparison.json').read_text())
    assert len(d['rungs']) == 2
    assert d['pictures']
    assert shlex.split(d['command']) == ['fastrecipes', *args]
    assert '<html' in (folder/'report.html').read_text()
    assert (folder/'comparison.png').read_bytes().startswith(b'\x89PNG')


def test_the_same_seed_gives_the_same_numbers(run):
    a, b = (json.loads(r('compare', '-r', 'sgd', '--json').stdout)['rungs'][0] for r in (run, called))
    assert (a['accuracy'], a['loss']) == (b['accuracy'], b['loss'])


def test_fit_prints_its_epochs_and_a_result():
    r = called('fit', 'mlp', 'digits', '--epochs', 3, '--hidden', '16,8', '--batch-size', 64)
    assert r.returncode == 0, r.stderr
    assert r.stdout.startswith('mlp: ')
    assert printed_settings(r.stdout) == {
        'epochs': '3', 'lr': '0.01', 'bs': '64', 'schedule': 'one-cycle', 'wd': '0.01', 'hidden': '16,8',
        'activation': 'relu'}
    assert '% of 360 validation images' in r.stdout
    epochs = [line.split() for line in r.stderr.splitlines() if re.match(r' +\d', line)]
    assert [e[0] for e in epochs] == ['1', '2', '3'] and all(len(e) == 5 for e in epochs)


def test_a_switch_is_a_flag():
    refused(called('fit', 'resnet18', '--pretrained', '--epochs', 'x'), 'epochs') # --pretrained needs no argument
    assert '--pretrained / --no-pretrained' in called('fit', 'resnet18', '--help').stdout


def test_fit_takes_a_folder(image_folder):
    r = called('fit', 'similarity', image_folder({'dark': 5, 'light': 5}), '--valid', '0.4')
    assert r.returncode == 0 and '6 train, 4 valid' in r.stderr
    assert '100.00% of 4 validation images' in r.stdout


def test_settings_ini_is_found_and_overruled(tmp_path):
    (tmp_path/'settings.ini').write_text('[fastrecipes]\nseed = 7\n[sgd]\nepochs = 2\nlr = 0.5\n')
    r = called('fit', 'sgd', '--lr', '0.25', '-q')
    assert 'settings: epochs=2, lr=0.25,' in r.stdout


def test_it_runs_as_a_module(env, tmp_path):
    r = subprocess.run([sys.executable, '-m', 'fastrecipes', '--version'], cwd=tmp_path, env=env, capture_output=True,
                       text=True)
    assert re.fullmatch(r'fastrecipes \d+\.\d+\.\d+\n', r.stdout)

def test_a_bug_report_names_versions_and_the_kind_of_computer():
    import platform
    from importlib.metadata import version
    for args in (['--version', '--json'], ['--json', '--version']):
        out = called(*args).stdout
        about = json.loads(out)
        assert about['versions']['torch'] == version('torch')
        assert about['versions']['python'] == platform.python_version()
        assert about.keys() == {'versions', 'system', 'devices', 'cores'}
        assert set(about['devices']) <= {'cpu', 'cuda', 'mps'}
        assert len(platform.node()) < 4 or platform.node() not in out

@pytest.mark.parametrize('args', [['--json'], ['--json', 'list']])
def test_json_before_a_command_is_refused(args): assert called(*args).returncode == 2


# What needs no torch must not wait for it

def test_list_and_help_do_not_import_torch(env, tmp_path):
    code = """
import sys
from fastrecipes.cli import main
try: main(sys.argv[1:])
except SystemExit: pass
heavy = 'torch fastai fastcore numpy pandas sklearn PIL matplotlib psutil asyncio rich'.split()
print('heavy:', [m for m in heavy if m in sys.modules])"""
    for args in (['--help'], ['--version', '--json'], ['list'], ['list', '--ini'], ['list', 'mlp'], ['list', 'mpl'],
                 ['compare', '--help'], ['fit', 'resnet18', '--help'], *([v, '--help'] for v in VERBS),
                 ['fit', 'mlp', '--lr', 'x'], ['predict', 'm', 'a.png', '--top', '0'], ['cache'],
                 ['compare', '--resume'], ['compare', '--track', 'tensorboard'], ['compare', '--repeats', '0'],
                 ['compare', '--worth', '0'], ['compare', '--learning-curve', 'mpl'], ['compare', '-r', 'mpl'],
                 ['compare', 'digts'], ['report', 'a', 'b']):
        out = subprocess.run([sys.executable, '-c', code, *args], cwd=tmp_path, env=env, capture_output=True,
                             text=True, check=True).stdout
        assert out.strip().endswith('heavy: []'), args


def test_list_has_a_line_for_each_recipe_and_source(run):
    out = run('list').stdout
    names = re.findall(r'^  (\w+) +\S', out, re.M)
    assert names == ['majority', 'similarity', 'sgd', 'linear', 'simple_net', 'mlp', 'convnet', 'resnet18', 'frozen',
                     'finetune', 'knn', 'logistic', 'digits', 'mnist_sample', 'mnist', 'FOLDER', 'TABLE']
    titles = re.findall(r'^(\w.*):$', out, re.M)
    assert len(titles) == 3 and out.index('finetune') < out.index(titles[1]) < out.index('  logistic ')
    assert max(map(len, out.splitlines())) <= 80


def test_list_of_a_recipe_has_a_line_for_each_setting_with_its_default():
    from fastrecipes.ladder.settings import recipes
    for name, r in recipes.items():
        out = called('list', name).stdout
        table = out.partition('meaning\n')[2].split('\n\n')[0]
        shown = re.findall(r'^(\w+) +(\S+) +\S', table, re.M)
        assert shown == [(s.name, s.default_text) for s in r.settings.values()]
        assert max(map(len, out.splitlines())) <= 80
    assert called('list', 'digits').stdout.startswith('digits: 1,797 ')
    refused(called('list', 'convent'), "did you mean 'convnet'")
    refused(called('list', 'mnist_smaple'), "did you mean 'mnist_sample'")


def test_list_ini_is_the_settings_file_of_the_repository(run):
    assert run('list', '--ini').stdout == (REPO/'settings.ini').read_text()


def test_help_of_a_recipe_tells_each_setting_with_its_default(run):
    out = run('fit', 'simple_net', '--help').stdout
    assert re.search(r'--hidden VALUE +\w+[^-]*\[default: 30\]', out)
    assert '--batch-size' in out and '[default: auto]' in out


def test_no_arguments_print_the_help(run):
    r = run()
    assert r.returncode == 0 and 'Usage: fastrecipes' in r.stdout


# One line, status 2, nothing left behind

@pytest.mark.parametrize('args, words', [
    (['compare', 'digts'], ['digts', "did you mean 'digits'", 'mnist_sample']),
    (['compare', './nowhere'], ['nowhere', 'no such folder']),
    (['compare', '--recipes', 'sgd,linaer'], ['linaer', "did you mean 'linear'"]),
    (['compare', '--recipes', ','], ['no recipe']),
    (['compare', '--classes', '3'], ['one class only']),
    (['compare', '--classes', '3', '--out', 'runs/a/b'], ['one class only']),
    (['compare', '--classes', '3,x'], ['unknown class', 'x']),
    (['compare', '--valid', '0.3'], ['digits', 'fixed split']),
    (['compare', '--seed', 'lucky'], ['seed', 'lucky', 'whole number']),
    (['compare', '--device', 'tpu'], ['tpu', 'auto, cuda']),
    (['compare', '--resume'], ['--resume', '--out DIR']),
    (['compare', '--track', 'tensorboard'], ['--track', '--out DIR']),
    (['compare', '--track', 'paper', '-o', 'runs'], ['--track', 'tensorboard']),
    (['compare', '--repeats', '0'], ['--repeats 0', '1 or more']),
    (['compare', '--repeats', '1.5'], ['--repeats 1.5']),
    (['compare', '--worth', '0'], ['--worth 0', 'points', '100']),
    (['compare', '--worth', '101'], ['--worth 101']),
    (['compare', '--minutes', '0'], ['--minutes 0']),
    (['compare', '--minutes', '5', '--all'], ['--all', '--minutes']),
    (['compare', '--worth', 'nan', '-o', 'runs'], ['--worth nan']),
    (['compare', '--learning-curve', 'sgd,mpl'], ['mpl', "did you mean 'mlp'"]),
    (['compare', '-r', 'sgd', '--learning-curve', 'mlp', '-o', 'runs'],
     ['learning curve', 'mlp', 'not among the recipes']),
    (['report', 'a', 'b'], ['--out DIR']),
    (['report'], ['DIR', '`fastrecipes report --help`']),
    (['fit', 'mpl'], ['mpl', "did you mean 'mlp'"]),
    (['fit', 'mlp', '--epoch', '3'], ['--epoch', '`fastrecipes fit mlp --help`']),
    (['fit', 'mlp', '--epochs', '0'], ['epochs', '0', '1 or more']),
    (['fit', 'mlp', '--lr', 'fast'], ['lr', 'fast', 'a number above 0']),
    (['fit', 'mlp', '--dropout', '1'], ['dropout', 'below 1']),
    (['fit', 'similarity', '--distance', 'cosine'], ['distance', 'cosine', 'l1, l2']),
    (['comapre'], ['comapre', "did you mean 'compare'"]),
    (['--jsn'], ['--jsn', '`fastrecipes --help`']),
    (['--json'], ['`fastrecipes --help`']),
], ids=lambda a: ' '.join(a))
def test_a_wrong_word_gets_one_line(tmp_path, args, words):
    refused(called(*args), *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('counts, words', [
    ({}, ['the folder is empty']),
    ({'only': 3}, ['one class only', 'only']),
    ({'a': 3, 'b': 0}, ['b', 'no images']),
    ({'train/a': 2, 'train/b': 2, 'valid/a': 2, 'valid/c': 2}, ['c', 'training classes']),
], ids=['empty', 'one class', 'class without images', 'class in valid only'])
def test_a_folder_that_cannot_serve_gets_one_line(image_folder, counts, words):
    refused(called('compare', image_folder(counts)), *words)


def test_a_folder_without_images_gets_one_line(tmp_path):
    for c in 'ab':
        (tmp_path/'texts'/c).mkdir(parents=True)
        (tmp_path/'texts'/c/'note.txt').write_text('not an image')
    refused(called('compare', 'texts'), 'texts/a, texts/b: ', '.txt', '.png')


def test_a_damaged_image_is_named(image_folder):
    folder = image_folder({'a': 3, 'b': 3})
    whole = (folder/'b/1.png').read_bytes()
    (folder/'b/1.png').write_bytes(whole[:len(whole) // 2])
    refused(called('compare', folder), '1 unreadable image', '1.png', '--skip-bad')


def test_a_gpu_that_is_not_there_gets_one_line():
    import torch
    if torch.cuda.is_available(): pytest.skip('this machine has a CUDA device')
    refused(called('compare', '--device', 'cuda'), "'cuda'", 'cpu')


def test_a_place_that_cannot_be_written_is_found_out_before_training(tmp_path):
    (tmp_path/'file').write_text('in the way')
    r = called('compare', '--out', 'file/runs')
    refused(r, 'file/runs: ')
    assert 'accuracy' not in r.stderr


def test_an_unknown_name_in_settings_ini_gets_one_line(tmp_path):
    (tmp_path/'settings.ini').write_text('[fastrecipes]\n[mlp]\nepoch = 3\n')
    refused(called('compare'), 'settings.ini [mlp]', "did you mean 'epochs'")


def test_mnist_sample_without_network_or_copy_names_a_source_that_works(run, tmp_path):
    r = run('compare', 'mnist_sample', env={'FASTAI_HOME': str(tmp_path/'empty')}, text=False)
    assert r.returncode == 2 and r.stdout == b'' and b'\r' not in r.stderr and r.stderr.count(b'\n') == 1, r.stderr
    for word in (b'fastrecipes: mnist_sample: ', b'https://', b'digits'):
        assert word in r.stderr


def test_a_part_of_mnist_sample_is_not_taken_for_the_whole(run, image_folder, tmp_path):
    image_folder({f'{s}/{c}': 2 for s in ('train', 'valid') for c in '37'}, name='home/data/mnist_sample')
    refused(run('compare', 'mnist_sample', env={'FASTAI_HOME': str(tmp_path/'home')}), 'instead of', '12396',
            'remove that folder')


# On a terminal

@pytest.fixture
def on_terminal(installed, env, tmp_path):
    "Run the installed command in a pseudo-terminal; returns what it writes there"
    needs_posix()
    import pty, select
    def run(*args, **variables):
        main, sub = pty.openpty()
        p = subprocess.Popen([sys.executable, installed/'bin/fastrecipes', *args], cwd=tmp_path,
                             env=env | {'TERM': 'xterm'} | variables, stdout=sub, stderr=sub, stdin=sub)
        os.close(sub)
        seen = b''
        while select.select([main], [], [], 120)[0]:
            try: data = os.read(main, 65536)
            except OSError: break # The process has closed its end
            if not data: break
            seen += data
        os.close(main)
        assert p.wait(60) == 0
        return seen.decode()
    return run

FINISHED = pytest.param(['-o', 'kept', '--resume'], id='finished', marks=pytest.mark.slow)

@pytest.mark.parametrize('more', [pytest.param([], id=''), FINISHED])
def test_a_terminal_gets_a_moving_line_and_it_is_taken_away(on_terminal, more):
    if more: assert called('fit', 'linear', '--epochs', '4', *more).returncode == 0
    text = on_terminal('fit', 'linear', '--epochs', '4', *more)
    assert '\x1b[' in text and 'loading digits' in text and text.count('\x1b[?25l') == text.count('\x1b[?25h')
    assert ('settings: ' in text) is not bool(more) # A finished training only prints where its model is


def test_ctrl_c_ends_with_one_line(installed, env, tmp_path):
    needs_posix()
    p = subprocess.Popen([sys.executable, installed/'bin/fastrecipes', 'fit', 'sgd', '--epochs', '100000'],
                         cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in p.stderr:
        if line.strip().startswith('3 '): break
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 130
    assert out == '' and err.strip().splitlines()[-1] == 'fastrecipes: stopped' and 'Traceback' not in err


def test_names_that_look_like_mathematics_are_drawn_as_they_are(image_folder, tmp_path):
    r = called('compare', image_folder({'$a^': 4, 'b_{': 4, '<b>&': 4, 'c\nd': 4}, name='set $x^'), '-r', 'similarity',
               '--out', 'runs')
    assert r.returncode == 0, r.stderr
    assert (tmp_path/'runs/comparison.png').read_bytes().startswith(b'\x89PNG')


# Help

DATA_OPTIONS = '--classes --valid --size --channels --skip-bad --seed --device --threads --quiet'

@pytest.mark.parametrize('width', ['200', '80'])
@pytest.mark.parametrize('verb, options', [
    ('compare',
     f'{DATA_OPTIONS} --recipes --all --minutes --repeats --worth --learning-curve --out --resume --track --test '
     '--json --costs --details'),
    ('report', 'DIR --out'),
    ('fit mlp',
     f'{DATA_OPTIONS} --epochs --lr --batch-size --hidden --out --test --checkpoint-every --resume'),
    ('fit', ' '.join(['majority', 'similarity', 'knn', 'sgd', 'logistic', 'linear', 'simple_net', 'mlp', 'convnet',
                      'resnet18'])),
    ('', ' '.join(VERBS)), ('list', '--ini NAME'), ('cache', '--clear'),
    ('check', '--valid --seed --skip-bad --quiet --json'),
    ('predict', ' '.join(['IMAGE', 'DIR', '--top', '--json', '--csv', '--show', '--device'])),
    ('export', 'DIR --onnx'), ('explore', '--port --no-browser')])
def test_the_help_of_a_verb_tells_its_options_and_is_not_wide(monkeypatch, verb, options, width):
    monkeypatch.setenv('COLUMNS', width)
    r = called(*verb.split(), '--help')
    assert r.returncode == 0
    assert r.stderr == '' and [l for l in r.stdout.splitlines() if len(l) > min(int(width), 100)] == []
    for o in options.split(): assert re.search(rf'(^|[ ,]){o}\b', r.stdout, re.M), o


# Options for the images

@pytest.mark.parametrize('verb', [['compare', '-r', 'similarity'], ['fit', 'similarity', '-o', 'model']],
                         ids=['compare', 'fit'])
@pytest.mark.parametrize('options, size, pixels, train, valid', [
    (['--size', '6x5', '--channels', '3'], '6x5', 'RGB', 8, 2),
    (['--size', '4'], '4x4', 'grey', 8, 2),
    (['--valid', '.4'], '8x10', 'grey', 6, 4),
    (['--classes', 'b,a', '--seed', '3'], '8x10', 'grey', 8, 2)], ids=lambda v: ' '.join(v) if type(v) is list else '')
def test_size_channels_valid_and_classes_reach_the_images(image_folder, verb, options, size, pixels, train, valid):
    r = called(*verb, image_folder({'a': 5, 'b': 5}), *options)
    assert r.returncode == 0, r.stderr
    loaded = r.stderr.splitlines()[0]
    assert re.findall(r'\d+x\d+|RGB|grey', loaded) == [size, pixels]
    assert re.findall(r'(\d+) (train|valid)', loaded) == [(str(train), 'train'), (str(valid), 'valid')]
    assert '(a, b)' in loaded
    if verb[0] == 'fit':
        height, width = map(int, size.split('x'))
        assert json.loads(Path('model/card.json').read_text())['shape'] == [3 if pixels == 'RGB' else 1, height, width]

@pytest.mark.parametrize('verb', [['compare', '-r', 'similarity'], ['fit', 'similarity']], ids=['compare', 'fit'])
def test_unreadable_images_are_left_out_and_named_when_that_is_asked_for(image_folder, verb):
    folder = image_folder({'a': 5, 'b': 5})
    (folder/'a/2.png').write_text('not an image')
    refused(called(*verb, folder), '1 unreadable image', 'a/2.png', '--skip-bad')
    r = called(*verb, folder, '--skip-bad', '-q') # Nothing is left out silently
    assert r.returncode == 0 and '1 unreadable image' in r.stderr and 'a/2.png' in r.stderr
    assert 'unreadable' not in r.stdout and len(r.stderr.splitlines()) == 1
    r = called(*verb, folder, '--skip-bad')
    assert r.returncode == 0
    assert re.search(r'^note: 1 .*a/2\.png', r.stderr, re.M)
    assert re.search(r'7 train, 2 valid', r.stderr)

@pytest.mark.parametrize('args, words', [
    (['--size', 'big'], ['--size big', '50x40']),
    (['--size', '0'], ['--size 0']),
    (['--channels', '2'], ['--channels 2', '1 (grey)']),
    (['--classes', 'a,z'], ['unknown class', "'z'"]),
    (['--valid', '1'], ['--valid 1', 'fraction'])], ids=' '.join)
@pytest.mark.parametrize('verb', ['compare', 'fit similarity'])
def test_an_invalid_option_for_the_images_gets_one_line(image_folder, verb, args, words):
    refused(called(*verb.split(), image_folder({'a': 3, 'b': 3}), *args), *words)

def test_the_test_split_is_reported_by_both_verbs_and_kept_on_the_card(image_folder):
    folder = image_folder({f'{s}/{c}': n for s, n in (('train', 4), ('valid', 2), ('test', 3)) for c in 'ab'})
    heads = [called('compare', folder, '-r', 'similarity', '-q', *more).stdout.splitlines()[0].split()
             for more in (['--test'], [])]
    assert 'test' in heads[0] and 'test' not in heads[1]
    r = called('fit', 'similarity', folder, '--test', '-q', '-o', 'model')
    assert re.findall(r'\d+\.\d\d% of (\d) (\w+) images', r.stdout) == [('4', 'validation'), ('6', 'test')]
    card = json.loads(Path('model/card.json').read_text())
    assert card['metrics']['test']['images'] == 6 and card['source']['images'] == dict(train=8, valid=4, test=6)
    called('fit', 'similarity', folder, '-q', '-o', 'model')
    assert json.loads(Path('model/card.json').read_text())['metrics']['test'] is None

@pytest.mark.parametrize('verb', ['compare', 'fit linear -o model'])
def test_a_test_split_that_is_not_there_is_refused(tmp_path, verb):
    refused(called(*verb.split(), '--test'), 'digits', 'no test split')
    assert list(tmp_path.iterdir()) == []

def test_a_folder_whose_name_is_no_text_can_be_compared_and_kept(image_folder):
    folder = image_folder({'a': 3, 'b\udcff': 3}, name='set\udce9')
    r = called('compare', folder, '-r', 'similarity', '--json', '-q')
    assert json.loads(r.stdout.encode())['classes'] == ['a', r'b\udcff'] and r.stderr == ''
    r = called('compare', folder, '-r', 'similarity,sgd', '-o', 'runs/caf\udce9')
    assert r.returncode == 0 and names('runs/caf\udce9') == KEPT and r.stdout.encode(), r.stderr
    d = json.loads(Path('runs/caf\udce9/comparison.json').read_bytes())
    assert d['classes'] == ['a', r'b\udcff']
    assert d['source'] == r'set\udce9' and d['command'].endswith(r"'runs/caf\udce9'")
    assert called('fit', 'similarity', folder, '-q', '-o', 'model').returncode == 0
    from fastrecipes.keep.store import load
    assert load('model').classes == ('a', 'b\udcff')


# Saving, stopping and resuming

def names(folder): return sorted(p.name for p in Path(folder).iterdir())

@pytest.mark.slow
def test_a_model_that_one_process_keeps_another_predicts_with(run, tmp_path, digits):
    from PIL import Image
    r = run('fit', 'linear', 'digits', '--epochs', 3, '--out', 'models/linear', '--device', 'cpu')
    assert r.returncode == 0 and r.stderr.endswith(f" {tmp_path/'models/linear'}\n"), r.stderr
    assert names('models') == ['linear'] and names('models/linear') == MODEL
    for i in range(20): Image.fromarray(digits.valid.images[i, 0].numpy()).save(f'{i:02}.png')
    r = run('predict', 'models/linear', '*.png', '--json')
    from fastrecipes.ladder.recipe import fit
    fitted = fit('linear', digits, epochs=3, device='cpu')
    predicted = json.loads(r.stdout)
    assert [p['image'] for p in predicted] == [f'{i:02}.png' for i in range(20)] and r.stderr == ''
    assert [p['class'] for p in predicted] == [fitted.classes[i] for i in fitted.predictions[:20]]
    wanted = fitted.probs[:20].max(1).values.tolist()
    assert [p['probability'] for p in predicted] == pytest.approx(wanted, abs=1e-6)

def test_keeping_quietly_prints_the_result_alone_and_replaces_what_was_kept():
    for epochs in (1, 2):
        r = called('fit', 'sgd', '--epochs', epochs, '-q', '-o', 'model')
        assert r.stdout.startswith('sgd: ')
        assert f'settings: epochs={epochs},' in r.stdout
        assert r.stderr == '' and names('.') == ['model'] and names('model') == MODEL
        assert json.loads(Path('model/card.json').read_text())['settings']['epochs'] == epochs

@pytest.mark.parametrize('there, words',
    [('file', ['is a file']), ('notes.txt', ['(notes.txt)']), ('cwd', [f'{os.sep}model'])])
def test_a_folder_that_no_model_can_have_is_refused_before_anything_is_loaded(tmp_path, there, words):
    (tmp_path/'m').mkdir()
    out = '.' if there == 'cwd' else 'm'
    if there == 'file':
        (tmp_path/'m').rmdir()
        (tmp_path/'m').write_text('mine')
    if there == 'notes.txt': (tmp_path/'m/notes.txt').write_text('mine')
    r = called('fit', 'sgd', '--out', out)
    refused(r, *words)
    assert r.stderr.count('\n') == 1

EPOCHS = 'fit mlp digits --epochs 25 --hidden 32 --dropout .2 --device cpu --seed 5'.split()

@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    "For two recipes: the command of a training, and the weights file of one that nothing disturbed"
    folder = tmp_path_factory.mktemp('straight')
    out = {}
    for name, args in (('mlp', EPOCHS), ('sgd', ['fit', 'sgd', 'digits', '--epochs', '25', '--device', 'cpu'])):
        assert called(*args, '-q', '--out', folder/name).returncode == 0
        out[name] = args, (folder/name/'model.safetensors').read_bytes()
    return out

def shown_epochs(r): return [int(n) for n in re.findall(r'^ +(\d+) ', r.stderr, re.M)]

def resumes_where_it_stopped(stop, resume, args, weights, tmp_path):
    r = stop(*args, '--out', 'kept')
    assert r.returncode == 130 and r.stdout == '' and 'Traceback' not in r.stderr, r.stderr
    last = int(re.findall(r'^ +(\d+) ', r.stderr, re.M)[-1])
    stopped = r.stderr.strip().splitlines()[-1]
    assert stopped.startswith('fastrecipes: stopped; ')
    assert str(tmp_path/'kept/checkpoint.safetensors') in stopped and '--resume' in stopped
    shown, last = last, int(re.search(r'1 to (\d+)', stopped)[1])
    assert abs(last - shown) <= 1 <= last < 25
    assert names('kept') == ['checkpoint.safetensors'] # An epoch is shown just before it is kept, or just after
    refused(called(*args, '--out', 'kept'), 'checkpoint.safetensors', '--resume', 'remove')
    changed = [a if a != '25' else '26' for a in args]
    refused(called(*changed, '--out', 'kept', '--resume'), 'epochs 25, not 26')
    assert names('kept') == ['checkpoint.safetensors']
    r = resume(*args, '--out', 'kept', '--resume')
    assert r.returncode == 0 and f'continuing after epoch {last}' in r.stderr, r.stderr
    assert shown_epochs(r) == list(range(last + 1, 26))
    assert (tmp_path/'kept/model.safetensors').read_bytes() == weights
    assert names('kept') == MODEL and names('.') == ['kept']

@pytest.mark.slow
def test_ctrl_c_keeps_a_checkpoint_and_resume_ends_with_the_same_weights(installed, env, run, straight, tmp_path):
    needs_posix()
    args, weights = straight['mlp']
    def stop(*args):
        p = subprocess.Popen([sys.executable, installed/'bin/fastrecipes', *args], cwd=tmp_path, env=env,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen = ''
        for line in p.stderr:
            seen += line
            if re.match(' +4 ', line): break
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        return SimpleNamespace(returncode=p.returncode, stdout=out, stderr=seen + err)
    resumes_where_it_stopped(stop, run, args, weights, tmp_path)

@pytest.mark.slow
@pytest.mark.parametrize('name', ['mlp', 'sgd'])
@pytest.mark.parametrize('sent, epoch, after', [
    (signal.SIGTERM, 2, 0), (signal.SIGINT, 2, .01), (signal.SIGTERM, 9, .003),
], ids=['term 2', 'int 2', 'term 9'])
def test_a_request_to_end_does_the_same(straight, tmp_path, name, sent, epoch, after):
    def stop(*args): return struck(tmp_path, *args, until=rf'^ +{epoch} ', sent=sent, after=after)
    resumes_where_it_stopped(stop, called, *straight[name], tmp_path)

@pytest.mark.slow
def test_stopping_twice_is_as_good_as_not_at_all(straight, tmp_path):
    args, weights = straight['sgd']
    for after, more in ((3, []), (9, ['--resume'])):
        assert struck(tmp_path, *args, '-o', 'kept', *more, until=rf'^ +{after} ').returncode == 130
    assert called(*args, '-o', 'kept', '--resume').returncode == 0
    assert (tmp_path/'kept/model.safetensors').read_bytes() == weights

def test_a_process_that_is_killed_is_resumed_from_its_last_checkpoint(straight, tmp_path):
    args, weights = straight['mlp']
    r = struck(tmp_path, *args, '-o', 'kept', '--checkpoint-every', 4, until=r'^ +10 ', sent=signal.SIGKILL)
    assert r.returncode == -signal.SIGKILL and names('kept')[-1] == 'checkpoint.safetensors'
    r = called(*args, '-o', 'kept', '--resume')
    first = shown_epochs(r)[0]
    assert first % 4 == 1 and 9 <= first <= 25
    assert (tmp_path/'kept/model.safetensors').read_bytes() == weights and names('kept') == MODEL

def test_an_old_model_stays_in_use_until_the_new_one_is_there(straight, tmp_path):
    args, weights = straight['sgd']
    assert called(*args, '-q', '-o', 'kept').returncode == 0
    assert struck(tmp_path, *args[:2], '--epochs', '30', '-o', 'kept', until='^ +5 ').returncode == 130
    assert names('kept') == sorted([*MODEL, 'checkpoint.safetensors'])
    assert (tmp_path/'kept/model.safetensors').read_bytes() == weights
    assert called(*args[:2], '--epochs', '30', '-o', 'kept', '--resume').returncode == 0
    assert names('kept') == MODEL and json.loads((tmp_path/'kept/card.json').read_text())['settings']['epochs'] == 30

def test_before_the_first_epoch_is_over_there_is_nothing_to_keep(tmp_path):
    r = struck(tmp_path, 'fit', 'mlp', '-o', 'kept', '--epochs', '100000', until='^digits: 10 classes')
    assert r.returncode == 130
    assert (names('.') == [] and r.stderr.endswith('fastrecipes: stopped\n')
            or names('kept') == ['checkpoint.safetensors'])

def test_without_a_folder_stopping_keeps_nothing(tmp_path):
    r = struck(tmp_path, 'fit', 'mlp', '--epochs', '100000', until='^ +2 ', sent=signal.SIGTERM)
    assert r.returncode == 130 and r.stderr.endswith('fastrecipes: stopped\n') and names('.') == []

def test_nothing_to_resume_is_a_beginning_and_a_finished_training_is_left_alone():
    fit = ['fit', 'sgd', '--epochs', '2', '-o', 'kept', '--resume']
    assert called(*fit).returncode == 0 and names('kept') == MODEL
    before = {n: (os.stat(f'kept/{n}').st_mtime_ns, Path('kept', n).read_bytes()) for n in MODEL}
    r = called(*fit)
    assert r.returncode == 0
    assert r.stdout.startswith(f"{Path.cwd()/'kept'}: ") and ' sgd: 10 classes, accuracy ' in r.stdout
    assert r.stdout.count('\n') == 1
    for other, words in ((['--epochs', '3'], 'epochs 2, not 3'), (['--lr', '.5'], 'lr auto, not 0.5'),
                         (['--seed', '1'], 'seed 42, not 1'), (['--classes', '3,7'], 'of other images')):
        refused(called(*fit, *other), f"{Path.cwd()/'kept'}: ", words, '--resume')
    refused(called('fit', 'linear', *fit[2:]), 'recipe sgd, not linear')
    refused(called('fit', 'sgd', '-o', 'kept', '--resume'), 'epochs 2, not 20')
    assert {n: (os.stat(f'kept/{n}').st_mtime_ns, Path('kept', n).read_bytes()) for n in MODEL} == before
    mlp = ['fit', 'mlp', '--epochs', '1', '-o', 'other']
    assert called(*mlp, '--hidden', '8,4').returncode == 0
    assert called(*mlp, '--hidden', '8,4', '--resume').returncode == 0
    refused(called(*mlp, '--hidden', '9', '--resume'), 'hidden 8,4, not 9')

@pytest.mark.parametrize('args, words', [
    (['--checkpoint-every', '2'], ['--checkpoint-every', '--out DIR']),
    (['--resume'], ['--resume', '--out DIR']),
    (['-o', 'kept', '--checkpoint-every', '0'], ['checkpoint_every', '1 or more']),
    (['-o', 'kept', '--checkpoint-every', 'x'], ['checkpoint_every', "'x'"])], ids=' '.join)
def test_a_checkpoint_needs_a_place_and_a_number(tmp_path, args, words):
    refused(called('fit', 'sgd', *args), *words)
    assert names('.') == []

def test_a_damaged_checkpoint_is_refused_and_left(tmp_path):
    (tmp_path/'kept').mkdir()
    (tmp_path/'kept/checkpoint.safetensors').write_bytes(b'half of it')
    refused(called('fit', 'sgd', '-o', 'kept', '--resume'), 'checkpoint.safetensors', 'remove')
    assert (tmp_path/'kept/checkpoint.safetensors').read_bytes() == b'half of it'

def test_a_model_that_cannot_be_kept_leaves_its_training_at_least(tmp_path, monkeypatch):
    import fastrecipes.keep.store as store
    (tmp_path/'kept').mkdir()
    real = store.save
    def late(fitted, folder): # A file appears there while the model is trained
        Path(folder, 'notes.txt').write_text('mine')
        return real(fitted, folder)
    monkeypatch.setattr(store, 'save', late)
    r = called('fit', 'sgd', '--epochs', '3', '-o', 'kept')
    assert r.returncode == 2
    assert r.stdout.startswith('sgd: ')
    last = r.stderr.splitlines()[-1]
    assert '(notes.txt)' in last and f"kept{os.sep}checkpoint.safetensors" in last and '--resume' in last
    assert names('kept') == ['checkpoint.safetensors', 'notes.txt']
    (tmp_path/'kept/notes.txt').unlink()
    monkeypatch.setattr(store, 'save', real)
    assert called('fit', 'sgd', '--epochs', '3', '-o', 'kept', '--resume').returncode == 0 and names('kept') == MODEL


# A ladder that is stopped and resumed

LADDER = ['compare', 'digits', '--classes', '3,7', '-r', 'similarity,sgd,simple_net', '--repeats', '2',
          '--learning-curve', 'simple_net', '--device', 'cpu', '--seed', '4', '-o', "it's here"]
INI = '[fastrecipes]\n[sgd]\nepochs = 6\n[simple_net]\nepochs = 4\nbs = 64\n'
ROOM = Path("it's here")

def told(folder=ROOM):
    "What comparison.json holds, without what depends on the clock and on other work on the machine"
    d = json.loads((Path(folder)/'comparison.json').read_text())
    counted = ('parameters', 'weights_bytes', 'multiply_adds')
    for r in d['rungs']:
        r['cost'] = {k: v for k, v in (r['cost'] or {}).items() if k in counted}
        for row in r['history']: del row['seconds']
    for r in d['curve']['rungs'] if d['curve'] else []:
        for point in r['points']: del point['train_seconds']
    return {k: v for k, v in d.items() if k not in ('made', 'machine', 'verdict', 'decision')} # These know the times

@pytest.fixture(scope='module')
def never_stopped(tmp_path_factory):
    "The comparison of a ladder that nothing stops, and the finished command"
    with pytest.MonkeyPatch.context() as m:
        m.chdir(tmp_path_factory.mktemp('never'))
        Path('settings.ini').write_text(INI)
        r = called(*LADDER)
        assert r.returncode == 0
        return told(), r

def test_what_a_point_is_worth_reaches_the_decision_and_the_verdict():
    args = ['compare', '--classes', '3,7', '-r', 'similarity,sgd', '-q', '--json']
    one, twenty = (json.loads(called(*args, *more).stdout) for more in ([], ['--worth', '20']))
    assert [c['decision']['margin_points'] for c in (one, twenty)] == [1, 20]
    assert one['pairs'] == twenty['pairs'] and twenty['decision']['undecided'] == []

@pytest.fixture
def ini(tmp_path): (tmp_path/'settings.ini').write_text(INI)

@pytest.mark.slow
@pytest.mark.parametrize('sent, recipe, epoch, done', [
    (signal.SIGINT, 'simple_net', 2, 2),
    (signal.SIGTERM, 'sgd', 0, 1),
    (KILL, 'simple_net', 1, 2),
], ids=['int', 'term', 'kill'])
def test_a_ladder_that_is_stopped_is_resumed_and_ends_the_same(ini, never_stopped, tmp_path, sent, recipe, epoch, done):
    r = struck(tmp_path, *LADDER, strike=(recipe, epoch, 'fit'), sent=sent)
    if sent == KILL:
        assert r.returncode == -sent
        assert names(ROOM) == ['rungs']
        assert [l.split()[0] for l in r.stdout.splitlines()] == ['recipe', 'similarity', 'sgd']
    else:
        assert r.returncode == 130 and 'Traceback' not in r.stderr
        last = r.stderr.splitlines()[-1]
        assert last.startswith(f'fastrecipes: stopped; {done} of 3 ') and '--resume' in last
        assert names(ROOM) == KEPT
        rungs = ['similarity', 'sgd', 'simple_net']
        lines = r.stdout.splitlines()
        assert [line.split()[0] for line in lines[1:done + 1]] == rungs[:done]
        assert lines[done + 1] == f"not finished: {', '.join(rungs[done:])}"
        assert [g['status'] for g in told()['rungs']] == ['fitted'] * done + ['stopped'] * (3 - done)
    kept = {p: p.read_bytes() for p in ROOM.rglob('*.safetensors')}
    refused(called(*LADDER), "it's here: ", '--resume')
    assert {p: p.read_bytes() for p in ROOM.rglob('*.safetensors')} == kept and len(kept) == done + (sent != KILL)
    r = called(*LADDER, '--resume')
    assert r.returncode == 0 and told() == never_stopped[0] and names(ROOM) == KEPT, r.stderr
    assert not (ROOM/'rungs/unfinished').exists() and not [*ROOM.rglob('checkpoint*')]

@pytest.fixture
def interrupted(monkeypatch):
    "The command in this process, with Ctrl-C at an epoch of a rung: real signals are sent in the tests above"
    from fastrecipes.commands.compare import TableProgress
    report = TableProgress.epoch
    def call(*args, recipe, epoch, what):
        def report_or_stop(self, row):
            report(self, row)
            if (self.task.name, self.task.what, row['epoch']) == (recipe, what, epoch): raise KeyboardInterrupt
        monkeypatch.setattr(TableProgress, 'epoch', report_or_stop)
        return called(*args)
    return call

def test_stopped_among_the_repeats_it_says_so(ini, tmp_path):
    r = struck(tmp_path, *LADDER[:5], 'sgd', '--repeats', '2', '-q', '-o', ROOM, strike=('sgd', 1, 'repeat'),
               sent=signal.SIGINT)
    last = r.stderr.splitlines()[-1]
    assert r.returncode == 130 and last.startswith('fastrecipes: stopped; 1 of 1 ') and '--resume' in last
    assert {g['status'] for g in told()['rungs']} == {'fitted'} and 'sgd' in r.stdout

def test_stopped_before_anything_is_finished_it_has_nothing_to_show(ini, interrupted):
    at = dict(recipe='sgd', epoch=3, what='fit')
    r = interrupted(*LADDER[:4], '-r', 'sgd', '-o', 'out', **at)
    assert (r.returncode, r.stdout) == (130, '')
    last = r.stderr.splitlines()[-1]
    assert last.startswith('fastrecipes: stopped; 0 of 1 ') and '--resume' in last
    assert names('out') == ['rungs']
    r = interrupted(*LADDER[:4], '-r', 'sgd', **at)
    assert (r.returncode, r.stdout) == (130, '') and r.stderr.endswith('fastrecipes: stopped\n')
    r = interrupted(*LADDER[:4], '-r', 'similarity,sgd', '-q', '--json', **at)
    assert r.returncode == 130
    assert [g['status'] for g in json.loads(r.stdout)['rungs']] == ['fitted', 'stopped']
    assert r.stderr.count('\n') == 1
    assert r.stderr.startswith('fastrecipes: stopped; 1 of 2 ') and '--resume' not in r.stderr

@pytest.mark.slow
def test_the_command_that_is_kept_makes_the_same_again(ini, never_stopped):
    whole, _ = never_stopped
    command = shlex.split(whole['command'])
    assert whole['command'] == 'fastrecipes ' + shlex.join(LADDER) and command == ['fastrecipes', *LADDER]
    assert called(*command[1:]).returncode == 0 and told() == whole
    r = called(*command[1:3], '--resume', *command[3:])
    assert r.returncode == 0 and told() == whole, 'without --resume in the command, and nothing else'

@pytest.mark.slow
def test_another_ladder_is_not_resumed_and_a_finished_one_is_replaced(ini):
    short = [*LADDER[:5], 'similarity,sgd', '-q', '-o', 'out']
    assert called(*short).returncode == 0
    before = {p: p.read_bytes() for p in Path('out').rglob('*') if p.is_file()}
    for other, words in (['--seed', '5'], 'seed 42, not 5'), (['--classes', '3,8'], 'images'):
        refused(called(*short, *other, '--resume'), words)
    Path('settings.ini').write_text(INI.replace('6', '7'))
    refused(called(*short, '--resume'), 'sgd-42/result.safetensors', 'epochs 6, not 7')
    assert {p: p.read_bytes() for p in Path('out').rglob('*') if p.is_file()} == before
    Path('out/mine.txt').write_text('mine')
    assert called(*short).returncode == 0
    assert told('out')['rungs'][1]['settings']['epochs'] == 7 and names('out') == sorted([*KEPT, 'mine.txt'])

def test_a_rung_that_fails_is_in_its_row_and_the_status_is_2(tmp_path):
    Path('settings.ini').write_text('[fastrecipes]\n[logistic]\nlr = 9e37\n[sgd]\nepochs = 1\n')
    r = called('compare', '--classes', '3,7', '-r', 'similarity,sgd,logistic', '--repeats', '2', '-o', 'out')
    assert r.returncode == 2 and 'fastrecipes:' not in r.stderr and 'logistic' not in r.stderr
    assert re.search(r'^logistic    failed: .*\n {12}\S', r.stdout, re.M) # The reason wraps in its own column
    assert names('out') == KEPT
    rungs = told('out')['rungs']
    assert [(g['recipe'], g['status'], g['repeats'] is None) for g in rungs] == [
        ('similarity', 'fitted', False), ('sgd', 'fitted', False), ('logistic', 'failed', True)]
    assert 'infinite' in rungs[2]['reason'] and 'lr' in rungs[2]['cure']
    assert called('compare', '--classes', '3,7', '-r', 'logistic', '-q', '--json').returncode == 2

def test_a_full_disk_leaves_the_table(ini, monkeypatch):
    def no_room(*args): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', no_room)
    r = called(*LADDER[:4], '-r', 'similarity,sgd', '-o', 'out')
    assert r.returncode == 2 and [line.split()[0] for line in r.stdout.splitlines()[1:3]] == ['similarity', 'sgd']
    *_, last = r.stderr.splitlines()
    assert last.startswith('fastrecipes: out/comparison.csv: ') and '(No space left on device)' in last
    assert 'Traceback' not in r.stderr and re.search('^warning: .*result.safetensors', r.stderr, re.M)

def test_quiet_says_nothing_and_json_is_alone(ini):
    r = called(*LADDER[:-2], '-q', '--json')
    assert r.returncode == 0
    assert r.stderr == ''
    assert r.stdout.count('\n') == 1
    assert json.loads(r.stdout)['curve']['rungs'] and 'pictures' not in json.loads(r.stdout)

def test_repeats_and_curve_are_reported_as_they_finish(never_stopped):
    _, r = never_stopped
    assert re.findall(r'^(\w+), seed 5: accuracy [\d.]+%$', r.stderr, re.M) == ['similarity', 'sgd', 'simple_net']
    assert r.stderr.splitlines()[-1].startswith("wrote it's here/report.html")
    table, seeds, curve, *_ = r.stdout.split('\n\n')
    assert [line.split()[0] for line in table.splitlines()[1:]] == ['similarity', 'sgd', 'simple_net']
    assert 'simple_net: ' in curve
    seeds = seeds.splitlines()
    assert 'seeds' in seeds[0] and [line.split()[1] for line in seeds[1:]] == ['2'] * 3

@pytest.mark.slow
def test_a_terminal_is_shown_the_rung_its_epochs_and_the_table_as_it_grows(on_terminal, tmp_path):
    slow = '[fastrecipes]\n[sgd]\nepochs = 400\n[simple_net]\nepochs = 100\n' # Some seconds, with ten pictures each
    (tmp_path/'settings.ini').write_text(slow)
    text = on_terminal(*LADDER[:6], COLUMNS='120')
    plain = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', text)
    for words in (r'2 of 3  sgd', r'3 of 3  simple_net', r'epoch \d+ of [14]00',
                  r'simple_net +\d\d\.\d\d%  +\d\d\.\d-'):
        assert re.search(words, plain), words
    assert text.count('\x1b[?25l') == text.count('\x1b[?25h')

def test_the_bar_says_the_epoch_and_the_time_left(monkeypatch):
    from fastrecipes.commands.progress import Progress
    monkeypatch.setenv('FORCE_COLOR', '1') # A terminal
    with redirect_stderr(StringIO()):
        p = Progress()
        try:
            p.begin('2 of 3  sgd', 4)
            p.bar.tasks[0].start_time -= 60 # As if it had begun a minute ago
            p.epoch(dict(epoch=0))
            (task,) = p.bar.tasks
            assert task.description == '2 of 3  sgd  epoch 1 of 4' and (task.total, task.completed) == (1, .25)
            assert re.fullmatch(r'about 0:0[34]:\d\d left', task.fields['left'])
            p.bar.tasks[0].start_time -= 120
            p.epoch(dict(epoch=2))
            assert task.description == '2 of 3  sgd  epoch 3 of 4' and (task.total, task.completed) == (1, .75)
            assert re.fullmatch(r'about 0:01:\d\d left', task.fields['left'])
            p.begin('2 of 3  sgd', 4) # Resumed: two epochs were done before
            p.bar.tasks[0].start_time -= 60
            p.epoch(dict(epoch=2))
            assert re.fullmatch(r'about 0:01:\d\d left', p.bar.tasks[0].fields['left'])
            p.begin('3 of 3  mlp', 4)
            (task,) = p.bar.tasks
            assert task.description == '3 of 3  mlp' and task.total is None and task.fields['left'] == ''
        finally: p.stop()

def test_track_logs_every_rung_and_a_missing_package_is_one_line(ini, monkeypatch):
    pytest.importorskip('tensorboard')
    args = [*LADDER[:4], '-r', 'similarity,sgd', '-o', 'out', '--track', 'tensorboard']
    assert called(*args).returncode == 0
    assert names('out/tensorboard') == ['sgd', 'similarity'] and names('out') == sorted([*KEPT, 'tensorboard'])
    before = {p: p.read_bytes() for p in Path('out').rglob('*') if p.is_file()}
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    refused(called(*args), 'needs the package tensorboard', 'pip install')
    after = {p: p.read_bytes() for p in Path('out').rglob('*') if p.is_file()}
    assert after == before, 'a command that cannot run removes nothing'

def test_report_makes_the_page_again_and_one_over_several(ini):
    for seed in '12':
        assert called(*LADDER[:4], '-r', 'similarity', '-o', f'runs/{seed}', '--seed', seed, '-q').returncode == 0
    page = Path('runs/1/report.html').read_bytes()
    Path('runs/1/report.html').unlink()
    r = called('report', 'runs/1')
    assert (r.returncode, r.stdout) == (0, '')
    assert Path('runs/1/report.html').read_bytes() == page and r.stderr.startswith('wrote ')
    assert called('report', 'runs/1', 'runs/2', '-o', 'both').returncode == 0 and 'report.html' in names('both')
    refused(called('report', 'nowhere'), 'nowhere')


# check and cache

def test_check_says_what_is_wrong_and_its_status_tells(image_folder):
    folder = image_folder({'a': 4, 'b': 4})
    r = called('check', folder)
    assert r.returncode == 0 and 'no problems' in r.stdout and str(folder) in r.stdout
    (folder/'b/1.png').write_bytes((folder/'a/1.png').read_bytes())
    (folder/'b/2.png').write_text('not an image')
    r = called('check', folder, '--seed', 3, '-q')
    assert r.returncode == 1 and 'b/2.png (not an image)' in r.stdout and 'two labels' in r.stdout and r.stderr == ''
    r = called('check', folder, '--json')
    d = json.loads(r.stdout)
    assert r.returncode == 1
    assert r.stdout.count('\n') == 1
    assert d['healthy'] is False
    assert d['unreadable'] == [dict(name='b/2.png', reason='not an image')] and len(d['problems']) >= 2

def test_check_takes_a_source_and_refuses_what_is_none():
    r = called('check', 'digits', '--json')
    assert r.returncode == (0 if json.loads(r.stdout)['healthy'] else 1) and json.loads(r.stdout)['source'] == 'digits'
    refused(called('check', 'digts'), "did you mean 'digits'")
    refused(called('check', 'digits', '--valid', '.5'), 'fixed split')
    refused(called('check', './nowhere'), 'no such folder')

def test_the_cache_is_shown_filled_and_cleared(image_folder, tmp_path, monkeypatch):
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'cache'))
    assert called('cache').stdout == f"0 image sets, 0 B, in {tmp_path/'cache'}\n"
    assert not (tmp_path/'cache').exists()
    folder = image_folder({'a': 4, 'b': 4})
    first = called('fit', 'similarity', folder, '-q').stdout
    r = called('cache')
    assert r.returncode == 0
    images, size, made = re.match(r' +(\d+) images +([\d.]+) k?B  (\S+ \S+)  ', r.stdout).groups()
    assert images == '8' and float(size) > 0 and datetime.strptime(made, '%Y-%m-%d %H:%M')
    assert str(folder) in r.stdout and '\n1 image set, ' in r.stdout
    (tmp_path/'cache/mine.txt').write_text('mine')
    r = called('cache', '--clear')
    assert r.returncode == 0
    assert r.stdout.startswith('removed 1 image set, ') and names(tmp_path/'cache') == ['mine.txt']
    assert called('cache').stdout.startswith('0 image sets')
    assert called('fit', 'similarity', folder, '-q').stdout.splitlines()[0] == first.splitlines()[0]


@pytest.mark.parametrize('args, words', [
    (['--port', 'x'], ["'x'", 'valid integer']),
    (['--port', '70000'], ['70000', '65535']),
    (['--prot', '1'], ['--prot']),
])
def test_a_wrong_port_is_refused_before_anything_starts(args, words):
    refused(called('explore', '--no-browser', *args), *words)


def test_the_installed_explorers_have_their_page(installed, env, tmp_path):
    needs_posix()
    with subprocess.Popen([sys.executable, installed/'bin/fastrecipes', 'explore', '--port', '0', '--no-browser'],
                          cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().split(' at ')[1].split()[0]
        page = urlopen(address, timeout=60).read().decode()
        server.send_signal(signal.SIGINT)
    assert server.returncode == 0
    assert '<title>fastrecipes explore</title>' in page and 'application/vnd.jupyter.widget-view+json' in page
    assert not re.findall('(?:src|href)=.?(?:https?:)?//', page)


def test_the_models_behind_the_drawn_digit_are_shown_and_cleared_too(tmp_path, monkeypatch):
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'cache'))
    home = tmp_path/'cache'/'models'/f"mlp-{'a' * 32}"
    home.mkdir(parents=True)
    (home/'model.safetensors').write_bytes(bytes(200_000))
    lines = called('cache').stdout.splitlines()
    assert re.match(r' +model +200 kB  ', lines[0])
    def counts(line): return re.findall(r'(\d+) (image sets?|models?), ([\d.]+ k?B)', line)
    assert counts(lines[1]) == [('0', 'image sets', '0 B'), ('1', 'model', '200 kB')]
    assert counts(called('cache', '--clear').stdout) == counts(lines[1])
    assert not home.exists()

@pytest.mark.parametrize('own, args, times', [
    (True, ['fit', 'similarity', '-q'], 1), (True, ['compare', '-r', 'similarity,sgd', '-q'], 1),
    (True, ['check', '-q'], 0), (True, ['list'], 0), (True, ['fit', 'mlp', '--help'], 0),
    (False, ['fit', 'similarity', '-q'], 0), (False, ['compare', '-r', 'similarity', '-q'], 0),
], ids=str)
def test_memory_is_kept_once_where_a_command_trains_in_its_own_process(own, args, times, monkeypatch):
    from fastrecipes import cli
    from fastrecipes.commands import session
    from fastrecipes.training import cost
    calls = []
    monkeypatch.setattr(session, 'own_process', own)
    monkeypatch.setattr(cost, 'keep_memory', lambda: calls.append(1))
    status, line = cli.run(args)
    assert status in (0, 1) and line == '' and len(calls) == times

def test_no_setting_of_a_recipe_has_the_name_of_another_option():
    import click
    from fastrecipes.cli import cli
    from fastrecipes.ladder.settings import recipes
    verb = cli.get_command(None, 'fit')
    for name in recipes:
        command = verb.get_command(None, name)
        with click.Context(command, help_option_names=['-h', '--help']) as ctx: # As its group has
            names = [o for p in command.get_params(ctx) for o in (*p.opts, *p.secondary_opts)]
        assert len(names) > 10 and len(set(names)) == len(names), name


# Simple mistakes are told before anything slow is imported

@pytest.mark.parametrize('args', [
    'compare --valid 5', 'compare here --valid 5', 'compare --device gpu', 'compare --size big', 'compare -r nope',
    'compare --background pink', 'compare --label-from x', 'compare here --label-from (', 'compare here --groups (',
    'compare --repeats 0', 'check --valid .5', 'check here --valid 5', 'check here --size 0', 'check here --resize x',
    'fit mlp --device gpu', 'fit mlp --lr x', 'predict nowhere x.png', 'predict here x.png --top 0',
    'predict here x.png --device gpu', 'predict here x.png --max-pixels x', 'export nowhere --onnx x.onnx',
])
def test_a_simple_mistake_imports_nothing_slow(tmp_path, args):
    (tmp_path/'here').mkdir()
    code = "import sys; from fastrecipes.cli import run; status, line = run(sys.argv[1:]); print(status, line); " \
           "sys.exit(bool({'torch', 'pandas', 'fastai', 'matplotlib'} & sys.modules.keys()))"
    r = subprocess.run([sys.executable, '-c', code, *args.split()], capture_output=True, text=True, cwd=tmp_path)
    assert r.returncode == 0 and r.stdout.startswith('2 ') and r.stderr == '', r.stdout + r.stderr
    assert not re.search(r"[a-z]=\S", r.stdout) # Python's way to write an option
