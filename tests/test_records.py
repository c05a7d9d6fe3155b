"""What a comparison is made of: kept and read again, by this version and later ones, and refused where it is damaged"""
import copy, json
import pytest
from hypothesis import given, HealthCheck, settings, strategies as st
from pydantic import ValidationError
from fastrecipes.answer.chance import Interval
from fastrecipes.answer.comparison import Comparison, read_comparison
from fastrecipes.answer.records import (
    Counts, CurvePoint, Picture, picture_size, PNG_PREFIX, readable, Repeats, Rung, Step,
)
from fastrecipes.errors import InputError
from conftest import refused, REPO
from made import gone, put

KEPT = REPO/'tests/fixtures/comparison-3.json' # Of an earlier version, without a decision
DECIDED = REPO/'tests/fixtures/comparison-3-decision.json'
SCHEMA = REPO/'fastrecipes/answer/page/comparison.schema.json'
TOP_LEVEL = [
    'schema_version', 'source', 'classes', 'shape', 'fingerprint', 'images', 'notes', 'majority', 'seed', 'device',
    'command', 'made', 'versions', 'machine', 'test_asked', 'rungs', 'pairs', 'shared', 'pictures', 'curve', 'verdict']


@pytest.fixture(scope='module')
def kept(): return json.loads(KEPT.read_text('utf-8'))

@pytest.fixture
def values(kept): return copy.deepcopy(kept)

@pytest.fixture
def reads(tmp_path):
    "Read other values as if they were kept"
    def read(values):
        text = values if isinstance(values, str) else json.dumps(values)
        (tmp_path/'comparison.json').write_text(text, 'utf-8')
        return read_comparison(tmp_path)
    return read


# Files of this and of other versions

def test_a_file_of_schema_3_is_read(kept):
    c = read_comparison(KEPT)
    assert list(kept) == TOP_LEVEL and c.schema_version == 3
    assert [r.recipe for r in c.rungs] == ['similarity', 'sgd', 'linear', 'mlp']
    assert [r.right for r in c.rungs] == [324, 334, 332, 349]
    assert [r.accuracy for r in c.rungs] == [.9, 334 / 360, 332 / 360, 349 / 360]
    assert [r.repeats.seeds for r in c.rungs] == [(42, 43)] * 4 and c.rungs[3].settings['hidden'] == (64, 64, 64)
    assert [r.recipe for r in c.curve.rungs] == ['linear', 'mlp'] and len(c.pictures) == 29
    assert c.verdict.stop_at == 'mlp' and c.decision is None
    assert c.rungs[1].against.p_adjusted is None and c.rungs[1].against.p_shown == c.rungs[1].against.p
    assert without_new(json.loads(c.model_dump_json()), kept) == kept

def without_new(found, kept):
    "Without the fields that a later version added, which are optional"
    if isinstance(kept, dict):
        new = [found[name] for name in found.keys() - kept.keys()]
        assert all(value in (None, 1, []) for value in new), new
        return {name: without_new(found[name], value) for name, value in kept.items()}
    if isinstance(kept, list): return [without_new(f, k) for f, k in zip(found, kept, strict=True)]
    return found

def test_a_file_with_a_decision_is_read_as_it_was_written():
    c = read_comparison(DECIDED)
    d, sgd = c.decision, c.rungs[1]
    assert (d.stop, d.ahead, [o.recipe for o in d.undecided], d.seeds) == ('similarity', 'sgd', ['sgd'], 2)
    assert d.margin_points == 1 and d.errors.simulated == 120 and d.effective_images is None
    assert c.pairs[0].p_adjusted == c.pairs[0].p == sgd.against.p_shown and c.pairs[0].seeds == 2
    assert (sgd.right, sgd.mean_accuracy) == (332, pytest.approx((332 + 337) / 720))
    assert sgd.failures.calibration.p is not None and sgd.failures.calibration.gap is not None
    kept = json.loads(DECIDED.read_text('utf-8'))
    assert without_new(json.loads(c.model_dump_json()), kept) == kept

@pytest.mark.parametrize('file, best', [(KEPT, '96.67%'), (DECIDED, '92.92%')])
def test_what_was_read_is_shown(tmp_path, file, best):
    c = read_comparison(file)
    means = [r.mean_accuracy for r in c.rungs]
    assert best in str(c) and c.table.accuracy.tolist() == means and f'{100 * max(means):.2f}%' == best
    assert c.details() and c.costs() and c._repr_html_()
    assert len(c.save(tmp_path)) == 3 and read_comparison(tmp_path) == c

def test_the_schema_file_is_the_schema():
    "After a change of the records: python tools/schema.py"
    assert json.loads(SCHEMA.read_text('utf-8')) == Comparison.model_json_schema()

def test_what_later_versions_add_is_ignored(values, reads):
    values['colour'] = 'blue'
    values['rungs'][0]['energy'] = dict(joules=3)
    assert reads(values) == read_comparison(KEPT)

@pytest.mark.parametrize('version', [1, 2])
def test_an_older_file_says_how_to_make_it_again(values, reads, version):
    values['schema_version'] = version
    values['rungs'] = 'something else'
    with refused('comparison.json', f'schema {version}', values['command']): reads(values)
    del values['command']
    with refused('comparison.json', '`fastrecipes compare`'): reads(values)

def test_a_newer_file_is_refused(values, reads):
    values['schema_version'] = 4
    with refused('schema 4', 'update fastrecipes'): reads(values)


# What is not a comparison

def test_a_folder_without_a_comparison_says_how_to_get_one(tmp_path):
    with refused(tmp_path, 'comparison.json', 'compare --out'): read_comparison(tmp_path)
    with refused('nowhere'): read_comparison(tmp_path/'nowhere')

@pytest.mark.parametrize('text, said', [
    ('', 'not JSON'),
    ('{"a": 1', 'not JSON'),
    ('[' * 100_000, 'not JSON'),
    ('\ufeff{}', 'not JSON'),
    ('{"schema_version": 3, "seed": "\\ud800"}', 'not JSON'),
    ('[1]', 'not a comparison'),
    ('{}', 'not a comparison'),
    ('1' * 10_000, 'not '),
    ('"x"', 'not a comparison'),
    ('null', 'not a comparison'),
    ('{"schema_version": 1}', 'older'),
    ('{"schema_version": 99}', 'update'),
    ('{"schema_version": "2"}', '"2"'),
    ('{"schema_version": true}', 'true'),
    ('{"schema_version": NaN}', 'NaN'),
    ('{"schema_version": 1' + '0' * 400 + '}', 'update'),
    ('{"schema_version": 3}', 'source is missing'),
])
def test_what_is_not_a_comparison_is_refused_in_one_line(text, said, reads):
    with refused('comparison.json', said): reads(text)

def test_bytes_that_are_not_text_are_refused(tmp_path):
    (tmp_path/'comparison.json').write_bytes(bytes(range(256)))
    with refused('not JSON'): read_comparison(tmp_path)

@pytest.mark.parametrize('change, said', [
    (put('rungs', 1, 'accuracy', value=1.5), ['rungs[1].accuracy', '1.5']),
    (put('rungs', 1, 'accuracy', value='0.5'), ['rungs[1].accuracy', '"0.5"']),
    (put('rungs', 1, 'accuracy', value=True), ['rungs[1].accuracy', 'true']),
    (put('rungs', 1, 'accuracy', value=.5), ['rungs[1]', 'accuracy', 'interval']),
    (put('rungs', 1, 'accuracy', value=None), ['rungs[1]', 'accuracy is missing']),
    (put('rungs', 1, 'loss', value=float('nan')), ['rungs[1].loss', 'NaN']),
    (put('rungs', 1, 'loss', value=float('inf')), ['rungs[1].loss', 'Infinity']),
    (put('rungs', 1, 'interval', value=[.1]), ['rungs[1].interval']),
    (put('rungs', 1, 'interval', value=[.9, .1]), ['rungs[1].interval', 'below its start']),
    (put('rungs', 1, 'interval', value=[.1, 1.1]), ['rungs[1].interval', 'between 0 and 1']),
    (put('rungs', 1, 'against', 'gain_points', value=99), ['rungs[1].against', 'outside its interval']),
    (put('rungs', 1, 'against', 'words', value='great'), ['rungs[1].against.words', '"great"']),
    (put('rungs', 1, 'repeats', 'accuracies', value=[.9]), ['rungs[1].repeats']),
    (put('rungs', 1, 'settings', 'lr', value={}), ['rungs[1].settings.lr']),
    (put('rungs', 1, 'settings', 'lr', value=float('nan')), ['rungs[1].settings.lr', 'finite']),
    (put('rungs', 0, 'right', value=10**6), ['similarity', '1,000,000']),
    (put('rungs', 1, 'recipe', value='similarity'), ["'similarity'", 'twice']),
    (put('rungs', value=[]), ['rungs', 'empty']),
    (gone('rungs', 1, 'cost', 'parameters'), ['rungs[1].cost.parameters is missing']),
    (gone('rungs', 0, 'failures', 'confusion', 0), ['similarity', '10 x 10']),
    (put('rungs', 0, 'failures', 'per_class', 0, 'name', value='x'), ['similarity', 'per_class']),
    (put('pairs', value=[]), ['pairs']),
    (put('curve', 'rungs', 1, 'recipe', value='linear'), ['curve.rungs', "'linear'"]),
    (put('curve', 'rungs', 1, 'points', 0, 'accuracy', value=None), ['curve.rungs[1].points[0]']),
    (put('classes', value=['0']), ['classes']),
    (put('images', 'valid', value=0), ['images.valid', '0']),
    (put('verdict', 'stop_at', value='mpl'), ['verdict.stop_at', "'mpl'"]),
    (put('machine', 'cores', value='two'), ['machine.cores', '"two"']),
    (put('notes', value='none'), ['notes', '"none"']),
    (put('source', value='x' * 10_001), ['source', '10000']),
    (put('pictures', '0', value=dict(uri='https://elsewhere.example/7.png', name=None)), ['pictures.0.uri']),
    (put('pictures', 'first', value=dict(uri=PNG_PREFIX, name=None)), ['pictures.first']),
])
def test_what_cannot_be_relied_on_is_refused_with_its_place(values, reads, change, said):
    change(values)
    with refused('comparison.json: ', *said, 'make it again'): reads(values)


@pytest.mark.parametrize('change, said', [
    (put('decision', 'stop', value='mpl'), ['decision', "'mpl'"]),
    (put('decision', 'ahead', value='mpl'), ['decision', "'mpl'"]),
    (put('decision', 'undecided', 0, 'recipe', value='similarity'), ['decision.undecided', "'similarity'"]),
    (put('decision', 'margin_points', value=0), ['decision.margin_points', '0']),
    (put('decision', 'margin_points', value=101), ['decision.margin_points', '101']),
    (put('decision', 'seeds', value=0), ['decision.seeds']),
    (put('decision', 'errors', 'wrong', value=1.1), ['decision.errors.wrong', '1.1']),
    (put('pairs', 0, 'won', value=361), ['pairs', '360']),
    (put('pairs', 0, 'p_adjusted', value=-1), ['pairs[0].p_adjusted', '-1']),
    (put('rungs', 1, 'failures', 'calibration', 'p', value=2), ['rungs[1].failures.calibration.p', '2']),
])
def test_a_decision_that_cannot_be_relied_on_is_refused_with_its_place(reads, change, said):
    values = json.loads(DECIDED.read_text('utf-8'))
    change(values)
    with refused('comparison.json: ', *said, 'make it again'): reads(values)


# Whatever is changed

def places(value, at=()):
    "Every place in plain values"
    yield at
    if isinstance(value, dict): yield from (p for k, v in value.items() for p in places(v, (*at, k)))
    elif isinstance(value, list): yield from (p for i, v in enumerate(value[:4]) for p in places(v, (*at, i)))

simple = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8)
odd = st.sampled_from([10**400, -1, 1e308, '\ud800', '</script>', PNG_PREFIX])
junk = st.recursive(
    simple | odd, lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=4), s, max_size=3), max_leaves=4)

def changed(values, data):
    "A copy with something put, taken away or doubled at some places"
    c = copy.deepcopy(values)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([p for p in places(c) if p and p != ('schema_version',)]))
        *above, last = path
        spot = c
        for k in above: spot = spot[k]
        how = data.draw(st.sampled_from(['put', 'take', 'double']))
        if how == 'put': spot[last] = data.draw(junk)
        elif how == 'take': del spot[last]
        elif isinstance(spot, list): spot.append(copy.deepcopy(spot[last]))
    return c

@pytest.mark.parametrize('stored', [KEPT, DECIDED], ids=['earlier', 'decided'])
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_changed_file_is_read_or_refused_in_one_line(stored, tmp_path_factory, data):
    kept = json.loads(stored.read_text('utf-8'))
    file = tmp_path_factory.getbasetemp()/'changed.json'
    file.write_text(json.dumps(changed(kept, data)), 'utf-8')
    try: c = read_comparison(file)
    except InputError as e: assert str(e).isprintable() and len(str(e)) < 1000 + len(str(file))
    else: assert str(c).isascii() or str(c).encode()


# The parts

@pytest.mark.parametrize('text, shown', [
    ('plain', 'plain'),
    ('naïve 图\u200d\u00a0x', 'naïve 图\u200d\u00a0x'),
    ('a\tb', 'a\\tb'),
    ('exe\u202egpj', 'exe\\u202egpj'),
    ('half \ud83d', 'half \\ud83d'),
    ('\x00\x1b', '\\x00\\x1b'),
])
def test_characters_that_cannot_be_shown_are_written_as_their_codes(text, shown):
    assert readable(text) == shown == readable(shown) and shown.encode()

def png(width, height):
    import base64, struct
    head = b'\x89PNG\r\n\x1a\n' + struct.pack('>I4sII', 13, b'IHDR', width, height) + bytes(6)
    return PNG_PREFIX + base64.b64encode(head).decode()

def test_the_size_of_a_picture_is_in_its_header():
    assert picture_size(png(7, 5)) == (7, 5) and picture_size(png(1024, 1024)) == (1024, 1024)
    for uri in (
        png(0, 5), png(1025, 5), png(7, 5)[:-1], png(7, 5).replace('image/png', 'image/svg+xml'), PNG_PREFIX + 'AAAA',
        PNG_PREFIX + '"><script>', ''):
        assert picture_size(uri) is None
        with pytest.raises(ValidationError): Picture(uri=uri, name=None)

STEP = dict(recipe='mlp', gain_points=1., interval_points=Interval(0., 2.), p=.5, words='better')

@pytest.mark.parametrize('make', [
    lambda: Step(**STEP | dict(p=1.1)),
    lambda: Step(**STEP | dict(words='best')),
    lambda: Step(**STEP | dict(gain_points=2.1)),
    lambda: Step(**STEP | dict(interval_points=Interval(2., 0.))),
    lambda: Counts(train=0, valid=1),
    lambda: Rung(recipe='mlp', about='', status='fitted', settings={}),
    lambda: Repeats(seeds=(1, 2), accuracies=(.9,), mean=.9, sd=0., interval=Interval(.8, 1.), against=None),
    lambda: CurvePoint(
        fraction=.5, images=3, accuracy=.5, interval=None, train_seconds=1., status='fitted', reason=None),
])
def test_what_is_impossible_cannot_be_made(make):
    assert Step(**STEP) and Counts(train=1, valid=1)
    with pytest.raises(ValidationError): make()
