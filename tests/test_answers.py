"""The page about questions and answers, on a few rows: from the file to the exported model."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from lightning_modules.check import check_run
from lightning_modules.task.base import Examples
from search.config import build_run, compose
from tests.conftest import run_here, write_jsonl
from tests.page import blocks
from tests.shared import DATA

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "answers.md"
GSM8K = DATA / "gsm8k"
NUM_ROWS = {"train": 160, "test": 20}
# Fewer rows need fewer tokens, and more epochs.
SMALL = ("strategy.vocabulary_size=500", "trainer.epochs=4", "task.num_generated=4")


def write_rows(here: Path) -> None:
    """Write the first rows of GSM8K, or rows like them, to the files that the page names."""
    (here / "gsm8k").mkdir()
    for split, number in NUM_ROWS.items():
        file = GSM8K / f"{split}.jsonl"
        rows = [
            {
                "question": f"Ann has {n} pens and buys {n % 7}. How many pens has she then?",
                "answer": f"She has {n} + {n % 7} = <<{n}+{n % 7}={n + n % 7}>>{n + n % 7} pens.",
            }
            for n in range(number)
        ]
        if file.is_file():
            lines = file.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines[:number]]
        write_jsonl(here / "gsm8k" / f"{split}.jsonl", rows)


def commands() -> list[list[str]]:
    """Return the page's finesweep commands."""
    lines = "\n".join(blocks(PAGE.read_text(encoding="utf-8"), "bash")).replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in lines.splitlines() if line.startswith("finesweep ")]


def unigram_perplexity(words: list[str], split: str = "validation") -> float:
    """Return the perplexity of guessing by the shares of the split's own tokens."""
    from transformers import AutoTokenizer

    run = build_run(compose("train", words).tree)
    name = next(word.removeprefix("run=") for word in words if word.startswith("run="))
    rows = check_run(run).corpus.splits[split]
    tokenizer = AutoTokenizer.from_pretrained(f"runs/{name}/tokenizer")
    guess = run.task.constant_guess(Examples(rows, (), tokenizer, run.data.max_length))
    assert guess is not None and guess.guess == "guessing by the tokens' shares"
    return guess.score


@pytest.mark.thorough
@pytest.mark.parametrize("packed", [False, True])
def test_the_page_runs_from_the_file_to_the_answers(here: Path, packed: bool) -> None:
    write_rows(here)
    (script,) = blocks(PAGE.read_text(encoding="utf-8"), "python")
    exec(script)
    columns, messages, *rest = commands()
    words = [*(messages if packed else columns), *SMALL, "logger=none"]
    name = "messages" if packed else "columns"
    if packed:
        words.append("task.pack_answers=true")
    printed = run_here(*words)
    perplexity = float(re.findall(r"validation/perplexity +([\d.]+)", printed)[0])
    assert perplexity < 0.9 * unigram_perplexity(words[1:])
    file = here / ("test.jsonl" if packed else "gsm8k/test.jsonl")
    (here / "new.jsonl").write_text("".join(file.open().readlines()[:3]))
    for command in rest:
        run_here(*(word.replace("run=messages", f"run={name}") for word in command))
    assert (here / "answers" / "README.md").is_file()
    answers = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    assert len(answers) == 3 and all(row["prediction"] for row in answers)
