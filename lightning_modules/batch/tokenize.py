"""Tokenize once: a cache on disk, keyed by rows, tokenizer and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.cache import Cache
from lightning_modules.hooks import Hooks
from lightning_modules.machine.parallel import on_all_cores
from lightning_modules.machine.store import TOKENIZED
from lightning_modules.machine.stored import stored
from lightning_modules.rows.columns import Columns, sha256_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.rows.corpus import Row


ROWS_AT_ONCE = 10_000  # takes a few seconds
_FORM = "a file for each part"
_PARTS = f"{6 * '[0-9]'}.arrow"
OTHER_BYTES = 2_000_000_000
"""How much tokenized rows that are not in use may take; they are mapped, so files in memory."""


def tokenize(
    rows: Sequence[Row],
    encode: Callable[[Sequence[Row]], dict[str, list[Any]]],
    settings: Sequence[str],
    hooks: Hooks | None = None,
    cache: Cache | None = None,
    digest: str | None = None,
) -> Dataset:
    """Return the rows as model inputs, from the cache if they were tokenized before.

    Args:
        rows: The rows.
        encode: Turns a part of the rows into columns.
        settings: Everything else that determines what `encode` returns; part of the cache key.
        hooks: Told of the progress; may interrupt.
        cache: Keeps what was read from the disk, with its sums checked, for later runs.
        digest: What `digest_of` returns for the rows, if the caller knows it.

    Raises:
        DiskFull: There is no space left for the cache.
        Stopped: Interrupted while another process tokenizes the same rows.

    """
    from datasets import Dataset, concatenate_datasets

    hooks, cache = hooks or Hooks(), cache or Cache()
    key = _key(digest or digest_of(rows), (*settings, _FORM))

    def make(folder: Path) -> None:
        with on_all_cores(hooks.warn) if len(rows) > ROWS_AT_ONCE else nullcontext():
            for number, columns in enumerate(encoded(rows, encode, hooks.heartbeat)):
                _write(Dataset.from_dict(columns), folder / f"{number:06d}.arrow")
        hooks.heartbeat("writing the tokenized rows")  # and their sums, until they are on the disk

    def load(folder: Path) -> Dataset:
        files = sorted(folder.glob(_PARTS))  # `map` of a data set here writes its own beside them
        return concatenate_datasets([Dataset.from_file(str(path)) for path in files])

    def read() -> Dataset:
        return stored(TOKENIZED, key, make, load, hooks, cache)

    return cache.get_or_make_large(TOKENIZED, key, read, _num_bytes, OTHER_BYTES)


def encoded(
    rows: Sequence[Row],
    encode: Callable[[Sequence[Row]], dict[str, list[Any]]],
    heartbeat: Callable[[str], None] = lambda doing: None,
) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of the rows' examples, in parts of `ROWS_AT_ONCE` rows.

    Packed texts share examples only within a part, so code that scores the rows again must also
    use this function, or its blocks differ.
    """
    num_examples = 0
    for start in range(0, len(rows), ROWS_AT_ONCE):
        heartbeat(f"tokenizing, row {start} of {len(rows)}")
        columns = encode(rows[start : start + ROWS_AT_ONCE])
        for name, before in (("row", start), ("number", num_examples)):
            if name in columns:
                columns[name] = [before + value for value in columns[name]]
        num_examples += len(columns["input_ids"])
        yield columns


def lengths_of(dataset: Dataset, name: str = "input_ids") -> list[int]:
    """Return the length of each example's list in a column, by default its number of tokens."""
    import pyarrow.compute

    lengths: list[int] = pyarrow.compute.list_value_length(dataset.data.column(name)).to_pylist()
    return lengths


def _write(dataset: Dataset, path: Path) -> None:
    import pyarrow

    table = dataset.data.table
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as to:
        to.write_table(table)


def _num_bytes(dataset: Dataset) -> int:
    return int(dataset.data.nbytes)


def _key(rows: str, settings: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for part in (*settings, rows):
        digest.update(part.encode())
    return digest.hexdigest()[:32]


def digest_of(rows: Sequence[Row]) -> str:
    """Return a text that is equal for equal rows."""
    return rows.sha256 if isinstance(rows, Columns) else sha256_of(rows)


def content_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a text that is equal for tokenizers that encode equally."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = tokenizer.get_vocab() if backend is None else _plain(backend.to_str())
    # The tokenizers of BERT and DistilBERT have the same backend, but only BERT's has token types.
    around = {
        "inputs": tokenizer.model_input_names,
        "special": tokenizer.special_tokens_map,
        "chat": tokenizer.chat_template,
        "cut": tokenizer.truncation_side,
        "plain": tokenizer.split_special_tokens,
    }
    named = [type(tokenizer).__name__, content, around]
    return json.dumps(named, sort_keys=True, default=str)


@lru_cache(maxsize=4)
def _plain(backend: str) -> str:
    """Return a fast tokenizer's JSON without the settings of its last call.

    Each call stores its truncation and padding in the tokenizer. To parse a vocabulary of 30,000
    takes 70 ms, which each trial would pay twice.
    """
    content = json.loads(backend)
    content["truncation"] = content["padding"] = None
    return json.dumps(content, sort_keys=True)
