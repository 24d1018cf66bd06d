"""A folder whose files or folders are the classes.

pos/0_9.txt pos/1_7.txt neg/0_2.txt     a text per file, its folder the label (aclImdb, 20 news)
pos.txt neg.txt                         a text per line, its file the label
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lightning_modules.data.file.arrow import ARROW
from lightning_modules.data.file.container import PACKED, is_about
from lightning_modules.data.file.dialect import lines_of
from lightning_modules.data.file.encoding import UTF8, Decoded, decoded
from lightning_modules.data.file.form import AUTO, Form
from lightning_modules.data.table import Table
from lightning_modules.error import ConfigError, Problem, Verbatim

TEXT, LABEL = "text", "label"
_SPLITS = ("train", "test", "dev", "val", "valid", "validation")
_UNLABELLED = ("unsup", "unsupervised", "unlabeled", "unlabelled")
_NO_TEXTS = (
    *(".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".xlsx", *ARROW),
    *(".conll", ".conllu", ".iob", ".iob2", ".bio", *PACKED),
)
"""Endings of files that have rows, or other files."""
NUM_SHOWN = 8


def read_folder(path: Path, key: str, form: Form) -> Table:
    """Return the texts of a folder with their labels.

    Raises:
        ConfigError: Its folders or files are splits or tables, or it has no texts.
        DataError: A file is in no encoding that is recognized.

    """
    entries = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    folders = [each for each in entries if each.is_dir()]
    files = [each for each in entries if each.is_file()]
    splits = [each.name for each in folders if each.name.lower() in _SPLITS]
    if splits:
        splits.sort(key=lambda name: _SPLITS.index(name.lower()))
        fix = f"E.g. {key}={path / splits[0]}."
        raise ConfigError(
            Problem(key, "must be one split", Verbatim(f"a folder with {', '.join(splits)}"), fix)
        )
    if not folders:
        beside = [each for each in files if is_about(each.name)]
        table = _of_lines(path, key, [each for each in files if each not in beside], form)
        return replace(table, notes=(*table.notes, *_unread(path, beside)))
    skipped = [each for each in folders if each.name.lower() in _UNLABELLED]
    found = [
        (file, each.name)
        for each in folders
        if each not in skipped
        for file in _texts_in(each, key)
    ]
    texts, notes = _decoded([file for file, _ in found], path, form)
    rows = [{TEXT: text.text, LABEL: label} for text, (_, label) in zip(texts, found, strict=True)]
    notes += _unread(path, (*skipped, *files))
    labels = dict.fromkeys(label for _, label in found)
    notes.insert(0, f"{path}: read a text per file, with its folder as label: {_listed(labels)}")
    return Table(
        path,
        [TEXT, LABEL],
        rows,
        [1] * len(rows),
        notes=tuple(notes),
        files=[file for file, _ in found],
    )


def _texts_in(folder: Path, key: str) -> Iterator[Path]:
    for each in sorted(folder.iterdir()):
        if each.name.startswith("."):
            continue
        if not each.is_file() or each.suffix.lower() in _NO_TEXTS:
            rule = "the folder of a class must have files of one text each only"
            raise ConfigError(Problem(key, rule, str(each)))
        yield each


def _of_lines(path: Path, key: str, files: Sequence[Path], form: Form) -> Table:
    for each in files:
        is_split = each.stem.lower() in _SPLITS
        if is_split or each.suffix.lower() in _NO_TEXTS:
            rule = "must be one split" if is_split else "must be files, or a folder of texts"
            got = Verbatim(f"a folder with {_listed([each.name for each in files])}")
            raise ConfigError(Problem(key, rule, got, f"E.g. {key}={each}."))
    labels = [each.stem for each in files]
    if len(set(labels)) < len(files):
        labels = [each.suffix[1:] for each in files]
    if len(files) < 2 or len(set(labels)) < len(files):
        rule = "must be a file, or a folder with a folder or a file for each class"
        got = Verbatim(f"{path} with {_listed([each.name for each in files]) or 'no files'}")
        raise ConfigError(Problem(key, rule, got))
    texts, notes = _decoded(files, path, form)
    rows, lines, places = [], [], []
    for file, label, text in zip(files, labels, texts, strict=True):
        for line, content in enumerate(lines_of(text.text), start=1):
            if content.strip():
                rows.append({TEXT: content, LABEL: label})
                lines.append(line)
                places.append(file)
    notes.insert(0, f"{path}: read a text per line, with its file as label: {_listed(labels)}")
    return Table(path, [TEXT, LABEL], rows, lines, notes=tuple(notes), files=places)


def _decoded(files: Sequence[Path], path: Path, form: Form) -> tuple[list[Decoded], list[str]]:
    """Return the texts; files that are not UTF-8 show their encoding together."""
    contents = [each.read_bytes() for each in files]
    others = [content for content in contents if not _is_utf8(content)]
    common, notes = form, []
    if others and form.encoding == AUTO:
        found = decoded(b"\n".join(others), f"{path}/*", form)
        common = replace(form, encoding=found.codec)
        notes = list(found.notes)
    texts = [
        decoded(content, str(file), form if _is_utf8(content) else common)
        for file, content in zip(files, contents, strict=True)
    ]
    return texts, [*notes, *(note for text in texts for note in text.notes)]


def _unread(path: Path, entries: Sequence[Path]) -> list[str]:
    names = [each.name for each in entries]
    return [f"{path}: not read: {_listed(names)}"] if names else []


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode(UTF8)
    except UnicodeDecodeError:
        return False
    return True


def _listed(names: Sequence[str] | dict[str, None]) -> str:
    shown = list(names)
    more = f" and {len(shown) - NUM_SHOWN} more" if len(shown) > NUM_SHOWN else ""
    return ", ".join(shown[:NUM_SHOWN]) + more
