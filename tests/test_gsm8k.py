"""Question and answer on the whole of GSM8K: scores on held-out rows, and the exported models."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_here
from tests.page import blocks
from tests.shared import DATA, needs
from tests.test_answers import PAGE, commands, unigram_perplexity

GSM8K = DATA / "gsm8k"
PREFERENCES = PAGE.with_name("preferences.md")
NUM_TEST_PAIRS = 1318

pytestmark = [pytest.mark.slow, needs(GSM8K)]


@pytest.fixture
def gsm8k(here: Path) -> Path:
    """Copy the data to where the pages name it."""
    shutil.copytree(GSM8K, here / "gsm8k")
    return here


def first_rows(file: Path, number: int) -> None:
    """Leave the first rows of a file."""
    file.write_text("".join(file.read_text(encoding="utf-8").splitlines(True)[:number]))


@pytest.mark.parametrize("name", ["columns", "messages"])
def test_answers_are_less_perplexing_than_by_the_tokens_shares(gsm8k: Path, name: str) -> None:
    (script,) = blocks(PAGE.read_text(encoding="utf-8"), "python")
    exec(script)
    train = next(words for words in commands() if f"run={name}" in words)
    run_here(*train, "logger=none")
    scores = json.loads(run_here("evaluate", f"run={name}", "split=test", "--json"))
    assert scores["perplexity"] < 0.25 * unigram_perplexity(train[1:], "test")
    run_here("export", f"run={name}", "to=answers")
    rows = gsm8k / ("gsm8k/test.jsonl" if name == "columns" else "test.jsonl")
    (gsm8k / "new.jsonl").write_text("".join(rows.read_text().splitlines(True)[:20]))
    run_here("predict", "model=answers", "input=new.jsonl", "output=out.jsonl")
    answers = (gsm8k / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(answers) == 20 and all(json.loads(line)["prediction"] for line in answers)


def test_dpo_prefers_the_right_answer_on_held_out_pairs(gsm8k: Path) -> None:
    page = PREFERENCES.read_text(encoding="utf-8")
    (script,) = blocks(page, 'python title="make_pairs.py"')
    (gsm8k / "make_pairs.py").write_text(script, encoding="utf-8")
    subprocess.run([sys.executable, "make_pairs.py"], check=True)
    lines = blocks(page, "bash")[-1].replace("\\\n", " ").splitlines()
    train, evaluate, export, predict = (shlex.split(line)[1:] for line in lines)
    run_here(*train, "logger=none")
    share = json.loads(run_here(*evaluate, "--json"))["reward_accuracy"]
    assert lower_bound(share, NUM_TEST_PAIRS) > 0.5, share
    run_here(*export)
    first_rows(gsm8k / "test.jsonl", 20)
    run_here(*predict)
    assert len((gsm8k / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 20


def lower_bound(share: float, number: int, z: float = 1.96) -> float:
    """Return the lower end of Wilson's interval of 95 % for a share of so many."""
    middle = share + z * z / (2 * number)
    width = z * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    return (middle - width) / (1 + z * z / number)
