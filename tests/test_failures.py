"Where a rung fails: by hand, against scikit-learn and fastai, by simulation, and whatever the scores"
import base64, io, json, math
from dataclasses import replace
import numpy as np, pytest, torch
from conftest import refused
from hypothesis import given, strategies as st
from PIL import Image
from sklearn.metrics import classification_report, log_loss
from fastrecipes.answer.failures import (
    BINS, caption, failures_of, most_confused, per_class_table, picture_of, pictures_of, plot_calibration,
    plot_confusion, plot_images, reliability, shared_failures, shortened, worst_table,
)
from fastrecipes.text import printable
from fastrecipes.ladder.fitted import Judged
from fastrecipes.ladder.recipe import fit
from fastrecipes.lessons.sgd import class_probs


def judged(scores, targets, has_probs=True): return Judged(torch.tensor(scores, dtype=torch.float32), torch.tensor(targets, dtype=torch.int64), has_probs)

def logits(*rows): return [[math.log(p) for p in row] for row in rows]

def plain(value):
    "`value`, which must be strict JSON and the same when it is read again"
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    return value


@pytest.fixture(scope='module')
def three(threes_sevens):
    "Three rungs on the digits 3 and 7: no probabilities, by hand, through a Learner"
    return {n: fit(n, threes_sevens, seed=3, device='cpu', **s) for n, s in (('similarity', {}), ('sgd', {'epochs': 3}), ('mlp', {'epochs': 3}))}

@pytest.fixture(scope='module')
def ten(digits): return {n: fit(n, digits, seed=3, device='cpu', **s) for n, s in (('similarity', {}), ('linear', {'epochs': 3}), ('mlp', {'epochs': 3}))}


# By hand

HAND = judged(logits([.7, .2, .1], [.3, .6, .1], [.5, .4, .1], [.25, .25, .5], [.05, .9, .05]), [0, 0, 1, 1, 1])

def test_the_confusion_matrix_has_a_row_a_true_class_and_a_column_an_answer():
    assert plain(failures_of(HAND, 'abc')['confusion']) == [[1, 1, 0], [1, 1, 1], [0, 0, 0]]

def test_shares_of_each_class_are_null_where_there_is_nothing_to_divide_by():
    a, b, c = plain(failures_of(HAND, 'abc')['per_class'])
    assert a == {'class': 'a', 'precision': .5, 'recall': .5, 'f1': .5, 'images': 2}
    assert (b['precision'], b['recall'], b['images']) == (.5, pytest.approx(1 / 3), 3) and b['f1'] == pytest.approx(2 * .5 / 3 / (.5 + 1 / 3))
    assert c == {'class': 'c', 'precision': 0, 'recall': None, 'f1': 0, 'images': 0}, 'answered once, and there are none'
    never = failures_of(judged([[1., 0], [1, 0]], [0, 1]), 'ab')['per_class'][1]
    assert never == {'class': 'b', 'precision': None, 'recall': 0, 'f1': 0, 'images': 1}, 'never answered'
    absent = failures_of(judged([[1., 0], [1, 0]], [0, 0]), 'ab')['per_class'][1]
    assert absent == {'class': 'b', 'precision': None, 'recall': None, 'f1': None, 'images': 0}, 'neither answered nor there'

def test_the_worst_images_are_those_with_the_highest_loss_right_or_wrong():
    worst = plain(failures_of(HAND, 'abc', worst=4)['worst'])
    assert [(w['image'], w['true'], w['predicted']) for w in worst] == [(3, 'b', 'c'), (1, 'a', 'b'), (2, 'b', 'a'), (0, 'a', 'a')]
    assert [w['probability'] for w in worst] == pytest.approx([.5, .6, .5, .7]) and [w['loss'] for w in worst] == pytest.approx([-math.log(p) for p in (.25, .3, .4, .7)])

def test_calibration_by_hand():
    c = plain(failures_of(HAND, 'abc')['calibration'])
    assert [(b['images'], b['accuracy']) for b in c['bins']] == [(2, 0), (1, 0), (1, 1), (1, 1)]
    assert [b['confidence'] for b in c['bins']] == pytest.approx([.5, .6, .7, .9])
    assert c['ece'] == pytest.approx((2 * .5 + .6 + .3 + .1) / 5)
    assert all(b['low'] < b['confidence'] <= b['high'] + 1e-6 and b['high'] - b['low'] == pytest.approx(1 / 15) for b in c['bins'])

def test_a_confidence_on_the_edge_belongs_to_the_bin_below_and_one_is_in_the_last():
    edges = np.arange(1, 16) / 15
    assert [b['high'] for b in reliability(edges, np.ones(15, bool))['bins']] == edges.tolist()
    assert [b['images'] for b in reliability([.2, 3 / 15 + 1e-9, 1., 1.], [True] * 4)['bins']] == [1, 1, 2]

def test_without_probabilities_wrong_images_come_by_margin_and_give_no_probability():
    f = plain(failures_of(judged([[-1., -4, -9], [-3, -2, -9], [-1, -2, -3], [-8, -2, -1], [-1, -3, -2]], [1, 0, 2, 0, 0], has_probs=False), 'abc'))
    assert f['calibration'] is None
    assert [(w['image'], w['predicted'], w['probability'], w['loss']) for w in f['worst']] == [(3, 'c', None, None), (0, 'a', None, None), (2, 'a', None, None), (1, 'b', None, None)]
    one = failures_of(judged([[2.], [-3.], [1.], [-.5]], [0, 1, 1, 1], has_probs=False), 'ab')['worst']
    assert [w['image'] for w in one] == [1, 0, 3], 'one score for two classes'

def test_ties_stay_in_the_order_of_the_images_and_a_score_of_nought_says_the_first_class():
    f = failures_of(judged([[0.]] * 5, [0, 1, 0, 1, 0]), 'ab', worst=3)
    assert [w['image'] for w in f['worst']] == [0, 1, 2] and f['confusion'] == [[3, 0], [2, 0]]
    assert [w['image'] for w in failures_of(judged([[1., 1, 1]] * 4, [1, 2, 0, 1], has_probs=False), 'abc')['worst']] == [0, 1, 3]
    many = judged([[1., 1, 1]] * 10_000, [1, 2] * 5_000)
    assert [w['image'] for w in failures_of(many, 'abc', worst=500)['worst']] == list(range(500))

def test_scores_of_any_size_give_finite_numbers():
    for s in ([[3e38], [-3e38]], [[3e38, -3e38], [-3e38, 3e38]]):
        f = plain(failures_of(judged(s, [0, 0]), 'ab'))
        assert f['worst'][0]['loss'] > 1e38 and f['worst'][0]['probability'] == 1 and f['calibration']['ece'] == .5

def test_a_probability_is_as_exact_as_float64_is():
    w, = failures_of(judged([[20.]], [1]), 'ab')['worst']
    assert w['probability'] == pytest.approx(1 / (1 + math.exp(-20)), abs=1e-15) and w['probability'] < 1 and w['loss'] == pytest.approx(math.exp(-20), rel=1e-6)

def test_one_image_is_enough():
    f = plain(failures_of(judged([[2.]], [1]), ['no', 'yes']))
    assert (f['confusion'], len(f['worst']), len(f['calibration']['bins'])) == ([[0, 0], [0, 1]], 1, 1)
    plot_confusion(f, ['no', 'yes']), plot_calibration({'one': f['calibration']})

def test_a_thousand_classes_work_most_of_them_without_an_image():
    rng = torch.Generator().manual_seed(0)
    f = failures_of(Judged(torch.randn(300, 1000, generator=rng), torch.randint(0, 1000, (300,), generator=rng), True), map(str, range(1000)))
    counts = np.array(f['confusion'])
    assert counts.shape == (1000, 1000) and counts.sum() == 300 and sum(p['images'] for p in f['per_class']) == 300
    json.dumps(f, allow_nan=False)
    fig = plot_confusion(f, [f'class {i}' for i in range(1000)])
    fig.canvas.draw()
    assert len(fig.axes[0].get_xticks()) <= 25 and not fig.axes[0].texts

@pytest.mark.parametrize('bad, classes, wanted', [
    (judged([[math.nan], [1.]], [0, 1]), 'ab', ('1 of 2', 'NaN', 'learning rate')), (judged([[0., math.inf]], [0]), 'ab', ('1 of 1', 'infinite')),
    (judged(np.zeros((0, 2)), []), 'ab', ('no image', 'at least one')), (judged([[0., 1]], [0]), 'abc', ('(1, 2)', '3 classes', '(1, 3)')),
    (judged([[0.], [1]], [0]), 'ab', ('(2, 1)', '1 images')), (judged([[0.]], [0]), 'abc', ('(1, 1)', '(1, 3)')),
    (judged([[0., 1]], [2]), 'ab', ('labels run from 2 to 2',)), (judged([[0., 1]], [-1]), 'ab', ('labels run from -1',)), (judged([[0.]], [0]), None, ('class names',))])
def test_what_cannot_be_judged_is_refused(bad, classes, wanted):
    with refused(*wanted): failures_of(bad, classes)
    with refused(*wanted): shared_failures({'a': bad}, classes)


# Against others

def test_scikit_learn_agrees_about_every_class(ten, digits):
    for f in ten.values():
        report = classification_report(f.targets, f.predictions, target_names=digits.classes, output_dict=True, zero_division=np.nan)
        for row in failures_of(f)['per_class']:
            assert [row[k] for k in ('precision', 'recall', 'f1', 'images')] == pytest.approx([report[row['class']][k] for k in ('precision', 'recall', 'f1-score', 'support')])

def test_scikit_learn_agrees_about_every_loss(ten, three):
    for f in (ten['linear'], ten['mlp'], three['sgd'], three['mlp']):
        worst = failures_of(f, worst=10**6)['worst']
        assert sorted(w['image'] for w in worst) == list(range(len(f.targets)))
        p = class_probs(f.scores.double())
        for w in worst: assert w['loss'] == pytest.approx(log_loss([int(f.targets[w['image']])], p[w['image']][None], labels=range(p.shape[1])), rel=1e-3, abs=1e-6)
        assert np.mean([w['loss'] for w in worst]) == pytest.approx(f.loss)
        assert [w['probability'] for w in worst] == pytest.approx(p.amax(1)[[w['image'] for w in worst]].tolist(), abs=1e-6)

def test_fastais_interpretation_agrees_where_there_is_a_learner(ten, digits):
    from fastai.interpret import ClassificationInterpretation
    f, ours = ten['mlp'], failures_of(ten['mlp'])
    with f.learner.no_bar():
        interp = ClassificationInterpretation.from_learner(f.learner)
        assert interp.confusion_matrix().tolist() == ours['confusion']
        confused = interp.most_confused()
    losses, numbers = interp.top_losses(12)
    assert numbers.tolist() == [w['image'] for w in ours['worst']] and losses.tolist() == pytest.approx([w['loss'] for w in ours['worst']], rel=1e-4)
    table = most_confused(ours, digits.classes, 1000)
    assert {tuple(r)[:3] for r in table.itertuples(index=False)} == {(t, p, int(n)) for t, p, n in confused} and table.images.is_monotonic_decreasing

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
    c = failures_of(two_classes(p, rng.random(len(p)) < p), 'ab')['calibration']
    assert c['ece'] < .006 and min(b['low'] for b in c['bins']) == 7 / 15 and len(c['bins']) == 8
    assert all(abs(b['accuracy'] - b['confidence']) < .02 for b in c['bins'])

@pytest.mark.parametrize('says, is_right', [(.97, .8), (.7, .95), (.9, .6)])
def test_the_error_of_one_who_is_wrongly_sure_is_known(says, is_right):
    rng = np.random.default_rng(1)
    c = failures_of(two_classes(np.full(50_000, says), rng.random(50_000) < is_right), 'ab')['calibration']
    assert c['ece'] == pytest.approx(abs(says - is_right), abs=.01) and len(c['bins']) == 1

def test_sharpened_scores_of_ten_classes_have_the_error_that_follows():
    rng = np.random.default_rng(2)
    s = rng.normal(size=(40_000, 10)) * 1.5
    p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    y = (p.cumsum(1) > rng.random((len(p), 1))).argmax(1)
    honest, sure = (failures_of(judged(s * t, y), map(str, range(10)))['calibration'] for t in (1, 3))
    q = np.exp(3 * s) / np.exp(3 * s).sum(1, keepdims=True)
    assert honest['ece'] < .015 and sure['ece'] == pytest.approx((q.max(1) - p.max(1)).mean(), abs=.015) and sure['ece'] > .2


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
    counts, right = np.array(f['confusion']), (j.predictions == j.targets).numpy()
    assert counts.sum() == n and np.trace(counts) == right.sum()
    assert counts.sum(1).tolist() == [p['images'] for p in f['per_class']] == j.targets.bincount(minlength=len(classes)).tolist()
    for c, p in enumerate(f['per_class']):
        assert p['recall'] == (pytest.approx(counts[c, c] / counts[c].sum()) if counts[c].sum() else None)
        assert p['precision'] == (pytest.approx(counts[c, c] / counts[:, c].sum()) if counts[:, c].sum() else None)
    assert len(f['worst']) == min(7, n if j.has_probs else n - right.sum()) and len({w['image'] for w in f['worst']}) == len(f['worst'])
    for w in f['worst']: assert (w['true'], w['predicted']) == (classes[j.targets[w['image']]], classes[j.predictions[w['image']]])
    if j.has_probs:
        losses = [w['loss'] for w in f['worst']]
        assert losses == sorted(losses, reverse=True) and min(losses) >= 0 and all(1 / len(classes) - 1e-6 <= w['probability'] <= 1 for w in f['worst'])
        bins = f['calibration']['bins']
        assert sum(b['images'] for b in bins) == n and min(b['images'] for b in bins) > 0 and [b['low'] for b in bins] == sorted({b['low'] for b in bins}) and len(bins) <= BINS
        assert sum(b['images'] * b['accuracy'] for b in bins) == pytest.approx(right.sum()) and 0 <= f['calibration']['ece'] <= 1
        assert abs(right.mean() - sum(b['images'] * b['confidence'] for b in bins) / n) <= f['calibration']['ece'] + 1e-9, 'no less than the difference on the whole'
    else: assert f['calibration'] is None and all(w['true'] != w['predicted'] for w in f['worst'])

@given(any_judged(rungs=3), st.integers(0, 4))
def test_what_rungs_share_is_an_intersection(drawn, most):
    rungs, classes = drawn
    named = dict(zip(('low', 'middle', 'top'), rungs))
    s, right = plain(shared_failures(named, classes, most=most)), {n: (j.predictions == j.targets).numpy() for n, j in named.items()}
    missed, only = ~right['low'] & ~right['middle'] & ~right['top'], right['top'] & ~right['low'] & ~right['middle']
    assert s['only_top']['recipe'] == 'top'
    for entry, wanted in ((s['missed_by_all'], missed), (s['only_top'], only)):
        numbers = [e['image'] for e in entry['images']]
        assert entry['count'] == wanted.sum() and len(numbers) == min(most, entry['count']) == len(set(numbers)) and wanted[numbers].all()
        for e in entry['images']: assert e['true'] == classes[rungs[0].targets[e['image']]] and e['predicted'] == {n: classes[j.predictions[e['image']]] for n, j in named.items()}


# What the rungs share

def test_images_that_all_miss_come_by_the_top_rungs_loss_and_those_it_alone_gets_by_how_sure_it_is():
    y = [0] * 6
    below = judged([[1.], [1], [1], [1], [-1], [1]], y)
    top = judged([[2.], [-1], [5], [-3], [-9], [-2]], y)
    s = shared_failures(dict(low=below, top=top), 'ab')
    assert [e['image'] for e in s['missed_by_all']['images']] == [2, 0] and [e['image'] for e in s['only_top']['images']] == [3, 5, 1]
    blind = shared_failures(dict(low=below, top=top._replace(has_probs=False)), 'ab')
    assert blind == s, 'margins of one score are in the order of its losses'
    two = judged(torch.cat([-top.scores, top.scores], 1).tolist(), y, has_probs=False)
    assert shared_failures(dict(low=below, top=two), 'ab') == s

def test_one_rung_has_nothing_that_only_it_gets_right():
    assert shared_failures({'a': HAND}, 'abc')['only_top'] is None and shared_failures({'a': HAND}, 'abc')['missed_by_all']['count'] == 3

def test_rungs_that_were_judged_by_different_images_are_refused(three, ten):
    with refused('no rung was judged', 'at least one'): shared_failures({}, 'ab')
    with refused('b and a', 'different images'): shared_failures(dict(a=judged([[1.]], [0]), b=judged([[1.]], [1])), 'ab')
    with refused('different images'): shared_failures(dict(a=judged([[1.]], [0]), b=judged([[1.], [1]], [0, 0])), 'ab')
    with refused('different images'): shared_failures(dict(a=three['mlp'], b=ten['mlp']))
    with refused('different images'): shared_failures(dict(a=three['mlp'], b=replace(three['mlp'], classes=('three', 'seven'))))


# Pictures

def opened(uri):
    head, _, data = uri.partition(',')
    assert head == 'data:image/png;base64'
    im = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    im.load()
    assert im.format == 'PNG' and not im.info.keys() - {'transparency'}
    return im

def noise(*shape): return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

@pytest.mark.parametrize('shape, k', [((1, 1, 1), 84), ((3, 1, 1), 84), ((1, 8, 8), 11), ((3, 8, 8), 11), ((1, 28, 28), 3), ((3, 28, 28), 3), ((1, 5, 20), 5), ((3, 20, 5), 5), ((1, 84, 84), 1),
                                      ((1, 83, 83), 1), ((1, 79, 80), 2), ((1, 1, 160), 1)])
def test_a_small_image_is_enlarged_by_a_whole_factor_and_every_pixel_stays(shape, k):
    x = noise(*shape) // 86 * 86 # Three values a channel: with more than that, large noise has to lose something
    im = opened(picture_of(x))
    wanted = x.repeat_interleave(k, 1).repeat_interleave(k, 2)
    assert np.array_equal(np.asarray(im.convert('L' if len(x) == 1 else 'RGB')).reshape(*wanted.shape[1:], -1), wanted.permute(1, 2, 0).numpy())
    assert im.size == (shape[2] * k, shape[1] * k) and max(im.size) <= 160

@pytest.mark.parametrize('shape, size', [((1, 320, 160), (80, 160)), ((3, 200, 400), (160, 80)), ((1, 1, 1000), (160, 1)), ((3, 161, 161), (160, 160)), ((1, 4000, 3000), (120, 160))])
def test_a_large_image_is_reduced_to_160_pixels_and_keeps_its_proportions(shape, size):
    x = torch.full(shape, 200, dtype=torch.uint8)
    x[:, :shape[1] // 2] = 30
    im = opened(picture_of(x))
    assert im.size == size and abs(np.asarray(im.convert('L'), dtype=float).mean() - x.float().mean().item()) < 3

def test_hundreds_of_pictures_stay_within_a_page(digits, mnist_sample, bitmoji):
    from fastrecipes.data.sources import from_folder
    faces = from_folder(bitmoji, size=128)
    per = {n: np.mean([len(picture_of(x)) for x in images[:60]]) for n, images in (('digits', digits.valid.images), ('28x28', mnist_sample.valid.images), ('128x128', faces.valid.images))}
    assert per['digits'] < 500 and per['28x28'] < 1_000 and per['128x128'] < 11_000, per
    assert max(len(picture_of(noise(*s))) for s in ((1, 28, 28), (3, 28, 28), (1, 128, 128), (3, 128, 128), (3, 160, 160), (3, 1000, 700))) < 11_000, 'nothing is worse than noise'

def test_a_photograph_loses_colours_but_not_its_looks():
    from sklearn.datasets import load_sample_image
    photo = torch.tensor(np.array(Image.fromarray(load_sample_image('china.jpg')).resize((128, 128)))).permute(2, 0, 1)
    im = opened(uri := picture_of(photo))
    near = np.asarray(Image.fromarray(photo.permute(1, 2, 0).numpy()).resize(im.size), dtype=float)
    assert len(uri) < 11_000 and np.abs(np.asarray(im.convert('RGB')) - near).mean() < 8

@pytest.mark.parametrize('bad', [torch.zeros(1, 4, 4), torch.zeros(4, 4, dtype=torch.uint8), torch.zeros(2, 4, 4, dtype=torch.uint8)])
def test_what_is_no_image_is_refused(bad):
    with refused('uint8', str(tuple(bad.shape))): picture_of(bad)

def test_pictures_are_made_once_for_each_image_that_is_named_with_its_file(threes_sevens):
    v = threes_sevens.valid
    assert pictures_of(v, [dict(image=3), dict(image=1)], [dict(image=3)], []) == {str(i): dict(uri=picture_of(v.images[i]), name=None) for i in (1, 3)}
    class Named:
        images, names = v.images, tuple(f'{i}.png' for i in range(len(v)))
        def __len__(self): return len(v)
    assert pictures_of(Named(), [dict(image=2)])['2']['name'] == '2.png' and pictures_of(v) == {}
    for i in (-1, len(v)):
        with refused(f'no image {i}'): pictures_of(v, [dict(image=i)])


# For people

def test_captions_say_what_is_true_what_was_said_and_how_sure():
    assert caption(dict(image=1, true='7', predicted='3', probability=.974, loss=3.)) == '7, said 3 (97%)'
    assert caption(dict(image=1, true='7', predicted='3', probability=None, loss=None)) == '7, said 3'
    assert caption(dict(image=1, true='7', predicted=dict(a='1', b='3', c='3', d='7'))) == '7, said 3 or 1'
    assert caption(dict(image=1, true='a' * 30, predicted='b\n', probability=1.)) == 'aaaaaaaaaa…aaaaa, said b\\n (>99%)'

@given(st.text(max_size=40), st.integers(6, 20))
def test_a_shortened_name_is_one_line_of_that_length(name, most):
    short = shortened(name, most)
    assert len(short) <= most and short.isprintable() and (short == printable(name)) == (len(printable(name)) <= most)

def test_the_tables_hold_what_the_values_say(ten):
    f = failures_of(ten['mlp'])
    t, w, none = per_class_table(f), worst_table(f), worst_table(failures_of(ten['similarity']))
    assert t.recall.tolist() == pytest.approx([r['recall'] for r in f['per_class']]) and list(t) == ['precision', 'recall', 'f1', 'images'] and t.index.name == 'class'
    assert w.index.tolist() == [e['image'] for e in f['worst']] and w.loss.tolist() == [e['loss'] for e in f['worst']]
    assert none.loss.isna().all() and len(none) == 12 and len(worst_table(failures_of(judged([[1.]], [1], has_probs=False), 'ab'))) == 0
    assert math.isnan(per_class_table(failures_of(HAND, 'abc')).recall['c'])
    assert most_confused(failures_of(HAND, 'abc'), 'abc').values.tolist() == [['a', 'b', 1, .5], ['b', 'a', 1, 1 / 3], ['b', 'c', 1, 1 / 3]]


# Figures

def test_the_matrix_shows_every_count_that_is_not_nought_and_every_name():
    names = ['$x_1$', '<b>cat</b>', 'a name that is much too long for it']
    fig = plot_confusion(failures_of(HAND, names), names, 'a $title$')
    fig.canvas.draw()
    ax = fig.axes[0]
    assert {(t.get_position(), t.get_text()) for t in ax.texts} == {((0, 0), '1'), ((1, 0), '1'), ((0, 1), '1'), ((1, 1), '1'), ((2, 1), '1')}
    assert [t.get_text() for t in ax.get_yticklabels()] == ['$x_1$', '<b>cat</b>', 'a name th…r it'] and ax.get_title() == 'a $title$'
    assert not any(t.get_parse_math() for t in [*ax.get_xticklabels(), *ax.get_yticklabels(), ax.title])

def contrast(a, b):
    a, b = (sum(w * (v / 12.92 if v <= .04045 else ((v + .055) / 1.055)**2.4) for w, v in zip((.2126, .7152, .0722), c)) for c in (a, b))
    return (max(a, b) + .05) / (min(a, b) + .05)

def test_counts_can_be_read_on_every_shade():
    from matplotlib.colors import to_rgb
    counts = [[100 - i * 5 if i == j else i * 5 if j == (i + 1) % 20 else 0 for j in range(20)] for i in range(20)]
    ax = plot_confusion(dict(confusion=counts), map(str, range(20))).axes[0]
    right, wrong = ax.images
    shades = [(t, (im := right if x == y else wrong).cmap(im.norm(im.get_array()[y, x]))) for t in ax.texts for x, y in [t.get_position()]]
    assert len(shades) == 39 and min(contrast(to_rgb(t.get_color()), c[:3]) for t, c in shades) >= 4.5

def test_a_rare_mistake_stays_pale():
    rare, common = (plot_confusion(dict(confusion=[[1000 - n, n], [0, 1000]]), 'ab').axes[0].images[1] for n in (1, 300))
    shade = lambda im: im.norm(im.get_array()[0, 1])
    assert shade(rare) < .05 and shade(common) == 1

@pytest.mark.parametrize('k', [2, 3, 12, 20, 21, 40, 41, 100])
def test_a_matrix_of_any_number_of_classes_is_drawn_with_numbers_up_to_twenty(k):
    counts = np.eye(k, dtype=int) * 9 + np.eye(k, k=1, dtype=int)
    fig = plot_confusion(dict(confusion=counts.tolist()), [f'class {i}' for i in range(k)])
    fig.canvas.draw()
    assert len(fig.axes) == (1 if k <= 20 else 3) and len(fig.axes[0].texts) == (2 * k - 1 if k <= 20 else 0) and max(fig.get_size_inches()) <= 7.2

def test_the_reliability_curve_has_a_point_a_bin_and_joins_those_that_say_something(ten):
    c = failures_of(ten['mlp'])['calibration']
    fig = plot_calibration({'similarity': None, 'mlp': c, '$m$': failures_of(ten['linear'])['calibration']}, 'digits')
    fig.canvas.draw()
    joined, hollow = fig.axes[0].lines[1:3]
    for line, some in ((joined, [b for b in c['bins'] if b['images'] >= 10]), (hollow, [b for b in c['bins'] if b['images'] < 10])):
        assert some and line.get_xydata().tolist() == [[b['confidence'], b['accuracy']] for b in some]
    assert hollow.get_linestyle() == 'None' and sum(fig.axes[1].lines[0].get_ydata()) == pytest.approx(1)
    said = [t.get_text() for t in fig.legends[0].get_texts()]
    assert f"mlp (ECE {c['ece']:.3f})" in said and 'similarity: no probabilities' in said and not any(t.get_parse_math() for t in fig.legends[0].get_texts())

def test_two_classes_are_drawn_from_a_half_and_nothing_at_all_is_drawn_too(three, ten):
    two, more, none = plot_calibration({'mlp': failures_of(three['mlp'])['calibration']}), plot_calibration({'mlp': failures_of(ten['mlp'])['calibration']}), plot_calibration({'similarity': None})
    for fig, low in ((two, .5), (more, 0), (none, 0)):
        fig.canvas.draw()
        assert fig.axes[0].get_xlim() == (low - .01, 1.01)
    plot_calibration({}).canvas.draw()

def test_the_gallery_shows_each_image_with_its_caption(threes_sevens, three):
    entries = failures_of(three['mlp'])['worst'][:7]
    fig = plot_images(entries, pictures_of(threes_sevens.valid, entries[:6]), columns=3)
    fig.canvas.draw()
    assert len(fig.axes) == 9 and [ax.get_title().replace('\n', ' ') for ax in fig.axes] == [caption(e) for e in entries] + ['', '']
    for ax, e in zip(fig.axes, entries[:6]):
        x = threes_sevens.valid.images[e['image'], 0].repeat_interleave(11, 0).repeat_interleave(11, 1)
        assert (ax.images[0].get_array() == x.numpy()[..., None]).all()
    assert not fig.axes[6].images and fig.axes[6].texts[0].get_text() == f"image {entries[6]['image']}"
    assert plot_images([], {}).axes[0].texts[0].get_text() == 'no such images'
