"""Near duplicates: the pairs are those of comparing everything with everything."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from lightning_modules.rows import near
from lightning_modules.rows.corpus import normalized
from lightning_modules.rows.near import LEAST, grams, jaccard, near_pairs
from tests.lightning_modules.quality.texts import sentences


def changed(text: str, draw: random.Random) -> str:
    """Return the text with one character replaced."""
    at = draw.randrange(len(text))
    return f"{text[:at]}x{text[at + 1 :]}"


def test_the_pairs_are_those_of_all_comparisons() -> None:
    draw = random.Random(3)
    texts = sentences(150)
    texts += [changed(text, draw) for text in texts[:60]]
    expected = {
        both
        for both in combinations(range(len(texts)), 2)
        if jaccard(texts[both[0]], texts[both[1]]) >= LEAST
    }
    found = {(pair.first, pair.second): pair.jaccard for pair in near_pairs(texts).pairs}
    assert len(expected) > 30
    assert set(found) == expected
    assert all(value == jaccard(texts[a], texts[b]) for (a, b), value in found.items())


def test_short_pairs_are_found_like_long_texts() -> None:
    draw = random.Random(3)
    lines = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz ", k=14)) for _ in range(100)]
    texts = [f"yes\n{mark}{line[1:]}" for line in lines for mark in "01"]
    assert jaccard(texts[0], texts[1]) == 9 / 11  # while 5-grams across the lines are 9 of 17
    found = [(pair.first, pair.second) for pair in near_pairs(texts).pairs]
    assert found == [(number, number + 1) for number in range(0, 200, 2)]


def test_similarity_is_that_of_the_sets_of_5_grams() -> None:
    one, other = "abcdefgh", "abcdefgx"
    assert grams(one) == {"abcde", "bcdef", "cdefg", "defgh"}
    assert jaccard(one, other) == 3 / 5
    assert jaccard("abc", "abc") == 1 and jaccard("", "") == 1 and jaccard("abc", "abd") == 0


def test_only_different_sides_are_compared() -> None:
    text = sentences(1)[0]
    texts = [text, f"{text}!", f"{text}?"]
    assert [(pair.first, pair.second) for pair in near_pairs(texts).pairs] == [
        (0, 1),
        (0, 2),
        (1, 2),
    ]
    pairs = near_pairs(texts, side=[0, 0, 1]).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 2), (1, 2)]


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["ab", "ab", "\ud800 half", "日本語"]])
def test_short_and_odd_texts(texts: list[str]) -> None:
    equal = [(a, b) for a, b in combinations(range(len(texts)), 2) if texts[a] == texts[b]]
    assert [(pair.first, pair.second) for pair in near_pairs(texts).pairs] == equal


def test_a_text_among_many_equal_ones_is_compared_with_the_other_side() -> None:
    text = normalized(sentences(1)[0])
    texts = [text] * 200 + [f"{text}."]
    pairs = near_pairs(texts, side=[0] * 200 + [1]).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [(each, 200) for each in range(200)]


def test_the_search_ends_after_a_number_of_characters() -> None:
    texts = [f"{sentence}{mark}" for sentence in sentences(20) for mark in ".!"]
    whole = near_pairs(texts)
    assert whole.is_complete and len(whole.pairs) == 20
    cut = near_pairs(texts, max_characters=10 * len(texts[0]))
    assert not cut.is_complete and set(cut.pairs) < set(whole.pairs)


def test_the_search_ends_after_a_number_of_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{sentence}{mark}" for sentence in sentences(20) for mark in ".!"]
    monkeypatch.setattr(near, "MAX_CANDIDATES", 5)
    cut = near_pairs(texts)
    assert not cut.is_complete and len(cut.pairs) == 5
