"""What plan shows for an existing study, and the warnings on unbalanced labels."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_here

FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
# The learning rate is so low that the random network's predictions do not change.
WORDS = (
    "study=s",
    "search/sampler=tpe",  # whose first suggestions do not depend on results
    "experiment=smoke",
    "logger=none",
    "data=files",
    "data.train=my.csv",
    "data.validation=other.csv",
    "trainer.epochs=1",
    "optimizer.lr=1e-9",
    "search/pruner=none",
)
NOTE = "always 'bill' would have accuracy 0.6500"


def ask(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [FINESWEEP, *words], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Run two trials on three unbalanced labels; the output is in the file `stdout`."""
    folder = tmp_path_factory.mktemp("study")
    labels = ["bill"] * 13 + ["parcel"] * 4 + ["device"] * 3
    for name, num_rows in (("my", 100), ("other", 20)):
        rows = "".join(f"{name} words {n},{labels[n % 20]}\n" for n in range(num_rows))
        (folder / f"{name}.csv").write_text("text,label\n" + rows)
    words = (*WORDS, "search.num_trials=2", "search.workers=0")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setenv("FINESWEEP_CACHE", str(cache))
        (folder / "stdout").write_text(run_here("sweep", *words))
    return folder


@pytest.mark.thorough
def test_the_header_shows_the_score_of_guessing(study: Path) -> None:
    assert f"note    {NOTE}\n" in (study / "stdout").read_text()


@pytest.mark.thorough
def test_the_summary_warns_if_the_winner_only_guesses(study: Path) -> None:
    lines = (study / "stdout").read_text().splitlines()
    assert any(line.startswith("It predicts '") for line in lines)
    (verdict,) = [line for line in lines if "always 'bill'" in line and "note" not in line]
    assert verdict.startswith(("It has not learnt: its accuracy", "It has learnt too little"))


@pytest.mark.thorough
def test_plan_marks_the_trials_that_have_ended(study: Path) -> None:
    output = ask(study, "plan", *WORDS, "search.num_trials=4")
    assert "there are 3 combinations, fewer than search.num_trials=4" in output
    assert "(continues the study there: 2 of 3 trials have ended)" in output
    _, *trials = output.partition("\ntrial ")[2].partition("\n\n")[0].splitlines()
    assert [line.endswith("done") for line in trials] == [True, True, False]
    assert trials[0].endswith("default, done")
    values = json.loads(ask(study, "plan", *WORDS, "search.num_trials=4", "--json"))
    assert values["ended"] == [0, 1]
    assert values["baseline"] == {"guess": "always 'bill'", "score": 0.65}


@pytest.mark.thorough
def test_trials_enqueued_later_are_not_marked_as_ended(study: Path) -> None:
    enqueued = "search.enqueue=[{data.batch_size:32}]"
    before = ask(study, "plan", *WORDS, "search.num_trials=2").partition("\n\n")[2]
    after = ask(study, "plan", *WORDS, "search.num_trials=2", enqueued).partition("\n\n")[2]
    assert before == after


def test_planning_an_existing_study_does_not_import_torch(study: Path) -> None:
    code = f"""
import sys
from search.cli import main
assert main(["plan", *{WORDS!r}]) == 0
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=study, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.thorough
def test_fixed_values_are_shown_as_given(here: Path) -> None:
    output = run_here("plan", "model=tiny", "experiment=compare_strategies", "strategy.num_shots=8")
    assert "fixed   strategy.num_shots=8, removed from the search space\n" in output
    output = run_here("plan", "model=tiny", "strategy=choice(lora,full)", "optimizer.lr[full]=1e-5")
    assert "fixed   optimizer.lr[full]=1e-5, removed from the search space\n" in output


def test_open_settings_of_queued_configurations_are_left_to_the_sampler(here: Path) -> None:
    enqueued = "search.enqueue=[{data.batch_size: 8},{trainer.epochs: 4}]"
    output = run_here("plan", "study=queue", "model=tiny", enqueued)
    trials = [line for line in output.splitlines() if "enqueued" in line]
    assert [line.split()[0] for line in trials] == ["1", "2"]
    assert all(line.endswith("enqueued, the sampler chooses the rest") for line in trials)
    assert "and 7 more, chosen from the results of these" in output
