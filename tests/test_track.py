"""What a climb logs, as TensorBoard itself reads it"""
import socket, sys, time
import pytest, torch
from fastai.callback.progress import CSVLogger
from fastrecipes.answer.climb import compare
from conftest import refused

pytest.importorskip('tensorboard')
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from fastrecipes.answer.track import TensorBoard

TAGS = {
    'loss/training': 'train_loss', 'loss/validation': 'valid_loss', 'accuracy/validation': 'accuracy',
    'accuracy/training': 'train_accuracy', 'seconds/epoch': 'seconds'}
SHORT = {'sgd': {'epochs': 3}, 'simple_net': {'epochs': 3, 'hidden': 7}}


def climb(images, folder, names='similarity,sgd,simple_net', settings=SHORT, board=None, **kwargs):
    board = board or TensorBoard(folder)
    try: return compare(images, names, seed=3, device='cpu', settings=settings, reporter=board, **kwargs)
    finally: board.close()

class Watched(TensorBoard):
    "Calls `look` with each row after it is logged"
    def __init__(self, folder, look):
        super().__init__(folder)
        self.look = look

    def epoch(self, row):
        super().epoch(row)
        self.look(row)

def logged(folder, name):
    "What TensorBoard reads of a rung: tag to steps and values"
    events = EventAccumulator(str(folder/'tensorboard'/name)).Reload()
    return {t: [(e.step, e.value) for e in events.Scalars(t)] for t in events.Tags()['scalars']}, events

def wanted(result):
    "What there should be of a `Result`"
    final = {'accuracy/final': [(0, torch.tensor(result.accuracy).item())]}
    if not result.history: return final
    def values(name): return [(row['epoch'] + 1, torch.tensor(row[name]).item()) for row in result.history]
    return final | {tag: values(name) for tag, name in TAGS.items()}

def names(folder): return sorted(p.name for p in (folder/'tensorboard').iterdir())

def another_second():
    "TensorBoard reads event files in the order of the seconds in their names"
    now = int(time.time())
    while int(time.time()) == now: time.sleep(.02)


def test_every_rung_has_its_epochs_and_its_accuracy(threes_sevens, tmp_path):
    c = climb(threes_sevens, tmp_path)
    assert names(tmp_path) == ['sgd', 'similarity', 'simple_net']
    for n, r in c.results.items():
        scalars, events = logged(tmp_path, n)
        assert scalars == wanted(r), n
        (tag,) = events.Tags()['tensors']
        text = events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
        assert all(f'- {k}: ' in text for k in r.settings) and ('- hidden: 7' in text or n != 'simple_net')

def test_further_seeds_and_the_points_of_a_curve_have_folders_of_their_own(threes_sevens, tmp_path):
    c = climb(threes_sevens, tmp_path, 'sgd', {'sgd': {'epochs': 2}}, repeats=2, curve='all', fractions=(.5, 1))
    half, n = (p.images for p in c.curve.rungs[0].points)
    assert names(tmp_path) == ['sgd', f'sgd-{half}-images', 'sgd-seed-4']
    assert [logged(tmp_path, f)[0] for f in ('sgd', 'sgd-seed-4')] == [wanted(r) for r in c._fits[0].results]
    assert [s for s, _ in logged(tmp_path, f'sgd-{half}-images')[0]['loss/validation']] == [1, 2]

def test_no_file_is_named_after_the_machine(threes_sevens, tmp_path, monkeypatch):
    def host(): return 'host-of-somebody'
    monkeypatch.setattr(socket, 'gethostname', host)
    seen = []
    def look(row): seen.extend(p.name for p in tmp_path.rglob('*tfevents*'))
    c = climb(threes_sevens, tmp_path, 'sgd', {'sgd': {'epochs': 2}}, Watched(tmp_path, look))
    files = [p for p in tmp_path.rglob('*') if p.is_file()]
    assert seen
    assert {p.name for p in files} == set(seen), 'a name is the same from the beginning, so that a kill leaves no other'
    assert not any(host() in p.name or host().encode() in p.read_bytes() for p in files)
    assert logged(tmp_path, 'sgd')[0] == wanted(c.results['sgd']) and socket.gethostname is host

def test_a_rung_that_fails_takes_no_other_with_it(threes_sevens, tmp_path):
    c = climb(
        threes_sevens, tmp_path, 'similarity,logistic,simple_net',
        {'logistic': {'lr': 9e37}, 'simple_net': {'epochs': 1}})
    assert c.rungs[1].status == 'failed' and names(tmp_path) == ['similarity', 'simple_net']
    assert logged(tmp_path, 'simple_net')[0] == wanted(c.results['simple_net'])

def test_what_is_logged_is_there_while_the_climb_goes_on(threes_sevens, tmp_path):
    seen = []
    def look(row): seen.append(len(logged(tmp_path, 'sgd')[0]['loss/training']))
    climb(threes_sevens, tmp_path, 'sgd', {'sgd': {'epochs': 3}}, Watched(tmp_path, look))
    assert seen == [1, 2, 3]

@pytest.mark.parametrize('name', ['sgd', 'simple_net'])
def test_going_on_adds_only_what_is_new(threes_sevens, tmp_path, name):
    how = dict(names=f'similarity,{name}', settings={name: SHORT[name]}, out=tmp_path/'out')
    def stop(row):
        if row['epoch'] == 1: raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): climb(threes_sevens, tmp_path, board=Watched(tmp_path, stop), **how)
    files = {p: p.read_bytes() for p in tmp_path.rglob('events*')}
    another_second()
    c = climb(threes_sevens, tmp_path, resume=True, **how)
    new = set(tmp_path.rglob('events*')) - set(files)
    assert all(p.read_bytes() == data for p, data in files.items())
    assert {p.parent.name for p in new} == {name}, 'the rung that was finished is not logged again'
    assert logged(tmp_path, 'similarity')[0] == wanted(c.results['similarity'])
    seen, want = logged(tmp_path, name)[0], wanted(c.results[name])
    assert [step for step, _ in seen.pop('seconds/epoch')] == [1, 2, 3]
    del want['seconds/epoch']
    assert seen == want

def test_a_comparison_made_anew_takes_the_place_of_the_old_curves(threes_sevens, tmp_path):
    climb(threes_sevens, tmp_path, 'similarity,sgd', {'sgd': {'epochs': 3}})
    another_second()
    c = climb(threes_sevens, tmp_path, 'similarity,sgd', {'sgd': {'epochs': 2, 'lr': .5}})
    assert {n: logged(tmp_path, n)[0] for n in c.results} == {n: wanted(r) for n, r in c.results.items()}

def test_what_was_fitted_before_it_was_tracked_is_logged_too(threes_sevens, tmp_path):
    how = dict(names='similarity,sgd', settings={'sgd': SHORT['sgd']}, out=tmp_path)
    compare(threes_sevens, seed=3, device='cpu', **how)
    c = climb(threes_sevens, tmp_path, resume=True, **how)
    assert c.fitted == ()
    assert {n: logged(tmp_path, n)[0] for n in c.results} == {n: wanted(r) for n, r in c.results.items()}

def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorboard', None)
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    with refused('tensorboard', 'pip install'): TensorBoard(tmp_path)

def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path/'tensorboard').write_text('mine')
    with refused('tensorboard', 'choose another folder'): TensorBoard(tmp_path)
    assert (tmp_path/'tensorboard').read_text() == 'mine'

def test_a_place_that_cannot_be_written_later_costs_no_rung(threes_sevens, tmp_path):
    (tmp_path/'tensorboard').mkdir()
    (tmp_path/'tensorboard/sgd').write_text('mine')
    with pytest.warns(UserWarning, match='without tracking') as heard: c = climb(threes_sevens, tmp_path)
    assert list(c.results) == ['similarity', 'sgd', 'simple_net'] and names(tmp_path) == ['sgd', 'similarity']
    assert (tmp_path/'tensorboard/sgd').read_text() == 'mine'
    assert len([w for w in heard if 'tracking' in str(w.message)]) == 1

def test_a_callback_of_fastai_hears_of_the_rungs_that_have_a_learner(threes_sevens, tmp_path):
    c = compare(
        threes_sevens, 'sgd,simple_net', seed=3, device='cpu', settings=SHORT, cbs=[CSVLogger(tmp_path/'log.csv')])
    head, *rows = (tmp_path/'log.csv').read_text().splitlines()
    assert head.startswith('epoch,train_loss,valid_loss')
    assert [float(r.split(',')[2]) for r in rows] == pytest.approx(c['simple_net'].history.valid_loss.tolist())
