"The failures as pictures: confusion matrix, reliability curve, images in a few bytes, galleries"
import base64, io
import numpy as np, pytest, torch
from conftest import refused
from matplotlib.colors import to_rgb
from PIL import Image
from fastrecipes.answer.failures import failures_of, reliability
from fastrecipes.answer.pictures import (
    caption, picture_of, pictures_of, plot_calibration, plot_confusion, plot_images,
)
from fastrecipes.answer.records import Failures, SharedImage, WorstImage
from fastrecipes.data.images import Split
from fastrecipes.ladder.recipe import fit


@pytest.fixture(scope='module')
def three(threes_sevens):
    "Two rungs on the digits 3 and 7"
    return {n: fit(n, threes_sevens, seed=3, device='cpu', epochs=3) for n in ('sgd', 'mlp')}

@pytest.fixture(scope='module')
def ten(digits): return {n: fit(n, digits, seed=3, device='cpu', epochs=3) for n in ('linear', 'mlp')}

def counted(counts): return Failures(confusion=tuple(map(tuple, counts)), per_class=(), calibration=None, worst=())

def image(i, **more):
    return WorstImage(**dict(dict(image=i, true='7', predicted='3', probability=None, loss=None), **more))


# Pictures

def opened(uri):
    head, _, data = uri.partition(',')
    assert head == 'data:image/png;base64'
    im = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    im.load()
    assert im.format == 'PNG' and not im.info.keys() - {'transparency'}
    return im

def noise(*shape): return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

@pytest.mark.parametrize('shape, k', [
    ((1, 1, 1), 84), ((3, 1, 1), 84), ((1, 8, 8), 11), ((3, 8, 8), 11), ((1, 28, 28), 3), ((3, 28, 28), 3),
    ((1, 5, 20), 5), ((3, 20, 5), 5), ((1, 84, 84), 1), ((1, 83, 83), 1), ((1, 79, 80), 2), ((1, 1, 160), 1),
])
def test_a_small_image_is_enlarged_by_a_whole_factor_and_every_pixel_stays(shape, k):
    x = noise(*shape) // 86 * 86 # Three values a channel: with more than that, large noise has to lose something
    im = opened(picture_of(x))
    wanted = x.repeat_interleave(k, 1).repeat_interleave(k, 2)
    assert np.array_equal(np.asarray(im.convert('L' if len(x) == 1 else 'RGB')).reshape(*wanted.shape[1:], -1),
                          wanted.permute(1, 2, 0).numpy())
    assert im.size == (shape[2] * k, shape[1] * k) and max(im.size) <= 160

@pytest.mark.parametrize('shape, size', [
    ((1, 320, 160), (80, 160)), ((3, 200, 400), (160, 80)), ((1, 1, 1000), (160, 1)), ((3, 161, 161), (160, 160)),
    ((1, 4000, 3000), (120, 160)),
])
def test_a_large_image_is_reduced_to_160_pixels_and_keeps_its_proportions(shape, size):
    x = torch.full(shape, 200, dtype=torch.uint8)
    x[:, :shape[1] // 2] = 30
    im = opened(picture_of(x))
    assert im.size == size and abs(np.asarray(im.convert('L'), dtype=float).mean() - x.float().mean().item()) < 3

def test_hundreds_of_pictures_stay_within_a_page(digits, mnist_sample, bitmoji):
    from fastrecipes.data.sources import from_folder
    faces = from_folder(bitmoji, size=128)
    sets = {'digits': digits, '28x28': mnist_sample, '128x128': faces}
    per = {n: np.mean([len(picture_of(x)) for x in images.valid.images[:60]]) for n, images in sets.items()}
    assert per['digits'] < 500 and per['28x28'] < 1_000 and per['128x128'] < 11_000, per
    shapes = (1, 28, 28), (3, 28, 28), (1, 128, 128), (3, 128, 128), (3, 160, 160), (3, 1000, 700)
    assert max(len(picture_of(noise(*s))) for s in shapes) < 11_000, 'nothing is worse than noise'

def test_a_photograph_loses_colours_but_not_its_looks():
    from sklearn.datasets import load_sample_image
    photo = torch.tensor(np.array(Image.fromarray(load_sample_image('china.jpg')).resize((128, 128)))).permute(2, 0, 1)
    im = opened(uri := picture_of(photo))
    near = np.asarray(Image.fromarray(photo.permute(1, 2, 0).numpy()).resize(im.size), dtype=float)
    assert len(uri) < 11_000 and np.abs(np.asarray(im.convert('RGB')) - near).mean() < 8

@pytest.mark.parametrize('bad', [
    torch.zeros(1, 4, 4),
    torch.zeros(4, 4, dtype=torch.uint8),
    torch.zeros(2, 4, 4, dtype=torch.uint8),
])
def test_what_is_no_image_is_refused(bad):
    with refused('uint8', str(tuple(bad.shape))): picture_of(bad)

def test_pictures_are_made_once_for_each_image_that_is_named_with_its_file(threes_sevens):
    v = threes_sevens.valid
    pictures = pictures_of(v, [image(3), image(1)], [image(3)], [])
    assert {i: dict(p) for i, p in pictures.items()} == {
        i: dict(uri=picture_of(v.images[i]), name=None) for i in (1, 3)}
    named = Split(v.stored, v.labels, tuple(f'{i}.png' for i in range(len(v))))
    assert pictures_of(named, [image(2)])[2].name == '2.png' and pictures_of(v) == {}
    with refused(f'no image {len(v)}'): pictures_of(v, [image(len(v))])

def test_only_the_wanted_pictures_of_a_part_are_read(threes_sevens):
    v = threes_sevens.valid
    read = []
    class Reads(Split):
        images = property(lambda self: pytest.fail('all images were copied'))
        def __getitem__(self, i): return read.append(i) or super().__getitem__(i)
    part = Reads(v.stored, v.labels.flip(0), index=torch.arange(len(v)).flip(0))
    pictures = pictures_of(part, [image(3), image(1)])
    assert list(pictures) == read == [1, 3] and pictures[1].uri == picture_of(v[len(v) - 2][0])

def test_captions_say_what_is_true_what_was_predicted_and_how_sure():
    assert caption(image(1, probability=.974)) == '7, predicted 3 (97%)' and caption(image(1)) == '7, predicted 3'
    assert caption(SharedImage(image=1, true='7', predicted=dict(a='1', b='3', c='3', d='7'))) == '7, predicted 3 or 1'
    assert caption(image(1, true='a' * 30, predicted='b', probability=1.)) == 'aaaaaaaaaa…aaaaa, predicted b (>99%)'


# Figures

def test_the_matrix_shows_every_count_that_is_not_nought_and_every_name():
    names = ['$x_1$', '<b>cat</b>', 'a name that is much too long for it']
    fig = plot_confusion(counted([[1, 1, 0], [1, 1, 1], [0, 0, 0]]), names, 'a $title$')
    fig.canvas.draw()
    ax = fig.axes[0]
    assert {t.get_position() for t in ax.texts} == {(0, 0), (1, 0), (0, 1), (1, 1), (2, 1)}
    assert {t.get_text() for t in ax.texts} == {'1'}
    assert [t.get_text() for t in ax.get_yticklabels()] == ['$x_1$', '<b>cat</b>', 'a name th…r it']
    assert ax.get_title() == 'a $title$'
    assert not any(t.get_parse_math() for t in [*ax.get_xticklabels(), *ax.get_yticklabels(), ax.title])

def luminance(colour):
    linear = [v / 12.92 if v <= .04045 else ((v + .055) / 1.055)**2.4 for v in colour]
    return np.dot((.2126, .7152, .0722), linear)

def contrast(a, b):
    "As the Web Content Accessibility Guidelines define it"
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + .05) / (dark + .05)

def test_counts_can_be_read_on_every_shade():
    counts = [[100 - i * 5 if i == j else i * 5 if j == (i + 1) % 20 else 0 for j in range(20)] for i in range(20)]
    ax = plot_confusion(counted(counts), map(str, range(20))).axes[0]
    right, wrong = ax.images
    contrasts = []
    for t in ax.texts:
        x, y = t.get_position()
        im = right if x == y else wrong
        shade = im.cmap(im.norm(im.get_array()[y, x]))
        contrasts.append(contrast(to_rgb(t.get_color()), shade[:3]))
    assert len(contrasts) == 39 and min(contrasts) >= 4.5

def test_right_and_wrong_are_shaded_on_one_scale():
    right, wrong = plot_confusion(counted([[500, 500], [10, 990]]), 'ab').axes[0].images
    def shade(im, i, j): return im.norm(im.get_array()[i, j])
    assert shade(right, 0, 0) == shade(wrong, 0, 1) == pytest.approx(.5 ** .5)
    assert shade(wrong, 1, 0) == pytest.approx(.1)

@pytest.mark.parametrize('k', [2, 3, 12, 20, 21, 51, 1000])
def test_a_matrix_of_any_number_of_classes_is_drawn_with_numbers_up_to_twenty(k):
    counts = np.eye(k, dtype=int) * 9 + np.eye(k, k=1, dtype=int)
    fig = plot_confusion(counted(counts.tolist()), [f'class {i}' for i in range(k)])
    fig.canvas.draw()
    assert len(fig.axes) == (1 if k <= 20 else 3)
    assert len(fig.axes[0].get_yticks()) <= 50
    assert len(fig.axes[0].texts) == (2 * k - 1 if k <= 20 else 0) and max(fig.get_size_inches()) <= 7.2

def test_the_reliability_curve_has_a_point_a_bin_and_joins_those_that_say_something(ten):
    c = reliability(np.repeat([.3, .6, .9], [8, 30, 40]), np.arange(78) % 3 > 0) # The first bin has few images
    assert [b.images for b in c.bins] == [8, 30, 40]
    fig = plot_calibration({'similarity': None, 'mlp': c, '$m$': failures_of(ten['linear']).calibration}, 'digits')
    fig.canvas.draw()
    joined, hollow = fig.axes[0].lines[:2]
    few, *many = [[b.confidence, b.accuracy] for b in c.bins]
    assert hollow.get_xydata().tolist() == [few] and joined.get_xydata().tolist() == many
    said = [t.get_text() for t in fig.legends[0].get_texts()]
    assert f"mlp (ECE {c.ece:.3f})" in said
    assert 'similarity: no probabilities' in said and not any(t.get_parse_math() for t in fig.legends[0].get_texts())

def test_bins_of_few_images_are_hollow_and_not_joined(ten):
    c = failures_of(ten['mlp']).calibration
    c = c.model_copy(update=dict(bins=(c.bins[0].model_copy(update=dict(images=9)), *c.bins[1:])))
    joined, hollow = plot_calibration({'mlp': c}).axes[0].lines[:2]
    assert hollow.get_xydata().tolist() == [[c.bins[0].confidence, c.bins[0].accuracy]]
    assert hollow.get_linestyle() == 'None' and len(joined.get_xydata()) == len(c.bins) - 1

def test_two_classes_are_drawn_from_a_half_and_nothing_at_all_is_drawn_too(three, ten):
    c = failures_of(ten['mlp']).calibration
    lower = c.model_copy(update=dict(bins=(c.bins[0].model_copy(update=dict(confidence=.3)), *c.bins[1:])))
    two, more = (plot_calibration({'mlp': c}) for c in (failures_of(three['mlp']).calibration, lower))
    none = plot_calibration({'similarity': None})
    for fig, low in ((two, .5), (more, 0), (none, 0)):
        fig.canvas.draw()
        assert fig.axes[0].get_xlim() == (low - .01, 1.01)
    plot_calibration({}).canvas.draw()

def test_the_gallery_shows_each_image_with_its_caption(threes_sevens, three):
    entries = failures_of(three['mlp']).worst[:7]
    fig = plot_images(entries, pictures_of(threes_sevens.valid, entries[:6]), columns=3)
    fig.canvas.draw()
    assert len(fig.axes) == 9
    assert [ax.get_title().replace('\n', ' ') for ax in fig.axes] == [caption(e) for e in entries] + ['', '']
    for ax, e in zip(fig.axes, entries[:6]):
        x = threes_sevens.valid.images[e.image, 0].repeat_interleave(11, 0).repeat_interleave(11, 1)
        assert (ax.images[0].get_array() == x.numpy()[..., None]).all()
    assert not fig.axes[6].images and fig.axes[6].texts[0].get_text() == f"image {entries[6].image}"
    assert plot_images([], {}).axes[0].texts[0].get_text() == 'no such images'
