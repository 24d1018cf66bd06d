"""The lines of a plan on the disk and the memory that a study needs."""

from __future__ import annotations

from collections.abc import Iterator

from search.estimate.study_need import DiskNeed, MemoryNeed, StudyNeed
from search.report.text import columns
from search.terminal.estimate import WIDTH

FEWER = "fewer examples are processed at once if so many do not fit, as seems likely"


def need_lines(need: StudyNeed | None, *, is_measured: bool = False) -> list[str]:
    """Return the lines; none if the need is unknown.

    Args:
        need: What the study needs.
        is_measured: Whether the memory was measured, so that no estimate of it is shown.

    """
    if need is None:
        return []
    parts = [("disk", _disk(need.disk))]
    if not is_measured:
        parts += [("GPU", _gpu(need.memory))] if need.memory.on_gpu else []
        parts += [("host", _host(need.memory))]
    return columns(
        [
            ["" if at else name.ljust(WIDTH), text]
            for name, texts in parts
            for at, text in enumerate(texts)
        ]
    )


def amount(num_bytes: float) -> str:
    """Return a number of bytes, rounded like an estimate.

    >>> amount(1_440_000_000), amount(160_000_000), amount(4_100_000)
    ('1.4 GB', '0.2 GB', '4 MB')
    """
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.0f} MB"


def _disk(need: DiskNeed) -> Iterator[str]:
    running = "the running trial" if need.num_running == 1 else f"{need.num_running} running trials"
    certified = f" and {need.num_certified} certified runs" if need.num_certified else ""
    yield (
        f"{amount(need.total)} at most: best weights of {need.num_kept} trials{certified} "
        f"{amount(need.kept)}, files of {running} {amount(need.running)}, logs "
        f"{amount(need.logs)}; {amount(need.free)} free"
    )
    if need.total - need.running > need.free:
        off = ", set search.certify=false" if need.num_certified else ""
        yield f"DOES NOT FIT: lower search.keep{off}, or free some space"
    elif need.total > need.free:
        yield "if a checkpoint does not fit, its trial trains on, and starts over if it is killed"


def _gpu(need: MemoryNeed) -> Iterator[str]:
    sharing = f", {need.num_sharing} of them on a GPU" if need.num_sharing > 1 else ""
    free = "" if need.free is None else f"; {amount(need.free)} free"
    yield f"about {_parts(need)} per worker{sharing}{free}"
    if need.fits is False:
        yield (
            "DOES NOT FIT even with one example at once: set strategy=lora or qlora, or lower "
            "data.max_length"
        )
    elif need.fits_batch is False:
        yield FEWER


def _host(need: MemoryNeed) -> Iterator[str]:
    what = amount(need.host) if need.on_gpu else _parts(need)
    workers = f", {amount(need.num_workers * need.host)} for {need.num_workers}"
    yield (
        f"about {what} per worker{workers if need.num_workers > 1 else ''}; "
        f"{amount(need.free_host)} free"
    )
    if need.fits_host:
        return
    if not need.on_gpu and need.fits:
        yield FEWER
    else:
        yield "DOES NOT FIT: lower search.workers or data.max_length, or take a smaller model"


def _parts(need: MemoryNeed) -> str:
    process = "" if need.on_gpu else f"{amount(need.process - need.loaded)} process, "
    loaded = f"{amount(need.loaded)} loaded weights, " if need.loaded and not need.on_gpu else ""
    parts = f"{process}{loaded}{amount(need.weights)} weights, {amount(need.states)} to train them"
    if need.example is None or need.batch is None:
        return f"{amount(need.least)} and activations ({parts})"
    return (
        f"{amount(need.most)} ({parts}, {amount(need.batch)} activations of {need.num_examples} x "
        f"{need.num_tokens} tokens)"
    )
