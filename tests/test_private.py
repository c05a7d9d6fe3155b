"What is meant for others says nothing of the machine that made it: no host, no user, no place on its disk"
import json, platform, sys
from pathlib import Path
import pytest
from fastrecipes.text import command_without_paths, folder_name, without_paths

HOST, USER = 'host-of-somebody', 'user-of-somebody'

RUN = f'''
import getpass, platform, socket, sys
platform.node = socket.gethostname = lambda: {HOST!r}
getpass.getuser = lambda: {USER!r}
from fastrecipes.ladder.recipe import recipe
from fastrecipes.errors import InputError

@recipe(after='similarity')
def breaking(images, run):
    "Fails, and names a file"
    open('@PLACE@/{USER}/no such file.txt')

@recipe(after='breaking')
def refusing(images, run):
    "Fails in our words"
    raise InputError('@PLACE@/{USER}/weights.bin: is damaged; mend @PLACE@/{USER}/weights.bin')

from fastrecipes.cli import main
main(sys.argv[1:])
'''


@pytest.fixture
def place(image_folder, tmp_path, monkeypatch):
    "A user's folder with images in it, and the command there"
    home = tmp_path/'disk of somebody'/USER
    home.mkdir(parents=True)
    image_folder({'dark': 10, 'light': 10}).rename(home/'pictures')
    (home/'pictures'/'dark'/'damaged.png').write_bytes(b'no image')
    (tmp_path/'run.py').write_text(RUN.replace('@PLACE@', str(home)))
    env = dict(HOME=str(home), USER=USER, LOGNAME=USER, HOSTNAME=HOST, TMPDIR=str(home))
    for name, value in env.items(): monkeypatch.setenv(name, value)
    def command(*args):
        import subprocess
        command = [sys.executable, '-W', 'ignore', tmp_path/'run.py', *map(str, args)]
        return subprocess.run(command, cwd=home, capture_output=True, text=True)
    command.home = home
    return command

def told(folder) -> dict:
    "What is in each file of a folder, compressed parts as they are before compression"
    from PIL import Image
    found = {}
    for f in sorted(Path(folder).rglob('*')):
        if not f.is_file(): continue
        found[f.name] = f.read_bytes() + f.name.encode()
        if f.suffix == '.png': found[f.name] += repr(Image.open(f).info).encode()
    return found

def private(data:bytes, place) -> list:
    "What of this machine is said in it"
    folders = [place.home, Path(sys.prefix).parent, Path(__file__).parent]
    marks = [HOST, USER, 'disk of somebody', platform.node(), *map(str, folders)]
    return [m for m in marks if len(m) > 3 and m.encode() in data]


@pytest.mark.slow
def test_a_comparison_names_nothing_of_the_machine(place):
    out = place.home/'out'
    options = ['--skip-bad', '-r', 'similarity,breaking,refusing,linear', '--learning-curve', 'linear']
    r = place('compare', place.home/'pictures', *options, f'--out={out}', '--device', 'cpu')
    assert r.returncode == 2, r.stderr # Some rungs failed
    assert private((r.stdout + r.stderr).encode(), place), 'the terminal may say where'
    comparison = json.loads((out/'comparison.json').read_text(encoding='utf-8'))
    assert comparison['source'] == 'pictures'
    assert comparison['command'] == f"fastrecipes compare pictures {' '.join(options)} --out=out --device cpu"
    reasons = {r['recipe']: r['reason'] for r in comparison['rungs'] if r['status'] == 'failed'}
    assert 'no such file.txt' in reasons['breaking'] and reasons['refusing'] == 'weights.bin: is damaged'
    assert any('damaged.png' in note for note in comparison['notes'])
    files = told(out)
    assert {'report.html', 'comparison.json', 'comparison.csv', 'comparison.png'} <= files.keys()
    assert {name: found for name, data in files.items() if (found := private(data, place))} == {}
    json_only = place('compare', place.home/'pictures', '--skip-bad', '-r', 'similarity,breaking', '--json', '--quiet')
    assert private(json_only.stdout.encode(), place) == []
    place('report', out, '--out', place.home/'again')
    assert private(told(place.home/'again')['report.html'], place) == []

def test_a_kept_model_names_nothing_of_the_machine(place):
    r = place('fit', 'linear', place.home/'pictures', '--skip-bad', '--epochs', '2', '--out', place.home/'kept')
    assert r.returncode == 0, r.stderr
    place('predict', place.home/'kept', place.home/'pictures', '--show', place.home/'kept'/'shown.png')
    place('export', place.home/'kept', '--onnx', place.home/'kept'/'m.onnx')
    files = told(place.home/'kept')
    assert {'card.json', 'model.safetensors', 'history.png', 'shown.png', 'm.onnx'} == files.keys()
    assert json.loads(files['card.json'].removesuffix(b'card.json'))['source']['name'] == 'pictures'
    assert {name: found for name, data in files.items() if (found := private(data, place))} == {}


@pytest.mark.parametrize('path, name', [('/a/b', 'b'), ('/a/b/', 'b'), ('b', 'b'), ('../x/b/.', 'b'), ('/', '/')])
def test_the_name_of_a_folder_is_its_last_part(path, name): assert folder_name(path) == name

def test_the_name_of_the_folder_we_are_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_name('.') == tmp_path.name

@pytest.mark.parametrize('text, wanted', [
    ("[Errno 2] No such file or directory: '/data/some body/my set/3.png'",
     "[Errno 2] No such file or directory: '3.png'"),
    ('/data/me/3.png: is empty; take another than /data/me/3.png', '3.png: is empty; take another than 3.png'),
    ('in (/a/b/c) and [/a/d], file:///a/e.html', 'in (c) and [d], e.html'),
    (r"no 'C:\Users\me\x.png', C:\Users\me\y.png", "no 'x.png', y.png"),
    ('/Volumes/Jane Doe/set/3.png: is empty: see /a/b', '3.png: is empty: see b'),
    (r'D:\Jane Doe\set\3.png: is empty', '3.png: is empty'),
    ('3/7, and/or, a/b, 1 / 2, https://docs.fast.ai/data', None),
    ('', None),
])
def test_of_absolute_paths_the_last_part_stays(text, wanted):
    assert without_paths(text) == (text if wanted is None else wanted)

def test_the_home_folder_may_have_spaces(monkeypatch):
    monkeypatch.setenv('HOME', '/people/some body')
    assert without_paths('/people/some body/set/3.png: is empty') == '3.png: is empty'

@pytest.mark.parametrize('command, wanted', [
    ("fastrecipes compare '/a b/set' -o /a/out --seed 3", 'fastrecipes compare set -o out --seed 3'),
    ('fastrecipes compare path/to/set --out=/a/out', 'fastrecipes compare path/to/set --out=out'),
    ('fastrecipes compare -o/abs/out -qo/abs/out -o=/abs/out --out=/a=b/out',
     'fastrecipes compare -oout -qoout -o=out --out=out'),
    ('fastrecipes compare -opath/to/out -q -r similarity,mlp', None),
    ("fastrecipes compare '-o/Volumes/Jane Doe/out'", 'fastrecipes compare -oout'),
    ("fastrecipes compare '/a/b", "fastrecipes compare 'b"),
])
def test_of_absolute_paths_in_a_command_the_last_part_stays(command, wanted):
    assert command_without_paths(command) == (wanted or command)
