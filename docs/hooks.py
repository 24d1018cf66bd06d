"""Makes the reference of the site from `conf/`, the docstrings of its classes and the help.

It also adds CONTRIBUTING.md and CHANGELOG.md. MkDocs calls `on_config` and `on_files`; the pages
exist only while it builds.
"""

from __future__ import annotations

import contextlib
import html
import io
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from search.cli.main import COMMANDS, HELP, main
from search.config import CONF_DIR
from search.config.catalogue import (
    Group,
    Key,
    Option,
    load_class,
    load_groups,
    load_settings,
    meanings,
    module_text,
)
from search.config.prior_table import PRIOR_FILE
from search.config.settings import SearchSettings

FOLDER = "reference"
ROOT = Path(__file__).parents[1]
ROOT_PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the reference and the pages of the root folder to the navigation."""
    assert config.nav is not None
    config.nav.append({"Reference": [f"{FOLDER}/{name}" for name in pages()]})
    config.nav += [name.lower() for name in ROOT_PAGES]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the reference and of the root folder."""
    for name, content in pages().items():
        files.append(File.generated(config, f"{FOLDER}/{name}", content=content))
    for name in ROOT_PAGES:
        content = _root_page((ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, name.lower(), content=content))
    return files


def pages() -> dict[str, str]:
    """Return each page's Markdown by its file name, in the order of the navigation."""
    groups = load_groups(CONF_DIR, "sweep")
    return {
        "commands.md": _text(_commands()),
        "settings.md": _text(_settings()),
        "priors.md": _text(_priors()),
        **{f"{group.name.replace('/', '-')}.md": _text(_group(group)) for group in groups},
    }


def _root_page(content: str) -> str:
    """Return a page of the root folder as it stands in docs/."""
    content = content.replace("](docs/", "](")
    for name in ROOT_PAGES:
        content = content.replace(f"]({name}", f"]({name.lower()}")
    return content


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def _commands() -> Iterator[str]:
    yield "# Commands"
    yield from ("", "What `finesweep --help` and `finesweep COMMAND --help` print.")
    yield from ("", "```text", HELP.rstrip("\n"), "```")
    for command in COMMANDS:
        yield from ("", f"## {command}", "", "```text", _help(command).rstrip("\n"), "```")


def _help(command: str) -> str:
    out = io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main([command, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return out.getvalue()


def _settings() -> Iterator[str]:
    yield "# Settings"
    yield from ("", "The keys of `conf/sweep.yaml` and `conf/train.yaml` that belong to no group.")
    meanings_by_key = {
        f"search.{name}": meaning for name, meaning in meanings(SearchSettings).items()
    }
    for command in ("sweep", "train"):
        yield from ("", f"## finesweep {command}", "")
        yield from _table(load_settings(CONF_DIR, command), meanings_by_key, prefix="")


def _priors() -> Iterator[str]:
    yield "# Priors"
    yield from (
        "",
        f"`conf/{PRIOR_FILE}`: what `auto` stands for in a strategy, and the portfolio.",
    )
    yield from ("", "```yaml", (CONF_DIR / PRIOR_FILE).read_text(encoding="utf-8").rstrip(), "```")


def _group(group: Group) -> Iterator[str]:
    yield f"# {group.name}"
    yield from ("", f"{group.about[:1].upper()}{_escaped(group.about[1:])}.")
    yield from ("", "| option | |", "|---|---|")
    for option in group.options:
        mark = ", the default" if option.name == group.default else ""
        yield f"| [`{option.name}`](#{option.name}){mark} | {_escaped(option.headline)} |"
    for option in group.options:
        yield from _option(option, {other.name for other in group.options})


def _option(option: Option, names: Collection[str]) -> Iterator[str]:
    yield from ("", f"## {option.name} {{ #{option.name} }}")
    yield from ("", f"`{option.group}={option.name}`: {_escaped(option.headline)}.")
    if option.notes:
        yield from ("", _escaped(option.notes))
    meanings_by_key: Mapping[str, str] = {}
    if option.target is not None:
        schema = load_class(option.target)
        meanings_by_key = meanings(schema)
        home = schema.__module__.rpartition(".")[2]
        if home != option.name and home in names:
            yield from ("", f"One of [`{home}`](#{home}), with these values:")
        else:
            yield from ("", _escaped(module_text(schema)))
            yield from ("", f"Class: `{option.target}`.")
    if option.keys:
        # The keys of a space or an experiment are whole config paths.
        prefix = f"{option.group.replace('/', '.')}." if option.target else ""
        yield ""
        yield from _table(option.keys, meanings_by_key, prefix)


def _table(keys: Sequence[Key], meanings_by_key: Mapping[str, str], prefix: str) -> Iterator[str]:
    yield from ("| key | value | |", "|---|---|---|")
    for key in keys:
        words = [meanings_by_key.get(key.path, ""), key.comment]
        meaning = "<br>".join(_escaped(text).replace("\n", " ") for text in words if text)
        # As HTML: nothing can be escaped between backticks, and a bar would end the cell.
        shown = html.escape(key.value, quote=False).replace("|", "&#124;")
        value = f"<code>{shown}</code>" if shown else ""
        yield f"| `{prefix}{key.path}` | {value} | {meaning} |"


def _escaped(text: str) -> str:
    """Return plain text as Markdown that reads the same; text in backticks stays code."""
    parts = re.split(r"(`[^`]+`)", text)
    for at in range(0, len(parts), 2):
        parts[at] = re.sub(r"([\\*_\[\]|#])", r"\\\1", parts[at]).replace("<", "&lt;")
    return "".join(parts)
