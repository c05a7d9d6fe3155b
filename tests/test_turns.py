"""One thread of a process trains at a time, so that a seed means in threads what it means in one"""
import os, signal, threading
from concurrent.futures import ThreadPoolExecutor
import pytest, torch
from reporters import Each
from fastrecipes.explore.live import LiveTraining
from fastrecipes.ladder.recipe import fit, one_at_a_time
from fastrecipes.training import cost
from fastrecipes.training.cost import on_threads

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
