"""Sets larger than memory: python bench/large.py [--times 1 10 100] [--from-disk] [--folder DIR]

MNIST_SAMPLE as a folder of PNGs, 1, 10 and 100 times over: 14,434, 144,340 and 1,443,400 files. For each, in a process of its own: how many images a second are decoded into
the cache, how long a second run takes to have the set, seconds an image of `similarity`, and of an epoch of `sgd` and of `linear` with their validation, and the peak of resident memory above the imports
(of this process; what the largest of the processes that help it to decode had, its imports included, stands beside it).
Beside the time on the clock stands the processor time of the thread that learns, which other work on the machine does not lengthen; the thread that reads ahead has a processor of its own.
The sizes are compared as ratios to 1x, which runs between the others again and again. The copies are hard links, so at 100x the disk must have room for 1.2 GB: the cache.
Small sets stay in memory; with `--from-disk` none does, so that all sizes are read in the same way."""
import argparse, json, os, platform, shutil, statistics, subprocess, sys, tempfile, time
from pathlib import Path
import tables

OUT = Path(__file__).with_suffix('.json')
RUNGS = {'similarity': {}, 'sgd': dict(epochs=5), 'linear': dict(epochs=5)}


def make(source, to, times):
    "A folder of `times` as many files as `source` has; the further ones are hard links, other names for the same bytes, so that a million files take no room and little time"
    for part in ('train', 'valid'):
        for c in ('3', '7'):
            (to/part/c).mkdir(parents=True)
            whole = sorted(str(p) for p in (source/part/c).iterdir())
            here = [f'{to}/{part}/{c}/{i}' for i in range(len(whole))]
            for a, b in zip(whole, here): shutil.copyfile(a, f'{b}.png')
            for k in range(1, times):
                for b in here: os.link(f'{b}.png', f'{b}_{k}.png')


def memory(name):
    "Megabytes of resident memory: VmRSS now, VmHWM at its highest"
    with open('/proc/self/status') as f: return next(int(line.split()[1]) for line in f if line.startswith(name)) / 1024


def child(folder, from_disk):
    "Everything about one folder; the cache is where the environment says"
    import torch
    from fastrecipes.data import images as images_room
    from fastrecipes.data.sources import load
    from fastrecipes.ladder.recipe import fit
    from fastrecipes.reporter import Reporter
    for rung, settings in RUNGS.items():
        fit(rung, 'digits', device='cpu', **settings) # Imports, and what each loads when it is used first
    before, said, times, cpu = memory('VmRSS'), [], {}, {}
    if from_disk: images_room._in_memory = 0
    with open('/proc/self/clear_refs', 'w') as f: f.write('5') # The high-water mark begins here
    start = time.perf_counter()
    images = load(folder, tell=said.append)
    times['decode'] = time.perf_counter() - start
    peak = {'decode': memory('VmHWM') - before}
    n = sum(map(len, images.splits.values()))
    start = time.perf_counter()
    images = load(folder)
    times['load'] = time.perf_counter() - start
    for rung, settings in RUNGS.items():
        marks, start = [], time.thread_time()
        reporter = Reporter()
        reporter.epoch = lambda row: marks.append(time.thread_time())
        fitted = fit(rung, images, device='cpu', reporter=reporter, **settings)
        cpu[rung] = statistics.median(b - a for a, b in zip(marks, marks[1:])) if marks else time.thread_time() - start
        times[rung] = fitted.seconds / settings.get('epochs',
            1) if fitted.history is None else statistics.median(fitted.history.seconds)
        peak[rung] = memory('VmHWM') - before
    from resource import RUSAGE_CHILDREN, getrusage
    print(
        json.dumps(dict(images=n, largest_helper_mb=getrusage(RUSAGE_CHILDREN).ru_maxrss >> 10,
                        seconds={k: round(v, 4) for k, v in times.items()},
                        microseconds_an_image={k: round(v / n * 1e6, 3) for k, v in times.items()},
                          main_thread_microseconds_an_image={k: round(v / n * 1e6, 3) for k, v in cpu.items()},
                          peak_mb_above_imports={k: round(v) for k, v in peak.items()},
                          said=[s.split(' of ')[0] for s in said])))


def measured(folder, cache, *flags):
    shutil.rmtree(cache, ignore_errors=True)
    run = subprocess.run([sys.executable, __file__, '--child', str(folder), *flags],
                         env=os.environ | dict(FASTRECIPES_CACHE=str(cache)), capture_output=True, text=True)
    if run.returncode: sys.exit(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--times', nargs='+', type=int, default=[1, 10, 100])
    p.add_argument('--folder', default=None, help='where the files are put')
    p.add_argument('--repeats', type=int, default=5)
    p.add_argument('--from-disk', action='store_true')
    p.add_argument('--child')
    args = p.parse_args()
    if args.child: return child(args.child, args.from_disk)
    flags = ['--from-disk'] if args.from_disk else []
    from fastai.data.external import fastai_cfg
    source, result = fastai_cfg().path('data')/'mnist_sample', json.loads(OUT.read_text()) if OUT.exists() else {}
    with tempfile.TemporaryDirectory(dir=args.folder) as d:
        d = Path(d)
        make(source, d/'1', 1)
        for times in args.times:
            need = times * 14_434 * 784 * 1.2
            if shutil.disk_usage(d).free < need: sys.exit(f'{times} times needs {need / 2**30:.1f} GB of disk')
            if times > 1: make(source, d/str(times), times)
            rows = []
            for _ in range(args.repeats):
                one = measured(d/'1', d/'cache', *flags)
                rows.append((one, one if times == 1 else measured(d/str(times), d/'cache', *flags)))
            if times > 1: shutil.rmtree(d/str(times))
            def against(what):
                return {k: [round(b[what][k] / a[what][k], 3) for a, b in rows] for k in rows[0][0][what]}
            ratio, busy = against('microseconds_an_image'), against('main_thread_microseconds_an_image')
            name = f'{times}x' + ', from the disk' * args.from_disk
            result[name] = rows[-1][1] | dict(repeats=args.repeats,
                                              machine=dict(machine=platform.machine(),
                                                           threads=int(os.environ.get('OMP_NUM_THREADS', 0)) or None,
                                                           processors=os.cpu_count()),
                                                     decoded_a_second=round(rows[-1][1]['images']
                                                         / statistics.median(b['seconds']['decode'] for _, b in rows)),
                                                     microseconds_an_image={
                                                         k: round(statistics.median(b['microseconds_an_image'][k]
                                                             for _, b in rows), 3)
                                                             for k in rows[0][1]['microseconds_an_image']},
                                                     peak_mb_above_imports={k: max(b['peak_mb_above_imports'][k]
                                                         for _, b in rows)
                                                         for k in rows[0][1]['peak_mb_above_imports']},
                                                     an_image_against_1x={k: statistics.median(v)
                                                         for k, v in ratio.items()},
                                                     range_against_1x={k: [min(v), max(v)] for k, v in ratio.items()},
                                                     main_thread_against_1x={k: statistics.median(v)
                                                         for k, v in busy.items()})
            print(name, json.dumps(result[name], indent=1), flush=True)
    result = {k: result[k]
              for k in sorted((k for k in result if k != 'machine'), key=lambda k: ('disk' in k, int(k.split('x')[0])))}
    OUT.write_text(json.dumps(result, indent=1) + '\n')
    def cell(r, what):
        return f"{r['microseconds_an_image'][what]:.3g} µs, " + tables.spread(r['an_image_against_1x'][what],
            r['range_against_1x'][what], 2, 'x')
    tables.put('large',
               ['images', 'read and decoded', 'had again', *(f'{w}, an image' for w in RUNGS), 'peak memory', 'turns'],
               [(f"{r['images']:,}{', all sizes from the disk' * ('disk' in name)}",
                 *(cell(r, w) for w in ('decode', 'load', *RUNGS)), f"{max(r['peak_mb_above_imports'].values())} MB",
                 r['repeats']) for name, r in result.items()])


if __name__ == '__main__': main()
