"""`data.max_length: auto`: decided once by the rows, the model and the memory, and kept."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from search.cli import main
from search.config import Composition, build_run, compose
from search.config.length import MAX_LENGTH
from search.estimate import max_length
from search.estimate.max_length import with_max_length
from search.plan.length import read_rows
from search.trained.training import job_of
from tests.conftest import run_here, write_jsonl

WORDS = ["hotel", "novel", "kettle", "museum", "bicycle", "train", "concert", "shoes"]
SHORT = ("model=tiny", "logger=none", "trainer.epochs=1", "data=files", "data.test_fraction=0")


def write_texts(path: Path, sizes: list[int]) -> tuple[str, ...]:
    """Write a text of each number of words; with [CLS] and [SEP] they have two tokens more."""
    draw = random.Random(0)
    rows: list[dict[str, Any]] = [
        {"text": " ".join(draw.choices(WORDS, k=size)), "label": "ab"[n % 2]}
        for n, size in enumerate(sizes)
    ]
    write_jsonl(path, rows)
    return (f"data.train={path.name}", f"data.validation={path.name}")


def settled(*words: str, name: str = "train") -> Composition:
    given = ["run=r"] if name == "train" else ["study=s"]
    composition = compose(name, [*given, *SHORT, *words])
    return with_max_length(composition, read_rows(composition))


def length_of(*words: str) -> int:
    return build_run(settled(*words).tree).data.max_length


def test_short_texts_are_read_whole(here: Path) -> None:
    assert length_of(*write_texts(here / "a.jsonl", [5] * 199 + [60])) == 64
    assert length_of(*write_texts(here / "b.jsonl", [5] * 200)) == 16


def test_of_long_texts_99_percent_are_read_whole(here: Path) -> None:
    words = write_texts(here / "a.jsonl", [5] * 100 + [198] * 98 + [400] * 2)
    assert length_of(*words) == 200


def test_the_model_sets_a_limit_and_so_do_virtual_tokens(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = write_texts(here / "a.jsonl", [700] * 20)
    assert length_of(*words) == 512
    virtual = ("strategy=prompt_tuning", "strategy.num_tokens=12")
    assert length_of(*words, *virtual) == 500
    printed = run_here("plan", "study=s", *SHORT, *words)
    assert (
        "\nnote    100% of texts are longer than data.max_length=512 (auto: the most that tiny "
        "reads) and lose their end; 702 holds 95%, 702 holds 99%\n"
    ) in printed


def test_the_memory_sets_a_limit(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*write_texts(here / "a.jsonl", [400] * 20), "model=minilm")
    whole = length_of(*words)
    need = max_length.need_of(build_run(settled(*words).tree), computes_bf16=False)
    assert whole == 408 and need is not None and need.token is not None
    fixed = max_length.PROCESS_BYTES + need.weights + need.states
    monkeypatch.setattr(max_length, "computes_bf16_on", lambda run, on_gpu: False)
    monkeypatch.setattr(max_length, "free_bytes", lambda: int(fixed + 101 * need.token))
    assert length_of(*words) == 96
    monkeypatch.setattr(max_length, "free_bytes", lambda: 0)
    assert length_of(*words) == max_length.FEWEST


def test_a_number_stays(here: Path) -> None:
    words = write_texts(here / "a.jsonl", [5] * 20)
    arm = settled(*words, "data.max_length=77").arms[0]
    assert arm.tree["data"]["max_length"] == 77 and MAX_LENGTH not in " ".join(arm.words[:-1])


def test_of_a_searched_length_the_nearest_is_the_default(here: Path) -> None:
    words = write_texts(here / "a.jsonl", [50] * 20)
    arm = settled(*words, "data.max_length=choice(32,64,256)", name="sweep").arms[0]
    assert arm.tree["data"]["max_length"] == 64 and arm.space[MAX_LENGTH] == "choice(32,64,256)"


def test_packed_texts_have_blocks_as_before(here: Path) -> None:
    words = write_texts(here / "a.jsonl", [300] * 20)
    assert length_of(*words, "model.kind=decoder", "task=generation") == 128


def test_a_study_keeps_what_was_decided_when_it_began(here: Path, cache: Path) -> None:
    words = write_texts(here / "a.jsonl", [30] * 20)
    swept = ("sweep", "study=s", *SHORT, *words, "search.workers=0", "search/pruner=none")
    printed = run_here(*swept, "search.num_trials=1")
    assert "0% of texts are longer than data.max_length=32 (auto);" in printed
    assert "max_length: 32\n" in Path("studies/s/config.yaml").read_text()
    again = run_here(*swept, "search.num_trials=2")
    assert "kept" not in again and "data.max_length=32" in again


def test_a_study_of_an_earlier_version_keeps_its_length(here: Path, cache: Path) -> None:
    words = write_texts(here / "a.jsonl", [30] * 20)
    swept = ("sweep", "study=s", *SHORT, *words, "search.workers=0", "search/pruner=none")
    run_here(*swept, "search.num_trials=1", "data.max_length=128")
    again = run_here(*swept, "search.num_trials=2")
    assert "data.max_length=128" in again and "max_length: 128\n" in (
        Path("studies/s/config.yaml").read_text()
    )


def test_an_interrupted_run_keeps_its_length(here: Path) -> None:
    words = write_texts(here / "a.jsonl", [30] * 20)
    folder = here / "runs" / "r"
    folder.mkdir(parents=True)
    before = job_of(compose("train", ["run=r", *SHORT, *words, "data.max_length=128"]))
    (folder / "config.yaml").write_text(before.config)
    again = job_of(compose("train", ["run=r", *SHORT, *words]))
    assert again.run.data.max_length == 128
    assert "data.max_length=128 (a new run: 32)" in again.kept


def test_without_rows_or_tokenizer_it_stands_for_128(here: Path) -> None:
    words = write_texts(here / "a.jsonl", [30] * 20)
    composition = compose("train", ["run=r", *SHORT, *words])
    assert with_max_length(composition, None) == composition
    assert build_run(composition.tree).data.max_length == 128
    (here / "bert").mkdir()
    (here / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    hub = ("model=hub", "model.path=./bert")
    other = compose("train", ["run=r", *SHORT[1:], *hub, *words])
    assert build_run(with_max_length(other, read_rows(other)).tree).data.max_length == 128


def test_a_tokenizer_that_tokenizers_cannot_read_is_loaded_before_training(here: Path) -> None:
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (here / "bert").mkdir()
    (here / "bert" / "vocab.txt").write_text("\n".join(letters))
    (here / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    words = write_texts(here / "a.jsonl", [30] * 20)
    composition = compose("train", ["run=r", *SHORT[1:], "model=hub", "model.path=./bert", *words])
    found = with_max_length(composition, read_rows(composition), load=True)
    assert build_run(found.tree).data.max_length == 32


def test_the_configuration_is_shown_as_it_is_written(here: Path) -> None:
    assert "max_length: auto" in run_here("train", "--cfg", "job", "run=r", *SHORT)


def test_broken_rows_are_reported_as_before(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_texts(here / "a.jsonl", [30] * 20)
    assert main(["plan", "study=s", *SHORT, "data.train=a.jsonl", "data.text=absent"]) == 2
    assert "absent" in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["two", "null"])
def test_a_wrong_number_of_workers_is_reported_as_before(
    here: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    assert main(["plan", "study=s", "model=tiny", "logger=none", f"search.workers={workers}"]) == 2
    assert "search.workers: must be a whole number" in capsys.readouterr().err
