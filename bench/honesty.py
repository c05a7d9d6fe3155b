"""How often what a comparison says is wrong: `python bench/honesty.py [--quick] [NAME...]`

Ladders with known true accuracies are simulated and put through the functions that a comparison uses. An image is
right if its difficulty is below the quantile of the rung's accuracy; most of the difficulty is common to all rungs,
some of it is the rung's own, and some is new with each seed. Each row of the table has what was found with its Monte
Carlo error, and the bound. `--quick` takes two minutes on two cores, all of it under an hour.
Writes honesty.json and the table in README.md beside this file, and exits with 1 where a bound is missed."""
import argparse, json, math, os, sys
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1')
import fastrecipes # noqa: F401 - before torch and fastai: without their warnings
import numpy as np, tables
from scipy.stats import norm
from fastrecipes.answer.chance import (
    drop, grouped_difference, grouped_interval, over_seeds, paired_difference, two_parts,
)
from fastrecipes.answer.curves import next_gains
from fastrecipes.answer.failures import reliability
from fastrecipes.answer.rules import decide, images_needed

OUT = Path(__file__).with_suffix('.json')
SEVEN = np.arange(.80, .921, .02)
TIERS = np.array([.75] * 3 + [.9] * 4)
ALIKE = (.5, .8, .95) # Of what makes an image hard, the share that all rungs have in common


def ladder(rng, accuracies, n, alike=.8, seeds=1, stays=1., spread=0., groups=None, within=0.):
    """Right or wrong, bool (rungs, seeds, images).

    `stays` is the share of a rung's own difficulty of an image that is the same for all its seeds, `spread` the
    standard deviation of a run's accuracy, and `within` the correlation of difficulties in a group."""
    rungs = len(accuracies)
    def hard(*shape):
        own = rng.standard_normal((*shape, n))
        if groups is None: return own
        return within**.5 * rng.standard_normal((*shape, groups.max() + 1))[..., groups] + (1 - within)**.5 * own
    own = stays**.5 * hard(rungs, 1) + (1 - stays)**.5 * hard(rungs, seeds)
    runs = np.asarray(accuracies)[:, None] + spread * rng.standard_normal((rungs, seeds))
    return alike**.5 * hard() + (1 - alike)**.5 * own < norm.ppf(runs.clip(.001, .999))[:, :, None]


def named(rungs):
    "Index of the rung that counts, whether it stands alone, and the cheapest that is named"
    d = decide([(str(i), 10.**i, r) for i, r in enumerate(rungs)])
    return int(d.ahead or d.stop), d.ahead is None, int(d.stop), d.pairs


class Found(list):
    "Values of single tries"
    @property
    def share(self):
        "Their mean"
        return sum(self) / len(self)

    @property
    def error(self):
        "The Monte Carlo error of the mean"
        return float(np.std(np.array(self, float))) / math.sqrt(len(self))


def given_up(accuracies, n, tries, rng):
    lost = Found()
    for i in range(tries):
        which = named(ladder(rng, accuracies, n, ALIKE[i % 3]))[0]
        lost.append(100 * (accuracies.max() - accuracies[which]))
    return lost

def cheapest_named(n, tries, rng):
    return Found(named(ladder(rng, [.9] * 7, n, ALIKE[i % 3]))[2] == 0 for i in range(tries))

def stands_alone(accuracies, n, tries, rng):
    return Found(named(ladder(rng, accuracies, n, ALIKE[i % 3]))[1] for i in range(tries))

def false_claims(rungs, n, tries, rng):
    def any_claim(alike):
        pairs = named(ladder(rng, [.9] * rungs, n, alike))[3]
        return any(p.words != 'no clear gain' for p in pairs)
    return Found(any_claim(ALIKE[i % 3]) for i in range(tries))


def false_over_seeds(n, k, stays, spread, tries, rng):
    found = Found()
    for _ in range(tries):
        a, b = ladder(rng, [.9, .9], n, seeds=k, stays=stays, spread=spread)
        found.append(two_parts(b.astype(float) - a).p < .05)
    return found

def power_over_seeds(tries, rng):
    "For a true gain of 2 points, 360 images, 5 seeds; over the shares that stay"
    found = Found()
    for i in range(tries):
        a, b = ladder(rng, [.9, .92], 360, seeds=5, stays=(0, .5, .9)[i % 3], spread=.003)
        parts = two_parts(b.astype(float) - a)
        found.append(parts.mean > 0 and parts.p < .05)
    return found

def mean_covered(n, k, stays, spread, tries, rng):
    found = Found()
    for _ in range(tries):
        s = over_seeds(ladder(rng, [.9], n, seeds=k, stays=stays, spread=spread)[0])
        found.append(s.low <= .9 <= s.high)
    return found


def confidences(rng, n, classes):
    "Probabilities of the answer: two classes spread over .5 to 1, ten classes of accuracy .6 or so"
    if classes == 2: return rng.uniform(.5, 1, n)
    scores = 2.3 * rng.standard_normal((n, 10))
    p = np.exp(scores - scores.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True)).max(1)

def called_off(n, classes, tries, rng, over=0.):
    found = Found()
    for _ in range(tries):
        c = confidences(rng, n, classes)
        found.append(reliability(c, rng.random(n) < np.clip(c - over, 0, 1)).p < .05)
    return found


def contradictions():
    "Pairs of rungs whose interval and p disagree, of all that 500 images can show up to 80 that differ"
    found = Found()
    for lost in range(40):
        for won in range(40):
            same = np.ones(500 - lost - won)
            below, this = np.r_[np.ones(lost), np.zeros(won), same], np.r_[np.zeros(lost), np.ones(won), same]
            d = paired_difference(below, this)
            found.append((d.low > 0 or d.high < 0) != (d.p < .05) or not d.low <= d.gain <= d.high)
    return found

def gain_covered(tries, rng):
    found = Found()
    for i in range(tries):
        a, b = ladder(rng, [.9, .92], (100, 360, 2000)[i % 3], ALIKE[i % 2])[:, 0]
        d = paired_difference(a, b)
        found.append(d.low <= .02 <= d.high)
    return found


GROUPS = np.repeat(np.arange(36), 10)

def groups_covered(tries, rng):
    rights = (ladder(rng, [.9], 360, groups=GROUPS, within=.6)[0, 0] for _ in range(tries))
    intervals = (grouped_interval(r, GROUPS)[0] for r in rights)
    return Found(low <= .9 <= high for low, high in intervals)

def groups_false(tries, rng):
    pairs = (ladder(rng, [.9, .9], 360, groups=GROUPS, within=.6)[:, 0] for _ in range(tries))
    return Found(grouped_difference(a, b, GROUPS).p < .05 for a, b in pairs)


def power_at_printed(tries, rng):
    "After a pilot of 100 images, where a range is printed: the power that its upper end has"
    found = Found()
    for _ in range(tries):
        printed = images_needed(int(rng.binomial(100, .15)), 100, .02)
        if printed is None: continue
        won, lost, _ = rng.multinomial(printed[1], [.085, .065, .85])
        z = (won - lost) / math.sqrt(won + lost)
        found.append(z > 1.96)
    return found


FRACTIONS = 2.**-np.arange(7, -1, -1)
CURVES = {
    'flat': np.full(8, .9),
    'flat at its end': .93 - .3 * np.exp(-1.3 * np.arange(8)),
    'next 2 points': .97 - .02 / (1 - 2**-.35) * FRACTIONS**-.35}

def called_likely(shape, n, tries, rng):
    found = Found()
    for _ in range(tries):
        accuracies = ladder(rng, CURVES[shape], n, spread=.005)[:, 0].mean(1)
        gains, weights = next_gains(FRACTIONS * 10_000, accuracies, n)
        found.append(weights[gains > .005].sum() >= .9)
    return found

def drop_noticed(lower, tries, rng):
    right = rng.binomial(360, .93, tries), rng.binomial(360, .93 - lower, tries)
    return Found(drop((int(a), 360), (int(b), 360)) < .05 for a, b in zip(*right))


SEED_CASES = [(n, k, stays, spread) for n in (360, 2000) for k in (2, 3, 5, 10) for stays in (0, .5, .9)
              for spread in (0, .003, .01)]

def rows(tries, rng) -> dict: # Name to (what, how to find it, the bound, whether it is a least or a most)
    "All that is measured"
    few = max(tries // 4, 30)
    found = {}
    for n, most in ((40, 3.), (100, 1.5), (360, .8), (2000, .2)):
        found[f'given up, {n}'] = f'seven rungs of .80 to .92, n = {n:,}: points given up', (
            lambda n=n: given_up(SEVEN, n, tries, rng)), most, 'most'
    found['given up, tiers'] = 'two tiers (.75 x3, .90 x4), n = 40: points given up', (
        lambda: given_up(TIERS, 40, tries, rng)), 1.5, 'most'
    for n in (40, 360, 2000, 10_000):
        found[f'cheapest, {n}'] = f'seven equal rungs, n = {n:,}: the cheapest is named', (
            lambda n=n: cheapest_named(n, few if n > 5000 else tries, rng)), .85, 'least'
    found['alone, tiers'] = 'two tiers, n = 10,000: a single rung is named', (
        lambda: stands_alone(TIERS, 10_000, few, rng)), .70, 'least'
    found['alone, equal'] = 'seven equal rungs, n = 10,000: a single rung is named', (
        lambda: stands_alone(np.full(7, .9), 10_000, few, rng)), .60, 'least'
    for rungs in (7, 10):
        for n in (360, 2000, 10_000):
            found[f'false, {rungs}, {n}'] = f'{rungs} equal rungs, n = {n:,}: any false better or worse', (
                lambda rungs=rungs, n=n: false_claims(rungs, n, few if n > 5000 else tries, rng)), .05, 'most'
    return found | more_rows(tries, few, rng)

def more_rows(tries, few, rng) -> dict:
    def worst(measure, pick):
        "Over all cases with several seeds"
        return lambda: pick((measure(*case, tries, rng) for case in SEED_CASES), key=lambda f: f.share)
    found = {
        'seeds, false': ('equal recipes over 2 to 10 seeds, the worst of 72 cases: false better or worse',
                         worst(false_over_seeds, max), .07, 'most'),
        'seeds, power': ('a true 2 points, n = 360, 5 seeds, run-to-run sd 0.3: shown',
                         lambda: power_over_seeds(2 * tries, rng), .45, 'least'),
        'seeds, covered': ('95% of mean over seeds, the worst of 72 cases: contains the true accuracy',
                           worst(mean_covered, min), .93, 'least')}
    for classes in (2, 10):
        for n in (200, 400, 1000):
            found[f'calibrated, {classes}, {n}'] = f'honest probabilities, {classes} classes, n = {n:,}: called off', (
                lambda classes=classes, n=n: called_off(n, classes, tries, rng)), .05, 'most'
        found[f'too sure, {classes}'] = f'6 points too sure, {classes} classes, n = 400: called off', (
            lambda classes=classes: called_off(400, classes, tries, rng, .06)), .60, 'least'
    found |= {
        'contradictions': ('interval of a gain against its p: contradictions', contradictions, 0., 'most'),
        'gain, covered': ('interval of a true gain of 2 points: contains it', lambda: gain_covered(tries, rng), .93,
                          'least'),
        'groups, covered': ('groups of 10, correlation .6: interval contains the accuracy',
                            lambda: groups_covered(tries, rng), .92, 'least'),
        'groups, false': ('groups of 10, correlation .6: false better or worse', lambda: groups_false(tries, rng), .06,
                          'most'),
        'images needed': ('validation images that are printed after a pilot of 100: power that they have',
                          lambda: power_at_printed(4 * tries, rng), .75, 'least')}
    for shape, n, bound, kind in (('flat', 2000, .05, 'most'), ('flat', 10_000, .05, 'most'),
                                  ('flat at its end', 10_000, .05, 'most'), ('next 2 points', 360, .50, 'least')):
        found[f'{shape}, {n}'] = f'learning curve, {shape}, n = {n:,}: more data likely to help', (
            lambda shape=shape, n=n: called_likely(shape, n, few if n > 5000 else tries, rng)), bound, kind
    found['drop'] = 'test accuracy 3 points lower, n = 360: noticed', lambda: drop_noticed(.03, 20 * tries,
        rng), .40, 'least'
    found['no drop'] = 'test accuracy as high, n = 360: called lower', lambda: drop_noticed(0, 20 * tries,
        rng), .05, 'most'
    return found


def keeps(mean:float, error:float, bound:float, kind:str) -> bool:
    "Whether a bound is kept, as far as 3 Monte Carlo errors tell"
    return mean - 3 * error <= bound if kind == 'most' else mean + 3 * error >= bound

def cells(r:dict) -> tuple:
    "Its row of the table"
    in_points = 'points given up' in r['what']
    as_text = '{:.2f}'.format if in_points else '{:.1%}'.format
    error = f"{r['error']:.2f}" if in_points else f"{100 * r['error']:.1f}"
    bound = f"at {r['kind']} {as_text(r['bound'])}"
    return r['what'], f"{as_text(r['found'])} ± {error}", bound, f"{r['tries']:,}"



def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', help='rows, as in honesty.json; all without any')
    parser.add_argument('--quick', action='store_true', help='fewer tries, and nothing is written')
    given = parser.parse_args()
    tries, rng = (60 if given.quick else 500), np.random.default_rng(0)
    kept = json.loads(OUT.read_text(encoding='utf-8')) if OUT.exists() and not given.quick else {}
    missed = []
    for name, (what, find, bound, kind) in rows(tries, rng).items():
        if given.names and name not in given.names: continue
        found = find()
        kept[name] = dict(what=what, found=found.share, error=found.error, bound=bound, kind=kind, tries=len(found))
        kept_it = keeps(found.share, found.error, bound, kind)
        print(*cells(kept[name]), '' if kept_it else 'MISSED', sep=' | ', flush=True)
        if not kept_it: missed.append(name)
    if not given.quick:
        OUT.write_text(json.dumps(kept, indent=1) + '\n', encoding='utf-8')
        tables.put('honesty', ['what', 'found', 'must', 'tries'], [cells(r) for r in kept.values()])
    sys.exit(1 if missed else 0)


if __name__ == '__main__': main()
