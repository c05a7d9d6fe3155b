"""Training that is killed at known places and resumed ends where one that was never stopped does, to the last bit

Each attempt is a process that gets a real SIGKILL or SIGINT, inside the write of a checkpoint or at a call of a
Python function in an epoch. Which call is drawn with a fixed seed."""
import random, signal, sys
from types import SimpleNamespace
import pytest, strikes, torch
from fastai.callback.core import Callback
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback
from conftest import refused
from processes import exit_of, result_of
from reporters import Each, Seen, Untrained

KINDS = {'sgd': ('sgd', dict(epochs=7, clip=1., wd=.01, schedule='one-cycle')),
         'logistic': ('logistic', dict(epochs=7, lr=.1, bs=16, dropout=.1)),
         'learner': ('simple_net', dict(epochs=7)),
         'adam': ('mlp', dict(epochs=7, hidden=(32, 16), dropout=.2, patience=6, clip=1.)),
         'resnet18': ('resnet18', dict(epochs=7, bs=16, best=False))}
QUICK_KINDS = [k for k in KINDS if k != 'resnet18']
KILLS = [(0, 'call'), (1, 'half'), (2, 'flushed'), (3, 'renamed'), (4, 'call'), (4, 'call'), (5, 'call'),
         (6, 'half')] # Epoch and place
STOPS = [(0, 'call'), (2, 'call'), (3, 'call'), (3, 'call'), (6, 'call')]


# In a process

def small(n, classes=None):
    "`n` of the digits to train and 20 to validate"
    from fastrecipes.data.images import ImageSet, Split
    from fastrecipes.data.sources import load
    digits = load('digits', classes=classes)
    return ImageSet('small', digits.classes,
                    *(Split(s.images[:m], s.labels[:m]) for s, m in ((digits.train, n), (digits.valid, 20))))

def images_of(kind): return small(32, '3,7') if kind == 'resnet18' else small(48)

def train(kind, images, folder, every):
    "Train or resume; keep the weights that are given back, the history and the best epoch"
    import fastrecipes.ladder.recipe as recipes
    from fastrecipes.training.checkpoint import Checkpoint
    recipes.predict_ms_per_1000 = lambda *args, **kwargs: 0. # The timing of predictions is no part of training
    torch.set_num_threads(1)
    recipe, settings = KINDS[kind]
    point = Checkpoint(folder, every, resume=True)
    try: f = recipes.fit(recipe, images, seed=1, device='cpu', checkpoint=point, **settings)
    finally: point.write() # What was not due, after Ctrl-C too
    torch.save(dict(weights=dict(f.model.state_dict()), history=f.history.drop(columns='seconds').to_dict('list'),
                    best_epoch=f.best_epoch), folder/'result')

def undisturbed(kind, folder, every):
    "A training that nothing disturbs; the number of function calls in each epoch"
    from fastrecipes.training.checkpoint import Checkpoint
    images = images_of(kind)
    calls = strikes.Calls()
    offer, counts = Checkpoint.offer, []
    def count(self, e, state):
        offer(self, e, state)
        counts.append(calls.count)
        calls.count = 0
    Checkpoint.offer = count
    calls.begin()
    train(kind, images, folder, every)
    sys.setprofile(None)
    return counts

def struck(kind, folder, every, sig, start, at, place, nth):
    """A training that begins with the epoch `start` and gets `sig` in the epoch `at`

    It comes at the function call `nth` of that epoch, or inside the write of its checkpoint. Ctrl-C is status 130."""
    from fastrecipes.training.checkpoint import Checkpoint
    images = images_of(kind)
    epoch = [start]
    calls = strikes.Calls(nth, sig, lambda: epoch[0] == at)
    offer = Checkpoint.offer
    def counted(self, e, state):
        offer(self, e, state)
        if e == at: strikes.strike(sig) # The call came later, or the KeyboardInterrupt was swallowed
        epoch[0] = e + 1
        calls.count = 0
    Checkpoint.offer = counted
    if place == 'call': calls.begin()
    else: strikes.in_write(place, lambda: epoch[0] == at)
    try: train(kind, images, folder, every)
    except KeyboardInterrupt: sys.exit(130)
    finally: sys.setprofile(None)

def resumed(kind, folder, every): train(kind, images_of(kind), folder, every)


# The tests

def contents(folder):
    "The state in the checkpoint of `folder` as plain data, without times, and its epoch"
    from fastrecipes.training.checkpoint import Checkpoint
    def plain(v):
        if isinstance(v, torch.Tensor):
            return [str(v.dtype), list(v.shape), v.reshape(-1).view(torch.uint8).numpy().tobytes()]
        if isinstance(v, dict): return {k: plain(x) for k, x in v.items() if k != 'seconds'}
        return [plain(x) for x in v] if isinstance(v, (list, tuple)) or type(v).__name__ == 'L' else repr(v)
    point = Checkpoint(folder, resume=True)
    return plain(point.load()), point.saved

def same(a, b):
    if isinstance(a, torch.Tensor): return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    return list(a) == list(b) and all(same(a[k], b[k]) for k in a) if isinstance(a, dict) else a == b

BY_HAND = {'model', 'random', 'opt', 'history', 'patience', 'best'} # What a checkpoint has of the hand-written loop
OF_LEARNER = {'model', 'random', 'opt', 'callbacks', 'recorder', 'epoch', 'train_iter'}

def stopped_and_resumed(kind, folder, sig):
    "How each attempt ended, when the training came out as if never stopped"
    every = 1 if sig == strikes.KILL else None # None: not before a minute has passed
    whole, pieces = folder/'whole', folder/'pieces'
    for f in (whole, pieces): f.mkdir()
    calls, rng = result_of(undisturbed, kind, whole, every), random.Random(0)
    assert len(calls) == 7, calls
    ends, saved = [], None
    for at, place in KILLS if sig == strikes.KILL else STOPS:
        start = 0 if saved is None else saved + 1
        ends.append(exit_of(struck, kind, pieces, every, sig, start, at, place, rng.randrange(1, calls[at])))
        saved = contents(pieces)[1] if (pieces/'checkpoint.safetensors').exists() else None
        before = at - 1 if at else None
        possible = {'call': (before, at), 'half': (before,), 'flushed': (before,), 'renamed': (at,)}
        assert saved in possible[place], (at, place, saved) # A call may be one at the end of the epoch
    assert exit_of(resumed, kind, pieces, every) == 0
    a, b = contents(whole)[0], contents(pieces)[0]
    assert set(a) == (BY_HAND if kind in ('sgd', 'logistic') else OF_LEARNER)
    assert [k for k in a if a[k] != b[k]] == []
    first, second = (torch.load(f/'result', weights_only=True) for f in (whole, pieces))
    assert [k for k in first if not same(first[k], second[k])] == []
    assert sorted(f.name for f in pieces.iterdir()) == ['checkpoint.safetensors', 'result']
    return ends

@pytest.mark.parametrize('kind', [
    'adam',
    'learner',
    *(pytest.param(k, marks=pytest.mark.slow)
     for k in ('sgd', 'logistic', 'resnet18')),
])
def test_a_training_killed_again_and_again_ends_as_if_it_had_never_been(kind, tmp_path):
    ends = stopped_and_resumed(kind, tmp_path, strikes.KILL)
    assert ends == [-strikes.KILL] * len(KILLS)

@pytest.mark.parametrize('kind', QUICK_KINDS)
def test_ctrl_c_at_any_call_leaves_the_last_full_epoch_to_be_written_and_resumed(kind, tmp_path):
    "KeyboardInterrupt is raised wherever Python is; nothing was due to be written before"
    assert stopped_and_resumed(kind, tmp_path, signal.SIGINT) == [130] * len(STOPS)


# In this process

QUICK = {'sgd': ('sgd', dict(epochs=8, lr=.5)), 'adam': ('mlp', dict(epochs=8, hidden=(16, 8), dropout=.2))}

@pytest.fixture(scope='module')
def images(): return small(48)

def fitted(images, recipe, settings, point=None, seed=1, **more):
    from fastrecipes.ladder.recipe import fit
    return fit(recipe, images, seed=seed, device='cpu', checkpoint=point, **settings | more)

def result(f): return dict(f.model.state_dict()), f.history.drop(columns='seconds').to_dict('list'), f.best_epoch
def equal(f, g): return all(same(a, b) for a, b in zip(result(f), result(g)))

class Pull(Callback):
    "Interrupts as an epoch begins"
    order = 100
    def __init__(self, epoch): self.at = epoch
    def before_train(self):
        if self.epoch == self.at: raise KeyboardInterrupt

def until(epoch):
    "A reporter that interrupts when that many epochs are over"
    def stop(row):
        if row['epoch'] + 1 == epoch: raise KeyboardInterrupt
    return Each(stop)

def interrupted(images, kind, folder, epochs=4):
    "A checkpoint after this number of epochs"
    from fastrecipes.training.checkpoint import Checkpoint
    recipe, settings = QUICK[kind]
    stop = dict(reporter=until(epochs)) if recipe == 'sgd' else dict(cbs=[Pull(epochs)])
    with pytest.raises(KeyboardInterrupt): fitted(images, recipe, settings, Checkpoint(folder, every=1), **stop)
    return Checkpoint(folder, every=1, resume=True)

@pytest.mark.parametrize('kind', QUICK)
def test_a_resumed_training_reports_the_epochs_that_were_left_only(images, kind, tmp_path):
    whole, point, seen = fitted(images, *QUICK[kind]), interrupted(images, kind, tmp_path), Seen()
    f = fitted(images, *QUICK[kind], point, reporter=seen)
    assert [r['epoch'] for r in seen.rows] == [4, 5, 6, 7]
    assert f.history.epoch.tolist() == list(range(8)) and equal(f, whole)

@pytest.mark.parametrize('kind, part', [('sgd', 'loaders'), ('adam', 'loaders'), ('adam', 'torch')])
def test_without_its_random_states_it_would_end_elsewhere(images, kind, part, tmp_path):
    "The negative control: what is compared above can differ"
    from fastrecipes.training.checkpoint import Checkpoint, random_states
    whole = fitted(images, *QUICK[kind])
    interrupted(images, kind, tmp_path)
    class Altered(Checkpoint):
        def load(self):
            state, other = super().load(), SimpleNamespace(rng=random.Random(3))
            of_torch = torch.Generator().manual_seed(3).get_state()
            of_loaders = random_states((other, other))['loaders']
            state['random'][part] = of_torch if part == 'torch' else of_loaders
            return state
    f = fitted(images, *QUICK[kind], Altered(tmp_path, every=1, resume=True))
    assert len(f.history) == 8 and not any(same(a, b) for a, b in zip(result(f)[:2], result(whole)))
    assert same(f.history.iloc[:4].drop(columns='seconds').to_dict(),
                whole.history.iloc[:4].drop(columns='seconds').to_dict())

@pytest.mark.parametrize('kind', QUICK)
@pytest.mark.parametrize('best', [True, False])
def test_a_training_that_was_finished_is_given_again_without_another_epoch(images, kind, best, tmp_path):
    from fastrecipes.training.checkpoint import Checkpoint
    f = fitted(images, *QUICK[kind], Checkpoint(tmp_path, every=1), best=best)
    g = fitted(images, *QUICK[kind], Checkpoint(tmp_path, every=1, resume=True), best=best, reporter=Untrained())
    assert equal(f, g) and f.history.equals(g.history)

@pytest.mark.parametrize('kind', QUICK)
def test_a_training_that_patience_has_ended_is_given_again_without_another_epoch(images, kind, tmp_path):
    from fastrecipes.training.checkpoint import Checkpoint
    stubborn = dict(epochs=200, lr=.5 if kind == 'sgd' else .1, patience=2, schedule='constant')
    f = fitted(images, *QUICK[kind], Checkpoint(tmp_path, every=1), **stubborn)
    assert 2 < len(f.history) < 200 and f.best_epoch == len(f.history) - 3
    g = fitted(images, *QUICK[kind], Checkpoint(tmp_path, every=1, resume=True), **stubborn, reporter=Untrained())
    assert equal(f, g) and f.history.equals(g.history)

def test_what_the_recorder_had_seen_is_there_again(images, tmp_path):
    whole, point = fitted(images, *QUICK['adam']), interrupted(images, 'adam', tmp_path)
    f = fitted(images, *QUICK['adam'], point)
    for name in ('lrs', 'losses', 'iters'):
        first, second = (list(map(float, getattr(g.learner.recorder, name))) for g in (f, whole))
        assert first == second
    assert [list(v) for v in f.learner.recorder.values] == [list(v) for v in whole.learner.recorder.values]
    f.learner.recorder.plot_loss()

class Counting(Callback):
    "A user's callback with a state"
    def __init__(self): self.seen = 0
    def after_epoch(self): self.seen += 1
    def state_dict(self): return dict(seen=self.seen)
    def load_state_dict(self, state): self.seen = state['seen']

def test_a_users_callback_is_resumed_where_it_was(images, tmp_path):
    from fastrecipes.training.checkpoint import Checkpoint
    with pytest.raises(KeyboardInterrupt):
        fitted(images, *QUICK['adam'], Checkpoint(tmp_path, every=1), cbs=[Counting(), Pull(4)])
    mine = Counting()
    assert equal(fitted(images, *QUICK['adam'], Checkpoint(tmp_path, every=1, resume=True), cbs=[mine]),
                 fitted(images, *QUICK['adam']))
    assert mine.seen == 8, 'the epochs that fastai skips do not count twice'

def test_other_callbacks_are_refused_in_one_line(images, tmp_path):
    point = interrupted(images, 'adam', tmp_path)
    with refused('checkpoint.safetensors: was written with', 'call_hooks', 'counting'):
        fitted(images, *QUICK['adam'], point, cbs=[Counting()])

@pytest.mark.parametrize('kind', QUICK)
def test_where_there_are_more_threads_it_keeps_its_number(images, kind, tmp_path):
    whole, point = fitted(images, *QUICK[kind]), interrupted(images, kind, tmp_path)
    torch.set_num_threads(2)
    try: f = fitted(images, *QUICK[kind], point)
    finally: torch.set_num_threads(1)
    assert f.threads == 1 and equal(f, whole)

@pytest.mark.parametrize('at', [1, 3, 6])
@pytest.mark.parametrize('recipe, settings', [('sgd', dict(lr=10.)), ('mlp', dict(lr=.1))])
def test_patience_with_one_cycle_ends_a_resumed_training_where_it_ends_a_whole_one(
    images, recipe, settings, at, tmp_path,
):
    from fastrecipes.training.checkpoint import Checkpoint
    how = settings | dict(epochs=16, schedule='one-cycle', patience=2)
    whole = fitted(images, recipe, how)
    def stop(row):
        if row['epoch'] == at: raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        fitted(images, recipe, how, Checkpoint(tmp_path, every=1), reporter=Each(stop))
    f = fitted(images, recipe, how, Checkpoint(tmp_path, every=1, resume=True))
    assert equal(f, whole)
    assert f.stopped == whole.stopped
    assert 6 <= len(f.history) < 16 and f.stopped.startswith(f'stopped after epoch {len(f.history)} of 16')

@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('recipe, settings', [
    ('sgd', dict(epochs=8)),
    ('mlp', dict(epochs=8, dropout=.2)),
    ('convnet', dict(epochs=4)),
    ('resnet18', dict(epochs=4, bs=16)),
])
def test_a_training_on_a_gpu_is_resumed_there(images, recipe, settings, tmp_path):
    from fastrecipes.training.checkpoint import Checkpoint
    from fastrecipes.ladder.recipe import fit
    def on_gpu(**more):
        return fit(recipe, images, seed=1, device='cuda', **settings, **more)
    stop = dict(reporter=until(3)) if recipe == 'sgd' else dict(cbs=[Pull(3)])
    with pytest.raises(KeyboardInterrupt): on_gpu(checkpoint=Checkpoint(tmp_path, every=1), **stop)
    f, whole = on_gpu(checkpoint=Checkpoint(tmp_path, every=1, resume=True)), on_gpu()
    assert f.history.epoch.tolist() == whole.history.epoch.tolist()
    assert torch.allclose(f.scores, whole.scores, atol=1e-2)

@pytest.mark.parametrize('make', [
    lambda: EarlyStoppingCallback(patience=3),
    lambda: SaveModelCallback(),
], ids=['EarlyStoppingCallback', 'SaveModelCallback'])
def test_a_callback_that_cannot_be_resumed_is_refused_with_a_checkpoint_before_training(images, make, tmp_path):
    from fastrecipes.training.checkpoint import Checkpoint
    with refused(type(make()).__name__, 'checkpoint'):
        fitted(images, *QUICK['adam'], Checkpoint(tmp_path, every=1), cbs=[make()], reporter=Untrained())
    assert not list(tmp_path.iterdir()) and len(fitted(images, *QUICK['adam'], cbs=[make()]).history) > 1
