"""What several processes buy on one machine: resnet18 and mlp trained by one process with one thread, one with two, and two with one each.

    python bench/distributed.py          # needs 2 cores, Accelerate, and MNIST_SAMPLE in fastai's data folder

The three take turns, five times; each figure is the median of the ratios within a turn. Seconds are those of the epochs, each with its validation, without
imports. Written to bench/distributed.json."""
import json, os, platform, statistics, subprocess, sys
from pathlib import Path
import tables

HERE = Path(__file__).parent
RUN = '''
import json, sys, torch
from dataclasses import replace
from fastrecipes.training.processes import rank
from fastrecipes.data.images import Split; from fastrecipes.data.sources import load
from fastrecipes.ladder.recipe import fit
torch.set_num_threads(int(sys.argv[1]))
images, out = load('mnist_sample', classes='3,7'), {}
few = replace(images, train=Split(images.train.images[::12].clone(), images.train.labels[::12].clone()), valid=Split(images.valid.images[::8].clone(), images.valid.labels[::8].clone()), test=None)
for name, data, kw in (('resnet18', few, dict(epochs=1, bs=64)), ('mlp', images, dict(epochs=3, bs=256)), ('sgd', images, dict(epochs=3, bs=256))):
    f = fit(name, data, device='cpu', **kw)
    out[name] = dict(seconds=float(f.history.seconds.iloc[-1]), accuracy=f.accuracy, valid_loss=float(f.history.valid_loss.iloc[-1]))
if rank() == 0: print(json.dumps(out))
'''
WAYS = {'1 process, 1 thread': (1, 1), '1 process, 2 threads': (1, 2), '2 processes, 1 thread each': (2, 1)}

def once(processes, threads):
    start = [sys.executable] if processes == 1 else [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', str(processes)]
    script = HERE/'.distributed_run.py'
    script.write_text(RUN)
    try: r = subprocess.run([*start, script, str(threads)], env=dict(os.environ, OMP_NUM_THREADS=str(threads), PYTHONPATH=os.pathsep.join([str(HERE.parent), os.environ.get('PYTHONPATH', '')])), capture_output=True, text=True)
    finally: script.unlink()
    if r.returncode: raise RuntimeError(r.stderr[-2000:])
    return json.loads(r.stdout.splitlines()[-1])

def main(turns=5):
    import torch
    seen = []
    for turn in range(turns):
        seen.append({way: once(*how) for way, how in WAYS.items()})
        print(turn + 1, {way: {n: round(v['seconds'], 3) for n, v in got.items()} for way, got in seen[-1].items()}, flush=True)
    first, two_threads, two_processes = WAYS
    spread = lambda values: dict(median=round(statistics.median(values), 3), lowest=round(min(values), 3), highest=round(max(values), 3))
    result = {name: dict(
        two_threads_against_one=spread([t[first][name]['seconds'] / t[two_threads][name]['seconds'] for t in seen]),
        two_processes_against_one_thread=spread([t[first][name]['seconds'] / t[two_processes][name]['seconds'] for t in seen]),
        two_processes_against_two_threads=spread([t[two_threads][name]['seconds'] / t[two_processes][name]['seconds'] for t in seen]),
        seconds={way: round(statistics.median(t[way][name]['seconds'] for t in seen), 4) for way in WAYS},
        accuracy={way: seen[0][way][name]['accuracy'] for way in WAYS},
        valid_loss={way: seen[0][way][name]['valid_loss'] for way in WAYS}) for name in seen[0][first]}
    machine = dict(cores=os.cpu_count(), processor=platform.processor() or platform.machine(), python=platform.python_version(), torch=torch.__version__, load=os.getloadavg())
    (HERE/'distributed.json').write_text(json.dumps(dict(machine=machine, turns=turns, result=result), indent=1) + '\n')
    for name, r in result.items(): print(name, {k: v for k, v in r.items() if k.startswith('two')})
    kinds = ['two_threads_against_one', 'two_processes_against_one_thread', 'two_processes_against_two_threads']
    tables.put('distributed', ['recipe', *(k.replace('_', ' ') for k in kinds)],
               [(name, *(tables.spread(r[k]['median'], [r[k]['lowest'], r[k]['highest']], 2, 'x') for k in kinds)) for name, r in result.items()])

if __name__ == '__main__': main(*map(int, sys.argv[1:]))
