"""Every run that `single.py` measures can be trained: its rows are read, its parts are checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from single_parts.case import CASES, make_run
from single_parts.job import Job

from lightning_modules.cache import Cache
from lightning_modules.check import load_rows
from tests.shared import DATA


@pytest.mark.thorough
@pytest.mark.skipif(not DATA.is_dir(), reason="the texts are not in ../shared/data")
@pytest.mark.parametrize("name", CASES)
def test_a_case_passes_the_checks_of_a_run(name: str, tmp_path: Path) -> None:
    rows = load_rows(make_run(name, 16, tmp_path), Cache())
    assert len(rows.corpus.splits["train"]) == 16


def test_a_side_reads_the_job_that_it_is_sent() -> None:
    job = Job(
        *("lora", 64, ("model.attention=auto",), "model", "AutoModel", "SEQ_CLS", 2, "lora"),
        *(8, 16.0, 1e-3, 16, 1, "examples", True),
    )
    assert Job.of(job.line()) == job
