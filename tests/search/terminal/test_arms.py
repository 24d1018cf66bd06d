"""The line about arms in `plan` and `sweep`."""

from __future__ import annotations

import pytest

from search.config import compose
from search.plan.build import build_plan
from search.terminal.arms import arms_line

THREE = "strategy=choice(lora,full,feature_extraction)"
PROMPTING = "strategy=choice(lora,prompting)"
SIX = (THREE, "schedule=choice(wsd,linear)")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), None),
        (
            (THREE,),
            "3 arms in turn: default, learning rate x3 and /3 each; then the best 2",
        ),
        (
            (THREE, "search.num_trials=24"),
            "3 arms in turn: default, learning rate x3 and /3 each; then the best 2; "
            "then the best one",
        ),
        (
            (*SIX, "search.num_trials=12"),
            "6 arms in turn: default of each; then the best 3: learning rate x3 and /3",
        ),
        (
            (PROMPTING,),
            "2 arms in turn: default, learning rate x3 and /3 (prompting: two sampled points) "
            "each; then the best one",
        ),
        (
            (THREE, "search.num_trials=2"),
            "3 arms: search.num_trials is enough for the defaults of the first 2 only",
        ),
        (
            (THREE, "search.objectives=[accuracy,seconds]"),
            "3 arms in turn: default, learning rate x3 and /3 each; "
            "then in turn to the end, because there are several goals",
        ),
        ((THREE, "search.arms=joint"), "3 arms, chosen by the sampler"),
    ],
)
def test_a_line_says_how_arms_share_the_trials(words: tuple[str, ...], line: str | None) -> None:
    prompting = "strategy.num_shots=choice(0,4)" if PROMPTING in words else ""
    extra = [prompting] if prompting else []
    plan = build_plan(compose("sweep", ["model=tiny", "logger=none", *words, *extra]))
    assert arms_line(plan) == line
