"""The explorers `training` and `drawing` in a real browser: a net trained while the page answers, digits drawn.

The common server finds MNIST where it is there; a second one has the embedded digits only."""
import os, re, time
import psutil, pytest
from fastrecipes.explore.strokes import example_strokes
from pages import App, command, kernel_of, running, too_wide

CURVES, UNITS = 'img.fr-picture >> nth=0', 'img.fr-picture >> nth=1'
UPPER = ['simple_net', 'mlp', 'convnet'] # Not resnet18, which takes one of the sevens below for a 2


@pytest.fixture(scope='module')
def on_digits(app, tmp_path_factory):
    "The explorers on a machine without MNIST, in the same browser"
    home = tmp_path_factory.mktemp('bare')
    env = os.environ | dict(FASTAI_HOME=str(home/'fastai'), TMPDIR=str(home)) # The cache is the session's
    with running(command(), cwd=home, env=env) as (server, address): yield App(address, app.browser, server)


def said(page): return page.locator('.fr-status').inner_text()
def alt(page, picture): return page.locator(picture).evaluate('e => e.alt || e.title')
def src(page, picture): return page.locator(picture).get_attribute('src')

def wait(page, what, seconds=60):
    "Until `what()` is true"
    end = time.monotonic() + seconds
    while not (got := what()):
        assert time.monotonic() < end, (said(page), got)
        page.wait_for_timeout(50)
    return got

def epoch(page): return int(re.search(r'up to epoch (\d+)', alt(page, CURVES))[1])
def press(page, label): page.get_by_role('button', name=label, exact=True).click()
def knob(page, label): return page.get_by_role('slider', name=label, exact=True)

@pytest.fixture
def shot(tmp_path_factory):
    "Take a picture of a page, to be looked at: pytest --basetemp=DIR keeps it"
    return lambda page, name: page.screenshot(path=tmp_path_factory.getbasetemp()/f'{name}.png', full_page=True)


def test_a_net_is_trained_paused_changed_and_reset_while_the_page_answers(on_digits, shot):
    with on_digits.page('training') as page:
        untrained = said(page)
        assert epoch(page) == 0
        press(page, 'one epoch')
        wait(page, lambda: epoch(page) == 1)
        units = src(page, UNITS)
        press(page, 'start')
        wait(page, lambda: epoch(page) >= 5 and src(page, UNITS) != units)
        for label in ('learning rate', 'dropout', 'weight decay'): # While it runs, by keyboard
            knob(page, label).focus()
            page.keyboard.press('ArrowRight')
        wait(page, lambda: 'Epoch' in said(page) and epoch(page) >= 8)
        shot(page, 'training')
        press(page, 'pause')
        page.wait_for_timeout(400)
        at = epoch(page)
        page.wait_for_timeout(500)
        assert at == epoch(page) < 200
        press(page, 'start')
        wait(page, lambda: epoch(page) > at)
        press(page, 'reset')
        wait(page, lambda: epoch(page) == 0 and said(page) == untrained)
        page.wait_for_timeout(400)
        assert epoch(page) == 0 and page.get_by_role('button', name='start', exact=True).is_visible()
        knob(page, 'hidden units').focus()
        for _ in range(2): page.keyboard.press('ArrowRight')
        wait(page, lambda: '100' in alt(page, UNITS))
        page.locator('select').first.select_option('sigmoid')
        press(page, 'one epoch')
        wait(page, lambda: epoch(page) == 1)

def test_a_learning_rate_that_is_too_large_is_named_and_on_a_narrow_page_nothing_is_cut_off(on_digits, shot):
    with on_digits.page('training', width=400, height=800) as page:
        knob(page, 'learning rate').focus()
        page.keyboard.press('End')
        press(page, 'start')
        wait(page, lambda: re.search('Dead: all 30|Worse than guessing|Diverged', said(page)))
        shot(page, 'too-large-narrow')
        assert too_wide(page) == []

def test_a_closed_page_takes_its_training_with_it(on_digits):
    with on_digits.page('training') as page:
        kernel = kernel_of(page, on_digits.server)
        press(page, 'start')
        wait(page, lambda: epoch(page) >= 1)
        page.close(run_before_unload=True) # As a person closes a tab
        if not page.is_closed(): page.wait_for_event('close')
    assert psutil.wait_procs([kernel], timeout=30)[1] == [], 'the process of the page still runs'


ANSWERS, SEEN = 'img.fr-picture >> nth=0', 'img.fr-seen'

def draw(page, strokes):
    "With the mouse"
    box = page.locator('canvas').bounding_box()
    for stroke in strokes:
        points = [(box['x'] + x * box['width'], box['y'] + y * box['height']) for x, y in stroke[::3] + stroke[-1:]]
        page.mouse.move(*points[0])
        page.mouse.down()
        for p in points[1:]: page.mouse.move(*p)
        page.mouse.up()

def is_empty(page): return says(page, UPPER) == [None] * len(UPPER)

def says(page, rungs):
    "What each rung says, None where it says nothing yet"
    found = [re.search(rf'{name} says (\w+)', alt(page, ANSWERS)) for name in rungs]
    return [f and f[1] for f in found]

def check_3_and_7(page, rungs):
    hands = (3, 0, 5), (7, 0, None), (3, 1, 12), (7, 1, 12), (3, 0, 13), (7, 0, 11) # The bench has hundreds
    for digit, style, seed in hands:
        press(page, 'clear')
        wait(page, lambda: is_empty(page), 10)
        draw(page, example_strokes(digit, style, seed))
        page.wait_for_timeout(400) # Answers to what was drawn half-way do not count
        wait(page, lambda wanted=str(digit): says(page, rungs) == [wanted] * len(rungs), 10)

def test_a_3_and_a_7_drawn_with_the_mouse_are_read_by_the_upper_rungs(on_digits, shot):
    with on_digits.page('drawing', ready='canvas') as page:
        draw(page, example_strokes(3)) # Before the ladder is ready: each rung answers as soon as it is
        wait(page, lambda: 'similarity says 3' in alt(page, ANSWERS))
        wait(page, lambda: 'all ' in said(page), 600)
        wait(page, lambda: says(page, UPPER) == ['3'] * len(UPPER), 10)
        assert 'MNIST' not in said(page)
        check_3_and_7(page, UPPER)
        shot(page, 'drawn')
        before, seen = alt(page, ANSWERS), src(page, SEEN)
        for label, key in (('shift right', 'ArrowRight'), ('shift down', 'ArrowDown')):
            knob(page, label).focus()
            page.keyboard.press(key)
        wait(page, lambda: alt(page, ANSWERS) != before and src(page, SEEN) != seen, 10)
        shot(page, 'shifted')
        page.get_by_role('checkbox').click()
        wait(page, lambda: '8x8' in alt(page, SEEN), 10)

def test_keyboard_and_finger_work_and_a_narrow_page_cuts_nothing_off(on_digits, shot):
    with on_digits.page('drawing', ready='canvas', width=400, height=800, has_touch=True) as page:
        wait(page, lambda: 'all ' in said(page), 600) # Kept by the page before
        page.locator('select').first.select_option('4')
        wait(page, lambda: 'simple_net says' in alt(page, ANSWERS), 10)
        shot(page, 'drawing-narrow')
        assert too_wide(page) == []
        page.get_by_role('button', name='undo').focus()
        old = alt(page, ANSWERS)
        page.keyboard.press('Enter') # One of its two strokes
        wait(page, lambda: alt(page, ANSWERS) != old and not is_empty(page), 10)
        page.keyboard.press('Enter')
        wait(page, lambda: is_empty(page), 10)
        page.locator('canvas').scroll_into_view_if_needed()
        box = page.locator('canvas').bounding_box()
        page.touchscreen.tap(box['x'] + 100, box['y'] + 100)
        wait(page, lambda: not is_empty(page), 10)
        page.get_by_role('button', name='clear').focus()
        page.keyboard.press('Space')
        wait(page, lambda: is_empty(page), 10)

@pytest.mark.slow
def test_with_mnist_a_3_and_a_7_are_read_while_the_top_rung_is_still_trained(mnist, app, shot):
    with app.page('drawing', ready='canvas') as page:
        wait(page, lambda: 'MNIST' in said(page))
        draw(page, example_strokes(3))
        wait(page, lambda: says(page, UPPER[:2]) == ['3', '3'], 120)
        check_3_and_7(page, UPPER[:2])
        assert '28x28' in alt(page, SEEN)
        shot(page, 'drawn-mnist')
