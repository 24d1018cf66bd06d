"""The disk and the memory of a study, on this machine and with a false nvidia-smi."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from search.config import compose
from search.estimate.study_need import LOG_BYTES, PROCESS_BYTES, StudyNeed, study_need
from search.machine.memory import free_gpu_bytes
from search.plan.build import build_plan
from tests.search.estimate.test_need import ALL, LLAMA

FLOAT32 = {**LLAMA, "dtype": "float32"}
GIB_80 = 81_559 * 2**20


def need(here: Path, *words: str, config: Mapping[str, Any] = FLOAT32) -> StudyNeed:
    (here / "model").mkdir(exist_ok=True)
    (here / "model/config.json").write_text(json.dumps(config))
    model = ("model=hub", f"model.path={here / 'model'}", "task=generation", "data.max_length=128")
    plan = build_plan(compose("sweep", [*model, "trainer.precision=fp32", *words]))
    found = study_need(plan, here / "studies/s")
    assert found is not None
    return found


@pytest.fixture
def gpu(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an `nvidia-smi` that lists one card with 80 GB free first in the path."""
    folder = here / "bin"
    folder.mkdir()
    script = folder / "nvidia-smi"
    script.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "  *memory.free*) echo 81559 ;;\n"
        "  -L*) echo 'GPU 0: A card (UUID: GPU-1)' ;;\n"
        "  *) echo 0 ;;\n"
        "esac\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_the_disk_holds_best_weights_checkpoints_and_logs(here: Path) -> None:
    words = ("strategy=full", "search.keep=3", "search.num_trials=10", "search.workers=2")
    disk = need(here, *words, "logger=wandb", "search.certify=false").disk
    assert (disk.num_kept, disk.num_certified, disk.kept) == (4, 0, 4 * 4 * ALL)
    # Of each: two checkpoints and the one that is written, with their best weights.
    assert (disk.num_running, disk.running) == (2, 2 * 3 * (12 + 4) * ALL)
    assert disk.logs == 10 * LOG_BYTES
    assert disk.total == disk.kept + disk.running + disk.logs
    assert 0 < disk.free < 1e16
    assert need(here, *words, "logger=none").disk.logs == 0
    # All certified runs have their weights until the certificate is written.
    certified = need(here, *words, "logger=wandb").disk
    assert (certified.num_certified, certified.kept) == (6, 10 * 4 * ALL)
    assert certified.logs == 16 * LOG_BYTES


def test_fewer_trials_than_are_kept_count(here: Path) -> None:
    assert need(here, "strategy=full", "search.keep=3", "search.num_trials=2").disk.num_kept == 2


def test_without_a_gpu_everything_is_in_main_memory(here: Path) -> None:
    words = ("strategy=lora", "data.batch_size=8", "trainer.device=cpu", "search/space=none")
    memory = need(here, *words, "optimizer.lr=tag(log,interval(1e-4,1e-3))").memory
    assert memory.example is not None and memory.batch == 8 * memory.example
    assert memory.most == PROCESS_BYTES + memory.weights + memory.states + memory.batch
    assert memory.least == memory.most - 7 * memory.example
    assert memory.host == memory.most
    assert memory.fits and memory.fits_batch and memory.fits_host


# The Llama of 75 million parameters of benchmarks/memory.py, and what workers took in GB on a CPU.
MEASURED = {
    ("strategy=lora", "data.max_length=128"): (1.37, 1.47),
    ("strategy=lora", "data.max_length=512"): (2.99, 2.94),
    ("strategy=full", "data.max_length=128"): (2.85, 2.76),
}


@pytest.mark.parametrize(("words", "gigabytes"), MEASURED.items())
def test_the_estimate_is_a_little_more_than_workers_took(
    here: Path, words: tuple[str, ...], gigabytes: tuple[float, ...]
) -> None:
    shape = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 8}
    more = {"num_attention_heads": 12, "num_key_value_heads": 4, "vocab_size": 32000}
    config = {**LLAMA, **shape, **more, "tie_word_embeddings": True, "dtype": "bfloat16"}
    fixed = ("data.batch_size=8", "trainer.device=cpu", "trainer.precision=bf16")
    memory = need(here, *words, *fixed, "optimizer.lr=1e-4", config=config).memory
    assert max(gigabytes) < memory.most / 1e9 < 1.15 * max(gigabytes)


def test_the_largest_batch_of_the_space_counts_up_to_the_micro_batch(here: Path) -> None:
    words = ("strategy=lora", "trainer.device=cpu", "data.batch_size=choice(4,16,64)")
    assert need(here, *words).memory.num_examples == 64
    assert need(here, *words, "trainer.micro_batch_size=2").memory.num_examples == 2
    assert need(here, *words, "trainer.micro_batch_tokens=1000").memory.num_examples == 7


def test_the_greediest_arm_counts(here: Path) -> None:
    memory = need(here, "strategy=choice(lora,full)", "trainer.device=cpu").memory
    assert memory.states == 12 * ALL
    # Each trial trains a copy of the loaded weights.
    assert memory.loaded == memory.weights == 4 * ALL
    assert memory.host == memory.most >= PROCESS_BYTES + (4 + 4 + 12) * ALL


@pytest.mark.usefixtures("gpu")
def test_with_a_gpu_the_model_is_on_it_and_the_host_holds_a_copy(here: Path) -> None:
    found = need(here, "strategy=full", "search.workers=2")
    memory = found.memory
    assert memory.on_gpu and memory.free == GIB_80 and memory.num_sharing == 2
    assert memory.batch is not None
    assert memory.most == memory.weights + memory.states + memory.batch
    # The loaded weights, and the trained ones on their way to the disk.
    assert memory.host == PROCESS_BYTES + (4 + 4) * ALL
    assert memory.fits is True
    assert found.as_dict()["memory"]["most"] == memory.most


@pytest.mark.usefixtures("gpu")
def test_visible_gpus_are_those_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_gpu_bytes() == GIB_80
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert free_gpu_bytes() == GIB_80
    monkeypatch.setenv("PATH", "")
    assert free_gpu_bytes() is None
