"""The verdict: what it says of a decision, on comparisons made by hand and on real ones, and its wording

To rewrite tests/wording/verdict.txt after a change of words: REWRITE_SCREENS=1 pytest -n 0 tests/test_verdict.py"""
import os, re
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from fastrecipes.answer.chance import Interval
from fastrecipes.answer.climb import compare
from fastrecipes.answer.records import ClassScores, ErrorRates, Majority, Verdict
from fastrecipes.answer import rules
from fastrecipes.answer.rules import images_needed
from fastrecipes.answer.verdict import brief, Findings, price_text, verdict
from conftest import REPO
from made import ALIKE, BASE, BETTER, but, calibrated, curve, failed, first, made, recalls, rung

NAMES = ['similarity', 'sgd', 'linear', 'simple_net', 'mlp', 'resnet18']
SMALL = first(320, 360)
AHEAD = but(SMALL, 14, 7) # By 1.9 points, not shown


def names(rungs): return [r.recipe for r in rungs]

def good(v, most):
    "What holds for every verdict"
    assert isinstance(v, Verdict) and len(v.paragraphs) <= most
    for text in (v.headline, *v.paragraphs):
        assert text and text == text.strip() and text[-1] in '.!?)' and '\n' not in text and '  ' not in text
        assert not re.search(r'\b(nan|None|inf)\b|\be-\d|\(\)|\.\.|,,|\.,|about about', text), text

def stop(comparison):
    "Where both verdicts say to stop"
    long, short = verdict(comparison), brief(comparison)
    good(long, 5)
    good(short, 3)
    assert long.stop_at == short.stop_at and long.headline == short.headline
    assert long.stop_at is None or long.stop_at in long.headline
    assert long.stop_at == (comparison.decision and comparison.decision.stop)
    return long.stop_at

def text_of(comparison): return str(verdict(comparison))


# The headline

def test_a_rung_that_is_the_whole_answer_with_what_it_gains_over_the_best_cheaper_one():
    c = made(dict(similarity=first(1500), sgd=BASE, mlp=BETTER))
    headline = verdict(c).headline
    assert stop(c) == 'mlp' and '96.8%' in headline and '36' in headline and 'sgd' in headline
    assert 'choose' not in headline and not Findings.of(c).is_open

def test_a_lower_rung_is_compared_with_the_cheaper_one_and_not_with_those_above():
    c = made(dict(similarity=first(1700), sgd=BASE, linear=ALIKE))
    assert stop(c) == 'sgd' and '200' in verdict(c).headline and 'linear' not in verdict(c).headline

def test_two_rungs_that_the_images_cannot_choose_between():
    c = made(dict(sgd=SMALL, mlp=AHEAD), dict(sgd=dict(train=1.), mlp=dict(train=40.)))
    f, headline = Findings.of(c), verdict(c).headline
    g = f.gain(f.ahead, over=f.stop)
    assert stop(c) == 'sgd' and f.is_open and not g.is_shown
    low, high = g.interval
    for part in ('360', 'sgd', 'mlp', '1.9', f'{low:.1f}', f'{high:.1f}', '40x'): assert part in headline, part
    assert (g.points, g.p) == (pytest.approx(700 / 360), c.pairs[0].p_adjusted)

def test_the_one_ahead_may_stand_lower_on_the_ladder():
    c = made(dict(sgd=AHEAD, mlp=SMALL), dict(sgd=dict(train=40.), mlp=dict(train=1.)))
    f = Findings.of(c)
    g = f.gain(f.ahead, over=f.stop)
    assert stop(c) == 'mlp' and f.ahead.recipe == 'sgd' and g.points == pytest.approx(700 / 360)
    assert g.interval == tuple(-v for v in reversed(c.pairs[0].interval_points)) and '1.9' in verdict(c).headline

def test_a_rung_that_is_ahead_itself_though_others_may_be_better():
    c = made(dict(sgd=SMALL, mlp=but(SMALL, 7, 9)))
    opened, = c.decision.undecided
    assert stop(c) == 'sgd' and not Findings.of(c).is_open
    assert f'{opened.most_points:.1f}' in verdict(c).headline and 'mlp' in verdict(c).headline

def test_one_rung_alone_is_not_compared():
    c = made(dict(mlp=BASE))
    assert stop(c) == 'mlp' and 'Stop' not in verdict(c).headline and '95.0%' in verdict(c).headline
    assert len(brief(c).paragraphs) == 1 # The test images

def test_where_nothing_was_learned_there_is_no_rung_to_stop_at():
    c = made(dict(similarity=first(22, 40), mlp=first(24, 40)))
    assert stop(c) is None and '60.0%' in verdict(c).headline and 'fastrecipes check' in text_of(c)

def test_where_all_failed_there_is_no_verdict():
    c = made({}, others=(failed('sgd', reason='no memory'), failed('mlp', reason='no memory')))
    told, = verdict(c).paragraphs
    assert stop(c) is None and re.findall('sgd|mlp|failed|no memory', told) == [
        'sgd', 'failed', 'no memory', 'mlp', 'failed', 'no memory']

def test_an_earlier_file_without_a_decision_keeps_its_headline():
    c = made(dict(sgd=BASE, mlp=BETTER))
    earlier = c.model_copy(update=dict(decision=None))
    assert brief(earlier).headline == c.verdict.headline and brief(earlier).paragraphs == ()


# What was shown, and what is left open

def test_the_rungs_that_it_is_shown_to_beat_and_the_step():
    c = made(dict(similarity=first(1500), sgd=BASE, mlp=BETTER))
    f, text = Findings.of(c), text_of(c)
    assert names(f.cheaper) == ['similarity', 'sgd'] and f.best_cheaper.recipe == 'sgd'
    assert 'similarity and sgd' in text and 'p < 0.001' in text

@pytest.mark.parametrize('won, lost, said', [(16, 5, True), (40, 4, False), (12, 8, False)])
def test_a_gain_that_is_only_just_shown_is_likely_smaller(won, lost, said):
    assert ('likely smaller' in text_of(made(dict(sgd=BASE, mlp=but(BASE, won, lost))))) == said

def test_a_cheaper_rung_that_it_is_not_shown_to_beat_is_named():
    "The cheaper one has learned nothing, as far as is shown"
    few = first(22, 40)
    c = made(dict(similarity=few, mlp=but(few, 10, 3)))
    assert stop(c) == 'mlp' and 'not shown to be better than similarity' in text_of(c)
    assert 'likely smaller' not in text_of(c) and '55.0%' in text_of(c)

def test_other_rungs_in_question_are_listed_with_their_upper_ends():
    c = made(dict(sgd=SMALL, linear=AHEAD, mlp=but(SMALL, 12, 6)))
    ahead, other = c.decision.undecided
    assert c.decision.ahead == ahead.recipe == 'linear' and other.recipe == 'mlp'
    assert f'mlp by up to {other.most_points:.1f}' in text_of(c) and 'linear by up to' not in text_of(c)

def test_where_none_is_in_question_the_margin_is_said():
    base = first(9000, 10_000)
    rights = dict(sgd=base, mlp=but(base, 10, 8))
    assert '1 point or more' in text_of(made(rights)) and '2 points or more' in text_of(made(rights, margin=.02))
    assert 'or more' not in text_of(made(dict(sgd=but(base, 900), mlp=base), dict(sgd=dict(train=9.))))

def test_an_interval_above_0_whose_adjusted_p_is_not_below_5_percent_is_explained():
    c = made(dict(sgd=first(900, 1000), linear=but(first(900, 1000), 3, 2), simple_net=but(first(900, 1000), 2, 3),
                  mlp=but(first(900, 1000), 20, 8)))
    f = Findings.of(c)
    g = f.gain(f.ahead, over=f.stop)
    assert f.is_open and g.interval[0] > 0 and g.pair.p < .05 <= g.p
    assert '6 pairs' in text_of(c) and f'{g.pair.p:.2f}' in text_of(c) and f'{g.p:.2f}' in text_of(c)
    assert 'pairs' not in text_of(made(dict(sgd=SMALL, mlp=AHEAD)))

@pytest.mark.parametrize('top, said', [(1990, True), (1930, False), (2000, True)])
def test_near_100_percent_the_ratio_of_mistakes_is_said(top, said):
    low = first(1970) if top > 1950 else first(1900)
    c = made(dict(sgd=low, mlp=first(top)))
    assert stop(c) == 'mlp'
    assert ('% fewer' in text_of(c)) == said == ('% fewer' in str(brief(c)))

def test_rungs_that_learned_nothing_are_named():
    one = made(dict(similarity=first(1010), sgd=BASE, mlp=ALIKE))
    assert stop(one) == 'sgd' and '50.5%' in text_of(one) and '50.5%' in str(brief(one))
    assert 'learned' not in text_of(made(dict(sgd=BASE, mlp=ALIKE)))


# The price

@pytest.mark.parametrize('below, this, far', [((1., 1.), (11.5, 1.), True), ((1., 1.), (9., 1.), False)])
def test_a_cheaper_rung_is_offered_where_it_is_far_cheaper(below, this, far):
    of = [dict(zip(('train', 'predict'), v)) for v in (below, this)]
    c = made(dict(sgd=BASE, mlp=BETTER), dict(sgd=of[0], mlp=of[1]))
    assert stop(c) == 'mlp' and ('stop at sgd (95.0%)' in verdict(c).headline) == far

@pytest.mark.parametrize('below, this, words', [
    ((1, 10), (1.2, 8), 'about the same cost'),
    ((1, 10), (2, 10), 'about 2x the training time and about the same prediction time'),
    ((1, 10), (.3, 70), 'less training time and about 8x the prediction time'),
    ((0, 10), (1, 30), 'about 3x the prediction time'),
    ((0, 0), (1, 3), ''),
    ((.01, .1), (.9, 9), 'negligible cost'),
    ((.01, .1), (3, 9), 'about 300x the training time'),
    ((.01, .1), (.9, 20), 'about 200x the prediction time'),
])
def test_the_price_is_in_rough_multiples_of_times_that_are_felt(below, this, words):
    cheap, dear = [rung('x', BASE, *map(float, v)) for v in (below, this)]
    assert re.findall(r'\d+x|same|less|negligible|training|prediction|cost', price_text(cheap, dear)) == re.findall(
        r'\d+x|same|less|negligible|training|prediction|cost', words)


# What would settle it

def test_the_images_that_would_show_the_margin():
    c = made(dict(sgd=SMALL, mlp=AHEAD))
    low, high = images_needed(21, 360)
    for text in (text_of(c), str(brief(c))): assert f'{low:,}' in text and f'{high:,}' in text
    few = made(dict(sgd=SMALL, mlp=but(SMALL, 5, 2)))
    assert few.decision.ahead == 'mlp'
    for c in (few, made(dict(sgd=BASE, mlp=BETTER))): assert 'a gain of 1 point in' not in text_of(c) # A guess; decided
    groups = np.arange(360) // 2
    assert 'a gain of 1 point in' in text_of(made(dict(sgd=SMALL, mlp=AHEAD)))
    assert 'a gain of 1 point in' not in text_of(made(dict(sgd=SMALL, mlp=AHEAD), groups=groups))

SEEDED = dict(sgd=np.stack([BASE] * 5), mlp=np.stack([but(BASE, 40 - i, 4) for i in range(5)]))

def test_one_seed_is_said_and_several_are_counted():
    one, five = made(dict(sgd=BASE, mlp=BETTER)), made(SEEDED)
    assert '--repeats' in text_of(one) and '--repeats' in str(brief(one))
    assert '--repeats' not in text_of(five) and '5 seeds' in text_of(five)
    assert '--repeats' not in text_of(made(dict(mlp=BASE)))
    two = made(dict(sgd=np.stack([BASE] * 2), mlp=np.stack([BETTER, but(BASE, 9, 4)])))
    assert two.decision.undecided and '2 seeds' in text_of(two) and '--repeats 5' in text_of(two)

def test_accuracies_over_seeds_are_means():
    c = made(SEEDED)
    f = Findings.of(c)
    mean = SEEDED['mlp'].mean()
    assert f.stop.mean_accuracy == pytest.approx(mean) != f.stop.accuracy
    assert f'{100 * mean:.1f}%' in verdict(c).headline
    assert round(2000 * f.gain(f.stop, over=f.best_cheaper).points / 100) == round((mean - .95) * 2000) == 34
    assert '34' in verdict(c).headline

def test_how_often_such_a_verdict_is_wrong():
    errors = ErrorRates(wrong=.125, shown_points=3.2, simulated=120)
    text = text_of(made(dict(sgd=SMALL, mlp=AHEAD), errors=errors))
    assert '12%' in text and '3.2' in text and '120' in text
    assert 'simulated' not in text_of(made(dict(sgd=SMALL, mlp=AHEAD)))

@pytest.mark.parametrize('of, wanted', [
    (dict(sgd='no help shown', mlp='likely to help'), 'Why mlp.'),
    (dict(sgd='likely to help', mlp='unlikely to help'), 'Why mlp.'),
    (dict(sgd='likely to help', mlp='cannot tell'), 'Why mlp.'),
    (dict(sgd='likely to help'), 'help sgd.'),
    (dict(sgd='cannot tell'), None),
])
def test_the_learning_curve_speaks_where_there_is_one(of, wanted):
    text = text_of(made(dict(sgd=BASE, mlp=BETTER), curve=curve(**of)))
    assert '--learning-curve' not in text and (wanted in text if wanted else 'training images' not in text)
    if 'mlp' in of: assert of['mlp'] in text

@pytest.mark.parametrize('rights, asks', [
    (dict(sgd=BASE, mlp=BETTER), True),
    (dict(sgd=SMALL, mlp=AHEAD), False),
    (dict(sgd=BASE, mlp=but(BASE, 85)), False),
    (dict(sgd=BASE, mlp=but(BASE, 79)), True),
])
def test_a_learning_curve_is_asked_for_where_it_is_decided_below_99_percent(rights, asks):
    assert ('--learning-curve' in text_of(made(rights))) == asks


# What to be careful with

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

def on_test(accuracy, asked=True, **more):
    interval = Interval(accuracy - .03, accuracy + .02)
    rungs = dict(mlp=dict(test_accuracy=accuracy, test_interval=interval))
    return made(dict(sgd=BASE, mlp=BETTER), rungs, test_asked=asked, **more)

@pytest.mark.parametrize('accuracy, dropped', [(.96, False), (.957, False), (.95, True), (.90, True), (.98, False)])
def test_a_drop_on_the_test_images_is_said_only_where_it_is_shown(accuracy, dropped):
    "Of 2,000 and 1,000 images: 96.8% and 95.7% may be luck, 95% is not"
    for text in (text_of(on_test(accuracy)), str(brief(on_test(accuracy)))):
        assert ('believe' in text) == dropped and '1,000 test images' in text and f'{100 * accuracy:.1f}%' in text

def test_the_test_is_asked_for_where_there_is_one_and_not_reported_where_it_was_not_asked_for():
    c = on_test(.90, asked=False)
    for text in (text_of(c), str(brief(c))): assert '--test' in text and '90.0%' not in text and 'believe' not in text
    none = c.model_copy(update=dict(images=c.images.model_copy(update=dict(test=None))))
    assert '--test' not in text_of(none) and 'test images' not in text_of(none)

def with_step_on_test(won, lost):
    "The step from sgd to mlp on 1,000 test images"
    sgd = first(900, 1000)
    step, = rules.tested_pairs([('sgd', 1, sgd), ('mlp', 2, but(sgd, won, lost))])
    c = on_test(.95)
    return step, c.model_copy(update=dict(decision=c.decision.model_copy(update=dict(on_test=step))))

@pytest.mark.parametrize('won, lost, outcome', [
    (40, 10, 'is significant'), (12, 10, 'not significant'), (10, 40, 'is significant')])
def test_the_step_is_tested_on_the_test_images_too(won, lost, outcome):
    step, c = with_step_on_test(won, lost)
    for care in (verdict(c).paragraphs[-1], brief(c).paragraphs[-1]):
        verb = 'mlp gains' if won > lost else 'mlp loses'
        assert f'{verb} {abs(step.gain_points):.1f} points' in care and outcome in care

def test_how_much_choosing_adds_is_said_where_no_test_images_were_used():
    assert 'too high' in text_of(on_test(.9, asked=False)) and 'too high' not in text_of(on_test(.96))
    few, many = (made({'sgd': first(round(.9 * n), n)}) for n in (100, 10_000))
    assert '2.0 points too high' in text_of(few) and '0.2 points too high' in text_of(many)

@pytest.mark.parametrize('values, named', [((.99, .85, .98), True), ((.97, .95, .98), False)])
def test_a_hard_class_is_named(values, named):
    text = text_of(made(dict(sgd=BASE), dict(sgd=recalls(*values))))
    assert ("'class 1'" in text) == named == ('85.0%' in text)

@pytest.mark.parametrize('gap, p, word', [(.08, .01, 'too sure'), (-.08, .01, 'too modest'), (.08, .05, None),
                                          (-.08, .4, None), (.08, None, None)])
def test_probabilities_that_are_off_are_said_only_where_that_is_shown_and_with_the_direction(gap, p, word):
    c = made(dict(sgd=BASE), dict(sgd=calibrated(gap, p)))
    for text in (text_of(c), str(brief(c))):
        assert re.findall('too sure|too modest', text) == ([word] if word else [])
        assert ('8.0 points' in text) == (word is not None)

def test_groups_are_said_with_the_effective_number_of_images_and_their_absence_too():
    groups = np.arange(2000) // 10
    c = made(dict(sgd=BASE, mlp=BETTER), groups=groups)
    assert f'{c.decision.effective_images:,.0f}' in text_of(c) and 'groups' in text_of(c)
    alone = text_of(made(dict(sgd=BASE, mlp=BETTER)))
    assert 'groups' not in alone and 'independent' in alone

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
    n, seeds = draw(st.integers(1, 60)), draw(st.integers(1, 3))
    drawn = draw(st.lists(st.sampled_from(NAMES), max_size=6, unique=True))
    base = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    def right(seed, share): return base ^ (np.random.default_rng(seed).random((seeds, n)) < share)
    rights = {k: right(draw(st.integers(0, 99)), draw(st.sampled_from([0, .05, .3]))) for k in NAMES if k in drawn}
    rungs = {}
    for name in rights:
        of_classes = draw(maybe(st.lists(maybe(share), max_size=4)))
        scores = {} if of_classes is None else recalls(*of_classes, images=draw(st.integers(0, 50)))
        scores = draw(st.sampled_from([scores, calibrated(draw(st.floats(-.1, .9)), draw(maybe(share)))]))
        rungs[name] = dict(train=draw(seconds), predict=draw(seconds)) | scores
    not_fitted = failed('a'), failed('b', status='stopped', reason='why'), failed('c', cure='so')
    others = draw(st.lists(st.sampled_from(not_fitted), max_size=3, unique_by=lambda r: r.recipe))
    of_curve = st.sampled_from(['likely to help', 'unlikely to help', 'cannot tell', 'no help shown', 'not known'])
    words = draw(maybe(st.dictionaries(st.sampled_from(NAMES), of_curve)))
    errors = draw(maybe(st.builds(ErrorRates, wrong=share, shown_points=st.floats(0, 100), simulated=st.just(120))))
    return made(rights, rungs, tuple(others), margin=draw(st.floats(1e-6, 1)), errors=errors,
                groups=np.arange(n) // 2 if n > 3 and draw(st.booleans()) else None,
                majority=Majority(name='c', share=draw(share)), curve=None if words is None else curve(**words))

@settings(max_examples=100, deadline=None)
@given(comparisons())
def test_every_comparison_has_a_verdict_and_the_same_one_again(c):
    stop(c)
    assert verdict(c) == verdict(c) == c.verdict

def test_a_real_comparison_of_ten_classes(digits):
    c = compare(digits, 'similarity,sgd,linear,mlp', device='cpu')
    assert stop(c) == c.decision.stop != 'similarity' and (c.decision.ahead or stop(c)) == 'mlp'
    assert verdict(c) == c.verdict and '10.3%' in text_of(c) # 37 of 360 are of the most frequent class
    assert 0 <= c.decision.errors.wrong <= 1

def test_on_the_images_of_the_lesson_each_real_step_is_seen_and_the_learner_that_changes_nothing_is_not(mnist_sample):
    c = compare(mnist_sample, 'similarity,sgd,linear,mlp', device='cpu')
    words = {(p.below, p.recipe): p.words for p in c.pairs}
    assert stop(c) == 'mlp' and {words[below, 'mlp'] for below in ('similarity', 'sgd', 'linear')} == {'better'}
    assert words['sgd', 'linear'] == 'no clear gain'


# The words

NEAR = first(1972)
EVERY_TENTH = np.arange(2000) // 10
UNSURE = made(
    dict(similarity=first(260, 360), sgd=SMALL, linear=but(SMALL, 4, 5), simple_net=but(SMALL, 9, 6), mlp=AHEAD),
    dict(sgd=dict(train=.8, predict=.7), mlp=dict(train=32., predict=2.)),
    errors=ErrorRates(wrong=.11, shown_points=5.2, simulated=120))

CASES = {
    'the top is better, and far dearer': made(
        dict(similarity=first(1500), sgd=BASE, mlp=BETTER),
        dict(sgd=dict(train=.8, predict=.7), mlp=dict(train=16.6, predict=215.)),
        errors=ErrorRates(wrong=0, shown_points=1.4, simulated=120)),
    'a simple rung, and nothing above is better': made(dict(
        similarity=first(1700), sgd=BASE, linear=ALIKE, simple_net=but(BASE, 1, 12), mlp=but(BASE, 5, 2))),
    'undecided': UNSURE,
    'undecided, and a p of its own that is small': made(dict(
        sgd=first(900, 1000), linear=but(first(900, 1000), 3, 2), simple_net=but(first(900, 1000), 2, 3),
        mlp=but(first(900, 1000), 20, 8))),
    'the most accurate, but a dearer one may be better': made(dict(sgd=SMALL, mlp=but(SMALL, 7, 9))),
    'the dearer rung is worse': made(dict(sgd=BASE, mlp=but(BASE, 1, 12))),
    'one rung alone': made(dict(mlp=BASE)),
    'few images': made(dict(sgd=first(36, 40), mlp=but(first(36, 40), 3))),
    'the same images': made(dict(sgd=BASE, linear=BASE)),
    'shown over five seeds': made(SEEDED),
    'not shown over five seeds': made(dict(
        sgd=np.stack([BASE] * 5), mlp=np.stack([BETTER, *(but(BASE, 4, 4 + i) for i in range(4))]))),
    'two seeds': made(dict(sgd=np.stack([BASE] * 2), mlp=np.stack([BETTER, but(BASE, 9, 4)]))),
    'near 100%': made(dict(sgd=NEAR, mlp=but(NEAR, 16, 2))),
    'images in groups': made(dict(sgd=BASE, mlp=but(BASE, 40, 4)), groups=EVERY_TENTH),
    'a wider margin': made(dict(sgd=SMALL, mlp=AHEAD), margin=.03),
    'a rung that learned nothing, lower on the test images, a hard class, a curve': made(
        dict(similarity=first(1010), mlp=BETTER),
        dict(mlp=dict(test_accuracy=.9, test_interval=Interval(.88, .92), **recalls(.99, .85, .98))), test_asked=True,
        curve=curve(mlp='likely to help')),
    'as good on the test images': on_test(.96, curve=curve(sgd='likely to help')),
    'the step on the test images': with_step_on_test(40, 10)[1],
    'probabilities that are too sure': made(dict(sgd=BASE), dict(sgd=calibrated(.08, .002))),
    'probabilities that are too modest': made(dict(sgd=BASE), dict(sgd=calibrated(-.08, .002))),
    'some failed': made(
        dict(sgd=BASE, mlp=ALIKE),
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
