"""How long runs are: enough epochs for the optimizer steps that the strategy needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.rows.corpus import Corpus
from search.config import Arm, Composition, build_run, compose
from search.plan.build import build_plan
from search.plan.length import (
    EPOCHS,
    Length,
    length_lines,
    length_of,
    read_rows,
    short_notes,
    with_length,
)

REVIEWS = 600  # training rows


def corpus_of(num_rows: int) -> Corpus:
    return Corpus({"train": [{"text": "a", "label": "b"}] * num_rows})


def arm_of(num_rows: int, *words: str) -> Arm:
    """Return the default arm with the length that a number of training rows decides."""
    return with_length(compose("sweep", ["study=s", *words]), corpus_of(num_rows)).arms[0]


def epochs_of(arm: Arm) -> tuple[int, str | None]:
    return arm.tree["trainer"]["epochs"], arm.space.get(EPOCHS)


@pytest.mark.parametrize("num_rows", [1, 31, 32, 33, 280, 600, 799, 800, 801, 1600, 1601, 10**6])
@pytest.mark.parametrize(("batch_size", "largest"), [(16, 32), (16, 16), (8, 128)])
@pytest.mark.parametrize("steps", [1, 50, 100])
def test_no_run_is_too_short(num_rows: int, batch_size: int, largest: int, steps: int) -> None:
    length = Length(num_rows, batch_size, largest, steps)
    assert length.shortest * length.steps_per_epoch(largest) >= steps
    assert length.shortest == 1 or (length.shortest - 1) * length.steps_per_epoch(largest) < steps
    assert length.shortest <= length.default <= length.longest
    assert length.default >= 2 and length.longest >= 3


def test_a_task_of_one_epoch_has_one_unless_the_rows_are_few() -> None:
    many, few = (Length(num_rows, 16, 32, 50, usual=1) for num_rows in (10**5, 280))
    assert (many.shortest, many.default, many.longest) == (1, 1, 2)
    assert (few.shortest, few.default, few.longest) == (6, 6, 9)


@pytest.mark.parametrize(
    ("num_rows", "words", "expected"),
    [
        (280, (), (6, "range(6, 10)")),
        (REVIEWS, (), (3, "range(3, 5)")),
        (1000, (), (2, "range(2, 4)")),
        (1600, (), (2, "range(1, 4)")),
        (100_000, (), (2, "range(1, 4)")),
        (REVIEWS, ("data.batch_size=8",), (2, "range(1, 4)")),  # more steps an epoch
        (REVIEWS, ("data.batch_size=choice(16,64)",), (5, "range(5, 9)")),
        (REVIEWS, ("strategy=full",), (3, "range(3, 5)")),
        (REVIEWS, ("strategy=bitfit",), (3, "range(3, 5)")),
        # What the user sets stays.
        (280, ("trainer.epochs=2",), (2, None)),
        (280, ("trainer.epochs=range(1,4)",), (3, "range(1,4)")),  # the nearest that is searched
        (280, ("trainer.epochs=choice(2,10)",), (2, "choice(2,10)")),
        (280, ("trainer.epochs=range(2,20,3)",), (5, "range(2,20,3)")),
        (280, ("trainer.epochs=range(20,30)",), (20, "range(20,30)")),
        (280, ("search/space=none", "strategy.rank=choice(4,8)"), (6, None)),
        # No steps to count.
        (280, ("strategy=prompting", "search/space=prompting"), (2, None)),
    ],
)
def test_rows_decide_the_length(
    num_rows: int, words: tuple[str, ...], expected: tuple[int, str | None]
) -> None:
    assert epochs_of(arm_of(num_rows, *words)) == expected


def test_heads_on_frozen_features_need_fewer_steps() -> None:
    assert epochs_of(arm_of(280, "strategy=feature_extraction")) == (3, "range(3, 5)")


SIZES = "data.max_train_rows=choice(100,300,900)"
FILE = ("data=files", "data.train=my.csv", SIZES)


def test_the_epochs_of_a_trial_suit_the_number_of_its_rows() -> None:
    words = ["study=s", "model=minilm", "experiment=learning_curve", *FILE]
    plan = build_plan(with_length(compose("sweep", words), corpus_of(REVIEWS)))
    sizes: list[int | None] = [1, 100, 300, 600, 900, None]
    epochs = [plan.run({"data.max_train_rows": size}).trainer.epochs for size in sizes]
    # A part of 900 rows is all 600, and so is the default.
    few = [Length(num, 16, 16, 50).default for num in (1, 100, 300)]
    assert epochs == [*few, 3, 3, 3]
    assert plan.default.trainer.epochs == 3
    stored = Composition.from_dict(json.loads(json.dumps(plan.composition.as_dict())))
    assert stored.arms == plan.composition.arms
    (arm,) = plan.composition.arms
    assert list(length_lines(arm, plan.default, REVIEWS)) == [
        "600 rows in batches of 16: 38 steps an epoch; 3 epochs",
        "data.max_train_rows=100: 15 epochs; other numbers of rows the epochs that suit them",
    ]
    assert list(short_notes(arm, plan.default, REVIEWS)) == []


def test_a_searched_length_suits_the_fewest_rows() -> None:
    arm = arm_of(REVIEWS, *FILE)
    few = Length(100, 16, 32, 50)
    assert epochs_of(arm) == (few.shortest, f"range({few.shortest}, {few.longest + 1})")
    run = build_run(arm.tree)
    (line,) = length_lines(arm, run, REVIEWS)
    assert line.endswith("13 to 19 epochs, which suits data.max_train_rows=100")
    assert list(short_notes(arm, run, REVIEWS)) == []


def test_a_length_too_short_for_the_fewest_rows_is_noted() -> None:
    arm = arm_of(REVIEWS, *FILE, "trainer.epochs=4")
    assert list(short_notes(arm, build_run(arm.tree), REVIEWS)) == [
        "data.max_train_rows=100 and trainer.epochs=4 in batches of 32 are 16 steps; "
        "lora needs about 50, i.e. trainer.epochs=13"
    ]


def test_packed_rows_do_not_count() -> None:
    words = ("task=generation", "model=tiny", "model.kind=decoder")
    assert epochs_of(arm_of(280, *words)) == (2, "range(1, 4)")
    assert epochs_of(arm_of(280, *words, "task.packing=none")) == (6, "range(6, 10)")


def test_every_arm_has_its_own_length() -> None:
    words = ["study=s", "strategy=choice(lora,feature_extraction,prompting)"]
    arms = with_length(compose("sweep", words), corpus_of(280)).arms
    assert len({epochs_of(arm) for arm in arms}) == 3
    lines = [list(length_lines(arm, build_run(arm.tree), 280)) for arm in arms]
    assert [line for (line,) in filter(None, lines)] == [
        "280 rows in batches of 16: 18 steps an epoch; 6 to 9 epochs",
        "280 rows in batches of 16: 18 steps an epoch; 3 to 4 epochs",
    ]


def test_a_decided_length_is_not_decided_again() -> None:
    words = ["study=s", "data.max_length=64"]
    composition = with_length(compose("sweep", words), corpus_of(280))
    assert [(arm.open, arm.decided) for arm in composition.arms] == [((), ("value", "range"))]
    stored = Composition.from_dict(json.loads(json.dumps(composition.as_dict())))
    assert with_length(stored, corpus_of(10_000)) == composition
    assert read_rows(stored) is None


def test_rows_are_read_only_if_they_decide_something(here: Path) -> None:
    composition = compose("sweep", ["study=s"])
    corpus = read_rows(composition)
    assert corpus is not None and len(corpus.splits["train"]) == REVIEWS
    assert read_rows(compose("sweep", ["study=s", "trainer.epochs=2"])) is not None  # for tokens
    words = ["study=s", "trainer.epochs=2", "data.max_length=64"]
    assert read_rows(compose("sweep", words)) is None
    missing = compose("sweep", ["study=s", "data=files", "data.train=missing.csv"])
    assert read_rows(missing) is None  # reported by the checks of the study
    assert with_length(missing, None) == missing


def test_a_composition_without_rows_can_be_built() -> None:
    plan = build_plan(compose("sweep", ["study=s"]))
    assert plan.default.trainer.epochs == 2
    assert plan.space.parameters[EPOCHS].text == "range(1, 4)"


def test_the_command_for_one_run_names_a_length_that_is_not_searched() -> None:
    arm = arm_of(280, "search/space=none", "data.batch_size=choice(8,16)")
    assert arm.words[-1] == f"{EPOCHS}=6"
    again = compose("train", [*arm.words, "data.batch_size=8"])
    assert again.arms[0].open == ("tokens",) and build_run(again.tree).trainer.epochs == 6
    assert not any(word.startswith(EPOCHS) for word in arm_of(280).words)


def test_a_run_and_a_study_have_the_same_default() -> None:
    (run,) = with_length(compose("train", ["run=r"]), corpus_of(280)).arms
    assert epochs_of(run)[0] == epochs_of(arm_of(280))[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "280 rows in batches of 16: 18 steps an epoch; 6 to 9 epochs"),
        (("trainer.epochs=1",), "280 rows in batches of 16: 18 steps an epoch; 1 epoch"),
        (
            ("data.batch_size=300",),
            "280 rows in batches of 300: 1 step an epoch; 50 to 100 epochs",
        ),
    ],
)
def test_the_length_is_said(words: tuple[str, ...], expected: str) -> None:
    arm = arm_of(280, *words)
    assert list(length_lines(arm, build_run(arm.tree), 280)) == [expected]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), []),
        (("trainer.epochs=range(6,9)",), []),
        (
            ("trainer.epochs=range(5,9)",),
            ["trainer.epochs=5 in batches of 32 are 45 steps; lora needs about 50, i.e. "],
        ),
        (
            ("trainer.epochs=1", "data.batch_size=16", "strategy=full"),
            ["trainer.epochs=1 in batches of 16 are 18 steps; full needs about 50, i.e. "],
        ),
        (("trainer.max_steps=20",), ["trainer.max_steps=20, but lora needs about 50"]),
        (("strategy=prompting", "search/space=prompting"), []),
    ],
)
def test_a_length_below_the_steps_is_noted(words: tuple[str, ...], expected: list[str]) -> None:
    arm = arm_of(280, *words)
    notes = list(short_notes(arm, build_run(arm.tree), 280))
    assert len(notes) == len(expected)
    for note, start in zip(notes, expected, strict=True):
        assert note.startswith(start)


def test_an_arm_of_an_earlier_version_needs_nothing() -> None:
    (arm,) = compose("sweep", ["study=s"]).arms
    values: dict[str, Any] = {"groups": {}, "arms": [{"choice": {}, "tree": arm.tree, "words": []}]}
    (stored,) = Composition.from_dict(values).arms
    assert length_of(stored, build_run(stored.tree), 280) is None and stored.open == ()
