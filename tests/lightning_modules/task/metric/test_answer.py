"""Each answer has its value of a metric; the score of all answers is their mean."""

from __future__ import annotations

import pytest

from lightning_modules.task.metric.answer import ANSWER_METRICS, answer_scores, answer_values

WRITTEN = ["the cat sat\n#### 3", " Lima ", "two cats"]
REFERENCES = ["the cat sat down\n#### 3.0", "Lima", "no dog"]
PATTERN = "#### (.+)"


def test_values_of_each_answer() -> None:
    values = {name: answer_values(name, WRITTEN, REFERENCES, PATTERN) for name in ANSWER_METRICS}
    # 4 words of 4 and 6: "3.0" is two words
    assert values["rouge1"] == pytest.approx([2 * 1.0 * 4 / 6 / (1.0 + 4 / 6), 1, 0])
    assert values["rougeL"] == values["rouge1"]
    assert values["exact_match"] == [0, 1, 0]
    assert values["final_answer"] == [1, 0, 0]
    scores = answer_scores(WRITTEN, REFERENCES, PATTERN)
    assert scores == pytest.approx({name: sum(each) / 3 for name, each in values.items()})
    assert "final_answer" not in answer_scores(WRITTEN, REFERENCES, None)
