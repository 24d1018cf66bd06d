"""Low-rank adapters on a network with 4-bit weights (QLoRA).

The frozen weights are stored in 4 bits (NF4: quantiles of a normal distribution, scaled per block
of 64) with scales that are quantized again, and are converted to bfloat16 to be multiplied. The
adapters and the head stay in float32.

Paper: Dettmers et al. 2023, arXiv:2305.14314 (NF4, double quantization).
Cost: LoRA's trained values, and about half a byte instead of four per frozen weight.
Needs a CUDA device and bitsandbytes. The export is the adapter: merged weights would be rounded to
4 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.base import Pretrained
from lightning_modules.model.pair import is_pair
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
        import torch

        if not torch.cuda.is_available():
            rule, got = "strategy=qlora needs a CUDA device", Verbatim("none")
            raise ConfigError(Problem("trainer.device", rule, got, _FIX))

    @property
    def merges(self) -> bool:
        return False

    def load(
        self, model: Model, task: Task, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> nn.Module:
        assert isinstance(model, Pretrained)
        network: nn.Module = model.load_network(
            task.auto_class, quantization=_nf4(), **task.config(labels)
        )
        return network


def _nf4() -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
