"""The ladder on MNIST_SAMPLE over several seeds, against what each rung must reach: `python bench/accuracy.py [--quick]`

Writes accuracy.json beside this file and prints the table. `--quick` leaves resnet18 out."""
import json, platform, sys, warnings
from pathlib import Path
warnings.filterwarnings('ignore', message='`torch.jit.script` is deprecated')
import pandas as pd, torch
from fastrecipes.images import load
from fastrecipes.recipes import fit

# recipe, settings, seeds, the least accuracy allowed on every seed
MUST = [('sgd', dict(epochs=20, lr=1., bs=256), 5, .965), ('linear', dict(epochs=10, lr=1.), 5, .978),
        ('simple_net', dict(epochs=40, lr=.1), 5, .981), ('mlp', {}, 5, .981), ('resnet18', dict(epochs=1), 3, .996)]


def main():
    images, rows = load('mnist_sample'), []
    for name, settings, seeds, least in MUST:
        if name == 'resnet18' and '--quick' in sys.argv: continue
        acc = [fit(name, images, seed=s, **settings).accuracy for s in range(seeds)]
        rows.append(dict(recipe=name, settings=settings, must=least, min=min(acc), mean=sum(acc) / seeds, max=max(acc), seeds=seeds, reached=min(acc) >= least))
        print(rows[-1], flush=True)
    machine = dict(machine=platform.machine(), threads=torch.get_num_threads(), torch=torch.__version__, cuda=torch.cuda.get_device_name() if torch.cuda.is_available() else None)
    Path(__file__).with_suffix('.json').write_text(json.dumps(dict(machine=machine, rows=rows), indent=1) + '\n')
    print(pd.DataFrame(rows).drop(columns='settings').round(4).to_string(index=False))
    sys.exit(not all(r['reached'] for r in rows))


if __name__ == '__main__': main()
