"""What the first trials of LoRA on a decoder come to, on published sweeps of the learning rate.

    python benchmarks/prior.py

For each model and rank of `benchmarks/tables/lora_sweeps.csv`: how far the loss at the learning
rate that `conf/prior.yaml` has for its size is above the lowest published one, and in how many it
is at most 1 % above. A rate between two published ones is interpolated. Some of the prior's rates
come from the publisher of these sweeps, so they show that the table is used rightly more than that
it holds for models which nobody has swept.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from sampler_parts.problem import published_losses

from lightning_modules.model.kind import Kind
from lightning_modules.model.size import Size
from search.config.prior import Row
from search.config.prior_table import load_table

CONF = Path(__file__).resolve().parents[1] / "conf"
NEAR = 0.01
NOT_IN_THE_NAME = {"DeepSeek-V3.1": Size(671e9, True), "Kimi-K2.6": Size(1000e9, True)}


def size_of(model: str) -> Size:
    """Return the size that a model's name says, e.g. Qwen3-30B-A3B."""
    if model in NOT_IN_THE_NAME:
        return NOT_IN_THE_NAME[model]
    numbers = re.findall(r"-(A?)(\d+(?:\.\d+)?)B", model)
    (billions,) = [float(number) for active, number in numbers if not active]
    experts = any(active for active, _ in numbers) or model.startswith("Nemotron-3")
    return Size(1e9 * billions, experts)


def row_of(model: str) -> Row:
    """Return the row of LoRA that a model of this name gets."""
    rows = load_table([CONF]).rows["lora"]
    return next(row for row in rows if row.suits(Kind.decoder, size_of(model)))


def sweeps() -> Iterator[tuple[str, Callable[[float], float | None], float]]:
    """Yield a model, its loss by learning rate, and the lowest published loss, for each rank."""
    for model, losses, loss in published_losses():
        yield model, loss, min(losses)


def excesses(rates_of: Callable[[str], list[float]]) -> list[float]:
    """Return by what share the best of some rates is above the lowest loss, for each sweep."""
    return [_lowest(loss, rates_of(model)) / best - 1 for model, loss, best in sweeps()]


def _lowest(loss: Callable[[float], float | None], rates: list[float]) -> float:
    return min(each for each in map(loss, rates) if each is not None)


def main() -> None:
    def default(model: str) -> list[float]:
        return [row_of(model).values["lr"]]

    def portfolio(model: str) -> list[float]:
        return [*default(model), *(each["optimizer.lr"] for each in row_of(model).also)]

    tried = {
        "1e-3, as for a small encoder": lambda _: [1e-3],
        "the prior's default": default,
        "the best of default and portfolio": portfolio,
    }
    print(f"{'':36s}{'within 1 %':>12s}{'median':>9s}{'worst':>9s}")
    for name, rates_of in tried.items():
        found = excesses(rates_of)
        near = statistics.mean(each <= NEAR for each in found)
        print(f"{name:36s}{near:12.0%}{statistics.median(found):9.2%}{max(found):9.2%}")
    print(f"\n{len(list(sweeps()))} sweeps of {len({model for model, *_ in sweeps()})} models")


if __name__ == "__main__":
    main()
