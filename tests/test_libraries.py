"Arrays and the data sets of other libraries become image sets, and what cannot serve is refused in one line"
import numpy as np, pytest, torch
from PIL import Image
from torch.utils.data import (
    BatchSampler, ConcatDataset, DataLoader, Dataset, IterableDataset, random_split, Sampler, SequentialSampler, Subset,
    SubsetRandomSampler, TensorDataset, WeightedRandomSampler
)
from conftest import refused
from fastrecipes.data.check import check
from fastrecipes.data.sources import load

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 6, 5)).astype(np.uint8)
RGB = RNG.integers(0, 256, (40, 6, 5, 3)).astype(np.uint8)
LABELS = np.arange(40) % 4


class Items(Dataset):
    "A data set of any kind of image and label"
    def __init__(self, images, labels): self.images, self.labels = images, labels
    def __len__(self): return len(self.images)
    def __getitem__(self, i): return self.images[i], self.labels[i]

def whole(images):
    "All images with their class names, sorted"
    pairs = [pair for split in images.splits.values() for pair in zip(split.images, split.labels)]
    return sorted((x.numpy().tobytes(), images.classes[y]) for x, y in pairs)

def bytes_of(x, y): return sorted((im.tobytes(), str(label)) for im, label in zip(x, y))

EXPECTED_GREY = bytes_of(GREY, LABELS)
EXPECTED_RGB = bytes_of(RGB.transpose(0, 3, 1, 2), LABELS)


# Arrays

@pytest.mark.parametrize('x, expected', [
    *((x, EXPECTED_GREY) for x in (GREY, GREY[:, None], GREY[..., None], GREY / 255, GREY.astype(np.int64),
                                   torch.tensor(GREY), torch.tensor(GREY)[:, None] / 255)),
    *((x, EXPECTED_RGB) for x in (RGB, RGB.transpose(0, 3, 1, 2), torch.tensor(RGB).permute(0, 3, 1, 2) / 255)),
], ids=range(10))
def test_arrays_of_every_layout_are_the_same_images(x, expected):
    images = load((x, LABELS))
    assert whole(images) == expected and images.classes == ('0', '1', '2', '3') and images.source == 'arrays'
    assert {n: len(s) for n, s in images.splits.items()} == {'train': 32, 'valid': 8}
    assert images.valid.labels.bincount().tolist() == [2] * 4

@pytest.mark.parametrize('y', [
    LABELS, LABELS.tolist(), torch.tensor(LABELS), LABELS[:, None], LABELS.astype(float), LABELS.astype(str),
    LABELS.astype(str).tolist(), list(torch.tensor(LABELS)),
], ids=lambda y: type(y).__name__)
def test_labels_of_every_kind_are_the_same_classes(y): assert whole(load((GREY, y))) == EXPECTED_GREY

def test_numbers_get_the_names_that_are_given_and_names_are_chosen_from():
    names = ['ant', 'bee', 'cat', 'dog']
    images = load((GREY, LABELS), classes=names)
    assert images.classes == tuple(names) and load((GREY, LABELS), classes='ant,bee,cat,dog').classes == tuple(names)
    assert load((GREY, LABELS), classes='1,3').classes == ('1', '3')
    assert load((GREY, np.array(names)[LABELS]), classes='dog,bee').classes == ('bee', 'dog')
    with refused('classes', '2 names', 'up to 3'): load((GREY, LABELS), classes=['ant', 'bee'])

def test_names_in_a_dict_are_in_the_order_of_its_numbers():
    images = load((GREY, LABELS), classes=dict(dog=3, ant=0, cat=2, bee=1))
    assert images.classes == ('ant', 'bee', 'cat', 'dog')
    assert images.fingerprint == load((GREY, LABELS), classes=['ant', 'bee', 'cat', 'dog']).fingerprint
    with refused('classes', '0 to 3'): load((GREY, LABELS), classes=dict(ant=1, bee=2, cat=3, dog=4))
    with refused('classes', 'set', 'list'): load((GREY, LABELS), classes={'ant', 'bee', 'cat', 'dog'})
    assert load((GREY, LABELS), classes={'1', '3'}).classes == ('1', '3')

def test_a_name_without_images_is_refused_with_the_others_and_their_counts():
    with refused("'c' (label 2)", "'a' (20 images)", "'b' (20 images)"): load((GREY, LABELS % 2), classes='a,b,c')
    with refused("'b' (label 1)", "'a' (20 images)"): load((GREY, LABELS % 2 * 2), classes=['a', 'b', 'c'])

def test_truth_values_can_have_names():
    images = load((GREY, LABELS % 2 == 1), classes=['well', 'ill'])
    assert whole(images) == bytes_of(GREY, np.array(['well', 'ill'])[LABELS % 2]) and images.classes == ('well', 'ill')
    assert load((GREY, LABELS == 1)).classes == ('False', 'True')

@pytest.mark.parametrize('missing', [None, float('nan'), np.nan, ''], ids=['None', 'nan', 'numpy', 'empty'])
def test_a_missing_group_is_refused(missing):
    groups = [f'p{i // 4}' for i in range(40)]
    groups[7] = missing
    with refused('groups', 'image 7', 'train', 'no group'): load((GREY, LABELS), groups=groups)
    data = HuggingFace([Image.fromarray(x) for x in GREY], LABELS.tolist(), ids=groups)
    with refused('Dataset[7]', 'no group'): load(data, groups='id')

def test_pairs_of_arrays_are_training_validation_and_test():
    train, valid, test = ((GREY[i::3], LABELS[i::3]) for i in range(3))
    images = load((train, valid, test))
    assert [len(s) for s in images.splits.values()] == [14, 13, 13] and whole(images) == EXPECTED_GREY
    assert torch.equal(images.train.images[:, 0], torch.tensor(train[0]))
    assert load(dict(valid=valid, train=train)).fingerprint == load((train, valid)).fingerprint
    with refused('validation split already', 'valid=0.3'): load((train, valid), valid=.3)
    with refused("'holdout'", 'split'): load(dict(train=train, holdout=valid))
    with refused('no train'): load(dict(valid=train, test=valid))

@pytest.mark.parametrize('data, parts', [
    ((GREY.reshape(40, -1), LABELS), ('arrays', '(30,)', 'not an image')),
    ((RGB[:, :, :, :2], LABELS), ('not an image',)),
    ((GREY - 128., LABELS), ('from -128 to 127', 'not normalised')), ((GREY * .9, LABELS), ('from 0 to 229.5',)),
    ((GREY.astype(int) * 257, LABELS), ('65535',)),
    ((GREY, LABELS[:39]), ('(39,)', '40 images')), ((GREY, np.eye(4)[LABELS]), ('(40, 4)', 'one label per image')),
    ((GREY, LABELS / 8), ('is not a class',)), ((GREY, [None] * 40), ('is not a class',)),
    ((GREY, np.where(LABELS, LABELS, np.nan)), ("'nan'", 'is not a class')),
    ((GREY, LABELS * 0), ('one class only (0)',)), ((GREY[:5], LABELS[:5]), ("'1'", 'only one image')),
    ((GREY[:0], LABELS[:0]), ('no images',)), (((GREY, LABELS), (GREY.copy(), LABELS + 1)), ("class '4'", 'valid')),
], ids=range(14))
def test_arrays_that_cannot_serve_are_refused(data, parts):
    with refused(*parts): load(data)

def test_groups_are_a_list_and_stay_together():
    groups = [f'p{i // 4}' for i in range(40)]
    images = load((GREY, LABELS), groups=groups)
    assert not set(images.train.groups) & set(images.valid.groups) and len(set(images.valid.groups)) == 2
    with refused('groups', '39', '40'): load((GREY, LABELS), groups=groups[:39])
    with refused('groups', 'no effect'): load((GREY, LABELS), groups='patient')
    halves = (GREY[:20], LABELS[:20]), (GREY[20:], LABELS[20:])
    images = load(halves, groups=(groups[2:22], groups[20:]))
    assert check(images).shared_groups == ('p5',) and any('p5' in n for n in images.notes)

def test_a_bunch_of_scikit_learn_is_scaled_and_one_without_images_refused(digits):
    from sklearn.datasets import load_diabetes, load_digits, load_iris
    images = load(load_digits())
    assert whole(images) == whole(digits) and images.source == 'Bunch' and len(images.notes) == 1
    for other in (load_iris(), load_diabetes()):
        with refused('Bunch', 'not images'): load(other)

def test_everything_that_reads_sources_reads_these(digits):
    from fastrecipes.answer.climb import compare
    from fastrecipes.ladder.recipe import fit
    x = digits.train.images[:, 0].numpy(), digits.train.labels
    assert fit('similarity', x, device='cpu').accuracy > .8
    assert compare(x, 'similarity', device='cpu').rungs[0].accuracy > .8
    assert check(x).healthy


# PyTorch and torchvision

@pytest.mark.parametrize('items, expected', [
    *((x, EXPECTED_GREY) for x in ([Image.fromarray(x) for x in GREY], list(GREY), torch.tensor(GREY)[:, None] / 255)),
    *((x, EXPECTED_RGB) for x in ([Image.fromarray(x) for x in RGB], list(RGB), torch.tensor(RGB).permute(0, 3, 1, 2))),
], ids=['grey pil', 'grey array', 'grey tensor', 'rgb pil', 'rgb array', 'rgb tensor'])
def test_a_data_set_may_yield_any_kind_of_image(items, expected):
    data = Items(items, torch.tensor(LABELS))
    images = load(data)
    assert whole(images) == expected and images.source == 'Items'
    pair = random_split(data, [30, 10], generator=torch.Generator().manual_seed(0))
    split = load(tuple(pair))
    assert [len(s) for s in split.splits.values()] == [30, 10] and whole(split) == expected

def test_other_forms_of_data_sets():
    assert whole(load(TensorDataset(torch.tensor(GREY), torch.tensor(LABELS)))) == EXPECTED_GREY
    assert whole(load(list(zip(GREY, LABELS)))) == EXPECTED_GREY
    loader = torch.utils.data.DataLoader(Items(list(GREY), LABELS), batch_size=8, shuffle=True)
    assert whole(load((loader, Items(list(GREY), LABELS)))) == sorted(EXPECTED_GREY * 2)
    nested = Subset(Subset(Items(list(GREY), LABELS), range(39, -1, -1)), range(20))
    assert whole(load(nested)) == bytes_of(GREY[20:], LABELS[20:])

def test_a_data_loader_reads_what_its_sampler_does():
    data = Items(list(GREY), LABELS)
    samplers = SubsetRandomSampler(range(32)), SubsetRandomSampler(torch.arange(32, 40))
    train, valid = (DataLoader(data, 8, sampler=sampler) for sampler in samplers)
    images = load((train, valid))
    assert {n: len(s) for n, s in images.splits.items()} == {'train': 32, 'valid': 8} and whole(images) == EXPECTED_GREY
    assert torch.equal(images.valid.images[:, 0], torch.tensor(GREY[32:]))
    assert load((train, DataLoader(Subset(data, range(32, 40)), 3))).fingerprint == images.fingerprint
    first = DataLoader(data, 8, sampler=SequentialSampler(range(32)))
    assert load((first, valid)).fingerprint == images.fingerprint
    nested = DataLoader(Subset(data, range(39, -1, -1)), 8, sampler=SubsetRandomSampler(range(20)))
    assert whole(load(nested)) == bytes_of(GREY[20:], LABELS[20:])

class Odd(Sampler):
    def __init__(self, data): self.data = data
    def __iter__(self): return iter(range(1, len(self.data), 2))

@pytest.mark.parametrize('options, name', [
    (lambda data: dict(sampler=WeightedRandomSampler([1.] * 40, 40)), 'WeightedRandomSampler'),
    (lambda data: dict(sampler=Odd(data)), 'Odd'),
    (lambda data: dict(batch_sampler=BatchSampler(Odd(data), 4, False)), 'BatchSampler'),
], ids=['weighted', 'own', 'batches'])
def test_a_sampler_that_is_not_known_is_refused(options, name):
    data = Items(list(GREY), LABELS)
    with refused(name, 'DataLoader', 'Subset'): load(DataLoader(data, **options(data)))

def test_an_image_in_two_splits_of_a_data_set_is_refused():
    data = Items(list(GREY), LABELS)
    halves = Subset(data, range(24)), Subset(data, range(20, 40))
    for parts in (halves, tuple(DataLoader(half) for half in halves)):
        with refused('Items', 'image 20', 'train', 'valid'): load(parts)
    with refused('image 39', 'train', 'valid'): load((data, Subset(data, [-1])))
    with refused('image 0', 'train', 'test'): load(dict(train=data, test=data))
    with refused('arrays', 'image 0', 'train', 'valid'): load(((GREY, LABELS), (GREY, LABELS)))
    repeated = Subset(data, [*range(40), 7])
    with refused('image 7', 'more than once'): load(repeated)
    assert len(load((repeated, Items(list(GREY), LABELS))).train) == 41

def test_sizes_and_colours_are_those_of_most_images():
    pil = [Image.fromarray(x) for x in GREY]
    pil[0], pil[1] = Image.new('RGB', (9, 9), (10, 20, 30)), Image.new('L', (3, 3))
    images = load(Items(pil, LABELS))
    assert images.shape == (1, 6, 5) and images.notes[0].startswith('2 of 40')
    assert load(Items(pil, LABELS), size='8x7', channels=3).shape == (3, 8, 7)

class Stream(IterableDataset):
    def __iter__(self): return iter(zip(GREY, LABELS))

@pytest.mark.parametrize('data, parts', [
    (Stream(), ('Stream', 'no length')), (Items(list(GREY), torch.eye(40)), ('Items[0]', '40 labels')),
    (Items(list(GREY), list(GREY)), ('Items[0]', 'labels')),
    (Items(list(GREY), torch.tensor(LABELS) * 1.), ('Items[0]', '0.0', 'measurement')),
    (Items(['a.png'] * 4, LABELS), ('Items[0]', 'str is not an image')),
    (list(GREY), ('pairs',)), (list(zip(GREY, LABELS, LABELS)), ('3 parts', 'pairs')), (3, ('int',)),
    (Items(torch.randn(40, 3, 6, 5), LABELS), ('Items[0]', 'not normalised')),
], ids=range(9))
def test_data_sets_that_cannot_serve_are_refused(data, parts):
    with refused(*parts): load(data)

def test_lists_of_images_may_have_several_sizes():
    images = [Image.fromarray(x) for x in GREY[:-1]] + [Image.new('L', (9, 9))]
    assert load((images, LABELS.tolist())).notes[0].startswith('1 of 40') and load((images, LABELS)).shape == (1, 6, 5)
    with refused('40 images', '39 labels'): load((images, LABELS[:39]))
    with refused('str is not an image', 'DataFrame'): load((['a.png', 'b.png'], ['a', 'b']))

def test_large_images_need_a_size(monkeypatch):
    from fastrecipes.data import libraries
    monkeypatch.setattr(libraries, '_most_bytes', GREY.size - 1)
    with refused('GB', 'size=224 (--size)'): load(Items(list(GREY), LABELS))
    assert load(Items(list(GREY), LABELS), size=4).shape == (1, 4, 4)

def test_an_image_folder_is_read_through_the_cache_without_its_transforms(image_folder):
    from torchvision import transforms
    from torchvision.datasets import ImageFolder
    path = image_folder({'cat': 6, 'dog': 6})
    data = ImageFolder(path, transform=transforms.Compose([transforms.RandomCrop(4), transforms.ToTensor()]))
    images = load(data)
    assert images.fingerprint == load(path).fingerprint and images.source == path.name
    assert any('transforms of ImageFolder' in n for n in images.notes)
    train, valid = Subset(data, range(0, 12, 2)), Subset(data, range(1, 12, 2))
    images = load((train, valid))
    assert images.counts().to_dict('list') == {'train': [3, 3], 'valid': [3, 3]} and len(images.valid.names) == 6
    images = load(data, groups=[str(i // 2) for i in range(12)])
    assert images.shape == load(path).shape and len(set(images.train.groups) | set(images.valid.groups)) == 6
    assert not set(images.train.groups) & set(images.valid.groups) and images.train.groups.count('0') in (0, 2)

def test_unreadable_files_of_an_image_folder_can_be_skipped(image_folder):
    from torchvision.datasets import ImageFolder
    path = image_folder({'cat': 6, 'dog': 6})
    next((path/'cat').iterdir()).write_text('x')
    data = ImageFolder(path)
    with refused('1 unreadable'): load(data)
    assert sum(map(len, load(data, skip_bad=True).splits.values())) == 11
    groups = [f'g{i // 2}' for i in range(12)]
    images = load(data, skip_bad=True, groups=groups)
    assert sum(map(len, images.splits.values())) == 11 and images.valid.groups is not None
    with refused('groups', '11', '12'): load(data, skip_bad=True, groups=groups[1:])
    with refused('skip_bad', 'no effect'): load((GREY, LABELS), skip_bad=True)

def test_mnist_of_torchvision_has_its_classes_and_ignores_transforms(mnist, found):
    from torchvision import transforms
    from torchvision.datasets import MNIST
    train, test = (MNIST(found[0]/'data', train=t, transform=transforms.ToTensor()) for t in (True, False))
    images = load((train, test))
    assert torch.equal(images.valid.images, mnist.test.images) and torch.equal(images.valid.labels, mnist.test.labels)
    assert images.classes[3] == '3 - three' and images.source == 'MNIST' and len(images.notes) == 1
    assert sum(map(len, load(Subset(train, range(500))).splits.values())) == 500

def test_a_data_set_like_cifar_is_in_colour_with_names():
    from torchvision.datasets import CIFAR10
    data = CIFAR10.__new__(CIFAR10) # Without a download
    data.data, data.targets, data.classes = RGB, LABELS.tolist(), ['airplane', 'automobile', 'bird', 'cat', 'deer']
    data.transform = data.target_transform = data.transforms = None
    images = load(data)
    assert images.classes == ('airplane', 'automobile', 'bird', 'cat') and images.shape == (3, 6, 5)


# fastai

@pytest.fixture
def block():
    from fastai.vision.all import aug_transforms, CategoryBlock, DataBlock, get_image_files, GrandparentSplitter
    from fastai.vision.all import ImageBlock, parent_label, Resize
    def make(labels=CategoryBlock, get_y=parent_label, size=None):
        return DataBlock(
            blocks=(ImageBlock, labels), get_items=get_image_files, get_y=get_y, batch_tfms=aug_transforms(),
            splitter=GrandparentSplitter('train', 'valid'), item_tfms=Resize(size) if size else None)
    return make

def test_data_loaders_of_fastai_are_read_before_augmentation(image_folder, block):
    path = image_folder({'train/cat': 5, 'train/dog': 4, 'valid/cat': 2, 'valid/dog': 3})
    images = load(block().dataloaders(path, bs=2), channels=1)
    assert images.counts().to_dict('list') == {'train': [5, 4], 'valid': [2, 3]} and images.classes == ('cat', 'dog')
    assert whole(images) == whole(load(path))
    datasets = load(block().datasets(path), channels=1)
    assert whole(datasets) == whole(images)
    images = load(block(size=(4, 7)).dataloaders(path, bs=2))
    assert images.shape == (3, 4, 7) and any('4x7' in n for n in images.notes)

def test_several_labels_of_fastai_are_refused(image_folder, block):
    from fastai.vision.all import MultiCategoryBlock
    path = image_folder({'train/cat': 5, 'train/dog': 4, 'valid/cat': 2, 'valid/dog': 3})
    with refused('2 labels for one image'): load(block(MultiCategoryBlock, lambda p: [p.parent.name]).datasets(path))

def test_measurements_of_fastai_are_refused(image_folder, block):
    from fastai.vision.all import RegressionBlock
    path = image_folder({'train/cat': 5, 'train/dog': 4, 'valid/cat': 2, 'valid/dog': 3})
    data = block(RegressionBlock, lambda p: float(p.parent.name == 'cat')).datasets(path)
    with refused('[0]', 'measurement'): load(data)

def test_data_loaders_of_fastai_may_hold_those_of_pytorch_and_more_than_two():
    from fastai.data.core import DataLoaders
    data = Items(list(GREY), LABELS)
    parts = [DataLoader(data, 8, sampler=SubsetRandomSampler(range(i, i + 20))) for i in (0, 20)]
    images = load(DataLoaders(*parts))
    assert [len(s) for s in images.splits.values()] == [20, 20] and whole(images) == EXPECTED_GREY and not images.notes
    more = load(DataLoaders(*parts, DataLoader(data), DataLoader(data)))
    assert more.fingerprint == images.fingerprint and '2 parts' in more.notes[0]
    assert list(load(DataLoaders(DataLoader(data))).splits) == ['train', 'valid']

def test_our_own_loaders_can_be_read(digits):
    from fastrecipes.data.loaders import dataloaders
    images = load(dataloaders(digits, device='cpu'))
    assert images.fingerprint == digits.fingerprint


# Hugging Face

def hugging_face(x, names=('ant', 'bee', 'cat', 'dog'), labels=LABELS, **more):
    datasets = pytest.importorskip('datasets')
    features = datasets.Features(dict(
        image=datasets.Image(), label=datasets.ClassLabel(names=list(names)),
        **{k: datasets.Value('string') for k in more}))
    columns = dict(image=[Image.fromarray(im) for im in x], label=[int(l) for l in labels], **more)
    return datasets.Dataset.from_dict(columns, features=features)

class Image_: pass
Image_.__name__ = 'Image'

class ClassLabel: names = ['ant', 'bee', 'cat', 'dog']

class HuggingFace(Items):
    "What is read of a `Dataset`, for those who do not have the library"
    column_names = ['id', 'picture', 'kind']
    features = dict(id=object(), picture=Image_(), kind=ClassLabel())
    def __init__(self, images, labels, ids=range(40)):
        super().__init__(images, labels)
        self.ids = ids
    def __getitem__(self, i): return dict(id=self.ids[i], picture=self.images[i], kind=self.labels[i])

def test_columns_of_hugging_face_are_known_by_their_kind_without_the_library():
    data = HuggingFace([Image.fromarray(x) for x in GREY], LABELS.tolist())
    images = load(dict(train=data, validation=HuggingFace(data.images, data.labels)))
    assert images.classes == ('ant', 'bee', 'cat', 'dog') and [len(s) for s in images.splits.values()] == [40, 40]
    assert torch.equal(images.valid.images[:, 0], torch.tensor(GREY)) and "'id'" in images.notes[0]
    assert load(data, groups='id').train.groups is not None
    with refused("'pictur'", "did you mean 'picture'?"): load(data, image_column='pictur')

def test_a_data_set_of_hugging_face_is_known_by_its_features():
    images = load(hugging_face(GREY, site=[f's{i // 4}' for i in range(40)]))
    assert images.classes == ('ant', 'bee', 'cat', 'dog') and images.shape == (1, 6, 5)
    assert sorted(b for b, _ in whole(images)) == sorted(b for b, _ in EXPECTED_GREY)
    assert "'site'" in images.notes[0]
    groups = load(hugging_face(GREY, site=[f's{i // 4}' for i in range(40)]), groups='site')
    assert not set(groups.train.groups) & set(groups.valid.groups)
    with refused("'sit'", "did you mean 'site'?"): load(hugging_face(GREY, site=['s'] * 40), groups='sit')

def test_a_dictionary_of_hugging_face_has_its_splits():
    datasets = pytest.importorskip('datasets')
    parts = {n: hugging_face(RGB[i::3], labels=LABELS[i::3]) for i, n in enumerate(('train', 'validation', 'test'))}
    images = load(datasets.DatasetDict(parts))
    assert [len(s) for s in images.splits.values()] == [14, 13, 13] and images.shape == (3, 6, 5)
    unknown = hugging_face(RGB[:4], labels=[-1] * 4)
    images = load(datasets.DatasetDict(train=parts['train'], test=unknown))
    assert list(images.splits) == ['train', 'valid'] and any('-1' in n for n in images.notes)
    assert [len(s) for s in load((parts['train'], parts['validation'])).splits.values()] == [14, 13]

def test_data_sets_of_hugging_face_that_cannot_serve_are_refused():
    datasets = pytest.importorskip('datasets')
    one = hugging_face(GREY)
    with refused('length'): load(one.to_iterable_dataset())
    two = one.add_column('label2', LABELS.tolist()).cast_column('label2', datasets.ClassLabel(num_classes=4))
    with refused('which column', "label2", 'label_column='): load(two)
    assert load(two, label_column='label2').classes == ('0', '1', '2', '3')
    with refused('which column', 'images'): load(one.remove_columns('image'))
    several = one.remove_columns('label').add_column('label', [[0, 1]] * 40)
    with refused('2 labels for one image'): load(several)


# What may be misread

@pytest.mark.parametrize('top', [1, 7, 16, 17, 255])
@pytest.mark.parametrize('kind', ['array', 'int64', 'tensor', 'data set', 'two splits'])
def test_whole_numbers_of_a_small_range_are_scaled_and_said(top, kind):
    x = np.minimum(GREY, top).astype(np.uint8)
    dark = np.minimum(x[:8], 1).astype(np.uint8) # Says nothing about the range of the set
    data = {'array': (x, LABELS), 'int64': (x.astype(np.int64), LABELS), 'tensor': (torch.tensor(x), LABELS),
            'data set': Items(list(torch.tensor(x)), LABELS), 'two splits': ((x, LABELS), (dark, LABELS[:8]))}[kind]
    factor = 1 if top > 16 else 255 / (1 if top == 1 else 16)
    images = load(data)
    found = sum((s.images.sum().item() for s in images.splits.values()))
    wanted = (x * factor).round().sum() + (0 if kind != 'two splits' else (dark * factor).round().sum())
    assert found == wanted and (len(images.notes) == 1) == (top <= 16)

def test_floats_and_pillow_images_keep_their_range():
    x = np.minimum(GREY, 1).astype(np.uint8)
    for data in ((x / 255, LABELS), Items([Image.fromarray(im) for im in x], LABELS)):
        images = load(data)
        assert max(s.images.max().item() for s in images.splits.values()) == 1 and images.notes == ()
    from sklearn.datasets import load_digits
    raw = load_digits()
    with refused('from 0 to 16', 'floats from 0 to 1'): load((raw.images, raw.target))
    assert load((raw.images.astype(np.uint8), raw.target)).fingerprint == load(raw).fingerprint

def test_a_label_of_minus_one_is_no_class_unless_it_is_one_of_two():
    some = np.where(np.arange(40) < 3, -1, LABELS)
    for data in ((GREY, some), Items(list(GREY), some)):
        with refused('3 images', 'train', '-1'): load(data)
    with refused('3 images', '-1'): load((GREY, some), classes=['ant', 'bee', 'cat', 'dog'])
    named = Items(list(GREY), some)
    named.classes = ['ant', 'bee', 'cat', 'dog']
    with refused('3 images', '-1'): load(named)
    with refused('8 images', 'valid', '-1'): load(((GREY, LABELS), (GREY[:8].copy(), np.full(8, -1))))
    assert sum(map(len, load((GREY, some), classes='0,1,2,3').splits.values())) == 37
    assert set(load((GREY, LABELS % 2 * 2 - 1)).classes) == {'-1', '1'}

def named_items(labels, *classes):
    data = Items(list(GREY[:len(labels)]), labels)
    if classes: data.classes = list(classes)
    return data

def test_joined_data_sets_have_their_classes_by_name():
    first, second = named_items([0, 1] * 5, 'cat', 'dog'), named_items([0, 1] * 4, 'bird', 'cat')
    both = ConcatDataset([first, second])
    images = load(both)
    assert images.classes == ('cat', 'dog', 'bird')
    assert images.counts().sum(axis=1).to_dict() == dict(cat=9, dog=5, bird=4) and len(images.notes) == 1
    parts = load((Subset(both, [*range(8), *range(10, 16)]), Subset(both, [8, 9, 16, 17])))
    assert parts.counts().to_dict('index') == {
        'cat': dict(train=7, valid=2), 'dog': dict(train=4, valid=1), 'bird': dict(train=3, valid=1)}

def test_joined_data_sets_with_and_without_names_are_refused_and_copies_are_found():
    plain = ConcatDataset([named_items([0, 1] * 5), named_items([0, 2] * 5)])
    assert load(plain).classes == ('0', '1', '2') and load(plain).notes == ()
    with refused('ConcatDataset', 'class names'): load(ConcatDataset([plain, named_items([0, 1] * 4, 'bird', 'cat')]))
    one = named_items([0, 1] * 5, 'cat', 'dog')
    with refused('image 0', 'train', 'valid'): load((ConcatDataset([one, named_items([0, 1], 'cat', 'dog')]), one))
    with refused('more than once'): load(ConcatDataset([one, one]))

def test_joined_image_folders_are_read_as_files(image_folder):
    from torchvision.datasets import ImageFolder
    first, second = (image_folder(counts, name=name) for name, counts in (
        ('first', {'cat': 4, 'dog': 4}), ('second', {'bird': 4, 'cat': 4})))
    both = ConcatDataset([ImageFolder(first), ImageFolder(second)])
    images = load(both)
    total = images.counts().sum(axis=1).to_dict()
    assert total == dict(bird=4, cat=8, dog=4) and images.valid.names is not None
    next((second/'bird').iterdir()).write_text('x')
    with refused('1 unreadable'): load(both)
    assert sum(map(len, load(both, skip_bad=True).splits.values())) == 15

@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('top', [16, 255])
def test_floats_that_are_whole_numbers_are_bytes(dtype, top):
    x = np.random.default_rng(0).integers(0, top + 1, (20, 8, 8)).astype(np.uint8)
    x[0, 0, 0] = top
    y = np.arange(20) % 2
    whole, floats = load((x, y)), load((x.astype(dtype), y))
    assert torch.equal(whole.train.images, floats.train.images) and floats.notes == whole.notes
    assert floats.train.images.max() > 200
    with refused('normalised'): load((x.astype(dtype) * .9, y))
