"""Extractive question answering: find the part of a context that answers a question.

The network gives each token a start score and an end score; the loss is the mean of the two
cross-entropies. A long context is read in windows. In a window without the answer, both targets
are its first token; the sum of that token's two scores is the null score, for no answer. An
answer's score is the start score of its first token plus the end score of its last; the prediction
is the best answer over all windows with at most `max_answer_tokens` (Devlin et al. 2019,
arXiv:1810.04805; no answer: Rajpurkar et al. 2018, arXiv:1806.03822).

Metrics: exact_match and f1 as defined by SQuAD, in [0, 1].
Example row: `{"context": "Ann Bell wrote it.", "question": "Who wrote it?",
"answers": {"text": ["Ann Bell"], "answer_start": [0]}}`.

Shapes: B windows, T tokens, A possible ends per start, K spans kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.batch.type import IGNORED, Batch
from lightning_modules.error import ConfigError, DataError, Problem
from lightning_modules.rows import cell
from lightning_modules.rows.corpus import Row, normalized
from lightning_modules.schema import countable, positive
from lightning_modules.task.base import (
    MISTAKES,
    NUM_MISTAKES,
    Baseline,
    Direction,
    Examples,
    Tables,
    Task,
)
from lightning_modules.task.metric.squad import exact_match, f1
from lightning_modules.task.span import Answer, best_answers, best_spans, check_offsets
from lightning_modules.text.length import MAX_LENGTH, Lengths
from lightning_modules.text.shown import Shown
from lightning_modules.text.window import Sizes, Span, context_spans, tokens_of, windows

if TYPE_CHECKING:
    from torch import Tensor

NUM_SHOWN = 100
"""Characters of the context shown on each side of an answer."""
# A window has at least one token of the question and one of the context.
MIN_FREE_TOKENS = 2


@dataclass(frozen=True, kw_only=True)
class QuestionAnswering(Task):
    """Extractive question answering.

    Attributes:
        max_question_tokens: Most tokens of a question to read, > 0, but never more than half of a
            window.
        doc_stride: Tokens of the context that neighbouring windows share, >= 0, but never more
            than half of a window's part of the context. As in transformers' examples; in BERT's
            own code the name means the step between windows.
        max_answer_tokens: Most tokens of an answer, > 0.
        num_best: Answers kept from each window, > 0; probabilities are normalized over the answers
            kept for a question.
        null_threshold: The question has no answer if the null score exceeds the best answer's
            score by more than this; higher values answer more questions. None answers all.

    """

    max_question_tokens: int
    doc_stride: int
    max_answer_tokens: int
    num_best: int
    null_threshold: float | None

    auto_class: ClassVar[str] = "AutoModelForQuestionAnswering"
    directions: ClassVar[Mapping[str, Direction]] = {"exact_match": "maximize", "f1": "maximize"}
    cells: ClassVar[Mapping[str, cell.Cell]] = {
        "text": cell.passage,
        "text_pair": cell.text,
        "label": cell.answers,
    }
    optional: ClassVar[frozenset[str]] = frozenset()
    not_inputs: ClassVar[frozenset[str]] = frozenset(
        ("row", "context_start", "context_end", "start_positions", "end_positions")
    )
    decoded: ClassVar[tuple[str, ...]] = ("prediction", "start", "end", "score")

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "max_question_tokens", "max_answer_tokens", "num_best")
        yield from countable(self, "max_question_tokens", "max_answer_tokens", "doc_stride")
        if self.doc_stride < 0:
            yield Problem("doc_stride", "must be >= 0", self.doc_stride)

    def check_row(self, row: Row) -> tuple[str, cell.Refused] | None:
        """Refuse an answer that is not in the context at its `answer_start`."""
        if "label" not in row:
            return None
        context, answers = row["text"], row["label"]
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            found = context[start : start + len(text)]
            if found != text:
                rule = f"the answer {_short(text)!r} must be at answer_start={start}"
                return "label", cell.Refused(rule, _places(text, context), _short(found))
        return None

    def check_rows(self, rows: Sequence[Row], source: str) -> None:
        """Refuse questions without an answer if every question would get one."""
        num_without = sum(not row["label"]["text"] for row in rows)
        if num_without and self.null_threshold is None:
            rule = f"must be a number if questions lack answers ({num_without} in {source})"
            fix = "Set task.null_threshold=0, or remove the questions without an answer."
            raise DataError(Problem("task.null_threshold", rule, None, fix))

    def near_key(self, row: Row) -> str:
        # Not joined: pairs that share a long text may differ in a short one.
        return "\n".join(normalized(row[field]) for field in ("text", "text_pair") if field in row)

    def group(self, row: Row) -> str:
        return normalized(row["text"])

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return columns with one entry per window.

        `context_start` and `context_end` hold the range of each token's text in the context, in
        characters, and `IGNORED` for tokens outside it. `start_positions` and `end_positions` hold
        the answer's first and last token.
        """
        _check_tokenizer(tokenizer, max_length)
        sizes = Sizes(max_length, self.max_question_tokens, self.doc_stride)
        pair = [row["text_pair"] for row in rows], [row["text"] for row in rows]
        read = tokenizer(*pair, return_offsets_mapping=True, verbose=False)
        names = [name for name in read if name != "offset_mapping"]
        columns: dict[str, list[Any]] = {name: [] for name in (*names, *self._added_columns(rows))}
        for number, row in enumerate(rows):
            parts = read.sequence_ids(number)
            spans = context_spans(parts, read["offset_mapping"][number], row["text"])
            target = _target(spans, row["label"]) if "label" in row else None
            for window in windows(parts, sizes):
                for name in names:
                    columns[name].append([read[name][number][place] for place in window])
                found = [spans[place] or (IGNORED, IGNORED) for place in window]
                columns["row"].append(number)
                columns["context_start"].append([start for start, _ in found])
                columns["context_end"].append([end for _, end in found])
                if "label" in row:
                    first, last = _positions_in(window, target)
                    columns["start_positions"].append(first)
                    columns["end_positions"].append(last)
        return columns

    def lengths(
        self, rows: Sequence[Row], tokenizer: Any, labels: Sequence[str]
    ) -> Iterator[Lengths]:
        pair = [row["text_pair"] for row in rows], [row["text"] for row in rows]
        read = tokenizer(*pair, return_offsets_mapping=True, verbose=False)
        tokens, questions, answers = list(map(len, read["input_ids"])), [], []
        for number, row in enumerate(rows):
            parts = read.sequence_ids(number)
            questions.append(parts.count(0))
            spans = context_spans(parts, read["offset_mapping"][number], row["text"])
            if (found := _target(spans, row["label"])) is not None:
                answers.append(found[1] - found[0] + 1)
        yield Lengths("questions with contexts", MAX_LENGTH, tokens, "are read in windows")
        yield Lengths("questions", "task.max_question_tokens", questions, "lose their end")
        if answers:
            yield Lengths("answers", "task.max_answer_tokens", answers, "cannot be found")

    def shown(self, columns: Mapping[str, list[Any]], number: int, row: Row) -> Iterator[Shown]:
        """Yield a window with its answer; its first token stands for no answer."""
        ids = columns["input_ids"][number]
        first, last = (columns[f"{end}_positions"][number] for end in ("start", "end"))
        yield Shown("input", ids, [first <= place <= last for place in range(len(ids))])
        yield Shown("answers", text=" | ".join(dict.fromkeys(row["label"]["text"])) or "none")

    def _added_columns(self, rows: Sequence[Row]) -> list[str]:
        unlabelled = ["row", "context_start", "context_end"]
        is_labelled = bool(rows) and "label" in rows[0]
        return [*unlabelled, *(["start_positions", "end_positions"] if is_labelled else [])]

    def config(self, labels: Sequence[str]) -> dict[str, Any]:
        # The start and the end; the weights of a classifier would bring another number.
        return {"num_labels": 2}

    def num_targets(self, batch: Batch) -> float:
        return len(batch["start_positions"])

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        from torch.nn.functional import cross_entropy

        start_BT, end_BT = _scores(output, batch)
        start_loss = cross_entropy(start_BT, batch["start_positions"], reduction="sum")
        end_loss = cross_entropy(end_BT, batch["end_positions"], reduction="sum")
        return (start_loss + end_loss) / 2

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        """Return the best spans of each window, in characters, and its null score."""
        start_BT, end_BT = _scores(output, batch)
        starts_BT, ends_BT = batch["context_start"], batch["context_end"]
        first_BK, last_BK, score_BK = best_spans(
            start_BT, end_BT, starts_BT >= 0, self.max_answer_tokens, self.num_best
        )
        absent_BK = score_BK.isinf()
        observed = {
            "row_B": batch["row"],
            "start_BK": starts_BT.gather(1, first_BK).masked_fill(absent_BK, IGNORED),
            "end_BK": ends_BT.gather(1, last_BK).masked_fill(absent_BK, IGNORED),
            "score_BK": score_BK.masked_fill(absent_BK, IGNORED),
            "null_B": start_BT[:, 0] + end_BT[:, 0],
        }
        return {name: tensor.detach().cpu() for name, tensor in observed.items()}

    def answers(self, observed: Mapping[str, Tensor], num_rows: int) -> list[Answer]:
        """Return the best answer to each row's question, over all its windows."""
        return best_answers(observed, num_rows, self.num_best, self.null_threshold)

    def row_values(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Sequence[float] | None:
        measure = {"f1": f1, "exact_match": exact_match}[self.metric]
        return [
            measure(answer.text(row["text"]), row["label"]["text"])
            for answer, row in self._answered(observed, examples)
        ]

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        pairs = [
            (answer.text(row["text"]), row["label"]["text"])
            for answer, row in self._answered(observed, examples)
        ]
        return {
            "exact_match": sum(exact_match(*pair) for pair in pairs) / len(pairs),
            "f1": sum(f1(*pair) for pair in pairs) / len(pairs),
        }

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        """Return each row's answer with its start and end in the context.

        For no answer, the prediction is empty and `start` and `end` are None.
        """
        return [
            {
                "prediction": answer.text(row["text"]),
                "start": answer.start,
                "end": answer.end,
                "score": round(answer.score, 6),
            }
            for answer, row in self._answered(observed, examples)
        ]

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return the answers with the lowest F1, the most confident of equal ones first."""
        mistakes = []
        for answer, row in self._answered(observed, examples):
            right, prediction = row["label"]["text"], answer.text(row["text"])
            shared = f1(prediction, right)
            if shared < 1:
                mistakes.append(
                    {
                        "question": row["text_pair"],
                        "prediction": prediction,
                        "answers": " | ".join(dict.fromkeys(right)),
                        "f1": round(shared, 6),
                        "score": round(answer.score, 6),
                        "context": _around(row["text"], answer),
                    }
                )
        worst = sorted(mistakes, key=lambda mistake: (mistake["f1"], -mistake["score"]))
        return {MISTAKES: worst[:NUM_MISTAKES]}

    def baseline(self, rows: Sequence[Row]) -> Baseline:
        """Return the score of always the whole context, or of never an answer if that is higher."""
        measure = {"f1": f1, "exact_match": exact_match}[self.metric]
        whole = sum(measure(row["text"], row["label"]["text"]) for row in rows) / len(rows)
        none = sum(not row["label"]["text"] for row in rows) / len(rows)
        if none > whole:
            return Baseline("never an answer", none)
        return Baseline("always the whole context", whole)

    def constant_guess(self, examples: Examples) -> Baseline:
        """Return the score of never an answer."""
        num_without = sum(not row["label"]["text"] for row in examples.rows)
        return Baseline("never an answer", num_without / len(examples.rows))

    def usage_lines(self) -> str:
        return """\
import torch

question, context = "Who wrote it?", "It was Ann Bell who wrote it."
inputs = tokenizer(question, context, return_offsets_mapping=True, return_tensors="pt")
offsets = inputs.pop("offset_mapping")[0].tolist()
output = model(**inputs)
readable = torch.tensor([part == 1 for part in inputs.sequence_ids()])
scores = output.start_logits[0][:, None] + output.end_logits[0]
scores[~(readable[:, None] & readable).triu()] = -torch.inf
first, last = divmod(scores.argmax().item(), len(offsets))
print(context[offsets[first][0] : offsets[last][1]].strip())
"""

    def _answered(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Iterator[tuple[Answer, Row]]:
        answers = self.answers(observed, len(examples.rows))
        return zip(answers, examples.rows, strict=True)


def _scores(output: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return each token's start score and end score, in float32.

    Left padding is shifted to the end, so a window's first token is always at index 0. Padding has
    -inf, so the loss does not depend on its length.
    """
    import torch

    mask_BT = batch["attention_mask"]
    places_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    padding_B1 = (mask_BT.cumsum(1) == 0).sum(1, keepdim=True)
    source_BT = (places_T + padding_B1).clamp(max=mask_BT.shape[1] - 1)
    behind_BT = places_T >= mask_BT.sum(1, keepdim=True)
    start_BT, end_BT = (
        logits_BT.float().gather(1, source_BT).masked_fill(behind_BT, -torch.inf)
        for logits_BT in (output.start_logits, output.end_logits)
    )
    return start_BT, end_BT


def _target(spans: Sequence[Span | None], answers: Mapping[str, Any]) -> Span | None:
    """Return the first and the last token of the first answer; None if there is none."""
    if not answers["text"]:
        return None
    start = answers["answer_start"][0]
    return tokens_of(spans, start, start + len(answers["text"][0]))


def _positions_in(window: Sequence[int], target: Span | None) -> Span:
    """Return the target's positions in a window; (0, 0) if the window lacks part of it."""
    if target is None or target[0] not in window or target[1] not in window:
        return 0, 0
    return window.index(target[0]), window.index(target[1])


def _check_tokenizer(tokenizer: Any, max_length: int) -> None:
    """Raise ConfigError if tokens have no positions in the text, or windows are too short."""
    check_offsets(tokenizer, "question answering")
    shortest = tokenizer.num_special_tokens_to_add(pair=True) + MIN_FREE_TOKENS
    if max_length < shortest:
        rule = f"must be >= {shortest}, for a question and a context"
        raise ConfigError(Problem("data.max_length", rule, max_length))


def _short(text: str, size: int = 60) -> str:
    return text if len(text) <= size else f"{text[:size]}…"


def _places(text: str, context: str) -> str:
    """Return the fix for an answer that is not at its `answer_start`."""
    first = context.find(text)
    if first < 0:
        return "The context does not contain it: correct the text of the answer."
    if context.find(text, first + 1) < 0:
        return f"Set answer_start={first}."
    return "The context contains it more than once: set answer_start to the right place."


def _around(context: str, answer: Answer) -> str:
    """Return the context around the answer, or its start for no answer."""
    low = max(0, (answer.start or 0) - NUM_SHOWN)
    high = (answer.end or NUM_SHOWN) + NUM_SHOWN
    before, behind = "…" if low else "", "…" if high < len(context) else ""
    return f"{before}{context[low:high]}{behind}"
