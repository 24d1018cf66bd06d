"""finesweep certify: say how sure it is that a trial is better than another one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence

from lightning_modules.error import ConfigError, Problem
from search.cli.argument import keys, needed, parse
from search.sweep.certify import certify_trials
from search.terminal.certify import certificate_lines
from search.trained.find import find_study

ABOUT = """\
Train trials of a study and the default over fresh seeds, score each run on the
test rows once, and say how much better each trial is, with a 95 % interval. A
sweep does so for its winner at its end. Runs that are there are not trained nor
scored again, so this adds trials or seeds later. The intervals are widened for
the number of comparisons, those of earlier commands included.

  study=NAME    the study
  trials=[3,7]  its trials; default: the winner
  seeds=5       runs of each; default: as many as search.certify_seeds says
  against=NAME  the winner of another study on the same test rows, in place of
                the default; e.g. of one that only prompts the model

  finesweep certify study=mine
  finesweep certify study=mine trials=[3,7] seeds=5
  finesweep certify study=mine against=other
"""

KNOWN = {
    "study": "its name",
    "trials": "numbers of trials",
    "seeds": "runs of each",
    "against": "another study",
}
_NUMBERS = re.compile(r"\[?\s*(\d+(?:\s*,\s*\d+)*)\s*\]?")


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("certify", ABOUT, words, flags=("json",))
    found = keys(parsed.overrides, KNOWN)
    study = find_study(needed(found, "study", "NAME"))
    other = find_study(found["against"]) if "against" in found else None
    try:
        certificates = certify_trials(
            study, _trials(found), _seeds(found), other, show=not parsed.json
        )
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    if parsed.json:
        print(json.dumps([each.as_dict() for each in certificates], indent=2))
    else:
        print("\n".join(line for each in certificates for line in certificate_lines(each)))
    return 0 if certificates else 1


def _trials(found: Mapping[str, str]) -> list[int]:
    text = found.get("trials")
    if text is None:
        return []
    match = _NUMBERS.fullmatch(text)
    if match is None:
        fix = "Write trials=[3,7]."
        raise ConfigError(Problem("trials", "must be a list of trial numbers", text, fix))
    return [int(number) for number in match[1].split(",")]


def _seeds(found: Mapping[str, str]) -> int | None:
    text = found.get("seeds")
    if text is not None and not text.isdecimal():
        raise ConfigError(Problem("seeds", "must be a whole number", text, "Write seeds=5."))
    return None if text is None else int(text)
