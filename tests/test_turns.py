"""One thread of a process trains at a time, so that a seed means in threads what it means in one"""
import os, queue, signal, threading
from concurrent.futures import ThreadPoolExecutor
import pytest, torch
from fastai.learner import Learner
from torch import nn
from reporters import Each
from fastrecipes.explore.live import LiveTraining
from fastrecipes.data.loaders import dataloaders
from fastrecipes.errors import InputError
from fastrecipes.keep import store
from fastrecipes.keep.export import export_onnx
from fastrecipes.ladder.recipe import fit, recipe
from fastrecipes.ladder.settings import recipes
from fastrecipes.lessons.sgd import cross_entropy
from fastrecipes.training import cost, processes
from fastrecipes.training.cost import on_threads
from fastrecipes.training.fitting import fit_by_hand, fit_learner
from fastrecipes.training.processes import one_at_a_time

pytestmark = pytest.mark.filterwarnings('ignore:another thread is training')

def at_once(*functions) -> list:
    "The results of functions that start together, each in a thread"
    gate = threading.Barrier(len(functions))
    def run(f):
        gate.wait()
        return f()
    with ThreadPoolExecutor(len(functions)) as pool: return list(pool.map(run, functions))

@pytest.mark.parametrize('name, how', [('sgd', {}), ('mlp', dict(dropout=.3))])
def test_fits_in_several_threads_are_the_fit_alone_to_the_last_bit(name, how, threes_sevens):
    def train(): return fit(name, threes_sevens, device='cpu', epochs=3, **how)
    with on_threads(2):
        alone = train()
        found = at_once(train, train, train)
    assert {f.threads for f in found} == {alone.threads}
    assert all(torch.equal(f.scores, alone.scores) for f in found)
    kept = alone.model.state_dict()
    assert all(torch.equal(v, kept[k]) for f in found for k, v in f.model.state_dict().items())

def test_no_fit_sees_the_number_of_threads_of_another(threes_sevens, monkeypatch):
    monkeypatch.setattr(cost, 'LARGE_STEP', 1)
    with on_threads(2): assert at_once(*[lambda: fit('similarity', threes_sevens, device='cpu').threads] * 3) == [2] * 3

def test_a_training_to_watch_and_a_fit_do_not_mix(threes_sevens):
    def train(): return fit('mlp', threes_sevens, device='cpu', epochs=3, dropout=.3).scores
    def watch():
        live = LiveTraining(threes_sevens, dropout=.5)
        for _ in range(30): live.step()
        return live.units
    alone = train(), watch()
    for found, wanted in zip(at_once(train, watch), alone): assert torch.equal(found, wanted)

def test_the_second_waits_with_a_warning_and_the_same_thread_goes_on():
    order = []
    def second():
        with pytest.warns(UserWarning, match='this one waits'), one_at_a_time(): order.append('second')
    with one_at_a_time():
        with one_at_a_time(): order.append('same')
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(.2)
        order.append('first')
    thread.join()
    assert order == ['same', 'first', 'second']

def free() -> bool:
    "Whether another thread can train now"
    def enter():
        with one_at_a_time(): pass
    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    thread.join(5)
    return not thread.is_alive()

@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit, MemoryError, ZeroDivisionError])
def test_whatever_ends_a_training_lets_the_next_thread_in(error, threes_sevens):
    def fail(row): raise error
    with pytest.raises(error): fit('sgd', threes_sevens, device='cpu', reporter=Each(fail))
    assert free()

def test_a_callback_may_fit(threes_sevens):
    inner = []
    def fit_again(row): inner.append(fit('linear', threes_sevens, device='cpu', epochs=1, seed=1).accuracy)
    alone = fit('mlp', threes_sevens, device='cpu', epochs=2, dropout=.3)
    nested = fit('mlp', threes_sevens, device='cpu', epochs=2, dropout=.3, reporter=Each(fit_again))
    assert len(inner) == 2 and torch.equal(nested.scores, alone.scores) and free()

@pytest.mark.skipif(os.name != 'posix', reason='only there does Ctrl-C end the wait for a lock')
def test_ctrl_c_ends_the_wait():
    entered, over = threading.Event(), threading.Event()
    def hold():
        with one_at_a_time():
            entered.set()
            over.wait(10)
    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    threading.Timer(.2, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt), one_at_a_time(): pytest.fail('both are in')
    over.set()
    thread.join()
    assert free()


# Threads that a recipe starts and waits for

def by_join(train):
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()

def by_pool(train):
    with ThreadPoolExecutor(2) as pool: return list(pool.map(lambda _: train(), range(3)))

def by_queue(train):
    done = queue.Queue()
    threading.Thread(target=lambda: done.put(train())).start()
    done.get()

@pytest.mark.parametrize('wait', [by_join, by_pool, by_queue])
def test_a_thread_that_a_callback_waits_for_is_refused(wait, threes_sevens, monkeypatch):
    monkeypatch.setattr(processes, '_seconds', .1)
    errors = []
    def train():
        try: return fit('similarity', threes_sevens, device='cpu')
        except InputError as e: errors.append(str(e))
    alone = fit('mlp', threes_sevens, device='cpu', epochs=1, dropout=.3)
    waited = fit('mlp', threes_sevens, device='cpu', epochs=1, dropout=.3, reporter=Each(lambda row: wait(train)))
    assert errors and not any('\n' in e for e in errors) and torch.equal(waited.scores, alone.scores) and free()

def test_who_waits_for_something_else_is_waited_for(monkeypatch):
    monkeypatch.setattr(processes, '_seconds', .05)
    entered, over, order = threading.Event(), threading.Event(), []
    def old(): # Is there before the training begins
        entered.wait(10)
        with one_at_a_time(): order.append('old')
    thread = threading.Thread(target=old)
    thread.start()
    with one_at_a_time():
        entered.set()
        over.wait(.6)
        order.append('first')
    thread.join()
    assert order == ['first', 'old'] and free()

def test_a_busy_training_is_waited_for(monkeypatch):
    monkeypatch.setattr(processes, '_seconds', .05)
    order = []
    def new():
        with one_at_a_time(): order.append('new')
    thread = threading.Thread(target=new)
    with one_at_a_time():
        thread.start()
        for _ in range(300): torch.ones(300, 300) @ torch.ones(300, 300)
        order.append('first')
    thread.join()
    assert order == ['first', 'new']


# What else uses the random state

def waits(f, seconds=1) -> bool:
    "Whether another thread waits before it calls `f` during a training"
    done = threading.Event()
    def call():
        f()
        done.set()
    thread = threading.Thread(target=call)
    with one_at_a_time():
        thread.start()
        waited = not done.wait(seconds)
    thread.join()
    assert done.is_set()
    return waited

def test_loading_a_model_of_ours_draws_nothing_and_does_not_wait(threes_sevens, tmp_path):
    folder = store.save(fit('mlp', threes_sevens, device='cpu', epochs=1), tmp_path/'m')
    def load(): store.load(folder, 'cpu')
    load()
    before = torch.get_rng_state()
    assert not waits(load, 20) and torch.equal(torch.get_rng_state(), before)

def test_loading_a_model_of_the_users_waits(threes_sevens, tmp_path):
    from fastrecipes.ladder.rungs import Parts
    def net(shape, n_classes):
        torch.rand(3, device='cpu')
        return Parts(nn.Sequential(nn.Flatten(), nn.Linear(shape[1] * shape[2], n_classes)), cross_entropy)
    @recipe(parts=net)
    def mine(images, run): return net(images.shape, 2).model
    try:
        folder = store.save(fit('mine', threes_sevens, device='cpu'), tmp_path/'m')
        before = torch.get_rng_state()
        assert waits(lambda: store.load(folder, 'cpu')) and torch.equal(torch.get_rng_state(), before)
    finally: del recipes['mine']

def linear_learner(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    return Learner(dataloaders(images, 64, 'cpu'), model, loss_func=cross_entropy)

def test_the_export_of_a_learner_and_both_ways_to_fit_wait(threes_sevens, tmp_path):
    learn = linear_learner(threes_sevens)
    assert waits(lambda: export_onnx(learn, tmp_path/'m.onnx'))
    assert waits(lambda: fit_learner(linear_learner(threes_sevens), 1, .1))
    assert waits(lambda: fit_by_hand(learn.model, learn.dls, cross_entropy, epochs=1, lr=.1))
