"""The verdict: each rule on a comparison made by hand, what it says of real ones, and its wording

To rewrite tests/wording/verdict.txt after a change of words: REWRITE_SCREENS=1 pytest -n 0 tests/test_verdict.py"""
import math, os, re
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import binomtest
from fastrecipes.answer.chance import Interval
from fastrecipes.answer.climb import compare
from fastrecipes.answer.records import ClassScores, Majority, Verdict
from fastrecipes.answer.rules import (
    confidence_off, far_dearer, findings, hard_class, images_needed, Ladder, luck_not_ruled_out, seeds_would_tell,
)
from fastrecipes.answer.verdict import brief, price_text, verdict
from conftest import REPO
from made import ALIKE, BASE, BETTER, but, calibrated, curve, failed, first, made, recalls, seeded

NAMES = ['similarity', 'sgd', 'linear', 'simple_net', 'mlp', 'resnet18']


def names(rungs): return [r.recipe for r in rungs]

def good(v, most):
    "What holds for every verdict"
    assert isinstance(v, Verdict) and len(v.paragraphs) <= most
    for text in (v.headline, *v.paragraphs):
        assert text and text == text.strip() and text[-1] in '.!?)' and '\n' not in text and '  ' not in text
        assert not re.search(r'\b(nan|None|inf)\b|\be-\d|\(\)|\.\.|,,|\.,', text), text

def stop(comparison):
    "Where both verdicts say to stop"
    long, short = verdict(comparison), brief(comparison)
    good(long, 5)
    good(short, 3)
    assert long.stop_at == short.stop_at and long.headline == short.headline
    assert long.stop_at is None or long.stop_at in long.headline
    return long.stop_at

def text_of(comparison): return str(verdict(comparison))

def step(comparison, below='sgd', this='mlp'):
    ladder = Ladder(comparison)
    by_name = {r.recipe: r for r in ladder.rungs}
    return ladder.step(by_name[below], by_name[this])


# Rules 1 and 3: where to stop

def test_the_simplest_rung_that_no_higher_one_is_shown_to_beat():
    c = made(dict(similarity=first(1700), sgd=BASE, linear=ALIKE, mlp=but(BASE, 5)))
    assert stop(c) == 'sgd' and '200 fewer mistakes' in verdict(c).headline
    f = findings(c)
    assert (f.gain.below.recipe, f.gain.fewer) == ('similarity', 200)
    assert (f.next.this.recipe, f.closest.this.recipe) == ('linear', 'mlp')

def test_any_higher_rung_counts_and_not_only_the_next():
    assert stop(made(dict(sgd=BASE, linear=ALIKE, mlp=BETTER))) == 'mlp'
    assert stop(made(dict(sgd=BASE, linear=ALIKE))) == 'sgd'

def test_between_rungs_that_cannot_be_told_apart_the_simpler_wins_whatever_its_cost():
    c = made(dict(sgd=BASE, linear=ALIKE), dict(sgd=dict(train=50.), linear=dict(train=1.)))
    assert stop(c) == 'sgd' and findings(c).gain is None

def test_the_simplest_of_all_may_be_the_one():
    assert stop(made(dict(similarity=BASE, sgd=but(BASE, 0, 9), mlp=ALIKE))) == 'similarity'

def test_the_top_may_be_the_one():
    c = made(dict(similarity=first(1500), sgd=BASE, mlp=BETTER))
    f = findings(c)
    assert stop(c) == 'mlp'
    assert names(f.better_than) == ['similarity', 'sgd'] and f.gain.below.recipe == 'sgd' and f.gain.fewer == 36
    assert f.above == [] and f.next is f.closest is None

@pytest.mark.parametrize('won, lost, wanted', [(6, 0, 'mlp'), (5, 0, 'sgd'), (15, 5, 'mlp'), (14, 6, 'sgd')])
def test_the_line_is_that_of_the_exact_test(won, lost, wanted):
    assert stop(made(dict(sgd=BASE, mlp=but(BASE, won, lost)))) == wanted

def test_where_better_does_not_pass_on_from_rung_to_rung_it_is_found_and_said():
    a, c = first(1900), but(first(1900), 10, 1)
    b = but(c, 0, 5) # Not shown to be worse than c, nor better than a
    three = made(dict(sgd=a, linear=b, mlp=c))
    f = findings(three)
    assert stop(three) == 'linear'
    assert names(f.not_better_than) == ['sgd'] and f.instead.recipe == 'mlp' and f.gain is None
    four = findings(made(dict(sgd=a, linear=a, simple_net=b, mlp=c)))
    assert names(four.not_better_than) == names(four.instead_beats) == ['sgd', 'linear']
    assert four.instead.recipe == 'mlp'

def test_one_rung_alone_is_not_compared():
    f = findings(made(dict(mlp=BASE)))
    assert f.alone and f.stop.recipe == 'mlp' and f.steps == [] and stop(made(dict(mlp=BASE))) == 'mlp'
    assert 'Stop' not in verdict(made(dict(mlp=BASE))).headline and len(brief(made(dict(mlp=BASE))).paragraphs) == 0


# Rule 1: seeds

LOW, HIGH, LUCKY = (.950, .951, .949, .9505, .9495), (.968, .967, .969, .9685, .9675), (.968, .949, .950, .951, .9495)

def with_seeds(this, low, high, seeds=((1, 2, 3, 4, 5),) * 2):
    return made(dict(sgd=BASE, mlp=this), dict(sgd=seeded(low, seeds[0]), mlp=seeded(high, seeds[1])))

def test_a_step_that_holds_over_five_seeds_counts_and_one_that_does_not_is_luck():
    steady, lucky = with_seeds(BETTER, LOW, HIGH), with_seeds(BETTER, LOW, LUCKY)
    assert stop(steady) == 'mlp' and step(steady).over_seeds.words == 'better' and '--repeats' not in text_of(steady)
    assert stop(lucky) == 'sgd' and step(lucky).words == 'better' and step(lucky).over_seeds.words == 'no clear gain'
    assert 'confirmed' in text_of(steady) and '5 seeds' in text_of(lucky) and '-0.7 to 1.4' in text_of(lucky)
    assert 'confirmed' not in text_of(lucky)

def test_fewer_seeds_only_comment():
    c = with_seeds(BETTER, LOW[:2], LUCKY[:2])
    assert stop(c) == 'mlp' and step(c).seeds == 2 and 'more seeds would help' in text_of(c)

def test_a_step_that_is_shown_to_be_worse_over_a_few_seeds_does_not_count():
    assert stop(with_seeds(BETTER, (.95, .951, .949), (.90, .901, .899))) == 'sgd'
    unclear = with_seeds(BETTER, (.95, .96, .94), (.96, .95, .955))
    assert stop(unclear) == 'mlp', 'unclear results of a few seeds change nothing'

def test_only_seeds_that_both_were_fitted_with_are_compared():
    c = with_seeds(BETTER, LOW, HIGH, ((1, 2, 3, 4, 5), (4, 5, 6, 7, 8)))
    assert stop(c) == 'mlp' and step(c).seeds == 2
    none = step(with_seeds(but(BASE, 9), LOW[:2], HIGH[:2], ((1, 2), (3, 4))))
    assert none.seeds == 0 and none.over_seeds is None

def test_what_seeds_show_and_these_images_do_not_is_no_reason_to_go_on():
    c = with_seeds(ALIKE, LOW, HIGH)
    assert stop(c) == 'sgd' and step(c).over_seeds.words == 'better' and 'too few' in text_of(c)

@pytest.mark.parametrize('this, asks', [
    (but(BASE, 18, 0), True), (but(BASE, 22, 0), False), (ALIKE, True), (but(BASE, 3, 12), False),
])
def test_more_seeds_are_asked_for_where_the_step_is_small_or_not_shown_but_not_where_it_leads_down(this, asks):
    c = made(dict(sgd=BASE, mlp=this))
    assert seeds_would_tell(step(c)) == asks == ('--repeats 5' in text_of(c)) == ('--repeats 5' in str(brief(c)))

def test_a_p_that_many_tests_could_bring_about_may_be_luck():
    rights = dict(sgd=BASE, linear=ALIKE, simple_net=ALIKE, mlp=but(BASE, 30, 14))
    assert binomtest(30, 44).pvalue == pytest.approx(.0226, abs=1e-4)
    many, two = made(rights), made({k: rights[k] for k in ('sgd', 'mlp')})
    assert step(many).tests == 3
    assert luck_not_ruled_out(step(many)) and 'p = 0.02' in text_of(many) and 'luck' in text_of(many)
    assert step(two).tests == 1 and not luck_not_ruled_out(step(two)) and 'luck' not in text_of(two)


# Rule 2: the most frequent class

def test_a_rung_that_is_no_better_than_the_most_frequent_class_is_out_and_is_named():
    one = made(dict(similarity=first(1010), sgd=BASE, mlp=ALIKE))
    two = made(dict(similarity=first(1010), sgd=first(1020), mlp=BASE))
    assert stop(one) == 'sgd' and names(findings(one).nothing_learned) == ['similarity'] and '50.5%' in text_of(one)
    assert stop(two) == 'mlp'
    assert names(findings(two).nothing_learned) == ['similarity', 'sgd'] and findings(two).gain is None

def test_a_rung_that_has_learned_nothing_is_out_though_none_above_is_shown_to_beat_it():
    few = dict(similarity=first(22, 40)) # 55%
    few['mlp'] = but(few['similarity'], 6, 3) # 62.5%, interval from 47.0
    assert stop(made(few)) is None
    few['mlp'] = but(few['similarity'], 11, 3) # 75%, interval from 59.8; not shown to be better, p = 0.06
    assert step(made(few), 'similarity').words == 'no clear gain' and stop(made(few)) == 'mlp'

def test_where_nothing_was_learned_there_is_no_rung_to_stop_at():
    c = made(dict(similarity=first(22, 40), mlp=first(24, 40)))
    assert stop(c) is None
    assert findings(c) is None and '60.0%' in verdict(c).headline and 'fastrecipes check' in text_of(c)


# Rule 4: the gain and the price

@pytest.mark.parametrize('below, this, far', [
    ((1, 1), (11, 1), True), ((1, 1), (9, 1), False), ((.1, 1), (5, 1), False), ((10, 1), (90, 1), False),
    ((1, 5), (1, 56), True), ((1, 1), (1, 40), False), ((0, 0), (60, 60), True),
])
def test_far_dearer_is_ten_times_and_enough_to_be_felt(below, this, far):
    of = [dict(zip(('train', 'predict'), map(float, v))) for v in (below, this)]
    c = made(dict(sgd=BASE, mlp=BETTER), dict(sgd=of[0], mlp=of[1]))
    assert stop(c) == 'mlp' and far_dearer(findings(c).gain) == far == ('stop at sgd (95.0%)' in verdict(c).headline)

@pytest.mark.parametrize('below, this, words', [
    ((1, 10), (1.2, 8), ', at about the same cost'),
    ((1, 10), (2, 10), ', for about 2x the training time and about the same prediction time'),
    ((1, 10), (.3, 70), ', for less training time and about 6x the prediction time'),
    ((0, 10), (1, 30), ', for about 3x the prediction time'),
    ((0, 0), (1, 3), ''),
    ((.01, .1), (.9, 9), ', at a negligible cost'),
    ((.01, .1), (3, 9), ', for about 300x the training time'),
    ((.01, .1), (.9, 20), ', for about 200x the prediction time'),
])
def test_the_price_is_in_rough_multiples_of_times_that_are_felt(below, this, words):
    of = [dict(zip(('train', 'predict'), map(float, v))) for v in (below, this)]
    text = price_text(step(made(dict(sgd=BASE, mlp=BETTER), dict(sgd=of[0], mlp=of[1]))))
    assert re.findall(r'\d+x|same|less|negligible|training|prediction|cost', text) == words.split(), text

def test_the_good_enough_rung_is_where_the_ladder_below_would_end():
    f = findings(made(dict(similarity=first(1500), sgd=BASE, linear=ALIKE, simple_net=ALIKE, mlp=BETTER)))
    assert f.stop.recipe == 'mlp'
    assert f.gain.below.recipe == 'sgd' and names(f.better_than) == ['similarity', 'sgd', 'linear', 'simple_net']


# Rule 5: what the rungs above would gain

def test_the_next_rung_and_the_closest_one_are_described():
    f = findings(made(dict(sgd=BASE, linear=but(BASE, 1, 2), simple_net=but(BASE, 1, 12), mlp=ALIKE)))
    assert (f.next.this.recipe, f.next.fewer, f.closest.this.recipe, f.closest.fewer) == ('linear', -1, 'mlp', 4)
    assert names(f.above) == ['linear', 'simple_net', 'mlp']

def test_a_next_rung_that_is_worse_is_called_worse():
    c = made(dict(sgd=BASE, mlp=but(BASE, 1, 12)))
    assert step(c).words == 'worse' and 'shown to be worse' in text_of(c) and 'shown to be worse' in str(brief(c))

def test_it_says_how_many_validation_images_would_show_the_difference():
    n = ((1.96 * .1 + .8416 * math.sqrt(.01 - .002**2)) / .002)**2 # d = 0.01, g = 0.002
    assert n == pytest.approx(19_622, abs=20) and images_needed(12, 8, 2000) == pytest.approx(n)
    for text in (text_of, lambda c: str(brief(c))): assert '20,000' in text(made(dict(sgd=BASE, mlp=ALIKE)))

def test_a_rung_that_is_not_ahead_needs_no_more_images():
    assert images_needed(7, 7, 100) is None and 'four of five' not in text_of(made(dict(sgd=BASE, mlp=but(BASE, 7, 7))))

def test_fewer_than_six_images_cannot_show_a_difference():
    c = made(dict(sgd=first(36, 40), mlp=but(first(36, 40), 3)))
    assert stop(c) == 'sgd' and 'Only 3 of the 40' in text_of(c) and '2.5 points' in text_of(c)
    assert 'Only' not in text_of(made(dict(sgd=BASE, mlp=but(BASE, 5, 1))))

@pytest.mark.parametrize('won, lost, n', [(12, 8, 400), (30, 10, 2000), (9, 2, 300), (3, 0, 40)])
def test_that_many_images_do_show_it_in_about_four_of_five_tries(won, lost, n):
    needed = math.ceil(images_needed(won, lost, n))
    draws = np.random.default_rng(0).multinomial(needed, [won / n, lost / n, 1 - (won + lost) / n], 600)
    shown = np.mean([binomtest(int(w), int(w + l)).pvalue < .05 if w + l else False for w, l, _ in draws])
    assert .6 < shown < .9, shown # The exact test is careful where few images tell

@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 10_000))
def test_what_is_not_shown_needs_more_images_than_there_are(won, lost, more):
    n = won + lost + more
    if won != lost and binomtest(won, won + lost).pvalue >= .05: assert images_needed(won, lost, n) > n


# Rule 6: data

@pytest.mark.parametrize('of, wanted', [
    (dict(sgd='no help shown', mlp='likely to help'), 'Why mlp.'),
    (dict(sgd='likely to help', mlp='no help shown'), 'Why mlp.'),
    (dict(sgd='likely to help'), 'help sgd.'),
    (dict(mlp='not known'), None),
])
def test_the_learning_curve_speaks_where_there_is_one(of, wanted):
    text = text_of(made(dict(sgd=BASE, mlp=BETTER), curve=curve(**of)))
    assert '--learning-curve' not in text and (wanted in text if wanted else 'training images' not in text)

@pytest.mark.parametrize('rights, asks', [
    (dict(sgd=BASE, mlp=BETTER), True),
    (dict(sgd=BASE, mlp=ALIKE), False),
    (dict(sgd=BASE, mlp=but(BASE, 85)), False),
    (dict(sgd=BASE, mlp=but(BASE, 79)), True),
])
def test_a_learning_curve_is_asked_for_at_the_top_below_99_percent(rights, asks):
    assert ('--learning-curve' in text_of(made(rights))) == asks


# Rule 7: what to be careful with

def test_rungs_that_were_not_fitted_are_named_with_the_cure():
    others = (failed('linear', status='stopped', reason='Ctrl-C in epoch 2', cure='use --resume'),
              failed('resnet18', reason='the loss was NaN', cure='use a smaller lr'))
    c = made(dict(sgd=BASE, mlp=ALIKE), others=others)
    last = verdict(c).paragraphs[-1]
    assert stop(c) == 'sgd'
    words = ('linear', 'stopped', 'Ctrl-C in epoch 2', 'use --resume', 'resnet18', 'failed', 'use a smaller lr')
    assert [w for w in words if w not in last] == []
    many = made(dict(sgd=BASE), others=tuple(failed(f'r{i}') for i in range(5)))
    assert 'r2 failed' in text_of(many) and 'r3' not in text_of(many) and '2 more' in text_of(many)

def test_where_all_failed_there_is_no_verdict():
    c = made({}, others=(failed('sgd', reason='no memory'), failed('mlp', reason='no memory')))
    told, = verdict(c).paragraphs
    assert stop(c) is None and re.findall('sgd|mlp|failed|no memory', told) == [
        'sgd', 'failed', 'no memory', 'mlp', 'failed', 'no memory']

@pytest.mark.parametrize('asked, interval, wanted', [
    (False, Interval(.95, .975), ''),
    (True, Interval(.95, .975), '1,000 test images'),
    (True, Interval(.88, .95), 'trust the test'),
])
def test_the_test_images_are_reported_only_where_they_were_asked_for(asked, interval, wanted):
    c = made(dict(sgd=BASE, mlp=BETTER), dict(mlp=dict(test_accuracy=.95, test_interval=interval)), test_asked=asked)
    assert ('test images' in text_of(c)) == asked == ('test images' in str(brief(c))) and wanted in text_of(c)
    assert ('trust' in text_of(c)) == (wanted == 'trust the test')

@pytest.mark.parametrize('of, images, named', [
    ((.99, .85, .98), 200, True), ((.97, .95, .98), 200, False), ((.99, .85, .98), 20, False),
    ((.99, .85, None), 200, True), ((1., .985, 1.), 9000, False), ((.9,), 200, False),
])
def test_a_class_is_named_where_it_is_clearly_and_much_worse(of, images, named):
    more = recalls(*of, images=images)
    hard = hard_class(more['failures'].per_class)
    assert (hard is not None) == named == ('recognises' in text_of(made(dict(sgd=BASE), dict(sgd=more))))
    if named:
        assert hard.name == 'class 1'
        assert hard.recall == .85
        assert hard.others_recall == pytest.approx(np.mean([r for r in of if r not in (None, .85)]))

@pytest.mark.parametrize('ece, confidence, accuracy, off', [
    (.08, .98, .9, 8), (.08, .8, .88, -8), (.04, .98, .94, None),
])
def test_probabilities_that_are_far_off_are_mentioned(ece, confidence, accuracy, off):
    c = made(dict(sgd=BASE), dict(sgd=calibrated(ece, confidence, accuracy)))
    found = confidence_off(c.rungs[0], 2000)
    assert found == (None if off is None else pytest.approx(off)) and confidence_off(c.rungs[0], 100) is None
    assert ('probabilities' in text_of(c)) == (off is not None) and ('too confident' in text_of(c)) == (off == 8)

def test_names_are_on_one_line_and_not_escaped_for_a_page():
    more = recalls(.99, .5, .99)['failures']
    scores = tuple(ClassScores(**dict(s, name='<script>\u202e\x07') if i == 1 else dict(s))
                   for i, s in enumerate(more.per_class))
    c = made(dict(sgd=BASE), dict(sgd=dict(failures=more.model_copy(update=dict(per_class=scores)))),
             majority=Majority(name='<b>x\n\x1b[31m</b>', share=.5))
    text = text_of(c)
    assert '<script>' in text and '<b>x' in text and not {'\x07', '\u202e', '\x1b'} & set(text) and stop(c) == 'sgd'


# Any comparison

share = st.floats(0, 1)
seconds = st.floats(0, 1e9)

def maybe(value): return st.none() | value

@st.composite
def comparisons(draw):
    n = draw(st.integers(1, 60))
    drawn = draw(st.lists(st.sampled_from(NAMES), max_size=6, unique=True))
    base = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    def right(seed, share): return base ^ (np.random.default_rng(seed).random(n) < share)
    rights = {k: right(draw(st.integers(0, 99)), draw(st.sampled_from([0, .05, .3]))) for k in NAMES if k in drawn}
    rungs = {}
    for name in rights:
        more = draw(maybe(st.lists(share, min_size=1, max_size=5).map(seeded)))
        of_classes = draw(maybe(st.lists(maybe(share), max_size=4)))
        scores = {} if of_classes is None else recalls(*of_classes, images=draw(st.integers(0, 50)))
        rungs[name] = dict(train=draw(seconds), predict=draw(seconds)) | (more or {}) | scores
    not_fitted = failed('a'), failed('b', status='stopped', reason='why'), failed('c', cure='so')
    others = draw(st.lists(st.sampled_from(not_fitted), max_size=3, unique_by=lambda r: r.recipe))
    of_curve = st.sampled_from(['likely to help', 'no help shown', 'not known'])
    words = draw(maybe(st.dictionaries(st.sampled_from(NAMES), of_curve)))
    return made(rights, rungs, tuple(others), majority=Majority(name='c', share=draw(share)),
                curve=None if words is None else curve(**words))

@settings(max_examples=100, deadline=None)
@given(comparisons())
def test_every_comparison_has_a_verdict_and_the_same_one_again(c):
    stop(c)
    assert verdict(c) == verdict(c) == c.verdict

def test_a_real_comparison_of_ten_classes(digits):
    c = compare(digits, 'similarity,sgd,linear,mlp', device='cpu')
    assert stop(c) in ('sgd', 'mlp')
    assert verdict(c) == c.verdict and '10.3%' in text_of(c) # 37 of 360 are of the most frequent class

def test_on_the_images_of_the_lesson_each_real_step_is_seen_and_the_learner_that_changes_nothing_is_not(mnist_sample):
    c = compare(mnist_sample, 'similarity,sgd,linear,mlp', device='cpu')
    f = findings(c)
    assert stop(c) == 'mlp' and names(f.better_than) == ['similarity', 'sgd', 'linear'] and f.gain.below.recipe == 'sgd'
    assert step(c, 'sgd', 'linear').words == 'no clear gain'


# The words

CASES = {
    'the top is better, and far dearer': made(dict(similarity=first(1500), sgd=BASE, mlp=BETTER),
                                              dict(sgd=dict(train=.8, predict=.7), mlp=dict(train=16.6, predict=215.))),
    'a simple rung, and nothing above is better': made(dict(similarity=first(1700), sgd=BASE, linear=ALIKE,
                                                            simple_net=but(BASE, 1, 12), mlp=but(BASE, 5, 2))),
    'the next rung is worse': made(dict(sgd=BASE, mlp=but(BASE, 1, 12))),
    'better than one that is not better than another': made(dict(sgd=BASE, linear=BASE,
        simple_net=but(but(BASE, 10, 1), 0, 5), mlp=but(BASE, 10, 1))),
    'one rung alone, and a hint': made(dict(mlp=BASE)),
    'few images': made(dict(sgd=first(36, 40), mlp=but(first(36, 40), 3))),
    'the same images': made(dict(sgd=BASE, linear=BASE)),
    'seeds confirm it': with_seeds(BETTER, LOW, HIGH),
    'seeds do not confirm it': with_seeds(BETTER, LOW, LUCKY),
    'two seeds': with_seeds(BETTER, LOW[:2], LUCKY[:2]),
    'seeds show what the images do not': with_seeds(ALIKE, LOW, HIGH),
    'luck is not ruled out': made(dict(sgd=BASE, linear=ALIKE, simple_net=ALIKE, mlp=but(BASE, 30, 14))),
    'a rung that learned nothing, the test images, a hard class, a curve': made(
        dict(similarity=first(1010), mlp=BETTER),
        dict(mlp=dict(test_accuracy=.9, test_interval=Interval(.88, .92), **recalls(.99, .85, .98))), test_asked=True,
        curve=curve(mlp='likely to help')),
    'probabilities that are off': made(dict(sgd=BASE), dict(sgd=calibrated(.08, .98, .9))),
    'some failed': made(dict(sgd=BASE, mlp=ALIKE),
                        others=(failed('linear', status='stopped', reason='Ctrl-C in epoch 2', cure='use --resume'),
                                failed('resnet18', reason='the loss was NaN in epoch 3', cure='use a smaller lr'))),
    'all failed': made({}, others=(failed('sgd', reason='out of memory'),)),
    'nothing was learned': made(dict(similarity=first(22, 40), mlp=first(24, 40)))}

def wording():
    "Both verdicts of each case"
    lines = []
    for name, c in CASES.items():
        lines += [f'# {name}', '', '## On the page', str(verdict(c)), '', '## On the terminal', str(brief(c)), '', '']
    return '\n'.join(lines)

def test_the_wording_is_as_it_is_stored():
    file = REPO/'tests/wording/verdict.txt'
    if os.environ.get('REWRITE_SCREENS'):
        file.parent.mkdir(exist_ok=True)
        file.write_text(wording(), encoding='utf-8')
    assert wording() == file.read_text(encoding='utf-8')

def test_a_paragraph_on_a_terminal_is_short():
    for name, c in CASES.items(): assert max(map(len, [brief(c).headline, *brief(c).paragraphs])) <= 400, name
