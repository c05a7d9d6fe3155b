"The parts of the explorers, without a browser: pictures, callbacks, runners, panels"
import asyncio, shutil, subprocess
from importlib.resources import files
from io import BytesIO
import ipywidgets as w, numpy as np, pytest
from hypothesis import given, strategies as st
from PIL import Image
from conftest import refused
from fastrecipes.explore import controls
from fastrecipes.explore.controls import (
    button, choice, errors_of, log_slider, muted, page_file, Panel, Picture, row, Runner, slider, still, tick,
    value_slider, watch,
)


def draw(fig, slope, top=1.):
    ax = fig.add_subplot(xlabel='x', ylabel='y', title=f'slope {slope}', ylim=(0, top))
    ax.plot([0, 1], [0, slope])

def pixels(picture): return np.asarray(Image.open(BytesIO(bytes(picture.value))))


# Pictures

@pytest.mark.parametrize('shape', [(1, 1, 4), (7, 3, 4), (300, 500, 4)])
def test_a_png_has_every_pixel(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    back = Image.open(BytesIO(controls._png(image)))
    assert back.mode == 'RGB' and np.array_equal(np.asarray(back), image[..., :3])


def test_a_picture_is_drawn_at_twice_its_size_and_keeps_the_values_that_are_not_given():
    p = Picture(draw, 3, 2, lambda slope, top=1.: f'{slope} {top}', slope=2.)
    assert pixels(p).shape == (400, 600, 3) and p.layout.width == '300px' and p.layout.max_width == '100%'
    before = bytes(p.value)
    p.update(top=5.)
    assert p.values == dict(slope=2., top=5.) and p.tooltip == '2.0 5.0' and bytes(p.value) != before
    p.update(top=1.)
    assert bytes(p.value) == before


def test_axes_that_stay_in_place_look_as_if_they_were_laid_out_anew():
    moved, fresh = (Picture(draw, 3, 2, 'a line', slope=s) for s in (.2, .7))
    moved.update(slope=.7)
    assert np.array_equal(pixels(moved), pixels(fresh))
    moved.update(top=1000.)  # Wider numbers on the axis
    assert np.array_equal(pixels(moved), pixels(Picture(draw, 3, 2, 'a line', slope=.7, top=1000.)))


def test_a_still_is_drawn_by_the_same_function_and_no_style_is_left_behind():
    import matplotlib as mpl
    before = dict(mpl.rcParams)
    ax, = still(draw, 3, 2, slope=3.).axes
    assert ax.get_title() == 'slope 3.0' and not ax.spines['top'].get_visible()
    assert dict(mpl.rcParams) == before


# Callbacks

def test_an_error_in_a_callback_is_one_line_of_text_on_the_panel_until_the_next_move_works():
    s, b = slider('s', 1, 0, 9), button('press')
    def moved(change):
        if change.new > 5: raise ValueError('<img src=x>\nis too large')
    watch(s, moved)
    watch(b, lambda _: 1 / 0)
    here = Panel('Title', 'Text', [s, row(b)])
    s.value = 6
    assert here.said.endswith('ValueError: <img src=x> is too large')
    assert 'fr-wrong' in here.status.value and '<img' not in here.status.value
    s.value = 2
    assert here.said == ''
    b.click()
    assert 'ZeroDivisionError' in here.said


def test_what_a_panel_said_comes_back_when_an_error_is_over():
    s = slider('x', 1, 0, 3)
    here = Panel('t', 'x', [s])
    watch(s, lambda change: 1 / change.new)
    here.say('sgd failed', wrong=True)
    s.value = 0
    assert 'ZeroDivisionError' in here.said
    s.value = 2
    assert here.said == 'sgd failed' and 'fr-wrong' in here.status.value
    s.value = 3
    assert here.said == 'sgd failed'


def test_an_error_outside_of_any_panel_is_raised():
    s = slider('s', 1, 0, 9)
    watch(s, lambda change: 1 / change.new)
    with pytest.raises(ZeroDivisionError): s.value = 0


def test_strict_raises_where_the_widget_was_changed(strict):
    s, b = slider('s', 1, 0, 9), button('press')
    watch([s, b], lambda event: {}['nothing'])
    Panel('Title', 'Text', [s, b])
    with pytest.raises(KeyError): s.value = 0
    with pytest.raises(KeyError): b.click()
    with pytest.raises(KeyError):
        with errors_of(b): {}['nothing']


def test_without_strict_ipywidgets_hides_the_error_of_a_button():
    b = w.Button() # What `strict` is for; when this fails, it can go
    b.on_click(lambda _: 1 / 0)
    b.click()


def test_muted_widgets_call_nothing_and_are_heard_again_afterwards():
    s, seen = slider('s', 1, 0, 9), []
    watch(s, lambda change: seen.append(change.new))
    with muted(s): s.value = 2
    s.value = 3
    assert seen == [3]


# Runners

def counter(n, **kwargs):
    "A runner of `n` steps, and what the button said at each"
    count, b = [], button('run')
    def steps():
        for _ in range(n):
            count.append(b.description)
            yield
    return count, Runner(b, steps, **kwargs)


def test_a_runner_runs_to_the_end_where_nothing_else_could_have_a_turn():
    count, runner = counter(5, while_running='pause')
    runner.button.click()
    assert count == ['pause'] * 5 and not runner.running and runner.button.description == 'run'


def test_between_two_steps_others_have_a_turn_and_a_click_stops():
    count, runner = counter(1000, pause=0)
    async def page():
        runner.button.click()
        assert count == [] and runner.button.description == 'stop'
        while len(count) < 3: await asyncio.sleep(0)
        runner.button.click()
        done = len(count)
        for _ in range(9): await asyncio.sleep(0)
        assert len(count) == done and runner.button.description == 'run' and runner.task.done()
    asyncio.run(asyncio.wait_for(page(), 60))


def test_stopped_and_started_at_once_a_runner_runs_once():
    count, runner = counter(1000, pause=.01)
    async def page():
        runner.start()
        await asyncio.sleep(0)
        first = runner.task
        runner.stop()
        runner.start()
        await asyncio.sleep(.05)
        assert first.done() and not runner.task.done() and runner.running
        runner.stop()
        await runner.task
    asyncio.run(page())


def test_stopped_before_its_first_step_a_runner_takes_none():
    count, runner = counter(1000)
    async def page():
        runner.start()
        runner.stop()
        await runner.task
    asyncio.run(page())
    assert count == []


def test_an_error_in_a_step_ends_the_run_and_is_shown():
    b = button('run')
    def steps():
        yield 1 / 0
    runner = Runner(b, steps)
    here = Panel('Title', 'Text', [b])
    async def page():
        runner.start()
        await runner.task
    asyncio.run(page())
    assert not runner.running and b.description == 'run' and 'ZeroDivisionError' in here.said


# Controls and panels

def test_a_panel_shows_its_texts_as_they_are_and_finds_its_controls():
    s, c = slider('learning rate', .1, 0., 1.), choice('fit', ['a', 'b'], 'b')
    here = Panel('a < b', 'x & y', [s, row(c)])
    assert '<h2>a &lt; b</h2><p>x &amp; y</p>' in here.children[0].value
    assert here.control('fit') is c and c.value == 'b'
    assert s.style.description_width == c.style.description_width
    with refused("'learn rate'", "'learning rate'"): here.control('learn rate')


@given(at=st.floats(-2, 2), steps=st.integers(1, 5), up=st.booleans())
def test_the_page_rounding_what_code_set_is_no_move_and_a_key_press_is(at, steps, up):
    s, seen = slider('s', 0., -4., 4., .1), []
    s.value = at
    watch(s, lambda change: seen.append(change.new))
    shown = round(at * 10) / 10
    s.set_state({'value': shown})
    assert s.value == at and seen == []
    pressed = shown + (steps if up else -steps) * .1
    if abs(pressed - at) < .0501: return # Half-way between two steps
    s.set_state({'value': pressed})
    assert seen == [s.value] == [pressed]

def test_the_page_rounding_a_log_slider_is_no_move_either():
    s = log_slider('lr', .05, .001, 1)
    s.set_state({'value': 10**-1.3})
    assert s.value == .05
    s.set_state({'value': 10**-1.2})
    assert s.value == 10**-1.2

def test_sliders_are_of_whole_numbers_where_all_that_they_are_given_is():
    whole, part, log = slider('n', 1, 1, 10), slider('n', 1, 0, .5, .25), log_slider('lr', .01, .001, 10)
    assert isinstance(whole, w.IntSlider) and whole.step == 1
    assert isinstance(part, w.FloatSlider) and part.value == .5
    assert (log.min, log.max, log.value) == (-3, 1, .01) and tick('yes', True).value is True
    assert [label for label, _ in value_slider('wd', (0, .001, 2.5), 0).options] == ['0', '0.001', '2.5']


# Files of the page

SCRIPTS = sorted(p.name for p in (files('fastrecipes.explore')/'page').iterdir() if p.name.endswith('.js'))

def test_nothing_is_fetched_from_elsewhere():
    names = [*SCRIPTS, 'explorers.css', 'drawing_pad.css', 'page.css']
    assert len(names) == 5
    for name in names: assert '//' not in page_file(name).replace('// ', '') and '@import' not in page_file(name), name

@pytest.mark.skipif(shutil.which('node') is None, reason='needs node')
@pytest.mark.parametrize('name', SCRIPTS)
def test_a_script_can_be_read(name, tmp_path):
    (tmp_path/'script.mjs').write_text(page_file(name), encoding='utf-8')
    r = subprocess.run(['node', '--check', tmp_path/'script.mjs'], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
