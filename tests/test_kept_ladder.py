"""The ladder behind the drawn digit: trained in another process, kept, found again, and mended.

The ladder on the embedded digits is trained once for all tests; a few others start a process of their own."""
import io, json, os, signal
import pytest, torch
from conftest import refused
from fastrecipes.data.cache import clear_models, model_entries
from fastrecipes.data.images import ImageSet, Split
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError
from fastrecipes.explore import kept_ladder as room
from fastrecipes.explore.kept_ladder import JsonLines, KeptLadder, model_name
from fastrecipes.ladder.recipe import fit, ladder
from fastrecipes.reporter import Task

QUICK = dict(resnet18=dict(epochs=10), finetune=dict(epochs=1))
SET = load('digits')


@pytest.fixture(scope='module')
def on_digits(): return KeptLadder('digits', settings=QUICK)

@pytest.fixture(scope='module')
def models(on_digits): return on_digits.wait()

@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache'


# What is trained

def test_an_unknown_source_is_refused():
    with refused("'faces'", 'digits'): room.drawing_set('faces')
    with refused("'faces'", 'digits'): KeptLadder('faces')

def test_the_source_is_mnist_where_its_files_are(tmp_path, monkeypatch):
    from fastai.data import external
    home = external.Config(tmp_path, 'config.ini', create=dict(data='data'))
    monkeypatch.setattr(external, 'fastai_cfg', lambda: home)
    assert room.drawing_source() == 'digits', 'an empty home'
    raw = tmp_path/'data/MNIST/raw'
    raw.mkdir(parents=True)
    names = [f'{part}-{kind}-ubyte' for part in ('train', 't10k') for kind in ('images-idx3', 'labels-idx1')]
    for name in names: (raw/name).touch()
    assert room.drawing_source() == 'mnist'
    for name in names:
        (raw/name).unlink()
        assert room.drawing_source() == 'digits', f'{name} is missing'
        (raw/name).touch()

def test_a_part_of_a_large_set_has_every_class_in_its_share(monkeypatch):
    split = Split(torch.zeros(900, 1, 4, 4, dtype=torch.uint8), (torch.arange(900) % 3 == 0).long())
    monkeypatch.setattr(room, 'load', lambda source: ImageSet('x', '01', split, split))
    part = room.drawing_set('digits', 300)
    assert part.train.labels.bincount().tolist() == [200, 100] and part.valid.labels.bincount().tolist() == [33, 17]

def test_another_setting_seed_or_set_is_another_entry():
    images = room.drawing_set('digits', 300)
    one = dict(recipe='mlp', settings=dict(lr=.1), images=SET, seed=42)
    changes = {}, dict(recipe='sgd'), dict(settings=dict(lr=.5)), dict(images=images), dict(seed=1)
    assert len({model_name(**one | change) for change in changes}) == 5
    assert model_name(**one) == model_name(**one)


# The other process

def test_what_is_reported_is_a_line_of_json_each():
    file = io.StringIO()
    lines = JsonLines(file, every=0)
    lines.started(Task('fit', 'mlp'))
    lines.progress(5, 20)
    lines.finished()
    lines.failed('too few images', 'take more')
    assert [json.loads(line) for line in file.getvalue().splitlines()] == [
        dict(rung='mlp', share=0), dict(rung='mlp', share=.25), dict(rung='mlp', ready=True),
        dict(rung='mlp', failed='too few images; take more')]

def test_progress_is_reported_now_and_then():
    file = io.StringIO()
    lines = JsonLines(file, every=60)
    lines.started(Task('fit', 'mlp'))
    for i in range(9): lines.progress(i, 9)
    assert len(file.getvalue().splitlines()) == 1

class Process:
    "One that has said these lines, and has ended"
    def __init__(self, *lines): self.stdout = lines
    def wait(self): return 1

def test_news_are_told_from_what_libraries_print():
    process = Process(
        '{"rung": "sgd", "share": 0.0}\n', 'a warning\n', '[1]\n', '{"rung": "other", "ready": true}\n',
        '{"rung": "sgd", "share": 0.4}\n', '{"rung": "sgd", "ready": true}\n',
        '{"rung": "mlp", "failed": "why"}\n', 'oh\n')
    news = list(room.read_news(process, ['sgd', 'mlp', 'linear']))
    assert news[:-1] == [('sgd', 'training'), ('sgd', 'training, 40%'), ('sgd', 'ready'), ('mlp', 'failed (why)')]
    name, state = news[-1]
    assert name == 'linear' and state.startswith('failed') and '1' in state and 'oh' in state

def test_a_rung_that_takes_too_long_is_left_out_by_the_other_process(own_cache):
    rungs = [(name, settings, str(own_cache/name)) for name, settings in (('mlp', dict(epochs=100_000)), ('sgd', {}))]
    process = room.start_process('digits', 300, 42, rungs, 60.)
    news = dict(room.read_news(process, ['mlp', 'sgd'])) # The last of each
    assert news['mlp'].startswith('left out (about ') and news['sgd'] == 'ready'
    assert (own_cache/'sgd').is_dir() and not (own_cache/'mlp').exists()

def test_what_is_left_out_is_not_waited_for(own_cache, monkeypatch):
    monkeypatch.setattr(KeptLadder, '_start', lambda self, names: None) # The test says what happens
    kept = KeptLadder('digits', ['mlp', 'finetune'])
    kept.news += [('mlp', 'failed (why)'), ('finetune', 'left out (about 5.0 min)')]
    with pytest.raises(InputError, match='mlp: failed') as e: kept.wait()
    assert kept.finished and 'finetune' not in str(e.value)

def test_the_other_process_ends_when_its_reader_is_gone(own_cache):
    home = str(own_cache/'models'/f"resnet18-{'1' * 32}")
    process = room.start_process('digits', n=12_000, seed=42, rungs=[('resnet18', dict(epochs=1000), home)])
    line = ''
    while not line.startswith('{'): # What libraries warn of
        line = process.stdout.readline()
        assert line
    assert json.loads(line) == dict(rung='resnet18', share=0.)
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()
    assert not (own_cache/'models').exists() or not list((own_cache/'models').iterdir())

@pytest.mark.skipif(os.name != 'posix', reason='the exit status of a killed process')
def test_a_process_that_dies_is_a_failure_of_its_rungs(own_cache, monkeypatch):
    start = room.start_process
    def killed(*args):
        process = start(*args)
        process.kill()
        return process
    monkeypatch.setattr(room, 'start_process', killed)
    with refused('sgd: failed', f'{-signal.SIGKILL}'): KeptLadder('digits', ['sgd']).wait()


# The ladder

def test_the_other_process_fits_what_this_one_would_to_the_last_bit(models):
    before = torch.get_rng_state()
    for name in ('similarity', 'simple_net'):
        here = fit(name, 'digits', device='cpu', seed=42)
        assert torch.equal(models[name].predict_scores(SET.valid.images), here.scores), name
    assert torch.equal(torch.get_rng_state(), before) and not models['similarity'].has_probs

def test_the_second_time_all_are_there_without_training(models):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    again = KeptLadder('digits', settings=QUICK)
    found = again.wait()
    assert again.process is None and list(found) == list(models) == list(ladder())
    images = SET.valid.images[:50]
    for name, m in models.items(): assert torch.equal(found[name].predict_scores(images), m.predict_scores(images))
    assert torch.equal(torch.get_rng_state(), before)

@pytest.mark.slow
def test_entries_are_made_listed_mended_and_cleared(own_cache):
    kept = KeptLadder('digits', ['sgd', 'linear'], dict(linear=dict(lr=9e37, epochs=5)))
    with refused('linear: failed', 'epoch 1'): kept.wait()
    assert kept.state['sgd'] == 'ready' and list(kept.models) == ['sgd'] and kept.finished
    entry, = model_entries()
    home = own_cache/'models'/entry.name
    assert home == kept.home('sgd') and (entry.source, entry.images) == ('digits', 1437)
    assert entry.bytes == sum(f.stat().st_size for f in home.iterdir())
    card = json.loads((home/'card.json').read_text())
    (home/'card.json').write_text(json.dumps(card | dict(seed=43)))
    assert list(KeptLadder('digits', ['sgd']).wait()) == ['sgd'] # Thrown away, and trained again
    assert json.loads((home/'card.json').read_text())['weights'] == card['weights']
    (own_cache/'models'/'mine').mkdir()
    (own_cache/'models'/f"sgd-{'0' * 32}").symlink_to(home)
    entry, = model_entries()
    assert entry.name == home.name
    assert clear_models() == (1, entry.bytes) and model_entries() == []
    assert not home.exists() and (own_cache/'models'/'mine').is_dir()

def test_where_nothing_can_be_kept_the_rungs_are_there_all_the_same(tmp_path, monkeypatch):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('FASTRECIPES_CACHE', str(tmp_path/'file'))
    kept = KeptLadder('digits', ['similarity'])
    assert list(kept.wait()) == ['similarity'] and kept.folder.is_dir()
    assert model_entries() == [] and clear_models() == (0, 0)
