from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import log_softmax, normalize

from lightning_modules.hooks import Hooks
from lightning_modules.outcome import Ending
from lightning_modules.rows.cell import Refused
from lightning_modules.task.base import Examples
from lightning_modules.task.embedding import Pooling
from lightning_modules.task.retrieval import Retrieval
from tests.conftest import run_here, write_jsonl
from tests.training import tiny_run, train

NONE: Any = None
TASK = Retrieval(
    metric="mrr",
    text="text",
    text_pair="text_pair",
    label=None,
    negative="negative",
    temperature=0.05,
    pooling=Pooling.mean,
)
NOUNS = ("hotel", "novel", "kettle", "museum", "bicycle", "train", "concert", "garden")


class Notes(Hooks):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def warn(self, text: str) -> None:
        self.notes.append(text)


def tokenizer(texts: Sequence[str], **_: Any) -> dict[str, Any]:
    return {"input_ids": [[1] * len(text.split()) for text in texts]}


def batch_of(rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    columns = TASK.encode(rows, tokenizer, 16, ())
    size = {"input_ids": len(rows)}
    keys = {name: torch.tensor(column) for name, column in columns.items() if name.endswith("_key")}
    return {**keys, "input_ids": torch.zeros(size["input_ids"], 1)}


def output_of(num_rows: int, *fields: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {field: torch.randn(num_rows, 5) for field in fields}


def pairs(num: int) -> list[dict[str, Any]]:
    return [{"text": f"question {n}", "text_pair": f"answer {n}"} for n in range(num)]


def test_the_loss_is_the_cross_entropy_of_the_own_pair_among_all() -> None:
    output = output_of(6, "text", "text_pair", "negative")
    rows = [{**row, "negative": f"wrong {n}"} for n, row in enumerate(pairs(6))]
    unit = {name: normalize(each, dim=-1) for name, each in output.items()}
    candidates = torch.cat([unit["text_pair"], unit["negative"]])
    logits = unit["text"] @ candidates.T / 0.05
    expected = -log_softmax(logits, dim=1).diagonal().sum()
    found = TASK.loss_sum(output, batch_of(rows))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_is_as_right_as_the_own_pair_is_no_wrong_candidate() -> None:
    output = output_of(3, "text", "text_pair")
    rows = pairs(3)
    rows[1] = {"text": "Question  0", "text_pair": "another answer"}  # the same text
    rows[2] = {"text": "question 2", "text_pair": "answer 0"}  # the same pair
    unit = {name: normalize(each, dim=-1) for name, each in output.items()}
    logits = unit["text"] @ unit["text_pair"].T / 0.05
    left_out = [(0, 1), (0, 2), (1, 0), (2, 0)]
    for row, column in left_out:
        logits[row, column] = -math.inf
    expected = -log_softmax(logits, dim=1).diagonal().sum()
    assert TASK.loss_sum(output, batch_of(rows)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_every_other_right_text_of_a_question_is_left_out_of_its_ranking() -> None:
    rows = [
        {"text": "one", "text_pair": "a"},
        {"text": "One ", "text_pair": "b"},
        {"text": "two", "text_pair": "c"},
    ]
    observed = {
        "text_BD": normalize(torch.tensor([[1.0, 0.2], [1.0, 0.2], [0.0, 1.0]]), dim=-1),
        # `b` is nearest to both texts, `c` far from its own.
        "text_pair_BD": normalize(torch.tensor([[0.5, 0.5], [1.0, 0.2], [1.0, -1.0]]), dim=-1),
    }
    examples = Examples(rows, (), NONE)
    scores = TASK.score(observed, examples)
    assert TASK.row_values(observed, examples) == pytest.approx([1, 1, 1 / 3])
    assert scores["mrr"] == pytest.approx((1 + 1 + 1 / 3) / 3, abs=1e-6)
    assert scores["recall_1"] == pytest.approx(2 / 3, abs=1e-6) and scores["recall_10"] == 1
    (worst,) = TASK.tables(observed, examples)["mistakes"]
    assert worst == {"text": "two", "text_pair": "c", "rank": 3.0, "nearest": "a"}


def test_a_text_is_no_candidate_for_itself() -> None:
    rows = [{"text": "one", "text_pair": "two"}, {"text": "Two", "text_pair": "One"}]
    unit_BD = normalize(torch.tensor([[1.0, 0.2], [1.0, 0.5]]), dim=-1)
    output = {"text": unit_BD, "text_pair": unit_BD.flip(0)}
    assert TASK.loss_sum(output, batch_of(rows)).item() == 0
    observed = {f"{name}_BD": each for name, each in output.items()}
    assert TASK.score(observed, Examples(rows, (), NONE))["mrr"] == 1


def test_a_random_order_is_the_baseline() -> None:
    rows = [{**pair, "negative": "none"} for pair in pairs(3)]
    found = TASK.baseline(rows)
    assert found.guess == "a random order of the 4 texts"
    assert found.score == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_a_negative_that_is_the_pair_is_refused() -> None:
    row = {"text": "one", "text_pair": "Two", "negative": "two "}
    field, refused = TASK.check_row(row) or ("", None)
    assert field == "negative" and isinstance(refused, Refused)
    assert TASK.check_row({"text": "one", "text_pair": "Two"}) is None


def learnable_pairs(here: Path, **more: str) -> Path:
    rows = [
        {"text": f"the {noun} {n}", "text_pair": f"a {noun} was there {n}", **more}
        for n in range(24)
        for noun in NOUNS
    ]
    return write_jsonl(here / "found.jsonl", rows)


@pytest.mark.thorough
def test_it_learns_to_find_and_predicts_embeddings(here: Path) -> None:
    path = learnable_pairs(here, negative="nothing at all")
    words = ("task=retrieval", "task.negative=negative", "model=tiny", "model.kind=encoder")
    data = ("data=files", f"data.train={path}", "data.max_length=32", "data.batch_size=32")
    data = (*data, "logger=none")
    full = ("strategy=full", "strategy.lr=3e-3", "trainer.epochs=8")
    run_here("train", "run=found", *words, *data, *full)
    scores = json.loads(run_here("evaluate", "run=found", "split=test", "--json"))
    assert scores["recall_10"] > 0.8 and scores["mrr"] > 0.3
    run_here("export", "run=found", "to=best")
    write_jsonl(here / "new.jsonl", [{"text": "a hotel"}, {"text": "the concert 3"}])
    run_here("predict", "model=best", "input=new.jsonl", "output=out.jsonl")
    for line in (here / "out.jsonl").read_text().splitlines():
        vector = json.loads(line)["prediction"]
        assert sum(value**2 for value in vector) == pytest.approx(1, abs=1e-3)


def test_parts_of_a_batch_are_said_once(here: Path) -> None:
    path = learnable_pairs(here)
    words = ("task=retrieval", "trainer.epochs=1", "data.max_length=32")
    hooks = Notes()
    run = tiny_run(path, *words, "trainer.micro_batch_size=4")
    assert train(run, here / "run", hooks).ending is Ending.finished
    (note,) = [each for each in hooks.notes if "parts" in each]
    assert note.startswith(
        "a batch of 16 examples passes in parts of at most 4: each is compared with 3 others, not "
        "with 15; "
    )
    whole = Notes()
    train(tiny_run(path, *words), here / "whole", whole)
    assert not [each for each in whole.notes if "parts" in each]
