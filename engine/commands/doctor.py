"""``mimicam doctor``: check whether ``mimicam run`` can work here, and what is missing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from mimicam.engine.doctor import Check

_MARKS = {True: "ok     ", False: "missing"}


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Check Python, packages, CPU, GPUs, cameras, virtual cameras, bundled files and backends.

    The exit code is 0 only if 'mimicam run' can work.
    """

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""

    def run(self) -> int:
        """Print each finding, with the command that fixes it."""
        from mimicam.engine.doctor import examine

        checks = examine()
        able = all(check.ok for check in checks if check.required)
        if self.json:
            print(json.dumps({"can_run": able, "checks": [asdict(check) for check in checks]}, indent=1))
            return 0 if able else 1
        for check in checks:
            mark = _MARKS[check.ok] if check.required or check.ok else "absent "
            print(f"{mark}  {check.name}: {check.detail}")
            if check.remedy:
                print(f"         -> {check.remedy}")
        print(_verdict(checks) if able else "not ready: see what is missing above")
        return 0 if able else 1


def _verdict(checks: list[Check]) -> str:
    """Return the command that works here: `mimicam run` alone needs a virtual camera."""
    works = {check.name.partition(" ")[0] for check in checks if check.ok}
    options = "" if "virtual" in works else " --sink window" if "window" in works else " --sink file:OUT.mp4"
    return f"ready: mimicam run{options}"
