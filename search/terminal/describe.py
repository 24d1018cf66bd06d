"""Describe what a study will do, in a few lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from lightning_modules.check import CheckedRows
from lightning_modules.task.own_metric import is_own
from search.config.length import TOKENS
from search.estimate.study_need import is_on_gpu
from search.machine.gpu import gpus
from search.plan.download import downloads_of
from search.plan.length import length_lines, short_notes
from search.plan.plan import Plan
from search.plan.tokens import special_lines, token_lines
from search.pruner.base import ComparingPruner
from search.pruner.progress import LOSS
from search.report.text import columns, score, setting
from search.space.space import Options
from search.study.knowledge import Prior
from search.study.warm import Warm
from search.terminal.arms import arms_line
from search.terminal.certify import plan_lines as certify_lines
from search.terminal.confirm import plan_lines
from search.terminal.curve import size_notes
from search.terminal.guard import plan_lines as guard_lines
from search.terminal.weights import weights_lines

if TYPE_CHECKING:
    from lightning_modules.task.base import Baseline

MAX_EARLIER = 160  # characters of what earlier commands had named


def describe(
    plan: Plan,
    rows: CheckedRows | None,
    fixed: Sequence[str] = (),
    prior: Prior | None = None,
    confirm_runs: int | None = None,
    certify_runs: int | None = None,
) -> list[str]:
    """Return a study's plan in a few lines: model, data, goal and search.

    Args:
        plan: The plan.
        rows: Its rows; None if a loop of the caller's own trains its trials, with its own model.
        fixed: Overrides that removed their paths from the default space.
        prior: What it takes over from another study.
        confirm_runs: The most runs that confirming the first few still takes, if some were made.
        certify_runs: The runs that certifying the winner still takes, if some were made.

    """
    settings = plan.search.settings
    hours = f", at most {settings.max_hours:g} h of training" if settings.max_hours else ""
    goals = [f"{objective.direction} {objective.name}" for objective in plan.objectives]
    pruner = _pruner(plan) if len(goals) == 1 else "none, because there are several goals"
    downloads = [] if rows is None else downloads_of(plan)
    lengths, short = ([], []) if rows is None else _lengths(plan, len(rows.corpus.splits["train"]))
    lines = [
        ["study", f"{plan.name}: {plan.num_trials} trial{'s' * (plan.num_trials != 1)}{hours}"],
        *([] if rows is None else [["model", _model(plan)]]),
        *(["head", text] for text in ([] if rows is None else _heads(plan, rows.labels))),
        *(["hub", each.text] for each in downloads),
        *([] if rows is None else [["held", text] for text in weights_lines(plan)]),
        *(["prior", text] for text in _priors(plan)),
        *([] if rows is None else [["data", _data(plan, rows)]]),
        *([] if rows is None else (list(line) for line in _tokens(plan, rows))),
        *(["length", text] for text in lengths),
        ["goal", ", ".join(goals)],
        ["search", f"{_member(plan.search.sampler)}, pruner {pruner}"],
    ]
    if rows is not None:
        num_validation = len(rows.corpus.splits["validation"])
        lines += [["guard", text] for text in guard_lines(plan, rows.labels, num_validation)]
    lines += [["confirm", text] for text in plan_lines(plan, confirm_runs)]
    lines += [["certify", text] for text in certify_lines(plan, certify_runs)]
    arms = arms_line(plan)
    lines += [["arms", arms]] if arms is not None else []
    lines += [["space", text] for text in _space(plan)]
    lines += [["fixed", f"{word}, removed from the search space"] for word in fixed]
    lines += [["kept", text] for text in _kept(plan)]
    lines += [["changed", word] for word in plan.composition.changed]
    lines += [["warm", Warm(**prior).note]] if prior is not None else []
    of_rows = () if rows is None else (*_baseline_notes(plan, rows), *rows.corpus.notes)
    sizes = () if rows is None else size_notes(plan, len(rows.corpus.splits["train"]))
    hub = [each.note for each in downloads if each.note]
    logs = [] if rows is None else plan.default.logger.study_notes()
    models = [] if rows is None else _model_notes(plan)
    notes = (*hub, *models, *logs, *_prior_notes(plan), *of_rows, *_notes(plan), *sizes, *short)
    lines += [["note", note] for note in notes]
    return columns(lines)


def baseline(plan: Plan, rows: CheckedRows) -> Baseline | None:
    """Return the score of guessing on the validation rows; None if nobody knows it."""
    if is_own(plan.default.task.metric):
        return None
    return plan.default.task.baseline(rows.corpus.splits["validation"])


def _either(options: Sequence[str]) -> str:
    return f"{', '.join(options[:-1])} or {options[-1]}" if len(options) > 1 else options[0]


def _model(plan: Plan) -> str:
    groups, flat = plan.space.groups, plan.default.flat()
    model, strategy = (
        _either(groups[name]) if name in groups else flat[name] for name in ("model", "strategy")
    )
    return f"{model}, strategy {strategy}"


def _heads(plan: Plan, labels: Sequence[str]) -> list[str]:
    """Return what becomes of the heads that the models have, each once."""
    runs = plan.defaults.values()
    found = (run.strategy.head_note(run.model, run.task, labels) for run in runs)
    return [text for text in dict.fromkeys(found) if text]


def _model_notes(plan: Plan) -> list[str]:
    """Return what to know about the models, each once."""
    notes = (
        [*run.model.notes(), *run.task.model_notes(run.model)] for run in plan.defaults.values()
    )
    return list(dict.fromkeys(text for of in notes for text in of))


def _data(plan: Plan, rows: CheckedRows) -> str:
    sizes = " / ".join(str(len(split)) for split in rows.corpus.splits.values())
    names = " / ".join(rows.corpus.splits)
    labels = f", {len(rows.labels)} labels" if rows.labels else ""
    return f"{plan.default.flat()['data']}: {sizes} rows ({names}){labels}"


def _space(plan: Plan) -> Iterator[str]:
    """Yield each parameter with its range, and its default if the study has one."""
    defaults = dict(zip(plan.space.arms, plan.first, strict=False))
    for name, parameter in plan.space.parameters.items():
        text = f"{name}  {parameter.text}"
        if not plan.is_free:
            default = {name: _default(plan, name, defaults)}
            text += f"  (default {setting(default, name)})"
        yield text


def _default(plan: Plan, name: str, defaults: Mapping[Options, Mapping[str, Any]]) -> Any:
    """Return the parameter's default in the first arm that has it."""
    if name in plan.space.groups:
        return plan.default_values[name]
    arms = plan.space.arms.items()
    options, path = next((m, p) for m, arm in arms for p, q in arm.items() if q.name == name)
    return defaults[options][path]


def _priors(plan: Plan) -> list[str]:
    """Return what each arm took from the table of priors, each once."""
    priors = [arm.prior for arm in plan.composition.arms if arm.prior is not None]
    return list(dict.fromkeys(prior.text for prior in priors if prior.text))


def _lengths(plan: Plan, num_rows: int) -> tuple[list[str], list[str]]:
    """Return how long the runs are, arm by arm if they differ, and notes on those too short."""
    arms = zip(plan.composition.arms, plan.defaults.items(), strict=True)
    lines: dict[str, str] = {}
    notes: list[str] = []
    for arm, (options, run) in arms:
        lines |= {" ".join(options): line for line in length_lines(arm, run, num_rows)}
        notes += short_notes(arm, run, num_rows)
    if len(set(lines.values())) > 1:
        lines = {name: f"{name}: {line}" for name, line in lines.items()}
    return list(dict.fromkeys(lines.values())), list(dict.fromkeys(notes))


def _tokens(plan: Plan, rows: CheckedRows) -> list[tuple[str, str]]:
    """Return what the limits of lengths cut, arm by arm if they differ."""
    arms = zip(plan.composition.arms, plan.defaults.items(), strict=True)
    lines = {
        " ".join(options): list(
            token_lines(run, rows.corpus, rows.labels, is_auto=TOKENS in (*arm.open, *arm.decided))
        )
        + [("note", line) for line in special_lines(run, rows.corpus)]
        for arm, (options, run) in arms
    }
    if len({tuple(of) for of in lines.values()}) > 1:
        lines = {
            name: [(word, f"{name}: {text}") for word, text in of] for name, of in lines.items()
        }
    return list(dict.fromkeys(line for of in lines.values() for line in of))


def _kept(plan: Plan) -> Iterator[str]:
    """Yield what a continued study has from earlier commands, and by defaults of that time."""
    earlier, kept = plan.composition.earlier, plan.composition.kept
    if earlier:
        yield f"{shorten(' '.join(earlier), MAX_EARLIER, placeholder=' ...')} (earlier commands)"
    if kept:
        yield "; ".join(kept)


def _prior_notes(plan: Plan) -> list[str]:
    priors = [arm.prior for arm in plan.composition.arms if arm.prior is not None]
    return list(dict.fromkeys(prior.note for prior in priors if prior.text and prior.note))


def _baseline_notes(plan: Plan, rows: CheckedRows) -> Iterator[str]:
    guessing = baseline(plan, rows)
    if guessing is not None:
        yield f"{guessing.guess} would have {plan.default.task.metric} {score(guessing.score)}"


def _notes(plan: Plan) -> Iterator[str]:
    note = plan.search.sampler.note(plan.space)
    if note is not None:
        yield note
    pruner = plan.search.pruner
    if plan.losses_differ and isinstance(pruner, ComparingPruner) and LOSS in pruner.compare:
        yield "the pruner compares no validation loss, because the space changes how it is computed"
    budget = plan.search.settings.num_trials
    if plan.limit is not None and plan.limit < budget:
        yield f"there are {plan.limit} combinations, fewer than search.num_trials={budget}"
    elif plan.search.sampler.is_finite and len(plan.first) > budget:
        yield f"search.num_trials={budget} is fewer than the {len(plan.first)} combinations"
    per_device = plan.search.settings.workers_per_device
    if per_device is None or plan.is_asked:  # a loop of the caller's own has its own device
        return
    if not is_on_gpu(plan.default, bool(gpus())):
        yield f"search.workers_per_device={per_device} has no use here: no trial trains on a GPU"


def _pruner(plan: Plan) -> str:
    pruner = plan.search.pruner
    if not isinstance(pruner, ComparingPruner) or plan.is_asked:
        return _member(pruner)  # the length of a run is not known to a loop of the caller's own
    return f"{_member(pruner)} from {pruner.min_fraction:.0%} of a run on"


def _member(schema: object) -> str:
    return type(schema).__module__.rsplit(".", 1)[-1]
