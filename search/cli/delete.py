"""finesweep delete: delete a study or a run, with its files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.file import megabytes
from search.cli.argument import keys, one_of, parse
from search.storage.location import is_local, shown, storage_of
from search.trained.delete import Doomed, delete, find_run_to_delete, find_study_to_delete

ABOUT = """\
Delete a study or a run for ever: its trials in the storage, and all its files.
Exported models stay. It says what it deletes, and asks. If it was killed on the
way, the same command deletes the rest.

  study=NAME   the study, with the trials that confirm its first few; refused
               while a worker trains one of its trials, or
  run=NAME     a run of finesweep train; refused while it is being trained
  --yes        do not ask; needed if there is no terminal

  finesweep delete study=mine
  finesweep delete run=one --yes
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("delete", ABOUT, words, flags=("json", "yes"))
    found = keys(parsed.overrides, {"study": "its name", "run": "its name"})
    source = one_of("delete", found, ("study", "run"))
    find = find_study_to_delete if source == "study" else find_run_to_delete
    doomed = find(found[source])
    if not parsed.yes and not _agrees(doomed):
        print("nothing was deleted", file=sys.stderr)
        return 1
    try:
        delete(doomed)
    except OSError as error:
        rest = f"run the same command again to delete the rest of {doomed.kind} {doomed.name}"
        print(f"{error}; {rest}", file=sys.stderr)
        return 1
    if parsed.json:
        print(json.dumps(_as_dict(doomed), indent=2))
    else:
        print(f"deleted {_what(doomed)}")
    return 0


def _agrees(doomed: Doomed) -> bool:
    if not sys.stdin.isatty():
        fix = "Add --yes, and all of it is deleted for ever."
        got = Verbatim(f"neither, for {_what(doomed)}")
        raise ConfigError(
            Problem("delete", "must be confirmed in a terminal or by --yes", got, fix)
        )
    print(f"Delete {_what(doomed)}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _what(doomed: Doomed) -> str:
    """Return what is deleted, in a few words."""
    size = f"{megabytes(doomed.num_bytes)} in {doomed.folder}/"
    if doomed.elsewhere:
        size = f"its files stay: they are not here but at {doomed.elsewhere}"
    if doomed.kind == "run":
        return f"run {doomed.name}: {size}"
    if not doomed.names:
        return f"the rest of study {doomed.name}: {size}"
    url = storage_of(doomed.folder)
    place = "" if is_local(url) else f" on {shown(url)}"
    num = doomed.num_trials
    return f"study {doomed.name}: {num} trial{'s' * (num != 1)}{place}, {size}"


def _as_dict(doomed: Doomed) -> dict[str, object]:
    return {
        doomed.kind: doomed.name,
        "deleted": True,
        "num_trials": doomed.num_trials,
        "num_bytes": doomed.num_bytes,
        "folder": None if doomed.elsewhere else str(doomed.folder),
    }
