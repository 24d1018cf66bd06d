"""Retrieval: embeddings that find the text that belongs to another, e.g. a question's answer.

A row has a text and the one that belongs to it, its pair; a third one may look alike and not belong
to it. The texts of the other rows of a batch serve as wrong ones, too. With q the embedding of a
text, d_j those of all pairs and negatives of the batch, cos their cosine, and t the temperature:

    loss = -log (exp(cos(q, d+) / t) / sum_j exp(cos(q, d_j) / t))

This is known as InfoNCE and as multiple negatives ranking loss (Henderson et al. 2017,
arXiv:1705.00652; with t = 1 / 20 sentence-transformers' default). Another row's pair is left out of
the sum if it is equal to the row's own, or belongs to an equal text. So is a candidate that is the
row's text itself, as with pairs that are given in both directions. So the loss depends on which
rows share a batch, and on the micro-batches if it is split.

Metrics, over all pairs and negatives of a split as candidates: see `metric.ranking`. Other texts
that belong to an equal text are no candidates, nor is the text itself.
Example row: `{"text": "How old are you?", "text_pair": "I am six."}`.

Shapes: B batch, M candidates, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.batch.type import Batch
from lightning_modules.error import Problem
from lightning_modules.rows import cell
from lightning_modules.rows.corpus import Row, normalized
from lightning_modules.schema import positive
from lightning_modules.task.base import (
    MISTAKES,
    NUM_MISTAKES,
    Baseline,
    Direction,
    Examples,
    Tables,
)
from lightning_modules.task.embedding import IDS, EmbeddingTask
from lightning_modules.task.metric.ranking import VALUES, expected, ranks

if TYPE_CHECKING:
    from torch import Tensor

KEYS = {field: f"{field}_key" for field in IDS}
"""The column of examples with a number for each field that is equal for equal texts."""


@dataclass(frozen=True, kw_only=True)
class Retrieval(EmbeddingTask):
    """Which text belongs to another.

    Attributes:
        negative: Column with texts that do not belong to the row's, or None.
        temperature: t, > 0, which divides the cosines.

    """

    negative: str | None
    temperature: float

    directions: ClassVar[Mapping[str, Direction]] = dict.fromkeys(VALUES, "maximize")
    cells: ClassVar[Mapping[str, cell.Cell]] = dict.fromkeys(IDS, cell.text)
    optional: ClassVar[frozenset[str]] = frozenset(("negative",))
    label_fields: ClassVar[frozenset[str]] = frozenset(("text_pair", "negative"))
    loss_settings: ClassVar[frozenset[str]] = frozenset(("temperature",))
    compares_in_batch: ClassVar[bool] = True

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "temperature")

    def check_row(self, row: Row) -> tuple[str, cell.Refused] | None:
        if "negative" in row and normalized(row["negative"]) == normalized(row["text_pair"]):
            rule = "must differ from the text that belongs to the row's text"
            return "negative", cell.Refused(rule)
        return None

    def group(self, row: Row) -> str:
        """Return the text: all that belong to it go to the same split."""
        return normalized(row["text"])

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        columns = super().encode(rows, tokenizer, max_length, labels)
        for field, column in KEYS.items():
            if rows and field in rows[0]:
                columns[column] = [_key(row[field]) for row in rows]
        return columns

    def num_targets(self, batch: Batch) -> float:
        return len(batch["input_ids"])

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        import torch
        from torch.nn.functional import cross_entropy, normalize

        unit = {field: normalize(each_BD, dim=-1) for field, each_BD in output.items()}
        wrong = [field for field in ("text_pair", "negative") if field in unit]
        candidates_MD = torch.cat([unit[field] for field in wrong])
        keys_M = torch.cat([batch[KEYS[field]] for field in wrong])
        logits_BM = unit["text"] @ candidates_MD.T / self.temperature
        # What is as right as the row's own pair: the same text, a pair of the same text, or itself.
        text_B, size = batch[KEYS["text"]], len(logits_BM)
        same_BM = keys_M == batch[KEYS["text_pair"]].unsqueeze(1)
        same_BM |= keys_M == text_B.unsqueeze(1)
        same_BM[:, :size] |= text_B == text_B.unsqueeze(1)
        targets_B = torch.arange(size, device=logits_BM.device)
        same_BM[targets_B, targets_B] = False
        return cross_entropy(logits_BM.masked_fill(same_BM, -torch.inf), targets_B, reduction="sum")

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        from torch.nn.functional import normalize

        return {
            f"{field}_BD": normalize(each_BD, dim=-1).detach().cpu()
            for field, each_BD in output.items()
        }

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        ranks_B = _ranked(observed, examples.rows).ranks
        return {name: round(float(of(ranks_B).mean()), 6) for name, of in VALUES.items()}

    def row_values(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Sequence[float] | None:
        values: list[float] = VALUES[self.metric](_ranked(observed, examples.rows).ranks).tolist()
        return values

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        """Return the embedding of each text, of length 1."""
        return [
            {"prediction": [round(value, 6) for value in vector]}
            for vector in observed["text_BD"].tolist()
        ]

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return the texts whose own pair has the lowest rank, with what is nearest instead."""
        found = _ranked(observed, examples.rows)
        order = found.ranks.argsort(descending=True, stable=True)[:NUM_MISTAKES].tolist()
        mistakes = []
        for row in order:
            if found.ranks[row] <= 1:
                break
            cosines_M = found.vectors @ observed["text_BD"][row].float()
            cosines_M[list(found.also[row])] = -1
            nearest = found.texts[int(cosines_M.argmax())]
            rank = round(float(found.ranks[row]), 1)
            mistakes.append({**examples.rows[row], "rank": rank, "nearest": nearest})
        return {MISTAKES: mistakes}

    def baseline(self, rows: Sequence[Row]) -> Baseline:
        """Return the score of an order drawn at random."""
        num = len(
            {normalized(row[f]) for row in rows for f in ("text_pair", "negative") if f in row}
        )
        return Baseline(f"a random order of the {num} texts", expected(self.metric, num))


@dataclass(frozen=True)
class _Ranked:
    """The candidates of a split, and the rank of each row's own.

    Attributes:
        texts: The candidates.
        vectors: Their embeddings (M, D).
        also: For each row, the numbers of the other candidates that belong to its text, or are it.
        ranks: The rank of each row's own candidate (B,).

    """

    texts: Sequence[str]
    vectors: Tensor
    also: Sequence[Sequence[int]]
    ranks: Tensor


def _ranked(observed: Mapping[str, Tensor], rows: Sequence[Row]) -> _Ranked:
    import torch

    numbers: dict[str, int] = {}
    texts: list[str] = []
    vectors: list[Tensor] = []
    for field in ("text_pair", "negative"):
        for row, vector_D in zip(rows, observed.get(f"{field}_BD", ()), strict=False):
            key = normalized(row[field])
            if key not in numbers:
                numbers[key] = len(texts)
                texts.append(row[field])
                vectors.append(vector_D)
    right = [numbers[normalized(row["text_pair"])] for row in rows]
    belonging: dict[str, set[int]] = {}
    for row, number in zip(rows, right, strict=True):
        key = normalized(row["text"])
        itself = {numbers[key]} if key in numbers else set()
        belonging.setdefault(key, itself).add(number)
    also = [
        sorted(belonging[normalized(row["text"])] - {number})
        for row, number in zip(rows, right, strict=True)
    ]
    candidates_MD = torch.stack(vectors).float()
    found_B = ranks(observed["text_BD"].float(), candidates_MD, right, also)
    return _Ranked(texts, candidates_MD, also, found_B)


def _key(text: str) -> int:
    """Return a number of 64 bits that is equal for equal texts, and hardly for others."""
    digest = blake2b(normalized(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
