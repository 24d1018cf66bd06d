from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from lightning_modules.machine.file import write_json
from lightning_modules.machine.hub.file import is_small
from lightning_modules.model.files.fault import Fault
from lightning_modules.model.files.tokenizer import (
    _VOCABULARIES,
    _WITHOUT,
    TEMPLATE,
    check_tokenizer,
)
from lightning_modules.model.light import read_light

_NAMES = re.compile(r"^VOCAB_FILES_NAMES[^=]*= (\{.*?\})", re.DOTALL | re.MULTILINE)


def test_the_vocabularies_of_transformers_are_downloaded_and_found() -> None:
    spec = find_spec("transformers")
    assert spec is not None and spec.origin is not None
    paths = sorted(Path(spec.origin).parent.glob("models/*/tokenization_*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    found = [
        (texts[path], ast.literal_eval(m[1])) for path in paths if (m := _NAMES.search(texts[path]))
    ]
    assert len(found) > 50
    for text, names in found:
        assert all(is_small(name) for name in names.values()), names
        is_known = any(fnmatch(name, each) for name in names.values() for each in _VOCABULARIES)
        assert is_known or any(f"class {name}(" in text for name in _WITHOUT), names


@pytest.fixture
def folder(here: Path) -> Path:
    Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")).save(str(here / "tokenizer.json"))
    return here


@pytest.mark.parametrize("template", ["{{ messages }}", None, [{"name": "a", "template": "b"}]])
def test_chat_templates_are_texts(folder: Path, template: Any) -> None:
    write_json(folder / "tokenizer_config.json", {"chat_template": template})
    check_tokenizer(folder)
    assert read_light(folder) is not None


@pytest.mark.parametrize("template", [5, [1], [{"name": "a"}], {"a": "b"}])
def test_other_chat_templates_are_refused(folder: Path, template: Any) -> None:
    write_json(folder / "tokenizer_config.json", {"chat_template": template})
    read_light(folder)  # raises nothing else
    with pytest.raises(Fault, match=r"^tokenizer_config\.json must have a text as chat_template"):
        check_tokenizer(folder)


def test_a_chat_template_in_another_encoding_is_refused(folder: Path) -> None:
    (folder / TEMPLATE).write_bytes("é".encode("latin-1"))
    assert read_light(folder) is None
    with pytest.raises(Fault, match=r"^chat_template\.jinja must be text in UTF-8"):
        check_tokenizer(folder)
