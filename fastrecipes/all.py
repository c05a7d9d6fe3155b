"""The public names, for notebooks: `from fastrecipes.all import *`

The model builders stay in `nets`, since four of them share their name with a recipe: `nets.mlp(...)` builds the model
that the recipe `mlp` trains."""
from . import nets
from .compare import *
from .images import *
from .loaders import *
from .recipes import *
from .sgd import *
from .similarity import *
from .training import *
