"""The page from comparison.json: what it holds, that it holds nothing else, and what is refused"""
import base64, hashlib, html, json, re
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree
import pytest
from conftest import refused
from fastrecipes.answer import report_page, svg
from fastrecipes.answer.comparison import Comparison, read_comparison
from fastrecipes.answer.report import PAGE_BYTES, report_html, save_report
from fastrecipes.answer.report_figures import accuracy_limits, figures_of
from fastrecipes.answer.svg import inline_svg
from fastrecipes.text import bytes_text
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
def values(ladder_values): return ladder_values

@pytest.fixture
def small(pair_values): return pair_values

def plain(comparison):
    "A comparison as the values of its file, to be changed"
    return json.loads(comparison.model_dump_json())

def made_of(values):
    "The comparison of a file that has these values"
    return Comparison.model_validate_json(json.dumps(values))


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

def test_every_number_of_the_table_is_there(page, ladder_values):
    text = page.words
    for r in ladder_values.rungs:
        assert r.recipe in text
        if not r.is_fitted:
            assert r.reason in text and r.cure in text
            continue
        numbers = (f'{r.mean_accuracy:.2%}', f'{r.cost.parameters:,}', bytes_text(r.cost.weights_bytes))
        assert [n for n in numbers if n not in text] == []
        if r.against: assert r.against.words in text and f'vs {r.against.recipe}' in text
        assert f'{r.repeats.mean:.2%}' in text and f'{len(r.repeats.seeds)} seeds' in text
        for name in r.settings: assert f'{name}=' in text

def test_the_verdict_comes_first_and_how_to_reproduce_it_last(ladder_values):
    text = report_html(ladder_values)
    names = ['verdict', 'table', 'wrong', 'cost', 'curve', 'training', 'failures', 'calibration', 'again']
    assert re.findall(r'<section id="c1-(.*?)">', text) == names
    heads = [html.unescape(h) for h in re.findall(r'<h2[^>]*>(.*?)</h2>', text)]
    assert heads[0] == ladder_values.verdict.headline and len(heads) == len(names)

def test_how_often_it_is_wrong_is_counted_in_simulated_ladders(ladder_values):
    errors = ladder_values.decision.errors
    changed = errors.model_copy(update=dict(wrong=7 / 120, simulated=120, shown_points=4.321))
    c = ladder_values.model_copy(update=dict(decision=ladder_values.decision.model_copy(update=dict(errors=changed))))
    text = Page(report_html(c)).words
    assert '7 of 120' in text and '4.3 points' in text and '2.9-11.6%' in text
    c = c.model_copy(update=dict(decision=None))
    assert 'c1-wrong' not in report_html(c) and report_html(c)

def test_what_makes_it_again_is_there(page, ladder_values):
    c, text = ladder_values, page.words
    needed = (c.command, c.fingerprint, f'torch {c.versions.torch}', c.machine.system, str(c.seed))
    assert [n for n in needed if n not in text] == []

def test_every_picture_says_in_words_what_it_shows(page):
    images = page.all('img')
    assert len(images) > 10 and all(re.search(r'image \d+: [37], .*predict\w* [37]', a['alt']) for a in images)
    labels = [a['aria-label'] for a in page.all('svg') if a.get('role') == 'img']
    assert len(labels) >= 6 and all(len(label) > 40 and re.search(r'\d', label) for label in labels)
    assert all(a.get('aria-hidden') == 'true' for a in page.all('svg') if a.get('role') != 'img')

def test_every_cell_that_heads_a_table_says_what_it_heads(page):
    assert len(page.all('th')) > 30 and all(a.get('scope') in ('row', 'col') for a in page.all('th'))
    assert len(page.all('caption')) == len(page.all('table'))

def test_a_rung_that_failed_is_in_its_row_with_reason_and_cure(page, ladder_values):
    failed = next(r for r in ladder_values.rungs if r.status == 'failed')
    assert re.search(f'{failed.recipe}.*{re.escape(failed.reason)}.*{re.escape(failed.cure)}', page.words)

NOTHING_SHARED = dict(missed_by_all=dict(count=0, images=[], recipe=None), only_top=None)

def test_a_comparison_in_which_nothing_was_fitted_has_a_page_too(values):
    c = plain(values)
    c['rungs'] = [r for r in c['rungs'] if r['status'] == 'failed']
    verdict = dict(stop_at=None, headline='Nothing was fitted.', paragraphs=[])
    c |= dict(curve=None, pairs=[], pictures={}, shared=NOTHING_SHARED, verdict=verdict, decision=None)
    c = made_of(c)
    page = Page(report_html(c))
    assert verdict['headline'] in page.words and c.rungs[0].reason in page.words
    assert [a['id'] for a in page.all('section')] == ['c1-verdict', 'c1-table', 'c1-again']
    assert figures_of(c) == {}

def test_a_rung_that_went_astray_but_ended_has_its_huge_losses_on_the_page(small):
    c = plain(small)
    r = c['rungs'][1]
    r |= dict(loss=1.4e28, history=[row | dict(train_loss=1e30, valid_loss=1e300) for row in r['history']])
    r['failures']['worst'][0] |= dict(loss=1.4e28)
    assert '1.4e+28' in Page(report_html(made_of(c))).words

def test_many_classes_are_shown_by_the_pairs_that_are_confused_most(small):
    k, c = 25, plain(small)
    c['classes'] = [f'class {i}' for i in range(k)]
    c['majority']['name'] = 'class 0'
    scores = [dict(name=name, precision=None, recall=.5, f1=.5, images=2) for name in c['classes']]
    confusion = [[7 if (i, j) == (3, 4) else int(i == j) for j in range(k)] for i in range(k)]
    for r in c['rungs']: r['failures'] |= dict(worst=[], per_class=scores, confusion=confusion)
    c |= dict(shared=NOTHING_SHARED)
    page = Page(report_html(made_of(c)))
    assert re.search(r'class 3 class 4 7 ', page.words)
    kinds = [a['class'] for a in page.all('table') if a.get('class') in ('confusion', 'pairs')]
    assert kinds == ['pairs'] * len(c['rungs'])


# One file that needs nothing

def test_nothing_is_asked_of_anybody(page):
    names = ('src', 'href', 'xlink:href', 'srcset', 'action', 'data', 'poster')
    addresses = [a[name] for _, a in page.tags for name in names if name in a]
    assert addresses and all(re.match(r'#|data:image/(png;base64,|svg\+xml,)', address) for address in addresses)
    assert not any(t in ('iframe', 'object', 'embed', 'form', 'base') for t, _ in page.tags)
    assert not re.search(r'url\((?!#)|@import', report_page._page_file('report.css'))

def test_no_script_runs_but_the_one_whose_fingerprint_the_page_names(ladder_values):
    text = report_html(ladder_values)
    policy = Page(text).all('meta')[1]['content']
    script, = re.findall(r'<script>(.*?)</script>', text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert not any(k.startswith('on') for _, a in Page(text).tags for k in a)

def test_the_same_values_give_the_same_bytes(small, tmp_path):
    first, again = ([p.read_bytes() for p in save_report(small, tmp_path/n)] for n in 'ab')
    assert first == again and len(first) > 5

def test_pictures_are_made_smaller_until_the_page_is_small_enough(small):
    import numpy as np
    from io import BytesIO
    from PIL import Image
    def photo(i):
        out = BytesIO()
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (160, 160, 3)).astype(np.uint8)).save(out, 'png')
        return 'data:image/png;base64,' + base64.b64encode(out.getvalue()).decode()
    c = plain(small)
    for n, p in c['pictures'].items(): p['uri'] = photo(int(n))
    assert sum(len(p['uri']) for p in c['pictures'].values()) > 1_210_000
    small = made_of(c)
    page = report_html([small] * 3)
    assert len(page.encode()) < PAGE_BYTES
    assert len(Page(page).all('img')) == 3 * len(Page(report_html(small)).all('img')) > 0


# Files

def test_it_is_saved_with_every_figure_as_png_and_svg(small, tmp_path):
    written = save_report(small, tmp_path/'out')
    names = list(figures_of(small))
    assert {'accuracy-cost', 'calibration', 'confusion-linear', 'training-linear', 'worst-linear'} <= set(names)
    files = ['report.html', *(f'figures/{n}.{kind}' for n in names for kind in ('png', 'svg'))]
    assert [p.relative_to(tmp_path/'out').as_posix() for p in written] == files
    assert not [p for p in (tmp_path/'out').rglob('*') if p.name.startswith('.')]
    for p in written[1:]:
        if p.suffix == '.png': assert p.read_bytes().startswith(b'\x89PNG')
        else: assert ElementTree.parse(p).getroot().tag.endswith('svg')

def test_several_comparisons_are_one_page_without_figures_of_their_own(values, small, tmp_path):
    assert [p.name for p in save_report([values, small], tmp_path)] == ['report.html']
    page = Page((tmp_path/'report.html').read_text())
    assert len(page.all('article')) == 2 and 'seeds' in page.words

def test_the_page_is_made_again_from_the_file(small, tmp_path):
    (tmp_path/'comparison.json').write_text(small.model_dump_json(), 'utf-8')
    page = report_html(small)
    assert report_html(read_comparison(tmp_path)) == page
    assert report_html(read_comparison(str(tmp_path/'comparison.json'))) == page

def renamed_rungs(comparison, names):
    "The comparison with other names of its rungs"
    text = comparison.model_dump_json()
    for r, name in zip(comparison.rungs, names): text = text.replace(json.dumps(r.recipe), json.dumps(name))
    return Comparison.model_validate_json(text)

def test_recipes_with_odd_names_have_files_of_their_own(small, tmp_path):
    small = renamed_rungs(small, ['../../up', 'Up'])
    written = save_report(small, tmp_path/'in')
    assert {p.name for p in tmp_path.iterdir()} == {'in'} and len(set(written)) == len(written)
    assert all(re.fullmatch(r'[a-z0-9_-]+\.(png|svg|html)', p.name) for p in written)
    assert {'confusion-up.png', 'confusion-up-2.png'} <= {p.name for p in written}

def test_a_folder_that_cannot_be_written_is_refused(small, tmp_path):
    (tmp_path/'file').write_text('')
    with refused('file', 'choose another folder'): save_report(small, tmp_path/'file')


# What is refused

def test_nothing_to_report_is_refused():
    with refused('at least one'): report_html([])


# What comes from the data is text

def renamed(comparison, names):
    "The values with other class names"
    c = plain(comparison)
    new = dict(zip(c['classes'], names))
    recipes = {r['recipe'] for r in c['rungs']}
    def swap(v, key=None):
        if isinstance(v, dict): return {k: swap(x, k) for k, x in v.items()}
        if isinstance(v, list): return [swap(x, key) for x in v]
        return new.get(v, v) if key in ('classes', 'name', 'true', 'predicted', *recipes) else v
    return swap(c)

@pytest.mark.parametrize('name', HOSTILE)
def test_a_class_name_is_shown_as_it_is_and_does_nothing(small, name):
    c = renamed(small, [name, 'other'])
    c |= dict(source=name, notes=[name], command=name, verdict=c['verdict'] | dict(headline=name, paragraphs=[name]))
    c['rungs'][1] |= dict(about=name, settings={name: name})
    for p in c['pictures'].values(): p['name'] = name
    text = report_html(made_of(c))
    page, usual = Page(text), Page(report_html(small))
    assert page.open == [] and len(page.all('script')) == 1
    assert {t for t, _ in page.tags} <= {t for t, _ in usual.tags} | {'span', 'ul', 'li', 'div', 'pre'}
    assert not any(k.startswith('on') for _, a in page.tags for k in a)
    assert page.text.count(name) > 5 and any(name in a['alt'] for a in page.all('img'))

@pytest.mark.parametrize('names', [HOSTILE[:4], HOSTILE[4:8]])
def test_names_are_text_in_the_figures_too(small, names):
    c = renamed_rungs(made_of(renamed(small, names[:2])), names[2:])
    drawn = ''
    for figure in figures_of(c).values():
        root = ElementTree.fromstring(inline_svg(figure, 'p-', names[0]))
        assert root.get('aria-label') == names[0] and not {e.tag for e in root.iter()} - svg._page_elements
        assert not any(k.startswith('on') for e in root.iter() for k in e.attrib)
        drawn += ' '.join(''.join(e.itertext()) for e in root.iter('text'))
    assert [n for n in names if n[:5] not in drawn] == []

def test_what_cannot_be_read_is_written_out(small):
    c = renamed(small, ['a\x00b\x1b[31m', 'exe\u202egpj'])
    text = report_html(made_of(c))
    assert r'a\x00b\x1b[31m' in text and r'exe\u202egpj' in text
    assert not re.search('[\x00\x1b\u202e\ud800-\udfff]', text)


# Figures for the page

def test_a_figure_takes_the_colours_and_fonts_of_the_page(small):
    text = inline_svg(figures_of(small)['accuracy-cost'], 'one-', 'label')
    assert 'var(--blue)' in text and not re.search(r'#000000|#1f5a8a|font-family|<style|<metadata|<!--', text)
    ids = re.findall(r' id="(.*?)"', text)
    assert ids and all(i.startswith('one-') for i in ids)

def history(*accuracies, train=None):
    return SimpleNamespace(history=[SimpleNamespace(accuracy=a, train_accuracy=train) for a in accuracies])

def test_a_short_training_that_came_to_little_is_on_the_picture_too():
    low, high = accuracy_limits([history(*[.97] * 20), history(*[.98] * 20), history(.5, .5)])
    assert low < .5 and high > .98
    assert accuracy_limits([history(.5, .6, train=.9)])[1] > .9

def test_figures_of_an_earlier_comparison_do_not_stay_beside_the_new_page(pair_values, tmp_path):
    (tmp_path/'figures').mkdir()
    others = ['mine.png', 'confusion-notes.txt']
    old = ['confusion-resnet18.png', 'training-resnet18.svg', *others]
    for name in old: (tmp_path/'figures'/name).write_text('old')
    written = save_report(pair_values, tmp_path)
    names = [p.name for p in written[1:]]
    assert sorted(p.name for p in (tmp_path/'figures').iterdir()) == sorted(names + others)

def test_accuracy_limits_leave_room_for_all_but_the_wildest_beginnings():
    low, high = accuracy_limits([history(.1, *[.9] * 30), history(None, .95)])
    assert .85 < low < .9 and .95 < high < 1
    assert accuracy_limits([]) == (0, 1) and accuracy_limits([history(1., 1.)])[1] > 1
