"A training that can be watched: its steps, what it says and what its explorer does"
import asyncio, math
import numpy as np, pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from conftest import refused
from fastrecipes.data.sources import load
from fastrecipes.explore.controls import Picture
from fastrecipes.explore.live import describe_training, LiveTraining, some_of_train
from fastrecipes.explore.live_explorer import draw_curves, draw_units, explore_training

SET = load('digits')
SMALL = some_of_train(SET, 150)


def finished(images=SET, **kwargs):
    live = LiveTraining(images, **kwargs)
    live.step(10**6)
    return live

def after(steps, **kwargs):
    live = LiveTraining(SMALL, **kwargs)
    live.step(steps)
    return live


# The training

@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(activation='tanh', hidden=7, bs=100),
    dict(dropout=.4, wd=.01, lr=.05),
    dict(bs=10_000),
])
def test_it_takes_the_steps_that_a_plain_pytorch_loop_takes(kwargs):
    live = LiveTraining(SET, **kwargs)
    live.step(40)
    s = dict(lr=.3, hidden=30, activation='relu', dropout=0., wd=0., bs=64) | kwargs
    activation = getattr(torch, s['activation'])
    x, y = SET.train.images / 255, SET.train.labels
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(42).get_state())
        first, last, left = torch.nn.Linear(64, s['hidden']), torch.nn.Linear(s['hidden'], 10), []
        opt = torch.optim.SGD([*first.parameters(), *last.parameters()], lr=s['lr'], weight_decay=s['wd'])
        for _ in range(40):
            left = left or list(torch.randperm(len(y)).split(s['bs']))
            i = left.pop(0)
            opt.zero_grad()
            hidden = F.dropout(activation(first(x[i].flatten(1))), s['dropout'])
            F.cross_entropy(last(hidden), y[i]).backward()
            opt.step()
    assert torch.allclose(live.units.flatten(1), first.weight, atol=1e-5)
    assert torch.allclose(live.model[4].bias, last.bias, atol=1e-5)

def test_the_history_is_what_the_net_says_about_all_images_without_dropout():
    live = LiveTraining(SET, dropout=.5)
    live.step_epoch()
    before, row = live.rows
    with torch.no_grad():
        columns = (SET.train, 'train_loss', 'train_accuracy'), (SET.valid, 'valid_loss', 'accuracy')
        for split, loss, accuracy in columns:
            scores = live.model.eval()(split.images / 255)
            assert row[loss] == pytest.approx(F.cross_entropy(scores, split.labels).item(), rel=1e-5)
            assert row[accuracy] == pytest.approx((scores.argmax(1) == split.labels).double().mean().item())
    assert [before['epoch'], row['epoch']] == [0, 1] and before['train_loss'] == pytest.approx(math.log(10), abs=.1)

@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=8))
def test_in_whatever_portions_it_is_the_same_training_to_the_last_bit(portions):
    whole, parts = (LiveTraining(SMALL, dropout=.3, bs=16) for _ in range(2))
    whole.step(sum(portions))
    for n in portions:
        assert parts.step(n) == n
        torch.rand(n)
        torch.manual_seed(n)
    assert torch.equal(whole.units, parts.units) and whole.rows == parts.rows

def test_the_callers_random_numbers_stay_as_they_were():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    live = after(30, dropout=.3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(live.units, after(30, dropout=.3).units)
    assert not torch.equal(live.units, after(30, dropout=.3, seed=1).units)

def test_a_setting_that_changes_holds_from_the_next_batch():
    live, other = (after(2, lr=.1) for _ in range(2))
    live.change(lr=1.)
    before = live.units
    live.step()
    other.step()
    assert torch.allclose(live.units - before, 10 * (other.units - before), atol=1e-6)
    live.change(wd=.5, dropout=.25, patience=3)
    assert live.settings == dict(lr=1., wd=.5, dropout=.25, patience=3)
    assert live.changes == {(0, 'lr'): 1., (1, 'wd'): .5, (1, 'dropout'): .25, (1, 'patience'): 3}
    live.change(wd=.5) # What is the same is no change
    assert len(live.changes) == 4

WRONG = [*(dict(lr=v) for v in (0, 'fast', None, math.nan)), dict(dropout=1.), dict(wd=-1), dict(patience=-1)]

@pytest.mark.parametrize('wrong', WRONG, ids=str)
def test_a_wrong_setting_is_refused_by_its_name_and_changes_nothing(wrong):
    live = LiveTraining(SMALL)
    with refused(*wrong): live.change(**wrong)
    with refused(*wrong): LiveTraining(SMALL, **wrong)
    assert live.settings == dict(lr=.3, wd=0., dropout=0., patience=0)

@pytest.mark.parametrize('wrong', [dict(hidden=0), dict(bs=0), dict(epochs=0)], ids=str)
def test_a_wrong_size_is_refused_by_its_name(wrong):
    with refused(*wrong): LiveTraining(SMALL, **wrong)

def test_what_is_unknown_or_cannot_change_is_refused():
    with refused("'rely'", "'relu'"): LiveTraining(SMALL, activation='rely')
    with refused('hidden', 'lr, wd, dropout, patience'): LiveTraining(SMALL).change(hidden=5)
    for n in (0, 1438):
        with refused(f'n={n}', '1,437'): some_of_train(SET, n)

def test_patience_ends_it_that_many_epochs_after_the_best_and_without_patience_it_continues():
    live = finished(SMALL, lr=1., patience=4, epochs=300)
    losses = [row['valid_loss'] for row in live.rows]
    assert live.finished and live.best == int(np.argmin(losses)) and len(losses) == live.best + 5 and live.step() == 0
    live.change(patience=0)
    assert not live.finished and live.step(3) == 3

def test_it_ends_after_its_epochs_and_counts_them():
    live = finished(SMALL, epochs=3, bs=50)
    assert (live.epoch, len(live.history), live.finished, live.step(5)) == (3, 4, True, 0)
    fresh = LiveTraining(SMALL, bs=50)
    assert (fresh.step(1), fresh.step_epoch(), fresh.epoch, fresh.step_epoch(), fresh.epoch) == (1, 2, 1, 3, 2)

def test_a_loss_that_is_not_finite_ends_it():
    live = finished(SMALL, lr=1e30)
    assert live.diverged and live.finished and live.step() == 0 and not math.isfinite(live.rows[-1]['train_loss'])
    assert 'Diverged' in describe_training(live) and '1e+30' in describe_training(live)

def test_a_unit_is_dead_when_it_gives_nothing_for_any_image():
    live = LiveTraining(SMALL, hidden=4)
    with torch.no_grad():
        live.model[1].weight.copy_(torch.tensor([1., 0., -1., 0.])[:, None].expand(4, 64))
        live.model[1].bias.copy_(torch.tensor([0., 1., 0., -1.]))
    assert live.dead.tolist() == [False, False, True, True]
    assert not LiveTraining(SMALL, hidden=4, activation='sigmoid').dead.any()

def test_two_classes_train_too():
    images = load('digits', classes='3,7')
    live = finished(images, epochs=10)
    assert live.rows[-1]['accuracy'] > .95 and live.model[4].out_features == 1
    assert '0.69' in describe_training(LiveTraining(images)) # The logarithm of 2


# Words and pictures

@pytest.mark.parametrize('kwargs, words', [
    (dict(lr=.001, epochs=6), ['Hardly better', '0.001']),
    (dict(lr=20., epochs=10), ['Dead:', '30']),
    (dict(lr=30., activation='sigmoid', epochs=6), ['Worse than guessing', '2.30']),
    (dict(lr=1., patience=2, epochs=300), ['Stopped early', ' 2 epochs']),
    (dict(lr=1., epochs=100), ['Epoch 100:', 'Overfitting']),
    (dict(epochs=20), ['Epoch 20:', 'ended']),
])
def test_the_words_name_what_happened(kwargs, words):
    said = describe_training(finished(SMALL, **kwargs))
    assert not [word for word in words if word not in said], said

def pixels(draw, height, **values): return bytes(Picture(draw, 5.4, height, 'alt', **values).value)

def test_the_pictures_follow_what_they_are_given():
    live = finished(SMALL, epochs=3)
    histories = [(1, {}), (3, {}), (3, {(1, 'lr'): 3.})]
    curves = {pixels(draw_curves, 4, history=live.history[:n], best=1, changes=c) for n, c in histories}
    larger = live.units * torch.arange(30)[:, None, None, None]
    given = [(live.units, live.dead), (larger, live.dead), (live.units, ~live.dead)]
    units = {pixels(draw_units, 2.2, units=u, dead=d) for u, d in given}
    assert len(curves) == 3 and len(units) == 3

@pytest.mark.parametrize('k', [1, 7, 31])
def test_any_number_of_units_is_drawn(k):
    assert pixels(draw_units, 2.2, units=torch.randn(k, 1, 8, 8), dead=torch.zeros(k).bool())

def test_a_training_that_diverged_is_drawn():
    gone = finished(SMALL, lr=1e30)
    assert pixels(draw_curves, 4, history=gone.history, best=gone.best)
    assert pixels(draw_units, 2.2, units=gone.units, dead=gone.dead)


# The explorer

def test_the_explorer_answers_to_its_controls(strict):
    x = explore_training(SMALL).explorer
    untrained = x.panel.said
    x.epoch.click()
    first = bytes(x.curves.value), bytes(x.units.value)
    x.epoch.click()
    assert x.live.epoch == 2 and bytes(x.curves.value) != first[0] and bytes(x.units.value) != first[1]
    for name, value in dict(lr=1., dropout=.5, wd=.01, patience=3).items():
        x.controls[name].value = value
        assert x.live.settings[name] == value and x.live.epoch == 2
    for name, value in dict(hidden=100, activation='tanh', bs=16, n=100).items():
        x.epoch.click()
        x.controls[name].value = value
        assert x.live.epoch == 0 and x.live.settings == dict(lr=1., dropout=.5, wd=.01, patience=3)
    assert (len(x.live.units), x.live.bs, len(x.live.train[1])) == (100, 16, 100)
    assert isinstance(x.live.model[2], torch.nn.Tanh)
    x.controls['lr'].value = .2
    x.start.click() # There is no loop here, so it runs to its end
    assert x.live.finished and x.start.description == 'start' and 'Stopped early' in x.panel.said
    x.reset.click()
    assert x.live.epoch == 0 and x.panel.said == untrained

def test_it_trains_in_small_portions_lets_the_page_have_its_turn_and_can_be_paused():
    async def play():
        x = explore_training(SET).explorer
        x.start.click()
        assert x.start.description == 'pause'
        turns = 0
        while x.live.epoch < 3:
            turns += 1
            await asyncio.sleep(.001)
        x.start.click()
        at = x.live.epoch
        await asyncio.sleep(.1)
        assert x.live.epoch == at and x.start.description == 'start' and turns >= 3
        x.start.click()
        while x.live.epoch < at + 2: await asyncio.sleep(.001)
        x.reset.click()
        await asyncio.sleep(.1)
        assert x.live.epoch == 0 and x.start.description == 'start'
    asyncio.run(asyncio.wait_for(play(), 60))

def test_pausing_changes_nothing_about_what_is_learned(strict):
    x = explore_training(SMALL).explorer
    while x.live.epoch < 6: x.tick()
    x.live.step(len(x.live.batches))
    whole = LiveTraining(SMALL)
    for _ in range(x.live.epoch): whole.step_epoch()
    assert torch.equal(x.live.units, whole.units)
