"""Every recipe over several seeds, against what it must reach: `python bench/accuracy.py [--quick]`

MNIST_SAMPLE and MNIST come from fastai's data folder, the bitmoji faces from `bitmoji_bw` in it; a missing set is
reported and left out. `--quick` leaves resnet18 out. Writes accuracy.json and the table in README.md, both beside
this file."""
import json, platform, sys
from pathlib import Path
import fastrecipes # noqa: F401 - before torch and fastai: without their warnings
import pandas as pd, tables, torch
from fastai.callback.core import Callback
from fastai.data.external import fastai_cfg
from fastrecipes.data.sources import from_folder, load
from fastrecipes.errors import InputError
from fastrecipes.ladder.recipe import fit

LESSON_NET = dict(hidden=(64, 64, 64), lr=.001, bs=10, epochs=3, schedule='constant', wd=0., dropout=0., best=False)
LESSON_FACES = dict(
    hidden=(256, 128, 64, 16), activation='leaky_relu', dropout=.1, lr=.001, bs=32, epochs=20, patience=3,
    schedule='constant', wd=0.,
)
FACES = fastai_cfg().path('data')/'bitmoji_bw'
SETS = {
    'mnist_sample': lambda seed: load('mnist_sample'),
    'mnist': lambda seed: load('mnist', seed=seed),
    'mnist, valid=test': lambda seed: load('mnist', valid='test'),
    'faces 50x50': lambda seed: from_folder(FACES, size=50, name='bitmoji_bw'),
    'faces 96x96': lambda seed: from_folder(FACES, size=96, name='bitmoji_bw'),
}

# Set, recipe, settings, number of seeds, split, lowest and highest accuracy that every seed may have
MUST = [
    ('mnist_sample', 'sgd', dict(epochs=20, lr=1., bs=256), 5, 'valid', .965, 1),
    ('mnist_sample', 'linear', dict(epochs=10, lr=1.), 5, 'valid', .978, 1),
    ('mnist_sample', 'simple_net', dict(epochs=40, lr=.1), 5, 'valid', .981, 1),
    ('mnist_sample', 'mlp', {}, 5, 'valid', .981, 1),
    ('mnist_sample', 'convnet', {}, 5, 'valid', .995, 1),
    ('mnist, valid=test', 'convnet', {}, 5, 'valid', .989, 1),
    ('mnist_sample', 'resnet18', dict(epochs=1), 3, 'valid', .996, 1),
    ('mnist', 'logistic', {}, 3, 'valid', .845, .860),
    ('mnist', 'logistic', {}, 3, 'test', .858, .870),
    ('mnist, valid=test', 'mlp', LESSON_NET, 3, 'valid', .962, 1),
    ('mnist', 'mlp', {}, 3, 'test', .982, 1),
    ('faces 50x50', 'mlp', LESSON_FACES, 3, 'valid', .60, 1),
    ('faces 50x50', 'mlp', LESSON_FACES | dict(patience_counts='increases'), 3, 'valid', .60, 1),
    ('faces 96x96', 'resnet18', dict(epochs=10, bs=32), 1, 'valid', .90, 1),
]


class Mirror(Callback):
    "Flips half of the training images of each batch: for the faces, as in nbs/lessons/10_faces.ipynb"
    def before_batch(self):
        if self.training: self.learn.xb = tuple(map(self.flipped, self.xb))

    def flipped(self, x):
        chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < .5
        return torch.where(chosen, x.flip(-1), x)


def accuracies(source, recipe, settings, seeds, split):
    "One accuracy per seed; the set is loaded each time, because the seed may choose its split"
    cbs = [Mirror()] if source == 'faces 96x96' else []
    def fitted(seed): return fit(recipe, SETS[source](seed), seed=seed, test=split == 'test', cbs=cbs, **settings)
    return [getattr(fitted(seed), split).accuracy for seed in range(seeds)]


def line(row) -> tuple:
    "The cells of its row in the table"
    must = row['must'] if row['most'] == 1 else f"{row['must']} to {row['most']}"
    numbers = (f'{row[name]:.4f}' for name in ('min', 'mean', 'max'))
    return (row['set'], row['recipe'], row['seeds'], row['split'], must, *numbers)


def main():
    rows = []
    for source, recipe, settings, seeds, split, least, most in MUST:
        if recipe == 'resnet18' and '--quick' in sys.argv: continue
        try: acc = accuracies(source, recipe, settings, seeds, split)
        except InputError as e:
            print(f"left out: {source} {recipe}: {e}")
            continue
        rows.append(dict(
            set=source, recipe=recipe, split=split, settings=settings, must=least, most=most, min=min(acc),
            mean=sum(acc) / seeds, max=max(acc), seeds=seeds, reached=least <= min(acc) and max(acc) <= most))
        print(rows[-1], flush=True)
    machine = dict(machine=platform.machine(), threads=torch.get_num_threads(), torch=torch.__version__,
                   cuda=torch.cuda.get_device_name() if torch.cuda.is_available() else None)
    Path(__file__).with_suffix('.json').write_text(json.dumps(dict(machine=machine, rows=rows), indent=1) + '\n')
    print(pd.DataFrame(rows).drop(columns='settings').round(4).to_string(index=False))
    tables.put('accuracy', ['set', 'recipe', 'seeds', 'split', 'must', 'min', 'mean', 'max'], map(line, rows))
    sys.exit(not all(r['reached'] for r in rows))


if __name__ == '__main__': main()
