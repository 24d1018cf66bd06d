"""Near duplicates: pairs of texts whose Jaccard similarity on character 5-grams is at least 0.8.

J(A, B) = |A & B| / |A | B| for the sets A and B of a text's 5-grams. MinHash (Broder 1997) draws
126 values per text, of which an expected share J is equal in two texts. Texts that agree in one of
21 bands of 6 values are candidates: of pairs with J = 0.8 these find 99.8 %, of pairs with J = 0.5
28 %. Every candidate is then verified on the 5-grams themselves, so no pair is wrong.

Cost: about 50 microseconds per text of 100 characters, and 168 bytes. Texts of one template are
candidates of one another; so verifying ends after a number of characters.
Shapes: N texts, B bands, V values of a band.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = 0.8
"""The least Jaccard similarity of near duplicates."""
WIDTH = 5  # characters
NUM_BANDS, NUM_VALUES = 21, 6
NUM_TOGETHER = 20_000  # texts whose signatures are in memory at once
MAX_COMPARED = 10
"""Most texts of a band that one text is compared with; a band of more is one of boilerplate."""
MAX_CHARACTERS = 4_000_000_000
"""Most characters of candidates that are verified: some minutes."""
NUM_KEPT = 64  # texts whose 5-grams are in memory
SEED = 1


@dataclass(frozen=True, order=True)
class Pair:
    """Two near duplicates, by their numbers, `first` < `second`."""

    first: int
    second: int
    jaccard: float


@dataclass(frozen=True)
class Pairs:
    """The near duplicates among some texts.

    Attributes:
        pairs: Each pair once, ordered by number.
        is_complete: Whether all candidates were verified.

    """

    pairs: Sequence[Pair]
    is_complete: bool


def near_pairs(
    texts: Sequence[str],
    side: Sequence[int] | None = None,
    advance: Callable[[int], None] = lambda num_texts: None,
    max_characters: int = MAX_CHARACTERS,
) -> Pairs:
    """Return the pairs of near duplicates.

    Args:
        texts: Normalized texts; equal ones count as near too.
        side: If given, only texts of different sides are compared, e.g. 0 and 1: each of side 0
            with the first `MAX_COMPARED` of side 1 in a band.
        advance: Called with the number of texts that have been read.
        max_characters: Most characters of candidates that are verified.

    """
    bands_NB = _bands(texts, advance)
    grams_of = lru_cache(NUM_KEPT)(grams)
    pairs: dict[tuple[int, int], float] = {}
    left = max_characters
    for bucket in _buckets(bands_NB):
        for both in _candidates(bucket, side):
            if both not in pairs:
                one, other = (texts[number] for number in both)
                left -= len(one) + len(other)
                if left < 0:
                    return Pairs(_sorted(pairs), is_complete=False)
                value = jaccard(one, other, grams_of)
                if value >= LEAST:
                    pairs[both] = value
    return Pairs(_sorted(pairs), is_complete=True)


def _sorted(pairs: Mapping[tuple[int, int], float]) -> list[Pair]:
    return sorted(Pair(*both, value) for both, value in pairs.items())


def grams(text: str) -> Set[str]:
    """Return the character 5-grams of a text; a shorter text is one itself."""
    return {text[at : at + WIDTH] for at in range(max(len(text) - WIDTH + 1, 1))}


def jaccard(one: str, other: str, grams_of: Callable[[str], Set[str]] = grams) -> float:
    """Return the Jaccard similarity of the 5-grams of two normalized texts.

    Texts of several lines have that of their least similar lines.

    Args:
        one: A text.
        other: Another one.
        grams_of: Returns the 5-grams of a line, e.g. from memory.

    >>> jaccard("a good film, well made", "a good film, well made!")
    0.9473684210526315
    """
    if one == other:
        return 1.0
    ones, others = one.split("\n"), other.split("\n")
    if len(ones) != len(others):
        return 0.0
    return min(_of_lines(*lines, grams_of) for lines in zip(ones, others, strict=True))


def _of_lines(one: str, other: str, grams_of: Callable[[str], Set[str]]) -> float:
    if one == other:
        return 1.0
    a, b = grams_of(one), grams_of(other)
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def _bands(texts: Sequence[str], advance: Callable[[int], None]) -> NDArray[Any]:
    """Return a number for each band of each text, (N, B): equal values, equal numbers."""
    import numpy as np
    from rensa import RMinHash

    # Odd constants: the hash of a band's values.
    factors_V = np.random.default_rng(SEED).integers(1, 2**63, NUM_VALUES, dtype=np.uint64) | 1
    bands_NB = np.empty((len(texts), NUM_BANDS), np.uint64)
    for start in range(0, len(texts), NUM_TOGETHER):
        part = texts[start : start + NUM_TOGETHER]
        hashes, offsets = _hashes(part)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, offsets, NUM_BANDS * NUM_VALUES, SEED
        )
        values = np.array(matrix.to_rows(), np.uint64).reshape(len(part), NUM_BANDS, NUM_VALUES)
        bands_NB[start : start + len(part)] = (_mixed(values) * factors_V).sum(axis=2)
        advance(len(part))
    return bands_NB


def _hashes(texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a 64-bit hash of every 5-gram of the texts, and where each text's begin and end."""
    import numpy as np

    padded = [text.ljust(WIDTH, "\0") for text in texts]
    joined = "".join(padded).encode("utf-32-le", "surrogatepass")
    letters = np.frombuffer(joined, np.uint32).astype(np.uint64)
    factors = np.random.default_rng(SEED + 1).integers(1, 2**63, WIDTH, dtype=np.uint64) | 1
    whole = np.zeros(len(letters) - WIDTH + 1, np.uint64)
    for at in range(WIDTH):
        whole += letters[at : at + len(whole)] * factors[at]
    lengths = np.array([len(text) for text in padded])
    ends = lengths.cumsum()
    # Those that begin in one text and end in the next are no 5-grams of a text.
    within = np.ones(len(letters), bool)
    for back in range(1, WIDTH):
        within[ends - back] = False
    counts = lengths - WIDTH + 1
    return _mixed(whole[within[: len(whole)]]), np.concatenate([[0], counts.cumsum()]).astype(
        np.uint64
    )


def _mixed(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values with their bits spread (the finalizer of SplitMix64)."""
    import numpy as np

    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = np.multiply(values ^ (values >> np.uint64(shift)), np.uint64(factor))
    mixed: NDArray[Any] = values ^ (values >> np.uint64(31))
    return mixed


def _buckets(bands_NB: NDArray[Any]) -> Iterator[list[int]]:
    """Yield the texts that agree in a band, for each band and value, in order."""
    import numpy as np

    for band in range(bands_NB.shape[1]):
        column = bands_NB[:, band]
        order = np.argsort(column, kind="stable")
        starts = np.flatnonzero(np.diff(column[order], prepend=column[order[:1]] + np.uint64(1)))
        sizes = np.diff(np.append(starts, len(order)))
        for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
            yield order[start : start + size].tolist()


def _candidates(bucket: Sequence[int], side: Sequence[int] | None) -> Iterator[tuple[int, int]]:
    """Yield the pairs of a bucket that are to be compared, the smaller number first."""
    if side is not None:
        groups: dict[int, list[int]] = {}
        for each in bucket:
            groups.setdefault(side[each], []).append(each)
        for name, members in groups.items():
            for other, others in groups.items():
                if name < other:
                    for a in members:
                        yield from ((min(a, b), max(a, b)) for b in others[:MAX_COMPARED])
        return
    for place, each in enumerate(bucket):
        for other in bucket[max(place - MAX_COMPARED, 0) : place]:
            yield other, each
