from __future__ import annotations

import os
from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from search.trained.parts import (
    Parts,
    folder_digest,
    num_rows_from,
    remove_finished,
    rows_digest,
)

ABOUT = {"input": "i", "model": "m"}


def parts(**changes: str) -> Parts:
    return Parts(Path("out.csv"), {**ABOUT, **changes})


def test_predictions_go_on_after_the_last_complete_part(here: Path) -> None:
    with parts() as first:
        assert first.num_done == 0
        first.add(0, [{"prediction": "a\nb\u2028"}, {"prediction": None}])
        first.add(2, [{"prediction": 0.1}])
        first.add(9, [{"prediction": "of another size of parts"}])
    with parts() as again:
        assert again.num_done == 3
        found = [{"prediction": "a\nb\u2028"}, {"prediction": None}, {"prediction": 0.1}]
        assert list(again) == found
        (here / "out.csv").touch()
    assert [path.name for path in here.iterdir()] == ["out.csv"]


def test_an_error_before_the_first_part_leaves_nothing(here: Path) -> None:
    with pytest.raises(ZeroDivisionError), parts():
        raise ZeroDivisionError
    assert not list(here.iterdir())


@pytest.mark.parametrize("name", ["input", "model"])
def test_those_of_something_else_are_refused(name: str, here: Path) -> None:
    with parts() as first:
        first.add(0, [{"prediction": 1}])
    with pytest.raises(ConfigError) as error, parts(**{name: "other"}):
        pass
    assert str(error.value) == (
        f"output: its predictions so far must be of the same {name}, got out.csv, begun with "
        "another. Choose another file, or remove .out.csv.parts to begin again."
    )
    with parts() as again:
        assert again.num_done == 1


def test_a_start_that_was_killed_before_it_wrote_anything_counts_as_none(here: Path) -> None:
    (here / ".out.csv.parts").mkdir()
    with parts() as found:
        assert found.num_done == 0


def test_a_second_command_is_refused_until_the_first_ends(here: Path) -> None:
    with parts() as first:
        first.add(0, [{"prediction": 1}])
        with pytest.raises(ConfigError) as error, parts():
            pass
        assert str(error.value) == (
            "output: must be written by one command at a time, got out.csv, which another "
            "finesweep predict writes. Wait for it, or name another file."
        )
        remove_finished(here)
        assert list(first) == [{"prediction": 1}]
        (here / "out.csv").touch()
        remove_finished(here)
        assert list(first) == [{"prediction": 1}]
    with pytest.raises(ConfigError, match="must be a new file"), parts():
        pass
    assert [path.name for path in here.iterdir()] == ["out.csv"]


def test_what_a_kill_at_the_very_end_left_is_removed_by_the_next_command(here: Path) -> None:
    for name in ("out.csv", "other.csv"):
        with Parts(Path(name), ABOUT) as found:
            found.add(0, [{"prediction": 1}])
    (here / "out.csv").touch()
    remove_finished(here)
    assert sorted(path.name for path in here.iterdir()) == [".other.csv.parts", "out.csv"]


def test_a_folder_of_another_program_is_never_removed(here: Path) -> None:
    (here / ".film.mp4.parts").mkdir()
    (here / ".film.mp4.parts/0001").touch()
    (here / "film.mp4").touch()
    remove_finished(here)
    assert (here / ".film.mp4.parts/0001").is_file()


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
