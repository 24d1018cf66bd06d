from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.data.reviews import Reviews
from lightning_modules.error import ConfigError
from lightning_modules.guard.base import Bound, Guard
from lightning_modules.guard.harness import Harness
from lightning_modules.guard.language import Neutral
from lightning_modules.guard.source import DataRows, FileRows
from search.config import build_guards, compose


def guards_of(*entries: str) -> tuple[Guard, ...]:
    return build_guards(compose("sweep", [f"search.guards=[{','.join(entries)}]"]).tree)


def test_there_is_none_by_default() -> None:
    assert build_guards(compose("sweep", []).tree) == ()
    assert build_guards({"search": {}}) == ()  # of a study of an earlier version


def test_forgetting_alone_has_a_metric_and_a_bound() -> None:
    (guard,) = guards_of("forgetting")
    assert guard == Guard("forgetting", Neutral(), "loss", Bound(0.05, True, True))
    assert guards_of("{data: forgetting, metric: loss, at_most: +5%}") == (guard,)


def test_data_are_a_name_a_file_or_a_task_of_lm_eval() -> None:
    bound = "metric: accuracy, at_least: -2%"
    words = (
        f"{{data: reviews, {bound}, rows: 40}}",
        f"{{data: my/old.csv, {bound}, name: earlier}}",
        f"{{data: lm_eval:arc_easy, {bound}}}",
    )
    reviews, old, arc = guards_of(*words)
    assert isinstance(reviews.source, DataRows) and isinstance(reviews.source.data, Reviews)
    assert (reviews.name, reviews.max_rows) == ("reviews", 40)
    assert (old.name, old.source) == ("earlier", FileRows(Path("my/old.csv")))
    assert (arc.name, arc.source) == ("lm_eval:arc_easy", Harness("arc_easy"))
    assert reviews.bound == Bound(-0.02, is_most=False, is_share=True)


def test_a_task_file_of_lm_eval_must_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["search.guards=[{data: lm_eval:own.yaml, metric: acc, at_least: -2%}]"]
    rule = r"search\.guards\.0\.data: a task file may run code of its own.*add 'search\.plugins"
    stored = compose("sweep", words).tree
    with pytest.raises(ConfigError, match=rule):
        build_guards(stored)
    (guard,) = build_guards(compose("sweep", [*words, "search.plugins=[lm_eval]"]).tree)
    assert guard.source == Harness("own.yaml")
    monkeypatch.setenv("FINESWEEP_PLUGINS", "lm_eval")  # a command that names it has set this
    assert build_guards(stored) == (guard,)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("reviews", "search.guards.0: must be forgetting, or a mapping, got 'reviews'. Write forg"),
        ("{data: a.csv, metric: f1}", "search.guards.0: must have either at_most or at_least"),
        (
            "{data: a.csv, metric: f1, at_most: 1, at_least: 0}",
            "search.guards.0: must have either at_most or at_least",
        ),
        ("{metric: f1, at_least: 0}", "search.guards.0.data: must be text, got None."),
        (
            "{data: a.csv, metric: f1, at_last: 0, at_least: 1}",
            "search.guards.0.at_last: must be a known key, got 'at_last'. Did you mean at_least?",
        ),
        (
            "{data: a.csv, metric: f1, at_least: 5%}",
            "search.guards.0.at_least: must be a number, or a share of the untouched model's "
            "value, got '5%'. Write e.g. at_least: +5%.",
        ),
        (
            "{data: a.csv, metric: f1, at_least: 0, rows: 0}",
            "search.guards.0.rows: must be a whole number > 0, got 0.",
        ),
        ("{data: imdb, metric: f1, at_least: 0, name: ''}", "search.guards.0.name: must be text"),
    ],
)
def test_an_entry_that_is_no_guard_is_refused(entry: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        guards_of(entry)
    assert str(error.value).startswith(problem)


def test_names_differ() -> None:
    with pytest.raises(ConfigError, match=r"search\.guards: names must differ, got 'forgetting'"):
        guards_of("forgetting", "{data: forgetting, metric: perplexity, at_most: +9%}")


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        guards_of("{data: a.csv}", "7")
    assert len(error.value.problems) == 3
