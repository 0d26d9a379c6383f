"""Tests the server against its OpenAPI description with schemathesis."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.web.browser import TintPool, serving
from tests.web.conftest import OPTIONS, TOKEN


@pytest.mark.parametrize("examples", [3, pytest.param(15, marks=pytest.mark.slow)])
def test_generated_requests_get_described_answers(
    examples: int, drawn_portraits: Path, tmp_path: Path
) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    program = shutil.which("st", path=str(Path(sys.executable).parent)) or shutil.which("st")
    if program is None:
        pytest.skip("the program st of schemathesis is not on the path")
    limits = replace(OPTIONS.limits, offers_per_minute=10**6, failures_per_minute=10**6)
    with serving(drawn_portraits, pool=TintPool(), options=replace(OPTIONS, limits=limits)) as server:
        done = subprocess.run(
            [
                program, "run", f"{server.url}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}",
                "--max-examples", str(examples), "--checks", "all", "--phases", "coverage,fuzzing", "--seed", "1",
                # Text is a valid 'sdp' for the schema and still no session description.
                "--exclude-checks", "positive_data_acceptance",
            ],
            capture_output=True, text=True, timeout=110, check=False, cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.web.fuzz_hooks", "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[done.stdout.find("FAILURES") :] + done.stderr[-2000:]
