"""Compiled layers: trained alike, compiled once, and only where that pays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from transformers.modeling_layers import GradientCheckpointingLayer

from lightning_modules.check import check_fit
from lightning_modules.error import ConfigError
from lightning_modules.hooks import Hooks
from lightning_modules.model.compiled import (
    NUM_TIMED,
    Probed,
    compile_layers,
    has_compiler,
    probe,
    uncompile_layers,
)
from lightning_modules.outcome import Ending
from tests.training import tiny_run, train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
"""torch.compile imports modules of torch that warn."""
WORDS = ("strategy=lora", "strategy.dropout=0", "trainer.epochs=2", "data.batch_size=32")


class Notes(Hooks):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def warn(self, text: str) -> None:
        self.notes.append(text)


class Layer(GradientCheckpointingLayer):  # type: ignore[misc]
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values + 1


def is_compiled(network: nn.Module) -> bool:
    return all(layer._compiled_call_impl is not None for layer in network.children())


@pytest.mark.thorough
# torch hides this one of its own where it would be shown, but here warnings are errors.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
def test_compiled_layers_train_alike(learnable: Path, here: Path) -> None:
    torch._dynamo.reset()
    counters.clear()
    plain = train(tiny_run(learnable, *WORDS), here / "plain")
    assert not counters["stats"]["unique_graphs"]
    compiled = train(tiny_run(learnable, *WORDS, "trainer.compile=true"), here / "compiled")
    assert compiled.ending is Ending.finished
    # For any number of layers: the first one, whose input needs no gradient, and all others,
    # each with a mask and without; and validation.
    assert 2 <= counters["stats"]["unique_graphs"] <= 5, counters["stats"]
    for one, other in zip(plain.points, compiled.points, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-4)
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-4)


@pytest.mark.thorough
def test_a_short_training_is_not_compiled(learnable: Path, here: Path) -> None:
    torch._dynamo.reset()
    counters.clear()
    hooks = Notes()
    run = tiny_run(learnable, *WORDS, "trainer.compile=auto")
    assert train(run, here / "run", hooks).ending is Ending.finished
    (note,) = hooks.notes
    assert note.startswith("trainer.compile=auto: layers are not compiled: 8 passes of "), note
    assert not counters["stats"]["unique_graphs"]


@pytest.mark.parametrize(
    ("num_passes", "compiling", "pays"), [(5000, 30.0, True), (5000, 600.0, False)]
)
def test_layers_stay_compiled_if_the_passes_to_come_save_more_than_it_took(
    num_passes: int, compiling: float, pays: bool
) -> None:
    network = nn.Sequential(Layer(), Layer())
    now, num_compiled = 0.0, 0

    def run_pass() -> None:
        nonlocal now, num_compiled
        num_compiled += is_compiled(network)
        now += 0.2 if not num_compiled else compiling if num_compiled == 1 else 0.1

    probed = probe(network, run_pass, num_passes, clock=lambda: now)
    assert num_compiled == 1 + NUM_TIMED
    assert probed.pays is pays is is_compiled(network)
    are = "compiled" if pays else "not compiled"
    assert str(probed) == (
        f"layers are {are}: {num_passes} passes of 0.2 s take 0.1 s each compiled, and compiling "
        f"took {compiling:.0f} s"
    )


def test_few_passes_are_not_even_compiled_to_find_out() -> None:
    network, times = nn.Sequential(Layer()), iter(range(1000))
    probed = probe(network, lambda: None, num_passes=299, clock=lambda: next(times))
    assert probed == Probed(1.0, None, 0.0, 299) and not probed.pays and not is_compiled(network)
    assert str(probed) == ("layers are not compiled: 299 passes of 1 s are too few to pay for it")


def test_layers_do_not_stay_compiled_if_memory_runs_out() -> None:
    network, times = nn.Sequential(Layer()), iter(range(1000))

    def run_pass() -> None:
        if is_compiled(network):
            raise MemoryError

    with pytest.raises(MemoryError):
        probe(network, run_pass, num_passes=1000, clock=lambda: next(times))
    assert not is_compiled(network)


def test_layers_are_as_written_again() -> None:
    network = nn.Sequential(Layer(), Layer())
    assert compile_layers(network) and is_compiled(network)
    uncompile_layers(network)
    assert not any(layer._compiled_call_impl for layer in network.children())
    assert network(torch.zeros(1)).item() == 2
    assert not compile_layers(nn.Sequential(nn.Linear(1, 1)))


def test_a_machine_without_a_compiler_is_told(
    learnable: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(here))
    monkeypatch.delenv("CXX", raising=False)
    check_fit(tiny_run(learnable, "trainer.compile=auto"), None)
    with pytest.raises(ConfigError) as caught:
        check_fit(tiny_run(learnable, "trainer.compile=true"), None)
    assert str(caught.value) == (
        "trainer.compile: must be false or auto on a machine without a C++ compiler, got true. "
        "Install g++, or set trainer.compile=false."
    )
