"""Which files of a model's repository training needs, by their names.

Configuration, tokenizer and safetensors: never pickled weights or code, and not the same weights in
another format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

CONFIG = "config.json"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_VOCABULARIES = ("*.model", "*.tiktoken", "*.spm", "*.codes", "*.tokenizer", "vocab.*")
_SMALL = ("*.json", "*.txt", "*.jinja", "tokenizer*", *_VOCABULARIES)
_TOKENIZER = ("tokenizer*", *_VOCABULARIES)
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")


@dataclass(frozen=True)
class HubFile:
    """A file of a commit: its path, its size, and the name of its content in the cache."""

    path: str
    num_bytes: int
    blob: str


def is_small(path: str) -> bool:
    """Return whether a file belongs to configuration or tokenizer.

    >>> [is_small(path) for path in ("tokenizer.json", "original/params.json", "model.safetensors")]
    [True, False, False]
    """
    folder, _, name = path.rpartition("/")
    return folder in ("", "additional_chat_templates") and _fits(name, _SMALL)


def has_tokenizer(names: Collection[str]) -> bool:
    """Return whether there is a file of a tokenizer among them."""
    return any(_fits(name, _TOKENIZER) for name in names)


def weights_of(names: Collection[str], folder: Path) -> list[str]:
    """Return the files with the weights, as transformers chooses them; nothing without safetensors.

    Args:
        names: The files of the repository.
        folder: Where they are downloaded to; an index that is there names its files.

    """
    if SINGLE in names:
        return [SINGLE]
    if INDEX not in names:
        return []
    index = folder / INDEX
    if index.is_file():
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [INDEX, *sorted(set(named))]
    return [INDEX, *sorted(name for name in names if _SHARD.fullmatch(name))]


def pickled(names: Collection[str]) -> list[str]:
    """Return the files with weights in other formats."""
    return sorted(name for name in names if _fits(name, _PICKLED))


def is_pickled(names: Collection[str]) -> bool:
    """Return whether there are weights, but none in safetensors."""
    return SINGLE not in names and INDEX not in names and bool(pickled(names))


def _fits(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
