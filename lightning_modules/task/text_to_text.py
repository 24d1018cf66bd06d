"""Text to text: a network reads one text and writes another, token by token.

Training: the mean of -log p(y_t | y_<t, x) over the tokens y of the target, with teacher forcing:
y_<t is taken from the target (Sutskever et al. 2014, arXiv:1409.3215). With label smoothing e, the
target distribution is 1 - e on y_t plus e spread evenly over the vocabulary (Szegedy et al. 2016,
arXiv:1512.00567), also in validation, so that both losses can be compared.
Validation: the same loss on the references. The metrics score texts that the network generates,
greedily or by beam search.
Cost: generation takes one forward pass of the decoder per token, for a batch of rows at once.

Shapes: B batch, T target tokens, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.batch.type import IGNORED, LABELS_ON_HOST, Batch
from lightning_modules.error import ConfigError, Problem
from lightning_modules.model.end import eos_setting
from lightning_modules.model.kind import Kind
from lightning_modules.rows import cell
from lightning_modules.rows.corpus import Row
from lightning_modules.schema import countable, positive, within
from lightning_modules.task.base import GENERATED, Baseline, Examples, Tables, Task
from lightning_modules.text.length import Lengths
from lightning_modules.text.shown import Shown

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor

    from lightning_modules.model.base import Model

SCORING = "scoring"
"""Name of the table of scoring settings, which a paper must report with its figures."""
NUM_SHOWN = (10, 40)
"""Rows in the table of generated texts: this many first ones, then the worst of the rest."""


@dataclass(frozen=True, kw_only=True)
class TextToText(Task):
    """A task that generates a text from a text.

    Attributes:
        prefix: Text before every source, e.g. the "summarize: " that T5 was trained with.
        max_new_tokens: Most tokens of a target, including its end token, > 2. Longer targets are
            truncated in training, and generation stops there.
        label_smoothing: Share of each target token's probability that is spread over the whole
            vocabulary (e above), in [0, 1); 0.1 in Vaswani et al. 2017, arXiv:1706.03762.
        num_beams: Beams kept at each token, > 0; 1 is greedy decoding.
        length_penalty: With beams, a text's log-probability is divided by its length to this
            power, so values above 0 favour long texts; 0.6 to 0.7 in Wu et al. 2016,
            arXiv:1609.08144.
        no_repeat_ngram_size: Never generate an n-gram of this size twice, >= 0; 0 allows all.
        num_generated: During training, generate texts for at most this many of the first
            validation rows, > 0; None for all. The loss still covers all rows, and `evaluate`
            generates all texts.

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
    written: ClassVar[str] = "targets"
    """What the network writes, in the plural."""

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "num_beams", "num_generated")
        yield from within(self, 0, 1, "label_smoothing")
        yield from countable(self, "max_new_tokens")
        if self.max_new_tokens <= 2:
            yield Problem("max_new_tokens", "must be > 2 tokens", self.max_new_tokens)
        if self.no_repeat_ngram_size < 0:
            yield Problem("no_repeat_ngram_size", "must be >= 0", self.no_repeat_ngram_size)

    @abstractmethod
    def measure(self, texts: Sequence[str], references: Sequence[list[str]]) -> dict[str, float]:
        """Return every metric of `directions` for texts and their references."""

    @abstractmethod
    def measure_row(self, text: str, references: list[str]) -> float:
        """Return the score of one text, by which the worst ones are found."""

    @abstractmethod
    def scoring(self, references: Sequence[list[str]]) -> dict[str, str]:
        """Return the settings of each metric in the form that papers report."""

    def check(self, model: Model) -> None:
        model.check_head(self.auto_class)
        longest = model.max_length
        if longest is not None and self.max_new_tokens > longest:
            rule = f"must be <= {longest}, the tokens that {model.name} can write"
            fix = f"Set task.max_new_tokens={longest}."
            raise ConfigError(Problem("task.max_new_tokens", rule, self.max_new_tokens, fix))

    def check_tokenizer(self, tokenizer: Any, targets: Sequence[str]) -> None:
        """Raise ConfigError if the tokenizer cannot represent the targets."""

    def texts(self, row: Row) -> Iterator[str]:
        yield self.prefix + row["text"]
        yield from row.get("label", ())

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        sources = [self.prefix + row["text"] for row in rows]
        read = tokenizer(sources, truncation=True, max_length=max_length)
        # No token types: a source is a single text, and BART has none.
        columns = {name: read[name] for name in ("input_ids", "attention_mask")}
        if rows and "label" in rows[0]:
            targets = [row["label"][0] for row in rows]
            self.check_tokenizer(tokenizer, targets)
            written = tokenizer(
                text_target=targets, truncation=True, max_length=self.max_new_tokens
            )
            columns["labels"] = written["input_ids"]
        return columns

    def lengths(
        self, rows: Sequence[Row], tokenizer: Any, labels: Sequence[str]
    ) -> Iterator[Lengths]:
        yield from super().lengths([{"text": row["text"]} for row in rows], tokenizer, labels)
        targets = tokenizer(text_target=[row["label"][0] for row in rows])["input_ids"]
        effect = "lose their end, which cannot be learnt or written"
        yield Lengths(self.written, "task.max_new_tokens", list(map(len, targets)), effect)

    def shown(self, columns: Mapping[str, list[Any]], number: int, row: Row) -> Iterator[Shown]:
        yield Shown("input", columns["input_ids"][number])
        target = columns["labels"][number]
        yield Shown("target", target, [True] * len(target))

    def configure_network(self, network: Any) -> None:
        """Set the network's generation settings, which are saved with it."""
        from transformers import GenerationConfig

        config, before = network.config, network.generation_config
        network.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=self.max_new_tokens,
            num_beams=self.num_beams,
            no_repeat_ngram_size=self.no_repeat_ngram_size,
            # In multilingual models it selects the language to generate.
            forced_bos_token_id=before.forced_bos_token_id,
            decoder_start_token_id=config.decoder_start_token_id,
            bos_token_id=getattr(config, "bos_token_id", None),  # T5 has none
            eos_token_id=eos_setting(network),
            pad_token_id=config.pad_token_id,
            **({"length_penalty": self.length_penalty} if self.num_beams > 1 else {}),
        )

    def network_notes(self, network: Any) -> Iterator[str]:
        from lightning_modules.text.loss import notes_of

        yield from notes_of(network)

    def validation_examples(self, examples: Dataset) -> Dataset:
        if self.num_generated is None:
            return examples
        chosen = [number < self.num_generated for number in range(len(examples))]
        return examples.add_column("is_generated", chosen)

    def num_written(self, num_examples: int) -> int:
        return min(num_examples, self.num_generated or num_examples)

    def width(self, batch: Batch) -> int:
        return super().width(batch) + (batch["labels"].shape[1] if "labels" in batch else 0)

    def forward(self, network: Any, batch: Batch) -> Any:
        """Return the losses of the target's tokens; None without one, e.g. in `predict`."""
        from lightning_modules.text.loss import target_losses

        if "labels" not in batch:
            return None
        shifted_BT = network.prepare_decoder_input_ids_from_labels(batch["labels"])
        inputs = {**self.inputs(batch), "decoder_input_ids": shifted_BT, "use_cache": False}
        on_host = batch.get(LABELS_ON_HOST)
        return target_losses(
            network, inputs, batch["labels"], self.label_smoothing, labels_on_host=on_host
        )

    def num_targets(self, batch: Batch) -> Tensor:
        return (batch["labels"] != IGNORED).sum()

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        loss_sum: Tensor = output.loss_sum
        return loss_sum

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        """Return the generated tokens; `IGNORED` after their end and in rows without a text."""
        import torch

        wanted_B = batch.get("is_generated")
        if wanted_B is None or bool(wanted_B.all()):
            return {"written_BT": _generated(network, self.inputs(batch)).cpu()}
        num_rows = len(wanted_B)
        written_BT = torch.full((num_rows, 0), IGNORED)
        if bool(wanted_B.any()):
            some = {name: tensor[wanted_B] for name, tensor in self.inputs(batch).items()}
            found = _generated(network, some).cpu()
            written_BT = torch.full((num_rows, found.shape[1]), IGNORED)
            written_BT[wanted_B.cpu()] = found
        return {"written_BT": written_BT}

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        written = texts_of(observed, examples)
        texts = list(written.values())
        references = [examples.rows[row]["label"] for row in written]
        return {name: round(value, 6) for name, value in self.measure(texts, references).items()}

    def scorer(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Callable[[Sequence[int]], float]:
        written = texts_of(observed, examples)  # decoded once, for all parts
        texts = list(written.values())
        references = [examples.rows[row]["label"] for row in written]

        def score_of(kept: Sequence[int]) -> float:
            some = [texts[number] for number in kept], [references[number] for number in kept]
            return round(self.measure(*some)[self.metric], 6)

        return score_of

    def num_scored(self, observed: Mapping[str, Tensor], examples: Examples) -> int:
        """Return the number of generated texts: those of the first rows."""
        return int((observed["written_BT"] != IGNORED).any(dim=1).sum())

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        return [{"prediction": text} for text in texts_of(observed, examples).values()]

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return the texts generated for the first and the worst rows, and the scoring settings."""
        written = texts_of(observed, examples)
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

    def constant_guess(self, examples: Examples) -> Baseline:
        """Return the score of empty texts; the baselines of these tasks read the rows."""
        return Baseline("writing nothing", 0.0)

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


def _generated(network: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the generated tokens, with their end token and without the decoder's start token."""
    import torch

    written_BT = network.generate(**inputs)[:, 1:]
    ends = torch.tensor(network.generation_config.eos_token_id, device=written_BT.device)
    is_end_BT = torch.isin(written_BT, ends)
    is_behind_BT = (is_end_BT.cumsum(dim=1) - is_end_BT.long()) > 0
    found: Tensor = written_BT.masked_fill(is_behind_BT, IGNORED)
    return found


def texts_of(observed: Mapping[str, Tensor], examples: Examples) -> dict[int, str]:
    """Return the generated texts by row number."""
    texts = {}
    for row, tokens in enumerate(observed["written_BT"].tolist()):
        kept = [token for token in tokens if token != IGNORED]
        if kept:
            texts[row] = examples.tokenizer.decode(kept, skip_special_tokens=True).strip()
    return texts
