"""Low-rank adapters on a network with 4-bit weights (QLoRA).

The frozen matrices are held in 4 bits (`lightning_modules.model.quantized`), and are converted to
the precision of the run to be multiplied. The embeddings and the output layer are held as in the
model's file; the adapters and the head are in float32.

Paper: Dettmers et al. 2023, arXiv:2305.14314.
Cost: LoRA's trained values, and about half a byte instead of two or four per frozen weight: 8
billion parameters take 6 GB. Needs bitsandbytes; without a GPU it is slow.
The export is merged into the 4-bit values, converted back: the weights that the adapters learnt on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.pair import is_pair
from lightning_modules.model.pretrained import Pretrained
from lightning_modules.strategy.lora import Init, Lora

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.model.base import Model
    from lightning_modules.task.base import Task

_FIX = "Set strategy=lora."


@dataclass(frozen=True, kw_only=True)
class Qlora(Lora):
    """Train low-rank adapters on a network with 4-bit weights, and the head."""

    loads_on_device: ClassVar[bool] = True

    def check(self, model: Model, task: Task) -> None:
        super().check(model, task)
        if not isinstance(model, Pretrained):
            rule, got = "strategy=qlora needs a pretrained model", Verbatim(model.name)
            raise ConfigError(Problem("model", rule, got, _FIX))
        if is_pair(task.auto_class, model.known_kind()):
            rule = "strategy=qlora needs an encoder-decoder for this task"
            got = Verbatim(f"{model.name}, of kind encoder")
            raise ConfigError(Problem("model", rule, got, "Set model=t5, flan_t5 or bart."))
        if self.init not in (Init.default, Init.gaussian):
            rule = "must be default or gaussian with 4-bit weights"
            raise ConfigError(Problem("strategy.init", rule, self.init.value))
        if find_spec("bitsandbytes") is None:
            rule, got = "strategy=qlora needs bitsandbytes", Verbatim("no such package")
            fix = "Run pip install bitsandbytes, or set strategy=lora."
            raise ConfigError(Problem("strategy", rule, got, fix))

    def load(
        self, model: Model, task: Task, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> nn.Module:
        import torch

        from lightning_modules.model.quantized import compute_as_run, nf4

        assert isinstance(model, Pretrained)
        config = task.config(labels)
        with torch.device("meta"):
            skeleton = model.new_network(task.auto_class, **config)
        network: nn.Module = model.load_network(
            task.auto_class, quantization=nf4(skeleton), **config
        )
        compute_as_run(network)
        return network

    @property
    def merges(self) -> bool:
        return False  # PEFT would round the sums to 4 bits

    def for_export(self) -> Dequantized:
        return Dequantized(**{each.name: getattr(self, each.name) for each in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Dequantized(Qlora):
    """The same on the 4-bit weights converted back, into which the adapters can be merged."""

    loads_on_device: ClassVar[bool] = False

    def load(
        self, model: Model, task: Task, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> nn.Module:
        from lightning_modules.model.held import hold
        from lightning_modules.model.quantized import dequantize

        network = super().load(model, task, labels, tokenizer)
        dequantize(network)
        if model.in_bf16:
            hold(network)
        return network

    @property
    def merges(self) -> bool:
        return True

    def for_export(self) -> Dequantized:
        return self
