"""Code that comes with a model runs only if a person typed that, in every command and process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import finesweep
from lightning_modules.error import ConfigError
from lightning_modules.model.files import trust
from lightning_modules.model.files.code import names_code, runs_code
from lightning_modules.model.files.fault import Fault
from lightning_modules.model.files.trust import TYPED, is_code_trusted, take_trust, trust_arguments
from search.config import build_run, compose
from search.config.typed import take_typed
from tests.conftest import run_here

CODE = """
from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification, BertModel

with Path({trace!r}).open("a") as file:
    file.write("x")

class MineConfig(BertConfig):
    model_type = "mine"

class MineModel(BertModel):
    config_class = MineConfig

class MineForSequenceClassification(BertForSequenceClassification):
    config_class = MineConfig
"""
AUTO = {
    "AutoConfig": "code.MineConfig",
    "AutoModel": "code.MineModel",
    "AutoModelForSequenceClassification": "code.MineForSequenceClassification",
}
MINE = ("model=hub", "model.path=./mine", "logger=none", "trainer.epochs=1", "strategy=full")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget after each test what it typed."""
    monkeypatch.setattr(trust, "_typed", [])
    yield


@pytest.fixture
def mine(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small model with code of its own; return the file that appears if it runs."""
    model = build_run(compose("train", ["run=r", "model=tiny"]).tree).model
    folder = here / "mine"
    network = model.new_network("AutoModelForSequenceClassification", num_labels=2)
    network.save_pretrained(folder)
    model.load_tokenizer().save_pretrained(folder)
    path = folder / "config.json"
    values = {**json.loads(path.read_text()), "model_type": "mine", "auto_map": AUTO}
    path.write_text(json.dumps({**values, "architectures": ["MineForSequenceClassification"]}))
    (folder / "code.py").write_text(CODE.format(trace=str(here / "trace")))
    (here / "rows.csv").write_text("text\nThis is a great film.\nThis is an awful film.\n")
    return here / "trace"


def command(*words: str, code: int = 0) -> str:
    """Run a command in a process of its own; return what it prints to standard error."""
    text = f"from search.cli import main; raise SystemExit(main({list(words)!r}))"
    environment = {**os.environ, "HF_MODULES_CACHE": str(Path("modules").resolve())}
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr


@pytest.mark.thorough
def test_it_runs_where_it_is_typed_and_nowhere_else(
    mine: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "note: code that comes with a model runs, as model.trust_remote_code=true says\n"
    for words in (
        ("train", "run=a", *MINE),
        ("evaluate", "run=a"),
        ("export", "run=a", "to=out"),
        ("predict", "model=out", "input=rows.csv", "output=out.jsonl"),
        ("evaluate", "model=out"),
        ("sweep", "study=s", *MINE, "search.num_trials=1", "search.confirm=0", "search.workers=1"),
        ("sweep", "study=s", "search.num_trials=2"),
        ("export", "study=s", "to=again"),
    ):
        mine.unlink(missing_ok=True)
        run_here(*words, code=2)
        error = capsys.readouterr().err
        assert TYPED in error and error.count("\n") == 1 and not mine.exists(), words
        assert command(*words, TYPED).startswith(note)
        assert mine.exists(), words
    rows = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and {"prediction", "scores"} <= rows[0].keys()
    config = yaml.safe_load((here / "runs" / "a" / "config.yaml").read_text())
    assert config["model"]["trust_remote_code"] is True
    (here / "out" / "code.py").write_text("raise SystemExit(3)\n")  # after the export
    again = ("predict", "model=out", "input=rows.csv", "output=b.jsonl", TYPED)
    assert "code.py" in command(*again, code=2)


def test_a_file_or_the_environment_cannot_say_it(
    mine: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "conf" / "model").mkdir(parents=True)
    text = "# Mine\n_target_: lightning_modules.model.hub.Hub\npath: ./mine\nrevision: null\n"
    text += "trust_remote_code: true\nattention: sdpa\ndtype: auto\n"
    (here / "conf" / "model" / "mine.yaml").write_text(text)
    for name in ("MODEL_TRUST_REMOTE_CODE", "TRUST_REMOTE_CODE", "HF_HUB_TRUST_REMOTE_CODE"):
        monkeypatch.setenv(name, "1")
    run_here("plan", "study=s", "model=mine", "--config-dir=conf", code=2)
    assert capsys.readouterr().err.startswith(
        "model.trust_remote_code: must be typed on the command line to count; "
    )
    assert not mine.exists()


def test_a_range_over_it_is_not_typed(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("plan", "study=s", *MINE, "model.trust_remote_code=choice(false,true)")
    run_here(*words, code=2)
    assert "model.trust_remote_code" in capsys.readouterr().err and not mine.exists()


def test_a_name_of_the_hub_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("model=hub", "model.path=owner/name", TYPED)
    with pytest.raises(ConfigError, match=r"hf download owner/name --local-dir DIR\.$"):
        build_run(compose("train", take_typed("train", ["run=r", *words])).tree).model.check()


def test_from_python(mine: Path) -> None:
    with pytest.raises(finesweep.UserError, match=f"add {TYPED}"):
        finesweep.plan("s", *MINE)
    assert not mine.exists()
    assert finesweep.plan("s", *MINE, TYPED)


def test_in_python_it_counts_for_one_call(mine: Path, here: Path) -> None:
    assert finesweep.plan("s", *MINE, TYPED)
    with pytest.raises(finesweep.UserError, match=f"add {TYPED}"):
        finesweep.plan("s", *MINE)
    assert not is_code_trusted()


OPENED = """
import sys, finesweep
typed, mine = sys.argv[1], sys.argv[2:]
run = finesweep.train("a", *mine, typed, show=False)
finesweep.status()  # without the word
model = run.export("out")
assert model.predict(["good"]) and run.predict(["good"]) and run.evaluate()
try:
    finesweep.open(model="out").predict(["good"])
except finesweep.UserError as error:
    assert typed in str(error)
else:
    raise AssertionError("it ran")
assert finesweep.open(typed, model="out").evaluate()
"""


@pytest.mark.thorough
def test_what_python_opened_with_it_keeps_it(mine: Path, here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPENED, TYPED, *MINE],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_MODULES_CACHE": str(here / "modules")},
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_code_of_another_place_is_refused() -> None:
    values = {"auto_map": {"AutoConfig": "owner/name--code.Config"}}
    assert names_code(values) and not runs_code("config.json", values)
    trust.trust_code()
    with pytest.raises(Fault):
        runs_code("config.json", values)
    with pytest.raises(Fault):
        runs_code("tokenizer_config.json", {"auto_map": {"AutoTokenizer": [None, "a--b.C"]}})
    assert runs_code("config.json", {"auto_map": {"AutoTokenizer": ["code.A", None]}})
    assert not runs_code("config.json", {})


def test_the_word_is_handed_to_processes_on_their_command_line() -> None:
    assert take_trust(["folder", "3"]) == ["folder", "3"] and not is_code_trusted()
    assert list(trust_arguments()) == []
    assert take_trust(["folder", TYPED, "3"]) == ["folder", "3"] and is_code_trusted()
    assert list(trust_arguments()) == [TYPED]


@pytest.mark.parametrize("word", ["model.trust_remote_code=false", "model.trust_remote_code=True"])
def test_only_the_word_itself_counts(word: str) -> None:
    if word.endswith("True"):
        with pytest.raises(ConfigError, match="must be true or false"):
            take_typed("predict", [word])
    else:
        assert take_typed("predict", [word, "model=out"]) == ["model=out"]
    assert take_typed("sweep", [word]) == [word]
    assert not is_code_trusted()
    assert take_typed("sweep", [TYPED, word]) == [TYPED, word]  # the last one counts
    assert not is_code_trusted()


def test_a_folder_without_code_needs_nothing(mine: Path, here: Path) -> None:
    path = here / "mine" / "config.json"
    values = json.loads(path.read_text())
    values.pop("auto_map")
    path.write_text(json.dumps({**values, "model_type": "bert"}))
    assert "trust" not in run_here("plan", "study=s", *MINE)
    shutil.rmtree(here / "mine")
