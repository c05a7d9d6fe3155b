"""Write the JSON Schema of comparison.json: `python tools/schema.py`; with `--check`, report whether it is up to date.

The schema is generated from the class Comparison and the records in nbs/answer/02_records.ipynb."""
import json, sys
from pathlib import Path
from fastrecipes.answer.comparison import Comparison

FILE = Path(__file__).resolve().parent.parent/'fastrecipes/answer/page/comparison.schema.json'


def schema():
    "The schema as text"
    return json.dumps(Comparison.model_json_schema(), indent=2, ensure_ascii=False) + '\n'


if __name__ == '__main__':
    if '--check' not in sys.argv: FILE.write_text(schema(), encoding='utf-8')
    elif FILE.read_text(encoding='utf-8') != schema():
        sys.exit(f'{FILE.name} is not up to date: run python tools/schema.py')
