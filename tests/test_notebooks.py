"Every notebook runs from top to bottom: its cells hold the asserts that belong to the explanations"
import ast, json, os, re, subprocess, sys
from pathlib import Path
import pytest
from conftest import REPO, must_have

NOTEBOOKS = sorted(p for p in (REPO/'nbs').rglob('*.ipynb') if not p.name.startswith('_'))
NAMES = {'mnist_sample': 'mnist_sample', 'mnist': 'mnist', 'bitmoji': 'bitmoji_bw'} # A set, and what a cell calls it
NOT_RUN = {'export', 'exports', 'exporti', 'notest', 'slow',
           'default_exp'} # Cells that define something or are left out
SLOW = { # More than 20 seconds of a processor
    'backprop', 'deep', 'training', 'faces', 'processes', 'rungs', 'pretrained', 'chance', 'curves', 'failures',
    'pictures', 'rules', 'verdict', 'comparison', 'climb', 'store', 'report_figures', 'report_page', 'report', 'live',
    'live_explorer', 'strokes', 'kept_ladder', 'drawing', 'index', 'imagenet', 'augmentation', 'crossing',
}


def run_cells(notebook):
    "What the cells hold that a test of the notebook runs, without those that define what is exported"
    for cell in json.loads(notebook.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        directives = [*re.findall(r'^#\| *(\w+)', source, re.M), *cell['metadata'].get('nbdev', {})]
        if cell['cell_type'] == 'code' and not NOT_RUN.intersection(directives): yield source

def needed(notebook):
    "The sets that a notebook loads: their names are among its strings, or their functions are called"
    said = set()
    for source in run_cells(notebook):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant): said.add(node.value)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name): said.add(node.func.id)
    return [s for s, name in NAMES.items() if name in said]

def case(notebook):
    marks = [pytest.mark.data] if needed(notebook) else []
    if re.sub(r'^\d+_', '', notebook.stem) in SLOW: marks.append(pytest.mark.slow)
    return pytest.param(notebook, id=notebook.stem, marks=marks)


def test_there_are_notebooks(): assert len(NOTEBOOKS) >= 10


@pytest.mark.parametrize('notebook', [case(n) for n in NOTEBOOKS])
def test_runs(notebook, found):
    must_have(found, *needed(notebook))
    command = [sys.executable, Path(sys.executable).with_name('nbdev-test'), notebook, '--n-workers', '0',
               '--cell-timeout', '0'] # The limit below is that of the whole notebook
    env = os.environ | {'MPLBACKEND': 'agg'}
    r = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, timeout=2400)
    assert r.returncode == 0, r.stdout[-4000:] + r.stderr[-4000:]
