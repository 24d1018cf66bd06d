"""What the probe counts where a row is not one example."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.logger.base import Identity
from lightning_modules.run import Hooks, fit
from search.config import compose
from search.plan import Plan, build_plan
from search.probe import measure
from tests.conftest import write_jsonl

SENTENCE = "The hotel and the museum were great, and the concert was long. "
ANSWER = {"text": ["great"], "answer_start": [SENTENCE.index("great")]}
WINDOWS = [{"context": SENTENCE * 12, "question": "How?", "answers": ANSWER} for _ in range(40)]
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
}


class Count(Hooks):
    def began(self, num_examples: int, stable_examples: int, hardware: str) -> None:
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
        path = write_jsonl(here / "rows.jsonl", WINDOWS if name == "windows" else DOCUMENTS)
        data = (f"data.train={path}",)
        if name == "windows":  # one paragraph cannot be split
            data = (*data, f"data.validation={path}")
    small = ("model=tiny", "data=files", "data.test_fraction=0", "trainer.epochs=1", "logger=none")
    return build_plan(compose("sweep", ["study=p", *small, *data, *CASES[name]]))


@pytest.mark.parametrize("plan", CASES, indirect=True)
def test_an_epoch_has_the_examples_that_training_has(plan: Plan, here: Path) -> None:
    (members,) = plan.defaults
    told = measure(plan, members)
    count = Count()
    fit(plan.defaults[members], here, Identity("x", None, here), count)
    assert told["epoch"] == pytest.approx(count.num_examples, rel=0.05)
    assert told["train"] > 0 and told["validation"] > 0 and told["start"] >= 0
