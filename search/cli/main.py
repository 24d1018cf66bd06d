"""Run the chosen command; print a user's mistake as one clear line and return an exit code.

Only the standard library is imported until the command is known, so `--help` is fast.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

HELP = """\
finesweep finds the best way to fine-tune a language model on your data.

  finesweep COMMAND [key=value ...]

  sweep       run a study up to its total budget, or continue it
  plan        show what a sweep would do; writes nothing
  check       look for faults in your data before you train on them
  status      list the studies, or show one: its trials and its best so far
  try         queue a configuration of yours in a study
  drop        take a trial out of consideration, or back into it
  stop        end a study after its running trials
  delete      delete a study or a run, with its files
  ask         get the next trial, for a loop of your own that trains it
  report      write a study's report; with trial=, report on such a trial
  tell        tell how such a trial ended
  worker      join a study, from this or another machine
  certify     say how sure it is that trials are better than the default
  dashboard   show a study, or all of the folder, in the browser
  evaluate    score a study's winner, a run or an exported model on a split
  export      write a winner, trial or run as a model for plain transformers
  predict     predict the rows of a file with an exported model
  train       train one configuration, or a trial again

Examples:
  finesweep sweep study=first
  finesweep sweep study=mine data=files data.train=my.csv data.text=review \\
      data.label=stars 'optimizer.lr=tag(log,interval(1e-5,5e-3))' \\
      'trainer.epochs=range(1,5)' search.num_trials=20
  finesweep evaluate study=mine split=test

finesweep COMMAND --help shows more. Options:
  --json              print JSON (status, evaluate, plan, check, train,
                      certify, try, drop, delete, ask, report, tell)
  --cfg job           print the composed configuration (sweep, plan, check,
                      train)
  --config-dir DIR    a folder with more group options (sweep, plan, check,
                      train)
  -sc install=bash    print tab completion: eval "$(finesweep -sc install=bash)"
  --version           print the version

  storage=URL         a PostgreSQL server, for studies on many machines; or set
                      FINESWEEP_STORAGE
"""

COMMANDS = (
    "sweep",
    "plan",
    "check",
    "status",
    "try",
    "drop",
    "stop",
    "delete",
    "ask",
    "report",
    "tell",
    "worker",
    "certify",
    "dashboard",
    "evaluate",
    "export",
    "predict",
    "train",
)

FILES = {"try": "pick"}
"""The files of commands whose name cannot be that of a module."""

_TYPED = ("search.plugins=", "model.trust_remote_code=")
"""Words that count only because a person types them; every command takes them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns: 0 for success, 1 failure, 2 wrong input, 3 if there is no trial to ask for, 130 or 143
        interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output is gone, e.g. `| head`: print no more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13 if words[:1] in (["sweep"], ["worker"]) else 0  # these were still working


def _run(words: Sequence[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("finesweep"))
        return 0
    if words[0] in ("-sc", "--shell-completion"):
        from search.cli.completion import main as complete

        return complete(words[1:], COMMANDS)
    return _run_command(words[0], words[1:])


def _run_command(name: str, words: Sequence[str]) -> int:
    from lightning_modules.error import Problem, UserError, Verbatim, did_you_mean
    from lightning_modules.machine.memory import keep_buffers
    from search.machine.quiet import quiet_process
    from search.storage.location import forget_storage, take_storage
    from search.storage.retry import StorageGone

    try:
        if name not in COMMANDS:
            rule = f"must be one of {', '.join(COMMANDS)}"
            got = Verbatim(repr(name))
            raise UserError(Problem("command", rule, got, did_you_mean(name, COMMANDS)))
        quiet_process()
        keep_buffers()
        command = importlib.import_module(f"search.cli.{FILES.get(name, name)}")
        forget_storage()
        return int(command.main(_typed(name, take_storage(name, words))))
    except UserError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except StorageGone as error:
        print(f"storage: {error}", file=sys.stderr)
        return 1


def _typed(name: str, words: Sequence[str]) -> Sequence[str]:
    """Do what only a person's own words can do; return the words that the command needs."""
    if not any(word.startswith(_TYPED) for word in words):
        return words
    from search.config import take_typed, trusts_code  # 0.2 s, which --help does not need

    if trusts_code(words):
        note = "note: code that comes with a model runs, as model.trust_remote_code=true says"
        print(note, file=sys.stderr)
    return take_typed(name, words)
