"""What keeping freed memory gains (`cost.keep_memory`): `python bench/memory.py`

One epoch of resnet18 on MNIST_SAMPLE in a fresh process, with freed memory kept and given back, in turns. The numbers
are the training's processor time (user and system) in seconds. Needs glibc, and MNIST_SAMPLE in fastai's data folder.
Writes memory.json and the table in README.md."""
import json, os, platform, statistics, subprocess, sys
from pathlib import Path
import tables

HERE = Path(__file__).parent
WAYS = 'given back', 'kept'
RUN = '''
import os, sys, warnings
warnings.simplefilter('ignore')
from fastrecipes.data.sources import load
from fastrecipes.ladder.recipe import fit
from fastrecipes.training.cost import keep_memory
if sys.argv[1] == 'kept': keep_memory()
images = load('mnist_sample')
before = os.times()
fit('resnet18', images, device='cpu', epochs=1)
after = os.times()
print(after.user + after.system - before.user - before.system)
'''

def seconds(way:str) -> float:
    "Processor time of one epoch"
    done = subprocess.run([sys.executable, '-c', RUN, way], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])

def main(turns=5):
    found = {way: [] for way in WAYS}
    for turn in range(turns):
        for way in WAYS: found[way].append(seconds(way))
        print(turn + 1, {way: round(s[-1], 1) for way, s in found.items()}, flush=True)
    gains = [back / kept for back, kept in zip(*found.values())]
    machine = dict(cores=os.cpu_count(), machine=platform.machine(), python=platform.python_version(),
                   load=os.getloadavg())
    text = json.dumps(dict(machine=machine, seconds=found, gains=gains), indent=1)
    (HERE/'memory.json').write_text(text + '\n', encoding='utf-8')
    cells = [f'{statistics.median(s):.1f} s' for s in found.values()]
    gain = tables.spread(statistics.median(gains), gains, 2, 'x')
    tables.put('memory', ['processor time of resnet18, one epoch', *WAYS, 'gain'], [('', *cells, gain)])

if __name__ == '__main__': main(*map(int, sys.argv[1:]))
