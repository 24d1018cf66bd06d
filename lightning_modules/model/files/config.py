"""What config.json must be: an architecture of transformers, its sizes, and the labels of a head.

Checked without transformers, whose import takes seconds; its list of architectures is read as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning_modules.error import did_you_mean
from lightning_modules.model.files.code import check_names, code_fault, names_code, runs_code
from lightning_modules.model.files.fault import AGAIN, Fault
from lightning_modules.model.files.text import read_object

CONFIG = "config.json"
_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "d_model", "n_embd", "n_layer")
_PAIR = "encoder-decoder"
_LISTS = ("auto_mappings.py", "configuration_auto.py")
_NAME = re.compile(r'"([^"]+)": "\w+Config"|\("([^"]+)", "\w+Config"\)')


def read_config(folder: Path) -> dict[str, Any]:
    """Return the checked content of config.json; raise Fault if it cannot be used."""
    config = read_object(folder, CONFIG)
    kind = config.get("model_type")
    if not isinstance(kind, str) or not kind:
        rule, got = "must name the architecture as model_type", repr(kind)
        got = "none" if kind is None else got
        raise Fault(CONFIG, rule, got, 'Add it, e.g. "model_type": "bert".')
    if not runs_code(CONFIG, config) and not is_architecture(kind):
        if names_code(config):
            raise code_fault(CONFIG, "an architecture")
        fix = did_you_mean(kind, architectures()) if len(kind) < 100 else AGAIN
        fix = fix if fix.startswith("Did") else "Choose a model of another architecture."
        raise Fault(CONFIG, "must name an architecture that transformers has", repr(kind), fix)
    check_names(CONFIG, config)
    _check_types(config)
    return config


def is_architecture(kind: str) -> bool:
    """Return whether transformers, or a package that registers its own, has an architecture."""
    if kind in architectures():
        return True
    from transformers import CONFIG_MAPPING

    return kind in CONFIG_MAPPING


@cache
def architectures() -> frozenset[str]:
    """Return the architectures that the installed transformers lists."""
    spec = find_spec("transformers")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "models" / "auto"
    texts = ((folder / name).read_text("utf-8") for name in _LISTS if (folder / name).is_file())
    return frozenset(one or other for text in texts for one, other in _NAME.findall(text))


def label_names(config: Mapping[str, Any]) -> list[str] | None:
    """Return the labels of a configuration's head in order; None if it names none of its own.

    >>> label_names({"id2label": {"1": "yes", "0": "no"}})
    ['no', 'yes']
    >>> label_names({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}) is None
    True
    """
    found = config.get("id2label")
    if not isinstance(found, Mapping) or not found:
        return None
    by_number = {int(number): str(label) for number, label in found.items()}
    names = [by_number[number] for number in sorted(by_number)]
    is_default = all(label == f"LABEL_{number}" for number, label in by_number.items())
    return None if is_default else names


def _check_types(config: Mapping[str, Any]) -> None:
    for path, part in _parts(config):
        for name in _SIZES:
            value = part.get(name)
            if isinstance(value, Mapping):  # of a few architectures with several parts
                continue
            if value is not None and (type(value) is not int or value < 1):
                raise Fault(CONFIG, f"must have a whole number > 0 as {path}{name}", repr(value))
        names = part.get("architectures")
        if names is not None and not _is_texts(names):
            raise Fault(CONFIG, f"must have a list of names as {path}architectures", repr(names))
    _check_labels(config)


def _parts(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the configuration and those inside it that are read, with where they are."""
    parts = [("", config)]
    needed = ("encoder", "decoder") if config.get("model_type") == _PAIR else ()
    for name in ("text_config", *needed):
        value = config.get(name)
        if name in needed and value is None:
            raise Fault(CONFIG, f"must have {name}", "none")
        if value is not None and not isinstance(value, Mapping):
            raise Fault(CONFIG, f"must have an object as {name}", repr(value))
        if value is not None:
            parts.append((f"{name}.", value))
    return parts


def _check_labels(config: Mapping[str, Any]) -> None:
    names, number = config.get("id2label"), config.get("num_labels")
    if number is not None and (type(number) is not int or number < 0):
        raise Fault(CONFIG, "must have a whole number >= 0 as num_labels", repr(number)[:100])
    if names is None:
        return
    rule = "must have id2label with the numbers from 0 as keys"
    if not isinstance(names, Mapping):
        raise Fault(CONFIG, rule, repr(names)[:100])
    if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
        raise Fault(CONFIG, rule, ", ".join(map(str, list(names)[:10])) or "none")
    if number is not None and number != len(names):
        got = f"{number} for {len(names)} labels"
        raise Fault(CONFIG, "must have num_labels as many as id2label", got)


def _is_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
