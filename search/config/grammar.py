"""Hydra's override grammar, in which null may be one of the values of a choice.

Hydra reads `task.class_weights=null`, but its `choice(...)` refuses null. Here it is a value there
as well, and in the short form `key=null,balanced`.
"""

from __future__ import annotations

import inspect
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import Override


def parse(text: str) -> Override:
    """Parse one override; raise HydraException if it is malformed."""
    functions = create_functions()
    hydras = functions.functions["choice"]

    def choice(*values: Any) -> Any:
        return hydras(*values)

    functions.functions["choice"] = choice
    functions.definitions["choice"] = inspect.signature(choice, eval_str=True)
    return OverridesParser(functions).parse_override(text)
