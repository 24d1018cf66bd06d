"""Prompting: the pretrained model answers a prompt, without training (`text/prompt.py`).

- `similarity`: compares an encoder's embedding of the text with those of the labels' descriptions
  (zero-shot: Yin et al. 2019, arXiv:1909.00161) and, with shots, of the labels' examples;
- `mask`: compares the labels' words in the place of a mask (Schick and Schütze 2021,
  arXiv:2001.07676);
- `causal`: compares the log-probabilities of the labels' words after the prompt, which starts with
  the shots (Brown et al. 2020, arXiv:2005.14165).

Cost: one validation. Shots make a prompt longer: a prompt longer than `data.max_length` is cut at
its start, which removes the first shots first.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean
from lightning_modules.machine.file import write_json
from lightning_modules.model.attention import Attention
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.files.fault import loading
from lightning_modules.model.files.folder import ModelFolder
from lightning_modules.model.files.text import read_object
from lightning_modules.model.hub import Hub
from lightning_modules.model.kind import Kind
from lightning_modules.model.plain import Reader, read_plainly
from lightning_modules.model.saved import save_network
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.schema import member_of, positive
from lightning_modules.strategy.base import Strategy
from lightning_modules.strategy.feature_extraction import BACKBONE
from lightning_modules.strategy.prompting_card import usage_lines
from lightning_modules.task.classification import Classification
from lightning_modules.text.prompt import broken_rule, choose_shots, description, filled, question

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.model.base import Model
    from lightning_modules.model.light import LightTokenizer
    from lightning_modules.task.base import Task

PROMPTING_FILE = "prompting.json"
CONTENT_FREE = "N/A"  # Zhao et al. 2021


class How(Enum):
    """How a model is prompted."""

    auto = "auto"
    """By pretraining: `causal` if the model writes, `mask` if it fills masks, else `similarity`."""
    similarity = "similarity"
    mask = "mask"
    causal = "causal"


_NEEDED = {How.similarity: Kind.encoder, How.mask: Kind.encoder, How.causal: Kind.decoder}


@dataclass(frozen=True, kw_only=True)
class Prompting(Strategy):
    """Prompt the pretrained model.

    Attributes:
        how: `auto`, `similarity`, `mask` or `causal`.
        template: The prompt, with {text} followed by {label}, and {text_pair} if rows have two
            texts.
        label_words: The word or description for each label; a missing label stands for itself.
            With `mask` it must be one token.
        num_shots: Training rows per label shown to the model, >= 0; fewer if a label has fewer.
        shots_seed: Which rows; a larger `num_shots` includes the rows of a smaller one.
        description_weight: How many shots a label's description counts as, > 0; `similarity` only.
        temperature: Divides the cosines, > 0; it changes the confidence, not the answers;
            `similarity` only.
        calibrate: Subtract the logits of a content-free prompt.

    """

    how: How
    template: str
    label_words: dict[str, str]
    num_shots: int
    shots_seed: int
    description_weight: float
    temperature: float
    calibrate: bool

    trains: ClassVar[bool] = False
    ignores: ClassVar[tuple[str, ...]] = (
        "optimizer",
        "schedule",
        "strategy.lr",
        "data.batch_size",
        "trainer.epochs",
        "trainer.max_steps",
        "trainer.validations_per_epoch",
        "trainer.patience",
        "trainer.max_grad_norm",
        "trainer.micro_batch_size",
        "trainer.micro_batch_tokens",
    )
    shots: ClassVar[tuple[Row, ...]] = ()

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "description_weight", "temperature")
        if self.num_shots < 0:
            yield Problem("num_shots", "must be >= 0", self.num_shots)
        rule = broken_rule(self.template)
        if rule is not None:
            fix = "Write a sentence around them, e.g. '{text} It was {label}.'."
            yield Problem("template", rule, self.template, fix)

    def check(self, model: Model, task: Task) -> None:
        super().check(model, task)
        if not isinstance(task, Classification):
            rule, got = "must be classification for strategy=prompting", member_of(task)
            fix = "Set strategy=lora or strategy=full."
            raise ConfigError(Problem("task", rule, Verbatim(got), fix))
        self.resolved_how(model)

    def resolved_how(self, model: Model) -> How:
        """Return how to prompt this model; raise ConfigError if it does not support that."""
        kind, how = model.known_kind() or Kind.encoder, self.how
        if how is How.auto:
            reads = How.mask if model.fills_masks else How.similarity
            how = How.causal if kind is Kind.decoder else reads
        if kind is not _NEEDED[how]:
            rule = f"strategy.how={how.value} needs a model of kind {_NEEDED[how].value}"
            got = Verbatim(f"{model.name}, of kind {kind.value}")
            raise ConfigError(Problem("model", rule, got))
        if how is How.mask and not model.fills_masks:
            rule = "strategy.how=mask needs a model trained to fill masks"
            fix = "Set strategy.how=similarity, or model=roberta."
            raise ConfigError(Problem("model", rule, Verbatim(model.name), fix))
        return how

    def fit_to_rows(self, model: Model, task: Task, corpus: Corpus) -> Prompting:
        rows = corpus.splits["train"]
        labels = task.labels(corpus)
        problems = list(self._label_problems(labels))
        if "text_pair" in rows[0] and "{text_pair}" not in self.template:
            rule = "must contain {text_pair}, because the rows have two texts"
            problems.append(Problem("strategy.template", rule, self.template))
        if problems:
            raise ConfigError(problems)
        shots = choose_shots(rows, labels, self.num_shots, self.shots_seed)
        return self.from_state(
            {"how": self.resolved_how(model).value, "shots": [dict(row) for row in shots]}
        )

    def _label_problems(self, labels: Sequence[str]) -> Iterator[Problem]:
        for label in self.label_words:
            if label not in labels:
                rule = f"must name a label of the data ({', '.join(labels)})"
                fix = did_you_mean(label, labels)
                yield Problem(f"strategy.label_words.{label}", rule, self.label_words[label], fix)
        words = [self.word(label) for label in labels]
        if len(set(words)) < len(words):
            rule = "must differ between labels"
            yield Problem("strategy.label_words", rule, Verbatim(", ".join(words)))

    def from_state(self, state: Mapping[str, Any]) -> Prompting:
        values = {field.name: getattr(self, field.name) for field in fields(Prompting)}
        values |= {"how": How(state["how"]), "shots": tuple(state["shots"])}
        return FittedPrompting(**values)

    def word(self, label: str) -> str:
        """Return the word or description for the label."""
        return self.label_words.get(label, label)

    @property
    def cache_key(self) -> Hashable:
        return type(self).load, self.how

    def load_tokenizer(
        self, model: Model, task: Task, rows: Sequence[Row]
    ) -> PreTrainedTokenizerBase:
        tokenizer = model.load_tokenizer()
        if self.resolved_how(model) is not How.similarity:
            tokenizer.truncation_side = "left"  # the question is at the end
            tokenizer.init_kwargs["truncation_side"] = "left"  # saved with an export
        return tokenizer

    def light_tokenizer(
        self, model: Model, task: Task, rows: Sequence[Row]
    ) -> LightTokenizer | None:
        tokenizer = model.light_tokenizer()
        if tokenizer is not None and self.resolved_how(model) is not How.similarity:
            tokenizer.truncation_side = "left"
        return tokenizer

    @property
    def writes_specials(self) -> bool:
        return self.how is How.mask

    def prepare(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> Sequence[Row]:
        if self.how is How.similarity:
            return rows
        reader = Reader(tokenizer)
        if self.writes_specials:
            tokenizer.split_special_tokens = False
        word = self.word
        shown = [
            filled(self.template, _escaped(shot, reader), word(shot["label"]))
            for shot in self.shots
        ]
        return [
            {
                **{name: cell for name, cell in row.items() if name != "text_pair"},
                "text": "\n".join([*shown, self._question(_escaped(row, reader), tokenizer)]),
            }
            for row in rows
        ]

    def _question(self, row: Row, tokenizer: PreTrainedTokenizerBase) -> str:
        if self.how is How.mask:
            return filled(self.template, row, str(tokenizer.mask_token))
        return question(self.template, row)

    def head_note(self, model: Model, task: Task, labels: Sequence[str]) -> str:
        return ""

    def load(
        self, model: Model, task: Task, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> nn.Module:
        from lightning_modules.model import prompted

        auto_class, network = {
            How.similarity: ("AutoModel", prompted.Similarity),
            How.mask: ("AutoModelForMaskedLM", prompted.Mask),
            How.causal: ("AutoModelForCausalLM", prompted.Causal),
        }[self.resolved_how(model)]
        return network(model.load_network(auto_class), tokenizer, labels)

    def adapt(self, network: Any) -> nn.Module:
        from lightning_modules.model.prompted import Similarity

        network.eval().requires_grad_(False)
        words = [self.word(label) for label in network.labels]
        if isinstance(network, Similarity):
            descriptions = [description(self.template, word) for word in words]
            shots = [self._texts_of(label) for label in network.labels]
            network.describe(descriptions, shots, self.description_weight, self.temperature)
        else:
            network.name(words)
        if self.calibrate:
            row = {"text": CONTENT_FREE, "text_pair": CONTENT_FREE}
            (prompt,) = self.prepare([row], network.tokenizer)
            network.calibrate(prompt["text"])
        adapted: nn.Module = network
        return adapted

    def _texts_of(self, label: str) -> tuple[list[str], list[str]]:
        shots = [shot for shot in self.shots if shot["label"] == label]
        pairs = [shot["text_pair"] for shot in shots if "text_pair" in shot]
        return [shot["text"] for shot in shots], pairs

    @classmethod
    def needs_base(cls, folder: Path) -> bool:
        return True

    @classmethod
    def check_export(cls, folder: Path, labels: Sequence[str], base: str | None) -> None:
        _stored(folder)
        if base is None:
            ModelFolder(folder / BACKBONE).check_weights()

    @classmethod
    def load_export(
        cls, folder: Path, task: Task, labels: Sequence[str], base: str | None
    ) -> tuple[nn.Module, Strategy | None]:
        strategy = _stored(folder)
        tokenizer = read_plainly(ModelFolder(folder).load_tokenizer())
        model = Hub(
            path=base or str(folder / BACKBONE),
            revision=None,
            attention=Attention.sdpa,
            dtype=Dtype.fp32,
        )
        return strategy.adapt(strategy.load(model, task, labels, tokenizer)), strategy

    def export(self, network: Any, tokenizer: Any, model: Model, task: Task, folder: Path) -> str:

        if model.hub_name is None:  # it cannot be downloaded
            save_network(network.backbone, self.export_dtype(model), folder / BACKBONE)
        tokenizer.save_pretrained(folder)
        write_json(folder / PROMPTING_FILE, {**asdict(self), "how": self.how.value})
        (prompt,) = self.prepare([{"text": "Your text."}], tokenizer)
        return usage_lines(network, prompt["text"], model.hub_name or BACKBONE, folder)


@dataclass(frozen=True, kw_only=True)
class FittedPrompting(Prompting):
    """Prompting with its shots chosen and `how` settled.

    Attributes:
        shots: Training rows.

    """

    shots: tuple[Row, ...]  # type: ignore[misc]

    @property
    def state(self) -> Mapping[str, Any]:
        return {"how": self.how.value, "shots": list(self.shots)}


def _escaped(row: Row, reader: Reader) -> Row:
    """Return a row whose texts spell no special token."""
    texts = {name: reader.escape(row[name]) for name in ("text", "text_pair") if name in row}
    return {**row, **texts}


def _stored(folder: Path) -> FittedPrompting:
    files = ModelFolder(folder)
    with loading(files.where, str(folder)):
        return read_prompting(read_object(folder, PROMPTING_FILE))


def read_prompting(values: Mapping[str, Any]) -> FittedPrompting:
    """Return the strategy that `export` wrote."""
    return FittedPrompting(**{**values, "how": How(values["how"]), "shots": tuple(values["shots"])})
