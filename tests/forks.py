"""Processes that begin with the packages of others already imported

A process needs five seconds of processor time to import PyTorch and its like before it does anything of its own, and hundreds are started
here. So a server process imports those packages once, and a process that a test asks for is a fork of it: a real one, with an id, a folder, an
environment, standard files, signals and an exit status of its own. fastai, fastcore and fastrecipes are not among them: every process imports
these itself, so that what one of their modules forgets to import is missed. Where there is no fork, processes begin from nothing."""
import os, pickle, signal, socket, struct, subprocess, sys, threading
from contextlib import suppress
from importlib import import_module, invalidate_caches

PACKAGES = """torch torch._dynamo torch.utils.flop_counter torchvision torchvision.models matplotlib.pyplot matplotlib.figure pandas scipy.stats scipy.ndimage
    sklearn.datasets sklearn.model_selection sklearn.metrics PIL.Image PIL.ImageOps PIL.ImageFont PIL.ImageDraw safetensors.torch requests yaml click rich.console rich.progress rich.table
    psutil platformdirs IPython ipywidgets anywidget jinja2""".split()
CAN_FORK = hasattr(os, 'fork') and hasattr(socket, 'send_fds')


# In the server

def _arrange(request, files):
    "Make this process what was asked for: its standard files, environment, folder and arguments"
    for fd, there in zip(files, range(3)): os.dup2(fd, there)
    for fd in files: os.close(fd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request['env'])
    os.chdir(request['cwd'])
    told = request['env'].get('PYTHONIOENCODING', 'utf-8').partition(':')
    for name, fd, mode, errors in (('stdin', 0, 'r', 'strict'), ('stdout', 1, 'w', 'strict'), ('stderr', 2, 'w', 'backslashreplace')):
        file = open(fd, mode, encoding=told[0] or 'utf-8', errors=told[2] if told[2] and fd < 2 else errors, closefd=False)
        if mode == 'w': file.reconfigure(line_buffering=fd == 2 or os.isatty(fd), write_through=bool(os.environ.get('PYTHONUNBUFFERED')))
        setattr(sys, name, file), setattr(sys, f'__{name}__', file)
    sys.dont_write_bytecode = bool(os.environ.get('PYTHONDONTWRITEBYTECODE'))
    sys.path[:0] = [os.path.abspath(p) for p in os.environ.get('PYTHONPATH', '').split(os.pathsep) if p]
    import numpy
    numpy.random.seed() # Other processes do not have the server's state either
    invalidate_caches()

def _become(argv):
    "Do what `python *argv` does"
    import runpy
    kind, what, rest = (*argv[:2], argv[2:]) if argv[0] in ('-c', '-m') else (None, argv[0], argv[1:])
    sys.argv = ['-c' if kind == '-c' else what, *rest]
    sys.path.insert(0, os.path.dirname(os.path.realpath(what)) if kind is None else os.getcwd() if kind == '-m' else '')
    if kind == '-c': exec(compile(what, '<string>', 'exec'), sys.modules['__main__'].__dict__)
    elif kind == '-m': runpy.run_module(what, run_name='__main__', alter_sys=True)
    else: runpy.run_path(what, run_name='__main__')

def _end(f, *args):
    "Do it, and end this process as Python does, but without taking every module apart"
    import atexit, traceback
    status = 0
    try: f(*args)
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
        if not isinstance(e.code, (int, type(None))): print(e.code, file=sys.stderr)
    except KeyboardInterrupt: status = -signal.SIGINT; traceback.print_exc()
    except BaseException: status = 1; traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    try: sys.stdout.flush()
    except (OSError, ValueError): status = 120
    with suppress(OSError, ValueError): sys.stderr.flush()
    if status == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status & 0xff)

def _serve(orders):
    "Fork for each order that comes; returns in the new process only, with what it shall do"
    while True:
        head, files, *_ = socket.recv_fds(orders, 8, 4)
        if not head: os._exit(0) # The tests are over
        request = pickle.loads(_exactly(orders, struct.unpack('!Q', head)[0]))
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]: pass
        if not os.fork(): break
        for fd in files: os.close(fd)
    orders.close()
    *files, answer = files
    if pid := os.fork(): # This one waits, and tells
        for fd in (*files, 0, 1, 2): os.close(fd)
        with socket.socket(fileno=answer) as s, suppress(OSError): # Nobody may want to know
            s.sendall(struct.pack('!q', pid))
            s.sendall(struct.pack('!q', os.waitpid(pid, 0)[1]))
        os._exit(0)
    os.close(answer)
    _arrange(request, files)
    return request['argv']

def _exactly(s, n):
    "The next `n` bytes; fewer where the other end is closed"
    data = b''
    while len(data) < n and (more := s.recv(n - len(data))): data += more
    return data


# In the tests

class _Server:
    "The process that is forked, begun when it is first needed"
    def __init__(self): self.orders, self.lock = None, threading.Lock()

    def begin(self):
        "So that it imports while something else is done"
        with self.lock:
            if self.orders is not None: return
            self.orders, theirs = socket.socketpair()
            env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | dict(OMP_NUM_THREADS='1', MPLBACKEND='agg')
            self.process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=env, stdin=subprocess.DEVNULL)
            theirs.close()

    def order(self, request, files):
        "The socket that tells the new process's id and, at its end, its status"
        self.begin()
        ours, theirs = socket.socketpair()
        data = pickle.dumps(request)
        with self.lock, theirs:
            socket.send_fds(self.orders, [struct.pack('!Q', len(data))], [*files, theirs.fileno()])
            self.orders.sendall(data)
        return ours

server = _Server()

class Process(subprocess.Popen):
    "`subprocess.Popen([sys.executable, *argv], ...)`, begun as a fork of the server"
    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *rest):
        assert args[0] == sys.executable and not (preexec_fn or pass_fds or shell or executable)
        request = dict(argv=[os.fspath(a) for a in args[1:]], cwd=os.fspath(cwd or os.getcwd()), env=dict(os.environ if env is None else env))
        files = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        self._answer, self._ended = server.order(request, files), None
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
        self._child_created = True
        self.pid, = struct.unpack('!q', _exactly(self._answer, 8))

    def _try_wait(self, flags):
        "As `os.waitpid` would, did it know the process"
        if self._ended is None:
            self._answer.setblocking(not flags & os.WNOHANG)
            try: self._ended, = struct.unpack('!q', _exactly(self._answer, 8))
            except BlockingIOError: return 0, 0
            self._answer.close()
        return self.pid, self._ended

    def _internal_poll(self, *rest, **more):
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid: self._handle_exitstatus(status)
        return self.returncode

def run(command, *, input=None, capture_output=False, timeout=None, check=False, **kwargs):
    "`subprocess.run` of a command that begins with `sys.executable`, quicker"
    if input is not None: kwargs['stdin'] = subprocess.PIPE
    if capture_output: kwargs |= dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with Popen(command, **kwargs) as p:
        try: out, err = p.communicate(input, timeout)
        except BaseException: p.kill(); raise
    r = subprocess.CompletedProcess(p.args, p.returncode, out, err)
    if check: r.check_returncode()
    return r

Popen = Process if CAN_FORK else subprocess.Popen


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_IGN) # Ctrl-C is for the tests; when they end, so does this
    orders = socket.socket(fileno=int(sys.argv[1]))
    del sys.path[0] # The folder of this file, which is not on the path of other processes
    for name in PACKAGES:
        with suppress(ImportError): import_module(name)
    found = {m.partition('.')[0] for m in sys.modules} & {'fastai', 'fastcore', 'fastrecipes'}
    assert not found, f'a process could not show that it imports what it needs of {found}'
    import gc
    gc.collect(); gc.freeze() # Or the first collection of a fork would copy all of it
    _end(_become, _serve(orders))
