"""A study's table at every width: what it shows, what is left out first, what is never cut."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from search.report.snapshot import Snapshot, TrialRow
from search.report.text import number
from search.terminal.table import chosen_rows, study_table

PATHS = (
    "strategy",
    "optimizer.lr",
    "data.batch_size",
    "trainer.epochs",
    "strategy.rank",
)
STRATEGIES = ("feature_extraction", "lora", "full")


def row(at: int, state: str = "complete", **changes: Any) -> TrialRow:
    """Return a trial with five values; only lora has a rank."""
    strategy = STRATEGIES[at % 3]
    values = {
        "strategy": strategy,
        "optimizer.lr": 1.2345678e-5 * (1 + 37 * at),
        "data.batch_size": (8, 16, 32)[at % 3],
        "trainer.epochs": 1 + at % 4,
    }
    if strategy == "lora":
        values["strategy.rank"] = 4 * (1 + at % 16)
    top = 0.6 + at * 7919 % 97 / 400
    kept = TrialRow(
        number=at,
        state=state,
        values=values,
        objectives=(top if state == "complete" else None,),
        curve=tuple(top - 0.3 / (1 + step) for step in range(2 + at % 5)),
        fraction=1.0 if state in ("complete", "pruned") else 0.45 if state == "running" else 0.0,
        seconds=61.0 + 13 * at,
        seconds_left=75.0 if state == "running" else None,
        attempts=0 if state == "waiting" else 1,
        is_best=False,
        reason=None,
    )
    return replace(kept, **changes)


def snapshot(rows: Sequence[TrialRow], **changes: Any) -> Snapshot:
    states = ("complete", "pruned", "fail", "running", "waiting")
    counts = {state: sum(row.state == state for row in rows) for state in states}
    kept = Snapshot(
        study="mine",
        objectives=("validation/accuracy",),
        directions=("maximize",),
        paths=PATHS,
        num_trials=max(30, len(rows)),
        num_ended=counts["complete"] + counts["pruned"] + counts["fail"],
        counts=counts,
        trials_per_hour=42.3,
        seconds_left=1580.0,
        max_hours=None,
        is_stopping=False,
        rows=tuple(rows),
    )
    return replace(kept, **changes)


def typical(num_trials: int = 12) -> Snapshot:
    """Return a half-finished study: a winner, pruned, failed, running and waiting trials."""
    rows = [row(at, "pruned" if at % 3 == 2 else "complete") for at in range(num_trials)]
    rows[1] = row(1, "complete", objectives=(0.9,), is_best=True)
    rows[3] = row(3, "fail", curve=(), seconds=None)
    rows[-3] = row(num_trials - 3, "running")
    rows[-2] = row(num_trials - 2, "running", curve=(), seconds=None, seconds_left=None)
    rows[-1] = row(num_trials - 1, "waiting", curve=(), seconds=None)
    return snapshot(rows)


def lines(snapshot: Snapshot, width: int = 80, height: int = 24, **more: Any) -> list[str]:
    return study_table(snapshot, width, height, **more).plain.split("\n")


def line_of(number: int, shown: list[str]) -> str:
    (found,) = [line for line in shown if re.match(rf"[ ★*]*{number} +[a-z]+ ", line)]
    return found


@pytest.mark.parametrize("height", [3, 8, 24, 60])
@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 140, 250])
@pytest.mark.parametrize("num_trials", [0, 1, 5, 40, 1200])
def test_the_table_fits_its_window_and_cuts_no_number(
    num_trials: int, width: int, height: int
) -> None:
    study = typical(num_trials) if num_trials > 4 else snapshot([row(0, "running")][:num_trials])
    shown = lines(study, width, height, notes=["x" * 300, "trial 3 failed: out of memory"])
    assert len(shown) <= height
    assert max(cell_len(line) for line in shown) <= width
    heads = next((line.split() for line in shown if line.startswith("trial ")), [])
    names = (("lr",), ("size", "batch_size"), ("epochs",), ("rank",))
    paths = [path for name, path in zip(names, PATHS[1:], strict=True) if {*name} & {*heads}]
    for line in shown if heads else ():
        found = re.match(
            r"[ ★]*(\d+) +(?:complete|pruned|running|waiting|fail|run 45%) +(.*)", line
        )
        if found and width >= 40:  # below that, the strategy has no column either
            own = study.rows[int(found[1])].values
            expected = [number(own.get(path)) for path in paths]
            assert found[2].split()[1 : 1 + len(expected)] == expected


def test_five_values_are_readable_at_80_columns() -> None:
    shown = lines(typical())
    assert shown[4:6] == [
        "                                      batch",
        "trial state    strategy            lr  size epochs rank accuracy curve  time",
    ]
    assert [len(re.findall("complete|pruned|fail|run |waiting", line)) for line in shown[6:]] == (
        [1] * 12
    )
    assert line_of(1, shown).split()[:8] == [
        *("★", "1", "complete", "lora", "0.0004691", "16", "2", "8"),
    ]
    assert "feature_ext…" in line_of(0, shown)
    assert "run 45%" in line_of(9, shown) and line_of(9, shown).endswith("~1.2 min")


def test_bars_and_curves_shrink_before_names_and_numbers_never() -> None:
    roomy, medium, narrow = (lines(typical(), width) for width in (150, 108, 70))
    at_9 = [line_of(9, shown) for shown in (roomy, medium, narrow)]
    assert "━━━━━─────── 45%" in at_9[0] and "~1.2 min left" in at_9[0]
    assert "batch_size" in roomy[4] and "batch_size" not in medium[5]
    assert re.search("━+─+ 45%", at_9[1]) and "━━━━━━" not in at_9[1]
    assert "feature_extraction" in at_9[1] and "feature_extraction" not in at_9[2]
    assert "feature…" in at_9[2]
    assert all(number(row(9).values["optimizer.lr"]) in line for line in at_9)


def test_columns_that_do_not_fit_are_listed() -> None:
    shown = lines(typical(), width=60)
    assert "epochs" not in shown[5] and shown[-1] == "... columns epochs, rank in trials.csv"
    assert "0.9000" in line_of(1, shown)
    assert lines(typical(40), width=60)[-1] == "... 23 more and columns epochs, rank in trials.csv"


def test_the_header_shows_the_budget_and_the_best() -> None:
    shown = lines(typical())
    assert shown[:3] == [
        "study mine: 9 of 30 trials ended, ~26 min left, 42 trials/h",
        "5 complete, 3 pruned, 1 fail, 2 running, 1 waiting",
        "best 0.9000 validation/accuracy, trial 1",
    ]


def test_the_header_omits_parts_rather_than_cutting_numbers() -> None:
    assert lines(typical(), width=40)[0] == "study mine: 9 of 30 trials ended"
    long = replace(typical(), study="n" * 100)
    assert lines(long)[0] == f"study {'n' * 45}…: 9 of 30 trials ended"


def test_the_header_shows_stopping_and_hours() -> None:
    first = lines(replace(typical(), is_stopping=True, max_hours=2.5), width=100)[0]
    assert "stopping: no more trials start, at most 2.5 h" in first and "left" not in first


def test_a_study_without_trials_says_so() -> None:
    empty = snapshot([], trials_per_hour=None, seconds_left=None)
    assert lines(empty) == ["study mine: 0 of 30 trials ended", "no trial has started yet"]


def test_a_first_trial_without_validation_has_no_score() -> None:
    first = row(0, "running", curve=(), seconds=None, seconds_left=None, fraction=0.0)
    shown = lines(snapshot([first]), width=120)
    assert shown[2] == "no trial has finished yet"
    assert re.search(r"running .* ─{12}  0% +- +-$", shown[-1])


def test_many_trials_show_running_best_and_latest() -> None:
    study = typical(200)
    shown = lines(study)
    numbers = [int(line.lstrip(" ★").split()[0]) for line in shown[6:-1]]
    assert numbers == sorted(numbers) and len(numbers) == 17
    assert {1, 197, 198} <= set(numbers) and 199 not in numbers
    assert {196, 195, 194} <= set(numbers)
    runners_up = sorted((r for r in study.rows if r.objectives[0]), key=lambda r: r.objectives)
    assert {r.number for r in runners_up[-3:]} <= set(numbers)
    assert shown[-1] == "... 183 more in trials.csv"


def test_the_lowest_are_best_if_minimized() -> None:
    losses = [row(at, objectives=(0.1 * (1 + at * 7 % 20),)) for at in range(20)]
    study = snapshot(losses, objectives=("validation/log_loss",), directions=("minimize",))
    best = [r.number for r in sorted(losses, key=lambda r: r.objectives)[:3]]
    assert set(best) <= {r.number for r in chosen_rows(study, 6)}


def test_running_trials_come_before_all_but_the_best() -> None:
    rows = [row(at, "running") for at in range(10)]
    rows[4] = row(4, is_best=True)
    assert [r.number for r in chosen_rows(snapshot(rows), 3)] == [0, 1, 4]
    assert chosen_rows(snapshot(rows), 0) == []


def test_several_objectives_have_one_column_each_and_a_front() -> None:
    rows = [
        row(0, objectives=(0.71, 95.5, 590592.0), is_best=True),
        row(1, objectives=(0.82, 161.25, 22713216.0), is_best=True),
        row(2, "pruned", objectives=(None, None, None)),
    ]
    study = snapshot(
        rows,
        objectives=("validation/accuracy", "seconds", "trainable_parameters"),
        directions=("maximize", "minimize", "minimize"),
    )
    shown = lines(study, width=160)
    assert shown[2] == (
        "Pareto front of 2 trials, maximize validation/accuracy, minimize seconds, "
        "minimize trainable_parameters"
    )
    assert re.search("accuracy +seconds +trainable_parameters", shown[4])
    assert "★" in line_of(0, shown) and "★" in line_of(1, shown) and "★" not in line_of(2, shown)
    assert re.search(r"0\.8200 +161\.2 +22,713,216", line_of(1, shown))


def test_a_setting_that_the_arm_lacks_is_a_dim_dash() -> None:
    study = snapshot([row(0, values={"strategy": "full", "optimizer.lr": None})])
    table = study_table(study, 120, 20)
    at = table.plain.index("null")
    dashes = [match.start() for match in re.finditer("-", table.plain[at:])]
    assert len(dashes) == 3  # batch size, epochs, rank
    for dash in dashes:
        assert "dim" in styles_at(table, at + dash)
    assert "dim" not in styles_at(table, at)


def test_the_best_row_is_bold_and_states_have_colours() -> None:
    table = study_table(typical(), 80, 24)
    assert "bold" in styles_at(table, table.plain.index("★"))
    for state, style in (("complete", "green"), ("pruned", "yellow"), ("fail  ", "red")):
        at = table.plain.index(f" {state}", table.plain.index("trial state")) + 1
        assert style in styles_at(table, at)


def styles_at(table: Text, at: int) -> str:
    return " ".join(str(span.style) for span in table.spans if span.start <= at < span.end)


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed() -> str:
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=True, width=80, color_system="standard")
        console.print(study_table(typical(), 80, 24))
        return stream.getvalue()

    colours = r"\x1b\[(?:\d+;)*3[0-7]m"
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert re.search(colours, printed())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(colours, printed())


def test_ascii_only_uses_no_other_characters() -> None:
    study = typical()
    rows = [replace(r, values={**r.values, "strategy": "größte"}) for r in study.rows[:2]]
    table = study_table(
        replace(study, rows=(*rows, *study.rows[2:])), 150, 24, ["müde"], ascii_only=True
    )
    assert table.plain.isascii()
    shown = table.plain.split("\n")
    assert "* 1  complete" in line_of(1, shown) and "gr??te" in line_of(1, shown)
    assert "#####....... 45%" in line_of(9, shown) and "! m?de" in shown
    assert study_table(study, 80, 24, ascii_only=True).plain.isascii()


def test_attempts_are_shown_from_the_second_on() -> None:
    assert "attempts" not in lines(typical(), width=150)[4]
    rows = (row(0), row(1, attempts=2))
    shown = lines(snapshot(rows), width=150)
    assert shown[4].endswith("attempts") and shown[-1].endswith(" 2")


def test_a_waiting_trial_shows_its_progress() -> None:
    rows = [row(0), row(1, "waiting", fraction=0.62)]
    assert re.search("waiting .*━ *─+ 62%", lines(snapshot(rows), width=150)[-1])


def test_names_with_the_same_beginning_stay_distinct() -> None:
    models = ("organization/bert-base-cased", "organization/bert-large-cased")
    rows = [row(at, values={**row(0).values, "model": models[at]}) for at in range(2)]
    study = snapshot(rows, paths=("model", *PATHS))
    shown = lines(study, width=80)
    assert "…se-cased" in line_of(0, shown) and "…ge-cased" in line_of(1, shown)


def test_paths_with_the_same_ending_get_longer_names() -> None:
    study = snapshot([row(0)], paths=("strategy.rank", "head.rank"))
    assert re.search(r"strategy\.rank +head\.rank", lines(study, width=120)[4])


def test_curves_share_one_scale() -> None:
    rows = [row(0, curve=(0.5, 0.61)), row(1, curve=(0.8, 0.9)), row(2, curve=(0.5, float("nan")))]
    shown = lines(snapshot(rows), width=120)
    assert "▁▃ " in shown[-3] and "▇█ " in shown[-2] and "▁  " in shown[-1]


def test_a_long_curve_keeps_its_ends() -> None:
    curve = (0.1, *[0.5] * 98, 0.9)
    shown = lines(snapshot([row(0, curve=curve)]), width=150)
    (drawn,) = re.findall("[▁▂▃▄▅▆▇█]+", shown[-1])
    assert len(drawn) == 16 and drawn[0] == "▁" and drawn[-1] == "█"


def test_notes_are_the_last_three_in_two_lines_each() -> None:
    notes = ["first", "second", "trial 3 failed:\n\x1b[2Jout of memory", "word " * 60]
    shown = lines(typical(), height=40, notes=notes)
    at = shown.index("! second")
    assert "! first" not in shown
    assert shown[at + 1].startswith("! trial 3 failed:") and "\x1b" not in shown[at + 1]
    assert shown[at + 2].startswith("! word") and shown[at + 3].endswith("...")
    assert len(shown) == at + 4
