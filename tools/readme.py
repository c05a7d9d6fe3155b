"""Generate README.md from nbs/index.ipynb: `python tools/readme.py`; with `--check`, report whether it is up to date.

nbdev-readme needs Quarto. This needs nbconvert, which comes with Jupyter. Lines with directives are left out, and so
are cells marked `#| hide` and the input of cells marked `#| hide-input`. Pictures go to nbs/index_files, with the text
of `#| fig-alt:`. A directive can also be an entry of `nbdev` in a cell's metadata, where readers do not see it."""
import re, sys
from pathlib import Path
import nbformat
from nbconvert import MarkdownExporter

REPO = Path(__file__).resolve().parent.parent
FILES = 'nbs/index_files'
NOTE = '<!-- Generated from nbs/index.ipynb by tools/readme.py; edit the notebook. -->'


def directives(cell):
    "The directives of a cell, name to value"
    lines = re.findall(r'^#\| *([\w-]+):? *(.*)$', cell.source, re.M)
    return dict(lines) | cell.metadata.get('nbdev', {})


def visible(nb):
    "`nb` without hidden cells and directive lines"
    nb.cells = [c for c in nb.cells if 'hide' not in directives(c)]
    for c in nb.cells:
        if 'hide-input' in directives(c): c.metadata['transient'] = {'remove_source': True}
        c.source = re.sub(r'^#\|.*\n', '', c.source, flags=re.M)
    return nb


def readme():
    "The text of README.md, and the pictures by their paths in the repository"
    nb = nbformat.read(REPO/'nbs/index.ipynb', as_version=4)
    alts = iter([d['fig-alt'] for c in nb.cells if 'fig-alt' in (d := directives(c))])
    nb = visible(nb)
    nb.metadata['language_info'] = {'name': 'python'}
    exporter = MarkdownExporter()
    for kind in ('text/html', 'text/latex'):  # GitHub shows the plain text of a DataFrame better than its HTML
        for c in nb.cells:
            for o in c.get('outputs', []): o.get('data', {}).pop(kind, None)
    body, resources = exporter.from_notebook_node(nb, resources={'output_files_dir': FILES})
    body = re.sub(r'!\[png\]', lambda m: f'![{next(alts)}]', body)
    body = re.sub(r'\n{3,}', '\n\n', re.sub(r'[ \t]+$', '', body, flags=re.M)).strip() + '\n'
    return f'{NOTE}\n\n{body}', resources['outputs']


def main():
    text, pictures = readme()
    wanted = {REPO/'README.md': text.encode(), **{REPO/p: data for p, data in pictures.items()}}
    stale = [p for p, data in wanted.items() if not p.exists() or p.read_bytes() != data]
    stale += [p for p in (REPO/FILES).glob('*') if p not in wanted]
    if '--check' in sys.argv:
        names = ', '.join(str(p.relative_to(REPO)) for p in stale)
        if stale: sys.exit(f'not up to date: {names}; run python tools/readme.py')
        return
    for p in stale:
        if p in wanted:
            p.parent.mkdir(exist_ok=True)
            p.write_bytes(wanted[p])
        else: p.unlink()


if __name__ == '__main__': main()
