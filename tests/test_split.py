"A split that indexes a mapped file behaves as in memory: every way to select from it, and every rung of the ladder"
import json, subprocess, sys
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from fastrecipes.data import images as images_room
from fastrecipes.data.images import Split
from fastrecipes.data.loaders import channel_stats, dataloaders
from fastrecipes.data.sources import load
from fastrecipes.ladder.recipe import fit
from fastrecipes.lessons.similarity import mean_images
from made import UNTRAINED


@pytest.fixture(scope='module')
def pixels(tmp_path_factory):
    "1,000 images in a mapped file, and the same in memory"
    path = tmp_path_factory.mktemp('stored')/'images.npy'
    np.save(path, np.random.default_rng(0).integers(0, 256, (1000, 1, 6, 5)).astype(np.uint8))
    return torch.from_numpy(np.load(path, mmap_mode='c')), torch.from_numpy(np.load(path))

@pytest.fixture
def indexed(monkeypatch):
    "No part of a split is copied"
    monkeypatch.setattr(images_room, '_small', 0)

def labels_of(x): return x.flatten(1).long().sum(1)

def both(pixels, choices):
    "A split of the mapped images and the tensor that its images are"
    mapped, x = pixels
    split = Split(mapped, labels_of(mapped), range(len(mapped)))
    names = torch.arange(len(x))
    for which in choices:
        split, x, names = split.take(which), x[which], names[which]
    assert list(split.names) == names.tolist()
    return split, x


CHOICES = {
    'all': (),
    'every third': (torch.arange(0, 1000, 3),),
    'mask': (torch.arange(1000) % 7 > 2,),
    'mask of positions': (torch.arange(100, 900), torch.arange(800) % 2 == 1, torch.arange(5, 300)),
    'backwards': (torch.arange(1000).flip(0), torch.arange(10)),
    'a list': ([5, 900, 5],),
    'none': (torch.arange(0),),
}

@pytest.mark.parametrize('small', [0, 2**26], ids=['indexed', 'copied'])
@pytest.mark.parametrize('choices', CHOICES.values(), ids=CHOICES)
def test_a_part_of_a_split_is_that_part_of_the_tensor(pixels, monkeypatch, small, choices):
    monkeypatch.setattr(images_room, '_small', small)
    split, x = both(pixels, choices)
    assert (split.index is None) == (small > 0 or not choices or not len(x))
    assert len(split) == len(x) and split.shape == tuple(x.shape) and torch.equal(split.images, x)
    assert torch.equal(split.labels, labels_of(x)) and torch.equal(torch.cat(list(split.batches(64))), x)
    if not len(x): return
    rows = torch.randint(0, len(x), (50,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(split.batch(rows), x[rows]) and torch.equal(split[rows][0], x[rows])
    assert torch.equal(split[len(x) - 1][0], x[-1]) and torch.equal(split[:2][0], x[:2])

@settings(max_examples=60)
@given(st.data())
def test_batches_come_in_the_order_that_was_asked_for(pixels, data):
    n, bs = data.draw(st.integers(1, 1000)), data.draw(st.integers(1, 300))
    with pytest.MonkeyPatch.context() as m:
        m.setattr(images_room, '_small', 0)
        split, x = both(pixels, [torch.randperm(1000, generator=torch.Generator().manual_seed(n))[:n]])
    order = torch.randperm(n, generator=torch.Generator().manual_seed(bs))
    got = [split.batch(rows) for rows in order.split(bs)]
    assert [len(b) for b in got] == [len(b) for b in order.split(bs)] and torch.equal(torch.cat(got), x[order])

def test_a_part_shares_the_memory_of_the_whole(pixels, indexed):
    split, _ = both(pixels, [torch.arange(1000) % 3 > 0, torch.arange(600)])
    assert split.stored.data_ptr() == pixels[0].data_ptr() and split.to('cpu').stored.data_ptr() == pixels[0].data_ptr()
    moved = split.to('meta')
    assert moved.stored.device == moved.labels.device == torch.device('meta') and moved.shape == split.shape

@pytest.mark.parametrize('position', [1000, -1001, torch.tensor([3, 1000])], ids=str)
def test_a_position_that_is_not_there_is_an_error(pixels, position):
    with pytest.raises(IndexError): both(pixels, ())[0][position]

def test_numbers_of_indexed_images_are_those_of_images_in_memory(pixels, indexed):
    split, x = both(pixels, [torch.arange(1000) % 3 > 0])
    y = torch.arange(len(x)) % 2
    assert channel_stats(split) == channel_stats(x)
    assert torch.equal(mean_images(Split(split.stored, y, index=split.index), 2), mean_images(Split(x, y), 2))


@pytest.fixture(scope='module')
def folder(tmp_path_factory, digits):
    "Three of the digits as a folder of PNGs"
    at = tmp_path_factory.mktemp('digits')
    for c in digits.classes[:3]:
        (at/c).mkdir()
        for i, x in enumerate(digits.train.images[digits.train.labels == int(c)]):
            Image.fromarray(x[0].numpy()).save(at/c/f'{i}.png')
    return at

@pytest.mark.parametrize('valid', [None, .4])
def test_an_indexed_set_is_the_same_set(folder, monkeypatch, valid):
    copied = load(folder, valid=valid)
    monkeypatch.setattr(images_room, '_small', 0)
    indexed = load(folder, valid=valid)
    assert copied.train.index is None and indexed.train.index is not None and indexed.valid.index is not None
    assert indexed.fingerprint == copied.fingerprint
    assert indexed.valid.names == copied.valid.names and repr(indexed) == repr(copied)
    for change in (dict(classes='0,2'), dict(size='4x5', channels=3)):
        assert load(indexed, **change).fingerprint == load(copied, **change).fingerprint
    drawn = [[[a.get_array().tolist() for a in ax.images] for ax in s.show().axes] for s in (indexed, copied)]
    assert drawn[0] == drawn[1]
    for a, b in zip(*(dataloaders(s, 32, device='cpu', shuffle=False) for s in (indexed, copied)), strict=True):
        got, want = list(a), list(b)
        assert len(got) == len(want) > 0
        assert all(torch.equal(p, q) for g, w in zip(got, want) for p, q in zip(g, w, strict=True))

@pytest.mark.parametrize('recipe', ['majority', 'similarity', 'sgd', 'linear', 'mlp'])
def test_a_rung_learns_the_same_from_an_indexed_set_to_the_last_bit_without_copying_it(folder, monkeypatch, recipe):
    settings = {} if recipe in UNTRAINED else dict(epochs=2, bs=16)
    copied = fit(recipe, load(folder), device='cpu', **settings)
    monkeypatch.setattr(images_room, '_small', 0)
    monkeypatch.setattr(Split, 'images', property(lambda self: pytest.fail('all images were copied')))
    indexed = fit(recipe, load(folder), device='cpu', **settings)
    assert torch.equal(copied.scores, indexed.scores)
    assert all(torch.equal(a, b)
               for a, b in zip(copied.model.state_dict().values(), indexed.model.state_dict().values()))


SWEEP = """import json, sys
import numpy as np, torch
from fastrecipes.data import images as images_room
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.data.loaders import channel_stats, dataloaders
from fastrecipes.ladder.recipe import fit
from fastrecipes.lessons.similarity import mean_images

def anonymous(): return int(next(l for l in open('/proc/self/status') if l.startswith('RssAnon')).split()[1]) >> 10

fit('sgd', 'digits', epochs=1, device='cpu') # What every run loads
images_room._small = 2**23
before, most = anonymous(), 0
mapped = torch.from_numpy(np.load(sys.argv[1], mmap_mode='c'))
whole = Split(mapped, torch.arange(len(mapped)) % 2)
aside = torch.arange(len(mapped)) % 5 == 0
images = ImageSet('sparse', ('a', 'b'), whole.take(~aside), whole.take(aside))
channel_stats(images.train), mean_images(images.train, 2), images.fingerprint
seen = 0
for x, _ in dataloaders(images, 4096, device='cpu').train:
    seen += len(x)
    most = max(most, anonymous())
print(json.dumps([seen, mapped.nbytes >> 20, most - before]))"""

@pytest.mark.skipif(sys.platform != 'linux', reason="a process's anonymous memory is read from /proc")
@pytest.mark.slow
def test_a_set_is_swept_and_shuffled_in_a_fraction_of_its_memory(tmp_path):
    from numpy.lib.format import write_array_header_1_0
    n = 300_000
    with open(tmp_path/'images.npy', 'wb') as f:
        write_array_header_1_0(f, dict(descr='|u1', fortran_order=False, shape=(n, 1, 32, 32)))
        f.truncate(f.tell() + n * 1024)
    out = subprocess.run([sys.executable, '-c', SWEEP, str(tmp_path/'images.npy')], capture_output=True, text=True,
                         check=True).stdout
    seen, whole, grown = json.loads(out.splitlines()[-1])
    assert seen == n * 4 // 5 and whole == 292 and grown < whole / 2, grown
