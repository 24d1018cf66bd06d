from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.model import minilm
from lightning_modules.model.attention import Attention
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.minilm import Minilm, Source

pytest.importorskip(minilm.PACKAGE)


def packaged() -> Minilm:
    return Minilm(source=Source.package, attention=Attention.sdpa, dtype=Dtype.fp32)


def test_weights_that_changed_since_they_were_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "model.safetensors"
    weights.symlink_to(Path(packaged().location()) / "model.safetensors")
    monkeypatch.setattr(minilm, "_folder", lambda: tmp_path)
    assert packaged().location() == str(tmp_path)
    weights.unlink()
    weights.write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="must have sha256 53aa51172d14"):
        packaged().location()
