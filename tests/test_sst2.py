"""The main job on real SST-2: scores, the budget after a Ctrl-C, and the exported model."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import wait_until, without_certificate
from tests.shared import DATA, needs

SST2 = DATA / "sst2"

pytestmark = [pytest.mark.slow, needs(SST2)]

FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
WORDS = (
    "data=files",
    f"data.train={SST2}/train.jsonl",
    f"data.validation={SST2}/validation.jsonl",
    f"data.test={SST2}/test.jsonl",
    "search.num_trials=8",
)


def ask(*words: str) -> str:
    done = subprocess.run(
        [FINESWEEP, *without_certificate(words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_lora_with_an_interruption_in_trial_5(here: Path) -> None:
    words = ("sweep", "study=sst2", *WORDS, "strategy=lora")
    process = subprocess.Popen(
        [FINESWEEP, *without_certificate(words)],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("trial   4") and "optimizer.lr" in line:
            best = Path("studies/sst2/trials/0005/attempt-1/best.safetensors")
            wait_until(best.is_file, "the first validation of trial 5", seconds=1200)
            process.send_signal(signal.SIGINT)
            break
    output, _ = process.communicate()
    assert process.returncode == 130, output
    ask(*words)
    status = json.loads(ask("status", "study=sst2", "--json"))
    assert status["states"]["complete"] + status["states"]["pruned"] == 8
    assert status["remaining"] == 0
    scores = json.loads(ask("evaluate", "study=sst2", "split=test", "--json"))
    assert scores["accuracy"] >= 0.865

    ask("export", "study=sst2", "to=best")
    ask("predict", "model=best", f"input={SST2}/test.jsonl", "output=out.jsonl")
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["prediction"] for row in rows] == plain_predictions([row["text"] for row in rows])


def plain_predictions(texts: list[str]) -> list[str]:
    """Predict with transformers only, one text at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained("best")
    tokenizer = AutoTokenizer.from_pretrained("best")
    labels = model.config.id2label
    with torch.inference_mode():
        return [
            labels[
                model(**tokenizer(text, truncation=True, return_tensors="pt"))
                .logits.argmax()
                .item()
            ]
            for text in texts
        ]


def test_frozen_features(here: Path) -> None:
    ask("sweep", "study=frozen", *WORDS, "strategy=feature_extraction")
    scores = json.loads(ask("evaluate", "study=frozen", "split=test", "--json"))
    assert scores["accuracy"] >= 0.80


def test_three_strategies_and_the_best_trial_repeated(here: Path) -> None:
    data = (*WORDS[:-1], "data.max_train_rows=1000", "trainer.epochs=1", "search.num_trials=6")
    ways = ("strategy=choice(feature_extraction,lora,full)", "strategy.rank=choice(4,8,16)")
    output = ask("sweep", "study=ways", *data, *ways)
    lines = output.splitlines()
    (at,) = [n for n, line in enumerate(lines) if line.startswith("Train the best trial again")]
    best = json.loads(ask("status", "study=ways", "--json"))["best"]
    assert best["value"] >= 0.78
    words = shlex.split(lines[at + 1].partition("finesweep ")[2])
    scores = json.loads(ask(*words, "--json"))
    assert scores == {f"validation/{name}": value for name, value in best["metrics"].items()}
