from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.machine.file import write_json
from lightning_modules.model.files.manifest import MANIFEST
from lightning_modules.task.generation import Generation
from lightning_modules.text.answered import Conversations
from search.trained.exported import exported_task


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [({}, Conversations.turns), ({"task.conversations": "whole"}, Conversations.whole)],
)
def test_an_export_without_a_key_reads_rows_as_before_the_key(
    here: Path, settings: dict[str, str], wanted: Conversations
) -> None:
    task_of = {"task": "generation", "task.label": "b", **settings}
    write_json(here / MANIFEST, {"task": task_of, "labels": [], "max_length": 8, "columns": {}})
    task, plugins = exported_task(here)
    assert isinstance(task, Generation) and list(plugins) == []
    assert (task.conversations, task.label) == (wanted, "b")


def test_a_template_of_before_columns_means_what_it_meant(here: Path) -> None:
    settings = {"task": "generation", "task.label": "b", "task.template": "{a} {text}"}
    for more, template in (({}, "{{a}} {text}"), ({"prompt": None}, "{a} {text}")):
        values = {"task": settings, "labels": [], "max_length": 8, "columns": {}}
        write_json(here / MANIFEST, {**values, **more})
        task, _ = exported_task(here)
        assert isinstance(task, Generation) and task.template == template


@pytest.mark.parametrize(
    "template", ["{text} costs ${{5}}: ", "${oc.env:HOME} {text}", r"\${text}"]
)
def test_a_template_refers_to_nothing_of_this_machine(here: Path, template: str) -> None:
    settings = {"task": "generation", "task.label": "b", "task.template": template}
    values = {"task": settings, "labels": [], "max_length": 8, "columns": {}, "prompt": None}
    write_json(here / MANIFEST, values)
    task, _ = exported_task(here)
    assert isinstance(task, Generation) and task.template == template


@pytest.mark.parametrize(
    ("prompt", "rule"),
    [(5, "prompt"), ("{a", "must hold a column in each pair"), ("Hi.", "must hold {text} or")],
)
def test_a_prompt_that_cannot_be_written_is_refused(here: Path, prompt: object, rule: str) -> None:
    task = {"task": "generation"}
    values = {"task": task, "labels": [], "max_length": 8, "columns": {}, "prompt": prompt}
    write_json(here / MANIFEST, values)
    with pytest.raises(ConfigError, match=rule) as error:
        exported_task(here)
    assert "\n" not in str(error.value)
