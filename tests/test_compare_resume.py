"""A climb that is stopped, wherever that is, ends with the numbers of one that was not, and fits nothing twice"""
import json, os, shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
import pytest, torch
from fastai.callback.core import Callback
from pandas.testing import assert_frame_equal
from fastrecipes.answer.climb import Climb, compare
from fastrecipes.answer.comparison import Comparison
from fastrecipes.answer.results import Result, Shelf
from fastrecipes.data.images import Split
from fastrecipes.ladder.fitted import Fitted
from fastrecipes.ladder.recipe import recipe
from fastrecipes.ladder.settings import recipes
from conftest import Heard, refused

NAMES = ['similarity', 'sgd', 'simple_net']
SHORT = {'sgd': {'epochs': 2, 'bs': 64}, 'simple_net': {'epochs': 2, 'bs': 64, 'dropout': .2}}
CURVE = dict(curve=['sgd', 'simple_net'], fractions=(.3, 1))
CLOCK = ['train_seconds', 'peak_memory_bytes', 'peak_gpu_memory_bytes', 'predict_ms_1', 'predict_ms_1000']


class Batches(Callback):
    "Tells of every batch of a `Learner`"
    def __init__(self, on_batch): self.on_batch = on_batch
    def after_batch(self):
        if self.training: self.on_batch(self.epoch, self.iter)

class Log(Heard):
    "What a climb tells, as tuples of names and numbers"
    def __init__(self, stop=lambda what: False):
        super().__init__(stop)
        self.at = None

    def started(self, task):
        self.at = (task.name, task.seed, task.images)
        self.what = task.what
        self.tell('step', *self.at)

    def epoch(self, row): self.tell('epoch', *self.at, row['epoch'])
    def batch(self, epoch, number): self.tell('batch', *self.at, epoch, number)

    def finished(self, result=None):
        if self.what != 'point': self.tell('result', result.recipe, result.seed)

    @property
    def how(self) -> dict: return dict(reporter=self, cbs=[Batches(self.batch)])

    def of(self, what): return [t[1:] for t in self.told if t[0] == what]

def climb(images, out=None, log=None, names=NAMES, settings=SHORT, **kwargs) -> Comparison:
    return compare(
        images, names, **{'seed': 5, 'device': 'cpu', **kwargs}, settings=settings, out=out, **(log or Log()).how)

def fits_nothing(what): return what[0] in ('epoch', 'batch') and pytest.fail(f'{what} again')

def stopped(*args, at, **kwargs) -> Log:
    "A climb that is stopped when `at` says so"
    log = Log(at)
    with pytest.raises(KeyboardInterrupt): climb(*args, log=log, **kwargs)
    return log

def untimed(history): return [{k: v for k, v in row.items() if k != 'seconds'} for row in history]

def same(a:Comparison, b:Comparison):
    "All but the timings is the same, to the last bit"
    assert_frame_equal(a.table.drop(columns=CLOCK), b.table.drop(columns=CLOCK), check_exact=True)
    for x, y in zip(a.rungs, b.rungs, strict=True):
        def fixed(rung): return rung.model_dump(exclude={'cost', 'history'})
        assert fixed(x) == fixed(y)
    for x, y in zip(a._fits, b._fits, strict=True):
        for r, s in zip(x.results, y.results, strict=True):
            for name in ('recipe', 'seed', 'settings', 'asked', 'device', 'best_epoch'):
                assert getattr(r, name) == getattr(s, name)
            assert torch.equal(r.valid.scores, s.valid.scores) and torch.equal(r.valid.targets, s.valid.targets)
            assert r.valid.has_probs is s.valid.has_probs
            assert untimed(r.history) == untimed(s.history)
    def points(c):
        return c.curve and [[p.model_dump(exclude={'train_seconds'}) for p in r.points] for r in c.curve.rungs]
    assert points(a) == points(b)

def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(Path(folder).rglob('*')) if p.is_file()}
def no_room(*args, **kwargs): raise OSError(28, 'No space left on device')


@pytest.fixture(scope='module')
def whole(threes_sevens, tmp_path_factory):
    "A climb that nothing disturbed, with its folder and its reports"
    out, log = tmp_path_factory.mktemp('whole')/'out', Log()
    return climb(threes_sevens, out, log, repeats=2, **CURVE), out, log

@pytest.fixture
def kept(whole, tmp_path):
    "A copy of its folder"
    return Path(shutil.copytree(whole[1], tmp_path/'kept'))

@pytest.fixture(scope='module')
def half(threes_sevens, tmp_path_factory):
    "The folder of a climb that was stopped in the second epoch of sgd"
    out = tmp_path_factory.mktemp('half')/'out'
    stopped(threes_sevens, out, at=lambda t: t[:2] == ('epoch', 'sgd') and t[-1] == 0)
    return out

@pytest.fixture
def cut(half, tmp_path): return Path(shutil.copytree(half, tmp_path/'cut'))


# Stopping and going on

def test_keeping_changes_nothing(whole, threes_sevens):
    c, out, _ = whole
    same(c, climb(threes_sevens, repeats=2, **CURVE))
    assert set(files(out)) == {
        'rungs/points.json', *(f'rungs/{n}-{s}/result.safetensors' for n in NAMES for s in (5, 6))}

def test_stopped_at_every_point_in_turn_it_ends_the_same(whole, threes_sevens, tmp_path):
    straight, _, all_ = whole
    seen, logs, done = set(), [], None
    def first_time(what): # Each attempt gets one step further than those before
        new = what not in seen
        seen.add(what)
        return new
    while done is None:
        logs.append(log := Log(first_time))
        try: done = climb(threes_sevens, tmp_path/'out', log, repeats=2, resume=True, **CURVE)
        except KeyboardInterrupt:
            assert (tmp_path/'out/rungs/unfinished').exists() or len(logs) == 1 and log.told[0][0] == 'step'
        assert len(logs) < 200
    same(done, straight)
    assert seen == set(all_.told) and len(logs) == len(seen) + 1 > 40
    assert set(files(tmp_path/'out')) == set(files(whole[1])), 'no checkpoint and no mark is left'
    epochs = Counter(t for log in logs for t in log.of('epoch') if t[2] == len(threes_sevens.train))
    assert max(epochs.values()) == 2
    by_hand = {n for t, n in epochs.items() if t[0] == 'sgd'}
    assert by_hand == {1}, 'of a Learner, an epoch that is stopped while it is reported is not kept yet'
    finished = set()
    for log in logs:
        assert not {t[:2] for t in log.of('epoch') if t[2] == len(threes_sevens.train)} & finished
        finished |= set(log.of('result'))

def test_stopped_within_an_epoch_written_by_hand_it_ends_the_same(threes_sevens, tmp_path, monkeypatch, whole):
    import fastrecipes.lessons.sgd as sgd
    real, calls = sgd.calc_grad, []
    def some(*args):
        calls.append(args)
        if len(calls) in (3, 9): raise KeyboardInterrupt
        return real(*args)
    monkeypatch.setattr(sgd, 'calc_grad', some)
    for _ in range(2): stopped(threes_sevens, tmp_path/'out', at=lambda t: False, resume=True, repeats=2, **CURVE)
    log = Log()
    same(climb(threes_sevens, tmp_path/'out', log, resume=True, repeats=2, **CURVE), whole[0])

def test_before_anything_is_fitted_there_is_nothing_to_lose(threes_sevens, tmp_path, whole):
    stopped(threes_sevens, tmp_path/'out', at=lambda t: True)
    assert set(files(tmp_path/'out')) == {'rungs/unfinished'}
    same(climb(threes_sevens, tmp_path/'out', resume=True), climb(threes_sevens))

def test_what_was_finished_at_a_stop_can_be_told(threes_sevens, tmp_path):
    log = Log(lambda t: t[:2] == ('epoch', 'simple_net'))
    c = Climb(threes_sevens, NAMES, 5, 'cpu', SHORT, out=tmp_path/'out', **log.how)
    with pytest.raises(KeyboardInterrupt): c.run()
    assert c.comparison.table.status.tolist() == ['fitted', 'fitted', 'stopped']
    assert '--resume' in c.comparison.rungs[2].cure
    assert len(c.comparison.save(tmp_path/'out')) == 3 and 'simple_net' in str(c.comparison)

def test_a_curve_that_was_stopped_is_told_as_far_as_it_is(threes_sevens, tmp_path):
    c = Climb(
        threes_sevens, NAMES, 5, 'cpu', SHORT, **CURVE,
        **Log(lambda t: t[:2] == ('epoch', 'simple_net') and t[3] < len(threes_sevens.train)).how)
    with pytest.raises(KeyboardInterrupt): c.run()
    assert [[p.fraction for p in r.points] for r in c.comparison.curve.rungs] == [[.3, 1], [1]]
    assert c.comparison.verdict.headline

def test_nothing_to_resume_is_a_beginning(threes_sevens, tmp_path):
    same(
        climb(threes_sevens, tmp_path/'new', names='similarity', settings={}, resume=True),
        climb(threes_sevens, names='similarity', settings={}))

def test_a_kept_result_has_all_that_a_new_one_has(threes_sevens, tmp_path):
    v = threes_sevens.valid
    images = replace(threes_sevens, test=Split(v.images.flip(0), v.labels.flip(0)))
    settings = {'mlp': {'epochs': 1, 'hidden': (9, 4)}}
    how = dict(names='similarity,mlp', settings=settings, test=True)
    a, b = (climb(images, tmp_path/'out', **how, resume=resume) for resume in (False, True))
    assert all(isinstance(a[n], Fitted) and isinstance(b[n], Result) for n in a.results) and b.fitted == ()
    assert_frame_equal(a.table, b.table, check_exact=True)
    for n in a.results:
        assert torch.equal(a[n].test.scores, b[n].test.scores) and a[n].cost == b[n].cost
        assert b[n].settings == a[n].settings
    assert b['mlp'].settings['hidden'] == (9, 4)
    assert a.model_dump(exclude={'made'}) == b.model_dump(exclude={'made'})


# A comparison that is finished

def test_a_finished_comparison_is_told_again_without_fitting(whole, kept, threes_sevens):
    before, log = files(kept), Log(fits_nothing)
    again = climb(threes_sevens, kept, log, repeats=2, resume=True, **CURVE)
    same(again, whole[0])
    assert again.curve == whole[0].curve and again.table.train_seconds.tolist() == whole[0].table.train_seconds.tolist()
    assert files(kept) == before
    assert log.of('step') == whole[2].of('step') and len(log.of('result')) == 6

def test_more_recipes_seeds_and_points_use_what_is_there(whole, kept, threes_sevens):
    log = Log()
    more = climb(
        threes_sevens, kept, log, names=[*NAMES, 'linear'], settings=SHORT | {'linear': {'epochs': 1}}, repeats=3,
        curve='all', fractions=(.3, 1), resume=True)
    n, old = len(threes_sevens.train), {(r, s) for r in NAMES for s in (5, 6)}
    now = {t[:2] for t in log.of('epoch') if t[2] == n}
    assert not now & old and now == {('linear', 5), ('linear', 6), ('linear', 7), ('sgd', 7), ('simple_net', 7)}
    assert {t[0] for t in log.of('epoch') if t[2] < n} == {'linear'} and more.table.seeds.tolist() == [3] * 4
    for now, before in zip(more.rungs, whole[0].rungs):
        assert now.recipe != before.recipe or now.repeats.accuracies[:2] == before.repeats.accuracies
    assert more.rungs[0].repeats.accuracies[:2] == whole[0].rungs[0].repeats.accuracies
    assert [len(r.points) for r in more.curve.rungs] == [2] * 4

def test_fewer_can_be_told_too(whole, kept, threes_sevens):
    fewer = climb(
        threes_sevens, kept, Log(fits_nothing), names='similarity,simple_net',
        settings={'simple_net': SHORT['simple_net']}, resume=True)
    first_seed = [whole[0].rungs[i].accuracy for i in (0, 2)]
    assert fewer.table.accuracy.tolist() == [r.accuracy for r in fewer.rungs] == first_seed
    assert 'seeds' not in fewer.table

def test_without_resume_a_finished_comparison_is_replaced(kept, threes_sevens):
    log = Log()
    c = climb(threes_sevens, kept, log, names='sgd', settings={'sgd': {'epochs': 1}})
    assert len(log.of('epoch')) == 1 and set(files(kept)) == {'rungs/sgd-5/result.safetensors'}
    assert c.rungs[0].settings['epochs'] == 1

def test_without_resume_a_comparison_that_was_stopped_is_refused_and_stays(cut, threes_sevens):
    before = files(cut)
    with refused('stopped', '--resume', str(cut/'rungs')):
        climb(threes_sevens, cut, Log(lambda t: pytest.fail('fitted')))
    assert files(cut) == before
    assert set(before) == {
        'rungs/unfinished', 'rungs/similarity-5/result.safetensors', 'rungs/sgd-5/checkpoint.safetensors'}
    shutil.rmtree(cut/'rungs')
    assert climb(threes_sevens, cut, names='similarity', settings={}).results

def test_files_of_others_stay(kept, threes_sevens):
    mine = {
        'notes.txt': b'1', 'rungs/notes.txt': b'2', 'rungs/mine/checkpoint.safetensors': b'3',
        'rungs/sgd-5/notes.txt': b'4', 'rungs/a-b/result.safetensors': b'5', 'rungs/sgd-x/points.json': b'6',
        'rungs/7/result.safetensors': b'7'}
    for name, data in mine.items():
        (kept/name).parent.mkdir(exist_ok=True)
        (kept/name).write_bytes(data)
    (kept/'rungs/simple_net-6/.result.safetensors.999999999').write_bytes(b'of a process that was killed')
    (kept/'rungs/.points.json.999999999').write_bytes(b'of the same')
    climb(threes_sevens, kept, names='similarity', settings={})
    left = files(kept)
    assert left.pop('rungs/similarity-5/result.safetensors') and left == mine
    assert not (kept/'rungs/simple_net-6').exists()


# What cannot be resumed

def turned(images): return replace(images, valid=Split(images.valid.images.flip(0), images.valid.labels.flip(0)))

CHANGED = {
    'settings': (dict(settings=SHORT | {'sgd': {'epochs': 3, 'bs': 64}}), ('sgd-5', 'epochs 2, not 3')),
    'seed': (dict(seed=7), ('seed 5, not 7',)),
    'seed below': (dict(seed=4, repeats=1), ('seed 5, not 4',)),
    'images': (dict(change=turned), ('images',)),
    'classes': (dict(change=lambda i: replace(i, classes=('a', 'b'))), ()),
    'test': (dict(change=lambda i: replace(i, test=i.valid), test=True), ())}

@pytest.mark.parametrize('folder', ['kept', 'cut'])
@pytest.mark.parametrize('other, words', CHANGED.values(), ids=list(CHANGED))
def test_another_comparison_is_refused_at_once(request, threes_sevens, folder, other, words):
    out, change = request.getfixturevalue(folder), other.get('change', lambda i: i)
    before = files(out)
    with refused('resume', 'another folder', *words):
        climb(
            change(threes_sevens), out, Log(lambda t: pytest.fail('begun')), resume=True,
            **{k: v for k, v in other.items() if k != 'change'})
    assert files(out) == before

@pytest.mark.parametrize('damage', [
    lambda b: b[:len(b) // 2],
    lambda b: b'',
    lambda b: b'half of it',
    lambda b: b[:-3] + bytes([b[-3] ^ 1]) + b[-2:],
], ids=['half', 'empty', 'other', 'a bit'])
@pytest.mark.parametrize('folder, name', [
    ('kept', 'simple_net-6/result.safetensors'),
    ('cut', 'similarity-5/result.safetensors'),
    ('cut', 'sgd-5/checkpoint.safetensors'),
])
def test_a_damaged_file_is_refused_at_once_and_stays(request, threes_sevens, folder, name, damage):
    out = request.getfixturevalue(folder)
    file, how = out/'rungs'/name, dict(repeats=2) if folder == 'kept' else {}
    file.write_bytes(damage(file.read_bytes()))
    before = files(out)
    with refused(name, 'remove it'):
        climb(threes_sevens, out, Log(lambda t: pytest.fail('begun')), resume=True, **how)
    assert files(out) == before

def test_a_damaged_file_that_is_removed_is_fitted_again_and_nothing_else(whole, kept, threes_sevens):
    (kept/'rungs/sgd-6/result.safetensors').unlink()
    log = Log()
    same(climb(threes_sevens, kept, log, repeats=2, resume=True, **CURVE), whole[0])
    assert {t[:2] for t in log.of('epoch')} == {('sgd', 6)}

@pytest.mark.parametrize('text', ['', '[1, 2]', '{"x": 1}', 'null', '{"sgd-62": {}}'])
def test_damaged_points_are_fitted_again(whole, kept, threes_sevens, text):
    points = kept/'rungs/points.json'
    spoilt = {k: {**v, 'right': 'zz'} for k, v in json.loads(points.read_text()).items()}
    points.write_text(text if text != 'null' else json.dumps(spoilt))
    log = Log()
    same(climb(threes_sevens, kept, log, repeats=2, resume=True, **CURVE), whole[0])
    assert {t[0] for t in log.of('epoch')} == {'sgd', 'simple_net'}
    assert max(t[2] for t in log.of('epoch')) < len(threes_sevens.train)

def test_a_place_that_is_taken_is_refused(threes_sevens, tmp_path):
    (tmp_path/'rungs').write_text('mine')
    for resume in (False, True):
        with refused('rungs', 'another folder'):
            climb(threes_sevens, tmp_path, Log(lambda t: pytest.fail('begun')), resume=resume)
    assert files(tmp_path) == {'rungs': b'mine'}


# A disk that is full

@pytest.mark.parametrize('broken', ['replace', 'fsync'])
def test_a_full_disk_loses_no_results(whole, threes_sevens, tmp_path, monkeypatch, broken):
    monkeypatch.setattr(os, broken, no_room)
    with pytest.warns(UserWarning, match='No space left') as heard:
        same(climb(threes_sevens, tmp_path/'out', repeats=2, **CURVE), whole[0])
    assert any('result.safetensors' in str(w.message) for w in heard)
    assert any('points.json' in str(w.message) for w in heard) and files(tmp_path/'out') == {}

def test_a_full_disk_leaves_the_checkpoint_to_go_on_from(cut, threes_sevens, monkeypatch):
    with monkeypatch.context() as m:
        m.setattr(os, 'replace', no_room)
        with pytest.warns(UserWarning, match='sgd'):
            climb(threes_sevens, cut, names='similarity,sgd', settings={'sgd': SHORT['sgd']}, resume=True)
    assert 'rungs/sgd-5/checkpoint.safetensors' in files(cut)
    log = Log()
    climb(threes_sevens, cut, log, names='similarity,sgd', settings={'sgd': SHORT['sgd']}, resume=True)
    assert [t[-1] for t in log.of('epoch')] == [1]

@pytest.mark.parametrize('at', ['sgd', 'simple_net'])
def test_ctrl_c_on_a_full_disk_is_still_ctrl_c(threes_sevens, tmp_path, monkeypatch, at):
    monkeypatch.setattr(os, 'replace', no_room)
    c = Climb(
        threes_sevens, NAMES, 5, 'cpu', SHORT, out=tmp_path/'out',
        **Log(lambda t: t[:2] == ('epoch', at) and t[-1] == 1).how)
    with pytest.warns(UserWarning, match='No space left'), pytest.raises(KeyboardInterrupt): c.run()
    assert list(c.comparison.results) == NAMES[:NAMES.index(at)]

def test_ctrl_c_while_a_result_is_kept_loses_no_epoch(threes_sevens, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        if stop.done: return real(*args, **kwargs)
        stop.done = True
        raise KeyboardInterrupt
    stop.done, real = False, os.replace
    monkeypatch.setattr(os, 'replace', stop)
    how = dict(names='sgd', settings={'sgd': SHORT['sgd']})
    with pytest.raises(KeyboardInterrupt): climb(threes_sevens, tmp_path/'out', **how)
    log = Log()
    same(climb(threes_sevens, tmp_path/'out', log, resume=True, **how), climb(threes_sevens, **how))
    assert log.of('epoch') == [] and set(files(tmp_path/'out')) == {'rungs/sgd-5/result.safetensors'}


# A rung that failed

def test_a_rung_that_failed_is_tried_again_and_the_others_are_not(threes_sevens, tmp_path):
    room = []
    @recipe(after='sgd', rung=False)
    def own(images, run):
        if not room: raise MemoryError()
        return recipes['similarity'].func(images, run, distance='l2')
    try:
        how = dict(names='sgd,own,simple_net', repeats=2)
        a = climb(threes_sevens, tmp_path/'out', **how)
        room.append(True)
        log = Log(fits_nothing)
        b = climb(threes_sevens, tmp_path/'out', log, resume=True, **how)
    finally: del recipes['own']
    assert a.table.status.tolist() == ['fitted', 'failed', 'fitted'] and b.table.status.tolist() == ['fitted'] * 3
    assert b.table.seeds.tolist() == [2] * 3 and len(log.of('result')) == 6

def test_a_shelf_that_is_not_there_has_nothing(tmp_path, threes_sevens):
    shelf = Shelf(tmp_path/'none', resume=True)
    run = dict(
        recipe='sgd', seed=1, images='', settings={}, device='cpu', threads=None, classes=(), test=False,
        fastrecipes='')
    assert shelf.get(threes_sevens, run) is None and shelf.points == {} and list(tmp_path.iterdir()) == []


# What is finished when

def test_a_climb_is_over_when_its_answer_is_where_it_belongs(threes_sevens, tmp_path):
    how = dict(names='similarity', device='cpu', out=tmp_path)
    climb = Climb(threes_sevens, **how)
    climb.run()
    with refused('stopped', '--resume'): Climb(threes_sevens, **how)
    climb.finish()
    assert isinstance(Climb(threes_sevens, **how).run()['similarity'], Fitted)

def test_without_models_the_results_are_the_same_and_nothing_is_held(threes_sevens):
    how = dict(names='similarity,sgd', device='cpu', settings={'sgd': {'epochs': 1}})
    lean, whole = (compare(threes_sevens, **how, models=m) for m in (False, True))
    assert lean.fitted == () and isinstance(lean['sgd'], Result)
    assert lean.table.accuracy.tolist() == whole.table.accuracy.tolist()

def test_a_result_of_another_version_is_refused(threes_sevens, tmp_path, monkeypatch):
    how = dict(names='similarity', device='cpu', out=tmp_path)
    compare(threes_sevens, **how)
    monkeypatch.setattr('fastrecipes.answer.climb.__version__', '99.0')
    with refused('result.safetensors', 'fastrecipes', '99.0', 'another folder'):
        compare(threes_sevens, **how, resume=True)

def test_a_result_from_before_two_columns_for_two_classes_is_refused_at_once(threes_sevens, tmp_path, monkeypatch):
    from fastrecipes.answer.results import _KeptResult
    how = dict(names='similarity', device='cpu', out=tmp_path)
    with monkeypatch.context() as m:
        m.setattr(_KeptResult, 'format', 'fastrecipes result 2')
        compare(threes_sevens, **how)
    with refused('similarity-42/result.safetensors', 'result 2', 'result 3', 'remove it'):
        compare(threes_sevens, **how, resume=True)
