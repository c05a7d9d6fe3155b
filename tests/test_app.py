"The explorers in headless Chromium, and the server behind them, as processes that a user starts and stops"
import asyncio, json, os, re, signal, socket, subprocess, sys, threading, time
from contextlib import contextmanager, suppress
from http.client import HTTPException
from ipaddress import ip_address
from urllib.request import HTTPCookieProcessor, build_opener
import psutil, pytest
from conftest import refused
from pages import after, command, first_line, kernel_of, kernels, kill, running, too_wide
from fastrecipes.explore import app as app_module
from fastrecipes.explore.app import explore, Explorers, explorers, serve

OURS = {'quadratic': 'a', 'relus': 'slope', 'surface': 'start, slope', 'network': 'input x'} # An explorer, and one of its sliders


# Without a browser

def test_explorers_are_made_when_they_are_opened_and_kept(strict):
    it = explore('relus')
    assert list(it.made) == ['relus'] and it.place.children == (it.made['relus'],)
    panel = it.made['relus']
    it.buttons['network'].click()
    assert list(it.made) == ['relus', 'network'] and 'fr-here' in it.buttons['network']._dom_classes and 'fr-here' not in it.buttons['relus']._dom_classes
    it.buttons['relus'].click()
    assert it.place.children == (panel,)

def test_an_unknown_explorer_is_refused():
    with refused("unknown explorer 'surfaces'", "did you mean 'surface'?"): explore('surfaces')

def test_every_button_leads_to_an_explorer_that_exists():
    from importlib import import_module
    it = Explorers(first=None)
    assert list(it.buttons) == list(explorers) and len(explorers) == 6 and it.made == {}
    for title, module, f in explorers.values(): assert title and callable(getattr(import_module(f'fastrecipes.{module}'), f))


def test_an_explorer_that_cannot_be_made_says_so_in_its_place(monkeypatch):
    monkeypatch.setitem(app_module.explorers, 'network', ('Network', 'explore', 'explore_<nothing>'))
    async def page():
        it = explore('network')
        with pytest.raises(AttributeError): await it.task
        return it.place.children[0].value
    said = asyncio.run(page())
    assert 'This did not work: AttributeError' in said and 'explore_&lt;nothing&gt;' in said

def test_in_a_notebook_the_first_explorer_comes_while_the_page_lives():
    async def page():
        it = explore('relus')
        assert it.made == {} and 'One moment' in it.place.children[0].value
        await it.task
        return it.place.children
    assert [p.title for p in asyncio.run(page())] == ['One ReLU, two, many']

def test_the_command_hands_its_settings_ini_to_the_page(monkeypatch, tmp_path):
    import nbformat
    from fastrecipes.explore import app, drawing as digits
    from test_cli import called
    (tmp_path/'settings.ini').write_text('[fastrecipes]\nseed = 7\n[mlp]\nhidden = 8,8\nlr = auto\nbest = no\n')
    class Server:
        def __init__(self, sock, home, *rest): self.code = nbformat.read(home/'explore.ipynb', 4).cells[0].source
        def start(self):
            names = {}
            exec(self.code.replace('\nExplorers', '\npage = Explorers'), names)
            pages.append(names['page'])
    pages, given = [], []
    monkeypatch.setattr(app, '_server', Server)
    def drawing(settings=None):
        given.append(settings)
        return app.w.HTML('')
    monkeypatch.setattr(digits, 'explore_drawing', drawing)
    assert called('explore', '--no-browser', '--port', '0').returncode == 0
    pages[0].show('drawing')
    assert given == [{'fastrecipes': {'seed': 7}, 'mlp': {'hidden': (8, 8), 'lr': None, 'best': False}}]
    rungs = digits.Rungs('digits', ['similarity'], given[0])
    rungs.stop()
    assert rungs.seed == 7
    (tmp_path/'settings.ini').write_text('[fastrecipes]\nseed = -1\n')
    r = called('explore', '--no-browser', '--port', '0')
    assert r.returncode == 2 and 'settings.ini' in r.stderr and "seed='-1'" in r.stderr and len(pages) == 1


@pytest.fixture
def taken():
    "A port on which something listens"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        yield s.getsockname()[1]

def test_a_port_that_is_taken_is_refused(taken):
    with refused(f'port {taken} cannot be used', '--port'): serve(taken, browser=False)

def test_without_a_port_the_next_free_one_is_taken():
    with app_module._bind(None) as first, app_module._bind(None) as second:
        a, b = (s.getsockname() for s in (first, second))
        assert a[0] == '127.0.0.1' and 8866 <= a[1] < b[1]

@pytest.mark.parametrize('module', ['voila.app', 'ipykernel'])
def test_without_voila_or_ipykernel_one_line_says_so(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with refused('need voila and ipykernel', module, 'pip install voila ipykernel'): serve(0, browser=False)
    assert not [k for k in ('IPYTHONDIR', 'JUPYTER_CONFIG_DIR') if os.environ.get(k, '').startswith('/tmp/fastrecipes_')]


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

@pytest.mark.parametrize('sent', [signal.SIGINT, *(pytest.param(getattr(signal, n), marks=pytest.mark.slow) for n in ('SIGTERM', 'SIGHUP') if hasattr(signal, n))])
def test_the_server_says_one_line_and_ends_leaving_nothing_behind(started, tmp_path, sent):
    with heeded(sent): server = started()
    said = first_line(server)
    assert re.fullmatch(r'the explorers are at http://127\.0\.0\.1:\d+/\?token=[\w-]{22} \(Ctrl-C ends them\)\n', said)
    ours = wait_for(lambda: kernels(server))
    server.send_signal(sent)
    out, err = server.communicate(timeout=30)
    assert (server.returncode, out, err) == (0, '', '')
    assert psutil.wait_procs(ours, timeout=10)[1] == [] and list((tmp_path/'temp').iterdir()) == []

DIES = "raise SystemExit('broken on purpose')"
FAILS = """
from fastrecipes.explore import app
class Explorers:
    def __init__(self, *args, **kwargs): raise OSError('no such luck')
app.Explorers = Explorers
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()"""

def open_page(address):
    "Ask for a page as a browser does, and do not wait for its end"
    with suppress(OSError, HTTPException): build_opener(HTTPCookieProcessor()).open(address, timeout=60).read()

@pytest.mark.parametrize('launcher, why', [(DIES, 'RuntimeError: Kernel died'), pytest.param(FAILS, 'OSError: no such luck', marks=pytest.mark.slow)], ids=['dies', 'fails'])
def test_the_terminal_says_why_a_page_cannot_be_shown(started, tmp_path, launcher, why):
    (tmp_path/'ipykernel_launcher.py').write_text(launcher)
    server = started(PYTHONPATH=str(tmp_path))
    address = first_line(server).split(' at ')[1].split()[0]
    threading.Thread(target=open_page, args=[address], daemon=True).start()
    said = 'broken on purpose'
    while 'broken on purpose' in said: said = first_line(server, server.stderr)
    assert said.startswith('fastrecipes: a page could not be shown: ') and why in said

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
    c = app_module._config(tmp_path)
    assert 0 < c['MappingKernelManager']['cull_idle_timeout'] <= 3600 and c['MappingKernelManager']['cull_interval'] > 0 and c['Voila']['ip'] == '127.0.0.1'


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
    assert wide.title() == 'Quadratic · fastrecipes explore' and wide.url.endswith('#quadratic')
    assert wide.locator('html').get_attribute('lang') == 'en' and wide.locator('link[rel=icon]').count() == 1
    assert wide.locator('h1').inner_text() == 'fastrecipes explore' and wide.locator('h2').inner_text() == 'A quadratic by hand'
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
    wide.evaluate("() => { window.shown = 0; document.querySelector('img.fr-picture').addEventListener('load', () => shown++) }")
    wide.get_by_role('button', name='run').click()
    wide.wait_for_function('shown > 4')
    wide.get_by_role('button', name='stop').click()
    wide.get_by_role('button', name='run').wait_for()
    wide.wait_for_timeout(300)
    seen = wide.evaluate('shown')
    wide.wait_for_timeout(300)
    assert wide.evaluate('shown') == seen < 80

def test_divergence_is_told_in_words(wide):
    open_from_page(wide, 'surface')
    after(wide, lambda: handle(wide, 'steps').press('End'))
    for _ in range(5): handle(wide, 'learning rate').press('PageUp')
    status = wide.get_by_role('status')
    status.get_by_text('Diverg').wait_for()
    assert 'learning rate' in status.inner_text()

def test_every_control_can_be_reached_and_is_named(wide):
    open_from_page(wide, 'network')
    wide.locator('.fr-to-quadratic').focus()
    names = []
    for _ in range(50):
        names.append(wide.evaluate("() => { const e = document.activeElement; return e.getAttribute('aria-label') || e.textContent }"))
        wide.keyboard.press('Tab')
        if names[-1] == 'start again': break
    for n in ('Quadratic', 'Network', 'input x', 'input x, as a number', 'b of ŷ', 'learning rate', 'one SGD step', 'run', 'start again'): assert n in names, n
    assert '' not in names

@pytest.mark.parametrize('name', OURS)
def test_type_stands_out_from_its_ground(wide, name):
    "WCAG AA: a contrast of 4.5, or 3 for large type"
    open_from_page(wide, name)
    poor = wide.evaluate("""() => {
        const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number)
        const light = c => c.slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0)
        const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c } return [255, 255, 255] }
        const written = [...document.querySelectorAll('#rendered_cells *')].filter(e => e.getClientRects().length && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.tagName !== 'STYLE')
        if (written.length < 15) return ['too little text']
        return written.map(e => { const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x); return [(a + .05) / (b + .05), e.textContent] })
            .filter(([ratio]) => ratio < 4.5)
    }""")
    assert poor == []

@pytest.mark.parametrize('name', OURS)
def test_at_400_pixels_nothing_is_cut_off_and_the_picture_stays_in_sight(narrow, name):
    open_from_page(narrow, name)
    assert too_wide(narrow) == []
    controls, picture = (narrow.locator(q).first.bounding_box() for q in ('.fr-controls', 'img.fr-picture'))
    assert picture['width'] <= 400 and picture['y'] + picture['height'] <= 801 and controls['y'] < picture['y']
    after(narrow, lambda: handle(narrow, OURS[name]).press('ArrowLeft'))
    cut = narrow.evaluate("() => [...document.querySelectorAll('.fr-panel .widget-label, .fr-panel button, .fr-nav button')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)")
    assert cut == []

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
        assert page.title() == 'Network · fastrecipes explore'
        process = kernel_of(page, app.server)
        page.evaluate("location.hash = 'relus'")
        page.get_by_role('heading', name='One ReLU, two, many').wait_for()
        page.close(run_before_unload=True)
        assert psutil.wait_procs([process], timeout=20)[1] == []


def addresses(server):
    "The addresses that the processes of a server listen on or are connected to"
    for p in [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            for c in (p.net_connections if hasattr(p, 'net_connections') else p.connections)('inet'): yield from (a.ip for a in (c.laddr, c.raddr) if a)

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

def test_messages_of_the_old_websocket_protocol_do_not_keep_the_server_counting():
    from jupyter_server.services.kernels.connection.base import serialize_binary_message, serialize_msg_to_ws_v1
    from voila.tornado.kernel_websocket_handler import read_header_from_binary_message as theirs
    theirs = getattr(theirs, 'args', [theirs])[0]
    header = dict(msg_type='status', msg_id='1')
    old = serialize_binary_message(dict(header=header, parent_header={}, metadata={}, content={}, buffers=[b'picture' * 100]))
    new = serialize_msg_to_ws_v1([json.dumps(header).encode(), b'{}', b'{}', b'{}'], 'iopub')
    assert app_module._header(theirs, old) is None and app_module._header(theirs, new) == header and app_module._header(theirs, b'') is None


# Who may ask

def test_only_who_knows_the_address_gets_the_page_and_only_from_this_machine(app):
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen
    page, token = app.address.split('?')
    def answer(url, **headers):
        try: return urlopen(Request(url, headers=headers), timeout=60).read()
        except HTTPError as e: return e.code
    before = len(kernels(app.server))
    assert all(b'kernelId' not in answer(a) for a in (page, f'{page}?token=guess')) and answer(app.address, Host='evil.example') == 403 and len(kernels(app.server)) == before
    assert b'kernelId' in answer(app.address)
