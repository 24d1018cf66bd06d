from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor, nn

from lightning_modules.model.part import repeated_layers
from lightning_modules.model.recompute import recompute
from lightning_modules.seed import seed_device

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "vocab_size": 300,
}
DECODER = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}
T5 = {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 4, "num_heads": 4, "vocab_size": 300}
DROPOUTS = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
CONFIGS = {
    "llama": transformers.LlamaConfig(**DECODER, attention_dropout=0.1),
    "qwen3": transformers.Qwen3Config(**DECODER, attention_dropout=0.1),
    "bert": transformers.BertConfig(**SIZES, **DROPOUTS),
    "t5": transformers.T5Config(**T5, dropout_rate=0.1, decoder_start_token_id=0),
}
NUM_LAYERS = {"llama": 4, "qwen3": 4, "bert": 4, "t5": 8}
AUTO_CLASSES = {"bert": "AutoModelForMaskedLM", "t5": "AutoModelForSeq2SeqLM"}


def network_of(name: str, dropout: float, *, lora: bool) -> nn.Module:
    """Return a small random network, the same every time."""
    torch.manual_seed(0)
    config = CONFIGS[name].__class__.from_dict(CONFIGS[name].to_dict())
    config.use_cache = False
    auto = getattr(transformers, AUTO_CLASSES.get(name, "AutoModelForCausalLM"))
    network: nn.Module = auto.from_config(config)
    if lora:
        adapters = peft.LoraConfig(r=4, lora_dropout=dropout, target_modules="all-linear")
        network = peft.get_peft_model(network, adapters)
        for parameter_name, parameter in network.named_parameters():
            if "lora_B" in parameter_name:
                nn.init.normal_(parameter, std=0.1)
    if not dropout:
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.0
    return network.train()


def gradients(network: nn.Module) -> tuple[list[Tensor], int, Tensor]:
    """Return the gradients of a pass, the bytes kept for it, and the next random numbers."""
    places = {each.untyped_storage().data_ptr() for each in network.parameters()}
    sizes: dict[int, int] = {}
    kept: list[Tensor] = []  # so that no place in memory is used twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in places:
            sizes[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    ids_BT = torch.arange(60).view(3, 20) * 7 % 300
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[0, 15:] = 0
    seed_device(torch.device("cpu"), 5)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(input_ids=ids_BT, attention_mask=mask_BT, labels=ids_BT).loss
    loss.backward()
    found = [each.grad for each in network.parameters() if each.grad is not None]
    return found, sum(sizes.values()), torch.rand(3)


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_are_bit_equal_and_less_is_kept(name: str, dropout: float, lora: bool) -> None:
    plain, plain_bytes, next_numbers = gradients(network_of(name, dropout, lora=lora))
    network = network_of(name, dropout, lora=lora)
    assert recompute(network)
    again, again_bytes, again_numbers = gradients(network)
    assert len(plain) == len(again) > 8 and any(each.abs().max() > 1e-3 for each in plain)
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    assert torch.equal(next_numbers, again_numbers)
    assert again_bytes < 0.6 * plain_bytes, (again_bytes, plain_bytes)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_layer_is_found_once(name: str) -> None:
    assert len(repeated_layers(network_of(name, 0.1, lora=True))) == NUM_LAYERS[name]


def test_the_layers_of_a_network_in_evaluation_keep_what_they_kept() -> None:
    network = network_of("bert", 0.1, lora=False).eval()
    _, plain_bytes, _ = gradients(network)
    recompute(network)
    assert gradients(network)[1] == plain_bytes


def test_a_network_without_layers_is_left_alone() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert not recompute(network)


def test_inputs_may_be_passed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The random state is saved for the devices of positional tensors, so one must be passed."""
    from lightning_modules.model import recompute as module

    places: list[Any] = []
    whole = module.checkpoint

    def watched(function: Callable[..., Any], place: Any, *inputs: Any, **settings: Any) -> Any:
        places.append(place)
        return whole(function, place, *inputs, **settings)

    monkeypatch.setattr(module, "checkpoint", watched)
    network: Any = network_of("bert", 0.0, lora=False)
    (layer, *_) = repeated_layers(network)
    recompute(network)
    hidden_BTD = torch.randn(2, 5, 32, requires_grad=True)
    by_name = layer(hidden_states=hidden_BTD)
    by_place = layer(hidden_BTD)
    assert torch.equal(
        *(each[0] if isinstance(each, tuple) else each for each in (by_name, by_place))
    )
    assert all(place is hidden_BTD for place in places) and len(places) == 2
