"""The pretrained rungs against what they must reach: `python bench/pretrained.py [--quick]`

Accuracy on 199 photos of four kinds of things and on the cartoon faces, seconds on the faces, and seconds of the whole
ladder on the embedded digits in a fresh process. The things come from the folder `things` in fastai's data folder, or
from `things.tgz` in the folder that FASTRECIPES_TEST_DATA names; a missing set is reported and left out. `--quick`
tries all of it on few images. Writes pretrained.json beside this file; exits with 1 if a number is not reached."""
import json, os, platform, statistics, subprocess, sys, tarfile, tempfile, time
from pathlib import Path
import fastrecipes # noqa: F401 - before torch and fastai: without their warnings
import pandas as pd, torch
from fastai.data.external import fastai_cfg
from fastrecipes.answer.curves import nested_subset
from fastrecipes.data.sources import from_folder
from fastrecipes.ladder.recipe import fit

QUICK = '--quick' in sys.argv
DATA = fastai_cfg().path('data')
ARCHIVES = Path(os.environ.get('FASTRECIPES_TEST_DATA', DATA))
SEEDS = range(1) if QUICK else range(5)

# What, name of the number, must, aim; seconds are at most these, accuracies at least
TABLE = [
    ('things, mean of 5 splits', 'frozen', .82, .88),
    ('things, mean of 5 splits', 'finetune', .82, .90),
    ('faces, 100 for training, mean of 5 draws', 'frozen', .75, .80),
    ('faces', 'frozen', .84, .87),
    ('faces', 'finetune', .96, .985),
    ('faces, seconds of training', 'finetune', 180, 90),
    ('faces, seconds of training', 'frozen', 20, 8),
    ('faces, seconds of frozen as a share of resnet18', 'frozen', .2, .1),
    ('digits, seconds of the whole ladder', 'compare', 60, 40),
]


def folder(name:str) -> Path|None: # None if there is none
    "A folder of images, from an archive if it is not unpacked"
    if (DATA/name).is_dir(): return DATA/name
    archive = ARCHIVES/f'{name}.tgz'
    if not archive.is_file(): return None
    unpacked = Path(tempfile.mkdtemp())
    with tarfile.open(archive) as t: t.extractall(unpacked, filter='data')
    return unpacked/name


def few(images): return nested_subset(images, .05) if QUICK else images

def fitted(name:str, images, seed:int=42):
    settings = dict(epochs=1) if QUICK and name != 'frozen' else {}
    return fit(name, images, seed=seed, **settings)


def things(place:Path) -> dict:
    "Mean accuracies over the splits of five seeds"
    splits = [few(from_folder(place, name='things', seed=seed)) for seed in SEEDS]
    return {name: statistics.mean(fitted(name, s, i).accuracy for i, s in enumerate(splits))
            for name in ('frozen', 'finetune')}


def faces(place:Path) -> dict: # What of TABLE to {name: number}
    "Accuracies and seconds, of all training images and of a hundred"
    images = from_folder(place, name='bitmoji_bw')
    draws = [nested_subset(images, 100 / len(images.train), seed) for seed in SEEDS]
    of_hundred = statistics.mean(fitted('frozen', part, i).accuracy for i, part in enumerate(draws))
    whole = {name: fitted(name, few(images)) for name in ('frozen', 'finetune', 'resnet18')}
    seconds = {name: f.seconds for name, f in whole.items()}
    return {
        'faces, 100 for training, mean of 5 draws': dict(frozen=of_hundred),
        'faces': {name: f.accuracy for name, f in whole.items()},
        'faces, seconds of training': seconds,
        'faces, seconds of frozen as a share of resnet18': dict(frozen=seconds['frozen'] / seconds['resnet18']),
    }


def digits() -> dict:
    "Seconds of the command, imports included"
    rungs = ['-r', 'majority,frozen'] if QUICK else []
    command = [sys.executable, '-m', 'fastrecipes', 'compare', 'digits', '--quiet', '--json', *rungs]
    with tempfile.TemporaryDirectory() as empty: # Without a settings.ini
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=empty)
        seconds = time.perf_counter() - start
    print('left out of the ladder:', [r['recipe'] for r in json.loads(done.stdout)['left_out']])
    return dict(compare=seconds)


def measured() -> dict: # What of TABLE to {name: number}
    found = {'digits, seconds of the whole ladder': digits()}
    for name, measure in (('things', things), ('bitmoji_bw', faces)):
        place = folder(name)
        if place is None: print(f'left out: {name}: there is no folder {DATA/name}, and no {name}.tgz')
        elif name == 'things': found['things, mean of 5 splits'] = measure(place)
        else: found |= measure(place)
    return found


def is_reached(what:str, value:float, must:float) -> bool: return value <= must if 'seconds' in what else value >= must


def main():
    found = measured()
    rows = []
    for what, name, must, aim in TABLE:
        if what not in found: continue
        value = found[what][name]
        rows.append(dict(what=what, name=name, must=must, aim=aim, value=value, reached=is_reached(what, value, must)))
    print(pd.DataFrame(rows).round(4).to_string(index=False))
    if QUICK: return
    machine = dict(machine=platform.machine(), threads=torch.get_num_threads(), torch=torch.__version__)
    Path(__file__).with_suffix('.json').write_text(json.dumps(dict(machine=machine, rows=rows), indent=1) + '\n')
    sys.exit(not all(row['reached'] for row in rows))


if __name__ == '__main__': main()
