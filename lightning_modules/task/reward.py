"""Reward models: a score for an answer to a prompt, learnt from pairs of answers.

    loss = -log sigmoid(s(x, y+) - s(x, y-))

with the score s of a prompt x with its chosen answer y+, and with its rejected answer y-. So the
network, which has one output, models which of two answers is better (Bradley and Terry 1952). Rows
are those of `lightning_modules.text.pair`. A text that is too long loses its start, but for the
first token.

Metrics: those of `lightning_modules.task.preference`, without implicit_kl.
Example row: `{"text": "Two and two?", "chosen": "4", "rejected": "5"}`. A row to predict has an
answer in the column of the chosen ones, and its prompt if the training rows had prompts.

Paper: Ouyang et al. 2022, arXiv:2203.02155, equation 1, with one pair per prompt.
Shapes: B pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.batch.type import Batch
from lightning_modules.model.kind import Kind
from lightning_modules.rows.corpus import Row
from lightning_modules.task.base import Examples
from lightning_modules.task.pair import PairTask
from lightning_modules.text.causal import Marks
from lightning_modules.text.pair import Pair, alternated, halves, pair_of, tokens_of
from lightning_modules.text.shorten import CUT
from lightning_modules.text.shown import Shown
from lightning_modules.text.template import TEXT, filled

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Reward(PairTask):
    """A score for each answer."""

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    label_fields: ClassVar[frozenset[str]] = frozenset(("rejected",))
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.decoder, Kind.encoder)

    @property
    def cache_key(self) -> str:
        return f"{super().cache_key}{CUT}"

    def config(self, labels: Sequence[str]) -> dict[str, Any]:
        return {"num_labels": 1}

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return the two texts of each pair as one example, whose tokens alternate."""
        marks, filler = Marks(tokenizer), tokenizer.pad_token_id
        columns: dict[str, list[Any]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for row in rows:
            chosen, rejected = self._texts(pair_of(row), marks, max_length)
            masks = [1] * len(chosen), [1] * len(rejected)
            columns["input_ids"].append(alternated(chosen, rejected, filler))
            columns["attention_mask"].append(alternated(masks[0], masks[1], 0))
            columns["labels"].append(1)  # the first is better
        return columns

    def shown(self, columns: Mapping[str, list[Any]], number: int, row: Row) -> Iterator[Shown]:
        for turn, name in enumerate(("chosen", "rejected")):
            ids, mask = (columns[key][number][turn::2] for key in ("input_ids", "attention_mask"))
            yield Shown(name, ids[: sum(mask)])

    def encode_unlabelled(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return each prompt with its answer."""
        marks = Marks(tokenizer)
        pairs = (pair_of({**row, "rejected": row["chosen"]}) for row in rows)
        texts = [self._texts(pair, marks, max_length)[0] for pair in pairs]
        return {"input_ids": texts, "attention_mask": [[1] * len(each) for each in texts]}

    def _texts(self, pair: Pair, marks: Marks, max_length: int) -> list[list[int]]:
        """Return the tokens of the prompt with each answer."""
        if pair.is_whole:  # in one piece, as they are predicted
            chosen, rejected = (pair.prompt + each for each in (pair.chosen, pair.rejected))
            pair = Pair("", chosen, rejected, is_whole=True)
        prompt, answers = tokens_of(pair, marks, self.template, self.chat_template, self.system)
        texts = []
        for answer in answers:
            size = max(max_length - len(answer), max_length // 2)
            texts.append([*prompt(size, max_length), *answer])
        return [[*text[:1], *text[1:][-(max_length - 1) :]] for text in texts]

    def forward(self, network: Any, batch: Batch) -> Tensor:
        """Return the scores: of the chosen texts, then of the rejected ones; or of each text."""
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        if "labels" in batch:
            inputs = {name: halves(tensor) for name, tensor in inputs.items()}
        scores: Tensor = network(**inputs).logits[:, 0].float()
        return scores

    def num_targets(self, batch: Batch) -> float:
        return len(batch["labels"])

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        return _losses(output).sum()

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        if "labels" not in batch:
            return {"score_B": output.detach().cpu()}
        chosen, rejected = output.detach().cpu().chunk(2)
        losses = _losses(output).detach().cpu()
        return {"reward_chosen_B": chosen, "reward_rejected_B": rejected, "loss_B": losses}

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        return [{"prediction": round(score, 6)} for score in observed["score_B"].tolist()]

    def usage_lines(self) -> str:
        return f"""\
begin = tokenizer.bos_token or tokenizer.cls_token or tokenizer.eos_token
text = begin + {filled(self.template, {TEXT: "Your question."})!r} + "Its answer."
text += tokenizer.eos_token or tokenizer.sep_token
inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
print(model(inputs.input_ids, attention_mask=inputs.attention_mask).logits[0, 0].item())
"""

    def usage_of_logits(self) -> str:
        return "logits[0].item()"


def _losses(scores: Tensor) -> Tensor:
    from torch.nn.functional import logsigmoid

    chosen, rejected = scores.chunk(2)
    return -logsigmoid(chosen - rejected)
