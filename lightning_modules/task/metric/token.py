"""Metrics over all targets of a language model: per token, per character and per byte."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
