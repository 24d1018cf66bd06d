"""Tab completion: Hydra's, after the command's name."""

from __future__ import annotations

import os
from collections.abc import Sequence


def main(words: Sequence[str], commands: Sequence[str]) -> int:
    """Print shell code (`install=bash`) or the completions of `$COMP_LINE` (`query=bash`)."""
    from search.config.completion import complete_line

    action, _, shell = (words[0] if words else "").partition("=")
    if shell != "bash" or action not in ("install", "query"):
        print("usage: finesweep -sc install=bash")
        return 2
    if action == "install":
        print(_INSTALL)
        return 0
    line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "1000000"))]
    before = line.split()
    at_new_word = line.endswith(" ")
    if len(before) < 2 or (len(before) == 2 and not at_new_word):
        start = before[1] if len(before) == 2 else ""
        print("\n".join(name for name in commands if name.startswith(start)))
        return 0
    rest = " ".join(before[2:]) + (" " if at_new_word else "")
    if before[1] in KEYS:
        start = "" if at_new_word else before[-1]
        print("\n".join(key for key in KEYS[before[1]] if key.startswith(start)))
    else:
        name = "train" if before[1] in ("train", "check") else "sweep"
        print("\n".join(complete_line(name, rest)))
    return 0


# The only keys of commands that compose no configuration.
KEYS = {
    "status": ("study=", "--json", "--watch"),
    "try": ("study=", "--json"),
    "drop": ("study=", "trial=", "undo=", "--json"),
    "stop": ("study=",),
    "delete": ("study=", "run=", "--yes", "--json"),
    "ask": ("study=", "--json"),
    "report": ("study=", "trial=", "step=", "loss=", "--json", "--watch"),
    "tell": ("study=", "trial=", "value=", "reason=", "ending=", "--json"),
    "worker": ("study=", "storage=", "workers="),
    "certify": ("study=", "trials=", "seeds=", "against=", "--json"),
    "dashboard": ("study=", "port="),
    "export": ("study=", "run=", "trial=", "to=", "merge="),
    "predict": (
        *("model=", "input=", "output=", "top=", "text=", "text_pair="),
        *("delimiter=", "quoting=", "header=", "encoding=", "columns="),
    ),
    "evaluate": ("study=", "run=", "model=", "split=", "--json"),
}


_INSTALL = """\
_finesweep() {
    local IFS=$'\\n'
    export COMP_LINE COMP_POINT
    local choices=$("${COMP_WORDS[0]}" -sc query=bash 2>/dev/null)
    local word="${COMP_LINE:0:COMP_POINT}"; word="${word##* }"
    COMPREPLY=($(compgen -o default -W "$choices" -- "$word"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _finesweep finesweep"""
