"""Checks of every task with every strategy, over each YAML in conf/task and conf/strategy."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.check import check_run
from lightning_modules.error import ConfigError
from lightning_modules.export.model import load_exported
from lightning_modules.fit import fit
from lightning_modules.folder import OUTCOME_FILE
from lightning_modules.logger.base import Identity
from lightning_modules.machine.store import FEATURES
from lightning_modules.outcome import Ending, Outcome, read_outcome
from lightning_modules.run import Run
from lightning_modules.schema import import_member
from lightning_modules.strategy.base import Strategy
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.conftest import write_jsonl
from tests.cut import assert_cut_is_whole
from tests.options import files_of as files_of_group
from tests.options import names_of, needed_by

NOUNS = ("hotel", "novel", "kettle", "museum", "bicycle", "train", "concert", "garden")


TASKS, STRATEGIES = names_of("task"), names_of("strategy")
CLASSES = {
    *("classification", "multi_label_classification", "token_classification", "reward"),
    "regression",  # one class, so to say
}
EMBEDDING = ("similarity", "retrieval")
WRITING = {"summarization": "encoder_decoder", "translation": "encoder_decoder"}
ANSWERING = dict.fromkeys(("generation", "preference"), "decoder")
KINDS = dict.fromkeys(TASKS, "encoder") | WRITING | ANSWERING

ANSWERED = {"rouge1", "rougeL", "exact_match"}  # only for rows with an answer

REFUSED = (
    {(task, "qlora") for task in TASKS}  # the tiny model has no weights to quantize
    | {(task, "prompting") for task in TASKS if task != "classification"}
    | {(task, "feature_extraction") for task in TASKS if task not in CLASSES}
)
ABLE = [(t, s) for t in TASKS for s in STRATEGIES if (t, s) not in REFUSED]


def row(task: str, number: int) -> dict[str, Any]:
    """Return a row with the task's default columns."""
    noun, other = NOUNS[number % 8], NOUNS[number // 8 % 8]
    is_good = number % 3 != 0
    verdict = "great" if is_good else "awful"
    text = f"The {noun} and the {other} {number} were {verdict}."
    words = text.split()
    pair = {
        "prompt": f"How was the {noun}?",
        "chosen": f"The {noun} was {verdict}.",
        "rejected": f"The {other} was {'awful' if is_good else 'great'}.",
    }
    rows: Mapping[str, dict[str, Any]] = {
        "classification": {"text": text, "label": verdict},
        "similarity": {"text": text, "text_pair": f"It was {verdict}.", "label": is_good * 4.0},
        "retrieval": {"text": text, "text_pair": f"It was the {noun} {number}."},
        "regression": {"text": text, "label": 2000 + 5 * is_good + number / 50},
        "multi_label_classification": {"text": text, "labels": sorted({noun, other})},
        "token_classification": {
            "tokens": words,
            "ner_tags": ["B-place" if word in NOUNS else "O" for word in words],
        },
        "question_answering": {
            "context": text,
            "question": f"How was it, {noun}?",
            "answers": {"text": [verdict], "answer_start": [text.index(verdict)]},
        },
        "summarization": {"document": text, "summary": verdict},
        # A translation that the small tokenizer can represent.
        "translation": {"source": text, "target": f"the {noun} and the {other} were {verdict}"},
        "generation": {"text": text},
        "preference": pair,
        "reward": pair,
    }
    return rows[task]


@cache
def files_of(task: str, folder: Path) -> tuple[str, ...]:
    parts = {"train": range(48), "validation": range(48, 64)}
    for part, numbers in parts.items():
        write_jsonl(folder / f"{task}-{part}.jsonl", [row(task, number) for number in numbers])
    return tuple(f"data.{part}={folder}/{task}-{part}.jsonl" for part in parts)


def make_run(task: str, strategy: str, *words: str) -> Run:
    model = ("model=tiny", f"model.kind={KINDS[task]}", "model.width=16", "model.num_layers=2")
    rows = ("data=files", "data.test_fraction=0", "data.max_length=48", "data.batch_size=8")
    brief = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "trainer.precision=fp32")
    short = ("task.max_new_tokens=4",) if task in (*WRITING, *ANSWERING) else ()
    chosen = (f"task={task}", f"strategy={strategy}", "logger=none", *needed_by(strategy))
    return build_run(compose("train", [*chosen, *model, *rows, *brief, *short, *words]).tree)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


def identity(folder: Path) -> Identity:
    folder.mkdir()
    return Identity("test", None, folder)


@pytest.mark.thorough
@pytest.mark.parametrize(("task", "strategy"), sorted(REFUSED))
def test_an_impossible_combination_is_refused_in_one_line_before_weights_load(
    task: str, strategy: str, folder: Path
) -> None:
    run = make_run(task, strategy, *files_of(task, folder))
    with pytest.raises(ConfigError) as refusal:
        check_run(run)
    (problem,) = refusal.value.problems
    assert problem.where in ("strategy", "task", "model")
    assert problem.fix, problem


@pytest.mark.thorough
@pytest.mark.parametrize(("task", "strategy"), ABLE)
def test_training_scores_every_metric_and_the_export_predicts_the_same(
    task: str, strategy: str, folder: Path, here: Path
) -> None:
    run = make_run(task, strategy, *files_of(task, folder))
    found = identity(here / "run")
    outcome = fit(run, found.folder, found)
    assert outcome.ending is Ending.finished and outcome.best is not None
    named = set(run.task.directions) - ANSWERED if task == "generation" else run.task.directions
    assert set(outcome.best.metrics) == set(named)
    assert all(map(math.isfinite, outcome.best.metrics.values()))
    assert outcome.row_scores is not None
    mean = sum(outcome.row_scores.values) / len(outcome.row_scores.values)
    assert mean == pytest.approx(outcome.best.metrics[run.task.metric], rel=0.2, abs=0.1)
    assert read_outcome(here / "run" / OUTCOME_FILE) == outcome
    trained = Trained(run, here / "run", "run x", outcome.best.metrics, "")
    predictor, rows = trained.load(), check_run(run).corpus.splits["validation"]
    again = predictor.score(rows)
    assert again == pytest.approx(dict(outcome.best.metrics), abs=1e-6)
    export(trained, here / "best")
    answers = [answer["prediction"] for answer in predictor.predict(rows)]
    loaded = load_exported(here / "best", run.task.fit_to_model(run.model))
    again_answers = [answer["prediction"] for answer in loaded.predict(rows)]
    if task == "regression":  # the head of the export has taken the unit over
        assert again_answers == pytest.approx(answers, abs=2e-3)
    elif task in EMBEDDING:  # merging rounds in the last of the printed digits
        for again, answer in zip(again_answers, answers, strict=True):
            assert again == pytest.approx(answer, abs=1e-5)
    else:
        assert again_answers == answers
    assert len(answers) == len(rows)


def has_stem(strategy: str) -> bool:
    """Return whether a strategy names a frozen part."""
    (path,) = (each for each in files_of_group("strategy") if each.stem == strategy)
    (target,) = re.findall(r"^_target_: (\S+)", path.read_text(), re.MULTILINE)
    found: Any = import_member(target, Strategy, "strategy")
    return found.stem is not Strategy.stem


PARTED = [(task, strategy) for task, strategy in ABLE if has_stem(strategy)]


def test_the_strategies_with_a_frozen_part_are_found() -> None:
    assert {strategy for _, strategy in PARTED} == {"feature_extraction", "freeze"}


@pytest.mark.thorough
@pytest.mark.parametrize(("task", "strategy"), PARTED)
def test_a_frozen_part_that_is_computed_once_changes_no_score(
    task: str, strategy: str, folder: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINESWEEP_CACHE", str(here / "cache"))
    run = make_run(task, strategy, *files_of(task, folder), "trainer.epochs=2")
    whole = replace(run, trainer=replace(run.trainer, cache_features=False))
    outcomes = {}
    for name, each in (("whole", whole), ("once", run), ("again", run)):
        found = identity(here / name)
        outcomes[name] = fit(each, found.folder, found)
    # Encoder-decoders have a frozen part in the middle; pairs of texts are taken apart; texts to
    # continue are packed.
    is_parted = not run.task.takes_apart and KINDS[task] != "encoder_decoder"
    is_parted &= not run.task.packs_rows
    assert (here / "cache" / FEATURES).is_dir() == is_parted
    assert curve_of(outcomes["once"]) == pytest.approx(curve_of(outcomes["whole"]), rel=1e-5)
    assert curve_of(outcomes["again"]) == curve_of(outcomes["once"])  # to the last bit
    for name in ("whole", "once"):
        best = outcomes[name].best
        assert best is not None
        metrics = (
            Trained(run, here / name, "run x", best.metrics, "")
            .load()
            .score(check_run(run).corpus.splits["validation"])
        )
        assert metrics == pytest.approx(dict(best.metrics), abs=1e-5)


def curve_of(outcome: Outcome) -> list[float]:
    return [point.validation_loss for point in outcome.points]


@pytest.mark.thorough
@pytest.mark.parametrize("strategy", ["full", "lora"])
@pytest.mark.parametrize("task", TASKS)
def test_a_resumed_run_equals_an_uninterrupted_one(
    task: str, strategy: str, folder: Path, here: Path
) -> None:
    assert_cut_is_whole(
        make_run(task, strategy, *files_of(task, folder), "trainer.epochs=2"), here, 3
    )


NEEDED = [(task, column) for task in TASKS for column in row(task, 0)]


@pytest.mark.parametrize(("task", "column"), NEEDED)
def test_a_missing_column_is_reported(task: str, column: str, here: Path) -> None:
    rows = [row(task, number) for number in range(40)]
    for each in rows:
        each["other"] = each.pop(column)
    path = write_jsonl(here / "rows.jsonl", rows)
    with pytest.raises(ConfigError) as refusal:
        check_run(make_run(task, "full", f"data.train={path}"))
    (problem,) = refusal.value.problems
    assert json.dumps(column)[1:-1] in str(problem) and "other" in str(problem), str(problem)
