"""Explorers 5 and 6 in a real browser: a net trained while the page answers, digits drawn with the mouse.

The common server finds MNIST where it is there; a second one has the embedded digits only."""
import os, re, time
import psutil, pytest
from fastrecipes.explore.strokes import example_strokes
from pages import App, command, kernel_of, running, too_wide

CURVES, UNITS = 'img.fr-picture >> nth=0', 'img.fr-picture >> nth=1'
UPPER = ['simple_net', 'mlp', 'resnet18'] # convnet, which learns from 8x8 digits, takes one of the two examples of a 3 for a 5


@pytest.fixture(scope='module')
def on_digits(app, tmp_path_factory):
    "The explorers on a machine without MNIST, in the same browser"
    home = tmp_path_factory.mktemp('bare')
    env = os.environ | dict(FASTAI_HOME=str(home/'fastai'), TMPDIR=str(home)) # The cache is the session's, and serves test_digits.py too
    with running(command(), cwd=home, env=env) as (server, address): yield App(address, app.browser, server)


def said(page): return page.locator('.fr-status').inner_text()
def alt(page, picture): return page.locator(picture).evaluate("e => e.alt || e.title")
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
def shot(page, tmp_path_factory, name): page.screenshot(path=tmp_path_factory.getbasetemp()/f'{name}.png', full_page=True)


def test_a_net_is_trained_paused_changed_and_reset_while_the_page_answers(on_digits, tmp_path_factory):
    with on_digits.page('training') as page:
        assert 'Not trained yet' in said(page) and epoch(page) == 0
        press(page, 'one epoch')
        wait(page, lambda: epoch(page) == 1)
        units = src(page, UNITS)
        press(page, 'start')
        wait(page, lambda: epoch(page) >= 5 and src(page, UNITS) != units)
        for label in ('learning rate', 'dropout', 'weight decay'): # While it runs, by keyboard
            knob(page, label).focus()
            page.keyboard.press('ArrowRight')
        wait(page, lambda: 'Epoch' in said(page) and epoch(page) >= 8)
        shot(page, tmp_path_factory, 'training')
        press(page, 'pause')
        page.wait_for_timeout(400)
        at = epoch(page)
        page.wait_for_timeout(500)
        assert at == epoch(page) < 200
        press(page, 'start')
        wait(page, lambda: epoch(page) > at)
        press(page, 'reset')
        wait(page, lambda: epoch(page) == 0 and 'Not trained yet' in said(page))
        page.wait_for_timeout(400)
        assert epoch(page) == 0 and page.get_by_role('button', name='start', exact=True).is_visible()
        knob(page, 'hidden units').focus()
        for _ in range(2): page.keyboard.press('ArrowRight')
        wait(page, lambda: 'weights of 100 hidden units' in alt(page, UNITS))
        page.locator('select').first.select_option('sigmoid')
        press(page, 'one epoch')
        wait(page, lambda: epoch(page) == 1)

def test_a_learning_rate_that_is_too_large_is_told_in_words_and_on_a_narrow_page_nothing_is_cut_off(on_digits, tmp_path_factory):
    with on_digits.page('training', width=400, height=800) as page:
        knob(page, 'learning rate').focus()
        page.keyboard.press('End')
        press(page, 'start')
        wait(page, lambda: re.search('Dead: all 30|Worse than guessing|Diverged', said(page)))
        shot(page, tmp_path_factory, 'too-large-narrow')
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

def says(page, rungs): return [re.search(rf"{n} says (\w+)", alt(page, ANSWERS))[1] if f'{n} says' in alt(page, ANSWERS) else None for n in rungs]

def check_3_and_7(page, rungs):
    for digit, style, seed in ((3, 0, 5), (7, 0, None), (3, 1, 12), (7, 1, 12), (3, 0, 13), (7, 0, 11)): # Of several sizes, in several places; bench/explore_digits.py counts hundreds
        press(page, 'clear')
        wait(page, lambda: alt(page, ANSWERS) == 'Nothing is drawn yet', 10)
        draw(page, example_strokes(digit, style, seed))
        page.wait_for_timeout(400) # Answers to what was drawn half-way do not count
        wait(page, lambda: says(page, rungs) == [str(digit)] * len(rungs), 10)

def test_a_3_and_a_7_drawn_with_the_mouse_are_read_by_the_upper_rungs(on_digits, tmp_path_factory):
    with on_digits.page('drawing', ready='canvas') as page:
        draw(page, example_strokes(3)) # Before the ladder is ready: each rung answers as soon as it is
        wait(page, lambda: 'similarity says 3' in alt(page, ANSWERS))
        wait(page, lambda: 'all 7 are ready' in said(page), 120)
        wait(page, lambda: says(page, UPPER) == ['3'] * len(UPPER), 10)
        assert 'the embedded digits' in said(page)
        check_3_and_7(page, UPPER)
        shot(page, tmp_path_factory, 'drawn')
        before, seen = alt(page, ANSWERS), src(page, SEEN)
        for label, key in (('shift right', 'ArrowRight'), ('shift down', 'ArrowDown')):
            knob(page, label).focus()
            page.keyboard.press(key)
        wait(page, lambda: alt(page, ANSWERS) != before and src(page, SEEN) != seen, 10)
        shot(page, tmp_path_factory, 'shifted')
        page.get_by_role('checkbox').click()
        wait(page, lambda: '8x8' in alt(page, SEEN), 10)

def test_undo_clear_and_examples_work_by_keyboard_a_finger_draws_and_a_narrow_page_cuts_nothing_off(on_digits, tmp_path_factory):
    with on_digits.page('drawing', ready='canvas', width=400, height=800, has_touch=True) as page:
        wait(page, lambda: 'all 7 are ready' in said(page), 120) # Kept by the page before
        page.locator('select').first.select_option('4')
        wait(page, lambda: 'simple_net says' in alt(page, ANSWERS), 10)
        shot(page, tmp_path_factory, 'drawing-narrow')
        assert too_wide(page) == []
        page.get_by_role('button', name='undo').focus()
        old = alt(page, ANSWERS)
        page.keyboard.press('Enter') # One of its two strokes
        wait(page, lambda: alt(page, ANSWERS) not in (old, 'Nothing is drawn yet'), 10)
        page.keyboard.press('Enter')
        wait(page, lambda: alt(page, ANSWERS) == 'Nothing is drawn yet', 10)
        page.locator('canvas').scroll_into_view_if_needed()
        box = page.locator('canvas').bounding_box()
        page.touchscreen.tap(box['x'] + 100, box['y'] + 100)
        wait(page, lambda: alt(page, ANSWERS) != 'Nothing is drawn yet', 10)
        page.get_by_role('button', name='clear').focus()
        page.keyboard.press('Space')
        wait(page, lambda: alt(page, ANSWERS) == 'Nothing is drawn yet', 10)

@pytest.mark.slow
def test_with_mnist_a_3_and_a_7_are_read_while_the_top_rung_is_still_trained(mnist, app, tmp_path_factory):
    with app.page('drawing', ready='canvas') as page:
        wait(page, lambda: 'learnt from MNIST' in said(page))
        draw(page, example_strokes(3))
        wait(page, lambda: says(page, UPPER[:2]) == ['3', '3'], 120)
        check_3_and_7(page, UPPER[:2])
        assert '28x28' in alt(page, SEEN)
        shot(page, tmp_path_factory, 'drawn-mnist')
