"""Reports of studies that a loop of the caller's own trains."""

from __future__ import annotations

from pathlib import Path

import finesweep


def test_a_free_study_has_a_report_without_a_default_or_a_command(here: Path) -> None:
    study = finesweep.sweep(
        "free",
        "search.direction=minimize",
        "search.metric=error",
        "x=interval(0,1)",
        num_trials=3,
        ask_tell=True,
        show=False,
    )
    while (trial := study.ask()) is not None:
        study.report(trial.number, 1, error=trial.params["x"] + 1)
        study.tell(trial.number, trial.params["x"])
    html = study.write_report().read_text(encoding="utf-8")
    brief = (study.folder / "report.md").read_text(encoding="utf-8")
    assert study.best is not None
    assert f"Trial {study.best.number} is the best, with error" in brief
    assert "no default has a result to compare with" in brief
    assert "finesweep train" not in brief and not (study.folder / "best.yaml").exists()
    assert ">step</text>" in html
