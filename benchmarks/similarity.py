"""Sentence embeddings: finesweep against sentence-transformers, on the STS benchmark.

    python benchmarks/similarity.py [--quick]

Both sides train all weights of all-MiniLM-L6-v2 on the same pairs, for the same number of steps of
16 pairs, with the same loss (the squared difference of cosine and score), AdamW, a rate of 2e-5
that rises over a tenth of the steps and then falls linearly, in float32. Scored is Spearman's
correlation of the cosines and the scores of the test pairs. Good is a difference of at most 0.02.
Two more rows are finesweep with its own defaults, and the model before training.

sentence-transformers is not among the requirements; install it for the benchmark:
`pip install --no-deps sentence-transformers`. With `--quick` it trains on 1,600 pairs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from lightning_modules.model.base import Pretrained
from search.config import build_run, compose

FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
PAIRS = Path(__file__).resolve().parents[2] / "shared" / "data" / "stsb"
NUM_QUICK = 1600
GOOD = 0.02
DATA = (
    *("task=similarity", "data=files", "data.text=sentence1", "data.text_pair=sentence2"),
    *("data.label=score", "task.low=0", "task.high=5", "logger=none", "data.max_length=128"),
    *("data.on_leak=keep", "strategy=full"),
)
SAME = (
    *("data.batch_size=16", "trainer.epochs=1", "optimizer.lr=2e-5", "optimizer.weight_decay=0"),
    *("schedule=linear", "schedule.warmup_fraction=0.1", "trainer.precision=fp32"),
    "trainer.validations_per_epoch=1",
)

THEIRS = """
import json, sys
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.losses import CosineSimilarityLoss
from scipy.stats import spearmanr

model, train, test, steps = sys.argv[1:]
rows, tests = ([json.loads(line) for line in open(name)] for name in (train, test))
model = SentenceTransformer(model, device="cpu")
model.max_seq_length = 128


def spearman():
    one, other = (
        model.encode([row[name] for row in tests], normalize_embeddings=True)
        for name in ("sentence1", "sentence2")
    )
    return float(spearmanr((one * other).sum(1), [row["score"] for row in tests])[0])


before = spearman()
columns = {name: [row[name] for row in rows] for name in ("sentence1", "sentence2")}
columns["score"] = [row["score"] / 5 for row in rows]
settings = SentenceTransformerTrainingArguments(
    output_dir="out", num_train_epochs=1, per_device_train_batch_size=16, learning_rate=2e-5,
    warmup_steps=int(0.1 * int(steps)), report_to=[], save_strategy="no", use_cpu=True,
    disable_tqdm=True,
)
SentenceTransformerTrainer(
    model, settings, train_dataset=Dataset.from_dict(columns), loss=CosineSimilarityLoss(model)
).train()
print(json.dumps({"before": before, "after": spearman()}))
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    if not PAIRS.is_dir():
        print("skipped: the pairs of the STS benchmark are not here")
        return 0
    if find_spec("sentence_transformers") is None:
        print("skipped: pip install --no-deps sentence-transformers")
        return 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        lines = (PAIRS / "train.jsonl").read_text(encoding="utf-8").splitlines()
        lines = lines[:: len(lines) // NUM_QUICK] if quick else lines
        (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return _compare(folder, len(lines))


def _compare(folder: Path, num_pairs: int) -> int:
    test = PAIRS / "test.jsonl"
    model = build_run(compose("train", ["model=minilm"]).tree).model
    assert isinstance(model, Pretrained)
    files = (model.location(), str(folder / "train.jsonl"), str(test))
    printed = _printed([sys.executable, "-c", THEIRS, *files, str(num_pairs // 16)], folder)
    theirs = json.loads(printed.splitlines()[-1])
    same, plain = (_ours(folder, name, words) for name, words in (("same", SAME), ("plain", ())))
    difference, num_tests = same - theirs["after"], len(test.read_text("utf-8").splitlines())
    print(f"{num_pairs:,} pairs; Spearman's correlation on {num_tests:,} test pairs\n")
    print(f"{'before training':44} {theirs['before']:.4f}")
    print(f"{'sentence-transformers':44} {theirs['after']:.4f}")
    print(f"{'finesweep, same settings':44} {same:.4f}   {difference:+.4f}")
    print(f"{'finesweep, its own defaults':44} {plain:.4f}   {plain - theirs['after']:+.4f}")
    is_good = abs(difference) <= GOOD
    print(f"\n{'good' if is_good else 'NOT GOOD'}: a difference of at most {GOOD} is wanted")
    return 0 if is_good else 1


def _ours(folder: Path, name: str, words: tuple[str, ...]) -> float:
    """Train, and return the correlation on the test pairs."""
    files = [f"data.{part}={PAIRS / part}.jsonl" for part in ("validation", "test")]
    data = [*DATA, f"data.train={folder / 'train.jsonl'}", *files]
    _printed([FINESWEEP, "train", f"run={name}", *data, *words], folder)
    evaluate = [FINESWEEP, "evaluate", f"run={name}", "split=test", "--json"]
    scores: dict[str, float] = json.loads(_printed(evaluate, folder))
    return scores["spearman"]


def _printed(command: list[str], folder: Path) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
