"""Text to text: a network reads one text and writes another, a token after the other.

Training: the mean of -log p(y_t | y_<t, x) over the tokens y of the target, with the target's own
y_<t before each (Sutskever et al. 2014, arXiv:1409.3215). With label smoothing e, the target
distribution is 1 - e on y_t and e spread evenly over the vocabulary (Szegedy et al. 2016,
arXiv:1512.00567), in validation too, so that both losses can be compared.
Validation: the same loss on the references, and texts that the network writes by itself, greedily
or by beam search, which the metrics score.
Cost: writing takes a forward pass of the decoder a token, for a batch of rows at once.

Shapes: B batch, T target tokens, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.batch.type import IGNORED, Batch
from lightning_modules.error import ConfigError, Problem
from lightning_modules.model.kind import Kind
from lightning_modules.rows import cell
from lightning_modules.rows.corpus import Row
from lightning_modules.schema import positive, within
from lightning_modules.task.base import GENERATED, Examples, Tables, Task

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor

    from lightning_modules.model.base import Model

SCORING = "scoring"
"""The table of how the texts were scored: what a paper has to name beside its figures."""
NUM_SHOWN = (10, 40)
"""Rows in the table of written texts: the first ones, and the worst ones of the rest."""


@dataclass(frozen=True, kw_only=True)
class TextToText(Task):
    """A task that writes a text for a text.

    Attributes:
        prefix: Stands before every source, as the "summarize: " that T5 was trained with.
        max_new_tokens: Tokens of a target, its end included, > 2: longer targets are cut in
            training, and writing ends there.
        label_smoothing: Share of each target token's probability that goes to the whole
            vocabulary, e above, in [0, 1); 0.1 in Vaswani et al. 2017, arXiv:1706.03762.
        num_beams: Beginnings of a text that are kept at each token, > 0; 1 writes greedily.
        length_penalty: With beams, a text's log-probability is divided by its length to this
            power: above 0 favours long texts; Wu et al. 2016, arXiv:1609.08144, take 0.6 to 0.7.
        no_repeat_ngram_size: Never write the same n-gram of this size twice, >= 0; 0 forbids none.
        num_generated: Write texts for so many of the first validation rows at most while
            training, > 0; None for all. The loss is that of all rows, and `evaluate` writes all.

    """

    prefix: str
    max_new_tokens: int
    label_smoothing: float
    num_beams: int
    length_penalty: float
    no_repeat_ngram_size: int
    num_generated: int | None

    auto_class: ClassVar[str] = "AutoModelForSeq2SeqLM"
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.encoder_decoder, Kind.encoder)
    cells: ClassVar[Mapping[str, cell.Cell]] = {"text": cell.text, "label": cell.texts}
    not_inputs: ClassVar[frozenset[str]] = frozenset(("labels", "is_generated"))

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "num_beams", "num_generated")
        yield from within(self, 0, 1, "label_smoothing")
        if self.max_new_tokens <= 2:
            yield Problem("max_new_tokens", "must be > 2 tokens", self.max_new_tokens)
        if self.no_repeat_ngram_size < 0:
            yield Problem("no_repeat_ngram_size", "must be >= 0", self.no_repeat_ngram_size)

    @abstractmethod
    def measure(self, texts: Sequence[str], references: Sequence[list[str]]) -> dict[str, float]:
        """Return every metric of `directions` of texts beside their references."""

    @abstractmethod
    def measure_row(self, text: str, references: list[str]) -> float:
        """Return how good one text is: what the worst ones are found by."""

    @abstractmethod
    def scoring(self, references: Sequence[list[str]]) -> dict[str, str]:
        """Return how each metric is counted, as others write it beside their figures."""

    def check(self, model: Model) -> None:
        model.check_head(self.auto_class)
        longest = model.max_length
        if longest is not None and self.max_new_tokens > longest:
            rule = f"must be <= {longest}, the tokens that {model.name} can write"
            fix = f"Set task.max_new_tokens={longest}."
            raise ConfigError(Problem("task.max_new_tokens", rule, self.max_new_tokens, fix))

    def check_tokenizer(self, tokenizer: Any, targets: Sequence[str]) -> None:
        """Raise ConfigError where the tokenizer cannot write the targets down."""

    def texts(self, row: Row) -> Iterator[str]:
        yield self.prefix + row["text"]
        yield from row.get("label", ())

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        sources = [self.prefix + row["text"] for row in rows]
        read = tokenizer(sources, truncation=True, max_length=max_length)
        # Not the types of its tokens: a source is one text, and a BART knows no types.
        columns = {name: read[name] for name in ("input_ids", "attention_mask")}
        if rows and "label" in rows[0]:
            targets = [row["label"][0] for row in rows]
            self.check_tokenizer(tokenizer, targets)
            written = tokenizer(
                text_target=targets, truncation=True, max_length=self.max_new_tokens
            )
            columns["labels"] = written["input_ids"]
        return columns

    def configure_network(self, network: Any) -> None:
        """Say how the network writes; a saved network keeps it."""
        from transformers import GenerationConfig

        config, before = network.config, network.generation_config
        network.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=self.max_new_tokens,
            num_beams=self.num_beams,
            no_repeat_ngram_size=self.no_repeat_ngram_size,
            # Of models for many languages it is the one to write in.
            forced_bos_token_id=before.forced_bos_token_id,
            decoder_start_token_id=config.decoder_start_token_id,
            bos_token_id=getattr(config, "bos_token_id", None),  # T5 has none
            eos_token_id=config.eos_token_id,
            pad_token_id=config.pad_token_id,
            **({"length_penalty": self.length_penalty} if self.num_beams > 1 else {}),
        )

    def validated(self, examples: Dataset) -> Dataset:
        if self.num_generated is None:
            return examples
        chosen = [number < self.num_generated for number in range(len(examples))]
        return examples.add_column("is_generated", chosen)

    def forward(self, network: Any, batch: Batch) -> Any:
        """Return the network's answer to the target; None where there is none, as in `predict`."""
        if "labels" not in batch:
            return None
        shifted_BT = network.prepare_decoder_input_ids_from_labels(batch["labels"])
        return network(**self.inputs(batch), decoder_input_ids=shifted_BT, use_cache=False)

    def num_targets(self, batch: Batch) -> float:
        return float((batch["labels"] != IGNORED).sum())

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        from torch.nn.functional import cross_entropy

        # In float32 whatever the autocast: a sum of bf16 losses loses small differences.
        logits_BTV, labels_BT = output.logits.float(), batch["labels"]
        return cross_entropy(
            logits_BTV.flatten(0, 1),
            labels_BT.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        """Return the tokens that the network writes, `IGNORED` after their end or for no text."""
        import torch

        wanted_B = batch.get("is_generated")
        if wanted_B is None or bool(wanted_B.all()):
            return {"written_BT": _written(network, self.inputs(batch)).cpu()}
        num_rows = len(wanted_B)
        written_BT = torch.full((num_rows, 0), IGNORED)
        if bool(wanted_B.any()):
            some = {name: tensor[wanted_B] for name, tensor in self.inputs(batch).items()}
            found = _written(network, some).cpu()
            written_BT = torch.full((num_rows, found.shape[1]), IGNORED)
            written_BT[wanted_B.cpu()] = found
        return {"written_BT": written_BT}

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        written = _texts(observed, examples)
        texts = list(written.values())
        references = [examples.rows[row]["label"] for row in written]
        return {name: round(value, 6) for name, value in self.measure(texts, references).items()}

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        return [{"prediction": text} for text in _texts(observed, examples).values()]

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return what was written for the first rows and for the worst, and how it was scored."""
        written = _texts(observed, examples)
        records = []
        for number, text in written.items():
            row = examples.rows[number]
            records.append(
                {
                    "source": row["text"],
                    "reference": row["label"][0],
                    "generated": text,
                    "score": round(self.measure_row(text, row["label"]), 6),
                }
            )
        first, worst = NUM_SHOWN
        rest = sorted(records[first:], key=lambda record: float(record["score"]))
        scoring = {
            "num_generated": len(records),
            "num_different": len(set(written.values())),
            **self.scoring([examples.rows[row]["label"] for row in written]),
        }
        return {GENERATED: records[:first] + rest[:worst], SCORING: [scoring]}

    def constant_prediction(self, tables: Tables) -> str | None:
        for scoring in tables.get(SCORING, ()):
            if scoring["num_different"] == 1 < scoring["num_generated"]:
                return f"writes {tables[GENERATED][0]['generated']!r} for every row"
        return None

    def usage_lines(self) -> str:
        return f"""\
text = {self.prefix!r} + "Your text."
inputs = tokenizer([text], truncation=True, return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True))
"""


def _written(network: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the tokens that the network writes, their end included, without the first given."""
    import torch

    written_BT = network.generate(**inputs)[:, 1:]
    ends = torch.tensor(network.generation_config.eos_token_id, device=written_BT.device)
    is_end_BT = torch.isin(written_BT, ends)
    is_behind_BT = (is_end_BT.cumsum(dim=1) - is_end_BT.long()) > 0
    found: Tensor = written_BT.masked_fill(is_behind_BT, IGNORED)
    return found


def _texts(observed: Mapping[str, Tensor], examples: Examples) -> dict[int, str]:
    """Return what was written, by the number of its row."""
    texts = {}
    for row, tokens in enumerate(observed["written_BT"].tolist()):
        kept = [token for token in tokens if token != IGNORED]
        if kept:
            texts[row] = examples.tokenizer.decode(kept, skip_special_tokens=True).strip()
    return texts
