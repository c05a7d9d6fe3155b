"""Processes that a test starts and may kill: they begin with torch and the recipes imported

Python's fork server imports them once; a process that does so itself needs seconds. What such a process runs is a
function of a module, and it has the variables of the environment that the server was started with."""
import multiprocessing
from functools import cache
from conftest import needs_posix

IMPORTED = [
    'pytest', 'hypothesis', 'sklearn.datasets', 'fastai.vision.all', 'torch._dynamo', 'torch.utils.flop_counter',
    'fastrecipes.keep.store', 'fastrecipes.ladder.rungs', 'fastrecipes.lessons.nets',
    'fastrecipes.lessons.similarity', 'fastrecipes.training.precision',
]
PATIENCE = 120 # Seconds for a process to end, on a busy machine


@cache
def _context():
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(IMPORTED)
    return context

def process(f, *args):
    "A started process that runs `f`"
    needs_posix()
    started = _context().Process(target=f, args=args)
    started.start()
    return started

def exit_of(f, *args):
    "Run `f` in a process: its exit status, or minus the number of the signal that ended it"
    started = process(f, *args)
    started.join(PATIENCE)
    if started.exitcode is None: started.kill()
    return started.exitcode

def _send(conn, f, *args):
    try: conn.send(f(*args))
    except Exception as e: conn.send(f'{type(e).__name__}: {e}')

def result_of(f, *args):
    "Run `f` in a process: what it returns, or its error as text"
    here, there = multiprocessing.Pipe()
    started = process(_send, there, f, *args)
    there.close()
    try: return here.recv()
    except EOFError: return None
    finally: started.join(PATIENCE)
