"""`fastrecipes predict`: any image, from anywhere, in any number, and an answer for people or for programs"""
import csv, io, json, os, re, subprocess, sys
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image
from fastrecipes.data.imagefile import read_fitted, read_image, Reading
from fastrecipes.data.images import ImageSet
from fastrecipes.data.sources import load as load_images
from fastrecipes.ladder.recipe import fit
from fastrecipes.keep.predict import predict_files, ranked, show_predictions
from fastrecipes.keep.store import load, save
from fastrecipes.text import shortened
from conftest import refused
from limits import little_room
from test_cli import called, refused as ended
from test_store import image_set

ENV = os.environ | {'COLUMNS': '100'}


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    "Kept models by name: ten digits, two classes with names that need quotes, coloured, and similarity"
    home = tmp_path_factory.mktemp('models')
    two = load_images('digits', classes='3,7')
    two = ImageSet('two', ('a "b", c', 'dé\nf'), two.train, two.valid)
    fits = dict(
        ten=fit('mlp', 'digits', epochs=3, device='cpu'),
        two=fit('linear', two, epochs=2, device='cpu'),
        rgb=fit('simple_net', image_set(4, (3, 12, 9)), epochs=2, device='cpu'),
        similarity=fit('similarity', 'digits', device='cpu'))
    return {name: save(f, home/name) for name, f in fits.items()}

@pytest.fixture
def photos(tmp_path, digits):
    "Ten digits as files, 0.png to 9.png, in photos/, three of them in photos/deep/er/"
    for i in range(10):
        path = tmp_path/'photos'/('deep/er' if i > 6 else '')/f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.valid.images[i, 0].numpy()).save(path)
    return [f'photos/{i}.png' for i in range(7)] + [f'photos/deep/er/{i}.png' for i in range(7, 10)]

def answers(r): return [(p['image'], p.get('class', p.get('error'))) for p in json.loads(r.stdout)]
def wanted(model, files):
    return [(str(f), model.classes[i]) for f, i in zip(files, model.predict([str(f) for f in files]).tolist())]


# What an image may be

MODES = {
    'L': lambda im: im,
    'RGB': lambda im: im.convert('RGB'),
    'RGBA': lambda im: (im := im.convert('RGBA'), im.putalpha(Image.linear_gradient('L').resize(im.size)))[0],
    'LA': lambda im: im.convert('LA'),
    'CMYK.jpg': lambda im: im.convert('CMYK'),
    'P': lambda im: im.convert('RGB').quantize(16),
    'P.gif': lambda im: im.convert('P'),
    '1': lambda im: im.convert('1'),
    'I;16': lambda im: Image.fromarray(np.asarray(im).astype(np.uint16) * 257),
    'I.tif': lambda im: Image.fromarray(np.asarray(im).astype(np.int32) * 257),
    'F.tif': lambda im: Image.fromarray(np.asarray(im).astype(np.float32) / 255),
    'L.webp': lambda im: im.convert('RGB'),
    'L.bmp': lambda im: im,
    'YCbCr.jpg': lambda im: im.convert('YCbCr'),
    'HSV.tif': lambda im: im.convert('RGB').convert('LAB'),
}

@pytest.mark.parametrize('model', ['ten', 'two', 'rgb', 'similarity'])
@pytest.mark.parametrize('size', [(8, 8), (1, 1), (200, 3), (40, 61)], ids=str)
def test_any_mode_and_size_is_predicted_as_the_kept_model_does(models, model, size):
    gradient = Image.linear_gradient('L').resize((16, 16)).rotate(30)
    for name, change in MODES.items():
        mode, _, suffix = name.partition('.')
        change(gradient.resize(size)).save(f"{mode.replace(';', '')}.{suffix or 'png'}")
    files, kept = sorted(os.listdir()), load(models[model], 'cpu')
    assert len(files) == len(MODES)
    r = called('predict', models[model], *files, '--json')
    assert r.returncode == 0 and r.stderr == '' and answers(r) == wanted(kept, files)
    as_in_training = [torch.tensor(read_fitted(f, kept.shape)[0]) for f in files]
    pixels = torch.stack(as_in_training)
    assert torch.equal(kept.predict_scores(files), kept.predict_scores(pixels))
    if kept.has_probs:
        found = torch.tensor([p['probability'] for p in json.loads(r.stdout)])
        torch.testing.assert_close(found, kept.predict_probs(pixels).max(1).values) # The command may be on a GPU

@pytest.mark.parametrize('turn', range(1, 9))
def test_a_photograph_that_lies_on_its_side_is_turned(models, turn):
    im = Image.fromarray(np.arange(40 * 20, dtype=np.uint16).reshape(40, 20).astype(np.uint8)).convert('RGB')
    undo = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[turn] # Pillow's transpositions
    exif = Image.Exif()
    exif[0x112] = turn
    laid = im
    for t in undo: laid = laid.transpose(Image.Transpose(t))
    laid.save('turned.png', exif=exif)
    im.save('upright.png')
    (_, a), (_, b) = answers(called('predict', models['rgb'], 'turned.png', 'upright.png', '--json'))
    kept = load(models['rgb'], 'cpu')
    assert a == b and torch.equal(*kept.predict_scores(['turned.png', 'upright.png']).split(1))

def test_an_image_with_too_many_pixels_is_an_error_as_in_training(models, tmp_path):
    Image.new('1', (10_000, 30_001)).save('big.png')
    r = called('predict', models['ten'], 'big.png')
    assert r.returncode == 1
    assert r.stdout == '' and re.fullmatch(r'fastrecipes: big\.png: .*300,010,000 .*300,000,000.*\n', r.stderr)

def test_the_limit_of_pixels_can_be_set_for_a_prediction(models):
    Image.new('L', (30, 20)).save('small.png')
    r = called('predict', models['ten'], 'small.png', '--max-pixels', '599')
    assert r.returncode == 1 and '600 pixels' in r.stderr and '--max-pixels' in r.stderr
    assert called('predict', models['ten'], 'small.png', '--max-pixels', '600').returncode == 0
    kept = load(models['ten'], 'cpu', max_pixels='599')
    assert kept.reading.max_pixels == 599 and load(models['ten'], 'cpu').reading.max_pixels == 300_000_000
    (_, scores, reason), = predict_files(kept, ['small.png'])
    assert scores is None and '599' in reason
    with refused('max_pixels'): load(models['ten'], 'cpu', max_pixels='many')


# Where images may be

def test_a_file_a_folder_a_pattern_and_several_of_each_in_their_order(models, photos):
    kept, ten = load(models['ten'], 'cpu'), models['ten']
    several = 'photos/6.png photos/deep photos/[01].png photos/6.png'
    cases = {
        'photos/3.png': photos[3:4], 'photos': sorted(photos), 'photos/*.png': photos[:7],
        'photos/**/*.png': sorted(photos), 'photos/[2-4].png': photos[2:5], 'photos/deep': photos[7:],
        'photos/deep/': photos[7:], several: [photos[6], *photos[7:], *photos[:2], photos[6]],
    }
    for args, files in cases.items():
        r = called('predict', ten, *args.split(), '--json')
        assert r.returncode == 0 and r.stderr == '', args
        assert [(os.path.normpath(n), c) for n, c in answers(r)] == wanted(kept, files), args

@pytest.mark.parametrize('pattern', ['photos/**', '**', 'photos/*', '*', 'photos/../*'])
def test_a_pattern_that_finds_a_folder_and_what_is_in_it_names_each_image_once(models, photos, pattern):
    r = called('predict', models['ten'], pattern, '--json')
    assert r.returncode == 0 and sorted(os.path.normpath(n) for n, _ in answers(r)) == sorted(photos)

def test_a_file_whose_name_looks_like_a_pattern_is_that_file(models, photos):
    os.rename('photos/0.png', '[1].png')
    os.rename('photos/2.png', '*.png')
    os.rename('photos/3.png', '1.png')
    r = called('predict', models['ten'], '[1].png', '*.png', '--json')
    assert [n for n, _ in answers(r)] == ['[1].png', '*.png']

def test_names_of_all_kinds_in_all_forms(models, photos):
    names = ['with space.png', 'new\nline.png', 'zwei\ttabs.png', 'ünï 東京 🙂.png', '-x.png', '--json', '-', '~x.png',
             '~nemo0/../x.png', 'quote"s\'.png', 'com,ma.png', 'cr\rlf.png', '\x1b[31m.png', 'bytes\udcff.png',
             '%s{}.png', '\\n.png']
    os.makedirs('~nemo0')
    for i, n in enumerate(names): Path(n).write_bytes(Path(photos[i % 10]).read_bytes())
    given = [f'./{n}' if n == '-' else n for n in names]
    ten = models['ten']
    r = called('predict', ten, '--json', '--', *given)
    classes = [c for _, c in wanted(load(ten, 'cpu'), given)]
    assert r.returncode == 0 and r.stderr == '' and answers(r) == list(zip(given, classes)) and r.stdout.encode()
    rows = list(csv.reader(io.StringIO(called('predict', ten, '--csv', '--', *given).stdout, newline='')))
    escaped = [n.encode(errors='backslashreplace').decode() for n in given]
    assert [r[:2] for r in rows] == [['image', 'class'], *map(list, zip(escaped, classes))]
    r = called('predict', ten, '--', *given)
    lines = r.stdout.splitlines()
    assert len(lines) == len(names)
    assert all(l.isprintable() for l in lines) and [l.split()[-2] for l in lines] == classes

@pytest.mark.slow
def test_a_process_reads_standard_input_and_writes_names_that_are_no_text_to_a_strict_terminal(models, photos):
    data = Path(photos[4]).read_bytes()
    Path('bytes\udcff.png').write_bytes(data)
    command = [sys.executable, '-m', 'fastrecipes', 'predict', models['ten'], '-', 'bytes\udcff.png', 'no\udcff.png',
               '--json']
    r = subprocess.run(command, input=data, capture_output=True, env=ENV | {'PYTHONIOENCODING': 'utf-8:strict'})
    read, same, missing = json.loads(r.stdout)
    assert r.returncode == 1 and 'error' in missing, r.stderr
    assert read['class'] == same['class'] and same['image'] == 'bytes\udcff.png'
    assert r.stderr.count(b'\n') == 1

def test_one_image_may_come_from_standard_input(models, photos):
    data = Path(photos[4]).read_bytes()
    kept = load(models['ten'], 'cpu')
    r = called('predict', models['ten'], photos[0], '-', photos[1], '--json', stdin=data)
    classes = [c for _, c in wanted(kept, [photos[0], photos[4], photos[1]])]
    assert answers(r) == list(zip([photos[0], '-', photos[1]], classes))
    r = called('predict', models['ten'], '-', '--show', 'out.png', stdin=data)
    assert r.returncode == 0 and Image.open('out.png').size[0] > 100
    r = called('predict', models['ten'], '-', stdin=b'no image')
    assert (r.returncode, r.stdout, r.stderr) == (1, '', 'fastrecipes: -: not an image\n')

@pytest.mark.slow
def test_a_pipe_that_is_closed_early_is_no_error_of_ours(models, photos):
    code = """import sys, fastrecipes.commands.models as models
from fastrecipes.cli import main
models.as_lines = lambda records: 'x' * 10**6
main(sys.argv[1:])"""
    p = subprocess.Popen([sys.executable, '-c', code, 'predict', models['ten'], photos[0]], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, env=ENV)
    p.stdout.read(5)
    p.stdout.close()
    err = p.stderr.read()
    assert p.wait(60) in (0, 1) and err == b''


# Those that cannot be read

def test_bad_ones_among_many_are_reported_and_the_others_predicted(models, photos, tmp_path):
    Path('broken.png').write_bytes(Path(photos[0]).read_bytes()[:60])
    Path('text.png').write_text('not an image')
    Path('empty.png').touch()
    Path('none').mkdir()
    os.symlink('nowhere', 'link.png')
    args = [photos[5], 'broken.png', 'missing.png', photos[2], 'text.png', 'empty.png', 'none', 'link.png',
            'x' * 300 + '.png', 'no*.png', '']
    r = called('predict', models['ten'], *args, '--json')
    good = [photos[5], photos[2]]
    predicted = json.loads(r.stdout)
    assert r.returncode == 1 and [p['image'] for p in predicted] == args
    read = [(p['image'], p['class']) for p in predicted if 'class' in p]
    assert read == wanted(load(models['ten'], 'cpu'), good)
    bad = [p for p in predicted if 'error' in p]
    reasons = {p['image']: p['error'] for p in bad if len(p['image']) < 20 and p['image'] != 'broken.png'}
    assert reasons == {
        'missing.png': 'no such file', 'text.png': 'not an image', 'empty.png': 'an empty file',
        'none': 'no images in this folder', 'link.png': 'a broken link', 'no*.png': 'no such file',
        '': 'no such file'}
    assert r.stderr.splitlines() == [f"fastrecipes: {p['image']}: {p['error']}" for p in bad]
    assert all(set(p) == {'image', 'error'} for p in bad)
    for form in ([], ['--csv']):
        again = called('predict', models['ten'], *args, *form)
        assert again.returncode == 1 and again.stderr == r.stderr and len(again.stdout.splitlines()) == 2 + len(form)

def test_bad_ones_in_a_folder_are_reported_with_their_paths(models, photos):
    Path('photos/deep/bad.jpg').write_text('x')
    Path('photos/dir.png').mkdir()
    Path('photos/notes.txt').write_text('x')
    Path('photos/.hidden.png').write_text('x')
    r = called('predict', models['ten'], 'photos')
    assert r.returncode == 1
    places = [line.split(': ')[1] for line in r.stderr.splitlines()]
    assert places == ['photos', 'photos/deep/bad.jpg', 'photos/dir.png'] and '.txt (1)' in r.stderr
    assert len(r.stdout.splitlines()) == 10

def test_where_none_can_be_read_nothing_is_said_on_standard_output_but_the_form(models):
    forms = [
        ([], ''),
        (['--csv', '--top', '2'], 'image,class,probability,class_2,probability_2\n'),
        (['--json'], '[{"image": "no.png", "error": "no such file"}]\n'),
    ]
    for form, out in forms:
        r = called('predict', models['ten'], 'no.png', *form, '--show', 'out.png')
        reason = r.stderr.removeprefix('fastrecipes: no.png: ').removesuffix('\n')
        assert (r.returncode, r.stdout) == (1, out.replace('REASON', reason))
        assert r.stderr == f'fastrecipes: no.png: {reason}\n' and reason.isprintable(), r.stderr
        assert os.listdir() == []

def test_many_images_are_predicted_in_parts(models, digits):
    for i in range(300): Image.fromarray(digits.valid.images[i, 0].numpy()).save(f'{i:03}.png')
    Path('255.png').write_text('x')
    Path('256.png').write_text('x')
    kept = load(models['ten'], 'cpu')
    r = called('predict', models['ten'], '.', '--json')
    right = [p for p in json.loads(r.stdout) if 'class' in p]
    assert len(right) == 298
    predicted = [kept.classes[c] for c in kept.predict(digits.valid.images[:300]).tolist()]
    assert [p['class'] for p in right] == predicted[:255] + predicted[257:]
    files = [f'{i:03}.png' for i in range(300)]
    bad = [(file, reason) for file, _, reason in predict_files(kept, iter(files), bs=7) if reason]
    assert bad == [('255.png', 'not an image'), ('256.png', 'not an image')]


# The answer

@pytest.mark.parametrize('model', ['ten', 'two', 'similarity'])
@pytest.mark.parametrize('top', [1, 2, 3, 10, 99])
def test_the_likeliest_classes_come_first(models, photos, model, top):
    kept = load(models[model], 'cpu')
    r = called('predict', models[model], *photos, '--json', '--top', top)
    k = min(top, len(kept.classes))
    for p, f in zip(json.loads(r.stdout), photos, strict=True):
        assert list(p) == ['image', 'class', 'probability', 'top']
        assert len(p['top']) == k and p['top'][0] == {'class': p['class'], 'probability': p['probability']}
        if kept.has_probs:
            probs = dict(zip(kept.classes, kept.predict_probs([f])[0].tolist()))
            highest = sorted(probs.values(), reverse=True)[:k]
            assert [t['probability'] for t in p['top']] == pytest.approx(highest, abs=1e-6)
            assert all(t['probability'] == pytest.approx(probs[t['class']], abs=1e-6) for t in p['top'])
        else:
            order = kept.predict_scores([f])[0].argsort(descending=True)[:k]
            assert [t['class'] for t in p['top']] == [kept.classes[i] for i in order.tolist()]
            assert all(t['probability'] is None for t in p['top'])
    rows = list(csv.reader(io.StringIO(called('predict', models[model], *photos, '--csv', '--top', top).stdout)))
    assert rows[0] == ['image', 'class', 'probability',
                       *(f'{n}_{i}' for i in range(2, k + 1) for n in ('class', 'probability'))]
    def flat(p):
        row = [p['image']]
        for t in p['top']: row += [t['class'], '' if t['probability'] is None else repr(t['probability'])]
        return row
    assert rows[1:] == [flat(p) for p in json.loads(r.stdout)]

def test_text_is_a_line_an_image_aligned_and_nothing_else(models, photos):
    os.rename(photos[3], 'photos/a longer name.png')
    r = called('predict', models['ten'], 'photos', '--top', 2)
    lines = r.stdout.splitlines()
    assert r.returncode == 0
    assert r.stderr == '' and len(lines) == 10 and r.stdout.endswith('\n') and not r.stdout.endswith('\n\n')
    width = len('photos/a longer name.png')
    for l in lines: assert re.fullmatch(r'photos/.{%d}(  \d \d\.\d{4}){2}' % (width - 7), l), l
    assert all(re.fullmatch(r'photos/\S+\.png +\d', l)
               for l in called('predict', models['similarity'], photos[0], photos[9]).stdout.splitlines())

def test_two_classes_are_named_without_breaking_a_line(models, photos):
    kept = load(models['two'], 'cpu')
    text, plain, table = (called('predict', models['two'], *photos, *form).stdout
                          for form in ([], ['--json'], ['--csv']))
    assert answers(called('predict', models['two'], *photos, '--json')) == wanted(kept, photos)
    assert {c for _, c in wanted(kept, photos)} == set(kept.classes)
    assert len(text.splitlines()) == 10
    assert plain.count('\n') == 1
    assert [r[1] for r in list(csv.reader(io.StringIO(table)))[1:]] == [c for _, c in wanted(kept, photos)]
    assert all(.5 <= p['probability'] <= 1 for p in json.loads(plain))

def test_probabilities_that_are_no_numbers_are_null(tmp_path, digits):
    f = fit('linear', digits, epochs=1, device='cpu')
    with torch.no_grad(): f.model[1].weight.fill_(3e38)
    save(f, 'huge')
    Image.fromarray(digits.valid.images[0, 0].numpy()).save('x.png')
    r = called('predict', 'huge', 'x.png', '--json')
    assert r.returncode == 0 and json.loads(r.stdout, parse_constant=lambda c: pytest.fail(c))[0]['probability'] is None

@pytest.mark.parametrize('args, words', [
    (['--json', '--csv'], ['--json or --csv']),
    (['--top', '0'], ['top', '1 or more']),
    (['--top', 'x'], ['--top x']),
    (['--top', '1.5'], ['top']),
    (['--device', 'tpu'], ['tpu', 'auto, cuda']),
    (['--show', 'out'], ['picture', '.png']),
    (['--show', 'out.gif'], ['picture']),
    (['--show', 'photos/0.png/x.png'], ['cannot write']),
    (['--show', 'dir.png'], ['is a folder']),
    (['--show', '~nobody-of-this-name/x.png'], ['choose another']),
    (['--colour'], ['--colour']),
], ids=' '.join)
def test_a_wrong_option_is_refused_before_anything_is_predicted(models, photos, monkeypatch, args, words):
    import fastrecipes.keep.predict
    monkeypatch.setattr(fastrecipes.keep.predict, 'predict_files', lambda *a: pytest.fail('predicted'))
    os.mkdir('dir.png')
    ended(called('predict', models['ten'], photos[0], *args), *words)
    assert sorted(os.listdir()) == ['dir.png', 'photos']

def test_a_model_and_an_image_are_needed(models):
    ended(called('predict', models['ten']), 'IMAGE')
    ended(called('predict'), 'DIR')
    ended(called('predict', 'nowhere', 'x.png'), 'nowhere', 'no such folder', '--out DIR')

@pytest.mark.parametrize('first', ['photos/0.png', 'photos', 'nowhere.png'])
def test_a_model_behind_the_images_gets_the_right_order(models, photos, first):
    ended(called('predict', first, models['ten']), f"predict {models['ten']} {first}")

def test_the_number_of_images_that_are_not_drawn_is_told(models, photos):
    many = [*photos * 6]
    r = called('predict', models['ten'], *many, '--show', 'out.png')
    assert r.stderr.split() [:2] == ['wrote', 'out.png'] and '48' in r.stderr and '60' in r.stderr


# The picture

@pytest.mark.parametrize('name', ['out.png', 'deep/er/out.PNG', 'out.jpg', 'out.pdf', 'out.svg'])
def test_show_draws_a_picture(models, photos, name):
    r = called('predict', models['ten'], 'photos', '--show', name)
    assert r.returncode == 0 and len(r.stdout.splitlines()) == 10 and r.stderr == f'wrote {name}\n'
    data = Path(name).read_bytes()
    assert data.startswith({'png': b'\x89PNG', 'jpg': b'\xff\xd8', 'pdf': b'%PDF', 'svg': b'<?xml'}[name[-3:].lower()])
    assert [p.name for p in Path(name).parent.iterdir() if p.name.startswith('.')] == []
    if name == 'out.png':
        with Image.open(name) as im:
            assert im.width > 600 and im.height > 200 and len(im.convert('RGB').getcolors(2**20)) > 10

@pytest.mark.parametrize('n, rows, cols', [(1, 1, 1), (3, 1, 3), (8, 1, 8), (9, 2, 8), (60, 6, 8)])
def test_the_picture_has_the_first_images_with_their_predictions(models, photos, n, rows, cols):
    kept, files = load(models['ten'], 'cpu'), (photos * 6)[:n]
    fig = show_predictions(kept, ['missing.png', *files] if n < 48 else files)
    shown = [a for a in fig.axes if a.images]
    assert len(fig.axes) == rows * cols and len(shown) == min(n, 48)
    for ax, f in zip(shown, files):
        (c, p), = ranked(kept, kept.predict_scores([f])[0])
        assert ax.get_title() == f'{c}\n{p:.3f}' and np.array_equal(ax.images[0].get_array(), read_image(f))

def test_the_picture_of_names_that_look_like_mathematics_and_without_probabilities(models, photos, digits):
    names = tuple(['$a^', 'x_{', '\\frac', 'a very long name of a class', *'456789'])
    for n, recipe in (('p', 'linear'), ('q', 'similarity')):
        save(fit(recipe, ImageSet('named', names, digits.train, digits.valid), device='cpu',
                 **({'epochs': 2} if n == 'p' else {})), n)
    for n in 'pq':
        assert called('predict', n, 'photos', '--show', f'{n}.png').returncode == 0
        assert Path(f'{n}.png').stat().st_size > 1000
    titles = [a.get_title() for a in show_predictions(load('q', 'cpu'), photos).axes if a.images]
    assert titles[0] in map(shortened, names)

def test_the_picture_shows_images_as_the_model_reads_them(tmp_path):
    reading = Reading(background=(10, 20, 30), integers=(-1000, 3000))
    model = fit('linear', image_set(2, (1, 8, 8), reading=reading), device='cpu', epochs=1)
    Image.fromarray(np.full((8, 8), 1000, np.int16)).save('deep.tif')
    Image.new('RGBA', (8, 8)).save('clear.png')
    deep, clear = (a.images[0].get_array() for a in show_predictions(model, ['deep.tif', 'clear.png']).axes if a.images)
    assert abs(int(deep.max()) - 127.5) < 1 and (clear == (10, 20, 30)).all()

def test_nothing_to_draw_is_refused(models):
    with refused('no image to draw'): show_predictions(load(models['ten'], 'cpu'), [])

def test_a_picture_that_cannot_be_written_gets_one_line_and_the_answer_is_not_lost(models, photos, tmp_path):
    called('predict', models['ten'], photos[0], '--show', 'warm.png') # Writes what matplotlib caches
    os.remove('warm.png')
    with little_room(100): r = called('predict', models['ten'], photos[0], '--show', 'out.png')
    assert r.returncode == 2
    assert r.stdout.startswith('photos/0.png ')
    assert r.stderr.count('\n') == 1 and 'out.png' in r.stderr and 'File too large' in r.stderr
    assert os.listdir() == ['photos']
