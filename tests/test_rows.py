"Images on the disk are what they would be in memory: every way of choosing them, and every rung of the ladder"
import json, subprocess, sys
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from fastrecipes.data import sources as lib
from fastrecipes.data import images as images_room
from fastrecipes.data.images import Rows
from fastrecipes.data.sources import load
from fastrecipes.data.loaders import channel_stats, dataloaders
from fastrecipes.ladder.recipe import fit
from fastrecipes.lessons.similarity import mean_images


@pytest.fixture(scope='module')
def stored(tmp_path_factory):
    "1,000 images in a mapped file, and the same in memory"
    path = tmp_path_factory.mktemp('rows')/'images.npy'
    np.save(path, np.random.default_rng(0).integers(0, 256, (1000, 1, 6, 5)).astype(np.uint8))
    return np.load(path, mmap_mode='c'), torch.from_numpy(np.load(path))

@pytest.fixture(params=[2**26, 7000, 40], ids='wide narrow tiny'.split())
def window(request, monkeypatch): monkeypatch.setattr(images_room, '_window', request.param)

def both(stored, which):
    rows, x = Rows(stored[0]), stored[1]
    for w in which: rows, x = rows.take(w), x[w]
    return rows, x


CHOICES = [(), (slice(100, 900),), (torch.arange(0, 1000, 3),), (torch.arange(1000) % 7 > 2,), (slice(100, 900), torch.arange(800) % 2 == 1, slice(5, 300)), (torch.arange(1000).flip(0), slice(0, 10)), (slice(0, 0),)]

@pytest.mark.parametrize('which', CHOICES, ids='all stretch positions mask mask-of-stretch backwards none'.split())
def test_a_choice_of_rows_is_that_choice_of_the_tensor(stored, window, which):
    rows, x = both(stored, which)
    assert len(rows) == len(x) and tuple(rows.shape) == tuple(x.shape) and (rows.dtype, rows.ndim, rows.device) == (x.dtype, x.ndim, x.device)
    assert torch.equal(rows[:], x) and torch.equal(rows[3:20:2], x[3:20:2]) and torch.equal(rows[:0], x[:0])
    parts = list(rows.split(64))
    assert [len(p) for p in parts] == [len(p) for p in x.split(64) if len(p)] and (not parts or torch.equal(torch.cat(parts), x))
    if len(x):
        i = torch.randint(0, len(x), (50,), generator=torch.Generator().manual_seed(0))
        assert torch.equal(rows[i], x[i]) and torch.equal(rows.index_select(0, i), x[i]) and torch.equal(rows[i.numpy()], x[i]) and torch.equal(rows[len(x) - 1], x[-1]) and torch.equal(rows[-1], x[-1])
        assert torch.equal(rows[x[:, 0, 0, 0] > 99], x[x[:, 0, 0, 0] > 99]) and torch.equal(torch.stack(list(rows)), x) and torch.equal(rows.to('cpu')[:], x)

@settings(max_examples=60)
@given(st.data())
def test_batches_come_in_the_order_that_was_asked_for(stored, data):
    n, bs = data.draw(st.integers(1, 1000)), data.draw(st.integers(1, 300))
    rows, x = both(stored, [torch.randperm(1000, generator=torch.Generator().manual_seed(n))[:n].sort().values])
    order = torch.randperm(n, generator=torch.Generator().manual_seed(bs))
    with pytest.MonkeyPatch.context() as m:
        m.setattr(images_room, '_window', data.draw(st.sampled_from([40, 3000, 2**26])))
        got = list(rows.batches(order, bs))
    assert [len(b) for b in got] == [len(b) for b in order.split(bs)] and torch.equal(torch.cat(got), x[order])

def test_whoever_asks_for_what_is_not_there_or_for_parts_of_images_is_told(stored):
    rows = Rows(stored[0]).take(slice(0, 10))
    for i in (10, -11, torch.tensor([3, 10])):
        with pytest.raises(IndexError): rows[i]
    with pytest.raises(TypeError, match='chosen whole'): rows[:, 0]

def test_figures_of_images_on_the_disk_are_those_of_images_in_memory(stored):
    rows, x = both(stored, [torch.arange(1000) % 3 > 0])
    y = torch.arange(len(x)) % 2
    assert channel_stats(rows) == channel_stats(x) and torch.equal(mean_images(images_room.Split(rows, y), 2), mean_images(images_room.Split(x, y), 2))


@pytest.fixture(scope='module')
def folder(tmp_path_factory, digits):
    "The digits as a folder of PNGs"
    from PIL import Image
    at = tmp_path_factory.mktemp('digits')
    for c in digits.classes[:3]:
        (at/c).mkdir()
        for i, x in enumerate(digits.train.images[digits.train.labels == int(c)]): Image.fromarray(x[0].numpy()).save(at/c/f'{i}.png')
    return at

@pytest.mark.parametrize('valid', [None, .4])
def test_a_folder_that_stays_on_the_disk_is_the_same_set(folder, monkeypatch, valid):
    here = load(folder, valid=valid)
    monkeypatch.setattr(images_room, '_in_memory', 0)
    there = load(folder, valid=valid)
    assert isinstance(there.train.images, Rows) and isinstance(there.valid.images, Rows) and isinstance(here.train.images, torch.Tensor)
    assert there.fingerprint == here.fingerprint and there.valid.names == here.valid.names and repr(there) == repr(here)
    assert load(there, classes='0,2').fingerprint == load(here, classes='0,2').fingerprint and load(there, size='4x5', channels=3).fingerprint == load(here, size='4x5', channels=3).fingerprint
    assert [[a.get_array().tolist() for a in ax.images] for ax in there.show().axes] == [[a.get_array().tolist() for a in ax.images] for ax in here.show().axes]
    for a, b in zip(*(dataloaders(images, 32, device='cpu', shuffle=False) for images in (there, here)), strict=True):
        got, want = list(a), list(b)
        assert len(got) == len(want) > 0 and all(torch.equal(p, q) for g, w in zip(got, want) for p, q in zip(g, w, strict=True))

@pytest.mark.parametrize('recipe', ['similarity', 'sgd', 'linear', 'mlp'])
def test_a_rung_learns_the_same_from_the_disk_to_the_last_bit(folder, monkeypatch, recipe):
    settings = {} if recipe == 'similarity' else dict(epochs=2, bs=16)
    here = fit(recipe, load(folder), device='cpu', **settings)
    monkeypatch.setattr(images_room, '_in_memory', 0)
    monkeypatch.setattr(images_room, '_window', 5000)
    there = fit(recipe, load(folder), device='cpu', **settings)
    assert all(torch.equal(a, b) for a, b in zip(here.model.state_dict().values(), there.model.state_dict().values())) and torch.equal(here.scores, there.scores)


SWEEP = """import json, resource, sys
import numpy as np, torch
from fastrecipes.data import sources as lib
from fastrecipes.data.images import ImageSet, Rows, Split
from fastrecipes.data.loaders import channel_stats, dataloaders
from fastrecipes.ladder.recipe import fit
from fastrecipes.lessons.similarity import mean_images
def peak(): return int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) >> 10
mapped = np.load(sys.argv[1], mmap_mode='c')
fit('sgd', 'digits', epochs=1, device='cpu') # What every run loads
images_room._window = 2**23
before = peak()
rows = Rows(mapped)
aside = torch.arange(len(rows)) % 5 == 0
y = torch.arange(len(rows)) % 2
images = ImageSet('sparse', ('a', 'b'), Split(rows.take(~aside), y[~aside]), Split(rows.take(aside), y[aside]))
channel_stats(images.train.images), mean_images(images.train, 2), images.fingerprint
n = sum(len(x) for x, _ in dataloaders(images, 4096, device='cpu').train)
print(json.dumps([n, mapped.nbytes >> 20, peak() - before]))"""

@pytest.mark.skipif(sys.platform != 'linux', reason="the system's peak memory is read from /proc")
@pytest.mark.slow
def test_a_set_is_swept_and_shuffled_in_a_fraction_of_its_memory(tmp_path):
    from numpy.lib.format import write_array_header_1_0
    n = 300_000
    with open(tmp_path/'images.npy', 'wb') as f:
        write_array_header_1_0(f, dict(descr='|u1', fortran_order=False, shape=(n, 1, 32, 32)))
        f.truncate(f.tell() + n * 1024)
    out = subprocess.run([sys.executable, '-c', SWEEP, str(tmp_path/'images.npy')], capture_output=True, text=True, check=True).stdout
    seen, whole, grown = json.loads(out.splitlines()[-1])
    assert seen == n * 4 // 5 and whole == 292 and grown < whole / 2, grown
