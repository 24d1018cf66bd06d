"""Which models of `conf/model` are of which kind, as the first line of each file says."""

from __future__ import annotations

import re

from lightning_modules.model.kind import Kind
from search.config import CONF_DIR

_KIND = re.compile(r"# [^:]+: (encoder-decoder|encoder|decoder), ")


def models_of(kind: Kind) -> tuple[str, ...]:
    """Return the names of the pretrained models of that kind, in order."""
    first_lines = {
        path.stem: path.read_text(encoding="utf-8").splitlines()[0]
        for path in sorted((CONF_DIR / "model").glob("*.yaml"))
    }
    found = {name: _KIND.match(line) for name, line in first_lines.items()}
    wanted = kind.value.replace("_", "-")
    return tuple(name for name, match in found.items() if match and match[1] == wanted)
