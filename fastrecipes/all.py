"""The public names, for notebooks: `from fastrecipes.all import *`

Three modules stay modules, since their functions share a name with others: `nets.mlp(...)` builds the model that the recipe
`mlp` trains, `store.load(...)` reads a model and `load(...)` images, and `logistic.fit` is the lesson's beside `fit` for recipes
(there `logistic` alone is the recipe, so import that module by its full name)."""
from . import nets, store
from .backprop import *
from .checkpoint import Checkpoint, Checkpoints
from .compare import *
from .descent import *
from .digits import explore_drawing, explore_training
from .explore import explore_network, explore_quadratic, explore_relus, explore_surface
from .files import InputError
from .images import *
from .loaders import *
from .recipes import *
from .sgd import *
from .similarity import *
from .training import *
