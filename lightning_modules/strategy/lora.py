"""Low-rank adapters (LoRA).

Each linear layer y = W x of the backbone becomes y = W x + (alpha / rank) B A x with W frozen,
A: (rank, in), B: (out, rank). B starts at 0, so step 0 sees the pretrained model exactly. The
architecture's own head is trained in full.

Paper: Hu et al. 2021, arXiv:2106.09685 (rank = r, alpha = alpha).
Cost: rank * (in + out) trainable values a layer; none after merging.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import Problem
from lightning_modules.schema import positive, within
from lightning_modules.strategy.base import Strategy, silence_dropout
from lightning_modules.strategy.task_type import task_type_of

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from lightning_modules.model.base import Model
    from lightning_modules.task.base import Task


@dataclass(frozen=True, kw_only=True)
class Lora(Strategy):
    """Train low-rank adapters on every linear layer, and the head.

    Attributes:
        rank: Width of the adapters, r of the paper, > 0.
        alpha: alpha of the paper, > 0; the update is scaled by alpha / rank.
        dropout: Probability of dropping an input of A, in [0, 1).

    """

    rank: int
    alpha: float
    dropout: float

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "rank", "alpha")
        yield from within(self, 0, 1, "dropout")

    def adapt(self, network: nn.Module) -> nn.Module:
        from peft import LoraConfig, get_peft_model

        silence_dropout(getattr(network, str(network.base_model_prefix)))
        config = LoraConfig(
            task_type=task_type_of(network),
            target_modules="all-linear",
            modules_to_save=_new_parts(network),
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
        )
        adapted: nn.Module = get_peft_model(network, config)
        return adapted

    def export(self, network: Any, tokenizer: Any, model: Model, task: Task, folder: Path) -> str:
        # The adapter names its base; a path of this machine would help nobody.
        network.peft_config["default"].base_model_name_or_path = model.name
        network.save_pretrained(folder / "adapter")
        (folder / "adapter" / "README.md").unlink(missing_ok=True)  # PEFT's empty form
        merged = copy.deepcopy(network).merge_and_unload()
        return super().export(merged, tokenizer, model, task, folder)


def _new_parts(network: nn.Module) -> list[str]:
    """Return the names of the modules that nothing was learnt in before.

    The head, as a whole: PEFT by itself would adapt DistilBERT's pre_classifier or DeBERTa's
    pooler. And what the weights lacked of the backbone, as the pooler of a BERT that was trained
    on masked words alone: an adapter on it would stand for nothing without this very draw.
    """
    backbone = str(network.base_model_prefix)
    head = [
        name
        for name, part in network.named_children()
        if name != backbone and any(True for _ in part.parameters())
    ]
    drawn = {name.rpartition(".")[0] for name in getattr(network, "drawn", ())}
    return [*head, *sorted(name for name in drawn if name.startswith(f"{backbone}."))]
