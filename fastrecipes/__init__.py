"""What does each step of deep learning buy me? A ladder of image classifiers, compared on your own images

An average image can tell a 3 from a 7. So can eleven million parameters. Which do *your* images need, and what would
the next step up cost? fastrecipes climbs a ladder of image classifiers on one set of images, judges every rung by the
same validation images, and answers with a table, a picture and models to use.

Modules:

- `fastrecipes.all`: The public names, for notebooks: `from fastrecipes.all import *`"""

__version__ = "0.1.0"
