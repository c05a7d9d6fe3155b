"""How fast, as ratios: `python bench/speed.py`

1. One epoch of the linear model by the hand-written loop at batch size 256 on MNIST_SAMPLE: over the lesson's list of
   (image, label) pairs in a fastai `DataLoader`, and over `ImageDL`, interleaved; medians of `N` epochs each.
2. The whole ladder on the embedded digits as a user runs it, a fresh process with its imports.
3. Loading the folder of MNIST_SAMPLE, 14,434 PNGs: without a cache, and from it; medians of 5, interleaved.

Writes speed.json beside this file and prints it."""
import json, os, platform, statistics, subprocess, sys, tempfile, time, warnings
from functools import partial
from pathlib import Path
warnings.filterwarnings('ignore', message='`torch.jit.script` is deprecated')
import torch
from fastai.data.external import fastai_cfg
from fastai.data.load import DataLoader
from fastrecipes.files import clear_cache
from fastrecipes.images import from_folder, load
from fastrecipes.loaders import dataloaders, to_floats
from fastrecipes.sgd import BasicOptim, init_params, linear1, train_epoch

N = 9


def epoch_seconds(dl):
    weights, bias = init_params((28*28, 1), .01), init_params(1, .01)
    start = time.perf_counter()
    train_epoch(partial(linear1, weights=weights, bias=bias), dl, BasicOptim([weights, bias], lr=1.))
    return time.perf_counter() - start


def loaders():
    images = load('mnist_sample')
    pairs = list(zip(to_floats(images.train.images).flatten(1), images.train.labels))
    ways = {'lesson': DataLoader(pairs, bs=256, shuffle=True), 'ours': dataloaders(images, bs=256, device='cpu').train}
    times = {name: [] for name in ways}
    for i in range(N + 1):
        for name, dl in ways.items(): times[name].append(epoch_seconds(dl))
    ms = {name: 1000 * statistics.median(t[1:]) for name, t in times.items()}
    ratios = [a / b for a, b in zip(times['lesson'][1:], times['ours'][1:])]
    return dict(lesson_ms=ms['lesson'], ours_ms=ms['ours'], ratio=statistics.median(ratios), ratio_range=[min(ratios), max(ratios)])


def ladder():
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, '-m', 'fastrecipes', 'compare', '--quiet'], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return dict(seconds=statistics.median(seconds), range=[min(seconds), max(seconds)])


def second_run():
    "Seconds to load a folder for the first and the second time, and how many times as fast the second is"
    folder, times = fastai_cfg().path('data')/'mnist_sample', []
    with tempfile.TemporaryDirectory() as d:
        os.environ['FASTRECIPES_CACHE'] = d
        for _ in range(5):
            clear_cache()
            marks = [time.perf_counter()]
            for _ in range(2): from_folder(folder); marks.append(time.perf_counter())
            times.append((marks[1] - marks[0], marks[2] - marks[1]))
        del os.environ['FASTRECIPES_CACHE']
    ratios = [a / b for a, b in times]
    return dict(first_s=statistics.median(a for a, _ in times), second_s=statistics.median(b for _, b in times),
                ratio=statistics.median(ratios), ratio_range=[min(ratios), max(ratios)])


def main():
    result = dict(machine=dict(machine=platform.machine(), threads=torch.get_num_threads(), torch=torch.__version__),
                  linear_epoch=loaders(), digits_ladder=ladder(), second_run=second_run())
    text = json.dumps(result, indent=1)
    Path(__file__).with_suffix('.json').write_text(text + '\n')
    print(text)


if __name__ == '__main__': main()
