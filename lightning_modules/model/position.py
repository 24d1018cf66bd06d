"""How many tokens a network reads, by its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_modules.model.pair import PAIR

# In these a text's first position is pad_token_id + 1, and the positions before it are unused.
_POSITIONS_START_AFTER_PADDING = frozenset(
    (
        "camembert",
        "data2vec-text",
        "ibert",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    )
)


def num_positions(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens a network with this configuration reads; None if it sets no limit."""
    if config.get("model_type") == PAIR:
        return num_positions(config["encoder"])
    # T5 has no such limit, and GPT-2 has its own name for it.
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    text = config.get("text_config")
    if positions is None and isinstance(text, Mapping):
        return num_positions(text)
    if config.get("model_type") == "t5" or not isinstance(positions, int):
        return None
    if config.get("model_type") in _POSITIONS_START_AFTER_PADDING:
        padding = config.get("pad_token_id")
        return positions - 1 - (padding if isinstance(padding, int) else 1)
    return positions
