"""Token classification: a tag for each word of a text, and the entities that the tags encode.

The network classifies every token, but only the first token of a word counts, both in the loss
(the mean cross-entropy over words) and in the predictions. A word without a token, e.g. a single
invisible character or a word beyond `max_length`, is predicted O and counts like any other.

Metrics: entity_precision, entity_recall and entity_f1 over all entities, as in seqeval
(`lightning_modules.task.metric.entity` defines when an entity is correct); token_accuracy, the
share of words with the correct tag, most of which are O.
Example row: `{"text": ["Anna", "left", "Oslo"], "label": ["B-person", "O", "B-place"]}`.

Shapes: B batch, T tokens, W words, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.batch.type import IGNORED, Batch
from lightning_modules.error import DataError, Problem, Verbatim
from lightning_modules.model.kind import Kind
from lightning_modules.rows import cell
from lightning_modules.rows.cell import Refused
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.task import label
from lightning_modules.task.base import (
    MISTAKES,
    NUM_MISTAKES,
    Baseline,
    Direction,
    Examples,
    Tables,
    Task,
)
from lightning_modules.task.metric.entity import (
    OUTSIDE,
    PREFIXES,
    Entity,
    Scheme,
    detect_scheme,
    entities,
    flaw,
    tally,
    type_of,
)
from lightning_modules.task.span import check_offsets
from lightning_modules.text.length import MAX_LENGTH, NO_LIMIT, Lengths
from lightning_modules.text.shown import Shown

if TYPE_CHECKING:
    from torch import Tensor

PER_TYPE = "per_type"


@dataclass(frozen=True, kw_only=True)
class TokenClassification(Task):
    """Token classification.

    Attributes:
        scheme: How tags mark where entities start and end: `bio` (IOB2), `bioes`, `iob1`, `plain`
            (no prefixes: parts of speech), or `auto`, the first of these in which all rows are
            well-formed.

    """

    scheme: Scheme

    auto_class: ClassVar[str] = "AutoModelForTokenClassification"
    shares_passes: ClassVar[bool] = True
    directions: ClassVar[Mapping[str, Direction]] = {
        "entity_f1": "maximize",
        "entity_precision": "maximize",
        "entity_recall": "maximize",
        "token_accuracy": "maximize",
    }
    cells: ClassVar[Mapping[str, cell.Cell]] = {"text": cell.words, "label": cell.tags}
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.encoder, Kind.decoder)
    not_inputs: ClassVar[frozenset[str]] = frozenset(("labels", "starts"))
    decoded: ClassVar[tuple[str, ...]] = ("prediction", "entities")

    def check_row(self, row: Row) -> tuple[str, Refused] | None:
        """Refuse tags that are malformed in the scheme, or not one per word."""
        num_words, num_tags = len(row["text"]), len(row["label"])
        if num_words != num_tags:
            rule = f"must have one tag for each of the {num_words} words, but has {num_tags}"
            return "label", Refused(rule)
        tags, schemes = row["label"], list(PREFIXES)
        if self.scheme is not Scheme.auto:
            schemes = [self.scheme]
        elif any(tag.startswith(("E-", "S-")) for tag in tags):
            schemes = [Scheme.bioes]
        flaws = [flaw(tags, scheme) for scheme in schemes]
        if None in flaws:
            return None
        fix = "Correct the row, or set task.scheme to the scheme of your tags."
        return "label", Refused(f"must be well-formed {schemes[0].value} tags: {flaws[0]}", fix)

    def required(self, row: Row) -> Iterator[str]:
        yield from _types([row])

    def labels(self, corpus: Corpus) -> tuple[str, ...]:
        """Return O and, for each type in the training rows, every tag of the scheme."""
        scheme = self._scheme(corpus)
        types = {split: _types(rows) for split, rows in corpus.splits.items()}
        problems = list(label.unseen(types, types["train"], "entity type"))
        if not types["train"]:
            rule, got = "the training rows must have an entity", Verbatim("only the tag O")
            fix = "Set data.label to the column with the tags."
            problems.insert(0, Problem("data.label", rule, got, fix))
        if problems:
            raise DataError(problems)
        if scheme is Scheme.plain:
            return (OUTSIDE, *sorted(types["train"]))
        tags = (f"{each}-{kind}" for kind in sorted(types["train"]) for each in PREFIXES[scheme])
        return (OUTSIDE, *tags)

    def _scheme(self, corpus: Corpus) -> Scheme:
        if self.scheme is not Scheme.auto:
            return self.scheme
        rows = chain.from_iterable(corpus.splits.values())
        found = detect_scheme(row["label"] for row in rows)
        if found is None:
            rule, got = "all rows must use the same tagging scheme", Verbatim("several schemes")
            names = ", ".join(scheme.value for scheme in PREFIXES)
            fix = f"Set task.scheme to one of {names}, to see the rows that do not follow it."
            raise DataError(Problem("data.label", rule, got, fix))
        return found

    def check_known(self, rows: Sequence[Row], labels: Sequence[str]) -> None:
        label.check_known(chain.from_iterable(row["label"] for row in rows), labels)

    def texts(self, row: Row) -> Iterator[str]:
        yield " ".join(row["text"])

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        labels = (" ".join(row["label"]) for row in chain.from_iterable(splits.values()))
        yield from label.conflicting(map(self.identities, splits.values()), labels)

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        check_offsets(tokenizer, "token classification")
        # As one text: many tokenizers reject a list of words, or lose the spaces between them.
        texts = [" ".join(row["text"]) for row in rows]
        encoded = tokenizer(texts, truncation=True, max_length=max_length)
        columns = dict(encoded)
        columns["starts"] = [_starts(encoded, n, row["text"]) for n, row in enumerate(rows)]
        if rows and "label" in rows[0]:
            number = {name: index for index, name in enumerate(labels)}
            columns["labels"] = [[number[tag] for tag in row["label"]] for row in rows]
        return columns

    def lengths(
        self, rows: Sequence[Row], tokenizer: Any, labels: Sequence[str]
    ) -> Iterator[Lengths]:
        columns = self.encode(rows, tokenizer, NO_LIMIT, labels)
        tokens = [len(ids) for ids in columns["input_ids"]]
        # A word is read if its first token is, and the special tokens after it need space too.
        words: list[int] = []
        for starts in columns["starts"]:
            read = [start for start in starts if start >= 0]
            num_after = tokenizer.num_special_tokens_to_add() - min(read, default=0)
            words += [start + 1 + max(num_after, 0) for start in read]
        yield Lengths("texts", MAX_LENGTH, tokens, "are cut", words, f"words count as {OUTSIDE}")

    def shown(self, columns: Mapping[str, list[Any]], number: int, row: Row) -> Iterator[Shown]:
        """Yield the tokens, of which the first of each word is trained, and the words' tags."""
        ids, starts = columns["input_ids"][number], columns["starts"][number]
        yield Shown("input", ids, [place in starts for place in range(len(ids))])
        pairs = list(zip(row["text"], row.get("label", ()), starts, strict=False))
        yield Shown("tags", text=" ".join(f"{word}/{tag}" for word, tag, at in pairs if at >= 0))
        if unread := [word for word, _, at in pairs if at < 0]:
            yield Shown("not read", text=" ".join(unread))

    def config(self, labels: Sequence[str]) -> dict[str, Any]:
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {name: index for index, name in enumerate(labels)},
        }

    def num_targets(self, batch: Batch) -> Tensor:
        # A batch may be one text without any token; its loss is 0.
        return (batch["starts"] >= 0).sum().clamp(min=1)

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        from torch.nn.functional import cross_entropy

        logits_BWC = _of_words(output.logits, batch)
        labels_BW = batch["labels"].masked_fill(batch["starts"] < 0, IGNORED)
        return cross_entropy(
            logits_BWC.float().flatten(0, 1),
            labels_BW.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
        )

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        predicted_BW = _of_words(output.logits.detach(), batch).argmax(dim=2)
        # O is class 0. `_tags` cuts off the padding after a text's last word.
        return {"predicted_BW": predicted_BW.masked_fill(batch["starts"] < 0, 0).int().cpu()}

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        predicted = _tags(observed, examples)
        true = [row["label"] for row in examples.rows]
        pairs = zip(true, predicted, strict=True)
        num_right = sum(one == other for pair in pairs for one, other in zip(*pair, strict=True))
        found = tally(_pairs(observed, examples)).score()
        scores = {f"entity_{name}": value for name, value in found.items()}
        scores["token_accuracy"] = num_right / sum(map(len, true))
        return {name: round(scores[name], 6) for name in self.directions}

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        decoded = []
        for row, tags in zip(examples.rows, _tags(observed, examples), strict=True):
            found = [
                {
                    "type": each.type,
                    "text": " ".join(row["text"][each.start : each.end]),
                    "start": each.start,
                    "end": each.end,
                }
                for each in entities(tags, examples.labels)
            ]
            decoded.append({"prediction": tags, "entities": found})
        return decoded

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return the texts with the most wrong entities, and the scores of each type."""
        pairs = _pairs(observed, examples)
        found = tally(pairs)
        types = sorted({*found.support, *found.predicted})
        return {
            MISTAKES: _mistakes(pairs, examples.rows),
            PER_TYPE: [
                {
                    "type": kind,
                    **{name: round(value, 6) for name, value in found.score(kind).items()},
                    "support": found.support[kind],
                    "predicted": found.predicted[kind],
                }
                for kind in types
            ],
        }

    def baseline(self, rows: Sequence[Row]) -> Baseline | None:
        """Return the token_accuracy of always predicting O, which finds no entities."""
        if self.metric != "token_accuracy":
            return None
        tags = list(chain.from_iterable(row["label"] for row in rows))
        return Baseline(f"always {OUTSIDE!r}", tags.count(OUTSIDE) / len(tags))

    def constant_guess(self, examples: Examples) -> Baseline:
        """Return the score of always predicting O: of entities, 0."""
        found = self.baseline(examples.rows)
        return Baseline(f"always {OUTSIDE!r}", 0.0) if found is None else found

    def constant_prediction(self, tables: Tables) -> str | None:
        records = tables.get(PER_TYPE, ())
        is_silent = records and not any(record["predicted"] for record in records)
        return "predicts no entity in any row" if is_silent else None

    def usage_lines(self) -> str:
        return """\
words = ["Anna", "Berg", "left", "Oslo"]
inputs = tokenizer(" ".join(words), truncation=True, return_tensors="pt")
tags = model(**inputs).logits[0].argmax(-1).tolist()
for number, word in enumerate(words):
    token = inputs.char_to_token(len(" ".join([*words[:number], ""])))  # the word's first
    print(word, "O" if token is None else model.config.id2label[tags[token]])
"""


def _types(rows: Sequence[Row]) -> set[str]:
    tags = chain.from_iterable(row["label"] for row in rows)
    return {type_of(tag) for tag in tags if tag != OUTSIDE}


def _starts(encoded: Any, number: int, words: Sequence[str]) -> list[int]:
    """Return the position of each word's first token in text `number`; IGNORED if it has none."""
    starts, begin = [], 0
    for word in words:
        tokens = (encoded.char_to_token(number, begin + place) for place in range(len(word)))
        starts.append(next((token for token in tokens if token is not None), IGNORED))
        begin += len(word) + 1
    return starts


def _of_words(logits_BTC: Tensor, batch: Batch) -> Tensor:
    """Return the logits of each word's first token; for a word without one, of any token."""
    # The batch may be padded on the left.
    padding_B1 = batch["attention_mask"].argmax(dim=1, keepdim=True)
    places_BW = batch["starts"].clamp(min=0) + padding_B1
    return logits_BTC.gather(1, places_BW.unsqueeze(2).expand(-1, -1, logits_BTC.shape[2]))


def _tags(observed: Mapping[str, Tensor], examples: Examples) -> list[list[str]]:
    """Return the predicted tag of each word."""
    predicted = observed["predicted_BW"].tolist()
    return [
        [examples.labels[number] for number in numbers[: len(row["text"])]]
        for row, numbers in zip(examples.rows, predicted, strict=True)
    ]


def _pairs(
    observed: Mapping[str, Tensor], examples: Examples
) -> list[tuple[list[Entity], list[Entity]]]:
    """Return the true and the predicted entities of each text."""
    labels, predicted = examples.labels, _tags(observed, examples)
    return [
        (entities(row["label"], labels), entities(tags, labels))
        for row, tags in zip(examples.rows, predicted, strict=True)
    ]


def _mistakes(
    pairs: Sequence[tuple[Sequence[Entity], Sequence[Entity]]], rows: Sequence[Row]
) -> list[dict[str, Any]]:
    """Return the texts with the most missed and spurious entities first."""
    wrong = [({*true} - {*found}, {*found} - {*true}) for true, found in pairs]
    sizes = [len(missed) + len(spurious) for missed, spurious in wrong]
    ranked = sorted((n for n in range(len(rows)) if sizes[n]), key=lambda n: (-sizes[n], n))
    return [
        {
            "text": " ".join(rows[number]["text"]),
            "missed": _listed(wrong[number][0], rows[number]["text"]),
            "spurious": _listed(wrong[number][1], rows[number]["text"]),
            "num_wrong": sizes[number],
        }
        for number in ranked[:NUM_MISTAKES]
    ]


def _listed(found: set[Entity], words: Sequence[str]) -> str:
    """Return the entities on one line, e.g. "Anna Berg (person), Oslo (place)"."""
    return ", ".join(
        f"{' '.join(words[each.start : each.end])} ({each.type})" for each in sorted(found)
    )
