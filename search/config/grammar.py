"""Hydra's override grammar, in which null may be one of the values of a choice.

Hydra reads `task.class_weights=null`, but its `choice(...)` refuses null. Here it is a value there
as well, and in the short form `key=null,balanced`.
"""

from __future__ import annotations

import inspect
from typing import Any

from hydra._internal.grammar.functions import Functions
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.grammar.gen import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser

_LEXING: Any = OverrideLexer  # generated, and not typed


def parse(text: str) -> Override:
    """Parse one override; raise HydraException if it is malformed."""
    return OverridesParser(_functions()).parse_override(text)


def parse_words(text: str) -> Any:
    """Return the value of an override with bare words as text: 1e-4, 2024_01_01, true.

    Raises:
        HydraException: The text does not follow the grammar.

    """
    listener = HydraErrorListener()
    lexer = _LEXING.OverrideLexer(_LEXING.InputStream(text))
    parser: Any = OverrideParser(_LEXING.CommonTokenStream(lexer))
    for each in (lexer, parser):
        each.removeErrorListeners()
        each.addErrorListener(listener)
    visitor: Any = _Words(_functions())
    override = visitor.visit(parser.override())
    if not isinstance(override, Override):
        raise HydraException(f"no override: {text}")
    return override.value()


def _functions() -> Functions:
    functions = create_functions()
    hydras = functions.functions["choice"]

    def choice(*values: Any) -> Any:
        return hydras(*values)

    functions.functions["choice"] = choice
    functions.definitions["choice"] = inspect.signature(choice, eval_str=True)
    return functions


class _Words(HydraOverrideVisitor):
    """Returns the source of a number or a truth value, and Hydra's value of all others."""

    def visitPrimitive(self, ctx: Any) -> Any:  # noqa: N802 - Hydra's name
        return _source(super().visitPrimitive(ctx), ctx)

    def visitDictKey(self, ctx: Any) -> Any:  # noqa: N802 - Hydra's name
        return _source(super().visitDictKey(ctx), ctx)


def _source(value: Any, ctx: Any) -> Any:
    return ctx.getText().strip() if isinstance(value, bool | int | float) else value
