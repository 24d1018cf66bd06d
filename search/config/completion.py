"""Complete a line of overrides with Hydra's own completion."""

from __future__ import annotations

from hydra._internal.core_plugins.bash_completion import BashCompletion
from hydra.core.global_hydra import GlobalHydra

from search.config.tree import hydra_ready


def complete_line(config_name: str, line: str) -> list[str]:
    """Return the completions of the last word of `line`, e.g. `["strategy=full", ...]`."""
    with hydra_ready(None):
        completion = BashCompletion(GlobalHydra.instance().config_loader())
        completions = completion._query(config_name=config_name, line=line)
        return [
            name for name in completions if not name.startswith("hydra") and "_target_" not in name
        ]
