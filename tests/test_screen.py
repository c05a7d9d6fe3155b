"""What the commands show, on terminals of several sizes and in a pipe: tests/screens holds the text

To rewrite tests/screens after a change: REWRITE_SCREENS=1 pytest -n 0 tests/test_screen.py"""
import os, re, shutil, subprocess, sys, time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
import pytest
from rich.cells import cell_len
import screens
from conftest import REPO

FOLDER = REPO/'tests/screens'
SIZES = {'compare': '80x24 80x50 160x50 60x50 40x50 pipe', 'compare-four': '80x24 80x50 160x50',
         'compare-costs-details': '80x90 160x90 40x150 pipe', 'compare-repeats': '80x50', 'compare-stopped': '80x50',
         'compare-left-out': '80x50',
         'fit': '80x24 80x50 160x50 40x50 pipe', 'check': '80x24 80x50 160x50 pipe', 'cache': '80x24 160x50 pipe',
         'list': '80x24 80x50 160x50 60x50 pipe', 'list-mlp': '80x50 160x50 60x50', 'predict': '80x24 pipe',
         'help': '80x50 pipe', 'compare-help': '80x120', 'predict-help': '80x50'}
CASES = [(name, size) for name, sizes in SIZES.items() for size in sizes.split()]


class Stream(StringIO):
    "Standard output and standard error of a terminal, or of a pipe"
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal
    def isatty(self): return self.terminal

def shown(monkeypatch, name, size, term='dumb'):
    "What a screen of this size shows at the end, on a terminal that cannot move its cursor"
    terminal = size != 'pipe'
    columns, lines = size.split('x') if terminal else ('33', '11') # A pipe inherits the variables of a terminal
    for k, v in dict(TERM=term, COLUMNS=columns, LINES=lines).items(): monkeypatch.setenv(k, v)
    for k in ('NO_COLOR', 'FORCE_COLOR', 'TTY_COMPATIBLE', 'CLICOLOR_FORCE'): monkeypatch.delenv(k, raising=False)
    stream = Stream(terminal)
    with redirect_stdout(stream), redirect_stderr(stream): screens.SHOWS[name]()
    return stream.getvalue()

def visible(text, size):
    "The lines that a terminal of this size has when the next prompt stands in its last line"
    lines = [line.rstrip() for line in text.splitlines()]
    return lines if size == 'pipe' else lines[-(int(size.split('x')[1]) - 1):]


@pytest.mark.parametrize('name, size', CASES, ids=[f'{n} {s}' for n, s in CASES])
def test_the_screen_is_as_it_is_stored(monkeypatch, name, size):
    text = '\n'.join(visible(shown(monkeypatch, name, size), size)) + '\n'
    file = FOLDER/f'{name}-{size}.txt'
    if os.environ.get('REWRITE_SCREENS'): file.write_text(text)
    assert file.exists(), 'run REWRITE_SCREENS=1 pytest -n 0 tests/test_screen.py, and look at it'
    assert text == file.read_text()


def test_no_stored_screen_is_left_over():
    assert sorted(f.name for f in FOLDER.iterdir()) == sorted(f'{n}-{s}.txt' for n, s in CASES)


@pytest.mark.parametrize('name, size', CASES, ids=[f'{n} {s}' for n, s in CASES])
def test_no_line_is_wider_than_the_screen(monkeypatch, name, size):
    width = 80 if size == 'pipe' else int(size.split('x')[0])
    if name == 'cache' and size == 'pipe': pytest.skip('paths are whole in a pipe')
    for line in shown(monkeypatch, name, size).splitlines(): assert cell_len(line.rstrip()) <= width, line


def test_eleven_rungs_and_their_verdict_fit_on_forty_lines(monkeypatch):
    lines = shown(monkeypatch, 'compare', '80x50').splitlines()
    assert len(lines) <= 40
    rows = [line for line in lines if re.match(rf"({'|'.join(screens.RUNGS)}) +(\d|failed)", line)]
    assert len(rows) == len(screens.RUNGS)


def test_a_pipe_has_the_same_order_and_no_controls(monkeypatch):
    piped, terminal = (shown(monkeypatch, 'compare', size) for size in ('pipe', '80x50'))
    assert not re.search(r'[\x00-\x09\x0b-\x1f\x7f]', piped) and not re.search(' $', piped, re.M) and piped.isascii()
    def first_words(text): return [line.split()[0] for line in text.splitlines() if line.strip() and line[0] != ' ']
    assert first_words(piped)[:12] == first_words(terminal)[:12] == ['recipe', *screens.RUNGS]


@pytest.mark.parametrize('name', ['help', 'compare-help', 'predict', 'list', 'compare'])
@pytest.mark.parametrize('columns', ['33', '80', '200'])
def test_a_pipe_takes_no_width_from_the_variables_of_a_terminal(monkeypatch, name, columns):
    stored = shown(monkeypatch, name, 'pipe')
    stream = Stream(False)
    monkeypatch.setenv('COLUMNS', columns)
    with redirect_stdout(stream), redirect_stderr(stream): screens.SHOWS[name]()
    assert stream.getvalue() == stored
    if name == 'help': assert stored == shown(monkeypatch, name, '80x50')

@pytest.mark.parametrize('variables, colour', [
    ({}, True), (dict(NO_COLOR='1'), False), (dict(TERM='dumb'), False),
], ids=['plain', 'NO_COLOR', 'dumb'])
def test_colours_are_for_terminals_that_want_them(monkeypatch, variables, colour):
    shown(monkeypatch, 'list', '80x24') # Clears what this process has
    for k, v in (dict(TERM='xterm-256color', COLUMNS='80', LINES='24') | variables).items(): monkeypatch.setenv(k, v)
    out, err = Stream(True), Stream(False)
    with redirect_stdout(out), redirect_stderr(err): screens.show_compare()
    codes = re.findall(r'\x1b\[([\d;]*)m', out.getvalue())
    assert any(re.search(r'(^|;)3[0-7]', c) for c in codes) is colour
    assert '\x1b[?' not in out.getvalue() and err.getvalue() == ''


@pytest.mark.parametrize('out, err', [
    (True, False), (False, True), (True, True),
], ids=['table on the terminal', 'bar on the terminal', 'both'])
def test_each_row_is_printed_once_wherever_it_goes(monkeypatch, out, err):
    for k, v in dict(TERM='xterm', COLUMNS='80', LINES='24').items(): monkeypatch.setenv(k, v)
    for k in ('NO_COLOR', 'FORCE_COLOR'): monkeypatch.delenv(k, raising=False)
    streams = Stream(out), Stream(err)
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]): screens.show_compare()
    table, progress = (re.sub(r'\x1b\[[\d;?]*[A-Za-z]', '', s.getvalue()) for s in streams)
    for name in screens.RUNGS:
        assert len(re.findall(rf'^{name} +(?:\d|failed)', table, re.M)) == 1
        assert not re.search(rf'^{name} ', progress, re.M)
    assert ('11 of 11  my_deep_convnet' in progress) is err
    assert streams[1].getvalue().count('\x1b[?25l') == streams[1].getvalue().count('\x1b[?25h')


def test_a_window_that_has_become_narrow_gets_its_own_titles(monkeypatch):
    stream = Stream(True)
    for k, v in dict(TERM='dumb', COLUMNS='80', LINES='24').items(): monkeypatch.setenv(k, v)
    from fastrecipes.commands.compare import TableProgress
    print_row, rows = TableProgress._row, []
    def row(self):
        rows.append(self.task.name)
        if len(rows) == 3: monkeypatch.setenv('COLUMNS', '60')
        print_row(self)
    monkeypatch.setattr(TableProgress, '_row', row)
    with redirect_stdout(stream), redirect_stderr(Stream(False)): screens.show_compare()
    table = stream.getvalue().split('\n\n')[0].splitlines()
    heads = [i for i, line in enumerate(table) if line.startswith('recipe')]
    assert heads == [0, 3] and all(len(line.rstrip()) <= 60 for line in table[3:])


# A real terminal

PYTHON = f'env -u NO_COLOR -u COLUMNS -u LINES {sys.executable} -W ignore'
COMPARE = f'{PYTHON} -m fastrecipes compare -r similarity,sgd,linear --classes 3,7'

def tmux(*args):
    "What tmux says; its server has a socket of the test's own, since that of another test may still be ending"
    return subprocess.run(['tmux', '-S', 'socket', *args], capture_output=True, text=True, check=True).stdout

@pytest.fixture
def terminal(tmp_path):
    "Run a command in tmux, in a window of this size; gives what its pane shows at the end, and all above it"
    if not shutil.which('tmux'): pytest.skip('tmux is not installed')
    def run(command, columns, lines, during=lambda: None):
        done = tmp_path/'done'
        script = tmp_path/'run.sh'
        script.write_text(f'cd {tmp_path}\n{command}\ntouch {done}\nsleep 60\n')
        tmux('new-session', '-d', '-x', str(columns), '-y', str(lines), f'sh {script}')
        for _ in range(1200):
            during()
            if done.exists(): break
            time.sleep(.1)
        assert done.exists(), tmux('capture-pane', '-p')
        time.sleep(.3)
        return tmux('capture-pane', '-p', '-S', '-500').rstrip('\n').splitlines()
    yield run
    subprocess.run(['tmux', '-S', 'socket', 'kill-server'], capture_output=True)

@pytest.mark.slow
@pytest.mark.parametrize('size', ['80x24', '80x50', '160x50'])
@pytest.mark.parametrize('name', ['compare', 'fit'])
def test_a_real_terminal_ends_with_the_stored_screen(terminal, name, size):
    columns, lines = map(int, size.split('x'))
    seen = terminal(f'{PYTHON} {REPO}/tests/screens.py {name}', columns, lines)
    stored = (FOLDER/f'{name}-{size}.txt').read_text().splitlines()
    assert [line.rstrip() for line in visible('\n'.join(seen), size)] == stored

@pytest.mark.slow
@pytest.mark.parametrize('widths', [(80,), (80, 100, 70)], ids=['80', 'resized'])
def test_the_real_command_prints_each_row_once_and_none_too_wide(terminal, widths):
    calls = []
    def during():
        calls.append(0)
        if len(widths) > 1: tmux('resize-window', '-x', str(widths[len(calls) // 10 % len(widths)]), '-y', '24')
    seen = terminal(COMPARE, 80, 24, during)
    for name in ('similarity', 'sgd', 'linear'):
        assert sum(bool(re.match(rf'{name} +\d', line)) for line in seen) == 1, seen
    if len(widths) == 1:
        assert max(map(cell_len, seen)) <= 80
        assert sum(line.startswith('recipe') for line in seen) == 1 and not any(' of 3 ' in line for line in seen)

@pytest.mark.slow
def test_ctrl_c_leaves_the_rows_that_are_finished_once(terminal, tmp_path):
    (tmp_path/'settings.ini').write_text('[fastrecipes]\n[linear]\nepochs = 100000\n')
    pressed = []
    def during(): # Once: a second Ctrl-C skips the table
        if pressed or not re.search(r'linear +epoch \d', tmux('capture-pane', '-p')): return
        pressed.append(tmux('send-keys', 'C-c'))
    seen = terminal(f'trap : INT\n{COMPARE}', 80, 24, during)
    for name in ('similarity', 'sgd'): assert sum(bool(re.match(rf'{name} +\d', line)) for line in seen) == 1, seen
    assert any(line.endswith('not finished: linear') for line in seen), seen
    assert seen[-1].startswith('fastrecipes: stopped; 2 of 3 ')
    assert sum(line.startswith('73 images cannot choose') for line in seen) == 1, seen
