"""The layout of both packages, drawn from their imports: few rooms, and no circle at any level.

import-linter holds the same by contract; this draws it independently, and counts the rooms.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

MAX_ROOMS = {"search": 18, "lightning_modules": 33}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*MAX_ROOMS, cache_dir=None)


def drawn(graph: grimp.ImportGraph, package: str) -> dict[str, set[str]]:
    """Return which children of `package` each of its children imports, directly or inside."""
    rooms = graph.find_children(package)
    room_of = {module: room for room in rooms for module in (room, *graph.find_descendants(room))}
    arrows: dict[str, set[str]] = {room: set() for room in rooms}
    for module, room in room_of.items():
        imported = graph.find_modules_directly_imported_by(module)
        arrows[room] |= {room_of[each] for each in imported if each in room_of} - {room}
    return arrows


@pytest.mark.parametrize(("package", "most"), MAX_ROOMS.items())
def test_a_package_has_few_rooms(graph: grimp.ImportGraph, package: str, most: int) -> None:
    arrows = drawn(graph, package)
    assert len(arrows) <= most, sorted(arrows)
    assert sum(map(len, arrows.values())) > len(arrows)  # the drawing sees the imports


@pytest.mark.parametrize("package", MAX_ROOMS)
def test_no_circle_at_any_level(graph: grimp.ImportGraph, package: str) -> None:
    for parent in sorted({package, *graph.find_descendants(package)}):
        try:
            TopologicalSorter(drawn(graph, parent)).prepare()
        except CycleError as error:
            pytest.fail(f"a circle in {parent}: {' -> '.join(error.args[1])}")


def test_the_drawing_finds_a_circle() -> None:
    graph = grimp.ImportGraph()
    for module in ("a", "a.one", "a.two"):
        graph.add_module(module)
    graph.add_import(importer="a.one", imported="a.two")
    graph.add_import(importer="a.two", imported="a.one")
    with pytest.raises(CycleError):
        TopologicalSorter(drawn(graph, "a")).prepare()
