"`check` finds each fault that was built in, by name, and nothing where there is none"
import json, os, re
from dataclasses import replace
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image
from conftest import refused
from fastrecipes.data import folders
from fastrecipes.data.check import check, Sighting
from fastrecipes.data.checkup import traits_of
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError
from reporters import Seen


def noise(path, seed, size=(8, 10), **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, size).astype(np.uint8)).save(path, **kwargs)

@pytest.fixture
def folder(tmp_path):
    "Make a folder of images that all differ: folder({'train/a': 3, ...})"
    def make(counts, size=(8, 10), name='set'):
        (tmp_path/name).mkdir()
        for k, (sub, n) in enumerate(counts.items()):
            (tmp_path/name/sub).mkdir(parents=True)
            for i in range(n): noise(tmp_path/name/sub/f'{i}.png', 1000 * k + i, size)
        return tmp_path/name
    return make

GOOD = {'train/a': 6, 'train/b': 6, 'valid/a': 3, 'valid/b': 3}

def names(group): return [s.name for s in group]
def path(*parts): return os.path.join(*parts)
def one(sentences, *parts):
    "There is one sentence, which contains each of `parts`"
    sentence, = sentences
    assert '\n' not in sentence and not [p for p in parts if p not in sentence], sentence
    return True


# Nothing wrong

def test_a_healthy_folder_has_no_problems_and_no_remarks(folder):
    c = check(folder(GOOD))
    assert c.healthy
    for group in ('problems', 'remarks', 'unreadable', 'empty', 'leaks', 'two_labels', 'duplicates', 'blank'):
        assert getattr(c, group) == (), group
    assert c.missing == {}
    assert c.classes == ('a', 'b') and c.counts == {'train': {'a': 6, 'b': 6}, 'valid': {'a': 3, 'b': 3}}
    assert c.sizes == {'8x10': 18} and c.modes == {'L': 18} and (c.size, c.channels) == ('8x10', 1)

def test_the_digits_are_healthy(digits):
    c = check('digits')
    assert c.healthy
    assert not c.remarks
    assert c.source == 'digits' and sum(c.counts['train'].values()) == 1437 and c.sizes == {'8x8': 1797}
    assert check(digits).to_dict() == c.to_dict()

def test_mnist_sample_is_healthy_by_name_and_as_a_folder(mnist_sample, found):
    table = 'not read: .csv (1)' # labels.csv
    for source, remarks in (('mnist_sample', ()), (found[0]/'data'/'mnist_sample', (table,))):
        c = check(source)
        assert c.healthy and c.remarks == remarks
        assert c.counts == {'train': {'3': 6131, '7': 6265}, 'valid': {'3': 1010, '7': 1028}}


# Each fault

def test_unreadable_files_are_named_with_their_reasons(folder):
    at = folder(GOOD)
    raw = (at/'train/a/1.png').read_bytes()
    (at/'train/a/1.png').write_bytes(raw[:len(raw) // 2])
    (at/'train/b/2.png').write_text('x')
    (at/'valid/b/0.png').write_bytes(b'')
    (at/'train/b/d.png').mkdir()
    c = check(at)
    assert dict(c.unreadable) == {
        path('train', 'a', '1.png'): 'image file is truncated',
        path('train', 'b', '2.png'): 'not an image',
        path('train', 'b', 'd.png'): 'a folder',
        path('valid', 'b', '0.png'): 'an empty file'}
    assert one(c.problems, '4 unreadable images', 'repair or remove them', 'skip_bad=True (--skip-bad)')
    assert not c.healthy
    assert c.counts == {'train': {'a': 5, 'b': 5}, 'valid': {'a': 3, 'b': 2}}
    skipped = check(at, skip_bad=True)
    assert skipped.healthy and skipped.unreadable == c.unreadable and skipped.counts == c.counts
    assert [r for r in skipped.remarks if '4 unreadable images' in r]
    with refused('skip_bad', 'no effect'): check('digits', skip_bad=True)

def test_an_empty_class_and_one_whose_files_are_all_bad(folder):
    at = folder(GOOD | {'train/c': 0, 'valid/c': 1, 'train/d': 1, 'valid/d': 2})
    (at/'train/d/0.png').write_text('x')
    c = check(at)
    assert c.empty == (path('train', 'c'), path('train', 'd')) and c.missing == {'train': ('c', 'd')}
    assert any(p.startswith(f"{path('train', 'c')}: no images") for p in c.problems)
    assert any(p.startswith(f"{path('train', 'd')}: none of its images") for p in c.problems)

def test_a_class_that_is_not_in_training_or_not_in_validation(folder):
    c = check(folder({'train/a': 6, 'train/b': 6, 'valid/a': 3, 'valid/z': 3, 'test/a': 2, 'test/b': 2}))
    assert one(c.problems, path('valid', 'z'), "class 'z'", 'training classes')
    assert c.missing == {'train': ('z',), 'valid': ('b',), 'test': ('z',)}
    assert one(c.remarks, 'validation', "'b'", 'add some')

@pytest.mark.parametrize('counts, problems', [
    ({}, ['the folder is empty']),
    ({'.hidden': 1}, ['no class folders']),
    ({'a': 5}, ['one class only (a)']),
    ({'a': 5, 'b': 0}, ['no images in this class folder']),
    ({'a': 0, 'b': 0}, ['a: no images', 'b: no images']),
    ({'a': 5, 'b': 1}, ["class 'b'"]),
    ({'train/a': 5, 'train/b': 1, 'valid/a': 2, 'valid/b': 3}, ["class 'b'"]),
    ({'valid/a': 3, 'valid/b': 3}, ['valid folder but no train folder']),
    ({'train/a': 3, 'train/b': 3, 'valid': 0}, ['valid: no class folders']),
])
def test_folders_that_load_refuses_are_looked_at_and_named(folder, counts, problems):
    at = folder(counts)
    c = check(at)
    assert len(c.problems) == len(problems) and all(p in s for p, s in zip(problems, c.problems)), c.problems
    assert not c.healthy and str(c) and json.dumps(c.to_dict())

def test_the_same_image_in_two_splits(folder):
    at = folder(GOOD | {'test/a': 2, 'test/b': 2})
    groups = [
        ('train/a/1.png', 'valid/a/0.png', 'test/a/0.png'),
        ('train/b/2.png', 'valid/b/2.png'),
        ('valid/b/0.png', 'test/b/1.png'),
    ]
    for first, *copies in groups:
        for copy in copies: (at/copy).write_bytes((at/first).read_bytes())
    c = check(at)
    assert {frozenset(names(g)) for g in c.leaks} == {frozenset(str(Path(n)) for n in g) for g in groups}
    assert [re.sub(r'(\d+) (\w+) .* the (\w+) split.*', r'\1 \2 \3', p) for p in c.problems] == [
        '2 validation training', '1 test training', '2 test validation']

@pytest.mark.parametrize('seed', [0, 42])
@pytest.mark.parametrize('valid', [None, .5])
def test_without_a_valid_folder_the_split_that_load_makes_is_looked_at(folder, seed, valid):
    at = folder({'a': 14, 'b': 9})
    for i in range(4): (at/'a'/f'copy{i}.png').write_bytes((at/'a'/f'{i}.png').read_bytes())
    images, c = load(at, valid=valid, seed=seed), check(at, valid=valid, seed=seed)
    def pixels(split): return {im.numpy().tobytes() for im in images.splits[split].images}
    both = pixels('train') & pixels('valid')
    assert {np.array(Image.open(at/g[0].name)).tobytes() for g in c.leaks} == both and len(c.leaks) == len(both)
    assert c.counts == {n: dict(zip(images.classes, s.labels.bincount().tolist())) for n, s in images.splits.items()}
    assert len(c.leaks) + len(c.duplicates) == 4 and c.healthy == (not both)

def test_the_split_is_that_of_the_readable_files(folder):
    at = folder({'a': 10, 'b': 10, 'single': 1})
    (at/'a'/'3.png').write_text('x')
    (at/'single'/'0.png').unlink()
    noise(at/'single'/'1.png', 7)
    noise(at/'single'/'2.png', 8)
    images, c = load(at, skip_bad=True), check(at)
    assert c.counts == {n: dict(zip(images.classes, s.labels.bincount().tolist())) for n, s in images.splits.items()}

def test_the_same_image_under_two_labels(folder):
    at = folder(GOOD)
    (at/'train/b/4.png').write_bytes((at/'train/a/2.png').read_bytes())
    c = check(at)
    pair, = c.two_labels
    assert pair == (Sighting(path('train', 'a', '2.png'), 'train', 'a'),
                    Sighting(path('train', 'b', '4.png'), 'train', 'b'))
    assert one(c.problems, '1 image ', 'two labels') and c.duplicates == c.leaks == ()

def test_copies_in_one_split_and_class_are_a_remark(folder):
    at = folder(GOOD)
    for n in (3, 4): (at/f'train/a/{n}.png').write_bytes((at/'train/a/2.png').read_bytes())
    c = check(at)
    assert [names(g) for g in c.duplicates] == [[path('train', 'a', f'{n}.png') for n in (2, 3, 4)]]
    assert c.healthy and one(c.remarks, '2 images', 'copies', 'remove them')

def test_the_same_pixels_are_found_whatever_the_file(folder):
    at = folder({'a': 4, 'b': 4, 'c': 0})
    x = Image.open(at/'a/0.png')
    lying = Image.Exif()
    lying[0x112] = 3
    x.save(at/'c/0.bmp')
    x.convert('RGB').save(at/'c/1.png')
    x.convert('RGBA').save(at/'c/2.tif')
    x.rotate(180).save(at/'c/3.png', exif=lying)
    x.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(at/'c/4.png')
    group, = check(at).two_labels
    assert sorted(names(group)) == [path('a', '0.png'), *(path('c', n) for n in ('0.bmp', '1.png', '2.tif', '3.png'))]

def test_the_same_bytes_in_another_shape_are_another_image(folder):
    at = folder({'a': 3, 'b': 3})
    Image.fromarray(np.array(Image.open(at/'a/0.png')).reshape(10, 8)).save(at/'b/0.png')
    assert check(at).two_labels == ()

@pytest.mark.parametrize('n, problem, remark', [
    (29, False, False), (30, False, True), (99, False, True), (100, True, False),
])
def test_one_class_that_rules_is_a_remark_from_3_to_1_and_a_problem_from_10_to_1(folder, n, problem, remark):
    c = check(folder({'train/big': n, 'train/small': 10, 'valid/big': 50, 'valid/small': 2}, size=(5, 5)))
    assert not c.healthy == problem and bool(c.remarks) == remark
    if problem or remark:
        parts = ("'big' has", f'{n / 10:.3g} times as many', "'small'", f'({n} to 10)', 'add images')
        assert one(c.problems or c.remarks, *parts)

def test_blank_images_are_a_remark(folder):
    at = folder(GOOD)
    for name, values in (('train/a/0', (9, 17)), ('train/b/0', (9, 18)), ('valid/a/0', (250, 250))):
        Image.fromarray(np.resize(np.array(values, np.uint8), (8, 10))).save(at/f'{name}.png')
    Image.new('RGB', (10, 8), (255, 0, 0)).save(at/'valid/b/0.png')
    c = check(at)
    assert names(c.blank) == [path('train', 'a', '0.png'), path('valid', 'a', '0.png'), path('valid', 'b', '0.png')]
    assert one([r for r in c.remarks if 'blank' in r], '3 images')

DEEP = {
    'CT': lambda rng, k: (rng.integers(-1000, -500, (16, 16)) + 200 * k).astype(np.int16),
    'floats to 255': lambda rng, k: (rng.random((16, 16)) * 100 + 100 * k + 2).astype(np.float32),
    '12 bits in 16': lambda rng, k: np.uint16(80 * k) + rng.integers(0, 60, (16, 16)).astype(np.uint16),
}

@pytest.mark.parametrize('make', DEEP.values(), ids=DEEP)
@pytest.mark.parametrize('own_split', [True, False])
def test_images_of_more_than_8_bits_are_looked_at_with_the_scale_of_load(tmp_path, make, own_split):
    rng = np.random.default_rng(0)
    for split in (('train', 'valid') if own_split else ('.',)):
        for k, c in enumerate('ab'):
            at = tmp_path/'set'/split/c
            at.mkdir(parents=True)
            for i in range(8): Image.fromarray(make(rng, k)).save(at/f'{i}.tif')
    peak = make(rng, 1)
    peak[0, 0] = 3000
    Image.fromarray(peak).save(tmp_path/'set'/('valid' if own_split else '')/'b'/'0.tif')
    c, images = check(tmp_path/'set'), load(tmp_path/'set')
    assert c.healthy and c.leaks == c.two_labels == c.duplicates == ()
    pixels = torch.cat([part.images for part in images.splits.values()]).flatten(1)
    spread = pixels.amax(1).int() - pixels.amin(1).int()
    assert len(c.blank) == int((spread <= 8).sum()) < len(pixels)
    assert c.remarks[:1] == images.notes[:1], 'the scale'

def test_large_photos_are_checked_at_a_smaller_scale_and_their_copies_found(tmp_path, monkeypatch):
    from fastrecipes.data import check as room
    shapes = []
    def seen(x, *args):
        shapes.append(x.shape[:2])
        return traits_of(x, *args)
    monkeypatch.setattr(room, 'traits_of', seen)
    for c, seeds in dict(a=(0, 1, 2), b=(3, 4, 0)).items():
        for i, seed in enumerate(seeds): noise(tmp_path/'set'/c/f'{i}.jpg', seed, (1500, 2000), quality=60)
    at = tmp_path/'set'/'b'/'2.jpg'
    at.write_bytes(at.read_bytes() + b'more') # Another file with the same pixels
    c = check(tmp_path/'set')
    assert c.sizes == {'1500x2000': 6} and len(shapes) == 6 and max(map(max, shapes)) <= 1000
    assert [sorted(names(g)) for g in c.two_labels] == [[path('a', '0.jpg'), path('b', '2.jpg')]] and c.blank == ()

@pytest.mark.parametrize('colour, background, hidden', [
    ((250, 250, 250, 255), 'white', False), # Opaque
    ((250, 250, 250, 254), 'white', True), ((0, 0, 0, 0), 'white', True), ((0, 0, 0, 0), '10,200,30', True),
    ((0, 0, 0, 128), 'white', False), ((0, 0, 0, 128), 'black', True),
], ids=str)
def test_only_what_is_transparent_and_shows_the_background_is_invisible(folder, colour, background, hidden):
    at = folder(GOOD)
    files = 'train/a', 'train/b', 'valid/a'
    for name in files: Image.new('RGBA', (10, 8), colour).save(at/name/'0.png')
    c = check(at, background=background)
    assert len(c.blank) == 3 and len(c.invisible) == 3 * hidden
    assert bool(c.leaks) is bool(c.two_labels) is (not hidden) and c.duplicates == ()

@pytest.mark.parametrize('mode', ['L', 'RGB', 'P'])
@pytest.mark.parametrize('occurs', [True, False])
def test_a_transparent_colour_counts_where_it_occurs(folder, mode, occurs):
    at = folder(GOOD)
    im = Image.new('L', (10, 8), 255).convert(mode)
    value = im.getpixel((0, 0))
    other = tuple(v - 1 for v in value) if mode == 'RGB' else value - 1
    im.save(at/'train/a/0.png', transparency=value if occurs else other)
    c = check(at)
    assert names(c.blank) == [path('train', 'a', '0.png')] and len(c.invisible) == occurs

@pytest.mark.parametrize('seed', range(4))
def test_the_size_and_the_channels_are_those_of_load_for_each_split(tmp_path, seed):
    for k, c in enumerate('ab'):
        for i in range(10):
            size = (32, 32) if i < 5 else (20 + i, 20 + i)
            noise(tmp_path/'set'/c/f'{i}.png', 100 * k + i, (*size, 3) if (i + k) % 2 else size)
    noise(tmp_path/'set'/'a'/'10.png', 1000, (32, 32, 3))
    images, c = load(tmp_path/'set', seed=seed), check(tmp_path/'set', seed=seed)
    assert (c.size, c.channels) == ('x'.join(map(str, images.shape[1:])), images.shape[0])
    assert [r for r in c.remarks if '--size' in r or '--resize' in r] == [
        n for n in images.notes if '--size' in n or '--resize' in n]

def test_sizes_modes_and_what_to_ask_for(folder):
    at = folder(GOOD)
    for i in range(2): noise(at/f'train/a/odd{i}.png', i, (5, 4, 3))
    noise(at/'valid/a/odd.png', 9, (300, 600))
    c = check(at)
    assert list(c.sizes.items()) == [('8x10', 18), ('5x4', 2), ('300x600', 1)]
    assert c.modes == {'L': 19, 'RGB': 2} and (c.size, c.channels) == ('8x10', 1)
    odd, cut, grey = c.remarks
    assert one([odd], '3 of 21 images', '8x10') and one([cut], '%', '--resize') and one([grey], '2 of 21 images')

def test_large_images_are_suggested_smaller_in_their_proportions(folder):
    c = check(folder({'a': 3, 'b': 3}, (1024, 512)))
    assert c.size == '256x128' and one(c.remarks, '1024x512', '256x128', '--size')

def test_colour_files_are_told_from_colours(folder):
    c = check(folder({'a': 3, 'b': 3}, (8, 10, 3)))
    assert (c.channels, c.remarks, c.modes) == (3, (), {'RGB': 6})
    at = folder({'a': 3, 'b': 3}, name='grey')
    for p in at.rglob('*.png'): Image.open(p).convert('RGB').save(p)
    assert check(at).channels == 1 and one(check(at).remarks, 'only grey', 'channels=1 (--channels)')

def test_images_outside_the_class_folders_are_a_remark(folder):
    at = folder(GOOD)
    noise(at/'lost.png', 1)
    noise(at/'train'/'lost.JPG', 2)
    (at/'labels.csv').touch()
    (at/'._x.png').touch()
    assert one(check(at).remarks, 'outside', '(2)')

def test_files_that_are_no_images_we_read_are_a_remark(folder, monkeypatch):
    monkeypatch.setattr(folders, '_readable', lambda: folders.image_suffixes) # As without pillow-heif
    at = folder(GOOD)
    for i in range(3): (at/'train/a'/f'{i}.heic').touch()
    (at/'valid/b/notes').touch()
    (at/'train/a/.hidden.heic').touch()
    assert one(check(at).remarks, '.heic (3)', 'no suffix (1)', 'fastrecipes[heif]')
    assert one(load(at).notes, '.heic (3)', 'no suffix (1)', 'fastrecipes[heif]')

@pytest.mark.parametrize('names', [('Train', 'Valid', 'Test'), ('TRAINING', 'Validation', 'testing')])
def test_the_names_of_splits_count_in_any_case(folder, names):
    at = folder({f'{s}/{c}': n for s, n in zip(names, (6, 3, 2)) for c in 'ab'})
    assert {s: sum(n.values()) for s, n in check(at).counts.items()} == {'train': 12, 'valid': 6, 'test': 4}
    assert {n: len(s) for n, s in load(at).splits.items()} == {'train': 12, 'valid': 6, 'test': 4}
    assert load(at).classes == ('a', 'b')

def test_a_folder_beside_train_that_is_no_split_is_said(folder):
    at = folder(GOOD | {'holdout/a': 2})
    assert one(check(at).remarks, "'holdout'", 'train, valid', 'test_set', 'not used')
    assert one(load(at).notes, "'holdout'", 'not used')

def test_a_test_folder_is_looked_at_where_validation_is_set_aside(folder):
    at = folder({'train/a': 6, 'train/b': 6, 'test/a': 2, 'test/b': 2})
    (at/'test/a/0.png').write_bytes((at/'train/a/1.png').read_bytes())
    c = check(at)
    assert {s: sum(n.values()) for s, n in c.counts.items()} == {'train': 10, 'valid': 2, 'test': 4}
    assert len([p for p in c.problems if p.startswith('1 test image ')]) == 1

def test_copies_that_a_random_split_tears_apart_are_to_be_removed(folder):
    at = folder({'a': 10, 'b': 10})
    for i in range(5, 10): (at/f'a/{i}.png').write_bytes((at/f'a/{i - 5}.png').read_bytes())
    assert one(check(at, valid=.5).problems, 'validation image', 'remove the copies')

def test_what_the_system_of_a_mac_leaves_in_an_archive_is_no_class(folder):
    at = folder({'a': 4, 'b': 4})
    (at/'__MACOSX/a').mkdir(parents=True)
    assert check(at).healthy and load(at).classes == ('a', 'b')

def test_several_faulty_folders_are_counted(folder):
    at = folder({'a': 4, 'b': 4, 'c': 0, 'd': 0})
    (at/'e').mkdir()
    (at/'e'/'x.txt').touch()
    with refused(f"{at/'c'}, {at/'d'}: no images", '1 other fault', '`fastrecipes check`'): load(at)
    assert sum('no images' in p for p in check(at).problems) == 3

def test_a_class_called_like_a_split_is_told_so(folder):
    with refused('no class folders', "'train'", 'rename it'):
        load(folder({'train': 4, 'car': 4}))

def test_large_images_are_remarked_when_they_are_loaded_as_they_are(folder):
    at = folder({'a': 3, 'b': 3}, (300, 150))
    assert one(load(at).notes, '300x150', '256x128', '--size')
    assert one(load(at, size=64).notes, '50%', '--resize') and load(at, size=64, resize='squish').notes == ()


# Sources, sets and arguments

def test_images_of_a_set_are_named_by_their_place():
    x = torch.arange(6 * 16, dtype=torch.uint8).view(6, 1, 4, 4) * 2
    c = check(ImageSet('toy', ('a', 'b'), Split(x[[0, 1, 2, 2]], torch.tensor([0, 1, 0, 0])),
                       Split(x[[3, 1, 0]], torch.tensor([0, 1, 1]))))
    assert names(c.duplicates[0]) == ['train[2]', 'train[3]']
    assert {tuple(names(g)) for g in c.leaks} == {('train[0]', 'valid[2]'), ('train[1]', 'valid[1]')}
    assert [[(s.name, s.label) for s in g] for g in c.two_labels] == [[('train[0]', 'a'), ('valid[2]', 'b')]]
    assert c.modes == {'grey': 7}

@pytest.mark.parametrize('source, parts', [('digts', ("did you mean 'digits'?",)), ('./nowhere', ('no such folder',))])
def test_only_what_is_not_there_is_refused(source, parts):
    with refused(*parts): check(source)

def test_a_share_that_has_no_meaning_is_refused_as_by_load(folder):
    with refused('valid folder', 'valid=0.2', 'leave it out'): check(folder(GOOD), valid=.2)
    with refused('valid=2', 'above 0 and below 1'): check(folder({'a': 2, 'b': 2}, name='flat'), valid=2)
    with refused('fixed split'): check('digits', valid=.2)

@pytest.mark.parametrize('kind', ['folder', 'set'])
def test_progress_rises_to_the_number_of_images(folder, digits, kind):
    seen = Seen()
    check(folder({'a': 40, 'b': 40}) if kind == 'folder' else digits, reporter=seen)
    n = 80 if kind == 'folder' else 1797
    assert seen.counts == sorted(set(seen.counts)) and seen.counts[-1] == (n, n) and len(seen.counts) > 3
    assert [(t.what, t.images) for t in seen.tasks] == [('check', n)]


# Text and JSON

@pytest.fixture
def ill(folder):
    at = folder({f'{s}/{c}': n for s, n in (('train', 30), ('valid', 4)) for c in ('cat', 'dog')})
    for i in range(17): (at/f'train/cat/bad{i:02}.png').write_text('x')
    for i in range(12): (at/f'train/dog/copy{i:02}.png').write_bytes((at/'train/cat/3.png').read_bytes())
    Image.new('L', (10, 8), 9).save(at/'valid/cat/blank.png')
    return at

def test_the_text_names_ten_and_how_many_more_and_fits_a_terminal(ill):
    text = str(replace(check(ill), source='pets'))
    lines = text.splitlines()
    assert lines[0] == 'pets: 2 classes, 81 readable images' and max(map(len, lines)) <= 80 and text.isascii()
    assert [line.split()[1:] for line in lines[2:6]] == [['train', 'valid'], ['30', '5'], ['42', '4'], ['72', '9']]
    assert len(set(map(len, lines[2:6]))) == 1
    section = lines[lines.index('unreadable:') + 1:]
    assert section[:10] == [f"  {path('train', 'cat', f'bad{i:02}.png')} (not an image)" for i in range(10)]
    assert section[10] == '  ... and 7 more'
    assert f"  {path('train', 'cat', '3.png')} (cat), {path('train', 'dog', 'copy00.png')} (dog)," in text
    assert ' (dog) and 9 more' in ' '.join(text.split())
    assert not [line for line in lines if line != line.rstrip()]

def test_a_healthy_set_is_said_to_have_no_problems(digits):
    *_, sizes, pixels, suggested, between, problems, remarks = str(check(digits)).splitlines()
    assert (sizes, pixels) == ('  sizes     8x8 (1,797)', '  pixels    grey (1,797)')
    assert suggested == '  suggested 8x8, grey'
    assert (between, problems, remarks) == ('', 'no problems', 'no remarks')

def test_many_classes_are_cut_short(folder):
    text = str(check(folder({f'class{i}': 2 for i in range(23)})))
    assert '  class19 ' in text and 'class20' not in text and '  ... and 3 more' in text

def test_control_characters_in_names_are_harmless(folder):
    at = folder(GOOD | {'train/c\x1b[31m\n': 2, 'valid/c\x1b[31m\n': 0})
    (at/'train/a/x\n\x1b[2J.png').write_text('x')
    text = str(check(at))
    assert '\x1b' not in text and r'x\n\x1b[2J.png' in text and r'c\x1b[31m\n' in text

def test_the_dictionary_holds_everything_and_goes_through_json(ill):
    c = check(ill)
    d = json.loads(json.dumps(c.to_dict(), allow_nan=False))
    assert d['schema_version'] == 1
    assert d['healthy'] is False and d['problems'] == list(c.problems) and d['remarks'] == list(c.remarks)
    assert d['unreadable'] == [dict(name=path('train', 'cat', f'bad{i:02}.png'), reason='not an image')
                               for i in range(17)]
    assert d['counts'] == c.counts
    assert len(d['two_labels'][0]) == 13
    assert d['two_labels'][0][0] == dict(name=path('train', 'cat', '3.png'), split='train', label='cat')
    assert set(d) == {
        'schema_version', 'healthy', 'source', 'classes', 'counts', 'sizes', 'modes', 'unreadable', 'empty', 'missing',
        'leaks', 'two_labels', 'duplicates', 'shared_groups', 'blank', 'invisible', 'size', 'channels', 'problems',
        'remarks'}

@pytest.mark.skipif(os.name != 'posix', reason='file names are text here')
def test_a_file_name_that_is_no_text_can_be_written_as_json(folder):
    at = folder(GOOD)
    (at/'train/a'/os.fsdecode(b'\xff.png')).write_text('x')
    c = check(at)
    assert json.dumps(c.to_dict(), ensure_ascii=False).encode()
    assert str(c).encode() and c.to_dict()['unreadable'][0]['name'] == path('train', 'a', r'\udcff.png')

def test_what_is_healthy_can_be_loaded_and_what_cannot_be_loaded_is_not_healthy(folder):
    folders = [GOOD, {'a': 3, 'b': 3}, {'a': 3}, {'a': 3, 'b': 1}, {'a': 3, 'b': 0}, {'valid/a': 1},
               {'train/a': 2, 'train/b': 2, 'valid/c': 1}]
    for i, counts in enumerate(folders):
        at = folder(counts, name=f'set{i}')
        try:
            load(at)
            loads = True
        except InputError: loads = False
        assert check(at).healthy == loads, counts


# Options, and sentences that are true

def test_check_has_the_options_that_it_suggests(folder):
    at = folder({'a': 6, 'b': 6}, size=(300, 200))
    assert check(at).size == '128x128' or '--size' in ' '.join(check(at).remarks)
    c = check(at, size='64x32', channels=3, resize='squish')
    assert (c.size, c.channels) == ('64x32', 3)
    assert not any('--size' in r or '--resize' in r for r in c.remarks)
    cut, = (r for r in check(at, size=64).remarks if '--resize' in r)
    assert cut.startswith('33%')
    with refused('size'): check(at, size='big')
    with refused('resize'): check(at, resize='big')
    assert check('digits', size=16).sizes == {'16x16': 1797}

def test_a_common_class_is_not_said_to_win_where_it_does_not(folder):
    c = check(folder({f'c{i}': 12 if i else 1 for i in range(20)} | {'big': 40}, size=(5, 5)), valid=.3)
    assert not any('always predicting' in p for p in (*c.problems, *c.remarks))
    c = check(folder({'a': 30, 'b': 6}, size=(5, 5), name='two'))
    assert one(c.remarks, "always predicting 'a'", '82.76%')

def test_the_current_folder_is_called_by_its_name(folder, monkeypatch):
    monkeypatch.chdir(folder({'a': 3, 'b': 3}, name='pets'))
    assert str(check('.')).startswith('pets: 2 classes') and repr(check('.')).startswith('Checkup of pets')

def test_twenty_one_classes_have_a_row_each(folder):
    lines = str(check(folder({f'c{i}': 2 for i in range(21)}, size=(4, 4)))).splitlines()
    assert sum(line.startswith('  c') for line in lines) == 22 # With the head
    assert not any('more' in line for line in lines)
