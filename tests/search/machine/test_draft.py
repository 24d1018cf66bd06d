from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from search.machine.draft import drafted, remove_left

HOLD = "import sys; from pathlib import Path; from search.machine.draft import drafted\n"
HOLD += "with drafted(Path(), '.model-') as it:\n (it / 'file').touch()\n"
HOLD += " print('made', flush=True); sys.stdin.read()"


def test_what_a_killed_process_left_is_removed_and_what_another_uses_stays(here: Path) -> None:
    command = [sys.executable, "-c", HOLD]
    (here / "model").mkdir()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"made\n"
        with drafted(here, ".model-") as own:
            remove_left(here, ".model-")
            assert len([*here.glob(".model-*/file")]) == 1 and own.is_dir()
        process.kill()
    assert len([*here.glob(".model-*")]) == 1
    remove_left(here, ".model-")
    assert [path.name for path in here.iterdir()] == ["model"]
