"""What every test gets: no network, no keys, and a folder and a cache of its own."""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from faults.postgres import Postgres, postgres_binaries

from lightning_modules.cache import Cache
from lightning_modules.task.classification import Classification
from search.certificate.certificate import CERTIFICATE_FILE, Certificate, certificates_of
from search.machine.signals import SIGNALS, restore_handlers
from tests.loopback import Hub, loopback_hub

# The files of tests that take longest. They start first, so that no core is left alone with one of
# them at the end.
LONGEST = (
    "tests/faults/test_storm.py",
    "tests/faults/test_signals.py",
    "tests/faults/test_disk.py",
    "tests/faults/test_race.py",
    "tests/test_readme.py",
    "tests/search/cli/test_sweep.py",
    "tests/search/cli/test_dashboard.py",
    "tests/lightning_modules/fit/test_training.py",
    "tests/lightning_modules/export/test_model.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Let the processes that tests start receive Ctrl-C: background jobs of a script ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    missing = [name for name in LONGEST if not (config.rootpath / name).is_file()]
    assert not missing, f"tests/conftest.py: LONGEST names files that are not there: {missing}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files for `--dist loadfile --no-loadscope-reorder`, which keeps this order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONGEST)))


def pytest_collection_finish() -> None:
    """Leave the imported modules and the tests out of garbage collections: each visits 0.3 s less.

    Every training ends with one, as it does in a worker, which freezes its imports too.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise OSError(f"tests use no network, and this one asked for {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of tokenized rows for the whole session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the handlers of signals: a command that a test calls in its process sets its own."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    restore_handlers(before)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Path]:
    """Change to an empty folder, and remove the keys and settings of the user."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "HF_TOKEN", "FINESWEEP_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FINESWEEP_CACHE", str(cache))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("FINESWEEP_PLUGINS", "")  # so that what a test names is forgotten after it
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.fixture
def hub(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Start a hub on this machine, and let the real client use it, with an empty cache."""
    from huggingface_hub import constants

    from lightning_modules.machine.hub.snapshot import forget_answers

    forget_answers()
    home = here / "huggingface"
    home.mkdir()
    with loopback_hub() as server:
        for name, value in server.environment(home).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "60")  # the machine may be busy
        # The client reads its environment once, when it is imported.
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield server
    forget_answers()


class SmallDisk:
    """A real, small file system, and a file that fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"

    def fill(self, num_free: int = 0) -> None:
        """Leave `num_free` bytes free, or up to a page less."""
        descriptor = os.open(self._filling, os.O_WRONLY | os.O_CREAT)
        try:
            while shutil.disk_usage(self.folder).free > num_free:
                os.write(descriptor, bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        finally:
            os.close(descriptor)

    def free(self) -> None:
        self._filling.unlink()


@pytest.fixture
def small_disk(here: Path) -> Iterator[SmallDisk]:
    """Mount a disk of 8 MB; skip the test if that is not permitted."""
    folder = here / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(words, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    yield SmallDisk(folder)
    # Lazily: W&B's own process may still have its log open.
    subprocess.run(["umount", "-l", str(folder)], check=True)


T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 60) -> T:
    """Return the first true value of `condition`; fail with `what` after `seconds`.

    Tests wait for a condition, never for a fixed time in which it usually comes true: the machine
    may be busy. `seconds` only ends a broken test, and is far more than a busy machine needs.
    """
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        # A costly condition must not take the processor from what it waits for.
        time.sleep(max(0.02, 5 * (time.monotonic() - asked)))


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def finesweep(here: Path) -> Command:
    """Run the real command in the test's folder."""

    def run(
        *words: str, code: int | None = 0, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command(*words), capture_output=True, text=True, cwd=here, timeout=timeout, check=False
        )
        if code is not None:
            assert done.returncode == code, (
                f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    return run


def command(*words: str) -> list[str]:
    """Return a command line of the installed finesweep, independent of PATH.

    A sweep has no certificate, unless the words say so.
    """
    return [str(Path(sys.executable).with_name("finesweep")), *without_certificate(words)]


def without_certificate(words: Sequence[str]) -> list[str]:
    """Return the words of a command; a sweep or plan has no certificate, unless they name it."""
    is_study = bool(words) and words[0] in ("sweep", "plan")
    # Those of a loop of one's own have none anyway.
    names_it = any(word.startswith(("search.certify", "search.ask_tell=true")) for word in words)
    return [*words, "search.certify=false"] if is_study and not names_it else [*words]


def run_here(*words: str, code: int = 0) -> str:
    """Run a command in this process and return what it prints.

    A process of its own would spend 1 to 8 s on imports. A sweep has no certificate, unless the
    words say so.
    """
    from search.cli import main

    before = {number: signal.getsignal(number) for number in SIGNALS}
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            returned = main(without_certificate(words))
    finally:
        restore_handlers(before)
    assert returned == code, printed.getvalue()
    return printed.getvalue()


def written_certificates(folder: Path) -> tuple[Certificate, ...]:
    """Return the verdicts that a study has written to its folder."""
    return certificates_of(json.loads((folder / CERTIFICATE_FILE).read_text(encoding="utf-8")))


def loaded_network(cache: Cache) -> Any:
    """Return the pretrained network that a cache holds."""
    keys = (key for key in cache._values if isinstance(key, tuple))
    (network,) = [cache._values[key] for key in keys if key[0] == "networks"]
    return network


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def learnable(here: Path) -> Path:
    """Write a small file that even the tiny random model can learn: one word gives the label."""
    words = ["hotel", "novel", "kettle", "museum", "bicycle", "train", "concert", "shoes"]
    rows = []
    for number in range(160):
        label = "positive" if number % 2 else "negative"
        verdict = "great" if number % 2 else "awful"
        noun, other = words[number % 8], words[number // 8 % 8]
        rows.append(
            {"text": f"The {noun} and the {other} {number} were {verdict}.", "label": label}
        )
    return write_jsonl(here / "learnable.jsonl", rows)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Use one thread: a small network would mostly wait for a second one."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a real PostgreSQL server."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    server = Postgres(binaries)
    yield server
    server.remove()


def classification(metric: str = "accuracy", **changes: Any) -> Classification:
    """Return the task of `conf/task/classification.yaml`, with changes."""
    values: dict[str, Any] = {"text": "text", "text_pair": None, "label": "label"}
    values |= {"class_weights": None, "label_smoothing": 0.0, "positive": None, "at_recall": 0.9}
    values |= {"metric_direction": None}
    return Classification(**{"metric": metric, **values, **changes})
