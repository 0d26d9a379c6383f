"""Make ``.typing/mimicam``: links to the packages, as an installed wheel has them.

The type checker and the import linter follow folders on disk. They read neither setuptools'
``package-dir`` nor the ``__path__`` of a checkout's `mimicam`. ``make check`` runs this first.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engine", "kernels", "export", "training", "benchmarks")


def link_package(folder: Path) -> None:
    """Make the links in ``folder/mimicam``; those that are there already are left alone."""
    package = folder / "mimicam"
    package.mkdir(parents=True, exist_ok=True)
    targets = [*(ROOT / "mimicam").glob("*.py"), ROOT / "mimicam" / "py.typed", *(ROOT / p for p in PACKAGES)]
    for target in targets:
        link = package / target.name
        if not link.exists():
            link.symlink_to(target, target_is_directory=target.is_dir())


if __name__ == "__main__":
    link_package(ROOT / ".typing")
