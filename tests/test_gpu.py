"On a GPU: every rung is fitted there, nothing waits for it within an epoch, and its models can be used anywhere"
import pytest, torch
from fastai.callback.core import Callback
from fastrecipes.training.checkpoint import Checkpoint
from fastrecipes.ladder.recipe import fit, get_recipe, ladder
from fastrecipes.keep.store import load, save
from reporters import Each

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')]

TRAINED = [n for n in ladder() if 'epochs' in get_recipe(n).settings]


@pytest.fixture(scope='module')
def images(digits): return digits


@pytest.fixture(scope='module')
def fitted(images):
    "Each rung of the ladder, fitted once on the GPU"
    return {name: fit(name, images, seed=1, device='cuda', **(dict(epochs=2) if name in TRAINED else {}))
            for name in ladder()}


@pytest.mark.parametrize('name', ladder())
def test_every_rung_is_fitted_there_and_says_so(fitted, name):
    f = fitted[name]
    assert f.device.type == 'cuda'
    assert 'cuda' in repr(f) and all(t.device.type == 'cuda' for t in f.model.state_dict().values())
    assert f.scores.device.type == 'cpu' and len(f.scores) == len(f.images.valid)
    assert f.accuracy > (.09 if name == 'majority' else .2) # Ten classes
    assert f.cost.peak_gpu_memory_bytes > 0


@pytest.mark.parametrize('name', ladder())
def test_what_was_fitted_there_predicts_the_same_on_the_cpu(fitted, name, tmp_path):
    f = fitted[name]
    kept = load(save(f, tmp_path/name), device='cpu')
    same = (kept.predict(f.images.valid.images) == f.predictions).float().mean()
    assert kept.device.type == 'cpu' and same > .98


class NoWaiting(Callback):
    "PyTorch raises an error if the host waits for the GPU after the first batch of an epoch, or of its validation"
    order = 100
    def before_batch(self):
        if self.iter == 1: torch.cuda.set_sync_debug_mode('error')

class Over(Callback):
    "Ends what `NoWaiting` began, before the results of the epoch are read"
    order = -100
    def after_train(self): torch.cuda.set_sync_debug_mode('default')
    after_validate = after_cancel_fit = after_train

@pytest.mark.parametrize('name', [n for n in TRAINED if n != 'sgd'])
def test_nothing_waits_for_the_gpu_within_an_epoch(images, name):
    try: f = fit(name, images, device='cuda', epochs=2, cbs=[NoWaiting(), Over()])
    finally: torch.cuda.set_sync_debug_mode('default')
    assert len(f.history) == 2 and f.history.train_loss.notna().all()


def test_nor_does_the_hand_written_loop(images):
    from fastrecipes.data.loaders import dataloaders
    from fastrecipes.lessons.nets import linear
    from fastrecipes.lessons.sgd import cross_entropy, train_epoch, TunedOptim
    model, dls = linear(64, 10).cuda(), dataloaders(images, 32, 'cuda')
    opt = TunedOptim(model.parameters(), .1, clip=1.)
    def watched():
        for i, batch in enumerate(dls.train):
            if i == 1: torch.cuda.set_sync_debug_mode('error')
            yield batch
        torch.cuda.set_sync_debug_mode('default') # The mean loss is read now
    try:
        first = train_epoch(model, watched(), opt, cross_entropy)
        second = train_epoch(model, watched(), opt, cross_entropy)
    finally: torch.cuda.set_sync_debug_mode('default')
    assert second < first


@pytest.mark.parametrize('name', ['mlp', 'convnet', 'resnet18'])
def test_a_seed_repeats_there(images, fitted, name):
    again = fit(name, images, seed=1, device='cuda', epochs=2)
    assert (again.predictions == fitted[name].predictions).float().mean() > .99
    assert abs(again.accuracy - fitted[name].accuracy) < .01


@pytest.mark.parametrize('name', ['convnet', 'resnet18'])
def test_a_training_that_was_stopped_is_resumed_there(images, fitted, name, tmp_path):
    class Stop(Exception): pass
    def stop(row): raise Stop('now')
    how = dict(seed=1, device='cuda', epochs=2)
    with pytest.raises(Stop): fit(name, images, checkpoint=Checkpoint(tmp_path, every=1), reporter=Each(stop), **how)
    f = fit(name, images, checkpoint=Checkpoint(tmp_path, every=1, resume=True), **how)
    assert len(f.history) == 2 and abs(f.accuracy - fitted[name].accuracy) < .02


class Held(Callback):
    "Counts the bytes that are needed at once: weights, gradients, optimiser state, and the maps of one batch"
    def before_batch(self):
        if not self.training or self.epoch or self.iter != 1: return
        self.storages = {}
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.note, lambda t: t)
        self.hooks.__enter__()
    def note(self, t):
        self.storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t
    def after_loss(self):
        if not hasattr(self, 'storages') or hasattr(self, 'need'): return
        self.hooks.__exit__(None, None, None)
        storages = [t.untyped_storage() for t in self.learn.model.state_dict().values()]
        of_model = {s.data_ptr(): s.nbytes() for s in storages}
        weights = sum(p.nbytes for p in self.learn.model.parameters())
        self.need = sum((self.storages | of_model).values()) + 3 * weights # Gradients and both averages


@pytest.mark.parametrize('name', ['convnet', 'resnet18'])
def test_the_peak_of_gpu_memory_stays_within_a_fifth_of_what_must_be_there(threes_sevens, name):
    held = Held()
    f = fit(name, threes_sevens, device='cuda', epochs=2, bs=64, cbs=[held]) # Five batches an epoch
    data = sum(s.images.nbytes + s.labels.nbytes for s in (threes_sevens.train, threes_sevens.valid))
    best = sum(t.nbytes for t in f.model.state_dict().values()) # A copy, to go back to
    assert f.cost.peak_gpu_memory_bytes <= 1.2 * (data + held.need + best)
