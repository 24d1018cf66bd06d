"""The LightningModule: connects a network to its run, with no branch on task or strategy.

One Lightning batch is a span of consecutive optimizer steps (`batch.span`), mostly of one. The
module splits the batch of a step into micro-batches itself, sums their losses and divides by the
number of targets in the whole batch, so the step does not depend on how the batch is split, into
micro-batches or over the ranks of a group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_modules.batch.budget import probed_tokens
from lightning_modules.batch.join import in_row_order, joined
from lightning_modules.batch.micro import Limit, is_small, micro_batches, num_examples, smallest
from lightning_modules.batch.passes import Alone, Pass
from lightning_modules.distributed.group import Rank, Validated
from lightning_modules.machine.lightning import pl
from lightning_modules.machine.memory import memory_of, unless_out_of_memory
from lightning_modules.machine.scaled import Scaled
from lightning_modules.model.compiled import compile_layers, has_compiler, probe
from lightning_modules.model.mode import switch
from lightning_modules.model.recompute import recompute
from lightning_modules.model.state import trained_tensors
from lightning_modules.optimizer.clip import clip_gradients
from lightning_modules.outcome import Ending, Record, Stopped
from lightning_modules.schedule.base import Length
from lightning_modules.seed import seed_of
from lightning_modules.text.writing import Writing
from lightning_modules.trainer import AUTO

if TYPE_CHECKING:
    from lightning_modules.batch.type import Batch
    from lightning_modules.hooks import Hooks
    from lightning_modules.run import Run
    from lightning_modules.task.base import Examples


class FineTuner(pl.LightningModule):
    """Trains `network` as `run` specifies, and updates `record`, which may be from a checkpoint.

    A validation sets `scores`, `validation_loss` and `observed`. `observed` is in the order of
    the examples, which `validation_batches` lists by number.
    """

    def __init__(
        self,
        run: Run,
        network: nn.Module,
        length: Length,
        validation: Examples,
        validation_batches: Sequence[Sequence[int]],
        record: Record,
        hooks: Hooks,
        passes: Alone | None = None,
    ) -> None:
        super().__init__()
        # Clip and step once per batch, however many micro-batches it has.
        self.automatic_optimization = False
        self.run = run
        self.network = network
        self.length = length
        self.record = record
        self.rank = Rank()
        self.passes = passes or Alone()
        self.hooks = hooks
        self.before_backward: Callable[[], None] = lambda: None  # for what measures a step's memory
        self.scores: dict[str, float] = {}
        self.validation_loss = math.nan
        self.gradient_norm: Tensor | None = None  # of the last step, before it was clipped
        self.observed: Mapping[str, Tensor] = {}
        self._validation = validation
        self._validation_batches = validation_batches
        self._loss_sum = torch.tensor(record.loss_sum)
        self._norm_sum = torch.tensor(record.norm_sum)
        self._num_norms: int | Tensor = record.num_norms
        self._observed_parts: list[dict[str, Tensor] | None] = []
        self._validation_loss_sum = 0.0
        self._num_validated = 0.0
        self._validation_limit: Limit | None = None
        self._is_parted = False
        self._writing = Writing(self.passes.now)
        self._end_evaluation: Callable[[], None] = lambda: None
        self._is_limit_known = record.micro_batch_tokens is not None
        if not self._is_limit_known:
            record.micro_batch_tokens = run.trainer.first_tokens

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.run.optimizer.build(self.network)

    def on_train_start(self) -> None:
        self._writing.start()
        # transformers returns networks in evaluation mode.
        self.network.train()
        self._start_recomputing()
        if self.rank.decides and not self._is_limit_known:
            self._probe_memory()
        precision = self.trainer.precision_plugin
        self.rank.synchronize(self.network, self.trainer.optimizers[0], precision)
        self.record.micro_batch_tokens = self.rank.agree(self.record.micro_batch_tokens)
        self._start_compiling()
        if self.rank.decides:
            with self.trainer.precision_plugin.forward_context():
                for note in self._network_notes():
                    self.hooks.warn(note)

    def _network_notes(self) -> Iterator[str]:
        yield from self.run.task.network_notes(self.network)
        data = getattr(self.trainer, "datamodule", None)  # Lightning's types lack it
        if getattr(data, "keeps_apart", False):
            yield from self.run.task.packing_notes(self.network)

    def on_train_batch_start(self, batches: Sequence[Batch], batch_idx: int) -> None:
        # Runs after the callbacks, so the ranks proceed only once these have made their decisions.
        self.rank.proceed()

    def on_validation_model_zero_grad(self) -> None:
        """Do nothing: each step has already freed its gradients."""

    def on_validation_model_eval(self) -> None:
        self._end_evaluation = switch(self, training=False)

    def on_validation_model_train(self) -> None:
        # Lightning's own way sets flags, and no class notices that training continues.
        self._end_evaluation()

    def on_validation_start(self) -> None:
        self.rank.proceed()

    def training_step(self, batches: Sequence[Batch], batch_idx: int) -> None:
        for batch in batches:
            self._step(batch)
            self.hooks.on_step(self.record.step, self.length.num_steps)

    def _step(self, batch: Batch) -> None:
        step = self.record.step
        self.hooks.heartbeat(f"training, step {step + 1} of {self.length.num_steps}")
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        factor = self.run.schedule.factor(step, self.length)
        for group in optimizer.param_groups:
            group["lr"] = self.run.optimizer.lr * factor
        loss = self.rank.sum_gradients(self.network, self._backward(batch))
        if unless_out_of_memory(partial(self._update, optimizer)) is None:
            reason = f"optimizer step {step + 1}, with its state, does not fit into memory"
            raise Stopped(Ending.infeasible, reason)
        self._loss_sum = self._loss_sum.to(loss.device) + loss
        self.record.num_losses += 1
        self.record.step += 1
        if self.rank.decides and self.record.step % self.run.trainer.log_every_steps == 0:
            self.check_loss()

    def check_loss(self) -> float:
        """Return the mean training loss since `reset_loss`; if NaN or infinite, end the run.

        Also brings the record's sums up to date: what adds to them does not wait for the device.
        """
        self.record.loss_sum = self._loss_sum.item()
        self.record.norm_sum = self._norm_sum.item()
        self.record.num_norms = int(self._num_norms)
        mean = self.record.loss_sum / max(1, self.record.num_losses)
        if not math.isfinite(mean):
            reason = f"the training loss became {mean} by step {self.record.step}"
            raise Stopped(Ending.diverged, reason)
        return mean

    def reset_loss(self) -> None:
        """Start a new mean training loss."""
        self._loss_sum = torch.zeros_like(self._loss_sum)
        self.record.loss_sum, self.record.num_losses = 0.0, 0

    def on_validation_epoch_start(self) -> None:
        self._observed_parts, self._validation_loss_sum, self._num_validated = [], 0.0, 0.0

    def validation_step(self, batches: Sequence[Batch], batch_idx: int) -> None:
        for batch in batches:
            self._validate(batch)

    def _validate(self, batch: Batch) -> None:
        self.hooks.heartbeat(f"validating after step {self.record.step}")
        batch = self.rank.share(self.run.task.with_totals(batch))
        if num_examples(batch) == 0:
            self._observed_parts.append(None)
            return
        width = self._width(batch)
        while True:
            limit = self._validation_limit or Limit(tokens=self.record.micro_batch_tokens)
            size = limit.size(num_examples(batch), width)
            evaluated = unless_out_of_memory(partial(self._evaluate, batch, size))
            if evaluated is not None:
                break
            self._validation_limit = limit.halved(size, width)
            self.hooks.warn(
                f"out of memory in the validation after step {self.record.step}: "
                f"{size // 2} examples at once instead of {size}"
            )
        loss_sum, observed = evaluated
        self._validation_loss_sum += loss_sum
        self._num_validated += float(self.run.task.num_targets(batch))
        self._observed_parts.append(observed)

    def on_validation_epoch_end(self) -> None:
        gathered = self.rank.gather(
            Validated(self._observed_parts, self._validation_loss_sum, self._num_validated)
        )
        if gathered is None:  # only rank 0 receives the others' parts
            return
        # Each rank has a contiguous share of every batch, so joined by rank the rows are in order.
        batches = zip(*(each.parts for each in gathered), strict=True)
        parts = [part for batch in batches for part in batch if part is not None]
        self.observed = in_row_order(parts, self._validation_batches)
        num_targets = sum(each.num_targets for each in gathered)
        self.validation_loss = sum(each.loss_sum for each in gathered) / num_targets
        num_validated = sum(map(len, self._validation_batches))
        for note in self._writing.notes(self.run.task.num_written(num_validated)):
            self.hooks.warn(note)
        # Given NaN or infinite outputs, some metrics would raise and others mislead.
        is_finite = math.isfinite(self.validation_loss)
        self.scores = self.run.task.scores(self.observed, self._validation) if is_finite else {}

    def _evaluate(self, batch: Batch, size: int) -> tuple[float, dict[str, Tensor]]:
        loss_sum, parts = 0.0, []
        for micro in micro_batches(batch, size):
            output = self.run.task.forward(self.network, micro)
            loss_sum += self.run.task.loss_sum(output, micro).item()
            with self._writing.measured():
                parts.append(self.run.task.observe(self.network, output, micro))
        return loss_sum, joined(parts)

    def _backward(self, batch: Batch) -> Tensor:
        """Compute the batch's gradients, in micro-batches that fit into memory; return its loss."""
        width = self._width(batch)
        while True:
            fitting = self.passes.share(self._limit).size(num_examples(batch), width)
            size = smallest(fitting, self.run.trainer.micro_batch_size)
            self._warn_of_parts(batch, size)
            # Dropout is a function of (seed, step). So a resumed run draws the same dropout, and a
            # repeated step the same as if it had used these micro-batches from the start.
            names = ("step", self.record.step, *self.rank.seed_names)
            self.passes.seed(self.device, seed_of(self.run.seed, *names))
            loss = unless_out_of_memory(partial(self._accumulate, batch, size))
            if loss is not None:
                return loss
            self.zero_grad()
            self._take_less_memory(batch, size, width)

    def _warn_of_parts(self, batch: Batch, size: int) -> None:
        """Say once if examples are compared with fewer others than their batch has."""
        if not self.run.task.compares_in_batch or self._is_parted:
            return
        whole, part = num_examples(batch), min(size, num_examples(self.rank.share(batch)))
        if part < whole:
            self._is_parted = True
            if self.rank.decides:
                self.hooks.warn(
                    f"a batch of {whole} examples passes in parts of at most {part}: each is "
                    f"compared with {part - 1} others, not with {whole - 1}; a lower "
                    "data.batch_size or data.max_length avoids this, or a higher "
                    "trainer.micro_batch_tokens"
                )

    def _take_less_memory(self, batch: Batch, size: int, width: int) -> None:
        """Halve the micro-batches; if they are small, compute activations again instead."""
        where = f"out of memory at step {self.record.step + 1}"
        if self._may_recompute(batch, size) and recompute(self.network):
            self.record.recomputes = True
            self.hooks.warn(
                f"{where} with micro-batches of {size}: gradient checkpointing from here on, "
                "which changes no result"
            )
            return
        limit = self._limit.halved(size, width)
        self.record.micro_batch_size = limit.examples
        self.record.micro_batch_tokens = limit.tokens
        self.hooks.on_split(size // 2)
        self.hooks.warn(
            f"{where}: micro-batches of {size // 2} instead of {size}; the effective batch size "
            f"stays {self.run.data.batch_size}"
        )

    @property
    def _limit(self) -> Limit:
        return Limit(self.record.micro_batch_size, self.record.micro_batch_tokens)

    def _may_recompute(self, batch: Batch, size: int) -> bool:
        wanted = self.run.trainer.gradient_checkpointing
        if wanted != AUTO or self.record.recomputes or not self.run.strategy.can_recompute:
            return False
        return is_small(batch, size, self.device.type)

    def _start_recomputing(self) -> None:
        """Turn gradient checkpointing on if it is configured, or was on before the run stopped."""
        is_configured = self.run.trainer.gradient_checkpointing is True
        if not is_configured and not self.record.recomputes:
            return
        if not recompute(self.network):
            self._warn_of_no_layers("gradient_checkpointing")

    def _start_compiling(self) -> None:
        """Compile the layers if that is configured, or if it pays, also before the run stopped."""
        compiles = self.run.trainer.compile
        if compiles == AUTO:
            if self.rank.decides and self.record.compiles is None:
                self.record.compiles = self._pays_to_compile()
            compiles = self.record.compiles = bool(self.rank.agree(self.record.compiles))
        if compiles and not compile_layers(self.network):
            self._warn_of_no_layers("compile")

    def _pays_to_compile(self) -> bool:
        """Measure a pass over as many examples as pass at once, as it is and compiled."""
        if not has_compiler():
            self.hooks.warn(
                "trainer.compile=auto: there is no C++ compiler, so nothing is compiled"
            )
            return False
        example: Batch = self.trainer.datamodule.longest_example()  # type: ignore[attr-defined]
        batch_size = self.run.data.batch_size
        fitting = self._limit.size(batch_size, self._width(example))
        size = smallest(fitting, self.run.trainer.micro_batch_size)
        self.hooks.heartbeat("measuring whether it pays to compile the layers")
        run_pass = partial(self._try_pass, example, size)
        steps_left = self.length.num_steps - self.record.step
        num_passes = steps_left * -(-batch_size // size)
        probed = unless_out_of_memory(partial(probe, self.network, run_pass, num_passes))
        if probed is None:
            return False  # the step's own rule for memory applies
        self.hooks.warn(f"trainer.compile=auto: {probed}")
        return probed.pays

    def _warn_of_no_layers(self, key: str) -> None:
        if self.rank.decides:
            name = type(self.network).__name__
            self.hooks.warn(f"trainer.{key}=true has no effect: {name} has no repeated layers")

    def _accumulate(self, batch: Batch, size: int) -> Tensor:
        num_targets = self.run.task.num_targets(batch)
        losses = []
        whole = self.run.task.with_totals(batch)
        for micro in micro_batches(self.rank.share(whole), size):
            each = Pass(
                self.network,
                self.run.task.inputs(micro),
                partial(self._loss, micro, num_targets),
                self._scaled,
                self.before_backward,
            )
            losses.append(self.passes.run(each))
        if losses:
            return losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        none = torch.zeros((), device=self.device)
        self._scaled(none)  # the first loss makes the scale, also on a rank without rows
        return none

    def _loss(self, micro: Batch, num_targets: float | Tensor, network: Any) -> Tensor:
        output = self.run.task.forward(network, micro)
        return self.run.task.loss_sum(output, micro) / num_targets

    def _width(self, batch: Batch) -> int:
        """Return the tokens per example, with padding, of a batch."""
        return self.run.task.width(batch) + self.run.strategy.num_virtual_tokens

    def _probe_memory(self) -> None:
        """Measure how many tokens fit into one pass, on a device on which that is possible."""
        memory = memory_of(self.device)
        if memory is None or self.run.trainer.micro_batch_tokens != AUTO:
            return
        self.hooks.heartbeat("measuring how many tokens fit into memory")
        example: Batch = self.trainer.datamodule.longest_example()  # type: ignore[attr-defined]
        width, batch_size = self._width(example), self.run.data.batch_size
        state_bytes = self._state_bytes()
        tokens = probed_tokens(memory, partial(self._try_pass, example), width, state_bytes)
        self.record.micro_batch_tokens = tokens or width
        if tokens is not None and tokens < batch_size * width:
            self.hooks.on_split(tokens // width)
            self.hooks.warn(
                f"micro-batches of {tokens} tokens, e.g. {tokens // width} examples of {width}, "
                f"fit into memory; the effective batch size stays {batch_size}"
            )

    def _state_bytes(self) -> int:
        """Return what the optimizer will keep from its first step on."""
        keeps, trained = self.run.optimizer.state_bytes, trained_tensors(self.network)
        return round(sum(each.numel() * keeps(each.element_size()) for each in trained.values()))

    def _try_pass(self, example: Batch, num_examples: int) -> bool:
        """Run the pass of a step over copies of an example, wait for it, and forget it."""
        copies = {
            name: tensor.to(self.device).repeat_interleave(num_examples, 0)
            for name, tensor in example.items()
        }
        copies = dict(self.run.task.with_totals(copies))
        try:
            with self.trainer.precision_plugin.forward_context():
                output = self.run.task.forward(self.network, copies)
                loss = self.run.task.loss_sum(output, copies) / self.run.task.num_targets(copies)
            torch.autograd.backward(self._scaled(loss))
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        finally:
            self.zero_grad()
        return True

    def _update(self, optimizer: Any) -> bool:
        step, num_steps = self.record.step + 1, self.length.num_steps
        if (scaled := self._scaled_precision) is not None:
            scaled.unscale(optimizer)  # first: a strategy can add to the gradients
        with self.run.strategy.stepping(self.network, step, num_steps):
            norm = clip_gradients(optimizer, self.run.trainer.max_grad_norm)
            if scaled is None:
                optimizer.step()
            else:
                scaled.step(optimizer)
        optimizer.zero_grad()
        self._add_norm(norm)
        return True

    def _add_norm(self, norm: Tensor) -> None:
        """Count a step's norm, unless it is infinite: in fp16 such a step is skipped."""
        self.gradient_norm, is_finite = norm, norm.isfinite()
        self._norm_sum = self._norm_sum.to(norm.device) + norm.where(is_finite, 0)
        self._num_norms = self._num_norms + is_finite

    def _scaled(self, loss: Tensor) -> Tensor:
        scaled = self._scaled_precision
        return loss if scaled is None else scaled.scale(loss)

    @property
    def _scaled_precision(self) -> Scaled | None:
        precision = self.trainer.precision_plugin
        return precision if isinstance(precision, Scaled) else None
