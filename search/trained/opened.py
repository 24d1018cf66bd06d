"""Studies and runs as objects: scores, tables, predictions, exports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.machine.path import typed_path
from lightning_modules.model.files.trust import is_code_trusted, trusting
from search.certificate.certificate import Certificate
from search.config import to_yaml
from search.machine.quiet import quiet_training
from search.report import results
from search.report.document.document import document_of
from search.study.follow import ask_to_stop
from search.study.gain import Gain
from search.study.heal import heal
from search.study.pick import drop_trial, queue_pick
from search.study.study import Study as OpenStudy
from search.trained.ask import Rows, checked_rows
from search.trained.export import Trained, check_new, export, finished_trial, winner
from search.trained.loop import Loop
from search.trained.model import Model
from search.trained.repeat import repeat_command
from search.trained.report import config_of, overview, write_report
from search.trained.score import evaluate_trained

if TYPE_CHECKING:
    import pandas as pd
    from optuna.trial import FrozenTrial

    from lightning_modules.export.predictor import Predictor


@dataclass(frozen=True)
class Best:
    """A study's winner.

    Attributes:
        number: The trial's number.
        params: Its settings, by config path.
        scores: Its best validation metrics by name.
        gain: How much better it is than the default configuration, with a 95 % interval; None if
            the default has not finished.
        command: The shell command that repeats it, to the same scores; None if a loop of yours
            trained it.
        config: Its whole configuration, nested by group.

    """

    number: int
    params: Mapping[str, Any]
    scores: Mapping[str, float]
    gain: Gain | None
    command: str | None
    config: Mapping[str, Any] = field(repr=False)

    @property
    def yaml(self) -> str:
        """The configuration as YAML."""
        return to_yaml(dict(self.config))


class _Trained:
    """Base of studies and runs: a trained network, loaded when first needed."""

    def __init__(self) -> None:
        self._is_trusted = is_code_trusted()  # later calls do not change what was typed for this

    @property
    def _source(self) -> Trained:
        raise NotImplementedError

    def predict(
        self, rows: Rows, *, text: str | None = None, text_pair: str | None = None
    ) -> list[dict[str, Any]]:
        """Return `{"prediction": ...}` for each row, with `scores` if there are classes.

        Args:
            rows: Texts, pairs of texts as tuples, mappings with the columns used in training, or
                a DataFrame with these columns.
            text: The text column, if not the one used in training.
            text_pair: The column of the second text, if not the one used in training.

        Raises:
            UserError: A column is missing, or a cell cannot be used.

        """
        from lightning_modules.export.model import columns_of
        from lightning_modules.export.predictor import form_of

        run = self._source.run
        form = run.task.prompt_of(form_of(self._source.folder))
        named = {"text": text, "text_pair": text_pair}
        checked = checked_rows(rows, columns_of(run), run.task, form, **named)
        return self._predictor.predict(checked)

    def evaluate(self, split: str = "validation") -> dict[str, float]:
        """Return the task's metrics on a split; look at `test` once, at the end."""
        with trusting(self._is_trusted):
            return evaluate_trained(self._source, split).scores()

    def export(self, to: str | Path, *, merge: bool = True) -> Model:
        """Write the model to a new folder, loadable by plain transformers or PEFT; return it.

        Args:
            to: The folder.
            merge: Whether adapters are merged into the weights; if not, they are written alone.

        """
        with trusting(self._is_trusted):
            return _exported(self._source, typed_path(to), merge=merge)

    @cached_property
    def _predictor(self) -> Predictor:
        quiet_training()
        with trusting(self._is_trusted):
            return self._source.load()


class Study(_Trained, Loop):
    """A study: its trials, and its winner as a model."""

    def __init__(self, study: OpenStudy) -> None:
        self._study = study
        self._loaded: tuple[Path, Predictor] | None = None
        self._frame: tuple[str, str] | None = None
        _Trained.__init__(self)
        Loop.__init__(self, study)

    @property
    def name(self) -> str:
        """The study's name."""
        return self._study.plan.name

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return self._study.folder

    @property
    def best(self) -> Best | None:
        """The winner; None while no trial has finished."""
        trial = self._study.best
        return None if trial is None else self._best(trial)

    @property
    def certificate(self) -> Certificate | None:
        """The verdict on the winner, over fresh seeds and on the test rows; None without one."""
        return self._study.certificate

    def export(self, to: str | Path, *, merge: bool = True, trial: int | None = None) -> Model:
        """Write a trial's model to a new folder, loadable by plain transformers or PEFT; return it.

        Args:
            to: The folder.
            merge: Whether adapters are merged into the weights; if not, they are written alone.
            trial: The number of a finished trial whose weights were kept; None is the winner.

        Raises:
            UserError: It is not finished, or has no weights; names the trials that have.

        """
        source = self._source if trial is None else finished_trial(self._study, trial)
        with trusting(self._is_trusted):
            return _exported(source, typed_path(to), merge=merge)

    def leaderboard(self) -> pd.DataFrame:
        """Return the rows of `trials.csv`, one per trial in the order of their numbers.

        `value` is what the study optimizes: `.sort_values("value", ascending=False)` for a score.
        """
        import pandas as pd

        frame = pd.DataFrame(results.rows(self._study))
        return frame.where(frame.notna(), float("nan"))  # as in a file, where nothing is None

    def status(self) -> dict[str, Any]:
        """Return what `finesweep status --json` prints; requeues trials of dead workers."""
        heal(self._study)
        return results.status(self._study)

    def enqueue(self, params: Mapping[str, Any]) -> int:
        """Queue a configuration of yours, like `finesweep try`; return its trial's number.

        Args:
            params: Values by config path; the others are the default's.

        Raises:
            UserError: The study does not search a path, or has tried the configuration.

        """
        return queue_pick(self._study, params).number

    def drop(self, trial: int, *, undo: bool = False) -> None:
        """Take a trial out of consideration, like `finesweep drop`; with `undo` back into it.

        Raises:
            UserError: There is no such trial, or it left the queue untrained and cannot come back.

        """
        drop_trial(self._study, trial, undo=undo)

    def stop(self) -> None:
        """Let the study start no more trials; running trials finish."""
        ask_to_stop(self._study)

    def write_report(self) -> Path:
        """Write the study's report, like `finesweep report`; return the path of its page."""
        return write_report(self._study)[0]

    def __repr__(self) -> str:
        state = results.status(self._study)
        counts = ", ".join(f"{n} {name}" for name, n in state["states"].items() if n) or "no trial"
        best = state["best"]
        score = "" if best is None else f"; best {state['metric']} {best['value']:.4g}"
        return f"<finesweep study {self.name!r}: {counts} of {state['num_trials']}{score}>"

    def _repr_html_(self) -> str:
        digest = self._study.digest  # a cell that is run again shows the same at once
        if self._frame is None or self._frame[0] != digest:
            self._frame = digest, document_of(overview(self._study)).frame()
        return self._frame[1]

    @property
    def _source(self) -> Trained:
        return winner(self._study)

    @property
    def _predictor(self) -> Predictor:
        source = self._source  # another one once there is a better trial, or a certificate
        if self._loaded is None or self._loaded[0] != source.folder:
            quiet_training()
            with trusting(self._is_trusted):
                self._loaded = source.folder, source.load()
        return self._loaded[1]

    def _best(self, trial: FrozenTrial) -> Best:
        study = self._study
        params = study.params_of(trial)
        tree = config_of(study, trial)
        row = results.rows(study)[trial.number]
        prefix = "validation/"
        scores = {n.removeprefix(prefix): v for n, v in row.items() if n.startswith(prefix)}
        scores = {name: value for name, value in scores.items() if value is not None}
        comparison = results.compare_with_default(study)
        gain = None if comparison is None else comparison.gain
        command = None if study.plan.is_asked else repeat_command(study, trial)
        return Best(trial.number, params, scores, gain, command, tree)


class Run(_Trained):
    """A finished run outside any study."""

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self._trained = trained

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def folder(self) -> Path:
        """The folder of its files."""
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


def _exported(source: Trained, to: Path, *, merge: bool) -> Model:
    check_new(to)
    quiet_training()
    export(source, to, merge=merge)
    return Model(to)
