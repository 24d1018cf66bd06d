"""The report as one HTML file: no request leaves it, which its own policy enforces.

Every chart stands there as SVG, and the script draws it interactively. The policy allows the two
scripts of this file by their hashes, and nothing from anywhere else. Every text is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from search.report.document.block import Block, Code, Facts, Figure, Fold, Section, Table, Text
from search.report.document.plotly_json import plotly
from search.report.document.svg import draw, legend_mark
from search.report.text import whole

_HERE = Path(__file__).parent
_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+(e[-+]?\d+)?( %| s| min.*| h.*| MB)?|-?")
_LONG = 24  # characters from which a cell may break into lines


def page(
    title: str,
    subtitle: str,
    sections: Sequence[Section],
    descriptions: Mapping[int, str] | None = None,
    tone: str = "",
    *,
    is_static: bool = False,
    seconds: int | None = None,
) -> str:
    """Return the page.

    Args:
        title: Its heading.
        subtitle: A line below it.
        sections: What it has.
        descriptions: What the pointer shows of each trial that is drawn, by number, in lines.
        tone: The class of the verdict: `better`, `unsure` or `worse`.
        is_static: Whether it has no scripts, and so is small.
        seconds: After which a browser loads it again; None does not.

    """
    writer = _Writer()
    body = "".join(writer.section(section, tone) for section in sections)
    links = "".join(f'<li><a href="#{each.key}">{escape(each.title)}</a></li>' for each in sections)
    values = {
        "charts": writer.charts,
        "trials": {
            number: "<br>".join(map(escape, text.splitlines()))
            for number, text in (descriptions or {}).items()
        },
    }
    scripts = [_plotly(), _file("report.js")] if writer.charts and not is_static else []
    data = f'<script type="application/json" id="charts">{_json(values)}</script>'
    policy = "; ".join(
        [
            "default-src 'none'",
            "style-src 'unsafe-inline'",
            "img-src data:",
            f"script-src {' '.join(map(_hash, scripts))}" if scripts else "script-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return whole(
        "".join(
            [
                '<!doctype html><html lang="en"><head><meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                '<link rel="icon" href="data:,">',
                "" if seconds is None else f'<meta http-equiv="refresh" content="{seconds}">',
                f"<title>{escape(title)}</title><style>{_file('report.css')}</style></head><body>",
                '<a class="skip" href="#main">Skip to the verdict</a><div class="page">',
                f"<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>",
                f'<nav aria-label="Sections"><ul>{links}</ul></nav><main id="main">{body}',
                "<footer>Made by finesweep. This file needs no network.</footer></main></div>",
                data if scripts else "",
                *(f"<script>{script}</script>" for script in scripts),
                "</body></html>\n",
            ]
        )
    )


def frame(content: str, title: str) -> str:
    """Return a page inside a frame, for a notebook, whose own styles then do not meet the page's.

    Args:
        content: A page without scripts.
        title: What it shows.

    """
    style = "width: 100%; height: 42rem; border: 1px solid #8888"
    named = f'title="{escape(title)}" style="{style}"'
    return f'<iframe sandbox="" {named} srcdoc="{escape(content)}"></iframe>'


class _Writer:
    """Writes blocks, and collects their charts.

    Attributes:
        charts: The charts so far, for the script.

    """

    def __init__(self) -> None:
        self.charts: list[dict[str, Any]] = []

    def section(self, section: Section, tone: str) -> str:
        """Return a section."""
        body = "".join(self._blocks(section.blocks))
        key, title = section.key, escape(section.title)
        named = f'id="{key}" aria-labelledby="{key}-title" class="{tone}"'
        return f'<section {named}><h2 id="{key}-title">{title}</h2>{body}</section>'

    def _blocks(self, blocks: Sequence[Block]) -> Iterator[str]:
        row: list[str] = []
        for block in blocks:
            is_small = isinstance(block, Figure) and block.chart.is_small
            if row and not is_small:
                yield f'<div class="pair">{"".join(row)}</div>'
                row = []
            if is_small:
                row.append(self._block(block))
            else:
                yield self._block(block)
        if row:
            yield f'<div class="pair">{"".join(row)}</div>'

    def _block(self, block: Block) -> str:
        match block:
            case Text(text, is_note):
                return f"<p{' class=note' if is_note else ''}>{escape(text)}</p>"
            case Code(title, text):
                wrap = ' class="wrap"' if "\n" not in text.strip() else ""
                label = f"<div><span>{escape(title)}</span></div>"
                region = f'tabindex="0" role="region" aria-label="{escape(title)}"'
                return f'<div class="code">{label}<pre{wrap} {region}>{escape(text)}</pre></div>'
            case Facts(facts):
                items = (f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in facts)
                return f"<dl>{''.join(items)}</dl>"
            case Table():
                return _table(block)
            case Fold(title, blocks):
                inside = "".join(self._blocks(blocks))
                return f"<details><summary>{escape(title)}</summary>{inside}</details>"
            case Figure():
                return self._figure(block)

    def _figure(self, figure: Figure) -> str:
        chart = figure.chart
        number = len(self.charts)
        self.charts.append(plotly(chart))
        offset = 0 if chart.cells is None else 1  # the grid is the first trace
        entries = [
            f'<li><span data-series="{at + offset}">{legend_mark(series)}{escape(series.name)}'
            f"{'<small>(not shown)</small>' if series.is_hidden else ''}</span></li>"
            for at, series in enumerate(chart.series)
            if series.name and series.x
        ]
        alt = escape(f"{chart.title}. {chart.alt}")
        named = f'role="region" aria-label="{escape(chart.title)}"'
        plot = f'<div class="plot" role="img" aria-label="{alt}"></div>'
        table = "" if figure.table is None else _folded_table(figure.table)
        return (
            f'<figure data-chart="{number}"><h3>{escape(chart.title)}</h3>'
            f'<div class="drawing"><div class="static scroll" tabindex="0" {named}>{draw(chart)}'
            f'</div>{plot}</div><ul class="legend">{"".join(entries)}</ul>'
            f"<figcaption>{escape(figure.caption)}</figcaption>{table}</figure>"
        )


def _folded_table(table: Table) -> str:
    return f"<details><summary>{escape(table.title)} as a table</summary>{_table(table)}</details>"


def _table(table: Table) -> str:
    columns = [[row[at] for row in table.rows] for at in range(len(table.head))]
    is_number = [bool(column) and all(map(_NUMBER.fullmatch, column)) for column in columns]
    head = "".join(
        f'<th scope="col"{" class=num" if right else ""}>{escape(name) or "&nbsp;"}</th>'
        for name, right in zip(table.head, is_number, strict=True)
    )
    rows = "".join(
        f"<tr{' class=marked' if at in table.marked else ''}>"
        + "".join(map(_cell, row, is_number))
        + "</tr>"
        for at, row in enumerate(table.rows)
    )
    sortable = ' class="sortable"' if len(table.rows) > 2 else ""
    region = f'tabindex="0" role="region" aria-label="{escape(table.title)}"'
    return (
        f'<div class="scroll" {region}><table{sortable}><caption>{escape(table.title)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(text: str, is_number: bool) -> str:
    kind = "num" if is_number else "long" if len(text) > _LONG else ""
    return f"<td{f' class={kind}' if kind else ''}>{escape(text)}</td>"


def _json(values: Mapping[str, Any]) -> str:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@cache
def _plotly() -> str:
    return _file("plotly/plotly-cartesian.min.js")


@cache
def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
