"""Folders of photos: `python bench/photos.py [NAME...] [--photos 200] [--turns 5] [--width 4032]`

`cold`: a folder of 12-megapixel photos to an image set with an empty cache, in turns with fastai: one epoch of
loading through `ImageDataLoaders.from_folder`. `again`: the same folder to the first batch, with the cache that the
first run has left. `similarity`: predicting 1,000 images of 320x320 in 16 classes, in turns with the plain broadcast.
`phone`: the command `fastrecipes compare` on 24 photos of a phone, up to its table. All but `similarity` run in fresh
processes; the imports count for `phone` only. The photos are made from the two sample photos of scikit-learn before
anything is timed, and need 1.5 GB of disk.

Each number is the median of the turns. Without names everything is measured; with names only those are, and the other
rows stay. Writes photos.json and the table in README.md, both beside this file, and exits with 1 where a bound is
missed. With fewer or smaller photos or fewer turns, the rows are only printed."""
import argparse, json, os, platform, statistics, subprocess, sys, tempfile, time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
import numpy as np
from PIL import Image
import tables

RUNGS = 'similarity,sgd,linear,simple_net,mlp,convnet'
LEAST_TURNS = 5
MOST_GB = 1.5 # Resident memory of `compare phone`


def sample_photos() -> dict: # Name to image
    from sklearn.datasets import load_sample_images
    china, flower = map(Image.fromarray, load_sample_images().images)
    photos = dict(china=china, flower=flower)
    turned = {f'{name}_turned': photo.transpose(Image.Transpose.ROTATE_180) for name, photo in photos.items()}
    return photos | turned

def enlarged(photo:Image.Image, noise:np.ndarray, rng:np.random.Generator) -> Image.Image:
    "A random part of `photo`, as large as `noise`, which is added at a random offset"
    height, width, _ = noise.shape
    w = int(rng.uniform(.8, .88) * photo.width)
    h = w * height // width
    left, top = rng.integers(photo.width - w + 1), rng.integers(photo.height - h + 1)
    large = photo.resize((width, height), Image.Resampling.BICUBIC, box=(left, top, left + w, top + h))
    grain = np.roll(noise, (rng.integers(height), rng.integers(width)), (0, 1))
    return Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8))

def make_photos(folder:Path, n:int, width:int):
    "Write `n` JPEGs, one class after the other, into subfolders"
    samples = sample_photos()
    noise = np.random.default_rng(0).normal(0, 6, (width * 3 // 4, width, 3)).astype(np.int16)
    def make(i):
        rng = np.random.default_rng(i)
        name = list(samples)[i % len(samples)]
        photo = enlarged(samples[name], noise, rng)
        photo.save(folder/name/f'IMG_{i:04}.jpg', quality=int(rng.integers(85, 91)))
    for name in samples: (folder/name).mkdir(parents=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool: list(pool.map(make, range(n)))

def make_phone(folder:Path, width:int):
    "Three classes of eight photos, two of three in landscape format"
    rng = np.random.default_rng(0)
    for name, colour in dict(beach=(210, 190, 140), city=(120, 120, 130), forest=(60, 120, 50)).items():
        (folder/name).mkdir(parents=True)
        for i in range(8):
            long, short = width, width * 3 // 4
            w, h = (long, short) if i % 3 else (short, long)
            x = np.clip(rng.normal(0, 40, (h // 32, w // 32, 3)) + colour, 0, 255).astype(np.uint8)
            large = Image.fromarray(x).resize((w, h), Image.Resampling.BICUBIC)
            large.save(folder/name/f'IMG_{i:04}.jpg', quality=85)


class Setup:
    "How much is measured, and a folder for the photos"
    def __init__(self, place:Path, photos:int, turns:int, width:int):
        self.place, self.photos, self.turns, self.width = place, photos, turns, width

    @cached_property
    def folder(self) -> Path:
        "The photos, made when they are first needed"
        folder = self.place/'photos'
        make_photos(folder, self.photos, self.width)
        return folder

    @cached_property
    def phone(self) -> Path:
        make_phone(self.place/'phone', self.width)
        return self.place/'phone'


FASTAI_EPOCH = """import sys, time, warnings
warnings.simplefilter('ignore')
from fastai.vision.all import ImageDataLoaders, Resize
start = time.perf_counter()
dls = ImageDataLoaders.from_folder(sys.argv[1], valid_pct=.2, item_tfms=Resize(128), drop_last=False)
seen = sum(len(y) for dl in dls for x, y in dl)
print(time.perf_counter() - start, seen)"""

OUR_IMAGE_SET = """import sys, time, warnings
warnings.simplefilter('ignore')
import fastrecipes.data.loaders # So that no import counts
from fastrecipes.data.sources import load
start = time.perf_counter()
images = load(sys.argv[1])
print(time.perf_counter() - start, len(images.train) + len(images.valid))"""

OUR_FIRST_BATCH = """import sys, time, warnings
warnings.simplefilter('ignore')
from fastrecipes.data.sources import load
from fastrecipes.data.loaders import dataloaders
start = time.perf_counter()
x, y = dataloaders(load(sys.argv[1]), device='cpu').train.one_batch()
print(time.perf_counter() - start, len(y))"""

def seconds(code:str, folder:Path, cache:Path) -> float:
    "What a fresh process measures"
    env = os.environ | {'FASTRECIPES_CACHE': str(cache)}
    done = subprocess.run([sys.executable, '-c', code, folder], capture_output=True, text=True, check=True, env=env)
    spent, images = done.stdout.split()[-2:]
    if code != OUR_FIRST_BATCH and int(images) != sum(1 for _ in folder.rglob('*.jpg')):
        sys.exit(f'{images} images were read, not all')
    return float(spent)

def summary(against:list, ours:list) -> dict:
    "Medians, and the ratio turn by turn"
    found = dict(ours_s=statistics.median(ours), ours_range=[min(ours), max(ours)], turns=len(ours))
    if not against: return found
    each = [a / b for a, b in zip(against, ours)]
    return found | dict(
        against_s=statistics.median(against), ratio=statistics.median(each), ratio_range=[min(each), max(each)])


def cold(setup:Setup) -> dict:
    theirs, ours = [], []
    for _ in range(setup.turns):
        with tempfile.TemporaryDirectory(dir=setup.place) as cache:
            theirs.append(seconds(FASTAI_EPOCH, setup.folder, cache))
            ours.append(seconds(OUR_IMAGE_SET, setup.folder, cache))
    return summary(theirs, ours)

def again(setup:Setup) -> dict:
    with tempfile.TemporaryDirectory(dir=setup.place) as cache:
        seconds(OUR_IMAGE_SET, setup.folder, cache)
        return summary([], [seconds(OUR_FIRST_BATCH, setup.folder, cache) for _ in range(setup.turns)])


def pictures(n:int, classes:int, side:int):
    "Noisy copies of one random picture per class: a `Split`"
    import torch
    from fastrecipes.data.images import Split
    gen = torch.Generator().manual_seed(0)
    coarse = torch.rand(classes, 3, 8, 8, generator=gen)
    bases = torch.nn.functional.interpolate(coarse, size=side, mode='bilinear') * 200
    labels = torch.arange(n) % classes
    images = torch.empty(n, 3, side, side, dtype=torch.uint8)
    for i, label in enumerate(labels):
        images[i] = bases[label] + torch.randint(0, 56, (3, side, side), generator=gen)
    return Split(images, labels)

def broadcast_model(means):
    "The nearest mean by a broadcast in chunks of 64 MB, as in version 0.1"
    import torch
    from fastrecipes.lessons.similarity import l2_distance
    class Broadcast(torch.nn.Module):
        def forward(self, x):
            chunk = max(1, 2**26 // (means.numel() * means.element_size()))
            return -torch.cat([l2_distance(some[:, None], means) for some in x.split(chunk)])
    return Broadcast()

def similarity(setup:Setup) -> dict:
    import fastrecipes # noqa: F401 - before torch and fastai: without their warnings
    import torch
    from fastrecipes.ladder.fitted import predict_scores
    from fastrecipes.lessons.similarity import mean_images, NearestMean
    split = pictures(max(16, 5 * setup.photos), 16, 320)
    means = mean_images(split, 16)
    plain, ours = [], []
    models = (broadcast_model(means), plain), (NearestMean(means), ours)
    for _ in range(setup.turns):
        scores = []
        for model, spent in models:
            predict_scores(model, split.images[:13]) # To warm up
            start = time.perf_counter()
            scores.append(predict_scores(model, split))
            spent.append(time.perf_counter() - start)
        if not torch.equal(scores[0].argmax(1), scores[1].argmax(1)): sys.exit('the predictions differ')
    return summary(plain, ours) | dict(images=len(split), threads=torch.get_num_threads())


MEMORY = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
""" # A process starts with the peak of the one that started it, so a small one starts the command

def command(args:list, cwd:Path, cache:str) -> tuple: # Seconds, and the most resident memory in GB
    "Run a command of fastrecipes in a fresh process"
    start = time.perf_counter()
    r = subprocess.run(
        [sys.executable, '-c', MEMORY, sys.executable, '-m', 'fastrecipes', *args], cwd=cwd,
        env=os.environ | {'FASTRECIPES_CACHE': cache}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    spent = time.perf_counter() - start
    if r.returncode: sys.exit(f"fastrecipes {' '.join(args)}: status {r.returncode}\n{r.stdout}")
    in_bytes = int(r.stdout.split()[-1]) * (1 if sys.platform == 'darwin' else 1024)
    return spent, in_bytes / 1024**3

def phone(setup:Setup) -> dict:
    spent, most = [], []
    for _ in range(setup.turns):
        with tempfile.TemporaryDirectory(dir=setup.place) as cache:
            of_time, of_memory = command(['compare', setup.phone.name, '-r', RUNGS], setup.phone.parent, cache)
        spent.append(of_time)
        most.append(of_memory)
    return summary([], spent) | dict(peak_memory_gb=max(most))


class Item(NamedTuple):
    "A row of the table"
    what: str
    measure: Callable
    must: float # Seconds, or a ratio where `is_ratio`
    aim: float|None
    is_ratio: bool = False

ITEMS = dict(
    cold=Item('200 photos of 12 megapixels, cold, to the image set; against one epoch of loading by fastai',
              cold, 5, 8, is_ratio=True),
    again=Item('the same folder again: to the first batch, imports excluded', again, .2, None),
    similarity=Item('`similarity`: predicting 1,000 images of 320x320 in 16 classes; against the plain broadcast',
                    similarity, .5, .2),
    phone=Item('24 photos of a phone: the ladder to `convnet`, command to table', phone, 60, 30),
)

def seconds_text(s:float) -> str: return f'{1000 * s:.3g} ms' if s < 1 else f'{s:.3g} s'

def line(name:str, found:dict) -> tuple:
    "The cells of a row of the table, and whether its bounds are met"
    item = ITEMS[name]
    here = seconds_text(found['ours_s'])
    met = found['ratio'] >= item.must if item.is_ratio else found['ours_s'] < item.must
    must, aim = (f'{item.must}x', f'{item.aim}x') if item.is_ratio else (f'under {item.must} s', f'{item.aim} s')
    if name == 'phone':
        here += f", {found['peak_memory_gb']:.2f} GB"
        must += f', {MOST_GB} GB'
        met = met and found['peak_memory_gb'] < MOST_GB
    against = ratio = ''
    if 'ratio' in found:
        against = seconds_text(found['against_s'])
        ratio = tables.spread(found['ratio'], found['ratio_range'], unit='x')
    return (item.what, against, here, ratio, must, aim if item.aim else ''), met

def machine() -> dict:
    import torch
    return dict(machine=platform.machine(), cores=os.cpu_count(), threads=torch.get_num_threads(),
                python=platform.python_version(), torch=torch.__version__)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', metavar='NAME', help=', '.join(ITEMS))
    parser.add_argument('--photos', type=int, default=200, help='in the folder; similarity predicts five times as many')
    parser.add_argument('--turns', type=int, default=LEAST_TURNS)
    parser.add_argument('--width', type=int, default=4032, help='of the photos; the height is three quarters of it')
    args = parser.parse_args()
    if unknown := set(args.names) - set(ITEMS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(ITEMS)}")
    return args

def write(results:dict):
    "photos.json and the table"
    Path(__file__).with_suffix('.json').write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    columns = ['what', 'against', 'here', 'ratio (range)', 'must', 'aim']
    tables.put('photos', columns, [line(name, results[name])[0] for name in ITEMS if name in results])

def main():
    args = arguments()
    file = Path(__file__).with_suffix('.json')
    results = json.loads(file.read_text(encoding='utf-8')) if file.exists() else {}
    missed = []
    with tempfile.TemporaryDirectory() as place:
        setup = Setup(Path(place), args.photos, args.turns, args.width)
        for name in args.names or ITEMS:
            results[name] = ITEMS[name].measure(setup) | dict(machine=machine())
            row, met = line(name, results[name])
            print(*row, '' if met else 'MISSED', sep=' | ', flush=True)
            if not met: missed.append(name)
    is_full = args.photos == 200 and args.width == 4032 and args.turns >= LEAST_TURNS
    if is_full: write({name: results[name] for name in ITEMS if name in results})
    sys.exit(1 if missed else 0)


if __name__ == '__main__': main()
