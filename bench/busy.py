"""What threads gain on an idle and on a busy machine: `python bench/busy.py [RECIPE...]`

Each recipe is fitted to MNIST_SAMPLE on one thread, on all threads, and on the number that it chooses (auto), first
on the machine as it is and then beside two processes that keep it busy. The ways take turns in one process, all
threads only once; each number is the median of the seconds of training.

Two bounds are checked. Beside the busy processes, auto takes at most 1.5 times as long as one thread (median of the
ratios turn by turn) for every trained rung up to convnet. It chooses one thread for these, and all threads for
resnet18.

`steps` is what more threads gain on a single training step, from which `cost.LARGE_STEP` was chosen; it is meaningful
only if the machine was idle before.

Needs MNIST_SAMPLE in fastai's data folder, and about ten minutes on two idle cores. Writes busy.json and the tables in
README.md, both beside this file, and exits with 1 where a bound is missed."""
import argparse, json, os, platform, statistics, subprocess, sys, time
from contextlib import contextmanager
from pathlib import Path
import fastrecipes # noqa: F401 - before torch and fastai: without their warnings
import tables, torch
from fastrecipes.training.cost import LARGE_STEP, multiply_adds, on_threads
from fastrecipes.data.sources import load
from fastrecipes.lessons.nets import convnet, linear, mlp, resnet18, simple_net
from fastrecipes.ladder.recipe import fit
from torch import nn

HERE = Path(__file__).parent
ALL = torch.get_num_threads()
WAYS = dict(one=1, auto='auto', all=ALL)
SMALL = ('sgd', 'linear', 'simple_net', 'mlp', 'convnet')
LARGE = ('resnet18',)
BUSY = 2 # Processes that keep the machine busy
BOUND = 1.5 # Auto against one thread, on the busy machine


@contextmanager
def neighbours(n:int):
    "Keep `n` processors busy during a `with` block"
    running = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(n)]
    try: yield
    finally:
        for p in running: p.kill()
        for p in running: p.wait()


def fits(name:str, images, turns:int) -> dict:
    "By way: the median seconds of training and the number of threads; and the median of the ratios turn by turn"
    settings = dict(epochs=1) if name in LARGE else {}
    seconds = {way: [] for way in WAYS}
    threads = {}
    for turn in range(turns):
        for way, number in WAYS.items():
            if way == 'all' and turn: continue # It takes minutes on a busy machine, and has no bound
            fitted = fit(name, images, device='cpu', threads=number, **settings)
            seconds[way].append(fitted.seconds)
            threads[way] = fitted.threads
    found = {way: dict(seconds=statistics.median(seconds[way]), threads=threads[way]) for way in WAYS}
    each = [auto / one for one, auto in zip(seconds['one'], seconds['auto'])]
    return found | dict(auto_against_one=statistics.median(each), turns=turns)


def measured(name:str, images, turns:int) -> dict:
    "The recipe on the machine as it is, and beside the busy processes"
    found = dict(idle=fits(name, images, turns))
    with neighbours(BUSY): found['busy'] = fits(name, images, turns)
    return found


STEPS = { # Name: how to make the model, its image side, the batch size
    'linear': (lambda side: linear(side**2, 2), 28, 256),
    'simple_net': (lambda side: simple_net(side**2, 2), 28, 256),
    'mlp': (lambda side: mlp(side**2, 2), 28, 256),
    'mlp, 512 and 256 units': (lambda side: mlp(side**2, 10, (512, 256)), 28, 256),
    'convnet': (lambda side: convnet((1, side, side), 2), 28, 256),
    'convnet, 64 x 64': (lambda side: convnet((1, side, side), 2), 64, 128),
    'convnet, 224 x 224': (lambda side: convnet((1, side, side), 2), 224, 32),
    'resnet18, 8 x 8': (lambda side: resnet18((1, side, side), 2), 8, 32),
    'resnet18': (lambda side: resnet18((1, side, side), 2), 28, 128),
}

def step_of(model, side:int, bs:int):
    "A training step on images that do not change"
    images, labels = torch.rand(bs, 1, side, side), torch.randint(2, (bs,))
    opt = torch.optim.SGD(model.parameters(), lr=.01)
    model.to(memory_format=torch.channels_last)
    def step():
        nn.functional.cross_entropy(model(images), labels).backward()
        opt.step()
        opt.zero_grad()
    return step

def steps(seconds:float=3.) -> dict:
    "By name: the multiply-adds of a step, its time on one thread and on all, in turns, and the gain"
    found = {}
    for name, (make, side, bs) in STEPS.items():
        model = make(side)
        step = step_of(model, side, bs)
        times = {1: [], ALL: []}
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times[1]) < 4:
            for n in times:
                with on_threads(n):
                    start = time.perf_counter()
                    step()
                    times[n].append(time.perf_counter() - start)
        one, many = (statistics.median(t[1:]) for t in times.values())
        found[name] = dict(
            multiply_adds=multiply_adds(model, (1, side, side)) * bs, one_ms=1000 * one, all_ms=1000 * many,
            gain=one / many)
    return found


def met(name:str, found:dict) -> bool:
    "Whether the bounds hold"
    chosen = found['busy']['auto']['threads']
    if name in LARGE: return chosen == ALL
    return chosen == 1 and found['busy']['auto_against_one'] <= BOUND

def line(name:str, found:dict) -> tuple:
    "The cells of its row"
    cells = [f"{found[when][way]['seconds']:.2f} s" for when in ('idle', 'busy') for way in ('one', 'all', 'auto')]
    must = f'{BOUND}x' if name in SMALL else ''
    return (f'`{name}`', *cells, found['busy']['auto']['threads'], f"{found['busy']['auto_against_one']:.2f}x", must)

def step_line(name:str, found:dict) -> tuple:
    "The cells of its row"
    size = 'large' if found['multiply_adds'] >= LARGE_STEP else 'small'
    times = (f"{found[key]:.3g} ms" for key in ('one_ms', 'all_ms'))
    return (name, f"{found['multiply_adds'] / 1e6:,.1f} million", size, *times, f"{found['gain']:.2f}x")


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument('recipes', nargs='*', default=[*SMALL, *LARGE], help='rungs of the ladder; without any: all')
    args.add_argument('--turns', type=int, default=3)
    given = args.parse_args()
    unknown = set(given.recipes) - {*SMALL, *LARGE}
    if unknown: sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join((*SMALL, *LARGE))}")
    if ALL == 1: sys.exit('PyTorch has one thread here (OMP_NUM_THREADS?), so there is nothing to compare')
    file = HERE/'busy.json'
    kept = json.loads(file.read_text(encoding='utf-8')) if file.exists() else dict(recipes={})
    machine = dict(machine=platform.machine(), cores=os.cpu_count(), threads=ALL, python=platform.python_version(),
                   torch=torch.__version__, load_before=os.getloadavg()[0])
    images, missed = load('mnist_sample'), []
    kept['steps'] = steps() | dict(machine=machine)
    for name in given.recipes:
        found = measured(name, images, 1 if name in LARGE else given.turns)
        kept['recipes'][name] = found | dict(machine=machine)
        if not met(name, found): missed.append(name)
        print(*line(name, found), 'MISSED' if name in missed else '', sep=' | ', flush=True)
    kept['recipes'] = {n: kept['recipes'][n] for n in (*SMALL, *LARGE) if n in kept['recipes']}
    file.write_text(json.dumps(kept, indent=1) + '\n', encoding='utf-8')
    heads = [f'{when}: {way}' for when in ('idle', 'busy') for way in ('1 thread', f'{ALL} threads', 'auto')]
    tables.put('busy', ['recipe', *heads, 'auto chose', 'busy: auto against 1 thread', 'must'],
               [line(n, f) for n, f in kept['recipes'].items()])
    tables.put('steps', ['training step', 'multiply-adds', 'counts as', '1 thread', f'{ALL} threads', 'gain'],
               [step_line(n, kept['steps'][n]) for n in STEPS])
    sys.exit(1 if missed else 0)


if __name__ == '__main__': main()
