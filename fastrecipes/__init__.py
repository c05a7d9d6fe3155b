"""What does each step of deep learning buy me? A ladder of image classifiers, compared on your own images

Modules:

- `fastrecipes.all`: The public names, for notebooks: `from fastrecipes.all import *`"""

__version__ = "0.1.0"
