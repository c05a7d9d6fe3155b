"What a reader of the notebooks sees, and that nbdev's documentation is made of all of them"
import json, re, shutil, subprocess, sys
import pytest
from conftest import REPO

NOTEBOOKS = sorted((REPO/'nbs').rglob('*.ipynb'))


def cells_of(notebook): return json.loads(notebook.read_text(encoding='utf-8'))['cells']

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.stem)
def test_no_text_of_a_notebook_shows_a_directive(notebook):
    texts = [''.join(c['source']) for c in cells_of(notebook) if c['cell_type'] != 'code']
    assert texts and not [t[:60] for t in texts if re.search(r'^\s*#\|', t, re.M)]

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.stem)
def test_a_cell_of_code_shows_no_directive_but_that_it_is_exported(notebook):
    "The others lie in cells' metadata: `nbdev-clean --to-meta 'hide notest slow hide-input fig-alt'` moves them there"
    shown = [d for c in cells_of(notebook) for d in re.findall(r'^#\| *([\w-]+)', ''.join(c['source']), re.M)]
    assert set(shown) <= {'export'}

def test_every_module_begins_with_what_its_notebook_says_first():
    for notebook in NOTEBOOKS:
        exported = re.search(r'"default_exp": "([\w.]+)"', notebook.read_text(encoding='utf-8'))
        if exported is None: continue
        title, intro = (''.join(c['source']) for c in cells_of(notebook)[:2])
        summary = re.search(r'^> (.+)$', title, re.M)[1]
        module = (REPO/'fastrecipes'/f'{exported[1].replace(".", "/")}.py').read_text(encoding='utf-8')
        assert module.lstrip('r').startswith(f'"""{summary}\n\n{intro[:200]}'), notebook.name

PROCESS = '''
from nbdev.serve import proc_nbs
if __name__ == '__main__': proc_nbs(n_workers=0)
'''

@pytest.mark.slow
def test_nbdev_makes_the_documentation_of_every_notebook(tmp_path):
    shutil.copy(REPO/'pyproject.toml', tmp_path)
    for folder in ('nbs', 'fastrecipes'):
        shutil.copytree(REPO/folder, tmp_path/folder, ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path/'process.py').write_text(PROCESS)
    r = subprocess.run([sys.executable, '-W', 'ignore', 'process.py'], cwd=tmp_path, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr[-3000:]
    exporting = [n.relative_to(REPO/'nbs') for n in NOTEBOOKS if 'default_exp' in n.read_text(encoding='utf-8')]
    pages = [(tmp_path/'_proc'/n).read_text(encoding='utf-8') for n in exporting]
    assert len(pages) >= 28 and all('show_doc' in page for page in pages)
