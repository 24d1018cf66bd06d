"""A study of LoRA or full fine-tuning against Optuna with Hugging Face's Trainer, in time.

    python benchmarks/finetune.py            # 50 studies of each text, 3 measurements of each side
    python benchmarks/finetune.py --quick    # 10 studies, 1 measurement, 112 of 280 rows
    python benchmarks/finetune.py --strategy lora

How long does finesweep need until a validation has the loss with which the peer's study of 16
trials ends? The studies are replayed on recorded runs (`benchmarks/records`): MiniLM on 280 rows,
validated on 60. All sides search finesweep's default space; a suggestion is answered by the nearest
recorded run. finesweep minimizes the validation loss with its default sampler, pruner and first
configurations (`search.metric=log_loss search.select=log_loss`). The peers are

- as documented: `Trainer.hyperparameter_search` with Optuna, so TPE and its median pruner, a
  validation and a checkpoint each epoch, in fp32;
- clever: Optuna with ASHA, bf16 where the processor has units for it, batches by length, no
  checkpoints.

All are one process without W&B that loads the model for each trial in its own way. What its start,
a trial, a step and a validation take is measured on the same rows of SST-2, the sides in turns.
Prints these seconds, and for each text the median over studies of the peer's seconds and of
finesweep's, by the clock and of a core, with the ratio of their sums. If finesweep has not reached
the loss after 64 trials, it counts with the time of these.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from finetune_parts.cost import BATCH_SIZES, Cost, cost, run_process
from finetune_parts.landscape import Landscape, landscapes
from finetune_parts.replay import (
    CLEVER,
    DOCUMENTED,
    NUM_TRIALS,
    Peer,
    our_study,
    peer_study,
    plan_of,
    seconds_to,
)
from record import load_records
from recorded.text import Place
from shared_parts.argument import parser_of
from shared_parts.data import DATA, is_there

from lightning_modules.machine.hardware import Device, Precision, choose_hardware
from search.config import build_run, compose
from search.plan.plan import Plan

STRATEGIES = ("lora", "full")
OURS = "finesweep"
TIMES: Mapping[Peer, float] = {DOCUMENTED: 10.0, CLEVER: 3.0}
"""What is wanted."""
NUM_TRAIN, NUM_QUICK_TRAIN, NUM_VALIDATION = 280, 112, 60
KINDS = ("clock", "cores")

Costs = Mapping[str, Mapping[str, Cost]]
"""By kind of seconds and name of the side."""


def measured(strategy: str, num_train: int, repetitions: int, place: Place) -> Costs:
    """Run each side's process several times, in turns; return what its parts take."""
    lines = place.rows_file("sst2", 400).read_text(encoding="utf-8").splitlines()
    parts = {"train": lines[:num_train], "validation": lines[NUM_TRAIN:][:NUM_VALIDATION]}
    files = {name: place.work / f"{name}-{num_train}.jsonl" for name in parts}
    for name, part in parts.items():
        files[name].write_text("\n".join(part) + "\n", encoding="utf-8")
    sizes = ",".join(map(str, sorted(BATCH_SIZES)))
    ours = [
        *("finetune_parts.ours", "study=timed", "model=minilm", "data=files", "logger=none"),
        *(f"data.{name}={file}" for name, file in files.items()),
        *(
            "data.test_fraction=0",
            "data.max_length=128",
            f"strategy={strategy}",
            "trainer.epochs=1",
        ),
        *("search/space=none", "search/sampler=grid", "search/pruner=none", "search.workers=0"),
        *(f"data.batch_size=choice({sizes})", f"search.num_trials={len(BATCH_SIZES)}"),
        "search.certify=false",
    ]
    model = build_run(compose("train", ["model=minilm"]).tree).model.location()
    is_bf16 = choose_hardware(Device.auto, Precision.auto).precision is Precision.bf16
    sides = {OURS: ours}
    for peer in TIMES:
        settings = {"strategy": strategy, "clever": peer is CLEVER, "bf16": is_bf16}
        words = [model, *map(str, files.values()), json.dumps(settings)]
        sides[peer.name] = ["peer_parts.searched", *words]
    found: dict[str, list[object]] = {name: [] for name in sides}
    for number in range(repetitions):
        for name, words in sides.items():
            folder = place.work / f"{strategy}-{name}-{number}".replace(" ", "-")
            found[name].append(run_process(words, folder))
    return {kind: {name: cost(each, kind) for name, each in found.items()} for kind in KINDS}  # type: ignore[arg-type]


def print_costs(costs: Costs) -> None:
    """Print the seconds of each side's parts."""
    for kind, of_sides in costs.items():
        names = ["start", "trial", "validation", *(f"step, {size}" for size in sorted(BATCH_SIZES))]
        print(f"seconds by the {kind:14s}" + "".join(f"{name:>12s}" for name in names))
        for name, each in of_sides.items():
            steps = [each.steps[size] for size in sorted(BATCH_SIZES)]
            cells = [each.start, each.trial, each.validation, *steps]
            print(f"{name:28s}" + "".join(f"{cell:12.3f}" for cell in cells))


def compared(
    peer: Peer, landscape: Landscape, plan: Plan, costs: Costs, num_studies: int
) -> Mapping[str, float]:
    """Print a line of the table; return the ratio of the sums of seconds, by kind."""
    seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    reached = []
    for seed in range(num_studies):
        parts = peer_study(peer, landscape, plan, seed)
        loss = min(part.loss for part in parts)
        own = list(our_study(landscape, plan, seed, until=loss))
        for kind, of_sides in costs.items():
            theirs = of_sides[peer.name]
            whole = theirs.start + sum(
                part.seconds(theirs, validations_per_epoch=1) for part in parts
            )
            ours, number = seconds_to(loss, own, of_sides[OURS])
            seconds[kind].append((whole, ours))
        reached.append(number)
    ratios = {
        kind: sum(whole for whole, _ in pairs) / sum(ours for _, ours in pairs)
        for kind, pairs in seconds.items()
    }
    cells = []
    for kind, pairs in seconds.items():
        whole, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        cells.append(f"{whole:8.1f} {ours:8.1f} {ratios[kind]:6.1f}")
    numbers = sorted(each for each in reached if each)
    middle = statistics.median(numbers) if numbers else 0
    misses = reached.count(0)
    print(
        f"{landscape.text:12s} {peer.name:14s} | {' | '.join(cells)} | {middle:5g} | {misses:6d}",
        flush=True,
    )
    return ratios


def table(
    strategy: str, costs: Costs, place: Place, num_studies: int
) -> Mapping[Peer, Sequence[float]]:
    """Print the table of a strategy; return each peer's ratios by the clock."""
    print(f"{strategy}, {num_studies} studies: seconds of the peer, of finesweep, and the ratio")
    print(f"{'':27s} | {'by the clock':24s} | {'of a core':24s} | trial | missed")
    plan = plan_of(strategy, place.rows_file("sst2", 400))
    found = list(landscapes(load_records(), strategy))
    return {
        peer: [compared(peer, each, plan, costs, num_studies)["clock"] for each in found]
        for peer in TIMES
    }


def main() -> int:
    parser = parser_of(__doc__, "10 studies, 1 measurement, 112 of 280 rows")
    parser.add_argument("--strategy", choices=STRATEGIES, help="only this one")
    asked = parser.parse_args()
    if not is_there(DATA):
        return 0
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    num_train, repetitions, num_studies = (
        (NUM_QUICK_TRAIN, 1, 10) if asked.quick else (NUM_TRAIN, 3, 50)
    )
    missed = []
    for strategy in [asked.strategy] if asked.strategy else STRATEGIES:
        with tempfile.TemporaryDirectory() as folder:
            place = Place(Path(folder).resolve(), DATA)
            costs = measured(strategy, num_train, repetitions, place)
            print_costs(costs)
            for peer, ratios in table(strategy, costs, place, num_studies).items():
                if min(ratios) < TIMES[peer]:
                    missed.append(f"{strategy} {peer.name}: {min(ratios):.1f} times")
    wanted = ", ".join(f"{times:g} times {peer.name}" for peer, times in TIMES.items())
    print(f"wanted of {NUM_TRIALS} trials: {wanted}; missed: {'; '.join(missed) or 'none'}")
    return int(bool(missed) and not asked.quick)


if __name__ == "__main__":
    sys.exit(main())
