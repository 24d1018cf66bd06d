"""What must not happen at start: torch and its kind are not imported before they are needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "peft", "datasets", "pytorch_lightning", "wandb", "torchmetrics")

CODE = """
import sys
{body}
loaded = [name for name in {heavy!r} if name in sys.modules]
sys.exit(f"imported: {{loaded}}" if loaded else 0)
"""


def assert_light(body: str, here: Path) -> None:
    code = CODE.format(body=body, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["plan"],
        ["plan", "strategy=full", "model=tiny", "optimizer.lr=interval(0.001,0.1)"],
        ["sweep", "--cfg", "job"],
        ["-sc", "install=bash"],
    ],
)
def test_light_commands(words: list[str], here: Path) -> None:
    assert_light(f"from search.cli import main; assert main({words!r}) == 0", here)
    assert list(here.iterdir()) == []


@pytest.mark.thorough
def test_building_every_config_is_light(here: Path) -> None:
    assert_light(
        """
from search.config import CONF_DIR, build_run, compose
rooms = ("model", "data", "task", "strategy", "optimizer", "schedule", "trainer", "logger")
built = 0
for room in rooms:
    for path in sorted((CONF_DIR / room).glob("*.yaml")):
        needs = {
            "model/architecture": ["model.type=bert"],
            "model/hub": ["model.path=x/y"],
            "strategy/peft": ["strategy.method=vera"],
            "data/hub": ["data.path=x/y"],
            "data/files": ["data.train=x.csv"],
        }.get(f"{room}/{path.stem}", [])
        build_run(compose("train", [f"{room}={path.stem}", *needs]).tree)
        built += 1
assert built >= 17, built
""",
        here,
    )


def test_plan_suggests_and_touches_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from search.cli import main

    assert main(["plan", "study=p", "search.num_trials=30"]) == 0
    told = capsys.readouterr().out
    assert "p: 30 trials" in told
    assert "tag(log, interval(0.0002, 0.005))" in told
    assert "and 20 more" in told
    assert "studies/p/" in told
    assert list(here.iterdir()) == []


def test_scripts_are_the_same_entries(here: Path) -> None:
    root = Path(__file__).parents[1]
    for name in ("train", "sweep"):
        done = subprocess.run(
            [sys.executable, str(root / "scripts" / f"{name}.py"), "--cfg", "job"],
            cwd=here,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "_target_: lightning_modules.strategy.lora.Lora" in done.stdout
