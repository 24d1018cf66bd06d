"""`import finesweep`, as a user's script calls it; what it answers is what the commands answer."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from faults.postgres import Postgres

import finesweep
from lightning_modules.error import UserError
from search.cli import main
from search.report.dashboard.note import read_note
from search.storage.attribute import METRICS
from search.study.open import load_study
from search.trained.ask import table_of
from search.trained.export import certified_winner
from tests.conftest import run_here, write_jsonl
from tests.search.report.synthetic import study_of

SMALL = ("experiment=smoke", "logger=none", "trainer.precision=fp32")
TINY = (*SMALL, "trainer.epochs=3", "data.batch_size=8")  # enough to learn its one word
SWEEP = (*TINY, "search.certify=false")
TEXTS = ["The novel and the shoes were great.", "The novel and the shoes were awful."]


def write_reviews(folder: Path) -> tuple[str, ...]:
    """Write a CSV file with columns of the user's own; return the words that name it."""
    words = ["hotel", "novel", "kettle", "museum", "bicycle", "train", "concert", "shoes"]
    lines = [
        f"The {words[n % 8]} and the {words[n // 8 % 8]} were {('awful', 'great')[n % 2]}.,{n % 2}"
        for n in range(160)
    ]
    (folder / "my.csv").write_text("review,stars\n" + "\n".join(lines) + "\n")
    return "data=files", "data.train=my.csv", "data.text=review", "data.label=stars"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run one study in this process; return its folder."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        finesweep.sweep("mine", *write_reviews(folder), *SWEEP, num_trials=3, workers=0, show=False)
    yield folder


@pytest.fixture
def study(trained: Path, here: Path) -> finesweep.Study:
    """Open a copy of that study, in the test's own folder."""
    shutil.copytree(trained, here, dirs_exist_ok=True)
    return finesweep.open(study="mine")


def line_of(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a command that refuses its words prints."""
    capsys.readouterr()
    assert main(words) == 2
    return capsys.readouterr().err.rstrip("\n")


def test_the_leaderboard_is_trials_csv(study: finesweep.Study) -> None:
    frame = study.leaderboard()
    stored = pd.read_csv(study.folder / "trials.csv")
    pd.testing.assert_frame_equal(frame, stored, check_dtype=False)
    assert list(frame["number"]) == [0, 1, 2]
    assert {"optimizer.lr", "validation/accuracy", "value"} <= {*frame.columns}


def test_a_notebook_shows_the_report_without_scripts(study: finesweep.Study) -> None:
    html = study._repr_html_()
    assert html.startswith("<iframe") and "Verdict" in html
    assert "<script" not in unescape(html)
    assert study._repr_html_() is html  # nothing has changed
    study.drop(1)
    assert study._repr_html_() != html
    assert study.write_report().name == "report.html"


def test_best_yaml_repeats_the_winner(study: finesweep.Study, here: Path) -> None:
    study.write_report()
    opened = load_study(study.folder)
    source, trial = certified_winner(opened) or (opened, opened.best)
    assert trial is not None
    again = finesweep.train("again", config=study.folder / "best.yaml", show=False)
    scores = {name: round(value, 6) for name, value in again.scores.items()}
    stored = source.trial(trial.number).user_attrs[METRICS]
    assert scores == {name: round(value, 6) for name, value in stored.items()}
    brief = (study.folder / "report.md").read_text(encoding="utf-8")
    assert "finesweep train config=studies/mine/best.yaml" in brief


def test_a_file_that_is_no_whole_configuration_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "bad.yaml").write_text("a: [")
    (here / "list.yaml").write_text("- a")
    (here / "part.yaml").write_text("optimizer: {lr: 1}")
    for word, said in (
        ("config=none.yaml", "config: must be a file of YAML, got none.yaml: "),
        ("config=bad.yaml", "config: must be a file of YAML, got bad.yaml: "),
        ("config=list.yaml", "config: must have keys and values, got 'list.yaml'."),
        ("config=part.yaml", "must be a group with a _target_"),
    ):
        assert said in line_of("train", word, capsys=capsys), word
    both = line_of("train", "config=bad.yaml", "trainer.epochs=3", capsys=capsys)
    assert "Only run= may be given besides config=" in both
    assert not (here / "runs").exists()


def test_best_is_what_status_prints(study: finesweep.Study) -> None:
    best = study.best
    assert best is not None
    printed = json.loads(run_here("status", "study=mine", "--json"))["best"]
    assert (best.number, best.params, best.scores) == (
        printed["number"],
        printed["params"],
        printed["metrics"],
    )
    assert study.status() == json.loads(run_here("status", "study=mine", "--json"))
    assert yaml.safe_load(best.yaml) == best.config
    assert best.config["optimizer"]["lr"] == best.params["optimizer.lr"]
    assert "_target_" not in repr(best)


@pytest.mark.thorough
def test_best_repeats_by_its_command_and_by_its_number(study: finesweep.Study) -> None:
    best = study.best
    assert best is not None
    _, *words = shlex.split(re.sub(r"^OMP_NUM_THREADS=\d+ ", "", best.command))
    run_here(*words, "run=again")
    assert finesweep.open(run="again").scores == best.scores
    run = finesweep.train(study="mine", trial=best.number, show=False)
    assert run.name == f"mine-trial-{best.number}"
    assert run.scores == best.scores
    assert run.predict(TEXTS) == study.predict(TEXTS)
    curve = run.curve()
    assert {"step", "epoch", "train_loss", "validation_loss", "accuracy"} <= {*curve.columns}
    assert run.scores["accuracy"] in set(curve["accuracy"])


def test_rows_to_predict_come_in_every_form(study: finesweep.Study) -> None:
    predictions = study.predict(TEXTS)
    assert [p["prediction"] for p in predictions] == ["1", "0"]
    assert all(set(p["scores"]) == {"0", "1"} for p in predictions)
    rows = [{"review": text, "id": n} for n, text in enumerate(TEXTS)]
    frame = pd.DataFrame(rows)
    for form in (rows, iter(TEXTS), frame, frame.to_dict("records"), frame["review"]):
        assert study.predict(form) == predictions
    assert study.predict(frame.rename(columns={"review": "said"}), text="said") == predictions
    assert study.predict([]) == []


NO_ROWS = "rows: must be a list of texts, pairs of texts or mappings"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("Fine.", f"{NO_ROWS}, got 'Fine.'. Write predict([\"Fine.\"])."),
        ([7], f"{NO_ROWS}, got 7."),
        ([{"text": "Fine."}], "rows: must have the column 'review' that the model was trained on"),
        (["Fine.", ""], "rows:2:review: must not be empty, got ''."),
        (pd.DataFrame({"review": ["a", None]}), "rows:2:review: must be text, got nan."),
    ],
)
def test_rows_that_cannot_be_predicted_are_refused(
    study: finesweep.Study, rows: Any, message: str
) -> None:
    with pytest.raises(finesweep.UserError) as error:
        study.predict(rows)
    assert str(error.value).startswith(message)


def test_pairs_are_predicted_as_tuples_and_as_rows(here: Path) -> None:
    pairs = [(f"Is {n} red?", f"It is {('red', 'blue')[n % 2]}.", n % 2) for n in range(40)]
    rows = [{"question": a, "sentence": b, "label": str(label)} for a, b, label in pairs]
    write_jsonl(here / "pairs.jsonl", rows)
    columns = ("data.text=question", "data.text_pair=sentence")
    run = finesweep.train(
        "pairs", "data=files", "data.train=pairs.jsonl", *columns, *TINY, show=False
    )
    predictions = run.predict([(a, b) for a, b, _ in pairs[:3]])
    assert predictions == run.predict(rows[:3])
    with pytest.raises(finesweep.UserError, match="must have the column 'sentence'"):
        run.predict(["Is it red?"])


def test_evaluate_returns_what_the_command_prints(study: finesweep.Study) -> None:
    assert study.best is not None and study.evaluate() == study.best.scores
    printed = json.loads(run_here("evaluate", "study=mine", "split=test", "--json"))
    assert study.evaluate("test") == printed


def test_an_export_opens_and_predicts_the_same(
    study: finesweep.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = study.export("best/")
    opened = finesweep.open(model="best/")
    assert exported.labels == opened.labels == ("0", "1")
    assert opened.predict(TEXTS) == exported.predict(TEXTS) == study.predict(TEXTS)
    data = ("data=files", "data.train=my.csv", "data.text=review", "data.label=stars")
    assert opened.evaluate(*data, split="test") == study.evaluate("test")
    with pytest.raises(finesweep.UserError) as error:
        study.export("best/")
    printed = line_of("export", "study=mine", "to=best", capsys=capsys)
    assert str(error.value) == printed


MISTAKES = [
    (("sweep", "optimizr.lr=1"), lambda words: finesweep.sweep("s", *words)),
    (("sweep", "data=files", "data.train=no.csv"), lambda words: finesweep.sweep("s", *words)),
    (("sweep", "optimizer.lr=interval(1,"), lambda words: finesweep.sweep("s", *words)),
    (("sweep", "model=big", "strategy=smal"), lambda words: finesweep.sweep("s", *words)),
    (("sweep", "search.workers=-1"), lambda words: finesweep.sweep("s", workers=-1)),
    (("sweep", "storage=mysql://me@x/y"), lambda words: finesweep.sweep("s", *words)),
    (("plan", "trainer.epochs=0"), lambda words: finesweep.plan("s", *words)),
    (("train", "trainer.epochs=range(1,3)"), lambda words: finesweep.train(None, *words)),
    (("train", "study=s", "trial=0"), lambda words: finesweep.train(study="s", trial=0)),
    (("train", "study=s"), lambda words: finesweep.train(study="s")),
    (("train", "trial=1"), lambda words: finesweep.train(trial=1)),
    (
        ("train", "study=s", "trial=1", "seed=1"),
        lambda words: finesweep.train(None, "seed=1", study="s", trial=1),
    ),
    (("status", "study=s"), lambda words: finesweep.open(study="s")),
    (("evaluate", "run=r"), lambda words: finesweep.open(run="r")),
    (("evaluate", "model=no/"), lambda words: finesweep.open(model="no")),
]


@pytest.mark.parametrize(
    ("words", "call"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES]
)
def test_mistakes_are_raised_with_the_commands_line(
    words: tuple[str, ...],
    call: Callable[[tuple[str, ...]], object],
    capsys: pytest.CaptureFixture[str],
    here: Path,
) -> None:
    with pytest.raises(finesweep.UserError) as error:
        call(words[1:])
    named = ("study=s",) if words[0] in ("sweep", "plan") else ()
    assert str(error.value) == line_of(words[0], *named, *words[1:], capsys=capsys)
    assert capsys.readouterr().out == ""
    assert list(here.iterdir()) == []


def test_what_must_be_named_is_asked_for(study: finesweep.Study) -> None:
    for call in (finesweep.sweep, finesweep.train, finesweep.plan):
        with pytest.raises(finesweep.UserError, match="must be a name, got 'strategy=full'"):
            call("strategy=full", *TINY)
    with pytest.raises(finesweep.UserError, match="must be given one of study, run and model"):
        finesweep.open()  # type: ignore[call-overload]
    with pytest.raises(finesweep.UserError, match="must be one of train, validation, test"):
        study.evaluate("dev")


@pytest.mark.thorough
def test_a_larger_budget_continues(study: finesweep.Study) -> None:
    before = study.leaderboard()
    data = write_reviews(Path())
    plan = finesweep.plan("mine", "search.num_trials=4")
    assert {*data} <= {*plan["earlier"]}
    longer = finesweep.sweep("mine", num_trials=4, workers=0, show=False)  # as it began
    after = longer.leaderboard()
    pd.testing.assert_frame_equal(after.iloc[:3].drop(columns="best"), before.drop(columns="best"))
    assert len(after) == 4
    again = finesweep.sweep("mine", *data, *TINY, num_trials=4, workers=0, show=False)
    pd.testing.assert_frame_equal(again.leaderboard(), after)
    with pytest.raises(finesweep.UserError, match=r"trainer\.epochs"):
        finesweep.sweep("mine", *data, *TINY, "trainer.epochs=4", num_trials=5, show=False)


@pytest.mark.thorough
def test_the_runs_that_confirm_are_a_study_to_look_at(here: Path) -> None:
    data = write_reviews(here)
    words = (*data, *SWEEP, "strategy.lr=1e-4", "search.confirm=2")  # not ahead of all noise
    study = finesweep.sweep("mine", *words, num_trials=2, workers=0, show=False)
    confirming = finesweep.open(study="mine.confirm")
    assert confirming.best is None and len(confirming.leaderboard()) == 4
    with pytest.raises(UserError, match=r"study: it confirms the first few of study mine"):
        confirming.evaluate()
    run = finesweep.train(study="mine.confirm", trial=3, show=False)
    row = confirming.leaderboard().iloc[3]
    assert run.name == "mine.confirm-trial-3" and row["data.validation_seed"] == 2
    assert run.scores["brier"] == row["validation/brier"] == run.evaluate()["brier"]
    notes = [read_note(load_study(each.folder).optuna, None) for each in (study, confirming)]
    assert "`finesweep dashboard study=mine.confirm`" in notes[0]
    assert "Its trials train the first few of study `mine` again" in notes[1]
    assert "confirming trial " in notes[1] and "Trial 0 is the unmodified" not in notes[1]


@pytest.mark.thorough
def test_a_script_shows_what_the_command_prints_and_nothing_without_show(here: Path) -> None:
    (here / "script.py").write_text(
        "import sys, finesweep\n"
        f"words = {[*write_reviews(here), *TINY]!r}\n"
        "study = finesweep.sweep(sys.argv[1], *words, num_trials=1, workers=0,"
        " show=sys.argv[1] == 'shown')\n"
        "study.predict(['Fine.']), study.evaluate(), study.export('best-' + sys.argv[1])\n"
        "finesweep.train(sys.argv[1], *words, show=False)\n"
    )
    shown = run_script("script.py", "shown")
    assert "shown: 1 trial" in shown and "best, trial 0" in shown
    assert run_script("script.py", "quiet") == ""


def run_script(*words: str) -> str:
    """Run a script to its end; return what it prints, after checking that nothing is an error."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.thorough
def test_two_workers_from_a_thread(here: Path) -> None:
    """As a notebook's or a server's own thread calls it: Python gives it no signals."""
    data = write_reviews(here)
    found: list[finesweep.Study] = []

    def call() -> None:
        found.append(finesweep.sweep("two", *data, *SWEEP, num_trials=3, workers=2, show=False))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    (study,) = found
    assert list(study.leaderboard()["attempts"]) == [1, 1, 1]
    assert sorted(path.name for path in (study.folder / "logs").glob("worker-[0-9].log")) == [
        "worker-0.log",
        "worker-1.log",
    ]


def test_a_name_may_have_any_characters(here: Path) -> None:
    name = "été: 'x', y=1 / [2]"
    study = finesweep.sweep(name, *write_reviews(here), *TINY, num_trials=1, workers=0, show=False)
    assert study.folder.parent == Path("studies") and study.folder.is_dir()
    assert finesweep.open(study=name).folder == finesweep.open(study=study.name).folder
    run = finesweep.train(name, *write_reviews(here), *TINY, show=False)
    assert finesweep.open(run=name).scores == run.scores


def test_status_and_plan_return_what_the_commands_print(study: finesweep.Study) -> None:
    frame = finesweep.status()
    assert list(frame["study"]) == ["mine"] and list(frame["num_ended"]) == [3]
    data = write_reviews(Path())
    words = [*data, *TINY, "search.num_trials=5"]
    ahead = finesweep.plan("mine", *words)
    printed = json.loads(run_here("plan", "study=mine", *words, "--json"))
    # Both estimate from the same trials, with the memory that was free at their time.
    assert ahead.keys() == printed.keys()
    assert [ahead[key] for key in ("space", "suggestions", "ended", "rows", "baseline")] == [
        printed[key] for key in ("space", "suggestions", "ended", "rows", "baseline")
    ]


def test_where_nothing_is_status_is_empty(here: Path) -> None:
    frame = finesweep.status()
    assert len(frame) == 0 and "num_trials" in frame.columns
    assert list(here.iterdir()) == []


def test_status_leaves_out_a_damaged_study_and_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        study_of(here, name, ["complete"])
    for path in (here / "studies" / "b").glob("study.db*"):
        path.unlink()
    (here / "studies" / "b" / "study.db").write_bytes(b"no database" * 99)
    assert list(finesweep.status()["study"]) == ["a"]
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("b: study: ")
    assert main(["status"]) == 2
    assert capsys.readouterr().err == error


NORMS = """
from dataclasses import dataclass
from lightning_modules.strategy.base import Strategy

@dataclass(frozen=True, kw_only=True)
class Norms(Strategy):
    def adapt(self, network):
        for name, parameter in network.named_parameters():
            parameter.requires_grad = "norm" in name.lower() or "classifier" in name
        return network
"""


@pytest.mark.thorough
def test_parts_of_the_users_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "my_parts").mkdir()
    (here / "my_parts" / "__init__.py").write_text(NORMS)
    (here / "conf" / "strategy").mkdir(parents=True)
    values = "_target_: my_parts.Norms\nlr: 1e-3\nlr_min: 1e-4\nlr_max: 1e-2\n"
    (here / "conf" / "strategy" / "norms.yaml").write_text(values)
    monkeypatch.syspath_prepend(str(here))
    plugin = "search.plugins=[my_parts]"
    words = [*write_reviews(here), *TINY, "strategy=norms", plugin]
    study = finesweep.sweep("s", *words, num_trials=1, workers=0, config_dir="conf", show=False)
    run = finesweep.train("r", *words, config_dir=here / "conf", show=False)
    assert finesweep.train(study="s", trial=0, show=False).scores == study.best.scores  # type: ignore[union-attr]
    monkeypatch.setenv("FINESWEEP_PLUGINS", "")  # as in another process
    with pytest.raises(finesweep.UserError, match="my_parts"):
        finesweep.open(run="r")
    opened = finesweep.open(plugin, run="r")
    assert opened.predict(TEXTS) == run.predict(TEXTS)
    model = opened.export("best")
    assert model.predict(TEXTS) == opened.predict(TEXTS)
    assert finesweep.open(plugin, model="best").predict(TEXTS) == model.predict(TEXTS)
    printed = run_here("evaluate", "run=r", plugin, "--json")
    assert json.loads(printed) == run.evaluate()
    run_here("export", "run=r", plugin, "to=other")


@pytest.mark.thorough
def test_a_study_may_be_on_a_server(
    here: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["kernel"])
    monkeypatch.setenv("FINESWEEP_STORAGE", "")  # so that it is put back afterwards
    url = f"postgresql://{postgres.new_database().partition('://')[2]}"
    words = [*write_reviews(here), *TINY, f"storage={url}"]
    study = finesweep.sweep("s", *words, num_trials=1, workers=0, show=False)
    assert not (study.folder / "study.db").exists()
    assert finesweep.open(study="s").best == study.best
    # As a user sets it, without the driver.
    monkeypatch.setenv("FINESWEEP_STORAGE", url)
    assert list(finesweep.status()["study"]) == ["s"]


STOPPED = """
import finesweep
study = finesweep.sweep("s", {words}, num_trials=2, show=False)
print(study.leaderboard()["attempts"].tolist())
"""


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [0, 1])
def test_ctrl_c_leaves_a_study_that_the_same_script_continues(here: Path, workers: int) -> None:
    words = [*write_reviews(here), *SWEEP, "trainer.epochs=60", f"search.workers={workers}"]
    (here / "script.py").write_text(STOPPED.format(words=", ".join(map(repr, words))))
    process = subprocess.Popen(
        [sys.executable, "script.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: num_validations(here) > 0, process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode in (1, -signal.SIGINT)  # 1 once Lightning has been imported
    last = error.rstrip().splitlines()[-1]
    assert last == "KeyboardInterrupt: study s was interrupted; repeat the call to continue"
    status = finesweep.open(study="s").status()
    assert status["states"]["waiting"] == 1
    assert run_script("script.py") == "[2, 1]\n"
    assert {*finesweep.open(study="s").leaderboard()["state"]} <= {"complete", "pruned"}


def num_validations(folder: Path) -> int:
    """Return how many validations the study's first trial has had."""
    if not (folder / "studies" / "s" / "study.db").is_file():
        return 0
    try:
        trials = finesweep.open(study="s")._study.trials
    except finesweep.UserError:  # the file is there a moment before the study
        return 0
    return len(trials[0].intermediate_values) if trials else 0


def wait_until(is_there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not is_there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_every_function_says_what_it_does() -> None:
    for name in finesweep.__all__:
        member = getattr(finesweep, name)
        assert inspect.getdoc(member), name
    assert Path(inspect.getfile(finesweep.sweep)).with_name("py.typed").is_file()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda: finesweep.sweep("s", ["data=files"]),  # type: ignore[arg-type]
            'overrides: must be texts such as "data=files", got a list. '
            'Write each as a text of its own: sweep("mine", "data=files", "seed=1").',
        ),
        (
            lambda: finesweep.sweep("s", "study=other"),
            "study: the name is given as an argument, got 'study=other'. Remove it.",
        ),
        (lambda: finesweep.sweep(None), "study: must be a name, got None. "),  # type: ignore[arg-type]
        (
            lambda: finesweep.train(study="s"),
            "trial: must be set, got nothing. Add trial=...",
        ),
    ],
    ids=["list", "second name", "no name", "no trial"],
)
def test_slips_of_a_caller_are_one_line(here: Path, call: Callable[[], object], line: str) -> None:
    with pytest.raises(finesweep.UserError) as error:
        call()
    assert str(error.value).startswith(line)
    assert not list(here.iterdir())


def test_a_pair_is_refused_by_a_model_of_single_texts() -> None:
    with pytest.raises(UserError, match=r"must be one text per row.*Leave the second text out"):
        table_of([("Fine.", "Never again.")], {"text": "review", "text_pair": None})
