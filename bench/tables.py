"The tables in README.md beside this file: each script writes its own, between two marks"
from collections.abc import Iterable
from pathlib import Path

README = Path(__file__).parent/'README.md'

def put(
    name:str, # Of the marks, `<!-- name -->` and `<!-- end of name -->`
    columns:list,
    rows:Iterable, # Each has one cell per column
):
    "Replace a table of README.md"
    begin = f'<!-- {name} -->\n'
    end = f'<!-- end of {name} -->'
    text = README.read_text(encoding='utf-8')
    before = text.split(begin)[0]
    after = text.split(end)[1]
    def line(cells): return '| ' + ' | '.join(map(str, cells)) + ' |\n'
    table = line(columns) + '|' + '---|' * len(columns) + '\n' + ''.join(map(line, rows))
    README.write_text(before + begin + table + end + after, encoding='utf-8')

def spread(middle:float, values, digits:int=1, unit:str='') -> str: # Such as '3.4x (3.3 to 3.7)'
    "A median and the range of its values"
    return f'{middle:.{digits}f}{unit} ({min(values):.{digits}f} to {max(values):.{digits}f})'
