"The seven wings: what a module imports lies below it, at its top and inside its functions alike"
import ast, json, re
from itertools import chain
import pytest
from conftest import REPO

GROUND = ['text', 'errors', 'plots', 'reporter']
WINGS = ['data', 'lessons', 'training', 'ladder', 'keep', 'answer', 'explore', 'commands']
TOP = ['cli']
NOTEBOOKS = sorted((REPO/'nbs').rglob('[0-9]*.ipynb'))


def room_of(notebook):
    "The module that a notebook exports, as in data.images; None for one that exports nothing"
    return json.loads(notebook.read_text(encoding='utf-8'))['metadata'].get('nbdev', {}).get('default_exp')

def rooms_of(folder):
    "The rooms of a wing, in the order of their notebooks"
    return [room_of(n) for n in NOTEBOOKS if n.parent.name == folder and room_of(n)]

ROOMS = [*GROUND, *chain.from_iterable(rooms_of(w) for w in WINGS), *TOP]


def imported_by(room):
    "The rooms that a module imports anywhere in its code"
    path = REPO/'fastrecipes'/f"{room.replace('.', '/')}.py"
    package = ['fastrecipes', *room.split('.')[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[:len(package) - node.level + 1] if node.level else []
            module = '.'.join([*above, *([node.module] if node.module else [])])
            names = [module, *(f'{module}.{a.name}' for a in node.names)]
        else: continue
        for name in names:
            found = name.removeprefix('fastrecipes.')
            if found in ROOMS: yield found

def test_every_notebook_of_a_room_lies_where_its_module_does():
    assert sorted(ROOMS) == sorted(r for n in NOTEBOOKS if (r := room_of(n)))
    for notebook in NOTEBOOKS:
        if room := room_of(notebook):
            folder, name = notebook.relative_to(REPO/'nbs').parent.name, re.sub(r'^\d+_', '', notebook.stem)
            assert room == '.'.join([folder, name] if folder else [name])

@pytest.mark.parametrize('room', ROOMS)
def test_a_room_imports_only_rooms_below_it(room):
    above = {found for found in imported_by(room) if ROOMS.index(found) >= ROOMS.index(room)}
    assert not above, f'{room} imports upwards: {above}'

@pytest.mark.parametrize('package', WINGS)
def test_a_package_imports_nothing_except_the_ladder_its_rungs(package):
    "`ladder/__init__.py` registers the recipes for all that import from it, so it is the one that imports upwards"
    registering = {'ladder.rungs', 'ladder.pretrained'} if package == 'ladder' else set()
    assert set(imported_by(f'{package}.__init__')) == registering

@pytest.mark.parametrize('room', [*ROOMS, 'all'])
def test_the_lines_of_a_docstring_fit_an_editor(room):
    path = REPO/'fastrecipes'/f"{room.replace('.', '/')}.py"
    text = path.read_text(encoding='utf-8')
    docstring = text.splitlines()[:ast.parse(text).body[0].end_lineno]
    assert max(map(len, docstring)) <= 120

def test_the_walk_sees_imports_inside_functions():
    assert 'lessons.sgd' in set(imported_by('ladder.rungs'))
