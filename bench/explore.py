"""How quickly the explorers answer: `python bench/explore.py`

1. From the key press on a slider until its picture is a new one that the browser has shown, in milliseconds: the
   median of `N` presses for each explorer, measured in headless Chromium. The first presses are not counted.
   `surface` has a second picture: `all` is until the last.
2. From the command `fastrecipes explore` until the server answers, and until the first explorer is shown, in seconds:
   the medians of `RUNS` fresh starts, with a browser that is already running.
3. What `Picture.update` gains by keeping the places of the axes, in milliseconds without a browser: as it is, and
   with the axes laid out each time.

Writes explore.json beside this file and prints it."""
import json, os, platform, signal, statistics, subprocess, sys, time
from pathlib import Path
import torch
sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tests'))
from fastrecipes.explore.controls import Picture
from fastrecipes.explore.curves_explorers import draw_quadratic, draw_relus, relu_curves
from fastrecipes.lessons.descent import noisy_quad, start_relus
from pages import CHROMIUM, FIRST, FLAGS, command

N = 40
FIRST_PRESSES = 5
RUNS = 5
SLIDERS = {'quadratic': 'a', 'relus': 'slope', 'surface': 'momentum', 'network': 'w to h₁'}

WATCH = """() => { // Milliseconds from each key press until the first picture has been shown anew, and until all have
  const pictures = [...document.querySelectorAll('img.fr-picture')]
  const times = window.times = []
  let start = 0, done = []
  addEventListener('keydown', () => { start = performance.now(); done = [] }, true)
  for (const p of pictures) p.addEventListener('load', () => p.decode().then(() => requestAnimationFrame(() => {
    const count = done.push([p, performance.now() - start])
    if (count === pictures.length) times.push([done.find(d => d[0] === pictures[0])[1], done.at(-1)[1]])
  })))
}"""


def follow_ms(browser, address, name):
    "Milliseconds from the key press to the picture"
    page = browser.new_page(viewport=dict(width=1400, height=900))
    page.goto(f'{address}#{name}', timeout=FIRST)
    page.locator(f'.fr-nav .fr-to-{name}.fr-here').wait_for(timeout=FIRST)
    handle = page.get_by_role('slider', name=SLIDERS[name], exact=True)
    handle.wait_for(timeout=FIRST)
    page.wait_for_timeout(3000) # The next page's process is being made ready
    page.evaluate(WATCH)
    if name == 'surface': # Forty steps to draw
        for _ in range(4):
            page.get_by_role('slider', name='steps', exact=True).press('PageUp')
            page.wait_for_timeout(300)
    page.evaluate('times.length = 0')
    for i in range(N + FIRST_PRESSES):
        handle.press('ArrowLeft' if i % 2 else 'ArrowRight')
        page.wait_for_function('n => times.length > n', arg=i)
        page.wait_for_timeout(100)
    first, every = zip(*page.evaluate('times')[FIRST_PRESSES:])
    page.goto('about:blank')
    page.close()
    tenth, ninetieth = (round(sorted(first)[i * N // 10], 1) for i in (1, 9))
    return dict(median=median(first), tenth=tenth, ninetieth=ninetieth, all=median(every))


def median(values): return round(statistics.median(values), 1)


def start_s(browser):
    "Seconds from the command until the server answers, and until the first explorer is shown"
    begin = time.perf_counter()
    with subprocess.Popen(command(), stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().split(' at ')[1].split()[0]
        answers = time.perf_counter() - begin
        page = browser.new_page()
        page.goto(address, timeout=FIRST)
        page.locator('img.fr-picture').wait_for(timeout=FIRST)
        ready = time.perf_counter() - begin
        page.goto('about:blank')
        page.close()
        server.send_signal(signal.SIGINT)
    return answers, ready


def pictures():
    "A picture of each kind, and the values that move it"
    x, y = noisy_quad()
    quadratic = Picture(draw_quadratic, 5.4, 4., 'a parabola', a=1.1, b=1.1, c=1.1, x=x, y=y)
    yield 'quadratic', quadratic, [dict(a=1.1 + .05 * i) for i in range(N)]
    x, y = relu_curves()['a wave']
    relus = Picture(draw_relus, 5.4, 4., 'lines', params=start_relus(5), chosen=0, x=x, y=y)
    yield 'relus', relus, [dict(params=start_relus(5) * (1 + .01 * i)) for i in range(N)]


def update_ms(picture, moves, keep_places=True):
    times = []
    for values in moves:
        if not keep_places: picture._limits = None
        begin = time.perf_counter()
        picture.update(**values)
        times.append(1000 * (time.perf_counter() - begin))
    return median(times)


def both_ms():
    "Medians of `update` both ways, by picture"
    ways = {'as it is': True, 'axes laid out each time': False}
    return {name: {way: update_ms(picture, moves, keep) for way, keep in ways.items()}
            for name, picture, moves in pictures()}


def main():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        answers, ready = zip(*(start_s(browser) for _ in range(RUNS)))
        with subprocess.Popen(command(), stdout=subprocess.PIPE, text=True) as server:
            address = server.stdout.readline().split(' at ')[1].split()[0]
            follow = {name: follow_ms(browser, address, name) for name in SLIDERS}
            version = browser.version
            server.send_signal(signal.SIGINT)
    machine = dict(machine=platform.machine(), cores=os.cpu_count(), threads=torch.get_num_threads(),
                   torch=torch.__version__, chromium=version)
    start = dict(median=median(ready), range=[round(min(ready), 1), round(max(ready), 1)], answers=median(answers))
    result = dict(machine=machine, key_to_picture_ms=follow, command_to_ready_s=start, update_ms=both_ms())
    text = json.dumps(result, indent=1)
    Path(__file__).with_suffix('.json').write_text(text + '\n')
    print(text)


if __name__ == '__main__': main()
