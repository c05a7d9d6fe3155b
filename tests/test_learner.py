"The quick learner: the same training as fastai's own, fewer questions"
import pickle
import fastai.callback.progress # Adds `no_bar`
import pytest, torch
from fastai.callback.core import Callback, CancelBatchException, CancelEpochException
from fastai.learner import Learner, Metric, load_learner
from fastai.metrics import Precision, accuracy
from fastai.torch_core import set_seed
from fastrecipes.training.learner import FusedAdamW, MeanLoss, MeanMetric, QuickLearner, SmoothLoss
from fastrecipes.data.loaders import dataloaders
from fastrecipes.lessons.nets import mlp
from fastrecipes.lessons.sgd import ClassLoss, cross_entropy


def made(cls, images, **kwargs):
    set_seed(3)
    return cls(dataloaders(images, 32, 'cpu', 'train'), mlp(64, 2, (16,), dropout=.2), ClassLoss(cross_entropy), **{'metrics': accuracy, **kwargs})

def fitted(learn, epochs=2):
    with learn.no_bar(), learn.no_logging(): learn.fit(epochs, .01)
    return learn

class Skips(Callback):
    "Leaves batches and epochs out, and writes down what it hears"
    order = 5
    def __init__(self): self.heard = []
    def before_batch(self):
        self.heard.append((self.epoch, self.iter, self.training))
        if self.training and self.iter == 1: raise CancelBatchException()
    def after_loss(self):
        if self.training and self.epoch == 1 and self.iter == 4: raise CancelEpochException()
    def after_cancel_batch(self): self.heard.append('batch')
    def after_cancel_epoch(self): self.heard.append('epoch')
    def after_fit(self): self.heard.append('end')

def same(a, b):
    assert all(torch.equal(p, q) for p, q in zip(a.model.parameters(), b.model.parameters()))
    assert [list(v) for v in a.recorder.values] == [list(v) for v in b.recorder.values]
    assert torch.equal(torch.stack(a.recorder.losses), torch.stack(b.recorder.losses)) and a.recorder.lrs == b.recorder.lrs

def test_it_trains_as_fastais_learner_does_to_the_last_bit(threes_sevens):
    a, b = (fitted(made(cls, threes_sevens)) for cls in (Learner, QuickLearner))
    same(a, b)
    assert torch.equal(a.smooth_loss, b.smooth_loss) and a.get_preds()[0].equal(b.get_preds()[0]) and a.validate() == b.validate()

def test_what_is_cancelled_is_cancelled_alike(threes_sevens):
    a, b = (fitted(made(cls, threes_sevens, cbs=Skips()), 3) for cls in (Learner, QuickLearner))
    same(a, b)
    assert a.skips.heard == b.skips.heard and {'batch', 'epoch', 'end'} <= set(b.skips.heard)

def test_a_callback_that_does_not_run_in_validation_or_at_all_is_not_heard(threes_sevens):
    class Counts(Callback):
        run_valid, n, ready = False, 0, None
        def before_fit(self): self.run = self.n == 0
        def after_batch(self): self.n += 1
    learn = fitted(made(QuickLearner, threes_sevens, cbs=Counts()), 1)
    n = len(learn.dls.train)
    assert learn.counts.n == n
    fitted(learn, 1)
    assert learn.counts.n == n and learn.counts.run # Ready for the next fit, as fastai has it

def test_callbacks_that_come_and_go_during_training_are_heard_while_they_are_there(threes_sevens):
    class Guest(Callback):
        n = 0
        def after_batch(self): self.n += 1
    class Host(Callback):
        def before_epoch(self):
            if self.epoch == 1: self.learn.add_cb(guest)
        def after_train(self):
            if self.epoch == 1: self.learn.remove_cb(guest)
    guest = Guest()
    learn = fitted(made(QuickLearner, threes_sevens, cbs=Host()), 3)
    assert guest.n == len(learn.dls.train)

def test_meters_add_up_what_fastais_add_up_and_others_stay_as_they_are(threes_sevens):
    learn = made(QuickLearner, threes_sevens, metrics=[accuracy, Precision()])
    assert [type(m) for m in (learn.recorder.loss, learn.recorder.smooth_loss, learn.metrics[0])] == [MeanLoss, SmoothLoss, MeanMetric] and isinstance(learn.metrics[1], Metric)
    assert learn.metrics[0].name == 'accuracy'
    same(fitted(learn), fitted(made(Learner, threes_sevens, metrics=[accuracy, Precision()])))
    with learn.loss_not_reduced(): apart = learn.validate() # One loss an image
    assert list(apart) == pytest.approx(list(learn.validate()), rel=1e-6)

def test_it_is_exported_and_read_as_any_learner(threes_sevens, tmp_path):
    learn = fitted(made(QuickLearner, threes_sevens), 1)
    learn.path = tmp_path
    learn.export()
    with pytest.warns(UserWarning, match='pickle'): back = load_learner(tmp_path/'export.pkl')
    assert type(back) is QuickLearner and torch.equal(back.get_preds(dl=back.dls.test_dl(threes_sevens.valid.images))[0], learn.get_preds()[0])
    assert '_who' not in learn.__getstate__() and isinstance(pickle.loads(pickle.dumps(learn)), QuickLearner)

def test_an_unknown_event_is_refused(threes_sevens):
    with pytest.raises(Exception, match='missing after_lunch'): made(QuickLearner, threes_sevens)('after_lunch')


class Unread(Callback):
    "Leaves the figures of an epoch as fastai does where a Ctrl-C comes while it reads them"
    order = 60 # After the recorder
    def after_train(self): self.recorder.log[-1] = torch.tensor(.25)
    def after_validate(self): self.recorder.log[-1] = torch.tensor(.5)

def test_figures_are_numbers_even_where_reading_one_was_interrupted(threes_sevens):
    learn = fitted(made(QuickLearner, threes_sevens, cbs=Unread()), 1)
    assert all(type(v) is float for v in learn.recorder.values[0]) and learn.recorder.values[0][-1] == .5

# The optimiser

ORDERS = torch.contiguous_format, torch.channels_last

def steps(make, order, grads_in=None, n=5):
    "The weights of a small net of convolutions and a dense layer after some steps"
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 6, 1), torch.nn.Flatten(), torch.nn.Linear(6*4*4, 2)).to(memory_format=order)
    opt, x = make(model.parameters(), lr=.05, weight_decay=.1), torch.randn(16, 3, 6, 6)
    for _ in range(n):
        model(x).square().sum().backward()
        for p in model.parameters():
            if grads_in is not None and p.ndim == 4: p.grad.data = p.grad.contiguous(memory_format=grads_in)
        opt.step()
        opt.zero_grad()
    return [p.detach().contiguous() for p in model.parameters()]

@pytest.mark.parametrize('order', ORDERS)
@pytest.mark.parametrize('grads_in', [None, *ORDERS])
@pytest.mark.parametrize('amsgrad', [False, True])
def test_the_fused_adamw_takes_the_steps_of_the_plain_one_whatever_lies_in_which_order(order, grads_in, amsgrad):
    ours, plain = steps(lambda *a, **k: FusedAdamW(*a, amsgrad=amsgrad, **k), order, grads_in), steps(lambda *a, **k: torch.optim.AdamW(*a, fused=False, amsgrad=amsgrad, **k), torch.contiguous_format)
    for a, b in zip(ours, plain): torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)

def copies(cls, **kwargs):
    "How many times gradients of a convolution in channels-last order are copied within a step"
    from torch.profiler import profile
    p = torch.nn.Parameter(torch.randn(4, 4, 3, 3).to(memory_format=torch.channels_last))
    opt = cls([p], **kwargs)
    p.grad = torch.randn_like(p)
    opt.step()
    with profile() as seen: opt.step()
    return sum(e.name == 'aten::clone' for e in seen.events())

def test_the_fused_adamw_copies_no_gradient():
    assert copies(FusedAdamW) == 0
    assert copies(torch.optim.AdamW, fused=True) == 1, 'PyTorch copies none itself any more: `_rows` can go'
