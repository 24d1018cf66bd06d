from __future__ import annotations

import random

import pytest
from rouge_score.rouge_scorer import RougeScorer

from lightning_modules.task.summarization import Summarization, first_sentence
from search.config import build_run, compose
from tests.shared import DATA, needs

SCITLDR = DATA / "scitldr"
SENTENCE = "a model of training trains models and trained networks learn quickly well"
WORDS = SENTENCE.split()


def summarization(*words: str) -> Summarization:
    found = build_run(compose("train", ["task=summarization", *words]).tree).task
    assert isinstance(found, Summarization)
    return found


def texts(seed: int, number: int = 20) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(number)]


@pytest.mark.parametrize("seed", range(3))
def test_the_metrics_equal_those_of_rouge_score(seed: int) -> None:
    written, references = texts(seed), texts(seed + 100)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    each = [scorer.score(one, other) for one, other in zip(references, written, strict=True)]
    wanted = {name: sum(e[name].fmeasure for e in each) / 20 for name in each[0]}
    found = summarization().measure(written, [[reference] for reference in references])
    assert found == pytest.approx(wanted)
    assert 0 < found["rouge2"] < found["rouge1"] < 1
    assert set(found) == set(Summarization.directions)


def test_each_metric_uses_its_best_of_several_references() -> None:
    written, references = texts(0), list(zip(texts(1), texts(2), texts(3), strict=True))
    task = summarization()
    found = task.measure(written, [list(each) for each in references])
    alone = [
        [task.measure([text], [[reference]]) for reference in each]
        for text, each in zip(written, references, strict=True)
    ]
    for name in found:
        best = [max(scores[name] for scores in each) for each in alone]
        assert found[name] == pytest.approx(sum(best) / len(best))


def test_the_worst_rows_are_found_by_the_tasks_metric() -> None:
    task = summarization("task.metric=rouge2")
    assert task.measure_row("a model learns", ["a model learns"]) == 1
    assert task.measure_row("model a", ["a model"]) == 0


def test_the_scoring_settings_are_recorded() -> None:
    assert summarization().scoring([["a", "b"], ["c"]]) == {
        "rouge": "rouge-score 0.1.2, F1, Porter's stemmer, best of 2 references"
    }


def test_the_baseline_is_the_first_sentence() -> None:
    rows = [{"text": "A model learns! It is quick.", "label": ["a model learns"]}]
    found = summarization().baseline(rows)
    assert (found.guess, found.score) == ("the first sentence", 1)
    assert first_sentence("No end") == "No end"


def test_letters_that_rouge_ignores_are_noted() -> None:
    def notes(label: str) -> list[str]:
        return list(summarization().notes({"validation": [{"text": "x", "label": [label]}]}))

    assert (
        notes(
            "A naïve but very long summary of some text that goes on and on, so to say, "
            "for more than a hundred letters in all and even some more of them"
        )
        == []
    )
    assert notes("Ärger") == ["ROUGE ignores letters outside a to z: 20% of the summaries' letters"]


@pytest.mark.thorough
@needs(SCITLDR)
def test_the_first_sentence_of_scitldr_scores_like_published_figures() -> None:
    words = ("data=files", f"data.train={SCITLDR}/train.jsonl", f"data.test={SCITLDR}/test.jsonl")
    for label, rouge1 in (("summary", 0.259), ("references", 0.314)):
        columns = (*words, f"data.validation={SCITLDR}/validation.jsonl", f"data.label={label}")
        data = build_run(compose("train", ["task=summarization", *columns]).tree).data
        task = summarization()
        rows = data.load(task).splits["test"]
        assert len(rows) == 618
        assert task.baseline(rows).score == pytest.approx(rouge1, abs=5e-4)
