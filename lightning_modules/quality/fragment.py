"""Words that the tokenizer breaks up, which the model has to spell out of pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lightning_modules.quality.finding import Finding, shown
from lightning_modules.quality.listing import Listing

MANY = 4
"""From this number of tokens on, a word is broken up."""
MUCH = 2.0
"""From this number of tokens per word on, the tokenizer does not suit the texts."""
MOST_ROWS = 5_000
NUM_WORDS = 100


@dataclass(frozen=True)
class Broken:
    """A word with its number of tokens and how often it occurs."""

    word: str
    tokens: int
    times: int


@dataclass(frozen=True)
class Fragments(Finding):
    """How the tokenizer splits words, which are separated by spaces.

    Attributes:
        tokenizer: The model whose tokenizer it is.
        tokens_per_word: Mean number of tokens of a word.
        broken: Share of the words that become `MANY` tokens or more.
        unknown: Share of the words with a token for unknown characters.
        words: The broken words that occur most often.

    """

    tokenizer: str
    tokens_per_word: float
    broken: float
    unknown: float
    words: Sequence[Broken]

    name: ClassVar[str] = "fragments"

    @property
    def is_fault(self) -> bool:
        return self.tokens_per_word >= MUCH or self.unknown >= 0.01

    def line(self) -> str:
        return (
            f"{self.tokens_per_word:.2f} tokens of {self.tokenizer} per word; {self.broken:.1%} of "
            f"the words become {MANY} or more, {self.unknown:.1%} have an unknown character"
        )

    def details(self) -> Iterator[str]:
        if self.words:
            words = (f"{shown(w.word, 30)} ({w.tokens} x {w.times})" for w in self.words[:10])
            yield ", ".join(words)


def find_fragments(
    listing: Listing, numbers: Sequence[int], tokenizer: Any, model: str
) -> Fragments | None:
    """Tokenize each word of some rows; None if there are none."""
    times = Counter(
        word for number in numbers for word in listing.task.text_of(listing.rows[number]).split()
    )
    words = list(times)
    if not words:
        return None
    pieces = tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    sizes = {word: len(each) for word, each in zip(words, pieces, strict=True)}
    unknown = tokenizer.unk_token_id
    odd = [
        w for w, each in zip(words, pieces, strict=True) if unknown is not None and unknown in each
    ]
    total = sum(times.values())
    broken = sorted((w for w in words if sizes[w] >= MANY), key=lambda word: (-times[word], word))
    return Fragments(
        model,
        round(sum(sizes[word] * times[word] for word in words) / total, 4),
        sum(times[word] for word in broken) / total,
        sum(times[word] for word in odd) / total,
        [Broken(word, sizes[word], times[word]) for word in broken[:NUM_WORDS]],
    )
