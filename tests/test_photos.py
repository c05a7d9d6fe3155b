"Folders of photos, and other images that people have: read right, at a size that suits, and told what is not read"
import os, subprocess, sys, threading
from collections import Counter
from io import BytesIO
from pathlib import Path
import numpy as np, pytest
from PIL import Image, ImageDraw, PngImagePlugin
from sklearn.datasets import load_sample_image
from conftest import refused
from fastrecipes.data import folders, imagefile
from fastrecipes.data.check import check
from fastrecipes.data.folders import heif_suffixes, image_suffixes, list_images
from fastrecipes.data.imagefile import (
    Budget, fit_image, image_background, probe, read_fitted, read_image, Reading, value_range,
)
from fastrecipes.data.sizes import cut_share, suitable_size
from fastrecipes.data.sources import load
from fastrecipes.keep.store import load as load_model, save
from fastrecipes.ladder.recipe import fit


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'cache'))
    (tmp_path/'here').mkdir()
    monkeypatch.chdir(tmp_path/'here')

def plain(where, classes=('left', 'right'), n=6, first=40, step=150, suffix='png'):
    "A grey image for each file; the classes differ in brightness"
    for k, c in enumerate(classes):
        (Path(where)/c).mkdir(parents=True, exist_ok=True)
        for i in range(n): Image.new('L', (8, 8), first + step * k + i).save(Path(where)/c/f'{i}.{suffix}')
    return Path(where)

def note(images, *parts):
    "The only note with all these parts"
    found, = [n for n in images.notes if all(p in n for p in parts)]
    return found


# Paths

@pytest.mark.parametrize('path', ['.', './', '../here', '../here/.'])
def test_a_relative_path_is_the_folder_that_it_names(path):
    plain('.')
    images = load(path)
    assert images.shape == (1, 8, 8) and len(images.train) + len(images.valid) == 12
    assert images.source == 'here' and images.notes == () and images.classes == ('left', 'right')
    assert set(images.valid.names) <= {os.path.join(c, f'{i}.png') for c in ('left', 'right') for i in range(6)}
    assert check(path).sizes == {'8x8': 12}

def test_a_link_to_the_folder_and_odd_names_change_nothing():
    plain('a [b] *?', ('l\u00e9ft', "ri'ght %s"))
    Path('link').symlink_to('a [b] *?')
    for path in ('a [b] *?', 'link', 'link/'): assert len(load(path).train) + len(load(path).valid) == 12

def test_loose_images_beside_the_classes_are_not_taken_for_theirs():
    plain('.', 'ab', first=10, step=200)
    for i in range(6): Image.new('L', (8, 8), 100).save(f'{i}.png')
    images = load('.')
    assert sum(part.images.eq(100).all(3).all(2).sum().item() for part in images.splits.values()) == 0
    assert '(6)' in note(images, 'outside the class folders')

@pytest.mark.parametrize('build, left', [
    (lambda: Path('a/up').symlink_to('..'), 'a link to a folder (1)'),
    (lambda: Path('a/b').symlink_to('../b'), 'a link to a folder (1)'),
    (lambda: Path('a/9.png').symlink_to('../b/0.png'), 'a link to another class (1)'),
    (lambda: plain('a/@eaDir', ['x'], n=3), 'a folder @eaDir (1)'),
    (lambda: Path('a/x.heic').touch(), '.heic (1)'),
    (lambda: Path('a/notes').touch(), 'no suffix (1)'),
], ids=['circle', 'other class', 'file of another class', 'thumbnails', 'heic', 'other'])
def test_what_is_not_read_is_told_by_load_and_check(build, left, monkeypatch):
    monkeypatch.setattr(folders, '_readable', lambda: image_suffixes) # As without pillow-heif
    plain('.', 'ab')
    build()
    images = load('.')
    assert len(images.train) + len(images.valid) == 12 and left in note(images, 'not read')
    assert any(left in remark for remark in check('.').remarks)

@pytest.mark.parametrize('link, target', [('up', '..'), ('me', '.'), ('c', 'a'), ('d', 'a/deep'), ('test', '.')])
def test_a_link_that_leads_back_into_the_set_is_not_a_class(link, target):
    plain('set', 'ab')
    Path('set/a/deep').mkdir()
    (Path('set')/link).symlink_to(target)
    images = load('set')
    assert images.classes == ('a', 'b') and set(images.splits) == {'train', 'valid'}
    assert len(images.train) + len(images.valid) == 12 and 'a link to a folder (1)' in note(images, 'not read')

def test_a_set_of_nothing_but_a_link_to_itself_is_refused():
    Path('set').mkdir()
    Path('set/loop').symlink_to('.')
    with refused('no class folders'): load('set')

@pytest.mark.parametrize('link', ['set/x', 'set/a/x', 'set/x.png'])
@pytest.mark.parametrize('target', ['itself', 'nowhere'])
def test_a_link_in_a_loop_is_a_broken_link(link, target):
    plain('set', 'ab')
    Path(link).symlink_to(Path(link).name if target == 'itself' else target)
    images = load('set')
    assert len(images.train) + len(images.valid) == 12 and 'a broken link (1)' in note(images, 'not read')

def test_a_link_in_a_loop_with_the_name_of_an_image_is_unreadable():
    plain('set', 'ab')
    Path('set/a/x.png').symlink_to('x.png')
    with refused('x.png (a broken link)'): load('set')
    images = load('set', skip_bad=True)
    assert len(images.train) + len(images.valid) == 12

@pytest.mark.parametrize('options', [{}, dict(label_from='^(.)')], ids=['folders', 'names'])
def test_links_into_a_pool_of_files_are_followed(options):
    for c, step in zip('ab', (10, 100)):
        plain('set/pool', c, first=step)
        for split, numbers in (('train', range(4)), ('valid', range(4, 6))):
            folder = Path('set')/split/c
            folder.mkdir(parents=True)
            for i in numbers: (folder/f'{c}{i}.png').symlink_to(f'../../pool/{c}/{i}.png')
    images = load('set', **options)
    assert {split: len(part) for split, part in images.splits.items()} == dict(train=8, valid=4)
    assert "'pool'" in note(images, 'not used')

@pytest.mark.parametrize('options', [{}, dict(label_from='^(.)')], ids=['folders', 'names'])
def test_a_link_to_an_image_of_another_split_is_not_followed(options):
    for split in ('train', 'valid'):
        for k, c in enumerate('ab'):
            (Path('set')/split/c).mkdir(parents=True)
            for i in range(3): Image.new('L', (8, 8), 9 * i + 100 * k).save(f'set/{split}/{c}/{c}{i}.png')
    Path('set/valid/a/a9.png').symlink_to('../../train/a/a0.png')
    images = load('set', **options)
    assert len(images.valid) == 6 and 'a link to another class (1)' in note(images, 'not read')

def test_a_class_folder_and_a_file_may_be_links_to_other_places(tmp_path):
    plain(tmp_path/'far', 'c')
    plain('.', 'ab')
    Path('c').symlink_to(tmp_path/'far'/'c')
    Path('a/more.png').symlink_to(tmp_path/'far'/'c'/'0.png')
    assert load('.').classes == ('a', 'b', 'c') and len(list_images('a')) == 7

def test_a_folder_of_the_name_of_a_source_is_the_folder():
    assert load('digits').classes == tuple('0123456789')
    plain('digits')
    images = load('digits')
    assert images.classes == ('left', 'right') and note(images, "'digits'", 'not as the source')
    assert check('digits').classes == ('left', 'right')

def test_a_folder_without_class_folders_does_not_hide_a_source():
    Path('digits/models').mkdir(parents=True) # As `--out digits` leaves one
    assert len(load('digits').classes) == 10

@pytest.mark.parametrize('inner', ['digits/train', 'digits/archive', 'digits/archive/train'])
def test_class_folders_further_inside_hide_a_source_too(inner):
    plain(inner)
    assert load('digits').classes == ('left', 'right')

@pytest.mark.parametrize('inner', ['digits/train/left', 'digits/valid/left', 'digits/.left'])
def test_a_folder_that_is_not_a_set_does_not_hide_a_source(inner):
    plain(inner, ['x'])
    assert len(load('digits').classes) == 10

@pytest.mark.parametrize('folder', ['set', 'set/train', 'set/train/a'])
def test_a_folder_that_may_not_be_read_is_refused_in_one_line(folder, monkeypatch):
    plain('set/train', 'ab')
    scan = os.scandir
    def refuse(path='.'):
        if Path(path) == Path(folder): raise PermissionError(13, 'Permission denied', str(path))
        return scan(path)
    monkeypatch.setattr(os, 'scandir', refuse)
    with refused(Path(folder), 'Permission denied'): load('set')
    assert len(check('set').problems) >= 1


# Layouts

LAYOUTS = {
    'wrapped names': (['training_set', 'test_set'], '{split}/{c}'),
    'seg': (['seg_train', 'seg_test'], '{split}/{split}/{c}'),
    'upper case': (['TRAIN', 'Test'], '{split}/{c}'),
    'below the classes': (['train', 'test'], '{c}/{split}'),
    'one folder around': (['train', 'test'], 'archive/{split}/{c}'),
    'two folders around': (['train', 'test'], 'a/b/{split}/{c}'),
}

@pytest.mark.parametrize('names, form', LAYOUTS.values(), ids=LAYOUTS)
def test_splits_are_found_wherever_they_are(names, form):
    for n, split in zip((6, 2), names):
        for k, c in enumerate('ab'):
            folder = Path('set')/form.format(split=split, c=c)
            folder.mkdir(parents=True)
            for i in range(n): Image.new('L', (8, 8), 100 * k + 10 * n + i).save(folder/f'{i}.png')
    images = load('set')
    counts = {split: len(part) for split, part in images.splits.items()}
    assert images.classes == ('a', 'b') and counts == dict(train=10, valid=2, test=4)
    assert set(check('set').counts) == {'train', 'valid', 'test'} and check('set').healthy

def inner_splits():
    for k, c in enumerate('ab'):
        for split, n in dict(train=6, test=3).items():
            folder = Path('set')/c/split
            folder.mkdir(parents=True)
            for i in range(n): Image.new('L', (8, 8), 100 * k + 10 * n + i).save(folder/f'{i}.png')

def test_splits_inside_the_classes_stay_whatever_is_next_to_them():
    inner_splits()
    Image.new('L', (8, 8), 7).save('set/a/cover.png')
    Path('set/b/notes').mkdir()
    Path('set/b/README.txt').touch()
    images = load('set')
    assert {split: len(part) for split, part in images.splits.items()} == dict(train=10, valid=2, test=6)
    left = note(images, 'not read')
    assert 'images outside the class folders (1)' in left and '.txt (1)' in left
    Image.new('L', (8, 8), 9).save('set/b/notes/x.png')
    assert 'images outside the class folders (2)' in note(load('set'), 'not read')

def test_a_class_without_the_inner_train_folder_of_the_others_is_refused_by_name():
    inner_splits()
    plain('set', 'c')
    with refused("class 'c'", 'train'): load('set')
    assert any("class 'c'" in problem for problem in check('set').problems)

def test_a_folder_that_is_called_train_among_others_is_a_part_of_its_class():
    plain('set/vehicles', ['train', 'bus'])
    plain('set/animals', ['cat'])
    images = load('set')
    assert images.classes == ('animals', 'vehicles') and len(images.train) + len(images.valid) == 18

@pytest.mark.parametrize('used, unused, split', [
    ('val', 'dev', 'valid'), ('test', 'test_set', 'test'), ('train', 'Train', 'train'),
    ('training', 'seg_train', 'train'),
])
@pytest.mark.parametrize('options', [{}, dict(label_from='^(.)')], ids=['folders', 'names'])
def test_a_second_folder_for_a_split_is_told_and_not_used(used, unused, split, options):
    for n, name in enumerate(dict.fromkeys(['train', used, unused]) if split != 'train' else [used, unused]):
        for k, c in enumerate('ab'):
            (Path('set')/name/c).mkdir(parents=True)
            for i in range(6): Image.new('L', (8, 8), 100 * k + 10 * n + i).save(f'set/{name}/{c}/{c}{i}.png')
    images = load('set', **options)
    assert sum(map(len, images.splits.values())) == (12 if split == 'train' else 24)
    assert note(images, repr(used), repr(unused), split, 'not used')

@pytest.mark.parametrize('place', ['set', 'set/train'])
@pytest.mark.parametrize('options', [{}, dict(label_from='^(.)')], ids=['folders', 'names'])
def test_what_is_not_read_at_the_root_and_in_the_splits_is_told(place, options, monkeypatch):
    monkeypatch.setattr(folders, '_readable', lambda: image_suffixes) # As without pillow-heif
    plain('set/train', 'ab')
    for p in list(Path('set').rglob('*.png')): p.rename(p.with_name(f'{p.parent.name}{p.name}'))
    for name in ('README.txt', 'x.heic', 'y.heic', '.hidden.txt'): (Path(place)/name).touch()
    plain(f'{place}/@eaDir', 'x')
    images = load('set', **options)
    left = note(images, 'not read')
    assert '.heic (2)' in left and '.txt (1)' in left and 'a folder @eaDir (1)' in left and '[heif]' in left
    assert images.classes == ('a', 'b') and any(left == remark for remark in check('set', **options).remarks)

def test_a_loose_image_next_to_a_wrapper_is_counted_and_not_in_the_way():
    plain('set/archive', 'ab')
    Image.new('L', (8, 8)).save('set/x.png')
    images = load('set')
    assert images.classes == ('a', 'b') and note(images, "'archive'")
    assert 'images outside the class folders (1)' in note(images, 'not read')
    Image.new('L', (8, 8)).save('set/archive/cover.png')
    assert 'images outside the class folders (2)' in note(load('set'), 'not read')

def test_loose_images_next_to_a_folder_are_read_where_their_names_have_the_class():
    plain('set/more', 'ab')
    for i in range(6): Image.new('L', (8, 8), i).save(f'set/{i}.png')
    images = load('set', label_from='([0-5])')
    assert len(images.train) + len(images.valid) == 18

def test_folders_with_the_suffix_of_an_image_are_folders():
    plain('set/archive.ras', ['a.im', 'b'])
    assert load('set').classes == ('a.im', 'b')

def test_classes_in_a_folder_around_them_are_found_and_told():
    plain('set/inner')
    images = load('set')
    assert images.classes == ('left', 'right') and note(images, "'inner'")

def test_a_test_split_without_labels_is_told_and_not_in_the_way():
    plain('set/train')
    Path('set/test').mkdir()
    for i in range(5): Image.new('L', (8, 8), i).save(f'set/test/{i}.png')
    images = load('set')
    assert set(images.splits) == {'train', 'valid'} and '5 test images' in note(images, 'no labels')
    assert any('5 test images' in remark for remark in check('set').remarks)

@pytest.mark.parametrize('folder', ['unknown', 'test', 'images/all'])
def test_test_images_in_a_folder_that_is_not_a_class_have_no_labels(folder):
    plain('set/train')
    Path('set/test', folder).mkdir(parents=True)
    for i in range(5): Image.new('L', (8, 8), i).save(f'set/test/{folder}/{i}.png')
    images = load('set')
    assert set(images.splits) == {'train', 'valid'} and '5 test images' in note(images, 'no labels')
    assert check('set').problems == () and any('5 test images' in remark for remark in check('set').remarks)

def test_a_test_class_that_only_differs_in_case_has_labels():
    plain('set/train')
    plain('set/test', ['Left'])
    with refused("'Left'", "'left'", 'case'): load('set')

def test_a_class_of_a_test_split_with_subfolders_is_not_a_wrapper():
    plain('set/train', 'ab')
    plain('set/test/a', ['day1', 'day2'], first=90, step=20)
    images = load('set')
    assert len(images.test) == 12 and set(images.test.labels.tolist()) == {0}

def test_test_images_whose_names_have_no_label_are_told_and_not_used():
    for split, names in dict(train=['cat', 'dog'], test=['dog', '']).items():
        (Path('set')/split).mkdir(parents=True)
        for k, c in enumerate(names):
            for i in range(6): Image.new('L', (8, 8), 100 * k + i).save(f'set/{split}/{c}{i}.png')
    images = load('set', label_from='^(cat|dog)')
    assert images.classes == ('cat', 'dog') and len(images.test) == 6 and '6 test images' in note(images, 'no labels')
    assert any('6 test images' in remark for remark in check('set', label_from='^(cat|dog)').remarks)
    Image.new('L', (8, 8)).save('set/train/7.png')
    with refused('1 file of 19', '7.png'): load('set', label_from='^(cat|dog)')

def test_class_names_that_look_alike_are_told():
    plain('set', ['Cat', 'cat', 'e\u0301', '\u00e9', 'dog'])
    notes = [n for n in load('set').notes if 'differ only' in n]
    assert len(notes) == 2 and any("'Cat', 'cat'" in n for n in notes)
    assert [r for r in check('set').remarks if 'differ only' in r] == notes

def test_a_class_of_validation_in_another_unicode_form_is_told_so():
    plain('set/train', ['\u00e9', 'b'])
    plain('set/valid', ['e\u0301', 'b'], first=60)
    with refused(r"'e\u0301'", r"'\xe9'", 'Unicode'): load('set')


# A size that suits

SIZES = {
    'all small': ({(28, 28): 9}, (28, 28)),
    'most small': ({(50, 40): 5, (60, 60): 4}, (50, 40)),
    'at the limit': ({(160, 100): 3}, (160, 100)),
    'large': ({(384, 384): 9}, (128, 128)),
    'phone, mixed': ({(3024, 4032): 16, (4032, 3024): 8}, (128, 128)),
    'phone, lying': ({(3024, 4032): 19, (4032, 3024): 1}, (128, 171)),
    'phone, standing': ({(3024, 4032): 1, (4032, 3024): 19}, (171, 128)),
    'few odd ones': ({(3000, 4000): 15, (10, 10): 1, (2, 900): 1}, (128, 171)),
    'small and different': ({(30 + i, 40 + i): 1 for i in range(11)}, (35, 45)),
    'panoramas': ({(500, 5000): 9}, (57, 570)),
}

@pytest.mark.parametrize('sizes, wanted', SIZES.values(), ids=SIZES)
def test_the_size_is_that_of_most_or_one_that_suits(sizes, wanted): assert suitable_size(Counter(sizes)) == wanted

def test_load_check_and_fit_agree_on_it_and_say_why():
    for k, c in enumerate('ab'):
        for i in range(12):
            h, w = (60 + 3 * i, 90 + 2 * i)[::1 if i % 3 else -1]
            x = np.random.default_rng(i).integers(0, 90, (h, w)).astype(np.uint8) + np.uint8(120 * k)
            (Path('set')/c).mkdir(parents=True, exist_ok=True)
            Image.fromarray(x).save(f'set/{c}/{i:02}.png')
    Image.new('L', (1, 1)).save('set/a/!pixel.gif')
    images = load('set')
    assert images.shape[1] == images.shape[2] and 60 <= images.shape[1] <= 128
    size = 'x'.join(map(str, images.shape[1:]))
    assert check('set').size == size and note(images, size, 'square', '--size')
    sizes = Counter({tuple(map(int, s.split('x'))): n for s, n in check('set').sizes.items()})
    assert note(images, f'{cut_share(sizes, images.shape[1:]):.0%}', '--resize')
    assert load('set', size='20x30').shape == (1, 20, 30)
    assert not [n for n in load('set', resize='squish').notes if 'cut away' in n]

def test_cropping_keeps_the_centre_padding_all_of_it_and_squishing_all_without_a_border():
    im = np.zeros((4, 8), np.uint8)
    im[:, :2], im[:, 6:] = 50, 90
    assert fit_image(im, (1, 4, 4)).max() == 0
    assert fit_image(im, (1, 4, 4), Reading('squish'))[0, 0].tolist() == [43, 6, 11, 77]
    padded = fit_image(im, (1, 8, 8), Reading('pad', (7, 7, 7)))[0]
    assert (padded[:2] == 7).all() and (padded[6:] == 7).all() and np.array_equal(padded[2:6], im)

@pytest.mark.parametrize('options, part', [
    (dict(resize='stretch'), 'crop, squish, pad'), (dict(background='red'), '255,255,255'),
    (dict(background='1,2'), '255,255,255'), (dict(max_pixels=0), 'max_pixels'),
    (dict(max_pixels='many'), 'max_pixels'),
])
def test_an_impossible_choice_is_refused(options, part):
    plain('set')
    with refused(part): load('set', **options)


# Kept with the model

@pytest.mark.parametrize('options', [dict(), dict(resize='pad', background='10,20,30'), dict(resize='squish')])
def test_a_kept_model_reads_as_its_training_images_were_read(options):
    for k, c in enumerate('ab'):
        (Path('set')/c).mkdir(parents=True)
        for i in range(6):
            im = Image.new('RGBA', (30, 20), (9 * i, 100 * k, 9, 255))
            im.paste((0, 0, 0, 0), (0, 0, 10, 20))
            im.save(f'set/{c}/{i}.png')
    images = load('set', size=12, **options)
    f = fit('linear', images, device='cpu', epochs=2)
    kept = load_model(save(f, 'model'), 'cpu')
    assert kept.reading == f.reading == images.reading
    files = [f'set/{name}' for name in images.valid.names]
    for model in (f, kept): assert np.array_equal(model.predict_scores(files), f.scores)
    assert len(f.learner.get_preds(dl=f.learner.dls.test_dl(files))[0]) == len(files)

def test_a_model_kept_before_reads_as_it_did():
    kept = load_model(Path(__file__).parent/'fixtures'/'models'/'two-mlp', 'cpu')
    assert kept.card.reading is None and kept.reading[:2] == ('squish', (0, 0, 0))


# Photographs

def photo(name, seed, size=(4032, 3024)):
    "A sample photo of scikit-learn at 12 megapixels with noise, as a JPEG"
    im = Image.fromarray(load_sample_image(name)).resize(size, Image.Resampling.BICUBIC)
    x = np.asarray(im) + np.random.default_rng(seed).normal(0, 8, (size[1], size[0], 1))
    out = BytesIO()
    Image.fromarray(x.clip(0, 255).astype(np.uint8)).save(out, 'JPEG', quality=88)
    return out

def generated(seed):
    "Shapes with sharp edges and a texture, as a JPEG"
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 255, (30, 40, 3)).repeat(50, 0).repeat(50, 1) + rng.normal(0, 20, (1500, 2000, 3))
    out = BytesIO()
    Image.fromarray(x.clip(0, 255).astype(np.uint8)).save(out, 'JPEG', quality=85, progressive=seed % 2 == 1)
    return out

def page(size=(1600, 1200)):
    "A page of text, as a JPEG"
    im, out = Image.new('RGB', size, 'white'), BytesIO()
    for y in range(0, size[1], 18): ImageDraw.Draw(im).text((5, y), 'The quick brown fox, 0123456789. ' * 9, 'black')
    im.save(out, 'JPEG', quality=88)
    return out

def stripes():
    out = BytesIO()
    x = np.tile(np.arange(1600) // 7 % 2 * 255, (1200, 1)).astype(np.uint8)
    Image.fromarray(x).save(out, 'JPEG', quality=88)
    return out

PHOTOS = dict(china=lambda: photo('china.jpg', 0), flower=lambda: photo('flower.jpg', 1), edges=lambda: generated(0),
              progressive=lambda: generated(1), text=page, a_line=lambda: page((1600, 270)), stripes=stripes)

@pytest.mark.parametrize('make', PHOTOS.values(), ids=PHOTOS)
@pytest.mark.parametrize('size', [(128, 128), (96, 128), (32, 32)], ids=str)
def test_a_jpeg_decoded_near_its_target_is_nearly_what_full_decoding_gives(make, size):
    file = make()
    quick, header = read_fitted(file, (3, *size))
    file.seek(0)
    full = fit_image(read_image(file), (3, *size))
    assert max(header.size) >= 1600 and np.abs(quick.astype(int) - full).mean() <= .0075 * 255

def test_photos_are_decoded_at_a_smaller_scale_however_they_lie():
    im = Image.fromarray(np.random.default_rng(0).integers(0, 255, (1200, 3200)).astype(np.uint8))
    for turn in (1, 6):
        exif = Image.Exif()
        exif[0x112] = turn
        im.save('a.jpg', exif=exif)
        shape = read_image('a.jpg', size=(50, 130) if turn == 1 else (130, 50)).shape
        assert shape == ((300, 800) if turn == 1 else (800, 300)) and probe('a.jpg').size[turn == 1] == 3200

def test_threads_share_a_budget_and_a_large_use_waits_until_it_is_alone():
    budget, most, now, lock = Budget(10), [], [], threading.Lock()
    def use(n):
        with budget.hold(n):
            with lock:
                now.append(n)
                most.append(sum(min(k, 10) for k in now))
            threading.Event().wait(.002)
            with lock: now.remove(n)
    threads = [threading.Thread(target=use, args=(n,)) for n in (3, 4, 25, 2, 6, 10, 1, 9) * 5]
    for t in threads: t.start()
    for t in threads: t.join(60)
    assert len(most) == 40 and max(most) <= 10 and budget.free == 10

MEMORY = """
import os, re
from pathlib import Path
os.cpu_count = lambda: 8 # As on a machine with eight processors
from fastrecipes.data.sources import load
images = load('large', size=32)
# getrusage's ru_maxrss survives exec, so it would count the process that started this one
most, = re.findall('VmHWM: *\t*([0-9 ]+) kB', Path('/proc/self/status').read_text())
print(images.shape, int(most) // 1024)
"""

@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='needs Linux')
@pytest.mark.parametrize('progressive', [False, True])
def test_eight_photos_of_88_megapixels_need_little_memory(progressive):
    x = np.random.default_rng(0).integers(0, 255, (80, 110, 3)).astype(np.uint8)
    large = Image.fromarray(x).resize((11000, 8000), Image.Resampling.BILINEAR)
    for i in range(8):
        folder = Path('large')/'ab'[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        if i: (folder/f'{i}.jpg').write_bytes(Path('large/a/0.jpg').read_bytes() + bytes(i)) # Other sizes of files
        else: large.save(folder/'0.jpg', quality=60, progressive=progressive)
    r = subprocess.run([sys.executable, '-c', MEMORY], capture_output=True, text=True, check=True)
    assert '(3, 32, 32)' in r.stdout and int(r.stdout.split()[-1]) < 1500

def test_more_pixels_than_pillow_allows_are_read_and_more_than_the_limit_refused():
    before = Image.MAX_IMAGE_PIXELS
    Image.new('1', (20_000, 10_000), 1).save('set.png')
    pixels, header = read_fitted('set.png', (1, 4, 4))
    assert header.size == (10_000, 20_000) and pixels.min() == 255 and Image.MAX_IMAGE_PIXELS == before
    with refused('200,000,000 pixels', '--max-pixels'): read_fitted('set.png', (1, 4, 4), Reading(max_pixels=10**8))


# Depth, transparency, metadata, formats

def deep(where, make, n=5):
    for k, c in enumerate('ab'):
        (Path(where)/c).mkdir(parents=True)
        for i in range(n): Image.fromarray(make(k, i)).save(f'{where}/{c}/{i}.tif')
    return load(where)

RANGES = {
    '12 bits in 16': (lambda k, i: np.full((4, 4), 2000 * k + 95, np.uint16) + np.uint16(500 * i), 4095),
    'CT': (lambda k, i: np.full((4, 4), 1500 * k - 1000, np.int16) + np.int16(50 * i), None),
    '8 bits in 32': (lambda k, i: np.full((4, 4), 100 * k + 10 * i, np.int32), 255),
    'a peak': (lambda k, i: np.where(np.eye(4) > 0, 1.004 if i % 2 else .9, .4 * k + .1).astype(np.float32), 1),
    'floats to 255': (lambda k, i: np.full((4, 4), 120. * k + 20 * i, np.float32), 255),
}

@pytest.mark.parametrize('make, top', RANGES.values(), ids=RANGES)
def test_one_scale_holds_for_a_set_and_keeps_its_contrast(make, top):
    images = deep('set', make)
    values = {p: int(x[0, 0, 1]) for part in (images.valid,) for p, x in zip(part.names, part.images)}
    every = np.concatenate([part.images.numpy() for part in images.splits.values()])
    low, high = images.reading.floats if make(0, 0).dtype == np.float32 else images.reading.integers
    assert (high == top if top else low < -900 and high > 600) and every.max() - every.min() >= 100
    assert note(images, f'{high:g}', '255')
    for name, found in values.items():
        raw = float(make('ab'.index(name[0]), int(Path(name).stem))[0, 1])
        assert abs(found - 255 * (raw - low) / (high - low)) <= 1

def test_nan_counts_as_0_and_is_told():
    images = deep('set', lambda k, i: np.array([[np.nan, 1], [.5, .2 + .5 * k]], np.float32))
    assert all((part.images[:, 0, 0, 0] == 0).all() for part in images.splits.values()) and note(images, 'NaN', '10')

@pytest.mark.parametrize('low, high, kind, wanted', [
    (0, 255, 'integers', (0, 255)), (5, 256, 'integers', (0, 1023)), (0, 70_000, 'integers', (0, 70_000)),
    (-1, 0, 'integers', (-1, 0)), (-5, -5, 'integers', (-5, -4)), (0., 1.05, 'floats', (0., 1.)),
    (0., 260., 'floats', (0., 255.)), (0., 9000., 'floats', (0., 9000.)), (-2., 3., 'floats', (-2., 3.)),
])
def test_a_scale_is_that_of_a_bit_depth_or_of_all_values(low, high, kind, wanted):
    assert value_range(low, high, kind) == wanted

def drawing(i, mode):
    "A bar or a ring, each of another width, as a black drawing on a transparent ground"
    y, x = np.mgrid[:24, :24] - 11.5
    seen = abs(x) < 1 + i // 2 if i % 2 else abs(np.hypot(x, y) - 7) < .6 + i / 8
    if i % 2: seen &= abs(y) < 6 + i // 4
    im = Image.merge('LA', [Image.new('L', (24, 24), 0), Image.fromarray((seen * 255).astype(np.uint8))])
    if mode != 'P': return im.convert(mode)
    im = Image.fromarray(np.where(seen, 1, 0).astype(np.uint8), 'P')
    im.putpalette([255, 0, 255, 0, 0, 0])
    im.info['transparency'] = 0
    return im

def test_black_drawings_on_a_transparent_ground_show_something_on_white():
    for i in range(24):
        folder = Path('set')/('bar' if i % 2 else 'ring')
        folder.mkdir(parents=True, exist_ok=True)
        drawing(i, ('LA', 'RGBA', 'P')[i % 3]).save(folder/f'{i:02}.png')
    c = check('set')
    assert c.healthy and c.blank == c.invisible == c.duplicates == ()
    assert fit('similarity', load('set'), device='cpu').accuracy == 1
    on_black = check('set', background='black')
    assert len(on_black.invisible) == 24
    assert any('24 transparent images' in r and '--background' in r for r in on_black.remarks)

@pytest.mark.parametrize('given, wanted', [
    ('white', (255, 255, 255)), ('black', (0, 0, 0)), ('1,2,3', (1, 2, 3)), ((1, 2, 3), (1, 2, 3)),
])
def test_a_background_is_a_name_or_three_numbers(given, wanted): assert image_background(given) == wanted

@pytest.mark.parametrize('stored, turned', [
    (6, True), ('6', True), (b'\6', True), ((6,), True), (0, False), (99, False), ('left', False), (b'', False),
    (1.5, False), (None, False),
])
def test_an_orientation_is_read_whatever_its_type_is(stored, turned):
    im = Image.new('L', (6, 4))
    im.getexif()[0x112] = stored
    assert imagefile.upright(im).size == ((4, 6) if turned else (6, 4))

def ztxt(before):
    "A PNG with 2 MB of text before or after its pixels"
    text = PngImagePlugin.PngInfo()
    text.add_text('workflow', 'x' * 2_000_000, zip=True)
    with_text, without = BytesIO(), BytesIO()
    im = Image.new('RGB', (8, 8), (200, 100, 50))
    im.save(with_text, 'PNG', pnginfo=text)
    im.save(without, 'PNG')
    data, plain_data = with_text.getvalue(), without.getvalue()
    if before: return data
    at = data.index(b'zTXt') - 4
    chunk = data[at:at + 12 + int.from_bytes(data[at:at + 4])]
    end = plain_data.index(b'IEND') - 4
    return plain_data[:end] + chunk + plain_data[end:]

@pytest.mark.parametrize('before', [True, False])
def test_text_that_pillow_finds_too_large_costs_no_image(before):
    Path('a.png').write_bytes(ztxt(before))
    limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    for file in ('a.png', BytesIO(Path('a.png').read_bytes())):
        assert (read_image(file) == (200, 100, 50)).all()
    assert probe('a.png').size == (8, 8) and limits == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)

def test_garbage_in_the_metadata_costs_no_image():
    im = Image.new('RGB', (8, 8), (200, 100, 50))
    head = b'Exif\0\0'
    garbage = [b'', b'\0\x08\0\x02', head + b'II*\0\xff\xff\xff\xff', head + b'MM' + bytes(40), bytes(range(60))]
    for i, exif in enumerate(garbage):
        im.save(f'{i}.png', exif=exif)
        im.save(f'{i}.webp', exif=exif, lossless=True)
        for suffix in ('png', 'webp'): assert (read_image(f'{i}.{suffix}') == (200, 100, 50)).all()

def test_every_suffix_that_pillow_reads_is_one_of_an_image():
    Image.init()
    readable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    no_pixels = {'.bufr', '.emf', '.eps', '.gbr', '.grib', '.h5', '.hdf', '.iim', '.mpeg', '.mpg', '.ps', '.wmf'}
    no_pixels |= {'.fit', '.fits'} # Most .fit files are tracks of a sports watch
    assert readable - image_suffixes - heif_suffixes == no_pixels and image_suffixes - readable <= {'.mpo'}

def test_a_track_of_a_sports_watch_stops_nothing():
    plain('set')
    Path('set/left/run.fit').write_bytes(b'\x0e\x10garmin')
    assert '.fit (1)' in note(load('set'), 'not read')

@pytest.mark.parametrize('suffix', ['jfif', 'ppm', 'pgm', 'jp2', 'avif', 'tga', 'bmp', 'webp', 'mpo'])
def test_other_formats_are_read(suffix):
    kind = dict(jfif='JPEG', pgm='PPM', jp2='JPEG2000', mpo='JPEG').get(suffix)
    plain('set', suffix='png')
    for p in Path('set').rglob('*.png'): Image.open(p).save(p.with_suffix(f'.{suffix}'), kind)
    for p in Path('set').rglob('*.png'): p.unlink()
    images = load('set')
    assert len(images.train) + len(images.valid) == 12 and fit('linear', images, device='cpu').accuracy == 1

def test_the_photos_of_iphones_are_read_with_one_more_package():
    pillow_heif = pytest.importorskip('pillow_heif')
    for k, c in enumerate('ab'):
        (Path('set')/c).mkdir(parents=True)
        for i in range(4):
            im = Image.new('RGB', (64, 48), (200 * k, 60 + i, 90))
            pillow_heif.from_pillow(im).save(f'set/{c}/IMG_{i}.HEIC', quality=95)
    images = load('set')
    assert images.shape == (3, 48, 64) and len(images.train) + len(images.valid) == 8 and images.notes == ()
    assert fit('similarity', images, device='cpu').accuracy == 1

def test_a_suffix_that_lies_does_no_harm():
    plain('set')
    for p in list(Path('set').rglob('*.png'))[:6]: Image.open(p).save(p, 'JPEG')
    assert len(load('set').train) + len(load('set').valid) == 12


# The cache

@pytest.mark.skipif(os.name != 'posix', reason='Windows has no time of the last change')
@pytest.mark.parametrize('how', ['swap', 'replace', 'rewrite'])
def test_files_of_equal_size_and_time_are_noticed(how):
    folder = plain('set', suffix='bmp')
    a, b = folder/'left'/'0.bmp', folder/'left'/'1.bmp'
    for p in (a, b): os.utime(p, ns=(10**18, 10**18))
    first = load('set')
    if how == 'swap':
        a.rename('x')
        b.rename(a)
        Path('x').rename(b)
    else:
        Image.new('L', (8, 8), 250).save('x.bmp')
        if how == 'replace': Path('x.bmp').rename(a)
        else: a.write_bytes(Path('x.bmp').read_bytes())
    for p in (a, b): os.utime(p, ns=(10**18, 10**18))
    second = load('set')
    assert {len(x) for x in (first.train, second.train)} == {10} and second.fingerprint != first.fingerprint


# In Python

def test_a_pillow_image_is_read_as_its_file_whatever_its_format_does_with_the_orientation():
    x = np.arange(24, dtype=np.uint8).reshape(4, 6) * 9
    exif = Image.Exif()
    exif[0x112] = 6
    for suffix in ('png', 'tif', 'jpg', 'webp'):
        lzw = dict(compression='tiff_lzw') if suffix == 'tif' else {} # Pillow 13 scrambles others that it opens itself
        Image.fromarray(x).save(f'a.{suffix}', exif=exif, **lzw)
        assert np.array_equal(imagefile.image_bytes(Image.open(f'a.{suffix}')), read_image(f'a.{suffix}')), suffix
        assert read_image(f'a.{suffix}').shape[:2] == probe(f'a.{suffix}').size == (6, 4)

@pytest.mark.parametrize('turn', range(1, 9))
def test_a_rotated_tiff_without_compression_is_read_right(turn):
    x = np.arange(24, dtype=np.uint8).reshape(4, 6) * 9
    exif = Image.Exif()
    exif[0x112] = turn
    Image.fromarray(x).save('a.tif', exif=exif)
    Image.fromarray(x).save('a.png', exif=exif)
    for file in ('a.tif', BytesIO(Path('a.tif').read_bytes())):
        assert np.array_equal(read_image(file), read_image('a.png'))

def test_an_orientation_after_the_pixels_counts():
    im = Image.new('L', (60, 40))
    exif, plain_file = Image.Exif(), BytesIO()
    exif[0x112] = 6
    im.save(plain_file, 'PNG')
    im.save('with.png', exif=exif)
    data, with_exif = plain_file.getvalue(), Path('with.png').read_bytes()
    at, end = with_exif.index(b'eXIf') - 4, data.index(b'IEND') - 4
    chunk = with_exif[at:at + 12 + int.from_bytes(with_exif[at:at + 4])]
    Path('late.png').write_bytes(data[:end] + chunk + data[end:])
    pixels, header = read_fitted('late.png', (1, 60, 40))
    assert read_image('late.png').shape == header.size == (60, 40)

def test_a_tenth_of_the_images_does_not_decide_on_the_scale():
    hot = deep('hot', lambda k, i: np.full((4, 4), 65535 if (k, i) == (0, 3) else 2000 * k + 95, np.uint16), n=8)
    assert hot.reading.integers == (0, 4095) and note(hot, '1 image has values beyond', '4095')
    assert deep('faint', lambda k, i: np.full((4, 4), .015 * k, np.float32)).reading.floats[1] == pytest.approx(.015)
    signed = deep('signed', lambda k, i: np.full((4, 4), .15 * k - .05, np.float32))
    assert signed.reading.floats == pytest.approx((-.05, .1))

def test_pillow_images_in_python_have_one_scale_too():
    images = [Image.fromarray(np.full((4, 4), 1500 * (i % 2) + 95 * (i // 2), np.uint16)) for i in range(12)]
    found = load((images, [i % 2 for i in range(12)]))
    assert found.reading.integers == (0, 4095) and note(found, '4095')
    assert fit('similarity', found, device='cpu').accuracy == 1

@pytest.mark.parametrize('use', [
    lambda im: load(([im, im, im, im], list('abab'))),
    lambda im: fit('similarity', 'digits', device='cpu').predict([im]),
], ids=['load', 'predict'])
def test_a_damaged_pillow_image_is_an_input_error(use):
    Image.effect_noise((64, 64), 50).save('a.jpg')
    Path('cut.jpg').write_bytes(Path('a.jpg').read_bytes()[:400])
    with refused('cannot be read'): use(Image.open('cut.jpg'))

def test_choices_without_effect_are_refused_and_others_hold():
    digits = load('digits')
    useless = [dict(resize='pad'), dict(background='black'), dict(size=12, background='black'), dict(max_pixels=9)]
    for options in useless:
        for source in (digits, 'digits'):
            with refused('no effect'): load(source, **options)
    padded = load(digits, size='8x16', resize='pad', background='10,10,10')
    assert (padded.valid.images[..., :4] == 10).all() and padded.reading[:2] == ('pad', (10, 10, 10))
    assert note(load('digits', size='8x4'), '50%')

def test_a_photo_of_an_iphone_that_is_named_is_told_what_it_needs(monkeypatch):
    monkeypatch.setattr(folders, '_readable', lambda: image_suffixes) # As without pillow-heif
    Path('photo.HEIC').write_bytes(bytes(4) + b'ftypheic' + bytes(90))
    with refused('fastrecipes[heif]'): fit('similarity', 'digits', device='cpu').predict(['photo.HEIC'])


# What a newcomer met: a note must be true, and what it suggests must exist

def broken(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text('not an image')

@pytest.mark.parametrize('options', [{}, dict(label_from='^(.)')], ids=['folders', 'names'])
def test_faults_of_other_classes_do_not_stop_the_chosen_ones(options):
    for c, step in zip('abc', (10, 60, 110)):
        plain('set', c, first=step)
        for i in range(6): Path(f'set/{c}/{i}.png').rename(f'set/{c}/{c}{i}.png')
    broken('set/c/c0.png')
    Path('set/d').mkdir()
    with refused('set'): load('set', **options)
    images = load('set', classes='a,b', **options)
    assert images.classes == ('a', 'b') and len(images.train) + len(images.valid) == 12
    with refused("'x'", 'a, b, c'): load('set', classes='a,x', **options)
    broken('set/a/a0.png')
    with refused('1 unreadable', 'a0.png'): load('set', classes='a,b', **options)

def test_chosen_classes_of_a_table_are_read_alone():
    plain('set', 'abc')
    broken('set/c/0.png')
    rows = [f'{c}/{i}.png,{c}' for c in 'abc' for i in range(6)]
    Path('set/labels.csv').write_text('\n'.join(['path,label', *rows]))
    with refused('1 unreadable'): load('set/labels.csv')
    assert load('set/labels.csv', classes=['b', 'a']).classes == ('a', 'b')

def test_the_cache_keeps_a_set_and_a_part_of_it(tmp_path):
    plain('set', 'abc')
    for _ in range(2):
        assert len(load('set').classes) == 3 and len(load('set', classes='a,b').classes) == 2
    assert len([p for p in (tmp_path/'cache').iterdir() if p.is_dir()]) == 2

def test_a_folder_of_photos_that_need_the_extra_names_it(monkeypatch):
    monkeypatch.setattr(folders, '_readable', lambda: image_suffixes) # As without pillow-heif
    for c in 'ab':
        for i in range(3): broken(f'set/{c}/{i}.HEIC')
    for refuse in (lambda: load('set'), lambda: load('set', label_from='(.)')):
        with refused('fastrecipes[heif]') as _: refuse()
    assert all('fastrecipes[heif]' in p for p in check('set').problems) and not check('set').healthy

def frames(n, size=(8, 8)): return [Image.effect_noise(size, 60) for _ in range(n)]

@pytest.mark.parametrize('suffix', ['tif', 'gif', 'webp', 'png'])
def test_pages_and_frames_beyond_the_first_are_told(suffix):
    plain('set', 'ab')
    for i in range(3):
        first, *rest = frames(3)
        first.save(f'set/a/more{i}.{suffix}', save_all=True, append_images=rest)
        with Image.open(f'set/a/more{i}.{suffix}') as im: whole = np.asarray(im.convert('RGB'))
        assert np.array_equal(read_image(f'set/a/more{i}.{suffix}').reshape(8, 8, -1) + np.zeros(3, int), whole)
    frames(1)[0].save(f'set/a/one.{suffix}', save_all=True)
    assert note(load('set', channels=1), 'frames').startswith('3 files')
    assert note(load('set', channels=1), 'frames').startswith('3 files') # From the cache
    assert [r for r in check('set').remarks if r.startswith('3 files have more')]

def test_images_without_a_suffix_are_read_by_their_content():
    plain('set', 'ab')
    for i, kind in enumerate(['JPEG', 'PNG', 'GIF', 'BMP', 'TIFF', 'WEBP', 'AVIF', 'JPEG2000']):
        out = BytesIO()
        try: frames(1, (8, 8))[0].convert('RGB').save(out, kind)
        except (OSError, KeyError): continue # Not in this Pillow
        Path(f'set/a/{i:08x}').write_bytes(out.getvalue())
    Path('set/a/LICENSE').write_text('BSD')
    images = load('set', channels=1)
    assert len(images.train) + len(images.valid) == 12 + len(list(Path('set/a').glob('0000000*'))) >= 17
    assert 'no suffix (1)' in note(images, 'not read')

@pytest.mark.parametrize('coloured, channels, told', [(0, 1, None), (3, 1, '3 of 12'), (6, 1, '6 of 12'), (7, 3, None)])
def test_colours_that_are_lost_are_counted(coloured, channels, told):
    plain('set', 'ab')
    for i in range(coloured): Image.new('RGB', (8, 8), (250, 30 * i, 0)).save(f"set/{'ab'[i % 2]}/{i // 2}.png")
    images = load('set')
    assert images.shape[0] == channels == check('set').channels
    for notes in (images.notes, check('set').remarks):
        assert [n.startswith(told) for n in notes if 'channels=3 (--channels)' in n] == ([True] if told else [])
    assert not any('--channels' in n for n in load('set', channels=1).notes)

@pytest.mark.parametrize('sizes, square, told', [
    ([(300, 400)] * 8 + [(300, 300)] * 4, True, ['8 wide', '4 square']),
    ([(300, 400)] * 8 + [(400, 300)] * 4, True, ['8 wide', '4 upright']),
    ([(300, 300)] * 8 + [(400, 400)] * 4, True, []),
    ([(300, 400)] * 11 + [(300, 300)], False, []),
])
def test_the_reason_for_a_square_is_what_there_is(sizes, square, told):
    for i, (h, w) in enumerate(sizes):
        Path(f"set/{'ab'[i % 2]}").mkdir(parents=True, exist_ok=True)
        Image.effect_noise((w, h), 60).save(f"set/{'ab'[i % 2]}/{i}.png")
    images = load('set')
    assert (images.shape[1] == images.shape[2]) == square
    text = note(images, '(--size)')
    assert all(part in text for part in told) and ('because' in text) == bool(told)

def test_each_scale_names_its_images():
    plain('set', 'ab', n=4)
    for c in 'ab':
        for i in range(3): Image.fromarray(np.full((8, 8), 4000 + i, np.uint16)).save(f'set/{c}/int{i}.png')
        for i in range(2): Image.fromarray(np.full((8, 8), .9, np.float32)).save(f'set/{c}/float{i}.tif')
    images = load('set')
    assert '6 images of integers' in note(images, '4095') and '4 images of floats' in note(images, '0 to 1 ')
    assert note(images, '8 images of 8 bits')
    assert set(check('set').remarks) >= {n for n in images.notes if 'of integers' in n or 'of floats' in n}

def test_images_that_would_be_dark_on_the_common_scale_are_counted():
    for c in 'ab':
        Path(f'set/{c}').mkdir(parents=True)
        for i in range(6):
            pixels = np.full((8, 8), 4000 if i < 3 else 60000, np.uint16)
            Image.fromarray(pixels).save(f'set/{c}/{i}.png')
    assert '6 images have only values in the lowest eighth' in note(load('set'), '65535')

def test_a_table_in_a_folder_of_loose_images_is_suggested():
    plain('set', ['images'])
    rows = [f'images/{i}.png,{"ab"[i % 2]}' for i in range(6)]
    Path('set/sample_submission.csv').write_text('id,label\n0.png,a\n')
    Path('set/labels.csv').write_text('\n'.join(['path,label', *rows]))
    Path('set/prices.csv').write_text('a,b\n1,2\n')
    with refused(os.path.join('set', 'labels.csv')): load('set')
    assert any('labels.csv' in p for p in check('set').problems)
    for i in range(6): Path(f'set/images/{i}.png').rename(f'set/{i}.png')
    Path('set/images').rmdir()
    Path('set/labels.csv').write_text('\n'.join(['path,label', *rows]).replace('images/', ''))
    with refused(os.path.join('set', 'labels.csv')): load('set')
    assert load('set/labels.csv').classes == ('a', 'b')

@pytest.mark.parametrize('at', ['set', 'set/train'])
@pytest.mark.parametrize('inner', ['', 'train'])
def test_labels_of_object_detection_are_named(at, inner):
    plain(Path(at)/'images', [inner or '.'])
    (Path(at)/'labels'/inner).mkdir(parents=True)
    for i in range(6): (Path(at)/'labels'/inner/f'{i}.txt').write_text('0 .5 .5 .2 .2\n')
    with refused('object detection', 'one class per image'): load('set')
    assert any('object detection' in p for p in check('set').problems)

@pytest.mark.parametrize('docs', ['', 'a.pdf', 'deep/b.pdf'])
@pytest.mark.parametrize('inner', [['train', 'test'], ['cat', 'dog']])
def test_a_folder_without_images_does_not_change_the_layout(docs, inner):
    for part in inner: plain(f'set/archive/{part}', 'ab') if 'train' in inner else plain('set/archive', [part])
    (Path('set/docs')/docs).parent.mkdir(parents=True, exist_ok=True)
    if docs: (Path('set/docs')/docs).touch()
    else: Path('set/docs').mkdir(exist_ok=True)
    if not docs and 'train' not in inner:
        with refused('docs: no images'): load('set') # It may be a class without images yet
        return
    images = load('set')
    assert images.classes == (('a', 'b') if 'train' in inner else ('cat', 'dog'))
    assert ('test' in images.splits) == ('test' in inner) and note(images, "'archive'", 'docs')

def test_all_classes_with_one_image_are_named():
    plain('set', 'ab')
    plain('set', 'cd', n=1)
    with refused("'c', 'd'", 'one image each'): load('set')
    for c in 'cd': Path(f'set/{c}/1.png').write_bytes(Path(f'set/{c}/0.png').read_bytes())
    for c in 'ab':
        for p in Path(f'set/{c}').iterdir(): broken(p)
    with refused("class 'a'", "class 'b'"): load('set', skip_bad=True)
