"""The wheel holds all that `import finesweep` needs, and works apart from the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.page import python_script, write_reviews

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "howto" / "python.md"

pytestmark = pytest.mark.thorough

USER_SCRIPT = """
import finesweep

study: finesweep.Study = finesweep.sweep("mine", "data=files", num_trials=2, workers=0)
best = study.best
if best is not None:
    number: int = best.number
    score: float = best.scores["accuracy"]
model: finesweep.Model = study.export("best/")
predictions: list[dict[str, object]] = model.predict([{"review": "Fine."}, "Fine."])
run: finesweep.Run = finesweep.open(run="one")
wrong: str = study.leaderboard
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, without a network."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: pip install hatchling")
    folder = tmp_path_factory.mktemp("dist")
    words = ["-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    run(sys.executable, *words, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own; the dependencies are this one's."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    run(*pip, "install", "-q", "--no-index", "--no-deps", str(wheel))
    (packages,) = folder.glob("lib/python*/site-packages")
    # Only now: pip must not see the checkout that is installed here. Python reads no .pth files of
    # a folder that a .pth file names, so the checkout stays out.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(*words: str | Path, cwd: Path | None = None, warns: bool = True) -> str:
    """Run a command; return what it prints. Unless it `warns`, it may write nothing else."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert warns or not done.stderr, done.stderr
    return done.stdout


def test_the_wheel_holds_code_configuration_types_and_rows(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = ("search", "lightning_modules")
    assert {
        f"{package}/{name}" for package in packages for name in ("__init__.py", "py.typed")
    } <= names
    assert {"finesweep.py", "finesweep-stubs/__init__.pyi"} <= names
    assert "lightning_modules/rows/reviews.jsonl" in names
    assert {
        f"search/_conf/{path.relative_to(ROOT / 'conf')}"
        for path in (ROOT / "conf").rglob("*.yaml")
    } <= names
    top = {name.split("/")[0] for name in names}
    info = "finesweep-0.1.0.dist-info"
    assert top == {*packages, "finesweep.py", "finesweep-stubs", info}


def test_the_page_s_python_runs_from_the_wheel(python: Path, here: Path) -> None:
    write_reviews(here)
    places = (
        "import finesweep, search, lightning_modules, search.config as config\n"
        "places = [finesweep.__file__, search.__file__, lightning_modules.__file__,"
        " str(config.CONF_DIR)]\n"
        f"assert all(place.startswith({str(python.parents[1])!r}) for place in places), places\n"
    )
    (here / "page.py").write_text(places + python_script(PAGE.read_text(encoding="utf-8")))
    printed = run(python, "page.py", warns=False)
    assert "optimizr.lr: must be a known key" in printed
    for name in ("studies/mine/trials.csv", "best/README.md", "runs/one/metrics.json"):
        assert (here / name).is_file(), name
    assert run(python.with_name("finesweep"), "--version") == "0.1.0\n"
    run(python.with_name("finesweep"), "predict", "model=best", "input=new.csv", "output=o.jsonl")


def test_a_user_s_script_is_type_checked_against_the_wheel(python: Path, here: Path) -> None:
    (here / "script.py").write_text(USER_SCRIPT)
    heavy = ",".join(f"{name}.*" for name in ("torch", "numpy", "optuna", "sqlalchemy", "rich"))
    (here / "mypy.ini").write_text(f"[mypy]\n[mypy-{heavy}]\nfollow_imports = skip\n")
    words = ["-m", "mypy", "--strict", "--python-executable", str(python), "script.py"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    (error, _) = done.stdout.splitlines()
    assert re.match(r"script.py:12: error: .*\[assignment\]", error)
