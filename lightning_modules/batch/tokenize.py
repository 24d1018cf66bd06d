"""Tokenize once: the cache on disk, by content, tokenizer and settings."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.machine.file import DiskFull, telling_full

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.data.base import Row
    from lightning_modules.task.base import Task


ROWS_AT_ONCE = 10_000  # some seconds' worth


def cache_folder() -> Path:
    """Return `$FINESWEEP_CACHE`, or finesweep's place in the user's cache folder."""
    chosen = os.environ.get("FINESWEEP_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "finesweep"


def tokenize(
    rows: Sequence[Row],
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    labels: Sequence[str],
    alive: Callable[[str], None] = lambda doing: None,
) -> Dataset:
    """Return the rows as model inputs, from the cache where they were tokenized before.

    Raises:
        DiskFull: The cache has no room.

    """
    from datasets import Dataset, concatenate_datasets, load_from_disk

    folder = cache_folder() / "tokenized" / _key(rows, task, tokenizer, max_length, labels)
    if not folder.is_dir():
        # As Arrow, a tenth of the same as Python's numbers.
        parts = [
            Dataset.from_dict(columns)
            for columns in encoded(
                rows, lambda some: task.encode(some, tokenizer, max_length, labels), alive
            )
        ]
        alive("keeping the tokenized rows")
        save_once(concatenate_datasets(parts), folder)
    dataset = load_from_disk(str(folder))
    assert isinstance(dataset, Dataset)
    return dataset


def encoded(
    rows: Sequence[Row],
    encode: Callable[[Sequence[Row]], dict[str, list[Any]]],
    alive: Callable[[str], None] = lambda doing: None,
) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of the rows' examples, some rows at once.

    Texts that share an example do so with others of the same part: whoever scores rows again has
    to cut them here, too, or the blocks are others.
    """
    num_examples = 0
    for start in range(0, len(rows), ROWS_AT_ONCE):
        alive(f"tokenizing, row {start} of {len(rows)}")
        columns = encode(rows[start : start + ROWS_AT_ONCE])
        for name, before in (("row", start), ("number", num_examples)):
            if name in columns:
                columns[name] = [before + value for value in columns[name]]
        num_examples += len(columns["input_ids"])
        yield columns


def lengths_of(dataset: Dataset) -> list[int]:
    """Return the number of tokens of each row."""
    import pyarrow.compute

    lengths: list[int] = pyarrow.compute.list_value_length(
        dataset.data.column("input_ids")
    ).to_pylist()
    return lengths


def save_once(dataset: Dataset | DatasetDict, folder: Path) -> None:
    """Save to `folder`, whole or not at all; of several workers' the first one's stays."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.draft")
    draft.parent.mkdir(parents=True, exist_ok=True)
    try:
        with telling_full(folder):
            dataset.save_to_disk(str(draft))
        draft.rename(folder)
    except DiskFull:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    except OSError:
        shutil.rmtree(draft)
        if not folder.is_dir():
            raise


def _key(
    rows: Sequence[Row],
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    labels: Sequence[str],
) -> str:
    digest = hashlib.sha256()
    settings = (task.reading, _content(tokenizer), str(max_length), json.dumps(list(labels)))
    for part in settings:
        digest.update(part.encode())
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()[:32]


def _content(tokenizer: PreTrainedTokenizerBase) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        content = tokenizer.get_vocab()
    else:
        content = json.loads(backend.to_str())
        # A call leaves its truncation and padding behind in the tokenizer.
        content["truncation"] = content["padding"] = None
    # BERT's and DistilBERT's have the same backend, and only one has token types.
    around = {
        "inputs": tokenizer.model_input_names,
        "special": tokenizer.special_tokens_map,
        "chat": tokenizer.chat_template,
        "cut": tokenizer.truncation_side,
    }
    named = [type(tokenizer).__name__, content, around]
    return json.dumps(named, sort_keys=True, default=str)
