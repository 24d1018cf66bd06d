"""Tasks of lm_eval, which finesweep does not install: most of this runs where it is."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from lightning_modules.cache import Cache
from lightning_modules.error import ConfigError
from lightning_modules.fit import fit
from lightning_modules.guard.harness import value_of
from lightning_modules.logger.base import Identity
from tests.conftest import write_jsonl
from tests.lightning_modules.guard.conftest import DECODER, guard_of, run_of, write_texts

TASK = """\
task: hotels
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{text}}}}"
doc_to_choice: ["great", "awful"]
doc_to_target: label
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""

needs_lm_eval = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm_eval is not installed")


def test_the_package_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_modules.guard.harness.find_spec", lambda name: None)
    guard = guard_of("{data: lm_eval:hellaswag, metric: acc, at_least: -2%}")
    assert guard.name == "lm_eval:hellaswag"
    with pytest.raises(ConfigError, match=r"needs the package lm_eval, got none\. Install it: pip"):
        guard.load(run_of(*DECODER), ())


def test_only_a_network_that_writes_is_scored() -> None:
    guard = guard_of("{data: lm_eval:hellaswag, metric: acc, at_least: -2%}")
    with pytest.raises(ConfigError, match="needs a decoder that writes text"):
        guard.load(run_of("model=tiny"), ("negative", "positive"))


def test_a_metric_is_found_without_its_filter() -> None:
    scores = {"alias": "arc", "acc,none": 0.25, "acc_stderr,none": "N/A", "acc_norm,none": 0.5}
    assert value_of(scores, "acc") == 0.25
    assert value_of(scores, "acc_norm,none") == 0.5
    with pytest.raises(ConfigError, match="metric: must be one of acc, acc_norm, got 'f1'"):
        value_of(scores, "f1")


@needs_lm_eval
def test_a_task_with_local_data_is_scored(here: Path) -> None:
    texts = [{"text": f"The {w} hotel was", "label": n % 2} for n, w in enumerate("abcdefgh")]
    file = write_jsonl(here / "hotels.jsonl", texts)
    (here / "hotels.yaml").write_text(TASK.format(file=file))
    data = ("data=files", f"data.train={write_texts(here)}", "data.test_fraction=0")
    run = run_of(*DECODER, *data, "trainer.epochs=1", "strategy=lora")
    guard = guard_of("{data: lm_eval:hotels.yaml, metric: acc, at_least: -50%, rows: 6}")
    assert guard.load(run, ()).size == "6 rows of hotels.yaml"
    folder = here / "run"
    folder.mkdir()
    outcome = fit(run, folder, Identity("t", None, folder), cache=Cache(), guards=[guard])
    (score,) = outcome.guards
    assert score.value * 6 == pytest.approx(round(score.value * 6))
    assert 0 <= score.untouched <= 1


@needs_lm_eval
@pytest.mark.thorough  # lm_eval looks for all of its tasks
def test_data_that_are_not_here_are_refused() -> None:
    guard = guard_of("{data: lm_eval:hellaswag, metric: acc, at_least: -2%}")
    with pytest.raises(ConfigError, match="the data of task hellaswag must be on this machine"):
        guard.load(run_of(*DECODER), ())
    unknown = guard_of("{data: lm_eval:no_such_task, metric: acc, at_least: -2%}")
    with pytest.raises(ConfigError, match="must be a task of lm_eval, got 'no_such_task'"):
        unknown.load(run_of(*DECODER), ())
