"What becomes of a command whose output cannot be written, and whether it leaves files open"
import io, os, subprocess, sys
from pathlib import Path
import pytest
from fastrecipes.cli import main

pytestmark = pytest.mark.skipif(not Path('/dev/full').exists(), reason='there is no /dev/full')

def ended(monkeypatch, out, *args) -> int:
    "The exit status of a command that writes to `out`"
    monkeypatch.setattr(sys, 'stdout', out)
    with pytest.raises(SystemExit) as e: main(list(args))
    return e.value.code

def full(**how): return open('/dev/full', 'w', **how)

def one_line(capsys) -> bool:
    "Whether standard error has a single line, which says that the output cannot be written"
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('fastrecipes: ')]
    return len(lines) == 1 and 'No space left' in lines[0] and 'output' in lines[0]

LIGHT = ['list', 'list mlp', 'list --ini', '', 'fit', '--help', 'compare -h', '--version', '--version --json', 'cache']
TRAINS = ['check digits', 'check digits --json', 'fit similarity digits -q', 'compare digits -r similarity -q',
          'compare digits -r similarity --json -q']

@pytest.mark.parametrize('command', LIGHT + TRAINS)
@pytest.mark.parametrize('buffered', [True, False])
def test_a_full_disk_is_one_line(command, buffered, monkeypatch, capsys):
    out = full() if buffered else io.TextIOWrapper(open('/dev/full', 'wb', buffering=0), write_through=True)
    with out: assert ended(monkeypatch, out, *command.split()) == 2
    assert one_line(capsys)

def test_a_prediction_is_one_line_too(monkeypatch, capsys, tmp_path, digits):
    from PIL import Image
    from fastrecipes.keep.store import save
    from fastrecipes.ladder.recipe import fit
    save(fit('linear', digits, epochs=1, device='cpu'), tmp_path/'model')
    Image.fromarray(digits.valid.images[0, 0].numpy()).save(tmp_path/'0.png')
    for form in ([], ['--json'], ['--csv']):
        with full() as out:
            assert ended(monkeypatch, out, 'predict', str(tmp_path/'model'), str(tmp_path/'0.png'), *form) == 2
        assert one_line(capsys)

@pytest.mark.parametrize('command', ['list', '', 'check digits', 'compare digits -r similarity,linear -q'])
def test_a_pipe_that_is_closed_ends_it_quietly(command, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, 'stderr', sys.stderr) # click replaces it
    out = open(writer, 'w')
    status = ended(monkeypatch, out, *command.split())
    out.buffer.raw.close()
    assert status == 1 and 'fastrecipes: ' not in capsys.readouterr().err

@pytest.mark.parametrize('unbuffered', ['', '1'])
@pytest.mark.parametrize('command, out', [('list', 'full'), ('', 'full'), ('list', 'closed')])
def test_nothing_follows_when_python_ends(command, out, unbuffered, monkeypatch):
    monkeypatch.setenv('PYTHONUNBUFFERED', unbuffered)
    python = [sys.executable, '-W', 'error::ResourceWarning', '-m', 'fastrecipes', *command.split()]
    shell = '"$@" > /dev/full' if out == 'full' else '"$@" >&-'
    done = subprocess.run(['sh', '-c', shell, 'sh', *python], capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == ((2, 1) if out == 'full' else (0, 0)), done.stderr

def test_an_error_of_the_work_is_not_one_of_the_output(monkeypatch, capsys):
    def fail(*args, **kwargs): raise OSError(28, 'No space left on device')
    monkeypatch.setattr('fastrecipes.data.sources.load', fail)
    with pytest.raises(SystemExit): main(['compare', 'digits', '-r', 'similarity', '-q'])
    assert 'the output' not in capsys.readouterr().err

COMMANDS = """
import gc, sys
from fastrecipes.cli import main

def command(*args):
    try: main(list(args))
    except SystemExit as e: print('status', e.code)
    gc.collect()

command('compare', 'pictures', '-r', 'similarity,linear', '-q', '--out', 'runs')
command('compare', 'pictures', '-r', 'similarity,linear', '-q', '--out', 'runs', '--resume')
command('report', 'runs')
command('fit', 'linear', 'pictures', '-q', '--epochs', '2', '--checkpoint-every', '1', '--out', 'kept')
command('predict', 'kept', 'pictures', '--show', 'shown.png')
command('check', 'pictures')
command('cache')
command('cache', '--clear')
command('predict', 'kept', 'no such file.png')
"""

def test_no_file_stays_open(image_folder, tmp_path, monkeypatch):
    image_folder({'dark': 10, 'light': 10}).rename(tmp_path/'pictures')
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'cache'))
    python = [sys.executable, '-W', 'error::ResourceWarning', '-c', COMMANDS]
    done = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True)
    status = [line.split()[1] for line in done.stdout.splitlines() if line.startswith('status ')]
    assert status == ['0'] * 8 + ['1'] and (tmp_path/'runs/report.html').exists()
    assert 'ResourceWarning' not in done.stderr, done.stderr
