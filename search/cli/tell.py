"""finesweep tell: the end of a trial that a loop of the caller's own trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_modules.error import ConfigError, Problem
from search.cli.argument import attempt_of, keys, needed, number_of, parse
from search.study.tell import result_of
from search.trained.find import find_study
from search.trained.loop import tell_and_write

ABOUT = """\
Tell how a trial ended that finesweep ask gave. A trial that finesweep report
advised to stop is pruned, even if a value is given.

  study=NAME      the study
  trial=N         the trial, as finesweep ask named it
  value=V         what the study optimizes; NaN and infinity are refused
  reason=TEXT     why there is no value, or a remark
  ending=ENDING   diverged, infeasible or pruned, if there is no value
                  (default: infeasible); failed or interrupted: try it again
  metrics.NAME=V  other results
  curve=JSON      the values on the way, e.g. [0.5,0.7] or {"100":0.5,"200":0.7}
  seconds=S       how long it trained (default: since it was asked for)

  finesweep tell study=mine trial=3 value=0.91 metrics.f1=0.88
  finesweep tell study=mine trial=4 reason='out of memory'
  finesweep tell study=mine trial=5 ending=failed reason='out of disk'
"""

KEYS = {
    "study": "its name",
    "trial": "the trial",
    "value": "what the study optimizes",
    "reason": "why there is no value",
    "ending": "how it ended",
    "curve": "the values on the way, as JSON",
    "seconds": "how long it trained",
}
METRICS = "metrics."


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("tell", ABOUT, words, flags=("json",))
    metrics = {
        word.partition("=")[0]: word.partition("=")[2]
        for word in parsed.overrides
        if word.startswith(METRICS)
    }
    others = [word for word in parsed.overrides if not word.startswith(METRICS)]
    found = keys(others, {**KEYS, "metrics.NAME": "another result"})
    study = find_study(needed(found, "study", "NAME"))
    number, attempt = attempt_of(needed(found, "trial", "N"))
    result = result_of(
        study.plan.objectives[0].short,
        value=_number(found, "value"),
        metrics={key.removeprefix(METRICS): number_of(key, text) for key, text in metrics.items()},
        curve=_curve(found["curve"]) if "curve" in found else None,
        reason=found.get("reason"),
        ending=found.get("ending"),
        seconds=_number(found, "seconds"),
    )
    told = tell_and_write(study, number, attempt, result)
    if parsed.json:
        values = {"trial": number, "ending": told.ending.value, "reason": told.reason}
        print(json.dumps({**values, "retried": told.is_retried}))
    else:
        again = "; it will be tried again" if told.is_retried else ""
        print(f"trial {number} {told.ending.value}: {told.reason}{again}")
    return 0


def _number(found: Mapping[str, str], key: str) -> float | None:
    return number_of(key, found[key]) if key in found else None


def _curve(text: str) -> Any:
    try:
        curve = json.loads(text)
    except ValueError:
        curve = None
    if isinstance(curve, dict):
        return {number_of("curve", step): value for step, value in curve.items()}
    if isinstance(curve, list):
        return curve
    fix = 'Write curve=[0.5,0.7] or curve={"100":0.5,"200":0.7}, in quotes for the shell.'
    raise ConfigError(Problem("curve", "must be a list or a mapping in JSON", text, fix))
