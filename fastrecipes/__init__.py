"""What does each step of deep learning buy me? A ladder of image classifiers, compared on your own images

An average image can tell a 3 from a 7. So can eleven million parameters. Which do *your* images need, and what would
the next step up cost? fastrecipes climbs a ladder of image classifiers on one set of images, judges every rung by the
same validation images, and answers with a table, a picture and models to use.

Modules:

- `fastrecipes.all`: The public names, for notebooks: `from fastrecipes.all import *`
- `fastrecipes.cli`: The `fastrecipes` command: it reads what you typed, calls the library, and prints
- `fastrecipes.compare`: The ladder on one image set, side by side: what did each step buy, and what did it cost?
- `fastrecipes.images`: From a name or a folder to tensors: the one shape of data that every rung of the ladder reads
- `fastrecipes.loaders`: Whole batches, cut from tensors on the device: a fastai `DataLoader` without Python per image
- `fastrecipes.nets`: The models of the ladder: a straight line, a bend in it, more bends, and a residual network
- `fastrecipes.recipes`: A recipe turns an image set into a fitted model; the ladder is the recipes in order, simplest first
- `fastrecipes.sgd`: Stochastic gradient descent by hand: seven small functions that train a classifier, and the proof that `Learner` does the same
- `fastrecipes.similarity`: The baseline that needs no learning: which average image is this one closest to?
- `fastrecipes.training`: Fitting through fastai's `Learner`, with a history that can be trusted"""

__version__ = "0.1.0"
