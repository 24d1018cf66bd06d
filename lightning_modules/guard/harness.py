"""Tasks of EleutherAI's lm-evaluation-harness as guards: `lm_eval:TASK`.

It needs the package lm_eval, which finesweep does not install, and the task's data on this machine:
nothing is downloaded. Requests are answered by the network as it is, in the precision of the run.

Gao et al. 2024, The Language Model Evaluation Harness, doi:10.5281/zenodo.12608602.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import yaml

from lightning_modules.error import ConfigError, Problem, Verbatim, reason_of
from lightning_modules.guard.language import writes_text
from lightning_modules.machine.path import typed_path
from lightning_modules.schema import member_of
from lightning_modules.text.causal import Marks

if TYPE_CHECKING:
    from lightning_modules.guard.base import Guard, Subject
    from lightning_modules.run import Run

HARNESS = "lm_eval"
PREFIX = f"{HARNESS}:"
TASK_FILE = ".yaml"
"""Ending of a task of the user's own, which can name functions that the harness calls."""
BATCH_SIZE = 16
FEWSHOT_SEED = 1234  # the harness's own default


@dataclass(frozen=True)
class Harness:
    """A task of lm_eval.

    Attributes:
        task: Its name, or the path of its YAML file.

    """

    task: str

    def load(self, run: Run, labels: Sequence[str], guard: Guard) -> LoadedHarness:
        if not writes_text(run.task):
            rule = f"{PREFIX}{self.task} needs a decoder that writes text, as with task=generation"
            raise ConfigError(Problem("data", rule, Verbatim(f"task={member_of(run.task)}")))
        if find_spec("lm_eval") is None:
            rule = f"{PREFIX}{self.task} needs the package lm_eval"
            fix = "Install it: pip install lm_eval."
            raise ConfigError(Problem("data", rule, Verbatim("none"), fix))
        with _offline():
            manager, name = _manager(self.task)
            if name not in manager.all_tasks:
                fix = (
                    "lm_eval ls tasks lists them; a task of your own is a path that ends in .yaml."
                )
                raise ConfigError(Problem("data", "must be a task of lm_eval", name, fix))
            try:
                tasks = manager.load([name])["tasks"]
            except Exception as error:  # its loader raises all kinds without a network
                rule = f"the data of task {name} must be on this machine"
                fix = (
                    f"Download them once: HF_HUB_OFFLINE=0 lm_eval run --tasks {name} --limit 1 ..."
                )
                raise ConfigError(Problem("data", rule, reason_of(error), fix)) from None
        num_rows = sum(len(task.eval_docs) for task in tasks.values())
        return LoadedHarness(self.task, guard.metric, guard.max_rows, num_rows)


@dataclass(frozen=True)
class LoadedHarness:
    """A task of lm_eval whose data are here.

    Attributes:
        task: Its name, or the path of its YAML file.
        metric: One of its metrics, e.g. `acc`.
        max_rows: Rows to score at most; None scores all.
        num_rows: Its rows.

    """

    task: str
    metric: str
    max_rows: int | None
    num_rows: int

    @property
    def size(self) -> str:
        return f"{self.num_scored:,} rows of {self.task}"

    @property
    def num_scored(self) -> int:
        return self.num_rows if self.max_rows is None else min(self.num_rows, self.max_rows)

    @property
    def fingerprint(self) -> str:
        return f"{self.num_rows} rows"  # lm_eval's own cache has them

    def score(self, subject: Subject) -> float:
        evaluator: Any = import_module("lm_eval.evaluator")
        with _offline():
            manager, name = _manager(self.task)
            results = evaluator.simple_evaluate(
                model=_adapter(subject),
                tasks=[name],
                task_manager=manager,
                limit=self.max_rows,
                bootstrap_iters=0,
                log_samples=False,
                # The process's own random numbers stay as they are.
                random_seed=None,
                numpy_random_seed=None,
                torch_random_seed=None,
                fewshot_random_seed=FEWSHOT_SEED,
            )
        return value_of(results["results"][name], self.metric)


def value_of(scores: Mapping[str, Any], metric: str) -> float:
    """Return a metric from a task's results, whose names also have a filter, e.g. `acc,none`.

    Raises:
        ConfigError: The task has no such metric.

    """
    found = {name.partition(",")[0]: value for name, value in reversed(list(scores.items()))}
    found |= dict(scores)
    if not isinstance(found.get(metric), int | float):
        known = sorted(
            {
                name.partition(",")[0]
                for name, value in scores.items()
                if isinstance(value, int | float) and "," in name and "stderr" not in name
            }
        )
        raise ConfigError(Problem("metric", f"must be one of {', '.join(known)}", metric))
    return float(found[metric])


def _manager(task: str) -> tuple[Any, str]:
    """Return lm_eval's tasks, and the name of this one."""
    if not task.endswith(TASK_FILE):
        return _own_tasks(), task
    path = typed_path(task)
    if not path.is_file():
        raise ConfigError(Problem("data", "must be a file", str(path)))
    name = yaml.safe_load(path.read_text(encoding="utf-8")).get("task")
    manager: Any = import_module("lm_eval.tasks").TaskManager
    return manager(include_path=str(path.parent), include_defaults=False), str(name)


@cache
def _own_tasks() -> Any:
    """Return lm_eval's own tasks, once per process: it looks for 14,683, in 7 s of a core."""
    return import_module("lm_eval.tasks").TaskManager()


def _adapter(subject: Subject) -> Any:
    """Return the harness's model around a network that is loaded."""
    base: Any = import_module("lm_eval.models.huggingface").HFLM

    class Watched(base):  # type: ignore[misc]
        """The harness's model, which gives signs of life."""

        def _model_call(self, *inputs: Any, **named: Any) -> Any:
            subject.heartbeat()
            return super()._model_call(*inputs, **named)

        def _model_generate(self, *inputs: Any, **named: Any) -> Any:
            subject.heartbeat()
            return super()._model_generate(*inputs, **named)

    longest = subject.run.model.max_length
    network: Any = subject.network.to(subject.hardware.place())
    return Watched(
        pretrained=network,
        backend="causal",
        tokenizer=subject.tokenizer,
        batch_size=BATCH_SIZE,
        max_length=None if longest is None else longest - subject.run.strategy.num_virtual_tokens,
        mixed_precision_dtype=subject.hardware.mixed_dtype,
        # What a text starts with, as in training; not every tokenizer has a token named for it.
        prefix_token_id=Marks(subject.tokenizer).begin,
    )


@contextmanager
def _offline() -> Iterator[None]:
    """Let the loaders of data use what is on this machine alone, while the context is open."""
    places = [
        (import_module("datasets.config"), "HF_HUB_OFFLINE"),
        (import_module("datasets.config"), "HF_DATASETS_OFFLINE"),
        (import_module("huggingface_hub.constants"), "HF_HUB_OFFLINE"),
    ]
    before = [getattr(module, name) for module, name in places]
    for module, name in places:
        setattr(module, name, True)
    try:
        yield
    finally:
        for (module, name), value in zip(places, before, strict=True):
            setattr(module, name, value)
