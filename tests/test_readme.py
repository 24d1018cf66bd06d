"""The README's shell blocks do what they say, run as printed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import run_here

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# The same words on a model that takes seconds, and fewer trials: what is shown is the command
# line, not MiniLM's score.
QUICK = "model=tiny strategy=full trainer.validations_per_epoch=1"
BUDGET = "search.num_trials=3"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def quickened(script: str) -> str:
    script = script.replace("\\\n", " ").replace("search.num_trials=20", BUDGET)

    def quick(line: str) -> str:
        words = QUICK.replace("strategy=full ", "") if "'strategy=" in line else QUICK
        if "finesweep sweep" in line:
            words += " search.workers=0"  # one process instead of two
        if "trial=" in line:
            return line
        return re.sub(r"^finesweep (sweep|plan|train) ", rf"finesweep \1 {words} ", line)

    return "\n".join(map(quick, script.splitlines()))


def run_in_bash(script: str) -> None:
    words = ["bash", "-c", "set -euo pipefail\n" + script]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run_in_this_process(script: str) -> None:
    """Run each line's command here, without the seconds of imports that each would need."""
    commands = [shlex.split(line, comments=True) for line in script.splitlines()]
    assert commands[0] == ["source", ".venv/bin/activate"]
    for command, *words in commands[1:]:
        assert command == "finesweep"
        run_here(*words)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "run", [run_in_this_process, pytest.param(run_in_bash, marks=pytest.mark.slow)]
)
def test_shell_blocks_run_in_order(here: Path, run: Callable[[str], None]) -> None:
    rows = "".join(
        f'"The {"meal" if n % 3 else "room"} {n} was {"great" if n % 2 else "awful"}",{n % 2 + 1}\n'
        for n in range(60)
    )
    (here / "my.csv").write_text("review,stars\n" + rows)
    (here / "new.csv").write_text("id,review\n7,A great meal\n8,An awful room\n")
    (here / ".venv").symlink_to(Path(sys.executable).parents[1])
    scripts = blocks("bash")
    assert len(scripts) == 4
    run("\n".join(map(quickened, scripts)))
    for name in ("study.db", "config.yaml", "provenance.json", "trials.csv", "wandb"):
        assert (here / "studies" / "mine" / name).exists(), name
    out = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in out] == ["7", "8"]
    assert all(row["prediction"] in ("1", "2") and set(row["scores"]) == {"1", "2"} for row in out)
    assert (here / "best" / "README.md").is_file()


def test_make_words_of_the_readme_are_there() -> None:
    named = set(re.findall(r"\$ make (\S+)", README))
    assert named == {"sweep", "test"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in named:
        assert re.search(rf"^{word}:", makefile, re.M), word


def test_the_strategy_of_the_readme_works(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("python")
    package = here / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    imports = (
        "from dataclasses import dataclass\nfrom lightning_modules.strategy.base import Strategy\n"
    )
    (package / "norms.py").write_text(imports + code)
    values = "_target_: mine.norms.Norms\nlr: 1e-3\nlr_min: 1e-4\nlr_max: 1e-2\n"
    (here / "conf" / "strategy").mkdir(parents=True)
    (here / "conf" / "strategy" / "norms.yaml").write_text(values)
    monkeypatch.syspath_prepend(str(here))

    from lightning_modules.cache import Cache
    from lightning_modules.model.state import count_parameters
    from lightning_modules.network import build_network
    from search.config import build_run, compose

    words = ["model=tiny", "strategy=norms", "search.plugins=[mine]"]
    run = build_run(compose("train", words, here / "conf").tree)
    num_trainable, num_parameters = count_parameters(build_network(run, ("a", "b"), Cache()))
    assert 0 < num_trainable < num_parameters / 20


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
