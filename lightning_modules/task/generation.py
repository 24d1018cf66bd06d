"""Generation: causal language modelling of texts, and instruction tuning on answers.

    loss = - sum_t log p(x_t | x_1 ... x_{t-1})  over the targets t

Rows with only a `text` are documents, and all their tokens are targets. A row with a `label` is a
prompt and its answer; a row whose text is a list of messages is a conversation, and its second text
lists the tools that it may call. In both, only the answers are targets, including their end token
(`lightning_modules.text.answered`).

Metrics, over all targets of a split: nats_per_token, the mean loss; perplexity, its exponential;
nats_per_character and bits_per_byte (of UTF-8), which do not depend on the tokenizer. If rows have
answers, also rouge1, rougeL (F1; Lin 2004, with stemming) and exact_match, over the answers that
the network generates to the last question of each of the first `num_generated` examples; with a
pattern `final_answer` the share of right final answers, too (`metric.final`).
Example rows: `{"text": "To be, or not to be"}`, `{"text": "Capital of Peru?", "label": "Lima"}`.

Shapes: B batch, T tokens, V vocabulary, P prompt tokens, G generated tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.batch.type import IGNORED, LABELS_ON_HOST, Batch
from lightning_modules.error import ConfigError, DataError, Problem, Verbatim
from lightning_modules.model.kind import Kind
from lightning_modules.rows import cell
from lightning_modules.rows.cell import Refused
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.schema import countable, positive
from lightning_modules.task.base import GENERATED, Baseline, Direction, Examples, Tables, Task
from lightning_modules.task.metric.answer import ANSWER_METRICS, answer_scores, answer_values
from lightning_modules.task.metric.final import FINAL, final_answer, pattern_problems
from lightning_modules.task.metric.token import shares_entropy, token_scores
from lightning_modules.text.answered import (
    DOCUMENT,
    Answered,
    Answers,
    Conversations,
    asked,
    has_answers,
    marked,
    target_text,
)
from lightning_modules.text.block import blocks
from lightning_modules.text.causal import Marks, columns_of, runs_of_targets
from lightning_modules.text.chat import ASSISTANT, broken_rule, contents, said
from lightning_modules.text.length import MAX_LENGTH, NO_LIMIT, Lengths
from lightning_modules.text.packing import packed
from lightning_modules.text.shorten import CUT
from lightning_modules.text.shown import Shown, shown_targets
from lightning_modules.text.template import ASKED, FIX_TEMPLATE, TEXT, columns_in
from lightning_modules.text.template import broken_rule as template_rule
from lightning_modules.text.template import notes_of as template_notes
from lightning_modules.text.usage import continue_lines, conversation_lines, question_lines
from lightning_modules.text.written import NUM_SHOWN, decoded, reference_of, scattered

if TYPE_CHECKING:
    from torch import Tensor

CONVERSATIONS = "conversations"
_FINAL: Mapping[str, Direction] = {FINAL: "maximize"}
_SET_PATTERN = "For '... #### 42' set 'task.final_answer=\"#### (.+)\"'."
NUM_GUESSED = 2000  # validation rows whose tokens are counted for the guess by their shares


class Packing(Enum):
    """How documents become examples of `data.max_length` tokens."""

    documents = "documents"
    """End to end, cut into blocks in which documents cannot attend to each other."""
    stream = "stream"
    """End to end, cut into blocks in which a token attends to everything before it, like nanoGPT;
    training windows start at random positions, drawn again each epoch."""
    none = "none"
    """One example per document, padded; longer documents are truncated."""


@dataclass(frozen=True, kw_only=True)
class Generation(Task):
    """Causal language modelling, and instruction tuning if the rows have answers.

    Attributes:
        packing: `documents`, `stream` or `none`: how texts without answers become examples.
            Each question with an answer is one example.
        conversations: `whole` or `turns`: how conversations become examples.
        pack_answers: Whether examples with answers are trained on in blocks of `data.max_length`
            tokens, several in one, in which they do not see each other. `data.batch_size` then
            counts blocks.
        template: The prompt for a question: `{text}` is the question, and any other column in
            braces that column's cell (`lightning_modules.text.template`).
        system: The system message of conversations that have none, or None.
        chat_template: Jinja template that formats a list of messages, like transformers' chat
            templates; for tokenizers without one.
        max_new_tokens: Most tokens to generate, > 0.
        num_generated: Generate for this many of the first validation examples, >= 0.
        temperature: >= 0; 0 is greedy decoding, higher values sample.
        final_answer: A regular expression whose one group is the final answer in a worked one, e.g.
            `#### (.+)`; None does not look for it.

    """

    packing: Packing
    conversations: Conversations
    pack_answers: bool
    template: str
    system: str | None
    chat_template: str
    max_new_tokens: int
    num_generated: int
    temperature: float
    final_answer: str | None

    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    shares_passes: ClassVar[bool] = True
    directions: ClassVar[Mapping[str, Direction]] = {
        "perplexity": "minimize",
        "nats_per_token": "minimize",
        "nats_per_character": "minimize",
        "bits_per_byte": "minimize",
        "rouge1": "maximize",
        "rougeL": "maximize",
        "exact_match": "maximize",
    }
    cells: ClassVar[Mapping[str, cell.Cell]] = {
        "text": cell.conversation,
        "text_pair": cell.tools,
        "label": cell.answer,
    }
    optional: ClassVar[frozenset[str]] = frozenset(("text_pair", "label"))
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.decoder,)
    writes_specials: ClassVar[bool] = True
    reads_instructions: ClassVar[bool] = True
    scoring_columns: ClassVar[frozenset[str]] = frozenset(
        ("row", "number", "prompt_length", "num_characters", "num_bytes")
    )
    not_inputs: ClassVar[frozenset[str]] = scoring_columns | {"labels"}

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "max_new_tokens")
        yield from countable(self, "max_new_tokens")
        if (rule := template_rule(self.template)) is not None:
            yield Problem("template", rule, self.template, FIX_TEMPLATE)
        if self.system is not None and not self.system.strip():
            yield Problem("system", "must not be empty", self.system, "Set data.system=null.")
        if (rule := broken_rule(self.chat_template)) is not None:
            yield Problem("chat_template", rule, self.chat_template)
        for name in ("num_generated", "temperature"):
            if getattr(self, name) < 0:
                yield Problem(name, "must be >= 0", getattr(self, name))
        yield from pattern_problems(self.final_answer)
        if self.metric in ANSWER_METRICS and self.num_generated == 0:
            rule, fix = f"must be > 0 for metric={self.metric}", "Set num_generated=100."
            yield Problem("num_generated", rule, 0, fix)

    @property
    def goals(self) -> Mapping[str, Direction]:
        return self.directions if self.final_answer is None else {**self.directions, **_FINAL}

    def unknown_metric(self) -> Problem:
        if self.metric != FINAL:
            return super().unknown_metric()
        rule, fix = "task.final_answer must be the pattern of it", _SET_PATTERN
        return Problem("metric", rule, Verbatim("task.final_answer=null"), fix)

    def check_row(self, row: Row) -> tuple[str, Refused] | None:
        """Refuse a conversation that has no answer, or that starts with one."""
        if isinstance(row["text"], str):
            return None
        if row["text"][0]["role"] == ASSISTANT:
            rule = f"must start with a message whose role is not {ASSISTANT!r}"
            return "text", Refused(rule, "Remove its first message, or the row.")
        if "label" in row:
            return None
        if any(message["role"] == ASSISTANT for message in row["text"]):
            return None
        rule = f"must have a message with role {ASSISTANT!r}, or an answer in the label"
        return "text", Refused(rule, "Add the answer, or set data.label=COLUMN.")

    def unsplittable(self, rows: Sequence[Row], num_rows: int, split: str, source: str) -> Problem:
        if num_rows > 1:
            return super().unsplittable(rows, num_rows, split, source)
        rule = f"a single text cannot be split into train and {split}"
        instead = ", or data.test_fraction=0" if split == "test" else ""
        fix = f"Set data.{split}=FILE{instead}."
        return Problem("data.train", rule, Verbatim(f"1 row in {source}"), fix)

    def labels(self, corpus: Corpus) -> tuple[str, ...]:
        """Refuse mixed kinds of rows, and a metric that needs answers if there are none."""
        for split, rows in corpus.splits.items():
            if self.system is not None and isinstance(rows[0]["text"], str):
                rule = f"must be null for the texts of {split}, which are no conversations"
                fix = "Write it in task.template."
                raise DataError(Problem("data.system", rule, self.system, fix))
            if self.prompt_of(None) is not None and ASKED not in rows[0]:
                rule = "must hold {text} and no other column for data without columns"
                raise DataError(Problem("task.template", rule, self.template))
            is_question = isinstance(rows[0]["text"], str) and ASKED not in rows[0]
            if "label" in rows[0] and self.label is None and is_question:
                # Rows to predict have no labels: only the task shows that texts are questions.
                rule = "must name the column of answers, like data.label"
                fix = "Set task.label=COLUMN; data.label follows it."
                raise DataError(Problem("task.label", rule, None, fix))
            if len({has_answers(row) for row in rows}) > 1:
                rule = f"either all rows of {split} or none must have answers"
                raise DataError(Problem("data.text", rule, Verbatim("both")))
            if self.metric == FINAL and has_answers(rows[0]):
                self._check_finals(rows, split)
            if self.metric in ANSWER_METRICS and not has_answers(rows[0]):
                rule = f"{self.metric} must have answers to compare with"
                fix = "Set task.label=COLUMN, or task.metric=perplexity."
                raise DataError(Problem("task.metric", rule, Verbatim("only texts"), fix))
        return ()

    def _check_finals(self, rows: Sequence[Row], split: str) -> None:
        """Refuse rows in whose answers the pattern finds nothing to compare with."""
        if wrong := self._without_final(rows):
            rule = f"every answer of {split} must have a match of {self.final_answer!r}"
            got = Verbatim(f"{len(wrong)} of {len(rows)} without one, e.g. {wrong[0][-60:]!r}")
            raise DataError(
                Problem("task.final_answer", rule, got, "Mend the rows or the pattern.")
            )

    def _without_final(self, rows: Sequence[Row]) -> list[str]:
        """Return the answers in which the pattern finds nothing."""
        assert self.final_answer is not None
        texts = [target_text(row) for row in rows]
        return [text for text in texts if final_answer(self.final_answer, text) is None]

    @property
    def cache_key(self) -> str:
        return f"{super().cache_key}{CUT}"

    @property
    def packs_rows(self) -> bool:
        return self.packing is not Packing.none

    @property
    def is_stream(self) -> bool:
        return self.packing is Packing.stream

    def text_of(self, row: Row) -> str:
        text = row["text"]
        return text if isinstance(text, str) else contents(text)

    def texts(self, row: Row) -> Iterator[str]:
        if not has_answers(row):
            yield row["text"]
            return
        if isinstance(row["text"], str):
            yield asked(row, self.template)[0]
        else:
            yield self.system or ""
            for message in row["text"]:
                yield from (message["role"], said(message), message.get("reasoning_content", ""))
            if row.get("text_pair"):
                yield json.dumps(row["text_pair"], ensure_ascii=False)
            yield self.chat_template  # a vocabulary of characters must include the template's
        yield from (row[field] for field in ("label",) if field in row)

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        marks = Marks(tokenizer)
        if rows and has_answers(rows[0]):
            columns = self._encode_answers(rows, tokenizer, max_length)
        else:
            columns = self._encode_documents(rows, marks, max_length)
        columns["number"] = list(range(len(columns["input_ids"])))
        return columns

    @property
    def packs_training(self) -> bool:
        return self.pack_answers

    def encode_training(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        columns = self.encode(rows, tokenizer, max_length, labels)
        if not self.pack_answers or not rows or not has_answers(rows[0]):
            return columns
        return blocks(columns, max_length, Marks(tokenizer).end)

    def encode_unlabelled(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return the prompts: questions up to the start of the answer, or texts to continue."""
        answers, is_question = self._answers(tokenizer, max_length), self.label is not None
        return {"input_ids": [answers.prompt(row, is_question=is_question) for row in rows]}

    def _encode_documents(
        self, rows: Sequence[Row], marks: Marks, max_length: int
    ) -> dict[str, list[Any]]:
        read = (asked(marked(row, marks.reader), DOCUMENT)[0] for row in rows)
        documents = [
            marks.document(row["text"], text) for row, text in zip(rows, read, strict=True)
        ]
        if self.packing is not Packing.none:
            apart = self.packing is Packing.documents
            return packed(documents, max_length, apart=apart, filler=marks.end)
        documents = [marks.cut(document, max_length) for document in documents]
        halves = [max(1, len(document.inputs) // 2) for document in documents]
        return columns_of(documents, range(len(rows)), halves)

    def _encode_answers(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int
    ) -> dict[str, list[Any]]:
        answers = self._answers(tokenizer, max_length)
        found = [(number, each) for number, row in enumerate(rows) for each in answers.of(row)]
        return columns_of(
            [each.document for _, each in found],
            [number for number, _ in found],
            [each.prompt_length for _, each in found],
        )

    def may_cut(self, row: Row) -> bool:
        """Return whether rows are examples of their own; of packed texts no token is lost."""
        return not self.packs_rows or has_answers(row)

    def lengths(
        self, rows: Sequence[Row], tokenizer: Any, labels: Sequence[str]
    ) -> Iterator[Lengths]:
        columns = self.encode(rows, tokenizer, NO_LIMIT, labels)
        tokens = [len(ids) for ids in columns["input_ids"]]
        if not has_answers(rows[0]):
            yield Lengths("texts", MAX_LENGTH, tokens, "lose their end")
            return
        yield Lengths(
            "examples",
            MAX_LENGTH,
            tokens,
            "lose the middle of the prompt, then the end of the answer",
        )
        answers = [size for targets in columns["labels"] for size in runs_of_targets(targets)]
        yield Lengths("answers", "task.max_new_tokens", answers, "cannot be written to their end")

    def shown(self, columns: Mapping[str, list[Any]], number: int, row: Row) -> Iterator[Shown]:
        yield shown_targets("input", columns["input_ids"][number], columns["labels"][number])

    def _answers(self, tokenizer: Any, max_length: int | None) -> Answers:
        return Answers(
            tokenizer,
            self.template,
            self.chat_template,
            self.conversations,
            self.system,
            max_length,
        )

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        if any("label" in row and isinstance(row["text"], str) for row in splits["train"]):
            yield from template_notes(self.template)
        for split in ("validation", "test") if self.final_answer is not None else ():
            rows = splits.get(split) or ()
            wrong = len(self._without_final([row for row in rows if has_answers(row)]))
            if wrong:
                found = f"{wrong} of {len(rows)} answers of {split} have no match"
                yield f"{found} of task.final_answer; what is written for them counts as wrong"

    def encoding_notes(self, rows: Sequence[Row], tokenizer: Any) -> Iterator[str]:
        yield from self._answers(tokenizer, None).notes(rows)

    def network_notes(self, network: Any) -> Iterator[str]:
        from lightning_modules.text.loss import notes_of

        yield from notes_of(network)

    def packing_notes(self, network: Any) -> Iterator[str]:
        from lightning_modules.model.apart import keeps_apart

        if keeps_apart(network):
            return
        name = type(getattr(network, "get_base_model", lambda: network)()).__name__
        if self.pack_answers:
            rule = f"must be false for {name}, in which the examples of a block see each other"
            fix = "Set task.pack_answers=false."
            raise ConfigError(Problem("task.pack_answers", rule, True, fix))
        yield f"{name} lets the documents of a block see each other, as with task.packing=stream"

    def num_written(self, num_examples: int) -> int:
        return min(num_examples, self.num_generated)

    def forward(self, network: Any, batch: Batch) -> Any:
        """Return the targets' losses; None without targets, when `observe` only generates."""
        from lightning_modules.text.loss import target_losses

        if "labels" not in batch:
            return None
        inputs, on_host = {**self.inputs(batch), "use_cache": False}, batch.get(LABELS_ON_HOST)
        return target_losses(network, inputs, batch["labels"], labels_on_host=on_host)

    def num_targets(self, batch: Batch) -> Tensor:
        return (batch["labels"] != IGNORED).sum()

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        loss_sum: Tensor = output.loss_sum
        return loss_sum

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        import torch

        if "labels" not in batch:
            ids_BT = batch["input_ids"]
            mask_BT = batch.get("attention_mask", torch.ones_like(ids_BT))
            lengths = mask_BT.sum(1).tolist()
            prompts = [ids[:length] for ids, length in zip(ids_BT, lengths, strict=True)]
            return {"generated_BG": self._generate(network, prompts).int()}
        labels_BT = batch["labels"]
        observed = {
            "nats_B": output.per_row(len(labels_BT)).cpu(),
            "num_targets_B": (labels_BT != IGNORED).sum(1).cpu(),
            "num_characters_B": batch["num_characters"].cpu(),
            "num_bytes_B": batch["num_bytes"].cpu(),
        }
        chosen = (batch["number"] < self.num_generated).nonzero().flatten().tolist()
        size = len(labels_BT)
        for name, width in (("generated_BG", 0), ("prompt_BP", 0), ("followed_BG", 0)):
            observed[name] = torch.full((size, width), IGNORED, dtype=torch.int32)
        if chosen:
            lengths = batch["prompt_length"].tolist()
            prompts = [batch["input_ids"][row, : lengths[row]] for row in chosen]
            references = [reference_of(batch, row, lengths[row]) for row in chosen]
            found = self._generate(network, prompts)
            observed["generated_BG"] = scattered(found, chosen, size)
            observed["prompt_BP"] = scattered([each[-NUM_SHOWN:] for each in prompts], chosen, size)
            observed["followed_BG"] = scattered(references, chosen, size)
        return observed

    def _generate(self, network: Any, prompts: Sequence[Tensor]) -> Tensor:
        from lightning_modules.text.generate import continuations

        return continuations(network, prompts, self.max_new_tokens, self.temperature)

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        scores = token_scores(observed)
        if self.num_generated and has_answers(examples.rows[0]):
            scores |= answer_scores(*self._written(observed, examples), self.final_answer)
        return {name: round(value, 6) for name, value in scores.items()}

    def row_values(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Sequence[float] | None:
        if self.metric not in ANSWER_METRICS:
            return None
        texts = self._written(observed, examples)
        return answer_values(self.metric, *texts, self.final_answer)

    def num_scored(self, observed: Mapping[str, Tensor], examples: Examples) -> int:
        """Return the number of examples: blocks of text, or answers."""
        return len(observed["nats_B"])

    def scorer(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Callable[[Sequence[int]], float]:
        names = ("nats_B", "num_targets_B", "num_characters_B", "num_bytes_B")

        def score_of(kept: Sequence[int]) -> float:
            return token_scores({name: observed[name][list(kept)] for name in names})[self.metric]

        return score_of

    def _written(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> tuple[list[str], list[str]]:
        """Return the answers that the network generated, and their references."""
        references = [each.content for each in self._references(examples)]
        generated_BG = observed["generated_BG"][: len(references)]
        return decoded(generated_BG, examples.tokenizer), references

    def _references(self, examples: Examples) -> list[Answered]:
        """Return the examples that the network generated answers for."""
        answers = self._answers(examples.tokenizer, examples.max_length)
        found = (each for row in examples.rows for each in answers.of(row))
        return list(islice(found, self.num_generated))

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        written = decoded(observed["generated_BG"], examples.tokenizer)
        return [{"prediction": text} for text in written]

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return the generated texts next to their references."""
        written = decoded(observed["generated_BG"][: self.num_generated], examples.tokenizer)
        if not written:
            return {}
        if has_answers(examples.rows[0]):
            pairs = [(each.question, each.content) for each in self._references(examples)]
        else:
            tokens = (observed[name][: len(written)] for name in ("prompt_BP", "followed_BG"))
            pairs = list(zip(*(decoded(each, examples.tokenizer) for each in tokens), strict=True))
        return {
            GENERATED: [
                {"text": text, "prediction": prediction, "reference": reference}
                for (text, reference), prediction in zip(pairs, written, strict=True)
            ]
        }

    def baseline(self, rows: Sequence[Row]) -> Baseline | None:
        """Return the entropy of the characters or bytes; None for metrics over tokens."""
        texts = [target_text(row) for row in rows]
        if self.metric == "nats_per_character":
            return Baseline("guessing by the characters' shares", shares_entropy(texts))
        if self.metric == "bits_per_byte":
            entropy = shares_entropy([text.encode() for text in texts]) / math.log(2)
            return Baseline("guessing by the bytes' shares", entropy)
        return None

    def constant_guess(self, examples: Examples) -> Baseline | None:
        """Return the score of guessing by the shares of tokens, characters or bytes.

        The shares are those in the validation rows themselves, at most the first `NUM_GUESSED`, of
        each the tokens that an example has at most. For metrics of answers it is that of writing
        nothing.
        """
        if self.metric in ANSWER_METRICS:
            return Baseline("writing nothing", 0.0)
        if self.metric not in ("perplexity", "nats_per_token"):
            return self.baseline(examples.rows)
        rows = examples.rows[:NUM_GUESSED]
        is_cut = self.packing is Packing.none or any(map(has_answers, rows[:1]))
        tokens = examples.tokenizer(
            [target_text(row) for row in rows],
            add_special_tokens=False,
            truncation=is_cut and examples.max_length is not None,
            max_length=examples.max_length if is_cut else None,
            verbose=False,
        )
        entropy = shares_entropy(tokens["input_ids"])
        score = math.exp(entropy) if self.metric == "perplexity" else entropy
        return Baseline("guessing by the tokens' shares", score)

    def constant_prediction(self, tables: Tables) -> str | None:
        written = {record["prediction"] for record in tables.get(GENERATED, ())}
        alike = len(written) == 1 and len(tables[GENERATED]) > 1
        return f"writes {written.pop()!r} for every row" if alike else None

    def form_of(self, rows: Sequence[Row]) -> str | None:
        if not isinstance(rows[0]["text"], str):
            return CONVERSATIONS
        template: str | None = rows[0].get(ASKED, {}).get("template")
        return template

    def prompt_of(self, form: str | None) -> str | None:
        if form is not None:
            return None if form == CONVERSATIONS else form
        return None if columns_in(self.template) == (TEXT,) else self.template

    def as_trained(self, form: str | None, tokenizer: Any) -> Task:
        if form is None:
            return self
        settings = {each.name: getattr(self, each.name) for each in fields(self)}
        if form != CONVERSATIONS:
            return AskedGeneration(**{**settings, "template": form})
        tokenizer.chat_template = tokenizer.chat_template or self.chat_template
        if tokenizer.eos_token is None:  # the template ends a message with it
            tokenizer.eos_token = tokenizer.convert_ids_to_tokens(Marks(tokenizer).end)
        return ChatGeneration(**settings)

    def usage_lines(self) -> str:
        if self.label is None:
            return continue_lines()
        return question_lines(self.template, self.max_new_tokens)


@dataclass(frozen=True, kw_only=True)
class ChatGeneration(Generation):
    """The same for a model trained on conversations, as its export shows it."""

    def usage_lines(self) -> str:
        return conversation_lines(self.max_new_tokens, self.system)


@dataclass(frozen=True, kw_only=True)
class AskedGeneration(Generation):
    """The same for a model trained on prompts of several columns, as its export shows it."""

    def usage_lines(self) -> str:
        return question_lines(self.template, self.max_new_tokens)
