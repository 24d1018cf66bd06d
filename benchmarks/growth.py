"""What a trial costs in the storage of a study that has 20, 1,000 or 10,000 trials.

Processor milliseconds of what a worker asks of the storage for one trial: to claim it and choose
its values, to store one validation, to store its end; and of `finesweep status` as a whole process.
The study is SQLite's, with the default sampler and pruner. Its trials are copies, with other values
and scores, of one that a worker's session has made.

    python benchmarks/growth.py [--quick]   # without 10,000 trials
"""

from __future__ import annotations

import json
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared_parts.argument import parser_of

from lightning_modules.outcome import Ending, Outcome, Point
from search.config import compose
from search.plan.build import build_plan
from search.space.key import canonical_key
from search.storage.attribute import FIXED, FOLDER, KEY
from search.storage.location import file_of, storage_of, study_folder
from search.study.attempt import relative_folder
from search.study.open import load_study
from search.study.prepare import check_study, prepare_study
from search.study.session import Session, join
from search.study.study import Study

SIZES = (20, 1000, 10_000)
WORDS = (
    *("study=s", "model=tiny", "logger=none", "search.num_trials=100000", "search/space=none"),
    "optimizer.lr=tag(log,interval(1e-4,1e-2))",
)
CHILDREN = (
    *("trial_params", "trial_values", "trial_user_attributes", "trial_system_attributes"),
    "trial_intermediate_values",
)
NUM_REAL = 20  # trials that a session makes; the others are copies
REPETITIONS = 5
FINESWEEP = str(Path(sys.executable).with_name("finesweep"))


def main() -> int:
    parser = parser_of(__doc__, "without 10,000 trials")
    asked = parser.parse_args()
    print("processor milliseconds, medians")
    print(f"{'trials':>7s} | {'claim':>7s} | {'validation':>10s} | {'end':>7s} | {'status':>7s}")
    for size in SIZES[:-1] if asked.quick else SIZES:
        with tempfile.TemporaryDirectory() as root:
            os.chdir(root)
            row = measured(Path(root), size)
            os.chdir(Path(__file__).parent)
        claim, validation, end, status = (f"{1000 * seconds:.0f}" for seconds in row)
        print(f"{size:7d} | {claim:>7s} | {validation:>10s} | {end:>7s} | {status:>7s}", flush=True)
    return 0


def measured(root: Path, size: int) -> tuple[float, ...]:
    """Return the seconds of a claim, a validation, an end and `finesweep status`."""
    plan = build_plan(compose("sweep", list(WORDS)))
    folder = study_folder(root, plan.name)
    study = prepare_study(plan, folder, check_study(plan, folder))
    session = join(study)
    for number in range(NUM_REAL):
        one_trial(session, 0.5 + number / 100)
    session.leave()
    copy_trials(load_study(folder), size)
    session = join(load_study(folder))
    one_trial(session, 0.6)  # reads all trials once
    calls = list(zip(*(one_trial(session, 0.6) for _ in range(REPETITIONS)), strict=True))
    session.leave()
    before = _of_children()
    for _ in range(REPETITIONS):
        subprocess.run([FINESWEEP, "status"], check=True, capture_output=True)
    status = (_of_children() - before) / REPETITIONS
    return (*(statistics.median(seconds) for seconds in calls), status)


def one_trial(session: Session, accuracy: float) -> tuple[float, float, float]:
    """Make a trial as a worker does; return the seconds of its calls."""
    metrics = {"accuracy": accuracy, "macro_f1": accuracy, "mcc": 0.0}
    metrics |= {"log_loss": 1 - accuracy, "brier": 1 - accuracy}
    point = Point(1, 10, 300, 0.5, 0.5, 1 - accuracy, metrics, 3.0)
    outcome = Outcome(Ending.finished, "to its end", point, (point,), 1.0, 66, 99, "cpu", 1, "fits")
    attempt, claim = timed(session.next_attempt)
    assert attempt is not None
    session.began(attempt, 1200, 960)
    _, validation = timed(lambda: session.progress(attempt, point))
    _, end = timed(lambda: session.ended(attempt, outcome))
    return claim, validation, end


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    found = call()
    return found, time.process_time() - began


def copy_trials(study: Study, size: int) -> None:
    """Copy the study's last trial until there are `size`, each with other values."""
    model, chance = study.trials[-1], random.Random(0)
    (name,) = model.params
    study.tables.engine.dispose()
    database = sqlite3.connect(file_of(storage_of(study.folder)), timeout=60)
    columns, rows, last = {}, {}, {}
    for table in ("trials", *CHILDREN):
        columns[table] = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        found = database.execute(f"SELECT * FROM {table} WHERE trial_id = ?", [model._trial_id])
        rows[table] = [dict(zip(columns[table], row, strict=True)) for row in found]
        ((last[table],),) = database.execute(f"SELECT max({columns[table][0]}) FROM {table}")
    for number in range(NUM_REAL, size):
        lr, score = 10 ** chance.uniform(-4, -2), chance.uniform(0.5, 0.8)
        trial_id = last["trials"] + 1
        values = {
            FOLDER: relative_folder(number, 1),
            FIXED: {name: lr},
            KEY: canonical_key(study.plan.space.by_path({name: lr})),
        }
        changes = {"trials": {"number": number}, "trial_params": {"param_value": lr}}
        changes["trial_values"] = {"value": score}
        for table, of_model in rows.items():
            for row in of_model:
                last[table] += 1
                new = {**row, **changes.get(table, {}), "trial_id": trial_id}
                new[columns[table][0]] = last[table]
                if row.get("key") in values:
                    new["value_json"] = json.dumps(values[row["key"]])
                marks = ",".join("?" * len(new))
                database.execute(f"INSERT INTO {table} VALUES ({marks})", list(new.values()))
        folder = study.folder / relative_folder(number, 1)
        folder.mkdir(parents=True)
        for file in ("config.yaml", "attempt.json", "outcome.json"):
            (folder / file).touch()
    database.commit()
    database.close()


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
