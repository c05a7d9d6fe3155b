"The recipes: importing any module of this package registers all of them"
from . import rungs as _rungs
from . import pretrained as _pretrained
