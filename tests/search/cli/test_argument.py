from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from search.cli.argument import keys, needed, parse

KNOWN = {"study": "NAME", "split": "test", "to": "FOLDER"}


def test_flags_may_stand_between_key_value_words() -> None:
    parsed = parse("plan", "", ["study=x", "--json", "seed=-1"], flags=("json",))
    assert parsed.overrides == ["study=x", "seed=-1"]
    assert parsed.json


def test_a_composing_command_has_the_config_flags() -> None:
    words = ["--cfg", "job", "--config-dir", "mine", "-m", "~logger"]
    parsed = parse("sweep", "", words, flags=("config",))
    assert (parsed.cfg, parsed.config_dir, parsed.multirun) == ("job", Path("mine"), True)
    assert parsed.overrides == ["~logger"]


@pytest.mark.parametrize("word", ["--json", "--cfg", "--config-dir", "-m"])
def test_a_flag_of_another_command_is_refused(word: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse("predict", "", [word])
    assert stopped.value.code == 2


def test_flags_are_not_abbreviated() -> None:
    with pytest.raises(SystemExit):
        parse("plan", "", ["--js"], flags=("json",))


def test_help_shows_the_text_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse("plan", "One line.\n  indented", ["--help"], flags=("config",))
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "One line.\n  indented" in out
    assert "multirun" not in out


def test_keys_are_split_at_the_first_equals_sign() -> None:
    assert keys(["study=a=b", "to="], KNOWN) == {"study": "a=b", "to": ""}


def test_all_wrong_keys_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        keys(["studi=x", "split", "to=y"], KNOWN)
    assert [str(problem) for problem in error.value.problems] == [
        "studi: must be a known key, got studi. Did you mean study?",
        "split: must have the form key=value, got 'split'.",
    ]


def test_a_needed_key_is_returned() -> None:
    assert needed({"study": "x"}, "study", "NAME") == "x"


@pytest.mark.parametrize("found", [{}, {"study": ""}])
def test_a_needed_key_must_be_set(found: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"study: must be set, got nothing\. Set study=NAME\."):
        needed(found, "study", "NAME")
