"""Frozen features of texts: what `strategy=feature_extraction` trains its head on.

The mean of the backbone's last hidden state over a text's tokens. Nothing is trained.
Shapes: N rows, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.quality.finding import Say
from lightning_modules.rows.corpus import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_modules.run import Run

NUM_TOGETHER = 2_000
"""Rows that are tokenized, sorted by length and embedded together."""


def frozen_features(run: Run, rows: Sequence[Row], labels: Sequence[str], say: Say) -> NDArray[Any]:
    """Return the features of some rows, (N, D) in float32.

    Args:
        run: A run whose strategy has a frozen stem, e.g. `feature_extraction`.
        rows: The rows.
        labels: The labels in the order of their class numbers.
        say: Receives the progress.

    Raises:
        UserError: The model cannot be used.

    """
    import numpy as np
    import torch

    from lightning_modules.batch.collate import Collate
    from lightning_modules.batch.order import evaluation_batches
    from lightning_modules.machine.hardware import choose_hardware
    from lightning_modules.network import build_network

    run.model.check()
    tokenizer = run.strategy.load_tokenizer(run.model, run.task, rows)
    device = torch.device(choose_hardware(run.trainer.device, run.trainer.precision).place(0))
    network = build_network(run, labels, None, tokenizer).to(device).eval()
    stem, collate = run.strategy.stem(network), Collate(tokenizer)
    assert stem is not None, "the strategy has a frozen part"
    parts = []
    for start in range(0, len(rows), NUM_TOGETHER):
        part = rows[start : start + NUM_TOGETHER]
        columns = run.task.encode(part, tokenizer, run.data.max_length, labels)
        examples = [
            dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)
        ]
        features: NDArray[Any] | None = None
        for numbers in evaluation_batches([len(each["input_ids"]) for each in examples]):
            batch = collate([examples[number] for number in numbers])
            with torch.no_grad():
                inputs = {name: each.to(device) for name, each in run.task.inputs(batch).items()}
                found = stem(**inputs).float().cpu().numpy()
            if features is None:
                features = np.empty((len(part), found.shape[1]), np.float32)
            features[numbers] = found
        assert features is not None
        parts.append(features)
        say("embedding texts", start + len(part), len(rows))
    return np.concatenate(parts)
