"""The papers' protocols: which frames drive which, metrics against known pictures, and the printed tables."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mimicam.engine.errors import EngineError
from mimicam.engine.types import Image, Mode, MotionCode
from mimicam.training.commands.evaluate import Evaluate
from mimicam.training.data.pairs import FramePack
from mimicam.training.evaluation.clips import Clip, read_clip
from mimicam.training.evaluation.methods import Generate, Method, baselines, copy_nearest
from mimicam.training.evaluation.paper_networks import _POINTS, _TEMPLATE_PX, aligned_face
from mimicam.training.evaluation.paper_tables import SUBSTITUTES, TABLES
from mimicam.training.evaluation.papers import DaeGanProtocol, DpeProtocol, Instruments
from tests.training.evaluation.conftest import FRAMES
from tests.training.packs import write_pack


class Recorder:
    """A method that copies the driver, and keeps the rows of its portraits and drivers."""

    def __init__(self, pack: FramePack) -> None:
        self._row = {pack.frames[k].tobytes(): k for k in range(len(pack.frames))}
        self.seen: list[tuple[int, int]] = []

    def __call__(self, portrait: Image, _: MotionCode, driver: Image, *__: object) -> Image:
        self.seen.append((self._row[portrait.tobytes()], self._row[driver.tobytes()]))
        return driver


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> FramePack:
    """Three validation people of ten frames: rows 0 to 9, 10 to 19, 20 to 29."""
    folder = write_pack(tmp_path_factory.mktemp("people"), people=3, frames=10, validation=(0, 1, 2))
    return FramePack(folder, validation=True)


def recorded(protocol: DpeProtocol | DaeGanProtocol, pack: FramePack, mode: Mode) -> Recorder:
    recorder = Recorder(pack)
    protocol.measure(Method(generate=recorder, smoothed=recorder, modes=(mode,)), Instruments())
    return recorder


def test_dpe_drives_the_first_frame_by_the_last_and_others_by_the_first(people: FramePack) -> None:
    seen = recorded(DpeProtocol(people, frames=4), people, Mode.EXP).seen
    same = [(10 * person, 10 * person + k) for person in range(3) for k in (6, 7, 8, 9)]
    cross = [(10 * ((person - 1) % 3), 10 * person + k) for person in range(3) for k in (0, 1, 2, 3)]
    assert seen == same + cross


def test_dpes_counts_are_the_papers_where_the_data_allows(people: FramePack) -> None:
    facts = DpeProtocol(people).facts()
    assert facts == {"pairs": 3, "frames_same": 3 * 9, "frames_cross": 3 * 10}, "shorter videos are used"


def test_a_long_video_gives_the_papers_400_frames(tmp_path: Path) -> None:
    folder = write_pack(tmp_path, people=16, frames=405, size=8, validation=tuple(range(16)))
    facts = DpeProtocol(FramePack(folder, validation=True)).facts()
    assert facts == {"pairs": 15, "frames_same": 6000, "frames_cross": 6000}, "6K pictures (section 4.1)"
    found = DaeGanProtocol(FramePack(folder, validation=True)).facts()
    assert found == {"videos": 16, "frames": 16 * 32}


def test_daegan_holds_out_what_drives(people: FramePack) -> None:
    seen = recorded(DaeGanProtocol(people, frames=4), people, Mode.BOTH).seen
    assert len(seen) == 12
    for person in range(3):
        own = [pair for pair in seen if pair[1] // 10 == person]
        (portrait,) = {pair[0] for pair in own}
        drivers = [pair[1] for pair in own]
        assert portrait // 10 == person
        assert portrait not in drivers
        assert drivers == sorted(set(drivers))
    assert seen == recorded(DaeGanProtocol(people, frames=4), people, Mode.BOTH).seen, "the same choice"


def test_daegan_gives_several_frames_of_the_rest_to_a_method_that_takes_them(people: FramePack) -> None:
    given: list[tuple[list[int], list[int]]] = []
    row = {people.frames[k].tobytes(): k for k in range(len(people.frames))}

    def with_frames(frames: Clip) -> Generate:
        given.append(([row[image.tobytes()] for image in frames.images], []))

        def draw(_: Image, __: MotionCode, driver: Image, *___: object) -> Image:
            given[-1][1].append(row[driver.tobytes()])
            return driver

        return draw

    one = Recorder(people)
    method = Method(generate=one, smoothed=one, with_frames=with_frames)
    figures = DaeGanProtocol(people, frames=4).measure(method, Instruments())
    assert list(figures) == ["both held-out", "both held-out, 8 frames", "both held-out, 32 frames"]
    assert len(given) == 2 * 3
    for portrait, drivers in given:
        assert len(portrait) == 6, "all of the ten frames that are not held out"
        assert not set(portrait) & set(drivers)
        assert portrait[0] in {pair[0] for pair in one.seen}


def test_the_nearest_frame_is_copied(pack: FramePack) -> None:
    rows = np.arange(5)
    clip = read_clip(pack, rows)
    copy = copy_nearest(clip)
    for image, motion in zip(clip.images, clip.motions, strict=True):
        assert copy(clip.images[0], clip.motions[0], image, motion, Mode.BOTH) is image


def test_daegan_measures_only_what_draws_both(people: FramePack) -> None:
    assert recorded(DaeGanProtocol(people), people, Mode.EXP).seen == []


def test_copying_the_driver_is_the_truth_of_the_same_person(pack: FramePack) -> None:
    figures = DpeProtocol(pack, frames=5).measure(baselines()["copy driver"], Instruments())
    assert figures["both same"]["ssim"] == pytest.approx(1.0, abs=1e-4)
    # The tracker reads the result where the pack's frame was read: noise of its square only.
    assert figures["both same"]["tracker_aed"] < 0.03
    assert figures["exp same"]["tracker_apd"] > figures["both same"]["tracker_apd"], "the head must stay"
    held = DaeGanProtocol(pack, frames=5).measure(baselines()["copy driver"], Instruments())
    assert held["both held-out"]["ssim"] == pytest.approx(1.0, abs=1e-4)


def test_one_person_is_too_few_for_dpe(tmp_path: Path) -> None:
    pack = FramePack(write_pack(tmp_path), validation=True)
    with pytest.raises(EngineError, match="two validation people"):
        DpeProtocol(pack)


@pytest.mark.parametrize("paper", ["dpe", "daegan"])
def test_every_row_has_a_value_for_every_metric(paper: str) -> None:
    for table in TABLES[paper]:
        assert all(len(values) == len(table.metrics) for values in table.rows.values())


@pytest.mark.parametrize("paper", ["dpe", "daegan"])
def test_the_command_prints_the_papers_rows_and_ours(
    paper: str, pack_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    Evaluate(pack=pack_folder, paper=paper, frames=5, threads=1, floors=False, json=out).run()
    shown, progress = capsys.readouterr()
    facts = json.loads(out.read_text())
    assert facts["paper"] == paper
    assert f"model, {TABLES[paper][0].setting}: 1 of " in progress
    assert facts["substitutes"] == SUBSTITUTES
    for table in TABLES[paper]:
        figures = facts["figures"]["model"][table.setting]
        assert np.isfinite(list(figures.values())).all()
        assert all(method in shown for method in table.rows)
    assert "(paper)" in shown
    if paper == "dpe":
        aed = facts["figures"]["model"]["exp cross"]["tracker_aed"]
        line = next(line for line in shown.splitlines() if f"{aed:.4f}" in line)
        # Method, CSIM, AED, APD of the paper's networks are not ours to fill.
        assert [cell.strip() for cell in line.split("│")[1:5]] == ["model", "-", "-", "-"]


def test_what_the_papers_do_not_have_is_refused(pack_folder: Path) -> None:
    with pytest.raises(EngineError, match="--paper does not use --lively"):
        Evaluate(pack=pack_folder, paper="dpe", lively=2, frames=FRAMES).run()


def network(path: Path, nodes: list, constants: dict[str, np.ndarray], inputs: dict[str, list[int]]) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    return path


def mean_colour(path: Path, side: int) -> Path:
    """A network whose features are the mean colour, in -1..1."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)]
    return network(path, nodes, {}, {"x": [1, 3, side, side]})


def mean_difference(path: Path, side: int) -> Path:
    nodes = [
        helper.make_node("Sub", ["a", "b"], ["d"]),
        helper.make_node("Abs", ["d"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["y"], axes=[1, 2, 3], keepdims=0),
    ]
    return network(path, nodes, {}, {"a": [1, 3, side, side], "b": [1, 3, side, side]})


def test_the_users_networks_fill_the_papers_columns(
    pack: FramePack, pack_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "figures.json"
    files = {
        "arcface": mean_colour(tmp_path / "arcface.onnx", 112),
        "lpips": mean_difference(tmp_path / "lpips.onnx", 192),
        "inception": mean_colour(tmp_path / "inception.onnx", 299),
    }
    common = {"pack": pack_folder, "frames": 5, "threads": 1, "json": out, **files}
    Evaluate(paper="daegan", **common).run()
    figures = json.loads(out.read_text())["figures"]
    copied, still = (figures[name]["both held-out"] for name in ("copy driver", "copy source"))
    assert copied["LPIPS"] == 0
    assert copied["FID"] == pytest.approx(0, abs=1e-6)
    assert still["CSIM"] > 0.999, "the portrait is itself"
    # By hand: the first of the frames that are not held out, against those that are.
    recorder = recorded(DaeGanProtocol(pack, frames=5), pack, Mode.BOTH)
    pairs = [(pack.frames[a].astype(float), pack.frames[b].astype(float)) for a, b in recorder.seen]
    want = np.mean([np.abs(a - b).mean() / 127.5 for a, b in pairs])
    assert still["LPIPS"] == pytest.approx(want, abs=1e-3)


def test_a_face_is_aligned_to_arcfaces_template() -> None:
    landmarks = np.zeros((478, 3), np.float32)
    angle, scale = np.deg2rad(20), 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks[list(_POINTS), :2] = _TEMPLATE_PX @ turn.T + (60, 15)
    image = np.zeros((256, 256, 3), np.uint8)
    for x, y in landmarks[list(_POINTS), :2]:
        cv2.circle(image, (round(float(x)), round(float(y))), 3, (255, 255, 255), -1)
    face = aligned_face(image, landmarks)
    assert all(face[round(y), round(x)].min() > 128 for x, y in _TEMPLATE_PX)
    assert (face > 128).mean() < 0.02


def test_networks_without_a_paper_or_a_file_are_refused(pack_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="belong to --paper"):
        Evaluate(pack=pack_folder, lpips=tmp_path / "a.onnx", frames=FRAMES).run()
    with pytest.raises(EngineError, match="ONNX file of CSIM"):
        Evaluate(pack=pack_folder, paper="dpe", arcface=tmp_path / "a.onnx", threads=1).run()
