from __future__ import annotations

import random

import pytest

from lightning_modules.batch.type import IGNORED
from lightning_modules.text.packing import Document, packed

BEGIN, END, FILLER = 1, 2, 0


def document(*ids: int) -> Document:
    return Document([BEGIN, *ids], [*ids, END], num_characters=len(ids), num_bytes=2 * len(ids))


DOCUMENTS = [document(10, 11, 12), document(20), document(30, 31, 32, 33)]


def lists(columns: dict[str, list[object]]) -> dict[str, list[list[int]]]:
    return {name: [list(each) for each in columns[name]] for name in columns if name in ARRAYS}  # type: ignore[call-overload]


ARRAYS = ("input_ids", "labels", "position_ids")


def test_documents_kept_apart_restart_their_positions() -> None:
    columns = packed(DOCUMENTS, 4, apart=True, filler=FILLER)
    assert lists(columns) == {
        "input_ids": [[1, 10, 11, 12], [1, 20, 1, 30], [31, 32, 33, 0]],
        "labels": [[10, 11, 12, 2], [20, 2, 30, 31], [32, 33, 2, IGNORED]],
        "position_ids": [[0, 1, 2, 3], [0, 1, 0, 1], [0, 1, 2, 0]],
    }
    assert columns["row"] == [0, 1, 2]
    assert columns["prompt_length"] == [2, 1, 1]
    assert columns["num_characters"] == [3, 1, 4]
    assert columns["num_bytes"] == [6, 2, 8]


def test_a_stream_has_no_position_ids() -> None:
    columns = packed(DOCUMENTS, 4, apart=False, filler=FILLER)
    assert lists(columns) == {
        "input_ids": [[1, 10, 11, 12], [1, 20, 1, 30], [31, 32, 33, 0]],
        "labels": [[10, 11, 12, 2], [20, 2, 30, 31], [32, 33, 2, IGNORED]],
    }
    assert columns["prompt_length"] == [2, 2, 1]


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("length", [3, 7, 64])
def test_every_token_is_a_target_exactly_once(apart: bool, length: int) -> None:
    rng = random.Random(length)
    documents = [
        document(*(rng.randrange(10, 99) for _ in range(rng.randrange(0, 20)))) for _ in range(50)
    ]
    columns = packed(documents, length, apart=apart, filler=FILLER)
    targets = [int(t) for block in columns["labels"] for t in block if t != IGNORED]
    assert targets == [t for each in documents for t in each.targets]
    assert sum(columns["num_characters"]) == sum(each.num_characters for each in documents)
    assert {len(block) for block in columns["input_ids"]} == {length}
