"""A plain user, with Python's own filters, sees no warning that only fastai could act on"""
import os, subprocess, sys
import pytest

ENTRIES = {
    'star import': ['-c', 'from fastrecipes.all import *'],
    'a recipe': ['-c', "from fastrecipes.ladder.recipe import fit; fit('similarity', 'digits', device='cpu')"],
    'the command': ['-m', 'fastrecipes', 'fit', 'similarity', 'digits', '--quiet']}

def stderr(*args) -> str:
    env = {name: v for name, v in os.environ.items() if name != 'PYTHONWARNINGS'}
    return subprocess.run([sys.executable, *args], env=env, capture_output=True, text=True, check=True).stderr

@pytest.mark.parametrize('entry', ENTRIES)
def test_nothing_is_said_on_standard_error(entry):
    assert stderr(*ENTRIES[entry]) == ''

def test_other_warnings_are_shown_as_ever():
    said = stderr('-c', '''
import fastrecipes, warnings
warnings.warn('`torch.jit.trace` is deprecated', FutureWarning)
warnings.warn('`torch.jit.script` is slow')''')
    assert 'torch.jit.trace' in said and 'torch.jit.script' in said
