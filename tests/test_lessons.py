"""The course in order, with links that lead somewhere; and the lessons' numbers, on their data with their settings.

bench/accuracy.py holds the other seeds to the same numbers."""
import json, re
from itertools import pairwise
from urllib.parse import urldefrag
import pytest
from conftest import REPO
from fastrecipes.data.sources import load
from fastrecipes.ladder.recipe import fit

COURSE = REPO/'nbs'/'lessons'
LESSONS = sorted(COURSE.glob('[0-9]*.ipynb'))
NET = dict(hidden=(64, 64, 64), lr=.001, bs=10, epochs=3, schedule='constant', wd=0, dropout=0)
FACES = dict(
    hidden=(256, 128, 64, 16), activation='leaky_relu', dropout=.1, lr=.001, bs=32, epochs=20, patience=3,
    schedule='constant', wd=0,
)


def cells(notebook, kind):
    found = json.loads(notebook.read_text(encoding='utf-8'))['cells']
    return [''.join(cell['source']) for cell in found if cell['cell_type'] == kind]

def links(text):
    "The files that a text links to"
    found = [urldefrag(link)[0] for link in re.findall(r'\]\(([^)\s]+)\)', text)]
    return [link for link in found if '://' not in link]

def test_the_lessons_are_numbered_without_gaps():
    assert [lesson.name[:3] for lesson in LESSONS] == [f'{i:02}_' for i in range(1, 14)]

@pytest.mark.parametrize('lesson', LESSONS, ids=lambda lesson: lesson.stem)
def test_a_lesson_has_a_title_a_subtitle_and_links_that_lead_somewhere(lesson):
    first, *rest = cells(lesson, 'markdown')
    title, _, subtitle = first.partition('\n\n')
    assert title == f'# {lesson.stem[3:]}'
    assert subtitle.startswith('> ') and '\n' not in subtitle
    missing = [link for link in links('\n'.join(rest)) if not (COURSE/link).exists()]
    assert not missing

@pytest.mark.parametrize('lesson, following', list(pairwise(LESSONS)), ids=lambda lesson: lesson.stem)
def test_a_lesson_leads_to_the_next(lesson, following):
    assert following.name in links('\n'.join(cells(lesson, 'markdown')))

def test_the_list_of_the_lessons_has_all_of_them_in_order():
    listed = re.findall(r'^(\d+)\. \[(\w+)\]\((.+?)\)', (COURSE/'README.md').read_text(encoding='utf-8'), re.M)
    assert listed == [(str(i), lesson.stem[3:], lesson.name) for i, lesson in enumerate(LESSONS, 1)]


@pytest.mark.parametrize('seed', [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_logistic_regression_of_the_mnist_lesson(mnist, seed):
    f = fit('logistic', load('mnist', seed=seed), seed=seed, test=True, device='cpu')
    assert .845 <= f.accuracy <= .860 and .858 <= f.test.accuracy <= .870
    assert (f.settings['epochs'], f.settings['lr'], f.settings['bs']) == (20, .001, 128)
    assert len(f.targets) == len(f.test.targets) == 10_000

@pytest.mark.slow
def test_the_net_of_the_mnist_lesson_with_its_18000_steps(mnist):
    "On the seed that fell short with other constants of Adam; the bench has all three"
    f = fit('mlp', load('mnist', valid='test'), seed=2, device='cpu', **NET)
    assert f.accuracy >= .962 and len(f.targets) == 10_000 and len(f.learner.recorder.lrs) == 18_000

@pytest.mark.slow
def test_the_deeper_net_as_it_comes_on_the_test_images_of_mnist(mnist):
    f = fit('mlp', 'mnist', seed=0, test=True, device='cpu')
    assert f.test.accuracy >= .982 and len(f.test.targets) == 10_000

@pytest.fixture(scope='module')
def faces(bitmoji): return load(bitmoji, size=50, channels=1)

@pytest.mark.slow
@pytest.mark.parametrize('counts', ['since-best', 'increases'])
@pytest.mark.parametrize('seed', range(3))
def test_the_net_of_the_faces_lesson(faces, seed, counts):
    assert (faces.shape, len(faces.train), len(faces.valid)) == ((1, 50, 50), 1714, 400)
    f = fit('mlp', faces, seed=seed, patience_counts=counts, device='cpu', **FACES)
    assert f.accuracy >= .60 and len(f.history) <= 20
