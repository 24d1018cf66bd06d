from __future__ import annotations

from functools import cache
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution

from lightning_modules.error import SpaceError
from search.config import Composition, compose
from search.plan.ranges import build_space, default_values
from search.space.space import Space


def composed(*overrides: str) -> Composition:
    words = ["model=tiny", "logger=none", "search/space=none", *overrides]
    return compose("sweep", words)


@cache
def space_of(*overrides: str) -> Space:
    return build_space(composed(*overrides))


MIXED = (
    "optimizer.lr=tag(log,interval(1e-5,1e-2))",
    "data.batch_size=choice(8,16)",
    "trainer.epochs=range(1,4)",
    "trainer.precision=choice(fp32,bf16)",
)


def test_a_refused_corner_is_named() -> None:
    with pytest.raises(SpaceError, match=r"data\.batch_size: must be > 0, got 0 in choice\(0,8\)"):
        space_of("data.batch_size=choice(0,8)")


def test_a_corner_of_the_wrong_type_is_named() -> None:
    with pytest.raises(SpaceError, match=r"must be a whole number, got 1\.5 in choice\(1,1\.5\)"):
        space_of("trainer.epochs=choice(1,1.5)")


def test_fractions_of_a_whole_number_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"trainer\.epochs: must be a whole number"):
        space_of("trainer.epochs=interval(0.5,3.5)")


def test_all_refused_corners_are_reported_at_once() -> None:
    with pytest.raises(SpaceError) as error:
        space_of("data.batch_size=choice(0,8)", "strategy.dropout=interval(0,1)")
    assert [problem.where for problem in error.value.problems] == [
        "data.batch_size",
        "strategy.dropout",
    ]


def test_a_path_must_be_in_the_configuration() -> None:
    composition = composed()
    composition.tree["search"]["space"] = {"optimizer.lrr": "interval(1e-5,1e-3)"}
    with pytest.raises(SpaceError, match=r"^optimizer\.lrr: .*Did you mean optimizer\.lr\?$"):
        build_space(composition)


def test_an_impossible_range_in_a_file_is_refused() -> None:
    composition = composed()
    composition.tree["search"]["space"] = {"optimizer.lr": "interval(1,0)", "trainer.epochs": "3"}
    with pytest.raises(SpaceError) as error:
        build_space(composition)
    assert [problem.where for problem in error.value.problems] == ["optimizer.lr", "trainer.epochs"]


def test_an_interval_over_a_float_key_has_real_numbers() -> None:
    space = space_of("strategy.alpha=interval(1,64)")
    assert space.parameters["strategy.alpha"].distribution == FloatDistribution(1.0, 64.0)


def test_default_values_come_from_the_configuration() -> None:
    (arm,) = composed(*MIXED, "strategy.lr=5e-4").arms
    assert default_values(arm) == {
        "optimizer.lr": 5e-4,
        "data.batch_size": 16,
        "trainer.epochs": 2,
        "trainer.precision": "auto",
    }


THREE = ("strategy=choice(feature_extraction,lora,full)",)
LR = "optimizer.lr"


def test_each_arm_has_its_own_learning_rate_range() -> None:
    space = build_space(compose("sweep", ["model=tiny", *THREE]))
    assert list(space.arms) == [("lora",), ("feature_extraction",), ("full",)]
    assert space.paths == ("strategy", LR, "data.batch_size", "trainer.epochs")
    assert set(space.parameters) == {
        "strategy",
        *(f"{LR}[{name}]" for name in ("lora", "feature_extraction", "full")),
        "data.batch_size",
        "trainer.epochs",
    }
    assert space.parameters[f"{LR}[full]"].distribution == FloatDistribution(5e-5, 5e-4, log=True)
    assert space.is_conditional


def test_a_path_of_one_arm_exists_only_there() -> None:
    space = space_of(*THREE, "strategy.rank=choice(4,8)")
    assert {options for options, arm in space.arms.items() if arm} == {("lora",)}
    assert "strategy.rank" in space.parameters
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        values = space.suggest(trial)
        assert ("strategy.rank" in values) == (values["strategy"] == "lora")
        assert space.by_path(trial.params) == values
        assert space.by_name(values) == trial.params


def test_an_inline_range_applies_to_all_arms() -> None:
    words = ["model=tiny", *THREE, f"{LR}=tag(log,interval(1e-5,1e-3))"]
    space = build_space(compose("sweep", words))
    assert LR in space.parameters and not space.is_conditional


def test_a_range_for_one_arm_takes_precedence() -> None:
    words = (*THREE, f"{LR}=interval(1e-5,1e-3)", f"{LR}[full]=interval(1e-6,1e-4)")
    space = space_of(*words)
    assert space.arms[("full",)][LR].text == "interval(1e-6,1e-4)"
    assert space.arms[("lora",)][LR].text == "interval(1e-5,1e-3)"


def test_a_value_for_one_arm_removes_its_path_there() -> None:
    composition = compose("sweep", ["model=tiny", *THREE, f"{LR}[lora]=3e-4"])
    space = build_space(composition)
    assert LR not in space.arms[("lora",)] and LR in space.arms[("full",)]
    assert composition.arms[0].tree["optimizer"]["lr"] == 3e-4
    assert default_values(composition.arms[0])["strategy"] == "lora"


@pytest.mark.thorough
def test_arms_of_two_groups_name_a_range_by_the_group_it_depends_on() -> None:
    words = ["model=tiny", *THREE, "schedule=choice(wsd,linear)"]
    words.append("schedule.decay_fraction=interval(0,0.5)")
    space = build_space(compose("sweep", words))
    assert len(space.arms) == 6
    assert f"{LR}[lora]" in space.parameters
    assert space.arms[("lora", "linear")].keys() == {LR, "data.batch_size", "trainer.epochs"}
    assert "schedule.decay_fraction" in space.arms[("full", "wsd")]


def test_a_file_may_define_a_whole_conditional_space(here: Path) -> None:
    (here / "conf/search/space").mkdir(parents=True)
    (here / "conf/search/space/ways.yaml").write_text(
        "strategy: choice(lora, full)\n"
        "optimizer.lr: tag(log, interval(${strategy.lr_min}, ${strategy.lr_max}))\n"
        "optimizer.lr[full]: interval(1e-5, 1e-4)\n"
        "strategy.rank: choice(4, ${strategy.rank})\n"
    )
    words = ["model=tiny", "search/space=ways"]
    space = build_space(compose("sweep", words, here / "conf"))
    assert space.arms[("full",)][LR].text == "interval(1e-5, 1e-4)"
    assert space.arms[("lora",)][LR].text == "tag(log, interval(0.0005, 0.005))"
    assert space.arms[("lora",)]["strategy.rank"].text == "choice(4, 8)"
    assert "strategy.rank" not in space.arms[("full",)]
    one = compose("sweep", [*words, "strategy=full"], here / "conf")
    assert one.groups == {} and one.space == {LR: "interval(1e-5, 1e-4)"}


def test_a_seed_is_searched_in_every_arm_or_in_none() -> None:
    rule = r"^seed: must be searched in every arm or in none, got a range in lora only\. Give"
    with pytest.raises(SpaceError, match=rule):
        space_of("strategy=choice(lora,full)", "seed[lora]=choice(0,1,2)")
    space = space_of("strategy=choice(lora,full)", "seed=choice(0,1,2)")
    assert all("seed" in arm for arm in space.arms.values())
