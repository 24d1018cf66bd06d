"""Convert the tags of words to entities, and entities to scores.

A tag is `O`, or a prefix and a type, e.g. `B-person`. The schemes:

    BIO     B starts an entity, I continues it (IOB2)
    BIOES   the same; E ends an entity of several words, S is an entity of a single word
    IOB1    I is inside an entity; B only starts one directly after another of the same type
    plain   no prefix: each word has a tag of its own, e.g. its part of speech, and is an "entity"

Predicted tags may be malformed. In BIO and IOB1 an `I` without a start then starts an entity, as
in the CoNLL and WNUT scorers and in published figures; in BIOES only well-formed entities count.
An entity is correct if its first word, its last word and its type are correct.

Papers: Ramshaw and Marcus 1995 (IOB1); Tjong Kim Sang and De Meulder 2003 (the scorer).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

OUTSIDE = "O"


class Scheme(Enum):
    """How tags mark where entities start and end."""

    auto = "auto"
    """The first of the schemes below in which all rows are well-formed."""
    bio = "bio"
    bioes = "bioes"
    iob1 = "iob1"
    plain = "plain"
    """Tags without a prefix, one per word: parts of speech."""


PREFIXES: Mapping[Scheme, tuple[str, ...]] = {
    Scheme.bio: ("B", "I"),
    Scheme.bioes: ("B", "I", "E", "S"),
    Scheme.iob1: ("B", "I"),
    Scheme.plain: (),
}
_PREFIXED = re.compile(r"[BIES]+-.")
"""A tag that is meant to have a prefix, right or wrong; Brown's "NN-TL" is none."""


@dataclass(frozen=True, order=True)
class Entity:
    """The words `start` to `end` (excluded), counted from 0."""

    start: int
    end: int
    type: str


def entities(tags: Sequence[str], labels: Sequence[str]) -> list[Entity]:
    """Return the entities of a sentence in order.

    Args:
        tags: One tag per word.
        labels: All tags of the task, which show whether the scheme is BIOES.

    >>> entities(["B-person", "I-person", "O", "I-place"], ["O", "B-person", "I-person"])
    [Entity(start=0, end=2, type='person'), Entity(start=3, end=4, type='place')]

    """
    if not any(map(is_prefixed, labels)):
        return [Entity(n, n + 1, tag) for n, tag in enumerate(tags) if tag != OUTSIDE]
    if _is_bioes(labels):
        from seqeval.scheme import IOBES, Entities

        strict = Entities([list(tags)], IOBES).entities[0]
        return sorted(Entity(each.start, each.end, each.tag) for each in strict)
    from seqeval.metrics.sequence_labeling import get_entities

    return sorted(Entity(start, last + 1, kind) for kind, start, last in get_entities(list(tags)))


def detect_scheme(sentences: Iterable[Sequence[str]]) -> Scheme | None:
    """Return the first scheme in which the tags of all sentences are well-formed, or None."""
    left = list(PREFIXES)
    for tags in sentences:
        left = [scheme for scheme in left if flaw(tags, scheme) is None]
    return left[0] if left else None


def flaw(tags: Sequence[str], scheme: Scheme) -> str | None:
    """Return what is malformed about a sentence's tags, or None.

    >>> flaw(["O", "I-place"], Scheme.bio)
    'word 2 has I-place with no B-place or I-place before it'
    """
    if scheme is Scheme.plain:
        found = ((n, tag) for n, tag in enumerate(tags, start=1) if is_prefixed(tag))
        return next((f"word {n} has {tag!r}, which has a prefix" for n, tag in found), None)
    for place, (before, tag) in enumerate(pairwise([OUTSIDE, *tags]), start=1):
        prefix, dash, kind = tag.partition("-")
        if dash and is_prefixed(tag) and prefix not in PREFIXES[Scheme.bioes]:
            return f"word {place} has {tag!r}, and {prefix} is no prefix of BIO, BIOES or IOB1"
        if tag != OUTSIDE and not (dash and kind and prefix and prefix in PREFIXES[scheme]):
            known = ", ".join(f"{each}-TYPE" for each in PREFIXES[scheme])
            return f"word {place} has {tag!r} instead of O, {known}"
        if why := _bad_step(before, tag, scheme):
            return f"word {place} has {tag} {why}"
    if scheme is Scheme.bioes and _is_open(tags[-1]):
        return f"word {len(tags)} has {tags[-1]}, but the entity never ends"
    return None


def is_prefixed(tag: str) -> bool:
    """Return whether a tag is meant to have a prefix.

    >>> is_prefixed("B-place"), is_prefixed("NN"), is_prefixed("-LRB-")
    (True, False, False)
    """
    return _PREFIXED.match(tag) is not None


def type_of(tag: str) -> str:
    """Return a tag without its prefix.

    >>> type_of("B-place"), type_of("NN")
    ('place', 'NN')
    """
    return tag.partition("-")[2] if is_prefixed(tag) else tag


def _bad_step(before: str, tag: str, scheme: Scheme) -> str | None:
    prefix, _, kind = tag.partition("-")
    if scheme is Scheme.bioes and _is_open(before) and tag not in _continuations(before):
        return f"but the {before} before it must be continued"
    is_inside = tag != OUTSIDE and prefix in ("I", "E")
    if scheme is not Scheme.iob1 and is_inside and before not in (f"B-{kind}", f"I-{kind}"):
        return f"with no B-{kind} or I-{kind} before it"
    if scheme is Scheme.iob1 and prefix == "B" and before not in (f"B-{kind}", f"I-{kind}"):
        return f"with no entity of type {kind} directly before it"
    return None


def _is_open(tag: str) -> bool:
    return tag.startswith(("B-", "I-"))


def _continuations(tag: str) -> tuple[str, str]:
    return f"I{tag[1:]}", f"E{tag[1:]}"


def _is_bioes(labels: Iterable[str]) -> bool:
    return any(label.startswith(("E-", "S-")) for label in labels)


@dataclass(frozen=True)
class Tally:
    """Number of true, predicted and correctly predicted entities of each type."""

    support: Counter[str]
    predicted: Counter[str]
    right: Counter[str]

    def score(self, kind: str | None = None) -> dict[str, float]:
        """Return precision, recall and F1 of a type, or of all for None; 0 if undefined."""
        right, predicted, support = (
            counts.total() if kind is None else counts[kind]
            for counts in (self.right, self.predicted, self.support)
        )
        return {
            "precision": right / max(1, predicted),
            "recall": right / max(1, support),
            "f1": 2 * right / max(1, predicted + support),
        }


def tally(pairs: Iterable[tuple[Sequence[Entity], Sequence[Entity]]]) -> Tally:
    """Count entities over sentences, given as pairs (true entities, predicted entities)."""
    found = Tally(Counter(), Counter(), Counter())
    for true, predicted in pairs:
        found.support.update(each.type for each in true)
        found.predicted.update(each.type for each in predicted)
        found.right.update(each.type for each in {*true} & {*predicted})
    return found
