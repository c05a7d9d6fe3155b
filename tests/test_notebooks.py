"Every notebook runs from top to bottom: its cells hold the asserts that belong to the explanations"
import os, sys
from pathlib import Path
import forks, pytest
from conftest import REPO

NOTEBOOKS = sorted(p for p in (REPO/'nbs').glob('*.ipynb') if not p.name.startswith('_'))


def test_there_are_notebooks(): assert len(NOTEBOOKS) >= 10


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.stem)
def test_runs(notebook, found):
    text, (_, has) = notebook.read_text(encoding='utf-8'), found
    missing = [name for name, there in has.items() if not there and any(mark in text for mark in (f"load('{name}'", f" {name}()", f"/'{name}'"))]
    if missing: pytest.skip(f"{notebook.stem} needs {' and '.join(missing)}, neither in fastai's data folder nor in ../shared/data")
    command = [sys.executable, Path(sys.executable).with_name('nbdev-test'), notebook, '--n-workers', '0']
    r = forks.run(command, cwd=REPO, env=os.environ | {'MPLBACKEND': 'agg'}, capture_output=True, text=True, timeout=1200)
    assert r.returncode == 0, r.stdout[-4000:] + r.stderr[-4000:]
