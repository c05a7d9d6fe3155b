"""How much quicker than the lesson's way: `python bench/speed.py [NAME...]`

Every figure is a ratio of two things that take turns in one run (the lesson's way is `lesson.py`), the median of at least five
turns, and beside it stands the accuracy that was reached, which must not be bought with speed. Without names everything is
measured, which takes about a quarter of an hour on two cores; with names those only, and the rest stays as it was.
Writes speed.json and the table in README.md beside this file, and exits with 1 where a bound is missed. On a CUDA GPU it computes there (the lesson's
small models stay on the CPU, as in the lesson), other bounds hold, and what it finds is in speed_cuda.json alone."""
import json, os, platform, statistics, subprocess, sys, tempfile, time
from functools import partial
from pathlib import Path
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
    "The time when all that was asked of the device is done"
    if ON.type == 'cuda': torch.cuda.synchronize()
    return time.perf_counter()


def turns(ways:dict, n:int) -> dict: # Seconds of each turn, by name
    "Run each of `ways` once to warm up and then `n` times, one after the other; one that returns a number has looked at the clock itself"
    seconds = {name: [] for name in ways}
    for i in range(n + 1):
        for name, run in ways.items():
            start = synced()
            own = run()
            if i: seconds[name].append(synced() - start if own is None else own)
    return seconds


def ratios(seconds:dict, **more) -> dict:
    "The lesson's seconds as a multiple of ours, turn by turn"
    each = [a / b for a, b in zip(seconds['lesson'], seconds['ours'])]
    return dict(lesson_s=statistics.median(seconds['lesson']), ours_s=statistics.median(seconds['ours']),
                ratio=statistics.median(each),
                ratio_range=[min(each), max(each)], turns=len(each), **more)


def hand():
    "Hand-written SGD, one epoch of the linear model with its validation, bs 256"
    lessons, images = lesson.pair_loaders(*lesson.tensors(lesson.folder())), load('mnist_sample')
    theirs, dls = lesson.Linear(), dataloaders(images, bs=256, device=ON)
    weights, bias = init_params((28*28, 1), .01, ON), init_params(1, .01, ON)
    model, opt = partial(linear1, weights=weights, bias=bias), BasicOptim([weights, bias], lr=1.)

    def their_epoch():
        lesson.train_epoch(theirs, lessons[0], 1., theirs.params)
        lesson.validate_epoch(theirs, lessons[1])
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
    "`Learner`, one epoch of the same model, its recorder and metric on"
    theirs, ours = lesson.linear_learner(*lesson.pair_loaders(*lesson.tensors(lesson.folder()))), learner(
        load('mnist_sample'), linear(28*28, 1))
    return ratios(epochs(theirs, ours, 1.), accuracy=float(ours.recorder.values[-1][-1]))


def hidden():
    "`simple_net`, one epoch of its forty"
    images = load('mnist_sample')
    theirs, ours = lesson.simple_net_learner(*lesson.pair_loaders(*lesson.tensors(lesson.folder()))), learner(images,
        simple_net(28*28, 1))
    return ratios(epochs(theirs, ours, .1), accuracy=fit('simple_net', images, device=str(ON)).accuracy)


def resnet():
    "resnet18, the training of one epoch and its validation; ours with a new seed each turn"
    images, seeds, fits = load('mnist_sample'), iter(range(100)), []
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
    return found | dict(accuracy=statistics.mean(f.accuracy for f in fits), accuracies=[f.accuracy for f in fits],
        peak_memory_bytes=max(f.peak_memory for f in fits), peak_gpu_memory_bytes=fits[0].peak_gpu_memory)


def _process(*args, **env):
    subprocess.run(args, check=True, capture_output=True, env=os.environ | env)


LEAST = dict(similarity=.95, sgd=.965, linear=.978, simple_net=.981, mlp=.981, convnet=.995, resnet18=.996)

def ladder():
    "The whole 3-vs-7 ladder in a fresh process, imports and reading of PNGs included; ours has two rungs more, and intervals, costs and a verdict"
    found = []
    def ours():
        with tempfile.TemporaryDirectory() as d:
            said = subprocess.run([sys.executable, '-m', 'fastrecipes', 'compare', 'mnist_sample', '--quiet',
                                   '--json'], check=True, capture_output=True, cwd=d,
                                  env=os.environ | dict(FASTRECIPES_CACHE=f'{d}/cache')).stdout
        found.append({r['recipe']: r['accuracy'] for r in json.loads(said)['rungs']})
    seconds = turns(dict(lesson=lambda: _process(sys.executable, HERE/'lesson.py'), ours=ours), 5)
    return ratios(seconds, accuracies=found[-1],
                  least_margin=min(f[name] - least for f in found for name, least in LEAST.items()),
                  ours_alone_s=_repeats_of_ladder())


def _repeats_of_ladder():
    "Seconds of the same ladder when the folder has been read before"
    with tempfile.TemporaryDirectory() as d:
        run = partial(_process, sys.executable, '-m', 'fastrecipes', 'compare', 'mnist_sample', '--quiet', '--json',
                      FASTRECIPES_CACHE=f'{d}/cache')
        return statistics.median(turns(dict(ours=run), 3)['ours'])


_first_batch = """
import time, warnings; warnings.simplefilter('ignore')
import torch, fastrecipes.data.sources, fastrecipes.data.loaders, fastai.data.external
start = time.perf_counter()
images = fastrecipes.data.sources.load('mnist_sample')
fastrecipes.data.loaders.dataloaders(images).train.one_batch()
print(time.perf_counter() - start)
"""

def second_run():
    "From the command to the first batch, above the bare imports, when the folder has been read before; the lesson reads it again"
    code = "import time, lesson\nstart = time.perf_counter()\nnext(iter(lesson.pair_loaders(*lesson.tensors(lesson.folder()))[0]))\nprint(time.perf_counter() - start)"
    def seconds(code):
        return float(subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True,
                                    cwd=HERE).stdout.split()[-1])
    rows = [(seconds(code), seconds(_first_batch)) for _ in range(6)][1:]
    return ratios(dict(lesson=[a for a, _ in rows], ours=[b for _, b in rows]))


def start():
    "`fastrecipes --help` and `fastrecipes list`, a fresh process each; the bare interpreter beside them"
    ways = dict(python=[sys.executable, '-c', 'pass'], help=[sys.executable, '-m', 'fastrecipes', '--help'],
                list=[sys.executable, '-m', 'fastrecipes', 'list'])
    seconds = turns({name: partial(_process, *args) for name, args in ways.items()}, 9)
    return {f'{name}_s': statistics.median(s)
            for name, s in seconds.items()} | dict(longest_s={name: max(s) for name, s in seconds.items()})


# Name: what it says in the table, how to measure it, the ratio or the seconds that it must reach and aims at, the
# accuracy that it must
ITEMS = dict(
    hand=('hand-written SGD, one epoch of the linear model, bs 256', hand, 4, 5, .965),
    learner=('`Learner`, one epoch of the same, recorder and metric on', through_learner, 1.5, 1.72, .965),
    simple_net=('`simple_net`, one epoch; the accuracy is that of forty', hidden, 1.3, 1.6, .981),
    resnet18=('resnet18, one epoch and validation', resnet, *((10, 20) if ON.type == 'cuda' else (3.3, 4)), .996),
    ladder=('the whole 3-vs-7 ladder, imports and PNG reading included', ladder, 1.8, 2.5, None),
    second_run=('second run: command to first batch, above the imports', second_run, .1, .02, None),
    start=('`fastrecipes --help`, `fastrecipes list`', start, .15, .1, None),
)


def line(name:str, found:dict) -> tuple: # The cells of its row in the table, and whether the bound is met
    what, _, must, aim, least = ITEMS[name]
    def seconds(s):
        return f'{1000*s:.3g} ms' if s < 1 else f'{s:.3g} s'
    if name == 'start':
        text, met = f"{seconds(found['help_s'])}, {seconds(found['list_s'])} (bare Python {seconds(found['python_s'])})", max(found['help_s'], found['list_s']) < must
        return (what, '', text, '', f'under {must} s', f'{aim} s', ''), met
    speed = tables.spread(found['ratio'], found['ratio_range'], unit='x')
    met = found['ours_s'] < must if name == 'second_run' else found['ratio'] >= must
    bounds = (f'under {must} s', f'{aim} s') if name == 'second_run' else (f'{must}x', f'{aim}x')
    accuracy = 'every rung reaches its own' if name == 'ladder' else '' if least is None else f"{found['accuracy']:.4f} (must {least})"
    return (what, seconds(found['lesson_s']), seconds(found['ours_s']), speed, *bounds,
            accuracy), met and (least is None or found['accuracy'] >= least) and found.get('least_margin', 0) >= 0


def machine() -> dict:
    return dict(machine=platform.machine(), cores=os.cpu_count(), threads=torch.get_num_threads(),
                python=platform.python_version(), torch=torch.__version__,
                device=torch.cuda.get_device_name() if ON.type == 'cuda' else 'cpu')


def main():
    names, file = sys.argv[1:] or list(ITEMS), HERE/('speed_cuda.json' if ON.type == 'cuda' else 'speed.json')
    if unknown := set(names) - set(ITEMS): sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(ITEMS)}")
    results = json.loads(file.read_text(encoding='utf-8')) if file.exists() else {}
    results = {n: results[n] for n in ITEMS if n in results}
    missed = []
    for name in names:
        set_seed(0)
        results[name] = ITEMS[name][1]() | dict(machine=machine())
        row, met = line(name, results[name])
        print(*row, '' if met else 'MISSED', sep=' | ', flush=True)
        if not met: missed.append(name)
    file.write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    if ON.type == 'cpu':
        tables.put('speed', ['what', 'lesson', 'here', 'ratio (range)', 'must', 'aim', 'accuracy'],
                   [line(name, results[name])[0] for name in ITEMS if name in results])
    sys.exit(1 if missed else 0)


if __name__ == '__main__': main()
