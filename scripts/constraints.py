"""Write ``constraints.txt``: the versions of this environment, with which CI tests.

Run it in an environment that ``make test`` made, after its tests were green:
``.venv/bin/python -m scripts.constraints``. To take newer versions, remove ``.venv`` and
``constraints.txt`` first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

FILE = Path(__file__).parents[1] / "constraints.txt"
EXTRAS = ("dev", "virtualcam", "webrtc", "train")
"""Extras that ``make test`` installs."""
_OWN = ("torch",)
"""Set by the Makefile, since its CPU builds have versions of their own."""
_OLDEST = "3.10"
_HEAD = """\
# Versions with which CI tests (make uses them too). Made by: python -m scripts.constraints
# A version that needs a newer Python than {} has a marker; older ones take what fits the floors in pyproject.toml.
"""


def installed(name: str, extras: Iterable[str]) -> set[str]:
    """Return the names of what a distribution needs here, itself left out."""
    found: set[str] = set()
    waiting = [(name, tuple(extras))]
    while waiting:
        current, wanted = waiting.pop()
        for text in metadata.requires(current) or []:
            need = Requirement(text)
            other = canonicalize_name(need.name)
            if other not in found and _applies(need, wanted) and _is_installed(other):
                found.add(other)
                waiting.append((other, tuple(need.extras)))
    return found


def line(name: str) -> str:
    """Return the constraint of an installed distribution."""
    about = metadata.distribution(name)
    pinned = f"{name}=={about.version.partition('+')[0]}"
    needs = about.metadata["Requires-Python"]
    if needs is None or SpecifierSet(needs).contains(f"{_OLDEST}.0"):
        return pinned
    oldest = re.findall(r">=\s*(\d+\.\d+)", needs)[0]
    return f'{pinned}; python_version >= "{oldest}"'


def main() -> None:
    """Write the pinned versions to the file."""
    names = sorted(installed("mimicam", EXTRAS) - set(_OWN))
    FILE.write_text(_HEAD.format(_OLDEST) + "".join(f"{line(name)}\n" for name in names))


def _applies(need: Requirement, extras: Iterable[str]) -> bool:
    environment = {key: str(value) for key, value in default_environment().items()}
    return need.marker is None or any(need.marker.evaluate(environment | {"extra": e}) for e in ("", *extras))


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
