from __future__ import annotations

import pytest

from search.cli import main
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "tag-prefix-substring"
pytestmark = needs(CASE)


@pytest.mark.parametrize(
    ("name", "place", "tag"), [("names", 1, "BI-PER"), ("es_alone", 6, "IES-PER")]
)
def test_a_wrong_prefix_is_refused_before_the_training(
    name: str, place: int, tag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = CASE / f"{name}.jsonl"
    words = ["run=x", "logger=none", "model=tiny", "task=token_classification", "data=files"]
    assert main(["train", *words, f"data.train={file}", "trainer.max_steps=1"]) == 2
    line = capsys.readouterr().err.splitlines()[0]
    prefix = tag.partition("-")[0]
    assert line.startswith(f"{file}:{place}:ner_tags: must be well-formed")
    assert f"has '{tag}', and {prefix} is no prefix of BIO, BIOES or IOB1" in line
