"""How much quicker than the lesson's way: `python bench/speed.py [NAME...]`

Each number is a ratio of two ways that take turns in one run (the lesson's way is `lesson.py`), the median of at
least five turns. The accuracy stands beside it, because speed must not cost accuracy. Without names everything is
measured, which takes about a quarter of an hour on two cores; with names only those are, and the other rows stay.

Writes speed.json and the table in README.md, both beside this file, and exits with 1 where a bound is missed. On a
CUDA GPU it computes there (the lesson's small models stay on the CPU, as in the lesson), other bounds hold, and the
results are only in speed_cuda.json."""
import json, os, platform, statistics, subprocess, sys, tempfile, time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple
import fastrecipes # noqa: F401 - before torch and fastai: without their warnings
import torch
import lesson, tables
from fastai.torch_core import set_seed
from fastrecipes.data.sources import load
from fastai.learner import Learner
from fastrecipes.data.loaders import dataloaders
from fastrecipes.lessons.nets import linear, simple_net
from fastrecipes.ladder.recipe import fit
from fastrecipes.lessons.sgd import (
    basic_opt, BasicOptim, batch_accuracy, ClassLoss, init_params, linear1, mnist_loss, train_epoch,
    validate_epoch,
)
from fastrecipes.training.fitting import fit_learner

HERE = Path(__file__).parent
ON = torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def synced():
    "The time when the device has finished all its work"
    if ON.type == 'cuda': torch.cuda.synchronize()
    return time.perf_counter()


def turns(ways:dict, n:int) -> dict: # Seconds of each turn, by name
    "Run each of `ways` once to warm up and then `n` times, in turns; one that returns a number has measured itself"
    seconds = {name: [] for name in ways}
    for turn in range(n + 1):
        for name, run in ways.items():
            start = synced()
            measured = run()
            whole = synced() - start
            if turn: seconds[name].append(whole if measured is None else measured)
    return seconds


def ratios(seconds:dict, **more) -> dict:
    "The lesson's seconds as a multiple of ours, turn by turn"
    each = [a / b for a, b in zip(seconds['lesson'], seconds['ours'])]
    return dict(
        lesson_s=statistics.median(seconds['lesson']), ours_s=statistics.median(seconds['ours']),
        ratio=statistics.median(each), ratio_range=[min(each), max(each)], turns=len(each), **more)


def lesson_loaders(): return lesson.pair_loaders(*lesson.tensors(lesson.folder()))


def hand():
    "Hand-written SGD, one epoch of the linear model with its validation, bs 256"
    train_dl, valid_dl = lesson_loaders()
    theirs = lesson.Linear()
    dls = dataloaders(load('mnist_sample'), bs=256, device=ON)
    weights, bias = init_params((28*28, 1), .01, ON), init_params(1, .01, ON)
    model = partial(linear1, weights=weights, bias=bias)
    opt = BasicOptim([weights, bias], lr=1.)

    def their_epoch():
        lesson.train_epoch(theirs, train_dl, 1., theirs.params)
        lesson.validate_epoch(theirs, valid_dl)
    def our_epoch():
        train_epoch(model, dls.train, opt)
        validate_epoch(model, dls.valid)
    return ratios(turns(dict(lesson=their_epoch, ours=our_epoch), 21), accuracy=validate_epoch(model, dls.valid)[1])


def epochs(theirs, ours, lr:float) -> dict: # Seconds of each turn
    "An epoch of each `Learner` in turn"
    def their_epoch():
        with theirs.no_bar(), theirs.no_logging(): theirs.fit(1, lr=lr)
    def our_epoch(): fit_learner(ours, 1, lr)
    return turns(dict(lesson=their_epoch, ours=our_epoch), 21)


def learner(images, model):
    "A plain `Learner` over our loaders"
    dls = dataloaders(images, bs=256, device=ON)
    return Learner(dls, model.to(ON), loss_func=ClassLoss(mnist_loss), opt_func=basic_opt, metrics=batch_accuracy)


def through_learner():
    "`Learner`, one epoch of the same model, with its recorder and metric"
    theirs = lesson.linear_learner(*lesson_loaders())
    ours = learner(load('mnist_sample'), linear(28*28, 1))
    return ratios(epochs(theirs, ours, 1.), accuracy=float(ours.recorder.values[-1][-1]))


def hidden():
    "`simple_net`, one epoch of its forty"
    images = load('mnist_sample')
    theirs = lesson.simple_net_learner(*lesson_loaders())
    ours = learner(images, simple_net(28*28, 1))
    return ratios(epochs(theirs, ours, .1), accuracy=fit('simple_net', images, device=str(ON)).accuracy)


def resnet():
    "resnet18, the training of one epoch and its validation; ours with a new seed each turn"
    images = load('mnist_sample')
    seeds = iter(range(100))
    fits = []
    def their_epoch():
        learn = lesson.resnet_learner(lesson.folder())
        with learn.no_bar(), learn.no_logging():
            start = synced()
            learn.fit_one_cycle(1, .1)
            return synced() - start
    def our_epoch():
        fits.append(fit('resnet18', images, seed=next(seeds), epochs=1, device=str(ON)))
        return fits[-1].seconds
    found = ratios(turns(dict(lesson=their_epoch, ours=our_epoch), 5))
    accuracies = [f.accuracy for f in fits]
    return found | dict(
        accuracy=statistics.mean(accuracies), accuracies=accuracies,
        peak_memory_bytes=max(f.peak_memory for f in fits), peak_gpu_memory_bytes=fits[0].peak_gpu_memory)


def _process(*args, cwd=None, **env):
    "What a process prints"
    done = subprocess.run(args, check=True, capture_output=True, text=True, cwd=cwd, env=os.environ | env)
    return done.stdout


LEAST = dict(similarity=.95, sgd=.965, linear=.978, simple_net=.981, mlp=.981, convnet=.995, resnet18=.996)
COMPARE = [sys.executable, '-m', 'fastrecipes', 'compare', 'mnist_sample', '-r', ','.join(LEAST), '--quiet', '--json']

def ladder():
    """The whole 3-vs-7 ladder up to resnet18 in a fresh process, imports and reading of PNGs included

    Ours has two more rungs, and intervals, costs and a verdict."""
    found = []
    def theirs(): _process(sys.executable, HERE/'lesson.py')
    def ours():
        with tempfile.TemporaryDirectory() as d:
            text = _process(*COMPARE, cwd=d, FASTRECIPES_CACHE=f'{d}/cache')
        found.append({r['recipe']: r['accuracy'] for r in json.loads(text)['rungs']})
    seconds = turns(dict(lesson=theirs, ours=ours), 5)
    margins = [accuracies[name] - least for accuracies in found for name, least in LEAST.items()]
    return ratios(seconds, accuracies=found[-1], least_margin=min(margins), ours_alone_s=_repeats_of_ladder())


def _repeats_of_ladder():
    "Seconds of the same ladder when the folder has been read before"
    with tempfile.TemporaryDirectory() as d:
        def ours(): _process(*COMPARE, FASTRECIPES_CACHE=f'{d}/cache')
        return statistics.median(turns(dict(ours=ours), 3)['ours'])


OUR_FIRST_BATCH = """
import time, warnings
warnings.simplefilter('ignore')
import torch, fastrecipes.data.sources, fastrecipes.data.loaders, fastai.data.external
start = time.perf_counter()
images = fastrecipes.data.sources.load('mnist_sample')
fastrecipes.data.loaders.dataloaders(images).train.one_batch()
print(time.perf_counter() - start)
"""

LESSON_FIRST_BATCH = """
import time, lesson
start = time.perf_counter()
train_dl, valid_dl = lesson.pair_loaders(*lesson.tensors(lesson.folder()))
next(iter(train_dl))
print(time.perf_counter() - start)
"""

def second_run():
    """From the command to the first batch, without the imports, when the folder has been read before

    The lesson reads it again each time."""
    def seconds(code): return float(_process(sys.executable, '-c', code, cwd=HERE).split()[-1])
    return ratios(turns(dict(lesson=lambda: seconds(LESSON_FIRST_BATCH), ours=lambda: seconds(OUR_FIRST_BATCH)), 5))


def start():
    "`fastrecipes --help` and `fastrecipes list`, a fresh process each; the bare interpreter beside them"
    ways = dict(python=[sys.executable, '-c', 'pass'], help=[sys.executable, '-m', 'fastrecipes', '--help'],
                list=[sys.executable, '-m', 'fastrecipes', 'list'])
    def run(args): _process(*args)
    seconds = turns({name: partial(run, args) for name, args in ways.items()}, 9)
    medians = {f'{name}_s': statistics.median(s) for name, s in seconds.items()}
    return medians | dict(longest_s={name: max(s) for name, s in seconds.items()})


class Item(NamedTuple):
    "A row of the table"
    what: str
    measure: Callable
    must: float # A ratio, or seconds
    aim: float
    accuracy: float|None = None # The lowest allowed

RESNET_BOUNDS = (10, 20) if ON.type == 'cuda' else (3.3, 4)
ITEMS = dict(
    hand=Item('hand-written SGD, one epoch of the linear model, bs 256', hand, 4, 5, .965),
    learner=Item('`Learner`, one epoch of the same, recorder and metric on', through_learner, 1.5, 1.72, .965),
    simple_net=Item('`simple_net`, one epoch; the accuracy is that of forty', hidden, 1.3, 1.6, .981),
    resnet18=Item('resnet18, one epoch and validation', resnet, *RESNET_BOUNDS, .996),
    ladder=Item('the whole 3-vs-7 ladder, imports and PNG reading included', ladder, 1.8, 2.5),
    second_run=Item('second run: command to first batch, above the imports', second_run, .1, .02),
    start=Item('`fastrecipes --help`, `fastrecipes list`', start, .15, .1),
)


def seconds_text(s:float) -> str: return f'{1000 * s:.3g} ms' if s < 1 else f'{s:.3g} s'

def start_line(item:Item, found:dict) -> tuple:
    "The cells of the row `start`, and whether its bound is met"
    of_help, of_list, of_python = (found[key] for key in ('help_s', 'list_s', 'python_s'))
    text = f'{seconds_text(of_help)}, {seconds_text(of_list)} (bare Python {seconds_text(of_python)})'
    return (item.what, '', text, '', f'under {item.must} s', f'{item.aim} s', ''), max(of_help, of_list) < item.must

def accuracy_text(name:str, item:Item, found:dict) -> str:
    if name == 'ladder': return 'every rung reaches its own'
    return '' if item.accuracy is None else f"{found['accuracy']:.4f} (must {item.accuracy})"

def line(name:str, found:dict) -> tuple:
    "The cells of a row of the table, and whether its bounds are met"
    item = ITEMS[name]
    if name == 'start': return start_line(item, found)
    if name == 'second_run':
        bounds = (f'under {item.must} s', f'{item.aim} s')
        quick = found['ours_s'] < item.must
    else:
        bounds = (f'{item.must}x', f'{item.aim}x')
        quick = found['ratio'] >= item.must
    times = (seconds_text(found[key]) for key in ('lesson_s', 'ours_s'))
    speed = tables.spread(found['ratio'], found['ratio_range'], unit='x')
    accurate = item.accuracy is None or found['accuracy'] >= item.accuracy
    met = quick and accurate and found.get('least_margin', 0) >= 0
    return (item.what, *times, speed, *bounds, accuracy_text(name, item, found)), met


def machine() -> dict:
    return dict(machine=platform.machine(), cores=os.cpu_count(), threads=torch.get_num_threads(),
                python=platform.python_version(), torch=torch.__version__,
                device=torch.cuda.get_device_name() if ON.type == 'cuda' else 'cpu')


def main():
    names = sys.argv[1:] or list(ITEMS)
    file = HERE/('speed_cuda.json' if ON.type == 'cuda' else 'speed.json')
    if unknown := set(names) - set(ITEMS): sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(ITEMS)}")
    results = json.loads(file.read_text(encoding='utf-8')) if file.exists() else {}
    results = {n: results[n] for n in ITEMS if n in results}
    missed = []
    for name in names:
        set_seed(0)
        results[name] = ITEMS[name].measure() | dict(machine=machine())
        row, met = line(name, results[name])
        print(*row, '' if met else 'MISSED', sep=' | ', flush=True)
        if not met: missed.append(name)
    file.write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    if ON.type == 'cpu':
        tables.put('speed', ['what', 'lesson', 'here', 'ratio (range)', 'must', 'aim', 'accuracy'],
                   [line(name, results[name])[0] for name in ITEMS if name in results])
    sys.exit(1 if missed else 0)


if __name__ == '__main__': main()
