"Curves, gradients and the paths of descents: the lessons' numbers, formulas and independent loops"
import io, math
from functools import partial
import matplotlib.pyplot as plt, numpy as np, pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.func import functional_call
from conftest import refused
from fastrecipes.lessons.descent import (
    add_noise, apply_step, at_step, descend, describe_path, double_relu, line_problem, line_surface, LineProblem,
    loss_surface, mae, mk_quad, mse, noise, noisy_quad, pixel_table, plot_function, plot_losses, plot_surface,
    quad, quad_mae, rectified_linear, relu_loss, roller_coaster, show_preds, standardise, start_relus, sum_relus,
)

small = st.floats(-3, 3, allow_nan=False, width=32)

def square(p): return (p**2).sum()


# The numbers of fast.ai lesson 3

def test_the_noisy_points_of_the_lesson():
    x, y = noisy_quad()
    assert (x.shape, y.shape, y.dtype) == ((20, 1), (20, 1), torch.float32)
    wanted = torch.tensor([11.8690, 6.5433, 5.9396, 2.6304, 1.7947])
    torch.testing.assert_close(y[:5].flatten(), wanted, atol=5e-5, rtol=0)

def test_noise_comes_from_numpys_global_generator_unless_one_is_given():
    x = torch.linspace(-2, 2, 20)[:, None]
    np.random.seed(42)
    of_lesson = add_noise(mk_quad(3, 2, 1)(x), .15, 1.5)
    assert torch.equal(of_lesson.float(), noisy_quad()[1])
    before = np.random.get_state()[2]
    assert add_noise(x, .1, 1, np.random.default_rng(0)).shape == (20, 1)
    assert noise(x, 2., np.random.RandomState(1)).shape == (20, 1)
    noisy_quad(7), roller_coaster(3), line_problem(), start_relus(4)
    assert np.random.get_state()[2] == before

def test_seeds_leave_torchs_own_numbers_alone():
    state = torch.get_rng_state()
    noisy_quad(7), roller_coaster(3), line_problem(), start_relus(4)
    assert torch.equal(torch.get_rng_state(), state)

def test_the_loss_and_the_gradient_of_the_lesson():
    x, y = noisy_quad()
    abc = torch.tensor([1.1, 1.1, 1.1], requires_grad=True)
    loss = quad_mae(abc, x, y)
    loss.backward()
    assert loss.item() == pytest.approx(2.4219, abs=5e-5)
    torch.testing.assert_close(abc.grad, torch.tensor([-1.3529, -.0316, -.5]), atol=5e-5, rtol=0)

@pytest.mark.parametrize('momentum, losses', [
    (1., [2.40, 2.36, 2.30, 2.21, 2.11, 1.98, 1.85, 1.72, 1.58, 1.46]),
    (0., [2.40, 2.38, 2.36, 2.34, 2.32, 2.30, 2.28, 2.26, 2.23, 2.21]),
])
def test_the_lessons_loop_is_a_momentum_of_one_and_the_zeroed_one_has_none(momentum, losses):
    x, y = noisy_quad()
    path = descend(partial(quad_mae, x=x, y=y), [1.1, 1.1, 1.1], lr=.01, steps=10, momentum=momentum)
    assert path.loss.round(2).tolist()[1:] == losses

@pytest.mark.parametrize('zero', [True, False])
def test_a_loop_of_steps_is_the_descent(zero):
    x, y = noisy_quad()
    p = torch.tensor([1.1, 1.1, 1.1], requires_grad=True)
    for _ in range(7):
        quad_mae(p, x, y).backward()
        assert apply_step(p, .01, zero) is p
        assert (p.grad is None) == zero
    path = descend(partial(quad_mae, x=x, y=y), [1.1, 1.1, 1.1], .01, 7, momentum=0. if zero else 1.)
    torch.testing.assert_close(at_step(path, p), p.detach())

def test_a_step_needs_a_gradient():
    with refused('gradient', 'backward()'): apply_step(torch.ones(2), .1)


# Formulas

@given(small, small, small, small)
def test_quadratics(a, b, c, x):
    x = torch.tensor(x)
    assert quad(a, b, c, x).item() == pytest.approx(np.polyval([a, b, c], x.item()), rel=1e-4, abs=1e-4)
    assert torch.equal(mk_quad(a, b, c)(x), quad(a, b, c, x))

@given(st.lists(st.tuples(small, small), min_size=1, max_size=9))
def test_errors_are_those_of_torch(pairs):
    a, b = torch.tensor(pairs).T
    torch.testing.assert_close(mae(a, b), F.l1_loss(a, b))
    torch.testing.assert_close(mse(a, b), F.mse_loss(a, b))

@given(small, small, small, small)
def test_a_rectified_line_is_relu(m, b, m2, b2):
    x = torch.linspace(-2, 2, 9)[:, None]
    assert torch.equal(rectified_linear(m, b, x), F.relu(m*x + b))
    assert torch.equal(double_relu(m, b, m2, b2, x), F.relu(m*x + b) + F.relu(m2*x + b2))

@pytest.mark.parametrize('k', [1, 2, 7])
def test_a_sum_of_rectified_lines_is_a_network_with_one_hidden_layer(k):
    p = start_relus(k) + torch.rand(k, 3)
    x = torch.linspace(-2, 2, 11)[:, None]
    net = nn.Sequential(nn.Linear(1, k), nn.ReLU(), nn.Linear(k, 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(p[:, :1])
        net[0].bias.copy_(p[:, 1])
        net[2].weight.copy_(p[None, :, 2])
        torch.testing.assert_close(sum_relus(p, x), net(x))

def test_a_sum_of_two_with_height_one_is_double_relu():
    x = torch.linspace(-2, 2, 11)[:, None]
    two = torch.tensor([[1., .5, 1.], [-2., .3, 1.]])
    torch.testing.assert_close(sum_relus(two, x), double_relu(1., .5, -2., .3, x))

def test_rectified_lines_start_with_their_corners_spread():
    p = start_relus(4, -2, 3)
    torch.testing.assert_close(-p[:, 1] / p[:, 0], torch.tensor([-1., 0., 1., 2.]))
    assert p[:, 0].tolist() == [1, -1, 1, -1]
    assert start_relus(1, 0, 4)[0, 1] == -2
    assert torch.equal(start_relus(5), start_relus(5))
    assert not torch.equal(start_relus(5), start_relus(5, seed=1))
    with refused('0 rectified lines'): start_relus(0)

def test_more_rectified_lines_fit_better():
    x = torch.linspace(-2, 2, 51)[:, None]
    y = torch.sin(3*x) + x
    def end(k):
        path = descend(partial(relu_loss, x=x, y=y), start_relus(k), lr=.05, steps=600, opt_func=torch.optim.Adam)
        return path.loss.iloc[-1]
    one, two, twenty = end(1), end(2), end(20)
    assert one > 1.5 * two
    assert two > 10 * twenty


# Descent

@given(st.floats(.01, .99), st.floats(-5, 5))
@settings(max_examples=30)
def test_on_a_square_each_step_multiplies_by_one_minus_two_lr(lr, start):
    path = descend(square, torch.tensor([start], dtype=torch.float64), lr, 5)
    assert path.p0.tolist() == pytest.approx([start * (1 - 2*lr)**i for i in range(6)], abs=1e-9)
    assert path.loss.tolist() == pytest.approx((path.p0**2).tolist())

@pytest.mark.parametrize('momentum', [0., .5, .9, 1.])
def test_plain_steps_are_those_of_torchs_sgd(momentum):
    def loss(p): return ((p - torch.tensor([1., -2.]))**2 * torch.tensor([1., 5.])).sum() + p.prod().sin()
    p = torch.tensor([3., 1.], requires_grad=True)
    opt = torch.optim.SGD([p], lr=.03, momentum=momentum)
    seen = []
    for _ in range(12):
        seen.append([*p.tolist(), loss(p).item()])
        opt.zero_grad()
        loss(p).backward()
        opt.step()
    path = descend(loss, [3., 1.], .03, 11, momentum)
    np.testing.assert_allclose(path.iloc[:, 1:].to_numpy(), seen, rtol=1e-5, atol=1e-6)

@pytest.mark.parametrize('opt_func', [torch.optim.Adam, partial(torch.optim.SGD, momentum=.9, nesterov=True)])
def test_another_optimiser_takes_its_own_steps(opt_func):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 3), nn.Sigmoid(), nn.Linear(3, 1))
    x = torch.linspace(-3, 3, 20)[:, None]
    params = {n: p.detach().clone() for n, p in net.named_parameters()}
    def loss(params): return mse(functional_call(net, params, (x,)), x**2)
    path = descend(loss, params, .1, 20, opt_func=opt_func)
    opt, losses = opt_func(net.parameters(), lr=.1), []
    for _ in range(21):
        losses.append(mse(net(x), x**2).item())
        opt.zero_grad()
        mse(net(x), x**2).backward()
        opt.step()
    assert path.loss.tolist() == pytest.approx(losses, rel=1e-5)
    weights = [f'0.weight[{i},0]' for i in range(3)] + [f'0.bias[{i}]' for i in range(3)]
    weights += [f'2.weight[0,{i}]' for i in range(3)] + ['2.bias[0]']
    assert list(path.columns) == ['step', *weights, 'loss']
    last = at_step(path, params)
    assert {n: t.shape for n, t in last.items()} == {n: t.shape for n, t in params.items()}
    assert loss(last).item() == pytest.approx(path.loss.iloc[-1], rel=1e-4)

def test_a_path_has_a_row_per_step_and_the_first_is_the_start():
    start = torch.tensor([2., -1.])
    path = descend(square, start, .1, 4, names=('slope', 'intercept'))
    assert list(path.columns) == ['step', 'slope', 'intercept', 'loss']
    assert path.step.tolist() == [0, 1, 2, 3, 4]
    assert path.iloc[0].tolist() == [0, 2, -1, 5]
    assert torch.equal(at_step(path, start, 0), start)
    assert len(descend(square, start, .1, 0)) == 1

def test_the_start_is_not_changed():
    start = torch.tensor([2., -1.])
    descend(square, start, .1, 4)
    assert start.tolist() == [2, -1]
    assert not start.requires_grad and start.grad is None

def test_parameters_of_any_shape_have_names():
    assert list(descend(square, torch.ones(2, 3), .1, 1).columns)[1:3] == ['p[0,0]', 'p[0,1]']
    scalar = descend(lambda p: p['c']**2, {'c': torch.tensor(1.)}, .1, 1)
    assert list(scalar.columns) == ['step', 'c', 'loss']

def test_whole_numbers_are_taken_as_floats_and_doubles_stay_doubles():
    assert descend(square, [2, 1], .1, 1).iloc[1, 1] == pytest.approx(1.6)
    def is_double(p): return p.sum() * (p.dtype == torch.float64)
    assert descend(is_double, torch.ones(2, dtype=torch.float64), .1, 0).loss[0] == 2

def test_a_path_ends_at_the_first_loss_that_is_not_finite():
    path = descend(square, [1.], 10., 1000)
    assert 10 < len(path) < 60
    assert not math.isfinite(path.loss.iloc[-1]) and np.isfinite(path.loss[:-1]).all()

def test_parameters_that_the_loss_does_not_use_stay():
    path = descend(lambda p: p['a']**2, {'a': torch.tensor(1.), 'idle': torch.tensor([5.])}, .1, 3)
    assert path['idle[0]'].tolist() == [5.] * 4
    assert path.a.iloc[-1] < .6

def test_a_descent_works_where_gradients_are_off():
    with torch.no_grad(): assert descend(square, [1.], .1, 3).loss.is_monotonic_decreasing

@pytest.mark.parametrize('change, parts', [
    (dict(steps=-1), ['steps=-1']),
    (dict(steps=1.5), ['steps=1.5']),
    (dict(lr=0), ['lr=0']),
    (dict(lr=float('nan')), ['lr=nan']),
    (dict(momentum=1.5), ['momentum=1.5']),
    (dict(momentum=.9, opt_func=torch.optim.Adam), ['momentum', 'opt_func']),
    (dict(names=['a']), ['1 names', '2 parameters']),
    (dict(loss=lambda p: p), ['one number', 'mean']),
    (dict(loss=lambda p: 3.), ['one number']),
    (dict(loss=lambda p: torch.tensor(p.sum().item())), ['parameters', '.item()']),
])
def test_what_makes_no_sense_is_refused(change, parts):
    with refused(*parts): descend(**dict(loss=square, params=[1., 2.], lr=.1, steps=3) | change)


# In words

@pytest.mark.parametrize('lr, steps, word', [
    (.1, 60, 'Settled'), (.001, 60, 'Still'), (1.2, 20, 'Diverging'), (3., 500, 'Diverged'), (.1, 1, 'The'),
])
def test_a_path_in_words(lr, steps, word):
    path = descend(square, [3.], lr, steps)
    said = describe_path(path)
    assert said.startswith(word)
    assert '\n' not in said

def test_a_crawl_is_told_from_an_arrival_by_the_lowest_possible_loss():
    t, speed = roller_coaster()
    columns = torch.stack([t**2, t, torch.ones(20)], 1)
    solved = torch.linalg.lstsq(columns, speed[:, None]).solution.flatten()
    def loss(p): return mse(mk_quad(*p)(t), speed)
    crawl = descend(loss, [1., -1., 1.], 1e-5, 200)
    said = describe_path(crawl, loss(solved).item())
    assert said.startswith('Crawling') and '9.189' in said
    assert describe_path(crawl).startswith('Settled')
    assert describe_path(descend(square, [3.], .1, 60), 0.).startswith('Arrived')

def test_a_path_that_jumps_or_stands_still_in_words():
    assert describe_path(descend(lambda p: p.abs().sum(), [1.05], .2, 30)).startswith('Jumping')
    assert describe_path(descend(square, [0.], .1, 30)).startswith('Standing')


# The roller coaster, the line, their maps

def test_the_uncentred_roller_coaster_crawls_and_the_scaled_one_arrives():
    t, speed = roller_coaster()
    solved = torch.linalg.lstsq(torch.stack([t**2, t, torch.ones(20)], 1), speed[:, None]).solution.flatten()
    def loss(p, t): return mse(mk_quad(*p)(t), speed)
    lowest = loss(solved, t).item()
    raw = descend(partial(loss, t=t), [1., -1., 1.], 1e-5, 100)
    scaled = descend(partial(loss, t=standardise(t)), [1., -1., 1.], .3, 50)
    wild = descend(partial(loss, t=t), [1., -1., 1.], 1e-4, 100)
    assert 550 < raw.loss[10] < 700 and raw.loss[10] - raw.loss[100] < 2
    assert scaled.loss.iloc[-1] == pytest.approx(lowest, rel=.02) and lowest < 15
    assert not math.isfinite(wild.loss.iloc[-1])

def test_standardise():
    s = standardise(torch.tensor([1., 2., 6.]))
    assert s.mean().item() == pytest.approx(0, abs=1e-6)
    assert s.std(correction=0).item() == pytest.approx(1)
    with refused('equal'): standardise(torch.ones(3))

@pytest.mark.parametrize('centred', [True, False])
def test_the_line_is_lowest_at_its_least_squares_solution_and_the_map_shows_it(centred):
    p = line_problem(centred)
    assert isinstance(p, LineProblem) and torch.equal(p.t, torch.arange(20.))
    w = p.best.clone().requires_grad_()
    grad = torch.autograd.grad(p.loss(w), w)[0]
    assert grad.abs().max() < 1e-3 * (1 if centred else 100)
    s = line_surface(p)
    i, j = divmod(s.loss.argmin().item(), len(s.x))
    assert (s.x[j] - p.best[0]).abs() <= (s.x[1] - s.x[0])
    assert (s.y[i] - p.best[1]).abs() <= (s.y[1] - s.y[0])
    assert s.names == ('slope', 'intercept')

def test_a_surface_is_the_loss_at_each_place():
    def loss(p): return (p[0] - 1)**2 + 3 * p[1] + p[2]**3
    s = loss_surface(loss, [9., 5., 2.], vary=(2, 0), spans=((-1, 1), (0, 4)), n=5)
    for i in range(5):
        for j in range(5):
            there = loss(torch.tensor([s.y[i], 5., s.x[j]])).item()
            assert s.loss[i, j].item() == pytest.approx(there, abs=1e-5)

@pytest.mark.parametrize('vary', [(0, 3), (1, 1), (-1, 0)])
def test_a_surface_varies_two_parameters_that_there_are(vary):
    with refused(f'vary={vary}', '3 parameters'): loss_surface(square, [9., 5., 2.], vary)


# Pictures

@pytest.fixture
def quadratic(): return noisy_quad()

@pytest.fixture(autouse=True)
def none_is_left_open():
    before = plt.get_fignums()
    yield
    assert plt.get_fignums() == before

def test_a_function_is_drawn_with_its_points(quadratic):
    x, y = quadratic
    ax = plot_function(mk_quad(3, 2, 1), 'a title', points=(x, y), ylim=(0, 5)).axes[0]
    dots, line = ax.lines
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), ax.get_ylim()) == ('a title', 'x', 'y', (0, 5))
    assert np.allclose(dots.get_ydata(), y.flatten())
    lx, ly = line.get_xdata().ravel(), line.get_ydata().ravel()
    assert np.allclose(ly, 3 * lx**2 + 2 * lx + 1, atol=1e-4)

def test_losses_have_a_line_and_a_label_each():
    paths = {'one': descend(square, [1.], .1, 5), 'two': descend(square, [2.], .1, 5)}
    ax = plot_losses(paths, log=True, ylim=(.1, 9)).axes[0]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ['one', 'two']
    assert (ax.get_xlabel(), ax.get_yscale(), ax.get_ylim()) == ('step', 'log', (.1, 9))

def test_a_map_names_its_axes_and_shows_the_path():
    p = line_problem()
    path = descend(p.loss, [0., 0.], .1, 5, names=('slope', 'intercept'))
    ax = plot_surface(line_surface(p), path, 'map').axes[0]
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ('map', 'slope', 'intercept')
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ['lowest', 'path', 'start']

def test_predictions_have_a_panel_each(quadratic):
    t, speed = roller_coaster()
    assert len(show_preds(t, speed, {'a': speed, 'b': speed * 0}).axes) == 2
    x, y = quadratic
    assert [ax.get_title() for ax in show_preds(x, y, {'a': y, 'b': y, 'c': y}).axes] == ['a', 'b', 'c']

def test_a_figure_can_be_drawn_into_again(quadratic):
    x, y = quadratic
    fig = plot_function(mk_quad(1, 1, 1), points=(x, y))
    draw = [
        lambda: plot_function(mk_quad(3, 2, 1), fig=fig),
        lambda: plot_surface(line_surface(line_problem()), fig=fig),
        lambda: plot_losses({'a': descend(square, [1.], .1, 2)}, fig=fig),
        lambda: show_preds(x, y, {'a': y}, fig=fig),
    ]
    for again in draw:
        fig.clear()
        assert again() is fig and len(fig.axes) == 1

def test_a_path_that_leaves_the_map_is_drawn_as_far_as_it_is_finite():
    p = line_problem(centred=False)
    path = descend(p.loss, [0., 0.], 1., 300, names=('slope', 'intercept'))
    assert not math.isfinite(path.loss.iloc[-1])
    fig = plot_surface(line_surface(p), path)
    fig.savefig(io.BytesIO(), format='png')
    drawn = next(line for line in fig.axes[0].lines if line.get_label() == 'path')
    assert 1 < len(drawn.get_xdata()) <= len(path) and np.isfinite(drawn.get_xdata()).all()

def test_a_digit_as_a_table_of_its_numbers():
    x = torch.arange(12, dtype=torch.uint8).view(1, 3, 4) * 20
    html = pixel_table(x).to_html()
    assert html == pixel_table(x[0]).to_html()
    assert html.count('<td') == 12 and '>220</td>' in html and 'background-color' in html
    assert pixel_table(x, slice(1, 2), slice(0, 2)).to_html().count('<td') == 2
    assert '0.50' in pixel_table(torch.full((2, 2), .5)).to_html()
    with refused('grey', '(3, 4, 4)'): pixel_table(torch.zeros(3, 4, 4))
