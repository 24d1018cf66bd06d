from __future__ import annotations

from pathlib import Path

import pytest

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
