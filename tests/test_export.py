"""ONNX: the same scores without PyTorch, from bytes, in any number"""
import json, os, sys
from pathlib import Path
import onnx, onnxruntime, pytest, torch
from fastrecipes import __version__
from fastrecipes.ladder.recipe import fit
from fastrecipes.keep.export import export_onnx
from fastrecipes.keep.store import load, save
from limits import little_room
from test_cli import called, refused as ended
from test_store import fitted, image_set

CASES = [('similarity', 2, (1, 7, 9), {}), ('similarity', 10, (3, 60, 50), dict(distance='l1')),
         ('sgd', 2, (1, 7, 9), {}), ('logistic', 10, (3, 6, 5), dict(dropout=.3)), ('linear', 10, (1, 7, 9), {}),
         ('simple_net', 2, (3, 6, 5), dict(dropout=.5, hidden=7)),
         ('mlp', 10, (3, 6, 5), dict(activation='leaky_relu', dropout=.2, hidden=(9, 4))), ('mlp', 2, (1, 7, 9), {}),
         ('convnet', 10, (3, 6, 5), {}), ('convnet', 2, (1, 33, 26), dict(filters=(4, 6, 8), dropout=.3)),
         pytest.param('resnet18', 10, (1, 7, 9), {}, marks=pytest.mark.slow),
         pytest.param('resnet18', 2, (3, 33, 26), dict(bs=8), marks=pytest.mark.slow)]

def session(file): return onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])

@pytest.mark.parametrize('name, k, shape, settings', CASES,
                         ids=lambda v: ','.join(f'{a}={b}' for a, b in v.items()) if isinstance(v, dict) else str(v))
def test_the_scores_are_those_of_the_model_for_any_number_of_images(tmp_path, name, k, shape, settings):
    f = fitted(name, k, shape, **settings)
    kept, state = load(save(f, 'm'), 'cpu'), {n: t.clone() for n, t in f.model.state_dict().items()}
    was = f.model.training
    difference = export_onnx(kept, tmp_path/'m.onnx')
    assert 0 <= difference < 1e-5 and sorted(os.listdir()) == ['m', 'm.onnx'], 'one file, the weights in it'
    assert f.model.training == was and all(torch.equal(t, state[n]) for n, t in kept.model.state_dict().items())
    net, outputs = session('m.onnx'), f.scores.shape[1]
    (i,), (o,) = net.get_inputs(), net.get_outputs()
    assert (i.name, i.type, i.shape[1:]) == ('images', 'tensor(uint8)', list(shape))
    assert (o.name, o.type, o.shape[1:]) == ('scores', 'tensor(float)', [outputs])
    assert isinstance(i.shape[0], str) and i.shape[0] == o.shape[0]
    for n in (1, 5, 12, 70):
        images = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
        scores, = net.run(None, {'images': images.numpy()})
        assert scores.shape == (n, outputs)
        torch.testing.assert_close(torch.from_numpy(scores), kept.predict_scores(images), atol=1e-5, rtol=1e-5)
    scores, = net.run(['scores'], {'images': f.images.valid.images.numpy()})
    torch.testing.assert_close(torch.from_numpy(scores), f.scores, atol=1e-5, rtol=1e-5)

def test_the_means_of_large_images_too_are_compared_in_any_number(tmp_path):
    large = image_set(10, (3, 250, 250), n=10) # In PyTorch only a few of them are compared at a time
    f = fit('similarity', large, device='cpu')
    assert export_onnx(f, 'm.onnx') < 1e-5
    images = torch.cat([f.images.valid.images] * 2)
    scores, = session('m.onnx').run(None, {'images': images.numpy()})
    torch.testing.assert_close(torch.from_numpy(scores), f.predict_scores(images), atol=1e-5, rtol=1e-5)

def test_the_file_says_what_it_is(tmp_path):
    from dataclasses import replace
    f = replace(fitted('mlp', 2), classes=('Zürich "東京"', 'b\udcff\n'))
    export_onnx(f, 'm.onnx')
    model = onnx.load('m.onnx')
    onnx.checker.check_model(model, full_check=True)
    found = {p.key: p.value for p in model.metadata_props}
    assert json.loads(found['classes']) == list(f.classes)
    assert found['recipe'] == 'mlp' and found['fastrecipes'] == __version__

def test_the_file_knows_nothing_of_the_machine(tmp_path):
    export_onnx(load(save(fitted('mlp'), 'm'), 'cpu'), 'm.onnx')
    data = Path('m.onnx').read_bytes()
    for secret in (os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(torch.__file__),
                   str(tmp_path), str(Path.home())):
        if len(secret) > 3: assert secret.encode() not in data, secret

def test_the_command_writes_the_file_and_says_how_near_it_is(tmp_path):
    save(fitted('linear'), 'm')
    r = called('export', 'm', '--onnx', 'deep/er/m.onnx')
    assert r.returncode == 0 and r.stderr == '' and 'deep/er/m.onnx' in r.stdout and os.listdir('deep/er') == ['m.onnx']
    assert float(r.stdout.split()[-1]) < 1e-5
    first = Path('deep/er/m.onnx').read_bytes()
    save(fitted('linear', 2), 'm')
    assert called('export', 'm', '--onnx', 'deep/er/m.onnx').returncode == 0
    assert Path('deep/er/m.onnx').read_bytes() != first and os.listdir('deep/er') == ['m.onnx']

@pytest.mark.slow
def test_the_exporter_is_quiet(capfd, recwarn):
    assert export_onnx(fitted('resnet18'), 'm.onnx') < 1e-5
    assert tuple(capfd.readouterr()) == ('', '')
    assert [str(w.message) for w in recwarn if 'jit' not in str(w.message)] == []

@pytest.mark.parametrize('missing', ['onnx', 'onnxruntime', 'onnxscript'])
def test_without_a_package_there_is_one_line_with_the_cure(tmp_path, monkeypatch, missing):
    save(fitted('linear'), 'm')
    monkeypatch.setitem(sys.modules, missing, None)
    ended(called('export', 'm', '--onnx', 'm.onnx'), f'({missing})', 'pip install')
    assert os.listdir() == ['m']

@pytest.mark.parametrize('make, file, words', [
    (lambda p: (p/'taken').write_text('mine'), 'taken/m.onnx', ['cannot write there', 'choose another']),
    (lambda p: (p/'m.onnx').mkdir(), 'm.onnx', ['is a folder', 'm.onnx/model.onnx']),
    (lambda p: (p/'loop').symlink_to('loop'), 'loop/m.onnx', ['loop']),
    (lambda p: None, 'x' * 300, ['cannot write', 'choose another']),
    (lambda p: None, '/proc/m.onnx', ['/proc', 'choose another']),
    (lambda p: None, '~nobody-of-this-name/m.onnx', ['~nobody-of-this-name']),
], ids=['below a file', 'a folder', 'a loop', 'a long name', 'proc', 'no home'])
def test_a_file_that_cannot_be_written_is_refused_and_nothing_is_left(tmp_path, make, file, words):
    save(fitted('linear'), 'm')
    make(tmp_path)
    before = sorted(os.listdir())
    ended(called('export', 'm', '--onnx', file), *words)
    assert sorted(os.listdir()) == before

@pytest.mark.parametrize('old', [True, False])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, old):
    save(fitted('linear'), 'm')
    if old: Path('m.onnx').write_text('old')
    with little_room(1000): r = called('export', 'm', '--onnx', 'm.onnx')
    ended(r, 'm.onnx', 'File too large')
    assert sorted(os.listdir()) == ['m', 'm.onnx'][:1 + old] and (not old or Path('m.onnx').read_text() == 'old')

def test_a_model_that_onnx_runtime_refuses_is_not_written(tmp_path, monkeypatch):
    def fail(*args, **kwargs): raise RuntimeError('cannot run it')
    monkeypatch.setattr(onnxruntime, 'InferenceSession', fail)
    with pytest.raises(RuntimeError): export_onnx(fitted('linear'), 'm.onnx')
    assert os.listdir() == []

def test_a_damaged_model_is_refused(tmp_path):
    save(fitted('linear'), 'm')
    Path('m/model.safetensors').write_bytes(b'x')
    ended(called('export', 'm', '--onnx', 'm.onnx'), 'model.safetensors')
    ended(called('export', 'nowhere', '--onnx', 'm.onnx'), 'nowhere')
    ended(called('export', 'm'), '--onnx')
    assert os.listdir() == ['m']
