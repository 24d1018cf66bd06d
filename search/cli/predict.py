"""finesweep predict: predict the rows of a file with an exported model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_modules.data.file.form import Form
from lightning_modules.data.files import has_words
from lightning_modules.data.read import Wanted, read_tables
from lightning_modules.data.table import Table
from lightning_modules.data.tabular import reading_notes
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.export.model import base_of, check_exported, load_exported, read_manifest
from lightning_modules.machine.path import typed_path
from lightning_modules.machine.writable import check_writable
from lightning_modules.schema import member_of
from lightning_modules.task.base import Task
from search.cli.argument import keys, needed, parse
from search.config import typed_names
from search.machine.quiet import quiet_training
from search.terminal.download import fetch_base
from search.trained.ask import columns_asked, rows_to_predict
from search.trained.exported import exported_task
from search.trained.parts import (
    Parts,
    check_new,
    folder_digest,
    num_rows_from,
    remove_finished,
    rows_digest,
)
from search.trained.written import (
    SCORES,
    added_columns,
    check_cells,
    check_ending,
    write_predictions,
)

ABOUT = """\
Predict the rows of a CSV, TSV, JSON, JSONL, Parquet, CoNLL or text file with an
exported model. The output has every input row with `prediction`, and with
`scores` (one probability per label) if there are labels, `entities` if there
are tags, or `start`, `end` and `score` if answers are quoted from a text.
If it was killed, the same command continues where it stopped.

  model=DIR      the exported model
  input=FILE     the rows; several files as [a.csv,b.csv] or 'data/*.csv', whose
                 rows get a column with the name of their file
  output=FILE    a new file that ends in .jsonl, .csv or .parquet
  top=3          only the 3 most probable labels; in CSV and Parquet as columns
                 top1, top1_score, top2, ...
  text=COLUMN    the column with the text, if not the one used in training
  text_pair=COLUMN   the same for a second text, e.g. a question
  delimiter= quoting= header= encoding= columns=
                 how the file is written, as data.delimiter etc. in training

A task of your own needs the same --config-dir=DIR and search.plugins=[PACKAGE]
as in training.

  finesweep predict model=best/ input=new.csv output=out.jsonl
  finesweep predict model=best/ input=new.csv output=out.csv top=3
  finesweep predict model=best/ input=new.csv output=out.jsonl text=comment
"""

FILE = "file"
FORM = ("delimiter", "quoting", "header", "encoding", "columns")


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("predict", ABOUT, words, flags=("own",))
    names = ("model", "input", "output", "top", "text", "text_pair", *FORM)
    found = keys(parsed.overrides, dict.fromkeys(names, ""))
    folder = typed_path(needed(found, "model", "DIR"))
    manifest = read_manifest(folder)
    output = _output(found)
    task, plugins = exported_task(folder, parsed.config_dir)
    place = needed(found, "input", "FILE")
    form = _form(found)
    top = _top(found, task, manifest["labels"])
    columns = {name: found.get(name, column) for name, column in manifest["columns"].items()}
    prompt, notes = manifest.get("prompt"), list[str]()
    inputs = [c for name, c in columns.items() if c and name not in task.label_fields]
    if prompt is not None:
        inputs = list(columns_asked(prompt, manifest["columns"], found).values())
    tables = read_tables(_places(place), "input", form, Wanted(inputs, has_words(task)))
    records = _records(tables, place)
    rows = [
        row
        for table in tables
        for row in rows_to_predict(table, manifest["columns"], task, found, prompt, notes)
    ]
    _check_added(tables, output, task, top, is_named=records is not tables[0].rows)
    check_exported(folder, plugins)
    digests = {"input": rows_digest([*records, *rows]), "model": folder_digest(folder)}
    for note in (*reading_notes(tables), *notes):
        print(f"note: {note}")
    if top is not None and top < int(found["top"]):
        print(f"note: top={found['top']}, but the model has {top} labels")
    with Parts(output, digests) as parts:
        if (done := parts.num_done) < len(rows):
            if done:
                before = f"{done} of {len(rows)} rows were predicted before"
                print(f"note: {before}; continuing after them")
            base = base_of(folder, plugins, fetch_base)
            quiet_training()
            predictor = load_exported(folder, task, base, plugins)
            for note in predictor.notes(rows):
                print(f"note: {note}")
            while done < len(rows):
                some = rows[done : done + num_rows_from(done)]
                parts.add(done, predictor.predict(some))
                done += len(some)
        write_predictions(output, records, parts, top)
    print(f"wrote {len(rows)} rows to {output}")
    return 0


def _places(text: str) -> str | list[str]:
    """Return a path, a pattern, or the paths and patterns of a list in brackets."""
    is_list = text.startswith("[") and text.endswith("]") and not typed_path(text).exists()
    return typed_names(f"input={text}") if is_list else text


def _records(tables: Sequence[Table], place: str) -> Sequence[Mapping[str, Any]]:
    """Return the rows as they are written: those of a list or a pattern with their file."""
    if [table.path for table in tables] == [typed_path(place)]:
        return tables[0].rows
    return [{**row, FILE: str(table.path)} for table in tables for row in table.rows]


def _check_added(
    tables: Sequence[Table], output: Path, task: Task, top: int | None, *, is_named: bool
) -> None:
    """Raise UserError if the rows have columns or cells that cannot be written."""
    names = [*added_columns(output, task.decoded, top), *([FILE] if is_named else [])]
    if added := [name for name in names if name in tables[0].columns]:
        rule = "the input must not have the columns that predict adds"
        raise ConfigError(Problem("input", rule, ", ".join(added), "Rename them."))
    for table in tables:
        check_cells(table, output)


def _output(found: Mapping[str, str]) -> Path:
    output = typed_path(needed(found, "output", "FILE.jsonl"))
    check_ending(output)
    remove_finished(output.parent)
    check_new(output)
    check_writable(output.parent, "output", "Choose another folder.")
    return output


def _top(found: Mapping[str, str], task: Task, labels: Sequence[str]) -> int | None:
    """Return the number of labels to write with their probabilities; None writes all."""
    text = found.get("top")
    if text is None:
        return None
    if not text.isdecimal() or not int(text):
        raise ConfigError(Problem("top", "must be a whole number > 0", text))
    if not labels or SCORES not in task.decoded:
        got = Verbatim(f"a model of task={member_of(task)}")
        rule = "needs a model that has a probability per label"
        raise ConfigError(Problem("top", rule, got, "Remove it."))
    return min(int(text), len(labels))


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
