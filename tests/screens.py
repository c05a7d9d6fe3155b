"""What the commands show, of fixed numbers: `python tests/screens.py NAME` prints a screen, in a terminal as in a pipe

The files in tests/screens are what these print on terminals of three sizes and in a pipe; tests/test_screen.py compares them.
To rewrite them after a change: REWRITE_SCREENS=1 pytest -n 0 tests/test_screen.py"""
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

# Name to: validation images that are wrong (every so-th from an offset, so that rungs share some), seconds, parameters, peak memory, ms to predict 1,000
RUNGS = {
    'similarity': (range(0, 360, 10), .03, 0, 3.8e6, .7), 'sgd': (range(0, 360, 30), .42, 650, 6.6e6, .2), 'linear': (range(0, 360, 30), .91, 650, 1.2e6, .3),
    'logistic': None, 'simple_net': (range(0, 360, 40), 1.9, 2_270, 1.4e6, .3), 'mlp': (range(0, 360, 45), 1.2, 13_130, 2.6e6, .5), 'convnet': (range(0, 360, 72), 6.4, 25_626, 41e6, 9.8),
    'resnet18': (range(0, 360, 90), 48.2, 11_706_314, 420e6, 310.), 'my_wide_convnet': (range(0, 360, 60), 21.7, 1_340_000, 96e6, 44.), 'my_deep_convnet': (range(0, 360, 180), 133.5, 3_210_000, 180e6, 71.)}
REASON, CURE = 'the training loss is infinite in epoch 1', 'use a smaller learning rate (lr), or clip the gradients (clip=1)'


def comparison(names=tuple(RUNGS), seeds=(42,), missing=()):
    "A comparison in which all is made up but the images"
    import torch
    from fastrecipes.answer.comparison import Comparison, Result, Rung
    from fastrecipes.training.cost import Cost
    from fastrecipes.data.sources import load
    from fastrecipes.ladder.fitted import Judged
    images = load('digits')
    truth = images.valid.labels
    def rung(name):
        if name in missing: return Rung(name, {}, status='stopped', reason='it was not finished')
        if RUNGS[name] is None: return Rung(name, {}, status='failed', reason=REASON, cure=CURE)
        wrong, seconds, parameters, memory, ms = RUNGS[name]
        def result(seed):
            said = truth.clone()
            at = torch.tensor([(i + seed - 42) % len(truth) for i in wrong])
            said[at] = (truth[at] + 1) % 10
            scores = 9. * torch.nn.functional.one_hot(said, 10)
            return Result(name, seed, {}, {}, 'cpu', Judged(scores, truth, True), None, Cost(parameters, 4 * parameters + 120, seconds, int(memory), None, ms / 10, ms, 640 + parameters), [], None)
        return Rung(name, {}, tuple(map(result, seeds)))
    return Comparison(images, tuple(map(rung, names)), 42, made='2026-01-01T00:00:00Z')


def show_compare(costs=False, details=False, **kwargs):
    "As `fastrecipes compare` shows it while the rungs finish one after the other"
    from fastrecipes.cli import _tell, _Watch
    from fastrecipes.progress import Progress
    c = comparison(**kwargs)
    progress = Progress()
    watch = _Watch(progress)
    watch.climb = SimpleNamespace(comparison=c, asked={r.recipe: {} for r in c.rungs}, seed=42, test=False)
    for i, r in enumerate(c.rungs):
        if r.status == 'stopped': continue
        watch.step(SimpleNamespace(number=i, count=len(c.rungs), recipe=r.recipe, seed=42, images=1437, what='rung'))
        if r.results: watch.result(r.result)
        else: watch.failed(r.recipe, 42, r.reason, r.cure)
    _tell(c, None, False, progress, costs, details)


def show_fit():
    "As `fastrecipes fit` shows its epochs and what came of them"
    import pandas as pd, torch
    from fastrecipes.cli import _epoch_teller
    from fastrecipes.progress import Progress
    from fastrecipes.answer.tables import fitted_lines, show
    rows = [dict(epoch=i, train_loss=1.6 / (i + 1) ** 1.5, valid_loss=.6 / (i + 1) + .04 * max(i - 6, 0), accuracy=(290 + 8 * min(i, 7)) / 360, seconds=.12) for i in range(10)]
    progress = Progress()
    progress.start('mlp', 10)
    on_epoch = _epoch_teller(progress)
    for row in rows: on_epoch(row)
    progress.stop()
    right = torch.arange(360) < 346
    fitted = SimpleNamespace(
        recipe='mlp', targets=torch.ones(360), predictions=right.float(), accuracy=346 / 360, test=None, best_epoch=6, history=pd.DataFrame(rows), parameters=13_130, seconds=1.2, device='cpu',
        settings=dict(best=True), settings_text='epochs=10, lr=0.01, bs=32, schedule=one-cycle, hidden=64,64,64, activation=relu', stopped='stopped after epoch 10 of 20: no better validation loss for 3 epochs')
    show(*fitted_lines(fitted))


def show_check():
    "A checkup with problems, of classes with wide names"
    from fastrecipes.data.check import Checkup
    from fastrecipes.answer.tables import check_text, show
    counts = dict(train={'cat': 120, 'dog': 96, '\u72ac\u3068\u732b': 14}, valid={'cat': 30, 'dog': 24, '\u72ac\u3068\u732b': 4})
    show(check_text(str(Checkup('photos', ('cat', 'dog', '\u72ac\u3068\u732b'), counts, {'480x640': 250, '640x480': 38}, {'RGB': 280, 'L': 8}, (('dog/12.png', 'not an image'),), (), {}, (), (), (), (), '192x256', 3,
        problems=('1 unreadable image; repair or remove it, or skip it: skip_bad=True (--skip-bad)', '2 validation images are in the training split too, so accuracy on that split is overestimated; keep each in one of the two'),
        remarks=('the images are of 2 sizes; all are brought to 192x256',)))))


def command(*args):
    "A command that shows the same each time"
    def show():
        from fastrecipes.cli import main
        try: main(list(args))
        except SystemExit: pass
    return show


def show_cache():
    "Two image sets and a model in the cache"
    from fastrecipes.cli import _cached_line
    import click
    made = datetime(2026, 1, 2, 3, 4)
    for kind, source, images, size in (('image set', '/data/photos/holidays/2025/rome-and-naples-and-the-coast', 12_000, 2.4e8), ('image set', 'mnist', 70_000, 5.5e7), ('model', 'mlp', None, 2e5)):
        click.echo(_cached_line(SimpleNamespace(images=images, bytes=int(size), made=made, source=source), kind))


def show_predict():
    "What a kept model says of some images, one of which has a wide name"
    from fastrecipes.cli import _as_lines
    import click
    said = {'photos/3.png': [('3', .9812), ('7', .0188)], 'photos/\u72ac\u3068\u732b.jpg': [('7', .7301), ('3', .2699)], 'photos/holidays/2025/dot.png': [('3', .5), ('7', .5)]}
    click.echo(_as_lines([dict(image=image, classes=classes) for image, classes in said.items()]), color=True)


SHOWS = {
    'compare': show_compare, 'compare-four': lambda: show_compare(names=('similarity', 'sgd', 'linear', 'mlp')), 'compare-costs-details': lambda: show_compare(costs=True, details=True),
    'compare-repeats': lambda: show_compare(names=('similarity', 'sgd', 'mlp'), seeds=(42, 43, 44, 45, 46)), 'compare-stopped': lambda: show_compare(missing=('convnet', 'resnet18', 'my_wide_convnet', 'my_deep_convnet')),
    'fit': show_fit, 'check': show_check, 'cache': show_cache, 'predict': show_predict, 'list': command('list'), 'list-mlp': command('list', 'mlp'), 'help': command('--help'), 'compare-help': command('compare', '--help'), 'predict-help': command('predict', '--help')}

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).parent.parent))
    SHOWS[sys.argv[1]]()
