"""Reading a folder of PNGs, the 14,434 of MNIST_SAMPLE: `python bench/reading.py`

`cold`: from the folder to tensors with an empty cache (ours also writes the cache), in turns with fastai's own
transforms. `second_run`: in a fresh process each time, from the end of the imports to the first batch of training
images, with the cache that the first run has left. Writes reading.json and the table in README.md, both beside this
file."""
import json, os, platform, statistics, subprocess, sys, tempfile, time
from pathlib import Path
import tables

N = 7


def by_fastai(folder):
    "The whole folder as one float tensor, by the transforms that `ImageDataLoaders.from_folder` uses"
    import torch
    from fastai.vision.all import IntToFloatTensor, PILImageBW, TfmdLists, ToTensor, get_image_files
    files = get_image_files(folder)
    return IntToFloatTensor()(torch.stack(list(TfmdLists(files, [PILImageBW.create, ToTensor()]))))


def by_us(folder):
    from fastrecipes.data.sources import load
    images = load(folder)
    return images.train.images, images.valid.images


FIRST_BATCH = """import sys, time
from fastrecipes.data.sources import load
from fastrecipes.data.loaders import dataloaders
start = time.perf_counter()
x, y = next(iter(dataloaders(load(sys.argv[1]), 256, 'cpu').train))
print(time.perf_counter() - start)"""


def seconds(f, *args):
    start = time.perf_counter()
    f(*args)
    return time.perf_counter() - start


def first_batch_s(folder):
    "Seconds to the first batch, in a fresh process"
    done = subprocess.run([sys.executable, '-c', FIRST_BATCH, str(folder)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def median_and_range(values, digits):
    return round(statistics.median(values), digits), [round(min(values), digits), round(max(values), digits)]


def main():
    import torch
    from fastai.data.external import URLs, untar_data
    import fastai.vision.all, fastrecipes.data.sources # noqa: F401 - so that no time includes the imports
    folder = untar_data(URLs.MNIST_SAMPLE)
    pngs = sum(len(list((folder/part/digit).iterdir())) for part in ('train', 'valid') for digit in '37')
    theirs, ours, again, batch = [], [], [], []
    for _ in range(N + 1):
        with tempfile.TemporaryDirectory() as d:
            os.environ['FASTRECIPES_CACHE'] = d
            theirs.append(seconds(by_fastai, folder))
            ours.append(seconds(by_us, folder))
            again.append(seconds(by_us, folder))
            batch.append(first_batch_s(folder))
    theirs, ours, again, batch = (times[1:] for times in (theirs, ours, again, batch)) # The first turn warms up
    machine = dict(machine=platform.machine(), processors=os.cpu_count(), threads=torch.get_num_threads(),
                   torch=torch.__version__)
    times_as_fast, its_range = median_and_range([a / b for a, b in zip(theirs, ours)], 2)
    load_s, load_range = median_and_range(again, 4)
    first_s, first_range = median_and_range(batch, 4)
    result = dict(
        machine=machine,
        cold=dict(
            images=pngs, fastai_a_second=round(pngs / statistics.median(theirs)),
            ours_a_second=round(pngs / statistics.median(ours)), times_as_fast=times_as_fast, range=its_range),
        second_run=dict(
            load_s=load_s, load_range=load_range, first_batch_s=first_s, first_batch_range=first_range))
    text = json.dumps(result, indent=1)
    Path(__file__).with_suffix('.json').write_text(text + '\n')
    print(text)
    cold = result['cold']
    tables.put('reading', ['what', 'fastai', 'here', 'ratio (range)', 'must', 'aim'], [
        (f'cold folder of {pngs:,} PNGs into tensors, the cache written too', f"{cold['fastai_a_second']:,} images/s",
         f"{cold['ours_a_second']:,} images/s", tables.spread(times_as_fast, its_range, unit='x'), '2x', '4x'),
        ('the same folder again', '', f'{1000 * load_s:.0f} ms', '', '', ''),
        ('the same in a fresh process, from the end of the imports to the first batch', '',
         f'{1000 * first_s:.0f} ms', '', 'under 100 ms', '20 ms'),
    ])


if __name__ == '__main__': main()
