from __future__ import annotations

import pytest

from search.config.completion import complete_line


def test_a_group_completes_to_its_options() -> None:
    assert complete_line("sweep", "schedule=") == [
        "schedule=constant",
        "schedule=cosine",
        "schedule=linear",
        "schedule=wsd",
    ]


@pytest.mark.parametrize("config", ["sweep", "train"])
def test_a_word_completes_to_a_group_and_keys(config: str) -> None:
    assert complete_line(config, "optim") == ["optimizer.", "optimizer="]


def test_keys_come_from_the_chosen_option() -> None:
    assert complete_line("sweep", "strategy=lora strategy.r") == [
        "strategy.rank=",
        "strategy.rslora=",
    ]
    assert complete_line("sweep", "strategy=full strategy.r") == []


def test_a_nested_group_completes() -> None:
    completions = complete_line("sweep", "search/sampler=")
    names = ("bayes", "cmaes", "gp", "grid", "qmc", "random", "tpe")
    assert completions == [f"search/sampler={name}" for name in names]


def test_only_a_sweep_has_a_budget() -> None:
    assert complete_line("sweep", "search.num") == ["search.num_trials="]
    assert complete_line("train", "search.num") == []


def test_a_new_word_offers_every_group_but_not_hydra() -> None:
    completions = complete_line("sweep", "strategy=full ")
    assert {"model=", "data=", "search/", "seed="} <= set(completions)
    assert not [name for name in completions if name.startswith("hydra")]
