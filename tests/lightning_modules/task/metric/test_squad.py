from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from lightning_modules.task.metric.squad import exact_match, f1

WORDS = ("the", "a", "an", "The", "Oslo", "oslo!", "in", "1,901", "1901", "U.S.", "us", "“quoted”")


def phrase(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 5)))


@pytest.mark.parametrize("seed", range(200))
def test_exact_match_and_f1_equal_those_of_torchmetrics(seed: int) -> None:
    from torchmetrics.functional.text import squad

    rng = random.Random(seed)
    prediction, answers = phrase(rng), [phrase(rng) for _ in range(rng.randint(1, 3))]
    if all(word.lower() in ("the", "a", "an") for word in " ".join(answers).split()):
        answers.append("Oslo")
    reference = squad(
        {"prediction_text": prediction, "id": "1"},
        {"answers": {"text": answers, "answer_start": [0] * len(answers)}, "id": "1"},
    )
    if prediction.lower().replace("the", "").replace("an", "").replace("a", "").strip():
        assert exact_match(prediction, answers) == reference["exact_match"].item() / 100
        assert f1(prediction, answers) == pytest.approx(reference["f1"].item() / 100)
    else:  # an empty answer: torchmetrics matches it with an answer that has only articles
        assert exact_match(prediction, answers) == f1(prediction, answers) == 0


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "shared"),
    [
        ("The Beatles", ["beatles"], 1, 1),
        ("the  beatles' ", ["Beatles"], 1, 1),
        ("another", ["other"], 0, 0),  # "an" is removed only as a word
        ("U.S. army", ["US Army"], 1, 1),
        ("twenty-one", ["twentyone"], 1, 1),
        ("1 \u2013 2", ["1 2"], 0, 0.8),  # only ASCII punctuation is removed
        ("in Oslo", ["Bergen", "Oslo, Norway"], 0, 0.5),
        ("Oslo Oslo", ["Oslo"], 0, 2 / 3),
        ("Oslo", ["Oslo Oslo"], 0, 2 / 3),
        ("", [], 1, 1),
        ("Oslo", [], 0, 0),
        ("", ["Oslo"], 0, 0),
        ("the", ["The"], 1, 1),
        ("", ["the", "Oslo"], 0, 0),
        ("?", [], 1, 1),
    ],
)
def test_answers_are_normalized_like_squad(
    prediction: str, answers: Sequence[str], exact: float, shared: float
) -> None:
    assert exact_match(prediction, answers) == exact
    assert f1(prediction, answers) == pytest.approx(shared)
