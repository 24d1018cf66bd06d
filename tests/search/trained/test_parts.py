from __future__ import annotations

import os
from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from search.trained.parts import Parts, folder_digest, num_rows_from, rows_digest

ABOUT = {"input": "i", "model": "m"}


def parts(**changes: str) -> Parts:
    return Parts(Path("out.csv"), {**ABOUT, **changes})


def test_predictions_go_on_after_the_last_complete_part(here: Path) -> None:
    first = parts()
    assert first.num_done == 0 and not list(here.iterdir())
    first.start()
    first.add(0, [{"prediction": "a\nb\u2028"}, {"prediction": None}])
    first.add(2, [{"prediction": 0.1}])
    first.add(9, [{"prediction": "of another size of parts"}])
    again = parts()
    assert again.num_done == 3
    assert list(again) == [{"prediction": "a\nb\u2028"}, {"prediction": None}, {"prediction": 0.1}]
    again.remove()
    assert not list(here.iterdir())


@pytest.mark.parametrize("name", ["input", "model"])
def test_those_of_something_else_are_refused(name: str, here: Path) -> None:
    parts().start()
    with pytest.raises(ConfigError) as error:
        parts(**{name: "other"})
    assert str(error.value) == (
        f"output: its predictions so far must be of the same {name}, got out.csv, begun with "
        "another. Choose another file, or remove .out.csv.parts to begin again."
    )


def test_a_start_that_was_killed_before_it_wrote_anything_counts_as_none(here: Path) -> None:
    (here / ".out.csv.parts").mkdir()
    assert parts().num_done == 0


def test_sizes_depend_on_the_place_alone() -> None:
    sizes, done = [], 0
    while done < 100_000:
        sizes.append(num_rows_from(done))
        done += sizes[-1]
    assert sizes[:4] == [256, 256, 512, 1024] and max(sizes) == 8192 and len(sizes) < 20


def test_digests_tell_rows_and_folders_apart(here: Path) -> None:
    rows = [{"text": "a"}, {"text": "b"}]
    assert rows_digest(rows) == rows_digest(iter(rows)) != rows_digest(rows[::-1])
    file = here / "model.safetensors"
    file.write_text("weights")
    before = folder_digest(here)
    assert before == folder_digest(here)
    os.utime(file, ns=(1, 1))
    assert before != folder_digest(here)
