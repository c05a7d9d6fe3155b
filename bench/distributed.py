"""What several processes gain on one machine: `python bench/distributed.py`

resnet18 and mlp are trained by one process with one thread, by one with two, and by two with one each. The three take
turns, five times; each number is the median of the ratios within a turn. Time is that of the epochs, each with its
validation, without imports. Needs 2 cores, and MNIST_SAMPLE in fastai's data folder. Writes distributed.json and the
table in README.md."""
import json, os, platform, statistics, subprocess, sys
from pathlib import Path
import tables

HERE = Path(__file__).parent
RUN = '''
import json, sys, torch
from dataclasses import replace
from fastrecipes.data.sources import load
from fastrecipes.ladder.recipe import fit
from fastrecipes.training.processes import rank
torch.set_num_threads(int(sys.argv[1]))
images = load('mnist_sample', classes='3,7')
train = images.train.take(torch.arange(0, len(images.train), 12))
valid = images.valid.take(torch.arange(0, len(images.valid), 8))
few = replace(images, train=train, valid=valid, test=None)
out = {}
for name, data, settings in (('resnet18', few, dict(epochs=1, bs=64)), ('mlp', images, dict(epochs=3, bs=256))):
    fitted = fit(name, data, device='cpu', **settings)
    last = fitted.history.iloc[-1]
    out[name] = dict(seconds=float(last.seconds), accuracy=fitted.accuracy, valid_loss=float(last.valid_loss))
if rank() == 0: print(json.dumps(out))
'''
WAYS = { # Name: processes and threads
    '1 process, 1 thread': (1, 1),
    '1 process, 2 threads': (1, 2),
    '2 processes, 1 thread each': (2, 1),
}
ONE, THREADS, PROCESSES = WAYS
RATIOS = { # Name: the seconds of the first way over those of the second
    'two threads against one': (ONE, THREADS),
    'two processes against one thread': (ONE, PROCESSES),
    'two processes against two threads': (THREADS, PROCESSES),
}

def once(processes:int, threads:int) -> dict:
    "The last epoch of each recipe, trained in this way"
    torchrun = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', str(processes)]
    launch = torchrun if processes > 1 else []
    env = dict(os.environ, OMP_NUM_THREADS=str(threads),
               PYTHONPATH=os.pathsep.join([str(HERE.parent), os.environ.get('PYTHONPATH', '')]))
    script = HERE/'.distributed_run.py'
    script.write_text(RUN)
    try: done = subprocess.run([sys.executable, *launch, script, str(threads)], env=env, capture_output=True, text=True)
    finally: script.unlink()
    if done.returncode: raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])

def summary(name:str, turns:list) -> dict:
    "The ratios of a recipe, with what each way reached"
    ratios = {what: [t[a][name]['seconds'] / t[b][name]['seconds'] for t in turns] for what, (a, b) in RATIOS.items()}
    seconds = {way: statistics.median(t[way][name]['seconds'] for t in turns) for way in WAYS}
    reached = {way: turns[0][way][name] for way in WAYS}
    return dict(ratios=ratios, seconds=seconds, reached=reached)

def main(turns=5):
    import torch
    seen = []
    for turn in range(turns):
        found = {way: once(*how) for way, how in WAYS.items()}
        seen.append(found)
        seconds = {way: {n: round(v['seconds'], 3) for n, v in recipes.items()} for way, recipes in found.items()}
        print(turn + 1, seconds, flush=True)
    result = {name: summary(name, seen) for name in seen[0][ONE]}
    machine = dict(cores=os.cpu_count(), machine=platform.machine(), python=platform.python_version(),
                   torch=torch.__version__, load=os.getloadavg())
    text = json.dumps(dict(machine=machine, turns=turns, result=result), indent=1)
    (HERE/'distributed.json').write_text(text + '\n', encoding='utf-8')
    def line(name):
        ratios = result[name]['ratios'].values()
        return (name, *(tables.spread(statistics.median(r), r, 2, 'x') for r in ratios))
    tables.put('distributed', ['recipe', *RATIOS], map(line, result))

if __name__ == '__main__': main(*map(int, sys.argv[1:]))
