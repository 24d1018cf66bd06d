"""When memory really runs out, batches are split; what still does not fit is infeasible."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import lightning_modules.module
from lightning_modules.batch.budget import USED
from lightning_modules.batch.micro import is_small
from lightning_modules.callback.checkpoint_file import load_checkpoint
from lightning_modules.check import check_fit
from lightning_modules.error import ConfigError
from lightning_modules.export.predictor import load_trained
from lightning_modules.fit import fit
from lightning_modules.folder import BEST_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.machine.memory import is_out_of_memory
from lightning_modules.model.part import repeated_layers
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from lightning_modules.strategy.base import Strategy
from search.config import build_run, compose
from tests.conftest import write_jsonl
from tests.training import tiny_run

# Train once without a limit, so that everything lazy is loaded, then with a limit.
TRAINS_IN_LITTLE_MEMORY = """
import json, resource, sys
from pathlib import Path
from lightning_modules.logger.base import Identity
from lightning_modules.hooks import Hooks
from lightning_modules.fit import fit
from search.config import build_run, compose

class Notes(Hooks):
    def warn(self, text):
        print(json.dumps({"note": text}), flush=True)

def run(*words):
    return build_run(compose("train", list(words)).tree)

num_bytes, first, *words = json.loads(sys.argv[1])
Path("first").mkdir()
Path("run").mkdir()
fit(run(*words, *first), Path("first"), Identity("first", None, Path("first")))
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmSize"):
        used = int(line.split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + num_bytes, used + num_bytes))
outcome = fit(run(*words), Path("run"), Identity("run", None, Path("run")), Notes())
values = {**outcome.as_dict(), "points": len(outcome.points)}
print(json.dumps({"outcome": values}), flush=True)
"""


@pytest.fixture
def long_texts(here: Path) -> Path:
    rows = []
    for number in range(80):
        label = "positive" if number % 2 else "negative"
        verdict = "great" if number % 2 else "awful"
        rows.append({"text": f"{number} " + f"It was {verdict}. " * 120, "label": label})
    return write_jsonl(here / "long.jsonl", rows)


def train_in(
    num_bytes: int, path: Path, *words: str, first: tuple[str, ...] = ()
) -> tuple[list[str], dict[str, Any]]:
    """Return notes and outcome of a training with `num_bytes` more than a small one uses."""
    given = [
        *("model=tiny", "model.width=64", "model.num_layers=2", "strategy=full", "logger=none"),
        *("data=files", f"data.train={path}", "data.max_length=400", "data.batch_size=32"),
        *("trainer.epochs=1", "trainer.precision=fp32", "trainer.device=cpu", *words),
    ]
    arguments = json.dumps([num_bytes, ["trainer.micro_batch_size=1", *first], *given])
    done = subprocess.run(
        [sys.executable, "-c", TRAINS_IN_LITTLE_MEMORY, arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
    )
    assert done.returncode == 0, done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    return [each["note"] for each in printed if "note" in each], printed[-1]["outcome"]


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_batch_that_does_not_fit_is_trained_in_micro_batches(
    long_texts: Path, here: Path
) -> None:
    notes, outcome = train_in(150 << 20, long_texts)
    assert outcome["ending"] == "finished", outcome["reason"]
    # 8,192 tokens are 20 examples.
    stays = "the effective batch size stays 32"
    assert notes[0] == f"out of memory at step 1: micro-batches of 10 instead of 20; {stays}"
    assert outcome["memory_bytes"] > 100 << 20


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_example_that_does_not_fit_is_infeasible(long_texts: Path) -> None:
    first = ("data.max_length=8",)
    words = ("model.num_layers=24", "trainer.gradient_checkpointing=false")
    notes, outcome = train_in(20 << 20, long_texts, *words, first=first)
    assert outcome["ending"] == "infeasible", (notes, outcome)
    assert outcome["reason"] == "one example of 400 tokens does not fit into memory"
    assert notes[-1].startswith("out of memory at step 1: micro-batches of 1 instead of "), notes
    assert outcome["best"] is None


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_network_that_does_not_fit_is_infeasible(long_texts: Path) -> None:
    first = ("model.width=64",)
    notes, outcome = train_in(30 << 20, long_texts, "model.width=2048", first=first)
    assert outcome["ending"] == "infeasible"
    assert outcome["reason"] == "the network does not fit into memory"
    assert (outcome["best"], outcome["num_trainable"], notes) == (None, 0, [])


class Notes(Hooks):
    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.notes: list[str] = []
        self.num_steps = 0
        self.num_trainable = 0

    def on_network(self, num_trainable: int, num_parameters: int) -> None:
        self.num_trainable = num_trainable

    def warn(self, text: str) -> None:
        self.notes.append(text)

    def on_step(self, step: int, num_steps: int) -> None:
        self.num_steps += 1

    def interrupted(self) -> bool:
        return self.num_steps == self.stop


@dataclass(frozen=True, kw_only=True)
class Cramped(Strategy):
    """Out of memory above `most` examples at once in training, `most_evaluated` in validation.

    With `keeps=False` also if training keeps the activations of all layers.
    Or above `most_tokens` at once in both. `passes` has the shapes of those that fitted.
    """

    most: int = 1000
    keeps: bool = True
    most_evaluated: int = 1000
    most_tokens: int = 10**6
    dropout: float | None = None
    passes: list[tuple[int, int]] = field(default_factory=list)

    def adapt(self, network: Any) -> Any:
        layers = repeated_layers(network)

        def refuse(module: Any, arguments: Any, given: Mapping[str, Any]) -> None:
            most = self.most if module.training else self.most_evaluated
            kept = not any(getattr(each, "gradient_checkpointing", False) for each in layers)
            full = module.training and kept and not self.keeps
            num, width = given["input_ids"].shape
            if num <= most and num * width <= self.most_tokens and not full:
                self.passes.append((num, width))
            else:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        network.register_forward_pre_hook(refuse, with_kwargs=True)
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout) and self.dropout is not None:
                module.p = self.dropout
        return network


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    def make(*words: str, **cramped: Any) -> Run:
        given = (
            *("model=tiny", "strategy=full", "strategy.lr=3e-3", "logger=none", "data=files"),
            *(f"data.train={learnable}", "data.batch_size=16", "trainer.precision=fp32"),
            "trainer.micro_batch_tokens=null",
        )
        run = build_run(compose("train", [*given, *words]).tree)
        values = {f.name: getattr(run.strategy, f.name) for f in fields(Strategy)}
        return replace(run, strategy=Cramped(**values, **cramped))

    return make


def train(run: Run, folder: Path, hooks: Hooks | None = None) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    return fit(run, folder, Identity("test", None, folder), hooks)


def is_bit_equal(one: Path, other: Path) -> bool:
    first, second = load_file(one / BEST_FILE), load_file(other / BEST_FILE)
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.thorough
def test_halving_equals_starting_with_smaller_micro_batches(
    make_run: Callable[..., Run], here: Path
) -> None:
    hooks = Notes()
    halved = train(make_run(most=5), here / "halved", hooks)
    cut = train(make_run("trainer.micro_batch_size=4"), here / "cut")
    assert halved.ending is Ending.finished
    assert is_bit_equal(here / "halved", here / "cut")
    assert [p.train_loss for p in halved.points] == [p.train_loss for p in cut.points]
    stays = "the effective batch size stays 16"
    assert hooks.notes == [
        f"out of memory at step 1: micro-batches of 8 instead of 16; {stays}",
        f"out of memory at step 1: micro-batches of 4 instead of 8; {stays}",
    ]


@pytest.mark.thorough
def test_without_dropout_halving_changes_only_the_rounding(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = ("strategy.lr=1e-3", "trainer.epochs=1")
    halved = train(make_run(*words, most=4, dropout=0.0), here / "halved")
    whole = train(make_run(*words, dropout=0.0), here / "whole")
    for one, other in zip(halved.points, whole.points, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-5)
    first, second = load_file(here / "halved" / BEST_FILE), load_file(here / "whole" / BEST_FILE)
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], atol=2e-4, rtol=1e-3)


@pytest.mark.thorough
def test_a_resumed_run_does_not_run_out_of_memory_again(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run(most=4)
    train(run, here / "whole")
    assert train(run, here / "cut", Notes(stop=3)).ending is Ending.interrupted
    saved = load_checkpoint(here / "cut", pytest.fail)
    assert saved is not None and saved.record.micro_batch_size == 4
    hooks = Notes()
    train(run, here / "cut", hooks)
    assert hooks.notes == []
    assert is_bit_equal(here / "whole", here / "cut")


@pytest.mark.thorough
def test_activations_are_computed_again_once_micro_batches_cannot_be_halved(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = ("trainer.max_steps=6", "trainer.validations_per_epoch=1")
    hooks = Notes()
    found = train(make_run(*words, keeps=False), here / "auto", hooks)
    assert found.ending is Ending.finished
    assert hooks.notes[-2:] == [
        "out of memory at step 1: micro-batches of 1 instead of 2; the effective batch size stays "
        "16",
        "out of memory at step 1 with micro-batches of 1: gradient checkpointing from here on, "
        "which changes no result",
    ]
    small = make_run(*words, "trainer.micro_batch_size=1", "trainer.gradient_checkpointing=false")
    train(small, here / "small")
    assert is_bit_equal(here / "auto", here / "small")
    # It stays on in a resumed run.
    train(make_run(*words, keeps=False), here / "cut", Notes(stop=3))
    saved = load_checkpoint(here / "cut", pytest.fail)
    assert saved is not None and saved.record.recomputes
    hooks = Notes()
    train(make_run(*words, keeps=False), here / "cut", hooks)
    assert hooks.notes == [] and is_bit_equal(here / "cut", here / "small")


@pytest.mark.thorough
def test_gradient_checkpointing_changes_no_result(make_run: Callable[..., Run], here: Path) -> None:
    words = ("trainer.max_steps=6", "trainer.validations_per_epoch=1")
    hooks = Notes()
    on = train(make_run(*words, "trainer.gradient_checkpointing=true"), here / "on", hooks)
    off = train(make_run(*words, "trainer.gradient_checkpointing=false"), here / "off")
    assert hooks.notes == [] and on.points[-1].metrics == off.points[-1].metrics
    assert is_bit_equal(here / "on", here / "off")
    refused = make_run(*words, "trainer.gradient_checkpointing=false", keeps=False)
    assert train(refused, here / "refused").ending is Ending.infeasible


def test_only_a_gpu_is_idle_with_few_tokens() -> None:
    batch = {"input_ids": torch.zeros(8, 512)}
    assert is_small(batch, 4, "cuda") and not is_small(batch, 5, "cuda")
    assert not is_small(batch, 2, "cpu") and is_small(batch, 1, "cpu")
    assert not is_small({"features": torch.zeros(8, 4)}, 2, "cuda")


def test_trained_keys_and_values_cannot_be_computed_again(learnable: Path) -> None:
    words = ("strategy=prefix_tuning", "trainer.gradient_checkpointing=true")
    with pytest.raises(ConfigError) as caught:
        check_fit(tiny_run(learnable, *words), None)
    assert str(caught.value) == (
        "trainer.gradient_checkpointing: must be auto or false, because the layers read trained "
        "keys and values, got true. Set trainer.gradient_checkpointing=false."
    )


@pytest.mark.thorough
def test_validation_batches_are_halved(make_run: Callable[..., Run], here: Path) -> None:
    hooks = Notes()
    halved = train(make_run(most_evaluated=5), here / "halved", hooks)
    whole = train(make_run(), here / "whole")
    assert hooks.notes == [
        "out of memory in the validation after step 4: 12 examples at once instead of 24",
        "out of memory in the validation after step 4: 6 examples at once instead of 12",
        "out of memory in the validation after step 4: 3 examples at once instead of 6",
    ]
    for one, other in zip(halved.points, whole.points, strict=True):
        assert one.metrics == pytest.approx(other.metrics, abs=1e-4)


class Card:
    """Stands in for a GPU on which a run's pass takes 1 byte per token, and 100 tokens fit."""

    def __init__(self, run: Run, hooks: Notes) -> None:
        assert isinstance(run.strategy, Cramped)
        self.num_probed = 0
        self._passes = run.strategy.passes
        self._hooks = hooks

    def free_bytes(self) -> int:
        state_bytes = 2 * 4 * self._hooks.num_trainable
        return math.ceil((100 + state_bytes) / USED)

    def peak_bytes(self, act: Callable[[], object]) -> int:
        self.num_probed += 1
        act()
        num, width = self._passes[-1]
        return num * width


@pytest.mark.thorough
def test_a_limit_of_tokens_cuts_training_and_validation_alike(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = ("strategy.lr=1e-3", "trainer.epochs=1")
    run = make_run(*words, "trainer.micro_batch_tokens=60", dropout=0.0)
    cut = train(run, here / "cut", hooks := Notes())
    whole = train(make_run(*words, dropout=0.0), here / "whole")
    assert isinstance(run.strategy, Cramped) and hooks.notes == []
    assert all(num * width <= 60 for num, width in run.strategy.passes)
    assert (cut.micro_batch_tokens, whole.micro_batch_tokens) == (60, None)
    for one, other in zip(cut.points, whole.points, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-5)
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-5)


@pytest.mark.thorough
def test_tokens_are_halved_until_they_fit_and_then_stay(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run("trainer.micro_batch_tokens=auto", most_tokens=60)
    train(run, here / "whole", hooks := Notes())
    assert 1 < len(hooks.notes) < 8, hooks.notes
    assert all(note.startswith("out of memory ") for note in hooks.notes)
    train(run, here / "cut", Notes(stop=3))
    saved = load_checkpoint(here / "cut", pytest.fail)
    assert saved is not None and saved.record.micro_batch_size is None
    assert saved.record.micro_batch_tokens is not None and saved.record.micro_batch_tokens <= 60
    train(run, here / "cut")
    assert is_bit_equal(here / "whole", here / "cut")


@pytest.mark.thorough
def test_a_measured_limit_is_used_from_the_first_step_and_after_a_stop(
    make_run: Callable[..., Run], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("trainer.micro_batch_tokens=auto")
    hooks = Notes()
    card = Card(run, hooks)
    monkeypatch.setattr(lightning_modules.module, "memory_of", lambda device: card)
    whole = train(run, here / "whole", hooks)
    assert whole.micro_batch_tokens == 64
    (note,) = hooks.notes
    assert re.fullmatch(
        r"micro-batches of 64 tokens, e\.g\. \d examples of \d+, fit into memory; the effective "
        "batch size stays 16",
        note,
    )
    explicit = make_run("trainer.micro_batch_tokens=64")
    train(explicit, here / "explicit")
    assert is_bit_equal(here / "whole", here / "explicit")
    train(run, here / "cut", Notes(stop=3))
    num_probed = card.num_probed
    train(run, here / "cut")
    assert card.num_probed == num_probed
    assert is_bit_equal(here / "whole", here / "cut")


@pytest.mark.thorough
@pytest.mark.parametrize("cramped", [{"most": 0}, {"most_evaluated": 0}])
def test_a_single_example_that_does_not_fit_is_infeasible(
    make_run: Callable[..., Run], here: Path, cramped: dict[str, int]
) -> None:
    outcome = train(make_run(**cramped), here / "run")
    assert outcome.ending is Ending.infeasible
    assert outcome.reason.startswith("one example of ")
    assert outcome.reason.endswith(" tokens does not fit into memory")
    assert outcome.num_trainable > 0
    assert json.loads((here / "run/outcome.json").read_text())["ending"] == "infeasible"


@pytest.mark.thorough
def test_a_predictor_uses_batches_that_fit(make_run: Callable[..., Run], here: Path) -> None:
    train(make_run("trainer.epochs=1"), here / "run")
    rows = [{"text": f"The hotel {number} was great.", "label": "positive"} for number in range(70)]
    labels = ["negative", "positive"]
    whole = load_trained(make_run(), here / "run", labels)
    pieces = load_trained(make_run(most_evaluated=3), here / "run", labels)
    assert pieces.score(rows) == pytest.approx(whole.score(rows), abs=1e-6)
    for one, other in zip(pieces.predict(rows), whole.predict(rows), strict=True):
        assert one["prediction"] == other["prediction"]
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
    with pytest.raises(ConfigError) as caught:
        load_trained(make_run(most_evaluated=0), here / "run", labels).predict(rows)
    assert re.fullmatch(
        r"data\.max_length: an example must fit into memory, got one of \d+ tokens\. "
        r"Use a machine with more memory, or a model trained with a smaller data\.max_length\.",
        str(caught.value),
    )


def test_an_optimizer_that_does_not_fit_is_infeasible(
    make_run: Callable[..., Run], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **given: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.AdamW, "step", refuse)
    outcome = train(make_run(), here / "run")
    assert outcome.ending is Ending.infeasible
    assert "optimizer step 1, with its state, does not fit" in outcome.reason


def test_other_errors_are_not_out_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    descriptor = "could not create a primitive descriptor for the matmul primitive"
    assert not is_out_of_memory(RuntimeError(descriptor))
    assert not is_out_of_memory(OSError(28, "No space left on device"))


# In its own process, because free blocks in a heap depend on everything the process did before.
FREES_MEMORY = """
import psutil, torch
from lightning_modules.machine.memory import free_memory

def held():
    return psutil.Process().memory_info().rss >> 20

torch.ones(7 << 20)  # from now on glibc allocates blocks of this size on its heap
before = held()
# A small block between every two stays, so that the heap cannot shrink from its end.
blocks = [torch.ones(size) for _ in range(30) for size in (4 << 20, 1 << 16)]
stay = blocks[1::2]
blocks.clear()
kept = held() - before
free_memory()
assert all(block.numel() == 1 << 16 for block in stay)
print(kept, held() - before)
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_freed_memory_is_returned_to_the_system() -> None:
    words = [sys.executable, "-c", FREES_MEMORY]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    kept, left = map(int, done.stdout.split())
    assert kept > 400 and left < 100


KEEPS = """
import ctypes, os, sys
from pathlib import Path
from lightning_modules.machine.memory import keep_buffers

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

keep_buffers()
assert "torch" not in sys.modules
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
before, size = resident(), 64 << 20
buffer = ctypes.c_void_p(libc.malloc(size))
ctypes.memset(buffer, 1, size)
assert resident() - before > 0.9 * size
libc.free(buffer)
print((resident() - before) / size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sets glibc's malloc and reads /proc")
@pytest.mark.parametrize("own", [{}, {"MALLOC_MMAP_THRESHOLD_": "65536"}], ids=["ours", "user"])
def test_freed_buffers_are_kept_unless_the_user_has_set_malloc(own: Mapping[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KEEPS],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **own},
    )
    kept = float(done.stdout)
    assert kept < 0.1 if own else kept > 0.9
