"Drawings that are made like the training images"
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from conftest import refused
from fastrecipes.data.sources import load
from fastrecipes.explore.strokes import example_strokes, normalise_drawing, render_strokes, stroke_width

SET = load('digits')


def bar(x, y, w, h, size=140):
    p = np.zeros((size, size), np.uint8)
    p[y:y + h, x:x + w] = 255
    return p

def similarity(a, b):
    "The correlation of two images"
    return torch.corrcoef(torch.stack([a.double().flatten(), b.double().flatten()]))[0, 1].item()


# Strokes

def test_examples_stay_on_the_sheet_and_repeat():
    for d in range(10):
        for style in range(3):
            for seed in (None, *range(5)):
                strokes = example_strokes(d, style, seed)
                every = np.vstack(strokes)
                assert every.min() >= .04 and every.max() <= .96 and strokes == example_strokes(d, style, seed)
    assert example_strokes(3, 0, 1) != example_strokes(3, 0, 2)

def test_strokes_become_ink_where_they_are():
    p = render_strokes([[(.25, .5), (.75, .5)], [(.5, .1)]], 100)
    assert p.shape == (100, 100) and p[50, 25:75].min() == 255 and p[10, 50] == 255
    assert p[50, 20] == 0 and p[56, 50] == 0 and p[90].max() == 0
    assert render_strokes([]).max() == 0


# Normalised either way

@pytest.mark.parametrize('like, n', [('mnist', 28), ('digits', 8)])
def test_where_it_was_drawn_makes_no_difference(like, n):
    p = render_strokes(example_strokes(5))
    first, *others = [normalise_drawing(np.roll(p, by, (0, 1)), like) for by in ((0, 0), (10, -20), (-15, 9))]
    assert first.shape == (1, n, n) and first.dtype == torch.uint8
    for other in others: assert torch.equal(first, other)

@pytest.mark.parametrize('like', ['mnist', 'digits'])
def test_how_large_it_was_drawn_makes_little(like):
    strokes = example_strokes(3)
    small = [[(.5 + (x - .5) * .5, .5 + (y - .5) * .5) for x, y in stroke] for stroke in strokes]
    assert similarity(*(normalise_drawing(render_strokes(s), like) for s in (strokes, small))) > .9

@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([.002, .05, .5, 1.]),
       st.sampled_from(['mnist', 'digits']))
def test_anything_on_a_sheet_becomes_an_image(h, w, seed, share, like):
    p = (np.random.default_rng(seed).random((h, w)) < share).astype(np.uint8) * 255
    image = normalise_drawing(p, like)
    n = 28 if like == 'mnist' else 8
    assert image.shape == (1, n, n) and image.dtype == torch.uint8 and bool(image.any()) == bool(p.any())

def test_what_is_not_a_drawing_is_refused():
    with refused('float64', 'uint8'): normalise_drawing(np.zeros((5, 5)))
    with refused('(1, 5, 5)'): normalise_drawing(np.zeros((1, 5, 5), np.uint8))
    with refused('(0, 5)'): normalise_drawing(np.zeros((0, 5), np.uint8))
    with refused("'minst'", "'mnist'"): normalise_drawing(np.zeros((5, 5), np.uint8), 'minst')


# Like MNIST

@pytest.mark.parametrize('digit', range(10))
def test_it_fits_20_by_20_and_is_centred_by_mass(digit):
    image = normalise_drawing(render_strokes(example_strokes(digit, seed=digit)), 'mnist')[0].double()
    h, w = ((image > 0).any(axis).nonzero().flatten() for axis in (1, 0))
    assert max(int(r[-1] - r[0] + 1) for r in (h, w)) == 20
    y, x = ((image.sum(1 - axis) * torch.arange(28)).sum() / image.sum() for axis in (0, 1))
    assert abs(y - 14) <= .5 and abs(x - 14) <= .5 # As in MNIST, where both are 14.0 +- 0.3

def test_it_keeps_its_proportions():
    tall, wide = (normalise_drawing(p)[0] for p in (bar(60, 10, 10, 120), bar(10, 60, 120, 10)))
    assert tall.double().sum(1)[4:24].mean().item() / 255 == pytest.approx(2.4, abs=.25)
    assert (tall.sum(1) > 0).sum() == 20 and torch.equal(tall.T, wide)

def test_a_thin_and_a_thick_pen_come_out_alike():
    drawings = [normalise_drawing(render_strokes(example_strokes(2), pen=pen)) for pen in (.02, .06, .12)]
    shares = [image.double().mean().item() for image in drawings]
    assert max(shares) / min(shares) < 1.15, shares

def test_the_width_of_a_bar_is_its_width():
    assert stroke_width(bar(0, 20, 140, 12) > 0) == pytest.approx(12, abs=.6)
    assert stroke_width(bar(30, 0, 6, 140) > 0) == pytest.approx(6, abs=.3)

def test_an_mnist_digit_is_already_like_mnist(mnist):
    theirs = mnist.valid.images[:200]
    sheets = [Image.fromarray(x).resize((140, 140), Image.Resampling.BICUBIC) for x in theirs[:, 0].numpy()]
    alike = [similarity(normalise_drawing(np.asarray(sheet)), image) for sheet, image in zip(sheets, theirs)]
    assert np.median(alike) > .94 and np.quantile(alike, .05) > .7


# Like scikit-learn's digits

def test_a_block_by_hand():
    "20 of 32 columns are ink: 640 pixels, more than 560, so thinned twice to 16 columns; the sheet's edge is no paper"
    image = normalise_drawing(bar(40, 20, 60, 96), 'digits')[0]
    assert torch.equal(image, torch.tensor([0, 0, 255, 255, 255, 255, 0, 0], dtype=torch.uint8).expand(8, 8))

def test_a_narrow_bar_stays_narrow_and_a_slanted_one_is_straightened():
    slanted = np.zeros((140, 140), np.uint8)
    for y in range(10, 130):
        x = 100 - y // 2
        slanted[y, x:x + 10] = 255
    straight, upright = (normalise_drawing(p, 'digits')[0] for p in (bar(65, 10, 10, 120), slanted))
    for image in (straight, upright): assert (image.sum(0) > 0).sum() <= 4 and (image.sum(1) > 0).all()
    left = [(row > 0).nonzero()[0].item() for row in upright]
    assert max(left) - min(left) <= 1

def test_the_values_are_sixteenths_and_the_ink_is_as_much_as_theirs():
    sheets = [render_strokes(example_strokes(d, i, seed=30 * d + i)) for d in range(10) for i in range(10)]
    drawn = torch.stack([normalise_drawing(sheet, 'digits') for sheet in sheets])
    assert set(drawn.unique().tolist()) <= {round(i * 255 / 16) for i in range(17)}
    theirs = SET.train.images.double()
    assert drawn.double().mean().item() == pytest.approx(theirs.mean().item(), rel=.1)
    ours, their = (x.double().mean((0, 1, 2)) / 255 for x in (drawn, theirs)) # By column
    assert (ours - their).abs().max() < .08
