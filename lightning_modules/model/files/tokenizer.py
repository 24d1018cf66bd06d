"""The files of a tokenizer: there, whole, and without code of their own."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lightning_modules.model.files.code import code_fault, names_code, runs_code
from lightning_modules.model.files.fault import Fault
from lightning_modules.model.files.text import check_file, read_object

TOKENIZER, SETTINGS, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
_VOCABULARIES = (
    *(TOKENIZER, "vocab.*", "vocab-*", "*.model", "*.tiktoken", "tekken.json"),
    *("sentencepiece*", "spm*", "bpe.codes", "source.spm", "*.tokenizer"),
)
_WITHOUT = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer", "MyT5Tokenizer")
"""Tokenizers whose vocabulary is the bytes or the characters."""
_SAVE = "Save it next to the weights: tokenizer.save_pretrained(folder)."


def check_tokenizer(folder: Path) -> None:
    """Raise Fault if the folder has no usable tokenizer."""
    names = [path.name for path in folder.iterdir()]
    settings = read_object(folder, SETTINGS) if SETTINGS in names else {}
    kind = settings.get("tokenizer_class")
    if kind is not None and not isinstance(kind, str):
        raise Fault(SETTINGS, "must have a name as tokenizer_class", repr(kind))
    _check_templates(folder, settings)
    if runs_code(SETTINGS, settings) and TOKENIZER not in names:
        return
    if names_code(settings) and kind not in _WITHOUT and TOKENIZER not in names:
        raise code_fault(SETTINGS, "a tokenizer")
    if not any(fnmatch(name, each) for name in names for each in _VOCABULARIES):
        if kind not in _WITHOUT:
            raise Fault(TOKENIZER, "must be there", "no file of a vocabulary", _SAVE)
        return
    if TOKENIZER in names:
        _check_readable(folder)


def _check_templates(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise Fault if the chat templates are not texts; whether they are Jinja shows in use."""
    found = settings.get("chat_template")
    each = found if isinstance(found, list) else [{"name": "default", "template": found or ""}]
    texts = [(part.get("name"), part.get("template")) for part in each if isinstance(part, dict)]
    if len(texts) < len(each) or not all(isinstance(text, str) for pair in texts for text in pair):
        rule = "must have a text as chat_template, or a list of objects with name and template"
        raise Fault(SETTINGS, rule, repr(found)[:100])
    if (folder / TEMPLATE).is_file():
        try:
            (folder / TEMPLATE).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise Fault(TEMPLATE, "must be text in UTF-8", "other bytes") from None


def _check_readable(folder: Path) -> None:
    check_file(folder / TOKENIZER, TOKENIZER)
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # `tokenizers` has no class of its own
        reason = (str(error).splitlines() or [""])[0]
        raise Fault(TOKENIZER, "must be a tokenizer", f"something else ({reason})") from None
