"""One network that computes the passes of several LoRA runs at once.

The rows of the runs lie side by side along the batch. Each linear layer y = W x becomes, for the
rows of run k, y = W x + s_k B_k A_k x: the frozen base's product is shared, and the adapters of all
runs are two batched products. Smaller ranks are padded with zeros, which adds nothing. The head of
each run computes its own rows. No parameter is in the losses of two runs, so the gradient of their
sum by a run's parameters is that of the run alone.

The runs keep their parameters: each pass copies their values, and adds to their gradients. So
optimizer, clipping, validation, checkpoint and export of a run are those of the run alone.

Cost: a copy of the adapters per pass; kernels per layer as for one run if all have as many rows.
Shapes: K runs, B rows per run, T tokens, I inputs, O outputs, R largest rank, r rank of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn
from transformers.modeling_outputs import ModelOutput

from lightning_modules.batch.passes import Pass
from lightning_modules.fit.pack.draws import Draws
from lightning_modules.fit.pack.layout import CannotShare, Layout, Place, joined
from lightning_modules.model.head import writes
from lightning_modules.model.output import OutputLayer, StandIn, output_layer
from lightning_modules.model.share import sharing_copy

ADAPTER = "default"
"""PEFT's name of the adapter of a run."""
ORIGINAL = ".original_module."
"""PEFT's name of a head as it was loaded, of which a run trains a copy."""


class PackedNetwork:
    """The networks of several runs, called as one.

    Args:
        networks: Of runs that may share passes: PEFT's, alike but for the values of what is
            trained, the ranks and the scales.

    Raises:
        CannotShare: They are not alike, train something else than LoRA and a head, or compute
            their layers again in the backward pass, when no layer knows whose rows it gets.

    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        parts = (part for network in networks for part in network.modules())
        if any(getattr(each, "gradient_checkpointing", False) is True for each in parts):
            raise CannotShare("gradient checkpointing is on")
        self._networks = networks
        self._layout = Layout()
        self._adapters: list[_Adapters] = []
        self._heads: list[nn.Parameter] = []
        own = list(_alike(networks))
        for other in networks[1:]:
            _check_frozen(networks[0], other)
        self._network: Any = sharing_copy(networks[0])
        for path, modules in own:
            if isinstance(modules[0], LoraLinear):
                adapters = _Adapters(modules, self._layout)
                self._adapters.append(adapters)
                self._network.set_submodule(path, adapters)
            elif isinstance(modules[0], ModulesToSaveWrapper):
                heads = [each.modules_to_save[ADAPTER] for each in modules]
                self._network.set_submodule(path, _Each(heads, self._layout))
                self._heads += [p for head in heads for p in head.parameters() if p.requires_grad]
            else:  # dropout
                self._network.set_submodule(path, _Each(modules, self._layout))
        known = {id(tensor) for each in self._adapters for tensor in each.tensors}
        if any(p.requires_grad and id(p) not in known for p in self._network.parameters()):
            raise CannotShare("something else than LoRA and a head is trained")
        self._writes = writes(networks[0].get_base_model())  # type: ignore[operator]
        self._head = output_layer(self._network) if self._writes else None
        if self._writes and self._head is None:
            raise CannotShare("its output layer is unknown")

    def run(self, passes: Sequence[Pass], draws: Sequence[Draws]) -> list[Tensor]:
        """Add the gradients of one micro-batch per run to those of its network.

        Returns:
            The loss of each run.

        Raises:
            CannotShare: The rows cannot be joined; nothing has changed.

        """
        batches = [each.inputs for each in passes]
        pad_token = getattr(self._network.config, "pad_token_id", None)
        rows, places = joined(batches, draws, pad_token)
        for adapters in self._adapters:
            adapters.read()
        self._layout.places = places
        try:
            answers = self._answers(rows)
        finally:
            self._layout.places = ()
        losses = []
        for each, place in zip(passes, places, strict=True):
            with place.draws.drawing():
                losses.append(each.loss(_Answers(each.network, place, answers)))
        for each in passes:
            each.before_backward()
        scaled = [each.scaled(loss) for each, loss in zip(passes, losses, strict=True)]
        # Of their sum; all at once, so that nothing is added if memory runs out.
        inputs = [*self._heads, *(own for packed in self._adapters for own in packed.tensors)]
        gradients = iter(torch.autograd.grad(scaled, inputs, allow_unused=True))
        for parameter in self._heads:
            _add(parameter, next(gradients))
        for packed in self._adapters:
            packed.add(next(gradients), next(gradients))
        return [loss.detach() for loss in losses]

    def _answers(self, rows: dict[str, Tensor]) -> Any:
        if self._head is None:
            return self._network(**rows)
        return self._head.hidden(self._network, {**rows, "use_cache": False})


class _Answers(StandIn):
    """Stands for the network of a run whose rows have passed; called as that, it answers them."""

    def __init__(self, network: nn.Module, place: Place, answers: Any) -> None:
        super().__init__(network)
        self._place = place
        self._answers = answers

    def __call__(self, **inputs: Any) -> ModelOutput:
        if not isinstance(self._answers, Tensor):
            return ModelOutput(logits=self._place.of(self._answers.logits))
        layer: OutputLayer | None = output_layer(self.stands_for)
        assert layer is not None, "the packed network has one"
        # The caller looks at what the layer gets, not at what it returns.
        return ModelOutput(logits=layer.layer(self._place.of(self._answers)))


class _Adapters(nn.Module):
    """A frozen linear layer with one adapter per run."""

    def __init__(self, layers: Sequence[LoraLinear], layout: Layout) -> None:
        super().__init__()
        if any(each.lora_variant for each in layers):
            raise CannotShare("variants of LoRA do not share passes")
        self.base_layer = layers[0].base_layer
        self._layout = layout
        self._downs = [each.lora_A[ADAPTER].weight for each in layers]  # (r, I)
        self._ups = [each.lora_B[ADAPTER].weight for each in layers]  # (O, r)
        self._dropouts = [each.lora_dropout[ADAPTER] for each in layers]
        first, num = self._downs[0], len(layers)
        rank, num_out = max(map(len, self._downs)), len(self._ups[0])
        scales = [each.scaling[ADAPTER] for each in layers]
        self._scales_K11 = first.new_tensor(scales).view(-1, 1, 1)
        self.down_KRI = nn.Parameter(first.new_zeros(num, rank, first.shape[1]))
        self.up_KOR = nn.Parameter(first.new_zeros(num, num_out, rank))

    def forward(self, rows: Tensor) -> Tensor:
        result: Tensor = self.base_layer(rows)
        rows = rows.to(self.down_KRI.dtype)
        if any(isinstance(each, nn.Dropout) and each.p for each in self._dropouts):
            rows = self._layout.apply(self._dropouts.__getitem__, rows)
        parts = self._layout.split(rows)
        if len(parts) == len(self.down_KRI) and len({len(part) for _, part in parts}) == 1:
            update = self._batched(rows)
        else:
            update = torch.cat([self._single(slot, part) for slot, part in parts])
        return (result + update).to(result.dtype)

    def _batched(self, rows: Tensor) -> Tensor:
        rows_KNI = rows.reshape(len(self.down_KRI), -1, rows.shape[-1])
        low_KNR = torch.bmm(rows_KNI, self.down_KRI.mT) * self._scales_K11
        return torch.bmm(low_KNR, self.up_KOR.mT).view(*rows.shape[:-1], -1)

    def _single(self, slot: int, rows: Tensor) -> Tensor:
        low = nn.functional.linear(rows, self.down_KRI[slot]) * self._scales_K11[slot, 0]
        return nn.functional.linear(low, self.up_KOR[slot])

    @torch.no_grad()
    def read(self) -> None:
        """Copy the runs' values."""
        for slot, (down, up) in enumerate(zip(self._downs, self._ups, strict=True)):
            self.down_KRI[slot, : len(down)] = down
            self.up_KOR[slot, :, : len(down)] = up

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """The two parameters."""
        return self.down_KRI, self.up_KOR

    def add(self, of_down: Tensor | None, of_up: Tensor | None) -> None:
        """Add gradients by `tensors` to those of the runs' parameters; None if there are none."""
        if of_down is None or of_up is None:
            return
        for slot, (down, up) in enumerate(zip(self._downs, self._ups, strict=True)):
            _add(down, of_down[slot, : len(down)])
            _add(up, of_up[slot, :, : len(down)])


class _Each(nn.Module):
    """A module of which each run has its own, e.g. a head."""

    def __init__(self, modules: Sequence[nn.Module], layout: Layout) -> None:
        super().__init__()
        self._of_slots = tuple(modules)  # not children: they are those of the runs
        self._layout = layout

    def forward(self, rows: Tensor, *others: Any, **inputs: Any) -> Tensor:
        if others or any(isinstance(each, Tensor) for each in inputs.values()):
            raise CannotShare("its head reads more than one tensor")
        return self._layout.apply(self._of_slots.__getitem__, rows, **inputs)


def _check_frozen(one: nn.Module, other: nn.Module) -> None:
    """Raise CannotShare if frozen weights differ, e.g. those that were drawn from other seeds."""
    weights = dict(other.named_parameters())
    for name, weight in one.named_parameters():
        if weight.requires_grad or ORIGINAL in name:
            continue
        if name not in weights or not _are_same(weight, weights[name]):
            raise CannotShare(f"they have different frozen weights {name}")


def _are_same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() or torch.equal(one, other)


def _alike(networks: Sequence[nn.Module]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the path of each module that is a run's own, with that of each run."""
    paths = [_own_modules(each) for each in networks]
    if any(each != paths[0] for each in paths):
        raise CannotShare("they adapt different layers")
    for path in paths[0]:
        yield path, [each.get_submodule(path) for each in networks]


def _own_modules(network: nn.Module) -> list[str]:
    """Return the paths of the outermost adapters, heads and modules with dropout."""
    found: list[str] = []
    for path, module in network.named_modules():
        is_own = type(module) is LoraLinear or isinstance(module, ModulesToSaveWrapper)
        draws = isinstance(module, nn.Dropout) and module.p > 0
        if (is_own or draws) and not any(path.startswith(f"{outer}.") for outer in found):
            found.append(path)
    return found


def _add(parameter: nn.Parameter, gradient: Tensor | None) -> None:
    if gradient is None:
        return
    if parameter.grad is None:
        parameter.grad = gradient.contiguous()
    else:
        parameter.grad += gradient
