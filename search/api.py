"""The functions that notebooks and programs use, and that the commands stand on.

Each mirrors a command and takes the same overrides, in Hydra's grammar. Mistakes are raised as
`UserError` with the line that the command would print.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, UserError, Verbatim
from lightning_modules.outcome import Ending
from search.config import Composition, compose, literal, run_tree, to_yaml
from search.estimate.preview import preview
from search.machine.signals import Interrupt
from search.plan.plan import build_plan
from search.report import results
from search.report.dashboard.page import show_study
from search.report.wandb import publish
from search.storage.location import study_folder
from search.study.open import load_study, study_folders
from search.study.prepare import check_study, prepare_study
from search.study.study import Study as OpenStudy
from search.terminal.describe import baseline, describe
from search.terminal.live import RunProgress
from search.terminal.progress import quiet, shown
from search.terminal.summary import summary
from search.terminal.training import RunHooks
from search.trained.ask import rows_to_predict, table_of
from search.trained.export import Trained, check_new, export, winner
from search.trained.exported import exported_base, exported_task
from search.trained.find import find_study
from search.trained.repeat import repeat_command
from search.trained.runs import find_run
from search.trained.score import score_exported, score_trained
from search.trained.training import Job, has_result, job_again, job_of, start
from search.trained.training import train as train_job

if TYPE_CHECKING:
    import pandas as pd
    from optuna.trial import FrozenTrial

    from lightning_modules.export.predictor import Predictor

__all__ = ["Best", "Model", "Run", "Study", "UserError", "open", "plan", "status", "sweep", "train"]

INTERRUPTED = (130, 143)
"""Exit codes of a study that was stopped by Ctrl-C, or by another signal."""


def sweep(
    study: str,
    *overrides: str,
    num_trials: int | None = None,
    max_hours: float | None = None,
    workers: int | None = None,
    config_dir: str | Path | None = None,
    show: bool = True,
) -> Study:
    """Run a study up to its total budget, or continue it, like `finesweep sweep`.

    Args:
        study: The study's name; its files go to `studies/NAME`.
        overrides: e.g. `"data=files"`, `"data.train=my.csv"`, `"optimizer.lr=interval(1e-5,1e-3)"`.
        num_trials: Total budget, `search.num_trials`.
        max_hours: Total training hours, `search.max_hours`.
        workers: Processes that train, `search.workers`; 0 trains in this one.
        config_dir: A folder of further group members.
        show: Whether to print what the command prints, with a live table if that can be drawn.

    Raises:
        UserError: The configuration or the data cannot be used; nothing was trained.
        KeyboardInterrupt: Ctrl-C; the running trials saved a checkpoint, and the same call
            continues the study.
        RuntimeError: The workers failed; the message says where their logs are.

    """
    settings = {"num_trials": num_trials, "max_hours": max_hours, "workers": workers}
    words = [f"study={literal(study)}", *overrides]
    words += [f"search.{key}={value}" for key, value in settings.items() if value is not None]
    composition = compose("sweep", words, _path(config_dir))
    found, code = run_study(composition, words, show=show)
    if code in INTERRUPTED:
        raise KeyboardInterrupt(f"study {study} was interrupted; the same call continues it")
    if code:
        raise RuntimeError(f"the workers of study {study} failed; see {found.folder}/logs/")
    return Study(found)


def run_study(
    composition: Composition, words: Sequence[str], *, show: bool = True
) -> tuple[OpenStudy, int]:
    """Run or continue the study that a configuration describes; return it with an exit code.

    Args:
        composition: The configuration.
        words: The words that it was composed of, which the summary repeats.
        show: Whether to print.

    """
    say = print if show else _nothing
    planned = build_plan(composition)
    folder = study_folder(Path(), planned.name)
    rows = check_study(planned, folder)
    study = prepare_study(planned, folder, rows)
    task = describe(planned, rows, composition.fixed)
    say("\n".join(task))
    show_study(study.optuna, folder, task)
    if study.num_ended:
        say(f"continuing: {study.num_ended} of {planned.num_trials} trials have ended")
    sys.stdout.flush()
    code = _work(study, show)
    try:
        results.write_table(study)
    except OSError as error:
        print(f"{folder}/{results.TABLE_FILE} could not be written: {error}", file=sys.stderr)
    splits = rows.corpus.splits
    num_rows = len(splits["train"]), len(splits["validation"])
    say("\n".join(summary(study, words, baseline(planned, rows), num_rows)), flush=True)
    publish(study)
    return study, code


def train(
    run: str | None,
    *overrides: str,
    config_dir: str | Path | None = None,
    show: bool = True,
) -> Run:
    """Train one configuration, or continue an interrupted run, like `finesweep train`.

    Args:
        run: The run's name; its files go to `runs/NAME`. None takes the next free number.
        overrides: e.g. `"strategy=full"`, `"trainer.epochs=3"`.
        config_dir: A folder of further group members.
        show: Whether to print validations as they come.

    Raises:
        UserError: The configuration or the data cannot be used.
        KeyboardInterrupt: Ctrl-C; the same call continues the run.
        RuntimeError: It diverged, or did not fit into memory.

    """
    words = list(overrides) if run is None else [f"run={literal(run)}", *overrides]
    return _trained(job_of(compose("train", words, _path(config_dir))), show)


def open(
    *, study: str | None = None, run: str | None = None, model: str | Path | None = None
) -> Study | Run | Model:
    """Open a study or a run by its name, or an exported model by its folder.

    Raises:
        UserError: It is not there; the message names those that are.

    """
    given = {"study": study, "run": run, "model": model}
    if sum(value is not None for value in given.values()) != 1:
        got = Verbatim(", ".join(name for name, value in given.items() if value) or "none")
        fix = 'Write finesweep.open(study="mine").'
        raise ConfigError(Problem("open", "must be given one of study, run and model", got, fix))
    if study is not None:
        return Study(find_study(study))
    if run is not None:
        return Run(find_run(run))
    assert model is not None
    return Model(Path(model))


def plan(study: str, *overrides: str, config_dir: str | Path | None = None) -> dict[str, Any]:
    """Return what `finesweep plan --json` prints: space, first trials, time; nothing is written."""
    words = [f"study={literal(study)}", *overrides]
    ahead = preview(compose("sweep", words, _path(config_dir)))
    return ahead.as_dict(ahead.estimate(ahead.past.measured))


def status() -> pd.DataFrame:
    """Return a row per study in this folder, or on the server that FINESWEEP_STORAGE names."""
    import pandas as pd

    studies = [load_study(folder) for folder in study_folders(Path())]
    return pd.DataFrame([vars(results.summarize(study)) for study in studies])


@dataclass(frozen=True)
class Best:
    """A study's winner.

    Attributes:
        number: The trial's number.
        params: What it varied, by config path.
        scores: Its best validation metrics by name.
        command: The shell command that trains it again, to the same scores.
        config: Its whole configuration, nested by group.

    """

    number: int
    params: Mapping[str, Any]
    scores: Mapping[str, float]
    command: str
    config: Mapping[str, Any]

    @property
    def yaml(self) -> str:
        """The configuration as YAML."""
        return to_yaml(dict(self.config))


class _Trained:
    """What studies and runs share: a trained network, loaded when it is first needed."""

    @property
    def _source(self) -> Trained:
        raise NotImplementedError

    def predict(self, rows: Iterable[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return `{"prediction": ...}` for each row, with `scores` if there are classes.

        Args:
            rows: Texts, or mappings with the columns that it was trained on. A DataFrame goes in
                as `frame.to_dict("records")`.

        """
        from lightning_modules.export.model import columns_of

        source, predictor = self._source, self._predictor
        columns = columns_of(source.run)
        table = table_of(rows, columns["text"] or "text")
        return predictor.predict(rows_to_predict(table, columns, source.run.task))

    def evaluate(self, split: str = "validation") -> dict[str, float]:
        """Return the task's metrics on a split; look at `test` once, at the end."""
        return score_trained(self._source, split)

    def export(self, to: str | Path) -> Model:
        """Write the model to a new folder that plain transformers or PEFT loads; return it."""
        from search.machine.quiet import quiet_training

        check_new(Path(to))
        quiet_training()
        export(self._source, Path(to))
        return Model(Path(to))

    @cached_property
    def _predictor(self) -> Predictor:
        from search.machine.quiet import quiet_training

        quiet_training()
        return self._source.load()


class Study(_Trained):
    """A study: its trials, and its winner as a model."""

    def __init__(self, study: OpenStudy) -> None:
        self._study = study
        self._loaded: tuple[int, Predictor] | None = None

    @property
    def name(self) -> str:
        """The study's name."""
        return self._study.plan.name

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self._study.folder

    @property
    def best(self) -> Best | None:
        """The winner; None while no trial has finished."""
        trial = self._study.best
        return None if trial is None else self._best(trial)

    def leaderboard(self) -> pd.DataFrame:
        """Return the rows of `trials.csv`, one per trial, the best first and unfinished last."""
        import pandas as pd

        frame = pd.DataFrame(results.rows(self._study))
        if frame.empty:
            return frame
        ascending = self._study.plan.objectives[0].sign < 0
        return frame.sort_values(
            "value", ascending=ascending, na_position="last", kind="stable", ignore_index=True
        )

    def status(self) -> dict[str, Any]:
        """Return what `finesweep status --json` prints; requeues trials of dead workers."""
        self._study.heal()
        return results.status(self._study)

    def stop(self) -> None:
        """Let the study start no further trial; those that run finish."""
        self._study.ask_to_stop(True)

    def train(self, trial: int, run: str | None = None, *, show: bool = True) -> Run:
        """Train a trial again, to the same scores, like `finesweep train study= trial=`."""
        return _trained(job_again(self.name, str(trial), run), show)

    def __repr__(self) -> str:
        state = results.status(self._study)
        counts = ", ".join(f"{n} {name}" for name, n in state["states"].items() if n) or "no trial"
        best = state["best"]
        score = "" if best is None else f"; best {state['metric']} {best['value']:.4g}"
        return f"<finesweep study {self.name!r}: {counts} of {state['num_trials']}{score}>"

    def _repr_html_(self) -> str:
        html: str = self.leaderboard().to_html(index=False, max_rows=20, na_rep="")
        return html

    @property
    def _source(self) -> Trained:
        return winner(self._study)

    @property
    def _predictor(self) -> Predictor:
        trial = self._study.best
        if self._loaded is None or trial is None or self._loaded[0] != trial.number:
            from search.machine.quiet import quiet_training

            quiet_training()
            source = self._source
            assert trial is not None
            self._loaded = trial.number, source.load()
        return self._loaded[1]

    def _best(self, trial: FrozenTrial) -> Best:
        study = self._study
        params = study.values_of(trial)
        tree = run_tree(study.plan.arm(params).tree, study.plan.settings_of(params))
        row = results.rows(study)[trial.number]
        prefix = "validation/"
        scores = {n.removeprefix(prefix): v for n, v in row.items() if n.startswith(prefix)}
        return Best(trial.number, params, scores, repeat_command(study, trial), tree)


class Run(_Trained):
    """A finished run of its own."""

    def __init__(self, trained: Trained) -> None:
        self._trained = trained

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self._trained.folder

    @property
    def scores(self) -> Mapping[str, float]:
        """Its best validation metrics by name."""
        return self._trained.scores

    @property
    def verdict(self) -> str:
        """Whether it over- or underfits, in words."""
        return self._trained.outcome().verdict

    def curve(self) -> pd.DataFrame:
        """Return a row per validation: step, epoch, losses and metrics."""
        import pandas as pd

        points = [vars(point) for point in self._trained.outcome().points]
        return pd.DataFrame([{**p, **p.pop("metrics")} for p in map(dict, points)])

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in self.scores.items())
        return f"<finesweep run {self.name!r}: {scores}>"

    @property
    def _source(self) -> Trained:
        return self._trained


class Model:
    """An exported model."""

    def __init__(self, folder: Path) -> None:
        from lightning_modules.export.model import read_manifest

        self.folder = folder
        self._manifest = read_manifest(folder)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of their class numbers; empty if there are no classes."""
        return tuple(self._manifest["labels"])

    def predict(self, rows: Iterable[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return `{"prediction": ...}` for each row, with `scores` if there are classes."""
        columns, predictor = self._manifest["columns"], self._predictor
        table = table_of(rows, columns["text"] or "text")
        return predictor.predict(rows_to_predict(table, columns, predictor.task))

    def evaluate(self, *overrides: str, split: str = "validation") -> dict[str, float]:
        """Return metrics on a split of other data, e.g. `"data=files"`, `"data.train=new.csv"`."""
        return score_exported(self.folder, split, overrides)

    def __repr__(self) -> str:
        return f"<finesweep model in {self.folder}>"

    @cached_property
    def _predictor(self) -> Predictor:
        from lightning_modules.export.model import load_exported
        from search.machine.quiet import quiet_training

        task, plugins = exported_task(self.folder)
        base = exported_base(self.folder, plugins)
        quiet_training()
        return load_exported(self.folder, task, base, plugins)


def _work(study: OpenStudy, show: bool) -> int:
    num_left = results.status(study)["remaining"]
    if num_left == 0:
        return 0
    with shown(study) if show else quiet(study) as on_event:
        if study.plan.search.settings.workers == 0:
            from search.worker.worker import work_here

            return work_here(study.folder, on_event)
        from search.engine.local import Supervisor

        num_workers = min(study.plan.search.settings.workers, num_left)
        return Supervisor(study, num_workers, on_event).run()


def _trained(job: Job, show: bool) -> Run:
    start(job)
    name = job.folder.name
    with Interrupt() as interrupt, RunProgress() if show else nullcontext() as progress:
        outcome = train_job(job, RunHooks(job.run, interrupt, progress))
    if outcome.ending is Ending.interrupted:
        raise KeyboardInterrupt(f"{outcome.reason}; the same call with run {name} continues it")
    if not has_result(outcome):
        raise RuntimeError(f"run {name} {outcome.ending.value}: {outcome.reason}")
    return Run(find_run(name))


def _path(config_dir: str | Path | None) -> Path | None:
    return None if config_dir is None else Path(config_dir)


def _nothing(*_: Any, **__: Any) -> None:
    pass
