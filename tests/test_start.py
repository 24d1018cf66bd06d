"""Commands start without torch and other heavy libraries until they need them."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from search.config import CONF_DIR
from search.config.catalogue import load_groups
from tests.options import names_of, words_for

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
        ["sweep", "--help"],
        ["plan"],
        ["plan", "strategy=full", "model=tiny", "optimizer.lr=interval(0.001,0.1)"],
        ["sweep", "--cfg", "job"],
        ["-sc", "install=bash"],
    ],
)
def test_commands_import_nothing_heavy(words: list[str], here: Path) -> None:
    assert_light(f"from search.cli import main; assert main({words!r}) == 0", here)
    assert list(here.iterdir()) == []


def test_import_finesweep_is_light(here: Path) -> None:
    assert_light("import finesweep; assert 'pandas' not in sys.modules", here)


@pytest.mark.thorough
def test_building_any_config_imports_nothing_heavy(here: Path) -> None:
    groups = [group.name for group in load_groups(CONF_DIR, "train") if group.name != "experiment"]
    choices = [words_for(f"{group}/{name}") for group in groups for name in names_of(group)]
    assert "strategy=lora" in chain(*choices)
    assert_light(
        f"""
from search.config import build_run, compose
for words in {choices}:
    build_run(compose("train", words).tree)
""",
        here,
    )


def test_plan_prints_suggestions_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.cli import main

    assert main(["plan", "study=p", "search.num_trials=30"]) == 0
    output = capsys.readouterr().out
    assert "p: 30 trials" in output
    assert "prior    lora, small encoder: lr 0.001 (0.0005 to 0.005), rank 8, alpha 16" in output
    assert "length   600 rows in batches of 16: 38 steps an epoch; 3 to 4 epochs" in output
    assert "tag(log, interval(0.0005, 0.005))" in output
    assert output.count("known to be good") == 2
    assert "and 27 more" in output
    assert "studies/p/" in output
    assert list(here.iterdir()) == []


def test_scripts_run_the_same_commands(here: Path) -> None:
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
