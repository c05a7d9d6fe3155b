"Tables, file names and groups become image sets, and what cannot serve is refused in one line"
import json
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
from hypothesis import given, strategies as st
from PIL import Image
from conftest import refused
from fastrecipes.data.check import check
from fastrecipes.data.labelled import stratified_split
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError


@pytest.fixture
def photos(tmp_path):
    "A folder with the folder `photos` of twelve images, a0.png to a5.png and b0.png to b5.png"
    (tmp_path/'photos').mkdir()
    for i, name in enumerate(f'{c}{k}' for c in 'ab' for k in range(6)):
        Image.fromarray(np.full((5, 4), 20 * i, np.uint8)).save(tmp_path/'photos'/f'{name}.png')
    return tmp_path

NAMES = [f'{c}{k}' for c in 'ab' for k in range(6)]

def table(at, rows, head='path,label', name='labels.csv', **how):
    (at/name).write_text('\n'.join([head, *rows]) + '\n', **{'encoding': 'utf-8'} | how)
    return at/name

def full(at, *more, sep=',', **how):
    return table(at, [sep.join([f'photos/{n}.png', n[0]]) for n in NAMES] + list(more), f'path{sep}label', **how)

def grey(split): return sorted(split.images[:, 0, 0, 0].tolist())
def of(images): return {name: grey(split) for name, split in images.splits.items()}


# Tables

def test_a_table_is_the_same_set_as_the_folder_with_these_classes(photos, tmp_path):
    images = load(full(photos))
    for c in 'ab': (tmp_path/'set'/c).mkdir(parents=True)
    for n in NAMES: (tmp_path/'set'/n[0]/f'{n}.png').write_bytes((photos/'photos'/f'{n}.png').read_bytes())
    assert images.fingerprint == load(tmp_path/'set').fingerprint
    assert images.source == 'labels.csv' and images.classes == ('a', 'b')
    assert images.valid.names == tuple(str(Path('photos')/Path(n).name) for n in images.valid.names)
    note, = images.notes
    assert "'path'" in note and "'label'" in note

@pytest.mark.parametrize('how', ['table', 'names'])
def test_class_names_that_look_alike_are_told_once(photos, how):
    for n in NAMES[:3]: (photos/'photos'/f'{n}.png').rename(photos/'photos'/f'{n.upper()}.png')
    names = [n.upper() for n in NAMES[:3]] + NAMES[3:]
    source = table(photos, [f'photos/{n}.png,{n[0]}' for n in names]) if how == 'table' else photos/'photos'
    options = {} if how == 'table' else dict(label_from='^([a-zA-Z])')
    images = load(source, **options)
    assert images.classes == ('A', 'a', 'b')
    for notes in (images.notes, check(source, **options).remarks):
        assert len([n for n in notes if "'A', 'a'" in n]) == 1

@pytest.mark.parametrize('name, how', [
    ('x.csv', dict(sep=';')), ('x.csv', dict(sep='\t')), ('x.tsv', dict(sep='\t')), ('x.CSV', {}),
    ('x.csv', dict(encoding='utf-8-sig')),
])
def test_separators_and_a_byte_order_mark_are_understood(photos, name, how):
    assert of(load(full(photos, name=name, **how))) == of(load(full(photos)))

def test_a_data_frame_is_relative_to_the_current_folder(photos, monkeypatch):
    monkeypatch.chdir(photos)
    frame = pd.DataFrame(dict(label=[n[0] for n in NAMES], path=[Path('photos')/f'{n}.png' for n in NAMES]))
    assert of(load(frame)) == of(load(full(photos)))

def test_a_parquet_file_is_a_table_or_says_what_it_needs(photos):
    frame = pd.read_csv(full(photos))
    try: import pyarrow # noqa: F401
    except ImportError:
        (photos/'x.parquet').touch()
        with refused('x.parquet', 'pyarrow'): load(photos/'x.parquet')
    else:
        frame.to_parquet(photos/'x.parquet')
        assert of(load(photos/'x.parquet')) == of(load(full(photos)))

def test_columns_are_found_by_name_by_what_is_left_or_by_option(photos):
    rows = [f'{n},{i},{n[0]}' for i, n in enumerate(NAMES)]
    known = of(load(full(photos)))
    assert of(load(table(photos, [f'{n},{n[0]}' for n in NAMES], 'id,breed'))) == known
    assert of(load(table(photos, [f'{n},{n[0]}' for n in NAMES], 'photo,Label'))) == known
    with refused('labels.csv', 'which column holds the labels', 'label_column', 'kind'):
        load(table(photos, rows, 'id,number,kind'))
    images = load(photos/'labels.csv', label_column='kind')
    assert of(images) == known and "'number'" in images.notes[0]
    with refused('labels.csv', "'knd'", "did you mean 'kind'?"): load(photos/'labels.csv', label_column='knd')
    with refused('labels.csv', "'phto'"): load(photos/'labels.csv', image_column='phto', label_column='kind')

def test_ids_without_a_suffix_are_found_one_folder_down_if_there_is_only_one(photos):
    path = table(photos, [f'{n},{n[0]}' for n in NAMES], 'id,label')
    assert of(load(path)) == of(load(full(photos, name='full.csv')))
    (photos/'other').mkdir()
    (photos/'other/a3.png').write_bytes((photos/'photos/a3.png').read_bytes())
    with refused('a3', '2 files'): load(path)

def test_missing_files_are_named_and_can_be_skipped(photos):
    path = full(photos, 'photos/c0.png,a', 'nowhere/c1.png,b')
    with refused('2 unreadable', 'c0.png (no such file)', 'c1.png', '--skip-bad'): load(path)
    images = load(path, skip_bad=True)
    assert of(images) == of(load(full(photos, name='good.csv')))
    assert sum('2 unreadable' in n for n in images.notes) == 1

def test_a_table_whose_paths_lead_nowhere_says_what_they_are_relative_to(photos):
    with refused('x.csv', '2 images', "'a.png'", 'relative to the table'):
        load(table(photos, ['a.png,a', 'b.png,b'], name='x.csv'))

def test_paths_may_be_absolute_or_outside_of_the_folder_and_say_nothing_of_the_machine(photos):
    (photos/'deep/er').mkdir(parents=True)
    rows = [f'../../photos/{n}.png,{n[0]}' if i % 2 else f'{photos}/photos/{n}.png,{n[0]}' for i, n in enumerate(NAMES)]
    images = load(table(photos/'deep/er', rows))
    assert of(images) == of(load(full(photos)))
    assert {Path(n).parent for n in images.valid.names} == {Path('photos')}

def test_windows_paths_are_read_everywhere(photos):
    assert of(load(table(photos, [f'photos\\{n}.png,{n[0]}' for n in NAMES]))) == of(load(full(photos)))

def test_repeated_rows_count_once_and_two_labels_are_refused(photos):
    images = load(full(photos, 'photos/a0.png,a', './photos/a1.png,a'))
    assert of(images) == of(load(full(photos, name='once.csv'))) and any(n.startswith('2 rows') for n in images.notes)
    with refused('labels.csv', 'a0.png', "'a'", "'b'", '1 more'):
        load(full(photos, 'photos/a0.png,b', 'photos/a1.png,b'))

def test_rows_without_a_label_are_left_out_and_said(photos):
    images = load(full(photos, 'photos/x.png,', ',a'))
    assert of(images) == of(load(full(photos, name='good.csv')))
    assert [n.split()[0] for n in images.notes[1:]] == ['1', '1']
    paths = [str(photos/'photos'/f'{n}.png') for n in NAMES]
    frame = pd.DataFrame(dict(path=paths, label=[0.] * 6 + [1.] * 4 + [np.nan, None]))
    images = load(frame)
    assert images.classes == ('0', '1') and sum(map(len, images.splits.values())) == 10
    with refused('table', 'no row'): load(frame.assign(label=np.nan))

def test_numbers_are_class_names_in_their_order(photos):
    rows = [f'photos/{n}.png,{10 if n[0] == "a" else 9}' for n in NAMES]
    assert load(table(photos, rows)).classes == ('9', '10')

def test_only_an_empty_cell_is_missing(photos):
    rows = [f'photos/{n}.png,{"NA" if n[0] == "a" else "None"}' for n in NAMES]
    assert load(table(photos, rows)).classes == ('NA', 'None')

@pytest.mark.parametrize('rows, parts', [
    ([], ('no rows',)),
    (['photos/a0.png,a', 'photos/a1.png,a'], ('one class only (a)', 'two or more')),
    (['photos/a0.png,a', 'photos/a1.png,a', 'photos/b1.png,b'], ("class 'b'", 'only one image')),
    (['photos/a0.png,a', 'photos/a1.png,b', 'photos/a2.png,a|b'], ("'a|b'", 'several labels')),
    (['photos/a0.png,a,1', 'photos/a1.png,b,2'], ('more columns',)),
    (['photos/a0.png,a', 'photos/a1.png,b,2'], ('cannot be read as a table',)),
])
def test_tables_that_cannot_serve_are_refused(photos, rows, parts):
    with refused('labels.csv', *parts): load(table(photos, rows))
    c = check(photos/'labels.csv')
    assert not c.healthy and json.dumps(c.to_dict())

@pytest.mark.parametrize('content, part', [
    (b'', 'empty'), ('path,label\nü.png,a\n'.encode('latin-1'), 'UTF-8'), ('path,label'.encode('utf-16'), 'UTF-8'),
])
def test_files_that_are_no_table_are_refused(photos, content, part):
    (photos/'x.csv').write_bytes(content)
    with refused('x.csv', part): load(photos/'x.csv')

def test_lists_in_cells_are_refused(photos):
    frame = pd.DataFrame(dict(path=['a.png', 'b.png'], label=[['a'], ['a', 'b']]))
    with refused('table', "'label'", 'several labels', 'a.png'): load(frame)
    with refused('table', "'path'", 'dict'): load(frame.assign(path=[{}, {}], label='a'))

def test_a_table_that_is_not_there_is_refused_by_name(photos):
    with refused('nowhere.csv', 'no such table'): load(photos/'nowhere.csv')
    with refused('a0.png', 'is a file', '.csv'): load(photos/'photos/a0.png')

def test_options_that_have_no_effect_are_refused(photos, digits):
    with refused('label_from'): load(full(photos), label_from='x')
    with refused('label_column'): load(photos/'photos', label_column='x')
    for source in ('digits', digits):
        with refused('groups', 'no effect'): load(source, groups='x')
    with refused('image_column'): check('digits', image_column='x')

def test_column_keep_says_which_rows_count(photos):
    rows = [f'photos/{n}.png,{n[0]},{"No" if n[1] == "5" else "yes"}' for n in NAMES]
    images = load(table(photos, rows, 'path,label,keep'))
    assert sorted(v for split in of(images).values() for v in split) == [20 * i for i in range(12) if i % 6 != 5]
    assert any(n.startswith('2 rows') for n in images.notes)
    with refused("'maybe'", 'row 1', 'a.png'): load(table(photos, ['a.png,a,maybe'], 'path,label,keep'))

def test_column_split_is_the_split_in_any_order(photos):
    kinds = ['test', 'Validation', 'TRAIN', 'train', 'train', 'val']
    path = table(photos, [f'photos/{n}.png,{n[0]},{kinds[int(n[1])]}' for n in NAMES], 'path,label,split')
    assert of(load(path)) == {'train': [40, 60, 80, 160, 180, 200], 'valid': [20, 100, 140, 220], 'test': [0, 120]}
    with refused('validation images already', 'valid=0.3'): load(path, valid=.3)
    assert check(path).counts == {n: {'a': k, 'b': k} for n, k in (('train', 3), ('valid', 2), ('test', 1))}

@pytest.mark.parametrize('yes, no', [('True', 'False'), ('1', '0')])
def test_column_is_valid_of_fastai_is_the_split(photos, yes, no):
    rows = [f'photos/{n}.png,{n[0]},{yes if n[1] == "5" else no}' for n in NAMES]
    images = load(table(photos, rows, 'fname,label,is_valid'))
    assert of(images) == {'train': [20 * i for i in range(12) if i % 6 != 5], 'valid': [100, 220]}
    assert "'is_valid'" in images.notes[0]
    for bad in ('', 'maybe'):
        path = table(photos, [*rows[:-1], f'photos/b5.png,b,{bad}'], 'path,label,is_valid')
        with refused('is_valid', 'row 12', 'b5.png'): load(path)

def test_column_is_valid_may_hold_truth_values_and_gives_way_to_split(photos):
    paths = [str(photos/'photos'/f'{n}.png') for n in NAMES]
    frame = pd.DataFrame(dict(path=paths, label=[n[0] for n in NAMES], is_valid=[n[1] == '5' for n in NAMES]))
    assert of(load(frame))['valid'] == of(load(frame.assign(is_valid=frame.is_valid * 1.)))['valid'] == [100, 220]
    split = ['valid' if n[1] == '4' else 'train' for n in NAMES]
    assert of(load(frame.assign(split=split)))['valid'] == [80, 200]

def test_several_labels_with_spaces_are_refused_and_names_with_spaces_are_not(photos):
    rows = [f'photos/{n}.png,{"cat" if n[0] == "a" else "dog"}' for n in NAMES]
    for label in ('cat dog', 'dog cat', 'cat cat'):
        path = table(photos, [*rows[:-1], f'photos/b5.png,{label}'])
        with refused(repr(label), 'b5.png', 'several labels'): load(path)
    rows = [f'photos/{n}.png,{"big cat" if n[0] == "a" else "cat"}' for n in NAMES]
    assert load(table(photos, rows)).classes == ('big cat', 'cat')

@pytest.mark.parametrize('split, parts', [
    ('trian', ("'trian'", "did you mean 'train'?", 'row 12', 'b5.png')), ('', ('row 12', 'b5.png')),
])
def test_unknown_splits_are_refused(photos, split, parts):
    rows = [f'photos/{n}.png,{n[0]},train' for n in NAMES[:-1]] + [f'photos/b5.png,b,{split}']
    with refused('labels.csv', *parts): load(table(photos, rows, 'path,label,split'))

def test_an_image_in_two_splits_is_refused(photos):
    rows = [f'photos/{n}.png,{n[0]},train' for n in NAMES] + ['photos/b5.png,b,valid']
    with refused('photos/b5.png', 'both train and valid'): load(table(photos, rows, 'path,label,split'))

def test_without_training_rows_a_table_is_refused(photos):
    with refused('no training images'): load(table(photos, ['photos/a0.png,a,valid'], 'path,label,split'))

def test_a_changed_label_is_noticed_without_decoding_again(photos):
    before = load(full(photos))
    rows = [f'photos/{n}.png,{"a" if n == "b0" else n[0]}' for n in NAMES]
    after = load(table(photos, rows))
    assert sum(len(s.labels) - int(s.labels.sum()) for s in after.splits.values()) == 7
    assert before.fingerprint != after.fingerprint

def test_check_looks_at_the_split_that_load_makes(photos):
    path = full(photos)
    (photos/'photos/a1.png').write_bytes((photos/'photos/a0.png').read_bytes())
    c, images = check(path, seed=3), load(path, seed=3)
    assert c.counts == {n: dict(zip(images.classes, s.labels.bincount().tolist())) for n, s in images.splits.items()}
    (photos/'photos/a2.png').write_text('x')
    c = check(path)
    assert [Path(n).name for n, _ in c.unreadable] == ['a2.png'] and not c.healthy


# File names

def test_the_class_can_be_in_the_name_of_a_file(photos):
    images = load(photos/'photos', label_from=r'(?P<label>[a-z]+)\d+')
    assert images.fingerprint == load(full(photos)).fingerprint and images.source == 'photos'
    c = check(photos/'photos', label_from=r'([a-z]+)\d+')
    assert c.classes == ('a', 'b') and sum(map(sum, (n.values() for n in c.counts.values()))) == 12

def test_without_class_folders_or_an_expression_the_cures_are_named(photos):
    with refused('no class folders', '--label-from', 'table'): load(photos/'photos')

@pytest.mark.parametrize('text, parts', [
    ('a+', ('6 files of 12', 'b0.png', "label_from='a+'")), ('(', ("label_from='('", 'not a regular expression')),
    (r'\.(png)', ('one class only (png)',)), (r'[0-9]', ("'0'", 'inside of a word')),
])
def test_expressions_that_do_not_give_labels_are_refused(photos, text, parts):
    with refused(*parts): load(photos/'photos', label_from=text)

def test_an_expression_does_not_confuse_names_that_end_alike(tmp_path):
    for kind in ('american_bulldog', 'bulldog'):
        for i in range(3): Image.new('L', (4, 4), i).save(tmp_path/f'{kind}_{i}.png')
    with refused("'bulldog'", 'inside of a word'): load(tmp_path, label_from=r'(?P<label>[a-z]+)_\d+')
    assert load(tmp_path, label_from=r'^(?P<label>\w+)_\d+').classes == ('american_bulldog', 'bulldog')

def test_splits_of_a_folder_are_kept_with_labels_from_names(photos):
    for split in ('train', 'valid'): (photos/'set'/split).mkdir(parents=True)
    for i, n in enumerate(NAMES):
        (photos/'photos'/f'{n}.png').rename(photos/'set'/('valid' if i % 3 == 0 else 'train')/f'{n}.png')
    assert of(load(photos/'set', label_from='([ab])'))['valid'] == [0, 60, 120, 180]


# Groups

def test_a_group_never_stands_on_both_sides_of_a_split(photos):
    rows = [f'photos/{n}.png,{n[0]},{int(n[1]) // 2}' for n in NAMES]
    for seed in range(5):
        images = load(table(photos, rows, 'path,label,patient'), groups='patient', seed=seed)
        train, valid = (set(s.groups) for s in (images.train, images.valid))
        assert not train & valid and train | valid == {'0', '1', '2'}
        known = {20 * i: str(int(n[1]) // 2) for i, n in enumerate(NAMES)}
        for s in (images.train, images.valid):
            assert [known[int(x[0, 0, 0])] for x in s.images] == list(s.groups)

def test_a_column_called_group_is_used_without_being_named(photos):
    rows = [f'photos/{n}.png,{n[0]},g{int(n[1]) // 2}' for n in NAMES]
    assert set(load(table(photos, rows, 'path,label,group')).train.groups) < {'g0', 'g1', 'g2'}
    path = table(photos, [*rows[:-1], 'photos/b5.png,b,'], 'path,label,group')
    with refused('row 12', 'b5.png', 'no group'): load(path)
    with refused("'patient'", 'column'): load(photos/'labels.csv', groups='patient')

@pytest.mark.parametrize('how', [{}, dict(label_from='^([ab])')], ids=['class folders', 'file names'])
def test_groups_of_a_folder_are_found_in_its_paths(photos, how):
    if not how:
        for n in NAMES:
            (photos/'photos'/n[0]).mkdir(exist_ok=True)
            (photos/'photos'/f'{n}.png').rename(photos/'photos'/n[0]/f'{n}.png')
    images = load(photos/'photos', groups=r'[ab](\d)', valid=.4, **how)
    assert not set(images.train.groups) & set(images.valid.groups)
    assert images.valid.labels.bincount().tolist() == [2, 2] and len(set(images.valid.groups)) == 2
    with refused('12 files', "groups='x'"): load(photos/'photos', groups='x', **how)
    assert check(photos/'photos', groups=r'[ab](\d)', **how).shared_groups == ()

def test_a_given_split_that_breaks_a_group_is_a_problem_and_a_note(photos):
    kinds = ['train', 'train', 'train', 'train', 'valid', 'valid']
    rows = [f'photos/{n}.png,{n[0]},{kinds[int(n[1])]},{"xyz"[int(n[1]) % 3]}' for n in NAMES]
    path = table(photos, rows, 'path,label,split,group')
    c, images = check(path), load(path)
    assert c.shared_groups == ('y', 'z') and any(p.startswith('2 groups') for p in c.problems)
    assert any(n.startswith('2 groups') for n in images.notes)
    assert check(images).shared_groups == ('y', 'z') and '  y' in str(c).splitlines()

def test_kept_classes_and_other_sizes_keep_the_groups(photos):
    rows = [f'photos/{n}.png,{n[0]},{n[1]}' for n in NAMES]
    images = load(table(photos, rows, 'path,label,group'))
    assert load(images, classes='a,b', size=8).valid.groups == images.valid.groups

def test_the_groups_of_the_validation_images_reach_a_comparison(photos):
    from fastrecipes.answer.climb import Climb
    rows = [f'photos/{n}.png,{n[0]},{int(n[1]) // 2}' for n in NAMES]
    images = load(table(photos, rows, 'path,label,group'), valid=.7)
    assert len(set(images.valid.groups)) == 2
    climb = Climb(images, 'similarity', device='cpu')
    assert climb.groups == list(images.valid.groups)
    assert climb.run().rungs[0].accuracy is not None
    own = ['u', 'v'] * (len(images.valid) // 2)
    assert Climb(images, 'similarity', device='cpu', groups=own).groups == own
    assert Climb('digits', 'similarity', device='cpu').groups is None

def test_groups_that_leave_nothing_to_set_aside_are_refused(photos):
    path = table(photos, [f'photos/{n}.png,{n[0]},{n[0]}' for n in NAMES], 'path,label,group')
    with refused('groups', '2 groups'): load(path)
    assert not check(path).healthy

@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7)), min_size=2, max_size=60),
       st.floats(.05, .6), st.integers(0, 3))
def test_every_split_by_groups_is_one(pairs, fraction, seed):
    labels, groups = (list(x) for x in zip(*pairs))
    y = torch.tensor(labels)
    try: stay, aside = stratified_split(y, fraction, seed, groups)
    except InputError:
        homes = [{g for l, g in pairs if l == c} for c in set(labels)]
        whole = {g for home in homes if len(home) == 1 for g in home}
        assert whole == set(groups), 'only if each group has all images of a class'
        return
    assert sorted(stay.tolist() + aside.tolist()) == list(range(len(labels)))
    assert not {groups[i] for i in stay} & {groups[i] for i in aside}
    assert set(y[stay].tolist()) == set(labels) and len(aside)
    again = stratified_split(y, fraction, seed, groups)
    assert torch.equal(again[1], aside)

def test_many_groups_are_split_nearly_as_well_as_single_images():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 200, 2000)
    labels = torch.tensor((rng.random(200) < .3)[groups] * 1)
    _, aside = stratified_split(labels, .2, 0, groups.tolist())
    share = labels[aside].bincount() / labels.bincount()
    assert (share - .2).abs().max() < .02
    assert not torch.equal(aside, stratified_split(labels, .2, 1, groups.tolist())[1])

def groups_aside(sizes, seed, fraction=.2):
    "The numbers of the groups of these sizes that are set aside, and the fraction of the images"
    groups = [g for g, size in enumerate(sizes) for _ in range(size)]
    _, aside = stratified_split(torch.zeros(len(groups), dtype=torch.int64), fraction, seed, groups)
    return frozenset(groups[i] for i in aside), len(aside) / len(groups)

def test_the_seed_chooses_among_groups_of_all_sizes():
    drawn = [groups_aside(range(1, 41), seed) for seed in range(40)]
    assert len({groups for groups, _ in drawn}) == 40 and all(abs(share - .2) < .01 for _, share in drawn)
    often = np.zeros(40)
    for groups, _ in drawn: often[list(groups)] += 1
    assert often.max() < 20 and often.min() > 0
    assert groups_aside(range(1, 41), 0) == drawn[0]

def test_one_large_group_does_not_fill_the_validation_split():
    for seed in range(20):
        groups, share = groups_aside([200] + [1] * 800, seed)
        assert abs(share - .2) < .01 and len(groups) > 20

@pytest.mark.parametrize('sizes', [[5] * 5, [9] + [1] * 8, [100, 3, 50, 7, 7]])
def test_two_of_five_groups_or_more_are_set_aside(sizes):
    for seed in range(5):
        groups, share = groups_aside(sizes, seed)
        assert len(groups) >= 2 and share < 1

@pytest.mark.parametrize('sizes', [[4, 4], [4, 4, 4], [4] * 4])
def test_of_fewer_groups_one_is_set_aside(sizes):
    for seed in range(5):
        groups, share = groups_aside(sizes, seed)
        assert len(groups) == 1 and share <= .5


# Commands

def test_the_commands_pass_these_options_on(photos):
    from click.testing import CliRunner
    from fastrecipes.cli import cli
    rows = [f'photos/{n}.png,{n[0]},{n[0]},{int(n[1]) // 2}' for n in NAMES]
    path = table(photos, rows, 'where,kind,other,patient')
    options = ['--image-column', 'where', '--label-column', 'kind', '--groups', 'patient']
    r = CliRunner().invoke(cli, ['check', str(path), *options, '--json', '-q'])
    assert json.loads(r.output)['classes'] == ['a', 'b'], r.output
    r = CliRunner().invoke(cli, ['compare', str(path), *options, '-r', 'similarity', '--valid', '.6', '--json', '-q'])
    assert json.loads(r.stdout)['classes'] == ['a', 'b'], r.output
    options = ['--label-from', '([ab])', '--groups', r'(\d)']
    r = CliRunner().invoke(cli, ['check', str(photos/'photos'), *options, '--json', '-q'])
    assert json.loads(r.output)['shared_groups'] == []


# Columns and expressions that are easily misread

def test_the_column_whose_files_exist_holds_the_paths(photos):
    known = of(load(full(photos)))
    rows = [f'{i},photos/{n}.png,{n[0]}' for i, n in enumerate(NAMES)]
    for head in ('id,pic,label', 'name,x,y', 'file,number,class', 'a,b,label'):
        images = load(table(photos, rows, head))
        assert of(images) == known and f'image from {head.split(",")[1]!r}' in images.notes[0]
    assert of(load(photos/'labels.csv', image_column='b')) == known
    with refused('labels.csv', 'none of its 12'): load(photos/'labels.csv', image_column='a')
    both = [f'{n},photos/{n}.png,{n[0]}' for n in NAMES] # The usual name is as good
    assert "image from 'id'" in load(table(photos, both, 'id,pic,label')).notes[0]

def test_two_columns_of_one_name_are_refused(photos, monkeypatch):
    monkeypatch.chdir(photos)
    rows = [[f'photos/{n}.png', n[0], 1, 2] for n in NAMES]
    for names, twice in ((['path', 'label', 'label', 'x'], 'label'), (['path', 'label', 'path', 'x'], 'path')):
        with refused('table', repr(twice), 'rename'): load(pd.DataFrame(rows, columns=names))
    assert of(load(pd.DataFrame(rows, columns=['path', 'label', 'x', 'x']))) == of(load(full(photos)))

@pytest.mark.parametrize('text', ['(?<=photo_)[a-z]+', r'(?<=\d\d_)[a-z]+', r'(?<!z)(?<=_)(?P<label>[a-z]+)\d'])
def test_what_is_in_front_of_a_label_can_be_looked_at(photos, text):
    front = '01' if 'd' in text else 'photo'
    for f in list((photos/'photos').iterdir()): f.rename(f.with_name(f'{front}_{f.name}'))
    images = load(photos/'photos', label_from=text)
    assert images.classes == ('a', 'b')

@pytest.mark.parametrize('text', ['(?<=a*)b', 'a{99999999999999999999}', '(?P<label>a', b'a', '(' * 5000 + ')' * 5000])
@pytest.mark.parametrize('option', ['label_from', 'groups'])
def test_expressions_that_cannot_be_compiled_are_refused(photos, text, option):
    with refused(option, 'not a regular expression'):
        load(photos/'photos', **(dict(label_from='^([ab])') | {option: text}))
