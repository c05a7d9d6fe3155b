"""The page from comparison.json: what it holds, that it holds nothing else, and what is refused"""
import base64, copy, html, json, re
import pytest
from html.parser import HTMLParser
from xml.etree import ElementTree
from hypothesis import HealthCheck, given, settings, strategies as st
from conftest import refused
from fastrecipes.answer import report
from fastrecipes.answer import svg as svg_room
from fastrecipes.errors import InputError
from fastrecipes.answer.comparison import read_comparison
from fastrecipes.answer.report import figures_of, PAGE_BYTES, report_html, save_report
from fastrecipes.answer.svg import inline_svg
from test_report_page import HOSTILE

VOID = {'meta', 'link', 'img', 'br', 'line', 'input', 'hr', 'path', 'use', 'image', 'defs', 'rect'}


class Page(HTMLParser):
    "A page taken apart: its tags with their attributes, and its text"
    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(text)
        self.close()
    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID: self.open.append(tag)
    def handle_endtag(self, tag):
        if tag in VOID: return
        assert self.open and self.open.pop() == tag, f'</{tag}> closes nothing'
    def handle_startendtag(self, tag, attrs): self.tags.append((tag, dict(attrs)))
    def handle_data(self, data): self.text.append(data)
    def all(self, tag): return [a for t, a in self.tags if t == tag]
    @property
    def words(self): return re.sub(r'\s+', ' ', ' '.join(self.text))


@pytest.fixture(scope='module')
def page(ladder_values): return Page(report_html(ladder_values))

@pytest.fixture
def values(ladder_values): return copy.deepcopy(ladder_values)

@pytest.fixture
def small(pair_values): return copy.deepcopy(pair_values)


# What is on the page

def test_the_page_is_well_formed_and_its_headings_are_in_order(page):
    assert page.open == []
    levels = [int(t[1]) for t, _ in page.tags if re.fullmatch('h[1-6]', t)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:])), levels

def test_no_name_is_given_twice_and_every_link_leads_somewhere(page):
    ids = [a['id'] for _, a in page.tags if 'id' in a]
    assert len(ids) == len(set(ids)) > 10
    links = [a['href'] for a in page.all('a')] + [a['href'] for a in page.all('use')]
    assert links and all(h.startswith('#') and h[1:] in ids for h in links)

def test_every_figure_of_the_table_is_there(page, ladder_values):
    text = page.words
    for r in ladder_values['rungs']:
        assert r['recipe'] in text
        if r['status'] != 'fitted':
            assert r['reason'] in text and r['cure'] in text
            continue
        assert f"{r['accuracy']:.2%}" in text and f"{r['cost']['parameters']:,}" in text and report.bytes_text(r['cost']['weights_bytes']) in text
        if r['against']: assert r['against']['words'] in text and f"than {r['against']['recipe']}" in text
        assert f"{r['repeats']['mean']:.2%}" in text and f"{len(r['repeats']['seeds'])} seeds" in text
        for name, value in r['settings'].items(): assert f'{name}=' in text

def test_the_verdict_comes_first_and_how_to_make_it_again_last(ladder_values):
    heads = [html.unescape(h) for h in re.findall(r'<h2[^>]*>(.*?)</h2>', report_html(ladder_values))]
    assert heads == [ladder_values['verdict']['headline'], 'Rung by rung', 'What accuracy costs', 'How much data is enough?', 'How they learned', 'Where they fail', 'Can its probabilities be believed?', 'How to make it again']

def test_what_makes_it_again_is_there(page, ladder_values):
    text = page.words
    for said in (ladder_values['command'], ladder_values['fingerprint'], f"torch {ladder_values['versions']['torch']}", ladder_values['machine']['system'], str(ladder_values['seed'])): assert said in text

def test_every_picture_says_in_words_what_it_shows(page):
    images, plots = page.all('img'), [a for a in page.all('svg') if a.get('role') == 'img']
    assert len(images) > 10 and all(a['alt'].startswith('Validation image ') and 'read' in a['alt'] for a in images)
    assert len(plots) >= 6 and all(len(a['aria-label']) > 40 and re.search(r'\d', a['aria-label']) for a in plots)
    assert all(a.get('aria-hidden') == 'true' for a in page.all('svg') if a.get('role') != 'img')

def test_every_cell_that_heads_a_table_says_what_it_heads(page):
    assert len(page.all('th')) > 30 and all(a.get('scope') in ('row', 'col') for a in page.all('th'))
    assert len(page.all('caption')) == len(page.all('table'))

def test_a_rung_that_failed_is_in_its_row_with_reason_and_cure(page, ladder_values):
    failed = next(r for r in ladder_values['rungs'] if r['status'] == 'failed')
    assert re.search(f"{failed['recipe']}.*✕ Failed: {re.escape(failed['reason'])} What helps: {re.escape(failed['cure'])}", page.words)

def test_a_comparison_in_which_nothing_was_fitted_has_a_page_too(values):
    values['rungs'] = [r for r in values['rungs'] if r['status'] == 'failed']
    values |= dict(curve=None, pairs=[], pictures={}, shared=dict(missed_by_all=dict(count=0, images=[]), only_top=None), verdict=dict(stop_at=None, headline='Nothing was fitted.', paragraphs=[]))
    text = Page(report_html(values)).words
    assert 'Nothing was fitted.' in text and values['rungs'][0]['reason'] in text and 'What accuracy costs' not in text
    assert figures_of(values) == {}

def test_a_rung_that_went_astray_but_ended_has_its_huge_losses_on_the_page(small):
    r = small['rungs'][1]
    r |= dict(loss=1.4e28, history=[row | dict(train_loss=1e30, valid_loss=1e300) for row in r['history']])
    r['failures']['worst'][0] |= dict(loss=1.4e28)
    assert 'loss 1.4e+28' in Page(report_html(small)).words

def test_many_classes_are_shown_by_the_pairs_that_are_confused_most(small):
    k = 25
    small['classes'] = [f'class {i}' for i in range(k)]
    for r in small['rungs']:
        r['failures'] |= dict(worst=[], per_class=[{'class': c, 'precision': None, 'recall': .5, 'f1': .5, 'images': 2} for c in small['classes']],
                              confusion=[[7 if (i, j) == (3, 4) else int(i == j) for j in range(k)] for i in range(k)])
    small |= dict(shared=dict(missed_by_all=dict(count=0, images=[]), only_top=None))
    text = Page(report_html(small)).words
    assert re.search(r'The pairs that it confuses most.* class 3 class 4 7 ', text) and 'true \\ said' not in text


# One file that needs nothing

def test_nothing_is_asked_of_anybody(page):
    outside = [(t, a) for t, a in page.tags for k in ('src', 'href', 'xlink:href', 'srcset', 'action', 'data', 'poster') if k in a and not re.match(r'#|data:image/(png;base64,|svg\+xml,)', a[k])]
    assert outside == [] and not any(t in ('iframe', 'object', 'embed', 'form', 'base') for t, _ in page.tags)
    assert not re.search(r'url\((?!#)|@import', report._page_file('report.css'))

def test_no_script_runs_but_the_one_whose_fingerprint_the_page_names(ladder_values):
    import hashlib
    text = report_html(ladder_values)
    policy = Page(text).all('meta')[1]['content']
    script, = re.findall(r'<script>(.*?)</script>', text, re.S)
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy and "default-src 'none'" in policy
    assert not any(k.startswith('on') for _, a in Page(text).tags for k in a)

def test_the_same_values_give_the_same_bytes(small, tmp_path):
    first, again = ([p.read_bytes() for p in save_report(copy.deepcopy(small), tmp_path/n)] for n in 'ab')
    assert first == again and len(first) > 5

def test_pictures_are_made_smaller_until_the_page_is_small_enough(small):
    import numpy as np
    from io import BytesIO
    from PIL import Image
    def photo(i):
        out = BytesIO()
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (160, 160, 3)).astype(np.uint8)).save(out, 'png')
        return 'data:image/png;base64,' + base64.b64encode(out.getvalue()).decode()
    for n, p in small['pictures'].items(): p['uri'] = photo(int(n))
    assert sum(len(p['uri']) for p in small['pictures'].values()) > 1_210_000
    page = report_html([small] * 3)
    assert len(page.encode()) < PAGE_BYTES and len(Page(page).all('img')) == 3 * len(Page(report_html(small)).all('img')) > 0


# Files

def test_it_is_saved_with_every_figure_as_png_and_svg(small, tmp_path):
    written = save_report(small, tmp_path/'out')
    names = list(figures_of(small))
    assert {'accuracy-cost', 'calibration', 'confusion-linear', 'training-linear', 'worst-linear'} <= set(names)
    assert [p.relative_to(tmp_path/'out').as_posix() for p in written] == ['report.html', *(f'figures/{n}.{e}' for n in names for e in ('png', 'svg'))]
    assert not [p for p in (tmp_path/'out').rglob('*') if p.name.startswith('.')]
    for p in written[1:]:
        if p.suffix == '.png': assert p.read_bytes().startswith(b'\x89PNG')
        else: assert ElementTree.parse(p).getroot().tag.endswith('svg')

def test_several_comparisons_are_one_page_without_figures_of_their_own(values, small, tmp_path):
    assert [p.name for p in save_report([values, small], tmp_path)] == ['report.html']
    page = Page((tmp_path/'report.html').read_text())
    assert 'Side by side' in page.words and len(page.all('article')) == 2 and 'They differ in their seeds.' in page.words

def test_the_page_is_made_again_from_the_file(small, tmp_path):
    (tmp_path/'comparison.json').write_text(json.dumps(small, ensure_ascii=False), 'utf-8')
    assert report_html(read_comparison(tmp_path)) == report_html(read_comparison(str(tmp_path/'comparison.json'))) == report_html(small)

def test_recipes_with_odd_names_have_files_of_their_own(small, tmp_path):
    for r, name in zip(small['rungs'], ['../../up', 'Up']): small = json.loads(json.dumps(small).replace(json.dumps(r['recipe']), json.dumps(name)))
    written = save_report(small, tmp_path/'in')
    assert {p.name for p in tmp_path.iterdir()} == {'in'} and all(re.fullmatch(r'[a-z0-9_-]+\.(png|svg|html)', p.name) for p in written) and len(set(written)) == len(written)
    assert {'confusion-up.png', 'confusion-up-2.png'} <= {p.name for p in written}

def test_a_folder_that_cannot_be_written_is_refused(small, tmp_path):
    (tmp_path/'file').write_text('')
    with refused('file', 'choose another folder'): save_report(small, tmp_path/'file')


# What is refused

def test_a_folder_without_a_comparison_says_how_to_get_one(tmp_path):
    with refused(tmp_path, 'there is no comparison.json', 'compare --out'): read_comparison(tmp_path)
    with refused('nowhere'): read_comparison(tmp_path/'nowhere')

@pytest.mark.parametrize('text, said', [('', 'not JSON'), ('{"a": 1', 'not JSON'), ('[1]', 'not a comparison'), ('{"schema_version": 1}', 'an older fastrecipes'), ('{"schema_version": 99}', 'update fastrecipes'),
    ('{"schema_version": "2"}', 'not a whole number'), ('{"schema_version": true}', 'not a whole number'), ('{"schema_version": 2}', 'it has no source'), ('[' * 100_000, 'not JSON'), ('{"schema_version": NaN}', 'not JSON'),
    ('1' * 10_000, 'not'), ('\ufeff{}', 'not a comparison'), ('{"schema_version": 1' + '0' * 400 + '}', 'a huge number')])
def test_what_is_no_comparison_of_ours_is_told_in_one_line(text, said, tmp_path):
    (tmp_path/'comparison.json').write_text(text, 'utf-8')
    with refused('comparison.json', said): read_comparison(tmp_path)

def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path/'comparison.json').write_bytes(bytes(range(256)))
    with refused('not JSON'): read_comparison(tmp_path)

@pytest.mark.parametrize('change, said', [
    (lambda c: c['rungs'][1].update(accuracy=1.5), 'rungs[1].accuracy is 1.5, not a share'),
    (lambda c: c['rungs'][1]['cost'].pop('parameters'), 'rungs[1].cost has no parameters'),
    (lambda c: c['rungs'][1].update(interval=[.1]), 'rungs[1].interval is a list of 1, not a list of 2'),
    (lambda c: c['rungs'][0].update(right=10**6), 'rungs[0].right is 1,000,000'),
    (lambda c: c['rungs'][0]['failures']['confusion'].pop(), 'rungs[0].failures.confusion is not a table of 2 x 2'),
    (lambda c: c['rungs'].append(c['rungs'][0]), "name \"similarity\" twice"),
    (lambda c: c.update(rungs=[]), 'rungs is empty'),
    (lambda c: c['verdict'].update(stop_at='mpl'), 'verdict.stop_at is "mpl", which is not a fitted rung'),
    (lambda c: c['machine'].update(cores='two'), 'machine.cores is "two", not a whole number'),
    (lambda c: c.update(notes='none'), 'notes is "none", not a list'),
    (lambda c: c['pictures'].update({'7': dict(uri='https://elsewhere.example/7.png', name=None)}), 'pictures.7.uri'),
    (lambda c: c['pictures'].update({'7': dict(uri='data:image/svg+xml;base64,AAAA', name=None)}), 'pictures.7.uri'),
    (lambda c: c['pictures'].update({'7': dict(uri='data:image/png;base64,"><script>', name=None)}), 'pictures.7.uri'),
    (lambda c: c['pictures'].update({'7': dict(uri='data:image/png;base64,AAAA', name=None)}), 'pictures.7.uri')])
def test_what_the_page_cannot_rely_on_is_refused_with_its_place(small, change, said):
    change(small)
    with refused('the comparison: ', said, 'make it again'): report_html(small)

def test_nothing_to_report_is_refused():
    with refused('at least one'): report_html([])

def test_the_second_of_several_is_named(small):
    with refused('comparison 2: '): report_html([small, small | dict(source=None)])


def places(value, at=()):
    "Every place in plain values"
    yield at
    if isinstance(value, dict): yield from (p for k, v in value.items() for p in places(v, (*at, k)))
    elif isinstance(value, list): yield from (p for i, v in enumerate(value[:4]) for p in places(v, (*at, i)))

junk = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8) | st.sampled_from([10**400, -1, 1e308, '\ud800', '</script>', 'data:image/png;base64,']),
                    lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=4), s, max_size=3), max_leaves=4)

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

def one_line(f, *args):
    try: return f(*args)
    except InputError as e: assert '\n' not in str(e) and len(str(e)) < 1000 and str(e).isprintable()

@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_changed_comparison_is_read_or_refused_in_one_line(pair_values, data): one_line(report.checked, changed(pair_values, data))

@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.slow
def test_a_changed_comparison_has_a_whole_page_or_none(pair_values, data):
    page = one_line(report_html, changed(pair_values, data))
    if page is not None: assert Page(page).open == [] and page.encode('utf-8')


# What comes from the data is text

def renamed(values, names):
    "The values with other class names"
    text = json.dumps(values)
    old = values['classes']
    c = json.loads(text)
    new = dict(zip(old, names))
    def swap(v, key=None):
        if isinstance(v, dict): return {k: swap(x, k) for k, x in v.items()}
        if isinstance(v, list): return [swap(x, key) for x in v]
        return new.get(v, v) if key in ('classes', 'class', 'true', 'predicted') or isinstance(key, str) and key in recipes else v
    recipes = {r['recipe'] for r in c['rungs']}
    return swap(c)

@pytest.mark.parametrize('name', HOSTILE)
def test_a_class_name_is_shown_as_it_is_and_does_nothing(small, name):
    c = renamed(small, [name, 'other'])
    c |= dict(source=name, notes=[name], command=name, verdict=c['verdict'] | dict(headline=name, paragraphs=[name]))
    c['rungs'][1] |= dict(about=name, settings={name: name})
    for p in c['pictures'].values(): p['name'] = name
    text = report_html(c)
    page, plain = Page(text), Page(report_html(small))
    assert page.open == [] and [t for t, _ in page.tags if t in ('script', 'img', 'b', 'iframe', 'object', 'style', 'link')].count('script') == 1
    assert {t for t, _ in page.tags} <= {t for t, _ in plain.tags} | {'span', 'ul', 'li', 'div', 'pre'} and not any(k.startswith('on') for _, a in page.tags for k in a)
    assert page.text.count(name) > 5 and any(name in a['alt'] for a in page.all('img'))

@pytest.mark.parametrize('names', [HOSTILE[:4], HOSTILE[4:8]])
def test_names_are_text_in_the_figures_too(small, names):
    c = renamed(small, names[:2])
    for r, name in zip(small['rungs'], names[2:]): c = json.loads(json.dumps(c).replace(json.dumps(r['recipe']), json.dumps(name)))
    drawn = ''
    for figure in figures_of(c).values():
        root = ElementTree.fromstring(inline_svg(figure, 'p-', names[0]))
        assert root.get('aria-label') == names[0] and not {e.tag for e in root.iter()} - svg_room._page_elements
        assert not any(k.startswith('on') for e in root.iter() for k in e.attrib)
        drawn += ' '.join(''.join(e.itertext()) for e in root.iter('text'))
    assert [n for n in names if n[:5] not in drawn] == []

def test_what_cannot_be_read_is_written_out(small):
    c = renamed(small, ['a\x00b\x1b[31m', 'exe\u202egpj'])
    text = report_html(c)
    assert r'a\x00b\x1b[31m' in text and r'exe\u202egpj' in text and not re.search('[\x00\x1b\u202e\ud800-\udfff]', text)


# Figures for the page

def test_a_figure_takes_the_colours_and_fonts_of_the_page(small):
    text = inline_svg(figures_of(small)['accuracy-cost'], 'one-', 'label')
    assert 'var(--blue)' in text and not re.search(r'#000000|#1f5a8a|font-family|<style|<metadata|<!--', text)
    assert set(re.findall(r'(?:id="|#)(.*?)[")]', text)) and all(i.startswith('one-') for i in re.findall(r' id="(.*?)"', text))

def test_a_short_training_that_came_to_little_is_on_the_picture_too():
    history = lambda *a: dict(history=[dict(accuracy=v) for v in a])
    low, high = report.accuracy_limits([history(*[.97] * 20), history(*[.98] * 20), history(.5, .5)])
    assert low < .5 and high > .98

def test_figures_of_an_earlier_comparison_do_not_stay_beside_the_new_page(pair_values, tmp_path):
    (tmp_path/'figures').mkdir()
    for n in ('confusion-resnet18.png', 'training-resnet18.svg', 'mine.png', 'confusion-notes.txt'): (tmp_path/'figures'/n).write_text('old')
    written = save_report(pair_values, tmp_path)
    assert sorted(p.name for p in (tmp_path/'figures').iterdir()) == sorted([p.name for p in written[1:]] + ['mine.png', 'confusion-notes.txt'])

def test_accuracy_limits_leave_room_for_all_but_the_wildest_beginnings():
    history = lambda *a: dict(history=[dict(accuracy=x) for x in a])
    low, high = report.accuracy_limits([history(.1, *[.9] * 30), history(None, .95)])
    assert .85 < low < .9 and .95 < high < 1
    assert report.accuracy_limits([]) == (0, 1) and report.accuracy_limits([history(1., 1.)])[1] > 1
