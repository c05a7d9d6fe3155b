"""Reading a folder of PNGs, MNIST_SAMPLE's 14,434: python bench/reading.py

`cold`: from the folder to tensors with an empty cache (ours also writes the cache), against fastai's own transforms, interleaved. `second run`: in a fresh process each time, from
the end of the imports to the first batch of training images, with the cache that the first run has left."""
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


def main():
    import torch
    from fastai.data.external import URLs, untar_data
    import fastai.vision.all, fastrecipes.data.sources # noqa: F401 - not in anybody's time
    folder = untar_data(URLs.MNIST_SAMPLE)
    pngs, times, first, batch = [sum(len(list((folder/p/c).iterdir())) for p in ('train', 'valid')
                                     for c in '37')][0], [], [], []
    for _ in range(N + 1):
        with tempfile.TemporaryDirectory() as d:
            os.environ['FASTRECIPES_CACHE'] = d
            times.append((seconds(by_fastai, folder), seconds(by_us, folder)))
            first.append(seconds(by_us, folder))
            batch.append(
                float(subprocess.run([sys.executable, '-c', FIRST_BATCH, str(folder)], capture_output=True, text=True,
                                     check=True).stdout))
    ratios, (theirs, ours) = [a / b for a, b in times[1:]], zip(*times[1:])
    result = dict(machine=dict(machine=platform.machine(), processors=os.cpu_count(), threads=torch.get_num_threads(),
                               torch=torch.__version__),
                  cold=dict(images=pngs, fastai_a_second=round(pngs / statistics.median(theirs)),
                            ours_a_second=round(pngs / statistics.median(ours)),
                            times_as_fast=round(statistics.median(ratios), 2),
                            range=[round(min(ratios), 2), round(max(ratios), 2)]),
                  second_run=dict(load_s=round(statistics.median(first[1:]), 4),
                                  load_range=[round(v, 4) for v in (min(first[1:]), max(first[1:]))],
                                  first_batch_s=round(statistics.median(batch[1:]), 4),
                                  first_batch_range=[round(v, 4) for v in (min(batch[1:]), max(batch[1:]))]))
    text = json.dumps(result, indent=1)
    Path(__file__).with_suffix('.json').write_text(text + '\n')
    print(text)
    cold, again = result['cold'], result['second_run']
    tables.put('reading', ['what', 'fastai', 'here', 'ratio (range)', 'must', 'aim'], [
        (f'cold folder of {pngs:,} PNGs into tensors, the cache written too', f"{cold['fastai_a_second']:,} images/s",
         f"{cold['ours_a_second']:,} images/s", tables.spread(cold['times_as_fast'], cold['range'], unit='x'), '4x',
         '8x'),
        ('the same folder again', '', f"{1000*again['load_s']:.0f} ms", '', '', ''),
        ('the same in a fresh process, from the end of the imports to the first batch', '',
         f"{1000*again['first_batch_s']:.0f} ms", '', 'under 100 ms', '20 ms')])


if __name__ == '__main__': main()
