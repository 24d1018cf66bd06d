"""Special tokens that texts spell are read as plain text in training, `export` and `predict`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from search.cli import main
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "bart-eos-in-text"
pytestmark = needs(CASE)


@pytest.mark.thorough
def test_the_run_trains_and_its_export_predicts(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = CASE / "html.csv"
    words = ["run=x", "logger=none", "model=hub", f"model.path={CASE}/model", "data=files"]
    words += [f"data.train={file}", "data.max_length=32", "trainer.max_steps=1"]
    assert main(["train", *words]) == 0
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    spelled = sum("[SEP]" in row["text"] for row in rows)
    assert 0 < spelled < len(rows)
    found = "training rows spell special tokens of the model, e.g. [SEP]; texts are read as plain"
    assert found in capsys.readouterr().out
    assert main(["export", "run=x", "to=out"]) == 0
    capsys.readouterr()
    assert main(["predict", "model=out", f"input={file}", "output=p.jsonl"]) == 0
    said = capsys.readouterr().out
    assert f"note: {spelled} of {len(rows)} rows spell special tokens of the model" in said
    written = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    assert [row["text"] for row in written] == [row["text"] for row in rows]
    # Plain transformers reads the export's texts like this, too.
    tokenizer = AutoTokenizer.from_pretrained("out")
    for ids in tokenizer([row["text"] for row in rows])["input_ids"]:
        assert ids.count(tokenizer.sep_token_id) == 1
