"""What a terminal shows, as text: the table of rungs at any width, other tables, an epoch, a fit"""
from io import StringIO
from types import SimpleNamespace
import pandas as pd, pytest, torch
from rich.cells import cell_len
from fastrecipes.answer.chance import Interval
from fastrecipes.answer.records import Step
from fastrecipes.answer.tables import (
    bar_text, epoch_text, EPOCH_HEAD, fitted_lines, narrow, paragraphs, plain, rung_columns, rung_head, rung_row,
    rung_table,
    set_line, show, text_tables,
)
from made import failed, first, rung

STEP = Step(recipe='similarity', gain_points=6.667, interval_points=Interval(3.94, 9.41), p=1e-6, words='better')
REASON = dict(reason='the training loss is infinite in epoch 1', cure='use a smaller learning rate')


def rungs(name='sgd'):
    return [rung('similarity', first(324, 360)), rung(name, first(348, 360), against=STEP),
            failed('logistic', **REASON), rung('mlp', first(352, 360))]

@pytest.mark.parametrize('width', [*range(21, 60, 3), 79, 80, 81, 99, 100, 139, 140, 200])
@pytest.mark.parametrize('name', ['mlp_2', 'a_recipe_of_my_own_with_a_rather_long_name', '\u6df1\u3044\u7db2'])
def test_the_table_fits_any_width(width, name):
    columns = rung_columns([r.recipe for r in rungs(name)], width, worst=.1)
    lines = plain(rung_head(columns), *(rung_row(columns, r) for r in rungs(name)), width=width).splitlines()
    assert max(map(cell_len, lines)) <= width and name[:11] in ''.join(lines)
    words = set(' '.join(lines).split())
    assert {'recipe', 'accuracy', 'similarity', '90.00%'} <= words, 'no word is broken'

def test_a_wider_terminal_has_all_columns_of_a_narrower_one():
    before = set()
    for width in range(20, 200):
        titles = {c.title for c in rung_columns(['mlp'], width, tested=True, worst=.1)}
        assert before <= titles
        before = titles
    assert len(before) == 13

def test_a_row_has_the_numbers_of_its_rung_and_a_failed_one_says_why():
    lines = plain(*rung_table([*rungs(), failed('convnet', status='stopped')], 120), width=120).splitlines()
    assert lines[2].split() == ['sgd', '96.67%', '94.3-98.1%', '+6.67', '3.9', 'to', '9.4', '<0.001', 'better', '1.0',
                                '10', '1', 'B']
    assert REASON['reason'] in lines[3] and REASON['cure'] in lines[3] and lines[-1] == 'not finished: convnet'

def test_the_test_accuracy_has_a_column_where_there_is_one():
    tested = rung('mlp', first(352, 360), test_accuracy=.95, test_interval=Interval(.9, .98))
    assert '95.00%' in plain(*rung_table([rungs()[0], tested]))
    assert 'test' not in plain(*rung_table(rungs()[:2])).split()

@pytest.mark.parametrize('share, width, blocks', [(0, 4, 0), (.001, 4, 1), (.5, 4, 2), (1, 4, 4), (3, 4, 4)])
def test_a_bar_is_as_long_as_its_share(share, width, blocks): assert len(bar_text(share, width)) == blocks

def test_columns_that_do_not_fit_continue_below():
    columns = {'recipe': ['similarity', 'sgd'], 'a': ['1', '2'], 'b': ['3', '']}
    wide, narrow = (plain(*text_tables(columns, w), width=w).splitlines() for w in (80, 14))
    assert wide[1].split() == ['similarity', '1', '3'] and len(wide) == 3
    rows = [line.split() for line in narrow if line.startswith('similarity')]
    assert rows == [['similarity', '1'], ['similarity', '3']]

def test_an_epoch_stands_below_its_titles():
    row = epoch_text(dict(epoch=9, train_loss=3e9, valid_loss=.5, accuracy=.9, seconds=.02))
    assert len(row) == len(EPOCH_HEAD) and row.split() == ['10', '3.0e+09', '0.5000', '90.00%', '<0.1']
    assert narrow(row, 30).split() == ['10', '3.0e+09'] and narrow(row, len(row)) == row

def test_an_image_set_in_a_line_has_as_many_names_as_fit(digits):
    assert all(name in set_line(digits) for name in ('digits', '10 classes', '8x8', '1,437', '360'))
    assert len(set_line(digits, 60)) < len(set_line(digits, 80)) and '(0, 1, 2, ...)' in set_line(digits, 10)

def test_a_fit_is_told_with_what_was_kept():
    right = torch.arange(360) < 346
    fitted = SimpleNamespace(
        recipe='mlp', targets=torch.ones(360), predictions=right.float(), accuracy=346 / 360,
        test=SimpleNamespace(accuracy=.5, targets=torch.ones(10)), best_epoch=6, history=pd.DataFrame(range(10)),
        parameters=13_130, seconds=1.2, device='cpu', stopped='stopped early', settings=dict(best=True),
        settings_text='lr=0.01')
    lines = plain(*fitted_lines(fitted)).splitlines()
    assert all(word in lines[0] for word in ('mlp', '96.11%', '360', '93.6-97.7%')) and '50.00% of 10 test' in lines[1]
    assert all(word in lines[2] for word in ('epoch 7 of 10', '13,130 parameters', '1.20 s', 'cpu'))
    assert lines[3:] == ['stopped early', 'settings: lr=0.01']

def test_what_is_no_terminal_gets_80_columns_and_no_spaces_at_the_end():
    out = StringIO()
    show(*paragraphs('Stop.', ['word ' * 40]), file=out)
    lines = out.getvalue().splitlines()
    assert lines[:2] == ['Stop.', '']
    assert len(lines) > 3 and max(map(len, lines)) <= 80 and not any(line.endswith(' ') for line in lines)
