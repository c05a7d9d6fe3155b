"""What the commands show, with fixed numbers: `python tests/screens.py NAME` prints one screen

tests/test_screen.py compares the screens with the files in tests/screens, for several terminals and for a pipe.
To rewrite them after a change: REWRITE_SCREENS=1 pytest -n 0 tests/test_screen.py"""
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

class Made(NamedTuple):
    "Made-up numbers of a rung"
    wrong: range # Validation images that are wrong, chosen so that rungs share some
    seconds: float
    parameters: int
    memory: float # Bytes
    ms: float # To predict 1,000

RUNGS = {
    'majority': Made(range(0, 324), .002, 0, 0, .1),
    'similarity': Made(range(0, 360, 10), .03, 0, 3.8e6, .7),
    'sgd': Made(range(0, 360, 30), .42, 650, 6.6e6, .2),
    'linear': Made(range(0, 360, 30), .91, 650, 1.2e6, .3),
    'logistic': None, # Fails
    'simple_net': Made(range(0, 360, 40), 1.9, 2_270, 1.4e6, .3),
    'mlp': Made(range(0, 360, 45), 1.2, 13_130, 2.6e6, .5),
    'convnet': Made(range(0, 360, 72), 6.4, 25_626, 41e6, 9.8),
    'resnet18': Made(range(0, 360, 90), 48.2, 11_706_314, 420e6, 310.),
    'frozen': Made(range(0, 360, 60), 4.7, 12_810, 96e6, 2_600.),
    'my_deep_convnet': Made(range(0, 360, 180), 133.5, 3_210_000, 180e6, 71.)}
REASON = 'the training loss is infinite in epoch 1'
CURE = 'use a smaller learning rate (lr), or clip the gradients (clip=1)'


def result(name, seed, truth):
    "The `Result` of a rung whose numbers are made up"
    import torch
    from fastrecipes.answer.results import Result
    from fastrecipes.ladder.fitted import Judged
    from fastrecipes.training.cost import Cost
    made = RUNGS[name]
    predicted = truth.clone()
    wrong = made.wrong[seed % 2:] # Other seeds have some other mistakes, and every second one fewer
    at = torch.tensor([(i + (seed - 42) * (k % 3 == 0)) % len(truth) for k, i in enumerate(wrong)])
    predicted[at] = (truth[at] + 1) % 10
    scores = 9. * torch.nn.functional.one_hot(predicted, 10)
    cost = Cost(
        parameters=made.parameters, weights_bytes=4 * made.parameters + 120, train_seconds=made.seconds,
        peak_memory_bytes=int(made.memory), peak_gpu_memory_bytes=None, predict_ms_1=made.ms / 10,
        predict_ms_1000=made.ms, multiply_adds=640 + made.parameters)
    return Result(
        recipe=name, seed=seed, settings={}, asked={}, device='cpu', valid=Judged(scores, truth, True), test=None,
        cost=cost, history=[], best_epoch=None)

def fits_of(name, seeds, truth, missing):
    from fastrecipes.answer.results import Fits
    if name in missing: return Fits(name, {}, status='stopped', reason='it was not finished')
    if RUNGS[name] is None: return Fits(name, {}, status='failed', reason=REASON, cure=CURE)
    return Fits(name, {}, tuple(result(name, seed, truth) for seed in seeds))

def comparison(names=tuple(RUNGS), seeds=(42,), missing=(), left_out=()):
    "A comparison in which everything but the images is made up"
    from fastrecipes.answer.comparison import comparison_of
    from fastrecipes.data.sources import load
    images = load('digits')
    fits = [fits_of(name, seeds, images.valid.labels, missing) for name in names]
    return comparison_of(images, fits, seed=42, made='2026-01-01T00:00:00Z', left_out=left_out)


def show_compare(costs=False, details=False, **kwargs):
    "As `fastrecipes compare` shows it while the rungs finish one after the other"
    from fastrecipes.commands.compare import finish, TableProgress
    from fastrecipes.reporter import Task
    c = comparison(**kwargs)
    rungs = {r.recipe: r for r in c.rungs}
    table = TableProgress(quiet=False)
    table.climb = SimpleNamespace(rung=rungs.get, settings={name: {} for name in rungs}, seed=42, test=False)
    for i, r in enumerate(c.rungs):
        if r.status == 'stopped': continue
        table.started(Task('fit', r.recipe, i, len(c.rungs), 42, 1437))
        if r.is_fitted: table.finished()
        else: table.failed(r.reason, r.cure)
    finish(c, dict(as_json=False, costs=costs, details=details, out=None, quiet=False), table)


def show_fit():
    "As `fastrecipes fit` shows its epochs and its result"
    import pandas as pd, torch
    from fastrecipes.answer.tables import fitted_lines, show
    from fastrecipes.commands.fit import EpochProgress
    def row(i):
        return dict(
            epoch=i, train_loss=1.6 / (i + 1) ** 1.5, valid_loss=.6 / (i + 1) + .04 * max(i - 6, 0),
            accuracy=(290 + 8 * min(i, 7)) / 360, seconds=.12)
    rows = [row(i) for i in range(10)]
    progress = EpochProgress()
    progress.begin('mlp', 10)
    for r in rows: progress.epoch(r)
    progress.stop()
    settings_text = 'epochs=10, lr=0.01, bs=32, schedule=one-cycle, hidden=64,64,64, activation=relu'
    fitted = SimpleNamespace(
        recipe='mlp', targets=torch.ones(360), predictions=(torch.arange(360) < 346).float(), accuracy=346 / 360,
        test=None, best_epoch=6,
        history=pd.DataFrame(rows), parameters=13_130, seconds=1.2, device='cpu', processes=1,
        stopped='stopped after epoch 10 of 20: no better validation loss for 3 epochs', settings=dict(best=True),
        settings_text=settings_text)
    show(*fitted_lines(fitted))


def show_check():
    "A checkup with problems, of classes with wide names"
    from fastrecipes.answer.tables import show
    from fastrecipes.commands.look import checkup_text
    from fastrecipes.data.check import Checkup
    wide = '\u72ac\u3068\u732b'
    checkup = Checkup(
        source='photos', classes=('cat', 'dog', wide),
        counts=dict(train={'cat': 120, 'dog': 96, wide: 14}, valid={'cat': 30, 'dog': 24, wide: 4}),
        sizes={'480x640': 250, '640x480': 38}, modes={'RGB': 280, 'L': 8}, unreadable=(('dog/12.png', 'not an image'),),
        empty=(), missing={}, leaks=(), two_labels=(), duplicates=(), shared_groups=(), blank=(), size='192x256',
        channels=3,
        problems=(
            '1 unreadable image; repair or remove it, or skip it: skip_bad=True (--skip-bad)',
            '2 validation images are in the training split too, so accuracy on that split is overestimated; '
            'keep each in one of the two'),
        remarks=('the images are of 2 sizes; all are resized to 192x256',))
    show(checkup_text(checkup))


def show_left_out():
    "A comparison without a rung that would take too long"
    from fastrecipes.answer.records import LeftOut
    why = dict(reason='it would take about 5.0 min', cure='--all fits all rungs, and -r those that it names')
    show_compare(names=('majority', 'similarity', 'linear', 'frozen'),
                 left_out=[LeftOut(recipe='finetune', seconds=300., **why)])


def command(*args):
    "A command that shows the same each time"
    def show():
        from fastrecipes.cli import main
        try: main(list(args))
        except SystemExit: pass
    return show


def show_cache():
    "Two image sets and a model in the cache"
    import click
    from fastrecipes.commands.look import cached_line
    made = datetime(2026, 1, 2, 3, 4)
    entries = [
        ('image set', '/data/photos/holidays/2025/rome-and-naples-and-the-coast', 12_000, 2.4e8),
        ('image set', 'mnist', 70_000, 5.5e7),
        ('model', 'mlp', None, 2e5)]
    for kind, source, images, size in entries:
        click.echo(cached_line(SimpleNamespace(images=images, bytes=int(size), made=made, source=source), kind))


def show_predict():
    "The predictions of a kept model for some images, one with a wide name"
    import click
    from fastrecipes.commands.models import as_lines
    predicted = {
        'photos/3.png': [('3', .9812), ('7', .0188)], 'photos/\u72ac\u3068\u732b.jpg': [('7', .7301), ('3', .2699)],
        'photos/holidays/2025/dot.png': [('3', .5), ('7', .5)]}
    click.echo(as_lines([dict(image=image, classes=classes) for image, classes in predicted.items()]), color=True)


SHOWS = {
    'compare': show_compare,
    'compare-four': lambda: show_compare(names=('similarity', 'sgd', 'linear', 'mlp')),
    'compare-costs-details': lambda: show_compare(costs=True, details=True),
    'compare-repeats': lambda: show_compare(names=('similarity', 'sgd', 'mlp'), seeds=(42, 43, 44, 45, 46)),
    'compare-stopped': lambda: show_compare(missing=('convnet', 'resnet18', 'frozen', 'my_deep_convnet')),
    'compare-left-out': show_left_out,
    'fit': show_fit, 'check': show_check, 'cache': show_cache, 'predict': show_predict,
    'list': command('list'), 'list-mlp': command('list', 'mlp'),
    'help': command('--help'), 'compare-help': command('compare', '--help'),
    'predict-help': command('predict', '--help')}

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).parent.parent))
    SHOWS[sys.argv[1]]()
