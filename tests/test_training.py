"Fitting through fastai's `Learner`: quiet, with a history checked by hand, and the learner is left as it was"
import math, re
from copy import deepcopy
import matplotlib
matplotlib.use('Agg')
import pandas as pd, pytest, torch
from fastai.callback.core import Callback
from fastai.callback.mixup import CutMix, MixUp
from fastai.callback.progress import ProgressCallback
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback
from fastai.callback.training import GradientClip
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import Adam, SGD
from fastai.torch_core import no_random, set_seed
from hypothesis import given, settings, strategies as st
from torch import nn
import fastai.callback.schedule # noqa: F401 - gives `Learner` lr_find
from fastrecipes.training.checkpoint import Checkpoint
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.errors import InputError
from fastrecipes.data.loaders import dataloaders, ImageDataset
from fastrecipes.lessons.nets import linear
from fastrecipes.lessons.sgd import basic_opt, batch_accuracy, ClassLoss, cross_entropy, Diverged
from fastrecipes.ladder.settings import Count, Whole
from fastrecipes.training.fitting import (
    adamw, CallHooks, fit_by_hand, fit_learner, OnDevice, one_cycle, Outcome, plot_history,
)
from fastrecipes.training.hooks import Best, climbing_epochs, History, Patience, stop_text, TrainAccuracy
from reporters import Each, Seen

COLUMNS = ['epoch', 'train_loss', 'valid_loss', 'accuracy', 'seconds', 'train_accuracy']


@pytest.fixture(scope='module')
def data(digits):
    return ImageSet('digits', digits.classes,
                    *(Split(s.images[:n], s.labels[:n]) for s, n in ((digits.train, 64), (digits.valid, 30))))

@pytest.fixture(scope='module')
def unlearnable(data):
    "Training labels in random order, so that the validation loss soon rises"
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    return ImageSet('noise', data.classes, Split(data.train.images, data.train.labels[order]), data.valid)

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
        total = right = 0
        for i in (slice(0, 25), slice(25, 50), slice(50, 64)):
            scores = x[i] @ weight.T + bias
            right += (scores.argmax(1) == y[i]).sum().item()
            loss = torch.nn.functional.cross_entropy(scores, y[i])
            total += loss.item() * len(y[i])
            for p, g in zip((weight, bias), torch.autograd.grad(loss, (weight, bias))): p.data -= .5 * g
        scores = data.valid.images.flatten(1) / 255 @ weight.T + bias
        wanted.append([total / 64, torch.nn.functional.cross_entropy(scores, data.valid.labels).item(),
                       (scores.argmax(1) == data.valid.labels).float().mean().item(), right / 64])
    got = fit_learner(learn, 2, .5).history
    assert list(got) == COLUMNS and got.epoch.tolist() == [0, 1] and (got.seconds > 0).all()
    numbers = got[['train_loss', 'valid_loss', 'accuracy', 'train_accuracy']].to_numpy()
    assert numbers == pytest.approx(torch.tensor(wanted).numpy(), abs=1e-5)
    assert torch.allclose(learn.model[1].weight, weight, atol=1e-6)

@pytest.mark.parametrize('most', [1, 2**20])
def test_the_hand_written_loop_and_the_learner_count_the_same_training_accuracy(data, monkeypatch, most):
    monkeypatch.setattr(TrainAccuracy, 'most', most)
    learn = make(data, bs=25, shuffle=False)
    model = deepcopy(learn.model)
    first = fit_learner(learn, 3, .5).history
    dls = make(data, bs=25, shuffle=False).dls
    second = fit_by_hand(model, dls, cross_entropy, epochs=3, lr=.5).history
    assert list(second) == COLUMNS and (first.train_accuracy * 64 % 1).abs().max() < 1e-5
    assert first.train_accuracy.tolist() == pytest.approx(second.train_accuracy.tolist())
    assert first.train_accuracy.iloc[-1] > first.train_accuracy.iloc[0]

@pytest.mark.parametrize('callback', [MixUp, CutMix])
def test_mixtures_of_images_have_no_training_accuracy(data, callback):
    learn = make(data)
    history = fit_learner(learn, 1, .1, cbs=callback()).history
    assert list(history) == COLUMNS[:-1] and history.train_loss.notna().all()

def test_history_goes_on_counting_in_a_second_fit(data):
    history = History()
    learn = make(data, cbs=CallHooks(history))
    quietly(learn, learn.fit, 2, .1)
    quietly(learn, learn.fit, 1, .1)
    assert history.frame.epoch.tolist() == [0, 1, 2] and history.frame.train_loss.is_monotonic_decreasing

def test_a_reporter_is_told_each_row_as_it_comes(data):
    seen = []
    learn = make(data)
    reporter = Each(lambda row: seen.append((row['epoch'], learn.epoch, dict(row))))
    history = fit_learner(learn, 3, .1, reporter=reporter).history
    assert [(a, b) for a, b, _ in seen] == [(0, 0), (1, 1), (2, 2)]
    assert pd.DataFrame([row for *_, row in seen]).equals(history)

def test_without_a_metric_accuracy_is_not_a_number(data):
    learn = make(data)
    learn.metrics = []
    assert fit_learner(learn, 1, .1).history.accuracy.isna().all()

@pytest.mark.parametrize('what', ['get_preds', 'lr_find', 'predict', 'validate'])
@pytest.mark.parametrize('fitted', [0, 2])
def test_history_records_nothing_while_predicting_validating_or_looking_for_a_rate(data, what, fitted):
    history = History()
    learn = make(data, cbs=CallHooks(history))
    if fitted: quietly(learn, learn.fit, fitted, .1)
    actions = dict(
        get_preds=learn.get_preds, lr_find=lambda: learn.lr_find(num_it=6, show_plot=False), validate=learn.validate,
        predict=lambda: learn.predict(data.valid.images[0]))
    actions[what]()
    assert len(history.frame) == fitted
    quietly(learn, learn.fit, 1, .1)
    assert history.frame.epoch.tolist() == list(range(fitted + 1)), 'and continues afterwards'


# fit_learner

def test_fitting_is_quiet(data, capfd):
    for schedule in ('constant', 'one-cycle'): fit_learner(make(data), 1, .1, schedule=schedule)
    assert tuple(capfd.readouterr()) == ('', '')

@pytest.mark.parametrize('opt', [basic_opt, Adam], ids=['basic', 'adam'])
def test_a_constant_rate_is_constant_and_one_cycle_climbs_to_it_and_falls_to_nothing(data, opt):
    learn = make(data, opt=opt)
    fit_learner(learn, 2, .02)
    assert learn.recorder.lrs == pytest.approx([.02] * 8)
    fit_learner(learn, 4, .02, schedule='one-cycle') # 16 steps: the first quarter climbs
    lrs = torch.tensor(learn.recorder.lrs, dtype=torch.float64)
    assert len(lrs) == 16
    assert lrs[0].item() == pytest.approx(.02 / 25) and lrs.max().item() == pytest.approx(.02) and lrs.argmax() == 4
    assert (lrs[:5].diff() > 0).all() and (lrs[4:].diff() < 0).all() and lrs[-1] < .02 / 25
    assert learn.opt.hypers[0]['lr'] == lrs[-1]

def test_one_cycle_is_fastais_own_whether_the_optimiser_has_momentum_or_not(data):
    ours, basic, fastais = make(data, opt=Adam), make(data), make(data, opt=Adam)
    histories = [fit_learner(learn, 2, .02, schedule='one-cycle').history for learn in (ours, basic)]
    quietly(fastais, fastais.fit_one_cycle, 2, .02)
    assert torch.equal(ours.model[1].weight, fastais.model[1].weight) and ours.recorder.lrs == fastais.recorder.lrs
    assert basic.recorder.lrs == pytest.approx(fastais.recorder.lrs)
    assert 'mom' in ours.recorder.hps and 'mom' not in basic.recorder.hps
    assert all(len(h) == 2 for h in histories)

def test_an_unknown_schedule_is_refused_before_anything_is_fitted(data):
    learn = make(data)
    with pytest.raises(InputError, match="schedule='cosine'.*'constant'.*'one-cycle'"):
        fit_learner(learn, 1, .1, schedule='cosine')
    assert learn.opt is None

def test_the_outcome_has_model_learner_stats_and_what_was_chosen(data):
    learn = make(data, bs=None)
    learn.dls = dataloaders(data, None, 'cpu', stats='train')
    outcome = fit_learner(learn, 1, .1)
    assert isinstance(outcome, Outcome)
    assert outcome.model is learn.model and outcome.learner is learn and outcome.has_probs
    assert outcome.stats == learn.dls.stats and outcome.resolved == dict(epochs=1, lr=.1, bs=8)

class Counter(Callback):
    def before_fit(self): self.batches = 0
    def after_batch(self): self.batches += self.training

@pytest.mark.parametrize('schedule', ['constant', 'one-cycle'])
def test_callbacks_that_are_handed_in_work_for_this_fit_only(data, schedule):
    learn, counter = make(data), Counter()
    fit_learner(learn, 2, .1, schedule=schedule, cbs=(cb for cb in [counter]))
    assert counter.batches == 8 and counter not in learn.cbs
    fit_learner(learn, 1, .1, schedule=schedule)
    assert counter.batches == 8

def test_fastais_callbacks_have_their_effect(data, tmp_path):
    clipped, free = make(data), make(data)
    start = free.model[1].weight.detach().clone()
    fit_learner(clipped, 1, 1., cbs=[GradientClip(.01)])
    fit_learner(free, 1, 1.)
    def moved(learn): return (learn.model[1].weight - start).norm()
    assert moved(clipped) <= 4 * .01 + 1e-6 < moved(free) # Four steps
    fit_learner(free, 2, .1, cbs=[SaveModelCallback(fname=str(tmp_path/'best'))])
    assert (tmp_path/'best.pth').is_file()

def test_mixup_trains_on_mixed_images(data):
    mixed, plain = make(data), make(data)
    for learn, cbs in ((mixed, [MixUp()]), (plain, [])): fit_learner(learn, 3, .5, cbs=cbs)
    assert not torch.allclose(mixed.model[1].weight, plain.model[1].weight)
    assert mixed.validate()[0] < 2.3 # chance is log 10

def test_a_progress_bar_that_is_handed_in_is_used(data, capsys):
    learn, bar = make(data), ProgressCallback()
    fit_learner(learn, 2, .1, cbs=[bar])
    out = capsys.readouterr().out
    assert 'batch_accuracy' in out, 'the table of losses is written'
    assert learn.logger is print, 'and the logger is put back'

@pytest.mark.parametrize('cbs', [[], [ProgressCallback]], ids=['quiet', 'bar'])
@pytest.mark.parametrize('schedule', ['constant', 'one-cycle'])
def test_the_learner_is_as_it_was_and_can_be_fitted_again(data, cbs, schedule):
    learn = make(data, opt=Adam)
    before, logger = [type(cb) for cb in learn.cbs], learn.logger
    first = fit_learner(learn, 2, .02, schedule=schedule, cbs=[cb() for cb in cbs]).history
    assert sorted(t.__name__ for t in map(type, learn.cbs)) == sorted(t.__name__ for t in before)
    assert learn.logger is logger
    second = fit_learner(learn, 1, .02, schedule=schedule).history
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


# Patience

NAN, INF = math.nan, math.inf

def stop_of(losses, patience, counts='since-best', climb=0):
    "The epoch after which training stops, or None"
    watch = Patience(patience, counts, climb)
    return next((i for i, loss in enumerate(losses) if watch.update(loss)), None)

@pytest.mark.parametrize('losses, patience, since_best, increases', [
    ([3, 2, 1, 0], 1, None, None),
    ([1, 2], 1, 1, 1),
    ([1, 1], 1, 1, None),
    ([1, 2, 3, 4], 2, 2, 2),
    ([1, 2, 3, 4], 3, 3, 3),
    ([5, 4, 6, 5, 6, 5, 6], 2, 3, None), # up and down: never two increases in a row, but no progress
    ([5, 4, 6, 5, 3, 4, 5], 3, None, None),
    ([5, 4, 6, 5, 3, 4, 5], 2, 3, 6),
    ([5, 6, 5.5, 5.2, 5.1, 5.05], 4, 4, None),
    ([5, 6, 6, 7], 2, 2, None),
    ([5, 6, 7, 6, 7, 8], 2, 2, 2),
    ([5, 4], 0, None, None),
    ([1, 2, 3, 4, 5, 6], 0, None, None),
    ([1, NAN, NAN], 2, 2, 2),
    ([NAN, NAN], 1, 0, 0),
    ([1, INF, .5], 1, 1, 1),
    ([INF, INF, INF], 2, 1, None),
    ([NAN] * 3, 0, None, None),
])
def test_patience_by_hand(losses, patience, since_best, increases):
    assert (stop_of(losses, patience), stop_of(losses, patience, 'increases')) == (since_best, increases)

values = st.lists(st.sampled_from([0., .5, 1., 2., 3.]) | st.floats(0, 1e6, width=32), max_size=12)

@settings(max_examples=300, deadline=None, derandomize=True)
@given(losses=values | st.lists(st.sampled_from([0., 1., 2., INF])), patience=st.integers(1, 4))
def test_increases_in_a_row_are_counted_as_in_the_lesson(losses, patience):
    count, wanted = 0, None
    for i in range(1, len(losses)):
        if losses[i] > losses[i - 1]: count += 1
        else: count = 0
        if count == patience:
            wanted = i
            break
    assert stop_of(losses, patience, 'increases') == wanted

class Scripted:
    "A loss function whose validation loss in each epoch is given"
    def __init__(self, losses): self.losses = losses
    def __call__(self, scores, y):
        return scores.sum() * 0 + (1. if self.learn.training else self.losses[self.learn.epoch])

def scripted(data, losses):
    def few(split):
        return Split(split.images[:10], torch.arange(10))
    loss = Scripted(losses)
    loss.learn = Learner(dataloaders(ImageSet('few', data.classes, few(data.train), few(data.valid)), 10, 'cpu'),
                         linear(64, 10), loss, opt_func=basic_opt)
    return loss.learn

@settings(max_examples=60, deadline=None, derandomize=True)
@given(losses=st.lists(st.sampled_from([0., .5, 1., 2.]) | st.floats(0, 1e6, width=32), min_size=1, max_size=8),
       patience=st.integers(1, 4))
def test_epochs_since_the_best_are_counted_as_fastais_early_stopping_does(data, losses, patience):
    theirs = scripted(data, losses)
    quietly(theirs, theirs.fit, len(losses), .1, cbs=EarlyStoppingCallback(patience=patience))
    ours = fit_learner(scripted(data, losses), len(losses), .1, patience=patience)
    stop = stop_of(losses, patience)
    epochs = len(losses) if stop is None else stop + 1
    assert len(ours.history) == len(theirs.recorder.values) == epochs
    assert ours.history.valid_loss.tolist() == pytest.approx(losses[:len(ours.history)], nan_ok=True)

@pytest.mark.parametrize('counts', ['since-best', 'increases'])
def test_a_learner_is_stopped_by_either_counting_and_keeps_the_best_epoch(data, counts):
    losses = [5, 4, 6, 5, 3, 4, 5, 6, 7, 1]
    outcome = fit_learner(scripted(data, losses), 10, .1, patience=2, patience_counts=counts, best=True)
    assert (len(outcome.history), outcome.best_epoch) == ((4, 1) if counts == 'since-best' else (7, 4))

def test_patience_goes_on_from_its_state():
    losses = [5, 4, 6, 5, 3, 4, 5, 6]
    for counts in ('since-best', 'increases'):
        for at in range(len(losses)):
            first, second = Patience(3, counts), Patience(3, counts)
            for loss in losses[:at]: first.update(loss)
            second.load_state_dict(first.state_dict())
            assert [first.update(loss) for loss in losses[at:]] == [second.update(loss) for loss in losses[at:]]
            assert first.stop == second.stop

@pytest.mark.parametrize('losses, climb, since_best, increases', [
    ([1, 5, 6, 7, 8], 0, 2, 2),
    ([1, 5, 6, 7, 8], 2, 4, 4), # What was lower during the climb is no measure
    ([1, 9, 8, 7, 6], 2, None, None),
    ([1, 2, 3, 4, 5], 4, None, None),
    ([9, 1, 2, 1.5, 3], 1, 3, None),
])
def test_while_the_learning_rate_climbs_nothing_is_counted(losses, climb, since_best, increases):
    assert (stop_of(losses, 2, 'since-best', climb), stop_of(losses, 2, 'increases', climb)) == (since_best, increases)

@pytest.mark.parametrize('at', range(8))
def test_patience_that_waits_for_the_peak_goes_on_from_its_state(at):
    losses = [5, 1, 6, 5, 3, 4, 5, 6]
    first, second = Patience(3, climb=3), Patience(3, climb=3)
    for loss in losses[:at]: first.update(loss)
    second.load_state_dict(first.state_dict())
    assert [first.update(loss) for loss in losses[at:]] == [second.update(loss) for loss in losses[at:]] and first.stop

@pytest.mark.parametrize('epochs', [1, 3, 4, 7, 60])
def test_the_rate_climbs_until_the_epoch_with_the_highest(data, epochs):
    rates = [one_cycle(1.)(i / (10 * epochs)) for i in range(10 * epochs)]
    peak = max(range(len(rates)), key=rates.__getitem__)
    assert climbing_epochs('one-cycle', epochs) == max(1, -(-peak // 10)) and climbing_epochs('constant', epochs) == 0

def test_a_learner_with_one_cycle_is_not_stopped_before_the_peak(data):
    losses = [1, 2, 3, 4, 3, 2, 3, 3, 3, 3, 3, 3]
    outcome = fit_learner(scripted(data, losses), 12, .1, schedule='one-cycle', patience=2)
    assert len(outcome.history) == 8
    how = dict(epochs=12, schedule='one-cycle', patience=2, patience_counts='since-best')
    assert re.findall('[0-9]+', stop_text(outcome.history, how)) == ['8', '12', '2']

@pytest.mark.parametrize('losses, settings, words', [
    ([1, 2, 3], dict(patience=0), ''),
    ([1, 2, 3], dict(epochs=3), ''),
    ([3, 2, 1], {}, ''),
    (None, {}, ''),
    ([3, 1, 2], dict(patience=1), 'stopped after epoch 3 of 9: no lower validation loss for 1 epoch'),
    ([1, 2, 3], dict(patience_counts='increases'),
     'stopped after epoch 3 of 9: a higher validation loss for 2 epochs in a row'),
    ([1, 2, 3], dict(schedule='one-cycle'), ''),
])
def test_an_early_stop_is_told_where_patience_was_its_cause(losses, settings, words):
    history = None if losses is None else pd.DataFrame(dict(valid_loss=losses))
    defaults = dict(epochs=9, schedule='constant', patience=2, patience_counts='since-best')
    assert stop_text(history, defaults | settings) == words

def test_an_early_stop_is_told_of_what_settings_there_are():
    history = pd.DataFrame(dict(valid_loss=[1, 2, 3]))
    assert stop_text(history, dict(epochs=9, patience=2)).startswith('stopped after epoch 3 of 9')
    for how in ({}, dict(patience=2), dict(epochs=9), dict(epochs=None, patience=2)):
        assert stop_text(history, how) == ''

def with_both(images, run, *, epochs:Count=9, patience:Whole=2): return self_made()
def with_patience(images, run, *, patience:Whole=2): return self_made()
def with_epochs(images, run, *, epochs:Count=9): return self_made()
def with_neither(images, run): return self_made()
def self_made():
    history = dict(epoch=range(3), train_loss=1., valid_loss=[1., 2., 3.], accuracy=.5, seconds=.1)
    return Outcome(linear(64, 10), pd.DataFrame(history))

@pytest.mark.parametrize('func, stops', [
    (with_both, True), (with_patience, False), (with_epochs, False), (with_neither, False),
])
def test_recipes_of_ones_own_need_not_have_our_settings(data, func, stops):
    from fastrecipes.answer.climb import compare
    from fastrecipes.ladder.recipe import fit, recipe
    from fastrecipes.ladder.settings import recipes
    recipe(rung=False)(func)
    try: fitted, compared = fit(func.__name__, data, device='cpu'), compare(data, func.__name__, device='cpu')
    finally: del recipes[func.__name__]
    for text in (fitted.stopped, repr(fitted), compared[func.__name__].stopped, str(compared)):
        assert ('stopped after epoch 3 of 9' in text) == stops

def test_an_unknown_counting_is_refused(data):
    for f in (lambda: Patience(1, 'best'), lambda: fit_learner(make(data), 1, .1, patience_counts='best')):
        with pytest.raises(InputError, match="patience_counts='best'.*'since-best'.*'increases'"): f()

def test_the_hooks_can_be_used_without_fit_learner(data):
    losses = [3, 2, 1, 2, 3, 0]
    learn = scripted(data, losses)
    watch, keep = Patience(2), Best()
    quietly(learn, learn.fit, 6, .1, cbs=CallHooks(watch, keep))
    assert keep.epoch == 2 and watch.stop and len(learn.recorder.values) == 5


# The best epoch

class Spy(Callback):
    "The weights after every epoch, taken before anything else happens"
    order = 55
    def before_fit(self): self.weights = []
    def after_epoch(self): self.weights.append({k: v.clone() for k, v in self.model.state_dict().items()})

def normed(data):
    "A net with batch norm, whose buffers change in every step"
    hidden = nn.Linear(64, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Dropout(.2)
    net = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(20, 10))
    return Learner(dataloaders(data, 16, 'cpu'), net, ClassLoss(cross_entropy), opt_func=Adam, metrics=batch_accuracy)

def equal(a, b): return list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a)

@pytest.mark.parametrize('patience', [0, 2])
@pytest.mark.parametrize('schedule', ['constant', 'one-cycle'])
@pytest.mark.parametrize('make, lr', [(make, .5), (normed, .05)], ids=['linear', 'batch norm'])
def test_the_weights_that_are_kept_are_those_of_the_lowest_validation_loss(unlearnable, make, lr, schedule, patience):
    set_seed(0)
    learn, spy = make(unlearnable), Spy()
    outcome = fit_learner(learn, 12, lr, schedule=schedule, patience=patience, best=True, cbs=[spy])
    at, n = outcome.history.valid_loss.argmin(), len(outcome.history)
    assert outcome.best_epoch == at < n - 1 and (n < 12 or not patience) and len(spy.weights) == n
    assert equal(dict(learn.model.state_dict()), spy.weights[at]) and not equal(spy.weights[at], spy.weights[-1])
    assert learn.validate()[0] == pytest.approx(outcome.history.valid_loss.min())

def test_without_it_the_last_weights_are_kept(unlearnable):
    set_seed(0)
    learn, spy = normed(unlearnable), Spy()
    outcome = fit_learner(learn, 8, .5, patience=2, cbs=[spy])
    assert outcome.best_epoch is None
    assert outcome.history.valid_loss.argmin() < len(outcome.history) - 1
    assert equal(dict(learn.model.state_dict()), spy.weights[-1])

@pytest.mark.parametrize('losses, best', [([3, 1, 2, 1], 1), ([2, 2, 2], 0), ([3, 3, 2.5, 2.5], 2)])
def test_the_first_of_the_lowest_counts(data, losses, best):
    learn = scripted(data, losses)
    assert fit_learner(learn, len(losses), .1, best=True).best_epoch == best

@pytest.mark.parametrize('losses, epoch, what', [
    ([1, NAN, 2], 1, 'not a number'), ([NAN], 0, 'not a number'), ([3, 2, INF, 1], 2, 'infinite'),
    ([-INF], 0, 'infinite'),
])
@pytest.mark.parametrize('how', [
    dict(), dict(best=True, patience=2), dict(schedule='one-cycle'),
], ids=['plain', 'best and patience', 'one cycle'])
def test_a_loss_that_is_no_finite_number_ends_training_in_its_epoch(data, losses, epoch, what, how):
    seen = Seen()
    with pytest.raises(Diverged, match=f'validation loss.*{what} in epoch {epoch + 1};.*lr.*clip=1'):
        fit_learner(scripted(data, losses), len(losses), .1, reporter=seen, **how)
    assert len(seen.rows) == epoch + 1

def test_the_training_loss_is_watched_as_well_and_no_checkpoint_of_that_epoch_is_written(data, tmp_path):
    learn, point = scripted(data, [1, 1, 1]), Checkpoint(tmp_path, every=1)
    class Spoil(Callback):
        def after_batch(self):
            if self.training and self.epoch == 1: self.learn.loss = self.loss * NAN
    with pytest.raises(Diverged, match='training.* epoch 2;'):
        fit_learner(learn, 3, .1, checkpoint=point, cbs=[Spoil()])
    assert point.saved == 0 and Checkpoint(tmp_path, resume=True).load()['epoch'] == 0

def test_a_learner_without_validation_images_is_not_taken_for_one_that_diverged(data):
    learn = scripted(data, [1, 1])
    none = ImageDataset(Split(data.valid.images[:0], data.valid.labels[:0]), data.classes)
    learn.dls = DataLoaders(learn.dls.train, learn.dls.valid.new(none), device='cpu')
    assert len(fit_learner(learn, 2, .1).history) == 2

@pytest.mark.parametrize('losses, best', [([NAN, 2, NAN, 3], 1), ([NAN, NAN], None), ([INF, INF], None), ([INF, 5], 1)])
def test_what_is_no_number_is_never_the_best(losses, best):
    keep = Best()
    for i, loss in enumerate(losses): keep.after_epoch(nn.Linear(1, 1), dict(epoch=i, valid_loss=loss))
    assert keep.epoch == best and (keep.weights is None) == (best is None)

def test_the_best_weights_are_a_copy_and_go_on_from_their_state():
    model, best, other = nn.BatchNorm1d(2), Best(), Best()
    best.after_epoch(model, dict(epoch=0, valid_loss=1.))
    with torch.no_grad():
        model.weight.fill_(5)
        model.running_mean.fill_(5)
    best.after_epoch(model, dict(epoch=1, valid_loss=2.))
    other.load_state_dict(best.state_dict())
    other.restore(model)
    assert other.epoch == 0 and model.weight.tolist() == [1, 1] and model.running_mean.tolist() == [0, 0]
    untouched = nn.Linear(1, 1)
    Best().restore(untouched) # there is nothing to restore


# Weight decay and clipping

@pytest.mark.parametrize('opt', [basic_opt, Adam], ids=['basic', 'adam'])
def test_clip_is_fastais_gradient_clip(data, opt):
    ours, theirs, free = (make(data, opt=opt) for _ in range(3))
    fit_learner(ours, 3, .1, clip=.05)
    fit_learner(free, 3, .1)
    quietly(theirs, theirs.fit, 3, .1, cbs=GradientClip(.05))
    assert torch.equal(ours.model[1].weight, theirs.model[1].weight)
    assert not torch.equal(ours.model[1].weight, free.model[1].weight)

@pytest.mark.parametrize('opt, reference, schedule', [
    (Adam, Adam, 'constant'), (Adam, Adam, 'one-cycle'), (basic_opt, SGD, 'constant'),
], ids=['adam', 'adam, one cycle', 'basic'])
def test_wd_is_fastais_weight_decay(data, opt, reference, schedule):
    ours = make(data, opt=opt)
    theirs = make(data, opt=reference, wd_bn_bias=reference is SGD) # basic_opt decays every parameter
    fit_learner(ours, 3, .1, schedule=schedule, wd=.3)
    quietly(theirs, theirs.fit if schedule == 'constant' else theirs.fit_one_cycle, 3, .1, wd=.3)
    assert torch.allclose(ours.model[1].weight, theirs.model[1].weight, rtol=1e-5, atol=1e-7)

def test_wd_of_none_is_what_the_learner_had(data):
    a, b, none = make(data, opt=Adam, wd=.5), make(data, opt=Adam), make(data, opt=Adam)
    fit_learner(a, 2, .1)
    fit_learner(b, 2, .1, wd=.5)
    fit_learner(none, 2, .1, wd=0.)
    assert torch.equal(a.model[1].weight, b.model[1].weight) and a.model[1].weight.norm() < none.model[1].weight.norm()

def test_one_cycle_is_a_quarter_up_and_the_rest_down():
    f = one_cycle(1.)
    assert [f(x) for x in (0, .125, .25, .625, 1)] == pytest.approx([1 / 25, (1 / 25 + 1) / 2, 1, (1 + 1e-5) / 2, 1e-5])


# By hand and through fastai

@pytest.mark.parametrize('options', [
    dict(),
    dict(schedule='one-cycle'),
    dict(wd=.3),
    dict(clip=.1),
    dict(patience=2, best=True),
    dict(patience=2, patience_counts='increases', best=True),
    dict(wd=.1, clip=.5, schedule='one-cycle', patience=3, best=True),
], ids=str)
@pytest.mark.parametrize('dropout', [0., .3])
def test_the_hand_written_loop_and_the_learner_do_the_same(data, unlearnable, options, dropout):
    "With every training setting, from the same start with the same batches and the same units dropped"
    outcomes = []
    defaults = dict(
        epochs=20, lr=.5, schedule='constant', patience=0, patience_counts='since-best', best=False, wd=0., clip=0.)
    how = defaults | options
    images = unlearnable if 'best' in options else data
    def by_hand(model, dls): return fit_by_hand(model, dls, cross_entropy, **how)
    def through_learner(model, dls):
        learn = Learner(dls, model, ClassLoss(cross_entropy), opt_func=basic_opt, metrics=batch_accuracy)
        return fit_learner(learn, **how)
    for train in (by_hand, through_learner):
        with no_random(3):
            model = linear(64, 10, dropout)
            start = {k: v.clone() for k, v in model.state_dict().items()}
            outcomes.append(train(model, dataloaders(images, 16, 'cpu')))
    a, b = outcomes
    first, second = (o.history.drop(columns='seconds').to_numpy() for o in outcomes)
    assert first == pytest.approx(second, rel=1e-4, abs=1e-6)
    assert a.best_epoch == b.best_epoch and a.resolved == b.resolved and not equal(start, dict(a.model.state_dict()))
    for p, q in zip(a.model.parameters(), b.model.parameters()): assert torch.allclose(p, q, rtol=1e-4, atol=1e-5)
    if 'best' in options: # Patience and the best epoch had something to do
        assert len(a.history) < 20 and a.best_epoch < len(a.history) - 1


@pytest.mark.parametrize('start', [0, 2])
def test_both_report_each_batch_of_the_whole_training(data, tmp_path, start):
    def by_hand(**how): return fit_by_hand(linear(64, 10), dataloaders(data, 25, 'cpu'), cross_entropy, lr=.1, **how)
    def through_learner(**how): return fit_learner(make(data, bs=25), lr=.1, **how)
    for i, train in enumerate((by_hand, through_learner)):
        def stop(row):
            if row['epoch'] + 1 == start: raise KeyboardInterrupt
        seen, folder = Seen(), tmp_path/str(i)
        if start:
            with pytest.raises(KeyboardInterrupt):
                train(epochs=3, checkpoint=Checkpoint(folder, every=1), reporter=Each(stop))
        resumed = Checkpoint(folder, every=1, resume=True) if start else None
        train(epochs=3, checkpoint=resumed, reporter=seen)
        first = seen.counts[0][0]
        assert seen.counts == [(n, 9) for n in range(first, 10)] and first in (1, 4, 7) and (start > 0) == (first > 1)

def test_without_a_progress_of_its_own_no_reporter_is_asked_after_each_batch(data):
    asked = []
    class Spy(Callback):
        def after_batch(self): asked.append([str(cb) for cb in self.learn.cbs])
    fit_learner(make(data), 1, .1, reporter=Each(id), cbs=[Spy()])
    assert asked and not any('ReportBatches' in names for names in asked)


# The device and the optimiser

class Moves(Callback):
    "How often a number is moved to the CPU in the batches of an epoch"
    order = 100
    def before_train(self): self.n = 0
    def before_fit(self):
        self.real = torch.Tensor.cpu
        def counted(t):
            self.n += 1
            return self.real(t)
        torch.Tensor.cpu = counted
    def after_batch(self):
        if self.training: self.batches = self.n
    def after_fit(self): torch.Tensor.cpu = self.real

def test_on_the_device_the_averages_are_the_same_and_move_nothing_before_the_epoch_ends(data):
    learners = make(data), make(data)
    moves = Moves(), Moves()
    histories = [fit_learner(learn, 2, .1, cbs=cbs).history
                 for learn, cbs in zip(learners, ([moves[0]], [moves[1], OnDevice()]))]
    plain, ours = learners
    assert moves[0].batches > 0 and moves[1].batches == 0
    assert histories[0].drop(columns='seconds').equals(histories[1].drop(columns='seconds'))
    assert [list(v) for v in plain.recorder.values] == [list(v) for v in ours.recorder.values]
    assert torch.equal(torch.stack(plain.recorder.losses), torch.stack(ours.recorder.losses))
    averages = ours.recorder.loss, ours.recorder.smooth_loss, *ours.metrics
    assert not any('accumulate' in vars(average) for average in averages)

@pytest.mark.parametrize('order', [torch.contiguous_format, torch.channels_last])
def test_the_fused_adamw_takes_the_steps_of_the_plain_one(order):
    def weights(make):
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 1), nn.Flatten(), nn.Linear(6 * 4 * 4, 2)
        model = nn.Sequential(*layers).to(memory_format=order)
        opt, x = make(list(model.parameters())), torch.randn(16, 3, 6, 6)
        for _ in range(5):
            model(x).square().sum().backward()
            opt.step()
            opt.zero_grad()
        return [p.detach().contiguous() for p in model.parameters()]
    how = dict(lr=.05, weight_decay=.1)
    plain = weights(lambda params: torch.optim.AdamW(params, betas=(.9, .99), eps=1e-5, fused=False, **how))
    for a, b in zip(weights(lambda params: adamw(params, **how)), plain):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


# Errors

def test_a_refusal_in_the_middle_of_training_is_one_line(data):
    def no(row): raise InputError('so it is')
    with pytest.raises(InputError) as e: fit_learner(make(data), 1, .1, reporter=Each(no))
    assert str(e.value) == 'so it is'


# plot_history

def test_the_best_epoch_is_marked():
    history = pd.DataFrame(dict(epoch=[0, 1, 2], train_loss=[2., 1., 1.], valid_loss=[3., 2.5, 2.7],
                                accuracy=[.5, .75, .7], seconds=[1.] * 3))
    for ax, n in zip(plot_history(history, best_epoch=1).axes, (2, 1)):
        assert len(ax.lines) == n + 1 and list(ax.lines[-1].get_xdata()) == [2, 2]

def test_the_plot_has_both_losses_and_the_accuracy_by_epoch_from_one():
    history = pd.DataFrame(dict(epoch=[0, 1], train_loss=[2., 1.], valid_loss=[3., 2.5], accuracy=[.5, .75],
                                seconds=[1., 1.]))
    left, right = plot_history(history).axes
    assert (left.get_xlabel(), left.get_ylabel()) == ('epoch', 'loss')
    assert (right.get_xlabel(), right.get_ylabel()) == ('epoch', 'validation accuracy')
    losses = {line.get_label(): line.get_xydata().tolist() for line in left.lines}
    assert losses == {'training': [[1, 2], [2, 1]], 'validation': [[1, 3], [2, 2.5]]}
    assert [line.get_xydata().tolist() for line in right.lines] == [[[1, .5], [2, .75]]]
    assert [t.get_text() for t in left.get_legend().get_texts()] == ['training', 'validation']
    right = plot_history(history.assign(train_accuracy=[.4, .8])).axes[1]
    assert [line.get_ydata().tolist() for line in right.lines] == [[.4, .8], [.5, .75]]
    assert len(right.get_legend().get_texts()) == 2
