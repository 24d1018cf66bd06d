"""Bad input: one clear line, exit 2, before any model is loaded, and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.cli import main
from tests.conftest import run_here


@pytest.fixture
def csv_file(here: Path) -> Path:
    path = here / "my.csv"
    rows = "".join(f'"review {n}, fine",{"good" if n % 2 else "bad"}\n' for n in range(40))
    path.write_text("review,stars\n" + rows)
    return path


FILES = ("data=files", "data.train=my.csv", "data.text=review", "data.label=stars")

CASES = [
    (
        ("optimizer.lrr=3",),
        "optimizer.lrr: must be a known key, got optimizer.lrr. Did you mean optimizer.lr?",
    ),
    (
        ("strategy=lorra",),
        "ia3, lora, peft, prefix_tuning, prompt_tuning, prompting, qlora, got 'lorra'",
    ),
    (("trainer.epochs=0",), "trainer.epochs: must be > 0, got 0"),
    (("trainer.epochs=two",), "trainer.epochs: must be a whole number, got 'two'"),
    (("data.batch_size=choice(0,8)",), "data.batch_size: must be > 0, got 0 in choice(0,8)"),
    (("trainer.epochs=range(5,1)",), "trainer.epochs: must have low < high, got range(5,1)"),
    (
        ("optimizer.lr=tag(log,interval(0,1))",),
        "optimizer.lr: a log range must start > 0, got tag(log,interval(0,1))",
    ),
    (("optimzer.lr=interval(0,1)",), "Did you mean optimizer.lr?"),
    (("search.metric=accurracy",), "Did you mean accuracy?"),
    (("data=files", "data.train=nope.csv"), "data.train: must be a file, got 'nope.csv'"),
    (("data=files",), "data.train: must be a file, got None. Set data.train=my.csv."),
    (
        ("data=files", "data.train=my.csv", "data.label=stars"),
        "data.text: must be a column of my.csv, got 'text'. Its columns: review, stars.",
    ),
    (
        ("data=files", "data.train=mmy.csv", "data.text=review", "data.label=stars"),
        "data.train: must be a file, got 'mmy.csv'. Did you mean my.csv? In .: my.csv.",
    ),
    (
        ("data=files", "data.train=my.csv", "data.text=reveiw", "data.label=stars"),
        "data.text: must be a column of my.csv, got 'reveiw'. Did you mean review? "
        "Its columns: review, stars.",
    ),
    (("txet=5",), "txet: must be a known key, got txet. "),
    (("model=hub",), "model.path: must be a hub name or a folder, got None"),
    (("model=hub", "model.path=./nothing"), "model.path: must be a folder, got './nothing'"),
    (("study=''",), "study: must be a name, got ''. Set study=NAME."),
    (("search.num_trials=0",), "search.num_trials: must be > 0, got 0"),
    (("noequals",), "noequals: must have the form key=value, got 'noequals'"),
]


@pytest.mark.parametrize("command", ["plan", "sweep"])
@pytest.mark.parametrize(("words", "line"), CASES)
def test_bad_input_is_one_line_and_exit_code_2(
    command: str,
    words: tuple[str, ...],
    line: str,
    csv_file: Path,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([command, *words]) == 2
    printed = capsys.readouterr()
    assert line in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert sorted(path.name for path in here.iterdir()) == ["my.csv"]


def files(here: Path, train: str, validation: str | None = None) -> tuple[str, ...]:
    (here / "t.csv").write_text(train)
    words = ["data=files", "data.train=t.csv"]
    if validation is not None:
        (here / "v.csv").write_text(validation)
        words.append("data.validation=v.csv")
    return tuple(words)


@pytest.mark.parametrize(
    ("train", "validation", "line"),
    [
        ("", None, "t.csv: must not be empty, got 0 bytes."),
        ("text,label\n", None, "t.csv: must have rows, got 0 rows."),
        (
            "text,label\n" + "".join(f"text {n},good\n" for n in range(9)),
            None,
            "data.label: the training rows must have at least two labels, got only 'good'.",
        ),
        (
            "text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(9)),
            "text,label\nnew,c\n",
            "data.label: every label of validation must be in the training rows, got 'c'.",
        ),
    ],
)
def test_unusable_files_are_one_line(
    train: str,
    validation: str | None,
    line: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sweep", *files(here, train, validation)]) == 2
    assert line in capsys.readouterr().err
    assert not (here / "studies").exists()


@pytest.mark.thorough
def test_a_study_with_another_space_reports_the_difference(
    csv_file: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = ("study=mine", *FILES, "experiment=smoke", "logger=none", "trainer.epochs=1")
    run_here("sweep", *fixed, "search.num_trials=1", "search.workers=0")
    before = (here / "studies/mine/trials.csv").read_bytes()
    other = ("optimizer.weight_decay=interval(0,0.1)", "trainer.max_grad_norm=2")
    assert main(["sweep", *fixed, *other]) == 2
    printed = capsys.readouterr().err
    assert "optimizer.weight_decay: study mine does not search this key" in printed
    assert "trainer.max_grad_norm: study mine has 1.0, got 2" in printed
    with csv_file.open("a") as file:
        file.write("one more,good\n")
    assert main(["sweep", *fixed]) == 2
    assert "data: study mine was started with other rows" in capsys.readouterr().err
    assert (here / "studies/mine/trials.csv").read_bytes() == before


def test_an_existing_run_is_not_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"validation/accuracy": 1}))
    assert main(["train", "run=one", "model=tiny"]) == 2
    assert "run: must not be in runs/ yet, got 'one'" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["metrics.json"]


def test_a_hub_name_without_network(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert main(["sweep", "model=hub", "model.path=some-owner/some-model"]) == 2
    printed = capsys.readouterr().err
    assert "model.path: must be a local folder or a model on the hub" in printed
    assert "no network" in printed
    assert len(printed.strip().splitlines()) == 1


def test_unknown_commands_and_studies(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swep"]) == 2
    assert "Did you mean sweep?" in capsys.readouterr().err
    assert main(["status", "study=nope"]) == 2
    assert "study: must be a study in studies/, got 'nope'" in capsys.readouterr().err
    assert main(["evaluate"]) == 2
    assert "must be given one of study=, run= and model=" in capsys.readouterr().err
    assert main(["export", "study=nope"]) == 2
    assert main(["predict", "model=nowhere"]) == 2
    assert "must be a folder with finesweep.json" in capsys.readouterr().err


@pytest.fixture
def exported(here: Path) -> Path:
    """Write the files of an exported model that predict reads before loading it."""
    folder = here / "best"
    folder.mkdir()
    columns = {"text": "review", "text_pair": None, "label": "stars"}
    values = {"task": {"task": "classification"}, "columns": columns, "labels": ["a", "b"]}
    values["max_length"] = 8
    (folder / "finesweep.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("output=o.txt",),
            "output: must end with .jsonl, .csv or .parquet, got 'o.txt'. Set output=o.jsonl.",
        ),
        (
            ("output=o.jsonl",),
            "new.csv: must have the column 'review' that the model was trained on, "
            "got columns id, Reviews. Name the right one: text=Reviews.",
        ),
        (
            ("output=o.jsonl", "text=nope"),
            "text: must be a column of new.csv, got 'nope'. Its columns: id, Reviews.",
        ),
    ],
)
def test_predict_refuses_bad_input_before_loading_a_model(
    words: tuple[str, ...],
    line: str,
    exported: Path,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (here / "new.csv").write_text("id,Reviews\n1,fine\n")
    assert main(["predict", "model=best", "input=new.csv", *words]) == 2
    assert capsys.readouterr().err == f"{line}\n"
    assert sorted(path.name for path in here.iterdir()) == ["best", "new.csv"]


def test_several_mistakes_are_reported_at_once(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("strategy=lorra", "optimizer.lrr=1", "trainer.epochs=range(5,1)")
    assert main(["plan", *words]) == 2
    printed = capsys.readouterr().err.strip().splitlines()
    assert [line.split(":")[0] for line in printed] == [
        "strategy",
        "optimizer.lrr",
        "trainer.epochs",
    ]


def test_cfg_prints_the_configuration_and_does_nothing_else(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "--cfg", "job", "strategy=full", "data.batch_size=choice(4,8)"]) == 0
    printed = capsys.readouterr().out
    assert "_target_: lightning_modules.strategy.full.Full" in printed
    assert "data.batch_size: choice(4,8)" in printed
    assert list(here.iterdir()) == []


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in ("sweep", "plan", "status", "evaluate", "export", "predict", "train"):
        assert f"  {name} " in printed
        assert max(len(line) for line in printed.splitlines()) <= 100
    for name in ("sweep", "plan", "status", "evaluate", "export", "predict", "train"):
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert f"finesweep {name} " in capsys.readouterr().out
