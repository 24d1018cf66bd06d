"""CONTRIBUTING.md is true: its rooms are those of the contracts, and its two examples work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import run_here, write_jsonl

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE))
OURS = ("--config-dir=conf", "search.plugins=[added]", "model=tiny", "logger=none")


@pytest.fixture
def added(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the files of the page into a package of its own, as a plugin author would."""
    for place, content in BLOCKS.items():
        path = here / place.replace("lightning_modules/", "added/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub(r"^(_target_: )lightning_modules", r"\1added", content, flags=re.M))
    monkeypatch.syspath_prepend(str(here))
    # One word of each text decides its share.
    rows = [
        {"text": f"The {noun} was {word} {number}.", "label": share}
        for number in range(40)
        for noun in ("meal", "room")
        for word, share in (("great", 0.9), ("fine", 0.5), ("awful", 0.1))
    ]
    write_jsonl(here / "liked.jsonl", rows)
    return here


PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def rooms_of_contract(package: str) -> list[set[str]]:
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    (layers,) = [each["layers"] for each in contracts if each.get("containers") == [package]]
    return [set(layer.split(" | ")) for layer in layers]


def rooms_of_page(package: str) -> list[set[str]]:
    table = PAGE.partition(f"\n### {package}/\n")[2].partition("\n###")[0]
    rooms: dict[int, set[str]] = {}
    for row, names in re.findall(r"^\| (\d+) \| ([^|]+) \|", table, re.M):
        found = {name.removesuffix(".py").rstrip("/") for name in re.findall(r"`([^`]+)`", names)}
        rooms.setdefault(int(row), set()).update(found)
    return [rooms[row] for row in sorted(rooms)]


@pytest.mark.parametrize("package", ["search", "lightning_modules"])
def test_the_rooms_are_those_of_the_contract(package: str) -> None:
    assert rooms_of_page(package) == rooms_of_contract(package)


def test_every_file_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:search|lightning_modules|tests|conf|docs|benchmarks)/[\w/.]*)`", PAGE)
    assert len(named) > 20
    for path in set(named) - BLOCKS.keys():
        if path.rpartition("/")[2] not in ("x.py", "x.yaml"):
            assert (ROOT / path).exists(), path


def test_the_changelog_has_the_version_of_the_package() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\S+)", changelog, re.M)
    assert versions[0] == "Unreleased"
    assert versions[1] == PYPROJECT["project"]["version"]


def test_the_page_has_a_file_and_a_yaml_for_each_example() -> None:
    assert sorted(BLOCKS) == [
        "conf/strategy/norms.yaml",
        "conf/task/share.yaml",
        "lightning_modules/strategy/norms.py",
        "lightning_modules/task/share.py",
    ]


@pytest.mark.thorough
def test_the_task_trains_scores_exports_and_predicts(added: Path) -> None:
    data = ("data=files", "data.train=liked.jsonl", "task=share")
    words = ("strategy=full", "strategy.lr=3e-3", "trainer.epochs=12")
    printed = run_here(
        *("sweep", "study=liked", *OURS, *data, *words),
        *("search.num_trials=1", "search.workers=0"),
    )
    assert "goal    minimize validation/mae" in printed
    assert re.search(r"always the median 0.\d would have mae [\d.]+", printed)
    scores = json.loads(run_here("evaluate", "study=liked", "split=test", "--json"))
    assert scores["mae"] < 0.1
    run_here("export", "study=liked", "to=best")
    (added / "new.csv").write_text("text\nThe meal was great 7.\nThe room was awful 7.\n")
    config = ("--config-dir=conf", "search.plugins=[added]")
    run_here("predict", *config, "model=best", "input=new.csv", "output=out.jsonl")
    rows = [json.loads(line) for line in (added / "out.jsonl").read_text().splitlines()]
    assert rows[0]["prediction"] == pytest.approx(0.9, abs=0.2)
    assert rows[1]["prediction"] == pytest.approx(0.1, abs=0.2)


@pytest.mark.thorough
def test_the_task_trains_a_head_on_frozen_features(added: Path) -> None:
    data = ("data=files", "data.train=liked.jsonl", "task=share")
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
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer == pytest.approx(row["prediction"], abs=1e-4)


def test_a_label_that_is_no_share_is_refused_with_its_place(
    added: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (added / "bad.csv").write_text("text,label\nfine,0.3\nbad,30\n")
    run_here("plan", *OURS, "task=share", "data=files", "data.train=bad.csv", code=2)
    assert capsys.readouterr().err.startswith("bad.csv:3:label: must be in [0, 1], got '30'.")


def test_the_strategy_trains_only_the_norms_and_the_head(added: Path) -> None:
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


SMALL = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 30}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 30}
DISTILBERT = {"n_layers": 1, "dim": 16, "hidden_dim": 32, "n_heads": 2, "vocab_size": 30}


@pytest.mark.parametrize(
    ("architecture", "values", "trained"),
    [
        ("gpt2", SMALL, {"ln_1", "ln_2", "ln_f", "score"}),
        ("llama", SMALL, {"input_layernorm", "post_attention_layernorm", "norm", "score"}),
        ("t5", T5, {"layer_norm", "final_layer_norm", "dense", "out_proj"}),
        (
            "distilbert",
            DISTILBERT,
            {"LayerNorm", "sa_layer_norm", "output_layer_norm", "pre_classifier", "classifier"},
        ),
    ],
)
def test_the_strategy_finds_the_norms_of_other_architectures(
    added: Path, architecture: str, values: dict[str, int], trained: set[str]
) -> None:
    import transformers
    from added.strategy.norms import Norms

    config = transformers.CONFIG_MAPPING[architecture](**values)
    network = transformers.AutoModelForSequenceClassification.from_config(config)
    network = Norms(lr=1e-3, lr_min=1e-4, lr_max=1e-2).adapt(network)
    names = [name for name, p in network.named_parameters() if p.requires_grad]
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in names} == trained
