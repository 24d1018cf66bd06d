"""One commit of a model on the hub: which of its files training needs, and which are here."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.error import ConfigError
from lightning_modules.machine.hub.ask import asking_hub, hub_seconds, within
from lightning_modules.machine.hub.download import OnBytes, Say, download, download_patiently
from lightning_modules.machine.hub.file import (
    CONFIG,
    HubFile,
    has_tokenizer,
    is_pickled,
    is_small,
    weights_of,
)
from lightning_modules.machine.hub.lacking import converted, without_config, without_weights
from lightning_modules.machine.hub.local import (
    folder_of,
    has_blob,
    is_commit,
    last_commit,
    remember,
)
from lightning_modules.machine.hub.wanted import HubError, Wanted

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

AGAIN_SECONDS = 60.0
"""How long an answer of the hub counts."""


@dataclass(frozen=True)
class Snapshot:
    """One commit of a model.

    Attributes:
        wanted: What was asked for.
        commit: Its hash.
        files: All its files, as the hub lists them; None if the hub was not asked or did not
            answer, and the cache has the commit.
        note: What to know about it, if anything, e.g. that the cache had to do.
        error: Why the hub did not answer; None if it did, or was not asked.

    """

    wanted: Wanted
    commit: str
    files: tuple[HubFile, ...] | None = None
    note: str = ""
    error: HubError | None = None

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return folder_of(self.wanted.name, self.commit)

    def needed(self, *, weights: bool) -> list[HubFile]:
        """Return the files that training needs, the small ones first; nothing if it is unlisted."""
        files = {file.path: file for file in self.files or ()}
        small = [path for path in files if is_small(path)]
        large = weights_of(files, self.folder) if weights else []
        return [files[path] for path in dict.fromkeys([*small, *large]) if path in files]

    def missing(self, *, weights: bool) -> list[HubFile]:
        """Return those of the needed files that have to be downloaded."""
        return [
            file
            for file in self.needed(weights=weights)
            if not (self.folder / file.path).is_file() and not has_blob(self.wanted.name, file.blob)
        ]

    def is_complete(self, *, weights: bool) -> bool:
        """Return whether the commit is here, as far as the files here tell."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        if CONFIG not in names or not has_tokenizer(names):
            return False
        large = weights_of(names, self.folder)
        return not weights or (bool(large) and set(large) <= set(names))

    def check(self, *, weights: bool) -> None:
        """Raise ConfigError if the commit cannot be used; download its config.json alone."""
        self._check_files(weights=weights)
        if not (self.folder / CONFIG).is_file():
            self._download_small(CONFIG)
            if _in_cache(self.wanted) is None:
                remember(self.wanted.name, self.wanted.revision, self.commit)

    def small_file(self, path: str) -> Path | None:
        """Return a small file, which is downloaded if need be; None if the commit has none.

        Of a commit that the hub did not list, the files beside config.json are all here.

        Raises:
            HubError: The hub does not send it.

        """
        if not (self.folder / path).is_file():
            if self.files is None and "/" not in path:
                return None
            if self.files is not None and path not in {file.path for file in self.files}:
                return None
            self._download_small(path)
        return self.folder / path

    def _download_small(self, path: str) -> None:
        import huggingface_hub.file_download  # not in the seconds that the hub has

        assert huggingface_hub.file_download
        with asking_hub(self.wanted):
            within(hub_seconds(), partial(download, self.wanted.name, self.commit, path))

    def fetch(
        self, *, weights: bool, on_bytes: OnBytes | None = None, say: Say | None = None
    ) -> Path:
        """Download what is missing; return the folder with all needed files.

        Args:
            weights: Whether the weights are needed.
            on_bytes: Is called with each number of bytes that have come.
            say: Is called with a line when it waits or tries again.

        Raises:
            ConfigError: The hub refuses a file, or did not send it in several tries.

        """
        self._check_files(weights=weights)
        done: set[str] = set()
        # The index of sharded weights, once it is here, names its files.
        while paths := [f.path for f in self.needed(weights=weights) if f.path not in done]:
            for path in paths:
                if not (self.folder / path).is_file():
                    download_patiently(self.wanted, self.commit, path, on_bytes, say or _silent)
                done.add(path)
        if done:
            remember(self.wanted.name, self.wanted.revision, self.commit)
        return self.folder

    def _check_files(self, *, weights: bool) -> None:
        if self.files is None:
            if not self.is_complete(weights=weights):
                assert self.error is not None, "a commit that is not complete is asked for"
                raise self.error
            return
        names = {file.path for file in self.files}
        if CONFIG not in names:
            raise ConfigError(without_config(self.wanted, names))
        if weights and not weights_of(names, self.folder):
            raise ConfigError(without_weights(self.wanted, names))


def find_snapshot(wanted: Wanted) -> Snapshot:
    """Return the commit that a revision of a model means now; ask the hub at most once a minute.

    A commit that is complete in the cache is not asked for. If the hub does not answer, the last
    commit in the cache that the revision meant has to do, with a note.

    Raises:
        HubError: There is no such model or revision, or neither hub nor cache has it.

    """
    found = _find(wanted, int(time.monotonic() / AGAIN_SECONDS))
    if isinstance(found, HubError):
        raise found
    return found


@cache
def _find(wanted: Wanted, minute: int) -> Snapshot | HubError:
    answered = _answers().get((wanted.name, wanted.revision))
    if answered is not None:
        return replace(answered, wanted=wanted)
    here = _in_cache(wanted)
    if here is not None and is_commit(wanted.revision) and here.is_complete(weights=True):
        return here
    try:
        with asking_hub(wanted):
            found = _listed_by_hub(wanted)
    except HubError as error:
        if here is None or error.is_no_revision:
            return error
        note = f"{wanted.name}: commit {here.commit[:12]} from the cache is used ({error.cause})"
        return replace(here, note=note, error=error)
    _answers()[wanted.name, found.commit] = found
    return found


@cache
def _answers() -> dict[tuple[str, str | None], Snapshot]:
    """Return what the hub listed, by name and commit, for a process that names them now."""
    return {}


def forget_answers() -> None:
    """Ask the hub again, as a new process does."""
    _find.cache_clear()
    _answers.cache_clear()


def _in_cache(wanted: Wanted) -> Snapshot | None:
    """Return the commit that a revision meant when it was last downloaded."""
    found = Snapshot(wanted, last_commit(wanted.name, wanted.revision))
    return found if (found.folder / CONFIG).is_file() else None


def _listed_by_hub(wanted: Wanted) -> Snapshot:
    """Return the commit with its files; of pickled weights the hub's conversion, unless named."""
    import huggingface_hub.hf_api  # not in the seconds that the hub has

    assert huggingface_hub.hf_api
    info = within(hub_seconds(), partial(_ask, wanted))
    note = f"{wanted.name} is now {info.id} on the hub" if info.id != wanted.name else ""
    found = Snapshot(wanted, str(info.sha), _files_of(info), note)
    if wanted.revision is not None or not is_pickled([file.path for file in found.files or ()]):
        return found
    revision = converted(wanted)
    if revision is None:
        return found  # `check` reports it
    info = within(hub_seconds(), partial(_ask, replace(wanted, revision=revision)))
    note = f"{wanted.name} has pickled weights, so the hub's conversion {revision} is used"
    return Snapshot(wanted, str(info.sha), _files_of(info), note)


def _ask(wanted: Wanted) -> ModelInfo:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    ask = partial(HfApi().model_info, wanted.name, revision=wanted.revision, files_metadata=True)
    for wait in (0.2, 0.5):
        try:
            return ask(timeout=hub_seconds())
        except HfHubHTTPError as error:
            if error.response.status_code < 500:
                raise
            time.sleep(wait)
    return ask(timeout=hub_seconds())


def _files_of(info: ModelInfo) -> tuple[HubFile, ...]:
    return tuple(
        HubFile(
            each.rfilename,
            each.size or 0,
            each.lfs.sha256 if each.lfs is not None else str(each.blob_id),
        )
        for each in info.siblings or ()
    )


def _silent(_: str) -> None:
    pass
