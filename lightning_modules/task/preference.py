"""Preferences: the network learns to give better answers a higher probability than worse ones.

A row has a prompt and two answers to it, one chosen and one rejected, as texts or as messages
(`lightning_modules.text.pair`). The losses are in `lightning_modules.task.metric.preference`. DPO
and IPO compare the network with the reference, which is the network before the training. With an
adapter this is the network without it, which takes one more forward pass and no second copy of the
weights. If the weights themselves are trained, the reference's log-probabilities of all answers are
computed once, before the first step.

Metrics, as means over the pairs: reward_accuracy, whether the chosen answer has the higher reward
(a tie counts half); reward_margin, the difference of the rewards; reward_chosen, reward_rejected;
log_loss and brier of the probability sigmoid(reward_margin); loss; and implicit_kl, the mean of
log p0(y|x) - log p(y|x) over both answers. It estimates KL(reference || network), in nats, if the
answers are the reference's own.
Example row: `{"text": "Two and two?", "chosen": "4", "rejected": "5"}`.

Cost: two answers per example, and for the reference one more forward pass, in each step or once.
Shapes: B pairs, T tokens of a text, N positions with a target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.batch.type import IGNORED, Batch
from lightning_modules.error import ConfigError, Problem
from lightning_modules.model.kind import Kind
from lightning_modules.rows.corpus import Row
from lightning_modules.schema import positive
from lightning_modules.task.base import REFERENCE, Direction, Examples, without_reference
from lightning_modules.task.generation import Generation, Packing
from lightning_modules.task.metric.pairwise import DIRECTIONS
from lightning_modules.task.metric.preference import Answers, Loss, pair_losses
from lightning_modules.task.pair import PairTask
from lightning_modules.text.answered import Conversations
from lightning_modules.text.causal import Marks
from lightning_modules.text.pair import alternated, continued, halves, pair_of, tokens_of
from lightning_modules.text.shorten import CUT
from lightning_modules.text.shown import Shown, shown_targets

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.text.loss import TargetLosses


@dataclass(frozen=True)
class Compared:
    """What the network and the reference say of a batch of pairs.

    Attributes:
        chosen: The chosen answers.
        rejected: The rejected answers.
        text_nats: The loss of all tokens of each prompt with its chosen answer (B,), for `orpo`.
        num_text_tokens: How many these are (B,).

    """

    chosen: Answers
    rejected: Answers
    text_nats: Tensor
    num_text_tokens: Tensor


@dataclass(frozen=True, kw_only=True)
class Preference(PairTask):
    """Better answers are to be more probable than worse ones.

    Attributes:
        loss: `dpo`, `ipo`, `orpo` or `simpo`.
        beta: beta in DPO and SimPO, tau in IPO, lambda in ORPO, > 0. The scale of the rewards; in
            DPO and IPO, how strongly the network is held at the reference.
        simpo_gamma: gamma in SimPO, >= 0: the margin by which the chosen answer's reward must be
            higher.
        max_new_tokens: Most tokens to generate for a prompt to predict, > 0.
        temperature: >= 0; 0 is greedy decoding, higher values sample.

    """

    loss: Loss
    beta: float
    simpo_gamma: float
    max_new_tokens: int
    temperature: float

    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    directions: ClassVar[Mapping[str, Direction]] = {**DIRECTIONS, "implicit_kl": "minimize"}
    label_fields: ClassVar[frozenset[str]] = frozenset(("chosen", "rejected"))
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.decoder,)

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "beta")
        if self.simpo_gamma < 0:
            yield Problem("simpo_gamma", "must be >= 0", self.simpo_gamma)
        if self.metric == "implicit_kl" and not self.loss.has_reference:
            rule = f"must be another for loss={self.loss.value}, which has no reference"
            yield Problem("metric", rule, self.metric, "Set metric=reward_accuracy, or loss=dpo.")
        try:
            _ = self._generation
        except ConfigError as error:
            known = [each.where for each in super().problems()]
            yield from (each for each in error.problems if each.where not in known)

    @property
    def _generation(self) -> Generation:
        """The task that answers prompts, as this one's networks are used."""
        return Generation(
            metric="perplexity",
            text=self.text,
            text_pair=None,
            label=self.chosen,
            packing=Packing.none,
            conversations=Conversations.turns,
            pack_answers=False,
            template=self.template,
            system=self.system,
            chat_template=self.chat_template,
            max_new_tokens=self.max_new_tokens,
            num_generated=0,
            temperature=self.temperature,
            final_answer=None,
        )

    @property
    def cache_key(self) -> str:
        """Return the cache key; neither rows, examples nor networks depend on the loss."""
        shared = {**vars(self), "loss": None, "beta": None, "simpo_gamma": None, "metric": None}
        return f"{type(self).__module__}.{type(self).__name__}({shared}){CUT}"

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        yield from super().notes(splits)
        if self.loss is Loss.simpo and self.beta < 1:
            yield f"task.beta={self.beta:g} is low for simpo: its paper has 2 to 2.5"

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        marks, columns = Marks(tokenizer), {"input_ids": list[Any](), "labels": list[Any]()}
        filler = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else marks.end
        for row in rows:
            pair = pair_of(row)
            prompt, answers = tokens_of(pair, marks, self.template, self.chat_template, self.system)
            chosen, rejected = continued(prompt, answers, max_length)
            columns["input_ids"].append(alternated(chosen.inputs, rejected.inputs, filler))
            columns["labels"].append(alternated(chosen.targets, rejected.targets, IGNORED))
        return columns

    def shown(self, columns: Mapping[str, list[Any]], number: int, row: Row) -> Iterator[Shown]:
        for turn, name in enumerate(("chosen", "rejected")):
            ids, targets = (columns[key][number][turn::2] for key in ("input_ids", "labels"))
            size = max(place for place, target in enumerate(targets) if target != IGNORED) + 1
            yield shown_targets(name, ids[:size], targets[:size])

    def encode_unlabelled(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return the prompts, up to the start of the answer."""
        return self._generation.encode_unlabelled(rows, tokenizer, max_length, labels)

    def network_notes(self, network: Any) -> Iterator[str]:
        yield from self._generation.network_notes(network)

    @property
    def needs_reference(self) -> bool:
        return self.loss.has_reference

    def reference(self, network: Any, batch: Batch) -> dict[str, Tensor]:
        """Return the log-probabilities of the chosen and the rejected answers, (B, 2)."""
        import torch

        labels = halves(batch["labels"])
        logp = _logp(_losses(network, halves(batch["input_ids"]), labels), labels)
        return {REFERENCE: torch.stack(logp.chunk(2), dim=1).detach()}

    def with_totals(self, batch: Batch) -> Batch:
        """Add what the nll of a token counts in `orpo`, where it is a mean over the batch."""
        if self.loss is not Loss.orpo:
            return batch
        num_tokens = _text_labels(batch).ne(IGNORED).sum()
        weight = len(batch["labels"]) / num_tokens
        return {**batch, "weight": weight.expand(len(batch["labels"]))}

    def forward(self, network: Any, batch: Batch) -> Compared | None:
        """Return what the network says of the pairs; None for prompts, which `observe` answers."""
        if "labels" not in batch:
            return None
        ids, labels = halves(batch["input_ids"]), halves(batch["labels"])
        references: list[Tensor | None] = [None, None]
        if self.needs_reference:
            references = list(self._reference_of(network, batch).unbind(1))
        targets, num_tokens = labels, labels.ne(IGNORED).sum(1).chunk(2)
        if self.loss is Loss.orpo:  # the prompts are targets, too
            targets = labels.clone()
            targets[: len(batch["labels"])] = _text_labels(batch)
        losses = _losses(network, ids, targets)
        logp = _logp(losses, labels).chunk(2)
        sides = zip(logp, num_tokens, references, strict=True)
        chosen, rejected = (Answers(*side) for side in sides)
        size = len(batch["labels"])
        text_nats = -_logp(losses, targets)[:size]
        num_text_tokens = targets[:size].ne(IGNORED).sum(1)
        return Compared(chosen, rejected, text_nats, num_text_tokens)

    def _reference_of(self, network: Any, batch: Batch) -> Tensor:
        """Return the reference's log-probabilities (B, 2), kept or without the adapter."""
        import torch

        from lightning_modules.model.output import keeping_no_casts

        if REFERENCE in batch:
            return batch[REFERENCE]
        if not hasattr(network, "disable_adapter"):
            raise ConfigError(without_reference(self))
        with torch.no_grad(), keeping_no_casts(batch["labels"]), network.disable_adapter():
            return self.reference(network, batch)[REFERENCE]

    def num_targets(self, batch: Batch) -> float:
        return len(batch["labels"])

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        loss_sum = self._pair_losses(output).sum()
        if self.loss is Loss.orpo:
            whole = batch if "weight" in batch else self.with_totals(batch)
            loss_sum = loss_sum + (whole["weight"] * output.text_nats).sum()
        return loss_sum

    def _pair_losses(self, output: Compared) -> Tensor:
        settings = (self.loss, self.beta, self.simpo_gamma)
        return pair_losses(*settings, output.chosen, output.rejected)

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        if "labels" not in batch:
            return self._generation.observe(network, None, batch)
        observed = {
            "reward_chosen_B": output.chosen.reward(self.beta),
            "reward_rejected_B": output.rejected.reward(self.beta),
            "loss_B": self._pair_losses(output),
        }
        if self.needs_reference:
            ratios = output.chosen.log_ratio + output.rejected.log_ratio
            observed["implicit_kl_B"] = -ratios / 2
        if self.loss is Loss.orpo:
            observed |= {"nats_B": output.text_nats, "num_tokens_B": output.num_text_tokens}
        return {name: tensor.detach().float().cpu() for name, tensor in observed.items()}

    def values(self, observed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every metric of each pair."""
        values = super().values(observed)
        if "nats_B" in observed:
            shares = observed["nats_B"].double() / observed["num_tokens_B"].double().mean()
            values["loss"] = values["loss"] + shares
        if "implicit_kl_B" in observed:
            values["implicit_kl"] = observed["implicit_kl_B"].double()
        return values

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        return self._generation.decode(observed, examples)

    def usage_lines(self) -> str:
        return self._generation.usage_lines()


def _losses(network: Any, ids: Tensor, labels: Tensor) -> TargetLosses:
    from lightning_modules.text.loss import target_losses

    # A text ends with its last target; padding follows.
    is_text = labels.ne(IGNORED).long().flip(1).cummax(1).values.flip(1)
    inputs = {"input_ids": ids, "attention_mask": is_text, "use_cache": False}
    return target_losses(network, inputs, labels, each=True)


def _logp(losses: TargetLosses, labels: Tensor) -> Tensor:
    """Return the log-probability of the targets of each text that have a label."""
    nats = losses.nats
    spread = nats.new_zeros(losses.num_positions).index_put((losses.positions,), nats)
    return -(spread.view(labels.shape) * labels.ne(IGNORED)).sum(1)


def _text_labels(batch: Batch) -> Tensor:
    """Return every token of each prompt and its chosen answer but the first as a target (B, T)."""
    size = len(batch["labels"])
    ids, labels = halves(batch["input_ids"])[:size], halves(batch["labels"])[:size]
    texts = labels.clone()
    # Up to where the answer starts, the target is the next input.
    is_prompt = labels.ne(IGNORED).cumsum(1).eq(0)
    texts[:, :-1] = ids[:, 1:].where(is_prompt[:, :-1], labels[:, :-1])
    return texts
