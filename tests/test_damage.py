"""A folder that came by mail: whatever was done to it, it is refused in one line, and nothing in it is run"""
import hashlib, json, os, pickle, shutil, struct, sys, tempfile
from pathlib import Path
import pytest, torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from safetensors.torch import load as from_safetensors, save as to_safetensors
from fastrecipes.errors import InputError
from fastrecipes.ladder.recipe import fit
from fastrecipes.keep.card import digest_of
from fastrecipes.keep.store import load, read_card, save
from conftest import refused
from limits import as_nobody
from made import gone, put
from processes import result_of
from test_cli import called, refused as ended
from test_store import image_set, message_of

CARD, WEIGHTS = 'card.json', 'model.safetensors'


@pytest.fixture(scope='module')
def kept(tmp_path_factory):
    "Models to be damaged, an image, and what the first says of some"
    home, s = tmp_path_factory.mktemp('kept'), image_set(10, (3, 6, 5))
    mlp = fit('mlp', s, epochs=1, hidden=(8, 4), device='cpu')
    save(mlp, home/'mlp')
    save(fit('mlp', s, epochs=2, hidden=(8, 4), seed=1, device='cpu'), home/'twin')
    save(fit('mlp', s, epochs=1, hidden=(8, 5), device='cpu'), home/'wider')
    save(fit('linear', s, epochs=1, device='cpu'), home/'linear')
    Image.fromarray(s.valid.images[0].permute(1, 2, 0).numpy()).save(home/'image.png')
    return home, s.valid.images, mlp.scores

HARMFUL = {
    'pickle.find_class', 'os.system', 'os.exec', 'os.fork', 'os.forkpty', 'os.posix_spawn', 'os.spawn',
    'subprocess.Popen', 'shutil.rmtree', 'os.remove', 'os.rename', 'os.mkdir', 'socket.connect',
}
_ran, _armed = [], False
def _hook(event, args):
    if _armed and event in HARMFUL: _ran.append((event, args))
sys.addaudithook(_hook)

@pytest.fixture(autouse=True)
def inert(kept):
    "Nothing is unpickled, started, moved or removed while a damaged model is read"
    global _armed
    _ran.clear()
    yield
    _armed = False
    assert _ran == []

def seen(folder):
    "What is in a folder, without reading it; None: it is not a folder"
    if not folder.is_dir(): return None
    about = {p.name: p.lstat() for p in folder.iterdir()}
    return {name: (s.st_size, s.st_mtime_ns, s.st_ino) for name, s in about.items()}

def refused_by_load(folder, *words):
    "In one line, and left as it is"
    global _armed
    before = seen(folder)
    _armed = True
    with pytest.raises(InputError) as e: load(folder, 'cpu')
    _armed = False
    message = str(e.value)
    assert len(message) < 1000 and message.isprintable(), message
    assert not [w for w in (str(folder), *words) if w not in message], message
    assert seen(folder) == before

def copied(kept, tmp_path, name='mlp'): return Path(shutil.copytree(kept[0]/name, tmp_path/'model'))

def test_an_untouched_model_is_loaded(kept, tmp_path):
    assert torch.equal(load(copied(kept, tmp_path), 'cpu').predict_scores(kept[1]), kept[2])
    assert called('predict', tmp_path/'model', kept[0]/'image.png').returncode == 0


# The card as a file

def _pickled():
    class Evil:
        def __reduce__(self): return os.mkdir, ('ran',)
    return pickle.dumps(Evil())

FILES = {
    **{f'the first {n} bytes': lambda b, n=n: b[:n] for n in (0, 1, 2, 30, 200, 1000)},
    'all but the last two bytes': lambda b: b[:-2],
    'the last half': lambda b: b[len(b) // 2:],
    'no JSON': lambda b: b'recipe = mlp',
    'a list': lambda b: b'[' + b + b']',
    'a number': lambda b: b'3',
    'text': lambda b: b'"mlp"',
    'null': lambda b: b'null',
    'twice': lambda b: b + b,
    'an empty object': lambda b: b'{}',
    'deep': lambda b: b'{"format": ' + b'[' * 100_000 + b']' * 100_000 + b'}',
    'deep objects': lambda b: b'{"a":' * 50_000 + b'1' + b'}' * 50_000,
    'binary': lambda b: bytes(range(256)) * 20,
    'zeros': lambda b: bytes(len(b)),
    'UTF-16': lambda b: b.decode().encode('utf-16'),
    'a byte order mark': lambda b: b'\xef\xbb\xbf' + b,
    'half a letter': lambda b: b.replace(b'"made up"', b'"made \xc3"'),
    'a pickle': lambda b: _pickled(),
    'NaN': lambda b: b.replace(b'"seed": 42', b'"seed": NaN'),
    'Infinity': lambda b: b.replace(b'"train_seconds": ', b'"train_seconds": Infinity, "x": '),
    '-Infinity': lambda b: b.replace(b'"seed": 42', b'"seed": -Infinity'),
    'a number of 5000 digits': lambda b: b.replace(b'"seed": 42', b'"seed": ' + b'9' * 5000),
    'something behind': lambda b: b + b'x',
    'a comment': lambda b: b'// mine\n' + b,
    'single quotes': lambda b: b.replace(b'"', b"'"),
    'huge': lambda b: b + b' ' * 2**25,
}

@pytest.mark.parametrize('change', FILES.values(), ids=FILES)
def test_a_card_that_is_no_card_is_refused(kept, tmp_path, change):
    folder = copied(kept, tmp_path)
    was = (folder/CARD).read_bytes()
    (folder/CARD).write_bytes(change(was))
    assert (folder/CARD).read_bytes() != was
    refused_by_load(folder, CARD)
    with refused(folder): read_card(folder)
    assert not Path('ran').exists()


# The card's entries: each case is signed again, so that it is the entry that is refused and not the signature

BIG = 10**30
NUMBERS = {
    'true': True, 'text': '7', 'null': None, 'a list': [7], 'an object': {}, '-1e999': -1e999, '1e999': 1e999,
}

def each(*path_and_values):
    "A case for each of several values of an entry, or of an entry within another"
    *path, values = path_and_values
    return {f'{path[-1]} {v!r}'[:60]: put(*path, value=v) for v in values}

ENTRIES = {
    **each('recipe', ['mlp2', 'MLP', '', '../mlp', '/etc/passwd', 'os.system', '__class__', 'fit', 3, None, ['mlp'],
                      {'mlp': 1}, 'x' * 10**6]),
    'a recipe that has other settings': put('recipe', value='sgd'),

    'no setting': put('settings', value={}),
    'settings in a list': put('settings', value=[]),
    'null for settings': put('settings', value=None),
    'an extra setting': put('settings', 'layers', value=3),
    'a setting of the class': put('settings', '__class__', value='x'),
    **{f'without the setting {n}': gone('settings', n) for n in ('epochs', 'hidden', 'activation')},
    **each('settings', 'hidden', [
        [10**9, 10**9], [2**31 - 1] * 100, [BIG], [-8, 4], [0], [], 8, '8,4', [[8, 4]], [8, [4]], [8.5], [8., 4.],
        [True, 4], [8, None], ['8', '4'], 'auto', None, {}, [8], [8, 4, 4], [4, 8]]),
    'a million layers': put('settings', 'hidden', value=[8] * 10**6),
    **each('settings', 'epochs', [0, -1, 1.0, 1.5, '1', 'auto', True, None, BIG, [1]]),
    **each('settings', 'lr', ['auto', '0.01', 0, -1, True, 1e999, [.01], BIG, 'x' * 10**6]),
    **each('settings', 'dropout', [1, -.5, None, 'auto', '0', False, []]),
    **each('settings', 'activation', ['gelu', 'torch.nn.ReLU', '', None, 3, ['relu']]),
    **each('settings', 'best', ['yes', 1, None, []]),
    'what was asked in a list': put('asked', value=[]),
    'null for what was asked': put('asked', value=None),

    'one class': put('classes', value=['a']),
    'no class': put('classes', value=[]),
    'nine classes': gone('classes', 9),
    'eleven classes': put('classes', value=list('abcdefghijk')),
    'two classes': put('classes', value=['a', 'b']),
    'a class twice': put('classes', 3, value='a'),
    'a class that is a number': put('classes', 3, value=7),
    'a class that is null': put('classes', 3, value=None),
    'a class that is a list': put('classes', 3, value=['a']),
    'classes in one text': put('classes', value='abcdefghij'),
    'classes in an object': put('classes', value=dict.fromkeys('abcdefghij')),
    '100,000 classes': put('classes', value=[str(i) for i in range(100_000)]),

    **each('shape', [
        [3, 6], [3, 6, 5, 1], [3, 0, 5], [3, -6, 5], [3, 6.0, 5], [3, '6', 5], [3, True, 5], [2, 6, 5], [0, 6, 5],
        [4, 6, 5], [3, 16384, 16384], [3, 16385, 1], [3, 10**9, 10**9], [3, BIG, 5], [1, 6, 5], [3, 6, 6], None,
        '3,6,5', {}, [3, None, 5]]),
    **each('stats', [
        [], [[.5] * 3], [[.5] * 3] * 3, [[.5], [.5]], [[.5] * 4, [.5] * 4], [.5, .5],
        [[.5] * 3, [.5, 0, .5]], [[.5] * 3, [.5, -1, .5]], [[.5] * 3, [.5, 1e-40, .5]], [[.5] * 3, [.5, 1e999, .5]],
        [[-1e999, .5, .5], [.5] * 3], [[10**400, .5, .5], [.5] * 3], [[.5, None, .5], [.5] * 3],
        [['.5'] * 3, [.5] * 3], [[True] * 3, [.5] * 3], 'train', {}, 0]),
    **each('has_probs', [1, 'yes', None]),
    **each('version', [0, 2, '1', None, -1, BIG, [1], 'x' * 10**5]),
    **each('format', ['', 'FASTRECIPES MODEL', None, 1, 'fastrecipes checkpoint 1']),
    **{f'{n} {what}': put(n, value=v)
       for n in ('parameters', 'predict_ms_per_1000', 'seed') for what, v in NUMBERS.items()},
    **{f'train_seconds {what}': put('train_seconds', value=v) for what, v in (NUMBERS | {'10**400': 10**400}).items()},

    'an accuracy of text': put('metrics', 'valid', 'accuracy', value='0.9'),
    'an infinite accuracy': put('metrics', 'valid', 'accuracy', value=-1e999),
    'no accuracy': gone('metrics', 'valid', 'accuracy'),
    'no metrics of a split': put('metrics', 'valid', value=None),
    'metrics in a list': put('metrics', value=[]),
    'history in an object': put('history', value={}),
    'a row without its loss': gone('history', 0, 'valid_loss'),
    'a row of text': put('history', 0, 'accuracy', value='good'),
    'a row that is a list': put('history', 0, value=[1]),
    'a best epoch of text': put('best_epoch', value='last'),
    'a device that is a number': put('device', value=0),

    'a source that is text': put('source', value='digits'),
    'a source without a name': gone('source', 'name'),
    'versions in a list': put('versions', value=['1']),
    'a version that is a number': put('versions', 'torch', value=2),
    'no digest of the weights': put('weights', value=''),
    'another digest of the weights': put('weights', value='0' * 64),
    'a digest that is a number': put('weights', value=7),
    'a digest in capitals': lambda card: card.update(weights=card['weights'].upper()),
}

@pytest.mark.parametrize('change', ENTRIES.values(), ids=ENTRIES)
def test_an_entry_that_cannot_be_is_refused(kept, tmp_path, change):
    folder = copied(kept, tmp_path)
    card = json.loads((folder/CARD).read_text())
    change(card)
    card['digest'] = digest_of(card)
    (folder/CARD).write_text(json.dumps(card).replace('-Infinity', '-1e999').replace('Infinity', '1e999'))
    refused_by_load(folder)

def test_each_entry_of_a_card_is_needed(kept, tmp_path):
    folder = copied(kept, tmp_path)
    card = json.loads((folder/CARD).read_text())
    for name in card.keys() - {'threads', 'reading', 'variant'}: # Which older cards lack
        left = {n: v for n, v in card.items() if n != name}
        if name != 'digest': left['digest'] = digest_of(left)
        (folder/CARD).write_text(json.dumps(left))
        refused_by_load(folder, CARD, {'format': 'not the card', 'digest': 'changed'}.get(name, 'missing'))

def signed(folder, change):
    "Write the card after `change`, with a digest of its own"
    card = json.loads((folder/CARD).read_text())
    change(card)
    (folder/CARD).write_text(json.dumps(card | dict(digest=digest_of(card))))

LATER = {
    'an entry': put('extra', value=1),
    'a setting that is a list': put('more', value=[1, 2]),
    'an entry of a strange name': put('\x1b[31m\n' * 50, value=1),
    'a column': put('history', 0, 'more', value=1),
    'a split': put('metrics', 'train', value=None),
    'a fact about the source': put('source', 'more', value=1),
}

@pytest.mark.parametrize('change', LATER.values(), ids=LATER)
def test_what_later_versions_add_is_ignored(kept, tmp_path, change):
    folder = copied(kept, tmp_path)
    signed(folder, change)
    assert torch.equal(load(folder, 'cpu').predict_scores(kept[1]), kept[2])

def test_a_card_from_before_threads_were_kept_is_read(kept, tmp_path):
    folder = copied(kept, tmp_path)
    signed(folder, gone('threads'))
    assert load(folder, 'cpu').card.threads is None

@pytest.mark.parametrize('change, word', [
    (put('version', value=2), 'version 2'),
    (put('recipe', value='mlp2'), 'mlp2'),
    (lambda card: card['classes'].pop(), WEIGHTS),
])
def test_the_command_refuses_a_damaged_model_in_one_line(kept, tmp_path, change, word):
    folder = copied(kept, tmp_path)
    signed(folder, change)
    ended(called('predict', folder, kept[0]/'image.png'), str(folder), word)

PLAUSIBLE = {
    'classes in another order': lambda c: c['classes'].reverse(),
    'a renamed class': put('classes', 0, value='z'),
    'other stats': put('stats', 0, 0, value=.4),
    'a better accuracy': put('metrics', 'valid', 'accuracy', value=1.),
    'another source': put('source', 'name', value='mnist'),
    'another activation': put('settings', 'activation', value='leaky_relu'),
    'height and width exchanged': put('shape', value=[3, 5, 6]),
    'no probabilities': put('has_probs', value=False),
    'another seed': put('seed', value=43),
    'no history': put('history', value=[]),
}

@pytest.mark.parametrize('change', PLAUSIBLE.values(), ids=PLAUSIBLE)
def test_a_card_that_was_changed_to_something_else_that_could_be_is_refused(kept, tmp_path, change):
    folder = copied(kept, tmp_path)
    card = json.loads((folder/CARD).read_text())
    change(card)
    (folder/CARD).write_text(json.dumps(card))
    refused_by_load(folder, CARD, 'changed')
    with refused('changed'): read_card(folder)


# The weights

def _tensors(change):
    def f(folder, home):
        tensors = from_safetensors((folder/WEIGHTS).read_bytes())
        change(tensors)
        (folder/WEIGHTS).write_bytes(to_safetensors(tensors, {'format': 'pt'}))
    return f

def _bytes(change):
    def f(folder, home): (folder/WEIGHTS).write_bytes(change((folder/WEIGHTS).read_bytes()))
    return f

def _header(change):
    "The header as a dict, changed"
    def f(b):
        n, = struct.unpack('<Q', b[:8])
        header = json.loads(b[8:8 + n])
        change(header)
        text = json.dumps(header).encode()
        return struct.pack('<Q', len(text)) + text + b[8 + n:]
    return _bytes(f)

def _other(name): return lambda folder, home: shutil.copy(home/name/WEIGHTS, folder/WEIGHTS)
def _torch_file(folder, home): torch.save(from_safetensors((folder/WEIGHTS).read_bytes()), folder/WEIGHTS)
def _is_nan(t): t['1.weight'][0, 0] = float('nan')

CHANGED = {
    **{f'the first {n} bytes': _bytes(lambda b, n=n: b[:n]) for n in (0, 1, 7, 8, 9, 100, 500, 1000)},
    'all but the last byte': _bytes(lambda b: b[:-1]),
    'one byte more': _bytes(lambda b: b + b'\0'),
    'a changed byte': _bytes(lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:]),
    'binary': _bytes(lambda b: bytes(range(256)) * 20),
    'a header that claims to be huge': _bytes(lambda b: struct.pack('<Q', 2**62) + b[8:]),
    'a header of 100 MB': _bytes(lambda b: struct.pack('<Q', 10**8) + b[8:]),
    'a pickle': _bytes(lambda b: _pickled()),
    "torch's own file": _torch_file,
    'the weights of a twin': _other('twin'),
    'the weights of a wider model': _other('wider'),
    'the weights of another recipe': _other('linear'),
    'the card in their place': lambda f, home: shutil.copy(f/CARD, f/WEIGHTS),
    'float64': _tensors(lambda t: t.update({'1.weight': t['1.weight'].double()})),
    'float16': _tensors(lambda t: t.update({n: v.half() for n, v in t.items()})),
    'whole numbers': _tensors(lambda t: t.update({'1.weight': t['1.weight'].int()})),
    'an extra tensor': _tensors(lambda t: t.update(extra=torch.zeros(3))),
    'a missing tensor': _tensors(lambda t: t.pop('1.bias')),
    'no tensors': _tensors(lambda t: t.clear()),
    'another name': _tensors(lambda t: t.update({'1\n\x1b.weight' * 30: t.pop('1.weight')})),
    'another shape': _tensors(lambda t: t.update({'1.weight': t['1.weight'].T.contiguous()})),
    'a flat tensor': _tensors(lambda t: t.update({'1.weight': t['1.weight'].flatten()})),
    'NaN': _tensors(_is_nan),
    'infinite': _tensors(lambda t: t['1.bias'].fill_(float('inf'))),
    'a scalar': _tensors(lambda t: t.update({'1.bias': torch.tensor(1.)})),
    'a tensor that claims to be huge': _header(lambda h: h['1.weight'].update(shape=[8, 10**12])),
    'overlapping tensors': _header(lambda h: h['1.bias'].update(data_offsets=h['3.bias']['data_offsets'])),
    'a negative offset': _header(lambda h: h['1.bias'].update(data_offsets=[-4, 28])),
    'an unknown type': _header(lambda h: h['1.bias'].update(dtype='F31')),
}

@pytest.mark.parametrize('signed', [True, False], ids=['signed', ''])
@pytest.mark.parametrize('what', CHANGED)
def test_weights_that_do_not_belong_to_the_card_are_refused(kept, tmp_path, what, signed):
    if signed and what in ('a changed byte', 'the weights of a twin'):
        pytest.skip('signed, that is another model, and whole')
    folder = copied(kept, tmp_path)
    was = (folder/WEIGHTS).read_bytes()
    CHANGED[what](folder, kept[0])
    assert (folder/WEIGHTS).read_bytes() != was
    if signed:
        card = json.loads((folder/CARD).read_text())
        card['weights'] = hashlib.sha256((folder/WEIGHTS).read_bytes()).hexdigest()
        (folder/CARD).write_text(json.dumps(card | {'digest': digest_of(card)}))
    refused_by_load(folder, WEIGHTS)
    assert not Path('ran').exists()

@pytest.mark.parametrize('name', ['twin', 'wider', 'linear'])
def test_the_card_of_another_model_is_refused(kept, tmp_path, name):
    folder = copied(kept, tmp_path)
    shutil.copy(kept[0]/name/CARD, folder/CARD)
    refused_by_load(folder, WEIGHTS)


# The folder

def _replaced(name, by):
    def f(folder):
        (folder/name).unlink()
        by(folder/name)
    return f

@pytest.mark.parametrize('name', [CARD, WEIGHTS])
@pytest.mark.parametrize('by', [
    lambda p: None,
    Path.mkdir,
    lambda p: p.symlink_to(p.name),
    lambda p: p.symlink_to('nowhere'),
    lambda p: os.mkfifo(p),
    lambda p: p.symlink_to('/dev/zero'),
    lambda p: p.symlink_to(p.parent),
], ids=['nothing', 'a folder', 'a loop', 'a link to nowhere', 'a pipe', 'a device', 'a link to its folder'])
def test_something_else_in_the_place_of_a_file_is_refused(kept, tmp_path, name, by):
    folder = copied(kept, tmp_path)
    _replaced(name, by)(folder)
    refused_by_load(folder, 'holds no model', f'{name} is missing')

@pytest.mark.parametrize('make', [
    lambda p: None, lambda p: p.write_text('x'), Path.mkdir, lambda p: p.symlink_to(p.name), lambda p: os.mkfifo(p),
], ids=['nothing', 'a file', 'empty', 'a loop', 'a pipe'])
def test_something_else_in_the_place_of_the_folder_is_refused(kept, tmp_path, make):
    make(tmp_path/'model')
    refused_by_load(tmp_path/'model', '--out DIR')

@pytest.mark.skipif(os.name != 'posix' or os.geteuid() != 0, reason='only root can become nobody')
@pytest.mark.parametrize('closed', [CARD, WEIGHTS, ''], ids=['card', 'weights', 'folder'])
def test_what_may_not_be_read_is_refused(kept, closed, request):
    top = Path(tempfile.mkdtemp()) # Only its user may look into pytest's
    request.addfinalizer(lambda: shutil.rmtree(top))
    top.chmod(0o755)
    folder = copied(kept, top)
    folder.chmod(0o755)
    load(folder, 'cpu') # All modules are imported before the rights are gone
    with as_nobody(): assert message_of(load, folder, 'cpu').startswith('Kept mlp')
    (folder/closed).chmod(0)
    with as_nobody(): message = message_of(load, folder, 'cpu')
    assert message.startswith('InputError: ') and str(folder) in message and '\n' not in message

def test_other_files_beside_a_model_do_not_matter_to_reading(kept, tmp_path):
    folder = copied(kept, tmp_path)
    (folder/'history.png').write_text('no picture')
    (folder/'evil.pkl').write_bytes(_pickled())
    assert torch.equal(load(folder, 'cpu').predict_scores(kept[1]), kept[2]) and not Path('ran').exists()


# Memory

def _peak(folders):
    "How loading each folder ended, and by how many MB the memory in use grew"
    import resource
    def most_memory(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before, outcomes = most_memory(), []
    for f in folders:
        try: outcomes.append(repr(load(f, 'cpu')))
        except InputError as e: outcomes.append(f'refused {e}')
    return outcomes, (most_memory() - before) // 1024

def test_what_is_asked_for_is_not_made_room_for(kept, tmp_path):
    folders = []
    for what in ('hidden [1000000000, 1000000000]', '100,000 classes', 'shape [3, 16384, 16384]', 'a million layers',
                 'a header that claims to be huge', 'a header of 100 MB', 'huge', 'deep'):
        folders.append(folder := copied(kept, tmp_path/str(len(folders))))
        if what in CHANGED: CHANGED[what](folder, kept[0])
        elif what in FILES: (folder/CARD).write_bytes(FILES[what]((folder/CARD).read_bytes()))
        else:
            card = json.loads((folder/CARD).read_text())
            ENTRIES[what](card)
            (folder/CARD).write_text(json.dumps(card | {'digest': digest_of(card)}))
    outcomes, mb = result_of(_peak, [str(f) for f in folders])
    assert all(o.startswith('refused') for o in outcomes) and mb < 300, mb


# By chance

@pytest.fixture(scope='module')
def target(kept, tmp_path_factory): return copied(kept, tmp_path_factory.mktemp('target'))

def _damaged(data, was):
    "`was` with bytes flipped, taken out, put in or moved"
    b = bytearray(was)
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(b)))
        match data.draw(st.sampled_from(['flip', 'digit', 'cut', 'insert', 'remove', 'repeat'])):
            case 'flip' if i < len(b): b[i] ^= 1 << data.draw(st.integers(0, 7))
            case 'digit' if i < len(b): b[i] = data.draw(st.sampled_from(b'0123456789-+.eE"[]{},:tfn '))
            case 'cut': del b[i:]
            case 'insert': b[i:i] = data.draw(st.binary(min_size=1, max_size=8))
            case 'remove': del b[i:i + data.draw(st.integers(1, 40))]
            case 'repeat': b[i:i] = b[i:i + data.draw(st.integers(1, 80))]
    return bytes(b)

@pytest.mark.parametrize('name', [CARD, WEIGHTS])
@pytest.mark.parametrize('signed', [False, True], ids=['', 'signed'])
@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.data())
def test_chance_damage_is_refused_or_makes_no_difference(kept, target, name, signed, data):
    for n in (CARD, WEIGHTS): shutil.copy(kept[0]/'mlp'/n, target/n)
    new = _damaged(data, (target/name).read_bytes())
    (target/name).write_bytes(new)
    if signed: # By an expert: then it may be another model, but never another exception
        try:
            card = json.loads((target/CARD).read_text())
            card['weights'] = hashlib.sha256((target/WEIGHTS).read_bytes()).hexdigest()
            (target/CARD).write_text(json.dumps(card | {'digest': digest_of(card)}))
        except (ValueError, TypeError): pass
    try: scores = load(target, 'cpu').predict_scores(kept[1])
    except InputError as e:
        assert '\n' not in str(e) and str(target) in str(e) and len(str(e)) < 600
        return
    if not signed: assert torch.equal(scores, kept[2])
