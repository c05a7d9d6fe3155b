"Images of noise, changes of JSON, and comparisons made by hand from the images that each rung gets right"
import numpy as np, torch
from fastrecipes.answer.chance import Interval, over_seeds, wilson
from fastrecipes.answer.comparison import Comparison
from fastrecipes.answer.records import (
    Bin, Calibration, ClassScores, Counts, Curve, CurveRung, Failures, Majority, MoreData, Repeats, Rung, RungCost,
)
from fastrecipes.answer.rules import decide
from fastrecipes.answer.verdict import verdict
from fastrecipes.data.images import ImageSet, Split

UNTRAINED = 'majority', 'similarity', 'knn' # The recipes without epochs

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
    "The images that `below` has right, but `won` of the others too, and without `lost` of them"
    this = below.copy()
    this[np.flatnonzero(~below)[:won]] = True
    this[np.flatnonzero(below)[:lost]] = False
    return this

def cost(train=1., predict=1., parameters=10):
    return RungCost(parameters=parameters, weights_bytes=40, train_seconds=train, peak_memory_bytes=1,
                    peak_gpu_memory_bytes=None, predict_ms_1=.1, predict_ms_1000=predict, multiply_adds=None)

def rung(recipe, right, train=1., predict=1., **more):
    "`right`: bool (images,) or (seeds, images)"
    by_seed = np.atleast_2d(right)
    count, n = int(by_seed[0].sum()), by_seed.shape[1]
    values = dict(recipe=recipe, about='', status='fitted', settings={}, accuracy=count / n, right=count,
                  interval=wilson(count, n), cost=cost(train, predict),
                  repeats=repeats(by_seed) if len(by_seed) > 1 else None)
    return Rung(**values | more)

def repeats(by_seed):
    s = over_seeds(by_seed)
    return Repeats(seeds=tuple(range(len(by_seed))), accuracies=tuple(by_seed.mean(1).tolist()), mean=s.mean, sd=s.sd,
                   interval=Interval(s.low, s.high), against=None)

def failed(recipe, **why):
    return Rung(recipe=recipe, about='', settings={}, **dict(dict(status='failed'), **why))

def made(rights, rungs=None, others=(), groups=None, margin=.01, errors=None, **more):
    """A comparison; `rungs`: more of a rung, by its name; `others`: rungs that were not fitted.

    Without a time of training, each rung takes a tenth longer than the one before."""
    about = {name: dict(dict(train=1 + .1 * i), **(rungs or {}).get(name, {})) for i, name in enumerate(rights)}
    fitted = tuple(rung(name, right, **about[name]) for name, right in rights.items())
    values = dict(majority=Majority(name='cat', share=.5), test_asked=False, curve=None) | more
    n = max((np.atleast_2d(r).shape[1] for r in rights.values()), default=2000)
    decided = rights and decide(
        [(name, about[name]['train'], right) for name, right in rights.items()], margin, groups,
        least=values['majority'].share).model_copy(update=dict(errors=errors))
    values |= dict(images=Counts(train=4000, valid=n, test=1000), rungs=(*fitted, *others),
                   pairs=decided.pairs if rights else (), decision=decided or None)
    c = Comparison.model_construct(**values)
    return c.model_copy(update=dict(verdict=verdict(c)))

def recalls(*values, images=200):
    "What a rung has of its classes"
    scores = tuple(ClassScores(name=f'class {i}', precision=.9, recall=r, f1=.9, images=images)
                   for i, r in enumerate(values))
    return dict(failures=Failures(confusion=(), per_class=scores, calibration=None, worst=()))

def calibrated(gap, p):
    "What a rung has of its probabilities: mean confidence less accuracy, and how often honest ones look as bad"
    bins = (Bin(low=.5, high=1., confidence=.9, accuracy=.9 - gap, images=2000),)
    calibration = Calibration(ece=abs(gap), bins=bins, excess=abs(gap), p=p, gap=gap)
    return dict(failures=Failures(confusion=(), per_class=(), calibration=calibration, worst=()))

def curve(**more):
    "A learning curve, of which only the words matter"
    rungs = tuple(CurveRung(recipe=name, points=(), more_data=MoreData(words=words, why=f'Why {name}.'))
                  for name, words in more.items())
    return Curve(fractions=(.5, 1.), seed=1, rungs=rungs)

BASE = first(1900) # 95% of 2,000
BETTER = but(BASE, 40, 4) # 96.8%, shown
ALIKE = but(BASE, 12, 8) # 95.2%, not shown
