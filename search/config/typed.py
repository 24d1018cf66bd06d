"""What only counts if a person types it: the packages to import, and that a model's code may run.

Every command takes both words, although only some compose a configuration that has these keys.
"""

from __future__ import annotations

from collections.abc import Sequence

from lightning_modules.error import ConfigError, Problem
from lightning_modules.model.files.trust import KEY, TYPED, trust_code
from search.config.plugin import COMPOSE, PLUGINS, take_plugins

TYPED_KEYS = (PLUGINS, KEY)


def take_typed(command: str, words: Sequence[str]) -> list[str]:
    """Do what a person's words alone can do; return the words that the command still needs.

    Args:
        command: The command.
        words: Its words.

    Raises:
        ConfigError: A word has a value that it cannot have.

    """
    others = []
    if trusts_code(words):
        trust_code()
    for word in take_plugins(command, words):
        key, _, value = word.partition("=")
        if key == KEY and value not in ("true", "false") and command not in COMPOSE:
            raise ConfigError(Problem(KEY, "must be true or false", value))
        if key != KEY or command in COMPOSE:
            others.append(word)
    return others


def trusts_code(words: Sequence[str]) -> bool:
    """Return whether words let code that comes with a model run; as ever, the last one counts."""
    return [word for word in words if word.startswith(f"{KEY}=")][-1:] == [TYPED]
