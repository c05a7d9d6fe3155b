"""A process that ends itself at a known place: inside a write, or at a call of a function

It sends itself a real SIGKILL, or another signal. Nothing depends on a clock, so a test stops at the same place on
every machine."""
import os, signal, sys

KILL = getattr(signal, 'SIGKILL', signal.SIGTERM) # Windows has one way to end a process
PLACES = 'half', 'flushed', 'renamed'


def strike(sig=KILL): os.kill(os.getpid(), sig)

def in_write(place, when=lambda: True):
    """End this process in the write of the first file that is written while `when()` is true

    'half': half of the file is written; 'flushed': all of it is on the disk, under its temporary name; 'renamed': it
    has just got its final name."""
    assert place in PLACES
    flush, replace = os.fsync, os.replace
    def fsync(file):
        if place == 'half' and when():
            os.ftruncate(file, os.fstat(file).st_size // 2)
            strike()
        flush(file)
        if place == 'flushed' and when(): strike()
    def renamed(*args, **kwargs):
        replace(*args, **kwargs)
        if place == 'renamed' and when(): strike()
    os.fsync = fsync
    os.replace = renamed

class Calls:
    "Counts the calls of Python functions, and sends `sig` at call number `nth` if `when()` is true"
    def __init__(self, nth=None, sig=KILL, when=lambda: True):
        self.nth = nth
        self.sig = sig
        self.when = when
        self.count = 0
    def __call__(self, frame, event, arg):
        if event != 'call': return
        self.count += 1
        if self.count == self.nth and self.when(): strike(self.sig)
    def begin(self): sys.setprofile(self)
