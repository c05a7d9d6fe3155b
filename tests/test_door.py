"What a visitor of the repository finds: the guide, the checks before a commit, the workflow, the citation"
import re, shlex, subprocess, sys, tomllib
from pathlib import Path
import pytest
import yaml
from conftest import REPO
from test_docs import blocks
from fastrecipes import __version__

GUIDE = REPO/'CONTRIBUTING.md'
WORKFLOW = REPO/'.github/workflows/test.yml'
PROGRAMS = Path(sys.executable).parent
PROJECT = tomllib.loads((REPO/'pyproject.toml').read_text(encoding='utf-8'))['project']


def read(path): return yaml.safe_load(path.read_text(encoding='utf-8'))

def is_there(program):
    "Whether a program is one of the environment that runs the tests"
    return any((PROGRAMS/f'{program}{suffix}').exists() for suffix in ('', '.exe'))


# The guide

def commands_of_the_guide():
    "All that looks like a command: the lines of its blocks, and what is code in its text"
    text = GUIDE.read_text(encoding='utf-8')
    lines = ''.join(blocks(GUIDE, 'sh')).splitlines()
    inline = re.findall(r'`((?:nbdev-|pytest|python |fastrecipes |ruff|pre-commit|\.ci/|REWRITE_)[^`]*)`', text)
    return lines + inline

def test_every_command_of_the_guide_exists():
    found = set()
    for line in commands_of_the_guide():
        words = shlex.split(line)
        while '=' in words[0]: del words[0] # A variable before the command
        program = words[0].removeprefix('.venv/bin/')
        found.add(program)
        assert program in ('python3', 'source', '.ci/run', 'pre-commit') or is_there(program), line
    assert found >= {'nbdev-export', 'nbdev-clean', 'pytest', 'python', 'ruff', 'pre-commit', 'fastrecipes'}

def test_every_path_of_the_guide_exists():
    text = GUIDE.read_text(encoding='utf-8')
    paths = re.findall(r'\b(?:nbs|fastrecipes|tests|tools|bench|docs)/[\w/.]*', text)
    assert len(paths) > 10
    for path in paths: assert (REPO/path).exists(), path

def test_the_tests_that_the_guide_names_exist():
    for name in re.findall(r'\btest_\w+(?=`)', GUIDE.read_text(encoding='utf-8')):
        assert any(f'def {name}(' in p.read_text(encoding='utf-8') for p in (REPO/'tests').glob('*.py')), name


# Checks before a commit, and the workflow

def test_the_checks_before_a_commit_are_programs_of_the_environment():
    hooks = [hook for repo in read(REPO/'.pre-commit-config.yaml')['repos'] for hook in repo['hooks']]
    entries = [shlex.split(hook['entry']) for hook in hooks]
    assert {entry[0] for entry in entries} >= {'nbdev-clean', 'nbdev-export', 'ruff'}
    for program, *rest in entries:
        assert is_there(program), program
        for path in rest: assert '/' not in path or (REPO/path).exists(), path

def pythons(job):
    "The versions of Python that a job of the workflow runs"
    if 'strategy' in job: return job['strategy']['matrix']['python']
    return [step['with']['python-version'] for step in job['steps'] if 'python-version' in step.get('with', {})]

def test_the_workflow_runs_every_python_that_is_promised_on_every_system():
    promised = [c.split(' :: ')[-1] for c in PROJECT['classifiers'] if re.search(r'Python :: 3\.\d', c)]
    jobs = read(WORKFLOW)['jobs']
    assert pythons(jobs['tests']) == promised
    assert [s.split('-')[0] for s in jobs['tests']['strategy']['matrix']['system']] == ['ubuntu', 'macos', 'windows']
    assert pythons(jobs['lowest']) == [promised[0]] == [PROJECT['requires-python'].removeprefix('>=')]
    assert pythons(jobs['newest']) == [promised[-1]]

def test_the_workflow_takes_actions_of_others_by_commit():
    used = re.findall(r'uses: (.+)', WORKFLOW.read_text(encoding='utf-8'))
    assert len(used) >= 8
    for action in used: assert re.fullmatch(r'[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+', action), action


# Forms of others

@pytest.mark.parametrize('schema, file', [
    ('vendor.citation-file-format', 'CITATION.cff'),
    ('vendor.github-workflows', '.github/workflows/test.yml'),
    ('vendor.github-issue-forms', '.github/ISSUE_TEMPLATE/bug.yml'),
], ids=['citation', 'workflow', 'bug'])
def test_a_file_has_the_form_that_its_readers_expect(schema, file):
    command = [sys.executable, '-m', 'check_jsonschema', '--builtin-schema', schema, REPO/file]
    r = subprocess.run(command, capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr

def test_the_citation_is_of_this_version_and_these_authors():
    citation = read(REPO/'CITATION.cff')
    assert str(citation['version']) == __version__
    assert citation['license'] == PROJECT['license']
    assert [a['name'] for a in citation['authors']] == [a['name'] for a in PROJECT['authors']]

def test_the_form_for_bugs_asks_for_the_versions():
    labels = [field['attributes']['label'] for field in read(REPO/'.github/ISSUE_TEMPLATE/bug.yml')['body']]
    assert any('fastrecipes --version --json' in label for label in labels)
