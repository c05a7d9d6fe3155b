"""Fitting through fastai's `Learner`: a history worked out by hand, quiet, with the learning rates asked for, and a learner as it was"""
import matplotlib
matplotlib.use('Agg')
import pandas as pd, pytest, torch
from fastai.callback.core import Callback
from fastai.callback.mixup import MixUp
from fastai.callback.progress import ProgressCallback
from fastai.callback.tracker import SaveModelCallback
from fastai.callback.training import GradientClip
from fastai.learner import Learner
from fastai.optimizer import Adam
from fastai.torch_core import set_seed
import fastai.callback.schedule # gives `Learner` lr_find
from fastrecipes.images import ImageSet, InputError, Split
from fastrecipes.loaders import dataloaders
from fastrecipes.nets import linear
from fastrecipes.sgd import ClassLoss, basic_opt, batch_accuracy, cross_entropy
from fastrecipes.training import History, Outcome, fit_learner, plot_history

COLUMNS = ['epoch', 'train_loss', 'valid_loss', 'accuracy', 'seconds']


@pytest.fixture(scope='module')
def data(digits):
    return ImageSet('digits', digits.classes, *(Split(s.images[:n], s.labels[:n]) for s, n in ((digits.train, 64), (digits.valid, 30))))

def make(data, bs=16, opt=basic_opt, shuffle=True, **kwargs):
    set_seed(0)
    dls = dataloaders(data, bs, 'cpu', shuffle=shuffle)
    return Learner(dls, linear(64, 10), ClassLoss(cross_entropy), opt_func=opt, metrics=batch_accuracy, **kwargs)

def quietly(learn, f, *args, **kwargs):
    with learn.no_bar(), learn.no_logging(): return f(*args, **kwargs)


# History

def test_history_is_worked_out_by_hand_with_the_last_batch_weighed_by_its_size(data):
    learn = make(data, bs=25, shuffle=False) # batches of 25, 25 and 14
    weight, bias = (p.detach().clone().requires_grad_() for p in learn.model.parameters())
    x, y = data.train.images.flatten(1) / 255, data.train.labels
    wanted = []
    for _ in range(2):
        total = 0
        for i in (slice(0, 25), slice(25, 50), slice(50, 64)):
            loss = torch.nn.functional.cross_entropy(x[i] @ weight.T + bias, y[i])
            total += loss.item() * len(y[i])
            for p, g in zip((weight, bias), torch.autograd.grad(loss, (weight, bias))): p.data -= .5 * g
        scores = data.valid.images.flatten(1) / 255 @ weight.T + bias
        wanted.append([total / 64, torch.nn.functional.cross_entropy(scores, data.valid.labels).item(),
                       (scores.argmax(1) == data.valid.labels).float().mean().item()])
    got = fit_learner(learn, 2, .5).history
    assert list(got) == COLUMNS and got.epoch.tolist() == [0, 1] and (got.seconds > 0).all()
    assert got[['train_loss', 'valid_loss', 'accuracy']].to_numpy() == pytest.approx(torch.tensor(wanted).numpy(), abs=1e-5)
    assert torch.allclose(learn.model[1].weight, weight, atol=1e-6)

def test_history_goes_on_counting_in_a_second_fit(data):
    learn = make(data, cbs=History())
    quietly(learn, learn.fit, 2, .1); quietly(learn, learn.fit, 1, .1)
    assert learn.history.frame.epoch.tolist() == [0, 1, 2] and learn.history.frame.train_loss.is_monotonic_decreasing

def test_on_epoch_is_called_with_each_row_as_it_comes(data):
    seen = []
    learn = make(data)
    history = fit_learner(learn, 3, .1, on_epoch=lambda row: seen.append((row['epoch'], learn.epoch, dict(row)))).history
    assert [(a, b) for a, b, _ in seen] == [(0, 0), (1, 1), (2, 2)] and pd.DataFrame([row for *_, row in seen]).equals(history)

def test_without_a_metric_accuracy_is_not_a_number(data):
    learn = make(data)
    learn.metrics = []
    assert fit_learner(learn, 1, .1).history.accuracy.isna().all()

@pytest.mark.parametrize('what', ['get_preds', 'lr_find', 'predict', 'validate'])
@pytest.mark.parametrize('fitted', [0, 2])
def test_history_records_nothing_while_predicting_validating_or_looking_for_a_rate(data, what, fitted):
    learn = make(data, cbs=History())
    if fitted: quietly(learn, learn.fit, fitted, .1)
    dict(get_preds=learn.get_preds, lr_find=lambda: learn.lr_find(num_it=6, show_plot=False), validate=learn.validate,
         predict=lambda: learn.predict(data.valid.images[0]))[what]()
    assert len(learn.history.frame) == fitted
    quietly(learn, learn.fit, 1, .1)
    assert learn.history.frame.epoch.tolist() == list(range(fitted + 1)), 'and goes on afterwards'


# fit_learner

def test_fitting_is_quiet(data, capfd):
    for schedule in ('constant', 'one-cycle'): fit_learner(make(data), 1, .1, schedule)
    assert tuple(capfd.readouterr()) == ('', '')

@pytest.mark.parametrize('opt', [basic_opt, Adam], ids=['basic', 'adam'])
def test_a_constant_rate_is_constant_and_one_cycle_climbs_to_it_and_falls_to_nothing(data, opt):
    learn = make(data, opt=opt)
    fit_learner(learn, 2, .02)
    assert learn.recorder.lrs == pytest.approx([.02] * 8)
    fit_learner(learn, 4, .02, 'one-cycle') # 16 steps: the first quarter climbs
    lrs = torch.tensor(learn.recorder.lrs, dtype=torch.float64)
    assert len(lrs) == 16 and lrs[0].item() == pytest.approx(.02 / 25) and lrs.max().item() == pytest.approx(.02) and lrs.argmax() == 4
    assert (lrs[:5].diff() > 0).all() and (lrs[4:].diff() < 0).all() and lrs[-1] < .02 / 25
    assert learn.opt.hypers[0]['lr'] == lrs[-1]

def test_one_cycle_is_fastais_own_whether_the_optimiser_has_momentum_or_not(data):
    ours, basic, fastais = make(data, opt=Adam), make(data), make(data, opt=Adam)
    histories = [fit_learner(learn, 2, .02, 'one-cycle').history for learn in (ours, basic)]
    quietly(fastais, fastais.fit_one_cycle, 2, .02)
    assert torch.equal(ours.model[1].weight, fastais.model[1].weight) and ours.recorder.lrs == fastais.recorder.lrs
    assert basic.recorder.lrs == pytest.approx(fastais.recorder.lrs) and 'mom' in ours.recorder.hps and 'mom' not in basic.recorder.hps
    assert all(len(h) == 2 for h in histories)

def test_an_unknown_schedule_is_refused_before_anything_is_fitted(data):
    learn = make(data)
    wanted = "schedule='cosine' is not known; there are 'constant' and 'one-cycle'"
    with pytest.raises(InputError, match=wanted): fit_learner(learn, 1, .1, 'cosine')
    assert learn.opt is None

def test_the_outcome_has_model_learner_stats_and_what_was_chosen(data):
    learn = make(data, bs=None)
    learn.dls = dataloaders(data, None, 'cpu', stats='train')
    outcome = fit_learner(learn, 1, .1)
    assert isinstance(outcome, Outcome) and outcome.model is learn.model and outcome.learner is learn and outcome.has_probs
    assert outcome.stats == learn.dls.stats and outcome.derived == dict(epochs=1, lr=.1, bs=8)

class Counter(Callback):
    def before_fit(self): self.batches = 0
    def after_batch(self): self.batches += self.training

@pytest.mark.parametrize('schedule', ['constant', 'one-cycle'])
def test_callbacks_that_are_handed_in_work_for_this_fit_only(data, schedule):
    learn, counter = make(data), Counter()
    fit_learner(learn, 2, .1, schedule, cbs=(cb for cb in [counter]))
    assert counter.batches == 8 and counter not in learn.cbs
    fit_learner(learn, 1, .1, schedule)
    assert counter.batches == 8

def test_fastais_callbacks_have_their_effect(data, tmp_path):
    clipped, free = make(data), make(data)
    start = free.model[1].weight.detach().clone()
    fit_learner(clipped, 1, 1., cbs=[GradientClip(.01)]); fit_learner(free, 1, 1.)
    assert (clipped.model[1].weight - start).norm() <= 4 * .01 + 1e-6 < (free.model[1].weight - start).norm() # four steps
    fit_learner(free, 2, .1, cbs=[SaveModelCallback(fname=str(tmp_path/'best'))])
    assert (tmp_path/'best.pth').is_file()

def test_mixup_trains_on_mixed_images(data):
    mixed, plain = make(data), make(data)
    for learn, cbs in ((mixed, [MixUp()]), (plain, [])): fit_learner(learn, 3, .5, cbs=cbs)
    assert not torch.allclose(mixed.model[1].weight, plain.model[1].weight) and mixed.validate()[0] < 2.3 # chance is log 10

def test_a_progress_bar_that_is_handed_in_is_used(data, capsys):
    learn, bar = make(data), ProgressCallback()
    fit_learner(learn, 2, .1, cbs=[bar])
    out = capsys.readouterr().out
    assert 'batch_accuracy' in out and learn.logger is print, 'the table of losses is written, and the logger given back'

@pytest.mark.parametrize('cbs', [[], [ProgressCallback]], ids=['quiet', 'bar'])
@pytest.mark.parametrize('schedule', ['constant', 'one-cycle'])
def test_the_learner_is_as_it_was_and_can_be_fitted_again(data, cbs, schedule):
    learn = make(data, opt=Adam)
    before, logger = [type(cb) for cb in learn.cbs], learn.logger
    first = fit_learner(learn, 2, .02, schedule, cbs=[cb() for cb in cbs]).history
    assert sorted(t.__name__ for t in map(type, learn.cbs)) == sorted(t.__name__ for t in before) and learn.logger is logger
    second = fit_learner(learn, 1, .02, schedule).history
    assert second.epoch.tolist() == [0] and second.train_loss.iloc[0] < first.train_loss.iloc[0]

def test_the_learner_is_as_it_was_after_an_interruption_too(data):
    class Stop(Callback):
        def before_batch(self): raise KeyboardInterrupt
    learn = make(data)
    before = sorted(type(cb).__name__ for cb in learn.cbs)
    for cbs in ([Stop()], [Stop(), ProgressCallback()]):
        with pytest.raises(KeyboardInterrupt): fit_learner(learn, 1, .1, cbs=cbs)
        assert sorted(type(cb).__name__ for cb in learn.cbs) == before
    assert len(fit_learner(learn, 1, .1).history) == 1


# plot_history

def test_the_plot_has_both_losses_and_the_accuracy_by_epoch_from_one():
    history = pd.DataFrame(dict(epoch=[0, 1], train_loss=[2., 1.], valid_loss=[3., 2.5], accuracy=[.5, .75], seconds=[1., 1.]))
    left, right = plot_history(history).axes
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in (left, right)] == [('epoch', 'loss'), ('epoch', 'validation accuracy')]
    losses = {line.get_label(): line.get_xydata().tolist() for line in left.lines}
    assert losses == {'training': [[1, 2], [2, 1]], 'validation': [[1, 3], [2, 2.5]]}
    assert [line.get_xydata().tolist() for line in right.lines] == [[[1, .5], [2, .75]]]
    assert [t.get_text() for t in left.get_legend().get_texts()] == ['training', 'validation']
