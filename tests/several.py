"""What two processes do for test_distributed.py: `torchrun ... several.py FOLDER`

Each process writes its results to FOLDER/saw-N-RANK.json."""
import json, random, sys
from dataclasses import replace
from pathlib import Path
import torch
try: import fastai.distributed # noqa: F401 - puts `distrib_ctx` on `Learner`
except NameError: pass # Accelerate is not installed
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from torch import nn
from fastrecipes.data.images import Split
from fastrecipes.data.loaders import dataloaders
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError
from fastrecipes.ladder.recipe import fit
from fastrecipes.lessons.sgd import batch_accuracy, cross_entropy
from fastrecipes.training.checkpoint import Checkpoint
from fastrecipes.training.processes import _own_device, all_see, n_processes, own_randomness, rank, together

FITS = { # Odd batch sizes, and last batches of 1, 2 and 7 images
    'linear': dict(epochs=2, bs=205),
    'simple_net': dict(epochs=2, bs=110, schedule='one-cycle', clip=.5),
    'mlp': dict(epochs=2, bs=359, patience=5),
}
LONG = dict(name='mlp', epochs=4, bs=205, dropout=0.)


class Gradients(Callback):
    "Keeps the gradient of every step"
    order = 100
    def before_fit(self):
        self.seen = []
        self.wrapped = type(self.learn.model).__name__
    def before_step(self):
        self.seen.append(torch.cat([p.grad.flatten() for p in self.model.parameters()]))

class StopAfter(Callback):
    "Stops a training in an epoch, as Ctrl-C does"
    order = 63 # After the checkpoint's
    def __init__(self, epochs): self.epochs = epochs
    def before_epoch(self):
        if self.epoch == self.epochs: raise KeyboardInterrupt

class Fails(Callback):
    def after_batch(self): raise ValueError('on purpose')


def flat(model): return torch.cat([v.flatten().double() for v in model.state_dict().values()]).tolist()
def rows(history): return history.drop(columns='seconds').values.tolist()

def small_learner(images):
    "One layer of batch norm that sees the pixels themselves, and a linear one"
    torch.manual_seed(1)
    random.seed(1)
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10))
    return Learner(dataloaders(images, 100, 'cpu'), model, cross_entropy, metrics=batch_accuracy)

def pairs_learner(images):
    "Through fastai's own loader over a list of pairs"
    torch.manual_seed(2)
    random.seed(2 + 5 * rank()) # The order must still be that of the first process
    def loader(split, **kwargs):
        return DataLoader([(x.float() / 255, y) for x, y in zip(split.images, split.labels)], **kwargs)
    dls = DataLoaders(loader(images.train, bs=99, shuffle=True), loader(images.valid, bs=120),
                      device=torch.device('cpu'))
    return Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), cross_entropy, metrics=batch_accuracy)

def trained(learn):
    "What one epoch leaves behind"
    gradients = Gradients()
    with learn.no_bar(), learn.no_logging(), together(learn):
        learn.fit(1, .1, cbs=gradients)
        values = list(learn.recorder.values[-1])
        preds, targets, losses = learn.get_preds(with_loss=True)
        again = list(learn.validate())
    return dict(wrapped=gradients.wrapped, after=type(learn.model).__name__, callbacks=[c.name for c in learn.cbs],
                values=values, again=again, weights=flat(learn.model), preds=preds.tolist(), targets=targets.tolist(),
                losses=losses.tolist(), gradients=[g.tolist() for g in gradients.seen])

def refusal(f, *args, **kwargs):
    "The message of the error"
    try: f(*args, **kwargs)
    except InputError as e: return str(e)

def results_of(f):
    return dict(
        weights=flat(f.model), rows=rows(f.history), scores=f.scores.tolist(), best=f.best_epoch, text=repr(f))

def both_do(images, out):
    "What one process does, and two"
    fits = {name: results_of(fit(name, images, device='cpu', **kw)) for name, kw in FITS.items()}
    return dict(
        rank=rank(), n=n_processes(), norm=trained(small_learner(images)), pairs=trained(pairs_learner(images)),
        fits=fits)

def two_do(images, out):
    "What only several processes do"
    torch.manual_seed(5)
    with own_randomness(): mine = torch.rand(3).tolist()
    again = torch.rand(3).tolist()
    (out/'seen-0').touch()
    refused = dict(sgd=refusal(fit, 'sgd', images, device='cpu'), mps=refusal(_own_device, torch.device('mps')),
                   file=refusal(all_see, out/'seen-0' if rank() == 0 else out/'nowhere'))
    learn = small_learner(images)
    try:
        with learn.no_bar(), learn.no_logging(), together(learn): learn.fit(1, cbs=Fails())
    except ValueError: pass
    few = replace(images, train=Split(images.train.images[:67], images.train.labels[:67]),
                  valid=Split(images.valid.images[:41], images.valid.labels[:41]))
    convolutions = {}
    for name in ('convnet', 'resnet18'):
        f = fit(name, few, device='cpu', epochs=1, bs=16)
        convolutions[name] = [sum(flat(f.model)), f.scores.tolist(), rows(f.history), type(f.learner.model).__name__]
    stock = None # The error of fastai's own context manager on a CPU
    try:
        with small_learner(images).distrib_ctx(cpu=True) as learner: learner.fit(1)
    except Exception as e: stock = type(e).__name__
    try: fit(images=images, device='cpu', cbs=[StopAfter(2)], checkpoint=Checkpoint(out/'by-2'), **LONG)
    except KeyboardInterrupt: pass
    resumed = fit(images=images, device='cpu', checkpoint=Checkpoint(out/'by-1', resume=True), **LONG)
    return dict(
        own=mine, again=again, refused=refused, after=type(learn.model).__name__,
        callbacks=[c.name for c in learn.cbs], stock=stock, resumed=flat(resumed.model), convolutions=convolutions)

def main(out):
    images = load('digits')
    saw = both_do(images, out)
    if n_processes() > 1: saw |= two_do(images, out)
    (out/f'saw-{n_processes()}-{rank()}.json').write_text(json.dumps(saw))

if __name__ == '__main__':
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
