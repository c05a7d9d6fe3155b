"""Accuracy against the number of training images: nested parts, points that fail, and resuming after an interruption"""
import json
from dataclasses import replace
from io import BytesIO
import numpy as np, pytest, torch
from hypothesis import given, strategies as st
from fastrecipes.answer import curves
from fastrecipes.answer.chance import Interval, wilson
from fastrecipes.answer.curves import (
    CurveRun, FRACTIONS, KeptPoint, learning_curve, more_data, nested_subset, part_sizes, plot_curve,
    point_key,
)
from fastrecipes.answer.records import Curve, CurvePoint, CurveRung, MoreData
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.errors import InputError
from fastrecipes.ladder.fitted import Fitted, Judged
from fastrecipes.ladder.recipe import fit, ladder, recipe
from fastrecipes.ladder.settings import recipes
from conftest import Heard, refused


def image_set(counts, seed=0):
    "A set of 2x2 images with as many of each class as `counts` says, mixed; the first pixels number the images"
    mixed = torch.randperm(sum(counts), generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))[mixed]
    n = torch.arange(len(labels))
    images = torch.stack([n // 256, n % 256, n * 0, n * 0], 1).view(-1, 1, 2, 2).byte()
    return ImageSet('made', [f'c{i}' for i in range(len(counts))], Split(images, labels), Split(images[:3], labels[:3]))

def numbers(images):
    return (images.train.images[:, 0, 0, 0].long() * 256 + images.train.images[:, 0, 0, 1].long()).tolist()
def per_class(images): return images.train.labels.bincount(minlength=len(images.classes)).tolist()
some_counts = st.lists(st.integers(1, 120), min_size=2, max_size=6)
a_fraction = st.floats(1e-6, 1)


# Parts that grow

@given(some_counts, a_fraction, a_fraction, st.integers(0, 2**62))
def test_a_smaller_part_lies_within_a_larger_one_in_the_order_of_the_set(counts, a, b, seed):
    images = image_set(counts)
    small, large = (numbers(nested_subset(images, f, seed)) for f in sorted((a, b)))
    assert set(small) <= set(large) <= set(numbers(images)) and small == sorted(small) and len(set(large)) == len(large)

@given(some_counts, a_fraction)
def test_every_class_keeps_its_share_and_two_images_where_it_has_two(counts, f):
    part = nested_subset(image_set(counts), f)
    for k, n in zip(per_class(part), counts, strict=True):
        assert k >= min(n, 2) and abs(k - n * f) <= max(.5, 2 - n * f)
    assert len(part.train) == part_sizes(image_set(counts), [f])[f]

def test_by_hand_a_tenth_of_100_25_and_1_images_is_10_2_and_1():
    assert per_class(nested_subset(image_set([100, 25, 1]), .1)) == [10, 2, 1]

def test_labels_stay_with_their_images_and_the_validation_images_stay_what_they_are(digits):
    part = nested_subset(digits, .2)
    where = {digits.train.images[i].numpy().tobytes(): int(digits.train.labels[i]) for i in range(len(digits.train))}
    assert all(where[x.numpy().tobytes()] == int(y) for x, y in zip(part.train.images, part.train.labels))
    assert part.valid is digits.valid and part.classes == digits.classes and part.source == digits.source

def test_the_whole_is_the_set_itself(digits):
    assert nested_subset(digits, 1) is digits and nested_subset(digits, 1.) is digits

def test_the_seed_chooses_and_the_same_seed_chooses_the_same(digits):
    a, b, c = (nested_subset(digits, .1, s).fingerprint for s in (1, 1, 2))
    assert a == b != c

def test_the_order_of_a_class_does_not_depend_on_the_others():
    one, other = image_set([40, 30, 20]), image_set([40, 30, 20])
    keep = (other.train.labels != 2) | (torch.arange(90) % 2 == 0)
    other = replace(other, train=Split(other.train.images[keep], other.train.labels[keep]))
    def chosen(images, c):
        part = nested_subset(images, .3, 7)
        return [n for n, y in zip(numbers(part), part.train.labels.tolist()) if y == c]
    assert chosen(one, 0) == chosen(other, 0) and chosen(one, 1) == chosen(other, 1)
    assert len(chosen(one, 2)) > len(chosen(other, 2))

def test_classes_of_one_size_are_not_chosen_in_the_same_pattern():
    labels = torch.arange(2).repeat_interleave(50)
    images = image_set([50, 50])
    images = replace(images, train=Split(images.train.images, labels))
    a, b = (np.array(numbers(nested_subset(images, .2))).reshape(2, -1))
    assert (b - 50).tolist() != a.tolist()

def test_every_image_can_be_chosen():
    images = image_set([20, 20])
    seen = {n for seed in range(60) for n in numbers(nested_subset(images, .1, seed))}
    assert seen == set(range(40))

def test_names_of_files_go_along_where_there_are_any():
    images = image_set([30, 20])
    named = replace(images, train=Split(images.train.images, images.train.labels, tuple(f'{i}.png' for i in range(50))))
    part = nested_subset(named, .2)
    assert part.train.names == tuple(f'{i}.png' for i in numbers(part)) and len(part.train.names) == 10
    assert nested_subset(images, .2).train.names is None

@pytest.mark.parametrize('fraction', [0, -1, 1.001, 50, float('nan'), float('inf'), 'half', None, True, [.1]])
def test_what_is_no_fraction_is_refused(digits, fraction):
    with refused('fraction', repr(fraction), 'above 0 and up to 1'): nested_subset(digits, fraction)
    with refused('fraction', repr(fraction)): part_sizes(digits, [.1, fraction])
    with refused('fraction'): learning_curve(digits, 'similarity', [fraction], reporter=never())

def test_fractions_that_give_as_many_images_as_a_smaller_one_are_left_out(digits):
    assert list(part_sizes(digits, (1, .001, .01, .5, .5, .002))) == [.001, .5, 1]
    assert part_sizes(image_set([2, 1]), FRACTIONS) == {.01: 3}
    with refused('no fraction'): part_sizes(digits, [])


# A curve

SIZES = (.5, .05, 1)
EPOCHS = {'mlp': {'epochs': 2}}

@pytest.fixture(scope='module')
def heard(): return Heard()

@pytest.fixture(scope='module')
def done(): return {}

@pytest.fixture(scope='module')
def whole(threes_sevens): return fit('mlp', threes_sevens, seed=3, device='cpu', epochs=2)

@pytest.fixture(scope='module')
def curve(threes_sevens, heard, done, whole):
    "Two rungs requested in another order, at three sizes"
    how = dict(seed=3, device='cpu', settings=EPOCHS, done=done, whole={'mlp': whole}, reporter=heard)
    return learning_curve(threes_sevens, 'mlp, similarity', SIZES, **how)

def again(threes_sevens, **kwargs):
    return learning_curve(
        threes_sevens, 'mlp, similarity', SIZES, **dict(seed=3, device='cpu', settings=EPOCHS) | kwargs)

def never(): return Heard(lambda told: pytest.fail('a point was begun'))
def no_epoch(): return Heard(lambda told: told[0] == 'epoch' and pytest.fail('it was fitted'))
def fitted_now(heard): return [r for r in heard.of('finished') if isinstance(r, Fitted)]
def words(curve): return [r.more_data.words for r in curve.rungs]

def test_a_curve_is_records_that_json_can_hold(curve, threes_sevens):
    assert isinstance(curve, Curve) and Curve.model_validate_json(curve.model_dump_json()) == curve
    assert curve.fractions == (.05, .5, 1) and curve.seed == 3
    assert [r.recipe for r in curve.rungs] == ['similarity', 'mlp']
    sizes = [(f, n, 'fitted', None) for f, n in part_sizes(threes_sevens, SIZES).items()]
    for r in curve.rungs:
        assert [(p.fraction, p.images, p.status, p.reason) for p in r.points] == sizes
        assert all(type(p) is CurvePoint for p in r.points), 'without what only the test needs'

def test_each_point_is_the_fit_to_its_part_judged_by_all_validation_images(curve, threes_sevens):
    for r, settings in zip(curve.rungs, ({}, {'epochs': 2})):
        for p in r.points:
            f = fit(r.recipe, nested_subset(threes_sevens, p.fraction, 3), seed=3, device='cpu', **settings)
            assert len(f.targets) == len(threes_sevens.valid) and p.accuracy == f.accuracy
            assert p.interval == wilson(round(f.accuracy * len(f.targets)), len(f.targets))

def test_small_parts_come_first_and_the_reporter_hears_of_every_point(curve, heard, threes_sevens):
    small, half, all_ = part_sizes(threes_sevens, SIZES).values()
    tasks = [(n, k) for k in (small, half, all_) for n in ('similarity', 'mlp')]
    assert [tuple(t) for t in heard.of('started')] == [('point', n, i, 6, 3, k) for i, (n, k) in enumerate(tasks)]
    assert [(f.recipe, len(f.images.train)) for f in fitted_now(heard)] == tasks[:-1], 'the last was there'
    assert len(heard.of('finished')) == 6 and [e['epoch'] for e in heard.of('epoch')] == [0, 1, 0, 1]

def test_a_rung_that_is_fitted_to_the_whole_set_is_its_last_point(curve, whole):
    last = curve.rungs[1].points[2]
    assert (last.accuracy, last.train_seconds) == (whole.accuracy, whole.seconds)

@pytest.mark.parametrize('change, said', [
    (dict(seed=4), 'another seed'),
    (dict(settings={'mlp': {'epochs': 1}}), 'other settings'),
    (dict(images=.5), 'other images'),
])
def test_a_fitted_rung_that_is_not_what_the_last_point_would_be_is_refused(threes_sevens, whole, change, said):
    images = nested_subset(threes_sevens, change.pop('images')) if 'images' in change else threes_sevens
    with refused('mlp', said): again(images, whole={'mlp': whole}, reporter=never(), **change)
    learning_curve(
        images, 'similarity', [.05], whole={'mlp': whole}, device='cpu') # Where it is not requested it does not matter

@pytest.mark.parametrize('kwargs, said', [
    (dict(names='mpl'), "'mlp'"),
    (dict(names=''), 'no recipe'),
    (dict(names=[]), 'no recipe'),
    (dict(settings={'mlp': {'epoch': 1}}), "'epoch'"),
    (dict(images='digit'), "'digits'"),
])
def test_what_cannot_be_done_is_refused_before_anything_is_fitted(threes_sevens, kwargs, said):
    with refused(said): learning_curve(**{'images': threes_sevens, 'names': 'mlp', **kwargs}, reporter=never())

def test_without_names_the_whole_ladder_is_fitted(threes_sevens):
    heard = Heard(lambda told: told[0] == 'started' and told[1].number == 1)
    with pytest.raises(KeyboardInterrupt):
        learning_curve(threes_sevens, fractions=(.1, 1), device='cpu', reporter=heard)
    assert [(t.count, t.name) for t in heard.of('started')] == [(2 * len(ladder()), n) for n in ladder()[:2]]


# Resuming

def untimed(curve):
    return [[p.model_copy(update=dict(train_seconds=0.)) for p in r.points] + [r.more_data] for r in curve.rungs]

def test_points_that_are_there_are_not_fitted_again(curve, done, threes_sevens):
    kept = json.loads(json.dumps(done))
    assert len(kept) == 6
    assert all(k.replace('-', '').replace('_', '').isalnum() for k in kept), 'keys can be names of files, values JSON'
    heard = no_epoch()
    assert again(threes_sevens, done=kept, reporter=heard) == curve and fitted_now(heard) == []

def test_an_interrupted_curve_is_resumed_point_by_point(curve, threes_sevens):
    kept, heard = {}, Heard()
    fourth = Heard(lambda told: told[0] == 'started' and told[1].number == 3)
    with pytest.raises(KeyboardInterrupt): again(threes_sevens, done=kept, reporter=fourth)
    assert len(kept) == 3
    assert untimed(again(threes_sevens, done=kept, reporter=heard)) == untimed(curve)
    assert len(fitted_now(heard)) == 3 and len(kept) == 6

def test_a_run_says_at_any_time_what_there_is(curve, done, threes_sevens):
    kept = dict([*done.items()][:3])
    settings = {r.recipe: recipes[r.recipe].resolve(EPOCHS.get(r.recipe, {})) for r in curve.rungs}
    part = CurveRun(threes_sevens, settings, SIZES, 3, done=kept).curve
    assert sum(len(r.points) for r in part.rungs) == 3 and 'not known' in words(part)

def test_a_ctrl_c_in_the_middle_of_a_point_keeps_the_points_before_it(threes_sevens):
    kept = {}
    with pytest.raises(KeyboardInterrupt):
        again(threes_sevens, done=kept, reporter=Heard(lambda told: told[0] == 'epoch'))
    assert [k.split('-')[0] for k in kept] == ['similarity']

@pytest.mark.parametrize('change', [dict(seed=4), dict(settings={'mlp': {'epochs': 1}})])
def test_points_of_another_curve_are_not_used(done, curve, threes_sevens, change):
    kept, heard = dict(done), Heard()
    again(threes_sevens, done=kept, reporter=heard, **change)
    now = fitted_now(heard)
    assert {f.recipe for f in now} == ({'mlp', 'similarity'} if 'seed' in change else {'mlp'})
    assert len(kept) == 6 + len(now)

def test_the_key_names_images_seed_and_settings(threes_sevens, digits):
    first = point_key(threes_sevens, 'mlp', 7, 1, {'a': 1})
    others = [
        point_key(digits, 'mlp', 7, 1, {'a': 1}), point_key(
            threes_sevens, 'sgd', 7, 1, {'a': 1}), point_key(threes_sevens, 'mlp', 8, 1, {'a': 1}),
        point_key(threes_sevens, 'mlp', 7, 2, {'a': 1}), point_key(threes_sevens, 'mlp', 7, 1, {'a': 2})]
    assert len({first, *others}) == 6 and first == point_key(threes_sevens, 'mlp', 7, 1, {'a': 1})
    assert first.startswith('mlp-7-')

def but(**values): return lambda p: p | values

@pytest.mark.parametrize('damage', [
    lambda p: None,
    lambda p: 'x',
    lambda p: {},
    but(right='zz'),
    but(right=''),
    but(accuracy=.123),
    but(images=1),
    but(status='failed'),
    but(interval=None),
    but(train_seconds=None),
    lambda p: p | dict(right='00' + p['right']),
])
def test_a_kept_point_that_is_damaged_is_fitted_again(done, curve, threes_sevens, damage):
    kept, heard = dict(done), Heard()
    key = next(k for k in kept if k.startswith('similarity'))
    kept[key] = damage(kept[key])
    assert untimed(again(threes_sevens, done=kept, reporter=heard)) == untimed(curve)
    assert [f.recipe for f in fitted_now(heard)] == ['similarity']


# Points that fail

@pytest.fixture
def odd_recipe():
    "A recipe that raises an error for fewer than 50 training images"
    def make(error):
        @recipe(rung=False)
        def odd(images, run):
            "Fails for few images"
            if len(images.train) < 50: raise error
            return recipes['similarity'].func(images, run, distance='l2')
        return odd
    yield make
    recipes.pop('odd', None)

@pytest.mark.parametrize('error, said', [
    (InputError('odd: too few images; give more'), 'too few'),
    (InputError('loss is\nNaN'), 'loss is NaN'),
    (RuntimeError('a bug of odd'), 'a bug of odd'),
    (MemoryError(), 'MemoryError'),
    (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        'memory'),
    (torch.OutOfMemoryError('CUDA out of memory. Tried to allocate'), 'memory'),
])
def test_a_point_that_fails_says_why_and_the_others_go_on(threes_sevens, odd_recipe, error, said):
    odd_recipe(error)
    kept, heard = {}, Heard()
    c = learning_curve(threes_sevens, 'similarity,odd', (.1, .5, 1), device='cpu', done=kept, reporter=heard)
    good, odd = (next(r.points for r in c.rungs if r.recipe == n) for n in ('similarity', 'odd'))
    assert [p.status for p in odd] == ['failed', 'fitted', 'fitted'] and said in odd[0].reason
    assert odd[0].reason.isprintable()
    assert odd[0].accuracy is odd[0].interval is odd[0].train_seconds is None and odd[0].images == 29
    assert len(heard.of('failed')) == 1 and [p.accuracy for p in odd[1:]] == [p.accuracy for p in good[1:]]
    assert len(kept) == 5, 'what failed is tried again next time'

def test_an_error_that_is_ours_is_not_hidden(threes_sevens, monkeypatch):
    monkeypatch.setattr('fastrecipes.answer.curves.check_scores', int)
    with pytest.raises(TypeError): learning_curve(threes_sevens, 'similarity', (.1,), device='cpu')

@pytest.mark.parametrize('name', ['mlp', 'simple_net'])
def test_a_loss_that_is_not_a_number_is_a_failed_point(digits, name):
    settings = {name: {'lr': 1e20, 'epochs': 2}}
    good, bad = learning_curve(digits, ['similarity', name], (.1, 1), device='cpu', settings=settings).rungs
    assert {p.status for p in good.points} == {'fitted'}
    assert [p.status for p in bad.points] == ['failed'] * 2 and '(lr)' in bad.points[0].reason
    assert bad.more_data.words == 'not known' and bad.points[1].reason in bad.more_data.why


# Whether more images help

def at(images, right):
    "A point of a curve of 1,000 training images, right or wrong for each validation image"
    scores = torch.from_numpy(right)[:, None] * 2. - 1
    judged = Judged(scores, torch.ones(len(right)).long(), True)
    return KeptPoint.of(judged, fraction=images / 1000, images=images, train_seconds=1.)

def failed(images):
    return CurvePoint(
        fraction=images / 1000, images=images, accuracy=None, interval=None, train_seconds=None, status='failed',
        reason='NaN')

FIVE = 50, 100, 200, 500, 1000

def points_of(accuracies, sizes=FIVE, n=1000):
    "Fits to growing parts of 1,000 training images, judged by n images"
    return [at(size, np.arange(n) < round(a * n)) for size, a in zip(sizes, accuracies, strict=True)]

def climbing(top, size, b=.5, sizes=FIVE):
    "A power law: `size` below `top` with all images"
    return [top - size * (s / 1000)**-b for s in sizes]

def likely(accuracies, n=1000, **more): return more_data(points_of(accuracies, n=n), 1000, n, **more)

def test_right_and_wrong_are_kept_for_each_image():
    right = np.arange(13) % 3 > 0
    p = at(500, right)
    assert p.answers(13).tolist() == right.tolist() and p.accuracy == right.mean() and p.interval == wilson(8, 13)

def test_a_curve_that_climbs_by_a_power_law_goes_on():
    "The next doubling brings (1 - 2**-.5) * 10 points"
    truth = 10 * (1 - 2**-.5)
    found = likely(climbing(.99, .10), n=100_000)
    assert found.words == 'likely to help'
    assert found.next_points.low < truth < found.next_points.high and found.next_points.low > 2

def test_a_flat_curve_is_unlikely_to_bring_the_margin():
    found = likely([.95, .951, .95, .95, .951], n=10_000)
    assert found.words == 'unlikely to help'
    assert found.next_points.low < .5 and found.next_points.high < 1

def test_a_curve_that_jumps_about_cannot_tell():
    assert likely([.86, .92, .87, .93, .90]).words == 'cannot tell'

def test_the_margin_says_which_gain_would_help():
    curve = climbing(.99, .03) # The next doubling brings 0.9 points
    assert likely(curve, n=100_000, margin=.01).words == 'likely to help'
    assert likely(curve, n=100_000, margin=.05).words == 'unlikely to help'

def test_the_interval_is_in_the_sentence():
    found = likely(climbing(.99, .10))
    low, high = found.next_points
    assert '1,000' in found.why and f'{low:.1f}' in found.why and f'{high:.1f}' in found.why

def test_gains_have_weights_that_add_up_to_1():
    gains, weights = curves.next_gains(FIVE, climbing(.99, .10), 1000)
    assert gains.shape == weights.shape and weights.sum() == pytest.approx(1) and weights.min() > 0

@pytest.mark.parametrize('points, missing', [
    ([], 'all 1,000'),
    (points_of([.9] * 5)[:4], 'all 1,000'),
    (points_of([.9] * 5)[:4] + [failed(1000)], '(NaN)'),
    (points_of([.9] * 5)[1:], '4'),
    ([failed(50)] + points_of([.9] * 5)[1:], '4'),
])
def test_without_the_last_point_or_with_few_nothing_is_known(points, missing):
    found = more_data(points, 1000, 1000)
    assert found.words == 'not known' and missing in found.why and found.next_points is None

@pytest.mark.parametrize('n', [2, 10, 360])
@pytest.mark.parametrize('accuracies', [[1.] * 5, [0.] * 5, [0, 0, 0, 0, 1.], [.5] * 5, [1., 0, 1, 0, 1]])
def test_any_accuracies_have_words(accuracies, n):
    found = likely(accuracies, n=n)
    assert found.words in ('likely to help', 'unlikely to help', 'cannot tell')
    assert np.isfinite(found.next_points).all() and found.next_points.low <= found.next_points.high

def share_likely(truth, n, scatter, sizes=FIVE, tries=150):
    "How often help is called likely, with this scatter from fit to fit"
    rng, calls = np.random.default_rng(0), []
    for _ in range(tries):
        seen = np.clip(truth + scatter * rng.standard_normal(len(sizes)), 0, 1)
        points = points_of(rng.binomial(n, seen) / n, sizes, n)
        calls.append(more_data(points, 1000, n).words == 'likely to help')
    return np.mean(calls)

@pytest.mark.parametrize('n', [2000, 10_000])
def test_of_a_flat_curve_help_is_called_likely_in_about_5_percent_at_most(n):
    assert share_likely(np.full(7, .9), n, .005, (10, 20, 50, 100, 200, 500, 1000)) <= .05 + 3 * (.05 * .95 / 150)**.5

def test_2_points_to_come_are_called_likely_half_the_time():
    sizes = 10, 20, 50, 100, 200, 350, 500, 1000
    b = .5
    truth = np.array(climbing(.93, .02 / (1 - 2**-b), b, sizes)).clip(.1)
    assert share_likely(truth, 360, .005, sizes) >= .5

def test_a_real_curve_that_climbs_is_told_from_one_that_is_flat(mnist_sample):
    parts = .05, .1, .2, .5, 1
    c = learning_curve(nested_subset(mnist_sample, .1), ['similarity', 'mlp'], parts, device='cpu')
    flat, climbs = (r.more_data for r in c.rungs)
    assert flat.words != 'likely to help' and climbs.next_points.high > flat.next_points.high


# Pictures

def drawn(curve):
    "The figure, its axes, and the names in its legend"
    fig = plot_curve(curve)
    fig.savefig(BytesIO(), format='png')
    return fig, fig.axes[0], [t.get_text() for legend in fig.legends for t in legend.get_texts()]

def made(rungs):
    "A curve of names and accuracies; None: it failed"
    def point(images, accuracy):
        if accuracy is None: return failed(images)
        interval = Interval(accuracy - .02, min(accuracy + .01, 1))
        return CurvePoint(
            fraction=images / 1000, images=images, accuracy=accuracy, interval=interval, train_seconds=1.,
            status='fitted', reason=None)
    unknown = MoreData(words='not known', why='')
    lines = {n: tuple(point(k, a) for k, a in zip((10, 100, 1000), accuracies)) for n, accuracies in rungs.items()}
    return Curve(
        fractions=(.01, .1, 1), seed=1,
        rungs=tuple(CurveRung(recipe=n, points=points, more_data=unknown) for n, points in lines.items()))

@pytest.mark.parametrize('n', [1, 2, 6, 8])
def test_each_rung_has_its_name_and_a_look_of_its_own(n):
    _, ax, names = drawn(made({f'rung{i}': [.5, .9, .97] for i in range(n)}))
    assert names == [f'rung{i} 0.9700' for i in range(n)]
    markers = {line.get_marker() for line in ax.lines} & set(curves.MARKERS)
    assert len(markers) == len({line.get_color() for line in ax.lines}) == min(n, 6)

def test_names_are_in_the_order_in_which_the_lines_end_and_within_the_picture():
    fig, _, names = drawn(made({'a_rung_of_a_long_name': [.5, .6, .7], '$mlp^': [.5, .9, .97], 'sgd': [.5, .8, None]}))
    assert names == ['$mlp^ 0.9700', 'sgd (to 100)', 'a_rung_of_a_long_name 0.7000']
    assert fig.legends[0].get_window_extent().x1 <= fig.bbox.x1

def test_a_failed_point_is_a_cross_with_a_name_and_a_gap_in_the_line():
    _, ax, names = drawn(made({'sgd': [.5, None, .97], 'mlp': [.5, None, None], 'linear': [.5, .6, .7]}))
    assert names == ['sgd 0.9700', 'linear 0.7000', 'mlp (to 10)']
    assert [t.get_text() for t in ax.texts] == ['sgd failed', 'mlp failed']
    assert [list(line.get_xdata()) for line in ax.lines if line.get_marker() == 'x'] == [[100], [100, 1000]]
    assert any(np.isnan(np.asarray(line.get_ydata(), float)).tolist() == [False, True, False] for line in ax.lines)

@pytest.mark.parametrize('curve', [made({'mlp': [None] * 3}), made({}), made({'mlp': []}), made({'mlp': [.5]})])
def test_there_is_a_picture_of_nothing_and_of_a_single_point(curve): drawn(curve)

def test_a_real_curve_has_its_sizes_under_the_axis(curve):
    _, ax, names = drawn(curve)
    assert [t.get_text() for t in ax.get_xticklabels()] == [f'{p.images:,}' for p in curve.rungs[0].points]
    assert ax.get_xscale() == 'log'
    assert any(n.startswith('mlp ') for n in names)
