"Backpropagation by hand: the lecture's numbers, autograd and numeric gradients as judges, drawings that can be read"
import copy, math, os, shutil, subprocess, sys
from itertools import combinations
from xml.etree import ElementTree
import matplotlib.pyplot as plt, numpy as np, pytest, torch, torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from hypothesis import assume, given, settings, strategies as st
from torch import nn
from torch.testing import assert_close
from conftest import refused
from fastrecipes.lessons.backprop import (
    accumulate_grad, backward, draw_graph, draw_network, forward, named_values, net_121, numeric_grad, step_params,
)
from fastrecipes.lessons.deep import layer_outputs

HAS_DOT = shutil.which('dot') is not None
needs_dot = pytest.mark.skipif(not HAS_DOT, reason="Graphviz's program dot is not on the PATH")


def random_net(widths, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    def random(*shape): return torch.randn(*shape, generator=g, dtype=dtype)
    return [(random(b, a), random(b)) for a, b in zip(widths, widths[1:])]

def flat(params): return [t for layer in params for t in layer]
def rounded(params, digits=4): return [[round(v, digits) for v in t.flatten().tolist()] for t in flat(params)]

def batch(widths, n, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed + 1)
    def random(width): return torch.randn(n, width, generator=g, dtype=dtype)
    return random(widths[0]), random(widths[-1])

def as_module(params, bend=nn.Sigmoid):
    "The same network of PyTorch's own layers"
    layers = []
    for w, b in params:
        layer = nn.Linear(w.shape[1], w.shape[0]).to(w.dtype)
        with torch.no_grad():
            layer.weight.copy_(w)
            layer.bias.copy_(b)
        layers += [layer, bend()]
    return nn.Sequential(*layers[:-1])


# The lecture's network

def test_the_network_of_the_lecture_gives_its_values_and_gradients():
    fwd = forward(net_121(), 1.)
    assert rounded([fwd.hs[1:]]) == [[.8808, .7311]] and round(fwd.pred.item(), 4) == 1.3429
    assert fwd.zs[0].tolist() == [[2, 1]]
    bwd = backward(fwd, 3.)
    assert rounded(bwd.params) == [[-.3480, -1.3032], [-.3480, -1.3032], [-2.9191, -2.4229], [-3.3142]]
    assert bwd.loss.item() == pytest.approx((1.3429 - 3)**2, abs=2e-4)

def test_one_step_of_a_tenth_gives_the_weights_of_the_lecture():
    stepped = step_params(net_121(), backward(forward(net_121(), 1.), 3.).params, lr=.1)
    assert rounded(stepped) == [[1.0348, -.8697], [1.0348, 2.1303], [1.2919, 2.2423], [-.6686]]

def test_gradients_add_up_after_that_step_until_they_are_zeroed():
    model = as_module(step_params(net_121(), backward(forward(net_121(), 1.), 3.).params, lr=.1))
    x, y = torch.tensor([[1.]]).double(), torch.tensor([[3.]]).double()
    def first():
        F.mse_loss(model(x), y).backward()
        return round(model[0].bias.grad[0].item(), 4)
    assert [first() for _ in range(3)] == [-.1991, -.3983, -.5974]
    model.zero_grad()
    assert first() == -.1991

def test_any_weights_make_a_1_2_1_network():
    assert rounded(net_121((.5, 2), (3, 4), [5, 6], 7)) == [[.5, 2], [3, 4], [5, 6], [7]]
    fwd = forward(net_121((0, 0), (0, 0), (2, 4), 1), 9.)
    assert fwd.pred.item() == 1 + 2 / 2 + 4 / 2


# Forward and backward

widths = st.lists(st.integers(1, 4), min_size=2, max_size=5)

@settings(deadline=None, max_examples=60)
@given(widths, st.sampled_from(['sigmoid', 'tanh', 'relu']), st.integers(1, 5), st.integers(0, 10**6))
def test_by_hand_autograd_and_numeric_gradients_agree_for_any_small_network(widths, activation, n, seed):
    net = random_net(widths, seed)
    x, y = batch(widths, n, seed)
    fwd = forward(net, x, activation)
    if activation == 'relu': # At its corner it has no slope
        assume(all((z.abs() > 1e-3).all() for z in fwd.zs[:-1]))
    bwd = backward(fwd, y)

    leaves = [(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in net]
    traced = forward(leaves, x.clone().requires_grad_(), activation)
    for t in traced.hs + traced.zs: t.retain_grad()
    loss = F.mse_loss(traced.pred, y)
    loss.backward()
    assert_close(bwd.loss, loss.detach())
    assert_close(flat(bwd.params), [t.grad for t in flat(leaves)])
    assert_close(bwd.hs + bwd.zs, [t.grad for t in traced.hs + traced.zs])

    def loss_of(params): return F.mse_loss(forward(params, x, activation).pred, y)
    numeric = numeric_grad(loss_of, net)
    assert_close(flat(numeric), flat(bwd.params), atol=1e-6, rtol=1e-5)

@pytest.mark.parametrize('activation, bend', [('sigmoid', nn.Sigmoid), ('tanh', nn.Tanh), ('relu', nn.ReLU)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_the_network_is_that_of_pytorchs_layers(activation, bend, dtype):
    net = random_net([3, 5, 4, 2], dtype=dtype)
    x, _ = batch([3, 2], 7, dtype=dtype)
    fwd = forward(net, x, activation)
    outs = list(layer_outputs(as_module(net, bend), x).values())
    assert fwd.pred.dtype == dtype
    assert_close(fwd.hs[1:], outs[1::2])
    assert_close(fwd.zs, outs[::2])

def test_everything_has_a_gradient_of_its_own_shape_and_dtype():
    x, y = batch([3, 2], 7, dtype=torch.float32)
    fwd = forward(random_net([3, 5, 2], dtype=torch.float32), x)
    bwd = backward(fwd, y)
    values, grads = (flat(o.params) + o.hs + o.zs for o in (fwd, bwd))
    for a, b in zip(values, grads, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype

def test_a_linear_model_has_no_hidden_layer_and_its_gradient_by_hand():
    line = [(torch.tensor([[2.]]), torch.tensor([1.]))]
    bwd = backward(forward(line, torch.tensor([1., 3])), torch.tensor([3., 5])) # Errors 0 and 2
    assert (bwd.loss.item(), bwd.params[0][0].item(), bwd.params[0][1].item()) == (2, 6, 2)

@pytest.mark.parametrize('x, n', [
    (1., 1), ([1., 2, 3], 3), ([[1.], [2]], 2), (torch.tensor(2), 1), (np.array([1., 2]), 2),
])
def test_one_input_may_come_as_a_number_or_a_vector_of_examples(x, n):
    assert forward(net_121(), x).pred.shape == (n, 1)

def test_for_several_inputs_a_vector_is_one_example():
    net = random_net([3, 2, 2])
    x, _ = batch([3, 2], 1)
    assert torch.equal(forward(net, x[0]).pred, forward(net, x).pred)

def test_parameters_that_learn_are_neither_changed_nor_given_gradients():
    net = [(w.requires_grad_(), b.requires_grad_()) for w, b in random_net([2, 3, 1])]
    before = [t.detach().clone() for t in flat(net)]
    x, y = batch([2, 1], 4)
    bwd = backward(forward(net, x), y)
    stepped = step_params(net, bwd.params, lr=.5)
    assert not any(t.requires_grad for t in [bwd.loss, *flat(bwd.params), *bwd.hs, *bwd.zs, *flat(stepped)])
    assert all(torch.equal(t, b) for t, b in zip(flat(net), before))
    assert all(t.grad is None for t in flat(net))

def test_steps_are_those_of_pytorchs_sgd():
    net = random_net([3, 4, 2])
    x, y = batch([3, 2], 6)
    model = as_module(net)
    opt = torch.optim.SGD(model.parameters(), lr=.3)
    for _ in range(5):
        opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        opt.step()
        net = step_params(net, backward(forward(net, x), y).params, lr=.3)
    assert_close(flat(net), [p.detach() for p in model.parameters()])

@pytest.mark.parametrize('call, parts', [
    (lambda: forward([], 1.), ['at least one layer']),
    (lambda: forward(net_121(), 1., 'swish'), ["activation='swish'", 'sigmoid, tanh, relu']),
    (lambda: forward(net_121(), torch.zeros(4, 2)), ['x must be (n, 1)', '(4, 2)']),
    (lambda: forward(net_121(), torch.zeros(0, 1)), ['x must be', '(0, 1)']),
    (lambda: forward(random_net([3, 2]), torch.zeros(4)), ['x must be (n, 3)', '(1, 4)']),
    (lambda: forward([*random_net([3, 2]), *random_net([4, 1])], torch.zeros(3)), ['layer 2', '(1, 4)', '(out, 2)']),
    (lambda: forward([(torch.zeros(2, 3), torch.zeros(3))], torch.zeros(3)), ['layer 1', '(2, 3)', '(3,)']),
    (lambda: backward(forward(net_121(), [1., 2]), [1., 2, 3]), ['3 targets', '2 examples']),
    (lambda: backward(forward(net_121(), 1.), torch.zeros(1, 2)), ['y must be (n, 1)', '(1, 2)']),
])
def test_what_does_not_fit_is_refused(call, parts):
    with refused(*parts): call()


# By name

def test_every_number_has_its_name_and_gradient():
    net = random_net([2, 3, 1])
    x, y = batch([2, 1], 1)
    fwd = forward(net, x, 'tanh')
    bwd = backward(fwd, y)
    t = named_values(fwd, bwd)
    weights = [f'w1[{j},{i}]' for j in (1, 2, 3) for i in (1, 2)]
    hidden = [f'{n}1[{j}]' for n in 'bzh' for j in (1, 2, 3)]
    assert list(t.index) == ['x[1]', 'x[2]', *weights, *hidden, 'w2[1]', 'w2[2]', 'w2[3]', 'b2', 'prediction', 'loss']
    wanted = {
        'x[2]': (x[0, 1], bwd.hs[0][0, 1]),
        'w1[3,2]': (net[0][0][2, 1], bwd.params[0][0][2, 1]),
        'b1[2]': (net[0][1][1], bwd.params[0][1][1]),
        'z1[3]': (fwd.zs[0][0, 2], bwd.zs[0][0, 2]),
        'h1[2]': (fwd.hs[1][0, 1], bwd.hs[1][0, 1]),
        'w2[3]': (net[1][0][0, 2], bwd.params[1][0][0, 2]),
        'prediction': (fwd.pred, bwd.zs[-1]),
        'loss': (bwd.loss, 1),
    }
    for name, (value, grad) in wanted.items():
        assert (t.value[name], t.gradient[name]) == (float(value), float(grad)), name
    assert_close(named_values(fwd).value.tolist(), t.value.tolist()[:-1])

def test_only_one_example_and_its_own_gradients_are_shown():
    two = forward(net_121(), [1., 2])
    for show in (named_values, draw_network):
        with refused('one example', '2'): show(two)
        with refused('another network'): show(forward(net_121(), 1.), backward(forward(random_net([1, 3, 1]), 1.), 1.))


# Numeric gradients

def test_a_numeric_gradient_is_nested_like_its_parameters_in_64_bits():
    params = [torch.tensor([1., -2]), (torch.tensor(3.), [torch.arange(6.).view(2, 3).T])]
    kept = copy.deepcopy(params)
    def f(p): return (p[0]**2).sum() + p[1][0]**3 + (p[1][1][0] * p[1][1][0]).sum()
    a, (b, [c]) = numeric_grad(f, params)
    wanted = torch.tensor([2., -4]), torch.tensor(27.), 2 * kept[1][1][0]
    assert_close((a, b, c), wanted, check_dtype=False, atol=1e-6, rtol=1e-6)
    assert {t.dtype for t in (a, b, c)} == {torch.float64} and c.shape == (3, 2)
    assert torch.equal(params[0], kept[0]) and torch.equal(params[1][1][0], kept[1][1][0])

def test_both_sides_make_a_numeric_gradient_exact_for_a_parabola():
    assert numeric_grad(lambda p: 5 * p**2, torch.tensor(3.), eps=.5).item() == pytest.approx(30, abs=1e-12)

@pytest.mark.parametrize('eps', [0, -1e-3, math.nan])
def test_a_distance_must_be_above_0(eps):
    with refused('eps=', 'above 0'): numeric_grad(lambda p: p, torch.tensor(1.), eps)


# A large batch in pieces

def grads(model): return [p.grad.clone() for p in model.parameters()]

@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.integers(1, 25))
def test_a_large_batch_in_pieces_has_the_gradient_and_loss_of_the_large_batch(n, size):
    net = random_net([3, 4, 2])
    x, y = batch([3, 2], n)
    whole, pieces = as_module(net), as_module(net)
    loss = F.mse_loss(whole(x), y)
    loss.backward()
    assert_close(accumulate_grad(x, y, pieces, F.mse_loss, size), loss.detach())
    assert_close(grads(pieces), grads(whole), atol=1e-12, rtol=1e-9)

def test_pieces_add_to_the_gradients_that_are_there():
    model = as_module(random_net([3, 4, 2]))
    x, y = batch([3, 2], 7)
    accumulate_grad(x, y, model, F.mse_loss, 3)
    once = grads(model)
    loss = accumulate_grad(x, y, model, F.mse_loss, 3)
    assert_close(grads(model), [2 * g for g in once])
    assert not loss.requires_grad

def test_batch_norm_makes_pieces_another_computation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
    x, y = batch([3, 2], 8)
    other = copy.deepcopy(model)
    F.mse_loss(model(x), y).backward()
    accumulate_grad(x, y, other, F.mse_loss, 4)
    assert max((a - b).abs().max().item() for a, b in zip(grads(model), grads(other))) > 1e-3

@pytest.mark.parametrize('n, m, size, parts', [
    (3, 3, 0, ['size=0']),
    (3, 2, 1, ['3 inputs', '2 targets']),
    (0, 0, 1, ['0 inputs']),
])
def test_pieces_of_nothing_are_refused(n, m, size, parts):
    x, y = torch.zeros(n, 3), torch.zeros(m, 2)
    with refused(*parts): accumulate_grad(x, y, nn.Linear(3, 2), F.mse_loss, size)


# The network drawn

def render(fig):
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return canvas

def drawn(fwd, bwd=None):
    "The figure, and its texts with their boxes in pixels"
    fig = draw_network(fwd, bwd)
    render(fig)
    return fig, [(t.get_text(), t.get_window_extent()) for t in fig.axes[0].texts]

def minus(v): return f'{v:.4f}'.replace('-', '−')

def test_a_drawing_shows_every_value_and_gradient():
    fwd = forward(net_121(), 1.)
    bwd = backward(fwd, 3.)
    texts = [t for t, _ in drawn(fwd, bwd)[1]]
    shown = ' '.join(texts)
    for v in named_values(fwd, bwd).drop('loss').to_numpy().flatten(): assert minus(v) in shown, v
    assert 'loss = (1.3429 − 3.0000)² = 2.7459' in texts and 'h₁ = σ(2.0000)' in texts
    for t in flat(bwd.params):
        for g in t.flatten().tolist(): assert minus(g) in texts
    assert not any(minus(-3.3142) in t for t, _ in drawn(fwd)[1]), 'without gradients'

def inside(box, w, h): return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= w and box.y1 <= h

def overlap(a, b):
    "More than a pixel in both directions"
    across = a.x0 < b.x1 - 1 and b.x0 < a.x1 - 1
    down = a.y0 < b.y1 - 1 and b.y0 < a.y1 - 1
    return across and down

numbers = st.floats(-9, 9).map(lambda v: round(v, 1))

@settings(deadline=None, max_examples=25)
@given(st.lists(numbers, min_size=9, max_size=9), st.sampled_from(['sigmoid', 'tanh', 'relu']))
def test_nothing_on_the_drawing_of_1_2_1_overlaps_or_is_cut_off(v, activation):
    fwd = forward(net_121(v[:2], v[2:4], v[4:6], v[6]), v[7], activation)
    fig, texts = drawn(fwd, backward(fwd, v[8]))
    w, h = fig.canvas.get_width_height()
    for text, box in texts: assert inside(box, w, h), text
    for (a, box), (b, other) in combinations(texts, 2): assert not overlap(box, other), (a, b)

def test_letters_are_10_pixels_high_where_the_drawing_is_400_wide():
    fig, _ = drawn(forward(net_121(), 1.))
    assert min(t.get_fontsize() for t in fig.axes[0].texts) / 72 * 400 / fig.get_figwidth() >= 10

def test_a_figure_is_drawn_into_again_and_pyplot_keeps_none():
    fwd = forward(net_121((3, 4)), 2.)
    fig = draw_network(forward(net_121(), 1.), backward(forward(net_121(), 1.), 3.))
    assert draw_network(fwd, backward(fwd, 1.), fig=fig) is fig and len(fig.axes) == 1
    new = draw_network(fwd, backward(fwd, 1.))
    a, b = (np.asarray(render(f).buffer_rgba()) for f in (fig, new))
    assert np.array_equal(a, b)
    assert plt.get_fignums() == []

@pytest.mark.parametrize('widths', [(1, 1), (3, 2, 1), (2, 3, 3, 2), (1, 5, 8, 1)])
def test_other_networks_are_drawn_with_a_line_per_weight(widths):
    net = random_net(widths)
    x, y = batch(widths, 1)
    fwd = forward(net, x)
    fig, texts = drawn(fwd, backward(fwd, y))
    lines = [c for c in fig.axes[0].collections if hasattr(c, 'get_segments')]
    assert sum(len(c.get_segments()) for c in lines) == sum(w.numel() for w, _ in net)
    w, h = fig.canvas.get_width_height()
    assert all(inside(box, w, h) for _, box in texts)

def test_what_has_no_room_on_a_drawing_is_refused():
    with refused(' 8 ', '9'): draw_network(forward(random_net([2, 9, 1]), torch.zeros(2)))


# The graph of autograd

def graph(svg):
    "Texts of each node, and the edges as pairs of node names"
    root = ElementTree.fromstring(svg)
    svg = '{http://www.w3.org/2000/svg}'
    def parts(kind): return [g for g in root.iter(svg + 'g') if g.get('class') == kind]
    def title(g): return g.find(svg + 'title').text
    nodes = {title(g): ' '.join(t.text for t in g.iter(svg + 'text')) for g in parts('node')}
    return nodes, [tuple(title(g).split('->')) for g in parts('edge')]

def lecture_loss():
    model = as_module(net_121())
    return model, F.mse_loss(model(torch.tensor([[1.]]).double()), torch.tensor([[3.]]).double())

@needs_dot
def test_a_graph_shows_operations_parameters_and_what_is_kept():
    pytest.importorskip('graphviz')
    model, loss = lecture_loss()
    nodes, edges = graph(draw_graph(loss, dict(model.named_parameters())))
    operations = ['MseLoss', 'Addmm', 'Addmm', 'Sigmoid', 'T', 'T']
    parameters = ['0.weight (2, 1)', '0.bias (2,)', '2.weight (1, 2)', '2.bias (1,)']
    assert sorted(nodes.values()) == sorted(['2.746', *operations, *parameters])
    pairs = [(nodes[a], nodes[b]) for a, b in edges]
    assert sorted(pairs) == sorted([
        ('MseLoss', '2.746'), ('Addmm', 'MseLoss'), ('2.bias (1,)', 'Addmm'), ('Sigmoid', 'Addmm'), ('T', 'Addmm'),
        ('2.weight (1, 2)', 'T'), ('Addmm', 'Sigmoid'), ('0.bias (2,)', 'Addmm'), ('T', 'Addmm'),
        ('0.weight (2, 1)', 'T'),
    ])
    kept, lines = graph(draw_graph(loss, saved=True))
    assert ('result (1, 2)', 'Sigmoid') in [(kept[a], kept[b]) for a, b in lines] and 'target (1, 1)' in kept.values()
    assert '(2, 1)' in kept.values() and '0.weight (2, 1)' not in kept.values(), 'names are given, or left out'

@needs_dot
def test_a_graph_is_the_same_picture_every_time_and_a_notebook_shows_it():
    pytest.importorskip('graphviz')
    first, second = (draw_graph(lecture_loss()[1], saved=True) for _ in range(2))
    assert first == second == first._repr_svg_() and first.startswith('<svg') and len(repr(first)) < 40

@needs_dot
def test_a_very_long_graph_is_no_trouble():
    pytest.importorskip('graphviz')
    t = torch.tensor(1., requires_grad=True)
    for _ in range(1200): t = t + 1 # Deeper than Python's stack
    nodes, edges = graph(draw_graph(t))
    assert len(nodes) == 1202 and len(edges) == 1201

@needs_dot
def test_what_a_function_of_python_keeps_is_shown():
    pytest.importorskip('graphviz')
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2
        @staticmethod
        def backward(ctx, g): return 2 * ctx.saved_tensors[0] * g
    nodes, _ = graph(draw_graph(Square.apply(torch.ones(3, requires_grad=True)).sum(), saved=True))
    assert {'Sum', 'Square', '(3,)', 'saved 0 (3,)'} <= set(nodes.values())

def test_a_graph_that_is_not_there_or_used_up_is_refused():
    pytest.importorskip('graphviz')
    with refused('no graph'): draw_graph(torch.ones(3))
    _, loss = lecture_loss()
    loss.backward()
    with refused('`backward`', '`saved`'): draw_graph(loss, saved=True)
    if HAS_DOT: assert len(graph(draw_graph(loss))[0]) == 11

def test_without_the_package_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'graphviz', None)
    with refused('pip install graphviz'): draw_graph(lecture_loss()[1])

def test_without_graphviz_one_line_says_how_to_get_it_and_it_is_loaded_when_needed(tmp_path):
    pytest.importorskip('graphviz')
    code = """import sys, torch
import fastrecipes.lessons.backprop as b
print([m for m in ('graphviz', 'matplotlib.pyplot') if m in sys.modules])
try: b.draw_graph(torch.ones(1, requires_grad=True) * 2)
except b.InputError as e: print(e)"""
    env = os.environ | {'PATH': str(tmp_path)}
    r = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], env=env, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    loaded, message = r.stdout.splitlines()
    assert loaded == '[]'
    assert '`dot`' in message and 'install' in message

