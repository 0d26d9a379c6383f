"""The portraits of a server: bundled, from a folder, and uploaded (in memory only)."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mimicam.engine.assets_manifest import bundled_portraits
from mimicam.engine.errors import EngineError
from mimicam.engine.picture_file import PICTURE_SUFFIXES
from mimicam.engine.portrait import Portrait, read_picture
from mimicam.engine.types import Image
from mimicam.engine.web import backdrop, pictures
from mimicam.engine.web.backdrop import Background
from mimicam.engine.web.pipeline_pool import FramePathPool

_SUFFIXES = PICTURE_SUFFIXES | {".gif"}
_MAX_FOLDER = 200
_MAX_ENROLLED = 64
"""Enrolled portraits in memory. 200 pictures with three backgrounds would take gigabytes."""
Origin = Literal["bundled", "folder", "upload"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A portrait as the gallery shows it."""

    id: str
    title: str
    origin: Origin


class PortraitLibrary:
    """Holds the portraits. Thread-safe. Pictures are read and enrolled at their first use."""

    def __init__(self, pool: FramePathPool, *, folder: Path | None = None, uploads: int = 24) -> None:
        """List the bundled portraits and those of the folder.

        Args:
            pool: enrols pictures.
            folder: pictures that are offered beside the bundled ones.
            uploads: number of uploads that are kept.

        Raises:
            EngineError: the folder does not exist, or there is no picture at all.
        """
        if folder is not None and not folder.is_dir():
            raise EngineError(f"{folder} is not a folder: give one with pictures to --portraits")
        self._pool, self._uploads = pool, uploads
        self._lock = threading.Lock()
        self._files: dict[str, tuple[Entry, Path]] = {}
        self._pictures: dict[str, tuple[Entry, Image]] = {}
        self._portraits: dict[tuple[str, Background], Portrait] = {}
        self._thumbs: dict[str, bytes] = {}
        self._add(bundled_portraits(), "bundled")
        if folder is not None:
            self._add(_pictures_in(folder), "folder")
        if not self._files:
            raise EngineError("there is no portrait to show: give a folder with pictures to --portraits")

    @property
    def default(self) -> str:
        """Id of the portrait with which pages start."""
        return next(iter(self._files))

    def shared(self) -> list[Entry]:
        """List the portraits that every page may show. Uploads are not among them."""
        return [entry for entry, _ in self._files.values()]

    def entry(self, portrait_id: str) -> Entry | None:
        """Find a portrait or an upload by its id."""
        found = self._files.get(portrait_id) or self._pictures.get(portrait_id)
        return None if found is None else found[0]

    def add(self, image: Image, title: str) -> Entry:
        """Keep an upload. Slow, since its face is detected.

        Raises:
            EngineError: it shows no face, or several.
        """
        # Outside of the lock, since it takes a second.
        portrait = self._pool.enroll(image, title)
        entry = Entry(id=secrets.token_urlsafe(16), title=title, origin="upload")
        with self._lock:
            while len(self._pictures) >= self._uploads:
                self._forget(next(iter(self._pictures)))
            self._pictures[entry.id] = (entry, portrait.picture)  # set upright
            self._keep((entry.id, "kept"), portrait)
        return entry

    def remove(self, portrait_id: str) -> bool:
        """Remove an upload. Returns whether there was one with that id."""
        with self._lock:
            if portrait_id not in self._pictures:
                return False
            self._forget(portrait_id)
            return True

    def thumbnail(self, portrait_id: str) -> bytes:
        """Encode a small JPEG. Slow the first time.

        Raises:
            KeyError: no such portrait.
            EngineError: the file is gone or damaged.
        """
        found = self._thumbs.get(portrait_id)
        if found is None:
            _, image = self._titled(portrait_id)
            found = pictures.thumbnail(image, self._pool.find_face(image))
            with self._lock:
                if self.entry(portrait_id) is not None:  # it may have been removed meanwhile
                    self._thumbs[portrait_id] = found
        return found

    def portrait(self, portrait_id: str, background: Background = "kept") -> Portrait:
        """Return the enrolled portrait with a background. Slow the first time.

        Raises:
            KeyError: no such portrait.
            EngineError: the file is gone or damaged, or shows no face.
        """
        key = (portrait_id, background)
        with self._lock:
            found = self._portraits.pop(key, None)
            if found is not None:
                self._portraits[key] = found  # the newest is last
        if found is None:
            entry, image = self._titled(portrait_id)
            if background != "kept":
                image = backdrop.replaced(image, self._pool.find_face(image), background)
            found = self._pool.enroll(image, entry.title)
            with self._lock:
                if self.entry(portrait_id) is not None:  # see above
                    self._keep(key, found)
        return found

    def _keep(self, key: tuple[str, Background], portrait: Portrait) -> None:
        """Keep a portrait. Drops the least recently used ones, which can be enrolled again."""
        self._portraits[key] = portrait
        while len(self._portraits) > _MAX_ENROLLED:
            del self._portraits[next(iter(self._portraits))]

    def _titled(self, portrait_id: str) -> tuple[Entry, Image]:
        upload = self._pictures.get(portrait_id)
        if upload is not None:
            return upload
        entry, path = self._files[portrait_id]
        return entry, read_picture(path)

    def _forget(self, portrait_id: str) -> None:
        del self._pictures[portrait_id]
        for key in [key for key in self._portraits if key[0] == portrait_id]:
            del self._portraits[key]
        self._thumbs.pop(portrait_id, None)

    def _add(self, files: Sequence[Path], origin: Origin) -> None:
        for path in files:
            name = hashlib.sha256(f"{origin}/{path.name}".encode()).hexdigest()[:16]
            title = path.stem.replace("_", " ").replace("-", " ").strip().capitalize()[:40]
            self._files[name] = (Entry(id=name, title=title, origin=origin), path)


def _pictures_in(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    return files[:_MAX_FOLDER]
