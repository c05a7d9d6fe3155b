"""Several processes do what one does: batches in shares, the same gradients, each image counted once, one voice, and a clear end when a process is lost.

Two real processes over loopback do all that tests/several.py asks for, once; this process does the same alone."""
import importlib.util, json, os, re, signal, socket, subprocess, sys, time
from pathlib import Path
import pytest, torch
import several
from conftest import refused
from fastrecipes.training import processes as d
from fastrecipes.training.checkpoint import Checkpoint
from fastrecipes.answer.climb import compare
from fastrecipes.data.sources import load
from fastrecipes.ladder.fitted import launched_alone
from fastrecipes.ladder.recipe import fit
from fastrecipes.keep.store import read_card

HERE, ROOT = Path(__file__).parent, Path(__file__).parent.parent
if not importlib.util.find_spec('accelerate'): pytest.skip('several processes train through Accelerate, which is not installed', allow_module_level=True)
ALONE = {k: v for k, v in os.environ.items() if k not in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')} | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
TWO = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']


def two(*args, cwd=None, start=subprocess.run, **kwargs):
    "Two processes"
    return start([*TWO, *args], cwd=cwd, env=ALONE | {'FASTAI_HOME': os.environ['FASTAI_HOME'], 'FASTRECIPES_CACHE': os.environ['FASTRECIPES_CACHE']}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


@pytest.fixture(scope='module')
def saw(tmp_path_factory):
    "What one process saw, and each of two; and the folder"
    out = tmp_path_factory.mktemp('several')
    several.main(out)
    long = dict(several.LONG)
    try: fit(long.pop('recipe'), 'digits', device='cpu', on_epoch=several.stop_after(3), checkpoint=Checkpoint(out/'by-1', every=1), **long)
    except KeyboardInterrupt: pass
    done = two(HERE/'several.py', out, cwd=out, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == '', done.stdout
    return [json.loads((out/f'saw-{name}.json').read_text()) for name in ('1-0', '2-0', '2-1')] + [out]


def far(a, b) -> float:
    "The largest difference"
    a, b = (torch.tensor(v, dtype=torch.float64) for v in (a, b))
    assert a.shape == b.shape
    return (a - b).abs().max().item()


@pytest.mark.parametrize('name', several.FITS)
def test_two_processes_arrive_where_one_does(saw, name):
    one, first, second = (s['fits'][name] for s in saw[:3])
    assert far(one['weights'], first['weights']) < 2e-6 and first['weights'] == second['weights']
    assert far(one['rows'], first['rows']) < 2e-6 and first['rows'] == second['rows']
    assert far(one['scores'], first['scores']) < 1e-5 and first['scores'] == second['scores']
    assert one['settings'] == first['settings'], 'batch size, best epoch'

def test_epochs_change_the_weights_of_every_fit(saw):
    "Or nothing would be shown above"
    for name, f in saw[0]['fits'].items():
        epochs = f['rows']
        assert abs(epochs[0][1] - epochs[1][1]) > 1e-4, name

def test_gradients_are_those_of_the_whole_batch(saw):
    "100 images are cut into 50 and 50, the last 37 of an epoch into 18 and 19"
    one, first, second = (s['pairs']['gradients'] for s in saw[:3])
    assert len(one) == 15 and max(far(a, b) for a, b in zip(one, first)) < 1e-6 and first == second
    assert min(max(map(abs, g)) for g in one) > 1e-3

def test_the_order_of_images_is_that_of_the_first_process_whatever_the_others_drew(saw):
    one, first, second = (s['pairs'] for s in saw[:3])
    assert far(one['weights'], first['weights']) < 1e-6 and first['weights'] == second['weights']

@pytest.mark.parametrize('which', ['norm', 'pairs'])
def test_validation_counts_each_image_once_and_predictions_keep_their_order(saw, which):
    images = load('digits')
    for s in saw[1:3]:
        got = s[which]
        assert got['targets'] == images.valid.labels.tolist()
        right = (torch.tensor(got['preds']).argmax(1) == images.valid.labels).double().mean().item()
        assert got['values'][2] == got['again'][1] == pytest.approx(right, abs=1e-12)
        assert got['values'][1] == got['again'][0] == pytest.approx(sum(got['losses']) / len(got['losses']), abs=1e-6)
    assert saw[1][which]['preds'] == saw[2][which]['preds']

def test_batch_norm_keeps_the_mean_over_the_whole_batch(saw):
    "Its first layer sees pixels, so its statistics depend on nothing else; the weights after it may differ, since each process normalises by its own share"
    one, first, second = (s['norm']['weights'] for s in saw[:3])
    mean = 2 # After weight and bias: running mean, running variance, number of batches
    assert far(one[mean], first[mean]) < 1e-6 and one[mean] > .1
    assert far(one[mean + 1], first[mean + 1]) < 2e-3 and first == second
    assert one[mean + 2] == first[mean + 2] == 14

def test_a_learner_is_wrapped_while_it_is_fitted_and_given_back_as_it_was(saw):
    for s in saw[1:3]:
        assert s['norm']['wrapped'] == 'DistributedDataParallel' and s['norm']['after'] == 'Sequential'
        assert s['norm']['callbacks'] == saw[0]['norm']['callbacks']
        assert s['after an error'] == ['Sequential', saw[0]['norm']['callbacks'], 'AvgSmoothLoss']

def test_convolutions_with_batch_norm_stay_the_same_in_all_processes(saw):
    _, first, second, _ = saw
    assert 'resnet18' in first['convolutions'] and first['convolutions'] == second['convolutions']
    for total, scores, _, model in first['convolutions'].values(): assert len(scores) == 41 and total == total and model == 'Sequential'

def test_fastai_is_not_mended_yet(saw):
    "Where this fails, see whether `Together` can go: nbs/07_distributed.ipynb says what fastai must do for that"
    assert saw[1]['stock fastai'] == saw[2]['stock fastai'] == 'ValueError', 'SyncBatchNorm on a CPU'

def test_dropout_differs_between_processes_and_random_states_are_as_before(saw):
    _, first, second, _ = saw
    assert first['own'] != second['own'] and first['shared again'] == second['shared again']
    assert first['state kept'] and second['state kept']

def test_images_are_predicted_in_shares(saw):
    "Of seven, of three, and of one, which each process predicts"
    for s in saw[1:3]: assert s['predicted'] == [[0, 4, 8, 12, 16, 20, 24], [24, 4, 12], [0]]
    assert [s['given'] for s in saw[1:3]] == [[3, 1, 1], [4, 2, 1]]

def test_only_the_first_process_keeps_the_model(saw):
    out = saw[3]
    assert read_card(out/'kept-0')['recipe'] == 'mlp' and not (out/'kept-1').exists()

def test_what_a_fit_says_names_the_processes_and_times_are_the_first_ones(saw):
    _, first, second, _ = saw
    for name in several.FITS:
        assert first['fits'][name]['said'].endswith('on cpu, 2 processes') and first['fits'][name]['ms'] == second['fits'][name]['ms']

def test_batches_too_small_and_apple_gpus_are_refused_in_every_process(saw):
    for s in saw[1:3]:
        for said in s['small']: assert 'bs of 4 or more' in said and '\n' not in said
        assert 'device cpu' in s['mps']

def test_a_checkpoint_of_one_process_is_finished_by_two_and_one_of_two_by_one(saw):
    _, first, second, out = saw
    long = dict(several.LONG)
    name = long.pop('recipe')
    whole = several.flat(fit(name, 'digits', device='cpu', **long).model)
    assert far(whole, first['resumed']) < 1e-5 and first['resumed'] == second['resumed']
    point, rows = Checkpoint(out/'by-2', resume=True), []
    resumed = fit(name, 'digits', device='cpu', checkpoint=point, on_epoch=rows.append, **long)
    assert [r['epoch'] for r in rows] == [2, 3], 'two processes keep every epoch; the third was stopped in its end'
    assert far(whole, several.flat(resumed.model)) < 1e-5


def processes_of(launcher) -> dict:
    "The processes that a launcher has started, by their rank"
    import psutil
    return {p.environ()['RANK']: p for p in psutil.Process(launcher.pid).children() if 'RANK' in p.environ()}

@pytest.mark.parametrize('killed', ['1', pytest.param('0', marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_killed_process_ends_the_other_with_a_line_and_costs_an_epoch(tmp_path, killed):
    run = two('-m', 'fastrecipes', 'fit', 'sgd', '--epochs', '1000000', '--bs', '256', '--out', 'kept', cwd=tmp_path, start=subprocess.Popen)
    try:
        point = tmp_path/'kept'/'checkpoint.safetensors'
        until = time.monotonic() + 120
        while not point.exists() and time.monotonic() < until and run.poll() is None: time.sleep(.05)
        os.kill(processes_of(run)[killed].pid, signal.SIGKILL)
        start = time.monotonic()
        out, err = run.communicate(timeout=60)
        assert time.monotonic() - start < 30 and run.returncode
    finally: run.kill()
    lines = [line for line in err.splitlines() if line.startswith('fastrecipes: ')]
    assert len(lines) == 1 and out == '' and '--resume' in lines[0], err
    assert re.search('process(es)? (has ended|ends)|launcher', lines[0])
    epochs = [0, *(int(line.split()[0]) for line in err.splitlines() if re.match(r' +\d+ +\d', line))]
    told = int(re.search(r'epochs 1 to (\d+) ', lines[0])[1])
    assert not list((tmp_path/'kept').glob('.*'))
    from safetensors import safe_open
    with safe_open(point, 'pt') as f: kept = int(f.metadata()['epoch']) + 1
    assert kept - 1 <= told <= kept + 1
    assert kept in (epochs[-1], epochs[-1] + 1) # The first writes an epoch, and then prints it

@pytest.mark.slow
def test_a_launcher_that_may_restart_goes_on_by_itself(tmp_path):
    run = subprocess.Popen([*TWO, '--max-restarts', '1', '-m', 'fastrecipes', 'fit', 'sgd', '--epochs', '300', '--bs', '256', '--out', 'kept', '--resume'], cwd=tmp_path, env=ALONE | {'FASTRECIPES_CACHE': os.environ['FASTRECIPES_CACHE']}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 120
        while not (tmp_path/'kept'/'checkpoint.safetensors').exists() and time.monotonic() < until and run.poll() is None: time.sleep(.01)
        assert run.poll() is None
        os.kill(processes_of(run)['1'].pid, signal.SIGKILL)
        out, err = run.communicate(timeout=200)
    finally: run.kill()
    assert run.returncode == 0 and out.startswith('sgd: ') and 'of 300 kept' in out, err
    assert 'continuing after epoch' in err and read_card(tmp_path/'kept')['history'][-1]['epoch'] == 299

def test_a_mistake_is_told_once(tmp_path):
    done = two('-m', 'fastrecipes', 'fit', 'linear', 'nosuch', cwd=tmp_path, timeout=120)
    assert done.stdout == '' and done.returncode
    assert [line for line in done.stderr.splitlines() if line.startswith('fastrecipes: ')] == ["fastrecipes: unknown source 'nosuch': there are digits, mnist_sample, mnist, or the path of a folder of images"]

@pytest.mark.slow
def test_after_a_mistake_the_next_fit_of_all_processes_is_in_step(tmp_path):
    "The first process fails while the others wait for their turn"
    (tmp_path/'empty').mkdir()
    (tmp_path/'calls.py').write_text("""from fastrecipes.errors import InputError
from fastrecipes.ladder.recipe import fit
from fastrecipes.training.processes import rank
try: fit('sgd', 'empty', device='cpu')
except InputError as e: assert 'empty' in str(e)
else: raise AssertionError
open(f'saw-{rank()}', 'w').write(repr(fit('sgd', 'digits', device='cpu', epochs=1)))""")
    done = two('calls.py', cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    for rank in '01': assert (tmp_path/f'saw-{rank}').read_text().endswith('on cpu, 2 processes')

@pytest.mark.slow
def test_a_first_process_may_take_longer_than_the_engine_waits(tmp_path):
    "As for a folder that takes hours to decode; the others have their turn after it, and it waits for them too"
    (tmp_path/'calls.py').write_text("""import time, torch.distributed as dist
from datetime import timedelta
from fastrecipes.training.processes import add_up, first_here, rank
dist.init_process_group('gloo', timeout=timedelta(seconds=1))
with first_here():
    for i in range(3):
        with open('order', 'a') as f: f.write(str(rank()))
        time.sleep(1)
add_up(0)
dist.destroy_process_group()""")
    done = two('calls.py', cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path/'order').read_text() == '000111'

LEAVES = """import atexit, os, sys, weakref
def told():
    tasks = '/proc/self/task'
    names = [open(f'{tasks}/{t}/comm').read().strip() for t in os.listdir(tasks)] if os.path.isdir(tasks) else []
    with open(f"left-{os.environ['RANK']}", 'w') as f: f.write(f"{group() is None} {sum('gloo' in n for n in names)}")
atexit.register(told) # The first to be registered is the last to run
import torch.distributed as dist
from fastrecipes.training.processes import start
from fastrecipes.ladder.recipe import fit
start('cpu')
group = weakref.ref(dist.group.WORLD)
fitted = fit('mlp', 'digits', epochs=1, device='cpu')
if sys.argv[1] == 'exit': sys.exit(3)
if sys.argv[1] == 'error': raise ValueError('on purpose')
"""

@pytest.mark.slow
@pytest.mark.parametrize('how, status', [('end', 0), ('exit', 3), ('error', 1)])
def test_whichever_way_a_process_ends_its_group_and_the_threads_of_it_have_ended_before(tmp_path, how, status):
    "A thread of the group that lives on while Python ends may abort the process, in one run of hundreds"
    (tmp_path/'calls.py').write_text(LEAVES)
    with socket.socket() as s:
        s.bind(('localhost', 0))
        port = str(s.getsockname()[1])
    both = [subprocess.Popen([sys.executable, 'calls.py', how], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ALONE | {'FASTRECIPES_CACHE': os.environ['FASTRECIPES_CACHE'],
        'RANK': r, 'LOCAL_RANK': r, 'WORLD_SIZE': '2', 'MASTER_ADDR': 'localhost', 'MASTER_PORT': port}) for r in '01']
    try: said = [p.communicate(timeout=120) for p in both]
    finally:
        for p in both: p.kill()
    assert [p.returncode for p in both] == [status] * 2, said
    for r in '01': assert (tmp_path/f'left-{r}').read_text() == 'True 0', said

@pytest.mark.slow
def test_a_comparison_that_only_some_processes_see_is_refused_by_all(tmp_path):
    "Each process has a disk of its own; on the first one's there is a finished rung, or a point of a learning curve"
    compare('digits', 'sgd', device='cpu', settings={'sgd': {'epochs': 1}}, out=tmp_path/'0'/'rung')
    (tmp_path/'0'/'points'/'rungs').mkdir(parents=True)
    (tmp_path/'0'/'points'/'rungs'/'points.json').write_text('{}')
    (tmp_path/'1').mkdir()
    (tmp_path/'calls.py').write_text("""import os
from fastrecipes.answer.climb import compare
from fastrecipes.training.processes import rank
from fastrecipes.errors import InputError
os.chdir(str(rank()))
for out in ('rung', 'points'):
    try: compare('digits', 'sgd,linear', device='cpu', settings={'sgd': {'epochs': 1}, 'linear': {'epochs': 1}}, out=out, resume=True)
    except InputError as e: open(f'saw-{out}', 'w').write(str(e))""")
    done = two('calls.py', cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    for rank in '01':
        for out, name in dict(rung='sgd-42/result.safetensors', points='points.json').items():
            assert (tmp_path/rank/f'saw-{out}').read_text() == f'{out}/rungs/{name}: only 1 of 2 processes see it; put the folder on a disk that all machines share'

@pytest.mark.slow
def test_two_processes_compare_and_one_prints_and_writes(tmp_path):
    command = '-m', 'fastrecipes', 'compare', '--classes', '3,7', '-r', 'similarity,sgd', '--out', 'there'
    done = two(*command, '--json', cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [r['recipe'] for r in said['rungs']] == ['similarity', 'sgd']
    assert said['device'] == 'cpu, 2 processes' and said['command'] == 'torchrun --nproc-per-node 2 -m fastrecipes compare --classes 3,7 -r similarity,sgd --out there --json'
    assert done.stderr.count('2 processes on CPUs') == 1 and done.stderr.count('sgd  ') == 1
    assert (tmp_path/'there'/'report.html').exists() and not (tmp_path/'there'/'rungs'/'unfinished').exists()


def test_shares_differ_by_one_at_most_and_leave_nothing_out(monkeypatch):
    for of in range(1, 9):
        monkeypatch.setenv('WORLD_SIZE', str(of))
        for n in range(40):
            shares = [d.share_of(n, i) for i in range(of)]
            assert [x for s in shares for x in range(n)[s]] == list(range(n))
            assert max(s.stop - s.start for s in shares) - min(s.stop - s.start for s in shares) <= 1

def test_a_process_that_was_not_told_of_the_others_says_so(monkeypatch):
    for name in ('WORLD_SIZE', 'MASTER_PORT', 'ACCELERATE_MIXED_PRECISION', 'SLURM_STEP_NUM_TASKS'): monkeypatch.delenv(name, raising=False)
    assert launched_alone() == ''
    monkeypatch.setenv('ACCELERATE_MIXED_PRECISION', 'no')
    assert launched_alone() == '', 'accelerate was asked for one'
    monkeypatch.setenv('MASTER_PORT', '29500')
    assert 'torchrun' in launched_alone() and 'started one' in launched_alone()
    with pytest.warns(UserWarning, match='started one'): fit('similarity', 'digits')
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert launched_alone() == ''
    monkeypatch.delenv('WORLD_SIZE')
    monkeypatch.delenv('ACCELERATE_MIXED_PRECISION')
    monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '4')
    assert 'SLURM_STEP_NUM_TASKS=4' in launched_alone()

def test_accelerate_on_the_cpu_is_noticed(tmp_path):
    "The variables that tell are those that accelerate really sets"
    done = subprocess.run([sys.executable, '-m', 'accelerate.commands.launch', '--cpu', '--num_processes', '2', '--no_python', sys.executable, '-c', 'from fastrecipes.ladder.fitted import launched_alone; print(launched_alone())'], cwd=tmp_path, env=ALONE, text=True, capture_output=True)
    if 'huggingface_hub' in done.stderr and done.returncode: pytest.skip('the accelerate command needs huggingface_hub')
    assert done.returncode == 0 and 'asked for several processes and started one' in done.stdout, done.stderr

def test_half_an_environment_and_processes_that_never_come_are_one_clear_line(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    for name in ('RANK', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'): monkeypatch.delenv(name, raising=False)
    with refused('WORLD_SIZE=2', 'RANK', 'torchrun'): d.start('cpu')
    for name, v in dict(RANK='0', LOCAL_RANK='0', MASTER_ADDR='localhost', MASTER_PORT='0').items(): monkeypatch.setenv(name, v)
    with refused('2 processes did not meet', 'WORLD_SIZE=2'): d._join(torch.device('cpu'), seconds=1)

def test_more_processes_than_gpus_are_refused(monkeypatch):
    for name, v in dict(WORLD_SIZE='4', LOCAL_RANK='1', LOCAL_WORLD_SIZE='4').items(): monkeypatch.setenv(name, v)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with refused('4 processes', '2 GPUs', '--nproc-per-node 2'): d._own_device('auto')
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    with refused("'cuda:0'", 'cuda:1'): d._own_device('cuda:0')

@pytest.mark.slow
@pytest.mark.parametrize('how, words', [('ends', 'another of the 2 processes has ended, so this one cannot go on ('), ('sleeps', 'another of the 2 processes did not answer within 0:00:05, so this one cannot go on (')])
def test_a_script_learns_what_became_of_the_other_process_and_can_still_be_asked_to_end(tmp_path, how, words):
    "The other ends before the model is judged, or sleeps; no launcher is there to end this one"
    (tmp_path/'calls.py').write_text("""import os, signal, sys, time, torch.distributed as dist
from datetime import timedelta
from fastrecipes.training.processes import Lost, add_up, noticing, rank
from fastrecipes.ladder.recipe import fit
dist.init_process_group('gloo', timeout=timedelta(seconds=5))
try:
    if sys.argv[1] == 'ends': fit('sgd', 'digits', device='cpu', epochs=1, on_epoch=lambda row: rank() and os._exit(0))
    elif rank(): time.sleep(20)
    else:
        with noticing(): add_up(1)
except Lost as e: print(e, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
os._exit(0)""")
    with socket.socket() as s:
        s.bind(('localhost', 0))
        port = str(s.getsockname()[1])
    both = [subprocess.Popen([sys.executable, 'calls.py', how], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ALONE | {'FASTRECIPES_CACHE': os.environ['FASTRECIPES_CACHE'],
        'RANK': r, 'LOCAL_RANK': r, 'WORLD_SIZE': '2', 'MASTER_ADDR': 'localhost', 'MASTER_PORT': port}) for r in '01']
    try: out, err = both[0].communicate(timeout=60)
    finally:
        for p in both:
            p.kill()
            p.wait()
    assert out.startswith(words) and out.endswith(') True\n'), out + err
    assert len(out) > len(words) + 20, 'what the engine says'

WRITES = """import signal, time
from fastrecipes.training.processes import ending
try:
    with ending(.5):
        try:
            print('working', flush=True)
            time.sleep(60)
        except KeyboardInterrupt as e:
            print(type(e).__name__, flush=True)
            for i in range(20): time.sleep(.1)
            print('written', flush=True)
            raise
except KeyboardInterrupt: print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""

@pytest.mark.parametrize('asked, again, name', [(signal.SIGTERM, signal.SIGTERM, 'Lost'), (signal.SIGINT, None, 'KeyboardInterrupt')])
@pytest.mark.slow
def test_a_process_that_was_let_go_has_the_time_to_write(asked, again, name):
    "Four times as long as the engine has; and a launcher that asks again does not come between"
    held = subprocess.Popen([sys.executable, '-c', WRITES], env=ALONE, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert held.stdout.readline() == 'working\n'
        held.send_signal(asked)
        assert held.stdout.readline() == f'{name}\n'
        if again: held.send_signal(again)
        out, err = held.communicate(timeout=30)
    finally: held.kill()
    assert (out, held.returncode) == ('written\nTrue True\n', 0), err

@pytest.mark.slow
def test_a_process_that_the_engine_holds_ends_itself_when_asked(tmp_path):
    "It waits in C++ for a key that nobody will write, where no Python handler runs, and holds the store meanwhile in which processes agree on who tells"
    code = """import torch.distributed as dist, datetime
from fastrecipes.training.processes import ending
dist.init_process_group('gloo', store=dist.TCPStore('localhost', 0, 1, True), rank=0, world_size=1, timeout=datetime.timedelta(seconds=100))
with ending(.5):
    print('waiting', flush=True)
    dist.distributed_c10d._get_default_store().get('never')"""
    held = subprocess.Popen([sys.executable, '-c', code], env=ALONE, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert held.stdout.readline() == 'waiting\n'
        time.sleep(.3)
        held.terminate()
        _, err = held.communicate(timeout=30)
    finally: held.kill()
    assert held.returncode == 130 and 'fastrecipes: stopped' in err
