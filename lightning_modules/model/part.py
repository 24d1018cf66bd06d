"""Find the backbone, the head and the layers of a transformers network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lightning_modules.model.head import is_backbone, writes
from lightning_modules.model.multimodal import decoder_of

if TYPE_CHECKING:
    from torch import nn

# Parts of a backbone that some networks keep next to the head, e.g. T5's for question answering.
_OF_BACKBONES = frozenset(("shared", "encoder", "decoder"))
# Modules after a backbone's last layer.
_AFTER_LAYERS = frozenset(("pooler", "ln_f", "norm", "final_norm", "final_layer_norm"))


def backbone_of(network: nn.Module) -> nn.Module:
    """Return the pretrained part that reads texts; for a language model with its head."""
    decoder = decoder_of(network)
    if decoder is not None:
        return decoder
    if writes(network):
        return network
    backbone: nn.Module = getattr(network, str(network.base_model_prefix), network)
    return backbone


def new_parts(network: nn.Module) -> list[str]:
    """Return the names of the modules without pretrained weights.

    These are the whole head, because PEFT on its own would adapt DistilBERT's pre_classifier or
    DeBERTa's pooler, and the parts of the backbone missing from the weights, e.g. the pooler of a
    BERT trained only on masked words: an adapter on random weights is useless without them.
    """
    head = [] if writes(network) else list(_head(network))
    drawn = {name.rpartition(".")[0] for name in getattr(network, "drawn", ())}
    inside = tuple(f"{name}." for name in head)
    return [*head, *sorted(n for n in drawn if n not in head and not n.startswith(inside))]


def stacks_of(backbone: nn.Module) -> list[Any]:
    """Return the lists of layers, bottom layer first: one, or an encoder's and a decoder's."""
    from torch import nn

    stacks: dict[str, nn.ModuleList] = {}
    for name, module in backbone.named_modules():
        # A T5 layer contains a list itself.
        inner = any(name.startswith(f"{outer}.") for outer in stacks)
        if isinstance(module, nn.ModuleList) and len(module) and not inner:
            stacks[name] = module
    return list(stacks.values())


def repeated_layers(network: nn.Module) -> list[nn.Module]:
    """Return the layers that a network repeats, e.g. of its encoder and then of its decoder.

    They are those that transformers can compute again, and the outermost of them.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers: list[nn.Module] = []
    for child in network.children():
        is_layer = isinstance(child, GradientCheckpointingLayer)
        layers += [child] if is_layer else repeated_layers(child)
    return layers


def modules_after_layers(backbone: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules after the backbone's last layer, e.g. a norm or a pooler."""
    inner = {id(part) for stack in stacks_of(backbone) for part in stack.modules()}
    for name, module in backbone.named_modules():
        if name.rpartition(".")[2] in _AFTER_LAYERS and id(module) not in inner:
            yield module


def modules_before_layers(backbone: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that a backbone has before its first list of layers, e.g. embeddings.

    In most architectures they are also used before it.
    """
    first = next(iter(stacks_of(backbone)), None)
    for module in backbone.modules():
        if module is first:
            return
        if not any(part is first for part in module.modules()):
            yield module


def linear_layers(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield each linear layer with its name, including GPT-2's Conv1D."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            yield name, module


def routers(network: nn.Module) -> list[str]:
    """Return the names of linear layers that return more than a product, e.g. Llama 4's routers."""
    from torch import nn

    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
        and type(module).__module__.startswith("transformers.models.")
        and type(module).forward is not nn.Linear.forward
    ]


def _head(network: nn.Module) -> Iterator[str]:
    if is_backbone(network):
        return
    prefix = str(network.base_model_prefix)
    backbone = {prefix} if hasattr(network, prefix) else _OF_BACKBONES
    for name, part in network.named_children():
        if name not in backbone and any(True for _ in part.parameters()):
            yield name
