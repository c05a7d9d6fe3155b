"From a name or a folder to tensors: every pixel, label and split is known, and every error is one line"
import io, os, re, subprocess, sys
from ast import literal_eval
from dataclasses import replace
from pathlib import Path
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt, numpy as np, pytest, torch
from PIL import Image
from conftest import needs_posix, refused
from fastrecipes.data.imagefile import fit_image, read_image
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.data.labelled import stratified_split
from fastrecipes.data.sources import find_source, from_folder, keep_classes, load, source, sources
from fastrecipes.errors import InputError, no_such
from fastrecipes.reporter import Reporter
from reporters import Seen


def split(labels, shape=(1, 2, 3), first=0):
    "A split whose image number i is filled with `first` + i"
    n = len(labels)
    return Split((torch.arange(first, first + n).view(n, 1, 1, 1) + torch.zeros(n, *shape)).byte(),
                 torch.tensor(labels, dtype=torch.int64))

def image_set(**parts):
    return ImageSet(**dict(source='toy', classes=('a', 'b'), train=split([0, 1, 1, 0]), valid=split([1, 0])) | parts)

def rows(s): return sorted((im.numpy().tobytes(), int(y)) for im, y in zip(s.images, s.labels))

def save(array, path, **kwargs):
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path, **kwargs)
    return path


# ImageSet

@pytest.mark.parametrize('change, parts', [
    (dict(classes=('a',)), ('toy', 'one class only (a)', 'two or more')),
    (dict(classes=()), ('toy', 'one class only (none)')),
    (dict(classes=('a', 'b', 'a')), ('toy', 'repeat', 'a, b, a')),
    (dict(train=Split(torch.rand(2, 1, 2, 3), torch.tensor([0, 1]))), ('toy: train', 'uint8', 'float32', '.byte()')),
    (dict(train=Split(torch.zeros(2, 4, 4).byte(), torch.tensor([0, 1]))), ('toy: train', '(n, c, h, w)', '(2, 4, 4)')),
    (dict(valid=split([])), ('toy: valid', 'no images')),
    (dict(valid=split([0, 1], (1, 3, 2))), ('toy: valid', '(1, 3, 2)', '(1, 2, 3)', 'same size')),
    (dict(test=split([0, 1], (3, 2, 3))), ('toy: test', '(3, 2, 3)')),
    (dict(train=split([0, 1], (2, 2, 3)), valid=split([0], (2, 2, 3))),
     ('toy: train', '2 channels', 'grey (1) or RGB (3)')),
    (dict(valid=Split(split([0, 1]).images, torch.tensor([0, 1], dtype=torch.int32))),
     ('toy: valid', 'int64', 'int32')),
    (dict(valid=Split(split([0, 1]).images, torch.tensor([0, 1, 1]))), ('toy: valid', '(2,)', '(3,)')),
    (dict(valid=Split(split([0, 1]).images, torch.tensor([[0], [1]]))), ('toy: valid', '(2, 1)')),
    (dict(valid=split([0, 2])), ('toy: valid', 'from 0 to 2', '2 class names')),
    (dict(valid=split([-1, 1])), ('toy: valid', 'from -1 to 1')),
    (dict(train=split([0, 0])), ('toy', "class 'b'", 'leave out the class')),
], ids=lambda v: '-'.join(v) if isinstance(v, dict) else '')
def test_parts_that_do_not_fit_are_refused_with_what_where_and_cure(change, parts):
    with refused(*parts): image_set(**change)

def test_split_gives_pairs_and_its_length():
    s = split([0, 1, 1])
    assert len(s) == 3
    assert s[2][1] == 1 and s[2][0].tolist() == [[[2] * 3] * 2] and repr(s) == 'Split(3 images of 1x2x3)'
    assert s[torch.tensor([2, 0])][1].tolist() == [1, 0]

def test_a_part_of_a_split_keeps_its_names_with_their_images():
    s = Split(split([0, 1, 1]).images, torch.tensor([0, 1, 1]), ('a', 'b', 'c'))
    assert s.take(torch.tensor([2, 0])).names == ('c', 'a')
    assert s.take(s.labels == 1).names == ('b', 'c') and split([0, 1]).take(torch.tensor([1])).names is None
    with refused('toy: valid', '3 names for 2 images'): image_set(valid=Split(*split([0, 1])[:], ('a', 'b', 'c')))

@pytest.mark.parametrize('valid', [None, .5])
def test_images_to_judge_by_know_their_files_whatever_was_left_out(tmp_path, valid):
    made = {}
    for part in (('train', 'valid') if valid is None else ('',)):
        for c in 'ab':
            for i in range(4):
                path = tmp_path/part/c/f'{i}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                value = len(made) * 7 + 3
                if i == 1: path.write_bytes(b'no image')
                else: Image.fromarray(np.full((5, 4), value, np.uint8)).save(path)
                made[str(path.relative_to(tmp_path))] = value
    images = load(tmp_path, valid=valid, skip_bad=True)
    assert images.train.names is None and len(images.valid.names) == len(images.valid)
    assert all(made[n] == x[0, 0, 0] for n, x in zip(images.valid.names, images.valid.images))
    few = load(images, size=8)
    assert few.valid.names == images.valid.names

def test_repr_names_source_classes_size_colour_and_counts(digits):
    assert repr(image_set()).split(': ')[1].split(', ') == ['2 classes (a', 'b)', '2x3 grey', '4 train', '2 valid']
    rgb = {n: split([0, 1], (3, 5, 4)) for n in ('train', 'valid', 'test')}
    assert repr(image_set(**rgb)) == 'ImageSet toy: 2 classes (a, b), 5x4 RGB, 2 train, 2 valid, 2 test'
    names = ', '.join('0123456789')
    assert repr(digits) == f'ImageSet digits: 10 classes ({names}), 8x8 grey, 1,437 train, 360 valid'

def test_shape_and_splits_are_those_of_the_parts():
    images = image_set(test=split([1]))
    assert images.shape == (1, 2, 3)
    assert list(images.splits) == ['train', 'valid', 'test'] and list(image_set().splits) == ['train', 'valid']

def test_counts_has_a_row_a_class_and_a_column_a_split():
    frame = image_set(train=split([0, 1, 1]), valid=split([1, 1])).counts()
    assert frame.to_dict() == {'train': {'a': 1, 'b': 2}, 'valid': {'a': 0, 'b': 2}} and frame.index.name == 'class'

def test_show_draws_the_first_images_of_each_class_and_leaves_no_figure_open():
    before = plt.get_fignums()
    fig = image_set(train=split([0, 1, 1, 0, 1])).show(n=3)
    drawn = [[int(np.ravel(im.get_array())[0]) for im in ax.images] for ax in fig.axes]
    assert drawn == [[0], [3], [], [1], [2], [4]] and [t.get_text() for ax in fig.axes for t in ax.texts] == ['a', 'b']
    assert all(im.get_clim() == (0, 255) for ax in fig.axes for im in ax.images) and plt.get_fignums() == before

def test_show_draws_another_split_in_colour_and_refuses_one_that_is_not_there():
    images = image_set(**{n: split([0, 1], (3, 2, 3), first=f) for n, f in (('train', 0), ('valid', 50))})
    assert [ax.images[0].get_array().shape for ax in images.show(1, 'valid').axes] == [(2, 3, 3)] * 2
    assert images.show(1, 'valid').axes[1].images[0].get_array().min() == 51
    with refused("unknown split 'test'", 'train, valid'): images.show(split='test')


# Names

def test_an_unknown_name_offers_the_nearest_whatever_its_case():
    message = str(no_such('thing', 'ALPH', ['alpha', 'Beta']))
    assert re.findall("'(.*?)'", message) == ['ALPH', 'alpha'] and message.endswith(' alpha, Beta')
    message = str(no_such('thing', 'beta2', ['alpha', 'Beta'], ', or none'))
    assert re.findall("'(.*?)'", message) == ['beta2', 'Beta'] and message.endswith(' alpha, Beta, or none')

def test_an_unknown_name_offers_nothing_where_nothing_is_near():
    message = str(no_such('thing', 'zzz', ['alpha', 'Beta']))
    assert re.findall("'(.*?)'", message) == ['zzz'] and message.endswith(' alpha, Beta')


# digits

def test_digits_is_scikit_learns_set_whole_with_16_levels_brought_to_255(digits):
    from sklearn.datasets import load_digits
    raw = load_digits()
    levels = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255] # k * 255 / 16
    level = np.array(levels, dtype=np.uint8)
    wanted = sorted((level[im.astype(int)].tobytes(), int(y)) for im, y in zip(raw.images, raw.target))
    assert sorted(rows(digits.train) + rows(digits.valid)) == wanted

def test_digits_sets_a_fifth_of_each_class_aside_whatever_the_seed(digits):
    counts = digits.counts()
    assert ((counts.valid / counts.sum(axis=1) - .2).abs() < 1 / counts.sum(axis=1)).all() and counts.valid.sum() == 360
    other = load('digits', seed=7)
    for n in ('train', 'valid'):
        a, b = digits.splits[n], other.splits[n]
        assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)

@pytest.mark.parametrize('name', ['digits', 'mnist_sample'])
def test_a_source_with_a_fixed_split_refuses_a_share(name):
    with refused(name, 'fixed split', 'valid=0.3', 'leave it out'): load(name, valid=.3)


# read_image

GREY = np.array([[0, 10, 20], [100, 200, 255]], dtype=np.uint8)
RGB = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 14
TURNED = {1: GREY, 2: GREY[:, ::-1], 3: GREY[::-1, ::-1], 4: GREY[::-1],
          5: GREY.T, 6: np.rot90(GREY, -1), 7: GREY[::-1, ::-1].T, 8: np.rot90(GREY)}

@pytest.mark.parametrize('orientation', TURNED)
def test_an_image_is_turned_as_its_exif_orientation_says(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x112] = orientation
    assert np.array_equal(read_image(save(GREY, tmp_path/'a.png', exif=exif)), TURNED[orientation])

def made(mode, data, **info):
    "A Pillow image of `mode` from the values of its pixels, row by row, two rows"
    im = Image.new(mode, (len(data) // 2, 2))
    im.putdata(data)
    im.info |= info
    return im

KINDS_OF_FILE = '''grey bmp rgb 1-bit 16-bit-png 16-bit-tif 32-bit float palette palette-alpha grey-alpha grey-key
    rgb-alpha colour-key cmyk'''

def palette(*indices, **info):
    im = made('P', indices, **info)
    im.putpalette([255, 0, 0, 0, 255, 0, 10, 20, 30, 200, 200, 200])
    return im

@pytest.mark.parametrize('im, suffix, wanted', [
    (Image.fromarray(GREY), 'png', GREY),
    (Image.fromarray(GREY), 'bmp', GREY),
    (Image.fromarray(RGB), 'png', RGB),
    (made('1', [0, 255, 255, 0]), 'png', [[0, 255], [255, 0]]),
    (Image.fromarray(GREY.astype(np.uint16) * 257), 'png', GREY),
    (Image.fromarray(GREY.astype(np.uint16) * 257), 'tif', GREY),
    (made('I', [0, 2570, 65535, 70000]), 'tif', [[0, 10], [255, 255]]),
    (made('F', [-3., .25, 1., float('nan')]), 'tif', [[0, 64], [255, 0]]),
    (palette(0, 1, 2, 3), 'png', [[[255, 0, 0], [0, 255, 0]], [[10, 20, 30], [200, 200, 200]]]),
    (palette(0, 1, 2, 3, transparency=3), 'png', [[[255, 0, 0], [0, 255, 0]], [[10, 20, 30], [255] * 3]]),
    (made('LA', [(200, 255), (200, 0), (200, 51), (50, 255)]), 'png', [[200, 255], [244, 50]]),
    (made('L', [9, 20, 30, 9], transparency=9), 'png', [[255, 20], [30, 255]]),
    (made('RGBA', [(200, 100, 50, 255), (200, 100, 50, 0), (200, 100, 50, 51), (0, 0, 9, 255)]), 'png',
     [[[200, 100, 50], [255] * 3], [[244, 224, 214], [0, 0, 9]]]),
    (made('RGB', [(9, 9, 9), (1, 2, 3), (9, 9, 9), (4, 5, 6)], transparency=(9, 9, 9)), 'png',
     [[[255] * 3, [1, 2, 3]], [[255] * 3, [4, 5, 6]]]),
    (made('CMYK', [(0, 0, 0, 0), (0, 0, 0, 255), (255, 0, 0, 0), (0, 255, 255, 0)]), 'tif',
     [[[255] * 3, [0] * 3], [[0, 255, 255], [255, 0, 0]]]),
], ids=KINDS_OF_FILE.split())
def test_every_kind_of_file_becomes_the_bytes_it_stands_for(im, suffix, wanted, tmp_path):
    im.save(tmp_path/f'a.{suffix}', **im.info)
    got = read_image(tmp_path/f'a.{suffix}')
    assert got.dtype == np.uint8 and got.tolist() == np.asarray(wanted).tolist()

def test_a_gif_gives_its_first_frame(tmp_path):
    first, second = palette(0, 1, 2, 3), palette(1, 1, 1, 1)
    first.save(tmp_path/'a.gif', save_all=True, append_images=[second])
    assert Image.open(tmp_path/'a.gif').n_frames == 2
    assert read_image(tmp_path/'a.gif').tolist() == [[[255, 0, 0], [0, 255, 0]], [[10, 20, 30], [200, 200, 200]]]

def test_an_open_file_is_read_like_a_path():
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, 'PNG')
    assert np.array_equal(read_image(buffer), RGB)


# fit_image

def test_fitting_changes_nothing_but_the_axes_where_the_shape_is_right():
    assert np.array_equal(fit_image(GREY, (1, 2, 3))[0], GREY)
    assert np.array_equal(fit_image(RGB, (3, 2, 3)), RGB.transpose(2, 0, 1))

def test_grey_is_repeated_to_three_channels_and_colours_become_luma():
    assert np.array_equal(fit_image(GREY, (3, 2, 3)), np.stack([GREY] * 3))
    assert np.abs(fit_image(RGB, (1, 2, 3))[0] - RGB @ [.299, .587, .114]).max() <= .51

def test_resizing_is_bilinear():
    assert fit_image(np.full((5, 9), 77, np.uint8), (1, 2, 3)).tolist() == [[[77] * 3] * 2]
    two = np.array([[0, 200]], np.uint8)
    assert fit_image(two, (1, 1, 4)).tolist() == [[[0, 50, 150, 200]]] # Sampled at -1/4, 1/4, 3/4 and 5/4


# stratified_split

def test_the_share_is_taken_of_every_class_and_the_rest_stays():
    labels = torch.tensor([0, 1, 2, 0, 0] * 10) # 30, 10, 10
    stay, aside = stratified_split(labels, .2)
    assert labels[aside].bincount().tolist() == [6, 2, 2] and sorted(stay.tolist() + aside.tolist()) == list(range(50))
    assert all(torch.equal(i, i.sort().values) for i in (stay, aside))

@pytest.mark.parametrize('fraction, aside', [(.01, [1, 1]), (.5, [2, 1]), (.99, [3, 1])])
def test_at_least_one_of_a_class_is_set_aside_and_one_stays(fraction, aside):
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    assert labels[stratified_split(labels, fraction)[1]].bincount().tolist() == aside

def test_the_seed_chooses_the_split():
    labels = torch.zeros(40, dtype=torch.int64)
    a, b, c = (stratified_split(labels, .5, seed)[1].tolist() for seed in (1, 1, 2))
    assert a == b != c


# from_folder

def test_a_flat_folder_is_split_by_share_and_seed(image_folder):
    path = image_folder({'cat': 10, 'dog': 5})
    images = load(path, valid=.2)
    assert images.counts().to_dict('list') == {'train': [8, 4], 'valid': [2, 1]}
    assert images.source == path.name and images.notes == ()
    again, other = load(path, valid=.2), load(path, valid=.2, seed=1)
    assert rows(images.valid) == rows(again.valid) != rows(other.valid)
    assert rows(load(path).valid) == rows(images.valid), 'a fifth is the default'

def test_every_image_of_a_flat_folder_is_in_one_split_with_its_folders_label(image_folder):
    path = image_folder({'cat': 6, 'dog': 4})
    images = load(path, valid='0.5')
    files = sorted((read_image(p).tobytes(), i) for i, c in enumerate(('cat', 'dog')) for p in (path/c).iterdir())
    assert sorted(rows(images.train) + rows(images.valid)) == files and images.shape == (1, 8, 10)

@pytest.mark.parametrize('held', ['valid', 'val'])
def test_a_valid_or_val_folder_is_the_validation_split(image_folder, held):
    path = image_folder({'train/a': 3, 'train/b': 2, f'{held}/a': 1, f'{held}/b': 4})
    images = load(path)
    assert images.counts().to_dict('list') == {'train': [3, 2], 'valid': [1, 4]} and images.classes == ('a', 'b')
    files = [p for c in 'ab' for p in sorted((path/'train'/c).iterdir())]
    assert [im[0].tolist() for im in images.train.images] == [read_image(p).tolist() for p in files]

def test_train_valid_and_test_folders_are_three_splits(image_folder):
    images = load(image_folder({'train/a': 3, 'train/b': 2, 'valid/b': 1, 'test/a': 2, 'test/b': 1}))
    assert images.counts().to_dict('list') == {'train': [3, 2], 'valid': [0, 1], 'test': [2, 1]}
    assert images.valid.labels.tolist() == [1], 'a class that the valid folder lacks keeps its label'

def test_a_train_folder_alone_is_split_and_a_test_folder_beside_it_kept(image_folder):
    images = load(image_folder({'train/a': 4, 'train/b': 4, 'test/a': 2}), valid=.25)
    assert images.counts().to_dict('list') == {'train': [3, 3], 'valid': [1, 1], 'test': [2, 0]}

def test_classes_come_in_natural_order(image_folder):
    images = load(image_folder({c: 2 for c in ('10', '2', 'b', 'A', '1', 'x10', 'x9')}))
    assert images.classes == ('1', '2', '10', 'A', 'b', 'x9', 'x10')

@pytest.mark.parametrize('name', ['²', 'm²', '٣'])
def test_any_folder_name_is_a_class_name(image_folder, name):
    assert set(load(image_folder({name: 2, 'b': 2})).classes) == {name, 'b'}

def test_odd_sizes_are_resized_to_the_most_common_and_noted(image_folder):
    path = image_folder({'a': 3, 'b': 3})
    for name, size in (('a', (9, 9)), ('b', (20, 4))): save(np.full(size, 77), path/name/'odd.png')
    images = load(path)
    assert images.shape == (1, 8, 10)
    note, cut = images.notes
    assert note.startswith('2 of 8 images ') and '8x10' in note and cut.startswith(f'{(1 - .8 + 1 - .16) / 8:.0%} ')
    assert sum((im == 77).all().item() for s in images.splits.values() for im in s.images) == 2

@pytest.mark.parametrize('coloured, channels', [(1, 1), (3, 1), (4, 3), (6, 3)])
def test_images_become_rgb_only_where_most_are(tmp_path, coloured, channels):
    for i in range(6):
        folder = tmp_path/'set'/'ab'[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        save(np.full((4, 4, 3), (10, 20, 30)) if i < coloured else np.full((4, 4), 40), folder/f'{i}.png')
    images = load(tmp_path/'set')
    seen = {tuple(im[:, 0, 0].tolist()) for s in images.splits.values() for im in s.images}
    luma = (round(.299 * 10 + .587 * 20 + .114 * 30),)
    assert images.shape == (channels, 4, 4)
    assert seen == ({luma, (40,)} if channels == 1 else {(10, 20, 30)} | ({(40,) * 3} if coloured < 6 else set()))

def test_only_image_files_count_whatever_their_case_and_depth_and_hidden_ones_do_not(image_folder):
    path = image_folder({'a': 2, 'b': 2, 'b/more': 1, '.cache': 3})
    for name in ('UPPER.PNG', '._0.png'): save(np.full((8, 10), 7), path/'a'/name)
    (path/'a'/'notes.txt').write_text('no image')
    images = load(path)
    assert images.classes == ('a', 'b') and images.counts().sum(axis=1).tolist() == [3, 3]

def test_a_hidden_folder_inside_a_class_folder_does_not_count(image_folder):
    images = load(image_folder({'a': 2, 'b': 2, 'a/.ipynb_checkpoints': 2}))
    assert images.counts().sum(axis=1).tolist() == [2, 2]

@pytest.mark.parametrize('counts, valid, parts', [
    ({}, None, ('the folder is empty', 'one subfolder')),
    ({'.hidden': 1}, None, ('no class folders', 'subfolder named')),
    ({'a': 3}, None, ('one class only (a)', 'two or more')),
    ({'train/a': 3}, None, ('one class only (a)', 'two or more')),
    ({'train/a': 3, 'valid/a': 3}, None, ('one class only (a)', 'two or more')),
    ({'a': 3, 'b': 0}, None, (os.sep + 'b', 'no images', '.jpg', 'remove it')),
    ({'train/a': 2, 'train/b': 2, 'valid/a': 1, 'valid/c': 1}, None,
     (os.path.join('valid', 'c'), "class 'c'", 'training classes')),
    ({'train/a': 2, 'train/b': 2, 'test/a': 1, 'test/z': 1}, None, (os.path.join('test', 'z'), "class 'z'")),
    ({'train/a': 2, 'train/b': 2, 'valid': 0}, None, (os.sep + 'valid', 'no class folders')),
    ({'train/a': 2, 'train/b': 2, 'valid/a': 1}, .2, ('a valid folder', 'valid=0.2', 'leave it out')),
    ({'valid/a': 2, 'valid/b': 2}, None, ('a valid folder', 'no train folder', 'add one')),
    ({'val/a': 2, 'val/b': 2}, None, ('a val folder', 'no train folder')),
])
def test_a_folder_that_cannot_be_read_is_refused_with_what_where_and_cure(image_folder, counts, valid, parts):
    path = image_folder(counts)
    with refused(path, *parts): load(path, valid=valid)

@pytest.mark.parametrize('valid', [0, 1, -.1, 1.5, float('nan'), 'test', '', [.2]])
def test_a_share_that_is_none_is_refused(image_folder, valid):
    with refused(f'valid={valid!r}', 'above 0 and below 1', 'such as 0.2'):
        load(image_folder({'a': 3, 'b': 3}), valid=valid)

def test_a_class_of_one_image_is_refused_by_its_name(image_folder):
    path = image_folder({'cat': 3, 'dog': 1})
    with refused('dog', 'only one image'): load(path)

def test_unreadable_files_are_named_with_the_cause(image_folder):
    path = image_folder({'a': 3, 'b': 3})
    whole = (path/'a'/'0.png').read_bytes()
    (path/'a'/'0.png').write_bytes(whole[:len(whole) * 2 // 3])
    with refused('1 unreadable image:', path/'a'/'0.png', 'repair or remove it'): load(path)
    (path/'b'/'1.png').write_text('not an image')
    (path/'b'/'2.png').write_bytes(b'')
    with refused('3 unreadable images:', *(path/f for f in ('a/0.png', 'b/1.png', 'b/2.png')), 'repair or remove them'):
        load(path)

@pytest.mark.parametrize('n, begin, rest', [
    (1, '1 unreadable image: ', '; repair or remove it, or skip it: skip_bad=True (--skip-bad)'),
    (10, '10 unreadable images: ', '; repair or remove them, or skip them: skip_bad=True (--skip-bad)'),
    (11, '11 unreadable images: ', '(not an image); repair or remove them'),
    (17, '17 unreadable images: ', ' and 7 more; repair or remove them'),
])
def test_of_many_unreadable_files_ten_are_named_with_their_reasons(image_folder, n, begin, rest):
    path = image_folder({'a': 20, 'b': 2})
    bad = sorted((path/'a').iterdir())[:n]
    for p in bad: p.write_text('not an image')
    with refused(begin + f'{bad[0]} (not an image)', rest) as _: load(path)
    with pytest.raises(InputError) as e: load(path)
    assert str(e.value).count('.png (not an image)') == (10 if n > 11 else n)

def test_unreadable_files_are_left_out_where_that_is_asked_for(image_folder):
    path = image_folder({'train/a': 8, 'train/b': 4, 'valid/a': 2, 'valid/b': 2})
    for name in ('train/a/1.png', 'train/a/3.png', 'train/b/0.png', 'train/b/3.png', 'valid/a/0.png'):
        (path/name).write_text('not an image')
    images = load(path, skip_bad=True)
    assert images.counts().to_dict('list') == {'train': [6, 2], 'valid': [1, 2]}
    files = [path/f'train/a/{i}.png' for i in (0, 2, 4, 5, 6, 7)] + [path/f'train/b/{i}.png' for i in (1, 2)]
    assert [im[0].tolist() for im in images.train.images] == [read_image(f).tolist() for f in files]
    assert torch.equal(images.valid.images[0, 0], torch.tensor(read_image(path/'valid/a/1.png')))
    names = ', '.join(f'{Path(n)} (not an image)' for n in ('train/a/1.png', 'train/a/3.png', 'train/b/0.png'))
    assert images.notes == (f'5 unreadable images were left out: {names} and 2 more',)
    for name in ('train/b/0.png', 'train/b/3.png', 'valid/a/0.png', 'train/a/3.png'): (path/name).unlink()
    note, = load(path, skip_bad=True).notes
    assert note == f"1 unreadable image was left out: {Path('train/a/1.png')} (not an image)"

def test_a_class_that_is_left_with_nothing_is_refused(image_folder):
    path = image_folder({'train/a': 3, 'train/b': 3, 'valid/a': 1, 'valid/b': 1})
    (path/'valid/b/0.png').write_text('not an image')
    with refused(path/'valid/b/0.png', 'valid', "class 'b'", 'repair some'): load(path, skip_bad=True)
    flat = image_folder({'a': 3, 'b': 2}, name='flat')
    (flat/'b/0.png').write_text('not an image')
    with refused("class 'b'", 'only one image'): load(flat, skip_bad=True)
    for p in (flat/'a').iterdir(): p.write_text('not an image')
    (flat/'b/1.png').write_text('not an image')
    with refused('5 unreadable images', 'add others'): load(flat, skip_bad=True)

def test_a_file_name_cannot_break_the_line_or_the_terminal(image_folder):
    path = image_folder({'a': 2, 'b': 2})
    (path/'a'/'x\n\x1b[31m.png').write_text('not an image')
    with refused('x\\n\\x1b[31m.png (not an image)'): load(path)
    assert '\x1b' not in load(path, skip_bad=True).notes[0]

def test_folders_links_and_pipes_that_call_themselves_images_are_unreadable(image_folder):
    needs_posix()
    path = image_folder({'a': 2, 'b': 2})
    (path/'a'/'dir.png').mkdir()
    (path/'a'/'link.png').symlink_to(path/'nowhere')
    os.mkfifo(path/'b'/'pipe.png') # Opening it would wait for ever
    with refused('3 unreadable', 'dir.png (a folder)', 'link.png (a broken', 'pipe.png (not a regular'): load(path)
    assert len(load(path, skip_bad=True).train) == 2


# Size and channels

@pytest.mark.parametrize('size, shape', [
    (5, (5, 5)), ('5', (5, 5)), ('6x9', (6, 9)), ('6X9', (6, 9)), ((6, 9), (6, 9)), ([6, 9], (6, 9)), (4096, None),
])
def test_a_folder_is_decoded_straight_to_the_size_asked_for(image_folder, size, shape):
    path = image_folder({'train/a': 2, 'train/b': 2, 'valid/a': 1})
    if shape is None: assert load(path, size=size).shape == (1, 4096, 4096)
    else:
        images = load(path, size=size, channels='3')
        files = [p for c in 'ab' for p in sorted((path/'train'/c).iterdir())]
        assert images.shape == (3, *shape) and not any('sizes' in note for note in images.notes)
        assert np.array_equal(images.train.images.numpy(),
                              np.stack([fit_image(read_image(p), (3, *shape)) for p in files]))

def test_size_and_channels_may_be_given_alone(image_folder):
    path = image_folder({'a': 2, 'b': 2})
    assert load(path, channels=3).shape == (3, 8, 10)
    assert load(path, size=7).shape == (1, 7, 7) and load(path, size=7, channels=1).shape == (1, 7, 7)

@pytest.mark.parametrize('size', [
    'big', '', '5x', 'x5', '5x5x5', '0', 0, -3, 4097, '1x4097', 2.5, True, '5_0', (5,), (1, 2, 3), (), [None],
])
def test_a_size_that_is_none_is_refused(image_folder, size):
    with refused(f'size={size!r} is not', '50 or 50x40', '1 to 4096'): load(image_folder({'a': 2, 'b': 2}), size=size)
    with refused(f'size={size!r} is not'): load('digits', size=size)

@pytest.mark.parametrize('channels', [0, 2, 4, 'RGB', '', 1.5, True, (3,)])
def test_other_channels_than_1_and_3_are_refused(channels):
    with refused(f'channels={channels!r} is not possible', '1 (grey)', '3 (RGB)'):
        load('digits', channels=channels)

def test_sources_and_image_sets_are_resized_by_the_same_function(digits):
    images = load('digits', size='12x6', channels=3)
    assert images.shape == (3, 12, 6)
    assert images.classes == digits.classes and torch.equal(images.valid.labels, digits.valid.labels)
    wanted = np.stack([fit_image(im[0].numpy(), (3, 12, 6)) for im in digits.valid.images])
    assert np.array_equal(images.valid.images.numpy(), wanted)
    assert np.array_equal(load(digits, size='12x6', channels=3).valid.images.numpy(), wanted)
    assert load(digits, size=8, channels=1) is digits and load(images, channels=1, classes='3,7').shape == (1, 12, 6)

def test_colour_sets_become_grey_by_luma():
    images = image_set(**{n: split([0, 1], (3, 4, 4), first=100) for n in ('train', 'valid', 'test')})
    grey = load(images, channels=1, size=2)
    assert grey.shape == (1, 2, 2)
    assert list(grey.splits) == list(images.splits)
    for s in grey.splits.values(): assert s.images.flatten(1).tolist() == [[100] * 4, [101] * 4]

def test_a_set_that_would_be_huge_is_refused_unless_its_size_is_asked_for(image_folder, monkeypatch):
    monkeypatch.setattr('fastrecipes.data.decode._large', 6 * 80 - 1)
    path = image_folder({'a': 3, 'b': 3})
    with refused('6 images of 8x10 pixels', 'GB', 'size=224'): load(path)
    assert load(path, size='8x10').shape == (1, 8, 10)


# Progress

def test_progress_rises_to_the_number_of_files(image_folder):
    seen = Seen()
    load(image_folder({'a': 30, 'b': 30}), reporter=seen)
    assert seen.counts == sorted(seen.counts) and seen.counts[-1] == (60, 60) and len(seen.counts) >= 4
    assert {total for _, total in seen.counts} == {60}

def test_skipping_bad_files_of_what_is_no_folder_is_refused(digits):
    for images in ('digits', digits):
        with refused('skip_bad'): load(images, skip_bad=True)

def test_a_source_is_given_the_options_that_it_takes_and_no_others(monkeypatch):
    given = []
    for name in ('plain', 'told', 'any_'): monkeypatch.setitem(sources, name, None)
    @source
    def plain(valid, seed): return image_set()
    @source
    def told(valid, seed, reporter=None):
        given.append(reporter)
        return image_set()
    @source
    def any_(**options):
        given.append(sorted(options))
        return image_set()
    reporter = Reporter()
    for name in ('plain', 'told', 'any_'):
        assert load(name, reporter=reporter, size=4).shape == (1, 4, 4)
    assert given == [reporter, ['reporter', 'seed', 'valid']]


# fingerprint

def test_the_fingerprint_stands_for_classes_labels_and_pixels_and_nothing_else(digits):
    base = image_set()
    assert re.fullmatch('[0-9a-f]{32}', base.fingerprint)
    assert base.fingerprint == image_set(source='other', notes=('n',)).fingerprint
    pixel = split([0, 1, 1, 0])
    pixel.images[3, 0, 1, 2] += 1
    others = [
        digits, image_set(classes=('a', 'c')), image_set(train=split([0, 1, 1, 1])), image_set(train=pixel),
        image_set(test=split([1, 0])), image_set(train=split([1, 0]), valid=split([0, 1, 1, 0])),
        image_set(train=split([0, 1, 1, 0], (1, 3, 2)), valid=split([1, 0], (1, 3, 2))),
    ]
    assert len({base.fingerprint, *(o.fingerprint for o in others)}) == 8

def test_the_fingerprint_does_not_depend_on_how_the_pixels_lie_in_memory():
    a = image_set()
    turned = Split(a.train.images.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2), a.train.labels)
    assert not turned.images.is_contiguous() and image_set(train=turned).fingerprint == a.fingerprint

def test_the_fingerprint_is_computed_once():
    images = image_set()
    before = images.fingerprint
    images.train.images[0] += 9
    assert images.fingerprint == before != image_set(train=images.train).fingerprint


def test_importing_the_package_imports_nothing_large():
    code = """import sys, fastrecipes.data.sources
print([name for name in 'torch numpy pandas PIL fastai'.split() if name in sys.modules])"""
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert r.stdout.strip() == '[]'

def test_a_folder_that_is_not_there_is_an_input_error_too():
    with refused('nowhere'): from_folder(Path('nowhere'))


# load and keep_classes

@pytest.mark.parametrize('name, near', [
    ('digit', 'digits'), ('Digits', 'digits'), ('mnist-sample', 'mnist_sample'), ('minst', 'mnist'),
])
def test_an_unknown_source_offers_the_nearest(name, near):
    with refused(f"unknown source '{name}'", f"did you mean '{near}'?", ', '.join(sources), 'a folder'):
        load(name)

@pytest.mark.parametrize('name', ['set/cats', './cats', '~cats', '../cats'])
def test_a_path_that_is_not_there_is_refused_as_a_path(name):
    with refused(f'{name}: no such folder', 'check the path', 'digits'): load(name)

def test_a_file_is_refused_where_a_folder_is_needed(tmp_path):
    with refused('a.png: is a file', 'give a folder'): load(save(GREY, tmp_path/'a.png'))

def test_a_path_from_the_home_folder_is_found(image_folder, monkeypatch):
    path = image_folder({'a': 2, 'b': 2})
    monkeypatch.setenv('HOME', str(path.parent))
    monkeypatch.setenv('USERPROFILE', str(path.parent))
    assert load('~/set').classes == ('a', 'b')

def test_a_source_is_found_without_loading_it(image_folder):
    path = image_folder({'a': 2, 'b': 0}) # Could not be loaded
    assert find_source('mnist') is sources['mnist'] and callable(find_source(path))
    for name in ('digit', 'no/such'):
        with refused(name, 'digits'): find_source(name)

def test_an_image_set_is_given_back_and_a_path_may_be_text(image_folder):
    images = image_set()
    path = image_folder({'a': 2, 'b': 2})
    assert load(images) is images and rows(load(str(path)).train) == rows(load(path).train)

def test_kept_classes_are_relabelled_in_the_sets_order():
    images = image_set(
        classes=('x', 'y', 'z'), train=split([2, 0, 1, 2]), valid=split([1, 2, 0], first=10),
        test=split([0, 2], first=20), notes=('n',))
    kept = keep_classes(images, ['z', 'x'])
    assert kept.classes == ('x', 'z') and kept.notes == ('n',) and kept.source == 'toy'
    def pairs(s): return [(int(im[0, 0, 0]), int(y)) for im, y in zip(s.images, s.labels)]
    assert pairs(kept.train) == [(0, 1), (1, 0), (3, 1)]
    assert pairs(kept.valid) == [(11, 1), (12, 0)] and pairs(kept.test) == [(20, 0), (21, 1)]

def test_classes_may_be_a_list_or_one_string(digits, threes_sevens):
    assert all(rows(load(digits, classes=c).train) == rows(threes_sevens.train) for c in ('7, 3', ['3', '7'], (3, 7)))
    assert threes_sevens.classes == ('3', '7') and threes_sevens.train.labels.unique().tolist() == [0, 1]

@pytest.mark.parametrize('classes, parts', [
    ('3,77', ("unknown class '77'", "did you mean '7'?")),
    ('3', ('one class only (3)',)),
    (['x'], ("'x'", '0, 1, 2')),
])
def test_classes_that_are_not_there_or_too_few_are_refused(digits, classes, parts):
    with refused(*parts): load(digits, classes=classes)

def test_a_decorated_function_is_a_source_by_its_name(monkeypatch):
    monkeypatch.setitem(sources, 'toy', None)
    @source
    def toy(valid, seed): return replace(image_set(), notes=(valid, seed))
    assert load('toy', valid='v', seed=3).notes == ('v', 3)


# MNIST

def test_mnist_sample_has_the_counts_that_its_makers_state(mnist_sample):
    assert mnist_sample.counts().to_dict('list') == {'train': [6131, 6265], 'valid': [1010, 1028]} # 12,396 and 2,038
    assert mnist_sample.classes == ('3', '7')
    assert mnist_sample.shape == (1, 28, 28) and mnist_sample.source == 'mnist_sample'

def test_mnist_sets_10_000_aside_by_seed_and_tests_on_the_official_10_000(mnist):
    def seen(s): return [hash(im) for im in map(bytes, s.images.numpy())]
    whole = load('mnist', valid='test')
    assert [len(s) for s in mnist.splits.values()] == [50_000, 10_000, 10_000]
    assert [len(s) for s in whole.splits.values()] == [60_000, 10_000]
    train, valid, both = seen(mnist.train), seen(mnist.valid), seen(whole.train)
    assert len(set(both)) == 60_000 and set(train) | set(valid) == set(both) and not set(train) & set(valid)
    assert torch.equal(mnist.test.images, whole.valid.images) and torch.equal(mnist.test.labels, whole.valid.labels)
    label = dict(zip(both, whole.train.labels.tolist()))
    assert [label[h] for h in valid] == mnist.valid.labels.tolist() and mnist.train.labels.bincount().min() > 4000
    other = load('mnist', seed=43)
    assert set(seen(other.valid)) != set(valid) and torch.equal(other.test.images, mnist.test.images)

def test_mnist_sample_is_the_threes_and_sevens_of_mnist(mnist, mnist_sample):
    same = load('mnist', classes='3,7', valid='test')
    assert rows(same.train) == rows(mnist_sample.train) and rows(same.valid) == rows(mnist_sample.valid)

def test_mnist_refuses_any_other_split(mnist):
    with refused('mnist', 'valid=0.2', "'test'"): load('mnist', valid=.2)

def test_without_a_network_or_a_copy_one_line_says_so_and_names_what_works(tmp_path):
    code = """from fastrecipes.data.sources import load
from fastrecipes.errors import InputError
for name in ('mnist_sample', 'mnist'):
    try: load(name)
    except InputError as e: print('REFUSED', ascii(str(e)))"""
    env = os.environ | dict(FASTAI_HOME=str(tmp_path/'home'))
    run = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, timeout=120)
    messages = [literal_eval(m) for m in re.findall('REFUSED (.*)', run.stdout)]
    assert len(messages) == 2, run.stderr
    for name, message in zip(('mnist_sample', 'mnist'), messages):
        assert message.startswith(f'{name}: could not get http') and '\n' not in message and ':)' not in message
        assert run.stderr == '' or '\r' not in run.stderr
        assert str(tmp_path/'home') in message and '`digits`' in message and 'folder of images' in message
