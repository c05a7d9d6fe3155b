"""What does each step of deep learning buy me? A ladder of image classifiers, compared on your own images

Modules:

- `fastrecipes.all`: The public names, for notebooks: `from fastrecipes.all import *`
- `fastrecipes.answer.chance`: Is it luck? How sure an accuracy is, and whether one rung is really better than another
- `fastrecipes.answer.climb`: Fit the ladder to one image set: what does each step buy, and what does it cost?
- `fastrecipes.answer.comparison`: Fitted recipes on one image set, side by side
- `fastrecipes.answer.costs`: Accuracy against cost: one picture of which rungs are worth their price
- `fastrecipes.answer.crossing`: Below how many images per class one rung leads, from where on another, and how sure that is
- `fastrecipes.answer.curves`: How much data do I need? Accuracy against the number of training images, and whether more of them are likely to help
- `fastrecipes.answer.failures`: Where a model fails: which classes it confuses, on which images, and whether its probabilities can be trusted
- `fastrecipes.answer.maps`: Where a convolutional net looked: class activation maps, after fast.ai's chapter 18
- `fastrecipes.answer.pictures`: Failures as pictures: the confusion matrix, the reliability curve, and galleries of the worst images
- `fastrecipes.answer.records`: The parts of an answer: plain values with names and types, the same in memory and in `comparison.json`
- `fastrecipes.answer.remarks`: Unasked checks: a line for each rung that overfits, should train longer, or has features of other images
- `fastrecipes.answer.report`: A comparison as one page: the verdict first, then all numbers and figures behind it, and how to reproduce it
- `fastrecipes.answer.report_figures`: The figures of a report, each with its name, what draws it, and what it shows in words
- `fastrecipes.answer.report_page`: From the records of a comparison to HTML: what a page needs in addition, and why nothing from the data can run
- `fastrecipes.answer.results`: What is kept of a fit without its model, and the folder for it
- `fastrecipes.answer.rules`: Which rung to stop at: one function that decides, from who was right about which image
- `fastrecipes.answer.svg`: matplotlib's figures as part of a page: sharp, with text that can be selected, and in the colours of the page
- `fastrecipes.answer.tables`: What a terminal shows: a table that grows row by row, and a few short paragraphs; a file gets the same as plain text
- `fastrecipes.answer.track`: Watch a long climb from another machine, epoch by epoch
- `fastrecipes.answer.verdict`: Where to stop on the ladder, why, and what would make the answer clearer, in plain words
- `fastrecipes.answer.view`: A whole comparison for people: as a table, as text for a terminal or a notebook, and as a picture
- `fastrecipes.cli`: The `fastrecipes` command: it reads what you typed, calls the library, and prints
- `fastrecipes.commands.compare`: The commands `compare` and `report`: fit the ladder to one image set, and write the report
- `fastrecipes.commands.fit`: The command `fit`: fit one recipe, show every epoch, and save the model
- `fastrecipes.commands.look`: The commands `list`, `check` and `cache`, which train nothing
- `fastrecipes.commands.models`: The commands `predict` and `export`, which use a saved model
- `fastrecipes.commands.progress`: Progress output: one moving line on a terminal, complete lines in a pipe
- `fastrecipes.commands.session`: What the commands share: options, loading of images, warnings, Ctrl-C
- `fastrecipes.data.augment`: More from the same images: small random changes, made on whole batches and different in every epoch
- `fastrecipes.data.cache`: Decode each image once
- `fastrecipes.data.check`: Are these images fit to learn from?
- `fastrecipes.data.checkup`: What is wrong with an image set, concluded from what was seen
- `fastrecipes.data.decode`: Decode many image files into one array
- `fastrecipes.data.folders`: Find the image files and the classes in a folder
- `fastrecipes.data.imagefile`: Read one image file as an array of bytes
- `fastrecipes.data.images`: Splits and image sets: the form of data that every recipe reads
- `fastrecipes.data.labelled`: Image files with their labels: set some aside, decode all
- `fastrecipes.data.libraries`: Labelled images in the form of another library: arrays, torchvision, fastai, Hugging Face
- `fastrecipes.data.loaders`: A fastai `DataLoader` that takes whole batches from tensors on the device, without running Python for each image
- `fastrecipes.data.sizes`: Choose one size for all images of a set
- `fastrecipes.data.tables`: Images listed in a table, or in one folder with the class in each file name
- `fastrecipes.errors`: One clear line for what went wrong, and files that are never half written
- `fastrecipes.explore.app`: The explorers in a browser, from a small server on this machine
- `fastrecipes.explore.controls`: Building blocks of the explorers: pictures that follow sliders, callbacks that show their errors, and one layout
- `fastrecipes.explore.curves_explorers`: Two explorers: fit a curve by hand, with a parabola and with ReLUs, and then with gradient descent
- `fastrecipes.explore.drawing`: Draw a digit, and see how every rung of the ladder classifies it
- `fastrecipes.explore.explorers`: All explorers in one widget; each is created when it is first opened
- `fastrecipes.explore.gradient_explorers`: Two explorers: gradient descent on a map of the loss, and the values and gradients of a network
- `fastrecipes.explore.kept_ladder`: The ladder of models that classifies drawings: trained once in another process, and cached
- `fastrecipes.explore.live`: Training that can be watched, paused, changed and resumed after any batch
- `fastrecipes.explore.live_explorer`: Watch a net train, and change the learning rate, dropout or the net itself during training
- `fastrecipes.explore.strokes`: Convert pen strokes to an image like the training images
- `fastrecipes.keep.card`: What a kept model is, where it comes from and how good it was, readable for people and for programs
- `fastrecipes.keep.export`: The same model without PyTorch, as ONNX
- `fastrecipes.keep.pixels`: A model and its preprocessing as one module: pixels in, scores out
- `fastrecipes.keep.predict`: Predict image files with a kept model
- `fastrecipes.keep.store`: Keep a fitted model in a folder, and get the same model back
- `fastrecipes.ladder.backbones`: Other nets to stand on: any classifier of torchvision or timm, with weights that are on this machine
- `fastrecipes.ladder.efficientnet`: EfficientNet-Lite0, a net for photos that is small enough for a laptop, in sixty lines
- `fastrecipes.ladder.estimate`: How long a fit will take, from its first steps
- `fastrecipes.ladder.fitted`: What a recipe is given, and what it returns
- `fastrecipes.ladder.pretrained`: Stand on what a net has learned from a million photos: use its features as they are, then train them further
- `fastrecipes.ladder.recipe`: A named way from an image set to a fitted model
- `fastrecipes.ladder.rungs`: The recipes of the ladder, simplest first, one screen each
- `fastrecipes.ladder.settings`: The settings of a recipe, and how they are checked
- `fastrecipes.lessons.backprop`: Where gradients come from: all gradients of a small network computed by hand, and the graph that PyTorch records
- `fastrecipes.lessons.deep`: How gradients vanish and explode in a net of thirty layers, what helps, and how dropout and weight decay change a net
- `fastrecipes.lessons.descent`: Gradient descent on curves that fit on a page: quadratics, ReLUs, a roller coaster, and the path of the parameters
- `fastrecipes.lessons.logistic`: Logistic regression on ten classes: why accuracy cannot be the loss, and a test set that is used once
- `fastrecipes.lessons.nets`: The models of the ladder: linear, one hidden layer, several hidden layers, convolutions, and a residual network
- `fastrecipes.lessons.sgd`: Stochastic gradient descent by hand: seven small steps that train an image classifier
- `fastrecipes.lessons.similarity`: The baseline that needs no learning: which average image is this one closest to?
- `fastrecipes.plots`: What all figures share: size, colours, plain axes, and labels that cover nothing
- `fastrecipes.reporter`: How a long run reports its progress, through one small object
- `fastrecipes.text`: Numbers, units and names, formatted for people
- `fastrecipes.training.checkpoint`: Stop training at any moment and resume it later, with the same result to the last bit
- `fastrecipes.training.cost`: What does it cost? Parameters, bytes, seconds, memory and multiply-adds, and how each is measured
- `fastrecipes.training.fitting`: Train with a history, early stopping and the weights of the best epoch, through a `Learner` or by hand
- `fastrecipes.training.hooks`: What training calls after each epoch: history, early stopping, best weights
- `fastrecipes.training.precision`: 16-bit numbers and the memory layout for convolutions, where they are faster
- `fastrecipes.training.processes`: The same training in several processes, on one machine or many, with every batch divided into shares"""

__version__ = "0.2.0"

import warnings as _warnings
from importlib import import_module as _import_module

# fastai calls `torch.jit.script` when it is imported. PyTorch warns about it, and only fastai can act on that
_warnings.filterwarnings('ignore', message='`torch.jit.script` is', category=FutureWarning, module=r'torch\.jit\._script')

_homes = {
    'load': 'data.sources',
    'check': 'data.check',
    'recipe': 'ladder.recipe',
    'fit': 'ladder.recipe',
    'compare': 'answer.climb',
}
__all__ = list(_homes)


def __getattr__(name):
    "Import one of the five functions when it is first asked for: `import fastrecipes` alone stays light"
    if name not in _homes: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(_import_module(f'{__name__}.{_homes[name]}'), name)
    globals()[name] = value
    return value


def __dir__(): return [*globals(), *_homes]
