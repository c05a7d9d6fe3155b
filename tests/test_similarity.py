"""The baseline without learning: distances by hand, against scikit-learn, and the published numbers on MNIST"""
import copy
import numpy as np, pytest, torch
from numpy.testing import assert_allclose
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from conftest import refused
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.data.sources import load
from fastrecipes.data.loaders import to_floats
from fastrecipes.ladder.recipe import fit
from fastrecipes.lessons.similarity import (
    choose_k, distances, is_3, l1_distance, l2_distance, Majority, mean_images, mnist_distance, NearestImages,
    NearestMean, spread,
)

# Two images of one channel, 2x2; their differences are 1, -1, 3, 5
A, B = torch.tensor([[[1., 2], [3, 4]]]), torch.tensor([[[0., 3], [0, -1]]])


@pytest.fixture(autouse=True)
def seeded(): torch.manual_seed(0)


def test_distances_of_two_images_by_hand():
    assert l1_distance(A, B).item() == (1 + 1 + 3 + 5) / 4
    assert l2_distance(A, B).item() == ((1 + 1 + 9 + 25) / 4)**.5 == 3.
    assert mnist_distance(A[0], B[0]).item() == 2.5

def test_distances_average_over_channels_too():
    a, b = torch.cat([A, A]), torch.cat([B, A])
    assert l1_distance(a, b).item() == 1.25
    assert l2_distance(a, b).item() == pytest.approx((36 / 8)**.5)

def test_distances_broadcast_over_leading_dimensions():
    assert l1_distance(torch.stack([A, B])[:, None], torch.stack([A, B, A + 1])).tolist() == [[0, 2.5, 1], [2.5, 0, 3]]
    assert l2_distance(torch.stack([A, B]), B).tolist() == [3, 0]
    assert mnist_distance(torch.stack([A, B]), A).shape == (2, 1)

def test_is_3_means_closer_to_the_mean_3_and_a_tie_is_none():
    mean3, mean7 = torch.zeros(2, 2), torch.ones(2, 2)
    x = torch.stack([torch.full((2, 2), v) for v in (.1, .9, .5)])
    assert is_3(x, mean3, mean7).tolist() == [True, False, False]


def _random_split(n=50, n_classes=3, shape=(2, 4, 5), seed=0):
    gen = torch.Generator().manual_seed(seed)
    return Split(torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=gen), torch.arange(n) % n_classes)

def test_mean_images_by_hand():
    x = torch.tensor([0, 255, 51, 255]).byte().view(4, 1, 1, 1)
    assert mean_images(Split(x, torch.tensor([0, 0, 0, 1])), 2).flatten().tolist() == pytest.approx([.4, 1])

@pytest.mark.parametrize('chunk', [1, 7, 50, 4096])
def test_mean_images_are_numpys_means_whatever_the_chunk(chunk):
    s = _random_split()
    x, y = s.images.numpy() / 255, s.labels.numpy()
    means = mean_images(s, 3, chunk)
    assert means.shape == (3, 2, 4, 5) and means.dtype == torch.float32
    assert_allclose(means, np.stack([x[y == c].mean(0) for c in range(3)]), rtol=1e-6)
    assert torch.equal(means, mean_images(s, 3)) # sums of whole numbers are exact

@pytest.mark.parametrize('labels, n_classes, missing', [([0, 2, 2], 3, 1), ([0, 1, 1], 3, 2), ([1, 1, 1], 2, 0)])
def test_mean_images_refuse_a_class_without_images(labels, n_classes, missing):
    split = Split(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor(labels))
    with refused(f'class number {missing}'): mean_images(split, n_classes)


def numpy_l1(a, b): return np.abs(a - b).mean()
def numpy_l2(a, b): return np.sqrt(((a - b)**2).mean())

@pytest.mark.parametrize('name, oracle', [('l1', numpy_l1), ('l2', numpy_l2)])
@pytest.mark.parametrize('memory', [1, 1000, 2**26])
def test_distances_equal_a_double_loop_whatever_the_memory(name, oracle, memory):
    x, means = torch.rand(7, 2, 4, 5), torch.rand(3, 2, 4, 5)
    d = distances(x, means, name, memory)
    wanted = [[oracle(a, m) for m in means.double().numpy()] for a in x.double().numpy()]
    assert_allclose(d, wanted, rtol=1e-5)
    assert_close(d, distances(x, means, name))

def broadcast(x, means, name):
    return (l1_distance if name == 'l1' else l2_distance)(x[:, None], means)

# Brightness and contrast of the images; the means of classes differ by `apart` of the contrast, one by the whole
CASES = {'photos': (.5, .4, 1), 'fog': (.95, 1e-4, 1), 'twins': (.5, .02, .01), 'twins and a stranger': (.3, .01, .05)}

def _images_and_means(brightness, contrast, apart, stranger, shape=(3, 96, 80)):
    "Images near their class's mean, float32, with means that differ by little"
    gen = torch.Generator().manual_seed(0)
    common = torch.rand(shape, generator=gen) * .1
    means = brightness + common + contrast * apart * torch.rand(6, *shape, generator=gen)
    if stranger: means[5] = 1 - means[5]
    noise = contrast * torch.randn(60, *shape, generator=gen)
    return means[torch.arange(60) % 6] + noise, means

@pytest.mark.parametrize('distance', ['l1', 'l2'])
@pytest.mark.parametrize('case', CASES)
def test_in_float32_images_that_differ_by_little_get_the_nearest_mean(case, distance):
    x, means = _images_and_means(*CASES[case], stranger='stranger' in case)
    exact = broadcast(x.double(), means.double(), distance)
    found = distances(x, means, distance)
    assert torch.equal(found.argmin(1), exact.argmin(1))
    assert torch.equal(found.argmin(1), broadcast(x, means, distance).argmin(1))
    assert_close(found.double(), exact, rtol=1e-4 if 'stranger' in case else 2e-6, atol=0)

def test_without_centring_the_images_in_fog_get_another_mean():
    x, means = (t.flatten(1) for t in _images_and_means(*CASES['fog'], stranger=False))
    squares = x.square().sum(1, keepdim=True) - 2 * x @ means.T + means.square().sum(1)
    assert (squares.argmin(1) != distances(x[..., None, None], means[..., None, None]).argmin(1)).any()

@pytest.mark.parametrize('distance', ['l1', 'l2'])
def test_a_mean_has_no_distance_from_itself(distance):
    means = torch.rand(16, 3, 60, 60)
    assert distances(means, means, distance, 2**14).diagonal().tolist() == [0] * 16

@pytest.mark.parametrize('distance', ['l1', 'l2'])
@pytest.mark.parametrize('n', [0, 1, 513])
def test_any_number_of_images(distance, n):
    x, means = torch.rand(n, 1, 3, 5), torch.rand(4, 1, 3, 5)
    assert_close(distances(x, means, distance), broadcast(x, means, distance))

class Largest(TorchDispatchMode):
    "The most numbers in one result of an operation that does not share the memory of its arguments"
    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        known = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        is_new = isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() not in known
        if is_new: self.numbers = max(self.numbers, out.numel())
        return out

@pytest.mark.parametrize('distance', ['l1', 'l2'])
@pytest.mark.parametrize('n, k, side', [(2000, 16, 40), (3, 16, 200), (700, 300, 20)])
def test_memory_is_that_of_a_block_whatever_is_compared(distance, n, k, side):
    x, means = torch.rand(n, 1, side, side), torch.rand(k, 1, side, side)
    with Largest() as largest: distances(x, means, distance, 2**16)
    assert largest.numbers <= max(2**16 // 4, means.numel(), n * k)
    with Largest() as largest: broadcast(x[:9], means, distance)
    assert largest.numbers == len(x[:9]) * means.numel()

def test_unknown_distance_is_refused_with_those_that_there_are():
    x = torch.rand(1, 1, 2, 2)
    with refused("'cosine'", "'l1'", "'l2'"): distances(x, x, 'cosine')


@pytest.mark.parametrize('distance', ['l1', 'l2'])
def test_nearest_mean_scores_are_minus_the_distances_and_nothing_is_trainable(distance):
    means, x = torch.rand(3, 1, 4, 4), torch.rand(5, 1, 4, 4)
    model = NearestMean(means, distance)
    assert torch.equal(model(x), -distances(x, means, distance))
    assert not list(model.parameters()) and list(model.state_dict()) == ['means']

def _replaced(model, means): model.means = means
def _copied(model, means): model.means.copy_(means)
def _loaded(model, means): model.load_state_dict(dict(means=means))
def _assigned(model, means): model.load_state_dict(dict(means=means), assign=True)

@pytest.mark.parametrize('change', [_replaced, _copied, _loaded, _assigned])
def test_nearest_mean_notices_that_its_means_have_changed(change):
    x, before, after = torch.rand(5, 1, 4, 4), torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    model = NearestMean(before.clone())
    assert_close(model(x), -broadcast(x, before, 'l2'))
    change(model, after)
    assert_close(model(x), -broadcast(x, after, 'l2'))
    assert_close(copy.deepcopy(model).double()(x.double()), -broadcast(x.double(), after.double(), 'l2'))

def test_nearest_mean_can_be_used_in_inference_mode_and_then_with_gradients():
    x = torch.rand(5, 1, 4, 4)
    with torch.inference_mode():
        made_there = NearestMean(torch.rand(3, 1, 4, 4))
        assert_close(made_there(x), -broadcast(x, made_there.means, 'l2'))
    model = NearestMean(torch.rand(3, 1, 4, 4))
    with torch.inference_mode(): scores = model(x)
    x.requires_grad_()
    model(x).sum().backward()
    assert_close(scores.clone(), model(x))
    assert x.grad.isfinite().all() and x.grad.any()

def test_nearest_mean_l2_is_sklearns_nearest_centroid(digits):
    def flat(split): return to_floats(split.images).flatten(1).numpy()
    oracle = NearestCentroid().fit(flat(digits.train), digits.train.labels.numpy())
    model = NearestMean(mean_images(digits.train, 10), 'l2')
    for split in (digits.train, digits.valid):
        assert model(to_floats(split.images)).argmax(1).tolist() == oracle.predict(flat(split)).tolist()

def test_is_3_is_nearest_mean_l1(threes_sevens):
    mean3, mean7 = means = mean_images(threes_sevens.train, 2)
    x = to_floats(threes_sevens.train.images)
    closer = is_3(x, mean3, mean7).flatten()
    assert 0 < closer.sum() < len(x)
    assert torch.equal(closer, NearestMean(means, 'l1')(x).argmax(1) == 0)


# The most frequent class

def test_majority_gives_every_image_the_shares_of_the_classes():
    model = Majority(torch.tensor([2, 5, 3]))
    scores = model(torch.rand(4, 1, 2, 2))
    assert_close(scores.softmax(1), torch.tensor([.2, .5, .3]).expand(4, 3))
    assert model(torch.rand(0, 1, 2, 2)).shape == (0, 3) and scores.argmax(1).tolist() == [1] * 4

def test_the_accuracy_of_majority_is_the_share_of_the_class_and_its_loss_the_entropy(digits):
    f = fit('majority', digits, device='cpu')
    counts = digits.train.labels.bincount(minlength=10)
    assert f.accuracy == (digits.valid.labels == counts.argmax()).double().mean().item()
    shares = counts.double() / counts.sum()
    assert f.loss == pytest.approx(-shares[digits.valid.labels].log().mean().item(), rel=1e-6)


# The nearest images

def nearest_images(split, k=3, n_classes=3): return NearestImages(split.images, split.labels, n_classes, k)

@pytest.mark.parametrize('k', [1, 4, 20])
@pytest.mark.parametrize('part', [1, 7, 50])
def test_the_nearest_images_are_those_of_a_broadcast_whatever_the_part(monkeypatch, k, part):
    s = _random_split()
    model = nearest_images(s, k)
    monkeypatch.setattr(model, '_part_size', lambda device: part)
    x = torch.rand(9, 2, 4, 5)
    wanted = broadcast(x.double(), to_floats(s.images).double(), 'l2').topk(k, largest=False).indices
    assert torch.equal(model.nearest(x, k), wanted)
    votes = torch.stack([s.labels[w].bincount(minlength=3) for w in wanted])
    probs = model(x).softmax(1)
    assert_close(probs, (votes + 1 / 3) / (k + 1), atol=1e-3, rtol=0)
    assert (votes.gather(1, probs.argmax(1, keepdim=True)).flatten() == votes.max(1).values).all()

def test_of_classes_with_equal_votes_the_one_with_the_nearest_image_wins():
    model = nearest_images(_random_split())
    assert model.vote(torch.tensor([[2, 1], [1, 2], [0, 2]])).argmax(1).tolist() == [2, 1, 0]

@pytest.mark.parametrize('k', [1, 5])
def test_knn_predicts_as_sklearns_neighbours_do(digits, k):
    def flat(split): return to_floats(split.images).flatten(1).numpy()
    train, valid = digits.train, digits.valid
    oracle = KNeighborsClassifier(k).fit(flat(train), train.labels.numpy())
    f = fit('knn', digits, device='cpu', k=k)
    votes = torch.from_numpy(oracle.predict_proba(flat(valid)))
    is_tie = votes.topk(2).values.diff().flatten() == 0
    assert is_tie.sum() < 9 and f.settings == dict(k=k, references=1437)
    assert (f.predictions == torch.from_numpy(oracle.predict(flat(valid))))[~is_tie].all()

def test_k_is_chosen_on_training_images_by_leaving_each_out(digits):
    from sklearn.model_selection import cross_val_score, LeaveOneOut
    some = digits.train.take(torch.arange(200))
    x, y = to_floats(some.images).flatten(1).numpy(), some.labels.numpy()
    def of(k): return cross_val_score(KNeighborsClassifier(k), x, y, cv=LeaveOneOut()).mean()
    chosen = choose_k(NearestImages(some.images, some.labels, 10, 1), choices=(1, 25))
    assert chosen == max((1, 25), key=of) == 1
    noisy = Split(some.images, torch.where(torch.arange(200) % 3 == 0, (some.labels + 1) % 10, some.labels))
    assert choose_k(NearestImages(noisy.images, noisy.labels, 10, 1)) > 1

def test_an_image_and_its_copies_are_others():
    images = torch.tensor([0, 0, 255, 255]).byte().view(4, 1, 1, 1)
    model = NearestImages(images, torch.tensor([0, 0, 1, 1]), 2, 1)
    assert choose_k(model) == 1
    assert model(images / 255).argmax(1).tolist() == [0, 0, 1, 1]

@pytest.mark.parametrize('references, kept', [(7, 7), (10_000, 50), (None, 50)])
def test_knn_keeps_evenly_spaced_training_images(references, kept):
    s = _random_split(shape=(3, 4, 5))
    f = fit('knn', ImageSet('random', 'abc', s, s), device='cpu', references=references, k=9)
    assert torch.equal(f.model.images, s.images[torch.arange(kept) * 50 // kept])
    assert f.settings == dict(k=min(9, kept), references=kept) and f.model.multiply_adds == kept * 60

def test_spread_has_every_position_once_and_both_ends_of_the_set():
    assert spread(5, 9).tolist() == [0, 1, 2, 3, 4] and spread(10, 4).tolist() == [0, 2, 5, 7]

def test_memory_of_the_nearest_images_is_that_of_a_part():
    s = _random_split(4000, shape=(1, 64, 64))
    with Largest() as largest: nearest_images(s).nearest(torch.rand(8, 1, 64, 64), 3)
    assert largest.numbers <= 2**22 < s.images.numel()


# Real data

@pytest.fixture(scope='module')
def sample_means(mnist_sample): return mean_images(mnist_sample.train, 2)

def test_accuracy_by_class_on_mnist_sample(mnist_sample, sample_means):
    x, y = to_floats(mnist_sample.valid.images), mnist_sample.valid.labels
    right = NearestMean(sample_means, 'l1')(x).argmax(1) == y
    three, seven = (right[y == c].double().mean().item() for c in (0, 1))
    assert (round(three, 5), round(seven, 5), round((three + seven) / 2, 5)) == (.91683, .98541, .95112)

@pytest.mark.parametrize('distance, wanted', [
    (l1_distance, [.111437, .130376, .158619]),
    (l2_distance, [.202083, .258492, .302109]),
])
def test_distances_of_one_3_and_one_7_of_mnist_sample(mnist_sample, sample_means, distance, wanted):
    images, labels = mnist_sample.train.images, mnist_sample.train.labels
    three, seven = (to_floats(images[labels == c][1:2])[0] for c in (0, 1))
    mean3, mean7 = sample_means
    pairs = (three, mean3), (seven, mean7), (three, mean7)
    assert [round(distance(a, b).item(), 6) for a, b in pairs] == wanted

def test_knn_on_mnist_sample(mnist_sample):
    f = fit('knn', mnist_sample, device='cpu', references=2000)
    assert f.accuracy > .985 and f.accuracy > fit('similarity', mnist_sample, device='cpu').accuracy

@pytest.mark.parametrize('distance, wanted', [('l2', .8203), ('l1', .6685)])
def test_accuracy_on_the_official_test_images_of_mnist(mnist, distance, wanted):
    official = load('mnist', valid='test')
    assert (len(official.train), len(official.valid)) == (60_000, 10_000)
    assert round(fit('similarity', official, distance=distance, device='cpu').accuracy, 4) == wanted
