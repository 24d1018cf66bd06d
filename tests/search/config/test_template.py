from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from lightning_modules.error import ConfigError
from search.config import build_run, compose, run_tree, to_yaml
from search.config.template import Template

OmegaConf.register_new_resolver(
    "tests.tenth", lambda *_, _root_: _root_.data.batch_size / 10, replace=True
)
REFERRING = ("data=files", "data.train=t.csv", "data.validation=v.csv")
CASES: dict[str, tuple[tuple[str, ...], list[dict[str, Any]]]] = {
    "values of several groups": (
        (),
        [
            {"optimizer.lr": 1e-4, "data.batch_size": 8},
            {"optimizer.lr": 3e-4, "data.batch_size": 16},
            {"trainer.epochs": 3, "seed": 5},
        ],
    ),
    "a group that others refer to": (
        REFERRING,
        [{"task.text": "a"}, {"task.text": "b", "optimizer.lr": 0.1}, {"data.label": "c"}, {}],
    ),
    "a key that a resolver chooses": (
        ("task=generation", *REFERRING),
        [{"data.batch_size": 4}, {"data.batch_size": 8}, {"task.max_new_tokens": 7}],
    ),
    "a value that refers to a key": (
        (),
        [{"optimizer.lr": "${strategy.lr}"}, {"optimizer.lr": "${oc.select:strategy.lr}"}],
    ),
    "a nested reference": (
        ('optimizer.lr="${${oc.env:NAMED}.lr}"',),
        [{"strategy.lr": 0.1}, {"strategy.lr": 0.2}],
    ),
    "a resolver that reads the whole tree": (
        ('optimizer.lr="${tests.tenth:batch}"',),
        [{"data.batch_size": 4}, {"data.batch_size": 8}, {"strategy.lr": 0.1}, {}],
    ),
    "a value that such a resolver computes": (
        (),
        [{"optimizer.lr": "${ tests.tenth:}", "data.batch_size": size} for size in (4, 8)],
    ),
    "a relative reference": (
        ('optimizer.lr="${..strategy.lr}"',),
        [{"strategy.lr": 0.1}, {"strategy.lr": 0.2}, {"optimizer.lr": "${.weight_decay}"}],
    ),
    "several values of a group at once": (
        (),
        [{"strategy": {"rank": rank, "lr": 0.1 / rank}} for rank in (4, 8)],
    ),
    "text that looks like a reference": (
        (),
        [{"data.batch_size": 1, "logger.project": r"\${a}"}, {"logger.project": r"\${b}"}],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_its_runs_and_texts_are_those_of_the_whole_tree(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAMED", "strategy")
    words, trials = CASES[name]
    tree = compose("train", list(words)).tree
    template = Template(tree)
    for values in (*trials, *trials):
        assert template.run(values) == build_run(tree, values)
        assert template.text(values) == to_yaml(run_tree(tree, values))


def test_what_a_trial_does_not_change_is_built_once() -> None:
    template = Template(compose("train", []).tree)
    first, second = (template.run({"optimizer.lr": lr}) for lr in (0.1, 0.2))
    assert first.optimizer != second.optimizer
    assert first.model is second.model
    assert first.task is second.task


def test_a_wrong_value_is_reported_after_a_right_one() -> None:
    template = Template(compose("train", []).tree)
    template.run({"optimizer.lr": 0.1})
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        template.run({"optimizer.lr": "fast"})
