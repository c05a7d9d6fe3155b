"A set is decoded once: the second time it comes from the cache, unless anything has changed, and whatever happens to the cache"
import json, os, signal, subprocess, sys, time, warnings
from pathlib import Path
import numpy as np, pytest
from PIL import Image
from fastrecipes.data import cache as lib
from fastrecipes.data.cache import cache_dir, cache_entries, clear_cache
from fastrecipes.data.folders import image_files
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    "A cache of its own for each test"
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache'

@pytest.fixture
def decoded(monkeypatch):
    "The names of the files whose pixels are read here, as they are"
    names, real = [], lib._block
    def block(files, start, stop, *args):
        rows, info = real(files, start, stop, *args)
        names.extend(Path(files[i].path).name for i in range(start, stop) if i not in {b[0] for b in info['bad']})
        return rows, info
    monkeypatch.setattr(lib, '_block', block)
    return names

def child(code, *args, **kwargs):
    return subprocess.Popen([sys.executable, '-W', 'error', '-c', code, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)

def made_now(cache): return sorted(p.name for p in cache.iterdir() if p.name.startswith('making-'))


# Hit or miss

def test_the_second_time_no_file_is_opened(image_folder, monkeypatch):
    path = image_folder({'train/a': 3, 'train/b': 3, 'valid/a': 2, 'valid/b': 2})
    first, seen = load(path), []
    def no(*args): raise AssertionError('opened')
    for where, name in ((Image, 'open'), (lib, '_bytes_of')): monkeypatch.setattr(where, name, no)
    second = load(path, on_done=lambda *a: seen.append(a))
    assert first.fingerprint == second.fingerprint and first.counts().equals(second.counts()) and seen == [(10, 10)]
    for p in path.rglob('*.png'): os.utime(p, ns=(0, 0))
    with pytest.raises(AssertionError, match='opened'): load(path) # The proof that the files would have been opened

def test_pixels_labels_and_notes_are_the_same_from_the_cache(image_folder, decoded):
    path = image_folder({'a': 4, 'b': 3})
    Image.new('L', (5, 5)).save(path/'a'/'odd.png')
    (path/'b'/'bad.png').write_text('not an image')
    first = load(path, skip_bad=True)
    assert len(first.notes) == 2 and len(decoded) == 8 # A file whose header is bad is not read again
    second = load(path, skip_bad=True)
    assert len(decoded) == 8 and second.notes == first.notes and second.fingerprint == first.fingerprint

def test_an_unreadable_file_is_refused_every_time_and_nothing_is_kept(image_folder, cache):
    path = image_folder({'a': 3, 'b': 3})
    raw = (path/'a'/'0.png').read_bytes()
    (path/'a'/'0.png').write_bytes(raw[:len(raw) * 2 // 3])
    for _ in range(2):
        with pytest.raises(InputError, match='1 unreadable image: .*truncated'): load(path)
    assert list(cache.iterdir()) == []
    images = load(path, skip_bad=True) # Its header is good: it is found while the others are in their rows already
    assert len(images.train) + len(images.valid) == 5 and images.fingerprint == load(path, skip_bad=True).fingerprint
    assert sorted(p.name for p in next(cache.iterdir()).iterdir()) == ['entry.json', 'images.npy']

def _later(p): os.utime(p, ns=(p.stat().st_atime_ns, p.stat().st_mtime_ns + 1))
def _other_pixels(p):
    size, x = p.stat().st_size, np.array(Image.open(p))
    Image.fromarray(x ^ 1).save(p)
    with open(p, 'ab') as f: f.write(b'\0' * (size - p.stat().st_size))
    p.stat().st_size >= size and os.utime(p, ns=(1, 10**18))

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
    after = load(path)
    assert len(decoded) == 8 + n and len(cache_entries()) == 1 and cache_entries()[0].images == n
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'empty'))
    fresh = load(path)
    assert after.fingerprint == fresh.fingerprint and after.classes == fresh.classes and len(before.train) + len(before.valid) == 8

def test_what_was_asked_for_has_entries_of_its_own_and_what_needs_no_decoding_has_not(image_folder, decoded):
    path = image_folder({'a': 5, 'b': 5})
    asked = [{}, dict(size=5), dict(size='5x6'), dict(channels=3), dict(size=5, channels=3), dict(skip_bad=True)]
    shapes = [load(path, **a).shape for a in asked]
    assert shapes == [(1, 8, 10), (1, 5, 5), (1, 5, 6), (3, 8, 10), (3, 5, 5), (1, 8, 10)] and len(decoded) == 50 and len(cache_entries()) == 5 # With and without skip_bad it is the same
    assert [load(path, **a).shape for a in asked] == shapes and load(path, size='5x5', channels='3').shape == (3, 5, 5)
    load(path, seed=7); load(path, valid=.5); load(str(path)); load(os.path.relpath(path)); load(path, classes='a,b')
    assert len(decoded) == 50 and len(cache_entries()) == 5

def test_two_folders_have_two_entries_and_a_copy_is_another_folder(image_folder, decoded):
    import shutil
    path = image_folder({'a': 4, 'b': 4})
    shutil.copytree(path, path.with_name('copy'), copy_function=shutil.copy2)
    assert load(path).fingerprint == load(path.with_name('copy')).fingerprint and len(decoded) == 16
    assert {e.source for e in cache_entries()} == {str(path), str(path.with_name('copy'))}


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

LOAD = """import sys, time
from pathlib import Path
import torch
from fastrecipes.data import sources as images
Path(sys.argv[2]).touch()
while not Path(sys.argv[3]).exists(): time.sleep(.001)
print(images.load(sys.argv[1]).fingerprint)"""

@pytest.mark.slow
def test_processes_that_make_the_same_entry_at_once_share_one(image_folder, cache, tmp_path):
    path = image_folder({'a': 150, 'b': 150})
    runs = [child(LOAD, path, tmp_path/f'ready{i}', tmp_path/'go') for i in range(3)]
    while not all((tmp_path/f'ready{i}').exists() for i in range(3)): assert all(p.poll() is None for p in runs); time.sleep(.01)
    (tmp_path/'go').touch()
    out = [p.communicate() for p in runs]
    assert [p.returncode for p in runs] == [0] * 3, out
    assert {o.strip() for o, _ in out} == {load(path).fingerprint} and len(list(cache.iterdir())) == len(cache_entries()) == 1

KILLED = """import sys, time
from fastrecipes.data.sources import load
def on_done(done, total):
    if done > .75 * total: print('going', flush=True); time.sleep(600)
load(sys.argv[1], on_done=on_done)"""

def killed(path, cache):
    "Leave what a run leaves that is killed when three quarters of the images are decoded"
    with child(KILLED, path) as p:
        assert p.stdout.readline() == 'going\n'
        assert len(made_now(cache)) == 1 and cache_entries() == [] and clear_cache() == (0, 0), 'a living run is left alone'
        p.kill()
    assert len(made_now(cache)) == 1 and cache_entries() == []

def aged(folder, seconds):
    "Make a folder and what is in it that old"
    for p in (*folder.iterdir(), folder): os.utime(p, (time.time() - seconds,) * 2)

def fresh(path, monkeypatch, tmp_path, **options):
    "The fingerprint where nothing is cached"
    with monkeypatch.context() as m:
        m.setenv('FASTRECIPES_CACHE', str(tmp_path/'fresh'))
        return load(path, **options).fingerprint

def test_a_run_that_is_killed_leaves_nothing_that_is_found_and_the_next_goes_on_where_it_stopped(image_folder, cache, decoded, monkeypatch, tmp_path):
    path, said, seen = image_folder({'a': 100, 'b': 100}), [], []
    killed(path, cache)
    images = load(path, tell=said.append, on_done=lambda *a: seen.append(a))
    there = 200 - len(decoded)
    assert 150 < there < 200 and said == [f'going on with {there} of 200 images that an earlier run decoded'] and seen == sorted(seen) and seen[-1] == (200, 200)
    assert made_now(cache) == [] and len(cache_entries()) == 1 and images.fingerprint == fresh(path, monkeypatch, tmp_path)
    assert load(path).fingerprint == images.fingerprint and len(decoded) == 400 - there

STRUCK = """import os, sys, strikes
from fastrecipes.data import cache as lib
from fastrecipes.data.sources import load
put, note, publish, place = lib._Disk.put, lib._Disk.note, lib._publish, sys.argv[2]
def half_a_row(self, start, rows, k, info):
    put(self, start, rows[:len(rows) // 2], k, info)
    strikes.strike()
def half_a_line(self, k, info):
    self.journal.write(f'[{k}, {{')
    self.journal.flush()
    strikes.strike()
if place == 'rows': lib._Disk.put = half_a_row
if place == 'journal': lib._Disk.note = half_a_line
if place == 'renamed': strikes.in_write(place)
if place == 'finished': lib._publish = lambda *args: strikes.strike()
load(sys.argv[1])"""

@pytest.mark.parametrize('place', ['rows', 'journal', 'renamed', 'finished'])
def test_a_run_that_is_killed_inside_a_write_leaves_nothing_that_is_found_and_the_next_makes_the_entry(image_folder, cache, monkeypatch, tmp_path, place):
    path = image_folder({'a': 30, 'b': 30})
    monkeypatch.setenv('PYTHONPATH', str(Path(__file__).parent))
    with child(STRUCK, path, place) as p:
        err = p.communicate()[1]
        assert p.returncode == -signal.SIGKILL, err
    assert cache_entries() == [] and len(made_now(cache)) == 1
    assert load(path).fingerprint == fresh(path, monkeypatch, tmp_path) == load(path).fingerprint
    assert len(cache_entries()) == 1 and made_now(cache) == []

def test_blocks_of_a_killed_run_that_are_damaged_are_decoded_again(image_folder, cache, decoded, monkeypatch, tmp_path):
    path = image_folder({'a': 100, 'b': 100})
    killed(path, cache)
    half = cache/made_now(cache)[0]
    raw = bytearray((half/'0.npy').read_bytes())
    raw[200] ^= 1 # In the first block
    (half/'0.npy').write_bytes(raw)
    with open(half/'journal', 'a') as f: f.write('[3, {"cr')
    images = load(path)
    assert decoded[0] == '0.png' and 0 < len(decoded) < 100 and images.fingerprint == fresh(path, monkeypatch, tmp_path)

@pytest.mark.parametrize('harm', [lambda p: (p/'plan.json').write_text('{'), lambda p: (p/'0.npy').unlink(), lambda p: (p/'0.npy').write_bytes(b'short'), lambda p: (p/'journal').write_bytes(b'\xff\0'),
                                  lambda p: (p/'journal').write_text('[0, 5]\n7\n')], ids='plan no-rows rows journal strange-journal'.split())
def test_what_a_killed_run_has_left_may_be_anything(image_folder, cache, monkeypatch, tmp_path, harm):
    path = image_folder({'a': 100, 'b': 100})
    killed(path, cache)
    harm(cache/made_now(cache)[0])
    assert load(path).fingerprint == fresh(path, monkeypatch, tmp_path) and len(cache_entries()) == 1

def test_a_changed_file_makes_what_a_killed_run_has_left_useless(image_folder, cache, decoded, monkeypatch, tmp_path):
    path = image_folder({'a': 100, 'b': 100})
    killed(path, cache)
    _later(path/'b'/'99.png')
    assert load(path).fingerprint == fresh(path, monkeypatch, tmp_path) and len(decoded) == 400

def test_what_a_killed_run_has_left_is_kept_for_a_day_and_swept_up_by_a_run_of_anything(image_folder, cache):
    killed(image_folder({'a': 100, 'b': 100}), cache)
    load(image_folder({'a': 3, 'b': 3}, name='other'))
    left, = made_now(cache)
    aged(cache/left, 90_000)
    load(image_folder({'a': 4, 'b': 4}, name='third'))
    assert made_now(cache) == []

@pytest.mark.slow
def test_processes_that_go_on_with_the_same_leftovers_at_once_share_one_entry(image_folder, cache, tmp_path, monkeypatch):
    path = image_folder({'a': 100, 'b': 100})
    killed(path, cache)
    runs = [child(LOAD, path, tmp_path/f'ready{i}', tmp_path/'go') for i in range(3)]
    while not all((tmp_path/f'ready{i}').exists() for i in range(3)): assert all(p.poll() is None for p in runs); time.sleep(.01)
    (tmp_path/'go').touch()
    out = [p.communicate() for p in runs]
    assert [p.returncode for p in runs] == [0] * 3, out
    assert {o.strip() for o, _ in out} == {fresh(path, monkeypatch, tmp_path)} and len(cache_entries()) == 1 and made_now(cache) == []

def test_a_run_that_is_killed_with_helpers_at_work_is_gone_on_with_as_well(image_folder, cache, decoded, monkeypatch, tmp_path):
    code = """import sys, time
from fastrecipes.data import cache as lib
from fastrecipes.data.sources import load
lib._worth, lib._processors, mine, block = -1, lambda: 3, [], lib._block
lib._block = lambda files, start, *args: (mine.append(start), block(files, start, *args))[1]
queues, helped, by_helper = [], [], lib._helped
def helping(helper, queue, results, job):
    queues.append(results)
    by_helper(helper, queue, results, job)
lib._helped = helping
def on_done(done, total):
    while done > 100 and not helped and (not queues or queues[0].empty()): time.sleep(.005) # Held until a helper has done a block
    if done > 100: helped.append(True)
    if done > total / 2 and done > len(mine) * 75: print(len(mine), flush=True); time.sleep(600)
load(sys.argv[1], on_done=on_done)"""
    path, said = image_folder({'a': 600, 'b': 600}), []
    with child(code, path) as p:
        here = int(p.stdout.readline())
        p.kill()
    assert len(made_now(cache)) == 1 and cache_entries() == []
    images = load(path, tell=said.append)
    there = 1200 - len(decoded)
    assert there > here * 75 and there > 600 and said == [f'going on with {there} of 1,200 images that an earlier run decoded'] and made_now(cache) == []
    assert images.fingerprint == fresh(path, monkeypatch, tmp_path) and len(cache_entries()) == 1

def test_clearing_removes_what_a_killed_run_has_left(image_folder, cache):
    with child(KILLED, image_folder({'a': 100, 'b': 100})) as p:
        p.stdout.readline()
        p.kill()
    n, freed = clear_cache()
    assert n == 1 and freed > 200 * 80 and list(cache.iterdir()) == []

def test_a_half_made_entry_of_another_machine_goes_when_it_is_a_day_old(cache, image_folder):
    other = cache/'making-1-00000000-abc'
    other.mkdir(parents=True)
    load(image_folder({'a': 3, 'b': 3}))
    assert other.exists()
    os.utime(other, (time.time() - 90_000,) * 2)
    load(image_folder({'a': 3, 'b': 3}, name='more'))
    assert not other.exists()

def test_a_living_run_keeps_what_it_makes_for_days_if_only_it_adds_to_it(image_folder, cache):
    with child(KILLED, image_folder({'a': 100, 'b': 100})) as p:
        assert p.stdout.readline() == 'going\n'
        made, = made_now(cache)
        os.utime(cache/made, (time.time() - 90_000,) * 2) # The folder is old, the journal is not
        load(image_folder({'a': 3, 'b': 3}, name='other'))
        try: assert made_now(cache) == [made] and (cache/made/'journal').exists()
        finally: p.kill()

def stopped(path, monkeypatch):
    "Stop a run of this process when three quarters are decoded, after such a time that it is worth to go on"
    def stop(done, total):
        if done > .75 * total: raise KeyboardInterrupt
    monkeypatch.setattr(lib, '_patience', 0)
    with pytest.raises(KeyboardInterrupt): load(path, on_done=stop)

def test_who_stops_a_run_and_begins_again_in_the_same_process_goes_on_where_it_stopped(image_folder, cache, decoded, monkeypatch, tmp_path):
    path, said = image_folder({'a': 100, 'b': 100}), []
    stopped(path, monkeypatch)
    n = len(decoded)
    assert len(made_now(cache)) == 1 and 150 < n < 200
    images = load(path, tell=said.append)
    assert len(decoded) == 200 and len(said) == 1 and said[0].startswith('going on with ') and made_now(cache) == [] and len(cache_entries()) == 1
    assert images.fingerprint == fresh(path, monkeypatch, tmp_path)

def test_a_run_that_is_refused_late_is_gone_on_with_when_bad_files_may_be_left_out(image_folder, cache, decoded, monkeypatch, tmp_path):
    path, said = image_folder({'a': 100, 'b': 100}), []
    raw = (path/'a'/'0.png').read_bytes()
    (path/'a'/'0.png').write_bytes(raw[:len(raw) * 2 // 3])
    monkeypatch.setattr(lib, '_patience', 0)
    for n in (199, 210): # The block with the bad file is tried again
        with pytest.raises(InputError, match='1 unreadable image: .*truncated'): load(path)
        assert len(made_now(cache)) == 1 and cache_entries() == [] and len(decoded) == n
    images = load(path, skip_bad=True, tell=said.append)
    assert said == ['going on with 200 of 200 images that an earlier run decoded'] and len(decoded) == 210 and made_now(cache) == []
    assert images.fingerprint == fresh(path, monkeypatch, tmp_path, skip_bad=True) and len(images.train) + len(images.valid) == 199
    n = len(decoded)
    with pytest.raises(InputError, match='1 unreadable image: .*truncated'): load(path) # Out of the entry: nothing else is read for it
    assert len(decoded) == n and load(path, skip_bad=True).fingerprint == images.fingerprint and len(decoded) == n

def test_a_file_that_was_left_out_and_can_be_read_now_comes_back(image_folder, monkeypatch):
    path = image_folder({'a': 5, 'b': 5})
    Image.new('L', (40, 40)).save(path/'a'/'large.png')
    with monkeypatch.context() as m:
        m.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
        assert len((part := load(path, skip_bad=True)).train) + len(part.valid) == 10
        with pytest.raises(InputError, match='more than 1,000 pixels'): load(path)
    for _ in range(2): assert len((whole := load(path)).train) + len(whole.valid) == 11
    assert len(cache_entries()) == 1

@pytest.mark.parametrize('skip_bad', [False, True])
def test_a_fault_of_the_disk_is_not_remembered(image_folder, cache, monkeypatch, skip_bad):
    path = image_folder({'a': 200})
    files, at = image_files(path), path/'a'/'7.png'
    monkeypatch.setattr(lib, '_patience', 0)
    at.rename(path/'away') # As if the disk had not found it
    def stop(done, total):
        if done == total: raise KeyboardInterrupt
    with pytest.raises((InputError, KeyboardInterrupt)): lib.decode_files(files, str(path), skip_bad=skip_bad, on_done=stop if skip_bad else None)
    assert len(made_now(cache)) == 1
    (path/'away').rename(at)
    said = []
    got = lib.decode_files(files, str(path), skip_bad=skip_bad, tell=said.append)
    assert got.bad == {} and len(said) == 1 and 150 < int(said[0].split()[3]) < 200
    for x, f in zip(got.images, files, strict=True): assert np.array_equal(x[0], np.array(Image.open(f.path)))

def some_bad(path, every=7):
    "Cut every seventh file short"
    for p in sorted(path.rglob('*.png'))[::every]: p.write_bytes((raw := p.read_bytes())[:len(raw) * 2 // 3])
    return path

def test_to_leave_bad_files_out_takes_no_second_room(image_folder, cache, monkeypatch):
    path, real, room = some_bad(image_folder({'a': 100, 'b': 100})), lib._read_blocks, []
    def read(*args):
        for block in real(*args):
            room.append(sum(p.stat().st_size for p in cache.rglob('*.npy')))
            yield block
    monkeypatch.setattr(lib, '_read_blocks', read)
    files = image_files(path)
    got = lib.decode_files(files, str(path), skip_bad=True)
    assert len(got.bad) == 29 and max(room) == 200 * 80 + 128 and room[-1] == 171 * 80 + 128 == next(cache.rglob('images.npy')).stat().st_size
    for x, f in zip(got.images, [f for i, f in enumerate(files) if i not in got.bad], strict=True): assert np.array_equal(x[0], np.array(Image.open(f.path)))

def test_a_run_that_is_killed_while_bad_files_are_left_out_is_not_gone_on_with(image_folder, cache, monkeypatch, tmp_path):
    code = """import os, signal, sys
from fastrecipes.data import cache as lib
from fastrecipes.data.sources import load
real = lib._read_blocks
def read(*args):
    for k, block in enumerate(real(*args)):
        if k == 3: os.kill(os.getpid(), signal.SIGKILL)
        yield block
lib._read_blocks = read
load(sys.argv[1], skip_bad=True)"""
    path, said = some_bad(image_folder({'a': 100, 'b': 100})), []
    with child(code, path) as p: assert p.wait() == -9
    left, = made_now(cache)
    assert sorted(p.name for p in (cache/left).iterdir()) == ['0.npy', 'plan.json']
    assert load(path, skip_bad=True, tell=said.append).fingerprint == fresh(path, monkeypatch, tmp_path, skip_bad=True)
    assert said == [] and made_now(cache) == [] and len(cache_entries()) == 1

def test_when_the_disk_fails_the_blocks_that_are_there_are_kept(image_folder, cache):
    code = """import resource, sys
from fastrecipes.data import cache as lib
from fastrecipes.data.sources import load
lib._patience = 0
def on_done(done, total):
    if done > total / 2: resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY)) # From here on nothing can be written
print(load(sys.argv[1], on_done=on_done).notes)"""
    path, said = image_folder({'a': 100, 'b': 100}), []
    with child(code, path) as p: out, err = p.communicate()
    assert p.returncode == 0 and 'could not be kept' in out, err
    assert len(made_now(cache)) == 1 and load(path, tell=said.append).notes == () and said[0].startswith('going on with 1')

def test_what_a_stopped_run_of_this_process_has_left_can_be_cleared(image_folder, cache, monkeypatch):
    stopped(image_folder({'a': 100, 'b': 100}), monkeypatch)
    assert clear_cache()[0] == 1 and list(cache.iterdir()) == []

def test_two_threads_that_load_the_same_at_once_leave_each_other_alone(image_folder, cache, monkeypatch, tmp_path):
    from threading import Event, Thread
    path, half, go, got = image_folder({'a': 100, 'b': 100}), Event(), Event(), []
    def wait(done, total):
        if done > total / 2: half.set(); go.wait(60)
    thread = Thread(target=lambda: got.append(load(path, on_done=wait)))
    thread.start()
    assert half.wait(60)
    made = made_now(cache)
    got.append(load(path))
    assert len(made) == 1 and made_now(cache) == made and clear_cache()[0] == 1 and made_now(cache) == made
    go.set(); thread.join()
    assert len({i.fingerprint for i in got} | {fresh(path, monkeypatch, tmp_path)}) == 1 and len(got) == 2 and got[1].notes == () and made_now(cache) == [] and len(cache_entries()) == 1

@pytest.mark.parametrize('age, goes_on', [(0, False), (1200, True), (90_000, True)], ids='now silent old'.split())
def test_what_a_run_elsewhere_has_left_is_gone_on_with_when_it_was_silent_for_a_while(image_folder, cache, decoded, age, goes_on):
    path = image_folder({'a': 100, 'b': 100})
    killed(path, cache)
    (cache/made_now(cache)[0]).rename(cache/'making-1-00000000-abc')
    aged(cache/'making-1-00000000-abc', age)
    load(path)
    assert (len(decoded) < 50) == goes_on and made_now(cache) == ([] if goes_on else ['making-1-00000000-abc'])

def test_who_has_lost_the_folder_to_another_run_writes_no_more_into_it(image_folder, cache, monkeypatch, tmp_path):
    path, size = image_folder({'a': 100, 'b': 100}), []
    def lose(done, total):
        if not size and done > total / 2:
            (cache/made_now(cache)[0]).rename(cache/'making-1-00000000-abc')
            with open(cache/'making-1-00000000-abc'/'0.npy', 'r+b') as f: size.append(f.truncate(5000)) # What is written behind this would be seen
    images = load(path, on_done=lose)
    assert (cache/'making-1-00000000-abc'/'0.npy').stat().st_size == 5000 and 'could not be kept' in images.notes[0] and images.fingerprint == fresh(path, monkeypatch, tmp_path)

def edit(entry, **change):
    at = cache_dir()/entry.name/'entry.json'
    at.write_text(json.dumps(json.loads(at.read_text()) | change))

def test_an_entry_goes_a_day_after_the_folder_that_it_was_made_from(image_folder, cache):
    gone, there = image_folder({'a': 3, 'b': 3}, name='gone'), image_folder({'a': 4, 'b': 4}, name='there')
    whole = load(gone).fingerprint
    load(there)
    for e in cache_entries(): edit(e, made=time.time() - 900_000) # Both were made days ago
    def others(): # Another run comes by
        load(image_folder({'a': 5, 'b': 5}, name=f'new{len(names)}')); names.append(1)
        return {e.source: cache/e.name for e in cache_entries()}
    names = []
    gone.rename(away := gone.with_name('away'))
    mark = others()[str(gone)]/'gone'
    assert mark.exists() and str(gone) in others(), 'it has only just gone'
    aged(mark.parent, 80_000)
    assert str(gone) in others() and time.time() - mark.stat().st_mtime > 79_000, 'and was seen to be gone then'
    away.rename(gone)
    others()
    assert not mark.exists(), 'it is there again'
    gone.rename(away); others(); aged(mark.parent, 90_000); away.rename(gone)
    assert load(gone).fingerprint == whole and not mark.exists(), 'it was there in between'
    gone.rename(away)
    assert str(gone) in others()
    aged(mark.parent, 90_000)
    left = others()
    assert not mark.parent.exists() and str(gone) not in left and str(there) in left and not (left[str(there)]/'gone').exists()

def test_a_folder_that_only_another_machine_has_is_not_missed(image_folder, cache):
    import shutil
    far, old = image_folder({'a': 3, 'b': 3}, name='far'), image_folder({'a': 4, 'b': 4}, name='old')
    load(far); load(old)
    shutil.rmtree(far); shutil.rmtree(old)
    edit(next(e for e in cache_entries() if e.source == str(far)), machine='00000000')
    about = next(cache/e.name/'entry.json' for e in cache_entries() if e.source == str(old))
    about.write_text(json.dumps({k: v for k, v in json.loads(about.read_text()).items() if k != 'machine'})) # Of before it was noted
    load(image_folder({'a': 5, 'b': 5}, name='new'))
    for e in cache_entries(): aged(cache/e.name, 90_000)
    load(image_folder({'a': 6, 'b': 6}, name='newer'))
    assert sorted(e.images for e in cache_entries()) == [6, 10, 12]

def test_ctrl_c_while_decoding_leaves_nothing_behind(image_folder, cache):
    def stop(done, total):
        if done > .6 * total: raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): load(image_folder({'a': 50, 'b': 50}), on_done=stop)
    assert list(cache.iterdir()) == []

def test_a_reader_that_loses_the_race_with_a_clearing_decodes(image_folder, monkeypatch, cache):
    path, real = image_folder({'a': 5, 'b': 5}), lib._publish
    whole = load(path).fingerprint
    clear_cache()
    def publish(making, entry): real(making, entry); clear_cache()
    monkeypatch.setattr(lib, '_publish', publish)
    seen = []
    images = load(path, on_done=lambda *a: seen.append(a))
    assert images.fingerprint == whole and images.notes == () and list(cache.iterdir()) == []
    assert seen == sorted(seen) and seen[-1] == (10, 10)


# Damage

def _cut(e): (e/'images.npy').write_bytes((e/'images.npy').read_bytes()[:-1])
def _flip(e):
    raw = bytearray((e/'images.npy').read_bytes())
    raw[-9] ^= 4
    (e/'images.npy').write_bytes(raw)
def _edit(**change): return lambda e: (e/'entry.json').write_text(json.dumps(json.loads((e/'entry.json').read_text()) | change))

@pytest.mark.parametrize('damage', [
    _cut, _flip, lambda e: (e/'images.npy').write_bytes(b''), lambda e: (e/'images.npy').write_bytes(b'\x93NUMPY garbage' * 9),
    lambda e: (e/'images.npy').unlink(), lambda e: (e/'entry.json').unlink(), lambda e: (e/'entry.json').write_text('{"sha'),
    lambda e: (e/'entry.json').write_text('[]'), lambda e: (e/'entry.json').write_bytes(b'\xff\xfe'), _edit(shape=[10, 1, 10, 8]), _edit(bad=None), _edit(crc32='x'),
    lambda e: np.save(e/'images.npy', np.array([{'a': 1}], dtype=object), allow_pickle=True),
], ids='cut flipped empty garbage no-images no-json half-json list no-text shape bad crc pickle'.split())
def test_a_damaged_entry_is_made_again(image_folder, decoded, damage):
    path = image_folder({'a': 5, 'b': 5})
    whole = load(path).fingerprint
    damage(cache_dir()/cache_entries()[0].name)
    assert len(cache_entries()) == 1, 'it can be listed, and cleared'
    assert load(path).fingerprint == whole and len(decoded) == 20
    assert load(path).fingerprint == whole and len(decoded) == 20 and len(cache_entries()) == 1 and cache_entries()[0].images == 10


# Without a cache

def test_where_the_cache_cannot_be_written_the_run_goes_on_and_says_so(image_folder, tmp_path, monkeypatch, decoded):
    (tmp_path/'file').touch()
    path = image_folder({'a': 5, 'b': 5})
    whole = load(path).fingerprint
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'file'))
    for i in (2, 3):
        images = load(path)
        assert images.fingerprint == whole and len(decoded) == 10 * i
        note, = images.notes
        assert 'could not be kept' in note and str(tmp_path/'file') in note and 'FASTRECIPES_CACHE' in note and '\n' not in note
    assert cache_entries() == [] and clear_cache() == (0, 0) and (tmp_path/'file').exists()

@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may write everywhere')
def test_a_cache_that_may_only_be_read_is_read(image_folder, cache, decoded):
    path = image_folder({'a': 5, 'b': 5})
    whole = load(path).fingerprint
    cache.chmod(0o500)
    try:
        assert load(path).notes == () and len(decoded) == 10
        assert load(path, size=5).notes and load(path).fingerprint == whole
    finally: cache.chmod(0o700)

def test_on_a_full_disk_the_run_goes_on_and_says_so(image_folder, cache):
    code = """import resource, sys
from fastrecipes.data.sources import load
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)) # No file may grow longer: to us the same as no room
seen = []
images = load(sys.argv[1], on_done=lambda *a: seen.append(a))
assert seen == sorted(seen) and seen[-1] == (200, 200), seen
print(images.fingerprint, images.notes)"""
    path = image_folder({'a': 100, 'b': 100})
    with child(code, path) as p: out, err = p.communicate()
    assert p.returncode == 0, err
    assert list(cache.iterdir()) == [] and 'File too large' in out and out.split()[0] == load(path).fingerprint


# Looking and clearing

def test_the_cache_lies_where_the_variable_says_or_in_the_users_cache_folder(monkeypatch, tmp_path):
    import platformdirs
    assert cache_dir() == tmp_path/'cache'
    monkeypatch.setenv('FASTRECIPES_CACHE', '~/here'); monkeypatch.setenv('HOME', str(tmp_path)); monkeypatch.setenv('USERPROFILE', str(tmp_path))
    assert cache_dir() == tmp_path/'here'
    for unset in (lambda: monkeypatch.setenv('FASTRECIPES_CACHE', ''), lambda: monkeypatch.delenv('FASTRECIPES_CACHE')):
        unset()
        assert cache_dir() == platformdirs.user_cache_path('fastrecipes', appauthor=False) and cache_dir().name in ('fastrecipes', 'Cache')

def test_entries_tell_source_number_size_and_time_and_the_newest_is_first(image_folder, cache):
    begin = time.time()
    assert cache_entries() == [] and not cache.exists()
    a, b = image_folder({'a': 3, 'b': 3}, name='one'), image_folder({'a': 5, 'b': 5}, name='two')
    load(a); load(b)
    assert [(e.source, e.images) for e in cache_entries()] == [(str(b), 10), (str(a), 6)]
    for e in cache_entries():
        assert e.bytes == sum(p.stat().st_size for p in (cache/e.name).iterdir()) > e.images * 80 and begin - 1 <= e.made.timestamp() <= time.time() + 1
    (cache/cache_entries()[0].name/'entry.json').write_text('x')
    assert sorted(e.source for e in cache_entries()) == ['', str(a)], 'a damaged one is listed, and can be cleared'

def test_clearing_removes_only_what_is_ours(image_folder, cache, tmp_path):
    load(image_folder({'a': 3, 'b': 3}))
    entry = cache_entries()[0]
    (cache/entry.name/'diary.txt').write_text('mine'); (cache/'photo.png').write_bytes(b'mine'); (cache/'more').mkdir(); (cache/'more'/'images.npy').write_bytes(b'mine')
    far = tmp_path/'far'
    far.mkdir(); (far/'images.npy').write_bytes(b'mine'); (cache/('0' * 16 + '-' + '0' * 32)).symlink_to(far)
    load(image_folder({'a': 4, 'b': 4}, name='two'))
    total = sum((cache/entry.name/n).stat().st_size for n in ('images.npy', 'entry.json')) + next(e.bytes for e in cache_entries() if e.images == 8)
    assert clear_cache() == (1, total), 'the folder with a diary in it is still there, without our files'
    assert sorted(p.relative_to(tmp_path).as_posix() for d in (cache, far) for p in d.rglob('*') if p.is_file()) == sorted(
        [f'cache/{entry.name}/diary.txt', 'cache/more/images.npy', 'cache/photo.png', 'far/images.npy'])

def test_after_clearing_it_is_decoded_again(image_folder, decoded):
    path = image_folder({'a': 3, 'b': 3})
    load(path)
    n, freed = clear_cache()
    assert n == 1 and freed > 0 and clear_cache() == (0, 0)
    load(path)
    assert len(decoded) == 12 and len(cache_entries()) == 1
