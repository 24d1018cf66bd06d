"""Pairs of sentences: finesweep against sentence-transformers and the frozen model, on STS-B.

    python benchmarks/similarity.py [--quick]

Both sides train all weights of all-MiniLM-L6-v2 on the same pairs, for the same number of steps of
16 pairs, with the same loss (the squared difference of cosine and score), AdamW, a rate of 2e-5
that rises over a tenth of the steps and then falls linearly, in float32. Scored is Spearman's
correlation of the cosines and the scores of the test pairs. Good is a difference of at most 0.02.
The other rows are finesweep as `task=similarity` with its own defaults, and as `task=regression` on
the pair in both orders, which trains all weights at a rate of 7e-5: good is more than the cosines
of the model before training have.

sentence-transformers is not among the requirements; install it for the benchmark:
`pip install --no-deps 'sentence-transformers==6.2.*'`. With `--quick` it trains on
every third pair, and leaves out the regression, which needs more.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from shared_parts.argument import parser_of
from shared_parts.data import DATA as TEXTS

from lightning_modules.model.pretrained import Pretrained
from search.config import build_run, compose

FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
PAIRS = TEXTS / "stsb"
QUICK = 3
"""With --quick, every third pair is trained on."""
GOOD = 0.02
DATA = (
    *("data=files", "data.text=sentence1", "data.text_pair=sentence2", "data.label=score"),
    *("logger=none", "trainer.validations_per_epoch=1"),
)
SIMILARITY = ("task=similarity", "task.low=0", "task.high=5")
SAME = (
    *("strategy=full", "data.batch_size=16", "data.max_length=128", "data.on_leak=keep"),
    *("trainer.epochs=1", "trainer.precision=fp32", "optimizer.lr=2e-5"),
    *("optimizer.weight_decay=0", "schedule=linear", "schedule.warmup_fraction=0.1"),
)
REGRESSION = (
    *("task=regression", "task.metric=spearman", "task.symmetric=true"),
    *("strategy=full", "strategy.lr=7e-5"),
)

THEIRS = """
import json, sys
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss
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
    parser = parser_of(__doc__, "every third pair")
    quick = parser.parse_args().quick
    if not PAIRS.is_dir():
        print("skipped: the pairs of the STS benchmark are not here")
        return 0
    if find_spec("sentence_transformers") is None:
        print("skipped: pip install --no-deps 'sentence-transformers==6.2.*'")
        return 0
    lines = (PAIRS / "train.jsonl").read_text(encoding="utf-8").splitlines()
    lines = lines[::QUICK] if quick else lines
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return _compare(folder, len(lines), with_regression=not quick)


def _compare(folder: Path, num_pairs: int, *, with_regression: bool) -> int:
    num_tests = len((PAIRS / "test.jsonl").read_text(encoding="utf-8").splitlines())
    print(f"{num_pairs:,} pairs; Spearman's correlation on {num_tests:,} test pairs\n")
    theirs = _theirs(folder, num_pairs)
    frozen, trained = theirs["before"], theirs["after"]
    _show("before training", frozen)
    _show("sentence-transformers", trained)
    same = _ours(folder, "same", (*SIMILARITY, *SAME))
    _show("finesweep, same settings", same, f"{same - trained:+.4f} to sentence-transformers")
    plain = [_ours(folder, "similarity", SIMILARITY)]
    _show(
        "finesweep, defaults of similarity", plain[0], f"{plain[0] - frozen:+.4f} to the first row"
    )
    if with_regression:
        plain.append(_ours(folder, "regression", REGRESSION))
        more = plain[1] - frozen
        _show("finesweep, symmetric regression", plain[1], f"{more:+.4f} to the first row")
    is_good = abs(same - trained) <= GOOD and min(plain) > frozen
    print(f"\n{'good' if is_good else 'NOT GOOD'}: wanted are a difference of at most {GOOD} with")
    print("the same settings, and more than before training in the other two rows")
    return 0 if is_good else 1


def _show(name: str, score: float, difference: str = "") -> None:
    print(f"{name:36} {score:.4f}   {difference}".rstrip(), flush=True)


def _theirs(folder: Path, num_pairs: int) -> dict[str, float]:
    """Train with sentence-transformers; return the correlations `before` and `after`."""
    model = build_run(compose("train", ["model=minilm"]).tree).model
    assert isinstance(model, Pretrained)
    files = (model.location(), str(folder / "train.jsonl"), str(PAIRS / "test.jsonl"))
    printed = _printed([sys.executable, "-c", THEIRS, *files, str(num_pairs // 16)], folder)
    scores: dict[str, float] = json.loads(printed.splitlines()[-1])
    return scores


def _ours(folder: Path, name: str, words: tuple[str, ...]) -> float:
    """Train with finesweep, and return the correlation on the test pairs."""
    files = [f"data.{part}={PAIRS / part}.jsonl" for part in ("validation", "test")]
    data = [*DATA, f"data.train={folder / 'train.jsonl'}", *files]
    _printed([FINESWEEP, "train", f"run={name}", *data, *words], folder)
    evaluate = [FINESWEEP, "evaluate", f"run={name}", "split=test", "--json"]
    scores: dict[str, float] = json.loads(_printed(evaluate, folder))
    return scores["spearman"]


def _printed(command: list[str], folder: Path) -> str:
    """Run a command and return what it prints; end with its errors if it fails."""
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr or done.stdout)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
