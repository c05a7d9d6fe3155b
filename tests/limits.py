"What a test takes away from its own process for a while: room on the disk, the rights of root"
import os
from contextlib import contextmanager
from conftest import needs_posix

@contextmanager
def little_room(most):
    "No file may become longer than `most` bytes: an `OSError`, as from a full disk"
    needs_posix()
    import resource
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, before)

@contextmanager
def as_nobody():
    "Without the rights of root"
    os.setegid(65534)
    os.seteuid(65534)
    try: yield
    finally:
        os.seteuid(0)
        os.setegid(0)
