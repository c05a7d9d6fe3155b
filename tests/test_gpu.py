"On a GPU: every rung is fitted there, nothing waits for it within an epoch, and what was fitted there is used anywhere"
import pytest, torch
from fastai.callback.core import Callback
from fastrecipes.recipes import fit, ladder
from fastrecipes.store import load, save

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')]


@pytest.fixture(scope='module')
def images(digits): return digits


@pytest.fixture(scope='module')
def fitted(images):
    "Each rung of the ladder, fitted once on the GPU"
    return {name: fit(name, images, seed=1, device='cuda', **({} if name == 'similarity' else dict(epochs=2))) for name in ladder()}


@pytest.mark.parametrize('name', ladder())
def test_every_rung_is_fitted_there_and_says_so(fitted, name):
    f = fitted[name]
    assert f.device.type == 'cuda' and 'cuda' in repr(f) and all(t.device.type == 'cuda' for t in f.model.state_dict().values())
    assert f.scores.device.type == 'cpu' and len(f.scores) == len(f.images.valid) and f.accuracy > .2 # Ten classes
    assert f.cost.peak_gpu_memory_bytes is None or f.cost.peak_gpu_memory_bytes > 0


@pytest.mark.parametrize('name', ladder())
def test_what_was_fitted_there_predicts_the_same_on_the_cpu(fitted, name, tmp_path):
    f = fitted[name]
    kept = load(save(f, tmp_path/name), device='cpu')
    same = (kept.predict(f.images.valid.images) == f.predictions).float().mean()
    assert kept.device.type == 'cpu' and same > .98


class NoWaiting(Callback):
    "PyTorch raises an error where the host would wait for the GPU between the second batch of an epoch and its last"
    order = 100
    def before_batch(self):
        if self.training and self.iter == 1: torch.cuda.set_sync_debug_mode('error')
    def after_train(self): torch.cuda.set_sync_debug_mode('default')
    def after_cancel_fit(self): torch.cuda.set_sync_debug_mode('default')


@pytest.mark.parametrize('name', [n for n in ladder() if n not in ('similarity', 'sgd')])
def test_nothing_waits_for_the_gpu_within_an_epoch(images, name):
    try: f = fit(name, images, device='cuda', epochs=2, cbs=[NoWaiting()])
    finally: torch.cuda.set_sync_debug_mode('default')
    assert len(f.history) == 2 and f.history.train_loss.notna().all()


def test_nor_does_the_hand_written_loop(images):
    from fastrecipes.loaders import dataloaders
    from fastrecipes.nets import linear
    from fastrecipes.sgd import TunedOptim, cross_entropy, train_epoch
    model, dls = linear(64, 10).cuda(), dataloaders(images, 32, 'cuda')
    opt = TunedOptim(model.parameters(), .1, clip=1.)
    def watched():
        for i, batch in enumerate(dls.train):
            if i == 1: torch.cuda.set_sync_debug_mode('error')
            yield batch
        torch.cuda.set_sync_debug_mode('default') # The mean loss is read now
    try: first, second = train_epoch(model, watched(), opt, cross_entropy), train_epoch(model, watched(), opt, cross_entropy)
    finally: torch.cuda.set_sync_debug_mode('default')
    assert second < first
