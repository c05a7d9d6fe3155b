"The tables in README.md beside this file: each script puts its own between its two marks"
from pathlib import Path

README = Path(__file__).parent/'README.md'

def put(
    name:str, # Of the marks, `<!-- name -->` and `<!-- end of name -->`
    columns:list,
    rows:list, # Of texts, one for each column
):
    "Replace a table of README.md"
    text, begin, end = README.read_text(encoding='utf-8'), f'<!-- {name} -->\n', f'<!-- end of {name} -->'
    before, rest = text.split(begin)[0], text.split(end)[1]
    def line(cells):
        return '| ' + ' | '.join(map(str, cells)) + ' |\n'
    README.write_text(before + begin + line(columns) + '|' + '---|' * len(columns) + '\n' + ''.join(map(line, rows))
                      + end + rest, encoding='utf-8')

def spread(middle:float, values, digits:int=1, unit:str='') -> str: # Such as '3.4x (3.3 to 3.7)'
    "A median with the range of what it is the median of"
    return f'{middle:.{digits}f}{unit} ({min(values):.{digits}f} to {max(values):.{digits}f})'
