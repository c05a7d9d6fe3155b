"""Training that can be watched, drawings made like the training images, and the ladder that looks at them.

Three times the other process is started for real, which is most of the minute that this file takes."""
import json, math
import numpy as np, pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from fastai.data import external
from PIL import Image
from fastrecipes.explore import drawing as D, kept_ladder as kept_ladder_room, live as live_room, strokes as strokes_room
from fastrecipes.explore.drawing import ask, shifted
from fastrecipes.explore.kept_ladder import Rungs
from fastrecipes.explore.live import LiveTraining, verdict
from fastrecipes.explore.strokes import example_strokes, normalise_drawing, render_strokes
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.data.sources import load
from conftest import refused


# --- a training to watch

SET = load('digits')
SMALL = live_room.some_of_train(SET, 150)

def finished(images=SET, **kwargs):
    live = LiveTraining(images, **kwargs)
    live.step(10**6)
    return live

@pytest.mark.parametrize('kwargs', [dict(), dict(activation='tanh', hidden=7, bs=100), dict(dropout=.4, wd=.01, lr=.05), dict(bs=10_000)])
def test_it_takes_the_steps_that_a_plain_pytorch_loop_takes(kwargs):
    live = LiveTraining(SET, **kwargs)
    live.step(40)
    s = dict(lr=.3, hidden=30, activation='relu', dropout=0., wd=0., bs=64) | kwargs
    x, y = SET.train.images / 255, SET.train.labels
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(42).get_state())
        first, last, left = torch.nn.Linear(64, s['hidden']), torch.nn.Linear(s['hidden'], 10), []
        opt = torch.optim.SGD([*first.parameters(), *last.parameters()], lr=s['lr'], weight_decay=s['wd'])
        for _ in range(40):
            left = left or list(torch.randperm(len(y)).split(s['bs']))
            i = left.pop(0)
            opt.zero_grad()
            F.cross_entropy(last(F.dropout(getattr(torch, s['activation'])(first(x[i].flatten(1))), s['dropout'])), y[i]).backward()
            opt.step()
    assert torch.allclose(live.units.flatten(1), first.weight, atol=1e-5) and torch.allclose(live.model[4].bias, last.bias, atol=1e-5)

def test_the_history_is_what_the_net_says_about_all_images_without_dropout():
    live = LiveTraining(SET, dropout=.5)
    live.step_epoch()
    before, after = live.rows
    with torch.no_grad():
        for split, loss, acc in ((SET.train, 'train_loss', 'train_accuracy'), (SET.valid, 'valid_loss', 'accuracy')):
            scores = live.model.eval()(split.images / 255)
            assert after[loss] == pytest.approx(F.cross_entropy(scores, split.labels).item(), rel=1e-5)
            assert after[acc] == pytest.approx((scores.argmax(1) == split.labels).double().mean().item())
    assert [before['epoch'], after['epoch']] == [0, 1] and before['train_loss'] == pytest.approx(math.log(10), abs=.1)

@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=8))
def test_in_whatever_portions_it_is_the_same_training_to_the_last_bit(portions):
    whole, parts = (LiveTraining(SMALL, dropout=.3, bs=16) for _ in range(2))
    whole.step(sum(portions))
    for n in portions:
        assert parts.step(n) == n
        torch.rand(n), torch.manual_seed(n)
    assert torch.equal(whole.units, parts.units) and whole.rows == parts.rows

def test_the_callers_random_numbers_stay_as_they_were():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    live = LiveTraining(SMALL, dropout=.3)
    live.step(30)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(live.units, finished_steps(30).units)
    assert not torch.equal(live.units, finished_steps(30, seed=1).units)

def finished_steps(n, **kwargs):
    live = LiveTraining(SMALL, dropout=.3, **kwargs)
    live.step(n)
    return live

def test_a_setting_that_changes_holds_from_the_next_batch():
    live, other = LiveTraining(SMALL, lr=.1), LiveTraining(SMALL, lr=.1)
    live.step(2), other.step(2)
    live.set(lr=1.)
    before = live.units
    live.step(1), other.step(1)
    assert torch.allclose(live.units - before, 10 * (other.units - before), atol=1e-6)
    live.set(wd=.5, dropout=.25, patience=3)
    assert live.settings == dict(lr=1., wd=.5, dropout=.25, patience=3)
    assert live.changes == {(0, 'lr'): 1., (1, 'wd'): .5, (1, 'dropout'): .25, (1, 'patience'): 3}
    live.set(wd=.5) # What is the same is no change
    assert len(live.changes) == 4

def test_what_cannot_be_is_refused():
    live = LiveTraining(SMALL)
    with refused('hidden', 'begin a new training'): live.set(hidden=5)
    for bad in (dict(lr=0), dict(lr='fast'), dict(lr=None), dict(dropout=1.), dict(wd=-1), dict(patience=-1), dict(lr=math.nan)):
        with refused(next(iter(bad))): live.set(**bad)
        with refused(next(iter(bad))): LiveTraining(SMALL, **bad)
    assert live.settings == dict(lr=.3, wd=0., dropout=0., patience=0)
    with refused("unknown activation 'rely'", 'relu'): LiveTraining(SMALL, activation='rely')
    for bad in (dict(hidden=0), dict(bs=0), dict(epochs=0)):
        with refused(next(iter(bad))): LiveTraining(SMALL, **bad)
    with refused('n=0'): live_room.some_of_train(SET, 0)

def test_patience_ends_it_that_many_epochs_after_the_best_and_less_of_it_goes_on():
    live = finished(SMALL, lr=1., patience=4, epochs=300)
    losses = [r['valid_loss'] for r in live.rows]
    assert live.finished and live.best == int(np.argmin(losses)) and len(losses) == live.best + 5 and live.step() == 0
    live.set(patience=0)
    assert not live.finished and live.step(3) == 3

def test_it_ends_after_its_epochs_and_counts_them():
    live = finished(SMALL, epochs=3, bs=50)
    assert (live.epoch, len(live.history), live.finished, live.step(5)) == (3, 4, True, 0)
    fresh = LiveTraining(SMALL, bs=50)
    assert (fresh.step(1), fresh.step_epoch(), fresh.epoch, fresh.step_epoch(), fresh.epoch) == (1, 2, 1, 3, 2)

def test_a_loss_that_is_no_number_ends_it_and_is_told_in_words():
    live = finished(SMALL, lr=1e30)
    assert live.diverged and live.finished and live.step() == 0 and not math.isfinite(live.rows[-1]['train_loss'])
    assert 'Diverged in epoch 1' in verdict(live) and '1e+30' in verdict(live)

def test_a_unit_is_dead_when_it_gives_nothing_for_any_image():
    live = LiveTraining(SMALL, hidden=4)
    with torch.no_grad():
        live.model[1].weight.copy_(torch.tensor([1., 0., -1., 0.])[:, None].expand(4, 64))
        live.model[1].bias.copy_(torch.tensor([0., 1., 0., -1.]))
    assert live.dead.tolist() == [False, False, True, True]
    assert not LiveTraining(SMALL, hidden=4, activation='sigmoid').dead.any()

@pytest.mark.parametrize('kwargs, words', [(dict(lr=.001, epochs=6), 'Hardly better than guessing'), (dict(lr=20., epochs=10), 'Dead: all 30 hidden units'),
    (dict(lr=30., activation='sigmoid', epochs=6), 'Worse than guessing (a loss of 2.30)'), (dict(lr=1., patience=2, epochs=300), 'Stopped early, after epoch'),
    (dict(lr=1., epochs=100), 'Overfitting: since epoch'), (dict(epochs=20), 'Training has ended')])
def test_the_verdict_names_what_happened(kwargs, words): assert words in verdict(finished(SMALL, **kwargs))

def test_two_classes_train_too():
    images = load('digits', classes='3,7')
    live = finished(images, epochs=10)
    assert live.rows[-1]['accuracy'] > .95 and live.model[4].out_features == 1 and '0.69' in verdict(LiveTraining(images))

def pixels(draw, width, height, **values):
    from fastrecipes.explore.controls import Picture
    return bytes(Picture(draw, width, height, 'alt', **values).value)

def test_the_pictures_follow_what_they_are_given():
    live = finished(SMALL, epochs=3)
    curves = [pixels(live_room.draw_curves, 5.4, 4, history=live.history.iloc[:n], best=1, changes=c) for n, c in ((1, {}), (3, {}), (3, {(1, 'lr'): 3.}))]
    units = [pixels(live_room.draw_units, 5.4, 2.2, units=u, dead=d) for u, d in ((live.units, live.dead), (live.units * torch.arange(30)[:, None, None, None], live.dead), (live.units, ~live.dead))]
    assert len(set(curves)) == 3 and len(set(units)) == 3
    for k in (1, 7, 31): pixels(live_room.draw_units, 5.4, 2.2, units=torch.randn(k, 1, 8, 8), dead=torch.zeros(k).bool())
    gone = finished(SMALL, lr=1e30)
    pixels(live_room.draw_curves, 5.4, 4, history=gone.history, best=gone.best), pixels(live_room.draw_units, 5.4, 2.2, units=gone.units, dead=gone.dead)


# --- drawings

def bar(x, y, w, h, size=140):
    p = np.zeros((size, size), np.uint8)
    p[y:y + h, x:x + w] = 255
    return p

@pytest.mark.parametrize('like, n', [('mnist', 28), ('digits', 8)])
def test_where_it_was_drawn_makes_no_difference(like, n):
    at = [normalise_drawing(np.roll(render_strokes(example_strokes(5)), s, (0, 1)), like) for s in ((0, 0), (10, -20), (-15, 9))]
    assert at[0].shape == (1, n, n) and at[0].dtype == torch.uint8 and torch.equal(at[0], at[1]) and torch.equal(at[0], at[2])

@pytest.mark.parametrize('like', ['mnist', 'digits'])
def test_how_large_it_was_drawn_makes_little(like):
    small = [[(.5 + (x - .5) * .5, .5 + (y - .5) * .5) for x, y in s] for s in example_strokes(3)]
    a, b = (normalise_drawing(render_strokes(s), like).double().flatten() for s in (example_strokes(3), small))
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > .9

def test_like_mnist_it_fits_20_by_20_keeps_its_proportions_and_is_centred_by_mass():
    for digit in range(10):
        im = normalise_drawing(render_strokes(example_strokes(digit, seed=digit)), 'mnist')[0].double()
        rows, cols = ((im > 0).any(i).nonzero().flatten() for i in (1, 0))
        h, w = (int(r[-1] - r[0] + 1) for r in (rows, cols))
        assert max(h, w) == 20
        y, x = ((im.sum(1 - i) * torch.arange(28)).sum() / im.sum() for i in (0, 1))
        assert abs(y - 14) <= .5 and abs(x - 14) <= .5 # As in MNIST, where both are 14.0 +- 0.3
    tall, wide = (normalise_drawing(p)[0] for p in (bar(60, 10, 10, 120), bar(10, 60, 120, 10)))
    assert tall.double().sum(1)[4:24].mean().item() / 255 == pytest.approx(2.4, abs=.25) and (tall.sum(1) > 0).sum() == 20
    assert torch.equal(tall.T, wide)

def test_like_mnist_a_thin_and_a_thick_pen_come_out_alike():
    shares = []
    for pen in (.02, .06, .12):
        with pytest.MonkeyPatch.context() as m:
            m.setattr(strokes_room, '_pen', pen)
            shares.append(normalise_drawing(render_strokes(example_strokes(2))).double().mean().item() / 255)
    assert max(shares) / min(shares) < 1.15, shares

def test_the_width_of_a_bar_is_its_width():
    assert strokes_room.stroke_width(bar(0, 20, 140, 12) > 0) == pytest.approx(12, abs=.6)
    assert strokes_room.stroke_width(bar(30, 0, 6, 140) > 0) == pytest.approx(6, abs=.3)

def test_an_mnist_digit_is_already_like_mnist(mnist):
    sheets = [np.asarray(Image.fromarray(x).resize((140, 140), Image.Resampling.BICUBIC)) for x in mnist.valid.images[:200, 0].numpy()]
    again = torch.stack([normalise_drawing(p) for p in sheets]).double().flatten(1)
    theirs = mnist.valid.images[:200].double().flatten(1)
    r = [torch.corrcoef(torch.stack(ab))[0, 1].item() for ab in zip(again, theirs)]
    assert np.median(r) > .94 and np.quantile(r, .05) > .7

def test_like_the_digits_a_block_by_hand():
    # 20 of 32 columns are ink: 640 pixels, more than 560, so thinned twice to 16 columns, 8 to 24; the sheet's edge is no paper
    im = normalise_drawing(bar(40, 20, 60, 96), 'digits')[0]
    assert torch.equal(im, torch.tensor([0, 0, 255, 255, 255, 255, 0, 0], dtype=torch.uint8).expand(8, 8))

def test_like_the_digits_a_narrow_bar_stays_narrow_and_a_slanted_one_is_straightened():
    straight = normalise_drawing(bar(65, 10, 10, 120), 'digits')[0].double()
    slanted = np.zeros((140, 140), np.uint8)
    for y in range(10, 130): slanted[y, (x := 100 - y // 2):x + 10] = 255
    upright = normalise_drawing(slanted, 'digits')[0].double()
    for im in (straight, upright): assert (im.sum(0) > 0).sum() <= 4 and (im.sum(1) > 0).all()
    left = [(row > 0).nonzero()[0].item() for row in upright]
    assert max(left) - min(left) <= 1

def test_like_the_digits_the_values_are_sixteenths_and_the_ink_is_as_much_as_theirs():
    drawn = torch.stack([normalise_drawing(render_strokes(example_strokes(d, i, seed=30 * d + i)), 'digits') for d in range(10) for i in range(10)])
    assert set(drawn.unique().tolist()) <= {round(i * 255 / 16) for i in range(17)}
    theirs = SET.train.images.double()
    assert drawn.double().mean().item() == pytest.approx(theirs.mean().item(), rel=.1)
    by_column = [x.double().mean((0, 1, 2)) / 255 for x in (drawn, theirs)]
    assert (by_column[0] - by_column[1]).abs().max() < .08

@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([.002, .05, .5, 1.]), st.sampled_from(['mnist', 'digits']))
def test_anything_on_a_sheet_becomes_an_image(h, w, seed, share, like):
    p = (np.random.default_rng(seed).random((h, w)) < share).astype(np.uint8) * 255
    im = normalise_drawing(p, like)
    n = 28 if like == 'mnist' else 8
    assert im.shape == (1, n, n) and im.dtype == torch.uint8 and bool(im.any()) == bool(p.any())

def test_what_is_no_drawing_is_refused():
    with refused('float64', '255 where there is ink'): normalise_drawing(np.zeros((5, 5)))
    with refused('(1, 5, 5)'): normalise_drawing(np.zeros((1, 5, 5), np.uint8))
    with refused('(0, 5)'): normalise_drawing(np.zeros((0, 5), np.uint8))
    with refused("unknown way to normalise 'minst'", "did you mean 'mnist'"): normalise_drawing(np.zeros((5, 5), np.uint8), 'minst')
    with refused('unknown source of drawings', 'digits'): kept_ladder_room.drawing_set('faces')
    with refused('unknown source of drawings', 'digits'): Rungs('faces')

def test_examples_stay_on_the_sheet_and_repeat():
    for d in range(10):
        for style in range(3):
            for seed in (None, *range(5)):
                strokes = example_strokes(d, style, seed)
                every = np.vstack(strokes)
                assert every.min() >= .04 and every.max() <= .96 and strokes == example_strokes(d, style, seed)
    assert example_strokes(3, 0, 1) != example_strokes(3, 0, 2)

def test_strokes_become_ink_where_they_are():
    p = render_strokes([[(.25, .5), (.75, .5)], [(.5, .1)]], 100)
    assert p.shape == (100, 100) and p[50, 25:75].min() == 255 and p[10, 50] == 255 and p[50, 20] == 0 and p[56, 50] == 0 and p[90].max() == 0
    assert render_strokes([]).max() == 0

@settings(max_examples=30, deadline=None)
@given(st.integers(-6, 6), st.integers(-6, 6))
def test_shifted_is_a_roll_with_black_behind_it(dx, dy):
    x = torch.randint(1, 256, (2, 1, 5, 4), dtype=torch.uint8)
    wide = F.pad(x, (6, 6, 6, 6))
    assert torch.equal(shifted(x, dx, dy), wide.roll((dy, dx), (-2, -1))[..., 6:11, 6:10])

def test_accuracy_under_a_shift_is_the_mean_of_four_ways():
    class Left: # Says whether there is ink in the left half
        def predict(self, x): return x[:, 0, :, :2].flatten(1).any(1).long()
    ink = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    ink[..., 1, 1] = 9
    t = D.shift_accuracy({'left': Left()}, Split(ink, torch.tensor([1])), (0, 1, 2))
    assert t.loc['left'].tolist() == [1., .75, .25] # One to the right it is in the other half; two to the left or up, out of the picture
    pixels(D.draw_shifts, 5.4, 3, accuracy=t)


# --- the ladder

QUICK = dict(resnet18=dict(epochs=10))
UPPER = ['simple_net', 'mlp', 'resnet18']
READERS = [*UPPER, 'convnet'] # It reads more hands than the others, but takes one of the two examples of a 3 for a 5 where it has learnt from 8x8 digits

@pytest.fixture(scope='module')
def on_digits(): return Rungs('digits', settings=QUICK)

@pytest.fixture(scope='module')
def models(on_digits): return on_digits.wait()

@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache'

def hands(digit, like, n=20): return torch.stack([normalise_drawing(render_strokes(example_strokes(digit, i, seed=500 + 10 * i)), like) for i in range(n)])

def check_hands(models, like):
    for name in READERS:
        for d in (3, 7):
            examples = models[name].predict(torch.stack([normalise_drawing(render_strokes(example_strokes(d, i)), like) for i in range(3)])).tolist()
            assert examples == [d] * 3 or name == 'convnet' and examples.count(d) >= 1, (name, d, examples)
            assert (models[name].predict(hands(d, like)) == d).double().mean() >= .75, (name, d)
        assert np.mean([(models[name].predict(hands(d, like)) == d).double().mean().item() for d in range(10)]) >= (.9 if name == 'convnet' else .8), name

def test_the_upper_rungs_read_a_3_and_a_7_of_many_hands(models): check_hands(models, 'digits')

def test_the_upper_rungs_read_them_with_mnist_too(mnist):
    check_hands(Rungs('mnist', READERS, dict(resnet18=dict(epochs=1)), n=3000).wait(), 'mnist')

def test_the_other_process_fits_what_this_one_would_to_the_last_bit(models):
    from fastrecipes.ladder.recipe import fit
    before = torch.get_rng_state()
    here = fit('simple_net', 'digits', device='cpu', seed=42)
    assert torch.equal(models['simple_net'].predict_scores(SET.valid.images), here.scores)
    assert torch.equal(models['similarity'].predict_scores(SET.valid.images), fit('similarity', 'digits', device='cpu').scores)
    assert torch.equal(torch.get_rng_state(), before) and not models['similarity'].has_probs

def test_the_second_time_all_are_there_without_training(models):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    again = Rungs('digits', settings=QUICK)
    found = again.wait()
    assert again.process is None and list(found) == list(models) == ['similarity', 'sgd', 'linear', 'simple_net', 'mlp', 'convnet', 'resnet18']
    assert all(torch.equal(found[n].predict_scores(SET.valid.images[:50]), m.predict_scores(SET.valid.images[:50])) for n, m in models.items())
    assert torch.equal(torch.get_rng_state(), before)

def test_another_setting_seed_or_set_is_another_entry(on_digits, models):
    one = dict(name='mlp', settings=on_digits.settings['mlp'], images=SET, seed=42)
    names = {kept_ladder_room._home(**one | change) for change in ({}, dict(name='sgd'), dict(settings=one['settings'] | dict(lr=.5)), dict(images=SMALL), dict(seed=1))}
    from fastrecipes.data.cache import _model_name
    assert len(names) == 5 and all(_model_name.fullmatch(n) for n in names) and kept_ladder_room._home(**one) == on_digits._home('mlp').name

@pytest.mark.slow
def test_entries_are_made_listed_mended_and_cleared(own_cache):
    rungs = Rungs('digits', ['sgd', 'linear'], dict(linear=dict(lr=9e37, epochs=5)))
    with refused('linear: failed', 'not a number in epoch 1', 'try again'): rungs.wait()
    assert rungs.state['sgd'] == 'ready' and list(rungs.models) == ['sgd'] and rungs.finished
    entry, = D.model_entries()
    home = own_cache/'models'/entry.name
    assert (entry.source, entry.images) == ('digits', 1437) and entry.bytes == sum(f.stat().st_size for f in home.iterdir())
    card = json.loads((home/'card.json').read_text())
    (home/'card.json').write_text(json.dumps(card | dict(seed=43)))
    assert list(Rungs('digits', ['sgd']).wait()) == ['sgd'] # Thrown away, and trained again
    assert json.loads((home/'card.json').read_text())['weights'] == card['weights']
    (own_cache/'models'/'mine').mkdir()
    (own_cache/'models'/f"sgd-{'0' * 32}").symlink_to(home)
    entry, = D.model_entries()
    assert entry.name == home.name
    assert D.clear_models() == (1, entry.bytes) and not home.exists() and (own_cache/'models'/'mine').is_dir() and D.model_entries() == []

def test_nobody_listening_ends_the_other_process(own_cache):
    p = kept_ladder_room._start_process(dict(source='digits', n=12_000, seed=42, rungs=[('resnet18', dict(epochs=1000), str(own_cache/'models'/f"resnet18-{'1' * 32}"))]))
    while not (line := p.stdout.readline()).startswith('{'): assert line # What libraries warn of
    assert json.loads(line) == dict(rung='resnet18', share=0.)
    p.stdin.close()
    assert p.wait(20) == 0
    p.stdout.close()
    assert not list((own_cache/'models').glob('*')) if (own_cache/'models').exists() else True

def test_a_process_that_dies_is_told(own_cache, monkeypatch):
    start = kept_ladder_room._start_process
    def killed(job):
        p = start(job)
        p.kill()
        return p
    monkeypatch.setattr(kept_ladder_room, '_start_process', killed)
    with refused('sgd: failed', 'ended with -9'): Rungs('digits', ['similarity', 'sgd']).wait()

def test_where_nothing_can_be_kept_the_rungs_are_there_all_the_same(tmp_path, monkeypatch):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'file'))
    rungs = Rungs('digits', ['similarity'])
    assert list(rungs.wait()) == ['similarity'] and rungs.folder.is_dir() and D.model_entries() == [] and D.clear_models() == (0, 0)

def test_the_source_is_mnist_where_its_files_are(tmp_path, monkeypatch):
    monkeypatch.setattr(external, 'fastai_cfg', lambda: external.Config(tmp_path, 'config.ini', create=dict(data='data'))) # fastai asks for its home once in a process
    assert kept_ladder_room.drawing_source() == 'digits', 'an empty home'
    raw = tmp_path/'data/MNIST/raw'
    raw.mkdir(parents=True)
    files = [raw/n for n in ('train-images-idx3-ubyte', 'train-labels-idx1-ubyte', 't10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte')]
    for f in files: f.touch()
    assert kept_ladder_room.drawing_source() == 'mnist'
    for f in files:
        f.rename(tmp_path/'aside')
        assert kept_ladder_room.drawing_source() == 'digits', f'{f.name} is missing'
        (tmp_path/'aside').rename(f)
    assert kept_ladder_room.drawing_source() == 'mnist'

def test_a_part_of_a_large_set_has_every_class_in_its_share():
    images = ImageSet('x', '01', *(Split(torch.zeros(900, 1, 4, 4, dtype=torch.uint8), (torch.arange(900) % 3 == 0).long()) for _ in range(2)))
    with pytest.MonkeyPatch.context() as m:
        m.setattr(D, 'load', lambda source: images)
        part = kept_ladder_room.drawing_set('digits', 300)
    assert part.train.labels.bincount().tolist() == [200, 100] and part.valid.labels.bincount().tolist() == [33, 17]

def test_what_they_say_adds_up_and_similarity_gives_distances(models):
    image = normalise_drawing(render_strokes(example_strokes(7)), 'digits')
    answers = ask(models, image)
    p = answers.loc[READERS, [str(d) for d in range(10)]].astype(float)
    assert np.allclose(p.sum(axis=1), 1) and (p.idxmax(axis=1) == answers.says[READERS]).all() and answers.probs.tolist() == [False] + [True] * 6
    means = torch.stack([SET.train.images[SET.train.labels == d].double().mean(0) / 255 for d in range(10)])
    away = (image / 255 - means).square().mean((1, 2, 3)).sqrt()
    assert np.allclose(answers.loc['similarity', [str(d) for d in range(10)]].astype(float), away, atol=1e-5) and answers.says['similarity'] == str(int(away.argmin()))

def test_two_classes_are_answered_too():
    from fastrecipes.ladder.recipe import fit
    images = load('digits', classes='3,7')
    m = {n: fit(n, images, device='cpu', **settings) for n, settings in (('similarity', {}), ('sgd', dict(epochs=3)))}
    for d in (3, 7): assert ask(m, normalise_drawing(render_strokes(example_strokes(d)), 'digits')).says.tolist() == [str(d)] * 2


# --- the explorers without a browser

def test_the_training_explorer_answers_to_its_controls(strict):
    x = live_room.explore_training(SMALL).explorer
    assert 'Not trained yet' in x.panel.status.value
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
    assert (len(x.live.units), x.live.bs, len(x.live.train[1]), type(x.live.model[2])) == (100, 16, 100, torch.nn.Tanh)
    x.controls['lr'].value = .2
    x.start.click() # There is no loop here, so it runs to its end
    assert x.live.finished and x.start.description == 'start' and 'Stopped early' in x.panel.status.value
    x.reset.click()
    assert x.live.epoch == 0 and 'Not trained yet' in x.panel.status.value

def test_it_trains_in_small_portions_lets_the_page_have_its_turn_and_can_be_paused():
    import asyncio
    async def play():
        x = live_room.explore_training(SET).explorer
        x.start.click()
        assert x.start.description == 'pause'
        turns = 0
        while x.live.epoch < 3: turns += 1; await asyncio.sleep(.001)
        x.start.click()
        at, paused = x.live.epoch, LiveTraining(SET)
        await asyncio.sleep(.1)
        assert x.live.epoch == at and x.start.description == 'start' and turns >= 3
        x.start.click()
        while x.live.epoch < at + 2: await asyncio.sleep(.001)
        x.reset.click()
        await asyncio.sleep(.1)
        assert x.live.epoch == 0 and x.start.description == 'start'
    asyncio.run(asyncio.wait_for(play(), 60))

def test_pausing_changes_nothing_about_what_is_learnt(strict):
    x = live_room.explore_training(SMALL).explorer
    for _ in range(400):
        x.tick()
        if x.live.epoch >= 6: break
    while x.live.order: x.live.step()
    assert torch.equal(x.live.units, after_epochs(x.live.epoch).units)

def after_epochs(n):
    live = LiveTraining(SMALL)
    for _ in range(n): live.step_epoch()
    return live

def test_the_drawing_explorer_answers_to_strokes_shifts_and_switches(models, strict):
    x = D.explore_drawing('digits', settings=QUICK).explorer
    assert x.answers.values['answers'] is None and x.answers.tooltip == 'Nothing is drawn yet'
    x.pad.draw(example_strokes(3))
    assert len(x.answers.values['answers']) == 0
    x.rungs.wait()
    pictures = set()
    for d in (3, 7):
        x.pad.draw(example_strokes(d, seed=d))
        assert set(x.answers.values['answers'].says[UPPER]) == {str(d)} and f'resnet18 says {d}' in x.answers.tooltip
        pictures |= {bytes(x.answers.value), bytes(x.seen.value)}
    centred = x.seen.image
    x.controls['x'].value, x.controls['y'].value = 1, -1
    assert torch.equal(x.seen.image, shifted(centred, 1, -1))
    x.controls['centre'].value = False
    assert torch.equal(x.seen.image, shifted(torch.from_numpy(np.array(Image.fromarray(x.pad.drawing).resize((8, 8), Image.Resampling.BOX)))[None], 1, -1))
    x.controls['example'].value = 4
    assert x.pad.strokes == example_strokes(4) and (x.pad.drawing == render_strokes(example_strokes(4))).all()
    x.pad.draw(example_strokes(8))
    assert x.controls['example'].value == -1 and x.pad.strokes == example_strokes(8) # What is on the sheet is no example any more
    x.pad.draw([])
    assert x.answers.values['answers'] is None and len(pictures) == 4

def test_what_the_page_sends_is_what_is_seen():
    pad = D.DrawingPad()
    p = render_strokes(example_strokes(8))
    pad.set_state(dict(strokes=example_strokes(8), pixels=memoryview(p.tobytes())))
    assert (pad.drawing == p).all() and isinstance(pad.pixels, bytes) and 'http' not in pad._esm and '@import' not in pad._css
