"""Tags of words as entities, and entities as scores.

A tag is `O`, or a prefix and a type, as `B-person`. The schemes:

    BIO     B begins an entity, I goes on with it (IOB2)
    BIOES   the same; E ends one of several words, S is one of a single word
    IOB1    I is a word of an entity; B only parts it from one of its type right before

What is predicted may be malformed. An `I` without a beginning then begins an entity in BIO and
IOB1, as the CoNLL and WNUT scorers read it and published figures have it; in BIOES only what is
well formed counts. An entity is right if its first word, its last word and its type are.

Papers: Ramshaw and Marcus 1995 (IOB1); Tjong Kim Sang and De Meulder 2003 (the scorer).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

OUTSIDE = "O"


class Scheme(Enum):
    """How tags say where entities begin and end."""

    auto = "auto"
    """The first of those below that all rows are well formed in."""
    bio = "bio"
    bioes = "bioes"
    iob1 = "iob1"


PREFIXES: Mapping[Scheme, str] = {Scheme.bio: "BI", Scheme.bioes: "BIES", Scheme.iob1: "BI"}


@dataclass(frozen=True, order=True)
class Entity:
    """Words `start` to `end`, the latter excluded, counted from 0."""

    start: int
    end: int
    type: str


def entities(tags: Sequence[str], labels: Sequence[str]) -> list[Entity]:
    """Return the entities of a sentence, first to last.

    Args:
        tags: One a word.
        labels: All tags there are, which tell BIOES from the other schemes.

    >>> entities(["B-person", "I-person", "O", "I-place"], ["O", "B-person", "I-person"])
    [Entity(start=0, end=2, type='person'), Entity(start=3, end=4, type='place')]

    """
    if _is_bioes(labels):
        from seqeval.scheme import IOBES, Entities

        strict = Entities([list(tags)], IOBES).entities[0]
        return sorted(Entity(each.start, each.end, each.tag) for each in strict)
    from seqeval.metrics.sequence_labeling import get_entities

    return sorted(Entity(start, last + 1, kind) for kind, start, last in get_entities(list(tags)))


def recognised(sentences: Iterable[Sequence[str]]) -> Scheme | None:
    """Return the first scheme that all sentences' tags are well formed in, None without one."""
    left = list(PREFIXES)
    for tags in sentences:
        left = [scheme for scheme in left if flaw(tags, scheme) is None]
    return left[0] if left else None


def flaw(tags: Sequence[str], scheme: Scheme) -> str | None:
    """Return what is malformed about a sentence's tags, None where nothing is.

    >>> flaw(["O", "I-place"], Scheme.bio)
    'word 2 has I-place with no B-place or I-place before it'
    """
    for place, (before, tag) in enumerate(pairwise([OUTSIDE, *tags]), start=1):
        prefix, dash, kind = tag.partition("-")
        if tag != OUTSIDE and not (dash and kind and prefix and prefix in PREFIXES[scheme]):
            known = ", ".join(f"{each}-TYPE" for each in PREFIXES[scheme])
            return f"word {place} has {tag!r} in place of O, {known}"
        if why := _bad_step(before, tag, scheme):
            return f"word {place} has {tag} {why}"
    if scheme is Scheme.bioes and _is_open(tags[-1]):
        return f"word {len(tags)} has {tags[-1]} and nothing ends it"
    return None


def _bad_step(before: str, tag: str, scheme: Scheme) -> str | None:
    prefix, _, kind = tag.partition("-")
    if scheme is Scheme.bioes and _is_open(before) and tag not in _going_on(before):
        return f"where {before} before it must go on"
    is_inside = tag != OUTSIDE and prefix in ("I", "E")
    if scheme is not Scheme.iob1 and is_inside and before not in (f"B-{kind}", f"I-{kind}"):
        return f"with no B-{kind} or I-{kind} before it"
    if scheme is Scheme.iob1 and prefix == "B" and before not in (f"B-{kind}", f"I-{kind}"):
        return f"with no entity of type {kind} before it to part from"
    return None


def _is_open(tag: str) -> bool:
    return tag.startswith(("B-", "I-"))


def _going_on(tag: str) -> tuple[str, str]:
    return f"I{tag[1:]}", f"E{tag[1:]}"


def _is_bioes(labels: Iterable[str]) -> bool:
    return any(label.startswith(("E-", "S-")) for label in labels)


@dataclass(frozen=True)
class Tally:
    """How many entities of each type there are, were predicted, and were predicted rightly."""

    support: Counter[str]
    predicted: Counter[str]
    right: Counter[str]

    def score(self, kind: str | None = None) -> dict[str, float]:
        """Return precision, recall and F1 of a type, None for all; 0 where one has no value."""
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
    """Count over sentences: (the entities that there are, those predicted)."""
    found = Tally(Counter(), Counter(), Counter())
    for true, predicted in pairs:
        found.support.update(each.type for each in true)
        found.predicted.update(each.type for each in predicted)
        found.right.update(each.type for each in {*true} & {*predicted})
    return found
