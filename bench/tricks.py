"""What each piece of code that is there for speed alone brings: `python bench/tricks.py [--turns 5]`

Each runs with and without, in turns, in a fresh process. Compared is processor time (user and system), which other
work on the machine disturbs less than time on the clock. `keep_memory` needs glibc. MNIST_SAMPLE comes from fastai's
data folder. Writes tricks.json and the table in README.md beside this file, and exits with 1 where one brings less
than a tenth."""
import argparse, json, os, platform, statistics, subprocess, sys
from pathlib import Path
import tables

HERE = Path(__file__).parent
LEAST = 1.1

MEASURE = '''
import os, sys, warnings
warnings.simplefilter('ignore')
def spent():
    times = os.times()
    return times.user + times.system
on = sys.argv[1] == 'with'
'''
RESNET = '''
import fastrecipes
from fastrecipes.data.sources import load
from fastrecipes.ladder.recipe import fit
images = load('mnist_sample')
'''
TRICKS = { # Name: what it does, on which work, the code
    'cost.keep_memory': ('keeps freed memory for the next step', 'resnet18, one epoch', RESNET + '''
from fastrecipes.training.cost import keep_memory
if on: keep_memory()
before = spent()
fit('resnet18', images, device='cpu', epochs=1)
print(spent() - before)
'''),
    'nets.MapConv2d': ('computes a convolution as a dense layer where each output sees the whole map',
                       'resnet18, one epoch', RESNET + '''
from fastrecipes.lessons import nets
if not on: nets.MapConv2d.forward = nets.nn.Conv2d.forward
before = spent()
fit('resnet18', images, device='cpu', epochs=1)
print(spent() - before)
'''),
    'decode._pick_threads': ('reads files of less than 3 KB by one thread', 'a new folder of 14,434 PNGs', '''
import os, tempfile
from fastai.data.external import fastai_cfg
from fastrecipes.data import decode
from fastrecipes.data.sources import load
folder = fastai_cfg().path('data')/'mnist_sample'
if not on: decode._pick_threads = lambda files: min(8, os.cpu_count())
with tempfile.TemporaryDirectory() as os.environ['FASTRECIPES_CACHE']:
    before = spent()
    load(folder)
    print(spent() - before)
''')}


def seconds(code:str, way:str) -> float:
    "Processor time of one run"
    done = subprocess.run([sys.executable, '-c', MEASURE + code, way], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])

def measured(code:str, turns:int) -> dict:
    found = {'without': [], 'with': []}
    for _ in range(turns):
        for way in found: found[way].append(seconds(code, way))
    return found | dict(gains=[a / b for a, b in zip(*found.values())])

def cells(name:str, found:dict) -> list:
    what, work, _ = TRICKS[name]
    times = [f'{statistics.median(found[way]):.2f} s' for way in ('without', 'with')]
    return [f'`{name}`', what, work, *times, tables.spread(statistics.median(found['gains']), found['gains'], 2, 'x')]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--turns', type=int, default=5)
    turns = parser.parse_args().turns
    found = {}
    for name, (_, _, code) in TRICKS.items():
        found[name] = measured(code, turns)
        print(*cells(name, found[name]), sep=' | ', flush=True)
    machine = dict(cores=os.cpu_count(), machine=platform.machine(), python=platform.python_version())
    text = json.dumps(dict(machine=machine, turns=turns, tricks=found), indent=1)
    (HERE/'tricks.json').write_text(text + '\n', encoding='utf-8')
    columns = ['trick', 'what it does', 'measured on', 'without', 'with', 'gain']
    tables.put('tricks', columns, [cells(name, f) for name, f in found.items()])
    sys.exit(1 if any(statistics.median(f['gains']) < LEAST for f in found.values()) else 0)

if __name__ == '__main__': main()
