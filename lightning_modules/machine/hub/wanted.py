"""What is asked of the hub, and the error if it does not give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_modules.error import ConfigError, Problem, Verbatim


@dataclass(frozen=True)
class Wanted:
    """A model or data set of the hub.

    Attributes:
        key: The config key with its name.
        kind: `model` or `data set`.
        name: Its name on the hub.
        revision: A branch, tag or commit; None is the newest commit of `main`.
        instead: What to do without a network.

    """

    key: str
    kind: str
    name: str
    revision: str | None = None
    instead: str = "or give a folder"

    @property
    def page(self) -> str:
        """Its page on the hub."""
        return f"{endpoint()}/{'' if self.kind == 'model' else 'datasets/'}{self.name}"

    @property
    def revision_key(self) -> str:
        """The config key of its revision."""
        return f"{self.key.partition('.')[0]}.revision"

    @property
    def rule(self) -> str:
        """What its name must be."""
        return f"must be a local folder or a {self.kind} on the hub"

    def problem(self, got: str, fix: str) -> Problem:
        """Return a problem of it; `got` says what there is instead."""
        return Problem(self.key, self.rule, Verbatim(f"{self.name!r} ({got})"), fix)

    def no_revision(self, names: Sequence[str]) -> Problem:
        """Return the problem of a revision that it does not have; `names` are some that it has."""
        rule = f"must be a branch, a tag or a commit of {self.name}"
        fix = f"See {self.page}/tree/main."
        if names:
            fix = f"Use one of: {', '.join(names[:20])}; or the hash of a commit."
        return Problem(self.revision_key, rule, self.revision, fix)


class HubError(ConfigError):
    """The hub did not give what was wanted.

    Attributes:
        cause: What happened, in a few words.
        is_transient: Whether the same request may succeed a little later, and the client has not
            repeated it.
        is_no_revision: Whether it has no such revision.

    """

    def __init__(
        self,
        problem: Problem,
        cause: str,
        *,
        is_transient: bool = False,
        is_no_revision: bool = False,
    ) -> None:
        super().__init__(problem)
        self.cause = cause
        self.is_transient = is_transient
        self.is_no_revision = is_no_revision


def endpoint() -> str:
    """Return the hub's address."""
    from huggingface_hub import constants

    return constants.ENDPOINT
