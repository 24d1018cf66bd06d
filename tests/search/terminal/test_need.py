"""What a plan says of the disk and the memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search.cli.main import main
from search.estimate.study_need import DiskNeed, MemoryNeed, StudyNeed
from search.terminal.need import need_lines

DISK = DiskNeed(
    kept=128e9,
    num_kept=4,
    num_certified=0,
    running=384e9,
    num_running=1,
    logs=12e6,
    free=1_000_000_000_000,
)
GPU = MemoryNeed(
    on_gpu=True,
    weights=5.7e9,
    loaded=0.0,
    states=0.3e9,
    example=0.5e9,
    batch=8e9,
    num_examples=16,
    num_tokens=1024,
    host=6.4e9,
    free=80_000_000_000,
    free_host=64_000_000_000,
    num_sharing=1,
    num_workers=1,
)
HOST = replace(GPU, on_gpu=False, host=14.7e9, free=64_000_000_000)


def lines(disk: DiskNeed = DISK, memory: MemoryNeed = GPU) -> list[str]:
    return need_lines(StudyNeed(disk, memory))


def test_a_study_on_a_gpu() -> None:
    assert lines() == [
        "disk    512.0 GB at most: best weights of 4 trials 128.0 GB, files of the running trial "
        "384.0 GB, logs 12 MB; 1000.0 GB free",
        "GPU     about 14.0 GB (5.7 GB weights, 0.3 GB to train them, 8.0 GB activations of 16 x "
        "1024 tokens) per worker; 80.0 GB free",
        "host    about 6.4 GB per worker; 64.0 GB free",
    ]


def test_a_study_without_a_gpu() -> None:
    assert lines(memory=replace(HOST, num_workers=2))[1:] == [
        "host    about 14.7 GB (0.7 GB process, 5.7 GB weights, 0.3 GB to train them, 8.0 GB "
        "activations of 16 x 1024 tokens) per worker, 29.4 GB for 2; 64.0 GB free",
    ]


@pytest.mark.parametrize(
    ("free", "line"),
    [
        (14_100_000_000, None),
        (
            10_000_000_000,
            "        fewer examples are processed at once if so many do not fit, as seems likely",
        ),
        (
            6_000_000_000,
            "        DOES NOT FIT even with one example at once: set strategy=lora or qlora, or "
            "lower data.max_length",
        ),
    ],
)
def test_what_does_not_fit_on_the_gpu_is_said(free: int, line: str | None) -> None:
    _, _, *rest = lines(memory=replace(GPU, free=free))
    assert rest[:-1] == ([] if line is None else [line])


@pytest.mark.parametrize(
    ("free", "line"),
    [
        (15_000_000_000, None),
        (
            10_000_000_000,
            "        fewer examples are processed at once if so many do not fit, as seems likely",
        ),
        (
            6_000_000_000,
            "        DOES NOT FIT: lower search.workers or data.max_length, or take a smaller "
            "model",
        ),
    ],
)
def test_what_does_not_fit_into_main_memory_is_said(free: int, line: str | None) -> None:
    _, _, *rest = lines(memory=replace(HOST, free=free, free_host=free))
    assert rest == ([] if line is None else [line])


@pytest.mark.parametrize(
    ("free", "line"),
    [
        (600_000_000_000, None),
        (
            400_000_000_000,
            "        if a checkpoint does not fit, its trial trains on, and starts over if it is "
            "killed",
        ),
        (100_000_000_000, "        DOES NOT FIT: lower search.keep, or free some space"),
    ],
)
def test_what_does_not_fit_on_the_disk_is_said(free: int, line: str | None) -> None:
    _, *rest = lines(disk=replace(DISK, free=free))
    assert rest[:-2] == ([] if line is None else [line])


def test_certified_runs_are_named_with_their_weights() -> None:
    first, last, *_ = lines(disk=replace(DISK, num_certified=6, free=100_000_000_000))
    assert "best weights of 4 trials and 6 certified runs 128.0 GB" in first
    assert last.endswith("lower search.keep, set search.certify=false, or free some space")


def test_unknown_activations_and_needs() -> None:
    assert need_lines(None) == []
    found = lines(memory=replace(GPU, example=None, batch=None))[1]
    assert found.startswith("GPU     about 6.0 GB and activations (5.7 GB weights, 0.3 GB to train")


def test_measured_memory_replaces_the_estimate() -> None:
    (line,) = need_lines(StudyNeed(DISK, GPU), is_measured=True)
    assert line.startswith("disk  ")


@pytest.mark.usefixtures("here")
def test_the_plan_of_the_default_study_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "study=p", "trainer.device=cpu"]) == 0
    output = capsys.readouterr().out.splitlines()
    assert any(line.startswith("disk    ") and line.endswith(" GB free") for line in output)
    assert any(line.startswith("host    about ") for line in output)
    assert not any(line.startswith("GPU") for line in output)
    assert not list(Path().iterdir())
