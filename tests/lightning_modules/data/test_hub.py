"""Checks of every hub data set, over every YAML in conf/data that names one.

Each has a local copy with the columns and features of the hub's, and a few rows.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import datasets
import pytest
import yaml
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from lightning_modules.check import check_run
from lightning_modules.data.hub import HubData
from lightning_modules.error import ConfigError, UserError
from search.config import CONF_DIR, build_run, compose
from tests.conftest import classification

TASK = classification()

SENTIMENT = ("negative", "positive")
REVIEW_LABELS = ("neg", "pos")
TOPICS = ("World", "Sports", "Business", "Sci/Tech")


def rows(
    split: str, count: int, text: str, names: Sequence[str], *, labelled: bool = True
) -> Dataset:
    values = {
        text: [f"{split} row {number}" for number in range(count)],
        "label": [number % len(names) if labelled else -1 for number in range(count)],
    }
    features = Features({text: Value("string"), "label": ClassLabel(names=list(names))})
    return Dataset.from_dict(values, features=features)


def sst2() -> DatasetDict:
    splits = {"train": 200, "validation": 40, "test": 30}
    made = {
        split: rows(split, count, "sentence", SENTIMENT, labelled=split != "test")
        for split, count in splits.items()
    }
    return DatasetDict(
        {
            split: made[split]
            .add_column("idx", range(len(made[split])), feature=Value("int32"))
            .select_columns(["idx", "sentence", "label"])
            for split in made
        }
    )


def ag_news() -> DatasetDict:
    splits = {"train": 240, "test": 40}
    return DatasetDict({split: rows(split, n, "text", TOPICS) for split, n in splits.items()})


def imdb() -> DatasetDict:
    splits = {"train": 200, "test": 200, "unsupervised": 50}
    return DatasetDict(
        {
            split: rows(split, count, "text", REVIEW_LABELS, labelled=split != "unsupervised")
            for split, count in splits.items()
        }
    )


COPIES = {"ag_news": ag_news, "imdb": imdb, "sst2": sst2}
SIZES = {
    "ag_news": {"train": 228, "validation": 12, "test": 40},
    "imdb": {"train": 180, "validation": 20, "test": 200},
    "sst2": {"train": 190, "validation": 40, "test": 10},
}
LABELS = {"ag_news": TOPICS, "imdb": REVIEW_LABELS, "sst2": SENTIMENT}

HUB_SETS = sorted(
    path.stem
    for path in (CONF_DIR / "data").glob("*.yaml")
    if yaml.safe_load(path.read_text(encoding="utf-8"))["_target_"].endswith(".hub.HubData")
    and path.stem != "hub"
)

each_set = pytest.mark.parametrize("name", HUB_SETS)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setenv("FINESWEEP_CACHE", str(tmp_path / "cache"))


def write(copy: DatasetDict, ending: str = "parquet", folder: str = "copy") -> None:
    datasets.disable_progress_bars()
    Path(folder).mkdir(parents=True)
    for split, dataset in copy.items():
        path = f"{folder}/{split}.{ending}"
        writers = {"parquet": dataset.to_parquet, "csv": dataset.to_csv, "jsonl": dataset.to_json}
        writers[ending](path)
    datasets.enable_progress_bars()


def built(name: str, *words: str) -> HubData:
    tree = compose("train", ["model=tiny", f"data={name}", "data.path=./copy", *words]).tree
    data = build_run(tree).data
    assert isinstance(data, HubData)
    return data


def hub_data(**changes: Any) -> HubData:
    values = {
        "path": "./copy",
        "subset": None,
        "train": "train",
        "validation": None,
        "test": None,
        "text": "text",
        "text_pair": None,
        "label": "label",
        "batch_size": 16,
        "max_length": 128,
        "validation_fraction": 0.1,
        "test_fraction": 0.1,
        "split_seed": 0,
        "validation_seed": None,
        "max_train_rows": None,
    }
    return HubData(**{**values, **changes})


def lines(data: HubData) -> list[str]:
    with pytest.raises(UserError) as raised:
        data.load(TASK)
    return str(raised.value).splitlines()


def test_every_hub_data_set_has_a_copy_in_this_test() -> None:
    assert set(HUB_SETS) == set(COPIES)


@each_set
def test_every_split_is_read_with_label_names(name: str) -> None:
    write(COPIES[name]())
    corpus = built(name).load(TASK)
    assert {split: len(rows) for split, rows in corpus.splits.items()} == SIZES[name]
    assert corpus.notes == ()
    for rows_of_split in corpus.splits.values():
        assert {row["label"] for row in rows_of_split} == set(LABELS[name])
        assert all(set(row) == {"text", "label"} for row in rows_of_split)
        assert len(set(Counter(row["label"] for row in rows_of_split).values())) == 1


@each_set
def test_a_copy_in_another_format_is_read(name: str) -> None:
    write(COPIES[name]())
    expected = built(name).load(TASK)
    COPIES[name]().save_to_disk("saved")
    assert built(name, "data.path=./saved").load(TASK).fingerprint == expected.fingerprint
    write(COPIES[name](), "jsonl", "lines")
    plain = built(name, "data.path=./lines").load(TASK)  # JSON has no label names
    assert [row["text"] for row in plain.splits["test"]] == [
        row["text"] for row in expected.splits["test"]
    ]
    assert {row["label"] for row in plain.splits["train"]} == set(
        map(str, range(len(LABELS[name])))
    )


def test_a_run_on_a_copy_passes_check_run() -> None:
    write(sst2())
    words = ["model=tiny", "data=sst2", "data.path=./copy"]
    assert check_run(build_run(compose("train", words).tree)).labels == SENTIMENT


def test_csv_without_label_names_keeps_the_numbers() -> None:
    write(ag_news(), "csv")
    rows = built("ag_news").load(TASK).splits["test"]
    assert {row["label"] for row in rows} == {"0", "1", "2", "3"}


def test_rows_without_labels_are_refused() -> None:
    write(sst2())
    found = lines(built("sst2", "data.test=test"))
    assert found[0] == (
        "copy/test:1:label: must have a label, got -1. "
        "If the split has no labels, set data.test=null to take rows from train."
    )
    assert len(found) == 10
    assert found[-1].endswith(" And 20 more.")


def test_a_broken_row_is_reported_with_split_row_and_column() -> None:
    copy = ag_news()
    texts = copy["train"]["text"][:]
    texts[6], texts[8] = None, "  "
    copy["train"] = copy["train"].remove_columns("text").add_column("text", texts)
    write(copy)
    assert lines(built("ag_news")) == [
        "copy/train:7:text: must not be empty, got None. Fill it in or remove the row.",
        "copy/train:9:text: must not be empty, got '  '. Fill it in or remove the row.",
    ]


def test_a_missing_label_is_not_a_class() -> None:
    copy = ag_news()
    numbers = [None, *copy["test"]["label"][1:]]
    copy["test"] = (
        copy["test"].remove_columns("label").add_column("label", numbers, feature=ClassLabel(4))
    )
    write(copy)
    (line,) = lines(built("ag_news"))
    assert line.startswith("copy/test:1:label: must not be empty, got None.")


def test_an_unknown_column_lists_the_existing_ones() -> None:
    write(sst2())
    assert lines(hub_data(text="text", label="labels")) == [
        "data.text: must be a column of copy/train, got 'text'. Its columns: idx, sentence, label.",
        "data.label: must be a column of copy/train, got 'labels'. Did you mean label? "
        "Its columns: idx, sentence, label.",
    ]


def test_unknown_splits_list_the_existing_ones() -> None:
    write(ag_news())
    assert lines(hub_data(train="trian", validation="dev")) == [
        "data.train: must be a split of ./copy, got 'trian'. Use one of: train, test.",
        "data.validation: must be a split of ./copy, got 'dev'. Use one of: train, test.",
    ]


def test_an_unknown_subset_lists_the_existing_ones() -> None:
    write(ag_news())
    assert lines(hub_data(subset="small")) == [
        "data.subset: must be a subset of ./copy, got 'small'. Use one of: default."
    ]


def test_a_missing_subset_lists_the_existing_ones() -> None:
    write(ag_news(), folder="copy/one")
    write(ag_news(), folder="copy/two")
    configs = [{"config_name": name, "data_dir": name} for name in ("one", "two")]
    Path("copy/README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")
    assert lines(hub_data()) == [
        "data.subset: must be a subset of ./copy, got None. Use one of: one, two."
    ]
    assert len(hub_data(subset="two", test="test").load(TASK).splits["test"]) == 40


def test_a_split_without_rows_is_refused() -> None:
    copy = ag_news()
    copy["test"] = copy["test"].select([])
    write(copy)
    (line,) = lines(built("ag_news"))
    assert line.startswith("data.path: ./copy must be readable, got Instruction")


def test_a_broken_file_is_refused_with_a_message() -> None:
    Path("copy").mkdir()
    Path("copy/train.jsonl").write_text('{"text": "fine", "label": 1}\n{"text": \n')
    (line,) = lines(hub_data())
    assert line.startswith("data.path: ./copy must be readable, got ")


def test_a_folder_without_data_is_refused() -> None:
    Path("copy").mkdir()
    (line,) = lines(hub_data())
    assert line.startswith("data.path: ./copy must be readable, got ")


def test_code_in_a_data_set_is_not_run(here: Path) -> None:
    write(ag_news())
    Path("copy/copy.py").write_text("from pathlib import Path\n\nPath('ran').touch()\n")
    (line,) = lines(hub_data())
    assert "Dataset scripts are no longer supported" in line
    assert not (here / "ran").exists()


def test_a_path_that_is_not_a_folder_is_refused() -> None:
    assert lines(hub_data(path="./nothing")) == ["data.path: must be a folder, got './nothing'."]


def test_a_missing_network_is_reported_in_one_line_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def refuse(host: str, *_: Any, **__: Any) -> None:
        asked.append(host)
        raise socket.gaierror("no names here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert lines(hub_data(path="some-owner/some-data")) == [
        "data.path: must be a local folder or a data set on the hub, got 'some-owner/some-data', "
        "which is not a folder, not in the cache, and no network. "
        "Connect to the network, or give a folder."
    ]
    assert asked == ["huggingface.co"] * 2  # the client looks the name up a second time


def test_an_invalid_hub_name_is_refused() -> None:
    (line,) = lines(hub_data(path="one/two/three"))
    assert line.endswith("got 'one/two/three'. Write it as owner/name.")


def test_loading_hides_progress_bars_and_restores_them(
    capfd: pytest.CaptureFixture[str],
) -> None:
    write(ag_news())
    assert not datasets.are_progress_bars_disabled()
    hub_data().load(TASK)
    assert capfd.readouterr().err == ""
    assert not datasets.are_progress_bars_disabled()


def test_only_the_training_rows_are_limited() -> None:
    write(ag_news())
    whole = built("ag_news").load(TASK).splits
    part = built("ag_news", "data.max_train_rows=40").load(TASK).splits
    assert len(part["train"]) == 40
    assert (part["validation"], part["test"]) == (whole["validation"], whole["test"])


@pytest.mark.parametrize(
    ("changes", "where", "rule"),
    [
        ({"path": None}, "path", "must be a hub name or a folder, got None."),
        ({"train": None}, "train", "must be the name of a split, got None."),
        ({"validation_fraction": 0}, "validation_fraction", "must be > 0 if data.validation"),
        ({"max_train_rows": 0}, "max_train_rows", "must be > 0"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], where: str, rule: str) -> None:
    with pytest.raises(ConfigError) as raised:
        hub_data(**changes)
    assert str(raised.value).startswith(f"{where}: {rule}")


COMMIT = "0" * 40


class SmallHub(http.server.BaseHTTPRequestHandler):
    """A server that answers like the hub for the data sets `OWNER/NAME` in a folder."""

    folder: Path
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        match urlsplit(self.path).path.strip("/").split("/"):
            case ["api", "datasets", owner, name, "tree", _, *inside]:
                self.tell(self.listing(self.folder / owner / name, "/".join(inside)))
            case ["api", "datasets", owner, name, *_] if (self.folder / owner / name).is_dir():
                self.tell({"id": f"{owner}/{name}", "sha": COMMIT, "siblings": []})
            case ["datasets", owner, name, "resolve", _, *inside]:
                self.send(self.folder / owner / name / "/".join(inside))
            case _:
                self.tell({"error": "Repository not found"}, 404, "RepoNotFound")

    def do_HEAD(self) -> None:
        self.do_GET()

    def listing(self, root: Path, inside: str) -> list[dict[str, Any]] | None:
        if not (root / inside).is_dir():
            return None
        return [
            {
                "type": "directory" if path.is_dir() else "file",
                "path": str(path.relative_to(root)),
                "size": path.stat().st_size,
                "oid": COMMIT,
            }
            for path in (root / inside).iterdir()
        ]

    def send(self, path: Path) -> None:
        if path.is_file():
            self.answer(path.read_bytes(), 200, {"ETag": f'"{path.stat().st_size}"'})
        else:
            self.tell(None)

    def tell(self, value: Any, code: int = 200, error: str = "EntryNotFound") -> None:
        if value is None:
            code, value = 404, {"error": "Entry not found"}
        headers = {"Content-Type": "application/json"}
        self.answer(json.dumps(value).encode(), code, {**headers, "X-Error-Code": error})

    def answer(self, body: bytes, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


@pytest.fixture
def small_hub(here: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    write(sst2(), folder="sst2")
    (here / "hub" / "stanfordnlp").mkdir(parents=True)
    (here / "sst2").rename(here / "hub" / "stanfordnlp" / "sst2")
    handler = type("Here", (SmallHub,), {"folder": here / "hub"})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


LOAD = """
import sys
from lightning_modules.error import UserError
from search.config import build_run, compose
try:
    run = build_run(compose("train", sys.argv[1:]).tree)
    corpus = run.data.load(run.task)
    print({split: len(rows) for split, rows in corpus.splits.items()}, corpus.fingerprint)
except UserError as error:
    print(error)
"""


def loaded(server: http.server.ThreadingHTTPServer, *words: str) -> str:
    place = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": "huggingface"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *words],
        env={**os.environ, **place},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.thorough
def test_a_hub_data_set_is_downloaded_once(small_hub: http.server.ThreadingHTTPServer) -> None:
    fetched = loaded(small_hub, "data=sst2")
    assert fetched.startswith(str(SIZES["sst2"]))
    (line,) = loaded(small_hub, "data=sst2", "data.path=stanfordnlp/sst3").splitlines()
    assert line.startswith(
        "data.path: must be a local folder or a data set on the hub, got 'stanfordnlp/sst3' (404"
    )
    small_hub.shutdown()
    small_hub.server_close()
    assert loaded(small_hub, "data=sst2") == fetched


def test_lists_of_labels_get_their_names() -> None:
    tags = datasets.List(ClassLabel(names=["O", "B-place"]))
    features = Features({"tokens": datasets.List(Value("string")), "ner_tags": tags})
    values = {"tokens": [["to", "Oslo"], ["no"]], "ner_tags": [[0, 1], [0]]}
    made = Dataset.from_dict(values, features=features)
    DatasetDict({"train": made, "test": made}).save_to_disk("copy")
    words = ["task=token_classification", "data=hub", "data.path=./copy"]
    words += ["data.validation=test", "data.test_fraction=0"]
    run = build_run(compose("train", words).tree)
    assert run.data.load(run.task).splits["train"] == [
        {"text": ["to", "Oslo"], "label": ["O", "B-place"]},
        {"text": ["no"], "label": ["O"]},
    ]
