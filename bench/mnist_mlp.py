"""Widths, learning rates and dropouts of `mlp` on MNIST: `python bench/mnist_mlp.py`

Means of 3 seeds, judged by the 10,000 validation images: this is how the defaults for large sets were chosen. The
test images are not used. Writes mnist_mlp.json beside this file."""
import json
from pathlib import Path
from statistics import mean
import fastrecipes # noqa: F401 - before torch and fastai: without their warnings
import pandas as pd
from fastrecipes.data.sources import load
from fastrecipes.ladder.recipe import fit

TRIED = [ # hidden, lr, dropout
    ((64, 64, 64), .01, 0.),
    ((256, 128), .003, 0.),
    ((256, 256), .003, .1),
    ((512, 256), .003, 0.),
    ((512, 256), .003, .1),
    ((512, 256), .003, .2),
    ((512, 256), .002, .2),
]
SEEDS = 3


def main():
    rows = []
    for hidden, lr, dropout in TRIED:
        fits = [fit('mlp', load('mnist', seed=s), seed=s, hidden=hidden, lr=lr, dropout=dropout) for s in range(SEEDS)]
        rows.append(dict(
            hidden=','.join(map(str, hidden)), lr=lr, dropout=dropout, accuracy=mean(f.accuracy for f in fits),
            lowest=min(f.accuracy for f in fits), loss=mean(f.loss for f in fits),
            seconds=mean(f.seconds for f in fits)))
        print(rows[-1], flush=True)
    Path(__file__).with_suffix('.json').write_text(json.dumps(rows, indent=1) + '\n')
    print(pd.DataFrame(rows).round(4).sort_values('accuracy').to_string(index=False))


if __name__ == '__main__': main()
