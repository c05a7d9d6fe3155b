"""Sets larger than memory: `python bench/large.py [--times 1 10 100] [--repeats 3] [--folder DIR]`

MNIST_SAMPLE as a folder of PNGs, 1, 10 and 100 times: 14,434 to 1,443,400 files. Each set is measured in a fresh
process, and 1x runs again before each larger one, so that the sizes can be compared as ratios. Measured are decoding
into the cache, loading the set again, one pass of `similarity`, and one epoch (with its validation) of `sgd` and
`linear`. Memory is anonymous memory (RssAnon of /proc/self/status) above that after the imports: pages of the mapped
cache file do not count, since the kernel can drop them at any time. The copies are hard links, so 100x needs 1.2 GB of
disk, for the cache.

The linear rung of the largest set then runs in a control group with a limit of 1 GB, on machines that allow it.
Writes large.json and the table in README.md beside this file."""
import argparse, json, os, platform, shutil, statistics, subprocess, sys, tempfile, threading, time
from pathlib import Path
import tables

OUT = Path(__file__).with_suffix('.json')
RUNGS = {'similarity': {}, 'sgd': dict(epochs=5), 'linear': dict(epochs=5)}
SET_BYTES = 14_434 * 784
LIMIT = 10**9 # Bytes, of the control group
MOST_ANONYMOUS = 400 # MB above the imports at 100x
GROUPS = [ # Where a control group is made, and the file for its limit: version 1, version 2
    (Path('/sys/fs/cgroup/memory'), 'memory.limit_in_bytes'),
    (Path('/sys/fs/cgroup'), 'memory.max'),
]


def copies(source, to, times):
    "Make a folder with `times` as many files as `source`; all but the first copy are hard links"
    for part in ('train', 'valid'):
        for c in ('3', '7'):
            (to/part/c).mkdir(parents=True)
            files = sorted((source/part/c).iterdir())
            for i, file in enumerate(files):
                first = to/part/c/f'{i}.png'
                shutil.copyfile(file, first)
                for k in range(1, times): os.link(first, f'{to}/{part}/{c}/{i}_{k}.png')


def anonymous() -> float:
    "Megabytes of anonymous memory of this process"
    with open('/proc/self/status') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('RssAnon')) / 1024

class Peak:
    "The most anonymous memory in a `with` block, looked up every 5 ms"
    def __enter__(self):
        self.most = anonymous()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def watch(self):
        while not self.over.wait(.005): self.most = max(self.most, anonymous())

    def __exit__(self, *args):
        self.over.set()
        self.thread.join()


def child(folder, rungs):
    "Measure one folder; the environment says where its cache is"
    from fastrecipes.data.sources import load
    from fastrecipes.ladder.recipe import fit
    for rung in rungs: fit(rung, 'digits', device='cpu', **RUNGS[rung]) # Imports, and what is loaded at first use
    before, seconds, peak = anonymous(), {}, {}

    def timed(name, job):
        with Peak() as memory:
            start = time.perf_counter()
            result = job()
            seconds[name] = time.perf_counter() - start
        peak[name] = round(memory.most - before)
        return result

    timed('decode', lambda: load(folder))
    images = timed('load', lambda: load(folder))
    for rung in rungs:
        fitted = timed(rung, lambda rung=rung: fit(rung, images, device='cpu', **RUNGS[rung]))
        epochs = [fitted.seconds] if fitted.history is None else fitted.history.seconds
        seconds[rung] = statistics.median(epochs)
    n = sum(map(len, images.splits.values()))
    per_image = {k: round(v / n * 1e6, 3) for k, v in seconds.items()}
    print(json.dumps(dict(images=n, microseconds_per_image=per_image, anonymous_mb=peak)))


def measured(folder, cache, rungs=tuple(RUNGS), within=None):
    "What a fresh process finds; `within` is a control group"
    if within is None: shutil.rmtree(cache, ignore_errors=True)
    def join(): (within/'cgroup.procs').write_text(str(os.getpid()))
    run = subprocess.run([sys.executable, __file__, '--child', str(folder), '--rungs', *rungs],
                         env=os.environ | dict(FASTRECIPES_CACHE=str(cache)), capture_output=True, text=True,
                         preexec_fn=join if within else None)
    if run.returncode: sys.exit(run.stderr or f'ended by signal {-run.returncode}')
    return json.loads(run.stdout.splitlines()[-1])


def limited_group():
    "A control group with the limit, or None and the reason"
    for root, file in GROUPS:
        group = root/f'fastrecipes-{os.getpid()}'
        try:
            group.mkdir()
            (group/file).write_text(str(LIMIT))
            return group, ''
        except OSError as e:
            why = e.strerror
            if group.is_dir(): group.rmdir()
    return None, why


def in_a_limited_group(folder, cache) -> dict:
    "The linear rung, read from the cache that is there, with no more memory than the limit"
    group, why = limited_group()
    if group is None: return dict(left_out=why)
    try: return measured(folder, cache, rungs=('linear',), within=group) | dict(limit_mb=LIMIT // 10**6)
    finally: group.rmdir()


def summary(pairs) -> dict:
    "Medians over the turns of one size, and its ratios to 1x in the same turn"
    names = pairs[0][1]['microseconds_per_image']
    here = {k: [b['microseconds_per_image'][k] for _, b in pairs] for k in names}
    ratios = {k: [b['microseconds_per_image'][k] / a['microseconds_per_image'][k] for a, b in pairs] for k in names}
    return dict(
        images=pairs[0][1]['images'],
        turns=len(pairs),
        microseconds_per_image={k: statistics.median(v) for k, v in here.items()},
        ratio_to_1x={k: round(statistics.median(v), 3) for k, v in ratios.items()},
        ratio_range={k: [round(min(v), 3), round(max(v), 3)] for k, v in ratios.items()},
        anonymous_mb={k: max(b['anonymous_mb'][k] for _, b in pairs) for k in names},
        machine=dict(machine=platform.machine(), processors=os.cpu_count()),
    )


def cells(found) -> list:
    "The row of the table"
    def cell(what):
        spread = tables.spread(found['ratio_to_1x'][what], found['ratio_range'][what], 2, 'x')
        return f"{found['microseconds_per_image'][what]:.3g} µs, {spread}"
    most = f"{max(found['anonymous_mb'].values())} MB"
    return [f"{found['images']:,}", *(cell(what) for what in ('decode', 'load', *RUNGS)), most, found['turns']]

def limited_cells(found) -> list:
    "The row of the run in the control group"
    if 'left_out' in found: return ['in a group of 1 GB', found['left_out'], '', '', '', '', '', '']
    linear = f"{found['microseconds_per_image']['linear']:.3g} µs"
    load = f"{found['microseconds_per_image']['load']:.3g} µs"
    most = f"{max(found['anonymous_mb'].values())} MB"
    return [f"{found['images']:,}, in a group of {found['limit_mb']:,} MB", '', load, '', '', linear, most, 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--times', nargs='+', type=int, default=[1, 10, 100])
    parser.add_argument('--folder', help='where the files are put')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--child', help=argparse.SUPPRESS)
    parser.add_argument('--rungs', nargs='+', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child: return child(args.child, args.rungs)
    from fastai.data.external import fastai_cfg
    source = fastai_cfg().path('data')/'mnist_sample'
    result = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        folder = Path(folder)
        copies(source, folder/'1', 1)
        for times in args.times:
            need = times * SET_BYTES * 1.2
            if shutil.disk_usage(folder).free < need: sys.exit(f'{times} times needs {need / 2**30:.1f} GB of disk')
            if times > 1: copies(source, folder/str(times), times)
            pairs = []
            for _ in range(args.repeats):
                one = measured(folder/'1', folder/'cache')
                pairs.append((one, one if times == 1 else measured(folder/str(times), folder/'cache')))
            result[f'{times}x'] = summary(pairs)
            print(*cells(result[f'{times}x']), sep=' | ', flush=True)
            if times == max(args.times):
                result['limited'] = in_a_limited_group(folder/str(times), folder/'cache')
                print(*limited_cells(result['limited']), sep=' | ', flush=True)
            if times > 1: shutil.rmtree(folder/str(times))
    OUT.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    sizes = [result[k] for k in ('1x', '10x', '100x') if k in result]
    per_image = [f'{rung}, per image' for rung in RUNGS]
    columns = ['images', 'decoding', 'loading again', *per_image, 'anonymous memory', 'turns']
    tables.put('large', columns, [*map(cells, sizes), limited_cells(result['limited'])])
    large = result.get('100x')
    sys.exit(1 if large and max(large['anonymous_mb'].values()) >= MOST_ANONYMOUS else 0)


if __name__ == '__main__': main()
