from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import ConfigError, SpaceError, UserError
from search.config import build_run, compose
from search.config.check import DECIDE_METRIC, DECIDE_ROWS


def lines(*overrides: str) -> list[str]:
    """Return the problems of a sweep with these overrides, one per line."""
    with pytest.raises(UserError) as error:
        compose("sweep", overrides)
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("trainer.epoch=3", "must be a known key, got trainer.epoch. Did you mean trainer.epochs?"),
        ("trainr.epochs=3", "must be a known key, got trainr.epochs. Did you mean trainer.epochs?"),
        ("optimizer.rate=3", "must be a known key, got optimizer.rate. Did you mean"),
        ("batch_size=8", "must be a known key, got batch_size. Did you mean data.batch_size?"),
        ("+trainer.novel=3", "must be a known key"),
        ("search.enqueue={optimizer.lr: 4}", "must be a list, got {optimizer.lr: 4}. Write"),
        ("hydra.run.dir=x", "must be a known key"),
        ("strategi=lora", "must be a known key, got strategi. Did you mean strategy?"),
        (
            "schedule=coisne",
            "must be one of constant, cosine, linear, wsd, got 'coisne'. Did you mean cosine?",
        ),
        ("search/pruner=x", "must be one of asha, forecast, median, none, got 'x'. Known: asha"),
        (
            "search.sampler=random",
            "is a group of keys, got random. Choose an option with search/sam",
        ),
        (
            "trainer.epochs",
            "must have the form key=value, got 'trainer.epochs'. Write trainer.epochs=VALUE",
        ),
        ("trainer.epochs=(", "must follow Hydra's override grammar, got 'trainer.epochs=('."),
        ("data=reviews,files", "must be one option, got reviews,files. Only model, strategy, opt"),
        ("logger=none,wandb", "must be one option, got none,wandb."),
        ("study=choice(a,b)", "only model, data, task, strategy, optimizer, schedule, trainer can"),
        ("search.num_trials=range(1,3)", "only model, data, task, strategy, optimizer, schedule"),
        ("logger.project=a,b", "only model, data, task, strategy, optimizer, schedule, trainer"),
        ("trainer.epochs=range(5,1)", "must have low < high, got range(5,1). Write range(1,5)."),
    ],
)
def test_a_mistake_gives_one_line_with_the_fix(override: str, line: str) -> None:
    (problem,) = lines(override)
    key = override.partition("=")[0].lstrip("+")
    assert problem.startswith(f"{key}: {line}")


OF_PAIRS = ("task.chosen", "task.rejected")
DECIDES = "must be one value, because it decides which rows trials are compared on, got"


@pytest.mark.parametrize("path", DECIDE_METRIC)
def test_what_a_score_means_is_not_searched(path: str) -> None:
    others = {"final_answer": "generation", "low": "similarity", "high": "similarity"}
    task = others.get(path.rpartition(".")[2], "classification")
    with pytest.raises(ConfigError) as refused:
        compose("sweep", [f"task={task}", f"{path}=choice(null,a)"])
    (problem,) = refused.value.problems
    assert str(problem) == (
        f"{path}: must be one value, because it decides what a score means, got choice(null,a). "
        f"Run one study per value: {path}=VALUE study=NAME."
    )


@pytest.mark.parametrize("path", DECIDE_ROWS)
def test_keys_that_decide_the_rows_cannot_be_searched(path: str, here: Path) -> None:
    fix = f"Run one study per value: {path}=VALUE study=NAME."
    words = ["data=hub", "task=preference" if path in OF_PAIRS else "task=classification"]
    with pytest.raises(ConfigError) as inline:
        compose("sweep", [*words, f"{path}=choice(0.1,0.2)"])
    assert str(inline.value) == f"{path}: {DECIDES} choice(0.1,0.2). {fix}"
    (here / "conf/search/space").mkdir(parents=True)
    (here / "conf/search/space/mine.yaml").write_text(f"{path}: choice(0.1, 0.2)\n")
    with pytest.raises(SpaceError) as of_file:
        compose("sweep", [*words, "search/space=mine"], here / "conf")
    assert str(of_file.value) == f"search.space.{path}: {DECIDES} choice(0.1, 0.2). {fix}"


def test_null_is_not_an_option() -> None:
    with pytest.raises(ConfigError, match="strategy: must be one of"):
        compose("sweep", ["strategy=null"])


def test_the_last_override_of_a_key_wins() -> None:
    words = ["data.batch_size=choice(8,16)", "data.batch_size=4"]
    composition = compose("sweep", words)
    assert composition.tree["data"]["batch_size"] == 4
    assert "data.batch_size" not in composition.space
    assert compose("sweep", words[::-1]).space["data.batch_size"] == "choice(8,16)"


def test_all_problems_are_reported_at_once() -> None:
    words = ("data=x", "trainer.epoch=3", "study=choice(a,b)", "optimizer.lr=interval(2,1)")
    problems = lines(*words)
    assert [line.partition(":")[0] for line in problems] == [
        "data",
        "trainer.epoch",
        "study",
        "optimizer.lr",
    ]


def test_keys_of_a_refused_group_are_not_checked() -> None:
    (problem,) = lines("strategy=lroa", "strategy.rank=4")
    assert problem.startswith("strategy: ")


def test_keys_come_from_the_chosen_option() -> None:
    (problem,) = lines("strategy=full", "strategy.rank=4")
    assert problem.startswith("strategy.rank: only strategy=adalora")
    assert compose("sweep", ["strategy.rank=4"]).tree["strategy"]["rank"] == 4


def test_train_refuses_a_range() -> None:
    with pytest.raises(SpaceError, match=r"a run has one value per key.*finesweep sweep"):
        compose("train", ["optimizer.lr=interval(1e-5,1e-3)"])


def test_train_composes_one_run() -> None:
    composition = compose("train", ["run=first", "trainer.epochs=5"])
    assert composition.tree["run"] == "first"
    assert build_run(composition.tree).trainer.epochs == 5
    assert composition.space == {}


THREE = "strategy=choice(feature_extraction,lora,full)"
LR = "optimizer.lr"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("strategy=choice(lora,ful)",), "strategy: options must be among .* Did you mean full?"),
        (("strategy=choice(lora,lora)",), "strategy: options must differ"),
        (("strategy=range(1,3)",), "strategy: must list options, got range.1,3.. Write strategy="),
        (("data=choice(reviews,files)",), "data: must be one option.*Only model, strategy,"),
        ((f"{LR}[lora]=interval(0,1)",), "must name searched options, got 'lora'. Search a group"),
        ((THREE, f"{LR}[lorra]=interval(0,1)"), "must name searched options.*Did you mean lora?"),
        (
            (THREE, "strategy.rank[full]=choice(1,2)"),
            "strategy.rank.full.: full must have the key",
        ),
        ((THREE, "strategy.rnk=4"), "strategy.rnk: must be a known key"),
    ],
)
def test_a_mistake_in_an_arm_is_reported(words: tuple[str, ...], line: str) -> None:
    with pytest.raises(UserError, match=line):
        compose("sweep", ["model=tiny", "search/space=none", *words])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["data.train=my.csv"],
            "data.train: only data=files has this key, got data.train. Add data=files.",
        ),
        (["model.path=x"], "model.path: only model=hub has this key, got model.path."),
        (
            ["strategy=full", "strategy.rank=4"],
            "strategy.rank: only strategy=adalora, strategy=lora and strategy=qlora have this "
            "key, got strategy.rank. Add strategy=lora.",
        ),
        (
            ["search.sampler.max_modeled=3"],
            "search.sampler.max_modeled: must be a known key, got search.sampler.max_modeled. "
            "Did you mean search.sampler.max_modelled?",
        ),
        (
            ["search/sampler=grid", "search.sampler.num_startup_trials=3"],
            "search.sampler.num_startup_trials: only search/sampler=cmaes, search/sampler=gp and "
            "search/sampler=tpe have this key, got search.sampler.num_startup_trials. Add",
        ),
    ],
)
def test_an_unknown_key_names_the_options_that_have_it(words: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose("sweep", words)
    assert str(error.value).startswith(line)


def test_an_unknown_key_names_options_in_config_dir(here: Path) -> None:
    folder = here / "conf" / "data"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("_target_: mine.Mine\nwhere: null\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^data\.where: only data=mine has this key"):
        compose("sweep", ["data.where=x"], here / "conf")
