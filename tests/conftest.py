"""Where the tests find real data, and what they share.

Nothing is downloaded. MNIST_SAMPLE, MNIST and the bitmoji faces are searched in fastai's data folder, and as archives
in the folder that the variable FASTRECIPES_TEST_DATA names. Tests that need a missing set are skipped, with the
reason."""
import gc, gzip, os, shutil, signal, tarfile
from contextlib import contextmanager
from pathlib import Path
import pytest
from filelock import FileLock
from hypothesis import settings

settings.register_profile('here', deadline=None) # A busy machine must not fail a test
settings.load_profile('here')

REPO = Path(__file__).resolve().parent.parent
ARCHIVES = Path(os.environ['FASTRECIPES_TEST_DATA']).resolve() if os.environ.get('FASTRECIPES_TEST_DATA') else None
USER_HOME = Path(os.environ.get('FASTAI_HOME', '~/.fastai')).expanduser()
SETS = { # A fixture, and the folder under fastai's `data`
    'mnist_sample': 'mnist_sample',
    'mnist': 'MNIST/raw',
    'bitmoji': 'bitmoji_bw',
}
_PROXIES = ['http_proxy', 'https_proxy', 'all_proxy']
OFFLINE = dict.fromkeys(_PROXIES + [p.upper() for p in _PROXIES], 'http://127.0.0.1:9') # Nothing listens there
LONG = {'saw', 'on_digits', 'narrow'} # Slow fixtures: several processes, a server without data, a second page


def pytest_configure(config):
    if ARCHIVES and not ARCHIVES.is_dir(): raise pytest.UsageError(f'FASTRECIPES_TEST_DATA: {ARCHIVES} is not a folder')

@pytest.hookimpl(tryfirst=True) # Before `-m` chooses
def pytest_collection_modifyitems(items):
    "Mark tests that need one of the sets `data`, and tests that need a slow fixture `slow`"
    for item in items:
        fixtures = set(item.fixturenames)
        if fixtures & SETS.keys(): item.add_marker('data')
        if fixtures & LONG: item.add_marker('slow')


def _find_folder(name:str, home:Path):
    "Put the folder `name` (mnist_sample, bitmoji_bw) under `home/data`, where there is one"
    there = USER_HOME/'data'/name
    archive = ARCHIVES and ARCHIVES/f'{name}.tgz'
    if there.is_dir(): (home/'data'/name).symlink_to(there.resolve())
    elif archive and archive.is_file():
        with tarfile.open(archive) as t: t.extractall(home/'data', filter='data')


def _find_mnist(home:Path):
    "Put the four files of MNIST under `home/data/MNIST/raw`, where they are all there"
    raw, there = home/'data'/'MNIST'/'raw', USER_HOME/'data'/'MNIST'/'raw'
    names = [f'{s}-{k}-ubyte' for s in ('train', 't10k') for k in ('images-idx3', 'labels-idx1')]
    if all((there/n).is_file() for n in names): (home/'data'/'MNIST').symlink_to(there.parent.resolve())
    elif ARCHIVES and all((ARCHIVES/'mnist'/f'{n}.gz').is_file() for n in names):
        raw.mkdir(parents=True)
        for n in names:
            with gzip.open(ARCHIVES/'mnist'/f'{n}.gz') as src, open(raw/n, 'wb') as dst: shutil.copyfileobj(src, dst)


def once(tmp_path_factory, name, make):
    "A folder that `make(folder)` fills, one for all workers of this run"
    of_worker = tmp_path_factory.getbasetemp()
    room = of_worker.parent if 'PYTEST_XDIST_WORKER' in os.environ else of_worker
    with FileLock(room/f'{name}.lock'):
        if not (room/f'{name}.made').exists():
            shutil.rmtree(room/name, ignore_errors=True) # Left by an attempt that failed
            (room/name).mkdir()
            make(room/name)
            (room/f'{name}.made').touch()
    return room/name

def _find(home:Path):
    "Put what there is of the three sets under `home`"
    (home/'data').mkdir()
    for n in ('mnist_sample', 'bitmoji_bw'): _find_folder(n, home)
    _find_mnist(home)

@pytest.fixture(scope='session')
def found(tmp_path_factory):
    "fastai's home for this run, and which of the three sets it has"
    home = once(tmp_path_factory, 'fastai', _find)
    return home, {n: (home/'data'/folder).is_dir() for n, folder in SETS.items()}


@pytest.fixture(scope='session', autouse=True)
def aside(found, tmp_path_factory):
    """Give every test, and every process that it starts, this fastai home, no network, no settings.ini, and one thread

    On a busy machine two threads wait for each other longer than they work: two notebooks at a time took seven times
    the processor time. Bytecode is kept for the next process."""
    import torch
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN: # As in a background job of a shell; children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(OFFLINE, no_proxy='127.0.0.1,localhost', NO_PROXY='127.0.0.1,localhost')
    os.environ['FASTAI_HOME'] = str(found[0])
    os.environ['FASTRECIPES_CACHE'] = str(once(tmp_path_factory, 'cache', lambda folder: None))
    torch.set_num_threads(1)
    os.environ['OMP_NUM_THREADS'] = '1'
    os.environ.pop('PYTHONDONTWRITEBYTECODE', None)
    with pytest.MonkeyPatch.context() as m:
        m.chdir(tmp_path_factory.mktemp('aside'))
        yield


@pytest.fixture(scope='module', autouse=True)
def _settled():
    """Freeze what is imported, half a million objects, so that no garbage collection visits it again

    Every measured fit collects garbage, which took five times as long as a short fit itself."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def pytest_xdist_auto_num_workers(config):
    "One more than there are processors: some tests wait for a browser, a server or a process"
    return (os.cpu_count() or 1) + 1


@contextmanager
def refused(*parts):
    "An `InputError` of one line that contains each of `parts`"
    from fastrecipes.errors import InputError
    with pytest.raises(InputError) as e: yield
    message = str(e.value)
    assert '\n' not in message and not [p for p in parts if str(p) not in message], message


def needs_posix():
    "Skip a test of signals, limits or terminals where the system has others"
    if os.name != 'posix': pytest.skip('needs the signals, limits and terminals of POSIX')


class Heard:
    "A reporter that keeps all reports as tuples; Ctrl-C is pressed at the report for which `stop` is true"
    def __init__(self, stop=lambda told: False):
        self.told = []
        self.stop = stop

    def tell(self, *what):
        self.told.append(what)
        if self.stop(what): raise KeyboardInterrupt

    def started(self, task): self.tell('started', task)
    def progress(self, done, total): pass
    def estimated(self, seconds): pass
    def left_out(self, seconds): self.tell('left out', seconds)
    def epoch(self, row): self.tell('epoch', row)
    def finished(self, result=None): self.tell('finished', result)
    def failed(self, reason, cure=''): self.tell('failed', reason, cure)

    def of(self, kind):
        "The reports of one kind"
        return [what[1:] if len(what) > 2 else what[1] for what in self.told if what[0] == kind]


def must_have(found, *names):
    "Skip the test where one of the sets is missing"
    missing = [n for n in names if not found[1][n]]
    where = "neither in fastai's data folder nor in the folder that FASTRECIPES_TEST_DATA names"
    if missing: pytest.skip(f"needs {' and '.join(missing)}, {where}")

def _set(name, found):
    must_have(found, name)
    from fastrecipes.data.sources import load
    return load(name)


@pytest.fixture(scope='session')
def mnist_sample(found): return _set('mnist_sample', found)

@pytest.fixture(scope='session')
def mnist(found): return _set('mnist', found)

@pytest.fixture(scope='session')
def bitmoji(found):
    "The folder of faces"
    must_have(found, 'bitmoji')
    return found[0]/'data'/'bitmoji_bw'

@pytest.fixture(scope='session')
def digits():
    from fastrecipes.data.sources import load
    return load('digits')

@pytest.fixture(scope='session')
def threes_sevens():
    from fastrecipes.data.sources import load
    return load('digits', classes='3,7')


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    "Every test runs in an empty folder, so that no settings.ini but its own is found"
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def image_folder(tmp_path):
    "Make a folder of small grey images: image_folder({'train/a': 3, 'valid/a': 2}) or image_folder({'a': 5, 'b': 5})"
    import numpy as np
    from PIL import Image
    def make(counts, size=(8, 10), name='set'): # size: height, width
        rng = np.random.default_rng(0)
        for i, (folder, n) in enumerate(counts.items()):
            (tmp_path/name/folder).mkdir(parents=True)
            for j in range(n):
                pixels = rng.integers(0, 60, size) + 40 * (i % 4)
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path/name/folder/f'{j}.png')
        (tmp_path/name).mkdir(exist_ok=True)
        return tmp_path/name
    return make


@pytest.fixture(scope='module')
def app():
    "The explorers, served for a module of tests; see pages.py"
    from pages import served
    with served() as it: yield it


@pytest.fixture
def strict():
    "Errors in callbacks of widgets are raised where the widget was changed"
    from fastrecipes.explore import controls
    controls.strict()
    yield
    controls.strict(on=False)


@pytest.fixture(scope='session')
def ladder_values(threes_sevens):
    "A comparison with everything that one can have: two seeds, a learning curve, and a rung that fails"
    from fastrecipes.answer.climb import compare
    quick = dict(sgd=dict(epochs=3), logistic=dict(lr=1e37, epochs=2), linear=dict(epochs=3), mlp=dict(epochs=3))
    return compare(
        threes_sevens, ['similarity', *quick], device='cpu', settings=quick, repeats=2, curve='linear',
        fractions=(.2, .5, 1), command='fastrecipes compare threes --repeats 2')

@pytest.fixture(scope='session')
def pair_values(threes_sevens):
    "A small comparison"
    from fastrecipes.answer.climb import compare
    return compare(threes_sevens, ['similarity', 'linear'], seed=1, device='cpu', settings={'linear': {'epochs': 2}})
