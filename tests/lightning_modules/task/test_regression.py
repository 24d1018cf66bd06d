from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, mean_squared_error

from lightning_modules.error import ConfigError, DataError
from lightning_modules.export.predictor import Evaluation
from lightning_modules.export.unit import with_head_in_unit
from lightning_modules.rows.corpus import Corpus
from lightning_modules.task.base import Baseline, Examples
from lightning_modules.task.jackknife import row_scores
from lightning_modules.task.regression import Loss, Regression
from lightning_modules.task.verdict import unlearnt
from search.config import build_run, compose
from tests.conftest import run_here, write_jsonl

NONE: Any = None
TASK = Regression(
    metric="rmse",
    text="text",
    text_pair=None,
    label="label",
    loss=Loss.mse,
    huber_delta=1.0,
    center=None,
    scale=None,
    symmetric=False,
    metric_direction=None,
)
SYMMETRIC = replace(TASK, symmetric=True, center=0.0, scale=1.0)


def rows_of(numbers: Sequence[float]) -> list[dict[str, Any]]:
    return [{"text": f"text {n}", "label": float(each)} for n, each in enumerate(numbers)]


def examples_of(numbers: Sequence[float]) -> Examples:
    return Examples(rows_of(numbers), (), NONE)


def corpus(numbers: Sequence[float]) -> Corpus:
    return Corpus({"train": rows_of(numbers), "validation": rows_of([1, 2])})


@pytest.mark.parametrize("center", [0, 2000, 1e-6])
def test_the_metrics_equal_their_references(center: float) -> None:
    rng = np.random.default_rng(0)
    true = center + rng.normal(0, max(1e-8, center / 100), 60)
    found = true + rng.normal(0, max(1e-8, center / 100), 60)
    scores = TASK.score({"predicted_B": torch.tensor(found)}, examples_of(true.tolist()))
    assert scores == pytest.approx(
        {
            "rmse": math.sqrt(mean_squared_error(true, found)),
            "mae": mean_absolute_error(true, found),
            "mse": mean_squared_error(true, found),
            "pearson": pearsonr(true, found).statistic,
            "spearman": spearmanr(true, found).statistic,
        },
        rel=1e-5,
        abs=0,
    )
    for metric in ("mae", "mse"):
        values = replace(TASK, metric=metric).row_values(
            {"predicted_B": torch.tensor(found)}, examples_of(true.tolist())
        )
        assert values is not None and np.mean(values) == pytest.approx(scores[metric], rel=1e-5)


def test_targets_have_mean_0_and_deviation_1_and_answers_the_unit_of_the_rows() -> None:
    numbers = [1990.0, 2000.0, 2010.0, 2004.0]
    task = TASK.fit_to_rows(corpus(numbers), ())
    targets = task.targets(rows_of(numbers), ())
    assert np.mean(targets) == pytest.approx(0, abs=1e-12)
    assert np.std(targets) == pytest.approx(1)
    output = SimpleNamespace(logits=torch.tensor(targets).unsqueeze(1))
    observed = task.observe(None, output, {})
    decoded = task.decode(observed, examples_of(numbers))
    assert [each["prediction"] for each in decoded] == numbers
    assert task.score(observed, examples_of(numbers))["rmse"] == pytest.approx(0, abs=1e-4)
    assert TASK.from_state(json.loads(json.dumps(task.state))) == task


@pytest.mark.parametrize("center", [0.0, 2e3, 1.7e9, -3e7])
def test_predictions_and_exports_keep_the_digits_that_tell_rows_apart(center: float) -> None:
    numbers = [center + each for each in (0.0, 7.0, 15.0, 28.0)]
    task = TASK.fit_to_rows(corpus(numbers), ())
    observed = {"predicted_B": torch.tensor(numbers, dtype=torch.float64)}
    decoded = [each["prediction"] for each in task.decode(observed, examples_of(numbers))]
    assert np.subtract(decoded, center) == pytest.approx([0, 7, 15, 28], abs=0.05)
    assert task.constant_prediction(task.tables(observed, examples_of(numbers))) is None
    network = torch.nn.Sequential(torch.nn.Linear(2, 1))
    bias = network[0].bias.item()
    exported = with_head_in_unit(network, task, None)
    assert (network[0].bias.item() == bias) is (exported is task) is (abs(center) > 1e6)


def test_center_and_scale_can_be_set() -> None:
    task = replace(TASK, center=10.0, scale=2.0).fit_to_rows(corpus([1, 2, 3]), ())
    assert task.targets(rows_of([14]), ()) == [2.0]


def test_a_symmetric_pair_is_read_in_both_orders_and_answered_with_their_mean() -> None:
    rows = [
        {"text": "a", "text_pair": "b", "label": 1.0},
        {"text": "c", "text_pair": "d", "label": 3.0},
    ]

    def tokenizer(texts: list[str], pairs: list[str], **how: Any) -> dict[str, list[Any]]:
        both = zip(texts, pairs, strict=True)
        return {"input_ids": [[ord(one), ord(other)] for one, other in both]}

    columns = SYMMETRIC.encode(rows, tokenizer, 8, ())
    assert columns["input_ids"] == [[97, 98], [98, 97], [99, 100], [100, 99]]
    assert columns["labels"] == [1, 1, 3, 3] and columns["row"] == [0, 0, 1, 1]
    trained = SYMMETRIC.encode_training(rows, tokenizer, 8, ())
    assert trained == {"input_ids": [[97, 98], [99, 100]], "labels": [1, 3]}
    # Batches are in another order than the rows.
    output = SimpleNamespace(logits=torch.tensor([[4.0], [1.5], [0.5], [2.0]]))
    observed = SYMMETRIC.observe(None, output, {"row": torch.tensor([1, 0, 0, 1])})
    examples = Examples(rows, (), NONE)
    assert SYMMETRIC.decode(observed, examples) == [{"prediction": 1.0}, {"prediction": 3.0}]
    assert SYMMETRIC.score(observed, examples)["rmse"] == 0
    assert [row["error"] for row in SYMMETRIC.tables(observed, examples)["mistakes"]] == [0, 0]
    assert replace(SYMMETRIC, metric="mae").row_values(observed, examples) == [0, 0]


@pytest.mark.parametrize("metric", ["rmse", "mae", "mse", "pearson", "spearman"])
def test_the_noise_of_symmetric_pairs_is_that_of_their_means(metric: str) -> None:
    rng = np.random.default_rng(0)
    examples = examples_of([float(each) for each in rng.normal(0, 1, 30)])
    both = torch.tensor(rng.normal(0, 1, (30, 2)))
    order = torch.tensor(rng.permutation(60))
    rows = torch.arange(30).repeat_interleave(2)
    observed = {"predicted_B": both.flatten()[order], "row_B": rows[order]}
    task = replace(SYMMETRIC, metric=metric)
    found = row_scores(task, observed, examples)
    plain = row_scores(replace(TASK, metric=metric), {"predicted_B": both.mean(1)}, examples)
    assert found is not None and plain is not None
    assert found.values == pytest.approx(plain.values) and len(found.values) == 30
    assert Evaluation(task, observed, examples).num_scored == 30


def test_a_symmetric_pair_is_the_same_row_in_both_orders() -> None:
    one, other = {"text": "A", "text_pair": "b"}, {"text": "B", "text_pair": "a"}
    assert SYMMETRIC.identity(one) == SYMMETRIC.identity(other) != TASK.identity(other)
    assert SYMMETRIC.near_key(one) == SYMMETRIC.near_key(other) != TASK.near_key(other)
    assert TASK.identity(one) == SYMMETRIC.identity(one)


def test_single_texts_have_no_two_orders() -> None:
    with pytest.raises(DataError, match=r"task.symmetric: must be false .* data.text_pair=COLUMN"):
        SYMMETRIC.check_rows(rows_of([1, 2]), "a.csv")


@pytest.mark.parametrize("loss", list(Loss))
def test_the_loss_is_what_its_formula_says(loss: Loss) -> None:
    task = replace(TASK, loss=loss, huber_delta=0.5)
    output = SimpleNamespace(logits=torch.tensor([[0.0], [2.0]]))
    batch = {"labels": torch.tensor([0.25, -1.0])}
    expected = {Loss.mse: 0.0625 + 9, Loss.l1: 0.25 + 3, Loss.huber: 0.0625 / 2 + 0.5 * 2.75}
    assert task.loss_sum(output, batch).item() == pytest.approx(expected[loss])
    assert task.num_targets(batch) == 2


@pytest.mark.parametrize(
    ("metric", "guess"),
    [
        ("rmse", Baseline("always the mean 4", math.sqrt(38 / 3))),
        ("mse", Baseline("always the mean 4", 38 / 3)),
        ("mae", Baseline("always the median 2", 8 / 3)),
        ("pearson", Baseline("always the mean 4", 0)),
    ],
)
def test_the_baseline_is_the_best_single_number(metric: str, guess: Baseline) -> None:
    found = replace(TASK, metric=metric).baseline(rows_of([1, 2, 9]))
    assert found.guess == guess.guess
    assert found.score == pytest.approx(guess.score)


def test_a_model_that_is_no_better_than_the_mean_is_called_so() -> None:
    examples = examples_of([1e-6, 3e-6])
    assert unlearnt(TASK, {"rmse": 1e-6}, examples) == (
        "has not learnt: its rmse of 1e-06 is that of always the mean 2e-06"
    )
    assert unlearnt(TASK, {"rmse": 0.9e-6}, examples) is None


def test_predictions_that_hardly_differ_are_reported() -> None:
    tables = TASK.tables(
        {"predicted_B": torch.tensor([2.0, 2.001, 2.0]).double()}, examples_of([1, 2, 5])
    )
    assert [row["error"] for row in tables["mistakes"]] == pytest.approx([-3, 1, 0.001], rel=1e-3)
    assert TASK.constant_prediction(tables) == "predicts about 2 for every row"
    tables = TASK.tables({"predicted_B": torch.tensor([2.0, 2.5, 2.0])}, examples_of([1, 2, 5]))
    assert TASK.constant_prediction(tables) is None


def test_one_number_for_all_rows_is_refused() -> None:
    with pytest.raises(DataError, match="at least two different numbers, got only 3 in the 2 rows"):
        TASK.check_rows(rows_of([3, 3]), "a.csv")
    with pytest.raises(DataError, match="got only 3 in the 2 training rows"):
        TASK.labels(corpus([3, 3]))


def test_numbers_far_from_the_rest_and_texts_with_several_are_noted() -> None:
    rows = [*rows_of([1, 2, 3] * 100), {"text": "text 0", "label": 9999.0}]
    notes = list(TASK.notes({"train": rows}))
    assert notes[0] == "1 text occurs with different numbers"
    assert notes[1].startswith("1 of 301 training rows have a number more than 10 standard")
    assert "e.g. 9999" in notes[1]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("task.loss=mae", "task.loss"),
        ("task.scale=0", "task.scale: must be > 0"),
        ("task.center=.nan", "task.center"),
        ("task.huber_delta=-1", "task.huber_delta: must be > 0"),
        ("task.metric=rmsee", "task.metric: must be one of rmse, mae, mse, pearson, spearman"),
    ],
)
def test_wrong_settings_are_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_run(compose("train", ["task=regression", word]).tree)


STARS = {"great": 2004, "fine": 2002, "awful": 2000}
OURS = ("task=regression", "data=files", "data.train=years.jsonl", "logger=none")


@pytest.fixture
def years(here: Path) -> Path:
    rows = [
        {"text": f"The {noun} was {word} {number}.", "label": year}
        for number in range(30)
        for noun in ("meal", "room")
        for word, year in STARS.items()
    ]
    return write_jsonl(here / "years.jsonl", rows)


def run_card(folder: Path, text: str) -> float:
    """Run the lines of a model card, which use transformers alone."""
    card = (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    command = [sys.executable, "-c", card.replace("Your text.", text)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


FULL = ("strategy=full", "strategy.lr=3e-3", "trainer.epochs=8")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("words", "in_weights"),
    [
        (FULL, True),
        (("strategy=lora", "trainer.epochs=1"), True),
        (("strategy=feature_extraction", "trainer.epochs=1"), True),
        ((*FULL, "model.kind=decoder", "trainer.epochs=1"), False),  # its head has no bias
    ],
)
def test_an_export_gives_numbers_in_the_unit_of_the_rows_in_plain_transformers(
    words: Sequence[str], in_weights: bool, years: Path, here: Path
) -> None:
    run_here("train", "run=years", *OURS, "model=tiny", *words)
    scores = json.loads(run_here("evaluate", "run=years", "split=test", "--json"))
    if words == FULL:
        assert scores["rmse"] < 0.8 and scores["spearman"] > 0.8
    run_here("export", "run=years", "to=best")
    (here / "new.csv").write_text("text\nThe meal was great 7.\nThe room was awful 7.\n")
    run_here("predict", "model=best", "input=new.csv", "output=out.jsonl")
    rows = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    assert 1998 < rows[0]["prediction"] < 2006
    answer = run_card(here / "best", "The meal was great 7.")
    assert answer == pytest.approx(rows[0]["prediction"], abs=0.01)
    settings = json.loads((here / "best" / "finesweep.json").read_text())["task"]
    assert (settings["task.center"] == 0) is in_weights
    data = ("data=files", "data.train=years.jsonl", "split=test", "--json")
    again = json.loads(run_here("evaluate", "model=best", *data))
    assert again["rmse"] == pytest.approx(scores["rmse"], abs=0.01)


@pytest.mark.thorough
def test_an_export_answers_symmetric_pairs_alike_in_both_orders(here: Path) -> None:
    pairs = [("A great meal.", f"A fine meal {n}.", n % 6) for n in range(60)]
    names = ("text", "text_pair", "label")
    rows = [dict(zip(names, pair, strict=True)) for pair in pairs]
    write_jsonl(here / "pairs.jsonl", rows)
    words = ("task=regression", "task.symmetric=true", "data=files", "data.train=pairs.jsonl")
    pair = ("data.text_pair=text_pair", "model=tiny", "logger=none", "trainer.epochs=1")
    run_here("train", "run=pairs", *words, *pair)
    run_here("export", "run=pairs", "to=best")
    new = [{"text": "One text.", "text_pair": "Another text."}]
    write_jsonl(here / "new.jsonl", [*new, {"text": "Another text.", "text_pair": "One text."}])
    run_here("predict", "model=best", "input=new.jsonl", "output=out.jsonl")
    lines = (here / "out.jsonl").read_text().splitlines()
    given, swapped = (json.loads(line)["prediction"] for line in lines)
    assert given == pytest.approx(swapped, rel=1e-5)
    assert run_card(here / "best", "") == pytest.approx(given, abs=1e-3)


@pytest.mark.thorough
def test_a_study_says_what_the_mean_scores(years: Path) -> None:
    study = ("search.num_trials=1", "search.workers=0", "trainer.epochs=1", "search.confirm=0")
    printed = run_here("sweep", "study=years", *OURS, "model=tiny", *study)
    assert "goal    minimize validation/rmse" in printed
    assert "always the mean 200" in printed


def test_a_cell_that_is_no_number_is_refused_with_its_place(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "bad.csv").write_text('text,label\nfine,3\nbad,"3,5"\n')
    words = ("task=regression", "data=files", "data.train=bad.csv", "model=tiny", "logger=none")
    run_here("plan", *words, code=2)
    assert capsys.readouterr().err.startswith(
        "bad.csv:3:label: must be a number without a comma, got '3,5'. Write a decimal point"
    )


@pytest.mark.thorough
def test_the_check_and_the_plan_know_that_labels_are_numbers(years: Path, here: Path) -> None:
    report = run_here("check", *OURS, "model=tiny")
    assert "numbers     2000 to 2004, 3 different, mean 2002" in report
    assert "rare" not in report and "class" not in report.replace("classes", "")
    printed = run_here("plan", *OURS, "model=tiny")
    assert "label" in printed and "200" in printed
