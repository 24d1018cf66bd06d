"""What the probe counts if a row is not one example, and what it says of memory that ran out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.batch.type import Batch
from lightning_modules.error import ConfigError
from lightning_modules.fit import fit
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.task.classification import Classification
from search.config import compose
from search.estimate.measure import longest_rows, measure
from search.plan.build import build_plan
from search.plan.plan import Plan
from tests.conftest import write_jsonl

SENTENCE = "The hotel and the museum were great, and the concert was long. "
ANSWER = {"text": ["great"], "answer_start": [SENTENCE.index("great")]}
WINDOWS = [{"context": SENTENCE * 12, "question": "How?", "answers": ANSWER} for _ in range(40)]
# Each row has its own words, so that fewer rows have a smaller vocabulary.
VARIED = [{"text": f"{31 * number:x} {37 * number:x} {number}"} for number in range(9999, 10400)]
DOCUMENTS = [{"text": f"{number} {SENTENCE}"} for number in range(400)]

CASES = {
    "windows": ("task=question_answering", "task.doc_stride=16", "data.max_length=48"),
    "packed": ("task=generation", "model.kind=decoder", "data.max_length=128"),
    "stream": (
        "task=generation",
        "task.packing=stream",
        "strategy=from_scratch",
        "strategy.tokenizer=characters",
        "model.kind=decoder",
        "data.max_length=32",
    ),
    "vocabulary": (
        "task=generation",
        "strategy=from_scratch",
        "strategy.tokenizer=bpe",
        "strategy.vocabulary_size=5000",
        "model.kind=decoder",
        "data.batch_size=4",
        "data.max_length=48",
    ),
}
CASES["vocabulary of a length"] = (*CASES["vocabulary"], "data.max_length=choice(32,48)")


class Count(Hooks):
    def on_network(self, num_trainable: int, num_parameters: int) -> None:
        self.num_parameters = num_parameters

    def on_train_start(self, num_examples: int, stable_examples: int, hardware: str) -> None:
        self.num_examples = num_examples

    def interrupted(self) -> bool:
        return True


@pytest.fixture
def plan(request: pytest.FixtureRequest, here: Path) -> Plan:
    name = request.param
    if name == "stream":
        path = here / "text.txt"
        path.write_text("".join(row["text"] for row in DOCUMENTS), encoding="utf-8")
        data = (f"data.train={path}", f"data.validation={path}")
    else:
        rows = {"windows": WINDOWS}.get(name, VARIED if "vocabulary" in name else DOCUMENTS)
        path = write_jsonl(here / "rows.jsonl", rows)
        data = (f"data.train={path}",)
        if name == "windows":  # one paragraph cannot be split
            data = (*data, f"data.validation={path}")
    small = ("model=tiny", "data=files", "data.test_fraction=0", "trainer.epochs=1", "logger=none")
    return build_plan(compose("sweep", ["study=p", *small, *data, *CASES[name]]))


@pytest.mark.thorough
@pytest.mark.parametrize("plan", ["vocabulary", "vocabulary of a length"], indirect=True)
def test_the_network_has_the_vocabulary_of_all_rows_like_a_trial(plan: Plan, here: Path) -> None:
    (options,) = plan.defaults
    result = measure(plan, options, here)
    count = Count()
    fit(plan.run({"data.max_length": 48}), here, Identity("x", None, here), count)
    assert result["num_parameters"] == count.num_parameters


def test_the_longest_rows_have_the_most_letters() -> None:
    short = {"messages": [{"role": "user", "content": "Hi"}] * 3, "number": 10**9}
    long = {"messages": [{"role": "user", "content": SENTENCE * 4}], "number": 3.5}
    assert longest_rows([short, long, short], 1) == [long]
    assert longest_rows([short, long], 5) == [long, short]


@pytest.mark.thorough
@pytest.mark.parametrize("plan", ["windows", "packed", "stream"], indirect=True)
def test_an_epoch_has_as_many_examples_as_in_training(plan: Plan, here: Path) -> None:
    (options,) = plan.defaults
    result = measure(plan, options, here)
    count = Count()
    fit(plan.defaults[options], here, Identity("x", None, here), count)
    assert result["epoch"] == pytest.approx(count.num_examples, rel=0.05)
    assert result["train"] > 0 and result["validation"] > 0 and result["start"] >= 0


def forward(whole: Callable[..., Any], most: int, task: Any, network: Any, batch: Batch) -> Any:
    """Stand in for a device on which `most` examples fit."""
    if len(batch["input_ids"]) > most:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return whole(task, network, batch)


@pytest.fixture
def small(learnable: Path) -> Plan:
    words = ("study=p", "model=tiny", "strategy=full", "logger=none", "data=files")
    return build_plan(compose("sweep", [*words, f"data.train={learnable}", "trainer.epochs=1"]))


@pytest.mark.thorough
@pytest.mark.parametrize(("most", "num_at_once"), [(1000, None), (9, 8)])
def test_the_probe_says_how_much_of_a_batch_fits(
    small: Plan, here: Path, monkeypatch: pytest.MonkeyPatch, most: int, num_at_once: int | None
) -> None:
    whole = Classification.forward
    monkeypatch.setattr(Classification, "forward", lambda *given: forward(whole, most, *given))
    (options,) = small.defaults
    result = measure(small, options, here)
    assert (result["num_at_once"], result["num_shares"]) == (num_at_once, 1)


def test_the_probe_says_that_nothing_fits(
    small: Plan, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Classification.forward
    monkeypatch.setattr(Classification, "forward", lambda *given: forward(whole, 0, *given))
    (options,) = small.defaults
    with pytest.raises(ConfigError) as caught:
        measure(small, options, here)
    assert str(caught.value) == (
        "probe: model=tiny strategy=full must fit into memory, got one example of 11 tokens does "
        "not fit into memory. Lower data.max_length, or choose a smaller model, or strategy=lora."
    )
