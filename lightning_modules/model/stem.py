"""The frozen part of a network below everything that is trained, run apart from the rest.

It computes the same of an example in every epoch and in every trial. What it computes, the
features, can be given to the network as `features`, besides its inputs or, if the network reads
nothing else, in place of them.

Shapes: B batch, T tokens, D width.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_modules.machine.memory import is_out_of_memory
from lightning_modules.model.mode import evaluating, switch
from lightning_modules.model.part import backbone_of, stacks_of

TOLERANCE = 1e-4
"""How far an example's features may be from those of the same example among others, by rounding."""


class Stem(ABC):
    """A frozen part, and how the rest of the network trains without it.

    Attributes:
        name: What it is called among the stems of the same network.
        network: The network.

    """

    per_token: ClassVar[bool]
    """Whether it has a vector for each token, (B, T, D), not one for each example, (B, D)."""

    def __init__(self, network: nn.Module, name: Hashable) -> None:
        self.network = network
        self.name = name

    @property
    @abstractmethod
    def config(self) -> Any:
        """The configuration of what is frozen."""

    @abstractmethod
    def read(self, **inputs: Tensor) -> Tensor:
        """Return the features of a batch, which depend on these inputs and frozen weights alone."""

    def probe(self) -> Hashable | None:
        """Try it on a few tokens; return what `start` needs, None if it is not of use."""
        return True

    def start(self, found: Hashable) -> None:
        """Let the network take features, given what `probe` found in an equal network."""
        assert found is not None

    def content(self) -> str:
        """Return a text that is equal for stems that compute the same."""
        sums = [_sum_of(each) for each in _frozen(self.network)]
        attention = getattr(self.config, "_attn_implementation", None)
        # Code that comes with a model has the name of its revision in its module's.
        kinds = {type(each) for each in self.network.modules()}
        names = sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
        return (
            f"{names} {self.name} {attention} {self.config.to_json_string(use_diff=False)} {sums}"
        )


class LayersStem(Stem):
    """The embeddings and the frozen lowest layers of a network that has one list of layers.

    While features are given, each frozen layer passes on what it gets, and the top one returns the
    features. Masks and positions are still computed from the inputs, as the trained layers need.
    """

    per_token = True

    def __init__(self, network: nn.Module, frozen: Sequence[nn.Module]) -> None:
        super().__init__(network, ("layers", len(frozen)))
        self._layers = frozen
        self._features: Tensor | None = None
        self._reads = False
        self._num_outputs = 0

    @property
    def config(self) -> Any:
        return self.network.config

    def read(self, **inputs: Tensor) -> Tensor:
        self._reads = True
        try:
            self.network(**inputs)
        except _Read as reached:
            return reached.features_BTD
        finally:
            self._reads = False
        raise AssertionError("the network has passed by its layers")

    def probe(self) -> Hashable | None:
        """Return the number of outputs of a layer, 0 if it is a tensor; None if it is not of use.

        Some layers hand on more than a vector a token, e.g. T5's the biases of positions. In some
        networks a part below the layers draws dropout, or is trained.
        """
        self.start(0)
        ids_BT = torch.arange(10, device=next(self.network.parameters()).device).view(2, 5) + 3
        mask_BT = torch.ones_like(ids_BT)
        mask_BT[1, 3:] = 0
        ids_BT[1, 3:] = getattr(self.config, "pad_token_id", None) or 0
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT}
        alone = {name: each[1:, :3] for name, each in inputs.items()}
        try:
            devices = [ids_BT.device] if ids_BT.device.type == "cuda" else []
            with torch.random.fork_rng(devices), torch.no_grad():
                with evaluating(self.network):
                    features_BTD = self.read(**inputs)
                    self._note_outputs(inputs)
                    whole = self.network(**inputs)
                    parted = self.network(**inputs, features=features_BTD)
                    near = torch.allclose(
                        self.read(**alone)[0].float(),
                        features_BTD[1, :3].float(),
                        rtol=TOLERANCE,
                        atol=TOLERANCE * float(features_BTD.abs().max()),
                    )
                drawn_BTD = self._read_training(inputs)
            is_frozen = not self._read_training(inputs).requires_grad
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
            if is_out_of_memory(error):
                raise
            return None
        is_same = torch.equal(features_BTD, drawn_BTD) and _are_equal(whole, parted)
        return self._num_outputs if near and is_same and is_frozen else None

    def start(self, found: Hashable) -> None:
        assert isinstance(found, int)
        self._num_outputs = found
        if isinstance(self._layers[0].forward, _Layer):
            return
        self.network.register_forward_pre_hook(self._take, with_kwargs=True)
        self.network.register_forward_hook(self._forget, always_call=True)
        network: Any = self.network
        network.left_out = tuple(self._layers)
        for layer in self._layers:
            forward: Any = _Layer(layer.forward, self, is_top=layer is self._layers[-1])
            layer.forward = forward

    def _note_outputs(self, inputs: dict[str, Tensor]) -> None:
        outputs: list[Any] = []
        top = self._layers[-1]
        handle = top.register_forward_hook(lambda module, inputs, output: outputs.append(output))
        try:
            self.network(**inputs)
        finally:
            handle.remove()
        (output,) = outputs
        if isinstance(output, Tensor):
            self._num_outputs = 0
            return
        if any(each is not None for each in output[1:]):
            raise ValueError("the layers hand on more than a vector per token")
        self._num_outputs = len(output)

    def _read_training(self, inputs: dict[str, Tensor]) -> Tensor:
        restore = switch(self.network, training=True)
        try:
            return self.read(**inputs)
        finally:
            restore()

    def _take(self, network: nn.Module, args: Any, inputs: dict[str, Any]) -> Any:
        self._features = inputs.pop("features", None)
        return args, inputs

    def _forget(self, network: nn.Module, args: Any, output: Any) -> None:
        self._features = None

    def pass_on(self, forward: Callable[..., Any], is_top: bool, args: Any, inputs: Any) -> Any:
        """Return the outputs of a frozen layer."""
        if self._features is None:
            outputs = forward(*args, **inputs)
            if is_top and self._reads:
                raise _Read(outputs if isinstance(outputs, Tensor) else outputs[0])
            return outputs
        given = self._features if is_top else args[0] if args else inputs["hidden_states"]
        return (given, *[None] * (self._num_outputs - 1)) if self._num_outputs else given


def layers_stem(network: nn.Module, num_trained: int) -> LayersStem | None:
    """Return what is below the top `num_trained` layers; None if there are several lists of layers.

    The decoder of an encoder-decoder reads what trained layers of the encoder return.
    """
    stacks = stacks_of(backbone_of(network))
    if len(stacks) != 1:
        return None
    frozen = list(stacks[0])[: len(stacks[0]) - num_trained]
    return LayersStem(network, frozen) if frozen else None


class _Read(Exception):
    """The top frozen layer has been reached; what is above it need not run."""

    def __init__(self, features_BTD: Tensor) -> None:
        super().__init__()
        self.features_BTD = features_BTD


class _Layer:
    """The forward pass of a frozen layer."""

    def __init__(self, forward: Callable[..., Any], stem: LayersStem, *, is_top: bool) -> None:
        self._forward = forward
        self._stem = stem
        self._is_top = is_top

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        return self._stem.pass_on(self._forward, self._is_top, args, inputs)


def _are_equal(whole: Any, parted: Any) -> bool:
    """Return whether all tensors of two outputs are equal."""
    pairs = [(whole[name], parted[name]) for name in whole if isinstance(whole[name], Tensor)]
    return bool(pairs) and all(torch.allclose(one, other) for one, other in pairs)


def _frozen(network: nn.Module) -> Iterator[Tensor]:
    yield from (each for each in network.parameters() if not each.requires_grad)
    yield from network.buffers()


def _sum_of(tensor: Tensor) -> int:
    flat = tensor.detach().cpu().contiguous().flatten()
    return zlib.crc32(flat.view(torch.uint8).numpy().data) if flat.numel() else 0
