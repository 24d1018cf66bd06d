"""A free study has names of its own, and nothing of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import UserError
from search.config import compose, compose_free, is_free, is_free_command

DIRECTION = "search.direction=maximize"


def test_its_names_are_searched_and_nothing_of_a_run_is_there() -> None:
    composition = compose_free(
        [
            "study=2024",
            DIRECTION,
            "lr=tag(log,interval(1e-5,1e-1))",
            "model=choice(a,b)",
        ]
    )
    assert composition.tree.keys() == {"study", "seed", "search"}
    assert composition.tree["study"] == "2024"
    assert composition.tree["search"]["direction"] == "maximize"
    assert composition.space == {
        "lr": "tag(log,interval(1e-5,1e-1))",
        "model": "choice(a,b)",
    }
    assert is_free(composition.tree)
    assert not is_free(compose("sweep", ["study=s"]).tree)


def test_the_last_override_of_a_name_counts_and_groups_of_the_search_can_be_chosen() -> None:
    words = ["search/sampler=random", DIRECTION, "x=range(1,3)", "x=range(1,9)", "seed=4"]
    composition = compose_free([*words, "search.direction=minimize"])
    assert composition.space == {"x": "range(1,9)"}
    assert composition.tree["seed"] == 4
    assert composition.tree["search"]["direction"] == "minimize"
    assert composition.tree["search"]["sampler"]["_target_"].endswith("Random")


def test_a_file_of_the_user_can_hold_the_names(here: Path) -> None:
    (here / "conf/search/space").mkdir(parents=True)
    (here / "conf/search/space/mine.yaml").write_text("x: range(1,9)\ny: choice(a,b)\n")
    words = ["search/space=mine", DIRECTION, "y=choice(a,c)"]
    assert compose_free(words, here / "conf").space == {"x": "range(1,9)", "y": "choice(a,c)"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([DIRECTION], True),
        (["x=1,2", "search.direction=null"], False),
        (["search.directions=maximize"], False),
        (["optimizer.lr=1,2"], False),
    ],
)
def test_the_direction_makes_a_study_free(words: list[str], expected: bool) -> None:
    assert is_free_command(words) is expected


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            "lr=3",
            "lr: must be a range: a study of your own loop has no other keys than study, seed",
        ),
        ("sed=3", "sed: must be a range.* got 3. Did you mean seed?"),
        ("seed=choice(1,2)", "seed: must be one value"),
        ("search.num_trails=3", "search.num_trails: must be a known key.*search.num_trials?"),
        ("x[a]=range(1,3)", r"x\[a\]: a study of your own loop has no arms"),
        ("search/sampler=tpee", "search/sampler: must be one of.*Did you mean tpe?"),
        ("search/space=default", "search/space: must have names of your own"),
    ],
)
def test_a_slip_is_one_line(word: str, line: str) -> None:
    with pytest.raises(UserError, match=line.replace("?", r"\?")) as error:
        compose_free([DIRECTION, "y=range(1,3)", word])
    assert len(error.value.problems) == 1


def test_names_without_a_direction_are_refused_with_what_they_need() -> None:
    with pytest.raises(UserError, match=r"^lr: must be a known key.* add search.direction="):
        compose("sweep", ["search.ask_tell=true", "lr=interval(0,1)"])
