"The star import of everything together with fastai's, and what each class has without it"
import json, subprocess, sys
import pytest

FASTAI, OURS = 'from fastai.vision.all import *', 'from fastrecipes.all import *'


def answer(code):
    "What `code` prints as JSON, in a fresh process"
    r = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr[-3000:]
    return json.loads(r.stdout.splitlines()[-1])


def test_no_name_means_something_else_in_fastai():
    different, ours = answer(f'''
import json
fastai, ours = {{}}, {{}}
exec({FASTAI!r}, fastai)
exec({OURS!r}, ours)
del fastai['__builtins__'], ours['__builtins__']
print(json.dumps([[n for n in ours if n in fastai and fastai[n] is not ours[n]], list(ours)]))''')
    assert different == [] and len(ours) > 150
    from fastrecipes.ladder.settings import recipes
    assert not set(recipes) & set(ours), 'recipes are fitted by name'
    assert {'decide', 'mcnemar', 'over_seeds', 'paired_difference', 'seeds_difference', 'wilson'} <= set(ours)

@pytest.mark.parametrize('imports', [(FASTAI, OURS), (OURS, FASTAI)], ids=['ours last', 'ours first'])
def test_both_star_imports_work_together(imports):
    first, second = imports
    trained, accuracy = answer(f'''
{first}
{second}
import json, torch
images = load('digits', classes='3,7')
x = images.train.images[:8].repeat(1, 3, 4, 4)
items = [(TensorImage(i).float() / 255, TensorCategory(t)) for i, t in zip(x, images.train.labels)]
dls = DataLoaders.from_dsets(items, items, bs=4, device='cpu')
dls.c = 2
learn = vision_learner(dls, resnet18, n_out=2, loss_func=CrossEntropyLossFlat(), metrics=accuracy, pretrained=False)
with learn.no_bar(), learn.no_logging(): learn.fit(1)
fitted = fit('linear', images, epochs=1, device='cpu')
print(json.dumps([len(learn.recorder.values), fitted.accuracy]))''')
    assert trained == 1 and accuracy > .5

@pytest.mark.slow
def test_no_class_gains_methods_by_the_import_of_another_module():
    from test_annotations import MODULES
    gained, classes = answer(f'''
import importlib, inspect, json
def own(cls): # What fastai patches onto its classes is fastai's
    return {{n for n in dir(cls) if str(getattr(getattr(cls, n), '__module__', None)).startswith('fastrecipes')}}
before = {{}}
for name in {MODULES}:
    module = importlib.import_module('fastrecipes.' + name)
    classes = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
    before |= {{c: own(c) for c in classes}}
import fastrecipes.all
gained = {{c.__name__: sorted(own(c) - had) for c, had in before.items() if own(c) != had}}
print(json.dumps([gained, len(before)]))''')
    assert gained == {} and classes > 50

def test_learners_have_what_fastai_adds_to_them():
    code = '''
import json
import fastrecipes.training.fitting
from fastai.learner import Learner
print(json.dumps([n for n in ('fit_one_cycle', 'lr_find', 'no_bar', 'to_fp16') if not hasattr(Learner, n)]))'''
    assert answer(code) == []
