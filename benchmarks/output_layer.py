"""The loss of a language model: in chunks of the targets, against all logits at once.

Prints the median CPU time of the loss with its backward pass, and the memory that the loss keeps
for it, for a random network of one layer with a large vocabulary. Both sides alternate. Fails if
the chunked loss is slower by more than a tenth.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import transformers
from shared_parts.argument import parser_of
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_modules.batch.type import IGNORED
from lightning_modules.text.loss import target_losses

WIDTH = 128
BOUND = 1.1


def network_of(num_logits: int, *, is_frozen: bool) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=num_logits,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    torch.manual_seed(0)
    network = transformers.AutoModelForCausalLM.from_config(config).train()
    network.lm_head.requires_grad_(requires_grad=not is_frozen)
    return network


def whole(network: Any, ids: Tensor, labels: Tensor) -> Tensor:
    logits = network(input_ids=ids, use_cache=False).logits.float()
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")


def chunked(network: Any, ids: Tensor, labels: Tensor) -> Tensor:
    return target_losses(network, {"input_ids": ids, "use_cache": False}, labels).loss_sum


Loss = Callable[[Any, Tensor, Tensor], Tensor]
SIDES: dict[str, Loss] = {"whole": whole, "chunked": chunked}


class Kept:
    """A tensor that is kept for a backward pass; tensors of the same memory count once."""

    held: ClassVar[Counter[int]] = Counter()
    num_bytes = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._count(1)

    def __del__(self) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        storage = self.tensor.untyped_storage()
        before = Kept.held[storage.data_ptr()]
        after = before + change
        Kept.held[storage.data_ptr()] = after
        Kept.num_bytes += storage.nbytes() * (bool(after) - bool(before))


def kept_bytes(side: Loss, *given: Any) -> int:
    """Return the bytes that a loss keeps, with the weights that its backward pass reads."""
    before = Kept.num_bytes
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        loss = side(*given)
    kept = Kept.num_bytes - before
    loss.backward()  # type: ignore[no-untyped-call]
    return kept


def cpu_seconds(side: Loss, network: Any, ids: Tensor, labels: Tensor) -> float:
    network.zero_grad()
    began = time.process_time()
    (side(network, ids, labels) / labels.numel()).backward()  # type: ignore[no-untyped-call]
    return time.process_time() - began


def main() -> int:
    parser = parser_of(__doc__, "a small vocabulary, three rounds")
    quick = parser.parse_args().quick
    num_logits, num_rounds = (8_000, 3) if quick else (32_000, 5)
    is_slower = False
    print(f"Vocabulary {num_logits:,}, width {WIDTH}, CPU ms and MiB kept: whole, chunked")
    for is_frozen in (True, False):
        network = network_of(num_logits, is_frozen=is_frozen)
        for share in (1.0, 0.25):
            ids = torch.randint(num_logits, (8, 256))
            labels = ids.clone()
            labels[:, : round(256 * (1 - share))] = IGNORED
            kept = [kept_bytes(side, network, ids, labels) / 2**20 for side in SIDES.values()]
            seconds: dict[str, list[float]] = {name: [] for name in SIDES}
            for _ in range(num_rounds):
                for name, side in SIDES.items():
                    seconds[name].append(cpu_seconds(side, network, ids, labels))
            medians = [1e3 * statistics.median(each) for each in seconds.values()]
            is_slower |= medians[1] > BOUND * medians[0]
            what = "frozen" if is_frozen else "trained"
            print(
                f"{what:7s} output layer, {share:4.0%} targets: "
                f"{medians[0]:7.0f} {medians[1]:7.0f} ms, ratio {medians[1] / medians[0]:.2f}; "
                f"{kept[0]:7.1f} {kept[1]:7.1f} MiB"
            )
    return int(is_slower)


if __name__ == "__main__":
    sys.exit(main())
