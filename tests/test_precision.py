"Precision and layout: chosen for the device, shown in the settings, undone after the fit, and as good as 32 bits"
import copy, platform
from functools import partial
from pathlib import Path
import pytest, torch
from fastai.callback.core import Callback
from fastai.learner import CancelFitException, Learner
from fastai.optimizer import Adam
from fastai.torch_core import no_random
from torch import nn
from fastrecipes.training.checkpoint import Checkpoint
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError
from fastrecipes.training.fitting import adamw
from fastrecipes.data.loaders import dataloaders
from fastrecipes.lessons.nets import convnet
from fastrecipes.training.precision import Autocast, in_layout, pick_layout, pick_precision, Scaled
from fastrecipes.ladder.fitted import Run
from fastrecipes.ladder.recipe import fit
from fastrecipes.ladder.settings import recipes
from fastrecipes.lessons.sgd import batch_accuracy, ClassLoss, cross_entropy
from conftest import refused
from reporters import Each, Untrained

DIGITS = load('digits')


# What is chosen

@pytest.mark.skipif(platform.system() != 'Linux' or platform.machine() != 'x86_64',
                    reason='what the processor can do is read from /proc/cpuinfo')
def test_a_cpu_gets_bf16_where_its_flags_say_that_it_multiplies_it():
    flags = Path('/proc/cpuinfo').read_text().split()
    assert pick_precision(torch.device('cpu')) == ('bf16' if {'avx512_bf16', 'amx_bf16'} & set(flags) else 'fp32')

def test_what_is_asked_for_is_taken_and_what_cannot_be_is_refused():
    assert [pick_precision('cpu', p) for p in ('fp32', 'bf16')] == ['fp32', 'bf16']
    assert pick_precision('mps') == 'fp32' and pick_precision('mps', 'bf16') == 'bf16'
    for device in ('cpu', 'mps'):
        with refused("precision='fp16' needs a CUDA GPU", device, 'bf16, fp32 or auto'): pick_precision(device, 'fp16')
    with refused("precision='half'", 'auto, fp32, bf16 and fp16'): pick_precision('cpu', 'half')
    with refused("layout='nhwc'", 'channels-last'): pick_layout('cpu', 'nhwc')
    assert [pick_layout(d) for d in ('cpu', 'cuda', 'mps')] == ['channels-last', 'channels-last', 'channels-first']
    assert pick_layout('cuda', precision='fp32') == 'channels-first'
    assert pick_layout('mps', 'channels-last') == 'channels-last'

@pytest.mark.parametrize('name', ['convnet', 'resnet18'])
def test_a_recipe_refuses_what_the_device_cannot_before_training(name):
    with refused("precision='fp16' needs a CUDA GPU"):
        fit(name, DIGITS, device='cpu', precision='fp16', epochs=1, reporter=Untrained())
    with refused(f"{name}: precision='half' is not one of fp32, bf16, fp16 (or auto)"):
        fit(name, DIGITS, device='cpu', precision='half')


# What it does

class Seen(Callback):
    "Type, autocast and layout of the last convolution's outputs, in training (True) and in validation"
    def before_fit(self):
        self.kinds = {True: set(), False: set()}
        *_, conv = (m for m in self.model.modules() if isinstance(m, nn.Conv2d))
        self.hook = conv.register_forward_hook(self.look)
    def look(self, conv, x, y):
        kind = y.dtype, torch.is_autocast_enabled('cpu'), conv.weight.is_contiguous()
        self.kinds[self.training].add(kind)
    def after_fit(self): self.hook.remove()

def bare(seed=3, images=DIGITS, cbs=(), **given):
    recipe = recipes['convnet']
    settings = recipe.resolve(dict(epochs=1, bs=128) | given, {})
    with no_random(seed): return recipe.func(images, Run(torch.device('cpu'), cbs=cbs), **settings)

def test_training_is_in_bf16_validation_in_32_bits_and_nothing_of_it_is_left_afterwards():
    watch = Seen()
    o = bare(precision='bf16', layout='channels-last', cbs=(watch,))
    assert watch.kinds == {True: {(torch.bfloat16, True, False)}, False: {(torch.float32, False, False)}}
    assert all(p.dtype == torch.float32 and p.is_contiguous()
               for p in o.model.state_dict().values() if p.is_floating_point())
    assert 'forward' not in vars(o.model) and not torch.is_autocast_enabled('cpu')
    assert (o.resolved['precision'], o.resolved['layout']) == ('bf16', 'channels-last')

def test_neither_rounding_nor_the_order_in_memory_changes_what_is_learned():
    plain = bare(precision='fp32', layout='channels-first')
    same = bare(precision='fp32', layout='channels-first')
    ordered = bare(precision='fp32', layout='channels-last')
    rounded = bare(precision='bf16')
    def loss(o): return o.history.train_loss.iloc[0]
    assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), same.model.parameters()))
    assert loss(ordered) == pytest.approx(loss(plain), rel=1e-3)
    assert loss(rounded) != loss(plain) and loss(rounded) == pytest.approx(loss(plain), rel=.03)

def test_a_fit_that_breaks_off_leaves_autocast_off_and_the_next_one_works():
    class Broken(nn.Module):
        left = 2
        def forward(self, x):
            Broken.left -= 1
            if not Broken.left: raise KeyboardInterrupt
            return x
    learn = Learner(dataloaders(DIGITS, 128, 'cpu'), nn.Sequential(Broken(), *convnet((1, 8, 8), 10)),
                    ClassLoss(cross_entropy), metrics=batch_accuracy)
    with learn.no_bar(), learn.no_logging():
        with pytest.raises(KeyboardInterrupt): learn.fit(1, 1e-3, cbs=Autocast())
        assert not torch.is_autocast_enabled('cpu')
        learn.fit(1, 1e-3, cbs=Autocast())
    assert 'forward' not in vars(learn.model) and learn.recorder.values[-1][-1] > .1

def test_a_copy_that_is_made_while_training_computes_with_its_own_weights():
    class Copying(Callback):
        def after_batch(self):
            if not self.training: return
            self.learn.copied = copy.deepcopy(self.model)
            for p in self.learn.copied.parameters(): p.data.zero_()
            self.learn.answers = self.learn.copied(self.xb[0]), self.model(self.xb[0])
            raise CancelFitException()
    learn = Learner(dataloaders(DIGITS, 128, 'cpu'), convnet((1, 8, 8), 10), ClassLoss(cross_entropy),
                    cbs=[Autocast(), Copying()])
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3)
    of_copy, of_model = learn.answers
    assert not of_copy.any() and of_model.any()

def test_an_interrupted_fit_leaves_the_model_as_it_was(monkeypatch):
    from fastrecipes.lessons import nets
    made, real = [], nets.convnet
    monkeypatch.setattr(nets, 'convnet', lambda *args: made.append(real(*args)) or made[-1])
    class Interrupt(Callback):
        def after_batch(self): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): bare(precision='bf16', layout='channels-last', cbs=(Interrupt(),))
    assert 'forward' not in vars(made[-1]) and all(p.is_contiguous() for p in made[-1].parameters())


# fp16, whose gradients overflow; a CPU computes it slowly, but as a GPU does

@pytest.fixture
def fp16(monkeypatch):
    monkeypatch.setattr('fastrecipes.training.precision.pick_precision', lambda device, precision=None: 'fp16')

@pytest.mark.slow
def test_in_fp16_a_training_that_was_stopped_ends_as_one_that_was_not(fp16, tmp_path):
    run = partial(fit, 'convnet', DIGITS, device='cpu', seed=4, epochs=3, clip=1.)
    class Stopped(Exception): pass
    def stop(row):
        if row['epoch'] == 1: raise Stopped('now')
    whole = run(checkpoint=Checkpoint(tmp_path/'whole', every=1))
    with pytest.raises(Stopped): run(checkpoint=Checkpoint(tmp_path/'stopped', every=1), reporter=Each(stop))
    again = run(checkpoint=Checkpoint(tmp_path/'stopped', every=1, resume=True))
    assert torch.equal(whole.scores, again.scores) and whole.accuracy > .8 and whole.settings['precision'] == 'fp16'

class Watched(Callback):
    "The scale and a weight after each step, with a gradient that overflows in the third"
    order = Scaled.order + 1 # Where fastai clips
    def before_fit(self): self.scales, self.weights, self.kinds = [], [], set()
    def before_backward(self):
        if self.iter == 2: self.learn.loss_grad = self.loss_grad * float('inf')
    def after_step(self):
        self.scales.append(self.scaled.scaler.get_scale())
        self.weights.append(self.model[-1].weight.detach().clone())
    def after_pred(self): self.kinds.add((self.training, self.pred.dtype))

def test_in_fp16_a_step_whose_gradients_overflow_is_left_out_and_the_scale_halved():
    with no_random(0):
        learn = Learner(dataloaders(DIGITS, 128, 'cpu'), convnet((1, 8, 8), 10), ClassLoss(cross_entropy),
                        opt_func=adamw)
        scaled, watch = Scaled(), Watched()
        watch.scaled = scaled
        with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3, cbs=[scaled, watch])
    assert torch.equal(watch.weights[2], watch.weights[1])
    assert not torch.equal(watch.weights[1], watch.weights[0]) and not torch.equal(watch.weights[3], watch.weights[2])
    assert watch.scales[:4] == [2.**16, 2.**16, 2.**15, 2.**15] and all(w.isfinite().all() for w in watch.weights)
    assert {kind for _, kind in watch.kinds} == {torch.float32}
    assert not hasattr(learn.opt.opt, 'found_inf') and 'forward' not in vars(learn.model)

def test_fp16_needs_a_fused_optimiser():
    learn = Learner(dataloaders(DIGITS, 128, 'cpu'), convnet((1, 8, 8), 10), ClassLoss(cross_entropy), opt_func=Adam)
    with learn.no_bar(), learn.no_logging(), pytest.raises(InputError, match='fp16 needs .*fused'):
        learn.fit(1, 1e-3, cbs=Scaled())

def test_a_layout_is_put_back_when_something_goes_wrong():
    model = convnet((3, 28, 28), 10)
    with pytest.raises(ZeroDivisionError):
        with in_layout(Learner(dataloaders(DIGITS, device='cpu'), model, ClassLoss(cross_entropy)), 'channels-last'):
            assert not model[3].weight.is_contiguous()
            1 / 0
    assert all(p.is_contiguous() for p in model.parameters())

def test_a_seed_repeats_a_bf16_training_to_the_bit_and_the_output_says_how_it_was_trained():
    a, b = (fit('convnet', DIGITS, device='cpu', seed=5, epochs=2, precision='bf16') for _ in range(2))
    assert torch.equal(a.scores, b.scores) and 'precision=bf16, layout=channels-last' in repr(a)
    assert a.history.accuracy.iloc[a.best_epoch] == pytest.approx(a.accuracy) and a.accuracy > .8

@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device here')
@pytest.mark.parametrize('precision', ['auto', 'fp32', 'fp16'])
@pytest.mark.parametrize('name', ['convnet', 'resnet18'])
def test_on_a_gpu_the_nets_train_in_each_precision(name, precision):
    f = fit(name, DIGITS, device='cuda', precision=precision)
    assert f.accuracy > .95
    assert f.settings['precision'] == pick_precision('cuda', precision)
    assert f.settings['layout'] == ('channels-first' if precision == 'fp32' else 'channels-last')
    assert all(p.dtype == torch.float32 for p in f.model.parameters())

@pytest.mark.parametrize('layout', ['channels-first', 'channels-last'])
def test_learning_on_afterwards_is_the_same_in_either_layout(layout):
    "After the fit the layout is changed back; AdamW's averages must follow, or its fused step would mix them up"
    f = fit('convnet', load('digits', classes='3,7'), device='cpu', seed=3, precision='fp32', layout=layout, epochs=2)
    learn, by_name = f.learner, dict(f.learner.model.named_parameters())
    kept = {n: learn.opt.opt.state[p]['exp_avg'].clone() for n, p in by_name.items()}
    seen = {}
    class Look(Callback):
        def before_train(self): seen.update({n: learn.opt.opt.state[p]['exp_avg'] for n, p in by_name.items()})
        def before_batch(self): raise CancelFitException()
    with learn.no_bar(), learn.no_logging(): learn.fit(1, cbs=Look())
    assert all(torch.equal(seen[n], kept[n]) and seen[n].stride() == p.stride() for n, p in by_name.items())
    assert len(seen) == len(by_name)
