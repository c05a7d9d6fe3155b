"""The verdict: each rule on a comparison made by hand, what it says of real ones, and that nothing makes it stumble"""
import json, math, re
import numpy as np, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from matplotlib.text import Text
from scipy.stats import binomtest
from fastrecipes.answer.chance import paired_difference, wilson
from fastrecipes.answer.curves import learning_curve
from fastrecipes.ladder.recipe import fit
from fastrecipes.answer.verdict import (
    Box, brief, COSTS, frontier, images_needed, place_labels, plot_cost, verdict,
)
from fastrecipes.text import percent_text
from conftest import refused

NAMES = ['similarity', 'sgd', 'linear', 'simple_net', 'mlp', 'resnet18']


# Comparisons by hand

def but(below, won, lost=0):
    "The images that `below` has right, but `won` of the others too, and without `lost` of them"
    this = below.copy()
    this[np.flatnonzero(~below)[:won]], this[np.flatnonzero(below)[:lost]] = True, False
    return this

def first(right, n=2000): return np.arange(n) < right

def entry(name, r, train=1., predict=1., **more):
    n = len(r)
    return dict(dict(recipe=name, about='', status='fitted', reason=None, cure=None, settings={}, accuracy=float(r.mean()), interval=list(wilson(int(r.sum()), n)), right=int(r.sum()), loss=.1, test_accuracy=None, test_interval=None,
                     against=None, repeats=None, cost=dict(parameters=10, weights_bytes=40, train_seconds=train, peak_memory_bytes=1, peak_gpu_memory_bytes=None, predict_ms_1=.1, predict_ms_1000=predict, multiply_adds=10),
                     best_epoch=None, history=[], failures=None), **more)

def pairs_of(rights):
    out = []
    for j, (b, rb) in enumerate(rights.items()):
        for a, ra in list(rights.items())[:j]:
            d = paired_difference(ra, rb)
            out.append(dict(below=a, recipe=b, gain_points=100 * d.gain, interval_points=[100 * d.low, 100 * d.high], p=d.p, words=d.words, won=int((rb & ~ra).sum()), lost=int((ra & ~rb).sum())))
    return out

def made(rights, rungs=None, **more):
    "A comparison: which images each rung gets right, and what else is known of rungs and of all"
    n = len(next(iter(rights.values())))
    return dict(dict(schema_version=2, source='made', classes=['a', 'b'], images=dict(train=4000, valid=n), majority={'class': 'a', 'share': .5}, seed=42, test_asked=False,
                     rungs=[entry(k, r, **(rungs or {}).get(k, {})) for k, r in rights.items()], pairs=pairs_of(rights), curve=None), **more)

def text_of(v): return '\n'.join([v['headline'], *v['paragraphs']])

def good(v, comparison):
    "What holds for every verdict"
    assert json.loads(json.dumps(v, allow_nan=False)) == v and list(v) == ['stop_at', 'headline', 'paragraphs']
    assert v['stop_at'] is None or v['stop_at'] in [r['recipe'] for r in comparison['rungs'] if r.get('status', 'fitted') == 'fitted']
    assert v['headline'] and len(v['paragraphs']) <= 5 and all(p and p == p.strip() and p[-1] in '.!?)' and '\n' not in p and '  ' not in p for p in [v['headline'], *v['paragraphs']]), v
    assert not re.search(r'\b(nan|None|inf)\b|\be-\d|\(\)|\.\.|,,', text_of(v)), v
    return v

def said(comparison):
    v, short = verdict(comparison), brief(comparison)
    good(short, comparison)
    assert short['stop_at'] == v['stop_at'] and len(short['paragraphs']) <= 3 and max(map(len, [short['headline'], *short['paragraphs']])) <= 400, short
    return good(v, comparison)

BASE = first(1900) # 95% of 2,000
BETTER = but(BASE, 40, 4) # 96.8%, shown
ALIKE = but(BASE, 12, 8) # 95.2%, not shown


# Rules 1 and 3: where to stop

def test_the_simplest_rung_that_no_higher_one_is_shown_to_beat():
    v = said(made(dict(similarity=first(1700), sgd=BASE, linear=ALIKE, mlp=but(BASE, 5))))
    assert v['stop_at'] == 'sgd' and v['headline'].startswith('Stop at sgd (95% right): it makes 200 fewer mistakes in 2,000 than similarity (10.0 points, 95% interval ')

def test_any_higher_rung_counts_and_not_only_the_next():
    assert said(made(dict(sgd=BASE, linear=ALIKE, mlp=BETTER)))['stop_at'] == 'mlp'
    assert said(made(dict(sgd=BASE, linear=ALIKE)))['stop_at'] == 'sgd'

def test_between_rungs_that_cannot_be_told_apart_the_simpler_wins_whatever_its_figures():
    v = said(made(dict(sgd=BASE, linear=ALIKE), rungs=dict(sgd=dict(train=50.), linear=dict(train=1.))))
    assert v['stop_at'] == 'sgd' and v['headline'] == 'Stop at sgd (95% right): no higher rung is shown to be better.'

def test_the_simplest_of_all_may_be_the_one(): assert said(made(dict(similarity=BASE, sgd=but(BASE, 0, 9), mlp=ALIKE)))['stop_at'] == 'similarity'

def test_the_top_may_be_the_one():
    v = said(made(dict(similarity=first(1500), sgd=BASE, mlp=BETTER)))
    assert v['stop_at'] == 'mlp' and '36 fewer mistakes in 2,000 than sgd (1.8 points, 95% interval 1.1 to 2.5)' in v['headline'] and 'It is shown to be better than similarity and sgd.' in v['paragraphs'][0]

@pytest.mark.parametrize('won, lost, stop', [(6, 0, 'mlp'), (5, 0, 'sgd'), (15, 5, 'mlp'), (14, 6, 'sgd')])
def test_the_line_is_that_of_the_exact_test(won, lost, stop): assert said(made(dict(sgd=BASE, mlp=but(BASE, won, lost))))['stop_at'] == stop

def test_where_better_does_not_pass_on_from_rung_to_rung_it_says_so():
    a, c = first(1900), but(first(1900), 10, 1)
    b = but(c, 0, 5) # Not shown to be worse than c, nor better than a
    v = said(made(dict(sgd=a, linear=b, mlp=c)))
    assert v['stop_at'] == 'linear' and 'not shown to be better than sgd. mlp is shown to be better than sgd, but not than linear.' in v['paragraphs'][0]
    assert v['headline'] == f"Stop at linear ({percent_text(b.mean(), 1)} right): no higher rung is shown to be better."

def test_all_are_named_that_the_one_which_shows_it_is_better_than():
    a, c = first(1900), but(first(1900), 10, 1)
    b = but(c, 0, 5)
    v = said(made(dict(sgd=a, linear=a, simple_net=b, mlp=c)))
    assert 'not shown to be better than sgd and linear. mlp is shown to be better than sgd and linear, but not than simple_net.' in v['paragraphs'][0]

def test_one_rung_alone_is_not_compared():
    v = said(made(dict(mlp=BASE)))
    assert v['stop_at'] == 'mlp' and v['headline'] == 'mlp gets 95% right; with no other rung fitted there is nothing to compare it with.' and '100 mistakes on the 2,000 validation images' in v['paragraphs'][0]
    assert said(made(dict(similarity=BASE)))['stop_at'] == 'similarity'

def test_neighbours_tests_serve_where_there_are_no_pairs():
    c = made(dict(sgd=BASE, mlp=BETTER))
    pair = c.pop('pairs')[0]
    assert said(c)['stop_at'] == 'sgd'
    c['rungs'][1]['against'] = dict(recipe='sgd', **{k: pair[k] for k in ('gain_points', 'interval_points', 'p', 'words')})
    assert said(c)['stop_at'] == 'mlp'


# Rule 1: seeds

def seeded(accuracies, seeds=(1, 2, 3, 4, 5)): return dict(repeats=dict(seeds=list(seeds)[:len(accuracies)], accuracies=list(accuracies), mean=.9, sd=.1, interval=[.8, 1.], against=None))
LOW, HIGH, LUCKY = (.950, .951, .949, .9505, .9495), (.968, .967, .969, .9685, .9675), (.968, .949, .950, .951, .9495)

def test_a_step_that_stands_over_seeds_is_said_to():
    v = said(made(dict(sgd=BASE, mlp=BETTER), dict(sgd=seeded(LOW), mlp=seeded(HIGH))))
    assert v['stop_at'] == 'mlp' and 'The step from sgd to mlp stands over 5 seeds (95% interval ' in text_of(v) and '--repeats' not in text_of(v)

def test_a_step_that_five_seeds_do_not_bear_out_does_not_count():
    v = said(made(dict(sgd=BASE, mlp=BETTER), dict(sgd=seeded(LOW), mlp=seeded(LUCKY))))
    assert v['stop_at'] == 'sgd' and 'but over seeds that does not stand' in text_of(v) and 'Over 5 seeds the step from sgd to mlp is not shown (' in text_of(v) and 'more seeds' not in text_of(v)

def test_fewer_seeds_only_comment():
    v = said(made(dict(sgd=BASE, mlp=BETTER), dict(sgd=seeded(LOW[:2]), mlp=seeded(LUCKY[:2]))))
    assert v['stop_at'] == 'mlp' and 'Over 2 seeds the step from sgd to mlp is not shown (' in text_of(v) and 'more seeds would tell' in text_of(v)

def test_only_seeds_that_both_were_fitted_under_are_compared():
    v = said(made(dict(sgd=BASE, mlp=BETTER), dict(sgd=seeded(LOW, (1, 2, 3, 4, 5)), mlp=seeded(HIGH, (4, 5, 6, 7, 8)))))
    assert v['stop_at'] == 'mlp' and 'over 2 seeds' in text_of(v).lower()
    assert '--repeats' in text_of(said(made(dict(sgd=BASE, mlp=but(BASE, 9)), dict(sgd=seeded(LOW, (1, 2)), mlp=seeded(HIGH, (3, 4))))))

def test_what_seeds_show_and_these_images_do_not_is_no_reason_to_go_on():
    v = said(made(dict(sgd=BASE, mlp=ALIKE), dict(sgd=seeded(LOW), mlp=seeded(HIGH))))
    assert v['stop_at'] == 'sgd' and 'Over 5 seeds mlp is better than sgd on these same images' in text_of(v)

@pytest.mark.parametrize('this, asks', [(but(BASE, 18, 0), True), (but(BASE, 22, 0), False), (ALIKE, True), (but(BASE, 3, 12), False)])
def test_more_seeds_are_asked_for_where_the_step_is_small_or_not_shown_but_not_where_it_leads_down(this, asks):
    assert ('--repeats 5 shows whether the step from sgd to mlp stands' in text_of(said(made(dict(sgd=BASE, mlp=this))))) == asks

def test_a_p_that_many_tests_could_bring_about_is_called_luck_perhaps():
    many = dict(sgd=BASE, linear=ALIKE, simple_net=ALIKE, mlp=but(BASE, 30, 14))
    assert binomtest(30, 44).pvalue == pytest.approx(.0226, abs=1e-4)
    assert 'With p = 0.02 and 3 rungs tested against sgd, luck is not ruled out' in text_of(said(made(many)))
    assert 'luck' not in text_of(said(made({k: many[k] for k in ('sgd', 'mlp')})))


# Rule 2: the most frequent class

def test_a_rung_that_is_no_better_than_the_most_frequent_class_is_out_and_is_named():
    v = said(made(dict(similarity=first(1010), sgd=BASE, mlp=ALIKE)))
    assert v['stop_at'] == 'sgd' and "Always saying 'a' would get 50%." in v['paragraphs'][0] and 'similarity is not shown to have learned anything (50.5%).' in v['paragraphs'][0]
    v = said(made(dict(similarity=first(1010), sgd=first(1020), mlp=BASE)))
    assert v['stop_at'] == 'mlp' and 'similarity and sgd are not shown to have learned anything (50.5%, 51%).' in text_of(v)

def test_a_rung_that_has_learned_nothing_is_out_though_none_above_is_shown_to_beat_it():
    few = dict(similarity=first(22, 40)) # 55%
    few['mlp'] = but(few['similarity'], 6, 3) # 62.5%, interval from 47.0
    assert said(made(few))['stop_at'] is None
    few['mlp'] = but(few['similarity'], 11, 3) # 75%, interval from 59.8; not shown to be better, p = 0.06
    assert pairs_of(few)[0]['words'] == 'no difference shown'
    assert said(made(few))['stop_at'] == 'mlp'

def test_where_nothing_was_learned_there_is_nothing_to_stop_at():
    v = said(made(dict(similarity=first(22, 40), mlp=first(24, 40))))
    assert v['stop_at'] is None and v['headline'] == "No rung is shown to have learned anything: always saying 'a' would get 50%, and the best, mlp, gets 60%." and 'There are 40 validation images' in text_of(v)

def test_without_a_majority_every_rung_counts(): assert said(made(dict(similarity=first(22, 40)), majority=None))['stop_at'] == 'similarity'


# Rule 4: what it buys and costs

DEAR = dict(sgd=dict(train=.8, predict=.7), mlp=dict(train=16.6, predict=215.))

def test_a_better_rung_that_is_far_dearer_is_named_with_its_price_and_with_the_one_that_is_good_enough():
    v = said(made(dict(similarity=first(1500), sgd=BASE, mlp=BETTER), DEAR))
    assert v['headline'].endswith('for 20 times the training time and 300 times the prediction time. Where that is too dear, stop at sgd (95%).') and v['stop_at'] == 'mlp'

@pytest.mark.parametrize('below, this, far', [((1, 1), (11, 1), True), ((1, 1), (9, 1), False), ((.1, 1), (5, 1), False), ((10, 1), (90, 1), False), ((1, 5), (1, 56), True), ((1, 1), (1, 40), False), ((None, None), (60, 60), False), ((0, 0), (60, 60), True)])
def test_far_dearer_is_ten_times_and_enough_to_be_felt(below, this, far):
    v = said(made(dict(sgd=BASE, mlp=BETTER), dict(sgd=dict(zip(('train', 'predict'), below)), mlp=dict(zip(('train', 'predict'), this)))))
    assert ('too dear' in v['headline']) == far

@pytest.mark.parametrize('below, this, words', [((1, 10), (1.2, 8), 'at about the same cost'), ((1, 10), (2, 10), 'for twice the training time and about the same prediction time'), ((1, 10), (.3, 70), 'for less training time and 7 times the prediction time'),
    ((None, 10), (1, 30), 'for 3 times the prediction time'), ((0, None), (1, 3), None), ((.01, .1), (.9, 9), 'at next to no cost'), ((.01, .1), (3, 9), 'for 300 times the training time.'), ((.01, .1), (.9, 20), 'for 200 times the prediction time.')])
def test_the_price_is_in_rough_multiples(below, this, words):
    v = said(made(dict(sgd=BASE, mlp=BETTER), dict(sgd=dict(zip(('train', 'predict'), below)), mlp=dict(zip(('train', 'predict'), this)))))
    assert (words in v['headline']) if words else ' for ' not in v['headline']

def test_the_good_enough_rung_is_where_the_ladder_below_would_end():
    v = said(made(dict(similarity=first(1500), sgd=BASE, linear=ALIKE, simple_net=ALIKE, mlp=BETTER)))
    assert v['stop_at'] == 'mlp' and 'than sgd' in v['headline']


# Rule 5: what the next one would buy

def test_the_next_rung_is_described_with_its_interval_p_and_price():
    p = said(made(dict(sgd=BASE, mlp=ALIKE), DEAR))['paragraphs'][1]
    assert p.startswith('sgd costs 0.8 seconds of training and 0.7 milliseconds to predict 1,000 images. The next rung up, mlp, makes 4 fewer mistakes in 2,000 than sgd (0.2 points, 95% interval -')
    assert p.endswith(', p = 0.50), for 20 times the training time and 300 times the prediction time: no difference is shown.')

def test_the_best_of_those_above_is_described_too():
    p = said(made(dict(sgd=BASE, linear=but(BASE, 1, 2), simple_net=but(BASE, 1, 12), mlp=ALIKE)))['paragraphs'][1]
    assert 'The next rung up, linear, makes 1 more mistake in 2,000 than sgd' in p and 'The one that comes nearest to being better, mlp, makes 4 fewer' in p and p.endswith('No rung of the 3 above is shown to be better.')

def test_a_next_rung_that_is_worse_is_called_worse(): assert said(made(dict(sgd=BASE, mlp=but(BASE, 1, 12))))['paragraphs'][1].endswith(': it is shown to be worse.')

def test_as_many_mistakes_is_said_so(): assert 'makes as many mistakes in 2,000 as sgd' in said(made(dict(sgd=BASE, mlp=but(BASE, 7, 7))))['paragraphs'][1]

def test_at_the_top_what_comes_next_is_not_known(): assert said(made(dict(sgd=BASE, mlp=BETTER)))['paragraphs'][1].endswith('No higher rung was fitted, so what one would buy is not known.')

def test_it_says_how_many_validation_images_would_show_the_difference():
    v = said(made(dict(sgd=BASE, mlp=ALIKE))) # d = 0.01, g = 0.002
    n = ((1.96 * .1 + .8416 * math.sqrt(.01 - .002**2)) / .002)**2
    assert n == pytest.approx(19_622, abs=20) and images_needed(12, 8, 2000) == pytest.approx(n)
    assert 'If mlp is really better by 0.2 points, it takes about 20,000 validation images to show it in four of five tries; there are 2,000.' in text_of(v)

def test_a_rung_that_is_not_ahead_needs_no_more_images(): assert 'four of five' not in text_of(said(made(dict(sgd=BASE, mlp=but(BASE, 7, 7))))) and images_needed(7, 7, 100) is None

def test_fewer_than_six_images_can_show_nothing():
    v = said(made(dict(sgd=first(36, 40), mlp=but(first(36, 40), 3))))
    assert v['stop_at'] == 'sgd' and 'There are 40 validation images, so that one of them is 2.5 points. Just 3 of the 40 validation images tell mlp and sgd apart, and at least 6 are needed to show a difference: if mlp is really better by 7.5 points, it takes about ' in text_of(v)
    assert 'Just' not in text_of(said(made(dict(sgd=BASE, mlp=but(BASE, 5, 1)))))

@pytest.mark.parametrize('won, lost, n', [(12, 8, 400), (30, 10, 2000), (9, 2, 300), (3, 0, 40)])
def test_so_many_images_do_show_it_in_about_four_of_five_tries(won, lost, n):
    needed = math.ceil(images_needed(won, lost, n))
    draws = np.random.default_rng(0).multinomial(needed, [won / n, lost / n, 1 - (won + lost) / n], 600)
    shown = np.mean([binomtest(int(w), int(w + l)).pvalue < .05 if w + l else False for w, l, _ in draws])
    assert .6 < shown < .9, shown # The exact test is careful where few images tell

@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 10_000))
def test_what_is_not_shown_needs_more_images_than_there_are(won, lost, more):
    n = won + lost + more
    if won != lost and binomtest(won, won + lost).pvalue >= .05: assert images_needed(won, lost, n) > n


# Rule 6: data

def curve(**more): return dict(fractions=[.5, 1], seed=1, rungs=[dict(recipe=k, points=[], more_data=dict(words=w, why=f'Why {k}.')) for k, w in more.items()])

def test_the_learning_curve_speaks_where_there_is_one():
    c = made(dict(sgd=BASE, mlp=BETTER))
    assert 'More training images are likely to help mlp. Why mlp.' in text_of(said(c | dict(curve=curve(sgd='no help shown', mlp='likely to help'))))
    assert 'More training images are not shown to help mlp. Why mlp.' in text_of(said(c | dict(curve=curve(sgd='likely to help', mlp='no help shown'))))
    assert 'More training images are likely to help sgd.' in text_of(said(c | dict(curve=curve(sgd='likely to help'))))
    assert 'training images' not in text_of(said(c | dict(curve=curve(mlp='not known')))) and '--learning-curve' not in text_of(said(c | dict(curve=curve(mlp='not known'))))

@pytest.mark.parametrize('rights, asks', [(dict(sgd=BASE, mlp=BETTER), True), (dict(sgd=BASE, mlp=ALIKE), False), (dict(sgd=BASE, mlp=but(BASE, 85)), False), (dict(sgd=BASE, mlp=but(BASE, 79)), True)])
def test_a_learning_curve_is_asked_for_at_the_top_below_99_percent(rights, asks): assert ('--learning-curve shows' in text_of(said(made(rights)))) == asks


# Rule 7: what is also said

def test_failed_and_stopped_rungs_are_named_with_the_cure():
    c = made(dict(sgd=BASE, mlp=ALIKE))
    gone = dict(accuracy=None, interval=None, right=None, cost=None, failures=None, history=None)
    c['rungs'].append(entry('resnet18', BASE, status='failed', reason='the loss was NaN in epoch 3', cure='take a smaller lr', **gone))
    c['rungs'].insert(1, entry('linear', BASE, status='stopped', reason='Ctrl-C in epoch 2', cure='--resume goes on from there.', **gone))
    v = said(c)
    assert v['stop_at'] == 'sgd' and v['paragraphs'][-1] == 'linear was stopped (Ctrl-C in epoch 2): --resume goes on from there. resnet18 failed (the loss was NaN in epoch 3): take a smaller lr. Whether that would do as well is not known.'

def test_where_all_failed_it_says_so():
    c = made(dict(sgd=BASE, mlp=BASE))
    for r in c['rungs']: r.update(status='failed', accuracy=None, reason='no memory', cure=None, cost=None)
    assert said(c | dict(pairs=[], majority=None)) == dict(stop_at=None, headline='No rung was fitted, so there is nothing to say about these images yet.', paragraphs=['sgd failed (no memory). mlp failed (no memory).'])
    assert verdict({})['stop_at'] is None and verdict(dict(rungs=[]))['paragraphs'] == []

def test_the_test_images_are_reported_only_where_they_were_asked_for():
    c = made(dict(sgd=BASE, mlp=BETTER), dict(mlp=dict(test_accuracy=.966, test_interval=[.95, .975])), images=dict(train=1, valid=2000, test=1000))
    assert 'test images' not in text_of(said(c))
    assert 'On the 1,000 test images, by which nothing was chosen, mlp gets 96.6% right (95% interval 95.0 to 97.5%).' in text_of(said(c | dict(test_asked=True))) and 'believe the test' not in text_of(said(c | dict(test_asked=True)))

def test_a_test_that_is_clearly_lower_is_to_be_believed():
    c = made(dict(sgd=BASE, mlp=BETTER), dict(mlp=dict(test_accuracy=.9, test_interval=[.88, .92])), test_asked=True)
    assert 'clearly less than on the validation images: believe the test' in text_of(said(c))

def classes(*recalls, images=200): return dict(failures=dict(per_class=[{'class': f'c{i}', 'precision': .9, 'recall': r, 'f1': .9, 'images': images} for i, r in enumerate(recalls)], calibration=None, confusion=[], worst=[]))

@pytest.mark.parametrize('recalls, images, named', [((.99, .85, .98), 200, True), ((.97, .95, .98), 200, False), ((.99, .85, .98), 20, False), ((.99, .85, None), 200, True), ((1., .985, 1.), 9000, False), ((.9,), 200, False)])
def test_a_class_is_named_where_it_is_clearly_and_much_worse(recalls, images, named):
    t = text_of(said(made(dict(sgd=BASE), dict(sgd=classes(*recalls, images=images)))))
    assert ('recognises' in t) == named and (not named or "sgd recognises 'c1' far less well than the others: 85% of its images, against 98.5%." in t or "against 99%" in t)

def calibrated(ece, confidence, accuracy): return dict(failures=dict(per_class=[], calibration=dict(ece=ece, bins=[dict(low=0, high=.5, confidence=None, accuracy=None, images=0), dict(low=.5, high=1., confidence=confidence, accuracy=accuracy, images=2000)])))

def test_probabilities_that_are_far_off_are_not_to_be_taken_at_face_value():
    say = lambda *a: text_of(said(made(dict(sgd=BASE), dict(sgd=calibrated(*a)))))
    assert 'Its probabilities are off by 8.0 points on average (it is too sure of itself), so do not take them at face value.' in say(.08, .98, .9) and 'surer than it says' not in say(.08, .98, .9)
    assert 'off by 8.0 points' in say(.08, .8, .88) and 'too sure' not in say(.08, .8, .88)
    assert 'probabilities' not in say(.04, .98, .94) and 'probabilities' not in say(None, .9, .9)


# Names, numbers, and what comes

def test_names_are_on_one_line_and_not_escaped_for_a_page():
    c = made(dict(sgd=BASE), dict(sgd=classes(.99, .5, .99)), majority={'class': '<b>x\n\x1b[31m</b>', 'share': .5})
    c['rungs'][0]['failures']['per_class'][1]['class'] = '<script>\u202e\x07'
    t = text_of(said(c))
    assert "'<b>x\\n\\x1b[31m</b>'" in t.replace('\\\\', '\\') and '<script>' in t and '\x07' not in t and '\u202e' not in t

number = st.one_of(st.none(), st.floats(0, 1e9), st.just(math.nan), st.just(math.inf))
some = lambda value: st.one_of(st.none(), value)
share = st.floats(0, 1)
name = st.text(st.characters(codec='utf-8', exclude_categories=['L'], exclude_characters='.,()'), max_size=5).map(lambda s: f'c{s}c')

@st.composite
def comparisons(draw):
    n = draw(st.integers(1, 60))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=0, max_size=6, unique=True).map(lambda l: sorted(l, key=NAMES.index)))
    base = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    rights = {k: base ^ (np.random.default_rng(draw(st.integers(0, 99))).random(n) < draw(st.sampled_from([0, .05, .3]))) for k in names}
    rungs = {k: dict(status=draw(st.sampled_from(['fitted', 'fitted', 'fitted', 'failed', 'stopped'])), reason=draw(some(name)), cure=draw(some(name)),
        cost=draw(some(st.fixed_dictionaries({}, optional=dict(train_seconds=number, predict_ms_1000=number, parameters=some(st.integers(0, 10**9)), multiply_adds=number)))),
        test_accuracy=draw(some(share)), test_interval=draw(some(st.tuples(share, share).map(sorted))), interval=draw(some(st.just(list(wilson(int(rights[k].sum()), n))))),
        repeats=draw(some(st.integers(1, 6).flatmap(lambda m: st.fixed_dictionaries(dict(seeds=st.just(list(range(m))), accuracies=st.lists(share, min_size=m, max_size=m)))))),
        failures=draw(some(st.fixed_dictionaries(dict(per_class=st.lists(st.fixed_dictionaries(dict(recall=some(share), images=st.integers(0, 50), **{'class': name})), max_size=4),
            calibration=some(st.fixed_dictionaries(dict(ece=number, bins=st.lists(st.fixed_dictionaries(dict(confidence=some(share), accuracy=some(share), images=st.integers(0, 300))), max_size=3))))))))) for k in names}
    c = dict(images=dict(train=9, valid=n, test=draw(some(st.integers(1, 99)))), rungs=[entry(k, r) | rungs[k] for k, r in rights.items()], pairs=[p for p in pairs_of(rights) if draw(st.booleans())] if names else None,
             majority=draw(some(st.fixed_dictionaries({'class': name, 'share': share}))), test_asked=draw(st.booleans()),
             curve=draw(some(st.lists(st.sampled_from(names), unique=True).flatmap(lambda l: st.just(curve(**{k: 'likely to help' for k in l}))) if names else st.none())))
    for r in c['rungs']:
        if r['status'] != 'fitted': r.update(accuracy=None, right=None, interval=None)
    for p in c['pairs'] or []:
        if draw(st.booleans()): p.update(draw(st.sampled_from([dict(p=None), dict(won=None), dict(interval_points=None), dict(gain_points=math.nan), dict(interval_points=[math.nan, 1.]), dict(words='better'), dict(words='worse')])))
    return c

@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(comparisons())
def test_nothing_that_is_half_known_makes_it_stumble(c):
    v = said(c)
    assert v == verdict(json.loads(json.dumps(c))), 'the same figures, the same words'

def test_it_changes_nothing_in_what_it_reads():
    c = made(dict(sgd=BASE, mlp=BETTER))
    before = json.dumps(c)
    verdict(c), plot_cost(c)
    assert json.dumps(c) == before


# Real comparisons

@pytest.fixture(scope='module')
def climbed(mnist_sample):
    fitted = [fit(n, mnist_sample, device='cpu') for n in ('similarity', 'sgd', 'linear', 'mlp')]
    c = made({f.recipe: (f.predictions == f.targets).numpy() for f in fitted}, {f.recipe: dict(train=f.seconds, predict=f.ms_per_1000) for f in fitted})
    return c | dict(curve=learning_curve(mnist_sample, ['similarity', 'mlp'], (.5, 1), device='cpu', whole={f.recipe: f for f in fitted}))

def test_on_the_images_of_the_lesson_each_real_step_is_seen_and_the_learner_that_changes_nothing_is_not(climbed):
    v = said(climbed)
    assert v['stop_at'] == 'mlp' and ' fewer mistakes in 2,038 than sgd (' in v['headline'] and 'It is shown to be better than similarity, sgd and linear.' in text_of(v) and 'training images' in text_of(v)
    lower = climbed | dict(rungs=climbed['rungs'][:3])
    assert said(lower)['stop_at'] == 'sgd' and 'The next rung up, linear, ' in text_of(said(lower))

def test_ten_classes_from_few_validation_images(digits):
    fitted = [fit(n, digits, device='cpu', **s) for n, s in (('similarity', {}), ('sgd', {}), ('linear', {}), ('mlp', {'epochs': 5}))]
    c = made({f.recipe: (f.predictions == f.targets).numpy() for f in fitted}, majority={'class': '3', 'share': 37 / 360})
    assert said(c)['stop_at'] in ('sgd', 'mlp') and "Always saying '3' would get 10.3%." in text_of(said(c))


# The picture

def drawn(fig):
    from io import BytesIO
    for kind in ('png', 'svg'): fig.savefig(BytesIO(), format=kind)
    ax, = fig.axes
    return ax, [t.get_text() for t in ax.texts]

def test_the_frontier_is_what_no_cheaper_rung_gets_past():
    assert frontier([3, 1, 2, 4], [.9, .5, .4, .95]) == [1, 0, 3]
    assert frontier([1, 1, 1], [.5, .7, .7]) == [1] and frontier([], []) == []

@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8))
def test_the_frontier_by_its_definition(points):
    costs, accuracies = [p[0] for p in points], [p[1] for p in points]
    front = frontier(costs, accuracies)
    beaten = lambda i: any(c <= costs[i] and a >= accuracies[i] and (c, a) != points[i] for c, a in points)
    assert {points[i] for i in front} == {points[i] for i in range(len(points)) if not beaten(i)} and len({points[i] for i in front}) == len(front)

@pytest.mark.parametrize('by', COSTS)
def test_every_cost_can_be_drawn_and_the_rung_to_stop_at_is_named_in_words(climbed, by):
    ax, texts = drawn(plot_cost(climbed, by))
    assert len(texts) == 4 and [t for t in texts if t.endswith(': stop here')] == ['mlp: stop here'] and COSTS[by] in ax.get_xlabel() and ax.get_xscale() == 'log'

def test_labels_lie_neither_on_each_other_nor_on_points_nor_outside():
    rng = np.random.default_rng(3)
    for _ in range(6):
        c = made({n: first(int(r)) for n, r in zip(NAMES, rng.integers(1400, 1990, 6))}, {n: dict(train=float(10 ** t)) for n, t in zip(NAMES, rng.uniform(-2, 2, 6))})
        fig = plot_cost(c)
        ax, texts = drawn(fig)
        boxes = [Text.get_window_extent(t) for t in ax.texts]
        assert len(texts) == 6 and not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        points = ax.transData.transform([(r['cost']['train_seconds'], r['accuracy']) for r in c['rungs']])
        assert not any(b.contains(x, y) for b in boxes for x, y in points) and all(0 <= b.x0 and b.x1 <= fig.bbox.x1 and 0 <= b.y0 and b.y1 <= fig.bbox.y1 for b in boxes)

@given(st.lists(st.tuples(st.floats(50, 350), st.floats(50, 150)), min_size=1, max_size=6))
def test_labels_find_room_wherever_the_points_are(points):
    boxes = place_labels(points, [(50, 11)] * len(points), Box(0, 0, 400, 200))
    assert all(a.overlap(b) == 0 for i, a in enumerate(boxes) for b in boxes[:i]) and all(b.left >= 0 and b.right <= 400 and b.low >= 0 and b.high <= 200 for b in boxes)

def test_a_cost_of_nothing_stands_at_the_left_and_says_so():
    c = made(dict(similarity=first(1700), sgd=BASE, mlp=BETTER))
    for r, k in zip(c['rungs'], (0, 785, 58_625)): r['cost']['parameters'] = k
    ax, texts = drawn(plot_cost(c, 'parameters'))
    assert texts == ['similarity (0)', 'sgd', 'mlp: stop here'] and ax.get_xlim()[0] > 0

def test_failed_rungs_are_left_out_and_unknown_costs_are_named():
    c = made(dict(similarity=first(1700), sgd=BASE, linear=ALIKE, mlp=BETTER), dict(linear=dict(train=None), mlp=dict(status='failed', accuracy=None)))
    ax, texts = drawn(plot_cost(c))
    assert texts == ['similarity', 'sgd: stop here'] and ax.get_xlabel().endswith('not known of linear')

@pytest.mark.parametrize('c', [{}, dict(rungs=[dict(recipe='mlp', status='failed')]), made(dict(mlp=BASE), dict(mlp=dict(train=None))), made(dict(mlp=BASE)), made(dict(mlp=first(2000))), made(dict(sgd=BASE, mlp=BASE))])
def test_there_is_a_picture_even_of_little(c): drawn(plot_cost(c))

def test_a_cost_that_there_is_not_is_refused():
    with refused("unknown cost 'seconds'", 'train_seconds'): plot_cost({}, 'seconds')

def test_the_ring_is_where_the_verdict_of_the_comparison_has_it():
    c = made(dict(sgd=BASE, mlp=BETTER))
    assert drawn(plot_cost(c | dict(verdict=dict(stop_at='sgd'))))[1] == ['sgd: stop here', 'mlp']

def test_without_the_number_of_validation_images_there_is_no_verdict():
    with refused('how many validation images'): verdict(dict(rungs=[dict(recipe='mlp', accuracy=.5)]))

def test_a_step_that_is_shown_to_be_worse_over_a_few_seeds_is_no_step():
    rungs = dict(sgd=seeded([.95, .951, .949], (1, 2, 3)), mlp=seeded([.90, .901, .899], (1, 2, 3)))
    assert said(made(dict(sgd=BASE, mlp=BETTER), rungs))['stop_at'] == 'sgd'
    unsure = dict(sgd=seeded([.95, .96, .94], (1, 2, 3)), mlp=seeded([.96, .95, .955], (1, 2, 3)))
    assert said(made(dict(sgd=BASE, mlp=BETTER), unsure))['stop_at'] == 'mlp', 'what is not known over a few seeds takes nothing back'

def test_luck_of_the_images_is_not_cured_by_seeds():
    t = text_of(said(made(dict(sgd=BASE, linear=but(BASE, 10, 8), simple_net=but(BASE, 9, 8), mlp=but(BASE, 24, 11)))))
    assert 'luck is not ruled out; more validation images would tell' in t

@pytest.mark.parametrize('costs', [(2.1, 3.3), (2.1, 8.), (.011, .013), (.5, 400.)])
def test_a_cost_axis_has_two_numbers_at_least_however_near_the_costs_are(costs):
    c = made(dict(sgd=BASE, mlp=BETTER), {n: dict(cost=dict(train_seconds=s)) for n, s in zip(('sgd', 'mlp'), costs)})
    fig = plot_cost(c)
    fig.canvas.draw()
    low, high = fig.axes[0].get_xlim()
    assert len([t for t in fig.axes[0].xaxis.get_ticklabels() if low <= t.get_position()[0] <= high and t.get_text()]) >= 2
