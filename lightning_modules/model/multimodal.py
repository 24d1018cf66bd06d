"""Decoders inside a model that reads pictures or sound too, e.g. Gemma 3 of 4B and more.

transformers wraps such a decoder, with the other parts (a vision tower, a projector) beside it, and
has an Auto class of its own for the whole. A text passes through the decoder alone. So the other
parts are frozen, get no adapters, and are exported as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

WRITER = "AutoModelForCausalLM"
WRAPPED_WRITER = "AutoModelForImageTextToText"
PROCESSOR_FILES = (
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)
"""What reads pictures beside the tokenizer; servers want it even if all inputs are texts."""


def wraps_decoder(config: Mapping[str, Any]) -> bool:
    """Return whether a config.json is of such a model, by transformers' own list of them."""
    text = config.get("text_config")
    if not isinstance(text, Mapping) or text.get("is_encoder_decoder"):
        return False
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return config.get("model_type") in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def auto_class_of(auto_class: str, config: Mapping[str, Any]) -> str:
    """Return the Auto class that loads a model of this config.json with that head.

    `AutoModelForCausalLM` would refuse some of these models, and drop the other parts of others.
    """
    return WRAPPED_WRITER if auto_class == WRITER and wraps_decoder(config) else auto_class


def decoder_of(network: Any) -> nn.Module | None:
    """Return the decoder inside; None if the network is no such model."""
    config = getattr(network, "config", None)
    if config is None or not wraps_decoder(config.to_dict()):
        return None
    decoder: nn.Module = _wrapper(network).get_decoder()
    return decoder


def other_parts(network: Any) -> list[str]:
    """Return the names of the modules that no text passes through, outermost ones only."""
    decoder = decoder_of(network)
    if decoder is None:
        return []
    inside, wrapper = _inside(network, decoder), _wrapper(network)
    start = next(name for name, module in network.named_modules() if module is wrapper)
    return list(_others(wrapper, start, inside))


def freeze_others(network: Any) -> None:
    """Freeze what no text passes through."""
    decoder = decoder_of(network)
    if decoder is not None:
        _wrapper(network).requires_grad_(False)
        for module in (decoder, network.get_output_embeddings()):
            if module is not None:
                module.requires_grad_(True)


def _wrapper(network: Any) -> Any:
    """Return the module with all parts but a head."""
    return getattr(network, str(network.base_model_prefix), network)


def _inside(network: Any, decoder: nn.Module) -> set[int]:
    output = network.get_output_embeddings()
    return {id(decoder)} | ({id(output)} if output is not None else set())


def _others(module: nn.Module, path: str, inside: set[int]) -> Iterator[str]:
    for name, child in module.named_children():
        full = f"{path}.{name}" if path else name
        if not inside & {id(each) for each in child.modules()}:
            yield full
        elif id(child) not in inside:
            yield from _others(child, full, inside)
