"""Every recipe over several seeds, against what it must reach: `python bench/accuracy.py [--quick]`

MNIST_SAMPLE and MNIST come from fastai's data folder, the bitmoji faces from `bitmoji_bw` in it; sets that are not there are
left out, and said so. Writes accuracy.json beside this file and prints the table. `--quick` leaves resnet18 out."""
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
LESSON_FACES = dict(hidden=(256, 128, 64, 16), activation='leaky_relu', dropout=.1, lr=.001, bs=32, epochs=20,
                    patience=3, schedule='constant', wd=0.)
FACES = fastai_cfg().path('data')/'bitmoji_bw'
SETS = {
    'mnist_sample': lambda seed: load('mnist_sample'),
    'mnist': lambda seed: load('mnist', seed=seed),
    'mnist, valid=test': lambda seed: load('mnist', valid='test'),
    'faces 50x50': lambda seed: from_folder(FACES, size=50, name='bitmoji_bw'),
    'faces 96x96': lambda seed: from_folder(FACES, size=96, name='bitmoji_bw'),
}

# set, recipe, settings, seeds, split, the least and the most allowed on every seed
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
    "Half of the training images of a batch, turned left to right: for the faces, as in nbs/lessons/10_faces.ipynb"
    def before_batch(self):
        if self.training:
            self.learn.xb = tuple(torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < .5, x.flip(-1), x)
                                  for x in self.xb)


def figures(source, recipe, settings, seeds, split):
    "The accuracy of each seed; the set is loaded anew, since the seed may split it"
    cbs = [Mirror()] if source == 'faces 96x96' else []
    fits = (fit(recipe, SETS[source](s), seed=s, test=split == 'test', cbs=cbs, **settings) for s in range(seeds))
    return [getattr(f, split).accuracy for f in fits]


def main():
    rows = []
    for source, recipe, settings, seeds, split, least, most in MUST:
        if recipe == 'resnet18' and '--quick' in sys.argv: continue
        try: acc = figures(source, recipe, settings, seeds, split)
        except InputError as e:
            print(f"left out: {source} {recipe}: {e}")
            continue
        rows.append(dict(set=source, recipe=recipe, split=split, settings=settings, must=least, most=most,
                         min=min(acc), mean=sum(acc) / seeds, max=max(acc),
                         seeds=seeds, reached=least <= min(acc) and max(acc) <= most))
        print(rows[-1], flush=True)
    machine = dict(machine=platform.machine(), threads=torch.get_num_threads(), torch=torch.__version__,
                   cuda=torch.cuda.get_device_name() if torch.cuda.is_available() else None)
    Path(__file__).with_suffix('.json').write_text(json.dumps(dict(machine=machine, rows=rows), indent=1) + '\n')
    print(pd.DataFrame(rows).drop(columns='settings').round(4).to_string(index=False))
    tables.put('accuracy', ['set', 'recipe', 'seeds', 'split', 'must', 'min', 'mean', 'max'], [
        (r['set'], r['recipe'], r['seeds'], r['split'], r['must'] if r['most'] == 1 else f"{r['must']} to {r['most']}",
         *(f'{r[k]:.4f}' for k in ('min', 'mean', 'max'))) for r in rows])
    sys.exit(not all(r['reached'] for r in rows))


if __name__ == '__main__': main()
