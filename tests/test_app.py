"The explorers in headless Chromium, and the server behind them, as processes that a user starts and stops"
import asyncio, json, os, re, signal, socket, subprocess, threading, time
from contextlib import contextmanager, suppress
from http.client import HTTPException
from ipaddress import ip_address
from urllib.request import HTTPCookieProcessor, build_opener
import ipywidgets as w, psutil, pytest
from conftest import refused
from pages import after, command, first_line, kernel_of, kernels, kill, running, too_wide
from fastrecipes.explore import app as app_module, explorers as explorers_room
from fastrecipes.explore.app import serve
from fastrecipes.explore.explorers import explore, Explorers, explorers, Opened

# An explorer, and one of its sliders
OURS = {'quadratic': 'a', 'relus': 'slope', 'surface': 'start, slope', 'network': 'input x'}


# Without a browser

def test_explorers_are_made_when_they_are_opened_and_kept(strict):
    it = explore('relus')
    assert list(it.made) == ['relus'] and it.place.children == (it.made['relus'],)
    panel = it.made['relus']
    it.buttons['network'].click()
    assert list(it.made) == ['relus', 'network']
    assert [n for n, b in it.buttons.items() if 'fr-here' in b._dom_classes] == ['network']
    it.buttons['relus'].click()
    assert it.place.children == (panel,)

def test_an_unknown_explorer_is_refused():
    with refused("'surfaces'", "'surface'"): explore('surfaces')

def test_every_button_leads_to_an_explorer_that_exists():
    it = Explorers(first=None)
    assert list(it.buttons) == list(explorers) and len(explorers) == 6 and it.made == {}
    for opened in explorers.values(): assert opened.label and callable(getattr(opened.module(), opened.function))


def test_an_explorer_that_cannot_be_made_says_so_in_its_place(monkeypatch):
    broken = Opened('Network', 'gradient_explorers', 'explore_<nothing>')
    monkeypatch.setitem(explorers_room.explorers, 'network', broken)
    async def page():
        it = explore('network')
        with pytest.raises(AttributeError): await it.task
        return it.place.children[0].value
    said = asyncio.run(page())
    assert 'AttributeError' in said and 'explore_&lt;nothing&gt;' in said

def test_in_a_notebook_the_first_explorer_comes_while_the_page_lives():
    async def page():
        it = explore('relus')
        assert it.made == {} and len(it.place.children) == 1
        await it.task
        return it
    it = asyncio.run(page())
    assert it.place.children == (it.made['relus'],)

@pytest.fixture
def served_page(monkeypatch):
    "Run the command `explore` where the server only runs the page's code; gives how it ended, and the page"
    import nbformat
    from test_cli import called
    pages = []
    class Server:
        def __init__(self, code): self.code = code
        def start(self):
            names = {}
            exec(self.code.replace('\nExplorers', '\npage = Explorers'), names)
            pages.append(names['page'])
    def make_server(sock, home, *rest): return Server(nbformat.read(home/'explore.ipynb', 4).cells[0].source)
    monkeypatch.setattr(app_module, 'make_server', make_server)
    return lambda: (called('explore', '--no-browser', '--port', '0'), pages)

def test_the_command_hands_its_settings_ini_to_the_page(served_page, monkeypatch, tmp_path):
    from fastrecipes.explore import drawing
    (tmp_path/'settings.ini').write_text('[fastrecipes]\nseed = 7\n[mlp]\nhidden = 8,8\nlr = auto\nbest = no\n')
    given = []
    def explore_drawing(settings=None):
        given.append(settings)
        return w.HTML('')
    monkeypatch.setattr(drawing, 'explore_drawing', explore_drawing)
    result, pages = served_page()
    assert result.returncode == 0
    pages[0].show('drawing')
    assert given == [{'fastrecipes': {'seed': 7}, 'mlp': {'hidden': (8, 8), 'lr': None, 'best': False}}]
    ladder = drawing.KeptLadder('digits', ['similarity'], given[0])
    ladder.stop()
    assert ladder.seed == 7

def test_a_wrong_settings_ini_is_refused_before_a_page_is_served(served_page, tmp_path):
    (tmp_path/'settings.ini').write_text('[fastrecipes]\nseed = -1\n')
    result, pages = served_page()
    assert result.returncode == 2 and pages == []
    assert 'settings.ini' in result.stderr and "seed='-1'" in result.stderr


@pytest.fixture
def taken():
    "A port on which something listens"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        yield s.getsockname()[1]

def test_a_port_that_is_taken_is_refused(taken):
    with refused(taken, '--port'): serve(taken, browser=False)

def test_without_a_port_the_next_free_one_is_taken():
    with app_module.bind(None) as first, app_module.bind(None) as second:
        a, b = (s.getsockname() for s in (first, second))
        assert a[0] == '127.0.0.1' and 8866 <= a[1] < b[1]

# The server

@pytest.fixture
def started(tmp_path):
    "Start the server; ended, with the processes that it has, at the end of the test"
    servers = []
    def start(*options, **env):
        (tmp_path/'temp').mkdir(exist_ok=True)
        env = os.environ | {'TMPDIR': str(tmp_path/'temp')} | env
        s = subprocess.Popen(command(*options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        servers.append(s)
        return s
    yield start
    for s in servers:
        kill(s)
        s.communicate(timeout=30)

def wait_for(f, seconds=60):
    "The first true value of `f()`"
    end = time.monotonic() + seconds
    while not (value := f()):
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(.05)
    return value

@contextmanager
def heeded(sent):
    "Processes that are started meanwhile heed the signal, though nohup may have told this one to ignore it"
    before = signal.getsignal(sent)
    if before == signal.SIG_IGN: signal.signal(sent, signal.SIG_DFL)
    try: yield
    finally: signal.signal(sent, before)

OTHERS = [getattr(signal, name) for name in ('SIGTERM', 'SIGHUP') if hasattr(signal, name)]

@pytest.mark.parametrize('sent', [signal.SIGINT, *(pytest.param(s, marks=pytest.mark.slow) for s in OTHERS)])
def test_the_server_says_one_line_and_ends_leaving_nothing_behind(started, tmp_path, sent):
    with heeded(sent): server = started()
    said = first_line(server)
    assert re.search(r' http://127\.0\.0\.1:\d+/\?token=[\w-]{22} ', said)
    ours = wait_for(lambda: kernels(server))
    server.send_signal(sent)
    out, err = server.communicate(timeout=30)
    assert (server.returncode, out, err) == (0, '', '')
    assert psutil.wait_procs(ours, timeout=10)[1] == [] and list((tmp_path/'temp').iterdir()) == []

DIES = "raise SystemExit('broken on purpose')"
FAILS = """
from fastrecipes.explore import explorers
class Explorers:
    def __init__(self, *args, **kwargs): raise OSError('no such luck')
explorers.Explorers = Explorers
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()"""

def open_page(address):
    "Ask for a page as a browser does, and do not wait for its end"
    with suppress(OSError, HTTPException): build_opener(HTTPCookieProcessor()).open(address, timeout=60).read()

@pytest.mark.parametrize('launcher, why', [
    pytest.param(DIES, 'RuntimeError', id='dies'),
    pytest.param(FAILS, 'OSError: no such luck', id='fails', marks=pytest.mark.slow),
])
def test_the_terminal_says_why_a_page_cannot_be_shown(started, tmp_path, launcher, why):
    (tmp_path/'ipykernel_launcher.py').write_text(launcher)
    server = started(PYTHONPATH=str(tmp_path))
    address = first_line(server).split(' at ')[1].split()[0]
    threading.Thread(target=open_page, args=[address], daemon=True).start()
    said = 'broken on purpose'
    while 'broken on purpose' in said: said = first_line(server, server.stderr)
    assert said.startswith('fastrecipes: ') and why in said

@pytest.mark.slow
def test_the_page_runs_in_this_python_whatever_the_user_has_named_python3(tmp_path):
    spec = tmp_path/'kernels'/'python3'
    spec.mkdir(parents=True)
    (spec/'kernel.json').write_text(json.dumps(dict(argv=['false'], display_name='Another', language='python')))
    with running(command(), env=os.environ | {'JUPYTER_PATH': str(tmp_path)}) as (server, _):
        ours = wait_for(lambda: kernels(server))
        assert ours[0].exe() == psutil.Process(server.pid).exe()

@pytest.mark.slow
def test_it_opens_the_browser_unless_told_not_to(tmp_path):
    (tmp_path/'browse').write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    (tmp_path/'browse').chmod(0o755)
    with running(command()[:-1], env=os.environ | {'BROWSER': f'{tmp_path}/browse %s'}) as (_, address):
        wait_for(lambda: (tmp_path/'opened').exists() and (tmp_path/'opened').read_text().strip() == address)

def test_processes_of_pages_that_are_gone_are_ended_after_a_while(tmp_path):
    c = app_module.voila_config(tmp_path)
    kernels = c['MappingKernelManager']
    assert 0 < kernels['cull_idle_timeout'] <= 3600 and kernels['cull_interval'] > 0
    assert c['Voila']['ip'] == '127.0.0.1'


# In the browser

def handle(page, name): return page.get_by_role('slider', name=name, exact=True)

def open_from_page(page, name):
    page.locator(f'.fr-to-{name}').click()
    page.locator(f'.fr-to-{name}.fr-here').wait_for()
    page.get_by_role('slider', name=OURS[name], exact=True).wait_for()

@pytest.fixture(scope='module')
def wide(app):
    "A page on a wide screen, on which all tests play one after the other"
    with app.page('quadratic', width=1400) as page: yield page

@pytest.fixture(scope='module')
def narrow(app):
    with app.page('surface', width=400, height=800, has_touch=True) as page: yield page

def test_the_page_is_ours_and_shows_no_code(wide):
    assert wide.title().startswith('Quadratic') and wide.url.endswith('#quadratic')
    assert wide.locator('html').get_attribute('lang') == 'en' and wide.locator('link[rel=icon]').count() == 1
    assert wide.locator('h1').count() == wide.locator('h2').count() == 1
    assert wide.locator('.jp-InputArea, .jp-CodeMirrorEditor, pre').count() == 0

@pytest.mark.parametrize('name', OURS)
def test_the_picture_follows_keyboard_mouse_and_buttons(wide, name):
    open_from_page(wide, name)
    slider = handle(wide, OURS[name])
    before = float(slider.get_attribute('aria-valuetext'))
    after(wide, lambda: slider.press('ArrowRight'))
    assert float(slider.get_attribute('aria-valuetext')) > before
    box = slider.bounding_box()
    def drag():
        wide.mouse.move(box['x'] + 8, box['y'] + 8)
        wide.mouse.down()
        wide.mouse.move(box['x'] - 40, box['y'] + 8, steps=4)
        wide.mouse.up()
    after(wide, drag)
    after(wide, lambda: wide.locator('.fr-main').press('Enter'))
    after(wide, lambda: wide.get_by_role('button', name='start again').click())
    words = wide.locator('img.fr-picture').first.get_attribute('alt')
    assert len(words) > 20 and 'undefined' not in words

def test_a_run_shows_many_pictures_while_the_page_lives_and_stops_when_told(wide):
    open_from_page(wide, 'relus')
    wide.evaluate('''() => {
        window.shown = 0
        document.querySelector('img.fr-picture').addEventListener('load', () => shown++)
    }''')
    wide.get_by_role('button', name='run').click()
    wide.wait_for_function('shown > 4')
    wide.get_by_role('button', name='stop').click()
    wide.get_by_role('button', name='run').wait_for()
    seen = None
    for _ in range(10): # Pictures that were on their way may still arrive
        before, seen = seen, wide.evaluate('shown')
        if seen == before: break
        wide.wait_for_timeout(500)
    assert seen == before < 80

def test_divergence_is_told_in_words(wide):
    open_from_page(wide, 'surface')
    after(wide, lambda: handle(wide, 'steps').press('End'))
    for _ in range(5): handle(wide, 'learning rate').press('PageUp')
    status = wide.get_by_role('status')
    status.get_by_text('Diverg').wait_for()
    assert 'learning rate' in status.inner_text()

FOCUSED = "() => { const e = document.activeElement; return e.getAttribute('aria-label') || e.textContent }"

def test_every_control_can_be_reached_and_is_named(wide):
    open_from_page(wide, 'network')
    wide.locator('.fr-to-quadratic').focus()
    names = []
    for _ in range(50):
        names.append(wide.evaluate(FOCUSED))
        wide.keyboard.press('Tab')
        if names[-1] == 'start again': break
    wanted = {'Quadratic', 'Network', 'input x', 'input x, as a number', 'b of ŷ', 'learning rate', 'one SGD step'}
    assert wanted - set(names) == set() and '' not in names and names[-1] == 'start again'

CONTRAST = """() => { // Of each element with text, below 4.5
    const rgb = color => (color.match(/[\\d.]+/g) || []).map(Number)
    const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4
    const light = color => color.slice(0, 3).reduce((sum, v, i) => sum + linear(v / 255) * [.2126, .7152, .0722][i], 0)
    const ground = element => {
        for (let e = element; e; e = e.parentElement) {
            const color = rgb(getComputedStyle(e).backgroundColor)
            if (color.length === 3 || color[3] === 1) return color
        }
        return [255, 255, 255]
    }
    const hasText = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
    const written = [...document.querySelectorAll('#rendered_cells *')]
        .filter(e => e.getClientRects().length && e.tagName !== 'STYLE' && hasText(e))
    if (written.length < 15) return ['too little text']
    const contrast = e => {
        const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x)
        return (a + .05) / (b + .05)
    }
    return written.map(e => [contrast(e), e.textContent]).filter(([ratio]) => ratio < 4.5)
}"""

@pytest.mark.parametrize('name', OURS)
def test_type_stands_out_from_its_ground(wide, name):
    "WCAG AA: a contrast of 4.5, or 3 for large type"
    open_from_page(wide, name)
    assert wide.evaluate(CONTRAST) == []

CUT_OFF = """() => [...document.querySelectorAll('.fr-panel .widget-label, .fr-panel button, .fr-nav button')]
    .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"""

@pytest.mark.parametrize('name', OURS)
def test_at_400_pixels_nothing_is_cut_off_and_the_picture_stays_in_sight(narrow, name):
    open_from_page(narrow, name)
    assert too_wide(narrow) == []
    controls, picture = (narrow.locator(q).first.bounding_box() for q in ('.fr-controls', 'img.fr-picture'))
    assert picture['width'] <= 400 and picture['y'] + picture['height'] <= 801 and controls['y'] < picture['y']
    after(narrow, lambda: handle(narrow, OURS[name]).press('ArrowLeft'))
    assert narrow.evaluate(CUT_OFF) == []

def test_screenshots(wide, narrow, tmp_path):
    "To be looked at: pytest --basetemp=DIR keeps them"
    for page, *size in ((wide, 1400, 900), (narrow, 400, 1500)):
        page.set_viewport_size(dict(zip(('width', 'height'), size)))
        for name in OURS:
            open_from_page(page, name)
            page.wait_for_timeout(200)
            page.screenshot(path=tmp_path/f'{name}_{size[0]}.png', full_page=True)
    assert len(list(tmp_path.glob('*.png'))) == 8

@pytest.mark.slow
def test_the_address_names_the_explorer_and_a_page_that_is_closed_ends_its_process(app):
    with app.page('network') as page:
        assert page.title().startswith('Network')
        process = kernel_of(page, app.server)
        page.evaluate("location.hash = 'relus'")
        page.get_by_role('heading', name='One ReLU, two, many').wait_for()
        page.close(run_before_unload=True)
        assert psutil.wait_procs([process], timeout=20)[1] == []


def addresses(server):
    "The addresses that the processes of a server listen on or are connected to"
    for p in [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            connections = p.net_connections('inet') if hasattr(p, 'net_connections') else p.connections('inet')
            for c in connections: yield from (a.ip for a in (c.laddr, c.raddr) if a)

@pytest.mark.slow
def test_no_process_of_the_server_listens_to_or_speaks_with_another_machine(app):
    seen = set()
    with app.page('network') as page:
        for name in OURS:
            open_from_page(page, name)
            page.locator('img.fr-picture').first.wait_for()
            seen |= set(addresses(app.server))
    assert seen and all(ip_address(a).is_loopback for a in seen), seen


# What is mended in voila

HEADER = dict(msg_type='status', msg_id='1')

def message(protocol):
    "What a page is sent, by the old protocol or the new one"
    from jupyter_server.services.kernels.connection.base import serialize_binary_message, serialize_msg_to_ws_v1
    if protocol == 'new': return serialize_msg_to_ws_v1([json.dumps(HEADER).encode(), b'{}', b'{}', b'{}'], 'iopub')
    parts = dict(header=HEADER, parent_header={}, metadata={}, content={}, buffers=[b'picture' * 100])
    return serialize_binary_message(parts)

def test_messages_of_the_old_websocket_protocol_are_read_at_once():
    from voila.tornado import kernel_websocket_handler as voilas
    app_module.correct_voila()
    read = voilas.read_header_from_binary_message
    assert read(message('old')) is None and read(message('new')) == HEADER and read(b'') is None
    app_module.correct_voila()
    assert voilas.read_header_from_binary_message is read, 'corrected once'

def test_voila_still_counts_to_a_number_that_is_a_piece_of_text():
    "When this fails, `correct_voila` can go"
    import inspect
    from voila.tornado import kernel_websocket_handler as voilas
    theirs = voilas.read_header_from_binary_message
    theirs = getattr(theirs, 'args', [theirs])[0]
    assert int.from_bytes(message('old')[:8], 'little') > 10**15 and 'range(offset_number)' in inspect.getsource(theirs)


# Access

def test_only_who_knows_the_address_gets_the_page_and_only_from_this_machine(app):
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen
    page, token = app.address.split('?')
    def answer(url, **headers):
        try: return urlopen(Request(url, headers=headers), timeout=60).read()
        except HTTPError as e: return e.code
    before = len(kernels(app.server))
    for address in (page, f'{page}?token=guess'): assert b'kernelId' not in answer(address)
    assert answer(app.address, Host='evil.example') == 403 and len(kernels(app.server)) == before
    assert b'kernelId' in answer(app.address)
