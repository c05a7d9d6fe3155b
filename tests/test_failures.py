"Where a rung fails: by hand, against scikit-learn and fastai, by simulation, and whatever the scores"
import math
from dataclasses import replace
import numpy as np, pytest, torch
from conftest import refused
from hypothesis import given, strategies as st
from sklearn.metrics import classification_report, log_loss
from fastrecipes.answer.failures import (
    BINS, failures_of, most_confused, per_class_table, reliability, shared_failures, worst_table,
)
from fastrecipes.ladder.fitted import Judged
from fastrecipes.ladder.recipe import fit
from fastrecipes.lessons.sgd import class_probs


def judged(scores, targets, has_probs=True):
    return Judged(torch.tensor(scores, dtype=torch.float32), torch.tensor(targets, dtype=torch.int64), has_probs)

def logits(*rows): return [[math.log(p) for p in row] for row in rows]

def plain(value):
    "`value`, which must be strict JSON and the same when it is read again"
    assert type(value).model_validate_json(value.model_dump_json()) == value
    return value


@pytest.fixture(scope='module')
def three(threes_sevens):
    "Three rungs on the digits 3 and 7: no probabilities, by hand, through a Learner"
    return {n: fit(n, threes_sevens, seed=3, device='cpu', **s)
            for n, s in (('similarity', {}), ('sgd', {'epochs': 3}), ('mlp', {'epochs': 3}))}

@pytest.fixture(scope='module')
def ten(digits):
    return {n: fit(n, digits, seed=3, device='cpu', **s)
            for n, s in (('similarity', {}), ('linear', {'epochs': 3}), ('mlp', {'epochs': 3}))}


# By hand

HAND = judged(logits([.7, .2, .1], [.3, .6, .1], [.5, .4, .1], [.25, .25, .5], [.05, .9, .05]), [0, 0, 1, 1, 1])

def test_the_confusion_matrix_has_a_row_a_true_class_and_a_column_an_answer():
    assert plain(failures_of(HAND, 'abc')).confusion == ((1, 1, 0), (1, 1, 1), (0, 0, 0))

def test_shares_of_each_class_are_null_where_there_is_nothing_to_divide_by():
    a, b, c = failures_of(HAND, 'abc').per_class
    assert dict(a) == dict(name='a', precision=.5, recall=.5, f1=.5, images=2)
    assert (b.precision, b.recall, b.images) == (.5, pytest.approx(1 / 3), 3)
    assert b.f1 == pytest.approx(2 * .5 / 3 / (.5 + 1 / 3))
    assert dict(c) == dict(name='c', precision=0, recall=None, f1=0, images=0), 'answered once, and there are none'
    never = failures_of(judged([[1., 0], [1, 0]], [0, 1]), 'ab').per_class[1]
    assert dict(never) == dict(name='b', precision=None, recall=0, f1=0, images=1), 'never answered'
    absent = failures_of(judged([[1., 0], [1, 0]], [0, 0]), 'ab').per_class[1]
    assert dict(absent) == dict(name='b', precision=None, recall=None, f1=None, images=0), 'neither answered nor there'

def test_the_worst_images_are_those_with_the_highest_loss_right_or_wrong():
    worst = failures_of(HAND, 'abc', worst=4).worst
    assert [(w.image, w.true, w.predicted) for w in worst] == [(3, 'b', 'c'), (1, 'a', 'b'), (2, 'b', 'a'),
                                                               (0, 'a', 'a')]
    assert [w.probability for w in worst] == pytest.approx([.5, .6, .5, .7])
    assert [w.loss for w in worst] == pytest.approx([-math.log(p) for p in (.25, .3, .4, .7)])

def test_calibration_by_hand():
    "Confidences .5 .5 .6 .7 .9, of which the last two are right: too few for two bins"
    c = failures_of(HAND, 'abc').calibration
    only, = c.bins
    assert (only.images, only.accuracy) == (5, .4)
    assert (only.low, only.confidence, only.high) == pytest.approx((.5, .64, .9))
    assert (c.ece, c.gap) == pytest.approx((.24, .24)) and 0 <= c.excess < c.ece

@pytest.mark.parametrize('n, sizes', [(19, [19]), (39, [39]), (40, [20, 20]), (300, [20] * 15), (3000, [200] * 15)])
def test_bins_have_as_many_images_each_and_at_least_20(n, sizes):
    confidence = np.linspace(.3, 1, n)
    bins = reliability(confidence, np.ones(n, bool)).bins
    assert [b.images for b in bins] == sizes and (bins[0].low, bins[-1].high) == (pytest.approx(.3), 1)

def test_images_with_the_same_confidence_share_a_bin():
    bins = reliability([.6] * 50 + [.9] * 70, [True] * 120).bins
    assert [(b.images, b.low, b.high) for b in bins] == [(50, .6, .6), (70, .9, .9)]

def test_the_error_has_its_sign_and_what_honest_probabilities_would_show_is_taken_off():
    confidence = np.repeat([.6, .8], 50)
    sure, modest = (reliability(confidence, np.arange(100) % 10 < right) for right in (5, 10))
    assert (sure.gap, modest.gap) == pytest.approx((.2, -.3)) and (sure.ece, modest.ece) == pytest.approx((.2, .3))
    assert sure.p < .01 and modest.p < .01 and .1 < sure.excess < sure.ece

def test_without_probabilities_wrong_images_come_by_margin_and_give_no_probability():
    scores = [[-1., -4, -9], [-3, -2, -9], [-1, -2, -3], [-8, -2, -1], [-1, -3, -2]]
    f = plain(failures_of(judged(scores, [1, 0, 2, 0, 0], has_probs=False), 'abc'))
    assert f.calibration is None
    assert [(w.image, w.predicted) for w in f.worst] == [(3, 'c'), (0, 'a'), (2, 'a'), (1, 'b')]
    assert {(w.probability, w.loss) for w in f.worst} == {(None, None)}
    one = failures_of(judged([[2.], [-3.], [1.], [-.5]], [0, 1, 1, 1], has_probs=False), 'ab').worst
    assert [w.image for w in one] == [1, 0, 3], 'one score for two classes'

def test_ties_stay_in_the_order_of_the_images_and_a_score_of_nought_says_the_first_class():
    f = failures_of(judged([[0.]] * 5, [0, 1, 0, 1, 0]), 'ab', worst=3)
    assert [w.image for w in f.worst] == [0, 1, 2] and f.confusion == ((3, 0), (2, 0))
    without_probs = judged([[1., 1, 1]] * 4, [1, 2, 0, 1], has_probs=False)
    assert [w.image for w in failures_of(without_probs, 'abc').worst] == [0, 1, 3]
    many = judged([[1., 1, 1]] * 10_000, [1, 2] * 5_000)
    assert [w.image for w in failures_of(many, 'abc', worst=500).worst] == list(range(500))

def test_scores_of_any_size_give_finite_numbers():
    for s in ([[3e38], [-3e38]], [[3e38, -3e38], [-3e38, 3e38]]):
        f = plain(failures_of(judged(s, [0, 0]), 'ab'))
        assert f.worst[0].loss > 1e38 and f.worst[0].probability == 1 and f.calibration.ece == .5

def test_a_probability_is_as_exact_as_float64_is():
    w, = failures_of(judged([[20.]], [1]), 'ab').worst
    assert w.probability == pytest.approx(1 / (1 + math.exp(-20)), abs=1e-15)
    assert w.probability < 1 and w.loss == pytest.approx(math.exp(-20), rel=1e-6)

def test_one_image_is_enough():
    f = plain(failures_of(judged([[2.]], [1]), ['no', 'yes']))
    assert (f.confusion, len(f.worst), len(f.calibration.bins)) == (((0, 0), (0, 1)), 1, 1)

def test_a_thousand_classes_work_most_of_them_without_an_image():
    rng = torch.Generator().manual_seed(0)
    f = failures_of(Judged(torch.randn(300, 1000, generator=rng), torch.randint(0, 1000, (300,), generator=rng), True),
                    map(str, range(1000)))
    counts = np.array(f.confusion)
    assert counts.shape == (1000, 1000) and counts.sum() == 300 and sum(p.images for p in f.per_class) == 300
    plain(f)

@pytest.mark.parametrize('bad, classes, wanted', [
    (judged([[math.nan], [1.]], [0, 1]), 'ab', ('1 of 2', 'NaN', 'learning rate')),
    (judged([[0., math.inf]], [0]), 'ab', ('1 of 1', 'infinite')),
    (judged(np.zeros((0, 2)), []), 'ab', ('no image', 'at least one')),
    (judged([[0., 1]], [0]), 'abc', ('(1, 2)', '3 classes', '(1, 3)')),
    (judged([[0.], [1]], [0]), 'ab', ('(2, 1)', '1 images')),
    (judged([[0.]], [0]), 'abc', ('(1, 1)', '(1, 3)')),
    (judged([[0., 1]], [2]), 'ab', ('labels run from 2 to 2',)),
    (judged([[0., 1]], [-1]), 'ab', ('labels run from -1',)),
    (judged([[0.]], [0]), None, ('class names',)),
])
def test_what_cannot_be_judged_is_refused(bad, classes, wanted):
    with refused(*wanted): failures_of(bad, classes)
    with refused(*wanted): shared_failures({'a': bad}, classes)


# Against others

def test_scikit_learn_agrees_about_every_class(ten, digits):
    for f in ten.values():
        report = classification_report(f.targets, f.predictions, target_names=digits.classes, output_dict=True,
                                       zero_division=np.nan)
        for row in failures_of(f).per_class:
            ours = [row.precision, row.recall, row.f1, row.images]
            theirs = [report[row.name][k] for k in ('precision', 'recall', 'f1-score', 'support')]
            assert ours == pytest.approx(theirs)

def test_scikit_learn_agrees_about_every_loss(ten, three):
    for f in (ten['linear'], ten['mlp'], three['sgd'], three['mlp']):
        worst = failures_of(f, worst=10**6).worst
        assert sorted(w.image for w in worst) == list(range(len(f.targets)))
        p = class_probs(f.scores.double())
        for w in worst:
            loss = log_loss([int(f.targets[w.image])], p[w.image][None], labels=range(p.shape[1]))
            assert w.loss == pytest.approx(loss, rel=1e-3, abs=1e-6)
        assert np.mean([w.loss for w in worst]) == pytest.approx(f.loss)
        assert [w.probability for w in worst] == pytest.approx(p.amax(1)[[w.image for w in worst]].tolist(), abs=1e-6)

def test_fastais_interpretation_agrees_where_there_is_a_learner(ten, digits):
    from fastai.interpret import ClassificationInterpretation
    f, ours = ten['mlp'], failures_of(ten['mlp'])
    with f.learner.no_bar():
        interp = ClassificationInterpretation.from_learner(f.learner)
        assert interp.confusion_matrix().tolist() == list(map(list, ours.confusion))
        confused = interp.most_confused()
    losses, numbers = interp.top_losses(12)
    assert numbers.tolist() == [w.image for w in ours.worst]
    assert losses.tolist() == pytest.approx([w.loss for w in ours.worst], rel=1e-4)
    table = most_confused(ours, digits.classes, 1000)
    assert {tuple(r)[:3] for r in table.itertuples(index=False)} == {(t, p, int(n)) for t, p, n in confused}
    assert table.images.is_monotonic_decreasing

def test_a_fitted_recipe_is_enough_and_means_its_validation_images(three):
    for f in three.values(): assert plain(failures_of(f)) == failures_of(f.valid, f.classes)
    assert plain(shared_failures(three)) == shared_failures({n: f.valid for n, f in three.items()}, '37')


# Calibration by simulation

def two_classes(p, right):
    "Binary predictions with confidences `p` in the answer 1, which is `right` or not"
    p = np.asarray(p)
    return judged(np.log(p / (1 - p))[:, None], np.asarray(right, dtype=int))

def test_calibrated_predictions_have_next_to_no_error():
    rng = np.random.default_rng(0)
    p = rng.uniform(.5, 1, 200_000)
    c = failures_of(two_classes(p, rng.random(len(p)) < p), 'ab').calibration
    assert c.ece < .006 and abs(c.gap) < .003 and c.p > .05 and c.excess < .002 and len(c.bins) == BINS
    assert .5 <= min(b.low for b in c.bins) < .501
    assert all(abs(b.accuracy - b.confidence) < .02 for b in c.bins)

@pytest.mark.parametrize('says, is_right', [(.97, .8), (.7, .95), (.9, .6)])
def test_the_error_of_one_who_is_wrongly_sure_is_known(says, is_right):
    rng = np.random.default_rng(1)
    c = failures_of(two_classes(np.full(50_000, says), rng.random(50_000) < is_right), 'ab').calibration
    assert c.ece == pytest.approx(abs(says - is_right), abs=.01) and len(c.bins) == 1
    assert c.gap == pytest.approx(says - is_right, abs=.01) and c.p < .01

def test_sharpened_scores_of_ten_classes_have_the_error_that_follows():
    rng = np.random.default_rng(2)
    s = rng.normal(size=(40_000, 10)) * 1.5
    p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    y = (p.cumsum(1) > rng.random((len(p), 1))).argmax(1)
    honest, sure = (failures_of(judged(s * t, y), map(str, range(10))).calibration for t in (1, 3))
    q = np.exp(3 * s) / np.exp(3 * s).sum(1, keepdims=True)
    assert honest.ece < .015 and sure.ece == pytest.approx((q.max(1) - p.max(1)).mean(), abs=.015) and sure.ece > .2


def share_off(n, gap, draw, tries=150):
    "How often probabilities are called off that are too high by `gap`"
    rng, off = np.random.default_rng(0), []
    for _ in range(tries):
        confidence = draw(rng, n)
        off.append(reliability(confidence, rng.random(n) < confidence - gap).p < .05)
    return np.mean(off)

def of_two_classes(rng, n): return rng.uniform(.5, 1, n)
def of_ten_classes(rng, n): return rng.beta(3, 2, n) * .9 + .1

@pytest.mark.parametrize('n', [200, 1000])
@pytest.mark.parametrize('draw', [of_two_classes, of_ten_classes])
def test_honest_probabilities_are_called_off_in_5_percent_at_most(n, draw):
    assert share_off(n, 0, draw) <= .05 + 3 * (.05 * .95 / 150)**.5

def test_6_points_of_overconfidence_are_noticed_by_400_images():
    assert share_off(400, .06, of_two_classes) >= .6


# Whatever the scores

@st.composite
def any_judged(draw, rungs=1):
    "What some rungs say about the same few images, in any of the shapes that scores have"
    n, k = draw(st.integers(1, 25)), draw(st.integers(2, 5))
    targets = draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n))
    def one():
        width = 1 if k == 2 and draw(st.booleans()) else k
        row = st.lists(st.floats(-50, 50, width=32), min_size=width, max_size=width)
        return judged(draw(st.lists(row, min_size=n, max_size=n)), targets, draw(st.booleans()))
    return [one() for _ in range(rungs)], 'abcde'[:k]

@given(any_judged())
def test_the_parts_agree_with_each_other(drawn):
    (j,), classes = drawn
    f, n = plain(failures_of(j, classes, worst=7)), len(j.targets)
    counts, right = np.array(f.confusion), (j.predictions == j.targets).numpy()
    assert counts.sum() == n and np.trace(counts) == right.sum()
    images = [p.images for p in f.per_class]
    assert counts.sum(1).tolist() == images == j.targets.bincount(minlength=len(classes)).tolist()
    for c, p in enumerate(f.per_class):
        assert p.recall == (pytest.approx(counts[c, c] / counts[c].sum()) if counts[c].sum() else None)
        assert p.precision == (pytest.approx(counts[c, c] / counts[:, c].sum()) if counts[:, c].sum() else None)
    assert len(f.worst) == min(7, n if j.has_probs else n - right.sum())
    assert len({w.image for w in f.worst}) == len(f.worst)
    for w in f.worst: assert (w.true, w.predicted) == (classes[j.targets[w.image]], classes[j.predictions[w.image]])
    if j.has_probs:
        losses = [w.loss for w in f.worst]
        assert losses == sorted(losses, reverse=True)
        assert min(losses) >= 0 and all(1 / len(classes) - 1e-6 <= w.probability <= 1 for w in f.worst)
        bins = f.calibration.bins
        assert sum(b.images for b in bins) == n
        assert min(b.images for b in bins) > 0
        assert [b.low for b in bins] == sorted({b.low for b in bins}) and len(bins) <= BINS
        assert sum(b.images * b.accuracy for b in bins) == pytest.approx(right.sum()) and 0 <= f.calibration.ece <= 1
        confidence = sum(b.images * b.confidence for b in bins) / n
        assert abs(right.mean() - confidence) <= f.calibration.ece + 1e-9, 'at least the difference of the means'
    else: assert f.calibration is None and all(w.true != w.predicted for w in f.worst)

@given(any_judged(rungs=3), st.integers(0, 4))
def test_what_rungs_share_is_an_intersection(drawn, most):
    rungs, classes = drawn
    named = dict(zip(('low', 'middle', 'top'), rungs))
    s = plain(shared_failures(named, classes, most=most))
    right = {n: (j.predictions == j.targets).numpy() for n, j in named.items()}
    missed = ~right['low'] & ~right['middle'] & ~right['top']
    only = right['top'] & ~right['low'] & ~right['middle']
    assert s.only_top.recipe == 'top'
    for entry, wanted in ((s.missed_by_all, missed), (s.only_top, only)):
        numbers = [e.image for e in entry.images]
        assert entry.count == wanted.sum()
        assert len(numbers) == min(most, entry.count) == len(set(numbers)) and wanted[numbers].all()
        for e in entry.images:
            assert e.true == classes[rungs[0].targets[e.image]]
            assert e.predicted == {n: classes[j.predictions[e.image]] for n, j in named.items()}


# What the rungs share

def test_images_that_all_miss_come_by_the_top_rungs_loss_and_those_it_alone_gets_by_how_sure_it_is():
    y = [0] * 6
    below = judged([[1.], [1], [1], [1], [-1], [1]], y)
    top = judged([[2.], [-1], [5], [-3], [-9], [-2]], y)
    s = shared_failures(dict(low=below, top=top), 'ab')
    assert [e.image for e in s.missed_by_all.images] == [2, 0] and [e.image for e in s.only_top.images] == [3, 5, 1]
    blind = shared_failures(dict(low=below, top=top._replace(has_probs=False)), 'ab')
    assert blind == s, 'margins of one score are in the order of its losses'
    two = judged(torch.cat([-top.scores, top.scores], 1).tolist(), y, has_probs=False)
    assert shared_failures(dict(low=below, top=two), 'ab') == s

def test_one_rung_has_nothing_that_only_it_gets_right():
    assert shared_failures({'a': HAND}, 'abc').only_top is None
    assert shared_failures({'a': HAND}, 'abc').missed_by_all.count == 3

def test_rungs_that_were_judged_by_different_images_are_refused(three, ten):
    assert shared_failures({}, 'ab').missed_by_all.count == 0
    with refused('b and a', 'different images'):
        shared_failures(dict(a=judged([[1.]], [0]), b=judged([[1.]], [1])), 'ab')
    with refused('different images'): shared_failures(dict(a=judged([[1.]], [0]), b=judged([[1.], [1]], [0, 0])), 'ab')
    with refused('different images'): shared_failures(dict(a=three['mlp'], b=ten['mlp']))
    with refused('different images'):
        shared_failures(dict(a=three['mlp'], b=replace(three['mlp'], classes=('three', 'seven'))))


# Tables

def test_the_tables_hold_what_the_values_say(ten):
    f = failures_of(ten['mlp'])
    t, w, none = per_class_table(f), worst_table(f), worst_table(failures_of(ten['similarity']))
    assert t.recall.tolist() == pytest.approx([r.recall for r in f.per_class])
    assert list(t) == ['precision', 'recall', 'f1', 'images'] and t.index.name == 'class'
    assert w.index.tolist() == [e.image for e in f.worst] and w.loss.tolist() == [e.loss for e in f.worst]
    assert none.loss.isna().all()
    assert len(none) == 12 and len(worst_table(failures_of(judged([[1.]], [1], has_probs=False), 'ab'))) == 0
    assert math.isnan(per_class_table(failures_of(HAND, 'abc')).recall['c'])
    confused = most_confused(failures_of(HAND, 'abc'), 'abc').values.tolist()
    assert confused == [['a', 'b', 1, .5], ['b', 'a', 1, 1 / 3], ['b', 'c', 1, 1 / 3]]
