"""The checkpoint: a state comes back as it went in and nothing is pickled

A file is whole and of this training, or it is refused in one line."""
import json, os, pickle, random, shutil, strikes, struct, subprocess, sys
from types import SimpleNamespace
import numpy as np, pytest, torch
from fastai.callback.core import Callback
from fastcore.foundation import L
from hypothesis import given, settings, strategies as st
from safetensors.torch import save_file
from conftest import refused
from limits import little_room
from made import noise_images
from processes import process
from fastrecipes.training.checkpoint import Checkpoint, pack, random_states, set_random_states, unpack
from fastrecipes.ladder.recipe import fit
from reporters import Untrained


def identical(a, b):
    "Equal in type, structure and bits"
    if type(a) is not type(b): return False
    if isinstance(a, torch.Tensor):
        if (a.dtype, a.shape) != (b.dtype, b.shape): return False
        return a.reshape(-1).view(torch.uint8).equal(b.reshape(-1).view(torch.uint8))
    if isinstance(a, dict): return [*map(repr, a)] == [*map(repr, b)] and all(identical(a[k], v) for k, v in b.items())
    if isinstance(a, (list, tuple, L)): return len(a) == len(b) and all(map(identical, a, b))
    return struct.pack('d', a) == struct.pack('d', b) if isinstance(a, float) else a == b

def there_and_back(state):
    packed, tensors = pack(state)
    return unpack(json.loads(json.dumps(packed)), tensors)


# pack and unpack

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
]

def random_tensor(shape, dtype, seed):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 50).to(dtype)

tensors = st.builds(random_tensor, st.lists(st.integers(0, 3), max_size=3), st.sampled_from(DTYPES), st.integers(0, 9))
plain = st.none() | st.booleans() | st.integers() | st.floats().filter(lambda v: v == v) | st.text()
words_of_ours = st.sampled_from(['tensor', 'dict', 'tuple', 'L'])
keys = st.text() | st.integers() | st.tuples(st.integers(), st.text()) | words_of_ours

def containers(inner):
    lists = st.lists(inner, max_size=3)
    return lists | lists.map(tuple) | lists.map(L) | st.dictionaries(keys, inner, max_size=3)

states = st.recursive(plain | tensors, containers, max_leaves=12)

@settings(max_examples=200, deadline=None, derandomize=True)
@given(states)
def test_a_state_comes_back_as_it_went_in(state): assert identical(there_and_back(state), state)

@settings(max_examples=40, deadline=None, derandomize=True)
@given(states)
def test_a_state_comes_back_from_the_file_too(tmp_path_factory, state):
    folder = tmp_path_factory.mktemp('file')
    Checkpoint(folder, every=1).offer(0, state)
    assert identical(Checkpoint(folder, resume=True).load(), state)

def test_numbers_that_are_not_finite_come_back():
    a, b, c = there_and_back([float('nan'), float('inf'), (-float('inf'), -0.)])
    assert a != a and b == float('inf') and c[0] == -b and str(c[1]) == '-0.0'

@pytest.mark.parametrize('t', [
    torch.tensor(3.),
    torch.arange(12.).view(3, 4).T,
    torch.arange(12.)[::2],
    torch.zeros(0),
    torch.zeros(3, 0, 2),
    torch.ones(1).expand(5),
    torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last),
    torch.nn.Parameter(torch.ones(2)),
    torch.tensor([float('nan')]),
], ids='number transposed strided empty empty-in-the-middle expanded channels-last parameter nan'.split())
def test_a_tensor_of_any_layout_comes_back_from_the_file_with_its_bits(t, tmp_path):
    Checkpoint(tmp_path, every=1).offer(0, [t, t])
    assert all(identical(x, t.detach().contiguous()) for x in Checkpoint(tmp_path, resume=True).load())

def test_numpy_numbers_become_pythons():
    assert identical(there_and_back([np.float64(.1), np.int64(3), np.bool_(True), np.float32(.5)]), [.1, 3, True, .5])

def test_what_is_packed_is_a_copy_of_this_moment():
    weight, rows = torch.zeros(2), [dict(loss=1.)]
    packed, tensors = pack(dict(weight=weight, rows=rows))
    weight.add_(1)
    rows[0]['loss'] = 2.
    rows.append({})
    assert identical(unpack(packed, tensors), dict(weight=torch.zeros(2), rows=[dict(loss=1.)]))

@pytest.mark.parametrize('what', [{1, 2}, object(), b'bytes', 1j, np.zeros(2)], ids=lambda v: type(v).__name__)
def test_what_a_checkpoint_cannot_hold_is_a_mistake_of_the_author(what):
    with pytest.raises(TypeError, match=f'a checkpoint holds tensors, numbers and text, not {type(what).__name__}'):
        pack([what])


# Random states

def test_every_generator_continues_as_it_would_have():
    loader = SimpleNamespace(rng=random.Random(5))
    def draw():
        of_python = random.random(), random.gauss(0, 1), loader.rng.random()
        return of_python, np.random.rand(), np.random.randn(), torch.rand(2).tolist(), torch.randn(1).item()
    draw() # NumPy and Python keep every second normal number
    before = there_and_back(random_states((loader,)))
    first = draw()
    assert all(a != b for a, b in zip(first, draw()))
    set_random_states(before, (loader,))
    assert draw() == first


# When it is written

def test_it_is_written_every_n_epochs_and_held_in_between(tmp_path):
    point = Checkpoint(tmp_path/'new'/'folder', every=3)
    point.begin(recipe='mlp')
    assert [point.due(e) for e in range(7)] == [False, False, True, False, False, True, False] and point.saved is None
    point.write()
    assert not point.path.exists(), 'there is nothing to write'
    for epoch in range(5): point.offer(epoch, dict(epoch=epoch))
    def again():
        return Checkpoint(tmp_path/'new'/'folder', resume=True).load()
    assert point.saved == 2 and again() == dict(epoch=2)
    point.write()
    assert point.saved == 4 and again() == dict(epoch=4)
    at = point.path.stat().st_mtime_ns
    point.write()
    assert point.path.stat().st_mtime_ns == at, 'and nothing is written twice'

def test_without_a_number_it_is_written_when_a_minute_has_passed(tmp_path, monkeypatch):
    now = SimpleNamespace(monotonic=lambda: now.time, time=1000.)
    monkeypatch.setattr('fastrecipes.training.checkpoint.time', now)
    point, written = Checkpoint(tmp_path), []
    now.time = 2000. # Loading the images took its time
    point.begin()
    for epoch in range(9): # 25 seconds each
        now.time += 25
        point.offer(epoch, {})
        written.append(point.saved)
    assert written == [None, None, 2, 2, 2, 5, 5, 5, 8]

@pytest.mark.parametrize('every', [0, -1, 1.5, 'x'])
def test_a_number_of_epochs_that_cannot_be_is_refused(every):
    with refused(f'every={every!r}', 'whole number'): Checkpoint('.', every=every)

def test_a_new_training_forgets_what_was_held_of_another(tmp_path):
    point = Checkpoint(tmp_path, every=2)
    point.begin(seed=1)
    for epoch in range(3): point.offer(epoch, dict(of=1))
    point.begin(seed=2)
    assert point.saved is None
    point.write()
    again = Checkpoint(tmp_path, resume=True)
    again.begin(seed=1)
    assert again.load() == dict(of=1) and again.saved == 1

def test_without_resume_an_old_file_is_not_read_but_written_over_when_due(tmp_path):
    Checkpoint(tmp_path, every=1).offer(7, dict(old=True))
    point = Checkpoint(tmp_path, every=2)
    assert point.load() is None and point.saved is None
    point.offer(0, dict(old=False))
    assert Checkpoint(tmp_path, resume=True).load() == dict(old=True)
    point.offer(1, dict(old=False))
    assert Checkpoint(tmp_path, resume=True).load() == dict(old=False)

def test_there_is_nothing_to_resume_in_an_empty_folder(tmp_path):
    assert Checkpoint(tmp_path/'none', resume=True).load() is None

def half(folder, wait=True):
    "A half-written file of a process that has ended (with `wait=False`: that is still running), and the process"
    process = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    if wait: process.communicate(b'\n')
    f = folder/f'.checkpoint.safetensors.{process.pid}'
    f.write_bytes(b'half')
    return f, process

def test_remove_leaves_nothing_of_it(tmp_path):
    point = Checkpoint(tmp_path, every=1)
    point.remove()
    point.offer(0, {})
    half(tmp_path)
    (tmp_path/'mine').write_text('kept')
    point.remove()
    assert os.listdir(tmp_path) == ['mine']

def test_writing_clears_away_what_killed_processes_have_left_and_not_what_a_living_one_writes(tmp_path):
    half(tmp_path)
    living, process = half(tmp_path, wait=False)
    Checkpoint(tmp_path, every=1).offer(0, {})
    process.communicate(b'\n')
    assert sorted(os.listdir(tmp_path)) == sorted([living.name, 'checkpoint.safetensors'])


# What goes wrong while writing

def test_a_disk_that_is_full_leaves_the_old_checkpoint_and_the_new_state_in_memory(tmp_path):
    point = Checkpoint(tmp_path, every=1)
    point.offer(0, dict(w=torch.zeros(9)))
    with little_room(20_000):
        with pytest.warns(UserWarning, match=r'cannot write the checkpoint \(File too large\);'):
            point.offer(1, dict(w=torch.ones(10_000)))
        with refused(f'{point.path}: cannot write', '(File too large)'): point.write()
    assert point.saved == 0
    assert os.listdir(tmp_path) == ['checkpoint.safetensors']
    assert Checkpoint(tmp_path, resume=True).load()['w'].sum() == 0
    point.write()
    assert point.saved == 1 and Checkpoint(tmp_path, resume=True).load()['w'].sum() == 10_000

@pytest.mark.parametrize('name', ['sgd', 'linear'])
def test_a_folder_that_cannot_be_does_not_end_a_training_and_is_refused_when_it_is_over(name, tmp_path, threes_sevens):
    (tmp_path/'file').write_text('no folder')
    point = Checkpoint(tmp_path/'file'/'run', every=1)
    with pytest.warns(UserWarning, match=r'cannot write the checkpoint \(Not a directory\)'):
        assert len(fit(name, threes_sevens, epochs=2, device='cpu', checkpoint=point).history) == 2
    with refused(f'{point.path}: cannot write the checkpoint (Not a directory)'): point.write()
    assert point.saved is None

def write_and_die(folder, epoch, place):
    "Write a checkpoint, and be killed at this place of the write"
    strikes.in_write(place)
    Checkpoint(folder, every=1).offer(epoch, state_of(epoch))

def state_of(epoch): return dict(epoch=epoch, w=[torch.full((2_000,), float(epoch))] * 3)

@pytest.mark.parametrize('place', strikes.PLACES)
@pytest.mark.parametrize('old', [True, False])
def test_a_process_killed_while_it_writes_leaves_the_old_checkpoint_or_the_new_one_whole(tmp_path, place, old):
    if old: Checkpoint(tmp_path, every=1).offer(100, state_of(100))
    killed = process(write_and_die, tmp_path, 5, place)
    killed.join()
    assert killed.exitcode == -strikes.KILL
    left_over = f'.checkpoint.safetensors.{killed.pid}' in os.listdir(tmp_path)
    again = Checkpoint(tmp_path, resume=True)
    found = again.load()
    assert (left_over, again.saved) == ((False, 5) if place == 'renamed' else (True, 100 if old else None))
    if found: assert found['epoch'] == again.saved and all(w.eq(again.saved).all() for w in found['w'])
    Checkpoint(tmp_path, every=1).offer(6, state_of(6))
    assert os.listdir(tmp_path) == ['checkpoint.safetensors']


# What is refused

def tiny(n=12, seed=0, classes='ab'): return noise_images(n, classes=classes, test=6, seed=seed)

@pytest.fixture(scope='module')
def kept(tmp_path_factory):
    "A checkpoint of `linear` after two of four epochs, and where it is"
    class Pull(Callback):
        def before_epoch(self):
            if self.epoch == 2: raise KeyboardInterrupt
    folder = tmp_path_factory.mktemp('kept')
    with pytest.raises(KeyboardInterrupt): resume(folder, cbs=[Pull()])
    return folder/'checkpoint.safetensors'

def resume(folder, name='linear', images=None, **kwargs):
    return fit(name, images or tiny(), device='cpu', checkpoint=Checkpoint(folder, every=1, resume=True),
               **dict(epochs=4, seed=1) | kwargs)

@pytest.fixture
def folder(kept, tmp_path):
    shutil.copy(kept, tmp_path)
    return tmp_path

def test_with_the_same_recipe_settings_seed_and_images_it_is_resumed(folder):
    assert resume(folder).history.epoch.tolist() == [0, 1, 2, 3]

@pytest.mark.parametrize('kwargs, wanted', [
    (dict(name='sgd'), 'recipe "linear", not "sgd"'),
    (dict(seed=2), 'seed 1, not 2'),
    (dict(epochs=5), 'with epochs 4, not 5'),
    (dict(wd=.1), 'with wd 0.0, not 0.1'),
    (dict(images=tiny(seed=5)), 'images "'),
    (dict(images=tiny(13)), 'images "'),
    (dict(images=tiny(classes='xy')), 'images "'),
], ids=['recipe', 'seed', 'epochs', 'setting', 'pixels', 'number of images', 'classes'])
def test_a_checkpoint_of_another_training_is_refused_and_left_alone(folder, kwargs, wanted):
    file = folder/'checkpoint.safetensors'
    before = file.read_bytes()
    with refused(f'{file}: ', wanted, 'another folder'): resume(folder, **kwargs, reporter=Untrained())
    assert file.read_bytes() == before

@pytest.mark.parametrize('share', [0, .0001, .1, .5, .9, .999])
def test_a_truncated_checkpoint_is_refused(folder, share):
    f = folder/'checkpoint.safetensors'
    f.write_bytes(f.read_bytes()[:int(len(f.read_bytes()) * share)])
    with refused(f'{f}: cannot be read as a checkpoint (', 'remove it'): resume(folder)

@settings(max_examples=60, deadline=None, derandomize=True)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_checkpoint_with_one_bit_turned_is_refused(kept, tmp_path_factory, where, bit):
    data, folder = bytearray(kept.read_bytes()), tmp_path_factory.mktemp('bit')
    data[int(where * len(data))] ^= 1 << bit
    (folder/'checkpoint.safetensors').write_bytes(data)
    with refused(f"{folder/'checkpoint.safetensors'}: ", 'remove it'): resume(folder)

@pytest.mark.parametrize('make, wanted', [
    (lambda f: save_file({'w': torch.zeros(2)}, f), 'is not a checkpoint of this version (no format'),
    (lambda f: save_file({'w': torch.zeros(2)}, f, {'format': 'pt'}), 'is not a checkpoint of this version (pt'),
    (lambda f: save_file({}, f, {'format': Checkpoint.format}), 'cannot be read as a checkpoint (KeyError'),
    (lambda f: save_file({}, f, dict(format=Checkpoint.format, run='{', state='{}', epoch='1', digest='')),
     'is damaged'),
    (lambda f: f.write_bytes(pickle.dumps({})), 'cannot be read as a checkpoint ('),
    (lambda f: f.write_text('text'), 'cannot be read as a checkpoint ('),
    (lambda f: f.mkdir(), 'cannot be read as a checkpoint ('),
], ids=['weights', 'of another', 'without entries', 'not JSON', 'pickle', 'text', 'folder'])
def test_a_foreign_file_is_refused(tmp_path, make, wanted):
    f = tmp_path/'checkpoint.safetensors'
    make(f)
    with refused(f'{f}: {wanted}', 'remove it'): resume(tmp_path)

def test_nothing_is_pickled_or_unpickled(folder, monkeypatch):
    def no(*args, **kwargs): raise AssertionError('pickled')
    for name in ('load', 'loads', 'dump', 'dumps', 'Unpickler', 'Pickler'): monkeypatch.setattr(pickle, name, no)
    for name in ('load', 'save'): monkeypatch.setattr(torch, name, no)
    assert len(resume(folder).history) == 4
