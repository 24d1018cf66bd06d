from __future__ import annotations

import dataclasses
import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.batch.tokenize import content_of, lengths_of, tokenize
from lightning_modules.machine import parallel
from lightning_modules.machine.store import cache_folder
from lightning_modules.model.kind import Kind
from lightning_modules.model.tiny import Tiny
from lightning_modules.task.classification import Classification
from tests.conftest import classification, wait_until

ROWS = [
    {"text": "A good hotel, and it is not far.", "label": "positive"},
    {"text": "Never again.", "label": "negative"},
]
LABELS = ("negative", "positive")
TINY = Tiny(kind=Kind.encoder, width=8, num_layers=1, num_heads=1)
TASK = classification()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FINESWEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokenized"


def call(
    rows: Any = ROWS,
    task: Any = TASK,
    tokenizer: Any = None,
    max_length: int = 16,
    labels: Any = LABELS,
) -> Any:
    """Tokenize with the settings that `TextDataModule` uses."""
    tokenizer = tokenizer or TINY.load_tokenizer()
    settings = (task.cache_key, content_of(tokenizer), str(max_length), json.dumps(labels))
    return tokenize(rows, lambda part: task.encode(part, tokenizer, max_length, labels), settings)


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_rows_are_encoded_by_the_tokenizer() -> None:
    dataset, tokenizer = call(), TINY.load_tokenizer()
    assert dataset["input_ids"][:] == [tokenizer(row["text"])["input_ids"] for row in ROWS]
    assert dataset["labels"][:] == [1, 0]


def test_max_length_includes_special_tokens() -> None:
    dataset = call(max_length=5)
    assert lengths_of(dataset) == [5, 5]
    assert dataset["input_ids"][0][-1] == TINY.load_tokenizer().sep_token_id


def test_rows_without_a_label_get_no_labels_column() -> None:
    rows = [{"text": row["text"]} for row in ROWS]
    assert call(rows=rows).column_names == ["input_ids", "attention_mask"]


def test_lengths_count_the_tokens_of_each_row() -> None:
    dataset = call()
    assert lengths_of(dataset) == [sum(mask) for mask in dataset["attention_mask"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Once(Classification):
    def encode(self, *arguments: Any) -> dict[str, list[Any]]:
        assert not Path("encoded").exists(), "these rows were tokenized before"
        Path("encoded").touch()
        return super().encode(*arguments)


def test_the_second_call_reads_the_cache(folder: Path) -> None:
    task = Once(**vars(TASK))
    first, second = call(task=task), call(task=task)
    assert first[:] == second[:]
    assert len(entries(folder)) == 1


def test_what_a_map_of_the_rows_writes_beside_them_is_not_read(folder: Path) -> None:
    call().map(lambda row: {"more": len(row["input_ids"])})
    (entry,) = folder.iterdir()
    assert len(list(entry.glob("*.arrow"))) == 2
    dataset = call()
    assert len(dataset) == len(ROWS)
    assert "more" not in dataset.column_names


def test_using_a_tokenizer_does_not_change_its_cache_key(folder: Path) -> None:
    tokenizer = TINY.load_tokenizer()
    call(tokenizer=tokenizer)
    call(tokenizer=tokenizer)
    assert len(entries(folder)) == 1


def other_tokenizer() -> Any:
    tokenizer = TINY.load_tokenizer()
    tokenizer.add_tokens(["zebra"])
    return tokenizer


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": [{**ROWS[0], "text": "A bad hotel."}, ROWS[1]]},
        {"rows": [{**ROWS[0], "label": "negative"}, ROWS[1]]},
        {"rows": ROWS[::-1]},
        {"rows": ROWS[:1]},
        {"max_length": 15},
        {"labels": LABELS[::-1]},
    ],
    ids=["text", "label", "order", "fewer", "max_length", "label-order"],
)
def test_each_input_is_part_of_the_cache_key(folder: Path, changes: dict[str, Any]) -> None:
    call()
    call(**changes)
    assert len(entries(folder)) == 2


def test_the_tokenizer_is_part_of_the_cache_key(folder: Path) -> None:
    call()
    call(tokenizer=other_tokenizer())
    assert len(entries(folder)) == 2


def test_no_draft_remains(folder: Path) -> None:
    call()
    assert not [entry for entry in entries(folder) if entry.endswith(".draft")]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FINESWEEP_CACHE": "/one", "XDG_CACHE_HOME": "/two", "HOME": "/three"}, "/one"),
        ({"XDG_CACHE_HOME": "/two", "HOME": "/three"}, "/two/finesweep"),
        ({"HOME": "/three"}, "/three/.cache/finesweep"),
    ],
)
def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("FINESWEEP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_tokenizers_with_equal_backends_but_other_inputs_share_no_cache() -> None:
    tokenizer, other = TINY.load_tokenizer(), TINY.load_tokenizer()
    other.model_input_names = [*tokenizer.model_input_names, "token_type_ids"]
    assert "token_type_ids" not in call(tokenizer=tokenizer).column_names
    assert "token_type_ids" in call(tokenizer=other).column_names


@pytest.mark.parametrize("name", ["000000.arrow", "sums.json"])
def test_a_damaged_file_is_noticed_and_the_rows_are_tokenized_again(
    folder: Path, name: str
) -> None:
    expected = call()[:]
    (entry,) = folder.iterdir()
    content = bytearray((entry / name).read_bytes())
    for place in range(0, len(content), 7):
        content[place] ^= 4
    (entry / name).write_bytes(content)
    assert call()[:] == expected
    assert call(rows=ROWS[:1])[:] != expected


def test_what_the_last_call_stored_in_a_tokenizer_does_not_count() -> None:
    tokenizer = TINY.load_tokenizer()
    before = content_of(tokenizer)
    tokenizer("a text", truncation=True, max_length=3, padding="max_length")
    assert content_of(tokenizer) == before
    tokenizer.add_tokens(["unheard"])
    assert content_of(tokenizer) != before


def test_many_rows_are_tokenized_in_a_process_forked_from_one_that_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lightning_modules.batch.tokenize.ROWS_AT_ONCE", 4)
    monkeypatch.setenv(parallel.VARIABLE, parallel.OFF)  # as the commands do
    many = [{"text": f"text {number}", "label": "positive"} for number in range(12)]
    assert len(call(many)) == 12
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            os._exit(len(call(many[1:])))
        os._exit(1)
    try:
        _, status = wait_until(
            lambda: (ended := os.waitpid(child, os.WNOHANG))[0] and ended, "the child"
        )
    except AssertionError:
        os.kill(child, signal.SIGKILL)
        raise
    assert os.waitstatus_to_exitcode(status) == 11
