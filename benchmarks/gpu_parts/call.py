"""What a call of the GPU benchmark measures, where its files are, and how parts report."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PREFIX = "RESULT "


@dataclass(frozen=True, kw_only=True)
class Size:
    """A Llama, and the batches that it trains on.

    Attributes:
        hidden: Width of the residual stream.
        intermediate: Width inside the feed-forward layers.
        num_layers: Decoder layers.
        num_heads: Attention heads.
        num_kv_heads: Heads of keys and values.
        vocabulary: Size of the vocabulary; most tokens are never used.
        batch_size: Examples per optimizer step.
        num_tokens: Tokens per example.
        num_steps: Optimizer steps of a measured run.
        is_tied: Whether the output layer shares the embedding's weights.
        memory_limit_gib: GPU memory at which a run recovers from running out; None if the model is
            too small for any limit, and the error is raised on purpose instead.

    """

    hidden: int
    intermediate: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    vocabulary: int
    batch_size: int
    num_tokens: int
    num_steps: int
    is_tied: bool = True
    memory_limit_gib: float | None = None

    def flops_per_token(self) -> int:
        """Return the floating-point operations of a LoRA step, without those of the adapters.

        Each weight takes 2 forward and 2 in the backward pass of activations; frozen weights have
        no gradient of their own. Causal attention takes 2 * tokens * hidden per layer, three times.
        """
        kv_width = self.hidden // self.num_heads * self.num_kv_heads
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * kv_width
        layer = attention + 3 * self.hidden * self.intermediate
        num_weights = self.num_layers * layer + self.hidden * self.vocabulary
        return 4 * num_weights + 6 * self.num_tokens * self.hidden * self.num_layers


SIZES = {
    "tiny": Size(
        hidden=64,
        intermediate=128,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        vocabulary=600,
        batch_size=4,
        num_tokens=32,
        num_steps=6,
    ),
    "long": Size(  # rows that are long for so small a model
        hidden=64,
        intermediate=128,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        vocabulary=600,
        batch_size=16,
        num_tokens=1024,
        num_steps=6,
    ),
    "100m": Size(
        hidden=768,
        intermediate=2048,
        num_layers=8,
        num_heads=12,
        num_kv_heads=4,
        vocabulary=32_000,
        batch_size=16,
        num_tokens=512,
        num_steps=20,
        memory_limit_gib=6,
    ),
    "1b": Size(
        hidden=2048,
        intermediate=8192,
        num_layers=16,
        num_heads=32,
        num_kv_heads=8,
        vocabulary=128_256,
        batch_size=16,
        num_tokens=1024,
        num_steps=20,
        memory_limit_gib=24,
    ),
    "8b": Size(
        hidden=4096,
        intermediate=14_336,
        num_layers=32,
        num_heads=32,
        num_kv_heads=8,
        vocabulary=128_256,
        batch_size=8,
        num_tokens=1024,
        num_steps=8,
        is_tied=False,
        memory_limit_gib=80,
    ),
}


@dataclass(frozen=True)
class Call:
    """One call of the benchmark.

    Attributes:
        size_name: Name in `SIZES`.
        on_cpu: Whether to run on the CPU.
        work: Absolute path of the folder for models, rows, runs and studies.

    """

    size_name: str
    on_cpu: bool
    work: Path

    @property
    def size(self) -> Size:
        """The model and its batches."""
        return SIZES[self.size_name]

    @property
    def device(self) -> str:
        """The device in torch's words."""
        return "cpu" if self.on_cpu else "cuda"

    def of_study(self) -> Call:
        """Return the call with a model of which several fit on a card, and train in seconds."""
        return replace(self, size_name="tiny" if self.on_cpu else "100m")

    def words(self) -> list[str]:
        """Return the options that make the same call in another process."""
        words = ["--size", self.size_name, "--work", str(self.work)]
        return [*words, "--cpu"] if self.on_cpu else words

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the processes that the call starts."""
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        changes = {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "HF_HUB_OFFLINE": "1",
            "FINESWEEP_CACHE": str(self.work / "cache"),
        }
        if self.on_cpu:
            changes["CUDA_VISIBLE_DEVICES"] = ""
        return {**os.environ, **changes}


def report(**facts: Any) -> None:
    """Print facts on a line that `results_of` finds."""
    print(PREFIX + json.dumps(facts, default=str), flush=True)


def results_of(output: str) -> list[dict[str, Any]]:
    """Return what `report` printed, among other lines.

    >>> results_of('noise' + chr(10) + 'RESULT {"kind": "oom"}')
    [{'kind': 'oom'}]
    """
    lines = (line for line in output.splitlines() if line.startswith(PREFIX))
    return [json.loads(line.removeprefix(PREFIX)) for line in lines]


def require(condition: bool, rule: str) -> None:
    """Fail the part unless the condition holds."""
    if not condition:
        raise SystemExit(f"failed: {rule}")
