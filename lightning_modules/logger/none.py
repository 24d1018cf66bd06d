"""No logger: only the local files."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_modules.logger.base import Logger


@dataclass(frozen=True, kw_only=True)
class NoLogger(Logger):
    """Log nothing."""
