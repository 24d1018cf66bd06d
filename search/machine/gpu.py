"""The GPUs of this machine that this process may use.

They are listed without torch, which takes a second to import, and whose CUDA context takes memory:
NVIDIA's by `nvidia-smi -L`, with a card's MIG instances in its place, AMD's from the kernel.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NVIDIA, AMD = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"
AMD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")

_CARD = re.compile(r"GPU \d+: .*\(UUID: (\S+)\)")
_PART = re.compile(r"\s+MIG .*\(UUID: (\S+)\)")


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG instance of one.

    Attributes:
        variable: The environment variable that chooses it for a process.
        name: Its name there.
        card: What identifies it on this machine, the same for all its names in that variable.

    """

    variable: str
    name: str
    card: str


def gpus() -> Sequence[Gpu]:
    """Return the GPUs that this process may use, in the order of their names."""
    found = _nvidia() or list(_amd(AMD_NODES))
    for variable in (NVIDIA, AMD):
        if (visible := os.environ.get(variable)) is not None:
            names = [name.strip() for name in visible.split(",") if name.strip()]
            return [Gpu(variable, name, _card_of(name, found)) for name in names if name != "-1"]
    return found


def environment_of(chosen: Sequence[Gpu]) -> Mapping[str, str]:
    """Return the environment in which a process sees only these GPUs, and all if there are none.

    >>> environment_of([Gpu(NVIDIA, "0", "GPU-a"), Gpu(NVIDIA, "1", "GPU-b")])
    {'CUDA_VISIBLE_DEVICES': '0,1'}
    """
    return {chosen[0].variable: ",".join(gpu.name for gpu in chosen)} if chosen else {}


def _card_of(name: str, found: Sequence[Gpu]) -> str:
    """Return the card of a name: a position, or the beginning of an identifier."""
    if name.isdecimal():
        return found[int(name)].card if int(name) < len(found) else name
    return next((gpu.card for gpu in found if gpu.card.startswith(name)), name)


def _nvidia() -> Sequence[Gpu]:
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if listed.returncode != 0:
        return []
    cards: list[list[str]] = []
    for line in listed.stdout.splitlines():
        if found := _CARD.match(line):
            cards.append([found[1]])
        elif (found := _PART.match(line)) and cards:
            cards[-1].append(found[1])
    # A card that is cut into MIG instances can be used through these only.
    uuids = (uuid for card in cards for uuid in (card[1:] or card))
    return [Gpu(NVIDIA, uuid, uuid) for uuid in uuids]


def _amd(nodes: Path) -> Iterator[Gpu]:
    """Yield AMD's GPUs: the nodes of the kernel's list that are not processors."""
    folders = sorted(nodes.glob("*/gpu_id"), key=lambda path: int(path.parent.name))
    number = 0
    for path in folders:
        try:
            if int(path.read_text(encoding="ascii")) == 0:
                continue
            text = (path.parent / "properties").read_text(encoding="ascii")
        except (OSError, ValueError):
            continue
        properties = dict(line.split(maxsplit=1) for line in text.splitlines() if " " in line)
        yield Gpu(AMD, str(number), f"AMD-{properties.get('unique_id', number)}")
        number += 1
