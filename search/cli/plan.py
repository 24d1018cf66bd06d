"""finesweep plan: show what a sweep would do."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_modules.error import ConfigError, Problem
from search.cli.argument import parse
from search.cli.compose import composed
from search.estimate.preview import Preview, preview
from search.estimate.probe import ProbeFailed, probe
from search.machine.provenance import PROVENANCE_FILE
from search.plan.plan import Plan
from search.plan.portfolio import portfolio
from search.report.results import TABLE_FILE
from search.report.text import columns, setting, trained
from search.space.key import canonical_key
from search.space.space import Options
from search.storage.location import DATABASE
from search.study.attempt import CONFIG_FILE
from search.terminal.describe import describe
from search.terminal.download import say_pending
from search.terminal.estimate import estimate_lines
from search.terminal.example import example_lines
from search.terminal.need import need_lines
from search.terminal.pack import pack_lines

CHOSEN = ", chosen from the results of these"
ABOUT = """\
Show what `finesweep sweep` would do with the same arguments: space, budget,
first trials, files, time, memory. Everything is checked, nothing is written.

  probe=true   train a few steps of every arm, to measure time and memory;
               without it no model is loaded

  finesweep plan study=first
  finesweep plan study=mine data=files data.train=my.csv strategy=full
  finesweep plan study=ways 'strategy=choice(lora,full)' search.num_trials=30
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("plan", ABOUT, words, flags=("json", "config"))
    wants_probe = take_probe(parsed.overrides)
    composition = composed("sweep", parsed)
    if composition is None:
        return 0
    say_pending(composition)
    ahead = preview(composition)
    if not parsed.json:
        about = describe(
            ahead.plan,
            ahead.rows,
            composition.fixed,
            ahead.prior,
            ahead.confirm_runs,
            ahead.certify_runs,
        )
        print("\n".join(about), flush=True)
    try:
        measured = probe(ahead.plan, _say_arm, _say_built) if wants_probe else ahead.past.measured
    except ProbeFailed as error:
        print(f"the probe failed: {error}", file=sys.stderr)
        return 1
    estimate = ahead.estimate(measured)
    if parsed.json:
        print(json.dumps(ahead.as_dict(estimate), indent=2))
    else:
        if not ahead.plan.is_asked:
            is_measured = estimate is not None and estimate.memory_bytes is not None
            needs = need_lines(ahead.need, is_measured=is_measured)
            runs = ahead.confirm_runs, ahead.certify_runs
            estimated = estimate_lines(ahead.plan, estimate, *runs)
            packs = pack_lines(ahead.plan, ahead.pack, measured)
            print("\n".join([*needs, *estimated, *packs]))
        print("\n".join([*example_lines(ahead.examples), *_first_trials(ahead)]))
        print("\n".join(_files(ahead.plan, ahead.folder, len(ahead.ended))))
    return 0


def take_probe(overrides: list[str]) -> bool:
    """Remove `probe=...`, which is not a configuration key, from the words; the last one counts."""
    given = [word for word in overrides if word.partition("=")[0] == "probe"]
    overrides[:] = [word for word in overrides if word not in given]
    value = given[-1].partition("=")[2] if given else "false"
    if value not in ("true", "false"):
        fix = "probe=true measures time and memory."
        raise ConfigError(Problem("probe", "must be true or false", value, fix))
    return value == "true"


def _say_arm(options: Options) -> None:
    what = " ".join(options) or "the default configuration"
    print(f"measuring a few steps of {what} ...", file=sys.stderr, flush=True)


def _say_built(strategy: str, num_trainable: int, num_parameters: int) -> None:
    print(trained(strategy, num_trainable, num_parameters), file=sys.stderr, flush=True)


def _first_trials(ahead: Preview) -> list[str]:
    plan = ahead.plan
    rows = [["trial", *plan.space.paths, ""]]
    known = {canonical_key(v) for v in portfolio(plan.composition, plan.space, plan.search)}
    enqueued = {canonical_key(values) for values in plan.search.settings.enqueue}
    openings = [values for each in plan.openings.values() for values in each]
    for at, values in enumerate(ahead.suggestions):
        start = ahead.starts.get(at)
        words = ["default"] if at < len(plan.defaults) else []
        if at >= len(plan.defaults) and values in openings:
            words.append("learning rate x3 or /3")
        if at >= len(plan.defaults) and start in enqueued:
            words.append("enqueued")
        if start is not None and start == ahead.best_of_other:
            words.append(f"the best of {plan.search.settings.warm_start}")
        if canonical_key(values) in known:
            words.append("known to be good")
        if not plan.space.is_complete(values):
            words.append("the sampler chooses the rest")
        if at in ahead.ended:
            words.append("done")
        cells = [setting(values, path) for path in plan.space.paths]
        rows.append([str(at), *cells, ", ".join(words)])
    more = plan.num_trials - len(ahead.suggestions)
    drawn = "" if plan.search.sampler.num_independent == math.inf else CHOSEN
    tail = [f"and {more} more{drawn}"] if more > 0 else []
    return ["", *columns(rows), *tail]


def _files(plan: Plan, folder: Path, num_ended: int) -> list[str]:
    state = "continues the study there" if folder.exists() else "does not exist yet"
    if num_ended:
        state += f": {num_ended} of {plan.num_trials} trials have ended"
    keeps = "" if plan.is_asked else f"; weights of the best {plan.search.settings.keep}"
    return [
        "",
        f"A sweep writes to {folder}/ ({state}):",
        f"  {DATABASE} {CONFIG_FILE} {PROVENANCE_FILE} {TABLE_FILE}  the study",
        f"  trials/0000/ ... {plan.num_trials - 1:04d}/  one folder per trial{keeps}",
        *([] if plan.is_asked else ["  wandb/ logs/"]),
    ]
