"""Fuzz what reads files and messages of others: ``python -m tests.fuzz [TARGET ...] [--seconds N]``.

Each target runs in a process of its own, which a crash or a hang ends. A failure prints
the seed, which ``--seed N`` repeats, and writes the smallest example to a file.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys

from tests.fuzz.run import FAILURE, run_for
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run the targets; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of: {', '.join(TARGETS)}; all by default"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, help="first seed; by default a random one")
    parser.add_argument("--here", action="store_true", help="run in this process, for a debugger")
    options = parser.parse_args()
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}")
    first = random.randrange(10**6) if options.seed is None else options.seed
    failed = [name for name in options.targets or TARGETS if not _passes(name, options, first)]
    print(f"failed: {', '.join(failed)}" if failed else "all targets passed")
    return bool(failed)


def _passes(name: str, options: argparse.Namespace, first: int) -> bool:
    if options.here:
        print(f"{name}: {run_for(name, options.seconds, first)} examples")
        return True
    command = [sys.executable, "-m", "tests.fuzz", name, "--here", "--seed", str(first)]
    done = subprocess.run(
        [*command, "--seconds", str(options.seconds)], capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        print(f"{name}: FAILED with code {done.returncode} at {lines[-1] if lines else 'its start'}")
        print(done.stderr[-4000:])
        print(f"the smallest example: {FAILURE.format(name)}")
    else:
        print(lines[-2], flush=True)
    return not done.returncode


if __name__ == "__main__":
    sys.exit(main())
