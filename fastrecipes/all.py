"""The public names, for notebooks: `from fastrecipes.all import *`

Use it with `from fastai.vision.all import *`, in either order: no name has two meanings. So recipes are fitted by name,
`fit('resnet18', ...)` or `recipes['resnet18'](...)`, and the lessons' `mae`, `mse` and `sigmoid` are imported from
their modules (`from fastrecipes.lessons.descent import mae`). Two modules are imported whole, because their functions
share names with others: `nets.mlp(...)` builds the model that the recipe `mlp` trains, and `store.load(...)` reads a
model, while `load(...)` reads images."""
from .keep import store
from .lessons import nets
from .answer.chance import mcnemar, over_seeds, paired_difference, seeds_difference, wilson
from .answer.climb import Climb, compare
from .answer.comparison import Comparison, read_comparison
from .answer.curves import learning_curve, nested_subset, plot_curve
from .answer.failures import failures_of, most_confused, per_class_table, shared_failures, worst_table
from .answer.pictures import pictures_of, plot_calibration, plot_confusion, plot_images
from .answer.report import report_html, save_report
from .answer.track import TensorBoard
from .answer.costs import plot_cost
from .answer.rules import decide
from .data.check import *
from .data.checkup import Checkup, Sighting
from .data.images import *
from .data.loaders import *
from .data.labelled import LabelledFiles, load_files, stratified_split
from .data.sources import *
from .errors import InputError
from .explore.curves_explorers import explore_quadratic, explore_relus
from .explore.drawing import explore_drawing
from .explore.gradient_explorers import explore_network, explore_surface
from .explore.live_explorer import explore_training
from .ladder.fitted import *
from .ladder.recipe import *
from .ladder.settings import *
from .ladder.rungs import Parts, Three, auto_lr, squared_length
from .lessons.backprop import *
from .lessons.deep import *
from .lessons.descent import *
from .lessons.sgd import *
from .lessons.similarity import *
from .plots import *
from .training.checkpoint import Checkpoint, Checkpoints
from .training.fitting import *
from .training.hooks import *

del mae, mse, sigmoid # fastai has others of these names
