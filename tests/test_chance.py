"""Statistics: published values, other libraries as judges, and simulations of what each interval and test promises

How often whole decisions are wrong is measured by bench/honesty.py"""
import math
from itertools import product
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from scipy.stats import binom, ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint, proportions_ztest
from statsmodels.regression.linear_model import OLS
from conftest import refused
from fastrecipes.answer.chance import (
    drop, grouped_difference, grouped_interval, holm, in_words, Interval, mcnemar, mid_p, over_seeds, paired_difference,
    seeds_difference, two_parts, wilson,
)


def rights(only_below, only_this, both=0, neither=0):
    "Two lists of right and wrong with these counts"
    same = [True] * both + [False] * neither
    below = [True] * only_below + [False] * only_this + same
    this = [False] * only_below + [True] * only_this + same
    return below, this


# One accuracy

@pytest.mark.parametrize('right, n, low, high', [
    (81, 263, .2553, .3662), (15, 148, .0624, .1605), (0, 20, 0., .1611), (1, 29, .0061, .1718)]) # Newcombe 1998
def test_wilson_gives_the_published_intervals(right, n, low, high):
    assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)

def test_wilson_is_statsmodels_for_every_count_and_level():
    for n, level in product((1, 2, 7, 60, 360), (.8, .95, .99)):
        for right in range(n + 1):
            theirs = proportion_confint(right, n, 1 - level, 'wilson')
            assert wilson(right, n, level) == pytest.approx(theirs, abs=1e-12)

def test_an_interval_holds_the_accuracy_lies_in_0_to_1_and_says_something_when_all_are_right():
    for n in (1, 10, 400):
        for right in range(n + 1):
            low, high = wilson(right, n)
            assert 0 <= low <= right / n <= high <= 1
            assert high - low > 1 / n / 2
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
    (1, 10, (2 * (1 + 11) - 11) / 2**11), # Of 11 tosses, none on one side or the other, and half of those with one
    (0, 4, 1 / 2**4), (0, 5, 1 / 2**5), (0, 6, 1 / 2**6), (0, 1, .5), (1, 1, 1.), (0, 0, 1.),
    (2, 8, (2 * (1 + 10 + 45) - 45) / 2**10)])
def test_mid_p_by_hand(only_below, only_this, p):
    for both, neither in ((0, 1), (50, 3)):
        assert mcnemar(*rights(only_below, only_this, both, neither)) == pytest.approx(p)
        assert mcnemar(*rights(only_this, only_below, both, neither)) == pytest.approx(p)

def test_mid_p_is_the_published_value():
    "Airway hyper-responsiveness before and after transplantation, 7 against 1: Fagerland et al. 2013, table 5"
    assert mid_p(1, 7) == pytest.approx(.039, abs=5e-4)

def test_mid_p_is_the_exact_p_less_half_the_chance_of_what_was_seen():
    for b, c in product(range(0, 30, 3), range(0, 30, 4)):
        if b == c: continue
        theirs = their_mcnemar([[20, b], [c, 5]], exact=True).pvalue
        seen = binom.pmf(min(b, c), b + c, .5)
        assert mcnemar(*rights(b, c, 20, 5)) == pytest.approx(min(theirs, 1) - seen, abs=1e-9) or theirs == 1

def test_the_gain_and_its_sign_and_words():
    better, worse = paired_difference(*rights(2, 20, 170, 8)), paired_difference(*rights(20, 2, 170, 8))
    assert better.gain == pytest.approx(18 / 200) and better.words == 'better'
    assert 0 < better.low < better.gain < better.high
    assert better.p == mcnemar(*rights(2, 20))
    assert worse.words == 'worse' and worse[:3] == pytest.approx((-better.gain, -better.high, -better.low), abs=1e-6)
    assert worse.p == better.p
    assert paired_difference(*rights(3, 5, 180, 12)).words == 'no clear gain'

def test_points_and_words_go_by_the_adjusted_p_where_there_is_one():
    d = paired_difference(*rights(2, 20, 170, 8))
    assert d.in_points()['words'] == 'better' and d.in_points(.2)['words'] == 'no clear gain'
    assert d.in_points()['gain_points'] == pytest.approx(9) and d.in_points(.2)['p'] == d.p
    words = [in_words(g, p) for g, p in ((.1, .0499), (.1, .05), (-.1, .0499), (-.1, .05), (0., .01))]
    assert words == ['better', 'no clear gain', 'worse', 'no clear gain', 'no clear gain']

@settings(max_examples=200, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 300), st.integers(0, 40))
def test_the_interval_holds_the_gain_and_leaves_out_0_exactly_where_p_is_below_5_percent(b, c, both, neither):
    if not b + c + both + neither: return
    d, turned = paired_difference(*rights(b, c, both, neither)), paired_difference(*rights(c, b, both, neither))
    assert -1 <= d.low <= d.gain <= d.high <= 1 and d.low < d.high
    assert (d.low > 0 or d.high < 0) == (d.p < .05)
    assert turned[:3] == pytest.approx((-d.gain, -d.high, -d.low), abs=2e-3) and turned.p == d.p

@pytest.mark.parametrize('n', [1, 2, 20, 360, 10_000])
def test_models_that_agree_on_every_image_are_not_shown_to_be_equal(n):
    right = np.arange(n) % 10 > 0
    d = paired_difference(right, right)
    assert (d.gain, d.p, d.words) == (0, 1, 'no clear gain')
    assert d.low < 0 < d.high and min(1 / n, .8) < d.high <= 3.7 / n # What one-sided 97.5% would leave open, at most

def test_the_interval_is_near_that_of_resampled_images():
    rng = np.random.default_rng(1)
    below = rng.random(600) < .9
    this = np.where(rng.random(600) < .8, below, rng.random(600) < .95)
    images = rng.integers(0, 600, (4000, 600))
    plain = np.percentile(this[images].mean(1) - below[images].mean(1), [2.5, 97.5])
    assert paired_difference(below, this)[1:3] == pytest.approx(plain, abs=2.1 / 600)

@pytest.mark.parametrize(
    'kind',
    [list, tuple, np.array, torch.tensor, lambda v: torch.tensor(v).long(), lambda v: np.array(v, float),
     lambda v: torch.tensor(v, dtype=torch.float32).requires_grad_()])
def test_right_and_wrong_come_as_lists_arrays_and_tensors(kind):
    below, this = rights(1, 9, 100, 5)
    assert paired_difference(kind(below), kind(this)) == paired_difference(below, this)
    assert mcnemar(kind(below), this) == mcnemar(below, this)

@pytest.mark.parametrize('below, this, wanted', [
    ([], [], 'below'), ([1], [], 'this'), ([1, 0], [1, 0, 1], '2 images for the rung below'), (True, False, 'below'),
    ([[1, 0]], [[1, 0]], 'below'), ([[1], [1, 0]], [1, 0], 'below'), ([.97, .98], [1, 0], 'below'),
    ([1, 0], [2, 1], 'this'), (['a', 'b'], [1, 0], 'below'), ([math.nan, 1], [1, 0], 'below'),
    ([None, 1], [1, 0], 'below')])
@pytest.mark.parametrize('test', [mcnemar, paired_difference])
def test_what_is_not_right_or_wrong_for_each_image_is_refused(test, below, this, wanted):
    with refused(wanted): test(below, this)


# Groups of images

def test_images_that_are_alone_in_their_groups_are_independent():
    right = np.arange(300) % 10 > 0
    interval, effective = grouped_interval(right, np.arange(300))
    assert effective == pytest.approx(299, abs=1) # Of 300: the variance is estimated
    assert interval == pytest.approx(wilson(int(right.sum()), 300), abs=2e-3)
    below, this = rights(12, 25, 300, 20)
    d = grouped_difference(below, this, np.arange(len(below)))
    assert d.p == pytest.approx(mcnemar(below, this), abs=.01)
    assert d[1:3] == pytest.approx(paired_difference(below, this)[1:3], abs=3e-3)

def test_copies_of_an_image_prove_nothing_more():
    right = np.arange(60) % 10 > 0
    tenfold = np.repeat(right, 10), np.repeat(np.arange(60), 10)
    interval, effective = grouped_interval(*tenfold)
    assert effective == pytest.approx(59, abs=1) and interval == pytest.approx(wilson(54, 60), abs=.01)

def test_the_variance_of_groups_is_statsmodels_cluster_robust_one():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    gains = rng.integers(-1, 2, 200) + np.repeat(rng.integers(0, 2, 40), 5)
    theirs = OLS(gains, np.ones(200)).fit(cov_type='cluster', cov_kwds=dict(groups=groups, df_correction=False))
    ours = two_parts(gains[None], groups)
    assert ours.of_images == pytest.approx(theirs.cov_params()[0, 0])

def test_the_names_of_groups_do_not_matter():
    right = np.arange(40) % 4 > 0
    by_number = np.arange(40) // 4
    by_name = [f'patient {number}' for number in by_number]
    assert grouped_interval(right, by_number) == grouped_interval(right, by_name)

@pytest.mark.parametrize('groups, wanted', [([0, 1], 'groups: (2,)'), ([1] * 4, 'one group'), ([[0]] * 4, '(4, 1)')])
def test_groups_that_do_not_fit_are_refused(groups, wanted):
    with refused(wanted): grouped_interval([1, 0, 1, 1], groups)
    with refused(wanted): grouped_difference([1, 0, 1, 1], [1, 1, 1, 1], groups)


# Over seeds

def test_the_two_parts_by_hand():
    """Two seeds, three images: right 1 1 0 and 1 0 0. Means by image 1, .5, 0 (variance .25), by seed 2/3 and 1/3
    (variance 1/18). Of the images .25 / 3, of the seeds 1/18 / 2; with two seeds nothing is subtracted."""
    parts = two_parts(np.array([[1, 1, 0], [1, 0, 0]]))
    assert (parts.mean, parts.of_images, parts.of_seeds) == pytest.approx((.5, .25 / 3, 1 / 36))
    assert (parts.units, parts.seeds) == (3, 2)
    assert parts.half() == pytest.approx(math.sqrt(4.302653**2 * .25 / 3 + 12.706205**2 / 36), rel=1e-5)

def test_one_seed_is_a_t_test_of_the_images():
    gains = np.array([1, 0, 0, -1, 1, 1, 0, 1, 0, 0, 1, 0])
    parts, theirs = two_parts(gains[None]), ttest_1samp(gains, 0)
    assert parts.p == pytest.approx(theirs.pvalue, rel=1e-3)
    assert parts.half() == pytest.approx(theirs.confidence_interval().high - gains.mean())

def test_p_is_the_level_at_which_the_interval_ends_at_0():
    gains = np.random.default_rng(0).integers(-1, 2, (5, 200)) + (np.arange(200) < 20)
    parts = two_parts(gains)
    assert parts.half(1 - parts.p) == pytest.approx(parts.mean, rel=2e-3)

def test_one_image_shows_nothing():
    assert seeds_difference([[0], [0]], [[1], [1]])[1:] == (-1., 1., 1., 'no clear gain')
    assert over_seeds([[1], [0]])[2:] == (0., 1.)

def test_the_mean_over_seeds_its_spread_and_its_interval():
    right = np.array([[1] * 95 + [0] * 5, [1] * 96 + [0] * 4, [1] * 97 + [0] * 3])
    s = over_seeds(right)
    assert (s.mean, s.sd) == pytest.approx((.96, .01))
    low, high = wilson(288, 300)
    assert s.low < low < .96 < high <= s.high <= 1 # Three seeds on 100 images are not 300 images

def test_a_gain_over_seeds_agrees_with_its_p_and_turns_round():
    rng = np.random.default_rng(0)
    for gain in (0, .02, .06, .2):
        below = rng.random((5, 200)) < .7
        this = below | (rng.random((5, 200)) < gain)
        d, turned = seeds_difference(below, this), seeds_difference(this, below)
        assert (d.low > 0 or d.high < 0) == (d.p < .05) and d.low <= d.gain <= d.high
        assert turned[:3] == pytest.approx((-d.gain, -d.high, -d.low)) and turned.p == pytest.approx(d.p)
        assert d.words == in_words(d.gain, d.p)

def test_the_same_images_right_under_every_seed_are_no_gain():
    right = np.arange(50) % 5 > 0
    d = seeds_difference([right] * 3, [right] * 3)
    assert d[0] == 0 and d[3:] == (1., 'no clear gain')

@pytest.mark.parametrize('values', [[], [[True]], [[.5, 1.], [1., 0.]], [[1, 0], [1]], 'right', [1, 0, 1]])
def test_a_spread_is_never_told_from_one_run_or_from_what_is_not_right_or_wrong(values):
    with refused('right: '): over_seeds(values)
    with refused('this: '): seeds_difference(np.ones((2, 2)), values)

def test_unequal_seeds_or_images_are_refused():
    with refused('(2, 3)', '(3, 3)'): seeds_difference(np.ones((2, 3)), np.ones((3, 3)))


# Several tests, and a drop

def test_holm_is_statsmodels():
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 21):
        ps = rng.random(n)**3
        assert holm(ps) == pytest.approx(multipletests(ps, method='holm')[1])
    assert holm([]) == []

def test_tests_that_are_still_to_come_only_make_p_larger():
    ps = [.001, .01, .04]
    assert holm(ps, 6) == pytest.approx([.006, .05, .16])
    later = holm([*ps, .9, .5, .7])[:3]
    assert all(now >= then for now, then in zip(holm(ps, 6), later))

def test_a_drop_is_statsmodels_one_sided_test():
    for valid, test in (((90, 100), (80, 100)), ((350, 360), (320, 360)), ((50, 60), (900, 1000))):
        z, p = proportions_ztest([valid[0], test[0]], [valid[1], test[1]], alternative='larger')
        assert drop(valid, test) == pytest.approx(p)
    assert drop((10, 10), (10, 10)) == .5 and drop((0, 10), (0, 5)) == .5


# Simulation: what each promises

def share_of(hits): return sum(hits) / len(hits)

@pytest.mark.parametrize('n', [200, 500, 1000, 2000])
@pytest.mark.parametrize('accuracy', [.7, .8, .9, .95, .98, .99])
def test_wilson_covers_what_it_says(n, accuracy):
    "Exactly, from the chance of each count"
    holds = np.array([low <= accuracy <= high for low, high in (wilson(c, n) for c in range(n + 1))])
    assert .93 <= binom.pmf(np.arange(n + 1), n, accuracy)[holds].sum() <= .97

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
    (200, .7, .75, .5), (200, .9, .92, .6), (500, .9, .92, .6), (2000, .95, .97, .6), (200, .98, .985, .7)])
def test_the_paired_interval_covers_what_it_says(n, below, this, together):
    assert .93 <= coverage(n, below, this, together)

@pytest.mark.parametrize('n, accuracy, together', [(200, .9, .5), (500, .95, .6), (2000, .98, .5)])
def test_equal_models_are_called_better_or_worse_in_about_5_percent_at_most(n, accuracy, together):
    pairs = correlated(n, accuracy, accuracy, together, np.random.default_rng(n))
    called = share_of([mid_p(b, c) < .05 for b, c in pairs])
    assert 0 < called <= .05 + 3 * math.sqrt(.05 * .95 / 1000)

def of_seeds(rng, seeds, n, stays=.5, spread=.003):
    "Two equal recipes, right or wrong: (2, seeds, images)"
    own = stays**.5 * rng.standard_normal((2, 1, n)) + (1 - stays)**.5 * rng.standard_normal((2, seeds, n))
    hard = .8**.5 * rng.standard_normal(n) + .2**.5 * own
    return hard < 1.2816 + 5.7 * spread * rng.standard_normal((2, seeds, 1)) # 0.9, whose density is 1 / 5.7

@pytest.mark.parametrize('seeds, stays', [(2, .9), (3, .5), (5, 0), (10, .9)])
def test_equal_recipes_are_told_apart_over_seeds_in_7_percent_at_most(seeds, stays):
    rng = np.random.default_rng(seeds)
    told = []
    for _ in range(500):
        a, b = of_seeds(rng, seeds, 500, stays)
        told.append(two_parts(b.astype(float) - a).p < .05)
    assert share_of(told) <= .07 + 3 * math.sqrt(.07 * .93 / 500)

@pytest.mark.parametrize('seeds', [2, 5])
def test_the_interval_over_seeds_covers_what_it_says(seeds):
    rng = np.random.default_rng(seeds)
    spreads = [over_seeds(of_seeds(rng, seeds, 500)[0]) for _ in range(500)]
    assert share_of([s.low <= .9 <= s.high for s in spreads]) >= .93 - 3 * math.sqrt(.07 * .93 / 500)

def test_intervals_are_what_records_take():
    assert isinstance(wilson(9, 10), Interval) and isinstance(grouped_interval([1, 0, 1], [1, 2, 3])[0], Interval)
