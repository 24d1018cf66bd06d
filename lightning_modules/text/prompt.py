"""Prompts: a template with places for a row's texts and for the word that represents its label.

For `"{text} It was {label}."` a masked language model reads the whole template with a mask in
place of the word, and a causal model continues the part before the word. Without the text, the
template describes the label: "It was positive." The template and its words are a
pattern-verbalizer pair (Schick and Schütze 2021, arXiv:2001.07676).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import Formatter

from lightning_modules.rows.corpus import Row, normalized
from lightning_modules.seed import seed_of

PLACES = ("text", "text_pair", "label")
_PLACE = re.compile(r"\{(text|text_pair|label)\}")


def broken_rule(template: str) -> str | None:
    """Return the rule that a template breaks, or None.

    >>> broken_rule("It was {label}.")
    'must hold {text}'
    """
    try:
        parts = [part[1:] for part in Formatter().parse(template) if part[1] is not None]
    except ValueError:
        return "must have balanced braces"
    for name, form, conversion in parts:
        if name not in PLACES or form or conversion:
            return "must hold no braces other than {text}, {text_pair} and {label}"
    names = [name for name, *_ in parts]
    for name in ("text", "label"):
        if name not in names:
            return f"must hold {{{name}}}"
    if len(set(names)) < len(names):
        return "must hold each place only once"
    return None if names[-1] == "label" else "{label} must come after the texts"


def filled(template: str, row: Row, word: str) -> str:
    """Return the template with a row's texts and a word filled in.

    >>> filled("{text} It was {label}.", {"text": "So {label}!"}, "bad")
    'So {label}! It was bad.'
    """
    values = {"text_pair": "", **row, "label": word}
    return _PLACE.sub(lambda place: str(values[place[1]]), template)


def question(template: str, row: Row) -> str:
    """Return the template with a row's texts filled in, up to the place of the word.

    >>> question("{text} It was {label}.", {"text": "Fine."})
    'Fine. It was'
    """
    return filled(template.partition("{label}")[0], row, "").rstrip()


def description(template: str, word: str) -> str:
    """Return the template with only the word filled in, as a description of a label.

    >>> description("{text} It was {label}.", "good")
    'It was good.'
    """
    return " ".join(filled(template, {"text": "", "text_pair": ""}, word).split())


def choose_shots(
    rows: Sequence[Row], labels: Sequence[str], num_shots: int, seed: int
) -> tuple[Row, ...]:
    """Return `num_shots` rows of each label, or all if there are fewer, in turns over the labels.

    The choice depends on the texts and the seed, not on the order of the rows. A larger
    `num_shots` adds rows to those of a smaller one.
    """
    by_label: Mapping[str, dict[str, Row]] = {label: {} for label in labels}
    for row in rows:
        by_label[row["label"]].setdefault(normalized(f"{row['text']} {row.get('text_pair')}"), row)
    found: list[tuple[int, int, Row]] = []
    for texts in by_label.values():
        keys = sorted((seed_of(seed, "shot", text), text) for text in texts)[:num_shots]
        # Random order within a turn: a causal model is biased towards the label it read last.
        found += [(turn, key, texts[text]) for turn, (key, text) in enumerate(keys)]
    return tuple(row for *_, row in sorted(found, key=lambda each: each[:2]))
