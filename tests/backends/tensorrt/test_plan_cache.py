from __future__ import annotations

import dataclasses
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from mimicam.engine.backends.tensorrt import plan_cache
from mimicam.engine.backends.tensorrt.plan_cache import PlanCache, PlanKey, PlanRefused
from mimicam.engine.errors import EngineError

KEY = PlanKey(
    network="generator",
    gpu="NVIDIA GeForce RTX 4090",
    compute_capability="8.9",
    driver="580.95.05",
    runtime="tensorrt-rtx 1.7.1",
    onnx_sha256="a" * 64,
    precision="fp16",
    shapes=(("latent", (1, 512)), ("feature_8", (1, 512, 8, 8))),
)
PLAN = b"machine code" * 100
posix = pytest.mark.skipif(
    sys.platform == "win32", reason="access on Windows goes by lists, not by mode bits"
)


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def test_a_stored_plan_comes_back(cache: PlanCache) -> None:
    cache.store(KEY, PLAN)
    assert cache.load(KEY) == PLAN


@posix
def test_folder_and_plan_are_their_owners_alone(cache: PlanCache) -> None:
    old = os.umask(0)
    try:
        path = PlanCache(cache.folder / "inner").store(KEY, PLAN)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "change",
    [
        {"network": "encoder"},
        {"gpu": "NVIDIA GeForce RTX 4080"},
        {"compute_capability": "12.0"},
        {"driver": "580.95.06"},
        {"runtime": "tensorrt-rtx 1.7.2"},
        {"onnx_sha256": "b" * 64},
        {"precision": "fp32"},
        {"shapes": (("latent", (2, 512)), ("feature_8", (2, 512, 8, 8)))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_anything_that_changes_asks_for_another_plan(cache: PlanCache, change: dict[str, object]) -> None:
    cache.store(KEY, PLAN)
    other = dataclasses.replace(KEY, **change)
    assert cache.path(other) != cache.path(KEY)
    with pytest.raises(PlanRefused, match="there is none yet"):
        cache.load(other)


def test_every_field_of_the_key_is_tried_above() -> None:
    assert {field.name for field in dataclasses.fields(PlanKey)} == {
        "network", "gpu", "compute_capability", "driver", "runtime", "onnx_sha256", "precision", "shapes",
    }  # fmt: skip


def test_a_plan_renamed_to_another_key_is_refused(cache: PlanCache) -> None:
    other = dataclasses.replace(KEY, gpu="another card")
    os.rename(cache.store(KEY, PLAN), cache.path(other))
    with pytest.raises(PlanRefused, match="built for something else"):
        cache.load(other)


@pytest.mark.parametrize("at", [-1, -len(PLAN)])
def test_one_changed_bit_is_refused(cache: PlanCache, at: int) -> None:
    path = cache.store(KEY, PLAN)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(PlanRefused, match="content has changed"):
        cache.load(KEY)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not one of mimicam's plans"),
        (b"another program's file, long enough", "not one of mimicam's plans"),
        (plan_cache._MAGIC + (9999).to_bytes(4, "little"), "cut short"),
        (plan_cache._MAGIC + (1 << 31).to_bytes(4, "little") + b"x" * 99, "cut short"),
        (plan_cache._MAGIC + (2).to_bytes(4, "little") + b"{!", "header is damaged"),
        (plan_cache._MAGIC + (2).to_bytes(4, "little") + b"[]", "header is damaged"),
        (plan_cache._MAGIC + (60_000).to_bytes(4, "little") + b"[" * 60_000, "header is damaged"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(cache: PlanCache, content: bytes, reason: str) -> None:
    plan_cache.write_private(cache.path(KEY), content)
    with pytest.raises(PlanRefused, match=reason):
        cache.load(KEY)


def test_a_plan_that_nobody_compared_is_refused(cache: PlanCache) -> None:
    path = cache.store(KEY, PLAN)
    path.write_bytes(path.read_bytes().replace(b'"verified": true', b'"verified": null'))
    with pytest.raises(PlanRefused, match="never compared"):
        cache.load(KEY)


@posix
@pytest.mark.parametrize("mode", [0o602, 0o620, 0o640, 0o604])
def test_a_plan_that_others_may_touch_is_refused(cache: PlanCache, mode: int) -> None:
    cache.store(KEY, PLAN).chmod(mode)
    with pytest.raises(PlanRefused, match="others may read or write"):
        cache.load(KEY)


@posix
def test_a_plan_of_another_user_is_refused(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store(KEY, PLAN)
    monkeypatch.setattr(os, "getuid", lambda: 123456)
    with pytest.raises(PlanRefused, match="another user"):
        cache.load(KEY)


@posix
def test_a_link_is_refused(cache: PlanCache, tmp_path: Path) -> None:
    real = cache.store(KEY, PLAN).rename(tmp_path / "elsewhere")
    cache.path(KEY).symlink_to(real)
    with pytest.raises(PlanRefused, match="cannot be opened"):
        cache.load(KEY)


@posix
def test_a_folder_is_refused_as_a_plan(cache: PlanCache) -> None:
    cache.path(KEY).mkdir(mode=0o700)
    with pytest.raises(PlanRefused, match="no regular file"):
        cache.load(KEY)


@posix
def test_a_pipe_is_refused_without_waiting_for_a_writer(cache: PlanCache) -> None:
    os.mkfifo(cache.path(KEY), 0o600)
    with pytest.raises(PlanRefused, match="no regular file"):
        cache.load(KEY)


@posix
def test_a_cache_folder_open_to_others_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "plans"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(EngineError, match=f"chmod 700 {folder}"):
        PlanCache(folder)


def test_a_good_plan_is_neither_built_nor_compared_again(cache: PlanCache) -> None:
    cache.store(KEY, PLAN)
    assert cache.get_or_build(KEY, build=_never, verify=_never) == PLAN


def test_a_refused_plan_is_rebuilt_compared_and_kept(cache: PlanCache) -> None:
    path = cache.store(KEY, b"old")
    path.chmod(0o666)
    compared: list[bytes] = []
    assert cache.get_or_build(KEY, build=lambda: PLAN, verify=compared.append) == PLAN
    assert compared == [PLAN]
    assert cache.load(KEY) == PLAN


def test_a_plan_that_is_not_the_reference_is_not_kept(cache: PlanCache) -> None:
    def verify(_plan: bytes) -> None:
        raise EngineError("the plan differs")

    with pytest.raises(EngineError, match="the plan differs"):
        cache.get_or_build(KEY, build=lambda: PLAN, verify=verify)
    assert not list(cache.folder.iterdir()), "nothing of a wrong plan may stay"


def test_the_header_says_what_the_plan_is_for(cache: PlanCache) -> None:
    content = cache.store(KEY, PLAN).read_bytes()
    start = len(plan_cache._MAGIC) + 4
    length = int.from_bytes(content[start - 4 : start], "little")
    assert json.loads(content[start : start + length])["key"]["gpu"] == KEY.gpu


def test_the_plans_used_longest_ago_make_room(tmp_path: Path) -> None:
    cache = PlanCache(tmp_path / "plans", limit_bytes=3500)
    keys = [dataclasses.replace(KEY, driver=str(n)) for n in range(3)]
    for age, key in enumerate(keys[:2]):
        os.utime(cache.store(key, PLAN), (1000 + age, 1000 + age))
    cache.store(keys[2], PLAN)
    assert [cache.path(key).exists() for key in keys] == [False, True, True]


@posix
def test_a_plan_that_another_process_removes_is_passed_over(cache: PlanCache) -> None:
    cache.store(KEY, PLAN)
    (cache.folder / "gone.plan").symlink_to(cache.folder / "nowhere")
    assert cache.store(dataclasses.replace(KEY, driver="another"), PLAN).exists()


def test_one_timing_cache_serves_all_networks_of_a_gpu(cache: PlanCache) -> None:
    assert cache.read(cache.timing_cache(KEY)) is None
    plan_cache.write_private(cache.timing_cache(KEY), b"measured")
    other = dataclasses.replace(KEY, network="encoder", precision="fp32")
    assert cache.read(cache.timing_cache(other)) == b"measured"
    assert cache.read(cache.timing_cache(dataclasses.replace(KEY, driver="another"))) is None


@posix
def test_measurements_that_others_may_touch_are_not_read(cache: PlanCache) -> None:
    plan_cache.write_private(cache.timing_cache(KEY), b"measured")
    cache.timing_cache(KEY).chmod(0o666)
    assert cache.read(cache.timing_cache(KEY)) is None


def test_a_full_disk_leaves_no_half_plan(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EngineError, match="No space left"):
        cache.store(KEY, PLAN)
    assert not list(cache.folder.iterdir())


def test_the_cache_lies_in_the_users_own_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME" if sys.platform != "win32" else "LOCALAPPDATA", str(tmp_path))
    assert plan_cache.default_folder() == tmp_path / "mimicam" / "plans"


def _never(*_arguments: object) -> bytes:
    raise AssertionError("must not be called")
