"""Accuracy against cost: the front, and a picture of any comparison"""
from io import BytesIO
import numpy as np, pytest
from hypothesis import given, strategies as st
from matplotlib.text import Text
from fastrecipes.answer.climb import compare
from fastrecipes.answer.costs import cost_points, COSTS, frontier, plot_cost
from conftest import refused
from made import ALIKE, BASE, BETTER, cost, failed, first, made

NAMES = ['similarity', 'sgd', 'linear', 'simple_net', 'mlp', 'resnet18']


def drawn(fig):
    for kind in ('png', 'svg'): fig.savefig(BytesIO(), format=kind)
    ax, = fig.axes
    return ax, [t.get_text() for t in ax.texts]

def test_the_frontier_is_what_no_cheaper_rung_gets_past():
    assert frontier([3, 1, 2, 4], [.9, .5, .4, .95]) == [1, 0, 3]
    assert frontier([1, 1, 1], [.5, .7, .7]) == [1] and frontier([], []) == []

@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8))
def test_the_frontier_by_its_definition(points):
    costs, accuracies = [p[0] for p in points], [p[1] for p in points]
    front = {points[i] for i in frontier(costs, accuracies)}
    def is_beaten(p): return any(c <= p[0] and a >= p[1] and (c, a) != p for c, a in points)
    assert front == {p for p in points if not is_beaten(p)} and len(frontier(costs, accuracies)) == len(front)

@pytest.mark.parametrize('by', COSTS)
def test_every_cost_can_be_drawn_and_the_rung_to_stop_at_is_named_in_words(digits, by):
    c = compare(digits, 'similarity,sgd,linear', device='cpu')
    ax, texts = drawn(plot_cost(c, by))
    assert len(texts) == 3 and [t for t in texts if 'stop here' in t] == [f'{c.verdict.stop_at}: stop here']
    assert COSTS[by] in ax.get_xlabel() and ax.get_xscale() == 'log'

def test_labels_lie_neither_on_each_other_nor_on_points_nor_outside():
    rng = np.random.default_rng(3)
    for _ in range(6):
        times = dict(zip(NAMES, 10 ** rng.uniform(-2, 2, 6)))
        c = made({n: first(int(r)) for n, r in zip(NAMES, rng.integers(1400, 1990, 6))},
                 {n: dict(train=float(t)) for n, t in times.items()})
        fig = plot_cost(c)
        fig.savefig(BytesIO())
        ax, = fig.axes
        boxes = [Text.get_window_extent(t) for t in ax.texts] # Without the line to the point
        points = ax.transData.transform([(r.cost.train_seconds, r.accuracy) for r in c.rungs])
        assert len(boxes) == 6 and not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert not any(b.contains(x, y) for b in boxes for x, y in points)
        assert all(0 <= b.x0 and b.x1 <= fig.bbox.x1 and 0 <= b.y0 and b.y1 <= fig.bbox.y1 for b in boxes)

def with_cost(name, **kwargs): return {name: dict(cost=cost(**kwargs))}

def test_a_cost_of_nothing_stands_at_the_left_and_says_so():
    c = made(dict(similarity=first(1700), sgd=BASE, mlp=BETTER),
        with_cost('similarity', parameters=0) | with_cost('sgd', parameters=785) | with_cost('mlp', parameters=58_625))
    ax, texts = drawn(plot_cost(c, 'parameters'))
    assert texts == ['similarity (0)', 'sgd', 'mlp: stop here'] and ax.get_xlim()[0] > 0
    assert [p.x for p in cost_points(c.fitted_rungs, 'parameters')] == pytest.approx([78.5, 785, 58_625])

def test_failed_rungs_are_left_out_and_unknown_costs_are_named():
    known = cost().model_copy(update=dict(multiply_adds=100))
    c = made(dict(similarity=first(1700), sgd=BASE, linear=ALIKE),
             dict(similarity=dict(cost=known), sgd=dict(cost=known)), others=(failed('mlp'),))
    ax, texts = drawn(plot_cost(c, 'multiply_adds'))
    assert texts == ['similarity', 'sgd: stop here'] and ax.get_xlabel().endswith('linear')

@pytest.mark.parametrize('c', [
    made({}),
    made({}, others=(failed('mlp'),)),
    made(dict(mlp=BASE)),
    made(dict(mlp=first(2000))),
    made(dict(sgd=BASE, mlp=BASE)),
    made(dict(similarity=first(22, 40))),
])
@pytest.mark.parametrize('by', ['train_seconds', 'multiply_adds'])
def test_there_is_a_picture_even_of_little(c, by): drawn(plot_cost(c, by))

def test_a_cost_that_there_is_not_is_refused():
    with refused("'seconds'", 'train_seconds'): plot_cost(made({}), 'seconds')

def test_the_ring_is_where_the_verdict_of_the_comparison_has_it():
    c = made(dict(sgd=BASE, mlp=BETTER))
    elsewhere = c.model_copy(update=dict(decision=c.decision.model_copy(update=dict(stop='sgd', ahead=None))))
    assert drawn(plot_cost(elsewhere))[1] == ['sgd: stop here', 'mlp']

def test_two_rings_mark_the_rungs_that_the_images_cannot_choose_between():
    c = made(dict(sgd=BASE, mlp=BETTER))
    undecided = c.model_copy(update=dict(decision=c.decision.model_copy(update=dict(stop='sgd', ahead='mlp'))))
    assert drawn(plot_cost(undecided))[1] == ['sgd: undecided', 'mlp: undecided']

@pytest.mark.parametrize('costs', [(2.1, 3.3), (2.1, 8.), (.011, .013), (.5, 400.)])
def test_a_cost_axis_has_two_numbers_at_least_however_near_the_costs_are(costs):
    fig = plot_cost(made(dict(sgd=BASE, mlp=BETTER), {n: dict(train=s) for n, s in zip(('sgd', 'mlp'), costs)}))
    fig.canvas.draw()
    low, high = fig.axes[0].get_xlim()
    shown = [t for t in fig.axes[0].xaxis.get_ticklabels() if low <= t.get_position()[0] <= high and t.get_text()]
    assert len(shown) >= 2
