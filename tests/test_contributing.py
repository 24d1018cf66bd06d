"""The options that CONTRIBUTING.md adds for example do what it says, as a package of one's own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_here, write_jsonl

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE))
OURS = ("--config-dir=conf", "search.plugins=[added]", "model=tiny", "logger=none")


@pytest.fixture
def added(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the files of the page below a package of our own, as another's tool would."""
    for place, content in BLOCKS.items():
        path = here / place.replace("lightning_modules/", "added/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub(r"^(_target_: )lightning_modules", r"\1added", content, flags=re.M))
    monkeypatch.syspath_prepend(str(here))
    # One word decides the number.
    rows = [
        {"text": f"The {noun} was {word} {number}.", "label": stars}
        for number in range(40)
        for noun in ("meal", "room")
        for word, stars in (("great", 5), ("fine", 3), ("awful", 1))
    ]
    write_jsonl(here / "stars.jsonl", rows)
    return here


def test_the_page_has_a_file_and_a_yaml_of_each() -> None:
    assert sorted(BLOCKS) == [
        "conf/strategy/norms.yaml",
        "conf/task/regression.yaml",
        "lightning_modules/strategy/norms.py",
        "lightning_modules/task/regression.py",
    ]


@pytest.mark.thorough
def test_the_task_is_learnt_scored_exported_and_predicted(added: Path) -> None:
    data = ("data=files", "data.train=stars.jsonl", "task=regression")
    words = ("strategy=full", "strategy.lr=3e-3", "trainer.epochs=12")
    told = run_here(
        *("sweep", "study=stars", *OURS, *data, *words),
        *("search.num_trials=1", "search.workers=0"),
    )
    assert "goal    minimize validation/mae" in told
    assert re.search(r"always the median \d would have mae [\d.]+", told)
    scores = json.loads(run_here("evaluate", "study=stars", "split=test", "--json"))
    assert scores["mae"] < 0.5
    run_here("export", "study=stars", "to=best")
    (added / "new.csv").write_text("text\nThe meal was great 7.\nThe room was awful 7.\n")
    config = ("--config-dir=conf", "search.plugins=[added]")
    run_here("predict", *config, "model=best", "input=new.csv", "output=out.jsonl")
    rows = [json.loads(line) for line in (added / "out.jsonl").read_text().splitlines()]
    assert rows[0]["prediction"] == pytest.approx(5, abs=1)
    assert rows[1]["prediction"] == pytest.approx(1, abs=1)


@pytest.mark.thorough
def test_the_task_is_learnt_by_a_head_on_frozen_features(added: Path) -> None:
    data = ("data=files", "data.train=stars.jsonl", "task=regression")
    words = ("strategy=feature_extraction", "trainer.epochs=1", "search.num_trials=1")
    run_here("sweep", "study=frozen", *OURS, *data, *words, "search.workers=0")
    run_here("export", "study=frozen", "to=best")
    (added / "new.csv").write_text("text\nThe meal was great 7.\n")
    config = ("--config-dir=conf", "search.plugins=[added]")
    run_here("predict", *config, "model=best", "input=new.csv", "output=out.jsonl")
    (row,) = [json.loads(line) for line in (added / "out.jsonl").read_text().splitlines()]
    assert isinstance(row["prediction"], float)
    card = (added / "best" / "README.md").read_text().partition("```python\n")[2]
    lines = card.partition("```")[0].replace("Your text.", "The meal was great 7.")
    command, folder = [sys.executable, "-c", lines], added / "best"
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    (told,) = json.loads(done.stdout.strip().splitlines()[-1])
    assert told == pytest.approx(row["prediction"], abs=1e-4)


def test_a_number_that_is_none_is_refused_with_its_place(
    added: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (added / "bad.csv").write_text("text,label\nfine,3\nbad,three\n")
    run_here("plan", *OURS, "task=regression", "data=files", "data.train=bad.csv", code=2)
    assert capsys.readouterr().err.startswith("bad.csv:3:label: must be a number, got 'three'.")


def test_the_strategy_trains_the_norms_and_the_head_alone(added: Path) -> None:
    from lightning_modules.cache import Cache
    from lightning_modules.network import build_network
    from search.config import build_run, compose

    run = build_run(compose("train", [*OURS[1:3], "strategy=norms"], added / "conf").tree)
    network = build_network(run, ("a", "b"), Cache())
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in trained} == {
        "LayerNorm",
        "classifier",
    }
    # Embeddings and two layers of two norms each, and a head of two labels, all 32 wide.
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 5 * 64 + 66
