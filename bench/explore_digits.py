"""How quickly the explorers `training` and `drawing` answer, and how well drawings are recognised:
`python bench/explore_digits.py [digits|mnist]`

1. The ladder: seconds until each rung is ready, with an empty cache and with a full one.
2. In headless Chromium, median milliseconds from the end of a stroke until the answers of all rungs are shown; the same
   while another process trains a ladder; and from the key press on a slider (shift right; learning rate, at rest and in
   training) until the picture is shown.
3. The share of drawings (60 hands per digit, see `example_strokes`) that each rung recognises.

Writes explore_digits.json beside this file and prints it."""
import json, os, platform, signal, statistics, subprocess, sys, tempfile, time
from pathlib import Path
import torch
sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tests'))
from fastrecipes.explore.kept_ladder import drawing_source, KeptLadder
from fastrecipes.explore.strokes import example_strokes, normalise_drawing, render_strokes
from pages import CHROMIUM, FIRST, FLAGS, command

N = 30
HANDS = 60 # Per digit
TRAIN_A_LADDER = 'from fastrecipes.explore.kept_ladder import KeptLadder; KeptLadder().wait()'

WATCH = """([picture, event]) => { // Milliseconds from the last event until the picture has been shown anew
  const p = document.querySelectorAll('img.fr-picture')[picture]
  const times = window.times = []
  let start = null
  addEventListener(event, () => { start = performance.now() }, true)
  p.addEventListener('load', () => p.decode().then(() => requestAnimationFrame(() => {
    if (start === null) return
    times.push(performance.now() - start)
    start = null
  })))
}"""


def ladder_s(source):
    "Seconds until each rung is ready, and the models"
    begin, seconds = time.perf_counter(), {}
    ladder = KeptLadder(source)
    while not ladder.finished:
        if not ladder.collect(): time.sleep(.01)
        for name in ladder.models: seconds.setdefault(name, round(time.perf_counter() - begin, 2))
    return seconds, ladder.models


def opened(browser, address, name, ready):
    page = browser.new_page(viewport=dict(width=1400, height=900))
    page.goto(f'{address}#{name}', timeout=FIRST)
    page.locator(ready).first.wait_for(timeout=FIRST)
    return page


def medians(page, act, n=N):
    "The median and the ninth decile of `n` times, in milliseconds, after five that are not counted"
    page.evaluate('times.length = 0')
    for i in range(n + 5):
        act(i)
        page.wait_for_function('n => times.length > n', arg=i)
        page.wait_for_timeout(150)
    times = page.evaluate('times')[5:]
    return dict(median=round(statistics.median(times)), ninetieth=round(sorted(times)[9 * n // 10]))


def stroke(page):
    "Add a short stroke to a drawing with the mouse; the clock starts when the button is released"
    box = page.locator('canvas').bounding_box()
    def point(x, y): return box['x'] + x * box['width'], box['y'] + y * box['height']
    def draw(i):
        page.mouse.move(*point(.2 + i % 7 / 12, .2 + i % 5 / 9))
        page.mouse.down()
        page.mouse.move(*point(.3 + i % 6 / 11, .3 + i % 4 / 8))
        page.mouse.up()
        if i % 8 == 7:
            page.wait_for_timeout(600)
            page.get_by_role('button', name='clear', exact=True).evaluate('b => b.click()')
            page.wait_for_timeout(600)
    return draw


def press(page, label):
    "Move a slider back and forth by a key"
    handle = page.get_by_role('slider', name=label, exact=True)
    return lambda i: handle.press('ArrowRight' if i % 2 else 'ArrowLeft')


def drawing_ms(browser, address):
    page = opened(browser, address, 'drawing', 'canvas')
    page.get_by_role('status').get_by_text(': all ').wait_for(timeout=FIRST)
    page.wait_for_timeout(3000)
    page.evaluate(WATCH, [0, 'pointerup'])
    out = {'stroke to answers': medians(page, stroke(page))}
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | dict(FASTRECIPES_CACHE=folder)
        other = subprocess.Popen([sys.executable, '-c', TRAIN_A_LADDER], env=env, stderr=subprocess.DEVNULL)
        time.sleep(8)
        out['stroke to answers, a ladder being trained'] = medians(page, stroke(page), 15)
        other.kill()
        other.wait()
        time.sleep(3)
    page.evaluate(WATCH, [0, 'keydown'])
    out['shift right to answers'] = medians(page, press(page, 'shift right'))
    page.close()
    return out


def training_ms(browser, address):
    page = opened(browser, address, 'training', 'img.fr-picture')
    page.wait_for_timeout(3000)
    page.evaluate(WATCH, [0, 'keydown'])
    out = {'learning rate to curves, at rest': medians(page, press(page, 'learning rate'))}
    page.get_by_role('button', name='start', exact=True).click()
    out['learning rate to curves, in training'] = medians(page, press(page, 'learning rate'), 15)
    page.close()
    return out


def page_ms():
    "What is measured in the browser, and its version"
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with subprocess.Popen(command(), stdout=subprocess.PIPE, text=True) as server:
            address = server.stdout.readline().split(' at ')[1].split()[0]
            found = drawing_ms(browser, address) | training_ms(browser, address)
            server.send_signal(signal.SIGINT)
        return found, browser.version


def share_right(models, source):
    "The share of the drawn digits that each rung recognises"
    digits = [d for d in range(10) for _ in range(HANDS)]
    sheets = [render_strokes(example_strokes(d, i % HANDS, seed=10_000 * d + i % HANDS)) for i, d in enumerate(digits)]
    images = torch.stack([normalise_drawing(sheet, source) for sheet in sheets])
    truth = torch.tensor(digits)
    return {name: round((m.predict(images) == truth).double().mean().item(), 3) for name, m in models.items()}


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else drawing_source()
    with tempfile.TemporaryDirectory() as cache:
        os.environ['FASTRECIPES_CACHE'] = cache
        first, models = ladder_s(source)
        second, _ = ladder_s(source)
        answer, version = page_ms()
    machine = dict(machine=platform.machine(), cores=os.cpu_count(), threads=torch.get_num_threads(),
                   torch=torch.__version__, chromium=version)
    result = dict(machine=machine, source=source, ready_s=dict(first_time=first, second_time=second),
                  answer_ms=answer, drawings_read_right=share_right(models, source))
    text = json.dumps(result, indent=1)
    Path(__file__).with_suffix('.json').write_text(text + '\n')
    print(text)


if __name__ == '__main__': main()
