"""ask, report and tell from a shell: separate commands, which meet in the study alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.cli.main import main
from tests.conftest import run_here

START = ["search.ask_tell=true", "search.metric=score", "search.direction=maximize"]
SPACE = ["x=interval(0,1)", "kind=choice(a,b)", "search/sampler=random"]


def start(*words: str) -> str:
    return run_here("sweep", "study=s", *START, *SPACE, *words)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that ends with exit code 2; return the one line that it prints."""
    capsys.readouterr()
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err.rstrip()


def test_a_study_is_asked_reported_and_told(here: Path) -> None:
    printed = start("search.num_trials=2")
    assert "maximize score" in printed and "finesweep ask study=s" in printed
    printed = run_here("ask", "study=s")
    assert "trial 0 of study s" in printed and "folder studies/s/trials/0000/attempt-1" in printed
    assert "finesweep tell study=s trial=0 value=V" in printed
    assert run_here("report", "study=s", "trial=0", "step=100", "loss=0.4") == "continue\n"
    printed = run_here("tell", "study=s", "trial=0", "value=0.9", "metrics.f1=0.8")
    assert printed == "trial 0 finished: told by its loop\n"
    table = (here / "studies/s/trials.csv").read_text(encoding="utf-8").splitlines()
    assert table[0].startswith("number,state,value,x,kind,validation/score,validation/f1,")
    assert table[1].startswith("0,complete,0.9,")
    assert "1 complete; 1 of 2 remain" in run_here("status", "study=s")
    run_here("ask", "study=s")
    printed = run_here("tell", "study=s", "trial=1", "reason=out of memory")
    assert printed == "trial 1 infeasible: out of memory\n"
    assert run_here("ask", "study=s", code=3) == "study s: all 2 trials have ended\n"
    assert "0 of 2 trials remain" in start("search.num_trials=2")


def test_json_says_the_same_to_programs(here: Path) -> None:
    start("search.num_trials=1")
    asked = json.loads(run_here("ask", "study=s", "--json"))
    assert asked.keys() == {"trial", "number", "attempt", "params", "folder"}
    assert (asked["trial"], asked["number"], asked["attempt"]) == ("0", 0, 1)
    assert asked["params"].keys() == {"x", "kind"}
    reason = "study s: none is left for now; 1 trial has not been told yet"
    printed = run_here("ask", "study=s", "--json", code=3)
    assert json.loads(printed) == {"trial": None, "reason": reason}
    words = ("study=s", "trial=0", "step=1", "loss=nan", "--json")
    reason = "loss was nan at step 1"
    assert json.loads(run_here("report", *words)) == {"stop": True, "reason": reason}
    told = json.loads(run_here("tell", "study=s", "trial=0", "value=0.5", "--json"))
    assert told == {"trial": 0, "ending": "diverged", "reason": reason, "retried": False}


def test_a_second_attempt_has_a_name_of_its_own(here: Path) -> None:
    start("search.num_trials=1")
    run_here("ask", "study=s")
    printed = run_here("tell", "study=s", "trial=0", "ending=failed", "reason=the disk broke")
    assert printed == "trial 0 failed: the disk broke; it will be tried again\n"
    assert json.loads(run_here("ask", "study=s", "--json"))["trial"] == "0.2"
    printed = run_here("tell", "study=s", "trial=0.2", 'curve={"10":0.2,"20":0.3}', "value=0.3")
    assert printed == "trial 0 finished: told by its loop\n"


def test_a_slip_is_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start("search.num_trials=1", "search.ask_hours=1e-5")
    run_here("ask", "study=s")
    tell = ("tell", "study=s", "trial=0")
    assert refused(capsys, *tell, "value=nan").startswith("value: must be a finite number, got nan")
    assert refused(capsys, *tell, "value=high").startswith("value: must be a number, got 'high'.")
    assert refused(capsys, *tell, "valu=1").endswith("Did you mean value?")
    assert refused(capsys, *tell, "curve=x").startswith("curve: must be a list or a mapping")
    assert refused(capsys, "tell", "study=s", "trial=a").startswith("trial: must be named as by")
    assert refused(capsys, "tell", "study=s", "value=1").startswith("trial: must be set")
    assert refused(capsys, "report", "study=s", "trial=0", "step=1.5", "loss=1").startswith("step:")
    assert refused(capsys, "ask", "study=t").startswith("study: must be a study in studies/")
    run_here("ask", "study=s")  # the first lease is over
    line = refused(capsys, *tell, "value=0.5")
    assert line.startswith("trial: attempt 1 must have its lease, got 0: not told or reported for")


def test_what_needs_a_trained_model_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start("search.num_trials=1")
    run_here("ask", "study=s")
    run_here("tell", "study=s", "trial=0", "value=0.5")
    line = "study: must be trained by finesweep, got s, which was started with"
    for words in (
        ("worker", "study=s"),
        ("export", "study=s", "to=best"),
        ("evaluate", "study=s"),
        ("train", "study=s", "trial=0"),
    ):
        assert refused(capsys, *words).startswith(line), words
    line = refused(capsys, "sweep", "study=s", "model=tiny")
    assert line.startswith("model: must be a range: a study of your own loop has no other keys")


@pytest.mark.thorough
def test_a_study_on_our_paths_says_what_a_trained_one_says(here: Path) -> None:
    words = ("search.ask_tell=true", "model=tiny")
    run_here("sweep", "study=one", *words)
    run_here("ask", "study=one")
    run_here("tell", "study=one", "trial=0", "value=0.9")
    arms = "strategy=choice(lora,full)"
    printed = run_here("sweep", "study=two", *words, arms, "search.warm_start=one")
    assert "prior    lora, small encoder: lr 0.001 (0.0005 to 0.005), rank 8, alpha 16" in printed
    assert "prior    full, small encoder: lr 0.0002" in printed
    assert "arms     2 arms in turn: default, learning rate x3 and /3 each" in printed
    assert "warm     1 of 1 trials of study one are prior observations" in printed
    assert "space    data.batch_size  choice(8, 16, 32)  (default 16)" in printed
    again = run_here("sweep", "study=two", "data.batch_size=choice(8,16)")
    assert "changed  data.batch_size=choice(8,16), was choice(8, 16, 32)" in again
    assert "prior   lora, small encoder" in run_here("plan", "study=two")


def test_a_study_that_is_continued_keeps_no_length_that_nothing_decided(here: Path) -> None:
    words = ("study=s", "search.ask_tell=true", "model=tiny", "logger=none")
    run_here("sweep", *words)
    printed = run_here("plan", "study=s")
    assert "kept    search.ask_tell=true model=tiny logger=none (earlier commands)" in printed
    assert "a new study: auto" not in printed
