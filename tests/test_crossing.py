"Where one rung overtakes another: found, left out where it may be chance, and said in the verdict and the picture"
import math
import numpy as np, pytest
from fastrecipes.answer.climb import compare
from fastrecipes.answer.crossing import _per_class, _places, crossing_text, crossings
from fastrecipes.answer.curves import plot_curve
from fastrecipes.answer.records import Crossing, Curve

SIZES = [20, 60, 200, 600, 2000]


def answers(accuracies, n=400, seed=0):
    "Right or wrong for each size and image; the same images are hard for all"
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    def draw(accuracy): return (hard + rng.normal(0, .05, n)).clip(0, 1) < accuracy
    return {name: np.stack([draw(a) for a in each]) for name, each in accuracies.items()}

FLAT, RISING, LATE = [.8] * 5, [.5, .6, .7, .88, .92], [.3, .3, .4, .5, .99]


@pytest.mark.parametrize('leads, place', [
    ([-2, -1, 1, 2], 1.5), ([-2, .1, -1, 3], 2.25), ([1, 1, 1, 1], -math.inf), ([-1, -1, -1, -1], math.inf),
    ([-1, 0, 0, 1], 1),
])
def test_the_place_is_where_the_leads_fit_best(leads, place):
    assert _places(np.array([leads], float), np.arange(4.))[0] == pytest.approx(place)

def test_the_leader_is_overtaken_between_two_sizes():
    found, = crossings(SIZES, answers(dict(flat=FLAT, rising=RISING)))
    assert (found.few, found.many) == ('flat', 'rising')
    assert 200 < found.low <= found.images <= found.high < 600

def test_fewer_validation_images_make_it_less_sure():
    def width(n):
        found, = crossings(SIZES, answers(dict(flat=FLAT, rising=RISING), n))
        return math.log((found.high or SIZES[-1]) / (found.low or SIZES[0]))
    assert width(200) > 1.5 * width(3000)

def test_each_leader_in_turn():
    found = crossings(SIZES, answers(dict(flat=FLAT, rising=RISING, late=LATE), 2000))
    assert [(c.few, c.many) for c in found] == [('flat', 'rising'), ('rising', 'late')]
    assert found[0].images < found[1].images

@pytest.mark.parametrize('accuracies', [
    dict(flat=FLAT), dict(flat=FLAT, lower=[.7] * 5), dict(a=FLAT, b=[.79, .8, .81, .8, .81]),
])
def test_lines_that_do_not_cross_or_only_by_chance_have_none(accuracies):
    assert crossings(SIZES, answers(accuracies)) == ()

def test_a_single_size_has_none():
    assert crossings([20], {name: a[:1] for name, a in answers(dict(flat=FLAT, rising=RISING)).items()}) == ()

def test_images_that_belong_together_make_it_less_sure():
    seen = answers(dict(flat=FLAT, rising=RISING), 300)
    groups = np.repeat(np.arange(30), 10)
    tenfold = {name: a[:, ::10].repeat(10, 1) for name, a in seen.items()}
    alone, together = (crossings(SIZES, tenfold, g) for g in (None, groups))
    assert len(alone) == 1 and (not together or together[0].low < alone[0].low)

@pytest.mark.parametrize('images, text', [(12, '6'), (198, '99'), (246, '120'), (24_600, '12,000')])
def test_two_digits_are_enough(images, text):
    assert _per_class(images, 2) == text

@pytest.mark.parametrize('low, high', [(100, None), (None, 400), (None, None)])
def test_open_ends_have_words(low, high):
    text = crossing_text(Crossing(few='a', many='b', images=200, low=low, high=high), 2)
    assert 'None' not in text and '100' in text

def test_a_place_outside_its_interval_is_refused():
    with pytest.raises(ValueError, match='images'): Crossing(few='a', many='b', images=200, low=300, high=400)

def test_a_comparison_says_and_draws_it(digits):
    settings = dict(convnet=dict(epochs=6, filters=(8, 16, 32)))
    c = compare(digits, 'similarity,convnet', device='cpu', settings=settings, curve='all', fractions=(.02, .1, .5, 1))
    found, = c.curve.crossings
    assert (found.few, found.many) == ('similarity', 'convnet')
    text = crossing_text(found, 10)
    assert text in str(c.verdict) and text in ' '.join(str(c).split())
    ax = plot_curve(c.curve).axes[0]
    assert {t.get_text().strip(' \u2190\u2192') for t in ax.texts} >= {'similarity', 'convnet'}
    without = c.curve.model_copy(update=dict(crossings=()))
    assert len(ax.patches) == len(plot_curve(without).axes[0].patches) + 1
    earlier = c.curve.model_dump(mode='json', exclude={'crossings'})
    assert Curve.model_validate(earlier, strict=False).crossings == ()
