"""Accuracy against the number of training images: parts that lie within each other, points that fail, and going on after an interruption"""
import json
from dataclasses import dataclass, replace
import numpy as np, pytest, torch
from matplotlib.text import Text
from hypothesis import given, strategies as st
from fastrecipes.answer import curves
from fastrecipes.answer.chance import wilson
from fastrecipes.answer.curves import (
    FRACTIONS, learning_curve, more_data, most_left_open, nested_subset, part_sizes, plot_curve, point_key,
    spread_out,
)
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.errors import InputError
from fastrecipes.ladder.recipe import fit, ladder, recipe
from fastrecipes.ladder.settings import recipes
from conftest import refused


def image_set(counts, seed=0):
    "A set of 2x2 images with as many of each class as `counts` says, mixed; the first pixels number the images"
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))[torch.randperm(sum(counts), generator=torch.Generator().manual_seed(seed))]
    n = torch.arange(len(labels))
    images = torch.stack([n // 256, n % 256, n * 0, n * 0], 1).view(-1, 1, 2, 2).byte()
    return ImageSet('made', [f'c{i}' for i in range(len(counts))], Split(images, labels), Split(images[:3], labels[:3]))

def numbers(images): return (images.train.images[:, 0, 0, 0].long() * 256 + images.train.images[:, 0, 0, 1].long()).tolist()
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
    assert all(k >= min(n, 2) and abs(k - n * f) <= max(.5, 2 - n * f) for k, n in zip(per_class(part), counts)), (per_class(part), counts)
    assert len(part.train) == part_sizes(image_set(counts), [f])[f]

def test_by_hand_a_tenth_of_100_25_and_1_images_is_10_2_and_1(): assert per_class(nested_subset(image_set([100, 25, 1]), .1)) == [10, 2, 1]

def test_labels_stay_with_their_images_and_the_validation_images_stay_what_they_are(digits):
    part = nested_subset(digits, .2)
    where = {digits.train.images[i].numpy().tobytes(): int(digits.train.labels[i]) for i in range(len(digits.train))}
    assert all(where[x.numpy().tobytes()] == int(y) for x, y in zip(part.train.images, part.train.labels))
    assert part.valid is digits.valid and part.classes == digits.classes and part.source == digits.source

def test_the_whole_is_the_set_itself(digits): assert nested_subset(digits, 1) is digits and nested_subset(digits, 1.) is digits

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
    assert chosen(one, 0) == chosen(other, 0) and chosen(one, 1) == chosen(other, 1) and len(chosen(one, 2)) > len(chosen(other, 2))

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
    @dataclass(frozen=True, eq=False, repr=False)
    class Named(Split):
        names: tuple|None = None
    images = image_set([30, 20])
    named = replace(images, train=Named(images.train.images, images.train.labels, tuple(f'{i}.png' for i in range(50))))
    part = nested_subset(named, .2)
    assert part.train.names == tuple(f'{i}.png' for i in numbers(part)) and len(part.train.names) == 10
    without = replace(images, train=Named(images.train.images, images.train.labels))
    assert nested_subset(without, .2).train.names is None

@pytest.mark.parametrize('fraction', [0, -1, 1.001, 50, float('nan'), float('inf'), 'half', None, True, [.1]])
def test_what_is_no_fraction_is_refused(digits, fraction):
    with refused('fraction', repr(fraction), 'above 0 and up to 1'): nested_subset(digits, fraction)
    with refused('fraction', repr(fraction)): part_sizes(digits, [.1, fraction])
    with refused('fraction'): learning_curve(digits, 'similarity', [fraction], on_point=lambda *a: pytest.fail('a point was begun'))

def test_fractions_that_give_as_many_images_as_a_smaller_one_are_left_out(digits):
    assert list(part_sizes(digits, (1, .001, .01, .5, .5, .002))) == [.001, .5, 1]
    assert part_sizes(image_set([2, 1]), FRACTIONS) == {.01: 3}
    with refused('no fraction'): part_sizes(digits, [])


# A curve

@pytest.fixture(scope='module')
def heard(): return dict(points=[], fitted=[], epochs=[])

@pytest.fixture(scope='module')
def done(): return {}

@pytest.fixture(scope='module')
def whole(threes_sevens): return fit('mlp', threes_sevens, seed=3, device='cpu', epochs=2)

@pytest.fixture(scope='module')
def curve(threes_sevens, heard, done, whole):
    "Two rungs asked for in another order, at three sizes"
    return learning_curve(threes_sevens, 'mlp, similarity', (.5, .05, 1), seed=3, device='cpu', settings={'mlp': {'epochs': 2}}, done=done, whole={'mlp': whole},
                          on_point=lambda *a: heard['points'].append(a), on_fitted=heard['fitted'].append, on_epoch=heard['epochs'].append)

def again(threes_sevens, **kwargs): return learning_curve(threes_sevens, 'mlp, similarity', (.5, .05, 1), **dict(dict(seed=3, device='cpu', settings={'mlp': {'epochs': 2}}), **kwargs))

def test_a_curve_is_plain_values_of_the_agreed_form(curve, threes_sevens):
    assert json.loads(json.dumps(curve, allow_nan=False)) == curve
    assert list(curve) == ['fractions', 'seed', 'rungs'] and curve['fractions'] == [.05, .5, 1] and curve['seed'] == 3
    assert [r['recipe'] for r in curve['rungs']] == ['similarity', 'mlp']
    for r in curve['rungs']:
        assert list(r) == ['recipe', 'points', 'more_data'] and list(r['more_data']) == ['words', 'why']
        assert [list(p) for p in r['points']] == [['fraction', 'images', 'accuracy', 'interval', 'train_seconds', 'status', 'reason']] * 3
        assert [(p['fraction'], p['images'], p['status'], p['reason']) for p in r['points']] == [(f, n, 'fitted', None) for f, n in part_sizes(threes_sevens, (.05, .5, 1)).items()]

def test_each_point_is_the_fit_to_its_part_judged_by_all_validation_images(curve, threes_sevens):
    for r, settings in zip(curve['rungs'], ({}, {'epochs': 2})):
        for p in r['points']:
            f = fit(r['recipe'], nested_subset(threes_sevens, p['fraction'], 3), seed=3, device='cpu', **settings)
            assert len(f.targets) == len(threes_sevens.valid) and p['accuracy'] == f.accuracy
            assert p['interval'] == pytest.approx(wilson(round(f.accuracy * len(f.targets)), len(f.targets)), abs=0)

def test_small_parts_come_first_and_the_callbacks_hear_of_every_point(curve, heard, threes_sevens):
    small, half, all_ = part_sizes(threes_sevens, (.05, .5, 1)).values()
    assert heard['points'] == [(i, 6, n, k) for i, (k, n) in enumerate((k, n) for k in (small, half, all_) for n in ('similarity', 'mlp'))]
    assert [(f.recipe, len(f.images.train)) for f in heard['fitted']] == [('similarity', small), ('mlp', small), ('similarity', half), ('mlp', half), ('similarity', all_)]
    assert [e['epoch'] for e in heard['epochs']] == [0, 1, 0, 1]

def test_a_rung_that_is_fitted_to_the_whole_set_is_taken_as_it_is(curve, whole):
    assert curve['rungs'][1]['points'][2]['accuracy'] == whole.accuracy and curve['rungs'][1]['points'][2]['train_seconds'] == whole.seconds

@pytest.mark.parametrize('change, words', [(dict(seed=4), 'another seed'), (dict(settings={'mlp': {'epochs': 1}}), 'other settings'), (dict(images=.5), 'other images')])
def test_a_fitted_rung_that_is_not_what_the_last_point_would_be_is_refused(threes_sevens, whole, change, words):
    images = nested_subset(threes_sevens, change.pop('images')) if 'images' in change else threes_sevens
    with refused('mlp', words, 'leave it out'): again(images, whole={'mlp': whole}, on_point=lambda *a: pytest.fail('a point was begun'), **change)
    learning_curve(images, 'similarity', [.05], whole={'mlp': whole}, device='cpu') # Where it is not asked for it does not matter

@pytest.mark.parametrize('kwargs, words', [(dict(names='mpl'), "did you mean 'mlp'"), (dict(names=''), 'no recipe'), (dict(names=[]), 'no recipe'), (dict(settings={'mlp': {'epoch': 1}}), "unknown setting 'epoch'"), (dict(images='digit'), "did you mean 'digits'")])
def test_what_cannot_be_done_is_refused_before_anything_is_fitted(threes_sevens, kwargs, words):
    with refused(words): learning_curve(**{'images': threes_sevens, 'names': 'mlp', **kwargs}, on_point=lambda *a: pytest.fail('a point was begun'))

def test_without_names_the_whole_ladder_is_asked(threes_sevens):
    class Enough(Exception): pass
    heard = []
    def stop(*a):
        heard.append(a[1:3])
        if len(heard) == 2: raise Enough
    with pytest.raises(Enough): learning_curve(threes_sevens, fractions=(.1, 1), device='cpu', on_point=stop)
    assert heard == [(2 * len(ladder()), n) for n in ladder()[:2]]


# Going on

def same(a, b):
    plain = lambda c: [[{k: v for k, v in p.items() if k != 'train_seconds'} for p in r['points']] + [r['more_data']] for r in c['rungs']]
    return plain(a) == plain(b)

def test_points_that_are_there_are_not_fitted_again(curve, done, threes_sevens):
    kept = json.loads(json.dumps(done))
    assert len(kept) == 6 and all(k.replace('-', '').replace('_', '').isalnum() for k in kept), 'keys that can be names of files, values that can be JSON'
    assert again(threes_sevens, done=kept, on_epoch=lambda r: pytest.fail('it was fitted'), on_fitted=lambda f: pytest.fail('it was fitted')) == curve

def test_an_interrupted_curve_goes_on_point_by_point(curve, threes_sevens):
    kept, fitted = {}, []
    def interrupt(i, *_):
        if i == 3: raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): again(threes_sevens, done=kept, on_point=interrupt)
    assert len(kept) == 3
    part = again(threes_sevens, done=kept, only_done=True, on_fitted=fitted.append)
    assert [len(r['points']) for r in part['rungs']] == [2, 1] and not fitted and {r['more_data']['words'] for r in part['rungs']} == {'not known'}
    assert same(again(threes_sevens, done=kept, on_fitted=fitted.append), curve) and len(fitted) == 3 and len(kept) == 6

def test_a_ctrl_c_in_the_middle_of_a_point_keeps_the_points_before_it(threes_sevens):
    kept = {}
    def interrupt(row): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): again(threes_sevens, done=kept, on_epoch=interrupt)
    assert [k.split('-')[0] for k in kept] == ['similarity']

@pytest.mark.parametrize('change', [dict(seed=4), dict(settings={'mlp': {'epochs': 1}})])
def test_points_of_another_curve_are_not_taken_for_ones_of_this(done, curve, threes_sevens, change):
    kept, fitted = dict(done), []
    again(threes_sevens, done=kept, on_fitted=fitted.append, **change)
    assert {f.recipe for f in fitted} == ({'mlp', 'similarity'} if 'seed' in change else {'mlp'}) and len(kept) == 6 + len(fitted)

def test_the_key_names_images_seed_and_settings(threes_sevens, digits):
    keys = [point_key(threes_sevens, 'mlp', 7, 1, {'a': 1}), point_key(digits, 'mlp', 7, 1, {'a': 1}), point_key(threes_sevens, 'sgd', 7, 1, {'a': 1}), point_key(threes_sevens, 'mlp', 8, 1, {'a': 1}),
            point_key(threes_sevens, 'mlp', 7, 2, {'a': 1}), point_key(threes_sevens, 'mlp', 7, 1, {'a': 2})]
    assert len(set(keys)) == 6 and keys[0] == point_key(threes_sevens, 'mlp', 7, 1, {'a': 1}) and keys[0].startswith('mlp-7-')

@pytest.mark.parametrize('damage', [lambda p: None, lambda p: 'x', lambda p: {}, lambda p: p | dict(right='zz'), lambda p: p | dict(right=''), lambda p: p | dict(accuracy=.123), lambda p: p | dict(images=1),
                                    lambda p: p | dict(status='failed'), lambda p: p | dict(interval=None), lambda p: p | dict(train_seconds=None), lambda p: p | dict(right='00' + p['right'])])
def test_a_kept_point_that_is_damaged_is_fitted_again(done, curve, threes_sevens, damage):
    kept, fitted = dict(done), []
    key = next(k for k in kept if k.startswith('similarity'))
    kept[key] = damage(kept[key])
    assert same(again(threes_sevens, done=kept, on_fitted=fitted.append), curve) and [f.recipe for f in fitted] == ['similarity']


# Points that fail

@pytest.fixture
def odd_recipe():
    "A recipe that fails as it is told, for fewer than 50 training images"
    def make(error):
        @recipe(rung=False)
        def odd(images, run):
            "Fails for few images"
            if len(images.train) < 50: raise error
            return recipes['similarity'].func(images, run, distance='l2')
        return odd
    yield make
    recipes.pop('odd', None)

@pytest.mark.parametrize('error, words', [(InputError('odd: too few images for a batch; give more'), 'odd: too few images for a batch; give more'), (MemoryError(), 'not enough memory (MemoryError); take a smaller model'), (InputError('loss is\nNaN'), 'loss is NaN'),
                                          (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"), 'not enough memory'), (torch.OutOfMemoryError('CUDA out of memory. Tried to allocate'), 'not enough memory')])
def test_a_point_that_fails_says_why_and_the_others_go_on(threes_sevens, odd_recipe, error, words):
    odd_recipe(error)
    kept = {}
    c = learning_curve(threes_sevens, 'similarity,odd', (.1, .5, 1), device='cpu', done=kept)
    good, odd = (next(r for r in c['rungs'] if r['recipe'] == n) for n in ('similarity', 'odd'))
    assert [p['status'] for p in odd['points']] == ['failed', 'fitted', 'fitted'] and words in odd['points'][0]['reason'] and '\n' not in odd['points'][0]['reason']
    assert {odd['points'][0][k] for k in ('accuracy', 'interval', 'train_seconds')} == {None} and odd['points'][0]['images'] == 29
    assert [p['accuracy'] for p in odd['points'][1:]] == [p['accuracy'] for p in good['points'][1:]] and json.dumps(c, allow_nan=False)
    assert len(kept) == 5, 'what failed is tried again next time'

def test_an_error_that_is_ours_is_not_hidden(threes_sevens, odd_recipe):
    odd_recipe(RuntimeError('a bug'))
    with pytest.raises(RuntimeError, match='a bug'): learning_curve(threes_sevens, 'odd', (.1,), device='cpu')

@pytest.mark.parametrize('name', ['mlp', 'simple_net'])
def test_a_loss_that_is_no_number_is_a_failed_point(digits, name):
    c = learning_curve(digits, ['similarity', name], (.1, 1), device='cpu', settings={name: {'lr': 1e20, 'epochs': 2}})
    assert {p['status'] for p in c['rungs'][0]['points']} == {'fitted'}
    assert [p['status'] for p in c['rungs'][1]['points']] == ['failed'] * 2 and 'take a smaller learning rate (lr)' in c['rungs'][1]['points'][0]['reason']
    assert c['rungs'][1]['more_data']['words'] == 'not known' and c['rungs'][1]['points'][1]['reason'] in c['rungs'][1]['more_data']['why']


# Whether more images help

def points_of(n=1000, right=930, won=0, lost=0, quarter=None, half=500):
    "Points at (a quarter,) half and the whole of 1,000 training images"
    first = np.arange(n) < right
    last = first.copy()
    last[right:right + won], last[:lost] = True, False
    at = lambda k, r: dict(images=k, status='fitted', reason=None, right=r)
    return ([] if quarter is None else [at(250, np.arange(n) < quarter)]) + [at(half, first), at(1000, last)]

def test_a_gain_that_is_shown_says_likely_and_about_how_much():
    assert more_data(points_of(won=20, lost=5), 1000)['words'] == 'likely to help' # 2 * P(X >= 20 | 25 fair coins) = 0.004
    why = more_data(points_of(won=20, lost=5), 1000)['why']
    assert why.startswith('With 1,000 training images instead of 500 it gains 1.5 points (95% interval ') and 'p = 0.004' in why and why.endswith('the next doubling may bring about as much at most.') and 'each doubling' not in why

@pytest.mark.parametrize('won, lost, words', [(6, 0, 'likely to help'), (5, 0, 'no help shown'), (15, 5, 'likely to help'), (14, 6, 'no help shown'), (0, 6, 'no help shown'), (0, 0, 'no help shown')])
def test_the_line_is_that_of_the_exact_test(won, lost, words): assert more_data(points_of(won=won, lost=lost), 1000)['words'] == words

def test_where_there_is_no_half_the_gain_is_given_for_a_doubling():
    why = more_data(points_of(won=40, half=125), 1000)['why'] # Three doublings
    assert 'instead of 125 it gains 4.0 points' in why and 'about 1.3 for each doubling' in why

def test_a_gain_that_is_not_shown_says_how_large_one_may_be():
    said = more_data(points_of(won=12, lost=8), 1000)
    assert said['words'] == 'no help shown' and said['why'].endswith('so no gain is shown; the 1,000 validation images leave open one of up to 1.3 points.')
    assert 'up to 0.3 points' in more_data(points_of(), 1000)['why'], 'three images in a thousand, even where both are right on the same images'
    assert 'gets as many right' in more_data(points_of(), 1000)['why']

def test_a_set_without_mistakes_has_no_room_for_a_gain():
    assert 'makes no mistake on the 100 validation images' in more_data(points_of(100, 98, won=2), 1000)['why'] and more_data(points_of(100, 98, won=2), 1000)['words'] == 'no help shown'

def test_more_images_that_made_it_worse_are_not_shown_to_help():
    said = more_data(points_of(lost=9), 1000)
    assert said['words'] == 'no help shown' and 'it loses 0.9 points' in said['why'] and said['why'].endswith('so more of the same is not shown to help.')

def test_two_doublings_that_gained_are_spoken_of_where_one_is_not_shown():
    assert more_data(points_of(won=5, quarter=910), 1000)['why'].endswith('The curve rises, though slowly: from 250 images on it gains 2.5 points (95% interval 1.6 to 3.5, p < 0.001).')
    assert 'slowly' not in more_data(points_of(won=5, quarter=934), 1000)['why'] and 'slowly' not in more_data(points_of(won=20, quarter=910), 1000)['why']

@pytest.mark.parametrize('points, why', [([], 'There is no fit to all 1,000'), (points_of()[:1], 'There is no fit to all 1,000'), (points_of()[1:], 'no fit to half of the 1,000'), (points_of(half=800), 'no fit to half'),
    (points_of()[:1] + [dict(images=1000, status='failed', reason='NaN')], 'There is no fit to all 1,000 training images (NaN).'), ([dict(images=500, status='failed', reason='NaN')] + points_of()[1:], 'no fit to half')])
def test_without_the_two_points_nothing_is_known(points, why):
    said = more_data(points, 1000)
    assert said['words'] == 'not known' and why in said['why']

def test_half_may_be_a_few_more_where_classes_round_up(): assert more_data(points_of(won=20, half=530), 1000)['words'] == 'likely to help'

def test_where_nothing_is_gained_help_is_promised_no_more_often_than_the_test_allows():
    rng, said = np.random.default_rng(0), []
    for _ in range(300):
        u = rng.random((2, 500)) < .9
        said.append(more_data([dict(images=k, status='fitted', reason=None, right=r) for k, r in zip((500, 1000), u)], 1000)['words'])
    assert 0 < said.count('likely to help') / 300 < .05 # Half of the 5% gain, half lose

def test_a_real_curve_that_climbs_is_told_from_one_that_is_flat(mnist_sample):
    c = learning_curve(nested_subset(mnist_sample, .1), ['similarity', 'mlp'], (.5, 1), device='cpu')
    assert [r['more_data']['words'] for r in c['rungs']] == ['no help shown', 'likely to help']


# Words and pictures

def test_the_most_left_open_is_three_in_n_or_the_interval(): assert (most_left_open(.1, 100), most_left_open(5., 100)) == (3, 5)

@given(st.lists(st.floats(0, 1), max_size=9), st.floats(.01, .1))
def test_labels_moved_apart_keep_their_order_and_their_distance(values, gap):
    out = spread_out(values, gap, 0, 1)
    ranked = sorted(range(len(values)), key=lambda i: values[i])
    assert all(out[b] - out[a] >= gap - 1e-9 for a, b in zip(ranked, ranked[1:])) and all(-1e-9 <= v <= 1 + 1e-9 for v in out)

def drawn(fig):
    from io import BytesIO
    fig.savefig(BytesIO(), format='png')
    ax, = fig.axes
    return ax, [t.get_text() for t in ax.texts]

def made(rungs):
    "A curve of names and accuracies; None: it failed"
    point = lambda k, a: dict(fraction=k / 1000, images=k, accuracy=a, interval=a and [a - .02, min(a + .01, 1)], train_seconds=a and 1., status='failed' if a is None else 'fitted', reason=None if a else 'x')
    return dict(fractions=[.01, .1, 1], seed=1, rungs=[dict(recipe=n, points=[point(k, a) for k, a in zip((10, 100, 1000), accuracies)], more_data=dict(words='not known', why='')) for n, accuracies in rungs.items()])

@pytest.mark.parametrize('n', [1, 2, 6, 8])
def test_each_rung_has_its_name_at_its_end_and_no_name_lies_on_another(n):
    ax, texts = drawn(plot_curve(made({f'rung{i}': [.5, .9, .97] for i in range(n)})))
    assert texts == [f'rung{i} 0.9700' for i in range(n)]
    boxes = [Text.get_window_extent(t) for t in ax.texts] # Without their leader lines
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert len({l.get_marker() for l in ax.lines} & set(curves.MARKERS)) == len({l.get_color() for l in ax.lines}) == min(n, 6)

def test_names_lie_within_the_picture():
    fig = plot_curve(made({'a_rung_of_a_long_name': [.5, .9, .97], 'mlp': [.5, .6, .7]}))
    ax, _ = drawn(fig)
    assert all(Text.get_window_extent(t).x1 <= fig.bbox.x1 for t in ax.texts)

def test_a_failed_point_is_a_cross_with_a_name_and_a_gap_in_the_line():
    ax, texts = drawn(plot_curve(made({'sgd': [.5, None, .97], 'mlp': [.5, None, None], 'linear': [.5, .6, .7]})))
    assert sorted(texts) == ['linear 0.7000', 'mlp (to 10)', 'mlp failed', 'mlp failed', 'sgd 0.9700', 'sgd failed']
    assert sum(l.get_marker() == 'x' for l in ax.lines) == 3 and any(np.isnan(l.get_ydata()).tolist() == [False, True, False] for l in ax.lines)

@pytest.mark.parametrize('curve', [made({'mlp': [None] * 3}), made({}), dict(fractions=[], seed=1, rungs=[dict(recipe='mlp', points=[], more_data={})])])
def test_there_is_a_picture_even_of_nothing(curve): drawn(plot_curve(curve))

def test_a_point_at_one_size_only_can_be_drawn(): drawn(plot_curve(dict(fractions=[1], seed=1, rungs=[made({'mlp': [.5, .5, .9]})['rungs'][0] | dict(points=made({'mlp': [.5, .5, .9]})['rungs'][0]['points'][-1:])])))

def test_a_real_curve_has_its_sizes_under_the_axis(curve):
    ax, texts = drawn(plot_curve(curve))
    assert [t.get_text() for t in ax.get_xticklabels()] == [f"{p['images']:,}" for p in curve['rungs'][0]['points']] and ax.get_xscale() == 'log'
    assert any(t.startswith('mlp ') for t in texts)
