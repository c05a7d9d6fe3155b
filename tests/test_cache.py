"A set is decoded once: then it comes from the cache, unless anything has changed, and whatever happens to the cache"
import errno, json, os, shutil, strikes, time, warnings
from collections import namedtuple
from pathlib import Path
from threading import Event, Thread
import numpy as np, pytest
from PIL import Image
from conftest import refused
from fastrecipes.data import cache as cache_room, decode
from fastrecipes.data.cache import (
    cache_dir, cache_entries, clear_cache, clear_models, decode_files, model_entries, models_dir,
)
from fastrecipes.data.folders import image_files
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError
from fastrecipes.reporter import Reporter
from limits import little_room
from processes import exit_of, process
from reporters import Seen


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    "A cache of its own for each test"
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache'

@pytest.fixture
def decoded(monkeypatch):
    "The names of the files whose pixels are read here and are good"
    names, whole_file, read_fitted = [], decode.whole_file, decode.read_fitted
    def opened(path):
        file = whole_file(path)
        file.name = path
        return file
    def read(file, *args):
        x = read_fitted(file, *args)
        names.append(Path(file.name).name)
        return x
    monkeypatch.setattr(decode, 'whole_file', opened)
    monkeypatch.setattr(decode, 'read_fitted', read)
    return names

class Stop(Reporter):
    "Ends decoding when more than a share is done"
    def __init__(self, share=.6, error=KeyboardInterrupt): self.share, self.error = share, error
    def progress(self, done, total):
        if done > self.share * total: raise self.error

def load_in(cache, path, reporter=None):
    "In a process, whose variables are not those of the test"
    os.environ['FASTRECIPES_CACHE'] = str(cache)
    return load(path, reporter=reporter)

def kinds(cache): return sorted(p.suffix for p in cache.iterdir() if p.suffix != '.lock')
WHOLE, HALF = [''], ['.making']

def fresh(path, monkeypatch, tmp_path, **options):
    "The fingerprint where nothing is cached"
    with monkeypatch.context() as m:
        m.setenv('FASTRECIPES_CACHE', str(tmp_path/'fresh'))
        return load(path, **options).fingerprint


# Hit or miss

def test_the_second_time_no_file_is_opened(image_folder, monkeypatch):
    path = image_folder({'train/a': 3, 'train/b': 3, 'valid/a': 2, 'valid/b': 2})
    first, seen = load(path), Seen()
    def no(*args, **kwargs): raise AssertionError('opened')
    monkeypatch.setattr(Image, 'open', no)
    second = load(path, reporter=seen)
    assert first.fingerprint == second.fingerprint
    assert first.counts().equals(second.counts()) and seen.tasks == seen.counts == []
    for p in path.rglob('*.png'): os.utime(p, ns=(0, 0))
    with pytest.raises(InputError, match='opened'): load(path) # The proof that the files would have been opened

def test_pixels_labels_and_notes_are_the_same_from_the_cache(image_folder, decoded):
    path = image_folder({'a': 4, 'b': 3})
    Image.new('L', (5, 5)).save(path/'a'/'odd.png')
    (path/'b'/'bad.png').write_text('not an image')
    first = load(path, skip_bad=True)
    assert len(first.notes) == 3 and len(decoded) == 8
    second = load(path, skip_bad=True)
    assert len(decoded) == 8 and second.notes == first.notes and second.fingerprint == first.fingerprint

def cut_short(path): path.write_bytes(path.read_bytes()[:path.stat().st_size * 2 // 3])

def test_an_unreadable_file_is_refused_every_time_and_nothing_is_kept(image_folder, cache, decoded):
    path = image_folder({'a': 3, 'b': 3})
    cut_short(path/'a'/'0.png')
    for _ in range(2):
        with pytest.raises(InputError, match='1 unreadable image: .*truncated'): load(path)
    assert kinds(cache) == []
    images = load(path, skip_bad=True)
    assert len(images.train) + len(images.valid) == 5 and images.fingerprint == load(path, skip_bad=True).fingerprint
    entry, = cache_entries()
    assert sorted(p.name for p in (cache/entry.name).iterdir()) == ['entry.json', 'images.npy']
    del decoded[:]
    with pytest.raises(InputError, match='1 unreadable image: .*truncated'):
        load(path) # Out of the entry: nothing else is read for it
    assert decoded == [] and load(path, skip_bad=True).fingerprint == images.fingerprint and decoded == []

def test_many_bad_files_are_left_out_in_one_pass(image_folder):
    path = image_folder({'a': 100, 'b': 100})
    for p in sorted(path.rglob('*.png'))[::7]: cut_short(p)
    files = image_files(path)
    for _ in range(2):
        got = decode_files(files, str(path), skip_bad=True)
        good = [f for i, f in enumerate(files) if i not in got.bad]
        assert len(got.bad) == 29 and len(got.images) == 171
        for x, f in zip(got.images, good, strict=True): assert np.array_equal(x[0], np.array(Image.open(f.path)))

def _later(p): os.utime(p, ns=(p.stat().st_atime_ns, p.stat().st_mtime_ns + 1))
def _other_pixels(p):
    size, x = p.stat().st_size, np.array(Image.open(p))
    Image.fromarray(x ^ 1).save(p)
    with open(p, 'ab') as f: f.write(b'\0' * (size - p.stat().st_size))
    os.utime(p, ns=(1, 10**18))

@pytest.mark.parametrize('change, n', [
    (lambda path: _later(path/'a'/'0.png'), 8),
    (lambda path: _other_pixels(path/'a'/'0.png'), 8),
    (lambda path: Image.new('L', (10, 8), 9).save(path/'b'/'new.png'), 9),
    (lambda path: (path/'b'/'1.png').unlink(), 7),
    (lambda path: (path/'b'/'1.png').rename(path/'b'/'x.png'), 8),
    (lambda path: (path/'b'/'1.png').rename(path/'a'/'x.png'), 8),
    (lambda path: (path/'b').rename(path/'c'), 8),
], ids='time pixels added removed renamed moved class-renamed'.split())
def test_a_change_is_noticed_and_the_old_entry_goes(image_folder, decoded, monkeypatch, tmp_path, change, n):
    path = image_folder({'a': 4, 'b': 4})
    before = load(path)
    assert len(decoded) == 8 and len(cache_entries()) == 1
    change(path)
    seen = Seen()
    after = load(path, reporter=seen)
    assert [t.what for t in seen.tasks] == ['decode']
    assert len(decoded) == 8 + n and len(cache_entries()) == 1 and cache_entries()[0].images == n
    assert after.fingerprint == fresh(path, monkeypatch, tmp_path) and len(before.train) + len(before.valid) == 8

def test_each_way_of_decoding_has_an_entry_and_what_needs_no_decoding_has_none(image_folder, decoded):
    path = image_folder({'a': 5, 'b': 5})
    asked = [{}, dict(size=5), dict(size='5x6'), dict(channels=3), dict(size=5, channels=3), dict(skip_bad=True)]
    shapes = [load(path, **a).shape for a in asked]
    assert shapes == [(1, 8, 10), (1, 5, 5), (1, 5, 6), (3, 8, 10), (3, 5, 5), (1, 8, 10)]
    assert len(decoded) == 50 and len(cache_entries()) == 5 # With and without skip_bad it is the same
    assert [load(path, **a).shape for a in asked] == shapes and load(path, size='5x5', channels='3').shape == (3, 5, 5)
    load(path, seed=7)
    load(path, valid=.5)
    load(str(path))
    load(os.path.relpath(path))
    load(path, classes='a,b')
    assert len(decoded) == 50 and len(cache_entries()) == 5

def test_two_folders_have_two_entries_and_a_copy_is_another_folder(image_folder, decoded):
    path = image_folder({'a': 4, 'b': 4})
    shutil.copytree(path, path.with_name('copy'), copy_function=shutil.copy2)
    assert load(path).fingerprint == load(path.with_name('copy')).fingerprint and len(decoded) == 16
    assert {e.source for e in cache_entries()} == {str(path), str(path.with_name('copy'))}

def test_a_file_that_was_left_out_and_can_be_read_now_comes_back(image_folder, monkeypatch):
    path = image_folder({'a': 5, 'b': 5})
    Image.new('L', (40, 40)).save(path/'a'/'large.png')
    def fail(file):
        if file.endswith('large.png'): raise OSError(errno.EIO, os.strerror(errno.EIO))
        return file
    with monkeypatch.context() as m:
        for room in (decode, cache_room): m.setattr(room, 'whole_file', fail)
        part = load(path, skip_bad=True)
        assert len(part.train) + len(part.valid) == 10
        with pytest.raises(InputError, match=os.strerror(errno.EIO)): load(path)
    for skip_bad in (True, False):
        whole = load(path, skip_bad=skip_bad)
        assert len(whole.train) + len(whole.valid) == 11
    assert len(cache_entries()) == 1

def test_a_fault_of_the_disk_is_not_remembered(image_folder):
    path = image_folder({'a': 20})
    files, at = image_files(path), path/'a'/'7.png'
    at.rename(path/'away') # As if the disk had not found it
    assert list(decode_files(files, str(path), skip_bad=True).bad.values()) == [os.strerror(errno.ENOENT)]
    (path/'away').rename(at)
    got = decode_files(files, str(path), skip_bad=True)
    assert got.bad == {} and len(got.images) == 20


# What comes out of it

def test_images_may_be_written_to_and_the_cache_stays(image_folder):
    path = image_folder({'train/a': 3, 'train/b': 3, 'valid/a': 2, 'valid/b': 2})
    whole = load(path).fingerprint
    with warnings.catch_warnings():
        warnings.simplefilter('error') # torch warns of arrays that cannot be written
        images = load(path)
        images.train.images.zero_()
    assert images.fingerprint != whole == load(path).fingerprint

def test_images_in_use_survive_a_clearing(image_folder):
    path = image_folder({'train/a': 3, 'train/b': 3, 'valid/a': 2, 'valid/b': 2})
    whole, images = load(path).fingerprint, load(path)
    clear_cache()
    assert not cache_entries() and images.fingerprint == whole


# Others at the same time

class Written(Reporter):
    "Writes to a file what was started"
    def __init__(self, file): self.file = file
    def started(self, task): self.file.write_text(task.what)

def load_when_told(cache, path, room, name):
    "Load when `room` has a file called go, and write down the fingerprint"
    (room/f'{name}-ready').touch()
    while not (room/'go').exists(): time.sleep(.001)
    images = load_in(cache, path, Written(room/f'{name}-started'))
    (room/f'{name}-fingerprint').write_text(images.fingerprint)

@pytest.mark.slow
def test_of_processes_that_want_the_same_entry_at_once_one_decodes(image_folder, cache, tmp_path, monkeypatch):
    path, room = image_folder({'a': 300, 'b': 300}), tmp_path/'room'
    room.mkdir()
    started = [process(load_when_told, cache, path, room, name) for name in 'abc']
    while len(list(room.glob('*-ready'))) < 3:
        assert all(p.is_alive() for p in started)
        time.sleep(.01)
    (room/'go').touch()
    for p in started: p.join()
    assert [p.exitcode for p in started] == [0] * 3
    prints = [f.read_text() for f in room.glob('*-fingerprint')]
    assert len(prints) == 3 and set(prints) == {fresh(path, monkeypatch, tmp_path)}
    assert [f.read_text() for f in room.glob('*-started')] == ['decode']
    assert kinds(cache) == WHOLE

def test_of_two_threads_that_want_the_same_entry_one_waits_and_reads(image_folder, cache, decoded, monkeypatch,
                                                                     tmp_path):
    path, half, go, got = image_folder({'a': 100, 'b': 100}), Event(), Event(), []
    class Wait(Reporter):
        def progress(self, done, total):
            if done > total / 2:
                half.set()
                go.wait(60)
    threads = [Thread(target=lambda: got.append(load(path, reporter=Wait())))]
    threads[0].start()
    assert half.wait(60)
    assert kinds(cache) == HALF and clear_cache() == (0, 0) and kinds(cache) == HALF, 'a living run is left alone'
    threads.append(Thread(target=lambda: got.append(load(path))))
    threads[1].start()
    time.sleep(.2)
    assert got == []
    go.set()
    for t in threads: t.join()
    assert {i.fingerprint for i in got} == {load(path).fingerprint}
    assert len(got) == 2 and len(decoded) == 200 and kinds(cache) == WHOLE

def test_another_folder_is_decoded_meanwhile(image_folder, cache):
    class Other(Reporter):
        def progress(self, done, total):
            if not cache_entries(): load(other)
    path, other = image_folder({'a': 10, 'b': 10}), image_folder({'a': 3, 'b': 3}, name='other')
    load(path, reporter=Other())
    assert sorted(e.images for e in cache_entries()) == [6, 20]

class Killed(Reporter):
    "Ends its process when half of the files are decoded"
    def progress(self, done, total):
        if done > total / 2: strikes.strike()

def load_and_die(cache, path, place):
    "Load, and be killed while decoding, or inside the write of the first file"
    if place in strikes.PLACES: strikes.in_write(place)
    load_in(cache, path, Killed() if place == 'decoding' else None)

def kill_loading(cache, path, place): assert exit_of(load_and_die, cache, path, place) == -strikes.KILL

@pytest.mark.parametrize('place', ['decoding', 'half', 'flushed', 'renamed'])
def test_after_a_kill_the_entry_is_whole_or_not_there_and_the_next_run_tidies_up(
    image_folder, cache, monkeypatch, tmp_path, place,
):
    path = image_folder({'a': 30, 'b': 30})
    kill_loading(cache, path, place)
    assert kinds(cache) == (WHOLE if place == 'renamed' else HALF) and len(cache_entries()) == (place == 'renamed')
    assert load(path).fingerprint == fresh(path, monkeypatch, tmp_path) == load(path).fingerprint
    assert kinds(cache) == WHOLE

def test_a_kill_while_a_changed_set_is_decoded_leaves_the_old_entry_or_none(image_folder, cache, monkeypatch, tmp_path):
    path = image_folder({'a': 30, 'b': 30})
    load(path)
    _later(path/'a'/'0.png')
    kill_loading(cache, path, 'flushed')
    assert kinds(cache) == WHOLE + HALF
    assert load(path).fingerprint == fresh(path, monkeypatch, tmp_path) and kinds(cache) == WHOLE

@pytest.fixture
def killed(image_folder, cache):
    "A folder whose decoding was killed"
    path = image_folder({'a': 30, 'b': 30}, name='killed')
    kill_loading(cache, path, 'decoding')
    assert kinds(cache) == HALF
    return path

def test_what_a_killed_run_has_left_is_removed_by_any_other_run(killed, image_folder, cache):
    load(image_folder({'a': 3, 'b': 3}, name='other'))
    assert kinds(cache) == WHOLE and cache_entries()[0].images == 6

def test_clearing_removes_what_a_killed_run_has_left(killed, cache):
    left, = cache.glob('*.making')
    size = (left/'images.npy').stat().st_size
    assert clear_cache() == (1, size) and list(cache.iterdir()) == []

@pytest.mark.parametrize('error', [KeyboardInterrupt, MemoryError], ids=['ctrl-c', 'memory'])
def test_a_run_that_is_stopped_leaves_nothing_behind(image_folder, cache, error):
    with pytest.raises(error): load(image_folder({'a': 50, 'b': 50}), reporter=Stop(error=error))
    assert kinds(cache) == []

def aged(folder, seconds):
    "Make what is in a folder that old"
    for p in folder.iterdir(): os.utime(p, (time.time() - seconds,) * 2)

def test_an_entry_goes_a_week_after_its_last_use_if_the_folder_that_it_was_made_from_is_gone(image_folder, cache):
    gone, there = image_folder({'a': 3, 'b': 3}, name='gone'), image_folder({'a': 4, 'b': 4}, name='there')
    whole = load(gone).fingerprint
    load(there)
    names = []
    def left(): # Another run comes by
        load(image_folder({'a': 5, 'b': 5}, name=f'new{len(names)}'))
        names.append(1)
        return {e.source: cache/e.name for e in cache_entries()}
    away = gone.rename(gone.with_name('away'))
    for entry in left().values(): aged(entry, 500_000)
    assert str(gone) in left(), 'it was used this week'
    away.rename(gone)
    for entry in left().values(): aged(entry, 700_000)
    assert load(gone).fingerprint == whole, 'a use counts, and what is there stays'
    gone.rename(away)
    assert {str(gone), str(there)} < set(left())
    aged(left()[str(gone)], 700_000)
    assert str(gone) not in left() and str(there) in left()


# Damage

def _cut(e): (e/'images.npy').write_bytes((e/'images.npy').read_bytes()[:-1])
def _flip(e):
    raw = bytearray((e/'images.npy').read_bytes())
    raw[-9] ^= 4
    (e/'images.npy').write_bytes(raw)
def _edit(**change):
    return lambda e: (e/'entry.json').write_text(json.dumps(json.loads((e/'entry.json').read_text()) | change))

@pytest.mark.parametrize('damage', [
    _cut,
    _flip,
    lambda e: (e/'images.npy').write_bytes(b''),
    lambda e: (e/'images.npy').write_bytes(b'\x93NUMPY garbage' * 9),
    lambda e: (e/'images.npy').unlink(),
    lambda e: (e/'entry.json').unlink(),
    lambda e: (e/'entry.json').write_text('{"sha'),
    lambda e: (e/'entry.json').write_text('[]'),
    lambda e: (e/'entry.json').write_bytes(b'\xff\xfe'),
    _edit(shape=[10, 1, 10, 8]),
    _edit(bad=None),
    _edit(crc32='x'),
    lambda e: np.save(e/'images.npy', np.array([{'a': 1}], dtype=object), allow_pickle=True),
], ids='cut flipped empty garbage no-images no-json half-json list no-text shape bad crc pickle'.split())
def test_a_damaged_entry_is_made_again_and_that_is_said(image_folder, decoded, damage):
    path = image_folder({'a': 5, 'b': 5})
    whole = load(path).fingerprint
    damage(cache_dir()/cache_entries()[0].name)
    assert len(cache_entries()) == 1, 'it can be listed, and cleared'
    again = load(path)
    note, = again.notes
    assert again.fingerprint == whole and len(decoded) == 20 and 'damaged' in note and str(cache_dir()) in note
    again = load(path)
    assert again.fingerprint == whole and again.notes == () and len(decoded) == 20
    assert len(cache_entries()) == 1 and cache_entries()[0].images == 10


# Without a cache

def test_where_the_cache_cannot_be_written_the_run_continues_and_says_so(image_folder, tmp_path, monkeypatch, decoded):
    (tmp_path/'file').touch()
    path = image_folder({'a': 5, 'b': 5})
    whole = load(path).fingerprint
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'file'))
    for i in (2, 3):
        images = load(path)
        assert images.fingerprint == whole and len(decoded) == 10 * i
        note, = images.notes
        assert 'could not be kept' in note
        assert str(tmp_path/'file') in note and 'FASTRECIPES_CACHE' in note and '\n' not in note
    assert cache_entries() == [] and clear_cache() == (0, 0) and (tmp_path/'file').exists()

def test_what_cannot_be_locked_is_decoded_in_memory(image_folder, cache, monkeypatch):
    def no_locks(*args): raise NotImplementedError('no locks here')
    monkeypatch.setattr(cache_room, '_lock', no_locks)
    images = load(image_folder({'a': 5, 'b': 5}))
    assert len(images.train) == 8 and 'no locks here' in images.notes[0] and kinds(cache) == []

@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may write everywhere')
def test_a_cache_that_may_only_be_read_is_read(image_folder, cache, decoded):
    path = image_folder({'a': 5, 'b': 5})
    whole = load(path).fingerprint
    cache.chmod(0o500)
    try:
        assert load(path).notes == () and len(decoded) == 10
        assert load(path, size=5).notes and load(path).fingerprint == whole
    finally: cache.chmod(0o700)

def test_on_a_disk_without_room_nothing_is_begun(image_folder, cache, monkeypatch, decoded):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: namedtuple('usage', 'free')(799))
    images = load(image_folder({'a': 5, 'b': 5}))
    assert 'No space left' in images.notes[0] and len(decoded) == 10 and kinds(cache) == []

def test_on_a_disk_that_is_full_the_run_continues_in_memory_if_there_is_room(image_folder, cache, monkeypatch):
    path = image_folder({'a': 100, 'b': 100})
    with little_room(10_000): images = load(path)
    assert kinds(cache) == [] and any('File too large' in note for note in images.notes)
    assert images.fingerprint == load(path).fingerprint
    clear_cache()
    monkeypatch.setattr(cache_room, '_most_in_memory', 1000)
    with little_room(10_000), refused('could not be kept', 'FASTRECIPES_CACHE'): load(path)
    assert kinds(cache) == []


# Looking and clearing

def test_the_cache_lies_where_the_variable_says_or_in_the_users_cache_folder(monkeypatch, tmp_path):
    import platformdirs
    assert cache_dir() == tmp_path/'cache'
    for name in ('HOME', 'USERPROFILE'): monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv('FASTRECIPES_CACHE', '~/here')
    assert cache_dir() == tmp_path/'here'
    for unset in (lambda: monkeypatch.setenv('FASTRECIPES_CACHE', ''), lambda: monkeypatch.delenv('FASTRECIPES_CACHE')):
        unset()
        assert cache_dir() == platformdirs.user_cache_path('fastrecipes', appauthor=False)
        assert cache_dir().name in ('fastrecipes', 'Cache')

def test_entries_tell_source_number_size_and_time_and_the_newest_is_first(image_folder, cache):
    begin = time.time()
    assert cache_entries() == [] and not cache.exists()
    a, b = image_folder({'a': 3, 'b': 3}, name='one'), image_folder({'a': 5, 'b': 5}, name='two')
    load(a)
    load(b)
    load(a)
    assert [(e.source, e.images) for e in cache_entries()] == [(str(b), 10), (str(a), 6)]
    for e in cache_entries():
        assert e.bytes == sum(p.stat().st_size for p in (cache/e.name).iterdir()) > e.images * 80
        assert begin - 1 <= e.made.timestamp() <= time.time() + 1
    (cache/cache_entries()[0].name/'entry.json').write_text('x')
    assert sorted(e.source for e in cache_entries()) == ['', str(a)], 'a damaged one is listed, and can be cleared'

def test_clearing_removes_only_what_is_ours(image_folder, cache, tmp_path):
    load(image_folder({'a': 3, 'b': 3}))
    entry = cache_entries()[0]
    for name in (f'{entry.name}/diary.txt', 'photo.png', 'more/images.npy'):
        (cache/name).parent.mkdir(exist_ok=True)
        (cache/name).write_bytes(b'mine')
    far = tmp_path/'far'
    far.mkdir()
    (far/'images.npy').write_bytes(b'mine')
    (cache/('0' * 16 + '-' + '0' * 32)).symlink_to(far)
    load(image_folder({'a': 4, 'b': 4}, name='two'))
    total = next(e.bytes for e in cache_entries() if e.images == 8)
    assert clear_cache() == (1, total), 'the folder with a diary in it is still there, without our files'
    left = [p for folder in (cache, far) for p in folder.rglob('*') if p.is_file() and p.suffix != '.lock']
    theirs = {f'cache/{entry.name}/diary.txt', 'cache/more/images.npy', 'cache/photo.png', 'far/images.npy'}
    assert {p.relative_to(tmp_path).as_posix() for p in left} == theirs

def test_after_clearing_it_is_decoded_again(image_folder, decoded, cache):
    path = image_folder({'a': 3, 'b': 3})
    load(path)
    n, freed = clear_cache()
    assert n == 1 and freed > 0 and clear_cache() == (0, 0) and list(cache.iterdir()) == []
    load(path)
    assert len(decoded) == 12 and len(cache_entries()) == 1

def test_kept_models_are_listed_and_cleared_and_nothing_else(cache):
    good, broken, mine = (models_dir()/n for n in (f"mlp-{'0' * 32}", f"sgd-{'1' * 32}", 'diary'))
    for home in (good, broken, mine): home.mkdir(parents=True)
    (good/'card.json').write_text(json.dumps(dict(source=dict(name='digits', images=dict(train=1437)))))
    listed = {(e.name, e.source, e.images) for e in model_entries()}
    assert listed == {(good.name, 'digits', 1437), (broken.name, '', 0)}
    size = (good/'card.json').stat().st_size
    assert clear_models() == (2, size) and model_entries() == [] and mine.is_dir()
