"""Near duplicates: pairs of texts whose Jaccard similarity on character 5-grams is at least 0.8.

J(A, B) = |A & B| / |A | B| for the sets A and B of a text's 5-grams. MinHash (Broder 1997) draws
126 values per text, of which an expected share J is equal in two texts. Texts that agree in one of
21 bands of 6 values are candidates: of pairs with J = 0.8 these find 99.8 %, of pairs with J = 0.5
28 %. Those that agree in fewer than 78 of all values are dropped: of pairs with J = 0.8 one in a
million, of pairs with J = 0.5 99.5 %. The others are verified on the 5-grams themselves, so no pair
is wrong.

Cost: about 40 microseconds per text of 100 characters, and 210 bytes. Texts of one template are
candidates of one another; so verifying ends after a number of characters.
Shapes: N texts, B bands, V values of a band, W values of a text, M candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = 0.8
"""The least Jaccard similarity of near duplicates."""
WIDTH = 5  # characters
NUM_BANDS, NUM_VALUES = 21, 6
LEAST_EQUAL = 78
"""Least values that candidates have in common: 5 standard deviations below those of J = 0.8."""
NUM_TOGETHER = 5_000  # texts whose whole signatures, or whose candidates, are in memory at once
MAX_COMPARED = 10
"""Most texts of a band that one text is compared with; a band of more is one of boilerplate."""
MAX_CANDIDATES = 20_000_000
"""Most candidates that are kept, 8 bytes each."""
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
    import numpy as np

    bands_NB, bytes_NW = _signatures(texts, advance)
    side_N = None if side is None else np.array(side, np.int64)
    first_M, second_M = _candidates(bands_NB, bytes_NW, side_N)
    is_complete = len(first_M) <= MAX_CANDIDATES
    grams_of = lru_cache(NUM_KEPT)(grams)
    pairs: list[Pair] = []
    left = max_characters
    for at in range(min(len(first_M), MAX_CANDIDATES)):
        first, second = int(first_M[at]), int(second_M[at])
        one, other = texts[first], texts[second]
        left -= len(one) + len(other)
        if left < 0:
            return Pairs(pairs, is_complete=False)
        value = jaccard(one, other, grams_of)
        if value >= LEAST:
            pairs.append(Pair(first, second, value))
    return Pairs(pairs, is_complete)


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


def _signatures(
    texts: Sequence[str], advance: Callable[[int], None]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what stands for the values of each text.

    Returns:
        A number per band, (N, B): equal values have equal numbers, and others hardly ever. And the
        lowest byte of each value, (N, W), which two different values share in one of 256 cases (Li
        and Koenig 2010, b = 8).

    """
    import numpy as np
    from rensa import RMinHash

    # Odd constants: the hash of a band's values.
    factors_V = np.random.default_rng(SEED).integers(1, 2**63, NUM_VALUES, dtype=np.uint64) | 1
    bands_NB = np.empty((len(texts), NUM_BANDS), np.uint32)
    bytes_NW = np.empty((len(texts), NUM_BANDS * NUM_VALUES), np.uint8)
    for start in range(0, len(texts), NUM_TOGETHER):
        part = texts[start : start + NUM_TOGETHER]
        hashes, offsets = _hashes(part)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, offsets, NUM_BANDS * NUM_VALUES, SEED
        )
        values_NW = np.array(matrix.to_rows(), np.uint64)
        bytes_NW[start : start + len(part)] = values_NW  # modulo 256
        values_NBV = values_NW.reshape(len(part), NUM_BANDS, NUM_VALUES)
        sums_NB = (_mixed(values_NBV) * factors_V).sum(axis=2)
        bands_NB[start : start + len(part)] = sums_NB >> np.uint64(32)
        advance(len(part))
    return bands_NB, bytes_NW


def _hashes(texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a 64-bit hash of every 5-gram of the texts, and where each text's begin and end.

    Those of different lines differ. So the similarity of whole texts, of which the values of
    MinHash agree, is at least that of their least similar lines.
    """
    import numpy as np

    lines = [text.split("\n") for text in texts]
    padded = [line.ljust(WIDTH, "\0") for each in lines for line in each]
    joined = "".join(padded).encode("utf-32-le", "surrogatepass")
    letters = np.frombuffer(joined, np.uint32).astype(np.uint64)
    draw = np.random.default_rng(SEED + 1)
    *factors, of_line = draw.integers(1, 2**63, WIDTH + 1, dtype=np.uint64) | 1
    whole = np.zeros(len(letters) - WIDTH + 1, np.uint64)
    for at, factor in enumerate(factors):
        whole += letters[at : at + len(whole)] * factor
    lengths = np.array([len(line) for line in padded])
    ends = lengths.cumsum()
    # Those that begin in one line and end in the next are no 5-grams of a line.
    within = np.ones(len(letters), bool)
    for back in range(1, WIDTH):
        within[ends - back] = False
    counts = lengths - WIDTH + 1
    numbers = np.array([number for each in lines for number in range(len(each))], np.uint64)
    hashes = _mixed(whole[within[: len(whole)]] + np.repeat(numbers * of_line, counts))
    last = np.cumsum([len(each) for each in lines]) - 1
    return hashes, np.concatenate([[0], counts.cumsum()[last]]).astype(np.uint64)


def _mixed(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values with their bits spread (the finalizer of SplitMix64)."""
    import numpy as np

    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = np.multiply(values ^ (values >> np.uint64(shift)), np.uint64(factor))
    mixed: NDArray[Any] = values ^ (values >> np.uint64(31))
    return mixed


def _candidates(
    bands_NB: NDArray[Any], bytes_NW: NDArray[Any], side_N: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the pairs of texts that agree in a band and in enough values, each once, in order.

    It stops after the band with which there are more than `MAX_CANDIDATES`.
    """
    import numpy as np

    num_texts = max(len(bands_NB), 1)
    found_M = np.empty(0, np.int64)  # first * N + second
    for band_N in bands_NB.T:
        alike = (_alike(both_M2, bytes_NW) for both_M2 in _agreeing(band_N, side_N))
        numbers = [both_M2.min(axis=1) * num_texts + both_M2.max(axis=1) for both_M2 in alike]
        found_M = np.unique(np.concatenate([found_M, *numbers]))
        if len(found_M) > MAX_CANDIDATES:
            break
    return found_M // num_texts, found_M % num_texts


def _alike(both_M2: NDArray[Any], bytes_NW: NDArray[Any]) -> NDArray[Any]:
    """Return the candidates that have enough values in common."""
    first_MW, second_MW = bytes_NW[both_M2[:, 0]], bytes_NW[both_M2[:, 1]]
    alike: NDArray[Any] = both_M2[(first_MW == second_MW).sum(axis=1) >= LEAST_EQUAL]
    return alike


def _agreeing(band_N: NDArray[Any], side_N: NDArray[Any] | None) -> Iterator[NDArray[Any]]:
    """Yield pairs of texts that agree in a band, some at a time."""
    import numpy as np

    order = np.argsort(band_N, kind="stable") if side_N is None else np.lexsort((side_N, band_N))
    found = _within(band_N[order]) if side_N is None else _between(band_N[order], side_N[order])
    for places_M2 in found:
        yield order[places_M2]


def _within(values_N: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the places of pairs with one value: each with those up to `MAX_COMPARED` before it."""
    import numpy as np

    for start in range(0, len(values_N), NUM_TOGETHER):
        second = np.arange(start, min(start + NUM_TOGETHER, len(values_N)))
        for back in range(1, MAX_COMPARED + 1):
            second = second[second >= back]
            yield _equal(second - back, second, values_N)


def _between(values_N: NDArray[Any], side_N: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the places of pairs with one value and two sides.

    Each of side 0 with the first `MAX_COMPARED` of side 1. Values ascend.
    """
    import numpy as np

    zeros, ones = np.flatnonzero(side_N == 0), np.flatnonzero(side_N == 1)
    for start in range(0, len(zeros), NUM_TOGETHER):
        first = zeros[start : start + NUM_TOGETHER]
        place = np.searchsorted(values_N[ones], values_N[first])
        for _ in range(MAX_COMPARED):
            first, place = first[place < len(ones)], place[place < len(ones)]
            yield _equal(first, ones[place], values_N)
            place = place + 1


def _equal(first: NDArray[Any], second: NDArray[Any], values_N: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    is_equal = values_N[first] == values_N[second]
    return np.stack([first[is_equal], second[is_equal]], axis=1)
