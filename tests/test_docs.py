"""The site builds offline without warnings and covers all of conf/; its commands compose."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from search.cli.argument import parse
from search.cli.completion import KEYS
from search.cli.main import COMMANDS
from search.cli.plan import take_probe
from search.config import CONF_DIR, build_run, compose, compose_free, is_free_command
from search.config.catalogue import load_groups, load_settings
from search.plan.build import build_plan
from tests.conftest import run_here
from tests.options import files_of
from tests.page import (
    blocks,
    check_predictions,
    check_study,
    quickened,
    run_in_bash,
    run_in_this_process,
    write_reviews,
)
from tests.shared import DATA

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
GROUPS = load_groups(CONF_DIR, "sweep")
COMPOSING = ("sweep", "plan", "check", "train")


class Page(HTMLParser):
    """The ids and text of a built page, its links, and what it fetches."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name == "href" and value and tag == "a":
                self.links.append(value)
            elif name in ("href", "src", "srcset", "data", "poster") and value and tag != "a":
                self.fetched.append(value)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


@pytest.mark.thorough
def test_the_site_is_the_written_pages_and_the_reference(
    site: Path, pages: dict[Path, Page]
) -> None:
    built = {path.relative_to(site).with_suffix("").as_posix() for path in pages}
    written = {path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES}
    reference = {f"reference/{group.name.replace('/', '-')}" for group in GROUPS}
    extra = {f"reference/{name}" for name in ("commands", "settings", "priors")}
    extra |= {"contributing", "changelog", "404"}
    assert built == written | reference | extra
    assert list(site.rglob("*.py")) == []


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_reference_has_every_option_and_key(
    group: Any, site: Path, pages: dict[Path, Page]
) -> None:
    page = pages[site / "reference" / f"{group.name.replace('/', '-')}.html"]
    for path in files_of(group.name):
        assert path.stem in page.ids
        assert f"{group.name}={path.stem}: " in page.text
    for option in group.options:
        assert option.headline in page.text
        prefix = "" if option.target is None else f"{group.name.replace('/', '.')}."
        for key in option.keys:
            assert f"{prefix}{key.path}" in page.text
            assert key.value in page.text


def test_every_yaml_is_in_the_reference() -> None:
    named = {CONF_DIR / group.name / f"{m.name}.yaml" for group in GROUPS for m in group.options}
    rest = {path.name for path in set(CONF_DIR.rglob("*.yaml")) - named}
    assert rest == {"sweep.yaml", "train.yaml", "prior.yaml"}


def test_reference_has_every_setting_and_command(site: Path, pages: dict[Path, Page]) -> None:
    settings = pages[site / "reference" / "settings.html"].text
    for command in ("sweep", "train"):
        for key in load_settings(CONF_DIR, command):
            assert key.path in settings and key.comment in settings
    assert "Total trials over all calls and workers" in settings
    commands = pages[site / "reference" / "commands.html"]
    for command in COMMANDS:
        assert command in commands.ids
        assert f"usage: finesweep {command} " in commands.text


def test_the_table_of_priors_is_in_the_reference(site: Path, pages: dict[Path, Page]) -> None:
    text = pages[site / "reference" / "priors.html"].text
    for line in (CONF_DIR / "prior.yaml").read_text(encoding="utf-8").splitlines():
        assert line.strip() in text


def test_relative_links_are_not_dead(site: Path, pages: dict[Path, Page]) -> None:
    num_links = 0
    for path, page in pages.items():
        if path.name == "404.html":  # is shown at any address
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                assert parts.scheme == "https", f"{path}: {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target.suffix == ".html":
                ids = pages[site / target.relative_to(site.resolve())].ids
                assert unquote(parts.fragment) in ids, f"{path.relative_to(site)}: {link}"
            num_links += 1
    assert num_links > 300


def test_pages_fetch_nothing_from_other_hosts(site: Path, pages: dict[Path, Page]) -> None:
    fetched = {link for page in pages.values() for link in page.fetched}
    assert any(link.endswith(".css") for link in fetched)
    assert any(link.endswith(".js") for link in fetched)
    assert [link for link in fetched if urlsplit(link).netloc] == []
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", path.read_text(encoding="utf-8"))


def test_no_font_is_fetched_and_no_analytics_are_on() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings
    plain = yaml.safe_load(settings)
    assert plain["plugins"] == ["search"]
    assert "analytics" not in plain["extra"]


def fences(language: str) -> Iterator[tuple[Path, str, str]]:
    """Yield the page, title and content of each fenced block in `language`."""
    pattern = rf'^```{language}(?: title="([^"]+)")?\n(.*?)^```$'
    for path in (*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        text = path.read_text(encoding="utf-8")
        for title, content in re.findall(pattern, text, re.DOTALL | re.MULTILINE):
            yield path, title, content


def commands() -> Iterator[tuple[Path, str]]:
    """Yield each finesweep command of a shell block, with its continuation lines."""
    for language in ("bash", "console"):
        for path, _, content in fences(language):
            for line in content.replace("\\\n", " ").splitlines():
                found = re.match(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(finesweep [a-z].*)", line)
                if found:
                    yield path, found[1].removesuffix(" &")


LINES = [
    pytest.param(line, id=f"{path.stem}-{number}")
    for number, (path, line) in enumerate(sorted(set(commands())))
]


def test_commands_are_found() -> None:
    assert len(LINES) > 50


@pytest.fixture
def own_files(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the files that the pages show and make their package importable."""
    for language in ("python", "yaml"):
        for page, title, content in fences(language):
            if title and page.name != "CONTRIBUTING.md":
                (here / title).parent.mkdir(parents=True, exist_ok=True)
                (here / title).write_text(content)
            elif title == "lightning_modules/strategy/norms.py":  # howto/extending.md refers to it
                (here / "my_package").mkdir(exist_ok=True)
                (here / "my_package" / "norms.py").write_text(content)
    assert (here / "my_package").is_dir() and (here / "my_conf").is_dir()
    monkeypatch.syspath_prepend(str(here))
    return here


@pytest.mark.thorough
@pytest.mark.parametrize("line", LINES)
def test_command_composes(line: str, own_files: Path) -> None:
    _, command, *words = shlex.split(line, comments=True)
    assert command in COMMANDS
    if command == "try":
        build_plan(compose("sweep", words))
        return
    if command not in COMPOSING:
        flags = [word for word in words if word.startswith("--")]
        keys = [f"{word.partition('=')[0]}=" for word in words if word not in flags]
        assert {*flags, *keys} <= {*KEYS[command]}
        return
    if command == "train" and any(word.startswith("trial=") for word in words):
        assert {word.partition("=")[0] for word in words} == {"study", "trial"}
        return
    if command == "train" and any(word.startswith("config=") for word in words):
        assert len(words) == 1
        return
    parsed = parse(command, "", words, flags=("config", "json"))
    if command == "plan":
        take_probe(parsed.overrides)
    name = "train" if command in ("train", "check") else "sweep"
    make = compose_free if is_free_command(parsed.overrides) else partial(compose, name)
    composition = make(parsed.overrides, parsed.config_dir)
    if name == "train":
        build_run(composition.tree)
    else:
        build_plan(composition)


def test_the_jokes_of_the_extending_page_load(own_files: Path) -> None:
    words = ["data=jokes", "search.plugins=[my_package]"]
    run = build_run(compose("train", words, own_files / "my_conf").tree)
    assert {split: len(rows) for split, rows in run.data.load(run.task).splits.items()} == {
        "train": 60,
        "validation": 15,
        "test": 15,
    }


@pytest.mark.thorough
@pytest.mark.parametrize(
    "run", [run_in_this_process, pytest.param(run_in_bash, marks=pytest.mark.slow)]
)
def test_the_front_page_runs_in_order(here: Path, run: Callable[[str], None]) -> None:
    write_reviews(here)
    scripts = blocks((DOCS / "index.md").read_text(encoding="utf-8"), "bash")
    assert len(scripts) == 4
    run("\n".join(map(quickened, scripts)))
    check_study(here / "studies" / "mine")
    check_predictions(here / "out.jsonl")
    assert (here / "best" / "README.md").is_file()


def test_the_groups_page_names_every_option_with_the_default_first() -> None:
    text = (DOCS / "groups.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", text, re.M))
    assert set(rows) == {group.name for group in GROUPS}
    for group in GROUPS:
        named = re.findall(r"`(\w+)`", rows[group.name])
        assert {option.name for option in group.options} <= set(named), group.name
        if group.default is not None:
            assert named[0] == group.default, group.name


def test_the_tasks_page_names_every_task() -> None:
    text = (DOCS / "tasks.md").read_text(encoding="utf-8")
    (tasks,) = [group for group in GROUPS if group.name == "task"]
    named = re.findall(r"^\| `(\w+)` \|", text, re.M)
    assert sorted(named) == sorted(option.name for option in tasks.options)


@pytest.mark.thorough
def test_the_page_about_a_loop_of_ones_own_runs(here: Path) -> None:
    page = (DOCS / "howto" / "own_loop.md").read_text(encoding="utf-8")
    (python,) = blocks(page, "python")
    (here / "page.py").write_text(python.replace("num_trials=20", "num_trials=6"))
    done = subprocess.run([sys.executable, "page.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = (here / "studies/regression/trials.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 7 and all(row.split(",")[1] in ("complete", "pruned") for row in rows[1:])
    (script,) = blocks(page, "bash")
    path = f"export PATH={Path(sys.executable).parent}:$PATH\n"
    run_in_bash(path + script.replace("search.num_trials=6", "search.num_trials=2"))
    rows = (here / "studies/shell/trials.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["complete", "complete"]


@pytest.mark.thorough
def test_the_example_of_the_page_about_preferences_runs(here: Path) -> None:
    """Use the first rows of GSM8K, or rows like them, and a smaller network."""
    page = (DOCS / "howto" / "preferences.md").read_text(encoding="utf-8")
    (here / "gsm8k").mkdir()
    for split in ("train", "test"):
        path = DATA / "gsm8k" / f"{split}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines()[:40] if path.is_file() else []
        worked = "Ann has {0}+{1} = <<{0}+{1}={2}>>{2} pens.\n#### {2}"
        lines = lines or [
            json.dumps({"question": f"{n} pens and 7?", "answer": worked.format(n, 7, n + 7)})
            for n in range(40)
        ]
        (here / f"gsm8k/{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (title, script) = next((t, c) for path, t, c in fences("python") if path.stem == "preferences")
    (here / title).write_text(script, encoding="utf-8")
    subprocess.run([sys.executable, title], check=True)
    commands = blocks(page, "bash")[-1].replace("\\\n", " ").replace("epochs=3", "epochs=1")
    small = "model.config.n_embd=16 model.config.n_head=2 task.max_new_tokens=2 logger=none"
    for line in commands.splitlines():
        _, command, *words = shlex.split(line)
        run_here(command, *words, *(small.split() if command == "train" else ()))
    scores = json.loads((here / "runs/dpo/metrics.json").read_text(encoding="utf-8"))
    assert 0 <= scores["validation/reward_accuracy"] <= 1, scores
    answers = (here / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(answers) == 40 and all("prediction" in json.loads(line) for line in answers)
    assert (here / "best/README.md").is_file()


@pytest.mark.slow
def test_the_tutorial_runs_in_order(here: Path) -> None:
    """Use a small random network: the commands are tested, not the scores."""
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    script = "set -euo pipefail\n"
    for language, content in re.findall(r"^```(bash|python)\n(.*?)^```$", text, re.S | re.M):
        is_shell = language == "bash"
        script += content if is_shell else f"python - <<'END'\n{content}END\n"
    script = re.sub(
        r"^finesweep (sweep|plan) ", r"finesweep \1 experiment=smoke ", script, flags=re.M
    )
    script = script.replace("search.num_trials=6", "search.num_trials=2")
    script = script.replace("search.num_trials=8", "search.num_trials=3")
    path = f"export PATH={Path(sys.executable).parent}:$PATH\n"
    done = subprocess.run(
        ["bash", "-c", path + script], cwd=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "continuing: 2 of 3 trials have ended" in done.stdout
    assert len((here / "out.jsonl").read_text().splitlines()) == 50
