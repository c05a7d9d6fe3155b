"The command as users have it: installed from a wheel, run as a process, in a folder that is not the checkout"
import csv, json, os, pty, re, select, shutil, subprocess, sys
import pytest
from conftest import REPO

FAST = 'similarity,sgd,linear'


@pytest.fixture(scope='session')
def installed(tmp_path_factory):
    "A folder with the package installed from a wheel that was built from a copy of the sources"
    src, dist, site = (tmp_path_factory.mktemp(n) for n in ('src', 'dist', 'site'))
    for f in ('pyproject.toml', 'README.md', 'LICENSE'): shutil.copy(REPO/f, src)
    shutil.copytree(REPO/'fastrecipes', src/'fastrecipes', ignore=shutil.ignore_patterns('__pycache__'))
    pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check']
    subprocess.run([*pip, 'wheel', '--no-deps', '--no-build-isolation', '-w', dist, src], check=True)
    subprocess.run([*pip, 'install', '--no-deps', '--target', site, next(dist.glob('*.whl'))], check=True)
    return site


@pytest.fixture
def env(installed): return os.environ | {'PYTHONPATH': str(installed), 'COLUMNS': '100'}

@pytest.fixture
def run(installed, env, tmp_path):
    "Run the installed console script; returns the finished process"
    def call(*args, **kwargs):
        return subprocess.run([sys.executable, installed/'bin/fastrecipes', *map(str, args)], cwd=tmp_path, env=env | kwargs.pop('env', {}),
                              capture_output=True, timeout=300, **{'text': True, **kwargs})
    return call


def refused(r, *words):
    "The process ended with status 2 and one line on standard error that has all the words"
    assert r.returncode == 2, (r.returncode, r.stdout, r.stderr)
    assert r.stdout == ''
    last = r.stderr.strip().splitlines()[-1]
    assert last.startswith('fastrecipes: ') and 'Traceback' not in r.stderr and len([l for l in r.stderr.splitlines() if l.startswith('fastrecipes: ')]) == 1
    for w in words: assert w in last, f"{w!r} is not in {last!r}"


def test_the_installed_package_is_the_one_that_runs(installed, env, tmp_path):
    out = subprocess.run([sys.executable, '-c', 'import fastrecipes; print(fastrecipes.__file__)'], cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    assert out.startswith(str(installed))


def test_compare_prints_a_table_with_a_row_a_rung(run):
    r = run('compare', '--recipes', FAST)
    assert r.returncode == 0, r.stderr
    head, *rows = r.stdout.splitlines()
    assert 'accuracy' in head and 'gain (points)' in head
    assert [row.split()[0] for row in rows] == FAST.split(',')
    assert 'ImageSet digits: 10 classes' in r.stderr and not re.search('[\x1b\r]', r.stdout + r.stderr)


def test_json_is_one_object_and_nothing_else(run):
    r = run('compare', '--classes', '3,7', '-r', FAST, '--json', '--seed', 1, '--device', 'cpu')
    d = json.loads(r.stdout)
    assert r.stdout.count('\n') == 1
    assert (d['schema_version'], d['source'], d['classes'], d['device'], d['seed']) == (1, 'digits', ['3', '7'], 'cpu', 1)
    assert [g['recipe'] for g in d['rungs']] == FAST.split(',')
    similarity, sgd, _ = d['rungs']
    assert similarity['loss'] is None and similarity['gain_points'] is None and similarity['settings'] == {'distance': 'l2'}
    assert set(similarity) == {'recipe', 'accuracy', 'loss', 'gain_points', 'parameters', 'train_seconds', 'predict_ms_per_1000', 'settings'}
    assert sgd['gain_points'] == pytest.approx(100 * (sgd['accuracy'] - similarity['accuracy'])) and sgd['parameters'] == 65


def test_out_writes_table_json_and_picture(run, tmp_path):
    r = run('compare', '-r', 'similarity,sgd', '--out', 'runs/first', '--quiet')
    assert r.returncode == 0 and r.stderr == ''
    folder = tmp_path/'runs/first'
    assert sorted(p.name for p in folder.iterdir()) == ['comparison.csv', 'comparison.json', 'comparison.png']
    with open(folder/'comparison.csv') as f: assert [row['recipe'] for row in csv.DictReader(f)] == ['similarity', 'sgd']
    assert len(json.loads((folder/'comparison.json').read_text())['rungs']) == 2
    assert (folder/'comparison.png').read_bytes().startswith(b'\x89PNG')


def test_the_same_seed_gives_the_same_figures(run):
    a, b = (json.loads(run('compare', '-r', 'sgd', '--json').stdout)['rungs'][0] for _ in range(2))
    assert (a['accuracy'], a['loss']) == (b['accuracy'], b['loss'])


def test_fit_prints_its_epochs_and_a_result(run):
    r = run('fit', 'mlp', 'digits', '--epochs', 3, '--hidden', '16,8', '--batch-size', 64)
    assert r.returncode == 0, r.stderr
    assert r.stdout.startswith('mlp(epochs=3, lr=0.01, bs=64, hidden=16,8') and 'accuracy 0.' in r.stdout
    epochs = [line.split() for line in r.stderr.splitlines() if re.match(r' +\d', line)]
    assert [e[0] for e in epochs] == ['1', '2', '3'] and all(len(e) == 5 for e in epochs)


def test_a_switch_is_a_flag(run):
    refused(run('fit', 'resnet18', '--pretrained', '--epochs', 'x'), 'epochs') # and not "--pretrained requires an argument"
    assert '--pretrained / --no-pretrained' in run('fit', 'resnet18', '--help').stdout


def test_fit_takes_a_folder(run, image_folder):
    r = run('fit', 'similarity', image_folder({'dark': 5, 'light': 5}), '--valid', '0.4')
    assert r.returncode == 0 and '6 train, 4 valid' in r.stderr
    assert 'accuracy 1.0000 on 4 validation images' in r.stdout


def test_settings_ini_is_found_and_overruled(run, tmp_path):
    (tmp_path/'settings.ini').write_text('[fastrecipes]\nseed = 7\n[sgd]\nepochs = 2\nlr = 0.5\n')
    r = run('fit', 'sgd', '--lr', '0.25', '-q')
    assert r.stdout.startswith('sgd(epochs=2, lr=0.25,')


def test_it_runs_as_a_module(env, tmp_path):
    r = subprocess.run([sys.executable, '-m', 'fastrecipes', '--version'], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert re.fullmatch(r'fastrecipes \d+\.\d+\.\d+\n', r.stdout)


# What costs nothing must not wait for torch

def test_list_and_help_do_not_import_torch(env, tmp_path):
    code = "import sys; from fastrecipes.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\nprint('heavy:', [m for m in ('torch', 'fastai', 'pandas', 'sklearn') if m in sys.modules])"
    for args in (['--help'], ['list'], ['compare', '--help'], ['fit', 'resnet18', '--help']):
        out = subprocess.run([sys.executable, '-c', code, *args], cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
        assert out.strip().endswith('heavy: []'), args


def test_list_names_recipes_settings_and_sources(run):
    out = run('list').stdout
    for word in ('similarity', 'sgd', 'linear', 'simple_net', 'mlp', 'resnet18', 'hidden=64,64,64', 'digits', 'mnist_sample', 'mnist', 'FOLDER'): assert word in out


def test_list_ini_is_the_settings_file_of_the_repository(run):
    assert run('list', '--ini').stdout == (REPO/'settings.ini').read_text()


def test_help_of_a_recipe_tells_each_setting_with_its_default(run):
    out = run('fit', 'simple_net', '--help').stdout
    assert re.search(r'--hidden.*Units of the hidden layer.*30', out, re.S) and '--batch-size' in out and '[default: auto]' in out


def test_no_arguments_print_the_help(run):
    r = run()
    assert r.returncode == 0 and 'Usage: fastrecipes' in r.stdout


# One line, status 2, nothing left behind

@pytest.mark.parametrize('args, words', [
    (['compare', 'digts'], ['digts', "did you mean 'digits'", 'mnist_sample']),
    (['compare', './nowhere'], ['nowhere', 'no such folder']),
    (['compare', '--recipes', 'sgd,linaer'], ['linaer', "did you mean 'linear'"]),
    (['compare', '--recipes', ','], ['no recipe to compare']),
    (['compare', '--classes', '3'], ['one class only']),
    (['compare', '--classes', '3', '--out', 'runs/a/b'], ['one class only']),
    (['compare', '--classes', '3,x'], ['unknown class', 'x']),
    (['compare', '--valid', '0.3'], ['digits', 'fixed split']),
    (['compare', '--seed', 'lucky'], ['seed', 'lucky', 'whole number']),
    (['compare', '--device', 'tpu'], ['tpu', 'auto, cuda']),
    (['fit', 'mpl'], ['mpl', "did you mean 'mlp'"]),
    (['fit', 'mlp', '--epoch', '3'], ['--epoch']),
    (['fit', 'mlp', '--epochs', '0'], ['epochs', '0', '1 or more']),
    (['fit', 'mlp', '--lr', 'fast'], ['lr', 'fast', 'a number above 0']),
    (['fit', 'mlp', '--dropout', '1'], ['dropout', 'not including, 1']),
    (['fit', 'similarity', '--distance', 'cosine'], ['distance', 'cosine', 'l1, l2']),
    (['comapre'], ['comapre', "did you mean 'compare'"]),
    (['--jsn'], ['--jsn']),
], ids=lambda a: ' '.join(a))
def test_a_wrong_word_gets_one_line(run, tmp_path, args, words):
    refused(run(*args), *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('counts, words', [
    ({}, ['the folder is empty']),
    ({'only': 3}, ['one class only', 'only']),
    ({'a': 3, 'b': 0}, ['b', 'no images']),
    ({'train/a': 2, 'train/b': 2, 'valid/a': 2, 'valid/c': 2}, ['c', 'not among the training classes']),
], ids=['empty', 'one class', 'class without images', 'class in valid only'])
def test_a_folder_that_cannot_serve_gets_one_line(run, image_folder, counts, words): refused(run('compare', image_folder(counts)), *words)


def test_a_folder_without_images_gets_one_line(run, tmp_path):
    for c in 'ab':
        (tmp_path/'texts'/c).mkdir(parents=True)
        (tmp_path/'texts'/c/'note.txt').write_text('not an image')
    refused(run('compare', 'texts'), 'no images in this class folder')


def test_a_damaged_image_is_named(run, image_folder):
    folder = image_folder({'a': 3, 'b': 3})
    whole = (folder/'b/1.png').read_bytes()
    (folder/'b/1.png').write_bytes(whole[:len(whole) // 2])
    refused(run('compare', folder), '1 unreadable image', '1.png')


def test_a_gpu_that_is_not_there_gets_one_line(run):
    import torch
    if torch.cuda.is_available(): pytest.skip('this machine has a CUDA device')
    refused(run('compare', '--device', 'cuda'), "'cuda' is not on this machine", 'cpu')


def test_a_place_that_cannot_be_written_is_found_out_before_training(run, tmp_path):
    (tmp_path/'file').write_text('in the way')
    r = run('compare', '--out', 'file/runs')
    refused(r, 'file/runs', 'cannot write there')
    assert 'accuracy' not in r.stderr


def test_an_unknown_name_in_settings_ini_gets_one_line(run, tmp_path):
    (tmp_path/'settings.ini').write_text('[fastrecipes]\n[mlp]\nepoch = 3\n')
    refused(run('compare'), 'settings.ini [mlp]', "did you mean 'epochs'")


def test_mnist_sample_without_network_or_copy_says_how_to_go_on(run, tmp_path):
    nowhere = {k: 'http://127.0.0.1:9' for k in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY')}
    r = run('compare', 'mnist_sample', env=nowhere | {'FASTAI_HOME': str(tmp_path/'empty')}, text=False)
    assert r.returncode == 2 and r.stdout == b'' and b'\r' not in r.stderr and r.stderr.count(b'\n') == 1, r.stderr
    for word in (b'fastrecipes: mnist_sample: could not get https://', b'no copy in', b'digits'): assert word in r.stderr


def test_a_part_of_mnist_sample_is_not_taken_for_the_whole(run, image_folder, tmp_path):
    image_folder({f'{s}/{c}': 2 for s in ('train', 'valid') for c in '37'}, name='home/data/mnist_sample')
    refused(run('compare', 'mnist_sample', env={'FASTAI_HOME': str(tmp_path/'home')}), 'instead of', '12396', 'remove that folder')


# On a terminal

def test_a_terminal_gets_a_moving_line_and_it_is_taken_away(installed, env, tmp_path):
    main, sub = pty.openpty()
    p = subprocess.Popen([sys.executable, installed/'bin/fastrecipes', 'fit', 'linear', '--epochs', '4'], cwd=tmp_path, env=env | {'TERM': 'xterm'}, stdout=sub, stderr=sub, stdin=sub)
    os.close(sub)
    seen = b''
    while select.select([main], [], [], 120)[0]:
        try: data = os.read(main, 65536)
        except OSError: break  # the process has closed its end
        if not data: break
        seen += data
    os.close(main)
    assert p.wait(60) == 0
    text = seen.decode()
    assert '\x1b[' in text and 'loading digits' in text and text.count('\x1b[?25l') == text.count('\x1b[?25h')
    assert 'linear(epochs=4' in text.splitlines()[-1]


def test_ctrl_c_ends_with_one_line(installed, env, tmp_path):
    import signal
    p = subprocess.Popen([sys.executable, installed/'bin/fastrecipes', 'fit', 'sgd', '--epochs', '100000'], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in p.stderr:
        if line.strip().startswith('3 '): break
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 130 and out == '' and err.strip().splitlines()[-1] == 'fastrecipes: stopped' and 'Traceback' not in err


def test_names_that_look_like_mathematics_are_drawn_as_they_are(run, image_folder, tmp_path):
    r = run('compare', image_folder({'$a^': 4, 'b_{': 4}, name='set $x^'), '-r', 'similarity', '--out', 'runs')
    assert r.returncode == 0, r.stderr
    assert (tmp_path/'runs/comparison.png').read_bytes().startswith(b'\x89PNG')
