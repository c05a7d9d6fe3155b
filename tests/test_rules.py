"""Which rung to stop at: each rule on a ladder made by hand, what never contradicts what, and how often it is wrong

bench/honesty.py measures at length how often decisions are wrong"""
import time
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import binomtest, norm, t
from fastrecipes.answer import rules
from fastrecipes.answer.chance import holm, mid_p, wilson
from fastrecipes.answer.rules import (
    decide, dropped, error_rates, far_dearer, hard_class, images_needed, upper_ends,
)
from conftest import refused
from made import ALIKE, BASE, BETTER, but, first, recalls, rung

NAMES = 'similarity', 'sgd', 'linear', 'simple_net', 'mlp', 'convnet', 'resnet18'


def ladder(*rights):
    "Rungs of which each is dearer than the one before"
    return [(name, 1. + i, right) for i, (name, right) in enumerate(zip(NAMES, rights))]

def names(opened): return [o.recipe for o in opened]

def pair(decided, below, this):
    found, = [p for p in decided.pairs if (p.below, p.recipe) == (below, this)]
    return found


# The cheapest that nothing is shown to beat

def test_it_is_the_cheapest_that_no_other_is_shown_to_beat():
    d = decide(ladder(first(1700), BASE, ALIKE, but(BASE, 5)))
    assert d.stop == 'sgd'
    assert {p.below for p in d.pairs if p.words == 'better'} == {'similarity'}
    assert {p.words for p in d.pairs if p.below != 'similarity'} == {'no clear gain'}

def test_any_rung_may_beat_it_and_not_only_the_next():
    assert decide(ladder(BASE, ALIKE, BETTER)).stop == 'linear'
    assert decide(ladder(BASE, ALIKE)).stop == 'similarity'

def test_the_cheapest_of_all_may_be_the_one():
    assert decide(ladder(BASE, but(BASE, 0, 9), ALIKE)).stop == 'similarity'

@pytest.mark.parametrize('small, stop', [(ALIKE, 'small'), (BETTER, 'small'), (but(BASE, 0, 30), 'big')])
def test_cheaper_and_not_worse_wins_whatever_its_place_on_the_ladder(small, stop):
    d = decide([('big', 50., BASE), ('small', 1., small)])
    assert d.stop == stop

def test_of_several_that_cost_the_same_it_is_the_first_and_the_others_are_in_question():
    d = decide([('a', 1., first(320, 360)), ('b', 1., but(first(320, 360), 14, 7))])
    assert d.stop == 'a' and names(d.undecided) == ['b'] and d.ahead == 'b'

@pytest.mark.parametrize('won, lost', [(5, 0), (4, 0), (15, 5), (14, 6), (9, 2), (8, 2)])
def test_the_line_is_that_of_mid_p(won, lost):
    shown = mid_p(lost, won) < .05
    d = decide(ladder(BASE, but(BASE, won, lost)))
    assert d.stop == ('sgd' if shown else 'similarity') and (d.pairs[0].words == 'better') == shown

def test_p_is_adjusted_for_all_pairs():
    rights = BASE, ALIKE, ALIKE, but(BASE, 30, 14)
    two, four = decide(ladder(rights[0], rights[3])), decide(ladder(*rights))
    alone, among = two.pairs[0], pair(four, 'similarity', 'simple_net')
    assert alone.p == alone.p_adjusted == among.p == mid_p(14, 30) < .05
    assert [p.p_adjusted for p in four.pairs] == holm(p.p for p in four.pairs)
    assert (alone.words, among.words) == ('better', 'no clear gain')
    assert (two.stop, four.stop) == ('sgd', 'similarity')

def test_better_need_not_pass_on_from_rung_to_rung():
    lowest, highest = BASE, but(BASE, 10, 1)
    middle = but(highest, 0, 5) # Not shown to be worse than the highest, nor better than the lowest
    d = decide(ladder(lowest, middle, highest))
    assert pair(d, 'similarity', 'linear').words == 'better' and pair(d, 'similarity', 'sgd').words == 'no clear gain'
    assert d.stop == 'sgd' and d.ahead in (None, 'linear')

def test_a_pair_says_how_many_images_it_won_and_lost():
    p, = decide(ladder(BASE, but(BASE, 12, 8))).pairs
    assert (p.below, p.recipe, p.won, p.lost, p.seeds) == ('similarity', 'sgd', 12, 8, 1)
    assert p.gain_points == pytest.approx(.2)


# What these images cannot tell

SMALL = first(320, 360)

def test_where_a_dearer_one_may_be_better_by_the_margin_they_are_undecided_between():
    d = decide(ladder(SMALL, but(SMALL, 14, 7), but(SMALL, 12, 6)))
    assert d.stop == 'similarity' and names(d.undecided) == ['sgd', 'linear'] and d.ahead == 'sgd'
    assert [o.gain_points for o in d.undecided] == pytest.approx([700 / 360, 600 / 360])

def test_the_upper_end_of_one_dearer_rung_by_hand():
    "As if one more image told them apart, since no two rungs are known to be equal"
    gains = np.array([1] * 14 + [-1] * 7 + [0] * 339)
    error = np.sqrt(gains.var(ddof=1) / 360 + 1 / 360**2)
    d = decide(ladder(SMALL, but(SMALL, 14, 7)))
    assert d.undecided[0].most_points == pytest.approx(100 * (7 / 360 + t.ppf(.95, 359) * error), abs=.1)

def of(name, right): return rules.Standing(name, 1., np.atleast_2d(right))

def test_upper_ends_hold_for_all_dearer_rungs_together():
    rng = np.random.default_rng(0)
    cheap = of('cheap', np.ones(360, bool))
    dearer = [of(str(i), rng.random(360) < .9) for i in range(6)]
    alone = [upper_ends(cheap, [r])[0] for r in dearer]
    together = upper_ends(cheap, dearer)
    assert [gain for gain, _ in alone] == [gain for gain, _ in together]
    length = np.array([(most - gain) for gain, most in together]) / [most - gain for gain, most in alone]
    bonferroni = norm.ppf(1 - .05 / 6) / norm.ppf(.95)
    assert (length > 1.2).all() and (length < bonferroni + .05).all()

def test_two_dearer_rungs_that_are_always_right_together_count_as_one():
    this = but(SMALL, 14, 7)
    cheap, copies = of('cheap', SMALL), [of(name, this) for name in 'abc']
    assert [most for _, most in upper_ends(cheap, copies)] == pytest.approx(
        [upper_ends(cheap, copies[:1])[0][1]] * 3, abs=.002)

def test_as_many_rungs_as_anybody_likes():
    rng = np.random.default_rng(0)
    cheap = of('cheap', rng.random(50) < .5)
    assert len(upper_ends(cheap, [of(str(i), rng.random(50) < .5) for i in range(60)])) == 60

def test_with_many_images_it_is_decided_alone():
    base = first(9000, 10_000)
    d = decide(ladder(base, but(base, 10, 8), but(base, 0, 5)))
    assert (d.stop, d.undecided, d.ahead) == ('similarity', (), None)

def test_the_margin_says_which_gain_would_matter():
    base = first(9000, 10_000)
    rights = base, but(base, 10, 8) # 0.02 points, up to 0.1
    assert names(decide(ladder(*rights), margin=.0005).undecided) == ['sgd']
    assert decide(ladder(*rights), margin=.002).undecided == ()
    assert decide(ladder(*rights), margin=.002).margin_points == pytest.approx(.2)

@pytest.mark.parametrize('n, decided', [(40, False), (1000, True)])
def test_rungs_that_agree_on_every_image_are_not_shown_to_be_equal_by_few(n, decided):
    right = first(n * 9 // 10, n)
    d = decide(ladder(right, right))
    assert d.stop == 'similarity' and (d.undecided == ()) == decided and d.ahead == (None if decided else 'similarity')

def test_the_one_to_stop_at_may_be_ahead_itself():
    d = decide(ladder(SMALL, but(SMALL, 7, 9)))
    assert d.stop == d.ahead == 'similarity' and names(d.undecided) == ['sgd'] and d.undecided[0].gain_points < 0

def test_a_dearer_rung_that_is_shown_to_be_worse_is_not_in_question():
    d = decide(ladder(SMALL, but(SMALL, 14, 7), but(SMALL, 0, 40)))
    assert names(d.undecided) == ['sgd']

def test_one_rung_alone_is_the_one():
    d = decide(ladder(SMALL))
    assert (d.stop, d.ahead, d.undecided, d.pairs) == ('similarity', None, (), ())


# A rung must have learned something

def test_a_rung_that_is_not_shown_to_be_above_least_is_out():
    rights = first(1010), BASE, ALIKE
    assert decide(ladder(*rights), least=.5).stop == 'sgd'
    assert decide(ladder(first(1010), first(1020), BASE), least=.5).stop == 'linear'

def test_it_is_out_though_no_other_is_shown_to_beat_it():
    few = first(22, 40) # 55%
    this = but(few, 10, 3) # 72.5%, from 57.2; p = 0.06
    assert wilson(29, 40).low > .5 and mid_p(3, 10) > .05
    assert decide(ladder(few, this)).stop == 'similarity'
    assert decide(ladder(few, this), least=.5).stop == 'sgd'

def test_where_none_is_above_least_there_is_no_rung_to_stop_at():
    d = decide(ladder(first(22, 40), first(24, 40)), least=.5)
    assert (d.stop, d.ahead, d.undecided) == (None, None, ()) and len(d.pairs) == 1


# Seeds

def by_seed(*rights): return np.stack(rights)

def test_a_step_that_holds_over_seeds_is_shown_and_one_that_does_not_is_luck():
    below = by_seed(*[BASE] * 5)
    steady = by_seed(*(but(BASE, 40 - i, 4) for i in range(5)))
    lucky = by_seed(BETTER, *(but(BASE, 4, 4 + i) for i in range(4)))
    held, fell, one = decide(ladder(below, steady)), decide(ladder(below, lucky)), decide(ladder(BASE, BETTER))
    assert (held.stop, fell.stop, one.stop) == ('sgd', 'similarity', 'sgd')
    assert (held.seeds, held.pairs[0].seeds, one.seeds) == (5, 5, 1)
    assert fell.pairs[0].gain_points == pytest.approx(100 * (lucky.mean() - below.mean()))
    assert names(fell.undecided) == ['sgd'] and fell.ahead == 'sgd'

def test_two_seeds_that_differ_widely_leave_it_open():
    d = decide(ladder(by_seed(BASE, BASE), by_seed(but(BASE, 60), but(BASE, 4))))
    assert d.stop == 'similarity' and d.ahead == 'sgd' and d.undecided[0].most_points > 5

def test_the_most_accurate_is_so_over_all_seeds():
    "The first seed alone would have put the other ahead"
    base = by_seed(SMALL, SMALL, SMALL)
    lucky = by_seed(but(SMALL, 9), but(SMALL, 0, 9), but(SMALL, 0, 3))
    good = by_seed(but(SMALL, 5, 3), but(SMALL, 7, 4), but(SMALL, 4, 3))
    assert decide(ladder(base, lucky, good)).ahead == 'linear'

def test_a_rung_with_fewer_seeds_is_compared_over_those():
    d = decide(ladder(by_seed(*[BASE] * 3), by_seed(*[BETTER] * 3), BETTER))
    assert [p.seeds for p in d.pairs] == [3, 1, 1] and d.seeds == 1


# Groups

def test_copies_of_images_in_groups_prove_nothing_more():
    once = np.arange(60) % 10 > 0
    this = once.copy()
    this[[0, 10, 20, 30, 40]] = True
    this[1] = False
    groups = np.repeat(np.arange(60), 10)
    rights = np.repeat(once, 10), np.repeat(this, 10)
    alone, grouped = decide(ladder(*rights)), decide(ladder(*rights), groups=groups)
    assert (alone.stop, grouped.stop) == ('sgd', 'similarity')
    assert alone.effective_images is None and grouped.effective_images == pytest.approx(60, abs=1.5)
    assert grouped.pairs[0].p > .05 > alone.pairs[0].p and grouped.ahead == 'sgd'

def test_groups_count_with_several_seeds_too():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    below = rng.random((3, 600)) < .8
    this = below.copy()
    this[:, groups < 4] = True # Better in four groups of sixty only
    alone, grouped = decide(ladder(below, this)), decide(ladder(below, this), groups=groups)
    assert grouped.pairs[0].p > alone.pairs[0].p and grouped.effective_images < 600

def test_least_is_tested_with_the_effective_number_of_images():
    right, groups = np.repeat(np.arange(20) < 13, 10), np.repeat(np.arange(20), 10) # 65% of 200, or of 20
    assert decide(ladder(right), least=.5).stop == 'similarity'
    assert decide(ladder(right), least=.5, groups=groups).stop is None


# What is refused

@pytest.mark.parametrize('rungs, said', [
    ([], 'at least one'),
    ([('a', 1, [1, 0]), ('a', 2, [1, 1])], 'same name'),
    ([('a', 1, [1, 0]), ('b', 2, [1, 1, 1])], '2 and 3 images'),
    ([('a', 1, [])], 'a: '), ([('a', 1, [[1], [1, 0]])], 'a: '), ([('a', 1, [.5, 1])], 'a: '),
    ([('a', 1, [[[1]]])], 'a: '), ([('a', 1, ['x'])], 'a: '),
    ([('a', -1, [1, 0])], '-1'), ([('a', float('nan'), [1, 0])], 'nan'), ([('a', 'soon', [1, 0])], "'soon'"),
])
def test_names_sizes_and_times_that_do_not_fit_are_refused(rungs, said):
    for ask in (decide, rules.tested_pairs, error_rates):
        with refused(said): ask(rungs)

@pytest.mark.parametrize('margin', [0, -.01, 1.5, float('nan'), None, 'one'])
def test_a_margin_that_is_not_a_share_is_refused(margin):
    with refused('margin='): decide(ladder(SMALL, SMALL), margin)
    with refused('margin='): error_rates(ladder(SMALL, SMALL), margin)

@pytest.mark.parametrize('groups', [[1, 2], [1] * 360, [[1]] * 360])
@pytest.mark.parametrize('rungs', [1, 2])
def test_groups_that_do_not_fit_are_refused(groups, rungs):
    with refused('groups'): decide(ladder(*[SMALL] * rungs), groups=groups)


# Nothing contradicts anything

@st.composite
def ladders(draw):
    n, seeds = draw(st.integers(1, 80)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    base = rng.random(n) < draw(st.sampled_from([.3, .7, .9, 1.]))
    rungs = []
    for name in NAMES[:draw(st.integers(1, 5))]:
        flips = draw(st.sampled_from([0, .05, .3]))
        rungs.append((name, draw(st.sampled_from([0., 1., 2., 500.])), base ^ (rng.random((seeds, n)) < flips)))
    groups = np.arange(n) // 2 if n > 3 and draw(st.booleans()) else None
    return rungs, groups, draw(st.sampled_from([.001, .01, .1])), draw(st.sampled_from([0., .5]))

@settings(max_examples=150, deadline=None)
@given(ladders())
def test_words_intervals_and_p_never_contradict_each_other(case):
    rungs, groups, margin, least = case
    d = decide(rungs, margin, groups, least)
    seconds, accuracy = {r[0]: r[1] for r in rungs}, {r[0]: r[2].mean() for r in rungs}
    shown = {(p.below, p.recipe): p.words for p in d.pairs}
    for p in d.pairs:
        low, high = p.interval_points
        assert low <= p.gain_points <= high and p.p <= p.p_adjusted
        assert (low > 0 or high < 0) == (p.p < .05)
        assert (p.words == 'no clear gain') == (p.p_adjusted >= .05)
        assert p.words == 'no clear gain' or (p.words == 'better') == (p.gain_points > 0)
    beats = {(a, b) if w == 'better' else (b, a) for (b, a), w in shown.items() if w != 'no clear gain'}
    if d.stop is None: return
    if groups is None:
        learned = [name for name, _, right in rungs if wilson(int(right[0].sum()), right.shape[1]).low > least]
        assert d.stop in learned and not [a for a, b in beats if b == d.stop and a in learned]
    for o in d.undecided:
        assert o.recipe != d.stop and seconds[o.recipe] >= seconds[d.stop]
        assert o.gain_points <= o.most_points and o.most_points >= 100 * margin
        assert (o.recipe, d.stop) not in beats and (d.stop, o.recipe) not in beats
    assert (d.ahead is None) == (d.undecided == ())
    if d.ahead: assert accuracy[d.ahead] == max(accuracy[n] for n in (d.stop, *names(d.undecided)))


# While rungs are still to come

def drawn(rng, accuracies, n, seeds=1, alike=.8):
    "Rungs with known accuracies, which tend to be wrong about the same images"
    own = rng.standard_normal((len(accuracies), seeds, n))
    hard = alike**.5 * rng.standard_normal(n) + (1 - alike)**.5 * own
    return ladder(*(hard < norm.ppf(accuracies)[:, None, None]))

def claims(pairs): return {(p.below, p.recipe): p.words for p in pairs if p.words != 'no clear gain'}

def test_what_is_shown_while_rungs_are_to_come_is_not_taken_back():
    rng, early, hasty = np.random.default_rng(0), 0, 0
    for _ in range(12):
        rungs = drawn(rng, np.arange(.80, .891, .015), 200)
        final = claims(rules.tested_pairs(rungs))
        for count in (2, 3, 5):
            so_far, unplanned = rules.tested_pairs(rungs[:count], planned=7), claims(rules.tested_pairs(rungs[:count]))
            assert claims(so_far).items() <= final.items()
            early += len(claims(so_far))
            hasty += len(unplanned.items() - final.items())
    assert early > 5, 'something was shown early'
    assert hasty > 0, 'without the plan, something would have been taken back'


# How often such a decision is wrong

def steps(n, *counts):
    "Rungs with these numbers of images right, of which each pair differs on some"
    return ladder(*(np.roll(first(c, n), 3 * i) for i, c in enumerate(counts)))

CLEAR = .80, .82, .84, .86, .88, .90, .92

def clear(n, seeds=1):
    counts = [round(a * n) for a in CLEAR]
    return [(name, s, np.stack([np.roll(r, n // 50 * j) for j in range(seeds)])) for name, s, r in steps(n, *counts)]

def test_error_rates_are_high_for_few_images_and_0_for_many():
    few, many = error_rates(clear(40)), error_rates(clear(10_000))
    assert .1 < few.wrong <= 1 and many.wrong == 0
    assert 10 < few.shown_points <= 100 and 0 < many.shown_points < 2

def test_error_rates_are_the_same_again_and_take_seconds():
    found = []
    for _ in range(2):
        rules._share_wrong.cache_clear()
        started = time.process_time()
        found.append(error_rates(clear(2000, 3)))
        assert time.process_time() - started < 5
    assert found[0] == found[1]

def test_images_that_belong_together_make_it_wrong_more_often():
    alone, grouped = error_rates(clear(2000)), error_rates(clear(2000), effective_images=60.)
    assert grouped.wrong > alone.wrong and grouped.shown_points > alone.shown_points

def test_a_wider_margin_is_missed_less_often():
    assert error_rates(clear(40), .1).wrong <= error_rates(clear(40), .01).wrong

def test_one_rung_alone_or_equal_ones_are_never_wrong():
    assert error_rates(ladder(SMALL)).wrong == 0
    assert error_rates(steps(360, 324, 324, 324)).wrong == 0

@pytest.mark.parametrize('apart', [.05, .15])
def test_the_step_that_is_shown_in_four_of_five_tries_is(apart):
    rng, n, tests = np.random.default_rng(0), 2000, 6
    base = rng.random(n) < .5
    rights = [base ^ (rng.random(n) < apart / 2) for _ in range(4)]
    gain = error_rates(ladder(*rights)).shown_points / 100
    apart = np.mean([np.mean(a != b) for i, a in enumerate(rights) for b in rights[:i]])
    draws = rng.multinomial(n, [(apart + gain) / 2, (apart - gain) / 2, 1 - apart], 500)
    assert .7 < np.mean([mid_p(int(l), int(w)) < .05 / tests for w, l, _ in draws]) < .9

def test_a_run_that_varies_from_seed_to_seed_needs_a_larger_step():
    rng, n = np.random.default_rng(0), 2000
    def with_sd(sd): return [(name, 1., rng.random((5, n)) < .9 + sd * rng.standard_normal((5, 1))) for name in 'ab']
    steady, varying = error_rates(with_sd(0)), error_rates(with_sd(.03))
    assert varying.shown_points > 2 * steady.shown_points


# The step on the test images, and what choosing adds

@pytest.mark.parametrize('rights, seconds, step', [
    (dict(sgd=.80, mlp=.90), (1, 2), ('sgd', 'mlp')), # Stop at mlp
    (dict(mlp=.90, sgd=.80), (2, 1), ('sgd', 'mlp')), # The cheaper one stands higher on the ladder
    (dict(a=.70, b=.80, c=.90), (1, 2, 3), ('b', 'c')), # The best of the cheaper ones
    (dict(sgd=.90, mlp=.80), (1, 2), None), # Nothing is cheaper
    (dict(sgd=.90), (1,), None)])
def test_the_step_of_a_decision_is_from_the_best_cheaper_rung(rights, seconds, step):
    rungs = [(name, s, first(round(1000 * a), 1000)) for (name, a), s in zip(rights.items(), seconds)]
    assert rules.claimed_step(decide(rungs), rungs) == step

def test_the_step_of_an_open_decision_is_to_the_rung_that_is_ahead():
    rungs = [('sgd', 1, SMALL), ('mlp', 2, but(SMALL, 14, 7))]
    found = decide(rungs)
    assert found.stop == 'sgd' and rules.claimed_step(found, rungs) == ('sgd', 'mlp')

def test_nothing_learned_is_no_step():
    rungs = [('sgd', 1, first(50, 100)), ('mlp', 2, first(51, 100))]
    assert rules.claimed_step(decide(rungs, least=.5), rungs) is None

def test_what_choosing_adds_is_two_thirds_of_a_standard_error():
    assert rules.chosen_points(.9, 900) == pytest.approx(2 / 3) and rules.chosen_points(1., 900) == 0

def test_the_best_of_ten_equal_settings_looks_better_by_about_as_much():
    "Settings that are right about nearly the same images, as those of one recipe are"
    rng, n, found = np.random.default_rng(0), 400, []
    for _ in range(200):
        hard = .98**.5 * rng.standard_normal(n) + .02**.5 * rng.standard_normal((10, n))
        found.append((hard < 1.2816).mean(1).max() - .9) # 90% right
    assert .5 < 100 * np.mean(found) / rules.chosen_points(.9, n) < 1.5


# Simulation: what a decision promises

def test_equal_rungs_are_told_apart_in_5_percent_at_most():
    rng, tries = np.random.default_rng(0), 200
    told = [claims(rules.tested_pairs(drawn(rng, np.full(4, .9), 360))) != {} for _ in range(tries)]
    assert np.mean(told) <= .05 + 3 * (.05 * .95 / tries)**.5

def test_of_equal_rungs_the_cheapest_is_named():
    rng = np.random.default_rng(0)
    assert np.mean([decide(drawn(rng, np.full(7, .9), 360)).stop == NAMES[0] for _ in range(40)]) >= .85

def test_the_points_given_up_against_the_best_rung_stay_below_those_promised():
    "0.8 points with 360 images, for seven rungs of .80, .82, ... .92"
    rng, lost = np.random.default_rng(0), []
    for _ in range(50):
        d = decide(drawn(rng, np.array(CLEAR), 360))
        lost.append(max(CLEAR) - CLEAR[NAMES.index(d.ahead or d.stop)])
    assert 100 * np.mean(lost) <= .8


# How many images would settle it

def test_images_needed_by_hand():
    low, high = wilson(20, 2000, .8) # 1%
    factor = (1.96 + .8416)**2 / .01**2
    assert (factor * low, factor * high) == pytest.approx((590, 1047), abs=5)
    assert images_needed(20, 2000) == (800, 2000) # At least the gain itself differs: 785

@pytest.mark.parametrize('apart, gain', [(9, .01), (0, .01), (50, 1e-9)])
def test_what_would_be_a_guess_is_not_said(apart, gain):
    assert images_needed(apart, 1000, gain) is None

@given(st.integers(10, 500), st.integers(500, 10_000), st.floats(.001, .5))
def test_images_needed_are_a_range_of_one_digit_each(apart, n, gain):
    low, high = images_needed(apart, n, gain)
    assert 0 < low <= high and all(len(str(v).rstrip('0')) == 1 for v in (low, high))

@pytest.mark.parametrize('apart, n, gain', [(54, 360, .02), (100, 2000, .01)])
def test_that_many_images_do_show_it(apart, n, gain):
    share, (_, high) = apart / n, images_needed(apart, n, gain)
    draws = np.random.default_rng(0).multinomial(
        high, [(share + gain) / 2, (share - gain) / 2, 1 - share], 400)
    assert np.mean([binomtest(int(w), int(w + l)).pvalue < .05 for w, l, _ in draws]) > .8


# Cost, a hard class, a drop

@pytest.mark.parametrize('below, this, far', [
    ((1, 1), (11, 1), True), ((1, 1), (9, 1), False), ((.1, 1), (5, 1), False), ((10, 1), (90, 1), False),
    ((1, 5), (1, 56), True), ((1, 1), (1, 40), False), ((0, 0), (60, 60), True),
])
def test_far_dearer_is_ten_times_and_enough_to_be_felt(below, this, far):
    cheap, dear = [rung('x', BASE, *map(float, v)) for v in (below, this)]
    assert far_dearer(cheap, dear) == far

@pytest.mark.parametrize('values, images, named', [
    ((.99, .85, .98), 200, True), ((.97, .95, .98), 200, False), ((.99, .85, .98), 20, False),
    ((.99, .85, None), 200, True), ((1., .985, 1.), 9000, False), ((.9,), 200, False),
])
def test_a_class_is_hard_where_it_is_clearly_and_much_worse(values, images, named):
    hard = hard_class(recalls(*values, images=images)['failures'].per_class)
    assert (hard is not None) == named
    if named:
        assert (hard.name, hard.recall) == ('class 1', .85)
        assert hard.others_recall == pytest.approx(np.mean([r for r in values if r not in (None, .85)]))

@pytest.mark.parametrize('accuracy, images, drops', [
    (.80, 100, True), (.80, 20, False), (.95, 100, False), (.80, None, False), (None, 100, False)])
def test_a_drop_is_told_from_luck(accuracy, images, drops):
    interval = None if accuracy is None else wilson(round(accuracy * 100), 100)
    assert dropped(rung('x', first(90, 100), test_accuracy=accuracy, test_interval=interval), 100, images) == drops
