"Images of noise, changes of JSON, and comparisons made by hand from the images that each rung gets right"
from itertools import combinations
import numpy as np, torch
from fastrecipes.answer.chance import Interval, paired_difference, wilson
from fastrecipes.answer.comparison import Comparison
from fastrecipes.answer.records import (
    Bin, Calibration, ClassScores, Counts, Curve, CurveRung, Failures, Majority, MoreData, Pair, Repeats, Rung,
    RungCost,
)
from fastrecipes.answer.verdict import verdict
from fastrecipes.data.images import ImageSet, Split

def noise_images(n, classes='ab', shape=(1, 8, 8), valid=6, test=0, seed=0):
    "`n` images to train, more to validate and to test; there is nothing to learn"
    generator = torch.Generator().manual_seed(seed)
    def part(m):
        pixels = torch.randint(0, 256, (m, *shape), dtype=torch.uint8, generator=generator)
        return Split(pixels, torch.arange(m) % len(classes))
    return ImageSet('tiny', tuple(classes), part(n), part(valid), part(test) if test else None)


# Changes of parsed JSON

def put(*path, value):
    "A change that puts `value` at a place, given as keys and positions"
    def change(parsed):
        *above, last = path
        for key in above: parsed = parsed[key]
        parsed[last] = value
    return change

def gone(*path):
    "A change that removes a place"
    def change(parsed):
        *above, last = path
        for key in above: parsed = parsed[key]
        del parsed[last]
    return change


# Comparisons

def first(right, n=2000):
    "The first `right` of n images"
    return np.arange(n) < right

def but(below, won, lost=0):
    "The images that `below` gets right, with `won` of the others too, and without `lost` of them"
    this = below.copy()
    this[np.flatnonzero(~below)[:won]] = True
    this[np.flatnonzero(below)[:lost]] = False
    return this

def cost(train=1., predict=1., parameters=10):
    return RungCost(
        parameters=parameters, weights_bytes=40, train_seconds=train, peak_memory_bytes=1, peak_gpu_memory_bytes=None,
        predict_ms_1=.1, predict_ms_1000=predict, multiply_adds=None)

def rung(recipe, right, train=1., predict=1., **more):
    count = int(right.sum())
    values = dict(
        recipe=recipe, about='', status='fitted', settings={}, accuracy=float(right.mean()), right=count,
        interval=wilson(count, len(right)), cost=cost(train, predict))
    return Rung(**values | more)

def failed(recipe, **why):
    return Rung(**dict(recipe=recipe, about='', settings={}, status='failed') | why)

def pair(below, recipe, rights):
    d = paired_difference(rights[below], rights[recipe])
    won = rights[recipe] & ~rights[below]
    lost = rights[below] & ~rights[recipe]
    return Pair(
        below=below, recipe=recipe, gain_points=100 * d.gain, interval_points=Interval(100 * d.low, 100 * d.high),
        p=d.p, words=d.words, won=int(won.sum()), lost=int(lost.sum()))

def made(rights, rungs=None, others=(), **more):
    "A comparison; `rungs`: further values of a rung, by its name; `others`: rungs that were not fitted"
    fitted = tuple(rung(name, right, **(rungs or {}).get(name, {})) for name, right in rights.items())
    pairs = tuple(pair(a, b, rights) for a, b in combinations(rights, 2))
    n = max(map(len, rights.values()), default=2000)
    values = dict(images=Counts(train=4000, valid=n, test=1000), majority=Majority(name='cat', share=.5),
                  test_asked=False, rungs=(*fitted, *others), pairs=pairs, curve=None)
    c = Comparison.model_construct(**values | more)
    return c.model_copy(update=dict(verdict=verdict(c)))

def seeded(accuracies, seeds=(1, 2, 3, 4, 5)):
    "The values of a rung with several seeds"
    n = len(accuracies)
    return dict(repeats=Repeats(seeds=tuple(seeds[:n]), accuracies=tuple(accuracies), mean=.9, sd=.1,
                                interval=Interval(.8, 1.), against=None, lost=()))

def recalls(*values, images=200):
    "The values of a rung with these recalls"
    scores = tuple(ClassScores(name=f'class {i}', precision=.9, recall=r, f1=.9, images=images)
                   for i, r in enumerate(values))
    return dict(failures=Failures(confusion=(), per_class=scores, calibration=None, worst=()))

def calibrated(ece, confidence, accuracy):
    "The values of a rung with this calibration"
    bins = (Bin(low=.5, high=1., confidence=confidence, accuracy=accuracy, images=2000),)
    return dict(failures=Failures(confusion=(), per_class=(), calibration=Calibration(ece=ece, bins=bins), worst=()))

def curve(**more):
    "A learning curve of which only the words matter"
    rungs = tuple(CurveRung(recipe=name, points=(), more_data=MoreData(words=words, why=f'Why {name}.'))
                  for name, words in more.items())
    return Curve(fractions=(.5, 1.), seed=1, rungs=rungs)

BASE = first(1900) # 95% of 2,000
BETTER = but(BASE, 40, 4) # 96.8%, shown
ALIKE = but(BASE, 12, 8) # 95.2%, not shown
