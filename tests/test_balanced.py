"Balanced accuracy, where the classes are uneven: its interval, its test, and where it is shown"
import numpy as np, pytest, torch
from sklearn.metrics import balanced_accuracy_score
from fastrecipes.answer import rules
from fastrecipes.answer.chance import (
    balanced_accuracy, balanced_difference, balanced_interval, image_weights, mid_p, wilson,
)
from fastrecipes.answer.climb import compare
from fastrecipes.answer.comparison import comparison_of, uneven_classes
from fastrecipes.answer.records import Gain
from fastrecipes.answer.report import report_html
from fastrecipes.answer.rules import decide
from fastrecipes.answer.tables import plain, rung_table
from fastrecipes.data.images import ImageSet, Split
from conftest import refused

RNG = np.random.default_rng(0)


def drawn(n=200, recalls=(.9, .8, .5), shares=(10, 5, 1), seed=0):
    "True classes, and who is right"
    rng = np.random.default_rng(seed)
    classes = rng.choice(len(shares), n, p=np.array(shares) / sum(shares))
    return classes, rng.random(n) < np.array(recalls)[classes]

def test_it_is_the_mean_of_the_recalls():
    classes, right = drawn()
    predicted = np.where(right, classes, (classes + 1) % 3)
    assert balanced_accuracy(right, classes) == pytest.approx(balanced_accuracy_score(classes, predicted))
    assert image_weights(classes).mean() == pytest.approx(1)
    seeds = np.stack([right, ~right])
    assert balanced_accuracy(seeds, classes) == pytest.approx(.5)

def test_with_one_class_the_interval_is_wilsons_and_the_test_nearly_mcnemars():
    right = RNG.random(150) < .8
    assert balanced_interval(right, np.zeros(150)) == pytest.approx(wilson(int(right.sum()), 150))
    this = right | (RNG.random(150) < .1)
    won = int((this & ~right).sum())
    found = balanced_difference(right, this, np.zeros(150))
    assert found.gain == pytest.approx(won / 150) and abs(found.p - mid_p(0, won)) < .01

@pytest.mark.parametrize('right', [True, False])
def test_all_right_or_all_wrong_still_has_an_interval(right):
    classes = np.array([0] * 30 + [1] * 5)
    low, high = balanced_interval(np.full(35, right), classes)
    assert 0 <= low < high <= 1 and (high == 1) == right and high - low > .1

def test_a_rare_class_makes_it_less_sure():
    balanced = np.arange(200) % 2
    rare = (np.arange(200) < 10).astype(int)
    right = RNG.random(200) < .8
    width = [np.subtract(*balanced_interval(right, c)[::-1]) for c in (balanced, rare)]
    assert width[1] > 1.5 * width[0]

def test_equal_models_and_their_order():
    classes, right = drawn()
    same = balanced_difference(right, right, classes)
    assert same.gain == 0 and same.p == 1 and same.low < 0 < same.high
    _, other = drawn(seed=1)
    a, b = balanced_difference(right, other, classes), balanced_difference(other, right, classes)
    assert (a.gain, a.low, a.high) == pytest.approx((-b.gain, -b.high, -b.low)) and a.p == pytest.approx(b.p)

@pytest.mark.parametrize('how', ['groups', 'seeds'])
def test_groups_and_seeds_make_it_less_sure(how):
    classes, right = (np.repeat(x, 4) for x in drawn(80))
    alone = balanced_interval(right, classes)
    groups = np.repeat(np.arange(80), 4)
    if how == 'groups': found = balanced_interval(right, classes, groups)
    else: found = balanced_interval(np.stack([right, RNG.permutation(right)]), classes)
    assert found.low <= balanced_accuracy(right, classes) and found.high - found.low > 1.3 * (alone.high - alone.low)
    if how == 'groups':
        this = right | np.repeat(RNG.random(80) < .1, 4)
        assert balanced_difference(right, this, classes, groups).p > balanced_difference(right, this, classes).p

def test_images_that_do_not_fit_are_refused():
    with refused('below and this'): balanced_difference([True] * 3, [True] * 4, [0, 1, 1])

@pytest.mark.slow
@pytest.mark.parametrize('recalls', [(.9, .8, .5), (.99, .95, .6), (1., .98, .9)])
@pytest.mark.parametrize('n', [60, 200])
def test_the_interval_covers_what_it_says(n, recalls):
    held = 0
    for seed in range(400):
        classes, right = drawn(n, recalls, seed=seed)
        low, high = balanced_interval(right, classes)
        held += low <= np.array(recalls)[np.unique(classes)].mean() <= high
    assert .92 <= held / 400 <= .99

@pytest.mark.slow
@pytest.mark.parametrize('n', [60, 300])
def test_equal_models_are_called_better_or_worse_in_about_5_percent_at_most(n):
    called = 0
    for seed in range(300):
        classes, right = drawn(n, seed=seed)
        rng = np.random.default_rng(1000 + seed)
        again = np.where(rng.random(n) < .5, right, rng.random(n) < np.array((.9, .8, .5))[classes])
        called += balanced_difference(right, again, classes).p < .05
    assert called / 300 <= .08


# Judged by both

def gain(points, p, balanced=None):
    words = 'no clear gain' if p >= .05 else 'better' if points > 0 else 'worse'
    interval = (min(points, 0) - 1, max(points, 0) + 1)
    return Gain(gain_points=points, interval_points=interval, p=p, words=words, balanced=balanced)

@pytest.mark.parametrize('first, second, words', [
    ((1, .01), (1, .01), 'better'), ((1, .01), (0, 1), 'better'), ((0, 1), (1, .01), 'better'),
    ((1, .01), (-1, .01), 'no clear gain'), ((0, 1), (-1, .01), 'worse'), ((0, 1), (0, 1), 'no clear gain'),
])
def test_a_step_is_judged_by_both_unless_they_contradict(first, second, words):
    assert gain(*first, gain(*second)).judged == words

def test_without_uneven_classes_it_is_judged_by_accuracy():
    assert gain(1, .01).judged == 'better' and gain(1, .01).balanced is None

def test_a_rung_that_finds_the_rare_class_is_chosen_though_its_accuracy_is_no_higher():
    classes = np.array([0] * 270 + [1] * 30)
    always = classes == 0
    finds = np.concatenate([np.arange(270) >= 22, np.arange(30) < 24]) # 22 false alarms, 24 of 30 found
    rungs = [('always', 1., always), ('finds', 2., finds)]
    assert decide(rungs, least=.85).stop == 'always'
    found = decide(rungs, least=.85, classes=classes)
    assert found.stop == 'finds' and found.pairs[0].judged == 'better' and found.pairs[0].words == 'no clear gain'
    assert found.pairs[0].balanced.gain_points == pytest.approx(100 * (248 / 270 + 24 / 30 - 1) / 2)

def test_p_is_adjusted_for_the_tests_of_both():
    classes, right = drawn(300)
    this = right | (RNG.random(300) < .03)
    one, = rules.tested_pairs([('a', 1., right), ('b', 2., this)])
    both, = rules.tested_pairs([('a', 1., right), ('b', 2., this)], classes=classes)
    assert one.p == both.p and both.p_adjusted >= one.p_adjusted
    assert min(both.p_adjusted / both.p, both.balanced.p_adjusted / both.balanced.p) == pytest.approx(2, rel=.6)


# Where it is shown

@pytest.fixture(scope='module')
def uneven(digits):
    "Threes and sevens, with a fifth of the sevens"
    def few(split):
        is_kept = (split.labels == 3) | ((split.labels == 7) & (torch.arange(len(split)) % 5 == 0))
        rows = is_kept.nonzero().flatten()
        return Split(split.images[rows], (split.labels[rows] == 7).long())
    return ImageSet('uneven', ('3', '7'), few(digits.train), few(digits.valid))

def test_classes_are_uneven_above_one_and_a_half(uneven, digits):
    assert uneven_classes(digits) is None
    assert uneven_classes(uneven).tolist() == uneven.valid.labels.tolist()

def test_a_comparison_of_uneven_classes_shows_it_everywhere(uneven):
    settings = dict(linear=dict(epochs=2))
    c = compare(uneven, 'majority,similarity,linear', device='cpu', settings=settings)
    rung = c['linear'] and c.rungs[-1]
    recalls = [s.recall for s in rung.failures.per_class]
    assert rung.balanced_accuracy == pytest.approx(sum(recalls) / 2)
    assert c.rungs[0].balanced_accuracy == pytest.approx(.5)
    assert rung.balanced_interval.low <= rung.balanced_accuracy <= rung.balanced_interval.high
    assert all(p.balanced is not None for p in c.pairs) and rung.against.balanced == c.pairs[-1].balanced
    assert {'balanced_accuracy', 'balanced_low', 'balanced_high'} <= set(c.table.columns)
    text = plain(*rung_table(c.rungs))
    assert 'balanced' in text.splitlines()[0] and '50.00%' in text and max(map(len, text.splitlines())) <= 80
    assert 'Balanced accuracy' in report_html([c]) and 'balanced' in c._repr_html_()
    assert 'balanced accuracy' in str(c.verdict) and 'balanced' in c.details()

def test_a_comparison_of_even_classes_does_not_have_it(digits):
    c = compare(digits, 'similarity,majority', device='cpu')
    assert all(r.balanced_accuracy is None for r in c.rungs) and c.pairs[0].balanced is None
    assert 'balanced' not in plain(*rung_table(c.rungs)) and 'Balanced' not in report_html([c])
    assert comparison_of(digits, [c['similarity']]).rungs[0].balanced_accuracy is None
