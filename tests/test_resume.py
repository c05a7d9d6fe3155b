"""Training that is killed at random moments and resumed ends where one that was never stopped does, to the last bit

For each kind of recipe a helper process (this file, run as a program) imports everything once, and forks a child for each attempt: a
real process, which its parent ends with a real SIGKILL or SIGINT. FASTRECIPES_KILL_SEED repeats the moments that a run has printed."""
import json, os, random, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
import forks, pytest, torch
from fastai.callback.core import Callback
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback
from conftest import refused

KILLS = 20
KINDS = {'sgd': ('sgd', dict(epochs=90, clip=1., wd=.01, schedule='one-cycle')), 'logistic': ('logistic', dict(epochs=90, lr=.1, bs=16, dropout=.1)),
         'learner': ('simple_net', dict(epochs=40)), 'adam': ('mlp', dict(epochs=40, hidden=(32, 16), dropout=.2, patience=25, clip=1.)),
         'resnet18': ('resnet18', dict(epochs=6, bs=16, best=False))}


# The helper

def small(n, classes=None):
    from fastrecipes.images import ImageSet, Split, load
    digits = load('digits', classes=classes)
    return ImageSet('small', digits.classes, *(Split(s.images[:m], s.labels[:m]) for s, m in ((digits.train, n), (digits.valid, 20))))

def contents(folder):
    "The state in the checkpoint of `folder` as plain data, without times, and its epoch"
    from fastrecipes.checkpoint import Checkpoint
    def plain(v):
        if isinstance(v, torch.Tensor): return [str(v.dtype), list(v.shape), v.reshape(-1).view(torch.uint8).numpy().tobytes()]
        if isinstance(v, dict): return {k: plain(x) for k, x in v.items() if k != 'seconds'}
        return [plain(x) for x in v] if isinstance(v, (list, tuple)) or type(v).__name__ == 'L' else repr(v)
    point = Checkpoint(folder, resume=True)
    return plain(point.load()), point.saved

def train(images, recipe, settings, seed, folder, every=1):
    "What is left when the training is over: the weights that are given back, the history and the best epoch"
    from fastrecipes.checkpoint import Checkpoint
    from fastrecipes.recipes import fit
    point = Checkpoint(folder, every, resume=True)
    try: f = fit(recipe, images, seed=seed, device='cpu', checkpoint=point, **settings)
    finally: point.write() # What was not due, after Ctrl-C too
    torch.save(dict(weights=dict(f.model.state_dict()), history=f.history.drop(columns='seconds').to_dict('list'), best_epoch=f.best_epoch), folder/'result')

def child(f, *args):
    "The id of a new process that does `f`"
    sys.stdout.flush()
    if pid := os.fork(): return pid
    status = 1
    try: f(*args); status = 0
    except KeyboardInterrupt: status = 130
    except BaseException:
        import traceback
        traceback.print_exc()
    finally: sys.stderr.flush(); os._exit(status)

def attempt(folder, f, *args, delay=None, into_a_write=False, sig=signal.SIGKILL):
    "Let a child work, and send it `sig` after `delay` seconds (never: None), perhaps not before it writes; how it ended"
    before, end = (folder/'checkpoint.safetensors').exists(), None if delay is None else time.monotonic() + delay
    pid, done = child(f, *args), 0
    mine = folder/f'.checkpoint.safetensors.{pid}'
    while not done:
        if end is not None and time.monotonic() >= end and mine.exists() >= into_a_write:
            os.kill(pid, sig)
            end = None
        done, status = os.waitpid(pid, os.WNOHANG)
        time.sleep(0 if into_a_write else .0005)
    return dict(signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, status=os.WEXITSTATUS(status), into_a_write=mine.exists(), before=before)

def same(a, b):
    if isinstance(a, torch.Tensor): return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    return list(a) == list(b) and all(same(a[k], b[k]) for k in a) if isinstance(a, dict) else a == b

def helper(kind, folder, moments, stops, sig):
    "Stop and resume, training after training, until there were enough stops; what happened as JSON on the last line"
    import fastrecipes.recipes as recipes
    recipes.predict_ms_per_1000 = lambda *args, **kwargs: 0. # The timing of predictions is no part of training
    torch.set_num_threads(1)
    flush = os.fsync
    def slowly(file): flush(file); time.sleep(.003)
    os.fsync = slowly # So that a write lasts long enough to be hit, on a quick disk and a busy machine too
    rng, images, log, trainings, seed = random.Random(moments), small(32, '3,7') if kind == 'resnet18' else small(48), [], [], 0
    (recipe, settings), every = KINDS[kind], 1 if sig == signal.SIGKILL else None # None: not before a minute has gone by
    def once(name, seed, **more):
        "Seconds that a training takes which is left alone"
        (folder/name).mkdir()
        start = time.monotonic()
        assert attempt(folder/name, train, images, recipe, settings | more, seed, folder/name, every)['status'] == 0
        return time.monotonic() - start
    (folder/'first').mkdir()
    train(images, recipe, settings | dict(epochs=1), 0, folder/'first') # Here, so that no child imports anything
    one, three = (min(once(f'{n} epochs {i}', 0, epochs=n) for i in range(1 if kind == 'resnet18' else 3)) for n in (1, 3))
    epoch = max(three - one, 0) / 2
    late = 1. # Longer delays, where the machine has become slower than it was when it was measured
    while len(log) < stops:
        seed += 1
        whole, pieces, stopped = folder/f'{seed}-whole', folder/f'{seed}-pieces', 0
        once(whole.name, seed); pieces.mkdir()
        while True:
            when = {} if len(log) == stops else dict(delay=late * rng.uniform(one / 2, one + max(epoch, one / 2)), into_a_write=sig == signal.SIGKILL and rng.random() < .3, sig=sig)
            end = attempt(pieces, train, images, recipe, settings, seed, pieces, every, **when)
            late = late * 1.4 if (end['signal'] or end['status']) and not (pieces/'checkpoint.safetensors').exists() else max(late / 1.4, 1.)
            if end['signal'] == end['status'] == 0: break
            assert when, end
            stopped += 1
            log.append(end)
        (a, saved), (b, _) = contents(whole), contents(pieces)
        results = [torch.load(f/'result', weights_only=True) for f in (whole, pieces)]
        trainings.append(dict(seed=seed, stopped=stopped, saved=saved, given_back={k: same(*(r[k] for r in results)) for k in results[0]},
                              parts={k: a[k] == b[k] for k in a}, left=sorted(f.name for f in pieces.iterdir())))
        for f in (*whole.iterdir(), *pieces.iterdir()): f.unlink()
    print(json.dumps(dict(log=log, trainings=trainings, seconds=(one, epoch))))

if __name__ == '__main__': helper(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))


# The tests

needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='processes are forked, which this system cannot')

def stopped_and_resumed(kind, folder, stops, sig):
    "How each attempt ended, when all trainings came out as if never stopped"
    moments = os.environ.get('FASTRECIPES_KILL_SEED') or str(random.SystemRandom().randrange(2**32))
    print(f'{kind}: FASTRECIPES_KILL_SEED={moments}')
    run = forks.run([sys.executable, __file__, kind, folder, moments, str(stops), str(int(sig))], cwd=folder, env=os.environ | {'OMP_NUM_THREADS': '1'},
                         capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    said = json.loads(run.stdout.splitlines()[-1])
    log, trainings = said['log'], said['trainings']
    print([(t['stopped'], t['saved']) for t in trainings], sum(k['before'] for k in log), sum(k['into_a_write'] for k in log), said['seconds'])
    parts = {'model', 'random', 'rows', 'counters', 'steps'} if kind in ('sgd', 'logistic') else {'model', 'random', 'opt', 'callbacks', 'recorder', 'epoch', 'train_iter'}
    for t in trainings:
        assert set(t['parts']) == parts and all(t['parts'].values()), t
        assert all(t['given_back'].values()) and t['left'] == ['checkpoint.safetensors', 'result'], t
    assert len(log) == stops and sum(k['before'] for k in log) >= stops // 3, 'a fair number go on from a checkpoint'
    return log

@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize('kind', KINDS)
def test_a_training_killed_again_and_again_ends_as_if_it_had_never_been(kind, tmp_path):
    log = stopped_and_resumed(kind, tmp_path, KILLS, signal.SIGKILL)
    assert {k['signal'] for k in log} == {signal.SIGKILL} and sum(k['into_a_write'] for k in log) >= 1, 'some were killed while they wrote'

@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize('kind', [k for k in KINDS if k != 'resnet18'])
def test_ctrl_c_at_any_moment_leaves_the_last_full_epoch_to_be_written_and_gone_on_from(kind, tmp_path):
    "KeyboardInterrupt is raised wherever Python is; nothing was due to be written before"
    assert {k['status'] for k in stopped_and_resumed(kind, tmp_path, 10, signal.SIGINT)} == {130}


# In this process

QUICK = {'sgd': ('sgd', dict(epochs=8, lr=.5)), 'adam': ('mlp', dict(epochs=8, hidden=(16, 8), dropout=.2))}

@pytest.fixture(scope='module')
def images(): return small(48)

def fitted(images, recipe, settings, point=None, seed=1, **more):
    from fastrecipes.recipes import fit
    return fit(recipe, images, seed=seed, device='cpu', checkpoint=point, **settings | more)

def result(f): return dict(f.model.state_dict()), f.history.drop(columns='seconds').to_dict('list'), f.best_epoch
def equal(f, g): return all(same(a, b) for a, b in zip(result(f), result(g)))

class Pull(Callback):
    "Pull the plug as an epoch begins"
    order = 100
    def __init__(self, epoch): self.at = epoch
    def before_train(self):
        if self.epoch == self.at: raise KeyboardInterrupt

def until(epoch):
    "An `on_epoch` that pulls the plug when that many epochs are over"
    def on_epoch(row):
        if row['epoch'] + 1 == epoch: raise KeyboardInterrupt
    return on_epoch

def interrupted(images, kind, folder, epochs=4):
    "A checkpoint of so many epochs"
    from fastrecipes.checkpoint import Checkpoint
    recipe, settings = QUICK[kind]
    stop = dict(on_epoch=until(epochs)) if recipe == 'sgd' else dict(cbs=[Pull(epochs)])
    with pytest.raises(KeyboardInterrupt): fitted(images, recipe, settings, Checkpoint(folder, every=1), **stop)
    return Checkpoint(folder, every=1, resume=True)

@pytest.mark.parametrize('kind', QUICK)
def test_a_resumed_training_reports_the_epochs_that_were_left_only(images, kind, tmp_path):
    whole, point, seen = fitted(images, *QUICK[kind]), interrupted(images, kind, tmp_path), []
    f = fitted(images, *QUICK[kind], point, on_epoch=seen.append)
    assert [r['epoch'] for r in seen] == [4, 5, 6, 7] and f.history.epoch.tolist() == list(range(8)) and equal(f, whole)

@pytest.mark.parametrize('kind, part', [('sgd', 'loaders'), ('adam', 'loaders'), ('adam', 'torch')])
def test_without_its_random_states_it_would_end_elsewhere(images, kind, part, tmp_path):
    "The negative control: what is compared above can differ"
    from fastrecipes.checkpoint import Checkpoint, random_states
    whole, point = fitted(images, *QUICK[kind]), interrupted(images, kind, tmp_path)
    class Altered(Checkpoint):
        def load(self):
            state, other = super().load(), SimpleNamespace(rng=random.Random(3))
            state['random'][part] = torch.Generator().manual_seed(3).get_state() if part == 'torch' else random_states((other, other))['loaders']
            return state
    f = fitted(images, *QUICK[kind], Altered(tmp_path, every=1, resume=True))
    assert len(f.history) == 8 and not any(same(a, b) for a, b in zip(result(f)[:2], result(whole)))
    assert same(f.history.iloc[:4].drop(columns='seconds').to_dict(), whole.history.iloc[:4].drop(columns='seconds').to_dict())

@pytest.mark.parametrize('kind', QUICK)
@pytest.mark.parametrize('best', [True, False])
def test_a_training_that_was_finished_is_given_again_without_another_epoch(images, kind, best, tmp_path):
    from fastrecipes.checkpoint import Checkpoint
    f = fitted(images, *QUICK[kind], Checkpoint(tmp_path, every=1), best=best)
    g = fitted(images, *QUICK[kind], Checkpoint(tmp_path, every=1, resume=True), best=best, on_epoch=lambda row: pytest.fail('another epoch'))
    assert equal(f, g) and f.history.equals(g.history)

@pytest.mark.parametrize('kind', QUICK)
def test_a_training_that_patience_has_ended_is_given_again_without_another_epoch(images, kind, tmp_path):
    from fastrecipes.checkpoint import Checkpoint
    stubborn = dict(epochs=200, lr=.5 if kind == 'sgd' else .1, patience=2, schedule='constant')
    f = fitted(images, *QUICK[kind], Checkpoint(tmp_path, every=1), **stubborn)
    assert 2 < len(f.history) < 200 and f.best_epoch == len(f.history) - 3
    g = fitted(images, *QUICK[kind], Checkpoint(tmp_path, every=1, resume=True), **stubborn, on_epoch=lambda row: pytest.fail('another epoch'))
    assert equal(f, g) and f.history.equals(g.history)

def test_what_the_recorder_had_seen_is_there_again(images, tmp_path):
    whole, point = fitted(images, *QUICK['adam']), interrupted(images, 'adam', tmp_path)
    f = fitted(images, *QUICK['adam'], point)
    for name in ('lrs', 'losses', 'iters'): assert list(map(float, getattr(f.learner.recorder, name))) == list(map(float, getattr(whole.learner.recorder, name)))
    assert [list(v) for v in f.learner.recorder.values] == [list(v) for v in whole.learner.recorder.values]
    f.learner.recorder.plot_loss()

class Counting(Callback):
    "A callback of one's own with a state"
    def __init__(self): self.seen = 0
    def after_epoch(self): self.seen += 1
    def state_dict(self): return dict(seen=self.seen)
    def load_state_dict(self, state): self.seen = state['seen']

def test_a_callback_of_ones_own_goes_on_where_it_was(images, tmp_path):
    from fastrecipes.checkpoint import Checkpoint
    with pytest.raises(KeyboardInterrupt): fitted(images, *QUICK['adam'], Checkpoint(tmp_path, every=1), cbs=[Counting(), Pull(4)])
    mine = Counting()
    assert equal(fitted(images, *QUICK['adam'], Checkpoint(tmp_path, every=1, resume=True), cbs=[mine]), fitted(images, *QUICK['adam']))
    assert mine.seen == 8, 'the epochs that fastai skips do not count twice'

def test_other_callbacks_are_refused_in_one_line(images, tmp_path):
    point = interrupted(images, 'adam', tmp_path)
    with refused('checkpoint.safetensors: was written with the callbacks history, early_stop, best_weights, not history, early_stop, best_weights, counting; resume with the same'):
        fitted(images, *QUICK['adam'], point, cbs=[Counting()])

@pytest.mark.parametrize('kind', QUICK)
def test_where_there_are_more_threads_it_goes_on_with_its_own_number(images, kind, tmp_path):
    whole, point = fitted(images, *QUICK[kind]), interrupted(images, kind, tmp_path)
    torch.set_num_threads(2)
    try: f = fitted(images, *QUICK[kind], point)
    finally: torch.set_num_threads(1)
    assert f.threads == 1 and equal(f, whole)

@pytest.mark.parametrize('at', [1, 3, 6])
@pytest.mark.parametrize('recipe, settings', [('sgd', dict(lr=10.)), ('mlp', dict(lr=.1))])
def test_patience_with_one_cycle_ends_a_resumed_training_where_it_ends_a_whole_one(images, recipe, settings, at, tmp_path):
    from fastrecipes.checkpoint import Checkpoint
    how = settings | dict(epochs=16, schedule='one-cycle', patience=2)
    whole = fitted(images, recipe, how)
    def stop(row):
        if row['epoch'] == at: raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): fitted(images, recipe, how, Checkpoint(tmp_path, every=1), on_epoch=stop)
    f = fitted(images, recipe, how, Checkpoint(tmp_path, every=1, resume=True))
    assert equal(f, whole) and f.stopped == whole.stopped and 6 <= len(f.history) < 16 and f.stopped.startswith(f'stopped after epoch {len(f.history)} of 16')

@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('recipe, settings', [('sgd', dict(epochs=8)), ('mlp', dict(epochs=8, dropout=.2)), ('convnet', dict(epochs=4)), ('resnet18', dict(epochs=4, bs=16))])
def test_a_training_on_a_gpu_goes_on_there(images, recipe, settings, tmp_path):
    from fastrecipes.checkpoint import Checkpoint
    from fastrecipes.recipes import fit
    on_gpu = lambda **more: fit(recipe, images, seed=1, device='cuda', **settings, **more)
    stop = dict(on_epoch=until(3)) if recipe == 'sgd' else dict(cbs=[Pull(3)])
    with pytest.raises(KeyboardInterrupt): on_gpu(checkpoint=Checkpoint(tmp_path, every=1), **stop)
    f, whole = on_gpu(checkpoint=Checkpoint(tmp_path, every=1, resume=True)), on_gpu()
    assert f.history.epoch.tolist() == whole.history.epoch.tolist() and torch.allclose(f.scores, whole.scores, atol=1e-2)

@pytest.mark.parametrize('make', [lambda: EarlyStoppingCallback(patience=3), lambda: SaveModelCallback()], ids=['EarlyStoppingCallback', 'SaveModelCallback'])
def test_a_callback_that_could_not_go_on_is_refused_with_a_checkpoint_before_anything_is_trained(images, make, tmp_path):
    from fastrecipes.checkpoint import Checkpoint
    with refused(f'{type(make()).__name__} keeps what it knows to itself', 'leave it or the checkpoint out'):
        fitted(images, *QUICK['adam'], Checkpoint(tmp_path, every=1), cbs=[make()], on_epoch=lambda row: pytest.fail('it trained'))
    assert not list(tmp_path.iterdir()) and len(fitted(images, *QUICK['adam'], cbs=[make()]).history) > 1
