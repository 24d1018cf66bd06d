"""finesweep sweep: run a study, or go on with it."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lightning_modules.record import Ending
from search.cli.argument import parse
from search.cli.compose import composed
from search.cli.plan import describe
from search.cli.text import columns, duration, number, settings
from search.event import Began, Ended, Event, Note, Prepared, Progressed
from search.plan import build_plan
from search.prepare import check_study, prepare_study
from search.results import compare_with_default, status, write_table
from search.study import Study, study_folder

ABOUT = """\
Run a study up to its total budget, or go on with it: the same command continues.

Every setting can be given a value or a range, in Hydra's grammar (quote it in a shell):
  'optimizer.lr=tag(log,interval(1e-5,5e-3))'   'data.batch_size=choice(8,16,32)'
  'trainer.epochs=range(1,5)' (1 to 4)          'strategy.rank=interval(2,64)'
Without ranges, conf/search/space/default.yaml searches learning rate, batch size and epochs;
a plain value takes its path out of that space. search/space=none starts from nothing.

Most used:
  study=NAME                           files go to studies/NAME
  model=minilm|tiny|hub                hub: model.path=HUB_NAME_OR_FOLDER
  data=reviews|files                   files: data.train=FILE data.text=COLUMN data.label=COLUMN
  strategy=lora|full|feature_extraction
  search.num_trials=N                  the total; a higher one goes on
  search.workers=N                     processes; 0 trains in this one
  search.metric=accuracy|macro_f1|mcc|log_loss
  search.enqueue='[{optimizer.lr: 3e-4}]'

  finesweep sweep study=first
  finesweep sweep study=mine data=files data.train=my.csv search.num_trials=20
  finesweep sweep study=rank strategy=lora 'strategy.rank=choice(4,8,16)' search/space=none
"""

QUIET_SECONDS = 10.0


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("sweep", ABOUT, words, flags=("config",))
    composition = composed("sweep", parsed)
    if composition is None:
        return 0
    plan = build_plan(composition.tree)
    folder = study_folder(Path(), plan.name)
    material = check_study(plan, folder)
    study = prepare_study(plan, folder, material)
    for line in describe(plan, material, composition.fixed):
        print(line)
    if study.num_ended:
        print(f"goes on: {study.num_ended} of {plan.search.settings.num_trials} trials have ended")
    sys.stdout.flush()
    code = _work(study)
    write_table(study)
    print("\n".join(_summary(study, words)), flush=True)
    return code or int(study.best is None)


def _work(study: Study) -> int:
    printer = Printer(study)
    num_left = status(study)["remaining"]
    if num_left == 0:
        return 0
    if study.plan.search.settings.workers == 0:
        return _work_here(study, printer)
    from search.supervisor import Supervisor

    num_workers = min(study.plan.search.settings.workers, num_left)
    return Supervisor(study.folder, num_workers, printer).run()


def _work_here(study: Study, printer: Printer) -> int:
    from search.interrupt import Interrupt
    from search.lease import this_worker
    from search.loop import work
    from search.quiet import quiet_training

    quiet_training()
    interrupt = Interrupt()
    work(study, this_worker(), interrupt, printer)
    return interrupt.exit_code


class Printer:
    """Prints what workers tell, a line an event that matters; keeps `trials.csv` up to date."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._values: dict[int, str] = {}
        self._best: float | None = study.best.value if study.best is not None else None
        self._hardware = ""
        self._last_line = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Began):
            self._values[event.number] = settings(event.values)
        elif isinstance(event, Prepared) and event.hardware != self._hardware:
            self._hardware = event.hardware
            self._print(f"device  {event.hardware}")
        elif isinstance(event, Progressed):
            self._progressed(event)
        elif isinstance(event, Ended):
            self._ended(event)
        elif isinstance(event, Note):
            self._print(event.text)

    def _progressed(self, event: Progressed) -> None:
        # Short trials tell enough by ending.
        if time.monotonic() - self._last_line >= QUIET_SECONDS:
            metric = self._study.plan.default.task.metric
            self._print(
                f"trial {event.number:3d}  epoch {event.epoch:g}  {metric} {event.value:.4f}"
            )

    def _print(self, line: str) -> None:
        print(line, flush=True)
        self._last_line = time.monotonic()

    def _ended(self, event: Ended) -> None:
        task = self._study.plan.default.task
        if event.value is not None:
            best = self._best is None or task.better(event.value, self._best)
            self._best = event.value if best else self._best
            result = f"{task.metric} {event.value:.4f}{'  best' if best else ''}"
        else:
            result = f"{event.ending}: {event.reason}"
        took = duration(event.seconds)
        values = self._values.get(event.number, "")
        self._print(f"trial {event.number:3d}  {values}  {took}  {result}")
        if event.ending != Ending.interrupted.value:
            write_table(self._study)


def _summary(study: Study, words: Sequence[str]) -> list[str]:
    state = status(study)
    states = ", ".join(f"{count} {name}" for name, count in state["states"].items() if count)
    lines = [
        "",
        f"{states}; {duration(state['seconds'])} of training; table: {study.folder}/trials.csv",
    ]
    comparison = compare_with_default(study)
    if comparison is None:
        return [*lines, "No trial has finished.", *_remaining(study)]
    best = state["best"]
    metric = study.plan.default.task.metric
    table = [["", metric, *study.plan.space.distributions]]
    table.append(_row(f"best, trial {best['number']}", best["value"], best["params"]))
    if comparison.default is not None and comparison.default.number != best["number"]:
        default = comparison.default
        values = study.values_of(default)
        table.append(_row(f"default, trial {default.number}", default.value, values))
    lines += ["", *columns(table), ""]
    scores = ", ".join(f"{name} {number(value)}" for name, value in best["metrics"].items())
    lines.append(f"The best one's validation scores: {scores}.")
    lines.append(f"It {best['verdict']}.")
    lines.append(_gain(comparison.gain, comparison.default is not None, metric))
    name = study.plan.name
    lines += _remaining(study)
    return [
        *lines,
        "",
        "Next:",
        f"  finesweep evaluate study={name} split=test",
        f"  finesweep export study={name} to=best/",
        f"  {_longer(words, name, 2 * state['num_trials'])}",
    ]


def _remaining(study: Study) -> list[str]:
    remaining = status(study)["remaining"]
    if not remaining:
        return []
    if study.hours_used_up:
        hours = study.plan.search.settings.max_hours
        return ["", f"search.max_hours={hours:g} ended it with {remaining} trials left."]
    return ["", f"{remaining} trials remain: the same command goes on."]


def _row(name: str, value: float | None, values: dict[str, object]) -> list[str]:
    score = f"{value:.4f}" if value is not None else "-"
    return [name, score, *(number(value) for value in values.values())]


def _gain(gain: float | None, has_default: bool, metric: str) -> str:
    if not has_default or gain is None:
        return "The default has not finished, so there is nothing to compare with."
    if gain == 0:
        return "Nothing was better than the default configuration."
    return (
        f"That is {gain:.4f} better in {metric} than the default configuration, on validation rows."
    )


def _longer(words: Sequence[str], name: str, num_trials: int) -> str:
    """Return the same command with a higher budget."""
    kept = [word for word in words if not word.startswith(("study=", "search.num_trials="))]
    budget = f"search.num_trials={num_trials}"
    return shlex.join(["finesweep", "sweep", f"study={name}", *kept, budget])
