"""The rows' contributions to a score: means exactly, other metrics by the jackknife."""

from __future__ import annotations

import json
import statistics
from typing import Any

import pytest
import torch

from lightning_modules.outcome import RowScores
from lightning_modules.task.base import Examples, Task
from lightning_modules.task.jackknife import MAX_VALUES, NUM_GROUPS, pseudo_values, row_scores
from search.config import build_run, compose

LABELS = ("bad", "good", "so")


def task_of(name: str, metric: str, *words: str) -> Task:
    chosen = ("model=tiny", "model.kind=decoder") if name == "generation" else ("model=tiny",)
    tree = compose("train", [f"task={name}", f"task.metric={metric}", *chosen, *words]).tree
    return build_run(tree).task


def observed_of(num_rows: int, seed: int = 0) -> tuple[dict[str, Any], Examples]:
    """Return logits that are right in about two of three rows."""
    draw = torch.Generator().manual_seed(seed)
    labels_B = torch.randint(0, 3, (num_rows,), generator=draw)
    logits_BC = torch.randn(num_rows, 3, generator=draw)
    logits_BC[torch.arange(num_rows), labels_B] += 1.5
    rows = [{"text": f"row {n}", "label": LABELS[n]} for n in labels_B.tolist()]
    return {"logits_BC": logits_BC, "labels_B": labels_B}, Examples(rows, LABELS, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_a_mean_has_its_rows_own_values(metric: str) -> None:
    task = task_of("classification", metric)
    observed, examples = observed_of(120)
    found = row_scores(task, observed, examples)
    assert found is not None and len(found.values) == 120
    score = task.score(observed, examples)[metric]
    assert statistics.fmean(found.values) == pytest.approx(score, abs=1e-5)
    if metric == "accuracy":
        right = observed["logits_BC"].argmax(1) == observed["labels_B"]
        assert found.values == tuple(map(float, right.tolist()))


def test_more_rows_than_values_keep_their_mean_and_its_standard_error() -> None:
    observed, examples = observed_of(3000)
    task = task_of("classification", "accuracy")
    found = row_scores(task, observed, examples)
    assert found is not None and len(found.values) == MAX_VALUES
    accuracy = task.score(observed, examples)["accuracy"]
    assert statistics.fmean(found.values) == pytest.approx(accuracy, abs=1e-5)
    error = statistics.stdev(found.values) / MAX_VALUES**0.5
    assert error == pytest.approx((accuracy * (1 - accuracy) / 3000) ** 0.5, rel=0.15)


@pytest.mark.parametrize("metric", ["macro_f1", "mcc"])
def test_the_jackknife_agrees_with_the_bootstrap(metric: str) -> None:
    task = task_of("classification", metric)
    observed, examples = observed_of(300)
    found = row_scores(task, observed, examples)
    assert found is not None and len(found.values) == NUM_GROUPS
    error = statistics.stdev(found.values) / NUM_GROUPS**0.5
    draw = torch.Generator().manual_seed(1)
    drawn = [torch.randint(0, 300, (300,), generator=draw).tolist() for _ in range(200)]
    again = list(map(task.scorer(observed, examples), drawn))
    assert error == pytest.approx(statistics.stdev(again), rel=0.25)
    score = task.score(observed, examples)[metric]
    assert statistics.fmean(found.values) == pytest.approx(score, abs=0.01)


def test_perplexity_is_left_out_by_block() -> None:
    task = task_of("generation", "perplexity")
    nats_B, targets_B = torch.tensor([10.0, 30.0, 20.0]).double(), torch.tensor([10, 20, 10])
    observed = {
        "nats_B": nats_B,
        "num_targets_B": targets_B,
        "num_characters_B": targets_B * 4,
        "num_bytes_B": targets_B * 4,
    }
    examples = Examples([{"text": "one long document"}], (), None)  # type: ignore[arg-type]
    found = row_scores(task, observed, examples)
    assert found is not None
    e = torch.tensor(1.0).exp().item()
    whole = e ** (60 / 40)
    without = [e ** (50 / 30), e ** (30 / 20), e ** (40 / 30)]
    assert found.values == pytest.approx([3 * whole - 2 * each for each in without], abs=1e-5)


def test_rows_are_told_apart_by_their_content() -> None:
    task = task_of("classification", "accuracy")
    one, same, other = (row_scores(task, *observed_of(20, seed)) for seed in (0, 0, 1))
    assert one is not None and same is not None and other is not None
    assert one.rows == same.rows != other.rows


@pytest.mark.parametrize("num_rows", [0, 1])
def test_less_than_two_rows_have_no_noise(num_rows: int) -> None:
    assert pseudo_values(num_rows, 10, lambda group: 0.0, 0.0) == []


def test_observations_that_are_not_one_per_row_have_none() -> None:
    task = task_of("classification", "macro_f1")
    observed, examples = observed_of(20)
    assert row_scores(task, observed, Examples(examples.rows[:10], LABELS, None)) is None  # type: ignore[arg-type]


def test_scores_survive_json() -> None:
    scores = RowScores("abc", (1.0, 0.0, 0.25))
    assert RowScores.from_dict(json.loads(json.dumps(scores.as_dict()))) == scores


class Counting:
    """A tokenizer that counts what it decodes."""

    def __init__(self) -> None:
        self.num_decoded = 0

    def decode(self, tokens: list[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        self.num_decoded += 1
        return " ".join(f"w{token}" for token in tokens)


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_generated_texts_are_decoded_once(metric: str) -> None:
    task, tokenizer = task_of("translation", metric), Counting()
    draw = torch.Generator().manual_seed(0)
    written_BT = torch.randint(0, 5, (60, 6), generator=draw)
    rows = [
        {"text": "a", "label": [" ".join(f"w{token}" for token in tokens[:5])]}
        for tokens in torch.randint(0, 5, (60, 6), generator=draw).tolist()
    ]
    observed, examples = {"written_BT": written_BT}, Examples(rows, (), tokenizer)  # type: ignore[arg-type]
    scorer, slow = task.scorer(observed, examples), Task.scorer(task, observed, examples)
    assert tokenizer.num_decoded == 60
    some = range(1, 60, 2)
    assert scorer(some) == slow(some) > 0
    tokenizer.num_decoded = 0
    found = row_scores(task, observed, examples)
    assert found is not None and len(found.values) == NUM_GROUPS
    assert tokenizer.num_decoded == 2 * 60  # once for the score of all
