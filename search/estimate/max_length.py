"""Settle `data.max_length: auto` when a study begins: what holds the texts, and fits.

The length that holds 99% of the training texts, or all of them up to `USUAL_TOKENS`: batches are
padded to the longest text that they have, so a limit above it costs nothing. Rounded up to a
multiple of 8, which GPUs like, and at most what the model reads and what one example may have in
the free memory.
"""

from __future__ import annotations

from dataclasses import replace

from lightning_modules.error import UserError
from lightning_modules.rows.corpus import Corpus
from lightning_modules.run import Run
from search.config import Arm, Composition, Tree, build_run
from search.config.length import MAX_LENGTH, TOKENS, USUAL_TOKENS
from search.estimate.need import need_of
from search.estimate.study_need import PROCESS_BYTES, computes_bf16_on, is_on_gpu
from search.machine.gpu import gpus
from search.machine.memory import free_bytes, free_gpu_bytes
from search.plan.length import nearest, searched_at
from search.plan.tokens import count_tokens, model_limit

HELD = 0.99
STEP = 8
FEWEST = 16
"""Tokens that a text may have however little memory there is: the run itself finds out."""


def with_max_length(
    composition: Composition, corpus: Corpus | None, *, load: bool = False
) -> Composition:
    """Return the composition with the length of texts that its rows decide.

    Args:
        composition: The configuration.
        corpus: Its rows; None leaves it as it is.
        load: Whether a tokenizer that `tokenizers` cannot read, or that is not here, is loaded.

    """
    if corpus is None:
        return composition
    arms = tuple(_settled(arm, corpus, load=load) for arm in composition.arms)
    return replace(composition, arms=arms)


def _settled(arm: Arm, corpus: Corpus, *, load: bool) -> Arm:
    if TOKENS not in arm.open:
        return arm
    try:
        run = build_run(arm.tree)
        length = _length(run, corpus, _num_workers(arm), load=load)
    except UserError:
        return arm  # reported by the checks
    if length is None:  # it stands for the usual length, and is left open
        return replace(arm, tree=_with(arm, min(USUAL_TOKENS, model_limit(run) or USUAL_TOKENS)))
    if (searched := searched_at(arm, run, MAX_LENGTH)) is not None:
        length = nearest(searched, length)
    words = (*arm.words, f"{MAX_LENGTH}={length}")
    left = tuple(what for what in arm.open if what != TOKENS)
    decided = (*arm.decided, TOKENS)
    return replace(arm, tree=_with(arm, length), words=words, open=left, decided=decided)


def _num_workers(arm: Arm) -> int:
    """Return the number of workers; 1 without a study, or if it is wrong (the checks report it)."""
    workers = arm.tree.get("search", {}).get("workers", 1)
    return workers if isinstance(workers, int) else 1


def _with(arm: Arm, length: int) -> Tree:
    return {**arm.tree, "data": {**arm.tree["data"], "max_length": length}}


def _length(run: Run, corpus: Corpus, num_workers: int, *, load: bool) -> int | None:
    """Return the length; None if the tokens are not known."""
    counted = count_tokens(run, corpus, run.task.labels(corpus), load=load)
    if counted.unknown:
        return None
    part = next((part for part in counted.parts if part.key == MAX_LENGTH), None)
    held = USUAL_TOKENS
    if part is not None:
        held = max(part.holding(HELD), min(max(part.tokens), USUAL_TOKENS))
    rounded = max(-(-held // STEP) * STEP, FEWEST)
    limits = (model_limit(run), _fitting(run, num_workers))
    return min([rounded, *(limit for limit in limits if limit is not None)])


def _fitting(run: Run, num_workers: int) -> int | None:
    """Return how many tokens one example may have in the free memory; None if unknown."""
    on_gpu = is_on_gpu(run, bool(gpus()))
    need = need_of(run, computes_bf16=computes_bf16_on(run, on_gpu=on_gpu))
    free = free_gpu_bytes() if on_gpu else free_bytes()
    if need is None or not need.token or free is None:
        return None
    num_gpus = max(1, len(gpus()) // run.trainer.devices) if on_gpu else 1
    process = 0 if on_gpu else PROCESS_BYTES + need.loaded
    share = free / -(-max(1, num_workers) // num_gpus) - process
    left = share - need.weights - need.states
    return max(int(left / need.token) // STEP * STEP, FEWEST)
