"The explorers in a real browser: the server as a user starts it, and pages that notice errors"
import shutil, signal, subprocess, sys, threading
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit
import psutil, pytest
from conftest import needs_posix

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    '--no-sandbox', '--headless=new', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
    '--disable-background-networking', '--disable-component-update',
]
FIRST = 90_000 # Milliseconds to wait for a page on a busy machine
LAST = 60 # Seconds in which a server must have ended


def command(*options):
    "The command that starts the server on a free port; its first line is the address"
    return [sys.executable, '-m', 'fastrecipes', 'explore', '--port', '0', '--no-browser', *options]


def kernels(server):
    "The processes behind the pages of a server"
    children = psutil.Process(server.pid).children(recursive=True)
    return [p for p in children if 'ipykernel_launcher' in ' '.join(p.cmdline())]

def kernel_of(page, server):
    "The process behind a page"
    mine = page.evaluate("JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId")
    process, = [k for k in kernels(server) if mine in ' '.join(k.cmdline())]
    return process


def kill(server):
    "End a server that is still running, and its processes, which would keep its pipes open"
    if server.poll() is not None: return
    with suppress(psutil.NoSuchProcess):
        for p in psutil.Process(server.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess): p.kill()
    server.kill()

def first_line(server, file=None):
    "The server's next line on `file` (standard output); a server that is silent for too long is killed"
    timer = threading.Timer(FIRST / 1000, kill, [server])
    timer.start()
    try: return (file or server.stdout).readline()
    finally: timer.cancel()

@contextmanager
def running(argv, **kwargs):
    "A server as a process, and its address; Ctrl-C must end it, or it is killed, which is an error"
    needs_posix()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, **kwargs) as server:
        try:
            line = first_line(server)
            assert ' at http' in line, f'the first line is {line!r}'
            yield server, line.split(' at ')[1].split()[0]
        finally:
            if server.poll() is None: server.send_signal(signal.SIGINT)
            try: server.wait(LAST)
            finally: kill(server)


@contextmanager
def served(argv=None, **kwargs):
    "An `App` on a free port, by this environment's command or by another"
    if CHROMIUM is None: pytest.skip('needs Chromium (on Debian: apt-get install chromium)')
    playwright = pytest.importorskip('playwright.sync_api', reason="needs playwright (pip install 'fastrecipes[dev]')")
    with running(argv or command(), **kwargs) as (server, address), playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield App(address, browser, server)
        browser.close()


class App:
    "A running server and a browser for it"
    def __init__(self, address, browser, server): self.address, self.browser, self.server = address, browser, server

    @contextmanager
    def page(self,
        name='quadratic', # The explorer to open
        width=1400, height=900,
        ready='img.fr-picture', # What is to be seen when it is ready
        **context # For Playwright's `new_context`, e.g. has_touch=True
    ):
        "A Playwright page with an explorer; it must have no error, and send no request but to the server"
        from playwright.sync_api import Error as PlaywrightError
        wrong = []
        context = self.browser.new_context(viewport=dict(width=width, height=height), **context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        def asked(url):
            parts = urlsplit(url)
            if parts.scheme not in ('data', 'blob') and parts.hostname != '127.0.0.1': wrong.append(f'request to {url}')
        page.on('request', lambda r: asked(r.url))
        page.on('websocket', lambda s: asked(s.url))
        page.on('pageerror', lambda e: wrong.append(f'error: {e}'))
        page.on('console', lambda m: m.type == 'error' and wrong.append(f'console: {m.text}'))
        try:
            page.goto(f'{self.address}#{name}', timeout=FIRST)
            page.locator(f'.fr-nav .fr-to-{name}.fr-here').wait_for(timeout=FIRST)
            page.locator(ready).first.wait_for(timeout=FIRST)
            yield page
            assert not wrong, wrong
        finally:
            # A page that is left ends its process, one that is killed does not
            with suppress(PlaywrightError): page.goto('about:blank') # The test may have closed it
            context.close()


def after(page, act, picture='img.fr-picture', timeout=10_000):
    "Do `act`, and wait until the (first) picture has changed and is shown"
    before = page.locator(picture).first.get_attribute('src')
    act()
    shown = """([query, old]) => {
        const image = document.querySelector(query);
        return image && image.src !== old && image.complete && image.naturalWidth > 0;
    }"""
    page.wait_for_function(shown, arg=[picture, before], timeout=timeout)


def too_wide(page):
    "What is wider than the window or cut off by it: (tag, class, text, left, right)"
    return page.evaluate("""() => {
        const shown = (e, r) => r.width && r.height && getComputedStyle(e).visibility !== 'hidden';
        const outside = r => r.right > innerWidth + 1 || r.left < -1;
        const found = [...document.querySelectorAll('#rendered_cells *')]
            .map(e => [e, e.getBoundingClientRect()])
            .filter(([e, r]) => shown(e, r) && outside(r))
            .map(([e, r]) => [e.tagName, String(e.className), e.textContent.slice(0, 30), r.left, r.right]);
        const width = document.documentElement.scrollWidth;
        return width > innerWidth ? [...found, ['html', '', '', 0, width]] : found;
    }""")
