"""Connect to a Ray cluster, or start one on this machine, so that nothing about its use is sent."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from contextlib import nullcontext
from typing import Any

from mimicam.engine import silent_imports
from mimicam.engine.errors import EngineError

LOCAL = "local"
_STORE_BYTES = 100 << 20
"""Shared memory of a cluster on this machine. Only units and figures pass through it; Ray asks for 75 MiB."""
_ANSWER_S = 5.0
_START = "start one with 'ray start --head --disable-usage-stats'"


class RayCluster:
    """A connection to Ray. ``close`` ends it, and with it a cluster that was started here."""

    def __init__(self, address: str, *, cores: int) -> None:
        """Connect.

        Args:
            address: ``local`` starts a cluster on this machine; ``auto`` and ``HOST:PORT`` join one.
            cores: number of workers that a local cluster has room for.

        Raises:
            EngineError: Ray is missing, no cluster answers, or it reports its use.
        """
        self._folder = ""
        if address not in (LOCAL, "auto"):
            _check_address(address)
        try:
            self.ray = _import_local() if address == LOCAL else silent_imports.ray()
        except ImportError as error:
            raise EngineError(f"--ray needs Ray ({error}): pip install 'mimicam[ray]'") from error
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            with silent_imports.no_way_out() if address == LOCAL else nullcontext():
                self.ray.init(**(self._start(cores) if address == LOCAL else {"address": address}), **_QUIET)
            self._check_silence()
        except (EngineError, KeyboardInterrupt):
            self.close()
            raise
        except Exception as error:  # Ray raises it bare where a node does not start within 30 s
            self.close()
            reason = f"{' '.join(str(error).split()):.200}"
            if address == LOCAL:
                line = f"Ray does not start here ({reason}): try again when the machine is less busy"
            else:
                line = f"Ray at {address} cannot be used ({reason}): {_START}"
            raise EngineError(line) from error
        context = self.ray.data.DataContext.get_current()
        context.enable_progress_bars = False

    def count(self, resource: str) -> int:
        """Return how many ``CPU`` or ``GPU`` the machines have in all."""
        return int(self.ray.cluster_resources().get(resource, 0))

    def close(self) -> None:
        """Leave the cluster; harmless if called again."""
        self.ray.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, cores: int) -> dict[str, Any]:
        # Sockets lie in this folder, and their paths have at most 103 bytes: TMPDIR may be too long.
        self._folder = tempfile.mkdtemp(prefix="mimicam-", dir=None if sys.platform == "win32" else "/tmp")
        return {
            "address": LOCAL,
            "num_cpus": cores,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_temp_dir": self._folder,
        }

    def _check_silence(self) -> None:
        """Refuse a cluster that reports its use; it keeps more about itself then."""
        from ray.experimental import internal_kv

        kept = internal_kv._internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster")
        if kept is None or "os" in json.loads(kept):
            raise EngineError(f"this Ray cluster reports its use to Ray's makers: {_START}")


_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}


def _import_local() -> Any:
    """Import Ray for a cluster that listens on the loopback interface, to those who have a secret."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on Linux too: no address of another interface
    os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"] = "token", secrets.token_hex(32)
    return silent_imports.ray()


def _check_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise EngineError(f"--ray takes local, auto or HOST:PORT, not {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise EngineError(f"no Ray cluster answers at {address} ({error}): {_START}") from error
