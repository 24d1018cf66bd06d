"""Turn configuration into typed objects; the only package that imports Hydra and OmegaConf.

The rest of the code sees a configuration as a `Tree`: plain nested dicts with unresolved
interpolations, so that a trial's values also reach the keys that refer to them.
"""

from search.config.build import (
    Tree,
    build_run,
    build_search,
    escaped,
    leaves,
    model_of,
    resolved,
    run_tree,
    strategy_class,
    to_yaml,
)
from search.config.compose import compose, own_plugins
from search.config.composition import Arm, Composition, Follows
from search.config.free import compose_free, is_free, is_free_command
from search.config.guard import build_guards
from search.config.legacy import completed
from search.config.length import as_written
from search.config.override import literal, parse_override
from search.config.plugin import (
    PLUGINS,
    NotNamed,
    check_named,
    name_plugins,
    named_plugins,
    packages_of,
)
from search.config.range import parse_range, steps_problem
from search.config.resume import compose_again
from search.config.stored_run import check_same, continued
from search.config.tree import CONF_DIR
from search.config.typed import TYPED_KEYS, take_typed, trusts_code
from search.config.word import typed_name, typed_names, typed_words

__all__ = [
    "CONF_DIR",
    "PLUGINS",
    "TYPED_KEYS",
    "Arm",
    "Composition",
    "Follows",
    "NotNamed",
    "Tree",
    "as_written",
    "build_guards",
    "build_run",
    "build_search",
    "check_named",
    "check_same",
    "completed",
    "compose",
    "compose_again",
    "compose_free",
    "continued",
    "escaped",
    "is_free",
    "is_free_command",
    "leaves",
    "literal",
    "model_of",
    "name_plugins",
    "named_plugins",
    "own_plugins",
    "packages_of",
    "parse_override",
    "parse_range",
    "resolved",
    "run_tree",
    "steps_problem",
    "strategy_class",
    "take_typed",
    "to_yaml",
    "trusts_code",
    "typed_name",
    "typed_names",
    "typed_words",
]
