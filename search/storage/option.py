"""Check the options of a PostgreSQL URL, e.g. `?sslmode=require`, without a connection.

The driver refuses a wrong one only when it connects, and so after all attempts to reach a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl

from lightning_modules.error import ConfigError, Problem, Verbatim, nearest

_PLACES = ("host", "hostaddr", "port")
_NUMBERS = (
    *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval"),
    *("keepalives_count", "tcp_user_timeout"),
)
_NOWHERE = "/nowhere/of/finesweep"
_SECRET = "password"


def check_options(where: str, query: str) -> None:
    """Raise ConfigError for each option of a URL's query that cannot be used."""
    if query:
        problems = list(_problems(where, query))
        if problems:
            raise ConfigError(problems)


def _problems(where: str, query: str) -> Iterator[Problem]:
    from psycopg import pq

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    usable = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            near = nearest(name, known)
            fix = f"Did you mean {near}?" if near else "Remove it."
            yield Problem(where, "an option must be known to PostgreSQL's driver", name, fix)
        elif name in _NUMBERS and not value.lstrip("-").isdecimal():
            yield Problem(where, f"{name} must be a whole number", value)
        elif name not in _PLACES and _SECRET not in name:
            usable[name] = value
    text = " ".join(f"{name}='{_escaped(value)}'" for name, value in usable.items())
    # It checks the values, and then fails because there is no server at that place.
    connection = pq.PGconn.connect_start(f"host='{_NOWHERE}' {text}".encode())
    reason = connection.error_message.decode(errors="replace").strip()
    connection.finish()
    if reason and _NOWHERE not in reason:
        rule = "its options must have values that PostgreSQL's driver knows"
        yield Problem(where, rule, Verbatim(reason.splitlines()[0]))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")
