"""The models of the ladder: their parameters counted by hand, their shapes, and what each layer is there for"""
import copy, os, re, subprocess, sys
from ast import literal_eval
from functools import partial
import pytest, torch
from fastai.learner import Learner
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
import fastai.callback.progress # noqa: F401 - gives `Learner` no_bar
from conftest import refused
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.data.loaders import dataloaders
from fastrecipes.ladder.rungs import make_learner
from fastrecipes.ladder.settings import recipes
from fastrecipes.lessons.nets import (
    convnet, dense_on_small_maps, enlarge, linear, MapConv2d, mlp, n_outputs, n_parameters, resnet18, simple_net,
)
from fastrecipes.lessons.sgd import ClassLoss, cross_entropy


def kinds(model): return [type(m).__name__ for m in model]


@pytest.mark.parametrize('n_classes, n', [(2, 1), (3, 3), (10, 10)])
def test_two_classes_need_one_number_and_more_need_one_each(n_classes, n):
    assert n_outputs(n_classes) == n

@pytest.mark.parametrize('model, n', [
    (linear(64, 10), 64 * 10 + 10),
    (linear(784, 1), 785),
    (simple_net(784, 1), (784 * 30 + 30) + (30 + 1)),
    (simple_net(64, 10, hidden=5), (64 * 5 + 5) + (5 * 10 + 10)),
    (mlp(64, 10), (64 * 64 + 64) * 3 + 64 * 10 + 10),
    (mlp(12, 3, (7, 4), dropout=.5), (12 * 7 + 7) + (7 * 4 + 4) + (4 * 3 + 3)),
    (mlp(12, 3, ()), 12 * 3 + 3),
    (mlp(12, 1, iter([2])), 12 * 2 + 2 + 2 + 1),
])
def test_parameters_are_weights_and_biases(model, n): assert n_parameters(model) == n

def test_frozen_parameters_do_not_count():
    model = linear(64, 10)
    model[1].weight.requires_grad_(False)
    assert n_parameters(model) == 10

@pytest.mark.parametrize('make', [linear, simple_net, mlp], ids=lambda f: f.__name__)
@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 28, 28), (1, 9, 17)], ids=str)
@pytest.mark.parametrize('n_out', [1, 10])
def test_images_of_any_shape_become_n_out_numbers_each(make, shape, n_out):
    n_in = shape[0] * shape[1] * shape[2]
    assert make(n_in, n_out)(torch.rand(4, *shape)).shape == (4, n_out)

def test_a_linear_model_is_a_sum_over_all_pixels():
    model, x = linear(3 * 2 * 2, 2), torch.rand(5, 3, 2, 2)
    w, b = model[1].weight, model[1].bias
    assert torch.allclose(model(x), torch.einsum('nchw,kchw->nk', x, w.view(2, 3, 2, 2)) + b, atol=1e-6)

def test_two_linear_layers_collapse_into_one_and_the_relu_between_prevents_it():
    torch.manual_seed(0)
    net = simple_net(64, 10)
    x = torch.rand(20, 1, 8, 8)
    first, second, one = net[1], net[3], linear(64, 10)
    with torch.no_grad():
        one[1].weight.copy_(second.weight @ first.weight)
        one[1].bias.copy_(second.weight @ first.bias + second.bias)
    assert torch.allclose(second(first(x.flatten(1))), one(x), atol=1e-6)
    assert not torch.allclose(net(x), one(x), atol=1e-2)

def test_every_hidden_layer_of_an_mlp_is_followed_by_the_activation_and_dropout():
    assert kinds(mlp(64, 10, (5, 6))) == ['Flatten', 'Linear', 'ReLU', 'Linear', 'ReLU', 'Linear']
    model = mlp(64, 10, (5, 6), 'leaky_relu', .25)
    assert kinds(model) == ['Flatten'] + ['Linear', 'LeakyReLU', 'Dropout'] * 2 + ['Linear']
    assert {m.p for m in model if isinstance(m, nn.Dropout)} == {.25}
    assert len(set(map(id, model))) == len(model)

@pytest.mark.parametrize('make, kinds_of', [
    (partial(linear, 64, 10), ['Flatten', 'Dropout', 'Linear']),
    (partial(simple_net, 64, 10, 30), ['Flatten', 'Linear', 'ReLU', 'Dropout', 'Linear']),
    (partial(mlp, 64, 10, (9,), 'relu'), ['Flatten', 'Linear', 'ReLU', 'Dropout', 'Linear']),
], ids=['linear', 'simple_net', 'mlp'])
def test_dropout_acts_in_training_only_and_is_no_layer_where_it_is_none(make, kinds_of):
    torch.manual_seed(0)
    model, x = make(.5), torch.rand(4, 1, 8, 8)
    assert kinds(model) == kinds_of and kinds(make(0)) == kinds(make(0.)) == [k for k in kinds_of if k != 'Dropout']
    assert torch.equal(model.eval()(x), model(x)) and not torch.equal(model.train()(x), model(x))
    plain = make(0)
    plain.load_state_dict(dict(zip(plain.state_dict(), model.state_dict().values())))
    assert torch.equal(plain.train()(x), model.eval()(x))

@pytest.mark.parametrize('make', [
    partial(linear, 4, 1), partial(simple_net, 4, 1, 3), partial(mlp, 4, 1, (3,), 'relu'),
], ids=['linear', 'simple_net', 'mlp'])
@pytest.mark.parametrize('share', [1, 1., -.1, float('nan')])
def test_a_dropout_that_cannot_be_is_refused(make, share):
    with refused(f'dropout={share}'): make(share)

@pytest.mark.parametrize('share', [0., .2, .5])
def test_the_head_of_resnet18_drops_half_the_share_and_then_the_share(share):
    model, x = resnet18((1, 8, 8), 2, share), torch.rand(4, 1, 8, 8)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == ([share / 2, share] if share else [])
    with torch.no_grad(): assert torch.equal(model.eval()(x), model(x))

def test_resnet18_from_scratch_is_what_a_vision_learner_makes_but_for_the_enlarging():
    from fastai.vision.learner import vision_learner
    from torchvision.models import resnet18 as arch
    dls = loaders((3, 32, 32))
    how = dict(pretrained=False, loss_func=nn.CrossEntropyLoss(), normalize=False, ps=.3)
    theirs = vision_learner(dls, arch, n_out=5, **how)
    ours = resnet18((3, 32, 32), 5, dropout=.3)
    def described(model): return [(tuple(p.shape), p.requires_grad) for p in model.parameters()]
    assert described(ours) == described(theirs.model)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.model.state_dict().values(), strict=True)))
    x = torch.rand(2, 3, 32, 32).double() # The last maps are 2x2 and 1x1: other sums of the same products
    def scores(model): return model.double().eval()(x)
    with torch.no_grad(): torch.testing.assert_close(scores(ours), scores(theirs.model), rtol=1e-12, atol=1e-12)
    def groups(learn): return [sum(p.numel() for p in group) for group in learn.splitter(learn.model)]
    assert groups(make_learner(recipes['resnet18'].parts((3, 32, 32), 5, dropout=.3), dls)) == groups(theirs)

def test_dropout_zeroes_its_share_in_training_only():
    torch.manual_seed(0)
    model, x = mlp(64, 10, (4000,), dropout=.25), torch.rand(1, 1, 8, 8)
    hidden = nn.Sequential(*model[:2])(x)
    kept = nn.Sequential(*model[3:4]).train()(hidden)
    assert .2 < (kept == 0).float().mean() < .3 and torch.allclose(kept[kept != 0], hidden[kept != 0] / .75)
    assert torch.equal(model.eval()(x), model(x)) and not torch.equal(model.train()(x), model(x))

def test_an_unknown_activation_is_refused():
    with refused("activation='gelu'", 'relu, leaky_relu'): mlp(64, 10, activation='gelu')

def test_leaky_relu_lets_a_hundredth_through():
    hidden = mlp(1, 1, (2,), 'leaky_relu')[2]
    assert hidden(torch.tensor([-1., 2.])).tolist() == pytest.approx([-.01, 2.])


@pytest.mark.parametrize('size, wanted', [
    ((8, 8), (24, 24)), ((9, 17), (24, 45)), ((17, 9), (45, 24)), ((23, 40), (24, 42)), ((24, 24), None),
    ((28, 28), None),
])
def test_small_images_are_enlarged_to_a_shorter_side_of_24(size, wanted):
    layer, x = enlarge(size), torch.rand(2, 1, *size)
    if wanted is None: assert torch.equal(layer(x), x)
    else: assert layer(x).shape == (2, 1, *wanted)

def test_enlarging_is_bilinear():
    got = enlarge((1, 2), least=2)(torch.tensor([[[[0., 4.]]]]))
    assert got.tolist() == [[[[0., 1., 3., 4.]] * 2]] # sampled at -1/4, 1/4, 3/4 and 5/4


def loaders(shape, n_classes=2, n=4):
    g = torch.Generator().manual_seed(0)
    part = Split(torch.randint(0, 256, (n, *shape), generator=g).byte(), torch.arange(n) % n_classes)
    return dataloaders(ImageSet('noise', tuple('abcdefghij'[:n_classes]), part, part), n, 'cpu')

def resnet(shape, n_out, **kwargs):
    return Learner(loaders(shape), resnet18(shape, n_out, **kwargs), ClassLoss(cross_entropy))

BODY = 11_689_512 - (512 * 1000 + 1000) # torchvision's resnet18 without its last layer

@pytest.mark.parametrize('shape, n_out, seen', [
    ((3, 8, 8), 10, (24, 24)), ((1, 28, 28), 1, (28, 28)), ((1, 9, 17), 10, (24, 45)),
], ids=str)
def test_resnet18_has_torchvisions_body_and_fastais_head_and_sees_small_images_enlarged(shape, n_out, seen):
    learn, sizes = resnet(shape, n_out), []
    conv = next(m for m in learn.model.modules() if isinstance(m, nn.Conv2d))
    conv.register_forward_pre_hook(lambda m, x: sizes.append(tuple(x[0].shape[1:])))
    stem = (3 - shape[0]) * 64 * 7 * 7 # what the first convolution saves on grey images
    head = 2 * 1024 + 1024 * 512 + 2 * 512 + 512 * n_out # batch norm, linear, batch norm, linear
    assert n_parameters(learn.model) == BODY - stem + head
    x, _ = learn.dls.one_batch()
    with torch.no_grad(): assert learn.model.eval()(x).shape == (4, n_out)
    assert sizes == [(shape[0], *seen)] and learn.loss_func.func is cross_entropy

@pytest.mark.parametrize('size', [(7, 8), (8, 7), (1, 1)])
def test_tiny_images_are_enlarged_enough(size):
    model = resnet((1, *size), 1).model.eval()
    assert model(torch.zeros(2, 1, *size)).shape == (2, 1)

def test_resnet18_from_scratch_is_all_trainable_and_steps():
    learn = resnet((1, 8, 8), 1, least=8)
    before = [p.detach().clone() for p in learn.model.parameters()]
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3)
    assert all(p.requires_grad for p in learn.model.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(before, learn.model.parameters()))

def test_without_network_or_weights_pretrained_is_refused_in_one_line(tmp_path):
    code = """from fastrecipes.errors import InputError
from fastrecipes.lessons.nets import resnet18
try: resnet18((1, 8, 8), 1, pretrained=True)
except InputError as e: print('REFUSED', ascii(str(e)))"""
    proxies = {k: 'http://127.0.0.1:9' for p in ('http', 'https', 'all') for k in (f'{p}_proxy', f'{p}_proxy'.upper())}
    env = os.environ | proxies | dict(TORCH_HOME=str(tmp_path), no_proxy='', NO_PROXY='')
    run = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, timeout=120)
    messages = [literal_eval(m) for m in re.findall('REFUSED (.*)', run.stdout)]
    assert len(messages) == 1, run.stderr
    assert messages[0].startswith('resnet18: ') and '`pretrained`' in messages[0]
    assert '\n' not in messages[0]


# Convolutions over small maps, and the small net

@pytest.mark.parametrize('kernel, stride, pad', [
    (3, 1, 1), (3, 2, 1), (5, 2, 2), (7, 2, 3), (2, 1, 0), (4, 3, 2),
], ids=str)
def test_a_convolution_over_a_small_map_is_the_same_function_with_the_same_gradients(kernel, stride, pad):
    dense = 0
    for h, w in [(1, 1), (1, 2), (2, 1), (2, 2), (2, 5), (3, 3), (4, 4), (8, 7)]:
        if min(h, w) + 2 * pad < kernel: continue
        for layout in (torch.contiguous_format, torch.channels_last):
            conv = nn.Conv2d(3, 5, kernel, stride, pad).double().to(memory_format=layout)
            ours = dense_on_small_maps(copy.deepcopy(conv))
            assert type(ours) is MapConv2d and list(ours.state_dict()) == list(conv.state_dict())
            x = torch.randn(4, 3, h, w, dtype=torch.double).contiguous(memory_format=layout)
            results = []
            for c in (conv, ours):
                own = x.clone().requires_grad_()
                y = c(own)
                (y * torch.arange(y.numel()).view_as(y)).sum().backward()
                results.append((y, own.grad, c.weight.grad, c.bias.grad))
            for a, b in zip(*results): torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
            with FlopCounterMode(display=False) as counter: ours(x)
            dense += 'aten.addmm' in str(counter.get_flop_counts()['Global'])
    assert dense, 'no map was small'

def test_only_plain_convolutions_larger_than_a_pixel_are_changed():
    special = [dict(groups=2), dict(dilation=2), dict(padding='same'), dict(padding=1, padding_mode='reflect')]
    layers = [nn.Conv2d(4, 4, 1), *(nn.Conv2d(4, 4, 3, **how) for how in special), nn.Conv2d(4, 4, 3)]
    model = nn.Sequential(*layers)
    assert [type(m) is MapConv2d for m in dense_on_small_maps(model)] == [False] * 5 + [True]

@pytest.mark.parametrize('shape, n_out', [
    ((1, 28, 28), 10), ((1, 8, 8), 1), ((3, 128, 128), 1), ((1, 1, 1), 2), ((3, 40, 300), 4), ((1, 29, 33), 10),
], ids=str)
def test_convnet_takes_images_of_any_size_and_has_a_few_ten_thousand_parameters(shape, n_out):
    model = convnet(shape, n_out, dropout=.3).train()
    assert model(torch.rand(4, *shape)).shape == (4, n_out) and 10_000 < n_parameters(model) < 70_000
    places = model[-1].in_features // 64
    assert 1 <= places <= 16 and [m.p for m in model if isinstance(m, nn.Dropout)] == [.3]
