"""Where configuration becomes typed, once; the only place that knows Hydra and OmegaConf.

Outside, a configuration is a `Tree`: plain nested dicts whose interpolations are not yet
resolved, so that a trial's values reach whatever refers to them.
"""

from search.config.build import (
    Tree,
    build_run,
    build_search,
    leaves,
    resolved,
    run_tree,
    strategy_class,
    to_yaml,
)
from search.config.compose import CONF_DIR, Arm, Composition, compose
from search.config.override import literal
from search.config.range import parse_range

__all__ = [
    "CONF_DIR",
    "Arm",
    "Composition",
    "Tree",
    "build_run",
    "build_search",
    "compose",
    "leaves",
    "literal",
    "parse_range",
    "resolved",
    "run_tree",
    "strategy_class",
    "to_yaml",
]
