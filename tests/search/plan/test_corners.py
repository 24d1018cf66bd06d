from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from lightning_modules.data.reviews import Reviews
from lightning_modules.error import SpaceError
from lightning_modules.rows.corpus import Corpus
from lightning_modules.task.base import Task
from search.config import compose
from search.estimate.probe import largest
from search.plan.build import build_plan
from search.storage.location import study_folder
from search.study.prepare import check_study

MAX_TOKENS = 512  # of model=tiny


def refusals(*overrides: str) -> list[str]:
    """Return the problems of a study with these overrides; empty if it can start."""
    words = ["model=tiny", "logger=none", "search/space=none", *overrides]
    plan = build_plan(compose("sweep", words))
    try:
        check_study(plan, study_folder(Path(), plan.name))
    except SpaceError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("strategy=adalora", "strategy.initial_rank=choice(4,12)"),
            "strategy.initial_rank: strategy.rank=8 must be <= strategy.initial_rank=4,"
            " got 4 in choice(4,12).",
        ),
        (
            ("data.max_length=choice(128,1024)",),
            f"data.max_length: must be <= {MAX_TOKENS}, the most tokens that tiny can read,"
            f" got 1024 in choice(128,1024). Set data.max_length={MAX_TOKENS}.",
        ),
        (
            ("strategy=prompt_tuning", "data.max_length=490", "strategy.num_tokens=range(8,101)"),
            "strategy.num_tokens: data.max_length=490 must be <= 412, the most tokens that tiny can"
            " read besides 100 virtual tokens, got 100 in range(8,101). Set data.max_length=412.",
        ),
        (
            ("trainer.devices=2", "data.batch_size=choice(1,8)"),
            "data.batch_size: must be >= 2, the number of devices that share a batch,"
            " got 1 in choice(1,8). Set data.batch_size=2, or trainer.devices=1.",
        ),
        (
            ("strategy=prompting", "strategy.how=choice(similarity,causal)"),
            "strategy.how: strategy.how=causal needs a model of kind decoder,"
            " got 'causal' in choice(similarity,causal).",
        ),
    ],
)
def test_a_value_in_conflict_with_other_settings_is_refused(
    words: tuple[str, ...], line: str
) -> None:
    assert refusals(*words) == [line]


NULLABLE = {
    "trainer.max_grad_norm": "0.1",
    "trainer.patience": "1,3",
    "trainer.max_steps": "5",
    "trainer.micro_batch_size": "2",
    "trainer.micro_batch_tokens": "512,auto",
    "trainer.checkpoint_share": "0.1",
    "task.class_weights": "balanced",
}


@pytest.mark.parametrize("path", NULLABLE)
def test_null_is_a_value_among_others_of_any_kind(path: str) -> None:
    assert refusals(f"{path}=choice(null,{NULLABLE[path]})", "optimizer.lr=choice(1e-4,1e-3)") == []
    words = (f"{path}=choice({NULLABLE[path]},null)", "trainer.epochs=choice(1,2)")
    plan = build_plan(compose("sweep", ["model=tiny", "search/space=none", *words]))
    for options in plan.defaults:
        plan.run(largest(plan, options))  # whose memory is estimated
    assert None in plan.space.parameters[path].corners


def test_values_in_conflict_with_each_other_are_refused() -> None:
    ranks = ("strategy=adalora", "strategy.rank=choice(4,12)")
    assert refusals(*ranks, "strategy.initial_rank=choice(12,16)") == []
    assert refusals(*ranks, "strategy.initial_rank=choice(8,12,16)") == [
        "strategy.rank: must be <= strategy.initial_rank=8, got 12 in choice(4,12)."
    ]
    lengths = ("strategy=prompt_tuning", "data.max_length=choice(128,500)")
    (line,) = refusals(*lengths, "strategy.num_tokens=choice(8,13)")
    assert line.startswith(
        "data.max_length: must be <= 499, the most tokens that tiny can read besides"
    )


def test_a_default_outside_its_range_refuses_no_other_range() -> None:
    ranks = ("strategy.rank=choice(2,4)", "strategy.initial_rank=choice(4,8)")
    assert refusals("strategy=adalora", *ranks) == []
    lengths = ("data.max_length=choice(128,500)", "strategy.num_tokens=choice(8,12)")
    assert refusals("strategy=prompt_tuning", *lengths) == []


def test_a_range_that_only_a_searched_path_reads_is_refused() -> None:
    rates = "strategy.lr=tag(log,interval(1e-4,1e-3))"
    assert refusals(rates) == []
    assert refusals(rates, "search/space=default") == [
        "strategy.lr: must not be searched together with optimizer.lr, which reads it,"
        " got tag(log,interval(1e-4,1e-3)). Search optimizer.lr."
    ]
    assert refusals(rates, "search/space=default", "optimizer.lr=${strategy.lr}") == []


def test_every_arm_is_checked() -> None:
    words = ("strategy=choice(lora,prompt_tuning)", "data.max_length=choice(128,512)")
    (line,) = refusals(*words)
    assert line.startswith(
        "data.max_length: must be <= 492, the most tokens that tiny can read besides"
    )


def test_parts_smaller_than_the_labels_are_refused(learnable: Path) -> None:
    words = ("experiment=learning_curve", "data=files", f"data.train={learnable}")
    assert refusals(*words, "data.max_train_rows=choice(2,50)") == []
    assert refusals(*words, "data.max_train_rows=choice(1,50)") == [
        "data.max_train_rows: must be >= 2, the number of labels, got 1 in choice(1,50)."
    ]


@dataclass(frozen=True, kw_only=True)
class Chosen(Reviews):
    """Some of the reviews, like a third-party data set."""

    num_rows: int

    def load(self, task: Task) -> Corpus:
        splits = super().load(task).splits
        return Corpus({name: rows[: self.num_rows] for name, rows in splits.items()})


def test_a_range_that_changes_the_rows_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (here / "conf/data").mkdir(parents=True)
    (here / "conf/data/chosen.yaml").write_text(
        "_target_: test_corners.Chosen\nbatch_size: 16\nmax_length: 128\nnum_rows: 90\n"
    )
    words = ["model=tiny", "logger=none", "search/space=none", "data=chosen"]
    words += ["search.plugins=[test_corners]", "data.num_rows=choice(80,90)"]
    plan = build_plan(compose("sweep", words, here / "conf"))
    with pytest.raises(SpaceError, match=r"^data\.num_rows: must not change the rows, .*80"):
        check_study(plan, study_folder(here, plan.name))
