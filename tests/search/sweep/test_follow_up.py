"""What follows the trials of a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.study import certify
from search.sweep.follow_up import confirm_and_certify
from tests.conftest import write_jsonl
from tests.search.study.conftest import ended_study, scored, train_rest

WORDS = ("search.certify=true", "search.portfolio=false", "search/sampler=random")


def test_a_certificate_that_cannot_be_drawn_up_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"text": f"The {n} was {'great' if n % 2 else 'awful'}.", "label": "ab"[n % 2]}
        for n in range(80)  # enough for a test split
    ]
    write_jsonl(here / "rows.jsonl", rows)
    study = ended_study(here, [0.5, 0.9], *WORDS, "data=files", "data.train=rows.jsonl")
    certifying = certify.begin(study)
    assert certifying is not None
    train_rest(certifying, lambda values: scored(0.9, 0))  # their weights are empty files
    code, reason = confirm_and_certify(study, lambda each: (0, ""), print)
    assert code == 1 and "the certificate could not be drawn up: " in reason
    assert "\n" not in reason and reason in capsys.readouterr().err
    assert study.certificates == () and not study.looks
