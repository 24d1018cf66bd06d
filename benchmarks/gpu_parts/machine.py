"""The machine and its libraries, and the tests that need a GPU."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

import torch
from gpu_parts.call import ROOT, Call, report, require
from gpu_parts.llama import write_model, write_rows
from gpu_parts.training import GIB

VERSIONS = ("torch", "transformers", "pytorch-lightning", "peft")
OPTIONAL = ("accelerate", "bitsandbytes", "datasets", "hydra", "liger_kernel", "optuna", "wandb")
MATMUL_SIZE = 8192


def environment(call: Call) -> None:
    """Report versions and the card's matmul speed; write all models and rows."""
    report(
        python=platform.python_version(),
        **{name: importlib.metadata.version(name) for name in VERSIONS},
        installed={name: find_spec(name) is not None for name in (*OPTIONAL, "pytest")},
        **({} if call.on_cpu else _card()),
    )
    # The studies' model too: its parts count the processes on the card, so they must not use it.
    for each in {call, call.of_study()}:
        write_model(each)
        write_rows(each)


def _card() -> dict[str, Any]:
    free, total = torch.cuda.mem_get_info()
    x = torch.randn(MATMUL_SIZE, MATMUL_SIZE, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        x @ x
    torch.cuda.synchronize()
    began, num_matmuls = time.monotonic(), 10
    for _ in range(num_matmuls):
        x @ x
    torch.cuda.synchronize()
    flops = num_matmuls * 2 * MATMUL_SIZE**3 / (time.monotonic() - began)
    return {
        "gpu": torch.cuda.get_device_name(),
        "free_gib": round(free / GIB, 1),
        "total_gib": round(total / GIB, 1),
        "matmul_tflops": round(flops / 1e12),
    }


def gpu_tests(call: Call) -> None:
    """Run the tests marked `gpu`; on the CPU only collect them."""
    # Collecting all tests would take longer than running these.
    paths = set((ROOT / "tests").rglob("test_*.py"))
    paths.remove(ROOT / "tests" / "benchmarks" / "test_gpu.py")  # it runs the other parts
    files = [str(path) for path in paths if "mark.gpu" in path.read_text(encoding="utf-8")]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", *files]
    if call.on_cpu:
        words.append("--collect-only")
    done = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, check=False)
    report(tests=done.stdout.strip().splitlines()[-8:], exit_code=done.returncode)
    require(done.returncode == 0, "the tests marked gpu must pass")
