"""Labels of points: where they are placed"""
import pytest
from hypothesis import given, settings, strategies as st
from fastrecipes.plots import Box, label_points, new_figure, place_labels

PAGE = Box(0, 0, 400, 200)
def shared(a, b):
    return max(0, min(a.right, b.right) - max(a.left, b.left)) * max(0, min(a.high, b.high) - max(a.low, b.low))

@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(0, 400), st.floats(0, 200)), min_size=1, max_size=8))
def test_labels_stay_inside_and_the_same_points_give_the_same_places(points):
    sizes = [(40, 11)] * len(points)
    boxes = place_labels(points, sizes, PAGE)
    assert boxes == place_labels(points, sizes, PAGE)
    assert all(shared(b, PAGE) == pytest.approx(440) for b in boxes)

def test_labels_cover_neither_points_nor_each_other_nor_what_is_taken():
    points = [(100 + 12 * i, 100 + i) for i in range(6)]
    taken = [Box(0, 104, 400, 112)]
    boxes = place_labels(points, [(50, 11)] * 6, PAGE, taken)
    dots = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    assert len(set(boxes)) == 6
    for i, box in enumerate(boxes): assert sum(shared(box, other) for other in [*dots, *taken, *boxes[:i]]) < .01

def test_a_label_far_from_its_point_is_joined_to_it():
    fig = new_figure(5, 3)
    ax = fig.subplots()
    points = [(1 + i / 50, 1) for i in range(6)]
    ax.plot(*zip(*points), 'o')
    ax.set(xlim=(0, 3), ylim=(0, 3))
    label_points(ax, points, [f'name_{i}' for i in range(6)], important=2)
    joined = [t.arrow_patch.get_visible() for t in ax.texts]
    assert len(joined) == 6 and 0 < sum(joined) < 6
    assert [t.get_fontweight() for t in ax.texts].count('bold') == 1
