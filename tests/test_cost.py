"What a rung costs: the size of its file, multiply-adds counted by hand, and memory that is really used"
import ctypes, gc, math, mmap, subprocess, sys, threading, time
from dataclasses import replace
import numpy as np, pytest, torch
from torch import nn
from fastrecipes.ladder import fitted as fitted_room
from fastrecipes.training import cost as cost_module
from fastrecipes.training.cost import Cost, multiply_adds, peak_memory, predict_ms, weights_bytes
from fastrecipes.lessons.nets import linear, mlp, resnet18, simple_net
from fastrecipes.ladder.fitted import predict_ms_per_1000
from fastrecipes.ladder.recipe import fit
from fastrecipes.ladder.settings import recipes
from fastrecipes.lessons.similarity import NearestMean
from fastrecipes.keep.store import save
from made import noise_images

MB = 2**20

@pytest.fixture(autouse=True)
def given_back():
    "What earlier tests have freed goes back to the system, so that it is not there to be used again"
    gc.collect()
    if hasattr(ctypes.CDLL(None), 'malloc_trim'): ctypes.CDLL(None).malloc_trim(0)

def tiny(k=10, shape=(1, 8, 8), n=40): return noise_images(n, 'abcdefghij'[:k], shape, valid=20)


# Bytes

def once(name): return dict(epochs=1) if 'epochs' in recipes[name].settings else {}

@pytest.mark.parametrize('name', list(recipes))
@pytest.mark.parametrize('k, shape', [(2, (3, 9, 7)), (10, (1, 8, 8))])
def test_the_weights_weigh_what_the_file_does(name, k, shape, tmp_path, monkeypatch):
    monkeypatch.setattr(fitted_room, 'predict_ms_per_1000', lambda *a: 1.) # Not waited for
    f = fit(name, tiny(k, shape), device='cpu', **once(name))
    file = save(f, tmp_path/'kept')/'model.safetensors'
    assert f.cost.weights_bytes == weights_bytes(f.model) == file.stat().st_size

def test_buffers_are_weighed_and_weighing_changes_nothing():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)).train()
    kept = {n: t.clone() for n, t in model.state_dict().items()}
    convolution = 4 * (4 * 9 + 4) # Bytes of weights and biases
    norm = 4 * 4 * 4 + 8 # Scale, shift, mean and variance; the count of batches, int64
    header = weights_bytes(model) - 8 - convolution - norm
    assert 300 < header < 1000 and header % 8 == 0
    assert model.training and all(torch.equal(t, kept[n]) for n, t in model.state_dict().items())


# Multiply-adds

@pytest.mark.parametrize('model, shape, wanted', [
    (linear(784, 784), (1, 28, 28), 784 * 784),
    (linear(784, 1, dropout=.5), (1, 28, 28), 784),
    (simple_net(784, 10, 30), (1, 28, 28), 784 * 30 + 30 * 10),
    (mlp(784, 10, (64, 32), dropout=.2), (1, 28, 28), 784 * 64 + 64 * 32 + 32 * 10),
    (nn.Conv2d(3, 16, 3, padding=1), (3, 28, 28), 3 * 16 * 9 * 28 * 28),
    (nn.Conv2d(3, 16, 5, stride=2, bias=False), (3, 31, 29), 3 * 16 * 25 * 14 * 13), # 14 = (31 - 5) // 2 + 1
    (nn.Conv2d(8, 16, 3, groups=4, padding=1), (8, 10, 10), 16 * 2 * 9 * 100), # Each of 16 sees 2 channels
    (NearestMean(torch.zeros(10, 1, 8, 8)), (1, 8, 8), 10 * 64),
    (NearestMean(torch.zeros(2, 3, 9, 7), 'l1'), (3, 9, 7), 2 * 3 * 63),
    (nn.Sequential(nn.Flatten(), nn.ReLU()), (1, 8, 8), None),
], ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else None)
def test_multiply_adds_by_hand(model, shape, wanted): assert multiply_adds(model, shape) == wanted

def test_a_resnet18_takes_its_1_8_billion_on_a_colour_image_of_224():
    """Its layers: 7x7 from 3 to 64 on 112x112; four 3x3 from 64 to 64 on 56x56; then three stages, each with twice the
    channels and half the side: one 3x3 that widens, three that do not, and a 1x1 beside; 512 x 1000 at the end"""
    from torchvision.models import resnet18 as arch
    stages = sum((9 * c//2 * c + 3 * 9 * c * c + c//2 * c) * side**2 for c, side in ((128, 28), (256, 14), (512, 7)))
    by_hand = 49 * 3 * 64 * 112**2 + 4 * 9 * 64 * 64 * 56**2 + stages + 512 * 1000
    assert by_hand == 1_814_073_344 == multiply_adds(arch(), (3, 224, 224))

class Says(nn.Module):
    "A layer that has a product which can be seen, and says 7"
    multiply_adds = 7
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 64)
    def forward(self, x): return self.layer(x)

def test_a_module_that_says_so_itself_is_believed_for_what_is_inside_of_it():
    assert multiply_adds(Says(), (64,)) == 7
    assert multiply_adds(nn.Sequential(nn.Linear(5, 64), Says(), nn.Linear(64, 3)), (5,)) == 5 * 64 + 7 + 64 * 3
    twice = Says()
    assert multiply_adds(nn.Sequential(twice, twice), (64,)) == 14
    nothing = nn.ReLU()
    nothing.multiply_adds = 0
    assert multiply_adds(nothing, (64,)) == 0

def test_counting_leaves_the_model_and_the_random_state_as_they_were():
    torch.manual_seed(3)
    model = nn.Sequential(resnet18((1, 28, 28), 10), nn.Identity()).train()
    model[1].multiply_adds = 0
    model[0][1].eval()
    modes = [m.training for m in model.modules()]
    kept = {n: t.clone() for n, t in model.state_dict().items()}
    random = torch.get_rng_state()
    assert multiply_adds(model, (1, 28, 28)) > 10**7
    assert [m.training for m in model.modules()] == modes and torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(t, kept[n]) for n, t in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())

def test_hooks_are_taken_away_when_the_model_fails():
    model = nn.Sequential(Says())
    with pytest.raises(RuntimeError): multiply_adds(model, (63,))
    assert not model[0]._forward_hooks and not model[0]._forward_pre_hooks
    assert multiply_adds(model, (64,)) == 7


# Predicting

class Clock:
    "A clock for tests: each prediction takes the next of `durations`, in seconds"
    def __init__(self, durations): self.now, self.durations, self.seen = 0., iter(durations), []
    def perf_counter(self): return self.now
    def predict(self, x):
        self.seen.append(x)
        self.now += next(self.durations)

def ms(monkeypatch, durations, images, *args):
    clock = Clock(durations)
    monkeypatch.setattr(cost_module, 'time', clock)
    return predict_ms(clock.predict, images, *args), clock.seen

def test_the_median_is_taken_after_one_run_to_warm_up(monkeypatch):
    found, seen = ms(monkeypatch, [.05, .5, .1, .3, .2, 7.], torch.zeros(1000, 1, 8, 8, dtype=torch.uint8))
    assert found == pytest.approx(300) and [len(x) for x in seen] == [64, 1000, 1000, 1000] # A slow model: three times
    found, seen = ms(monkeypatch, [.05, .2, .1, .04, .03, .3, 7.], torch.zeros(1000, 1, 8, 8, dtype=torch.uint8))
    assert found == pytest.approx(100) and len(seen) == 6 # A quick one: five times
    found, seen = ms(monkeypatch, [.0001, .003, .001, .002], torch.zeros(20, 1, 8, 8, dtype=torch.uint8), 1, 3)
    assert found == pytest.approx(2) and [len(x) for x in seen] == [1] * 4

@pytest.mark.parametrize('shape, timed', [
    ((1, 8, 8), 1000), ((1, 91, 91), 1000), ((3, 100, 100), 279), ((3, 400, 400), 50),
]) # 2**23 numbers, at least 50 images
def test_few_images_are_taken_again_and_of_large_ones_fewer_are_timed_and_the_time_scaled(monkeypatch, shape, timed):
    images = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1).expand(3, *shape)
    found, seen = ms(monkeypatch, [.001] + [1.] * 5, images, 1000)
    assert seen[0].equal(seen[1][:64]) and len(seen) == 4
    assert all(x.shape == (timed, *shape) and x[:, 0, 0, 0].tolist() == [i % 3 for i in range(timed)] for x in seen[1:])
    assert found == pytest.approx(1000 * 1000 / timed)

def test_a_slow_model_is_timed_for_about_two_seconds_and_the_time_scaled(monkeypatch):
    found, seen = ms(monkeypatch, [.64, 2., 2., 2.], torch.zeros(1000, 1, 8, 8, dtype=torch.uint8))
    assert [len(x) for x in seen] == [64, 200, 200, 200] and found == pytest.approx(10_000)

def test_a_thousand_and_one_are_predicted_by_the_model_itself(monkeypatch):
    sizes, images = [], tiny().valid.images
    class Watched(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return x.flatten(1)[:, :2]
    assert predict_ms_per_1000(Watched(), images) > 0 and sizes == [64] + [512, 488] * 5


# Memory

def holding(mb):
    "Memory straight from the system, to which it goes back at once; the C library may keep what it is given back"
    held = np.frombuffer(mmap.mmap(-1, mb * MB), np.uint8)
    held.fill(1)
    return held

def brief(mb):
    "Take it, long enough to be seen by a thread that looks every 10 ms, and give it back"
    held = holding(mb)
    time.sleep(.3)
    del held

def about(found, mb, room=12): return mb - room <= found / MB <= mb + room

@pytest.fixture(autouse=True)
def no_thread_left():
    yield
    assert not [t for t in threading.enumerate() if t.name == 'peak memory']

def test_what_was_taken_and_given_back_is_seen():
    with peak_memory('cpu') as memory: brief(200)
    assert about(memory.cpu_bytes, 200) and memory.gpu_bytes is None
    with peak_memory(torch.device('cpu')) as memory:
        tensor = torch.ones(200 * MB // 4)
        time.sleep(.3)
        del tensor
    assert about(memory.cpu_bytes, 200)

def test_what_is_kept_is_seen_too_and_the_highest_counts_and_not_the_sum():
    with peak_memory() as memory:
        brief(60)
        kept = holding(100)
        brief(50)
    assert about(memory.cpu_bytes, 150) and len(kept)
    with peak_memory() as memory: brief(20)
    assert about(memory.cpu_bytes, 20), 'what was there before does not count'

def test_what_is_still_there_at_the_end_is_seen_however_late_it_came():
    with peak_memory(every=60) as memory: kept = holding(50)
    assert about(memory.cpu_bytes, 50) and len(kept)

def test_nothing_is_nothing():
    with peak_memory() as memory: pass
    assert 0 <= memory.cpu_bytes < 2 * MB

def test_measures_may_overlap():
    with peak_memory() as outer:
        brief(150)
        with peak_memory() as inner: brief(50)
    assert about(outer.cpu_bytes, 150) and about(inner.cpu_bytes, 50)

def test_a_failure_passes_through_and_ends_the_measure():
    with pytest.raises(ZeroDivisionError):
        with peak_memory() as memory:
            brief(40)
            1 / 0
    assert about(memory.cpu_bytes, 40)

@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device here')
def test_a_gpu_is_measured_too():
    before = torch.ones(100 * MB // 4, device='cuda')
    with peak_memory(torch.device('cuda')) as memory: torch.ones(200 * MB // 4, device='cuda')
    assert about(memory.gpu_bytes, 200, 1) and len(before)
    f = fit('mlp', 'digits', epochs=1, device='cuda')
    assert 0 < f.cost.peak_gpu_memory_bytes < 100 * MB and f.cost.multiply_adds > 0


# What a fit says of itself

@pytest.fixture(scope='module')
def fitted():
    return {n: fit(n, tiny(), device='cpu', **once(n)) for n in recipes}

CONVNET = 12**2 * 25 * 16 + 6**2 * 9 * 16 * 32 + 3**2 * 9 * 32 * 64 + 3**2 * 64 * 10 # 8x8 is enlarged to 24x24
BY_HAND = dict(
    majority=0, similarity=10 * 64, knn=40 * 64, sgd=640, logistic=640, linear=640,
    simple_net=64 * 30 + 30 * 10, mlp=64 * 64 * 3 + 640,
    convnet=CONVNET,
)

def test_every_recipe_says_what_it_cost(fitted):
    assert len(fitted) >= 8
    for name, f in fitted.items():
        c = f.cost
        assert isinstance(c, Cost)
        assert c.parameters == f.parameters and c.train_seconds == f.seconds
        assert (c.predict_ms_1000, c.predict_ms_1) == (f.ms_per_1000, f.ms_1)
        assert (c.peak_memory_bytes, c.peak_gpu_memory_bytes) == (f.peak_memory, None)
        assert 0 <= f.peak_memory < 1000 * MB and f.ms_1 > 0
        assert c.multiply_adds == BY_HAND.get(name, c.multiply_adds)
        assert type(c.multiply_adds) is type(c.weights_bytes) is type(c.peak_memory_bytes) is int
        assert all(v is None or math.isfinite(v) for v in c)
    assert fitted['resnet18'].cost.multiply_adds > 10**7

def test_a_changed_copy_says_its_own(fitted):
    f = fitted['mlp']
    assert f.cost is f.cost
    changed = replace(f, seconds=1.5, peak_memory=3, model=fitted['sgd'].model)
    assert changed.cost[:4] == (650, fitted['sgd'].cost.weights_bytes, 1.5, 3)

def test_a_residual_network_needs_the_memory_of_its_gradients_and_of_adam(fitted):
    """Per parameter its weight, its gradient and two numbers of Adam, four times the weights; and the maps of a batch

    It is less where the C library has kept memory of earlier fits."""
    weights = fitted['resnet18'].cost.weights_bytes
    peak = fit('resnet18', tiny(n=16), device='cpu', epochs=1, bs=8).cost.peak_memory_bytes
    assert 2 * weights < peak < 4 * weights + 200 * MB

def test_measuring_needs_no_torch():
    code = "import sys, fastrecipes.training.cost; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


# Memory that is kept

KEEPING = """
import warnings
warnings.simplefilter('ignore')
import psutil, torch
from fastrecipes.ladder.recipe import fit
from fastrecipes.training.cost import keep_memory
def resident(): return psutil.Process().memory_info().rss >> 20
def kept():
    'MB that are still resident when 120 MB are free again'
    before = resident()
    held = [torch.ones(30 * 2**18) for _ in range(4)]
    del held
    return resident() - before
fit('linear', 'digits', epochs=1, device='cpu') # Changes nothing for the process
was = kept()
keep_memory()
print(was, kept())
"""

@pytest.mark.skipif(sys.platform != 'linux' or not hasattr(ctypes.CDLL(None), 'mallinfo2'),
                    reason='only glibc can be told to keep memory')
def test_freed_memory_is_kept_for_the_next_use():
    r = subprocess.run([sys.executable, '-c', KEEPING], capture_output=True, text=True, check=True)
    before, after = map(int, r.stdout.split())
    assert before < 20 and after > 110
