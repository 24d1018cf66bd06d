"""The kind of each model of `conf/model`, from the first line of its file."""

from __future__ import annotations

import re

from lightning_modules.model.kind import Kind
from search.config import CONF_DIR

_KIND = re.compile(r"# [^:]+: (encoder-decoder|encoder|decoder), ")


def models_of(kind: Kind) -> tuple[str, ...]:
    """Return the names of the pretrained models of that kind, sorted."""
    first_lines = {
        path.stem: path.read_text(encoding="utf-8").splitlines()[0]
        for path in sorted((CONF_DIR / "model").glob("*.yaml"))
    }
    matches = {name: _KIND.match(line) for name, line in first_lines.items()}
    wanted = kind.value.replace("_", "-")
    return tuple(name for name, match in matches.items() if match and match[1] == wanted)
