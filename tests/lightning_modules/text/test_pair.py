"""Pairs of answers in all of TRL's formats, and their tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lightning_modules.text.pair import Pair, alternated, continued, halves, pair_of, refused_pair

ASKED = [{"role": "user", "content": "What color is the sky?"}]
BLUE = [{"role": "assistant", "content": "It is blue."}]
GREEN = [{"role": "assistant", "content": "It is green."}]


@pytest.mark.parametrize(
    "row",
    [
        {"text": ASKED, "chosen": BLUE, "rejected": GREEN},
        {"chosen": [*ASKED, *BLUE], "rejected": [*ASKED, *GREEN]},
        # UltraFeedback's: the prompt is there twice.
        {"text": ASKED[0]["content"], "chosen": [*ASKED, *BLUE], "rejected": [*ASKED, *GREEN]},
        {"text": ASKED, "chosen": [*ASKED, *BLUE], "rejected": [*ASKED, *GREEN]},
        {"text": ASKED, "chosen": "It is blue.", "rejected": "It is green."},
        {"text": ASKED[0]["content"], "chosen": BLUE, "rejected": GREEN},
    ],
)
def test_every_form_of_a_conversation_is_the_same_pair(row: dict[str, Any]) -> None:
    assert refused_pair(row) is None
    assert pair_of(row) == Pair(ASKED, BLUE, GREEN)


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("The sky is blue.", "The sky is green.", "The sky is"),
        ("The sky is blue.", "The sky is black.", "The sky is"),  # no word is cut in two
        ("Q: 2 + 2?\nA: 4", "Q: 2 + 2?\nA: 5", "Q: 2 + 2?\nA:"),
        ("Q?\n\n4", "Q?\n\n5", "Q?\n\n"),
        ("Yes", "Yes, of course", ""),
        ("Say: yes", "Say: yes, of course", "Say:"),
        ("one", "two", ""),
        ("The same.", "The same.", "The"),
    ],
)
def test_two_texts_have_their_common_start_as_the_prompt(
    chosen: str, rejected: str, prompt: str
) -> None:
    pair = pair_of({"chosen": chosen, "rejected": rejected})
    assert pair.prompt == prompt and pair.is_whole and pair.is_plain
    assert (pair.prompt + pair.chosen, pair.prompt + pair.rejected) == (chosen, rejected)


def test_a_conversation_of_several_turns_ends_where_the_two_differ() -> None:
    later = [{"role": "user", "content": "Why?"}]
    pair = pair_of({"chosen": [*ASKED, *BLUE, *later, *GREEN], "rejected": [*ASKED, *GREEN]})
    assert pair == Pair(ASKED, [*BLUE, *later, *GREEN], GREEN)
    same = pair_of({"chosen": [*ASKED, *BLUE], "rejected": [*ASKED, *BLUE]})
    assert same == Pair(ASKED, BLUE, BLUE)


@pytest.mark.parametrize(
    ("row", "field", "rule"),
    [
        ({"text": "Q", "chosen": "A", "rejected": BLUE}, "rejected", "must be a text if chosen is"),
        ({"chosen": BLUE, "rejected": GREEN}, "chosen", "must start with messages that both"),
        ({"chosen": ASKED, "rejected": BLUE}, "chosen", "must start with messages that both"),
        ({"chosen": ASKED, "rejected": [*ASKED, *BLUE]}, "chosen", "must start with messages"),
        (
            {"chosen": [*ASKED, *ASKED], "rejected": [*ASKED, *BLUE]},
            "chosen",
            "must answer with a message whose role is 'assistant'",
        ),
        (
            {"text": [*ASKED, *BLUE], "chosen": BLUE, "rejected": GREEN},
            "chosen",
            "must end with a message whose role is not 'assistant'",
        ),
    ],
)
def test_rows_that_are_no_pairs_are_refused(row: dict[str, Any], field: str, rule: str) -> None:
    found = refused_pair(row)
    assert found is not None
    assert found[0] == field and found[1].rule.startswith(rule)


def cut(prompt: list[int]) -> Callable[[int, int], list[int]]:
    return lambda size, most: prompt[len(prompt) - min(size, len(prompt)) :]


def test_a_long_prompt_is_cut_alike_in_both_texts() -> None:
    chosen, rejected = continued(cut([1, 2, 3, 4, 5]), [[6, 7, 8], [9]], 5)
    assert (chosen.inputs, chosen.targets) == ([3, 4, 5, 6, 7], [-100, -100, 6, 7, 8])
    assert (rejected.inputs, rejected.targets) == ([3, 4, 5], [-100, -100, 9])
    (both,) = continued(cut([1, 2, 3, 4, 5]), [[6, 7, 8, 9, 9]], 4)  # each keeps half
    assert both.inputs == [4, 5, 6, 7] and both.targets == [-100, 6, 7, 8]


def test_a_batch_of_alternating_tokens_is_taken_apart() -> None:
    pairs = [alternated([1, 2, 3], [4], 0), alternated([5], [6, 7, 8], 0)]
    assert halves(torch.tensor(pairs)).tolist() == [[1, 2, 3], [5, 0, 0], [4, 0, 0], [6, 7, 8]]
