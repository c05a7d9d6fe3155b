"One image file, many at once, and writing: whatever a disk holds, it is read as it is meant or named with the reason"
import errno, os, signal, subprocess, sys, threading, time, warnings
from pathlib import Path
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from conftest import refused
from fastrecipes.errors import explained, InputError, is_memory
from fastrecipes.data import decode
from fastrecipes.data.cache import decode_files
from fastrecipes.data.decode import read_many, Unreadable
from fastrecipes.data.folders import image_file, image_files, list_images, Listing, natural, subfolders
from fastrecipes.data.imagefile import fit_image, Header, probe, read_image, Reading, USUAL
from fastrecipes.data.sizes import image_channels, image_size, size_text
from fastrecipes.text import printable, some_of
from reporters import Seen

root_may_read_all = pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0,
                                       reason='root may read and write everything')
FORMATS = ['png', 'jpg', 'bmp', 'webp', 'tif', 'gif']


def picture(h=40, w=30, seed=0, channels=1):
    shape = (h, w, 3) if channels == 3 else (h, w)
    return np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)

def save(x, path, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(x).save(path, **kwargs)
    return path

def many(folder, n, **kwargs):
    folder.mkdir()
    for i in range(n): save(picture(4, 6, i), folder/f'{i:04}.png', **kwargs)
    return image_files(folder)


# Text

@given(st.text())
def test_printable_is_one_line_that_does_nothing_to_a_terminal(text):
    shown = printable(text)
    assert shown.isprintable() and (shown == text or not text.isprintable())

def test_printable_keeps_letters_of_any_script_and_escapes_the_rest():
    assert printable('größe 猫.png') == 'größe 猫.png'
    assert printable('a\nb\x1b[2J\u202e\udcff') == r'a\nb\x1b[2J\u202e\udcff'

@pytest.mark.parametrize('n, text', [
    (0, ''), (1, '0'), (3, '0, 1, 2'), (4, '0, 1, 2, 3'), (5, '0, 1, 2 and 2 more'), (1003, '0, 1, 2 and 1,000 more'),
])
def test_some_of_names_the_first_and_counts_the_rest(n, text): assert some_of(range(n), 3) == text


def test_a_lazy_module_tells_a_submodule_that_is_not_there_from_one_that_cannot_be_imported(tmp_path, monkeypatch):
    from fastrecipes.errors import lazy_module
    package = tmp_path/'lazily'
    package.mkdir()
    (package/'__init__.py').write_text('')
    (package/'needing.py').write_text('import no_such_package_of_others')
    (package/'whole.py').write_text('value = 3')
    monkeypatch.syspath_prepend(tmp_path)
    lazily = lazy_module('lazily')
    assert lazily.whole.value == 3
    with pytest.raises(AttributeError, match="no submodule 'absent'"): lazily.absent
    with pytest.raises(ModuleNotFoundError, match='no_such_package_of_others'): lazily.needing


# Size, channels, order

@given(st.integers(1, 4096), st.integers(1, 4096), st.sampled_from(['{}x{}', '{}X{}', ' {} x {} ', '{}×{}']))
def test_a_size_is_height_by_width_however_it_is_written(h, w, form):
    assert image_size(form.format(h, w)) == image_size((h, w)) == image_size(size_text((h, w))) == (h, w)
    assert image_size(h) == image_size(str(h)) == (h, h)

@given(st.text(max_size=6) | st.integers() | st.floats() | st.booleans() | st.tuples(st.integers(), st.integers()))
def test_anything_else_is_refused_or_a_size_from_1_to_4096(size):
    try: found = image_size(size)
    except ValueError as e: assert str(e).startswith('size=') and '\n' not in str(e)
    else:
        assert len(found) == 2 and all(type(n) is int and 1 <= n <= 4096 for n in found)
        assert not isinstance(size, (bool, float))

def test_channels_are_1_or_3_as_number_or_text():
    assert [image_channels(c) for c in (None, 1, 3, '1', '3')] == [None, 1, 3, 1, 3]

@given(st.lists(st.integers(0, 10**6), unique=True), st.text('abz ', max_size=3))
def test_natural_order_is_that_of_the_numbers(numbers, before):
    names = [f'{before}{n}' for n in numbers]
    assert sorted(names, key=natural) == [f'{before}{n}' for n in sorted(numbers)]

@given(st.lists(st.text(max_size=8), unique=True))
def test_any_names_have_one_natural_order(names): assert sorted(names, key=natural) == sorted(names[::-1], key=natural)


# probe

@pytest.mark.parametrize('suffix', ['png', 'jpg', 'webp', 'tif'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_probe_says_what_reading_gives_however_the_image_lies(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    path = save(picture(channels=3), tmp_path/f'a.{suffix}', exif=exif)
    assert probe(path) == Header((40, 30) if orientation < 5 else (30, 40), 'RGB', True)
    assert probe(path).size == read_image(path).shape[:2]

@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16', 'I', 'F'])
def test_probe_and_reading_agree_on_colours(tmp_path, mode):
    path = tmp_path/('a.tif' if mode in ('CMYK', 'I', 'F', 'LA') else 'a.png')
    Image.new(mode, (3, 2)).save(path)
    head, x = probe(path), read_image(path)
    assert head.size == x.shape[:2] == (2, 3) and head.coloured == (x.ndim == 3) and head.mode == mode

def test_probe_reads_the_header_only(tmp_path):
    path = save(picture(400, 300), tmp_path/'a.png')
    path.write_bytes(path.read_bytes()[:200])
    assert probe(path).size == (400, 300)
    with pytest.raises(OSError, match='truncated'): read_image(path)

@pytest.mark.parametrize('suffix', FORMATS)
def test_every_format_gives_the_pixels_that_were_saved(tmp_path, suffix):
    lossless = dict(webp=dict(lossless=True)).get(suffix, {})
    x = np.full((40, 30), 77, np.uint8) if suffix == 'jpg' else picture()
    got = read_image(save(x, tmp_path/f'a.{suffix}', **lossless))
    if suffix in ('webp', 'gif'):
        assert (got == got[..., :1]).all()
        got = got[..., 0] # These two have no grey, or a palette
    assert got.shape == x.shape and np.abs(got.astype(int) - x).max() <= (suffix == 'jpg')


# What lies in a folder

def test_image_files_are_found_by_suffix_at_any_depth_in_the_order_of_their_names(tmp_path):
    for name in ('b.PNG', 'a.jpg', 'a/z.tif', 'a-x.bmp', 'a/b/c.webp', 'e.jpeg', 'f.gif', 'g.tiff'):
        (tmp_path/'set'/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/'set'/name).write_bytes(b'x')
    for name in ('.h.png', '.hid/i.png', 'n.txt', 'png', 'o.png.bak'):
        (tmp_path/'set'/name).parent.mkdir(exist_ok=True)
        (tmp_path/'set'/name).write_bytes(b'x')
    found = [Path(f.path).relative_to(tmp_path/'set').as_posix() for f in image_files(tmp_path/'set')]
    assert found == ['a/b/c.webp', 'a/z.tif', 'a-x.bmp', 'a.jpg', 'b.PNG', 'e.jpeg', 'f.gif', 'g.tiff']

def test_what_is_known_of_a_file_without_opening_it(tmp_path):
    path = save(picture(), tmp_path/'a.png')
    os.utime(path, ns=(5, 1234567890123456789))
    assert image_file(path)[:4] == (str(path), path.stat().st_size, 1234567890123456789, '')
    assert image_file(tmp_path/'no.png').reason == os.strerror(errno.ENOENT)
    assert image_file(tmp_path).reason == 'a folder'

def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path):
    many(tmp_path/'far', 2)
    save(picture(), tmp_path/'one.png')
    here = tmp_path/'set'
    here.mkdir()
    many(here/'in', 1)
    (here/'far').symlink_to(tmp_path/'far')
    (here/'one.png').symlink_to(tmp_path/'one.png')
    (here/'in'/'loop').symlink_to(here)
    (here/'gone.png').symlink_to('x')
    listed = list_images(here)
    found = {Path(f.path).relative_to(here).as_posix(): f.reason for f in image_files(here)}
    assert found == {'gone.png': 'a broken link', 'in/0000.png': '', 'one.png': ''}
    assert listed.left_out == {'a link to a folder': 2}

@root_may_read_all
def test_a_folder_that_may_not_be_read_is_unreadable_and_not_empty(tmp_path):
    many(tmp_path/'set', 1)
    many(tmp_path/'set'/'in', 1)
    (tmp_path/'set'/'in').chmod(0)
    unreadable = f'an unreadable folder: {os.strerror(errno.EACCES)}'
    try: assert [f.reason for f in image_files(tmp_path/'set')] == ['', unreadable]
    finally: (tmp_path/'set'/'in').chmod(0o700)

def test_subfolders_come_in_natural_order_without_hidden_ones_and_files(tmp_path):
    for name in ('10', '9', '.git', 'b'): (tmp_path/'set'/name).mkdir(parents=True)
    (tmp_path/'set'/'file').touch()
    assert [p.name for p in subfolders(tmp_path/'set')] == ['9', '10', 'b']
    with refused('nowhere', 'cannot be read'): subfolders(tmp_path/'nowhere')


# read_many

@pytest.mark.parametrize('n', [0, 1, 7, 100, 333])
@pytest.mark.parametrize('threads', [None, 1, 3, 50])
def test_many_are_read_in_order_with_progress_from_the_callers_thread(tmp_path, n, threads):
    files, seen = many(tmp_path/'set', n), []
    got = read_many(files, progress=lambda done, total: seen.append((done, total, threading.current_thread())),
                    threads=threads)
    assert len(got) == n and all(np.array_equal(x, picture(4, 6, i)) for i, x in enumerate(got))
    dones = [d for d, *_ in seen]
    assert dones == sorted(set(dones))
    assert {(t, th) for _, t, th in seen} <= {(n, threading.main_thread())} and (not n or dones[-1] == n)

def test_paths_do_as_well_and_the_reader_is_told_the_position(tmp_path):
    files = [f.path for f in many(tmp_path/'set', 40)]
    assert read_many([Path(f) for f in files], lambda path, i: (path, i)) == [(f, i) for i, f in enumerate(files)]

@pytest.mark.parametrize('suffix', FORMATS)
def test_a_file_that_is_cut_short_is_unreadable_and_its_neighbours_are_not(tmp_path, suffix):
    files = [save(picture(64, 64, i, 3), tmp_path/f'{i}.{suffix}') for i in range(3)]
    files[1].write_bytes(files[1].read_bytes()[:len(files[1].read_bytes()) // 2])
    got = read_many(files)
    assert [isinstance(x, Unreadable) for x in got] == [False, True, False]
    assert got[1] and len(got[1]) <= 80 and got[1].isprintable()

def test_every_reason_is_given_in_a_few_words(tmp_path):
    save(picture(30, 30), tmp_path/'ok.png')
    save(picture(40, 40), tmp_path/'large.png')
    (tmp_path/'text.jpg').write_text('I am no image')
    (tmp_path/'empty.gif').touch()
    (tmp_path/'dir.bmp').mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter('error') # Nothing leaks
        files = image_files(tmp_path)
        read = read_many(files, lambda path, _: read_image(path, Reading(max_pixels=1000)))
    got = dict(zip((Path(f.path).stem for f in files), read))
    assert got.pop('ok').shape == (30, 30)
    large = got.pop('large')
    assert '1,600 pixels' in large and '1,000' in large and '--max-pixels' in large
    assert got == dict(text='not an image', empty='an empty file', dir='a folder')

def test_warnings_of_pillow_do_not_leak(tmp_path):
    exif = b'Exif\0\0II*\0\x08\0\0\0\x05\0' + b'\x12\x01\x03\0\x01\0\0\0\x01\0\0\0' # Says five entries, has one
    files = [save(picture(), tmp_path/f'{i}.jpg', exif=exif) for i in range(3)]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        read_image(files[0])
        assert seen, 'Pillow warns of this one'
        del seen[:]
        assert [x.shape for x in read_many(files)] == [(40, 30)] * 3 and not seen
        assert [h.size for h in read_many(files, lambda path, i: probe(path))] == [(40, 30)] * 3 and not seen

@root_may_read_all
def test_a_file_that_may_not_be_read_is_unreadable(tmp_path):
    path = save(picture(), tmp_path/'a.png')
    path.chmod(0)
    assert read_many([path]) == ['Permission denied']

@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_an_image_or_a_reason_and_never_an_exception(tmp_path_factory, data):
    path = save(picture(16, 16, channels=3), tmp_path_factory.mktemp('x')/f'a.{data.draw(st.sampled_from(FORMATS))}')
    raw = bytearray(path.read_bytes())
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), min_size=1,
                                       max_size=8)):
        raw[at] = byte
    path.write_bytes(raw[:data.draw(st.integers(0, len(raw)))])
    got = read_many([path])[0]
    assert isinstance(got, np.ndarray) or got.isprintable() and 0 < len(got) <= 80

def test_a_damaged_frame_of_an_impossible_size_has_a_short_reason(tmp_path):
    path = save(picture(16, 16, channels=3), tmp_path/'a.gif')
    raw = bytearray(path.read_bytes())
    raw[10] = 0 # Without its palette, colours are read as a frame of four billion pixels
    path.write_bytes(raw[:366])
    got = read_many([path])[0]
    assert isinstance(got, Unreadable) and len(got) <= 80

def test_an_error_in_the_callback_ends_it_and_no_more_files_are_begun(tmp_path):
    files, begun = many(tmp_path/'set', 400), []
    def stop(done, total): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        read_many(files, lambda path, i: (begun.append(i), time.sleep(.002)), stop, threads=2)
    assert 0 < len(begun) < 400 and threading.active_count() < 20

def test_ctrl_c_stops_at_the_file_in_hand(tmp_path):
    many(tmp_path/'set', 300)
    code = """import sys, time
from fastrecipes.data.folders import image_files; from fastrecipes.data.decode import read_many
begun = []
def slow(path, i):
    begun.append(i)
    if len(begun) == 3: print('going', flush=True)
    time.sleep(.2)
try: read_many(image_files(sys.argv[1]), slow, threads=2)
except KeyboardInterrupt: print(len(begun))"""
    with subprocess.Popen([sys.executable, '-c', code, str(tmp_path/'set')], stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout.readline() == 'going\n'
        p.send_signal(signal.SIGINT)
        assert 3 <= int(p.stdout.readline()) < 300


# decode

def test_decoding_gives_the_rows_that_reading_and_fitting_give(tmp_path):
    for i in range(9): save(picture(8 + i % 2, 6, i, 1 + 2 * (i % 3 == 0)), tmp_path/'set'/f'{i}.png')
    files = image_files(tmp_path/'set')
    got = decode_files(files, str(tmp_path/'set'))
    assert got.images.shape == (9, 1, 8, 6)
    assert got.images.dtype == np.uint8 and (got.bad, got.note) == ({}, '')
    assert got.remarks[0].startswith('4 of 9 images')
    for x, f in zip(got.images, files, strict=True): assert np.array_equal(x, fit_image(read_image(f.path), (1, 8, 6)))
    assert decode_files(files, str(tmp_path/'set'), (5, 7), 3).images.shape == (9, 3, 5, 7)

GREY, OTHER, COLOURED, SMALL = (6, 5, 1), (4, 4, 1), (4, 4, 3), (6, 5, 3)
KINDS = {
    'as it begins': ([GREY] * 40 + [OTHER] * 3, None),
    'not as it begins': ([GREY] * 10 + [OTHER] * 30, 40),
    'equally common': ([GREY, OTHER] * 20, None),
    'mostly coloured': ([COLOURED] * 30 + [OTHER] * 20, None),
    'mostly grey': ([COLOURED] * 20 + [OTHER] * 30, None),
    'only the first decide': ([GREY] * 20 + [COLOURED] * 200, 20),
}

@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size, channels', [(None, None), ((6, 5), None), (None, 3), ((3, 3), 1)])
def test_the_shape_is_what_most_of_the_first_files_have(tmp_path, kind, size, channels):
    kinds, first = KINDS[kind]
    for i, (h, w, c) in enumerate(kinds): save(picture(h, w, i, c), tmp_path/'set'/f'{i:04}.png')
    files = image_files(tmp_path/'set')
    got = decode_files(files, str(tmp_path/'set'), size, channels, first=first)
    sizes = [kind[:2] for kind in kinds[:first]]
    coloured = sum(c == 3 for *_, c in kinds[:first]) * 2 > len(sizes)
    shape = (channels or (3 if coloured else 1), *(size or max(dict.fromkeys(sizes), key=sizes.count)))
    odd = 0 if size else sum(kind[:2] != shape[1:] for kind in kinds)
    lost = sum(c == 3 for *_, c in kinds) if channels is None and not coloured else 0
    assert got.images.shape[1:] == shape
    counted = [int(r.split()[0]) for r in got.remarks if f' of {len(kinds)} images' in r]
    assert counted == [n for n in (odd, lost) if n]
    for x, f in zip(got.images, files, strict=True): assert np.array_equal(x, fit_image(read_image(f.path), shape))

def test_a_sample_of_headers_is_read_where_they_agree_and_all_where_not(tmp_path, monkeypatch):
    files, probed = many(tmp_path/'set', 640), []
    def probe(path, reading):
        probed.append(path)
        return Header((4, 6), 'L', False)
    def guess(channels=None):
        del probed[:]
        return decode._guess_plan(Listing.of(files), decode._Seen(640, None, channels), USUAL).shape, len(probed)
    monkeypatch.setattr(decode, 'probe', probe)
    assert guess() == ((1, 4, 6), 64)
    def mixed(path, reading): return probe(path, reading)._replace(coloured=path < files[90].path)
    monkeypatch.setattr(decode, 'probe', mixed)
    assert guess() == ((1, 4, 6), 64 + 640) and guess(3) == ((3, 4, 6), 64)

@pytest.mark.parametrize('guess', [(1, 4, 6), (3, 2, 2)], ids=['right', 'wrong'])
def test_a_guess_that_was_wrong_costs_a_second_pass_and_nothing_else(tmp_path, monkeypatch, guess):
    seen = Seen()
    many(tmp_path/'set', 40)
    (tmp_path/'set'/'0007.png').write_text('x')
    monkeypatch.setattr(decode, '_guess_plan', lambda *args: decode.Plan(guess, USUAL))
    got = decode_files(image_files(tmp_path/'set'), str(tmp_path/'set'), skip_bad=True, reporter=seen)
    assert got.bad == {7: 'not an image'} and got.images.shape == (39, 1, 4, 6)
    assert np.array_equal(got.images[:, 0], [picture(4, 6, i) for i in range(40) if i != 7])
    assert seen.counts.count((40, 40)) == (1 if guess == (1, 4, 6) else 2)

def test_more_images_than_a_block_are_decoded_in_order(tmp_path, monkeypatch):
    files, prod = many(tmp_path/'set', 300), decode.math.prod
    def prod_for_blocks_of_64(shape): return 2**24 // 64 if len(shape) == 3 else prod(shape)
    monkeypatch.setattr(decode.math, 'prod', prod_for_blocks_of_64)
    got = decode_files(files, str(tmp_path/'set'))
    for i, x in enumerate(got.images): assert np.array_equal(x[0], picture(4, 6, i))

def test_the_reporter_is_told_the_task_and_how_far_it_is(tmp_path):
    files, seen = many(tmp_path/'set', 100), Seen()
    decode_files(files, str(tmp_path/'set'), reporter=seen)
    assert [(t.what, t.name, t.images) for t in seen.tasks] == [('decode', str(tmp_path/'set'), 100)] and seen.ends == 1
    assert seen.counts == sorted(seen.counts) and seen.counts[-1] == (100, 100) and len(seen.counts) >= 4


# Errors in words

@pytest.mark.parametrize('error', [
    MemoryError(),
    RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB'),
    RuntimeError('MPS backend out of memory (MPS allocated: 9.00 GB)'),
    RuntimeError('CUDA error: out of memory'),
    RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`'),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
])
def test_memory_that_ran_out_is_known_by_each_of_its_messages(error):
    what, cure = explained(error)
    assert is_memory(error) and what.startswith('not enough memory') and 'smaller batch' in cure

def test_our_errors_say_both_and_others_are_ours_to_mend():
    assert explained(InputError('a.jpg: is empty; take\nanother')) == ('a.jpg: is empty', 'take another')
    assert explained(InputError('no cure')) == ('no cure', '')
    assert explained(ValueError('x' * 900))[0].endswith(f"(ValueError: {'x' * 300})")
    assert 'FASTRECIPES_DEBUG=1' in explained(KeyError('k'))[1]
    assert not is_memory(ValueError('memory')) and not is_memory(InputError('a tensor'))
