"The explorers of curves and gradients without a browser: what they draw, what their controls do, and what they say"
from functools import partial
from math import isfinite
import pytest, torch
from fastrecipes.explore import curves_explorers as ex, gradient_explorers as gr
from fastrecipes.lessons.backprop import backward, forward, net_121
from fastrecipes.explore.controls import still
from fastrecipes.lessons.descent import (
    at_step, descend, line_problem, noisy_quad, quad_mae, relu_loss, start_relus, sum_relus,
)


pytestmark = pytest.mark.usefixtures('strict')

def values(panel, i=0): return panel.pictures.children[i].values

def moved(panel, act):
    "The pictures that are others after `act`, as True and False"
    before = [bytes(p.value) for p in panel.pictures.children]
    act()
    return [bytes(p.value) != b for p, b in zip(panel.pictures.children, before)]

def set_to(panel, **controls):
    for name, v in controls.items(): panel.control(name.replace('_', ' ')).value = v


# The quadratic

def test_the_distances_from_curve_to_points_have_the_mean_in_the_title():
    x, y = noisy_quad()
    ax, = still(ex.draw_quadratic, 4, 3, a=1.1, b=1.1, c=1.1, x=x, y=y).axes
    (lengths,) = [torch.tensor([abs(s[1][1] - s[0][1]) for s in c.get_segments()]) for c in ax.collections]
    assert len(lengths) == 20 and lengths.mean().item() == pytest.approx(2.4219, abs=5e-5)
    assert ax.get_title() == 'mean absolute error 2.42' and (ax.get_xlabel(), ax.get_ylabel()) == ('x', 'y')

def test_a_slider_of_the_quadratic_moves_the_curve_and_the_words():
    q = ex.explore_quadratic()
    for part in ('a −1.35', 'b −0.03', 'c −0.50'): assert part in q.said
    assert moved(q, lambda: set_to(q, a=3.)) == [True]
    assert values(q)['a'] == 3 and 'a −1.35' not in q.said
    assert '3.00x² +1.10x +1.10' in q.pictures.children[0].tooltip

def test_one_gradient_step_goes_where_autograd_says():
    q, (x, y) = ex.explore_quadratic(), noisy_quad()
    set_to(q, a=2., learning_rate=.2)
    p = torch.tensor([2., 1.1, 1.1], requires_grad=True)
    quad_mae(p, x, y).backward()
    q.control('one gradient step').click()
    assert [q.control(n).value for n in 'abc'] == pytest.approx((p - .2 * p.grad).tolist(), abs=1e-5)

def test_a_run_of_the_quadratic_ends_near_the_best_and_starting_again_begins_anew():
    q = ex.explore_quadratic()
    q.control('run').click()
    x, y = noisy_quad()
    assert quad_mae([q.control(n).value for n in 'abc'], x, y) < 1.1 and q.control('run').description == 'run'
    q.control('start again').click()
    assert [q.control(n).value for n in 'abc'] == [1.1] * 3 == [values(q)[n] for n in 'abc']


# ReLUs

def test_the_sum_is_drawn_over_its_pieces_and_the_chosen_one_is_brown():
    params, (x, y) = start_relus(3), ex.relu_curves()['a wave']
    ax, = still(ex.draw_relus, 4, 3, params=params, chosen=2, x=x, y=y).axes
    _, *pieces = [line for line in ax.lines if line.get_linestyle() != 'None']
    assert [line.get_color() == ex.ORANGE for line in pieces] == [False, False, True]
    total = sum(torch.as_tensor(line.get_ydata()) for line in pieces).flatten()
    assert total.allclose(sum_relus(params, x).flatten(), atol=1e-6)
    assert ax.get_title() == f'3 rectified lines: mean squared error {relu_loss(params, x, y):.3f}'

def test_the_sliders_show_and_change_the_piece_that_is_chosen():
    r = ex.explore_relus()
    set_to(r, how_many=3, which=2)
    assert [r.control(n).value for n in ('slope', 'intercept', 'height')] == pytest.approx(start_relus(3)[1].tolist())
    set_to(r, slope=2., intercept=-1., height=.5)
    p = values(r)['params']
    assert p[1].tolist() == [2, -1, .5] and p[2].equal(start_relus(3)[2]) and 'Line 2' in r.said and '0.50' in r.said

def test_more_pieces_keep_the_old_ones_and_fewer_choose_one_that_is_left():
    r = ex.explore_relus()
    set_to(r, slope=2., how_many=4, which=4)
    assert values(r)['params'][0, 0] == 2 and values(r)['params'].shape == (4, 3)
    set_to(r, how_many=2)
    assert values(r)['params'][0, 0] == 2 and r.control('which').value == 2 == r.control('which').max
    assert values(r)['chosen'] == 1

def test_a_dead_piece_is_called_dead():
    r = ex.explore_relus()
    set_to(r, slope=0., intercept=-1.)
    assert 'dead' in r.said and values(r)['params'][0].tolist()[:2] == [0, -1]

@pytest.mark.slow
def test_a_step_and_a_run_of_the_relus_are_those_of_descend():
    r = ex.explore_relus()
    set_to(r, fit='a hill', how_many=4)
    loss, start = partial(relu_loss, **dict(zip('xy', ex.relu_curves()['a hill']))), values(r)['params']
    r.control('one gradient step').click()
    assert values(r)['params'].allclose(at_step(descend(loss, start, .05, 1, .9), start), atol=1e-5)
    begun = loss(values(r)['params'])
    r.control('run').click()
    assert loss(values(r)['params']) < begun / 4
    r.control('start again').click()
    assert values(r)['params'].equal(start_relus(4))

@pytest.mark.parametrize('curve', ex.relu_curves())
def test_every_curve_can_be_fitted_and_fits_on_the_axes(curve):
    x, y = ex.relu_curves()[curve]
    assert x.shape == y.shape and -4 < y.min() and y.max() < 4
    start = start_relus(8)
    assert descend(partial(relu_loss, x=x, y=y), start, .02, 800, .9).loss.iloc[-1] < .15


# The loss surface

def test_the_path_on_the_map_is_the_one_of_descend_from_where_the_sliders_are():
    s, p = gr.explore_surface(), line_problem(False)
    set_to(s, steps=30, momentum=.5, learning_rate=.002)
    surface, path = values(s)['surface'], values(s)['path']
    start = p.best + torch.stack([v[-1] - v[0] for v in (surface.x, surface.y)]) / 2 * torch.tensor([.75, -.7])
    assert path.iloc[0][['slope', 'intercept']].tolist() == pytest.approx(start.tolist(), abs=1e-5)
    lr = s.control('learning rate').value
    assert path.equals(descend(p.loss, start, lr, 30, .5, names=('slope', 'intercept'))) and len(path) == 31

def test_every_slider_of_the_surface_moves_both_pictures():
    s = gr.explore_surface()
    set_to(s, steps=10)
    changes = {'learning rate': .001, 'momentum': .5, 'start, slope': .2, 'start, intercept': .2, 'steps': 11,
               'centre and scale the times': True}
    for name, value in changes.items(): assert moved(s, partial(set_to, s, **{name: value})) == [True, True], name

def test_divergence_and_arrival_are_named():
    s = gr.explore_surface()
    set_to(s, steps=100)
    assert 'Diverg' not in s.said
    set_to(s, learning_rate=.02)
    assert s.said.startswith('Diverg') and 'learning rate' in s.said
    set_to(s, **{'centre and scale the times': True}, learning_rate=.3)
    assert s.said.startswith('Arrived')

def test_a_path_that_leaves_the_map_is_drawn_as_far_as_it_is_near():
    s = gr.explore_surface()
    set_to(s, learning_rate=1., steps=100)
    path = values(s)['path']
    assert len(path) < 101 and not isfinite(path.loss.iloc[-1]) # It ends where the loss is no longer finite
    ax, *_ = s.pictures.children[0].figure.axes
    assert all(abs(v) < 1e4 for line in ax.lines for v in line.get_xdata())

def test_a_step_adds_one_and_a_run_goes_to_the_end_or_until_it_diverges():
    s = gr.explore_surface()
    for _ in range(2): s.control('one step').click()
    assert s.control('steps').value == 2 == len(values(s)['path']) - 1
    set_to(s, steps=95)
    s.control('run').click()
    assert s.control('steps').value == s.control('steps').max == 100
    s.control('start again').click()
    assert s.control('steps').value == 0
    set_to(s, learning_rate=2.)
    s.control('run').click()
    assert 0 < s.control('steps').value < 50 and s.said.startswith('Diverged')


# The network

def test_the_network_is_drawn_with_the_gradients_of_the_lesson():
    fig = still(gr.draw_net, 4.4, 4, x=1., y=3., params=(1, -1, 1, 2, 1, 2, -1))
    texts = {t.get_text() for t in fig.axes[0].texts}
    assert {'−3.3142', '−2.9191', '−2.4229', '−0.3480', '−1.3032'} <= texts

def test_one_sgd_step_gives_the_weights_of_the_lesson_and_leaves_input_and_target():
    n = gr.explore_network()
    n.control('one SGD step').click()
    after = [round(n.control(name).value, 4) for name in gr._network]
    assert after == [1, 3, 1.0348, -.8697, 1.0348, 2.1303, 1.2919, 2.2423, -.6686]
    for number in ('2.226', '3.00', '0.5997'): assert number in n.said

def test_every_slider_of_the_network_moves_the_drawing_to_what_backprop_says():
    n = gr.explore_network()
    for name, (v, *_) in gr._network.items():
        assert moved(n, partial(set_to, n, **{name: v + .5})) == [True], name
    fwd = forward(net_121((1.5, -.5), (1.5, 2.5), (1.5, 2.5), -.5), 1.5)
    assert f'{fwd.pred.item():.3f}' in n.said and f'{backward(fwd, 3.5).loss.item():.4f}' in n.said

def test_a_run_of_the_network_ends_when_it_has_learnt():
    n = gr.explore_network()
    n.control('run').click()
    assert float(n.said.split()[-1].rstrip('.')) < 1e-4 and n.control('input x').value == 1
    n.control('start again').click()
    assert n.control('b of h₂').value == 2


# All

@pytest.mark.parametrize('make', [ex.explore_quadratic, ex.explore_relus, gr.explore_surface, gr.explore_network])
def test_every_explorer_has_a_title_a_text_named_controls_and_pictures_with_words(make):
    p = make()
    assert p.title and 80 < len(p.children[0].value.split('<p>')[1]) < 400
    names = [c.description for c in p.controls.children if getattr(c, 'description', '')]
    assert len(names) == len(set(names)) >= 4 and all(len(c.tooltip) > 20 and c.value for c in p.pictures.children)

def test_a_step_beyond_a_slider_is_kept_and_said():
    net = gr.explore_network()
    net.control('learning rate').value = 1.
    net.control('one SGD step').click()
    assert net.control('w from h₂').value == 4 and 'w from h₂ 4.42' in net.said
    relus = ex.explore_relus()
    set_to(relus, learning_rate=1., momentum=0., height=6.)
    relus.control('one gradient step').click()
    slope, height = values(relus)['params'][0, 0].item(), relus.control('height').value
    set_to(relus, height=1. if height != 1 else 2.)
    assert abs(slope) > 6 and values(relus)['params'][0, 0].item() == slope
