from __future__ import annotations

import pytest

from lightning_modules.error import (
    ConfigError,
    DataError,
    Problem,
    SpaceError,
    UserError,
    Verbatim,
    did_you_mean,
    reason_of,
)


def test_a_problem_prints_its_place_rule_value_and_fix() -> None:
    problem = Problem("optimizer.lr", "must be > 0", -1, "Set optimizer.lr=1e-4.")
    assert str(problem) == "optimizer.lr: must be > 0, got -1. Set optimizer.lr=1e-4."


def test_a_problem_without_a_fix_ends_after_the_value() -> None:
    assert str(Problem("seed", "must be a number", "x")) == "seed: must be a number, got 'x'."


def test_a_verbatim_value_has_no_quotes() -> None:
    assert str(Problem("a.csv", "must not be empty", Verbatim("0 bytes"))).endswith("got 0 bytes.")


def test_under_prefixes_the_place_and_keeps_the_rest() -> None:
    problem = Problem("lr", "must be > 0", 0, "Raise it.")
    assert problem.under("optimizer") == Problem("optimizer.lr", "must be > 0", 0, "Raise it.")


def test_an_error_holds_and_prints_every_problem() -> None:
    problems = [Problem("a", "must be > 0", 0), Problem("b", "must be > 0", -1)]
    error = ConfigError(problem for problem in problems)
    assert list(error.problems) == problems
    assert str(error) == "a: must be > 0, got 0.\nb: must be > 0, got -1."


def test_an_error_accepts_a_single_problem() -> None:
    problem = Problem("a", "must be > 0", 0)
    assert list(DataError(problem).problems) == [problem]


def test_an_error_without_a_problem_fails_an_assertion() -> None:
    with pytest.raises(AssertionError, match="at least one problem"):
        UserError([])


@pytest.mark.parametrize("kind", [ConfigError, SpaceError, DataError])
def test_every_kind_of_user_mistake_is_a_user_error(kind: type[UserError]) -> None:
    with pytest.raises(UserError):
        raise kind(Problem("a", "must be > 0", 0))


@pytest.mark.parametrize(
    ("name", "known", "fix"),
    [
        ("learning_rat", ["learning_rate", "epochs"], "Did you mean learning_rate?"),
        ("zzz", ["b", "a", "b"], "Known: a, b."),
        ("zzz", [], ""),
    ],
)
def test_did_you_mean_suggests_the_nearest_name_or_all(
    name: str, known: list[str], fix: str
) -> None:
    assert did_you_mean(name, known) == fix


def test_reason_of_is_the_first_line_of_the_root_cause() -> None:
    with pytest.raises(RuntimeError) as caught:
        try:
            raise OSError("no space left.\nmore detail")
        except OSError as error:
            raise RuntimeError("something went wrong") from error
    assert reason_of(caught.value) == "no space left"
    assert reason_of(KeyboardInterrupt()) == "KeyboardInterrupt"
