"""How quickly the explorers answer: `python bench/explore.py`

1. From the key press on a slider until its picture is a new one that the browser has shown, in milliseconds: the median of `N`
   presses for each explorer, measured in headless Chromium. The first presses are not counted. `surface` has a second picture:
   `all` is until the last.
2. From the command `fastrecipes explore` until the first explorer is there, in seconds: the median of `RUNS` fresh starts,
   with a browser that is already running, and how many of them until the server answers.

Writes explore.json beside this file and prints it."""
import json, os, platform, signal, statistics, subprocess, sys, time
from pathlib import Path
import torch
sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tests'))
from pages import CHROMIUM, FIRST, FLAGS, command

N, FIRST_PRESSES, RUNS = 40, 5, 5
SLIDERS = {'quadratic': 'a', 'relus': 'slope', 'surface': 'momentum', 'network': 'w to h₁'}

WATCH = """() => { // Milliseconds from each key press until the first picture has been shown anew, and until all have
  const pictures = [...document.querySelectorAll('img.fr-picture')], times = window.times = []
  let start = 0, done = []
  addEventListener('keydown', () => { start = performance.now(); done = [] }, true)
  for (const p of pictures) p.addEventListener('load', () => p.decode().then(() => requestAnimationFrame(() => {
    if (done.push([p, performance.now() - start]) === pictures.length) times.push([done.find(d => d[0] === pictures[0])[1], done.at(-1)[1]])
  })))
}"""


def follow_ms(browser, address, name):
    page = browser.new_page(viewport=dict(width=1400, height=900))
    page.goto(f'{address}#{name}', timeout=FIRST)
    page.locator(f'.fr-nav .fr-to-{name}.fr-here').wait_for(timeout=FIRST)
    handle = page.get_by_role('slider', name=SLIDERS[name], exact=True)
    handle.wait_for(timeout=FIRST)
    page.wait_for_timeout(3000) # The next page's process is being made ready
    page.evaluate(WATCH)
    if name == 'surface': # Forty steps to draw
        for _ in range(4): page.get_by_role('slider', name='steps', exact=True).press('PageUp'); page.wait_for_timeout(300)
    page.evaluate('times.length = 0')
    for i in range(N + FIRST_PRESSES):
        handle.press('ArrowLeft' if i % 2 else 'ArrowRight')
        page.wait_for_function('n => times.length > n', arg=i)
        page.wait_for_timeout(100)
    first, every = zip(*page.evaluate('times')[FIRST_PRESSES:])
    page.goto('about:blank')
    page.close()
    return dict(median=statistics.median(first), tenth=sorted(first)[N // 10], ninetieth=sorted(first)[9 * N // 10], all=statistics.median(every))


def start_s(browser):
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


def main():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        starts = [start_s(browser) for _ in range(RUNS)]
        with subprocess.Popen(command(), stdout=subprocess.PIPE, text=True) as server:
            address = server.stdout.readline().split(' at ')[1].split()[0]
            follow = {name: follow_ms(browser, address, name) for name in SLIDERS}
            version = browser.version
            server.send_signal(signal.SIGINT)
    ready = [r for _, r in starts]
    result = dict(machine=dict(machine=platform.machine(), cores=os.cpu_count(), threads=torch.get_num_threads(), torch=torch.__version__, chromium=version),
                  key_to_picture_ms=follow, command_to_ready_s=dict(median=statistics.median(ready), range=[min(ready), max(ready)], answers=statistics.median(a for a, _ in starts)))
    text = json.dumps(result, indent=1)
    Path(__file__).with_suffix('.json').write_text(text + '\n')
    print(text)


if __name__ == '__main__': main()
