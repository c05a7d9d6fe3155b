"What gradients do in deep nets: spreads, measured norms against autograd and arithmetic, dropout, outputs of layers"
import math
from itertools import product
import matplotlib.pyplot as plt, pandas as pd, pytest, torch, torch.nn.functional as F
from torch import nn
from torch.testing import assert_close
from conftest import refused
from fastrecipes.data.loaders import to_floats
from fastrecipes.lessons.deep import (
    deep_net, dropout, gradient_norms, layer_outputs, mean_norms, plot_gradient_norms,
)


# Deep nets

@pytest.fixture(scope='module')
def some(digits):
    x = to_floats(digits.train.images[:128]).flatten(1)
    return (x - x.mean()) / x.std(), digits.train.labels[:128]

@pytest.mark.parametrize('init, wanted', [
    ('small', .01),
    ('large', 1),
    ('xavier', math.sqrt(2 / (300 + 200))),
    ('kaiming', math.sqrt(2 / 300)),
])
def test_weights_have_the_spread_that_their_name_says_and_biases_are_0(init, wanted):
    layer = deep_net(300, 10, depth=2, width=200, init=init)[0].linear
    assert layer.weight.std().item() == pytest.approx(wanted, rel=.02)
    assert abs(layer.weight.mean().item()) < wanted / 50
    assert not layer.bias.any()

def test_a_seed_makes_the_net_and_touches_no_other_random_numbers():
    state = torch.get_rng_state()
    a, b, c = (deep_net(8, 3, depth=3, width=5, batch_norm=True, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))
    assert not torch.equal(a[0].linear.weight, c[0].linear.weight)

def test_a_deep_net_has_the_layers_asked_for():
    net = deep_net(8, 3, depth=4, width=5, activation='tanh', batch_norm=True, residual=True)
    assert [tuple(p.linear.weight.shape) for p in net[:-1]] == [(5, 8), (5, 5), (5, 5), (5, 5)]
    assert net[-1].weight.shape == (3, 5)
    assert [p.residual for p in net[:-1]] == [False, True, True, True]
    assert all(isinstance(p.norm, nn.BatchNorm1d) for p in net[:-1])

def test_a_layer_is_linear_then_batch_norm_then_activation_added_to_its_input():
    net = deep_net(8, 3, depth=2, width=5, activation='tanh', batch_norm=True, residual=True)
    x = torch.randn(6, 8)
    def bent(layer, x):
        return torch.tanh(F.batch_norm(F.linear(x, layer.linear.weight), None, None, training=True))
    h = bent(net[0], x)
    assert_close(net[1](net[0](x)), h + bent(net[1], h))

@pytest.mark.parametrize('kwargs, part', [
    (dict(init='he'), "init='he'"),
    (dict(activation='gelu'), "activation='gelu'"),
    (dict(depth=0), 'depth=0'),
    (dict(width=0), 'width=0'),
])
def test_a_deep_net_that_cannot_be_is_refused(kwargs, part):
    with refused(part): deep_net(8, 3, **kwargs)


# Norms

@pytest.mark.parametrize('kwargs', [
    {},
    dict(activation='sigmoid', residual=True),
    dict(activation='tanh', batch_norm=True, init='large'),
])
def test_measured_norms_are_those_of_autograd(some, kwargs):
    table = gradient_norms(*some, seeds=[3], depth=4, width=6, **kwargs)
    net = deep_net(64, 10, depth=4, width=6, seed=3, **kwargs).double()
    x, y = some
    h, outs = x.double(), []
    for layer in net:
        h = layer(h)
        outs.append(h)
    weights = [layer.linear.weight for layer in net[:-1]]
    found = torch.autograd.grad(F.cross_entropy(h, y), [*outs[:-1], *weights])
    assert list(table.columns) == ['seed', 'layer', 'activation', 'signal', 'gradient']
    assert list(table.layer) == [1, 2, 3, 4] and set(table.seed) == {3}
    assert_close(table.signal.tolist() + table.gradient.tolist(), [g.norm().item() for g in found])
    assert_close(table.activation.tolist(), [o.square().mean().sqrt().item() for o in outs[:-1]])

def test_there_is_a_row_for_every_seed_and_layer_and_random_numbers_are_left_alone(some):
    state = torch.get_rng_state()
    table = gradient_norms(*some, seeds=(5, 1), depth=3, width=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert list(zip(table.seed, table.layer)) == list(product((5, 1), (1, 2, 3)))
    images = some[0].view(-1, 1, 8, 8).requires_grad_()
    pd.testing.assert_frame_equal(gradient_norms(images, some[1], seeds=(5, 1), depth=3, width=4), table)
    assert images.grad is None

def factor_per_layer(norms, what='signal', first=2, last=-1):
    m = mean_norms(norms)[what]
    return (m.iloc[first] / m.iloc[last])**(1 / (len(m) + last - first))

@pytest.mark.parametrize('kwargs, factor', [
    (dict(init='small'), .01 * 32**.5),
    (dict(init='large'), 32**.5),
    (dict(init='xavier'), .5**.5),
    (dict(init='kaiming'), 1),
    (dict(init='kaiming', batch_norm=True), math.sqrt(math.pi / (math.pi - 1))),
], ids=str)
def test_relus_multiply_what_comes_back_by_the_factor_of_arithmetic(some, kwargs, factor):
    assert factor_per_layer(gradient_norms(*some, depth=20, **kwargs)) == pytest.approx(factor, rel=.12)

def test_sigmoids_lose_three_quarters_per_layer_or_more(some):
    assert factor_per_layer(gradient_norms(*some, depth=20, activation='sigmoid', init='xavier')) < .27

def test_helpers_level_what_vanishes_and_what_explodes(some):
    sick = dict(activation='sigmoid', init='xavier', depth=20)
    def powers(**helper): return abs(math.log10(factor_per_layer(gradient_norms(*some, **sick, **helper), 'gradient')))
    assert powers() > .5
    assert powers(batch_norm=True) < .1
    assert powers(residual=True) < .1
    for init in ('small', 'large'):
        norms = gradient_norms(*some, init=init, depth=20, batch_norm=True)
        assert 1e-3 < mean_norms(norms).gradient.median() < 1e3

def test_clipping_shortens_all_layers_by_one_factor_and_only_where_they_are_too_long(some):
    free, clipped = (gradient_norms(*some, init='large', depth=10, seeds=[0], clip=c).gradient for c in (0, 1.))
    ratio = clipped / free
    assert ratio.max() == pytest.approx(ratio.min())
    assert math.sqrt((clipped**2).sum()) < 1 < 1e6 < free.min()
    short, not_clipped = (gradient_norms(*some, depth=3, seeds=[0], clip=c).gradient for c in (0, 1e3))
    assert_close(not_clipped.tolist(), short.tolist())

@pytest.mark.parametrize('n, m', [(3, 2), (1, 1), (0, 0)])
def test_too_few_examples_are_refused(n, m):
    with refused(f'{n} inputs', f'{m} labels'): gradient_norms(torch.zeros(n, 4), torch.zeros(m).long())

def norms(**columns):
    return pd.DataFrame(dict(seed=[0, 0, 1, 1], layer=[1, 2, 1, 2], activation=1., signal=1., gradient=1.) | columns)

@pytest.mark.filterwarnings('error')
def test_the_mean_over_seeds_is_geometric_and_0_stays_0():
    m = mean_norms(norms(gradient=[1e-2, 4, 1e-4, 9], signal=[0., 1, 5, 1]))
    assert list(m.index) == [1, 2] and list(m.columns) == ['activation', 'signal', 'gradient']
    assert_close(m.gradient.tolist(), [1e-3, 6.])
    assert m.signal.tolist() == [0, 1]

def test_a_label_has_one_line_in_all_panels_on_a_logarithmic_scale():
    a, b = norms(gradient=[1e-30, 1, 1e-30, 1]), norms(gradient=[1e20, 1, 1e20, 1])
    open_before = plt.get_fignums()
    fig = plot_gradient_norms({'one': {'A': a, 'B': b}, 'two': {'B': b}})
    one, two = fig.axes
    line_a, line_b = one.get_lines()
    assert [line_a.get_label(), line_b.get_label()] == ['A', 'B'] and one.get_yscale() == 'log'
    assert two.get_lines()[0].get_color() == line_b.get_color() != line_a.get_color()
    assert_close(line_a.get_ydata().tolist(), [1e-30, 1.])
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ['A', 'B']
    assert 3 <= len(one.get_yticks()) <= 7 and one.get_ylim() == two.get_ylim()
    assert plt.get_fignums() == open_before

@pytest.mark.parametrize('n, axes', [(1, 1), (4, 6)])
def test_panels_fill_rows_of_three(n, axes):
    assert len(plot_gradient_norms({str(i): {'A': norms()} for i in range(n)}, columns=3).axes) == axes

@pytest.mark.parametrize('panels, what, part', [
    ({}, 'gradient', '0 different labels'),
    ({'t': {}}, 'gradient', '0 different labels'),
    ({'t': {str(i): None for i in range(6)}}, 'gradient', '6 different labels'),
    ({'t': {'a': None}}, 'loss', "what='loss'"),
])
def test_what_cannot_be_plotted_is_refused(panels, what, part):
    with refused(part): plot_gradient_norms(panels, what)


# Dropout, and what layers give

@pytest.mark.parametrize('p', [.1, .5, .9])
def test_dropout_zeroes_a_share_and_keeps_the_mean(p):
    x = torch.full((400, 500), 3.)
    out = dropout(x, p, generator=torch.Generator().manual_seed(0))
    assert (out == 0).float().mean().item() == pytest.approx(p, abs=.01)
    assert out.mean().item() == pytest.approx(3, rel=.02)
    assert_close(out.unique(), torch.tensor([0, 3 / (1 - p)]))
    assert_close(F.dropout(x, p).unique(), out.unique()) # PyTorch's does the same

def test_dropout_does_nothing_in_evaluation_and_repeats_with_a_generator():
    x = torch.randn(4, 50)
    def dropped(): return dropout(x, .5, generator=torch.Generator().manual_seed(7))
    assert dropout(x, .5, training=False) is x and dropout(x, 0.) is x
    state = torch.get_rng_state()
    assert torch.equal(dropped(), dropped())
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(dropout(x, .5), dropout(x, .5))

def test_only_units_that_were_kept_get_a_gradient():
    x = torch.ones(1000, requires_grad=True)
    out = dropout(x, .75)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach()) and set(x.grad.tolist()) == {0, 4}

@pytest.mark.parametrize('p', [-.1, 1, 1.5, math.nan])
def test_a_probability_that_is_none_is_refused(p):
    with refused(f'p={p}'): dropout(torch.ones(3), p)

def test_layer_outputs_are_what_the_layers_give_one_after_the_other():
    inner = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2))
    model = nn.Sequential(nn.Linear(3, 4), inner, nn.Dropout(.5))
    x = torch.randn(5, 3)
    for mode in (True, False):
        outs = layer_outputs(model.train(mode), x)
        assert list(outs) == ['0', '1.0', '1.1', '2'] and model.training == mode
        assert_close(outs['0'], model[0](x).detach()) # Before the ReLU that overwrites it
        assert_close(outs['1.0'], outs['0'].relu())
        assert torch.equal(outs['1.1'], outs['2']) != mode

def test_layer_outputs_leave_no_hooks_behind_even_when_they_fail():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with pytest.raises(RuntimeError): layer_outputs(model, torch.zeros(2, 5))
    assert not any(m._forward_hooks for m in model.modules())
