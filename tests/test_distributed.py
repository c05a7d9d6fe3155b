"""Several processes do what one does: shares of each batch, the same gradients, and each image counted once

Two real processes over loopback do once all that tests/several.py lists; this process does the same alone. When a
process is lost, the others end."""
import importlib.util, json, os, subprocess, sys, time
from pathlib import Path
import pytest, torch
import several
from conftest import refused
from fastrecipes.data.sources import load
from fastrecipes.keep.store import read_card
from fastrecipes.ladder.recipe import fit
from fastrecipes.training import processes as p
from fastrecipes.training.checkpoint import Checkpoint

HERE, ROOT = Path(__file__).parent, Path(__file__).parent.parent
LAUNCHERS = [
    'RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT', 'ACCELERATE_MIXED_PRECISION',
    'SLURM_STEP_NUM_TASKS',
]
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']


def launched(*args, cwd, start=subprocess.run, **kwargs):
    "Two processes"
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    env = os.environ | dict(OMP_NUM_THREADS='1', PYTHONPATH=path)
    return start([*TORCHRUN, *args], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                 **kwargs)

@pytest.fixture(scope='module')
def saw(tmp_path_factory):
    "The results of one process, and of each of two; and the folder"
    out = tmp_path_factory.mktemp('several')
    several.main(out)
    try:
        fit(images='digits', device='cpu', cbs=[several.StopAfter(2)], checkpoint=Checkpoint(out/'by-1', every=1),
            **several.LONG)
    except KeyboardInterrupt: pass
    done = launched(HERE/'several.py', out, cwd=out, timeout=300)
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
    assert one['best'] == first['best'] and '2 processes' in first['text']

def test_epochs_change_the_weights_of_every_fit(saw):
    "Otherwise the test above would show nothing"
    for name, f in saw[0]['fits'].items():
        epochs = f['rows']
        assert abs(epochs[0][1] - epochs[1][1]) > 1e-4, name

def test_gradients_are_those_of_the_whole_batch(saw):
    "99 images are cut into 49 and 50, the last 51 of an epoch into 25 and 26"
    one, first, second = (s['pairs']['gradients'] for s in saw[:3])
    assert len(one) == 15 and max(far(a, b) for a, b in zip(one, first)) < 1e-6 and first == second
    assert min(max(map(abs, g)) for g in one) > 1e-3

def test_the_order_of_images_is_that_of_the_first_process_whatever_the_others_drew(saw):
    one, first, second = (s['pairs'] for s in saw[:3])
    assert far(one['weights'], first['weights']) < 1e-6 and first['weights'] == second['weights']

@pytest.mark.parametrize('which', ['norm', 'pairs'])
def test_validation_counts_each_image_once_and_predictions_keep_their_order(saw, which):
    labels = load('digits').valid.labels
    for s in saw[1:3]:
        got = s[which]
        assert got['targets'] == labels.tolist()
        right = (torch.tensor(got['preds']).argmax(1) == labels).double().mean().item()
        assert got['values'][2] == got['again'][1] == pytest.approx(right, abs=1e-6)
        assert got['values'][1] == got['again'][0] == pytest.approx(sum(got['losses']) / len(got['losses']), abs=1e-6)
    assert saw[1][which]['preds'] == saw[2][which]['preds']

def test_a_learner_is_wrapped_while_it_is_fitted_and_given_back_as_it_was(saw):
    for s in saw[1:3]:
        assert s['norm']['wrapped'] == 'DistributedDataParallel' and s['norm']['after'] == s['after'] == 'Sequential'
        assert s['norm']['callbacks'] == s['callbacks'] == saw[0]['norm']['callbacks']

def test_convolutions_with_batch_norm_stay_the_same_in_all_processes(saw):
    _, first, second, _ = saw
    assert len(first['convolutions']) == 2 and first['convolutions'] == second['convolutions']
    for total, scores, _, model in first['convolutions'].values():
        assert len(scores) == 41 and total == total and model == 'Sequential'

@pytest.mark.skipif(not importlib.util.find_spec('accelerate'), reason='Accelerate is not installed')
def test_fastai_is_not_mended_yet(saw):
    "If this fails, perhaps `Together` can go: nbs/training/05_processes.ipynb says what fastai must do for that"
    assert saw[1]['stock'] and saw[2]['stock']

def test_dropout_differs_between_processes_and_the_random_state_does_not(saw):
    _, first, second, _ = saw
    assert first['own'] != second['own'] and first['again'] == second['again']

def test_what_works_in_one_process_only_is_refused_in_every_process(saw):
    for s in saw[1:3]:
        assert 'one process' in s['refused']['sgd'] and 'device cpu' in s['refused']['mps']
        assert '1 of 2' in s['refused']['file']

def test_a_checkpoint_of_one_process_is_finished_by_two_and_one_of_two_by_one(saw):
    _, first, second, out = saw
    whole = several.flat(fit(images='digits', device='cpu', **several.LONG).model)
    assert far(whole, first['resumed']) < 1e-5 and first['resumed'] == second['resumed']
    resumed = fit(images='digits', device='cpu', checkpoint=Checkpoint(out/'by-2', resume=True), **several.LONG)
    assert len(resumed.history) == 4 and far(whole, several.flat(resumed.model)) < 1e-5


ENDS = """import os, sys
from fastai.callback.core import Callback
from fastrecipes.ladder.recipe import fit
from fastrecipes.training.checkpoint import Checkpoint
from fastrecipes.training.processes import rank
class Ends(Callback):
    order = 63
    def before_epoch(self):
        first_try = os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'
        if self.epoch == 2 and rank() == int(sys.argv[1]) and first_try: os._exit(3)
fitted = fit('linear', 'digits', epochs=4, device='cpu', cbs=[Ends()], checkpoint=Checkpoint('kept', resume=True))
if rank() == 0: print(len(fitted.history))"""

@pytest.mark.slow
@pytest.mark.parametrize('lost', ['0', '1'])
def test_a_lost_process_ends_the_other_and_costs_an_epoch(tmp_path, lost):
    (tmp_path/'calls.py').write_text(ENDS)
    start = time.monotonic()
    done = launched('calls.py', lost, cwd=tmp_path, timeout=120)
    assert done.returncode and time.monotonic() - start < 100
    from safetensors import safe_open
    with safe_open(tmp_path/'kept'/'checkpoint.safetensors', 'pt') as f: assert int(f.metadata()['epoch']) == 1

@pytest.mark.slow
def test_a_launcher_that_may_restart_resumes_by_itself(tmp_path):
    (tmp_path/'calls.py').write_text(ENDS)
    done = launched('--max-restarts', '1', 'calls.py', '1', cwd=tmp_path, timeout=200)
    assert done.returncode == 0 and done.stdout == '4\n', done.stderr

@pytest.mark.slow
def test_two_processes_fit_and_the_first_prints_and_writes(tmp_path):
    done = launched('-m', 'fastrecipes', 'fit', 'linear', '--epochs', '2', '--out', 'kept', cwd=tmp_path, timeout=120)
    assert done.returncode == 0 and done.stdout.count('linear') == 1, done.stderr
    assert read_card(tmp_path/'kept').recipe == 'linear'

@pytest.mark.slow
@pytest.mark.parametrize('command, word', [
    (['compare', '-r', 'linear'], 'one process'),
    (['fit', 'linear', 'nosuch'], 'nosuch'),
])
def test_a_mistake_is_reported_once(tmp_path, command, word):
    done = launched('-m', 'fastrecipes', *command, cwd=tmp_path, timeout=120)
    lines = [line for line in done.stderr.splitlines() if line.startswith('fastrecipes: ')]
    assert done.stdout == '' and done.returncode and len(lines) == 1 and word in lines[0], done.stderr

LEAVES = """import atexit, os, weakref
def report():
    names = [open(f'/proc/self/task/{t}/comm').read() for t in os.listdir('/proc/self/task')]
    open(f"left-{os.environ['RANK']}", 'w').write(f"{group() is None} {sum('gloo' in n for n in names)}")
atexit.register(report) # The first to be registered is the last to run
import torch.distributed as dist
from fastrecipes.training.processes import start
from fastrecipes.ladder.recipe import fit
start('cpu')
group = weakref.ref(dist.group.WORLD)
fit('mlp', 'digits', epochs=1, device='cpu')"""

@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_the_threads_of_a_group_end_before_python_does(tmp_path):
    "One that lives on may abort the process, in one run of hundreds"
    (tmp_path/'calls.py').write_text(LEAVES)
    assert launched('calls.py', cwd=tmp_path, timeout=120).returncode == 0
    for rank in '01': assert (tmp_path/f'left-{rank}').read_text() == 'True 0'


@pytest.fixture
def launcher(monkeypatch):
    "Set the variables of a launcher, and no others"
    for name in LAUNCHERS: monkeypatch.delenv(name, raising=False)
    def set_them(**variables):
        for name, value in variables.items(): monkeypatch.setenv(name, value)
    return set_them

def test_shares_differ_by_one_at_most_and_leave_nothing_out(launcher):
    for of in range(1, 9):
        launcher(WORLD_SIZE=str(of))
        for n in range(40):
            shares = [p.share_of(n, i) for i in range(of)]
            assert [x for s in shares for x in range(n)[s]] == list(range(n))
            sizes = [s.stop - s.start for s in shares]
            assert max(sizes) - min(sizes) <= 1

def test_a_process_that_sees_none_of_the_others_says_so(launcher):
    assert p.launched_alone() == ''
    launcher(ACCELERATE_MIXED_PRECISION='no')
    assert p.launched_alone() == '', 'accelerate was asked for one'
    launcher(MASTER_PORT='29500')
    assert 'torchrun' in p.launched_alone()
    with pytest.warns(UserWarning, match='torchrun'): p.start('cpu')
    launcher(WORLD_SIZE='2')
    assert p.launched_alone() == ''

def test_tasks_of_a_cluster_without_torchrun_are_noticed(launcher):
    launcher(SLURM_STEP_NUM_TASKS='4')
    assert 'SLURM_STEP_NUM_TASKS=4' in p.launched_alone()

@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec('accelerate'), reason='Accelerate is not installed')
def test_accelerate_on_the_cpu_is_noticed(tmp_path, launcher):
    "The variables that tell are those that accelerate really sets"
    code = 'from fastrecipes.training.processes import launched_alone; print(launched_alone())'
    launch = [sys.executable, '-m', 'accelerate.commands.launch', '--cpu', '--num_processes', '2', '--no_python']
    done = subprocess.run([*launch, sys.executable, '-c', code], cwd=tmp_path, text=True, capture_output=True)
    if 'huggingface_hub' in done.stderr and done.returncode: pytest.skip('the accelerate command needs huggingface_hub')
    assert done.returncode == 0 and 'torchrun' in done.stdout, done.stderr

def test_half_an_environment_is_one_clear_line(launcher):
    launcher(WORLD_SIZE='2')
    with refused('WORLD_SIZE=2', 'RANK', 'torchrun'): p.start('cpu')

def test_more_processes_than_gpus_are_refused(launcher, monkeypatch):
    launcher(WORLD_SIZE='4', LOCAL_RANK='1', LOCAL_WORLD_SIZE='4')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with refused('4 processes', '2 GPU', '--nproc-per-node 2'): p._own_device(torch.device('cuda'))
    launcher(LOCAL_WORLD_SIZE='2')
    with refused("'cuda:0'", 'cuda:1'): p._own_device(torch.device('cuda:0'))

def test_one_process_refuses_nothing_and_shares_nothing(launcher):
    p.one_process_only('anything')
    p.all_see('nowhere')
    t = torch.arange(5)
    assert p.share_of(5) == slice(0, 5) and p.join_shares(t, 5) is t
