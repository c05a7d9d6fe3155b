"""The page in a real browser: it asks nobody, sorts, folds, prints, and can be read by everybody"""
import re
from contextlib import contextmanager
import pytest
from pages import CHROMIUM, FLAGS
from fastrecipes.answer.report import report_html, save_report

HOSTILE = [
    '<script>alert(1)</script>', '<img src=x onerror=alert(1)>', '"><b>bold</b>', "' onmouseover='alert(1)", '$x_1$',
    '{{7*7}}', '{% raw %}', 'ثلاثة', '👩‍🔬', '</style><style>*{display:none}', '--><b>', '&lt;i&gt;', 'a' * 200,
]


@pytest.fixture(scope='module')
def browser():
    if CHROMIUM is None: pytest.skip('needs Chromium (on Debian: apt-get install chromium)')
    playwright = pytest.importorskip('playwright.sync_api', reason="needs playwright (pip install 'fastrecipes[dev]')")
    with playwright.sync_playwright() as p:
        it = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield it
        it.close()


@contextmanager
def opened(browser, file, width=1400, height=900, **context):
    "A page from the disk; at the end it must have had no error or dialog, and asked for nothing but itself"
    wrong, context = [], browser.new_context(viewport=dict(width=width, height=height), **context)
    page = context.new_page()
    def requested(request):
        is_own = request.url.startswith('data:') or request.url.split('#')[0] == file.as_uri()
        if not is_own: wrong.append(f'request to {request.url}')
    page.on('request', requested)
    page.on('console', lambda m: wrong.append(f'{m.type}: {m.text}'))
    page.on('pageerror', lambda e: wrong.append(f'error: {e}'))
    page.on('dialog', lambda d: (wrong.append(f'dialog: {d.message}'), d.dismiss()))
    try:
        page.goto(file.as_uri())
        yield page
        assert not wrong, wrong
    finally: context.close()


@pytest.fixture(scope='module')
def one(ladder_values, tmp_path_factory):
    file = tmp_path_factory.mktemp('one')/'report.html'
    file.write_text(report_html(ladder_values), 'utf-8')
    return file

@pytest.fixture(scope='module')
def several(ladder_values, pair_values, tmp_path_factory):
    file = tmp_path_factory.mktemp('several')/'report.html'
    file.write_text(report_html([ladder_values, pair_values, ladder_values.model_copy(update=dict(seed=7))]), 'utf-8')
    return file

@pytest.fixture(params=['one', 'several'])
def file(request): return request.getfixturevalue(request.param)


def first_column(page):
    cells = page.locator('table[data-sortable] >> nth=0').locator('tbody th').all_inner_texts()
    return [text.split('\n')[0].strip() for text in cells]

def unfold(page): page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")


@pytest.mark.parametrize('scheme', ['light', pytest.param('dark', marks=pytest.mark.slow)])
@pytest.mark.parametrize('width', [400, pytest.param(1400, marks=pytest.mark.slow)])
def test_axe_finds_no_violation_and_nothing_is_wider_than_the_window(browser, file, width, scheme):
    reason = "needs axe-playwright-python (pip install 'fastrecipes[dev]')"
    axe = pytest.importorskip('axe_playwright_python.sync_playwright', reason=reason).Axe()
    with opened(browser, file, width, color_scheme=scheme) as page:
        unfold(page)
        violations = [(v['id'], [n['target'] for n in v['nodes'][:3]]) for v in axe.run(page).response['violations']]
        assert violations == []
        assert page.evaluate('document.documentElement.scrollWidth') <= width

def test_a_column_sorts_by_click_and_again_the_other_way(browser, one, ladder_values):
    with opened(browser, one) as page:
        fitted = [r for r in ladder_values.rungs if r.is_fitted]
        failed = [r.recipe for r in ladder_values.rungs if not r.is_fitted]
        head = page.locator('.ladder th', has_text='Training time')
        assert first_column(page) == [r.recipe for r in ladder_values.rungs]
        head.get_by_role('button').click()
        up = [r.recipe for r in sorted(fitted, key=lambda r: r.cost.train_seconds)]
        assert first_column(page) == up + failed and head.get_attribute('aria-sort') == 'ascending'
        head.get_by_role('button').click()
        assert first_column(page) == up[::-1] + failed and head.get_attribute('aria-sort') == 'descending'
        assert page.locator('th[aria-sort]:not([aria-sort=none])').count() == 1
        assert 'Training time, highest first' in page.locator('#c1-table [role=status]').text_content()

def test_a_column_sorts_by_keyboard(browser, one, ladder_values):
    with opened(browser, one) as page:
        head = page.locator('.ladder th', has_text=re.compile('^Accuracy'))
        head.get_by_role('button').focus()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == 'solid'
        page.keyboard.press('Enter')
        best = sorted((r for r in ladder_values.rungs if r.is_fitted), key=lambda r: -r.accuracy)
        assert first_column(page)[0] == best[0].recipe and head.get_attribute('aria-sort') == 'descending'
        page.keyboard.press(' ')
        assert head.get_attribute('aria-sort') == 'ascending' and first_column(page)[0] == best[-1].recipe

def test_the_first_stop_of_the_keyboard_leads_past_the_head(browser, one):
    with opened(browser, one) as page:
        page.keyboard.press('Tab')
        assert page.evaluate('document.activeElement.className') == 'skip'
        assert page.locator('.skip').bounding_box()['y'] >= 0
        page.keyboard.press('Enter')
        assert page.evaluate('document.activeElement.id') == 'main'

def test_a_link_to_a_rung_opens_what_is_folded(browser, one, ladder_values):
    with opened(browser, one) as page:
        closed = page.locator('details[id]:not([open])').first
        id = closed.get_attribute('id')
        page.locator(f'a[href="#{id}"]').click()
        page.wait_for_function('id => document.getElementById(id).open', arg=id)

def test_the_command_can_be_copied(browser, one, ladder_values):
    with opened(browser, one) as page:
        page.context.grant_permissions(['clipboard-read', 'clipboard-write'])
        page.get_by_role('button', name='Copy').click()
        page.get_by_role('button', name='Copied').wait_for()
        assert page.evaluate('navigator.clipboard.readText()') == ladder_values.command

def test_without_javascript_everything_is_there_but_the_sorting(browser, one):
    with opened(browser, one, java_script_enabled=False) as page:
        assert page.locator('th button').count() == page.locator('button').count() == 0
        folded = page.locator('details[id]:not([open])').first
        folded = page.locator('#' + folded.get_attribute('id'))
        assert not folded.locator('table').first.is_visible()
        folded.locator('summary').click()
        assert folded.locator('table').first.is_visible()

def test_it_prints_unfolded_on_white_paper(browser, one):
    with opened(browser, one, color_scheme='dark') as page:
        page.emulate_media(media='print')
        assert page.evaluate('getComputedStyle(document.body).backgroundColor') == 'rgb(255, 255, 255)'
        visible = page.evaluate("""[...document.querySelectorAll('.gallery img')]
            .map(image => image.checkVisibility({contentVisibilityAuto: true}))""")
        assert page.locator('details:not([open])').count() and visible and all(visible)
        left_out = page.evaluate("""['.skip', '.copy', '.contents']
            .map(query => getComputedStyle(document.querySelector(query)).display)""")
        assert left_out == ['none'] * 3
        assert page.pdf(format='A4').startswith(b'%PDF')

def test_figures_follow_the_colours_of_the_page(browser, one):
    colours = []
    for scheme in ('light', 'dark'):
        with opened(browser, one, color_scheme=scheme) as page:
            drawn = page.evaluate("getComputedStyle(document.querySelector('svg.plot text')).fill")
            assert drawn == page.evaluate('getComputedStyle(document.body).color')
            colours.append(drawn)
    assert colours[0] != colours[1]

def test_every_picture_is_drawn(browser, several):
    with opened(browser, several) as page:
        unfold(page)
        drawn = page.evaluate('[...document.images].map(image => image.complete && image.naturalWidth > 0)')
        assert len(drawn) > 20 and all(drawn)

def write_images(folder, names):
    "Ten small images of each class, in files that are named like HTML"
    import numpy as np
    from PIL import Image
    rng = np.random.default_rng(0)
    for i, name in enumerate(names):
        (folder/name).mkdir(parents=True)
        for j in range(10):
            pixels = rng.integers(0, 200, (8, 8)) + 3 * i
            Image.fromarray(pixels.astype(np.uint8)).save(folder/name/f'<img src=x onerror=alert({j})>.png')

def test_folders_and_files_named_like_html_are_shown_and_run_nothing(browser, tmp_path):
    from fastrecipes.answer.climb import compare
    from fastrecipes.data.sources import load
    names = [n.replace('/', '\u2215') for n in HOSTILE]
    write_images(tmp_path/'set', names)
    command = '<script>alert(2)</script>'
    quick = {'linear': {'epochs': 2}}
    values = compare(load(tmp_path/'set'), ['similarity', 'linear'], device='cpu', settings=quick, command=command)
    file, = [p for p in save_report(values, tmp_path/'<b>out') if p.suffix == '.html']
    with opened(browser, file) as page:
        unfold(page)
        seen = page.locator('body').inner_text()
        assert [n for n in [*names, command, '<img src=x onerror=alert('] if n not in seen] == []
        assert page.locator('script').count() == 1
        assert page.evaluate('getComputedStyle(document.body).display') == 'block'

def test_a_script_that_got_in_would_not_run(browser, one, tmp_path):
    "The policy of the page, for the day on which an escape is forgotten"
    file = tmp_path/'report.html'
    script = '<script>document.title = "taken"</script>'
    image = '<img src="https://elsewhere.example/x.png" onerror="document.title = \'taken\'">'
    file.write_text(one.read_text().replace('<h1>', f'{script}{image}<h1>'), 'utf-8')
    page = browser.new_page()
    page.goto(file.as_uri())
    assert page.title() != 'taken' and page.locator('th button').count() > 5
    page.close()
