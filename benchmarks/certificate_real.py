"""Whether certificates are right on real texts, where the truth is known from more rows and seeds.

Each study is `finesweep sweep` on 400 rows and 400 test rows. The truth is the difference of the
certified two over 20 seeds of a frozen head, or 8 of LoRA, on up to 2,000 rows that the study never
had. The texts are SST-2, headlines of AG News, CoLA, and pairs of STS-B (the same or not).

    frozen  20 studies with a frozen head, and
    lora    6 with LoRA: the interval holds the truth, its own error counted, in at least 23 of 26
    null    40 studies between rates that are all as good as the default's, chosen by the metric: at
            least 95 % do not call the winner better than the default
    leak    one whose validation rows are training rows, so that learning them by heart wins there:
            its certificate does not call that better
    gain    one whose default learns at a rate that is too low, scored on 2,000 test rows: its
            certificate calls the winner better

    python benchmarks/certificate_real.py [--quick] [--kind frozen] [--kept FILE]

It takes hours. Each study is written to `benchmarks/records/certificate.jsonl` (or `--kept FILE`)
with the commit that trained it; one that is there is not run again, and a command that was stopped
continues. With `--kept none` no file is read or written. `--quick` runs one small study of
each kind, and keeps nothing; of LoRA only with `--kind lora`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from certificate_parts.study import HERE, TEXTS, Found, Size, found
from shared_parts.argument import add_data, add_kept, parser_of
from shared_parts.data import is_there
from shared_parts.kept import Results

KEPT = HERE / "records" / "certificate.jsonl"
LEAST_HELD, LEAST_NULL = 23 / 26, 0.95

SEARCH = Size(num_trials=6, num_rows=400, num_test_rows=400, num_true_rows=2000, num_true_seeds=20)
SAME_RATES = (
    *("search/space=none", "optimizer.lr=tag(log,interval(7e-3,1.4e-2))", "search.select=metric"),
    *("search/sampler=random", "search/pruner=none", "search.portfolio=false"),
)
BY_HEART = ("search/space=none", "trainer.epochs=choice(3,60)", "search.portfolio=false")
LOW_RATE = (
    *("search/space=none", "strategy.lr=1.5e-3", "optimizer.lr=choice(1.5e-3,1e-2)"),
    "search.portfolio=false",
)


@dataclass(frozen=True)
class Kind:
    """Studies of one kind.

    Attributes:
        num: How many there are; each has another seed, and another text in turn.
        size: How much each runs.
        strategy: The strategy.
        texts: The texts.
        leak: Whether the validation rows are training rows.

    """

    num: int
    size: Size
    strategy: str = "feature_extraction"
    texts: Sequence[str] = TEXTS
    leak: bool = False


KINDS = {
    "frozen": Kind(20, SEARCH),
    "lora": Kind(6, replace(SEARCH, num_true_seeds=8), "lora"),
    "null": Kind(40, replace(SEARCH, num_true_seeds=0, words=SAME_RATES)),
    "leak": Kind(1, replace(SEARCH, num_trials=2, words=BY_HEART), texts=TEXTS[:1], leak=True),
    "gain": Kind(
        1, replace(SEARCH, num_trials=2, num_test_rows=2000, words=LOW_RATE), texts=TEXTS[:1]
    ),
}


def quick(kind: Kind) -> Kind:
    """Return one small study of a kind."""
    size = kind.size
    small = replace(
        size,
        num_trials=min(3, size.num_trials),
        num_true_rows=300,
        num_true_seeds=min(3, size.num_true_seeds),
    )
    return replace(kind, num=1, size=small)


def studied(kept: Results, name: str, kind: Kind, seed: int, data: Path) -> Found:
    """Return a study of the file, or run it and write it there."""
    text = kind.texts[seed % len(kind.texts)]
    cell = {"kind": name, "text": text, "strategy": kind.strategy, "seed": seed}
    cell |= {**asdict(kind.size), "words": list(kind.size.words)}

    def run() -> dict[str, Any]:
        return asdict(found(text, kind.strategy, seed, kind.size, data, kind.leak))

    return Found(**kept.get_or_run(cell, run))


def row(name: str, text: str, seed: int, study: Found) -> str:
    """Return a line of the table."""
    truth = "" if study.truth is None else f"{study.truth:+.1f} +- {study.truth_error:.1f}"
    holds = "" if study.truth is None else ("holds" if study.holds else "MISSES")
    first = "default" if study.is_default else "winner"
    interval = f"{study.gain:+.1f} ({study.low:.1f} to {study.high:.1f})"
    cells = [f"{name:6s}", f"{text:9s}", f"{seed:4d}", f"{first:7s}", f"{interval:21s}"]
    cells += [f"{study.verdict:19s}", f"{truth:13s}", f"{holds:6s}", f"{study.cpu_seconds:5.0f} s"]
    return " | ".join(cells)


def prefers_winner(study: Found) -> bool:
    """Return whether a winner was called better than the default."""
    return study.verdict == "better" and not study.is_default


def targets(studies: dict[str, list[Found]]) -> list[tuple[str, bool]]:
    """Return what was reached of each target that was measured, in words, and whether it is met."""
    lines = []
    both = [each for name in ("frozen", "lora") for each in studies.get(name, [])]
    if both:
        held = sum(each.holds for each in both)
        lines.append(
            (f"{held} of {len(both)} intervals hold the truth", held >= LEAST_HELD * len(both))
        )
    if null := studies.get("null"):
        right = sum(not prefers_winner(each) for each in null)
        lines.append(
            (f"{right} of {len(null)} null studies say so", right >= LEAST_NULL * len(null))
        )
    for each in studies.get("leak", []):
        lines.append((f"leak: {each.sentence}", not prefers_winner(each)))
    for each in studies.get("gain", []):
        lines.append((f"gain: {each.sentence}", prefers_winner(each)))
    return lines


def main() -> int:
    parser = parser_of(__doc__, "one small study of each kind")
    parser.add_argument("--kind", choices=sorted(KINDS), help="only this one")
    add_data(parser)
    add_kept(parser, KEPT)
    asked = parser.parse_args()
    if not is_there(asked.data):
        return 0
    kinds = {asked.kind: KINDS[asked.kind]} if asked.kind else KINDS
    if asked.quick:
        quickly = {name: quick(kind) for name, kind in kinds.items()}
        kinds = {n: k for n, k in quickly.items() if asked.kind or k.strategy != "lora"}
    kept = Results(None if asked.quick else asked.kept, "found")
    studies: dict[str, list[Found]] = {}
    for name, kind in kinds.items():
        for seed in range(kind.num):
            study = studied(kept, name, kind, seed, asked.data)
            studies.setdefault(name, []).append(study)
            print(row(name, kind.texts[seed % len(kind.texts)], seed, study), flush=True)
    reached = targets(studies)
    for line, is_met in reached:
        print(f"{line}{'' if is_met else ': MISSED'}")
    return 0 if asked.quick or all(is_met for _, is_met in reached) else 1


if __name__ == "__main__":
    sys.exit(main())
