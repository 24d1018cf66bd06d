"""finesweep predict: predict the rows of a file with an exported model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_modules.data.file.form import Form
from lightning_modules.data.files import has_words
from lightning_modules.data.read import Wanted, read_table
from lightning_modules.data.tabular import reading_notes
from lightning_modules.error import ConfigError, Problem
from lightning_modules.export.model import check_exported, load_exported, read_manifest
from lightning_modules.machine.file import replacing
from lightning_modules.machine.path import typed_path
from search.cli.argument import keys, needed, parse
from search.machine.quiet import quiet_training
from search.terminal.download import fetch_base
from search.trained.ask import columns_asked, rows_to_predict
from search.trained.exported import exported_base, exported_task

ABOUT = """\
Predict the rows of a CSV, TSV, JSON, JSONL, Parquet, CoNLL or text file with an
exported model. The output is JSONL: every input row with `prediction`, and with
`scores` (one probability per label) if there are labels, `entities` if there
are tags, or `start`, `end` and `score` if answers are quoted from a text.

  model=DIR      the exported model
  input=FILE     the rows
  output=FILE    a new file that ends in .jsonl
  text=COLUMN    the column with the text, if not the one used in training
  text_pair=COLUMN   the same for a second text, e.g. a question
  delimiter= quoting= header= encoding= columns=
                 how the file is written, as data.delimiter etc. in training

A task of your own needs the same --config-dir=DIR and search.plugins=[PACKAGE]
as in training.

  finesweep predict model=best/ input=new.csv output=out.jsonl
  finesweep predict model=best/ input=new.csv output=out.jsonl text=comment
"""

PLUGINS = "search.plugins"
FORM = ("delimiter", "quoting", "header", "encoding", "columns")


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("predict", ABOUT, words, flags=("own",))
    names = ("model", "input", "output", "text", "text_pair", *FORM, PLUGINS)
    found = keys(parsed.overrides, dict.fromkeys(names, ""))
    folder = typed_path(needed(found, "model", "DIR"))
    manifest = read_manifest(folder)
    own = [f"{PLUGINS}={found[PLUGINS]}"] if PLUGINS in found else []
    task, plugins = exported_task(folder, own, parsed.config_dir)
    check_exported(folder, plugins)
    output = typed_path(needed(found, "output", "FILE.jsonl"))
    if output.suffix.lower() != ".jsonl":
        fix = f"Predictions are written as JSONL: set output={output.with_suffix('.jsonl')}."
        raise ConfigError(Problem("output", "must end with .jsonl", str(output), fix))
    if output.exists():
        fix = "Nothing is overwritten: choose another file, or remove this one."
        raise ConfigError(Problem("output", "must be a new file", str(output), fix))
    path = typed_path(needed(found, "input", "FILE"))
    form = _form(found)
    columns = {name: found.get(name, column) for name, column in manifest["columns"].items()}
    prompt, notes = manifest.get("prompt"), list[str]()
    inputs = [c for name, c in columns.items() if c and name not in task.label_fields]
    if prompt is not None:
        inputs = list(columns_asked(prompt, manifest["columns"], found).values())
    table = read_table(path, "input", form, Wanted(inputs, has_words(task)))
    rows = rows_to_predict(table, manifest["columns"], task, found, prompt, notes)
    added = [name for name in task.decoded if name in table.columns]
    if added:
        rule = "the input must not have the columns that predict adds"
        raise ConfigError(Problem("input", rule, ", ".join(added), "Rename them."))
    for note in (*reading_notes([table]), *notes):
        print(f"note: {note}")
    base = exported_base(folder, plugins, fetch_base)
    quiet_training()
    predictor = load_exported(folder, task, base, plugins)
    for note in predictor.notes(rows):
        print(f"note: {note}")
    predictions = predictor.predict(rows)
    write_predictions(output, table.rows, predictions)
    print(f"wrote {len(predictions)} rows to {output}")
    return 0


def write_predictions(
    output: Path, rows: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, Any]]
) -> None:
    """Write each row with its prediction as a line of JSON."""
    with replacing(output) as draft, draft.open("w", encoding="utf-8") as file:
        for row, prediction in zip(rows, predictions, strict=True):
            cells = {name: _json_cell(cell) for name, cell in row.items()}
            line = json.dumps({**cells, **prediction}, ensure_ascii=False, default=str)
            file.write(line + "\n")


def _form(found: Mapping[str, str]) -> Form:
    """Return how the file is written, by the keys that are given."""
    given = {name: found[name] for name in FORM if name in found}
    columns = given.pop("columns", None)
    names = None if columns is None else [each.strip() for each in columns.strip("[]").split(",")]
    form = Form(**given, columns=names, prefix="")
    problems = list(form.problems())
    if problems:
        raise ConfigError(problems)
    return form


def _json_cell(cell: Any) -> Any:
    # JSON has no NaN; a Parquet file may.
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
