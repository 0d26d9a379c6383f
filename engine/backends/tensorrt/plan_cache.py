"""Built TensorRT plans on disk, and the reasons not to trust one.

A plan is machine code for one GPU, one driver and one runtime. It is never downloaded. It is loaded
only when it is this user's own file, unchanged since it was compared with the reference. Anything
else is refused and rebuilt.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mimicam.engine.checked_files import parse_json
from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically

_log = logging.getLogger(__name__)

_MAGIC = b"mimicam plan 1\n"
_HEADER_LIMIT = 1 << 16
_POSIX = sys.platform != "win32"

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanKey:
    """Everything that a plan depends on. Two different keys never share a file."""

    network: str
    """Which network of the model: part of the file's name, for people."""
    gpu: str
    """The name the driver gives it."""
    compute_capability: str
    """``8.9``"""
    driver: str
    """``580.95.05``"""
    runtime: str
    """``tensorrt-rtx 1.7.1.116``"""
    onnx_sha256: str
    precision: str
    shapes: Shapes
    """Input names and shapes, in the network's order."""

    def digest(self) -> str:
        """A hash over all fields."""
        return hashlib.sha256(self._json().encode()).hexdigest()

    def _json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def as_header(self) -> dict[str, object]:
        """Plain values, as they come back from JSON."""
        header: dict[str, object] = json.loads(self._json())
        return header


class PlanRefused(Exception):  # noqa: N818 - a refusal is an answer, not a failure: the plan is rebuilt
    """Why a plan on disk is not used."""


class PlanCache:
    """A folder of plans that only its owner can read or write."""

    def __init__(self, folder: Path | None = None, *, limit_bytes: int = 4 << 30) -> None:
        """Open the cache, making its folder where there is none.

        Args:
            folder: None is the user's own cache folder.
            limit_bytes: above it, the plans that were used longest ago are removed.

        Raises:
            EngineError: the folder cannot be made, or others may write to it.
        """
        self.folder = folder or default_folder()
        self._limit_bytes = limit_bytes
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(f"cannot make the plan cache {self.folder} ({error.strerror})") from error
        _check_folder(self.folder)

    def path(self, key: PlanKey) -> Path:
        """Return the file of a key's plan, whether it exists or not."""
        return self.folder / f"{key.network}-{key.digest()[:24]}.plan"

    def load(self, key: PlanKey) -> bytes:
        """The plan that was stored under this key.

        Raises:
            PlanRefused: there is none, or it is foreign, stale, damaged, unverified or open to
                others.
        """
        content = _read_own_file(self.path(key))
        header, plan = _split(content)
        # The name holds part of the digest only; the header decides.
        if header.get("key") != key.as_header():
            raise PlanRefused("it was built for something else")
        if header.get("sha256") != hashlib.sha256(plan).hexdigest() or header.get("bytes") != len(plan):
            raise PlanRefused("its content has changed since it was built")
        if header.get("verified") is not True:
            raise PlanRefused("it was never compared with the reference")
        return plan

    def store(self, key: PlanKey, plan: bytes) -> Path:
        """Write a plan that was compared with the reference; readable by its owner only.

        Raises:
            EngineError: the folder cannot be written.
        """
        header = {"key": key.as_header(), "sha256": hashlib.sha256(plan).hexdigest(), "bytes": len(plan)}
        text = json.dumps(header | {"verified": True}).encode()
        write_private(self.path(key), _MAGIC + len(text).to_bytes(4, "little") + text + plan)
        self._prune(keep=self.path(key))
        return self.path(key)

    def get_or_build(
        self, key: PlanKey, build: Callable[[], bytes], verify: Callable[[bytes], None]
    ) -> bytes:
        """Return the stored plan, or build one, which is compared with the reference before it is
        used.

        Args:
            key: what the plan is for.
            build: makes the plan; seconds (TensorRT for RTX) to minutes (TensorRT).
            verify: raises EngineError when the plan's outputs are not the reference's.

        Raises:
            EngineError: of ``build`` or ``verify``; then nothing is stored.
        """
        try:
            return self.load(key)
        except PlanRefused as refusal:
            _log.info("building a plan for %s: %s", key.network, refusal)
        plan = build()
        verify(plan)
        self.store(key, plan)
        return plan

    def evict(self, key: PlanKey) -> None:
        """Remove a plan that its runtime does not accept, and the kernels beside it."""
        for path in (self.path(key), self.runtime_cache(key)):
            path.unlink(missing_ok=True)

    def timing_cache(self, key: PlanKey) -> Path:
        """Return the file of kernel timings that a rebuild on the same GPU, driver and runtime may
        reuse."""
        same = "|".join((key.gpu, key.compute_capability, key.driver, key.runtime))
        return self.folder / f"timing-{hashlib.sha256(same.encode()).hexdigest()[:24]}.cache"

    def runtime_cache(self, key: PlanKey) -> Path:
        """Return the file of kernels that TensorRT for RTX compiled when it first ran a plan."""
        return self.path(key).with_suffix(".kernels")

    def read(self, path: Path) -> bytes | None:
        """Read one of the two files above, if it is this user's own."""
        try:
            return _read_own_file(path)
        except PlanRefused as refusal:
            _log.debug("%s is not used: %s", path.name, refusal)
            return None

    def _prune(self, keep: Path) -> None:
        plans = [(path != keep, -facts.st_mtime, path, facts.st_size) for path, facts in self._plans()]
        total = 0
        # The plan just stored first, then the newest: the oldest are removed beyond the limit.
        for _, _, path, size in sorted(plans):
            total += size
            if total > self._limit_bytes and path != keep:
                path.unlink(missing_ok=True)

    def _plans(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the plans that are there. Another process may prune the same folder."""
        for path in self.folder.glob("*.plan"):
            with suppress(FileNotFoundError):
                yield path, path.stat()


def default_folder() -> Path:
    """The user's cache folder: ``XDG_CACHE_HOME``, ``~/.cache`` or ``%LOCALAPPDATA%``, then
    ``mimicam/plans``."""
    variable = "XDG_CACHE_HOME" if _POSIX else "LOCALAPPDATA"
    base = os.environ.get(variable)
    return (Path(base) if base else Path.home() / ".cache") / "mimicam" / "plans"


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 under another name, then rename it into place.

    Raises:
        EngineError: it cannot be written; nothing half-written stays behind.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with write_atomically(path) as part, os.fdopen(os.open(part, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        # The rename must not reach the disk before the content.
        os.fsync(file.fileno())


def _read_own_file(path: Path) -> bytes:
    """Read a regular file that belongs to this user and that no other user can write.

    The open file is checked, so that it cannot be swapped in between.
    """
    # O_NONBLOCK: opening a pipe that someone put there must not wait for a writer.
    flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_BINARY", "O_NONBLOCK"))
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise PlanRefused("there is none yet") from None
    except OSError as error:
        raise PlanRefused(f"it cannot be opened ({error.strerror})") from None
    try:
        # The open file, not its path: another process could exchange it in between.
        _check_own(os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _check_own(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PlanRefused("it is no regular file")
    if _POSIX and status.st_uid != os.getuid():
        raise PlanRefused("it belongs to another user")
    if _POSIX and status.st_mode & 0o077:
        raise PlanRefused("others may read or write it")


def _split(content: bytes) -> tuple[dict[str, object], bytes]:
    start = len(_MAGIC) + 4
    if not content.startswith(_MAGIC) or len(content) < start:
        raise PlanRefused("it is not one of mimicam's plans")
    length = int.from_bytes(content[len(_MAGIC) : start], "little")
    if length > _HEADER_LIMIT or len(content) < start + length:
        raise PlanRefused("it is cut short")
    try:
        header = parse_json(content[start : start + length].decode())
    except ValueError:
        raise PlanRefused("its header is damaged") from None
    return header, content[start + length :]


def _check_folder(folder: Path) -> None:
    """Refuse a folder that others can write to: they could replace the plans in it."""
    if not _POSIX:
        return  # %LOCALAPPDATA% is its owner's own by access list
    status = folder.stat()
    if status.st_uid != os.getuid():
        raise EngineError(
            f"the plan cache {folder} belongs to another user: remove it, or set XDG_CACHE_HOME"
        )
    if status.st_mode & 0o077:
        raise EngineError(f"others may look into the plan cache {folder}: run 'chmod 700 {folder}'")
