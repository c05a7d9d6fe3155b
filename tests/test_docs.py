"README and docs: every command in them can be parsed, every import works, and every link leads somewhere"
import ast, importlib, re, shlex
import click
import pytest
from conftest import REPO

PAGES = [REPO/'README.md', REPO/'CONTRIBUTING.md', *sorted((REPO/'docs').glob('*.md'))]
by_page = pytest.mark.parametrize('page', PAGES, ids=lambda p: p.stem)


def blocks(page, language):
    "The fenced blocks of one language"
    return re.findall(rf'^```{language}\n(.*?)^```', page.read_text(encoding='utf-8'), re.M | re.S)


def anchors(page):
    "The names that GitHub gives to a page's headings"
    headings = re.findall(r'^#+ (.+)$', page.read_text(encoding='utf-8'), re.M)
    return [re.sub(r'[^\w\- ]', '', h).lower().replace(' ', '-') for h in headings]


def parse(command, args):
    "Parse `args` as the command line would, sub-commands included, without running anything"
    context = command.make_context(command.name, list(args), help_option_names=['-h', '--help']) # As its group has
    if isinstance(command, click.Group):
        _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parse(command, rest)


def test_there_are_pages():
    assert len(PAGES) >= 7
    assert sum(len(blocks(p, 'sh')) for p in PAGES) >= 15


@by_page
def test_every_command_can_be_parsed(page):
    from fastrecipes.cli import cli
    for line in ''.join(blocks(page, 'sh')).splitlines():
        words = shlex.split(line.split('&&')[-1], comments=True)
        start = next((i for i, w in enumerate(words) if w.rsplit('/')[-1] == 'fastrecipes'), None)
        if start is None: continue
        args = words[start + 1:]
        if '>' in args: args = args[:args.index('>')]
        parse(cli, args)


@by_page
def test_every_import_works(page):
    for block in blocks(page, 'python'):
        for node in ast.parse(block).body:
            if not isinstance(node, ast.ImportFrom): continue
            module = importlib.import_module(node.module)
            for name in node.names:
                if name.name == '*' or hasattr(module, name.name): continue
                importlib.import_module(f'{node.module}.{name.name}')


@by_page
def test_every_link_leads_somewhere(page):
    links = re.findall(r'\]\(([^)\s]+)\)', page.read_text(encoding='utf-8'))
    for target in (link for link in links if not link.startswith('http')):
        path, _, anchor = target.partition('#')
        there = (page.parent/path).resolve() if path else page
        assert there.exists(), f'{page.name}: {target}'
        assert not anchor or anchor in anchors(there), f'{page.name}: {target}'
