from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.task.own_metric import check_own, is_own, own_score
from search.config import build_run, compose
from tests.conftest import run_here, write_jsonl

METRICS = '''
def cost(predictions, rows):
    """Ten for each row that is taken for negative, one for another mistake, per row."""
    pairs = [(one["prediction"], row["label"]) for one, row in zip(predictions, rows, strict=True)]
    costs = {("negative", "positive"): 10, ("positive", "negative"): 1}
    return sum(costs.get(pair, 0) for pair in pairs) / len(pairs)

def sure(predictions, rows):
    return sum(max(each["scores"].values()) for each in predictions) / len(rows)

def broken(predictions, rows):
    return 1 / 0

def nan(predictions, rows):
    return float("nan")

def words(predictions, rows):
    return "good"

def text(predictions, rows):
    return "0.5"

def leave(predictions, rows):
    raise SystemExit(0)

def left(predictions, rows):
    """The share of the labels that are not predicted, which are crossed out on the way."""
    for one, row in zip(predictions, rows, strict=True):
        for label in one["prediction"]:
            row["label"].remove(label)
        one["scores"].clear()
    return sum(len(row["label"]) for row in rows)

def one(predictions):
    return 1

number = 3
'''
OURS = ("model=tiny", "logger=none", "data=files", "data.train=learnable.jsonl", "strategy=full")
OWN = (
    *("search.plugins=[my_metrics]", "task.metric=my_metrics.costs:cost"),
    "task.metric_direction=minimize",
)


@pytest.fixture
def my_metrics(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = here / "my_metrics"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "costs.py").write_text(METRICS)
    (package / "wrong.py").write_text("import no_such_module_at_all\n")
    (package / "script.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(str(here))
    others = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{here}{os.pathsep}{others}" if others else str(here))
    for name in ("my_metrics", *(f"my_metrics.{name}" for name in ("costs", "wrong", "script"))):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    return package


@pytest.mark.parametrize(
    ("metric", "own"),
    [("a:b", True), ("a.b.c:d", True), ("accuracy", False), ("a:b:c", False), ("a:1", False)],
)
def test_a_function_has_a_module_and_a_name(metric: str, own: bool) -> None:
    assert is_own(metric) is own


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("os:system", r"search.plugins must name the package of os:system, got \[my_metrics\]"),
        ("my_metrics.none:cost", "must be in a module that can be imported, got 'my_metrics.none"),
        ("my_metrics.wrong:cost", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("my_metrics.script:cost", "must be in a module that can be imported, got .*SystemExit: 0"),
        ("my_metrics.costs:cots", "my_metrics.costs must have a function cots"),
        ("my_metrics.costs:number", "my_metrics.costs must have a function number"),
        ("my_metrics.costs:one", "must be a function of two arguments, predictions and rows"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused(
    metric: str, message: str, my_metrics: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        check_own(metric, ["my_metrics"])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", r"must return a number, got ZeroDivisionError: .* \(.*costs.py:12\)"),
        ("nan", "must return a finite number, got nan"),
        ("words", "must return a number, got TypeError: it returned a text"),
        ("text", "must return a number, got TypeError: it returned a text"),
        ("leave", r"must return a number, got SystemExit: 0 \(.*costs.py:"),
    ],
)
def test_a_function_that_fails_is_said_in_one_line(
    name: str, message: str, my_metrics: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        own_score(f"my_metrics.costs:{name}", [{"prediction": "a"}], [{"label": "a"}])
    assert "\n" not in str(raised.value)


def test_a_function_may_change_what_it_gets(my_metrics: Path) -> None:
    rows = [{"label": ["a", "b"]}]
    answers = [{"prediction": ["a"], "scores": {"a": 0.9, "b": 0.1}}]
    for _ in range(2):
        assert own_score("my_metrics.costs:left", answers, rows) == 1
    assert rows == [{"label": ["a", "b"]}] and answers[0]["scores"] == {"a": 0.9, "b": 0.1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (OWN[:2], "task.metric_direction: must be maximize or minimize for my_metrics.costs:cost"),
        ((*OWN[:2], "task.metric_direction=up"), "task.metric_direction: must be maximize or min"),
        (("task.metric_direction=minimize",), "task.metric_direction: must be null unless"),
        (OWN[1:], r"search.plugins must name the package of my_metrics.costs:cost, got \[\]"),
    ],
)
def test_wrong_settings_are_refused(words: Any, message: str, my_metrics: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        build_run(compose("train", words).tree)


def test_a_function_that_fails_is_found_before_the_study_begins(
    my_metrics: Path, learnable: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = (*OWN[::2], "task.metric=my_metrics.costs:broken")
    run_here("sweep", "study=cheap", *OURS, *own, code=2)
    error = capsys.readouterr().err
    assert error.startswith("task.metric: my_metrics.costs:broken must return a number, got ZeroD")
    assert error.count("\n") == 1 and not (here / "studies" / "cheap").exists()


@pytest.mark.thorough
def test_a_study_minimizes_a_function_in_its_workers_and_exports_without_it(
    my_metrics: Path, learnable: Path, here: Path
) -> None:
    words = ("trainer.epochs=1", "search.num_trials=2", "search.workers=1", "search.confirm=0")
    printed = run_here("sweep", "study=cheap", *OURS, *OWN, *words)
    assert "minimize validation/my_metrics.costs:cost" in printed
    scores = json.loads(run_here("evaluate", "study=cheap", "--json"))
    assert 0 <= scores["my_metrics.costs:cost"] <= 10 and "accuracy" in scores
    run_here("export", "study=cheap", "to=best")
    settings = json.loads((here / "best" / "finesweep.json").read_text())["task"]
    assert "task.metric" not in settings and "task.metric_direction" not in settings
    write_jsonl(here / "new.jsonl", [{"text": "The hotel was great."}])
    run_here("predict", "model=best", "input=new.jsonl", "output=out.jsonl")
    assert json.loads((here / "out.jsonl").read_text())["prediction"] in ("positive", "negative")
