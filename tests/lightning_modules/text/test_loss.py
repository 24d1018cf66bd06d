"""The loss in chunks equals that of all logits, with its gradients, and keeps less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_modules.batch.type import IGNORED
from lightning_modules.model.output import output_layer
from lightning_modules.text.loss import notes_of, target_losses

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
FEW = {name: SIZES[name] for name in SIZES if name not in ("num_key_value_heads", "head_dim")}
WRITER: dict[str, Any] = {"vocab_size": 300, "d_model": 32, "decoder_start_token_id": 0}
NUM_VALUES = 5 * 300  # chunks of five positions

DECODERS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "llama tied": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "mistral": lambda: transformers.MistralConfig(**SIZES),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES),
    "gemma2": lambda: transformers.Gemma2Config(**SIZES, final_logit_softcapping=2.0),
    "gemma3": lambda: transformers.Gemma3TextConfig(**SIZES),
    "granite": lambda: transformers.GraniteConfig(**SIZES, logits_scaling=8.0),
    "cohere": lambda: transformers.CohereConfig(**FEW, logit_scale=0.0625),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**FEW),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=64, eos_token_id=2
    ),
}
WRITERS: dict[str, Callable[[], Any]] = {
    "t5": lambda: transformers.T5Config(**WRITER, d_kv=8, d_ff=64, num_layers=2, num_heads=4),
    "flan_t5": lambda: transformers.T5Config(
        **WRITER, d_kv=8, d_ff=64, num_layers=2, num_heads=4, tie_word_embeddings=False
    ),
    "bart": lambda: transformers.BartConfig(
        **WRITER,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        eos_token_id=2,
        forced_eos_token_id=2,
    ),
}


def decoder(name: str) -> Any:
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(DECODERS[name]())


def writer(name: str) -> Any:
    torch.manual_seed(0)
    network = transformers.AutoModelForSeq2SeqLM.from_config(WRITERS[name]())
    if name == "bart":
        network.final_logits_bias.copy_(torch.randn(1, 300))
    return network


def adapted(network: Any, config: Any) -> Any:
    torch.manual_seed(0)
    network = peft.get_peft_model(network, config)
    for parameter in network.parameters():  # B of LoRA starts at 0, where A has no gradient
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    return network


LORA: dict[str, Callable[[], Any]] = {
    "lora": lambda: peft.LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"),
    "lora on the output layer": lambda: peft.LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj", "lm_head"]
    ),
    "a saved output layer": lambda: peft.LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=["lm_head"]
    ),
    "prompt tuning": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "prefix tuning": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
}


def labels(*shape: int) -> Tensor:
    """Return targets of answers behind prompts: some rows have few of them, one has none."""
    torch.manual_seed(1)
    found = torch.randint(5, 300, shape)
    found[:, :4] = IGNORED
    found[1, 6:] = IGNORED
    found[2] = IGNORED
    return found


def inputs(network: Any) -> dict[str, Any]:
    ids = torch.randint(5, 300, (4, 12), generator=torch.Generator().manual_seed(2))
    given: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if network.config.is_encoder_decoder:
        given["decoder_input_ids"] = ids.flip(0)
    return {**given, "use_cache": False}


def gradients(network: Any, loss: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    named = network.named_parameters()
    return {name: each.grad.clone() for name, each in named if each.grad is not None}


def whole_loss(network: Any, wanted: Tensor, smoothing: float = 0.0) -> Tensor:
    logits = network(**inputs(network)).logits[:, -wanted.shape[1] :].float()
    return cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), reduction="sum", label_smoothing=smoothing
    )


def assert_equals_whole(network: Any, smoothing: float = 0.0, tolerance: float = 2e-5) -> None:
    """Compare with all logits, in chunks and in a single one, in evaluation and in training."""
    wanted_BT = labels(4, 12)
    assert output_layer(network) is not None
    for size in (NUM_VALUES, 2**20):
        network.eval()
        wanted = whole_loss(network, wanted_BT, smoothing)
        by_whole = gradients(network, wanted)
        found = target_losses(network, inputs(network), wanted_BT, smoothing, size)
        by_found = gradients(network, found.loss_sum)
        torch.testing.assert_close(found.loss_sum, wanted, rtol=tolerance, atol=0)
        torch.testing.assert_close(found.per_row(4).sum().float(), wanted, rtol=tolerance, atol=0)
        assert found.per_row(4)[2] == 0
        assert by_found.keys() == by_whole.keys()
        for name, gradient in by_whole.items():
            scale = float(gradient.abs().max())
            torch.testing.assert_close(
                by_found[name], gradient, rtol=0, atol=1e-7 + tolerance * scale, msg=name
            )


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_has_the_loss_and_gradients_of_all_logits(name: str) -> None:
    assert_equals_whole(decoder(name))


@pytest.mark.parametrize("name", WRITERS)
def test_an_encoder_decoder_has_the_loss_and_gradients_of_all_logits(name: str) -> None:
    assert_equals_whole(writer(name), smoothing=0.1)


@pytest.mark.parametrize("name", LORA)
def test_an_adapter_has_the_loss_and_gradients_of_all_logits(name: str) -> None:
    assert_equals_whole(adapted(decoder("llama"), LORA[name]()))


def test_dropout_is_that_of_all_logits() -> None:
    network, wanted_BT = decoder("gpt2").train(), labels(4, 12)
    output_layer(network)
    torch.manual_seed(3)
    wanted = whole_loss(network, wanted_BT)
    torch.manual_seed(3)
    found = target_losses(network, inputs(network), wanted_BT, 0.0, NUM_VALUES)
    torch.testing.assert_close(found.loss_sum, wanted)


def test_autocast_trains_every_parameter_from_the_first_pass_on() -> None:
    network, wanted_BT = decoder("llama"), labels(4, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = target_losses(network, inputs(network), wanted_BT, 0.0, NUM_VALUES).loss_sum
        first = gradients(network, found)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = whole_loss(network, wanted_BT)
        by_whole = gradients(network, wanted)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=0)
    assert first.keys() == by_whole.keys() == {name for name, _ in network.named_parameters()}
    for name, gradient in by_whole.items():
        atol = 0.05 * float(gradient.abs().max())
        torch.testing.assert_close(first[name], gradient, rtol=0, atol=atol, msg=name)


class Doubling(transformers.LlamaForCausalLM):
    """Doubles the logits of even tokens."""

    def forward(self, *args: Any, **given: Any) -> Any:
        output = super().forward(*args, **given)
        factor = 2.0 - torch.arange(output.logits.shape[-1]) % 2
        output.logits = output.logits * factor
        return output


def test_logits_of_an_unknown_kind_are_computed_as_a_whole() -> None:
    torch.manual_seed(0)
    network, wanted_BT = Doubling(DECODERS["llama"]()), labels(4, 12)
    assert output_layer(network) is None
    (note,) = notes_of(network)
    assert note.startswith("Doubling changes its logits in a way that finesweep does not know")
    assert not list(notes_of(decoder("llama")))
    found = target_losses(network, inputs(network), wanted_BT, 0.0, NUM_VALUES)
    wanted = whole_loss(network, wanted_BT)
    torch.testing.assert_close(found.loss_sum, wanted)
    by_whole, by_found = gradients(network, wanted), gradients(network, found.loss_sum)
    for name, gradient in by_whole.items():
        torch.testing.assert_close(by_found[name], gradient)


def test_a_batch_without_targets_has_no_loss_and_gradients_of_zero() -> None:
    network = decoder("llama")
    nothing = torch.full((4, 12), IGNORED)
    found = target_losses(network, inputs(network), nothing, 0.0, NUM_VALUES)
    assert found.loss_sum == 0
    assert not any(each.any() for each in gradients(network, found.loss_sum).values())


class Kept:
    """Counts the bytes of the tensors that passes keep for their backward pass."""

    now = most = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.size = tensor, tensor.numel() * tensor.element_size()
        Kept.now += self.size
        Kept.most = max(Kept.most, Kept.now)

    def __del__(self) -> None:
        Kept.now -= self.size

    @classmethod
    def by(cls, num_rows: int, num_logits: int, chunk_values: int) -> tuple[int, int]:
        """Return the bytes that a loss keeps, and the most at any time."""
        config = transformers.LlamaConfig(**{**SIZES, "vocab_size": num_logits})
        network = transformers.AutoModelForCausalLM.from_config(config)
        network.lm_head.requires_grad_(requires_grad=False)
        ids = torch.randint(5, 300, (num_rows, 16))
        assert output_layer(network) is not None
        before, cls.most = cls.now, cls.now
        with torch.autograd.graph.saved_tensors_hooks(cls, lambda kept: kept.tensor):
            loss = target_losses(
                network, {"input_ids": ids, "use_cache": False}, ids, 0.0, chunk_values
            )
        assert loss.loss_sum.requires_grad
        return cls.now - before, cls.most - before


def test_what_is_kept_does_not_grow_with_tokens_times_vocabulary() -> None:
    chunk = 2**15
    small, large = Kept.by(8, 1000, chunk), Kept.by(8, 4000, chunk)
    double = Kept.by(16, 4000, chunk)
    assert large[0] == small[0]
    assert double[0] < 2.01 * large[0]
    # A chunk keeps the log-probabilities and some vectors, and refers to the frozen weights.
    of_chunk = 2 * 4 * chunk + 4 * 4000 * 32
    assert max(large[1] - large[0], double[1] - double[0]) < of_chunk
    assert Kept.by(16, 4000, 2**30)[0] > double[0] + 4 * 16 * 16 * 4000  # all logits at once
