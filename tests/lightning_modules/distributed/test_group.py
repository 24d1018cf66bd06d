"""The ranks of a run compute what one rank would."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from pytorch_lightning.plugins import Precision
from safetensors.torch import load_file
from torch import Tensor, nn

from lightning_modules.cache import Cache
from lightning_modules.callback.best import load_observed
from lightning_modules.distributed.group import Collective, GroupRank, Lost, Rank, share_of
from lightning_modules.folder import BEST_FILE
from lightning_modules.run import Run
from lightning_modules.strategy.base import Strategy
from tests.training import tiny_run, train

# The other ranks import it, so it must be in a module of its own.
PLUGIN = '''
from dataclasses import dataclass
from lightning_modules.model.dropout import disable_dropout
from lightning_modules.strategy.base import Strategy

@dataclass(frozen=True, kw_only=True)
class NoDropout(Strategy):
    """Without dropout, the result does not depend on how batches are split."""

    def adapt(self, network):
        disable_dropout(network)
        return network
'''


@pytest.fixture
def plugin(here: Path) -> Iterator[Any]:
    (here / "group_plugin.py").write_text(PLUGIN)
    sys.path.append(str(here))
    import group_plugin

    yield group_plugin
    sys.path.remove(str(here))
    del sys.modules["group_plugin"]


def without_dropout(run: Run, plugin: Any) -> Run:
    values = {f.name: getattr(run.strategy, f.name) for f in fields(Strategy)}
    return replace(run, strategy=plugin.NoDropout(**values))


@pytest.mark.thorough
@pytest.mark.parametrize("loss", [(), ("task.class_weights={positive: 5}",)])
def test_two_ranks_train_like_one(
    learnable: Path, plugin: Any, here: Path, loss: tuple[str, ...]
) -> None:
    # Of 112 rows in batches of 37, the last batch has a single one: rank 0's share is empty.
    make_run = partial(tiny_run, learnable, "data.batch_size=37", "trainer.epochs=3", *loss)
    alone = train(without_dropout(make_run(), plugin), here / "alone")
    num_threads = torch.get_num_threads()
    run = without_dropout(make_run("trainer.devices=2"), plugin)
    shared = train(run, here / "shared", cache=Cache())
    assert torch.get_num_threads() == num_threads == shared.num_threads
    assert shared.hardware.startswith("cpu x 2 ranks, fp32")
    assert {p.name for p in (here / "alone").iterdir()} == {
        p.name for p in (here / "shared").iterdir()
    }
    for one, other in zip(alone.points, shared.points, strict=True):
        assert (one.step, one.metrics["accuracy"]) == (other.step, other.metrics["accuracy"])
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-5)
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-5)
    for load in (lambda folder: load_file(folder / BEST_FILE), load_observed):
        first, second = load(here / "alone"), load(here / "shared")
        assert first.keys() == second.keys()
        for name, tensor in first.items():
            torch.testing.assert_close(tensor, second[name], atol=2e-5, rtol=1e-4)


def test_only_rank_0_draws_the_dropout_of_a_single_rank() -> None:
    collective: Any = None
    assert Rank().seed_names == GroupRank(0, 2, collective).seed_names == ()
    assert GroupRank(1, 2, collective).seed_names == ("rank", 1)
    assert GroupRank(2, 3, collective).seed_names == ("rank", 2)


class Gated(nn.Module):
    """A linear layer, one that no input reaches, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.used, self.unused, self.frozen = nn.Linear(4, 1), nn.Linear(4, 1), nn.Linear(4, 4)
        self.frozen.requires_grad_(requires_grad=False)

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.used(self.frozen(x_BD)).sum()


def gradients(network: nn.Module) -> dict[str, Tensor | None]:
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def on_ranks(num_ranks: int, folder: Path, act: Callable[[GroupRank], Any]) -> list[Any]:
    """Return what `act` returns on each rank of a group in threads."""

    def one(index: int) -> Any:
        cpu = torch.device("cpu")
        collective = Collective(str(folder / "rendezvous"), index, num_ranks, cpu)
        return act(GroupRank(index, num_ranks, collective))

    with ThreadPoolExecutor(num_ranks) as threads:
        return list(threads.map(one, range(num_ranks)))


@pytest.mark.parametrize("num_rows", [1, 2, 7])
def test_summed_gradients_are_those_of_the_whole_batch(here: Path, num_rows: int) -> None:
    x_BD = torch.randn(num_rows, 4, generator=torch.Generator().manual_seed(num_rows))
    initial, whole = Gated(), Gated()
    whole_loss = whole(x_BD)
    whole_loss.backward()

    def step(rank: GroupRank) -> tuple[float, dict[str, Tensor | None]]:
        network, share = copy.deepcopy(initial), rank.share({"x": x_BD})["x"]
        loss = torch.zeros(())
        if len(share):  # with 1 or 2 rows, a rank has none
            loss = network(share)
            loss.backward()
        return rank.sum_gradients(network, loss).item(), gradients(network)

    for loss, actual in on_ranks(3, here, step):
        assert loss == pytest.approx(whole_loss.item(), rel=1e-5)
        for name, expected in gradients(whole).items():
            if expected is None:  # the optimizer must skip it on every rank
                assert actual[name] is None, name
            else:
                torch.testing.assert_close(actual[name], expected)


def test_synchronized_ranks_have_the_trained_tensors_of_rank_0(here: Path) -> None:
    initial = Gated()

    def synchronize(rank: GroupRank) -> dict[str, Tensor]:
        network: Any = copy.deepcopy(initial)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(rank.index)
        rank.synchronize(network, torch.optim.SGD(network.parameters()), Precision())
        return dict(network.state_dict())

    first, second = on_ranks(2, here, synchronize)
    for name, tensor in first.items():
        expected = tensor + 1 if name.startswith("frozen") else tensor
        torch.testing.assert_close(second[name], expected)


def test_a_rank_that_waits_for_a_closed_one_raises_lost(here: Path) -> None:
    joined = Barrier(2)  # the first to join may leave before the other has

    def leave_or_wait(rank: GroupRank) -> str:
        joined.wait(timeout=60)
        if rank.index:
            rank._collective.close()
            return "left"
        with pytest.raises(Lost):
            rank._collective.sum([torch.ones(3)])
        return "noticed"

    assert on_ranks(2, here, leave_or_wait) == ["noticed", "left"]


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_shares_cover_a_batch_once_and_in_order(num_ranks: int) -> None:
    for num_rows in range(1, 20):
        batch = {"row": torch.arange(num_rows)}
        shares = [share_of(batch, index, num_ranks)["row"] for index in range(num_ranks)]
        assert torch.equal(torch.cat(shares), batch["row"])
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
