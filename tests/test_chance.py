"""Is it luck? The intervals and tests against hand-worked cases, against statsmodels, and by simulation"""
import math, random
from itertools import product
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from scipy.stats import binom, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.proportion import proportion_confint
from conftest import refused
from fastrecipes.answer.chance import (
    Difference, in_words, mcnemar, over_seeds, paired_difference, seeds_difference, wilson,
)

def rights(only_below, only_this, both=0, neither=0):
    "Two lists of right and wrong with so many images in each of the four cells"
    same = [True] * both + [False] * neither
    below = [True] * only_below + [False] * only_this + same
    this = [False] * only_below + [True] * only_this + same
    return below, this


# One accuracy

@pytest.mark.parametrize('right, n, low, high', [
    (81, 263, .2553, .3662), (15, 148, .0624, .1605), (0, 20, 0., .1611), (1, 29, .0061, .1718)]) # Newcombe 1998
def test_wilson_gives_the_published_intervals(right, n, low, high):
    assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)

def test_wilson_by_hand():
    """9 of 10, z² = 1.96² = 3.8415: centre (0.9 + 3.8415/20) / (1 + 3.8415/10) = 1.09207 / 1.38415 = 0.78899,
    half 1.95996 / 1.38415 * sqrt(0.9 * 0.1 / 10 + 3.8415 / 400) = 1.41601 * 0.136393 = 0.19313"""
    assert wilson(9, 10) == pytest.approx((.59585, .98212), abs=2e-5)

def test_wilson_is_statsmodels_for_every_count_and_level():
    for n, level in product((1, 2, 7, 60, 360), (.8, .95, .99)):
        for right in range(n + 1):
            assert wilson(right, n, level) == pytest.approx(
                proportion_confint(right, n, 1 - level, 'wilson'), abs=1e-12)

def test_an_interval_holds_the_accuracy_lies_in_0_to_1_and_says_something_when_all_are_right():
    for n in (1, 10, 400):
        for right in range(n + 1):
            low, high = wilson(right, n)
            assert 0 <= low <= right / n <= high <= 1 and high - low > 1 / n / 2
    low, high = wilson(400, 400)
    assert high == 1 and .98 < low < .995

def test_counts_come_as_numpy_and_torch_have_them():
    assert wilson(np.int64(9), 10) == wilson(torch.tensor(9), torch.tensor(10)) == wilson(9, 10)

@pytest.mark.parametrize('args, wanted', [
    ((11, 10), '11 right of 10'), ((-1, 10), '-1 right of 10'), ((0, 0), '0 right of 0'), ((.9, 10), 'right=0.9'),
    ((9, 10.), 'n=10.0'), ((9, 10, 95), 'level=95'), ((9, 10, 0), 'level=0')])
def test_what_is_no_accuracy_is_refused(args, wanted):
    with refused(wanted): wilson(*args)


# Two models on the same images

@pytest.mark.parametrize('only_below, only_this, p', [
    (1, 10, 2 * (1 + 11) / 2**11), # Of 11 tosses, none or one on the one side or on the other
    (0, 4, 2 / 2**4), (0, 5, 2 / 2**5), (0, 6, 2 / 2**6), (0, 1, 1.), (1, 1, 1.), (2, 3, 1.), (0, 0, 1.),
    (2, 8, 2 * (1 + 10 + 45) / 2**10)])
def test_mcnemar_by_hand(only_below, only_this, p):
    for both, neither in ((0, 1), (50, 3)):
        assert mcnemar(*rights(only_below, only_this, both, neither)) == pytest.approx(p)
        assert mcnemar(*rights(only_this, only_below, both, neither)) == pytest.approx(p)

def test_mcnemar_is_statsmodels_exact():
    for b, c in product(range(0, 30, 3), range(0, 30, 4)):
        assert mcnemar(*rights(b, c, 20, 5)) == pytest.approx(
            their_mcnemar([[20, b], [c, 5]], exact=True).pvalue, abs=1e-12)

def test_the_gain_and_its_sign_and_words():
    better, worse = paired_difference(*rights(2, 20, 170, 8)), paired_difference(*rights(20, 2, 170, 8))
    assert better.gain == pytest.approx(18 / 200) and better.words == 'better'
    assert 0 < better.low < better.gain < better.high and better.p == mcnemar(*rights(2, 20))
    assert worse.words == 'worse' and worse[:3] == pytest.approx((-better.gain, -better.high, -better.low))
    assert worse.p == better.p
    assert paired_difference(*rights(3, 5, 180, 12)).words == 'no clear gain'

def test_p_decides_the_words_whatever_the_interval_says():
    """0 and 5: p = 2/32 = 0.0625.

    The bootstrapped interval begins above 0 or at it all the same, since five tosses that all fall one way are
    rare in its world of 5.5 to 0.5"""
    d = paired_difference(*rights(0, 5, 190, 5))
    assert d.p == pytest.approx(.0625) and d.words == 'no clear gain' and d.low >= 0
    words = [in_words(g, p) for g, p in ((.1, .0499), (.1, .05), (-.1, .0499), (-.1, .05), (0., .01))]
    assert words == ['better', 'no clear gain', 'worse', 'no clear gain', 'no clear gain']

@pytest.mark.parametrize('n', [1, 2, 20, 360, 10_000])
def test_models_that_agree_on_every_image_are_not_shown_to_be_equal(n):
    right = np.arange(n) % 10 > 0
    d = paired_difference(right, right)
    assert (d.gain, d.p, d.words) == (0, 1, 'no clear gain') and d.low < 0 < d.high and d.high - d.low >= min(2 / n, 1)
    assert d.high <= 3 / n
    assert d.low >= -3 / n # The rule of three: with nothing seen among n, more than 3/n is out of the question

def test_the_interval_is_near_that_of_resampled_images():
    rng = np.random.default_rng(1)
    below = rng.random(600) < .9
    this = np.where(rng.random(600) < .8, below, rng.random(600) < .95)
    images = rng.integers(0, 600, (4000, 600))
    plain = np.percentile(this[images].mean(1) - below[images].mean(1), [2.5, 97.5])
    assert paired_difference(below, this)[1:3] == pytest.approx(plain, abs=2.1 / 600)

def seed_all(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

def test_the_seed_makes_the_interval_repeatable_and_nobody_elses_random_state_is_touched():
    seed_all(1)
    a, b, c = (paired_difference(*rights(30, 45, 900, 25), seed=s) for s in (0, 0, 1))
    assert a == b and a[3:] == c[3:] and a[1:3] == pytest.approx(c[1:3], abs=2e-3)
    got = random.random(), np.random.rand(), torch.rand(1).item()
    seed_all(1)
    assert got == (random.random(), np.random.rand(), torch.rand(1).item())

@settings(max_examples=60)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 300), st.integers(0, 40))
def test_an_interval_holds_the_gain_and_turns_round_with_the_models(b, c, both, neither):
    if not b + c + both + neither: return
    d, e = paired_difference(*rights(b, c, both, neither)), paired_difference(*rights(c, b, both, neither))
    assert -1 <= d.low <= d.gain <= d.high <= 1 and d.low < d.high
    assert (b == c or e[:3] == pytest.approx((-d.gain, -d.high, -d.low))) and d.p == e.p

@pytest.mark.parametrize(
    'kind',
    [list, tuple, np.array, torch.tensor, lambda v: torch.tensor(v).long(), lambda v: np.array(v, float),
     lambda v: torch.tensor(v, dtype=torch.float32).requires_grad_()])
def test_right_and_wrong_come_as_lists_arrays_and_tensors(kind):
    below, this = rights(1, 9, 100, 5)
    assert paired_difference(kind(below), kind(this)) == paired_difference(below, this)
    assert mcnemar(kind(below), this) == mcnemar(below, this)

@pytest.mark.parametrize('below, this, wanted', [
    ([], [], 'below'), ([1], [], 'this'), ([1, 0], [1, 0, 1], '2 images'), (True, False, 'below'),
    ([[1, 0]], [[1, 0]], 'below'), ([[1], [1, 0]], [1, 0], 'below'), ([.97, .98], [1, 0], 'below'), 
    ([1, 0], [2, 1], 'this'),
    (['a', 'b'], [1, 0], 'below'), ([math.nan, 1], [1, 0], 'below'), ([None, 1], [1, 0], 'below')])
@pytest.mark.parametrize('test', [mcnemar, paired_difference])
def test_what_is_not_right_or_wrong_for_each_image_is_refused(test, below, this, wanted):
    with refused(wanted): test(below, this)


# Over seeds

def test_mean_spread_and_t_interval_by_hand():
    "Mean 0.96, sd 0.01 (squares of -0.01, 0, 0.01 add up to 0.0002, over 2), half 4.30265 * 0.01 / sqrt(3) = 0.024841"
    assert over_seeds([.95, .96, .97]) == pytest.approx((.96, .01, .935159, .984841), abs=1e-6)

def test_an_interval_of_accuracies_ends_at_0_and_1():
    assert over_seeds([.99, 1.]).high == 1. and over_seeds([0., .01]).low == 0.
    assert over_seeds(torch.tensor([.5, 1.])).low == 0.

def test_runs_without_a_spread_have_none(recwarn):
    for v in (.1, .9, 1 / 3, 1.):
        assert over_seeds([v] * 7) == (v, 0., v, v)
        assert seeds_difference([v] * 7, [v] * 7)[3:] == (1., 'no clear gain')
    assert seeds_difference([.9, .8, .7], [.9, .8, .7])[3:] == (1., 'no clear gain') and not recwarn.list

def test_the_test_over_seeds_is_scipys():
    rng = np.random.default_rng(0)
    for k in (2, 3, 5, 10):
        below, this = rng.uniform(.9, .95, k), rng.uniform(.91, .96, k)
        theirs, d = ttest_rel(this, below), seeds_difference(below, this)
        low, high = theirs.confidence_interval()
        assert (d.gain, d.p) == (pytest.approx(np.mean(this - below)), pytest.approx(theirs.pvalue))
        assert d[1:3] == pytest.approx((max(low, -1), min(high, 1)))
        assert d.words == in_words(d.gain, d.p) and seeds_difference(this, below).p == pytest.approx(d.p)

def test_the_test_over_seeds_by_hand():
    """Gains 0.01, 0.02, 0.03: mean 0.02, sd 0.01, t = 0.02 / 0.01 * sqrt(3) = 3.4641.

    With 2 degrees of freedom p = 1 - t/sqrt(t² + 2) = 1 - 3.4641/sqrt(14) = 0.074180"""
    d = seeds_difference([.90, .91, .92], [.91, .93, .95])
    assert d == Difference(
        pytest.approx(.02), pytest.approx(.02 - .024841, abs=1e-6), pytest.approx(.02 + .024841, abs=1e-6),
        pytest.approx(.074180, abs=1e-6), 'no clear gain')

def test_the_same_gain_under_every_seed_is_proof_only_if_it_is_more_than_rounding_and_luck(recwarn):
    """Rounding to whole images spreads a gain by 1/(n * sqrt(6)).

    One image under two seeds: t = sqrt(6) * sqrt(2) = 3.4641, with one degree of freedom p = 1 - 2/pi * atan(t)
    = 0.17891; two images of 100 are t = 6.9282 and p = 0.09126; fifty of 1,000 are t = 173 and p = 0.0037"""
    for images in (100, None): # 0.90, 0.91 and 0.92 are shares of 100 images at the fewest
        assert seeds_difference([.90, .91], [.91, .92], images)[3:] == (
            pytest.approx(.17891, abs=1e-5), 'no clear gain')
    assert seeds_difference([.90, .91], [.92, .93], 100).p == pytest.approx(.09126, abs=1e-5)
    d = seeds_difference([.90, .9], [.95, .95], 1000)
    assert d[3:] == (pytest.approx(.0037, abs=1e-4), 'better') and 0 < d.low < .05 < d.high
    assert seeds_difference([.95, .95], [.90, .9], 1000).words == 'worse'
    assert not recwarn.list

def test_steps_are_found_in_accuracies_as_they_are_counted():
    """The gain of 0.3 - 0.2 and that of 0.2 - 0.1 differ in the last bit.

    0.1, 0.2 and 0.3 are shares of 10: sd 0.1 / sqrt(6), t = sqrt(12) as above"""
    assert seeds_difference([.1, .2], [.2, .3]).p == pytest.approx(.17891, abs=1e-5)
    counts = np.array([1969, 1971, 1970]) # Of 2,038, MNIST_SAMPLE's validation images
    below, this = counts / 2038, (counts + 32) / 2038
    assert seeds_difference(below, this) == pytest.approx(seeds_difference(below, this, 2038))

@pytest.mark.parametrize('values, wanted', [
    ([], 'are 0'), ([.9], 'is 1'), ([.9, 1.1], ' 1.1 '), ([97, 98], ' 97 '), ([.9, math.nan], ' nan '),
    ([.9, -.1], ' -0.1 ')])
def test_a_spread_is_never_told_from_one_run_or_from_what_is_no_accuracy(values, wanted):
    with refused('accuracies: ', wanted): over_seeds(values)
    for below, this, name in ((values, [.9, .8], 'below'), ([.9, .8], values, 'this')):
        with refused(name, wanted): seeds_difference(below, this)

def test_unequal_numbers_of_seeds_are_refused():
    with refused('2 seeds', '3 for this'): seeds_difference([.9, .8], [.9, .8, .7])


# Simulation: 1,000 sets for each setting; the intervals hold the truth in 93 to 97% of them

def share_of(hits): return sum(hits) / len(hits)

@pytest.mark.parametrize('n', [200, 500, 1000, 2000])
@pytest.mark.parametrize('accuracy', [.7, .8, .9, .95, .98, .99])
def test_wilson_covers_what_it_says(n, accuracy):
    "Exactly, from the chance of each count; and for 1,000 sets, whose true accuracies differ by up to a point"
    rng, found = np.random.default_rng(n), [wilson(c, n) for c in range(n + 1)]
    holds = np.array([low <= accuracy <= high for low, high in found])
    assert .93 <= binom.pmf(np.arange(n + 1), n, accuracy)[holds].sum() <= .97
    truths = accuracy + rng.uniform(-.01, .01, 1000) * (.5 if accuracy > .98 else 1)
    assert .93 <= share_of([found[c].low <= a <= found[c].high for c, a in zip(rng.binomial(n, truths), truths)]) <= .97

def correlated(n, below, this, together, rng, sets=1000):
    "Images that only the rung below has right, and only this one; the two tend to err on the same images"
    both = min(below * this + together * math.sqrt(below * (1 - below) * this * (1 - this)), below, this)
    return rng.multinomial(n, [below - both, this - both, 1 - below - this + both], sets)[:, :2].tolist()

def coverage(n, below, this, together):
    found, hits = {}, []
    for b, c in correlated(n, below, this, together, np.random.default_rng(n)):
        if (b, c) not in found: found[b, c] = paired_difference(*rights(b, c, n - b - c))
        hits.append(found[b, c].low - 1e-9 <= this - below <= found[b, c].high + 1e-9)
    return share_of(hits)

@pytest.mark.parametrize('n, below, this, together', [
    (200, .7, .75, .5), (200, .9, .92, .6), (500, .7, .7, .3), (500, .9, .92, .6), (500, .97, .98, .5),
    (500, .96, .99, .4),
    (1000, .95, .95, .6), (2000, .8, .85, .5), (2000, .95, .97, .6), (2000, .98, .985, .7), (2000, .99, .99, .3)])
def test_the_paired_interval_covers_what_it_says(n, below, this, together):
    assert .93 <= coverage(n, below, this, together) <= .97

@pytest.mark.parametrize(
    'n, below, this, together', [(200, .98, .985, .7), (200, .99, .99, .7), (200, .97, .97, .9), (500, .99, .99, .7)])
def test_where_hardly_an_image_tells_two_models_apart_the_paired_interval_errs_on_the_careful_side(
    n, below, this, together):
    assert coverage(n, below, this, together) >= .97

@pytest.mark.parametrize('n, accuracy, together', [(200, .9, .5), (500, .95, .6), (2000, .98, .5)])
def test_equal_models_are_called_better_or_worse_in_no_more_than_5_percent(n, accuracy, together):
    pairs = correlated(n, accuracy, accuracy, together, np.random.default_rng(n))
    called = share_of([mcnemar(*rights(b, c, 1)) < .05 for b, c in pairs])
    assert called <= .05 + 1.96 * math.sqrt(.05 * .95 / 1000) and called > 0

def runs(images, accuracy, seeds, rng, sets=1000):
    "Accuracies under several seeds: most images are right or wrong under every seed, the others now and then"
    chance = rng.beta(accuracy * .6, (1 - accuracy) * .6, images)
    return chance.mean(), np.stack([(rng.random((seeds, images)) < chance).mean(1) for _ in range(sets)])

@pytest.mark.parametrize(
    'images, accuracy, seeds', [(200, .7, 3), (500, .9, 3), (500, .95, 5), (1000, .98, 5), (2000, .97, 10)])
def test_the_t_interval_over_seeds_covers_what_it_says(images, accuracy, seeds):
    truth, accuracies = runs(images, accuracy, seeds, np.random.default_rng(images))
    spreads = [over_seeds(a) for a in accuracies]
    assert .93 <= share_of([s.low <= truth <= s.high for s in spreads]) <= .97

@pytest.mark.parametrize('images, seeds', [(200, 2), (2000, 2), (200, 3), (500, 3), (2000, 5)])
def test_recipes_that_do_the_same_are_told_apart_over_seeds_in_about_5_percent(images, seeds):
    "Two seeds on few images may differ by the same number of images, which is not called proof and makes it less"
    _, accuracies = runs(images, .95, 2 * seeds, np.random.default_rng(images))
    found = [seeds_difference(a[:seeds], a[seeds:], images) for a in accuracies]
    assert (.02 if seeds > 2 else 0) <= share_of([d.p < .05 for d in found]) <= .07
    assert share_of([d.low <= 0 <= d.high for d in found]) >= .93
