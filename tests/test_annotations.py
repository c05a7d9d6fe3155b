"Every annotation can be evaluated, so that documentation tools and type checkers can follow it"
import json, subprocess, sys
import pytest
from conftest import REPO

MODULES = [json.loads(nb.read_text(encoding='utf-8'))['metadata']['nbdev']['default_exp']
           for nb in sorted((REPO/'nbs').rglob('[0-9]*.ipynb'))
           if 'default_exp' in nb.read_text(encoding='utf-8')]

EVALUATE = '''
import importlib, inspect, json, sys, typing, warnings
warnings.simplefilter('ignore')

def functions_of(module):
    "Its public functions, classes, and their methods and properties, by name"
    for name in module.__all__:
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)): continue
        yield name, thing
        for attribute, value in vars(thing).items() if inspect.isclass(thing) else ():
            for wrapped in ('fget', 'func', '__func__'): value = getattr(value, wrapped, None) or value
            if not inspect.isfunction(value) or not value.__module__.startswith('fastrecipes'): continue
            yield f'{name}.{attribute}', value

def evaluate(thing):
    if inspect.isfunction(thing): inspect.signature(thing, eval_str=True)
    else: inspect.get_annotations(thing, eval_str=True)
    typing.get_type_hints(thing)

tried, failed = {}, []
for name in sys.argv[1:]:
    module = importlib.import_module(f'fastrecipes.{name}')
    tried[name] = 0
    for called, thing in functions_of(module):
        tried[name] += 1
        try: evaluate(thing)
        except Exception as e: failed.append(f'{name}.{called}: {e}')
print(json.dumps([tried, failed]))
'''


def evaluated(*modules):
    "Number of annotated things in each module, and the failures, in a process that imports only these modules"
    r = subprocess.run([sys.executable, '-c', EVALUATE, *modules], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def test_every_annotation_of_every_module_can_be_evaluated():
    tried, failed = evaluated(*MODULES)
    assert failed == [] and len(tried) >= 28 and sum(tried.values()) > 300

LATE = ['errors', 'data.cache', 'data.images', 'data.labelled', 'data.tables', 'data.libraries', 'data.sources',
        'training.cost', 'ladder.recipe', 'ladder.rungs']
QUICK = ['data.images', 'ladder.recipe'] # Each needs a process that imports torch; these use the most of it

@pytest.mark.parametrize('module', [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in LATE])
def test_modules_that_import_torch_late_can_be_evaluated_alone(module):
    tried, failed = evaluated(module)
    assert failed == [] and tried[module] > 3

def test_the_package_says_that_it_is_typed():
    assert (REPO/'fastrecipes'/'py.typed').exists()
    assert '"py.typed"' in (REPO/'pyproject.toml').read_text(encoding='utf-8')
