"""Metrics over all targets of a language model: per token, per character and per byte."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def token_scores(observed: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the metrics over tokens, characters and bytes."""
    nats = float(observed["nats_B"].sum())
    nats_per_token = nats / int(observed["num_targets_B"].sum())
    return {
        "perplexity": math.exp(nats_per_token) if nats_per_token < 700 else math.inf,
        "nats_per_token": nats_per_token,
        "nats_per_character": nats / int(observed["num_characters_B"].sum()),
        "bits_per_byte": nats / math.log(2) / int(observed["num_bytes_B"].sum()),
    }


def shares_entropy(texts: Sequence[str] | Sequence[bytes] | Sequence[Sequence[int]]) -> float:
    """Return the entropy of the texts' characters, bytes or tokens, in nats for each of them.

    It is what a guess by their shares scores.

    >>> round(shares_entropy(["ab", "ba"]), 4)
    0.6931
    """
    counts: Counter[str | int] = Counter()
    for text in texts:
        counts.update(text)
    total = sum(counts.values())
    return -sum(count / total * math.log(count / total) for count in counts.values())
