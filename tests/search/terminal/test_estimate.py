"""What plan shows of time and memory: wording, lines and the real probe."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from search.cli import main
from search.config import compose
from search.estimate.estimate import Measured, Pace, Past, estimate
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.terminal.estimate import estimate_lines

Command = Callable[..., subprocess.CompletedProcess[str]]


@cache
def plan_of(*overrides: str) -> Plan:
    fixed = ["model=tiny", "logger=none", "search.certify=false"]
    return build_plan(compose("sweep", [*fixed, *overrides]))


PACE = Pace(train=0.031, validation=0.0, start=0.0, memory_bytes=1_400_000_000)
NO_PACE = Pace(train=0.0, validation=0.01, start=1.0, memory_bytes=900_000_000)
FREE = 21_300_000_000
SIZES = {"data.batch_size": 32, "data.max_length": 128}


def lines(*overrides: str, past: Past | None = None, **own: object) -> list[str]:
    plan = plan_of("trainer.epochs=2", *overrides)
    settings = {"free_bytes": FREE, "sizes": SIZES, **own}
    paces = {arm: NO_PACE if arm == ("prompting",) else PACE for arm in plan.space.arms}
    measured = Measured(paces, **settings)  # type: ignore[arg-type]
    return estimate_lines(plan, estimate(plan, (600, 200), measured, past=past))


def test_time_and_memory_align_with_the_other_lines() -> None:
    assert lines("search/pruner=none") == [
        "time    about 7 min for 12 trials (1 worker), 37 s per trial",
        "        measured: 0.031 s per training example",
        "memory  1.4 GB per worker at data.batch_size=32 data.max_length=128; 21.3 GB free",
    ]


def test_the_cost_of_a_frozen_part_is_said() -> None:
    output = lines("search/pruner=none", feature_seconds=3.3, feature_bytes=2_875_392)
    line = "        the frozen part runs once, 3 s: its outputs take 2.9 MB of cache"
    assert output[2] == line


def test_pruning_workers_arms_and_a_busy_machine_are_mentioned() -> None:
    output = lines("search.workers=2", "strategy=choice(lora,full)", busy=0.5, device="cuda")
    assert output == [
        "time    at most about 4 min for 12 trials (2 workers), 37 s per trial; less with pruning",
        "        measured: lora 0.031, full 0.031 s per training example",
        "        other programs used 50% of the CPU; without them it takes less",
        "        if 2 workers do not slow each other down",
        "memory  1.4 GB per worker at data.batch_size=32 data.max_length=128, 2.8 GB for 2;"
        " 21.3 GB free on the GPU",
        "        lora 1.4, full 1.4 GB",
    ]


def test_an_arm_without_training_has_no_training_time() -> None:
    output = lines("model=minilm", "strategy=choice(prompting,lora)")
    assert output[1] == "        measured: lora 0.031 s per training example"
    assert output[-1] == "        lora 1.4, prompting 0.9 GB"


def test_a_study_that_does_not_fit_shows_what_to_lower() -> None:
    *_, last = lines("search.workers=4", free_bytes=5_000_000_000)
    assert last == (
        "        DOES NOT FIT: 5.6 GB needed, 5.0 GB free. Lower search.workers, data.batch_size or"
        " data.max_length, or set trainer.micro_batch_size."
    )


def test_memory_is_that_of_one_gpu() -> None:
    words = ("search.workers=4", "search/pruner=none")
    last = lines(*words, device="cuda", num_shares=4)[-1]
    at = "data.batch_size=32 data.max_length=128"
    assert last == f"memory  1.4 GB per worker at {at}, one per GPU; 21.3 GB free on the GPU"
    last = lines(*words, device="cuda", num_shares=2)[-1]
    assert f"at {at}, 2.8 GB for the 2 on a GPU; 21.3 GB free on the GPU" in last


def test_a_batch_that_was_split_is_named_with_its_arm() -> None:
    output = lines("strategy=choice(lora,full)", at_once={("full",): 4})
    assert output[-1] == (
        "        full: a batch does not fit at once and is processed 4 examples at a time;"
        " trainer.micro_batch_size=4 does so from the start"
    )


def test_limits_and_the_end_are_reported() -> None:
    first, second, *_ = lines("search/pruner=none", "search.max_hours=0.05")
    assert first == "time    about 3 min for 5 trials (1 worker), 37 s per trial"
    assert second == "        search.max_hours=0.05 ends the study before all 12 trials"
    assert lines(past=Past(12, 100.0))[0] == "time    all 12 trials have ended"
    used_up = lines("search.max_hours=0.05", past=Past(4, 200.0))[0]
    assert used_up == "time    search.max_hours=0.05 is used up: no more trials will start"
    assert "7 trials left (1 worker)" in lines(past=Past(5, 100.0), num_trials=5)[0]
    assert "from 5 trials: 0.031 s" in lines(past=Past(5, 100.0), num_trials=5)[1]


def test_confirming_has_a_part_of_the_hours() -> None:
    words = ("search/pruner=none", "search.confirm=2")
    limited, confirming, ends, *_ = lines(*words, "search.max_hours=0.15")  # 540 s, 8 runs
    assert limited == "time    about 5 min for 8 trials (1 worker), 37 s per trial"
    assert confirming == "        and at most about 5 min for 8 runs that confirm the best"
    assert ends == "        search.max_hours=0.15 ends the study before all 12 trials"
    none = lines(*words, "search.max_hours=0.05")[1]
    assert none == "        search.max_hours=0.05 has no room to confirm the best: 2 min or more"


def test_certifying_has_a_part_of_the_hours() -> None:
    words = ("search/pruner=none", "search.certify=true")
    limited, certifying, ends, *_ = lines(*words, "search.max_hours=0.15")  # 540 s, 6 runs
    assert limited == "time    about 5 min for 8 trials (1 worker), 37 s per trial"
    assert certifying == "        and about 4 min for 6 runs that certify the winner"
    assert ends == "        search.max_hours=0.15 ends the study before all 12 trials"
    none = lines(*words, "search.max_hours=0.05")[1]
    assert none == "        search.max_hours=0.05 has no room to certify the winner: 2 min or more"


def test_without_a_measurement_one_line_shows_how(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "study=p", "model=tiny", "probe=false"]) == 0
    output = capsys.readouterr().out
    assert "time and memory: measure them with finesweep plan ... probe=true" in output.splitlines()
    assert main(["plan", "study=p", "model=tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["estimate"] is None
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("value", ["maybe", "1", ""])
def test_probe_must_be_true_or_false(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "study=p", f"probe={value}"]) == 2
    fix = "probe=true measures time and memory."
    assert capsys.readouterr().err == f"probe: must be true or false, got {value!r}. {fix}\n"


@pytest.mark.thorough
def test_real_probe_measures_every_arm_and_leaves_nothing(
    here: Path,
    cache: Path,
    finesweep: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    before = sorted(cache.rglob("*"))
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    words = ("plan", "study=p", "model=tiny", "strategy=choice(lora,full,prompting)", "probe=true")
    done = finesweep(*words, "--json")
    assert done.stderr.splitlines() == [
        "measuring a few steps of lora ...",
        "strategy lora: 7,746 of 93,892 parameters are trained (8.2 %)",
        "measuring a few steps of full ...",
        "strategy full: 86,146 of 86,146 parameters are trained (100 %)",
        "measuring a few steps of prompting ...",
    ]
    found = json.loads(done.stdout)["estimate"]
    assert [arm["strategy"] for arm in found["arms"]] == ["lora", "full", "prompting"]
    for arm in found["arms"]:
        assert 0 < arm["seconds_per_validation_row"] < 1
        assert 0 < arm["seconds_per_training_example"] < 1 or arm["strategy"] == "prompting"
        assert 0.3e9 < arm["memory_bytes"] < 5e9
    assert found["memory_at"] == {"data.batch_size": 32, "data.max_length": 48}
    assert (found["source"], found["num_trials"], found["may_prune"]) == ("probe", 12, True)
    assert list(here.iterdir()) == []
    assert list(temporary.glob("finesweep-*")) == []
    assert sorted(cache.rglob("*")) == before


@pytest.mark.slow
def test_the_estimate_matches_the_sweep(here: Path, finesweep: Command) -> None:
    words = ("study=p", "model=tiny", "logger=none", "search/pruner=none", "search.num_trials=4")
    probed = json.loads(finesweep("plan", *words, "probe=true", "--json").stdout)["estimate"]
    assert list(here.iterdir()) == []
    began = time.monotonic()
    finesweep("sweep", *words)
    took = time.monotonic() - began
    # The machine may be busier now than during the probe.
    assert took / 4 < probed["seconds"] < took * 4
    more = ("plan", *words[:-1], "search.num_trials=8")
    files = sorted(path for path in here.rglob("*") if "-wal" not in path.name)
    found = json.loads(finesweep(*more, "--json").stdout)["estimate"]
    assert (found["source"], found["num_measured_trials"], found["num_trials"]) == ("trials", 4, 4)
    assert found["seconds"] == pytest.approx(took, rel=0.75)
    output = finesweep(*more).stdout
    assert "for 4 trials left (1 worker)" in output and "from 4 trials: " in output
    assert sorted(path for path in here.rglob("*") if "-wal" not in path.name) == files
