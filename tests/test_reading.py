"The quick ways to read many files give what the slow way gives, whatever the files hold and whoever reads them"
import json, os, struct, subprocess, sys, zlib
from pathlib import Path
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from fastrecipes.data import cache as lib
from fastrecipes.data import folders as folders_room; from fastrecipes import errors as errors_room
from fastrecipes.data.cache import decode_files, read_many, Unreadable
from fastrecipes.data.folders import image_files, list_images, Listing
from fastrecipes.data.imagefile import fit_image, probe, read_image


def chunk(kind, data=b''): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

def png(x, depth=8, colour=None, interlace=0, filters=None, extra=(), after=(), pieces=1, packed=None):
    "A PNG of the bytes `x` (h, w) or (h, w, 3), with whatever may be in one"
    h, w = x.shape[:2]
    lines = x.reshape(h, -1)
    filters = [0] * h if filters is None else filters
    raw = b''
    for i, f in enumerate(filters):
        up = lines[i - 1].astype(int) if i else np.zeros(lines.shape[1], int)
        line, bpp = lines[i].astype(int), 1 if x.ndim == 2 else 3
        left, corner = (np.concatenate([np.zeros(bpp, int), v[:-bpp]]) for v in (line, up))
        p = left + up - corner
        near = np.where((abs(p - left) <= abs(p - up)) & (abs(p - left) <= abs(p - corner)), left, np.where(abs(p - up) <= abs(p - corner), up, corner))
        raw += bytes([f]) + ((line - [0, left, up, (left + up) // 2, near][min(f, 4)]) % 256).astype(np.uint8).tobytes()
    packed = zlib.compress(raw) if packed is None else packed(raw)
    cut = [len(packed) * k // pieces for k in range(pieces + 1)]
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, depth, (2 if x.ndim == 3 else 0) if colour is None else colour, 0, 0, interlace))
            + b''.join(extra) + b''.join(chunk(b'IDAT', packed[a:b]) for a, b in zip(cut, cut[1:])) + b''.join(after) + chunk(b'IEND'))

def pixels(h=6, w=5, c=1, seed=0): return np.random.default_rng(seed).integers(0, 256, (h, w) if c == 1 else (h, w, 3)).astype(np.uint8)

def slowly(path, shape):
    "The row that Pillow alone gives, or the reason why there is none"
    return read_many([path], lambda path, i: fit_image(read_image(path), shape))[0]

def quickly(path, shape):
    "The row of a block, the reason, and whether the quick way had an opinion"
    files = Listing.of(image_files(path.parent))
    rows, info = lib._block(files, 0, 1, shape, 1)
    done, _ = lib._quickly(files, 0, np.zeros((1, *shape), np.uint8))
    done = any(done.values())
    if info['bad']: return Unreadable(info['bad'][0][1]), done
    assert [h[:3] for h in info['heads']] == [[*probe(path).size, probe(path).coloured]] and info['crc'] == zlib.crc32(rows)
    return rows[0], done

def same(path, shape=(1, 6, 5)):
    "Both ways say the same of a file; whether the quick one said it"
    slow, (quick, done) = slowly(path, shape), quickly(path, shape)
    if isinstance(slow, Unreadable): assert isinstance(quick, Unreadable) and quick == slow and not done, (slow, quick)
    else: assert np.array_equal(slow, quick), (slow, quick)
    return done

@pytest.fixture
def put(tmp_path):
    "Put bytes into a file of their own"
    def f(raw):
        (tmp_path/'a.png').write_bytes(raw)
        return tmp_path/'a.png'
    return f


PLAIN = dict(grey=lambda: png(pixels()), rgb=lambda: png(pixels(c=3)), filters=lambda: png(pixels(), filters=[4, 3, 2, 1, 0, 4]), rgb_filters=lambda: png(pixels(c=3), filters=[1, 4, 3, 4, 2, 3]), pieces=lambda: png(pixels(), pieces=5),
             harmless=lambda: png(pixels(), extra=[chunk(b'gAMA', b'\0\1\2\3'), chunk(b'pHYs', bytes(9)), chunk(b'sRGB', b'\0'), chunk(b'tIME', bytes(7))]), more_behind=lambda: png(pixels(), packed=lambda raw: zlib.compress(raw) + b'xyz'),
             too_few_lines=lambda: png(pixels(), packed=lambda raw: zlib.compress(raw[:-6])))

@pytest.mark.parametrize('shape', [(1, 6, 5), (3, 6, 5)], ids='grey colour'.split())
@pytest.mark.parametrize('kind', PLAIN)
def test_plain_files_are_read_the_quick_way_and_as_pillow_reads_them(put, kind, shape): assert same(put(PLAIN[kind]()), shape)

exif = Image.Exif()
exif[0x112] = 6
OTHER = dict(other_size=lambda: png(pixels(5, 6)), sixteen_bits=lambda: png(pixels(6, 10), depth=16), palette=lambda: png(pixels() % 2, colour=3, extra=[chunk(b'PLTE', bytes(range(6)))]), alpha=lambda: png(pixels(6, 10), colour=4),
             colour_key=lambda: png(pixels(), extra=[chunk(b'tRNS', b'\0\7')]), turned=lambda: png(pixels(), extra=[chunk(b'eXIf', exif.tobytes()[6:])]), turned_behind=lambda: png(pixels(), after=[chunk(b'eXIf', exif.tobytes()[6:])]),
             text=lambda: png(pixels(), extra=[chunk(b'tEXt', b'a\0b')]), unknown=lambda: png(pixels(), extra=[chunk(b'abCd', b'x')]), unknown_behind=lambda: png(pixels(), after=[chunk(b'abCd', b'x')]), rows_between=lambda: png(pixels(), after=[chunk(b'abCd'), chunk(b'IDAT')]),
             interlaced=lambda: png(pixels(), interlace=1), short_gamma=lambda: png(pixels(), extra=[chunk(b'gAMA', b'\0')]), two_headers=lambda: png(pixels(), extra=[chunk(b'IHDR', struct.pack('>IIBBBBB', 5, 6, 8, 0, 0, 0, 0))]),
             bad_filter=lambda: png(pixels(), filters=[0, 9, 0, 0, 0, 0]), bad_checksum=lambda: png(pixels())[:-14] + b'\0\0' + png(pixels())[-12:], cut=lambda: png(pixels())[:-30], no_end=lambda: png(pixels())[:-12], behind=lambda: png(pixels()) + b'x',
             not_packed=lambda: png(pixels(), packed=lambda raw: b'not zlib'), bad_sum=lambda: png(pixels(), packed=lambda raw: zlib.compress(raw)[:-1] + b'\0'), empty=lambda: png(pixels(), packed=lambda raw: b''), nothing=lambda: png(pixels())[:33] + chunk(b'IEND'), header_only=lambda: png(pixels())[:33], text_file=lambda: b'not an image')

@pytest.mark.parametrize('kind', OTHER)
def test_any_other_file_is_left_to_pillow(put, kind):
    quick = same(put(OTHER[kind]()))
    assert not quick or kind == 'bad_sum' # Pillow looks at no sum either

@settings(max_examples=120)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_as_pillow_reads_or_refuses_it(tmp_path_factory, data):
    path = tmp_path_factory.mktemp('x')/'a.png'
    raw = bytearray(png(pixels(c=data.draw(st.sampled_from([1, 3])), seed=data.draw(st.integers(0, 9))), filters=data.draw(st.lists(st.integers(0, 4), min_size=6, max_size=6)), pieces=data.draw(st.integers(1, 3))))
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=3)): raw[at] = byte
    if data.draw(st.booleans()): # By somebody who knows how
        at = 8
        while at + 12 <= len(raw):
            n, = struct.unpack_from('>I', raw, at)
            if at + 12 + n > len(raw): break
            raw[at + 8 + n:at + 12 + n] = struct.pack('>I', zlib.crc32(raw[at + 4:at + 8 + n]))
            at += 12 + n
    path.write_bytes(raw[:data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    if path.stat().st_size: same(path)

def test_more_pixels_than_allowed_are_refused_the_quick_way_too(put, monkeypatch):
    path = put(png(pixels(40, 40)))
    assert same(path, (1, 40, 40))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    assert not same(path, (1, 40, 40)) and slowly(path, (1, 40, 40)) == 'more than 1,000 pixels'

def test_real_digits_are_all_read_the_quick_way(mnist_sample, found):
    files = list_images(found[0]/'data'/'mnist_sample'/'valid'/'3')
    rows = np.zeros((len(files), 1, 28, 28), np.uint8)
    done, left = lib._quickly(files, 0, rows)
    assert left == [] and len(done['L']) == 1010
    for i in range(0, 1010, 50): assert np.array_equal(rows[i, 0], read_image(files[i].path))


# The plan

def folder_of(path, kinds):
    path.mkdir()
    for i, (h, w, c) in enumerate(kinds): (path/f'{i:04}.png').write_bytes(png(pixels(h, w, c, i)))
    return image_files(path)

@pytest.mark.parametrize('kinds, first', [
    ([(6, 5, 1)] * 40 + [(4, 4, 1)] * 3, None), # As it begins
    ([(6, 5, 1)] * 10 + [(4, 4, 1)] * 30, 40), # It seems so at first
    ([(6, 5, 1), (4, 4, 1)] * 20, None), # Equally common: the first
    ([(4, 4, 3)] * 30 + [(4, 4, 1)] * 20, None), ([(4, 4, 3)] * 20 + [(4, 4, 1)] * 30, None), ([(6, 5, 1)] * 20 + [(4, 4, 3)] * 200, 20)])
@pytest.mark.parametrize('size, channels', [(None, None), ((6, 5), None), (None, 3), ((3, 3), 1)])
def test_the_shape_is_what_the_headers_say_in_one_pass_or_two(tmp_path, kinds, first, size, channels):
    files = folder_of(tmp_path/'set', kinds)
    got = decode_files(files, str(tmp_path/'set'), size, channels, first=first)
    heads = [probe(f.path) for f in files]
    some = heads[:first]
    sizes = [h.size for h in some]
    shape = (channels or (3 if sum(h.coloured for h in some) * 2 > len(some) else 1), *(size or max(dict.fromkeys(sizes), key=sizes.count)))
    assert got.images.shape[1:] == shape and got.odd == (0 if size else sum(h.size != shape[1:] for h in heads))
    for x, f in zip(got.images, files): assert np.array_equal(x, fit_image(read_image(f.path), shape))

@pytest.mark.parametrize('guess_at', [0, 64], ids=['right', 'wrong'])
def test_a_guess_that_was_wrong_costs_a_second_pass_and_nothing_else(tmp_path, monkeypatch, guess_at):
    files, shapes, real, seen = folder_of(tmp_path/'set', [(6, 5, 1)] * 40), [], lib._block, []
    (tmp_path/'set'/'0007.png').write_text('x')
    monkeypatch.setattr(lib, '_guess', lambda *args: lib._Plan((1, 6, 5) if not guess_at else (3, 2, 2), False))
    monkeypatch.setattr(lib, '_block', lambda *args: (shapes.append(args[3]), real(*args))[1])
    got = decode_files(image_files(tmp_path/'set'), str(tmp_path/'set'), skip_bad=True, on_done=lambda *a: seen.append(a))
    assert set(shapes) == ({(1, 6, 5)} if not guess_at else {(1, 6, 5), (3, 2, 2)}) and got.bad == {7: 'not an image'} and got.images.shape == (39, 1, 6, 5) and seen == sorted(seen) and seen[-1] == (40, 40)
    assert np.array_equal(got.images[:, 0], [read_image(f.path) for i, f in enumerate(files) if i != 7])


@pytest.mark.skipif(sys.platform != 'linux', reason='open files are looked up in /proc')
def test_before_a_second_pass_the_files_of_the_first_are_closed(tmp_path, monkeypatch):
    files, seen, real = folder_of(tmp_path/'set', [(6, 5, 1)] * 40), [], lib._block
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'cache'))
    monkeypatch.setattr(lib, '_guess', lambda *args: lib._Plan((3, 2, 2), False))
    def block(*args):
        seen.append((args[3], sorted(Path(p.readlink()).name for p in Path('/proc/self/fd').iterdir() if p.is_symlink() and str(tmp_path) in str(p.readlink()))))
        return real(*args)
    monkeypatch.setattr(lib, '_block', block)
    decode_files(files, str(tmp_path/'set'))
    assert {shape for shape, _ in seen} == {(3, 2, 2), (1, 6, 5)} and all(names == ['0.npy', 'journal'] for _, names in seen), seen


# Helpers

HELPED = """import json, os, signal, sys
from fastrecipes.data import cache as lib
lib._worth, lib._processors, started, real = -1, lambda: 3, [], lib._start_helper
def start():
    if sys.argv[2] == 'none': raise OSError('no process')
    started.append(real())
    if sys.argv[2] == 'broken': started[-1].stdin.close()
    return started[-1]
lib._start_helper = start
mine, back, helped = [], [], lib._helped
class Results:
    def __init__(self, results): self.results = results
    def put(self, it):
        if it[1] is None: back.append(it[0]) # A block that a helper could not do
        self.results.put(it)
lib._helped = lambda helper, queue, results, job: helped(helper, queue, Results(results), job)
block = lib._block
lib._block = lambda files, start, *args: (mine.append(start), block(files, start, *args))[1]
def on_done(done, total):
    if sys.argv[2] == 'killed' and started and started[0].poll() is None: os.kill(started[0].pid, signal.SIGKILL)
seen = []
got = lib.decode_files(folders_room.image_files(sys.argv[1]), sys.argv[1], skip_bad=True, on_done=lambda *a: (seen.append(a), on_done(*a)))
assert seen == sorted(seen) and seen[-1] == (1203, 1203), seen
import zlib
print(json.dumps([zlib.crc32(got.images), got.images.shape, {str(k): v for k, v in got.bad.items()}, got.odd, len(mine), len(started), [p.poll() is not None for p in started], len(back)]))"""

@pytest.fixture(scope='module')
def many(tmp_path_factory):
    "A folder of 1,200 images and 3 bad ones, and what is in it, read one by one"
    at = tmp_path_factory.mktemp('many')/'set'
    at.mkdir()
    for i in range(1200): (at/f'{i:04}.png').write_bytes(png(pixels(8, 8, 1, i)))
    Image.fromarray(pixels(9, 7)).save(at/'0100.png'); Image.fromarray(pixels(8, 8)).save(at/'x.jpg')
    (at/'0500.png').write_bytes((at/'0500.png').read_bytes()[:60]); (at/'y.png').write_text('no image'); (at/'z.png').touch()
    rows = read_many(image_files(at), lambda path, i: fit_image(read_image(path), (1, 8, 8)))
    return at, zlib.crc32(np.stack([r for r in rows if not isinstance(r, Unreadable)])), {str(i): str(r) for i, r in enumerate(rows) if isinstance(r, Unreadable)}

@pytest.mark.parametrize('way', ['all well', 'killed', 'broken', 'none'])
def test_helpers_do_a_part_of_it_and_whatever_becomes_of_them_the_result_is_the_same(many, tmp_path, way):
    folder, crc, bad = many
    run = subprocess.run([sys.executable, '-W', 'error', '-c', HELPED, str(folder), way], env=os.environ | dict(FASTRECIPES_CACHE=str(tmp_path/'cache')), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    got, shape, said, odd, here, started, ended, back = json.loads(run.stdout)
    assert (got, shape, said, odd) == (crc, [1200, 1, 8, 8], bad, 1) and ended == [True] * started and started == (0 if way == 'none' else 2)
    assert here == 17 if way in ('none', 'broken') else here < 17
    assert back == {'killed': 1, 'broken': 2}.get(way, 0) # Done by somebody else

def test_what_lies_where_we_are_is_not_run_by_helpers(many, tmp_path):
    folder, crc, _ = many
    (tmp_path/'run.py').write_text(HELPED)
    (tmp_path/'here').mkdir()
    for name in ('tempfile', 'json', 'numpy'): (tmp_path/'here'/f'{name}.py').write_text(f"open({str(tmp_path/name)!r}, 'w')\nraise SystemExit")
    run = subprocess.run([sys.executable, str(tmp_path/'run.py'), str(folder), 'all well'], cwd=tmp_path/'here', env=os.environ | dict(FASTRECIPES_CACHE=str(tmp_path/'cache')), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    got, *_, here, started, _, back = json.loads(run.stdout)
    assert (got, started, back) == (crc, 2, 0) and here < 17 and sorted(p.name for p in tmp_path.iterdir()) == ['cache', 'here', 'run.py']


# Room

def test_what_takes_much_room_is_said_before_and_only_once(tmp_path, monkeypatch):
    files, said = folder_of(tmp_path/'set', [(6, 5, 1)] * 30), []
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'cache'))
    monkeypatch.setattr(lib, '_much', 100)
    for _ in range(2): decode_files(files, str(tmp_path/'set'), tell=lambda line: said.append((line, len(lib.cache_entries()))))
    (line, entries), = said
    assert entries == 0 and line.startswith('decoding 30 images of 6x5 once, into ') and str(tmp_path/'cache') in line and line.endswith(' GB are free') and '\n' not in line

FULL = """import resource, sys
from fastrecipes.data import cache as lib
lib._most_in_memory = 100
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)) # No file may grow longer: to us the same as no room
try: lib.decode_files(folders_room.image_files(sys.argv[1]), sys.argv[1])
except errors_room.InputError as e: print(e)"""

def test_what_fits_neither_on_the_disk_nor_in_memory_is_refused_with_the_cure(tmp_path):
    folder_of(tmp_path/'set', [(6, 5, 1)] * 60)
    run = subprocess.run([sys.executable, '-c', FULL, str(tmp_path/'set')], env=os.environ | dict(FASTRECIPES_CACHE=str(tmp_path/'cache')), capture_output=True, text=True)
    assert run.stdout.count('\n') == 1 and 'could not be kept' in run.stdout and 'FASTRECIPES_CACHE' in run.stdout and list((tmp_path/'cache').iterdir()) == [], run.stdout + run.stderr
