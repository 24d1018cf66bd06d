"""One run against a clever user of Hugging Face's Trainer: LoRA, full, frozen, tagging, and so on.

    python benchmarks/single.py            # 960 rows, 5 runs of each side
    python benchmarks/single.py --quick    # 160 rows, 3 runs of each side
    python benchmarks/single.py --case lora --rows 64 model.attention=auto

The peer (`peer_parts/tuned.py`) computes in bf16 where the processor has units for it, and groups
its batches by length. Both sides train the same rows, as the same tokens, in the same batch size.
Each has a process of its own; they take turns, run by run, so that other load affects both equally.
A run is measured from the built network to the validation after its last epoch, after a short one
that is not counted. For frozen weights that includes what finesweep computes once in place of in
each of three epochs; the peer could do so by hand, which is what `frozen.py` compares.

Prints medians of the trained tokens per second, without padding, the median ratio of runs that
followed each other with the least and the most, and the share of the measured peak of products of
matrices that finesweep's training takes (not known of encoder-decoders, whose halves read different
texts, nor of frozen weights, which compute once).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_parts.argument import parser_of
from shared_parts.data import DATA, is_there
from single_parts.case import CASES, make_run
from single_parts.job import Job
from single_parts.side import Side, Stopwatch, Took

from lightning_modules.batch.type import IGNORED
from lightning_modules.cache import Cache
from lightning_modules.check import load_rows
from lightning_modules.machine.hardware import Device, Hardware, Precision, choose_hardware
from search.machine.quiet import quiet_process, quiet_training

NUM_ROWS, NUM_QUICK_ROWS = 960, 160
REPETITIONS, NUM_QUICK = 5, 3
NUM_WARM_ROWS = 32
TIMES = 1.3
"""What is wanted."""
PRODUCT = 1024
"""Width of the matrices by which the peak is measured."""


@dataclass(frozen=True)
class Work:
    """What both sides train.

    Attributes:
        job: What the sides are asked for.
        num_tokens: Tokens of the training rows without padding, over all epochs.
        flops: Operations that these take; None if that is not known.

    """

    job: Job
    num_tokens: int
    flops: float | None


def work(name: str, num_rows: int, folder: Path, words: Sequence[str]) -> Work:
    """Write the rows and their tokens; return what is to be done."""
    from datasets import DatasetDict

    from lightning_modules.datamodule import TextDataModule
    from lightning_modules.model.flops import flops_of
    from lightning_modules.network import build_network, build_tokenizer

    run, cache = make_run(name, num_rows, folder, words), Cache()
    checked, hardware = load_rows(run, cache), _hardware(run)
    task = run.task.fit_to_model(run.model).fit_to_rows(checked.corpus, checked.labels)
    assert len(checked.corpus.splits["train"]) == num_rows
    tokenizer = build_tokenizer(run, checked.corpus.splits["train"], cache)
    data = TextDataModule(run, checked.corpus.splits, checked.labels, tokenizer, cache=cache)
    examples = folder / f"{name}-{num_rows}-examples"
    parts = {split: _by_token(part) for split, part in data.examples.items()}
    DatasetDict(parts).save_to_disk(examples)
    ids, targets = data.examples["train"]["input_ids"][:], data.examples["train"]["labels"][:]
    num_tokens = sum(map(len, ids))
    num_targets = sum(sum(label >= 0 for label in each) for each in targets if _is_list(each))
    network = build_network(run, checked.labels, cache, tokenizer, hardware)
    found = None if run.trainer.epochs > 1 else flops_of(network)
    if task.auto_class == "AutoModelForSeq2SeqLM":
        num_tokens += num_targets
    epochs = int(run.trainer.epochs)
    flat = run.flat()
    job = Job(
        name=name,
        num_rows=num_rows,
        words=tuple(words),
        model=run.model.location(),
        auto_class=task.auto_class,
        task_type=_task_type(task.auto_class),
        num_labels=len(checked.labels),
        strategy=flat["strategy"],
        rank=flat.get("strategy.rank"),
        alpha=flat.get("strategy.alpha"),
        lr=run.optimizer.lr,
        batch_size=run.data.batch_size,
        epochs=epochs,
        examples=str(examples),
        bf16=hardware.precision is Precision.bf16,
    )
    flops = None
    if found is not None:
        flops = num_tokens * found.per_token + num_targets * found.per_target
    return Work(job, epochs * num_tokens, flops)


def _by_token(part: Any) -> Any:
    """Return examples with a label for each token, where they have one for each word."""
    if "starts" not in part.column_names:
        return part

    def spread(row: dict[str, Any]) -> dict[str, Any]:
        labels = [IGNORED] * len(row["input_ids"])
        for start, label in zip(row["starts"], row["labels"], strict=True):
            if start >= 0:
                labels[start] = label
        return {"labels": labels}

    # In memory: it would write its file into finesweep's store.
    return part.map(spread, remove_columns=["starts"], keep_in_memory=True)


def _is_list(value: Any) -> bool:
    return hasattr(value, "__len__")


def _task_type(auto_class: str) -> str:
    kinds = {"Sequence": "SEQ_CLS", "Token": "TOKEN_CLS", "Seq2Seq": "SEQ_2_SEQ_LM"}
    return next((kind for name, kind in kinds.items() if name in auto_class), "CAUSAL_LM")


def _hardware(run: Any) -> Hardware:
    return choose_hardware(run.trainer.device, run.trainer.precision)


def peak(hardware: Hardware) -> float:
    """Return the operations in a second of a core, of products of large matrices; of a GPU, in one.

    The best of ten.
    """
    import torch

    dtype = hardware.mixed_dtype or torch.float32
    one = torch.randn(PRODUCT, PRODUCT, device=hardware.place()).to(dtype)
    watch = Stopwatch()
    took = []
    for _ in range(10):
        watch.start()
        product = one @ one
        if product.is_cuda:
            torch.cuda.synchronize()
        watch.stop()
        took.append(watch.took.clock if product.is_cuda else watch.took.cores)
    return 2 * PRODUCT**3 / min(took)


def measure(
    names: Sequence[str], num_rows: int, repetitions: int, folder: Path, words: Sequence[str]
) -> list[float]:
    """Train all cases on both sides; print the table, and return the ratios."""
    hardware = _hardware(make_run(names[0], num_rows, folder, words))
    most, on_gpu = peak(hardware), hardware.device is Device.cuda
    print(f"{hardware}; products of matrices: {most / 1e9:.0f} GFLOP in a second of a core")
    print("trained tokens per second, ratio by the clock and of a core, share of the peak")
    print(f"{'':8s} | finesweep |      HF | {'clock':>20s} | {'core':>20s} | share")
    sides = Side("single_parts.ours", folder), Side("peer_parts.tuned", folder)
    ratios = []
    for name in names:
        warm, whole = (work(name, num, folder, words) for num in (NUM_WARM_ROWS, num_rows))
        for side in sides:
            side.train(warm.job)
        pairs = [trained(sides, whole.job, number) for number in range(repetitions)]
        rates = [statistics.median(whole.num_tokens / p[at].clock for p in pairs) for at in (0, 1)]
        clock = [theirs.clock / ours.clock for ours, theirs in pairs]
        core = [theirs.cores / ours.cores for ours, theirs in pairs]
        busy = statistics.median(ours.clock if on_gpu else ours.cores for ours, _ in pairs)
        share = "-" if whole.flops is None else f"{whole.flops / busy / most:.0%}"
        cells = [f"{rates[0]:9.0f}", f"{rates[1]:7.0f}", described(clock), described(core), share]
        print(f"{name:8s} | {' | '.join(cells)}", flush=True)
        ratios.append(statistics.median(clock))
    for side in sides:
        side.close()
    return ratios


def trained(sides: tuple[Side, Side], job: Job, number: int) -> tuple[Took, Took]:
    """Train a run on both sides, in an order that changes from run to run."""
    if number % 2:
        theirs = sides[1].train(job)
        return sides[0].train(job), theirs
    return sides[0].train(job), sides[1].train(job)


def described(ratios: Sequence[float]) -> str:
    """Return the median, the least and the most."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> int:
    parser = parser_of(__doc__, "160 rows, 3 runs of each side")
    parser.add_argument("--case", choices=CASES, help="only this one")
    parser.add_argument("words", nargs="*", help="overrides of finesweep's runs")
    parser.add_argument("--rows", type=int, help="training rows of each run")
    asked = parser.parse_args()
    if not is_there(DATA):
        return 0
    quiet_process()
    quiet_training()
    names = [asked.case] if asked.case else list(CASES)
    num_rows, repetitions = (NUM_QUICK_ROWS, NUM_QUICK) if asked.quick else (NUM_ROWS, REPETITIONS)
    with tempfile.TemporaryDirectory() as folder:
        ratios = measure(
            names, asked.rows or num_rows, repetitions, Path(folder).resolve(), asked.words
        )
    missed = [name for name, ratio in zip(names, ratios, strict=True) if ratio < TIMES]
    print(f"wanted: {TIMES} times; missed: {', '.join(missed) or 'none'}")
    return int(bool(missed) and not asked.quick)


if __name__ == "__main__":
    sys.exit(main())
