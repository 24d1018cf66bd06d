"""The base of tasks that learn embeddings: one vector for each text, compared by cosine.

The texts of a row are embedded apart, by the same network: e = pool(h_1, ..., h_T) of its last
states h, their mean over the text's tokens or the first one. Such networks are known as
bi-encoders; a text's embedding can be kept, and compared with those of millions of others.

An export also loads in sentence-transformers, which then scales embeddings to length 1.
Paper: Reimers and Gurevych 2019, arXiv:1908.10084.

Shapes: B batch, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lightning_modules.batch.type import IGNORED, Batch
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.hub.wanted import HubError
from lightning_modules.model.kind import Kind
from lightning_modules.rows.corpus import Row, normalized
from lightning_modules.task.base import Task
from lightning_modules.text.length import MAX_LENGTH, NO_LIMIT, Lengths
from lightning_modules.text.shown import Shown

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.model.base import Model

IDS = {"text": "input_ids", "text_pair": "pair_ids", "negative": "negative_ids"}
"""The column of examples with the tokens of each field, padded with `IGNORED` but for the first."""


class Pooling(Enum):
    """Which of a network's last states are a text's embedding."""

    auto = "auto"
    mean = "mean"
    cls = "cls"


@dataclass(frozen=True, kw_only=True)
class EmbeddingTask(Task):
    """A task whose network embeds texts.

    Attributes:
        pooling: `mean` (over the text's tokens), `cls` (the first token) or `auto` (that of a model
            of sentence-transformers, and the mean for others).

    """

    pooling: Pooling

    auto_class: ClassVar[str] = "AutoModel"
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.encoder,)
    takes_apart: ClassVar[bool] = True

    def check(self, model: Model) -> None:
        try:
            model.check()
        except HubError:
            return  # the check of the model reports it
        try:
            self._pooling_of(model)
        except HubError:  # other libraries download a model without the folder of its pooling
            rule = f"must be set, because the file that says how {model.name} pools is not here"
            fix = "Set task.pooling=mean or task.pooling=cls, as the model's page says."
            raise ConfigError(Problem("task.pooling", rule, Verbatim("auto"), fix)) from None

    def fit_to_model(self, model: Model) -> Self:
        """Return the task with the pooling of the model."""
        return replace(self, pooling=self._pooling_of(model))

    def _pooling_of(self, model: Model) -> Pooling:
        """Return the pooling that is trained; raise ConfigError if that of the model cannot be."""
        embedder = model.embedder() if self.pooling is Pooling.auto else None
        if embedder is None or not embedder.poolings:
            return Pooling.mean if self.pooling is Pooling.auto else self.pooling
        own = trained_pooling(embedder.poolings)
        if own is None:
            rule = f"must be mean or cls to train {model.name}, which pools otherwise"
            got = Verbatim(" and ".join(embedder.poolings))
            fix = "Set task.pooling=mean, or choose another model."
            raise ConfigError(Problem("task.pooling", rule, got, fix))
        return own

    def model_notes(self, model: Model) -> Iterator[str]:
        with suppress(HubError):
            embedder = model.embedder()
            if embedder is None:
                return
            if not embedder.is_known and self.pooling is Pooling.auto:
                yield (
                    "texts are embedded by task.pooling=mean: the cache has no modules.json of "
                    f"{model.name}, and the hub did not list its files; set task.pooling if it "
                    "pools otherwise"
                )
            pooling, own = self._pooling_of(model), embedder.poolings
            if self.pooling is Pooling.auto and pooling is not Pooling.mean:
                yield f"texts are embedded by task.pooling={pooling.value}, as {model.name} does"
            if self.pooling is not Pooling.auto and own and trained_pooling(own) is not pooling:
                note = f"task.pooling={pooling.value} is trained, but {model.name} pools by "
                note += " and ".join(own)
                can_continue = trained_pooling(own) is not None
                yield note + ("; leave task.pooling out to keep that" if can_continue else "")
            if embedder.others:
                yield (
                    f"in sentence-transformers {model.name} also has {', '.join(embedder.others)}; "
                    "training, predictions and exports leave that out"
                )

    @property
    def state(self) -> Mapping[str, Any]:
        return {"pooling": self.pooling.value}

    def from_state(self, state: Mapping[str, Any]) -> Self:
        """Return the task with its pooling; earlier runs have that in their settings alone."""
        return replace(self, pooling=Pooling(state.get("pooling", self.pooling)))

    def near_key(self, row: Row) -> str:
        return "\n".join(normalized(row[field]) for field in IDS if field in row)

    def text_of(self, row: Row) -> str:
        return "\n".join(row[field] for field in IDS if field in row)

    def texts(self, row: Row) -> Iterator[str]:
        yield from (row[field] for field in IDS if field in row)

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        columns = {}
        for field, column in IDS.items():
            if rows and field in rows[0]:
                texts = [row[field] for row in rows]
                cut = tokenizer(texts, truncation=True, max_length=max_length)
                columns[column] = cut["input_ids"]
        return columns

    def lengths(
        self, rows: Sequence[Row], tokenizer: Any, labels: Sequence[str]
    ) -> Iterator[Lengths]:
        columns = self.encode(rows, tokenizer, NO_LIMIT, labels)
        tokens = [len(ids) for name in IDS.values() for ids in columns.get(name, ())]
        yield Lengths("texts", MAX_LENGTH, tokens, "lose their end")

    def shown(self, columns: Mapping[str, list[Any]], number: int, row: Row) -> Iterator[Shown]:
        for field, column in IDS.items():
            if column in columns:
                yield Shown(field, columns[column][number])

    def width(self, batch: Batch) -> int:
        return sum(int(batch[name].shape[1]) for name in IDS.values() if name in batch)

    def configure_network(self, network: Any) -> None:
        """Leave out of training what pools by itself, and whose output nothing reads."""
        pooler = getattr(network, "pooler", None)
        if pooler is not None:
            pooler.requires_grad_(False)
            drawn: frozenset[str] = getattr(network, "drawn", frozenset())
            network.drawn = frozenset(name for name in drawn if not name.startswith("pooler."))

    def forward(self, network: Any, batch: Batch) -> dict[str, Tensor]:
        """Return the embeddings of each field that the batch has, (B, D) in float32."""
        ids = {field: batch[column] for field, column in IDS.items() if column in batch}
        if "attention_mask" in batch:  # the tokenizer pads the first field
            ids["text"] = ids["text"].masked_fill(batch["attention_mask"] == 0, IGNORED)
        return {field: self._embedded(network, ids_BT) for field, ids_BT in ids.items()}

    def _embedded(self, network: Any, ids_BT: Tensor) -> Tensor:
        assert self.pooling is not Pooling.auto, "call fit_to_model before"
        is_text_BT, padding = ids_BT != IGNORED, network.config.pad_token_id
        read_BT = ids_BT.masked_fill(~is_text_BT, 0 if padding is None else padding)
        output = network(input_ids=read_BT, attention_mask=is_text_BT.long())
        states_BTD = output.last_hidden_state
        if self.pooling is Pooling.cls:
            first_BD: Tensor = states_BTD[:, 0].float()
            return first_BD
        mask_BT1 = is_text_BT.unsqueeze(-1).float()
        mean_BD: Tensor = (states_BTD.float() * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1)
        return mean_BD

    def export_files(self, network: Any, max_length: int) -> Mapping[str, Any]:
        """Return what sentence-transformers reads besides the network."""
        kinds = ("Transformer", "Pooling", "Normalize")
        paths = ("", "1_Pooling", "2_Normalize")
        modules = [
            {"idx": at, "name": str(at), "path": path, "type": f"{_PACKAGE}.models.{kind}"}
            for at, (kind, path) in enumerate(zip(kinds, paths, strict=True))
        ]
        return {
            "modules.json": modules,
            "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
            "config_sentence_transformers.json": {"prompts": {}, "similarity_fn_name": "cosine"},
            "1_Pooling/config.json": {
                "word_embedding_dimension": network.config.hidden_size,
                **{f"pooling_mode_{_NAMES[each]}": each is self.pooling for each in _NAMES},
            },
        }

    def usage_lines(self) -> str:
        mask = "inputs.attention_mask.unsqueeze(-1)"
        mean = f"(states * {mask}).sum(1) / {mask}.sum(1)"
        return f"""\
from torch.nn.functional import normalize

inputs = tokenizer(["A text.", "Another."], padding=True, truncation=True, return_tensors="pt")
states = model(**inputs).last_hidden_state
embeddings = normalize({mean if self.pooling is Pooling.mean else "states[:, 0]"}, dim=-1)
print((embeddings[0] @ embeddings[1]).item())
"""


_PACKAGE = "sentence_transformers"
_NAMES = {Pooling.mean: "mean_tokens", Pooling.cls: "cls_token"}
_POOLINGS = {
    "mean": Pooling.mean,
    "mean_sqrt_len_tokens": Pooling.mean,  # of another length, so with the same cosines
    "cls": Pooling.cls,
}
"""The pooling for each of sentence-transformers' that can be trained."""


def trained_pooling(names: Sequence[str]) -> Pooling | None:
    """Return the pooling that sentence-transformers has under these names, if it can be trained.

    >>> trained_pooling(["cls"]), trained_pooling(["mean", "max"])
    (<Pooling.cls: 'cls'>, None)
    """
    return _POOLINGS.get(names[0]) if len(names) == 1 else None


def cosines(one_BD: Tensor, other_BD: Tensor) -> Tensor:
    """Return the cosine of each pair of vectors, (B,) in float32."""
    from torch.nn.functional import cosine_similarity

    return cosine_similarity(one_BD.float(), other_BD.float(), dim=-1)
