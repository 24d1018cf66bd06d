"""Checks of every hub data set, over every YAML in conf/data that names one.

Each has a local copy with the columns and features of the hub's, and a few rows.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from lightning_modules.check import check_run
from lightning_modules.data.hub import HubData
from lightning_modules.data.leak import OnLeak
from lightning_modules.error import ConfigError, UserError
from lightning_modules.rows.spelling import Spelling
from search.config import CONF_DIR, build_run, compose
from tests.conftest import classification
from tests.loopback import Hub, files_of

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
        "revision": None,
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
        "system": None,
        "validation_seed": None,
        "max_train_rows": None,
        "spelling": Spelling.value,
        "on_leak": OnLeak.drop,
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
        "data.path: must be a local folder or a data set on the hub, got 'some-owner/some-data' "
        "(no network, and not in the cache). "
        "Connect to the network, or give a folder."
    ]
    assert set(asked) == {"huggingface.co"}


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


@pytest.fixture
def data_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Let `datasets`, which reads its environment once, use the hub on this machine."""
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", Path("huggingface/datasets"))
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", Path("huggingface/down"))
    monkeypatch.setenv("FINESWEEP_CACHE", str(Path("kept").absolute()))
    return hub


def files_in(copy: DatasetDict, ending: str = "parquet") -> dict[str, bytes]:
    """Return the files of a data set as on the hub, one for each split."""
    folder = Path(f"written-{ending}")
    write(copy, ending, str(folder))
    return files_of(folder)


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_data_set_of_the_hub_is_downloaded_once(data_hub: Hub, ending: str) -> None:
    files = files_in(imdb(), ending)
    data_hub.add("owner/name", {"README.md": b"# Reviews", **files}, "datasets")
    data = hub_data(path="owner/name", test="test")
    megabytes = sum(map(len, files.values())) / 1e6
    assert data.pending() == f"data set owner/name (at most {megabytes:.1f} MB)"
    corpus = data.load(TASK)
    assert data.pending() is None
    assert {split: len(rows) for split, rows in corpus.splits.items()} == SIZES["imdb"]
    data_hub.requests.clear()
    assert data.load(TASK).fingerprint == corpus.fingerprint
    assert not data_hub.requests


SUBSETS = """---
configs:
- config_name: long
  data_files: [{split: train, path: "long/*"}, {split: test, path: "other/rest.parquet"}]
- config_name: short
  data_files: [{split: train, path: "short/*"}]
---
# Two of them
"""


def test_a_data_set_with_several_configurations(data_hub: Hub) -> None:
    files = files_in(imdb())
    layout = {
        "README.md": SUBSETS.encode(),
        "long/part-0.parquet": files["train.parquet"],
        "other/rest.parquet": files["test.parquet"],
        "short/part-0.parquet": files["unsupervised.parquet"],
    }
    data_hub.add("owner/name", layout, "datasets")
    (line,) = lines(hub_data(path="owner/name"))
    assert line == (
        "data.subset: must be a subset of owner/name, got None. Use one of: long, short."
    )
    corpus = hub_data(path="owner/name", subset="long", test="test").load(TASK)
    assert len(corpus.splits["test"]) == 200
    (line,) = lines(hub_data(path="owner/name", subset="short", test="test"))
    assert line == "data.test: must be a split of owner/name, got 'test'. Use one of: train."


def test_a_revision_of_a_data_set(data_hub: Hub) -> None:
    files = files_in(imdb())
    repo = data_hub.add("owner/name", files, "datasets")
    repo.commit({"train.parquet": files["test.parquet"]}, "v1.0")
    data = hub_data(path="owner/name")
    newest = data.load(TASK)
    other = replace(data, revision="v1.0").load(TASK)
    assert newest.splits["train"][0]["text"].startswith("train")
    assert other.splits["train"][0]["text"].startswith("test")
    assert lines(replace(data, revision="v2.0")) == [
        "data.revision: must be a branch, a tag or a commit of owner/name, got 'v2.0'. "
        "Use one of: main, v1.0; or the hash of a commit."
    ]
    write(ag_news())
    (line,) = lines(hub_data(revision="v1.0"))
    assert line == "data.revision: must be null for a folder, got 'v1.0'. Remove it."


def test_a_gated_data_set(data_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = data_hub.add("owner/name", files_in(imdb()), "datasets")
    repo.gated = True
    data = hub_data(path="owner/name")
    page = f"{data_hub.url}/datasets/owner/name"
    (line,) = lines(data)
    assert "(its terms must be accepted first, 401). Accept its terms on " + page in line
    data_hub.tokens.add("hf_thesecret")
    monkeypatch.setenv("HF_TOKEN", "hf_thesecret")
    (line,) = lines(data)
    assert line.endswith(f"403). Accept its terms on {page} with the account of your token.")
    repo.members.add("hf_thesecret")
    assert len(data.load(TASK).splits) == 3


@pytest.mark.parametrize(
    ("pattern", "status", "text"),
    [
        ("GET /api/datasets/*", 429, "the hub limits requests, 429"),
        ("GET /api/datasets/owner/name", 503, "the hub has an error, 503"),
        ("GET /elsewhere/*", 403, "you may not read it, 403"),
    ],
)
def test_a_hub_that_refuses_a_data_set(data_hub: Hub, pattern: str, status: int, text: str) -> None:
    data_hub.add("owner/name", files_in(imdb()), "datasets")
    data_hub.fail(pattern, status=status)
    (line,) = lines(hub_data(path="owner/name"))
    assert line.startswith("data.path: must be a local folder or a data set on the hub, got ")
    assert text in line
    assert "secret-of-the-link" not in line


def test_a_download_of_rows_that_is_cut_continues(data_hub: Hub) -> None:
    data_hub.add("owner/name", files_in(imdb()), "datasets")
    data_hub.fail("GET /elsewhere/*", cut_after=100, times=1)
    assert len(hub_data(path="owner/name").load(TASK).splits["train"]) > 100


def test_a_data_set_that_the_hub_does_not_have(data_hub: Hub) -> None:
    (line,) = lines(hub_data(path="owner/nmae"))
    assert line.startswith(
        "data.path: must be a local folder or a data set on the hub, got 'owner/nmae' (the hub "
        "has none that you may read, 401). Check the name; if it is private, set HF_TOKEN"
    )


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


def dataset_of(number: int, labels: list[int]) -> datasets.Dataset:
    names = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    texts = [f"text {number} of {row}" for row in range(len(labels))]
    return datasets.Dataset.from_dict({"text": texts, "label": labels}, features)


def saved(**splits: list[int]) -> None:
    sets = {name: dataset_of(n, labels) for n, (name, labels) in enumerate(splits.items())}
    DatasetDict(sets).save_to_disk("own")


def auto(**changes: Any) -> HubData:
    return hub_data(**{"path": "./own", "validation": "auto", "test": "auto", **changes})


def test_the_own_splits_of_a_data_set_are_used_and_said() -> None:
    saved(train=[0, 1] * 20, dev=[0, 1] * 3, test=[0, 1] * 4)
    data = auto()
    corpus = data.load(TASK)
    assert {name: len(rows) for name, rows in corpus.splits.items()} == {
        "train": 40,
        "validation": 6,
        "test": 8,
    }
    assert "./own: its own split dev is the validation split" in corpus.notes
    assert not data.draws_validation and data.has_test
    assert len(auto(test=None).load(TASK).splits["train"]) == 36
    assert len(auto(validation="test", test=None).load(TASK).splits["validation"]) == 8


def test_an_own_split_without_labels_is_not_used() -> None:
    saved(train=[0, 1] * 20, test=[-1] * 8)
    data = auto()
    corpus = data.load(TASK)
    assert len(corpus.splits["test"]) == 4 and data.draws_validation
    assert "./own: its split test has no labels" in corpus.notes


def test_a_data_set_that_was_saved_alone_is_read() -> None:
    dataset_of(0, [0, 1] * 20).save_to_disk("own")
    assert len(auto().load(TASK).splits["train"]) == 32
