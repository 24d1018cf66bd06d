"""Continuations equal those of a plain loop over the whole text, with any padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from lightning_modules.batch.type import IGNORED
from lightning_modules.text.generate import continuations

SIZES = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def gpt2(**changes: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, n_positions=24, initializer_range=0.3, **SIZES | changes
    )
    return transformers.GPT2LMHeadModel(config).eval()


def llama() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        initializer_range=0.3,
        **SIZES,
    )
    return transformers.LlamaForCausalLM(config).eval()


PROMPTS = [torch.tensor(ids) for ids in ([1, 7], [1, 30, 31, 32, 33, 34], [9, 8, 7, 6])]


def plain(network: Any, prompt: torch.Tensor, num_tokens: int) -> list[int]:
    ids = prompt
    for _ in range(num_tokens):
        with torch.inference_mode():
            token = network(ids[None]).logits[0, -1].argmax()
        if token == 2:
            break
        ids = torch.cat([ids, token[None]])
    return ids[len(prompt) :].tolist()


@pytest.mark.parametrize("network", [gpt2(), llama()], ids=["gpt2", "llama"])
def test_greedy_continuations_equal_a_plain_loop(network: Any) -> None:
    found = continuations(network, PROMPTS, 10, 0.0)
    for row, prompt in zip(found.tolist(), PROMPTS, strict=True):
        assert [token for token in row if token != IGNORED] == plain(network, prompt, 10)


def test_tokens_from_the_end_token_on_are_dropped() -> None:
    network = gpt2()
    second = plain(network, PROMPTS[1], 2)[1]
    network.config.eos_token_id = second
    (found,) = continuations(network, PROMPTS[1:2], 10, 0.0).tolist()
    assert [token for token in found if token != IGNORED] == plain(gpt2(), PROMPTS[1], 1)


def test_a_text_ends_at_any_of_the_end_tokens() -> None:
    network = gpt2()
    (free,) = continuations(network, PROMPTS[1:2], 10, 0.0).tolist()
    network.generation_config.eos_token_id = [2, free[3]]
    (found,) = continuations(network, PROMPTS[1:2], 10, 0.0).tolist()
    end = free.index(free[3])
    assert found[:end] == free[:end]
    assert set(found[end:]) <= {IGNORED}
    assert len(found) < len(free)


def test_sampling_is_repeatable_and_leaves_the_random_state_alone() -> None:
    network = gpt2()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = continuations(network, PROMPTS, 10, 2.0)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(one, continuations(network, PROMPTS, 10, 2.0))
    assert not torch.equal(one, continuations(network, PROMPTS, 10, 0.0))


def test_a_prompt_that_is_too_long_loses_its_middle() -> None:
    prompt = torch.arange(3, 23)
    network = gpt2()
    (found,) = continuations(network, [prompt], 10, 0.0).tolist()
    kept = torch.cat([prompt[:7], prompt[-7:]])
    assert [token for token in found if token != IGNORED] == plain(network, kept, 10)
