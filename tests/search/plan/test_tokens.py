"""What plan, train and the summary say about lengths, on rows of every kind of task."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.check import CheckedRows
from search.cli import main
from search.config import build_run, compose
from search.plan.tokens import NUM_ROWS, as_json, count_tokens, sampled, token_lines
from search.trained.training import job_of, notes_of
from tests.conftest import run_here, write_jsonl
from tests.shared import DATA, needs

SHORT = ("logger=none", "trainer.epochs=1")
WORDS = ["hotel", "novel", "kettle", "museum", "bicycle", "train", "concert", "shoes"]


def text_of(num_words: int, seed: int = 0) -> str:
    draw = random.Random(f"{num_words} {seed}")
    return " ".join(f"{draw.choice(WORDS)}" for _ in range(num_words))


def lines_of(*words: str) -> list[tuple[str, str]]:
    run = build_run(compose("train", ["run=r", *words]).tree)
    corpus = run.data.load(run.task)
    return list(token_lines(run, corpus, run.task.labels(corpus)))


def lengths_of(*words: str) -> dict[str, dict[str, Any]]:
    run = build_run(compose("train", ["run=r", *words]).tree)
    corpus = run.data.load(run.task)
    return {each["what"]: each for each in as_json(run, corpus, run.task.labels(corpus))}


def files(name: str, rows: list[dict[str, Any]], here: Path) -> tuple[str, ...]:
    write_jsonl(here / name, rows)
    return ("model=tiny", "data=files", f"data.train={name}", "data.test_fraction=0")


def test_texts_that_are_cut(here: Path) -> None:
    # With two special tokens, 20 of 100 texts are longer than 12.
    rows = [
        {"text": f"{text_of(20 if n % 5 == 0 else 10, n)}", "label": "ab"[n % 2]}
        for n in range(100)
    ]
    words = files("a.jsonl", rows, here)
    ((where, line),) = lines_of(*words, "data.max_length=12", "data.validation=a.jsonl")
    assert where == "note"
    assert line == (
        "20% of texts are longer than data.max_length=12 and lose their end; 22 holds 95%, "
        "22 holds 99%"
    )
    assert lines_of(*words, "data.max_length=22", "data.validation=a.jsonl")[0] == (
        "data",
        "0% of texts are longer than data.max_length=22; 22 holds 95%, 22 holds 99%",
    )


def test_words_that_count_as_o_because_they_are_cut(here: Path) -> None:
    rows = [{"tokens": text_of(20, n).split(), "tags": ["B-x"] + ["O"] * 19} for n in range(30)]
    words = files("a.jsonl", rows, here)
    words = (*words, "task=token_classification", "data.text=tokens", "data.label=tags")
    ((_, line),) = lines_of(*words, "data.validation=a.jsonl", "data.max_length=7")
    # [CLS], five words, [SEP]: 15 of 20 are lost.
    assert "100% of texts are longer than data.max_length=7 and are cut: 75% of all words" in line


def test_targets_that_cannot_be_written(here: Path) -> None:
    rows = [
        {"document": text_of(30, n), "summary": text_of(18 if n < 3 else 4, n)} for n in range(60)
    ]
    words = (
        *files("a.jsonl", rows, here),
        "model.kind=encoder_decoder",
        "strategy=full",
        "task=summarization",
        "data.validation=a.jsonl",
        "task.max_new_tokens=19",
    )
    assert [line for _, line in lines_of(*words)] == [
        "0% of texts are longer than data.max_length=128; 32 holds 95%, 32 holds 99%",
        "5% of summaries are longer than task.max_new_tokens=19 and lose their end, which cannot "
        "be learnt or written; 6 holds 95%, 20 holds 99%",
    ]


def test_answers_that_cannot_be_found(here: Path) -> None:
    context = text_of(50)
    long = " ".join(context.split()[:12])
    rows = [
        {
            "question": f"{text_of(4, n)} ?",
            "context": f"{context} {n}",
            "answers": {"text": [long if n % 4 == 0 else context.split()[0]], "answer_start": [0]},
        }
        for n in range(40)
    ]
    words = (
        *files("a.jsonl", rows, here),
        "task=question_answering",
        "data.validation=a.jsonl",
        "task.max_answer_tokens=11",
        "data.max_length=32",
    )
    found = lengths_of(*words)
    assert found["answers"]["share_longer"] == 0.25
    assert found["questions"]["share_longer"] == 0
    assert found["questions with contexts"]["holds_99"] == 3 + 5 + 51
    texts = "\n".join(line for _, line in lines_of(*words))
    assert "100% of questions with contexts are longer than data.max_length=32 and are" in texts
    assert "25% of answers are longer than task.max_answer_tokens=11 and cannot be found" in texts


def test_prompts_with_answers_and_conversations(here: Path) -> None:
    rows = [{"text": text_of(10, n), "label": text_of(3, n)} for n in range(40)]
    words = (
        *files("a.jsonl", rows, here),
        "model.kind=decoder",
        "task=generation",
        "data.validation=a.jsonl",
    )
    plain = lengths_of(*words, "task.label=label", "task.template='{text}'")
    # The start token, the prompt and the answer; of the answer also its end token.
    assert plain["examples"]["holds_99"] == 1 + 10 + 3
    assert plain["answers"]["holds_99"] == 3 + 1
    talk = [
        {
            "text": [
                {"role": "user", "content": text_of(5, n)},
                {"role": "assistant", "content": text_of(2, n)},
                {"role": "user", "content": text_of(5, n)},
                {"role": "assistant", "content": text_of(9, n)},
            ]
        }
        for n in range(40)
    ]
    found = lengths_of(*words[:-1], *files("t.jsonl", talk, here)[2:], "data.validation=t.jsonl")
    assert found["answers"]["holds_99"] >= 9 + 1
    assert found["examples"]["holds_99"] > 5 + 2 + 5 + 9


def test_packed_texts_are_not_cut(here: Path) -> None:
    words = files("a.jsonl", [{"text": text_of(100, n)} for n in range(20)], here)
    assert lines_of(*words, "model.kind=decoder", "task=generation") == [
        ("data", "texts are packed into blocks of data.max_length=128")
    ]


def test_pairs_of_answers(here: Path) -> None:
    rows = [
        {"prompt": text_of(6, n), "chosen": text_of(4, n), "rejected": text_of(9, n)}
        for n in range(30)
    ]
    words = (*files("a.jsonl", rows, here), "task=preference", "model.kind=decoder")
    found = lengths_of(*words, "data.text=prompt", "data.validation=a.jsonl")
    assert found["pairs"]["holds_99"] >= 6 + 9


def test_prompts_with_shots(here: Path) -> None:
    rows = [{"text": text_of(10, n), "label": "ab"[n % 2]} for n in range(40)]
    words = (
        *files("a.jsonl", rows, here),
        "data.validation=a.jsonl",
        "model.kind=decoder",
        "strategy=prompting",
    )
    none, shots = (lengths_of(*words, f"strategy.num_shots={n}")["texts"] for n in (0, 3))
    assert shots["holds_99"] > 6 * none["holds_99"] * 0.9


def test_a_sample_is_said_and_always_the_same(here: Path) -> None:
    rows = [{"text": text_of(10, n), "label": "ab"[n % 2]} for n in range(4000)]
    words = files("a.jsonl", rows, here)
    words = (*words, "data.validation_fraction=0.1", "data.on_leak=keep")
    (_, line), *_ = lines_of(*words)
    assert line.endswith(f"({NUM_ROWS:,} of 3,600 training rows sampled)")
    numbers: list[dict[str, Any]] = [{"number": number} for number in range(5000)]
    some = sampled(numbers, lambda row: 1)
    assert some == sampled(numbers, lambda row: 1) and len(some) == NUM_ROWS
    assert some == sorted(some, key=lambda row: int(row["number"]))
    assert len(sampled(numbers, lambda row: 400_000)) == 2
    assert len(sampled(numbers, lambda row: 10**9)) == 1


def test_a_tokenizer_that_is_not_here(here: Path) -> None:
    rows = [{"text": text_of(10, n), "label": "ab"[n % 2]} for n in range(40)]
    words = files("a.jsonl", rows, here)[1:]
    folder = here / "bert"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert lines_of("model=hub", "model.path=./bert", *words) == [
        ("data", "lengths are not known: bert has no tokenizer.json")
    ]


@pytest.mark.parametrize("tokenizer", ["bpe", "characters"])
def test_a_tokenizer_that_will_be_trained(tokenizer: str, here: Path) -> None:
    rows = [{"text": text_of(10, n), "label": "ab"[n % 2]} for n in range(40)]
    words = ("strategy=from_scratch", f"strategy.tokenizer={tokenizer}", "data.validation=a.jsonl")
    found = lengths_of(*files("a.jsonl", rows, here), *words)["texts"]
    most = max(len(row["text"]) for row in rows) + 2
    assert found["holds_99"] == most if tokenizer == "characters" else found["holds_99"] < most


def test_the_commands_say_it(here: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": text_of(10 + n % 9, n), "label": "ab"[n % 2]} for n in range(80)]
    words = (*files("a.jsonl", rows, here), *SHORT, "data.max_length=8")
    line = "100% of texts are longer than data.max_length=8 and lose their end; 20 holds 95%"
    assert f"\nnote    {line}" in run_here("plan", "study=s", *words)
    (length,) = json.loads(run_here("plan", "study=s", "--json", *words))["lengths"]
    assert (length["share_longer"], length["tokens"], length["holds_95"]) == (1, 8, 20)
    job = job_of(compose("train", ["run=r", *words]))
    corpus = job.run.data.load(job.run.task)
    assert any(f"note {line}" in each for each in notes_of(job, CheckedRows(corpus, ("a", "b"))))
    swept = run_here("sweep", "study=s", *words, "search.num_trials=1", "search.workers=0")
    assert f"\nnote    {line}" in swept and f"\nLengths: {line}" in swept


@pytest.mark.parametrize(
    "word",
    [
        "data.max_length=100000000000000000000",
        "data.max_length=10000001",
        "data.batch_size=100000000000000000000",
        "task.max_new_tokens=100000000000000000000",
        "strategy.rank=100000000000000000000",
    ],
)
def test_a_number_that_nothing_can_hold(
    word: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("model=tiny", "model.kind=encoder_decoder", "task=summarization")
    assert main(["plan", "study=s", *words, word]) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith(word[:9])]
    assert line.startswith(f"{word.partition('=')[0]}: must be <= ")
    assert "10,000,000 tokens" in line or "9,223,372,036,854,775,807" in line


@needs(DATA)
def test_real_rows_count_as_transformers_counts_them(here: Path) -> None:
    """Compare on SQuAD, WNUT-17 and SciTLDR with the tokenizer that training uses."""
    run = build_run(
        compose(
            "train",
            [
                "run=r",
                "data=files",
                f"data.train={DATA}/sst2/train.jsonl",
                f"data.validation={DATA}/sst2/validation.jsonl",
                f"data.test={DATA}/sst2/test.jsonl",
            ],
        ).tree
    )
    corpus = run.data.load(run.task)
    counted = count_tokens(run, corpus, run.task.labels(corpus))
    tokenizer = run.model.load_tokenizer()
    some = sampled(corpus.splits["train"], lambda row: len(row["text"]))
    (part,) = counted.parts
    expected = [len(ids) for ids in tokenizer([row["text"] for row in some])["input_ids"]]
    assert list(part.tokens) == expected and counted.num_sampled == NUM_ROWS
