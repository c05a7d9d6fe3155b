"""The public names, for notebooks: `from fastrecipes.all import *`

It can stand beside `from fastai.vision.all import *`, before it or after it: no name of the one means something else in the other. So recipes
are fitted by name, `fit('resnet18', ...)` or `recipes['resnet18'](...)`, and the lessons' `mae`, `mse` and `sigmoid` are imported from their modules
(`from fastrecipes.descent import mae`). Two modules stay modules, since their functions share a name with others: `nets.mlp(...)` builds
the model that the recipe `mlp` trains, and `store.load(...)` reads a model and `load(...)` images."""
from . import nets, store
from .backprop import *
from .chance import mcnemar, over_seeds, paired_difference, seeds_difference, wilson
from .checkpoint import Checkpoint, Checkpoints
from .compare import Climb, Comparison, compare
from .curves import learning_curve, nested_subset, plot_curve
from .descent import *
from .digits import explore_drawing, explore_training
from .explore import explore_network, explore_quadratic, explore_relus, explore_surface
from .failures import failures_of, most_confused, per_class_table, pictures_of, plot_calibration, plot_confusion, plot_images, shared_failures, worst_table
from .files import InputError
from .images import *
from .learner import QuickLearner
from .loaders import *
from .recipes import *
from .report import read_comparison, report_html, save_report
from .sgd import *
from .similarity import *
from .track import TensorBoard
from .training import *
from .verdict import plot_cost

del mae, mse, sigmoid # fastai has others of these names
del similarity, sgd, linear, simple_net, mlp, convnet, resnet18, logistic # The recipes
