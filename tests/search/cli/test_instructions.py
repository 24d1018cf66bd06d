"""Instruction data on the command line: what is trained on is what `predict` asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_here, write_jsonl

NUM = 40
DATA = ("experiment=smoke", "data=files", "data.train=my.jsonl", "data.max_length=64")
WORDS = (*DATA, "task=generation", "model.kind=decoder")


def write(**columns: Any) -> None:
    """Write rows; a `#` in a text is the row's number."""
    rows = [json.loads(json.dumps(columns).replace("#", str(number))) for number in range(NUM)]
    write_jsonl(Path("my.jsonl"), rows)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    run_here(*words, code=2)
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_system_message_is_in_the_examples_of_plan(here: Path) -> None:
    talk = [{"role": "user", "content": "Hi #."}, {"role": "assistant", "content": "Hello."}]
    write(text=talk)
    told = run_here("plan", "study=s", *WORDS, "data.system=Be kind, and brief!")
    assert "be kind , and" in told  # as the tiny model's tokenizer writes it


def test_a_system_message_for_texts_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(text="Hi #.", label="Hello.")
    line = refused(capsys, "plan", "study=s", *WORDS, "task.label=label", "data.system=Kind!")
    assert line == (
        "data.system: must be null for the texts of train, which are no conversations, got "
        "'Kind!'. Write it in task.template."
    )
    line = refused(capsys, "plan", "study=s", *DATA, "data.system=Kind!")
    assert line == (
        "data.system: must be null for task=classification, which reads no conversations, got "
        "'Kind!'."
    )


ASKED = r"task.template={instruction}[[\nThe input: {input}]] {{=}} "


def test_a_template_of_columns_is_in_the_examples_and_lengths_of_plan(here: Path) -> None:
    write(instruction="good hotel #", input="clean room", output="very good")
    told = run_here("plan", "study=s", *WORDS, "task.label=output", ASKED)
    assert "my.jsonl: read as prompt '{instruction}[[\\nThe input: {input}]] {{=}} '" in told
    assert "the[UNK]: clean room {[UNK]}[[very good[SEP]]]" in told
    assert "14 holds 99%" in told


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("{instrution}", "must name columns of my.jsonl, got '{instrution}'. Did you mean instruc"),
        ("{instruction} {output}", "must not hold the answers, got"),
        ("{instruction", "must hold a column in each pair of braces, got '{instruction'. Write"),
        ("{instruction}[[ {input}", "must close each [[ with ]], and hold no part in another"),
    ],
)
def test_a_wrong_template_is_one_line(
    here: Path, template: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(instruction="good hotel #", input="clean room", output="very good")
    said = refused(
        capsys, "plan", "study=s", *WORDS, "task.label=output", f"task.template={template}"
    )
    assert said.startswith(f"task.template: {line}")
    assert not Path("studies").exists()


TRAIN = ("model=tiny", "model.kind=decoder", "strategy=full", "logger=none", "trainer.epochs=1")
TRAIN += ("data=files", "data.train=my.jsonl", "task=generation", "task.max_new_tokens=2")
TRAIN += ("data.max_length=64", "task.num_generated=0")


def predictions(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@pytest.mark.thorough
def test_predict_asks_as_the_model_was_trained(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(instruction="good hotel #", input="clean room", output="very good")
    run_here("train", "run=a", *TRAIN, "task.label=output", ASKED)
    run_here("export", "run=a", "to=out")
    card = Path("out/README.md").read_text()
    assert "prompt = begin + 'Your question\\nThe input: Its input {=} '" in card
    new = [{"instruction": f"good room {n}", "input": "" if n else "old"} for n in range(4)]
    write_jsonl(Path("new.jsonl"), new)
    told = run_here("predict", "model=out", "input=new.jsonl", "output=one.jsonl")
    assert "new.jsonl: {input} is empty in 3 of 4 rows, which leaves out its part" in told
    found = predictions("one.jsonl")
    assert [{k: v for k, v in row.items() if k != "prediction"} for row in found] == new
    # The same prompts, written by hand, to the same model.
    write_jsonl(Path("other.jsonl"), [{"question": row["instruction"]} for row in new[1:]])
    told = run_here(
        "predict", "model=out", "input=other.jsonl", "output=two.jsonl", "text=question"
    )
    assert "other.jsonl: {input} is empty in 3 of 3 rows" in told
    assert [row["prediction"] for row in predictions("two.jsonl")] == [
        row["prediction"] for row in found[1:]
    ]
    write_jsonl(Path("wrong.jsonl"), [{"question": "good"}])
    line = refused(capsys, "predict", "model=out", "input=wrong.jsonl", "output=three.jsonl")
    assert line.startswith("wrong.jsonl: must have the column 'instruction' that the model was")
    scores = run_here("evaluate", "run=a", "--json")
    words = ("data=files", "data.train=my.jsonl", "--json")
    exported = json.loads(run_here("evaluate", "model=out", *words))
    assert exported == pytest.approx(json.loads(scores), rel=1e-3)  # merged weights are rounded


@pytest.mark.thorough
def test_conversations_of_another_form_are_trained_and_asked(here: Path) -> None:
    talk = [{"from": "human", "value": "good hotel #"}, {"from": "gpt", "value": "very good"}]
    write(conversations=talk, system="be kind")
    assert "ShareGPT's conversations" in run_here("train", "run=a", *TRAIN)
    run_here("export", "run=a", "to=out")
    asked = [{"from": "system", "value": "be kind"}, talk[0]]
    write_jsonl(Path("new.jsonl"), [{"conversations": asked}] * 2)
    told = run_here("predict", "model=out", "input=new.jsonl", "output=one.jsonl")
    assert "new.jsonl: read as ShareGPT's conversations (from, value) in {conversations}" in told
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "good hotel #"},
    ]
    write_jsonl(Path("own.jsonl"), [{"text": messages}])
    run_here("predict", "model=out", "input=own.jsonl", "output=two.jsonl")
    (own,) = predictions("two.jsonl")
    assert [row["prediction"] for row in predictions("one.jsonl")] == [own["prediction"]] * 2


@pytest.mark.thorough
def test_a_form_that_was_recognized_is_asked_in_the_same_way(here: Path) -> None:
    write(instruction="good hotel #", input="clean room", output="very good")
    told = run_here("train", "run=a", *TRAIN)
    how = "prompt '{instruction}[[\\n\\n{input}]]\\n'"
    assert f"my.jsonl: read as instructions: {how}, answer {{output}}" in told
    run_here("export", "run=a", "to=out")
    assert "begin + 'Your question\\n\\nIts input\\n'" in Path("out/README.md").read_text()
    told = run_here("predict", "model=out", "input=my.jsonl", "output=one.jsonl")
    assert f"my.jsonl: read as {how}" in told
    words = ("data=files", "data.train=my.jsonl", "--json")
    scores = run_here("evaluate", "run=a", "--json")
    exported = json.loads(run_here("evaluate", "model=out", *words))
    assert exported == pytest.approx(json.loads(scores), rel=1e-3)  # merged weights are rounded


@pytest.mark.parametrize(
    ("template", "is_said"), [('{{"a": [[1,{text}]]}}', True), (r"{{\[[1,{text}]]}}", False)]
)
def test_brackets_that_make_a_part_optional_are_said(
    here: Path, template: str, is_said: bool
) -> None:
    write(text="Hi #.", label="Hello.")
    told = run_here("plan", "study=s", *WORDS, "task.label=label", f"task.template={template}")
    line = "[[1,{text}]] in task.template is written without the brackets, and left out if {text}"
    assert (line in " ".join(told.split())) is is_said


@pytest.mark.thorough
def test_a_template_with_the_characters_of_a_reference_is_trained_and_predicted(
    here: Path,
) -> None:
    write(text="Hi #.", label="Hello.")
    word = r"task.template='Costs \${text} each: '"
    run_here("train", "run=r", *WORDS, "task.label=label", word, "trainer.max_steps=2")
    run_here("export", "run=r", "to=best")
    manifest = json.loads(Path("best/finesweep.json").read_text())
    assert manifest["task"]["task.template"] == "Costs ${text} each: "
    write_jsonl(Path("new.jsonl"), [{"text": "two"}])
    run_here("predict", "model=best", "input=new.jsonl", "output=out.jsonl")
    run_here("evaluate", "run=r")
    run_here("evaluate", "model=best", *DATA[1:3], "data.label=label")
