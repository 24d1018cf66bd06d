"""Generate continuations of token sequences with a causal language model.

Greedy, or sampled at a temperature: p(token) is proportional to exp(logit / temperature). Sampling
has its own seed, so the same batch always gets the same continuations.

Shapes: B batch, P tokens of the longest prompt, G generated tokens at most.
Cost: one forward pass per token, with the keys and values of earlier tokens cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from lightning_modules.batch.type import IGNORED
from lightning_modules.model.end import end_tokens
from lightning_modules.seed import seeded

if TYPE_CHECKING:
    from torch import Tensor

_LENGTHS = ("n_positions", "max_position_embeddings")


def continuations(
    network: Any, prompts: Sequence[Tensor], max_new_tokens: int, temperature: float
) -> Tensor:
    """Return the tokens after each prompt, (B, G), with `IGNORED` from the end token on.

    If a prompt and its continuation exceed the network's maximum length, the prompt loses its
    middle, down to half of that length.

    Args:
        network: A causal language model in evaluation mode.
        prompts: Token IDs, one tensor per prompt.
        max_new_tokens: Most tokens of a continuation.
        temperature: 0 is greedy.

    """
    from transformers import GenerationConfig

    config = network.config.get_text_config(decoder=True)
    positions = _num_positions(config)
    if positions is not None:
        max_prompt = max(positions - max_new_tokens, positions // 2)
        prompts = [_without_middle(prompt, max_prompt) for prompt in prompts]
        max_new_tokens = min(max_new_tokens, positions - max(map(len, prompts)))
    ends = end_tokens(network)
    padding = getattr(network.config, "pad_token_id", None)
    if padding is None:
        padding = (ends or [0])[0]
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=temperature > 0,
        **({"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}),
        num_beams=1,
        repetition_penalty=1.0,
        eos_token_id=ends or None,
        pad_token_id=padding,
    )
    masks = [torch.ones_like(prompt) for prompt in prompts]
    ids_BP = pad_sequence(list(prompts), True, padding, padding_side="left")
    mask_BP = pad_sequence(masks, True, 0, padding_side="left")
    with seeded(0, "continuations"):
        found = network.generate(
            input_ids=ids_BP, attention_mask=mask_BP, generation_config=settings
        )
    return _until_end(found[:, ids_BP.shape[1] :].cpu(), ends)


def _without_middle(prompt: Tensor, size: int) -> Tensor:
    if len(prompt) <= size:
        return prompt
    return torch.cat([prompt[: (size + 1) // 2], prompt[len(prompt) - size // 2 :]])


def _num_positions(config: Any) -> int | None:
    found = [value for name in _LENGTHS if (value := getattr(config, name, None)) is not None]
    return int(found[0]) if found else None


def _until_end(ids_BG: Tensor, ends: Sequence[int]) -> Tensor:
    is_end_BG = torch.isin(ids_BG, torch.tensor(ends, dtype=ids_BG.dtype))
    return ids_BG.masked_fill(is_end_BG.cumsum(dim=1) > 0, IGNORED)
