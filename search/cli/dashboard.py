"""finesweep dashboard: studies in the browser."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_modules.error import ConfigError, Problem
from search.cli.argument import keys, parse
from search.report.dashboard.server import Server, open_dashboard, open_dashboard_of_all
from search.trained.find import find_folder

ABOUT = """\
Show studies in the browser, live while they run: their trials, which settings
matter, and for each trial its learning curve, confusion matrix, wrong examples
and a note. Ctrl-C ends the dashboard, not the study. It listens on localhost
only; from another machine: ssh -N -L 8080:127.0.0.1:8080 HOST

  study=NAME   the study; without it, all studies of this folder
  port=8080    the port it listens on; 0 takes any free one

  finesweep dashboard
  finesweep dashboard study=mine port=0
"""

PORT = "8080"


def main(words: Sequence[str]) -> int:
    """Run the command; serve until interrupted."""
    parsed = parse("dashboard", ABOUT, words)
    known = {"study": "its name", "port": "the port it listens on, 0 for any free one"}
    found = keys(parsed.overrides, known)
    port = _port(found.get("port", PORT))
    with _opened(found.get("study"), port) as server:
        for line in server.unread:
            print(line, file=sys.stderr)
        print(server.page)
        print("Ctrl-C ends the dashboard, not the study.", flush=True)
        server.serve_forever()
    return 0


def _opened(name: str | None, port: int) -> Server:
    if name is None:
        return open_dashboard_of_all(Path(), port)
    folder = find_folder(name)
    return open_dashboard(folder, folder.name, port)


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 2**16):
        raise ConfigError(Problem("port", "must be a number from 0 to 65535", text))
    return int(text)
