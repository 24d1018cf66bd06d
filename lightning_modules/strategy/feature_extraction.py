"""Frozen features: the backbone is frozen, and a linear head is trained on its output.

To classify whole texts, logits = W mean_t(h_t) + b over the tokens t that are not padding. It uses
the mean because a frozen encoder's first token and pooler were never trained to represent the
text: on SST-2 a head on them scores 4 to 5 points lower (Reimers and Gurevych 2019,
arXiv:1908.10084, find the same). In an encoder-decoder the h_t are the encoder's. To classify
tokens, the architecture's own head reads each h_t.

Shapes: B batch, T tokens, D width, C classes. Cost: (D + 1) * C trainable values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.dropout import disable_dropout
from lightning_modules.model.files.fault import loading
from lightning_modules.model.files.folder import ModelFolder
from lightning_modules.model.files.missing import check_finite
from lightning_modules.model.saved import save_network
from lightning_modules.strategy.base import Strategy

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.model.base import Model
    from lightning_modules.model.size import Size
    from lightning_modules.model.stem import Stem
    from lightning_modules.task.base import Task


BACKBONE = "backbone"
HEAD_FILE = "head.safetensors"
POOLED = "AutoModelForSequenceClassification"
"""The head that a pooled one replaces."""
LABELLING = (POOLED, "AutoModelForTokenClassification")
"""The heads that consist of one layer on the backbone's output."""


@dataclass(frozen=True, kw_only=True)
class FeatureExtraction(Strategy):
    """Train a linear head on the frozen backbone's output."""

    @property
    def keeps_frozen(self) -> bool:
        return True

    @property
    def differentiates(self) -> bool:
        return False

    def num_trained(self, size: Size) -> float:
        return 0

    def check(self, model: Model, task: Task) -> None:
        super().check(model, task)
        if task.auto_class not in LABELLING:
            rule = "strategy=feature_extraction needs a task that labels texts or words"
            got = Verbatim(f"one that uses {task.auto_class}")
            fix = "Set strategy=lora or strategy=full."
            raise ConfigError(Problem("strategy", rule, got, fix))

    def head_note(self, model: Model, task: Task, labels: Sequence[str]) -> str:
        return "" if task.auto_class == POOLED else super().head_note(model, task, labels)

    def load(
        self, model: Model, task: Task, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> nn.Module:
        from lightning_modules.model.pooled import PooledClassifier

        if task.auto_class != POOLED:
            return super().load(model, task, labels, tokenizer)
        backbone = model.load_network("AutoModel")
        return PooledClassifier(backbone, num_labels=num_outputs(task, labels))

    def adapt(self, network: nn.Module) -> nn.Module:
        backbone: Any = getattr(network, getattr(network, "base_model_prefix", BACKBONE))
        backbone.requires_grad_(False)
        disable_dropout(backbone)
        return network

    def stem(self, network: Any) -> Stem | None:
        from lightning_modules.model.pooled import PooledClassifier, PooledStem
        from lightning_modules.model.stem import layers_stem

        if isinstance(network, PooledClassifier):
            return PooledStem(network)
        return layers_stem(network, num_trained=0)

    def export(self, network: Any, tokenizer: Any, model: Model, task: Task, folder: Path) -> str:
        from safetensors.torch import save_file

        if task.auto_class != POOLED:
            return super().export(network, tokenizer, model, task, folder)
        if model.hub_name is None:  # it cannot be downloaded
            save_network(network.backbone, self.export_dtype(model), folder / BACKBONE)
        tokenizer.save_pretrained(folder)
        save_file(network.head.state_dict(), folder / HEAD_FILE)
        pairs = network.backbone.config.is_encoder_decoder
        reader = "backbone.get_encoder()" if pairs else "backbone"
        base, answer = model.hub_name or BACKBONE, task.usage_of_logits()
        return _LOAD_HEAD.format(base=base, reader=reader, answer=answer)

    @classmethod
    def needs_base(cls, folder: Path) -> bool:
        return (folder / HEAD_FILE).is_file()

    @classmethod
    def check_export(cls, folder: Path, labels: Sequence[str], base: str | None) -> None:
        if not cls.needs_base(folder):
            super().check_export(folder, labels, base)
            return
        ModelFolder(folder).check_header(HEAD_FILE)
        if base is None:
            ModelFolder(folder / BACKBONE).check_weights()

    @classmethod
    def load_export(
        cls, folder: Path, task: Task, labels: Sequence[str], base: str | None
    ) -> tuple[nn.Module, Strategy | None]:
        import torch
        from safetensors.torch import load_file

        from lightning_modules.model.pooled import PooledClassifier

        if not cls.needs_base(folder):
            return super().load_export(folder, task, labels, base)
        files = ModelFolder(Path(base) if base else folder / BACKBONE)
        backbone, _ = files.load_network("AutoModel", dtype=torch.float32)
        network = PooledClassifier(backbone, num_outputs(task, labels))
        with loading("model", str(folder)):
            network.head.load_state_dict(load_file(folder / HEAD_FILE))
            check_finite(network.head, HEAD_FILE)
        return network, None


def num_outputs(task: Task, labels: Sequence[str]) -> int:
    """Return the width of the head; a task without labels, e.g. regression, sets its own."""
    return int(task.config(labels).get("num_labels", len(labels)))


_LOAD_HEAD = """\
import json, torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

backbone, tokenizer = AutoModel.from_pretrained({base!r}), AutoTokenizer.from_pretrained(".")
head, labels = load_file("head.safetensors"), json.load(open("finesweep.json"))["labels"]
inputs = tokenizer(["Your text."], truncation=True, return_tensors="pt")
mask = inputs["attention_mask"].unsqueeze(-1)
features = ({reader}(**inputs).last_hidden_state * mask).sum(1) / mask.sum(1)
logits = torch.nn.functional.linear(features, head["weight"], head["bias"])[0]
print({answer})
"""
