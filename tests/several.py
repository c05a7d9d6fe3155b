"""What test_distributed.py lets several processes do: `torchrun ... several.py FOLDER`. Each writes what it saw to FOLDER/saw-RANK.json"""
import json, random, sys
from dataclasses import replace
from pathlib import Path
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from torch import nn
from fastrecipes.training.checkpoint import Checkpoint
from fastrecipes.training.processes import distributed, n_processes, own_randomness, predict_shared, rank, start
from fastrecipes.data.images import Split
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError
from fastrecipes.data.loaders import dataloaders
from fastrecipes.ladder.recipe import fit
from fastrecipes.ladder.settings import recipes
from fastrecipes.lessons.sgd import batch_accuracy, cross_entropy
from fastrecipes.keep.store import save

FITS = { # Batches that cannot be halved, and last ones of 1, 2 and 7 images
    'sgd': dict(epochs=2, bs=359, patience=5), 'linear': dict(epochs=2, bs=205), 'logistic': dict(epochs=2, bs=51, lr=.1, clip=.1, wd=.1, best=False), 'simple_net': dict(epochs=2, bs=110, schedule='one-cycle', clip=.5), 'mlp': dict(epochs=2, bs=359)}

class Gradients(Callback):
    "Keeps the gradient of every step of the first epoch"
    order = 100
    def before_fit(self): self.seen, self.wrapped = [], type(self.learn.model).__name__
    def before_step(self): self.seen.append(torch.cat([p.grad.flatten() for p in self.model.parameters()]))

def flat(model): return torch.cat([v.flatten().double() for v in model.state_dict().values()]).tolist()
def rows(history): return history.drop(columns='seconds').values.tolist()

def small_learner(images, **kwargs):
    "One layer of batch norm that sees the pixels themselves, and a linear one"
    torch.manual_seed(1)
    random.seed(1)
    images = replace(images, train=Split(images.train.images[:1400], images.train.labels[:1400])) # 14 batches that can be halved
    return Learner(dataloaders(images, 100, 'cpu'), nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10)), cross_entropy, metrics=batch_accuracy, **kwargs)

def pairs_learner(images):
    "Through fastai's own loader over a list of pairs"
    torch.manual_seed(2)
    random.seed(2 + 5 * rank()) # The order must be that of the first process nevertheless
    data = lambda s: [(x.float() / 255, y) for x, y in zip(s.images, s.labels)]
    dls = DataLoaders(DataLoader(data(images.train), bs=99, shuffle=True), DataLoader(data(images.valid), bs=120), device=torch.device('cpu'))
    return Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), cross_entropy, metrics=batch_accuracy)

def epoch(learn):
    "Train for one epoch, and what comes of it"
    gradients = Gradients()
    with learn.no_bar(), learn.no_logging(), distributed(learn):
        learn.fit(1, .1, cbs=gradients)
        values = list(learn.recorder.values[-1])
        preds, targets = learn.get_preds()
        losses = learn.get_preds(with_loss=True)[2]
        again = list(learn.validate())
    return dict(wrapped=gradients.wrapped, after=type(learn.model).__name__, callbacks=[c.name for c in learn.cbs], values=values, again=again, weights=flat(learn.model),
                preds=preds.tolist(), targets=targets.tolist(), losses=losses.tolist(), gradients=[g.tolist() for g in gradients.seen])

def refusal(f, *args, **kwargs):
    "What is said when it is refused"
    try: f(*args, **kwargs)
    except InputError as e: return str(e)

def stop_after(n):
    "Stops a training in epoch `n`, as Ctrl-C does"
    def on_epoch(row):
        if row['epoch'] + 1 == n: raise KeyboardInterrupt
    return on_epoch

LONG = dict(recipe='mlp', epochs=4, bs=205, dropout=0.)

def main(out):
    images, saw = load('digits'), dict(rank=rank(), n=n_processes())
    state = torch.get_rng_state()
    fits = {name: fit(name, images, device='cpu', **kw) for name, kw in FITS.items()}
    saw['fits'] = {n: dict(weights=flat(f.model), rows=rows(f.history), scores=f.scores.tolist(), settings=[f.settings['bs'], f.best_epoch], ms=[f.ms_1, f.ms_per_1000], said=repr(f)) for n, f in fits.items()}
    save(fits['mlp'], out/f'kept-{rank()}')
    saw['norm'], saw['pairs'] = epoch(small_learner(images)), epoch(pairs_learner(images))
    saw['state kept'] = bool((torch.get_rng_state() == state).all()) if n_processes() == 1 else None
    if n_processes() > 1: saw |= alone_it_cannot(images, out)
    (out/f'saw-{n_processes()}-{rank()}.json').write_text(json.dumps(saw))

def alone_it_cannot(images, out):
    "What there is for several processes only"
    saw = {}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with own_randomness(): saw['own'] = torch.rand(3).tolist()
    saw['shared again'] = torch.rand(3).tolist()
    torch.set_rng_state(state)
    fit('mlp', images, device='cpu', epochs=1, dropout=.5)
    saw['state kept'] = bool((torch.get_rng_state() == state).all())
    pixels = torch.arange(28).byte().view(7, 1, 2, 2)
    def scores(part):
        given.append(len(part))
        return torch.cat([x.flatten(1).float() for x in part.split(2)])
    given, saw['predicted'] = [], []
    for pictures in pixels, pixels[[6, 1, 3]], pixels[:1]: saw['predicted'].append(predict_shared(scores, pictures)[:, 0].tolist())
    saw['given'] = given
    saw['small'] = refusal(fit, 'linear', images, device='cpu', bs=3), refusal(fit, 'sgd', images, device='cpu', bs=3)
    saw['mps'] = refusal(start, 'mps')
    learn = small_learner(images)
    class Fails(Callback):
        def after_batch(self): raise ValueError('on purpose')
    try:
        with learn.no_bar(), learn.no_logging(), distributed(learn): learn.fit(1, cbs=Fails())
    except ValueError: pass
    saw['after an error'] = type(learn.model).__name__, [c.name for c in learn.cbs], type(learn.recorder.smooth_loss).__name__
    few = replace(images, train=Split(images.train.images[:67], images.train.labels[:67]), valid=Split(images.valid.images[:41], images.valid.labels[:41]))
    convolutions = {n: fit(n, few, device='cpu', epochs=1, bs=16) for n in ('convnet', 'resnet18') if n in recipes}
    saw['convolutions'] = {n: (sum(flat(f.model)), f.scores.tolist(), rows(f.history), type(f.learner.model).__name__) for n, f in convolutions.items()}
    try:
        with small_learner(images).distrib_ctx(cpu=True) as stock: stock.fit(1)
    except Exception as e: saw['stock fastai'] = type(e).__name__
    kw = dict(LONG)
    name = kw.pop('recipe')
    try: fit(name, images, device='cpu', on_epoch=stop_after(3), checkpoint=Checkpoint(out/'by-2'), **kw)
    except KeyboardInterrupt: pass
    saw['resumed'] = flat(fit(name, images, device='cpu', checkpoint=Checkpoint(out/'by-1', resume=True), **kw).model)
    return saw

if __name__ == '__main__':
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
