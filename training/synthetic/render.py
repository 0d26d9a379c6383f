"""Rasterise a person with moderngl over EGL; without a GPU Mesa's llvmpipe runs it.

llvmpipe compiles the shaders to vector code for the CPU. A picture of 256x256 takes a few
milliseconds on one core, less than filling 50,000 triangles with numpy or OpenCV would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from mimicam.engine.errors import EngineError
from mimicam.training.synthetic import paint
from mimicam.training.synthetic.mesh import PARTS, build_mesh
from mimicam.training.synthetic.model import FaceModel, Float, Int, NormalPlan, eyeball_centre
from mimicam.training.synthetic.scene import Person, Pose
from mimicam.training.synthetic.surfaces import BODY_GRID, HAIR_GRID, HairRig, grid_triangles, lay_body

Image = npt.NDArray[np.uint8]
SHADERS = Path(__file__).parent / "shaders"
SUPERSAMPLE = 2
"""Side of the block of samples that is averaged to one pixel. Measured on llvmpipe: MSAA with four
samples takes 2.4 times as long as a plain picture (50 against 21 ms). 2x2 supersampling takes 1.7
times as long, and smooths the shading too."""
SHADOW_SIZE = 256
_SHADOW_REACH_CM = 24.0
_HAIR_SHELLS = 2
_SHELL_STEP_CM = 0.14
_FACE_UNIT, _BROW_UNIT, _NOISE_UNIT, _BACKDROP_UNIT, _SHADOW_UNIT, _ATLAS_UNIT, _GROWTH_UNIT = range(7)
_UNITS = {"face_map": _FACE_UNIT, "brow_map": _BROW_UNIT, "noise_map": _NOISE_UNIT}
_UNITS |= {
    "atlas": _ATLAS_UNIT,
    "growth_map": _GROWTH_UNIT,
    "backdrop": _BACKDROP_UNIT,
    "shadow_map": _SHADOW_UNIT,
}
_HEAD_PARTS = ("skin", "eyes", "mouth", "lashes")
_BEND = {"head": (-16.5, -8.5), "hair": (-17.0, -6.0), "body": (1e5, 2e5)}


def create_context() -> Any:
    """Make a GL context without a window.

    Raises:
        EngineError: the machine has none.
    """
    try:
        import moderngl
    except ImportError as error:
        raise EngineError("rendering needs moderngl: pip install 'mimicam[train]'") from error
    try:
        return moderngl.create_context(standalone=True, backend="egl")  # type: ignore[arg-type]
    except Exception as error:  # moderngl raises bare Exception when libEGL or its driver is missing
        raise EngineError(f"no EGL context ({error}): install libegl1, libgl1 and libgl1-mesa-dri") from error


P = ParamSpec("P")
R = TypeVar("R")


def _in_context(method: Callable[Concatenate[Renderer, P], R]) -> Callable[Concatenate[Renderer, P], R]:
    """Make the renderer's GL context current during a method: GL calls always go to the thread's
    current context."""

    @wraps(method)
    def call(self: Renderer, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.context:
            return method(self, *args, **kwargs)

    return call


class Renderer:
    """Draws one person at a time: ``enter`` a person, ``express`` a face, then ``draw`` any number
    of poses."""

    def __init__(self, model: FaceModel, size_px: int = 256, context: Any = None) -> None:
        self.model = model
        self.size_px = size_px
        self.context = self._gl = context or create_context()
        self._mesh = build_mesh(model)
        self._plan = NormalPlan.build(model.triangles[np.isin(model.triangle_material, self._drawn())])
        self._rig = HairRig(model)
        self._marks = paint.landmark_uv(model)
        self._make_programs()
        self._make_buffers()
        self._make_targets()
        self._make_textures()
        self._person: Person | None = None
        self._neutral = model.neutral

    def _drawn(self) -> list[int]:
        return [self.model.materials.index(name) for names in PARTS.values() for name in names]

    @_in_context
    def enter(self, person: Person) -> None:
        """Upload what does not change for a person: hair, clothes, paint, light, backdrop."""
        self._person = person
        self._neutral = self.model.identity(person.identity)
        if person.hair.shape is not None:
            self._hair.write(self._rig.lay(self._neutral, person.hair.shape).vertices.tobytes())
        self._body.write(lay_body(person.clothes.shape).vertices.tobytes())
        rng = np.random.default_rng(person.paint_seed)
        self._brows.write(paint.brow_map(self._marks, person.skin.brow_shape, rng).tobytes())
        backdrop = person.backdrop if person.backdrop is not None else np.full((2, 2, 3), 120, np.uint8)
        self._set_backdrop(backdrop)
        self._set(**_person_uniforms(person))
        self._paint()
        self._set(rest_centre=tuple(eyeball_centre(self.model.neutral[self.model.eye_vertices[0]])))

    @_in_context
    def express(self, weights: Float, gaze_rad: Float) -> Float:
        """Put an expression on the person; return the head's vertices ``[V, 3]``, cm."""
        vertices = self.model.express(self._neutral, weights, gaze_rad)
        dynamic = np.concatenate([vertices, self._plan.normals(vertices)], 1)
        self._dynamic.write(dynamic[self._mesh.source].tobytes())
        index = self.model.expression_index
        # Light falls into the mouth by its real opening: mouthClose covers an open jaw.
        opening = weights[index["jawOpen"]] - 0.8 * weights[index["mouthClose"]]
        assert self._person is not None, "enter a person first"
        dilate = 1.0 + 0.35 * float(weights[index["PupilDilate_L"]])
        self._set(opening=float(np.clip(opening * 2.2, 0, 1)), pupil=self._person.eyes.pupil * dilate)
        self._set(look_down=float(np.clip(-gaze_rad[1], 0, 0.5)) * 0.5)
        return vertices

    @_in_context
    def draw(self, pose: Pose) -> Image:
        """Draw the picture ``[S, S, 3]``, RGB."""
        assert self._person is not None, "enter a person first"
        self._place(pose)
        self._cast_shadows()
        self._target.use()
        self._gl.clear(0.0, 0.0, 0.0, 1.0, depth=1.0)
        self._draw_backdrop()
        self._draw_solid()
        return self._read()

    @_in_context
    def parts(self, pose: Pose) -> Image:
        """Draw the part seen at each sample, ``[2 S, 2 S]``: 0 backdrop, 1 skin, 2 eyes, 3
        mouth."""
        self._place(pose)
        self._target.use()
        self._gl.enable_only(self._gl.DEPTH_TEST | self._gl.CULL_FACE)
        self._gl.clear(0.0, 0.0, 0.0, 1.0, depth=1.0)
        for value, part in enumerate(("skin", "eyes", "mouth"), 1):
            self._programs["id"]["part_id"].value = value / 255.0
            self._id_arrays[part].render()
        side = self.size_px * SUPERSAMPLE
        seen = np.frombuffer(self._target.read(components=3), np.uint8).reshape(side, side, 3)
        return seen[::-1, :, 0].copy()

    # -- drawing
    # ------------------------------------------------------------------------------------------

    def _place(self, pose: Pose) -> None:
        assert self._person is not None
        lens = self._person.lens
        head, torso = pose.camera_from_head(lens), pose.camera_from_torso(lens)
        light = _light_from_camera(np.array(self._person.light.key_direction), lens.distance_cm)
        self._set(camera_from_head=head, camera_from_torso=torso, clip_from_camera=lens.clip_from_camera())
        self._set(light_from_camera=light, light_from_head=light @ head, light_from_torso=light @ torso)

    def _casters(self) -> Iterator[tuple[str, Any]]:
        assert self._person is not None
        yield "head", self._shadow_arrays["skin"]
        yield "body", self._shadow_arrays["body"]
        if self._person.hair.shape is not None:
            yield "hair", self._shadow_arrays["hair"]

    def _cast_shadows(self) -> None:
        self._shadow.use()
        self._gl.clear(depth=1.0)
        self._gl.enable_only(self._gl.DEPTH_TEST)
        for bend, array in self._casters():
            self._set(bend_low=_BEND[bend][0], bend_high=_BEND[bend][1])
            array.render()

    def _paint(self) -> None:
        assert self._person is not None
        self._canvas.use()
        # Colours in the atlas have gamma 2, hence the square root.
        self._gl.clear(*np.sqrt(self._person.skin.colour), 0.0)
        self._gl.enable_only(0)
        self._paint_array.render(mode=self._gl.TRIANGLE_STRIP, vertices=4)
        self._atlas.build_mipmaps()

    def _draw_backdrop(self) -> None:
        self._gl.enable_only(0)
        self._backdrop_array.render(mode=self._gl.TRIANGLE_STRIP, vertices=4)

    def _draw_solid(self) -> None:
        assert self._person is not None
        solid = self._gl.DEPTH_TEST
        self._gl.enable_only(solid)  # hair first: what it hides is not shaded
        if self._person.hair.shape is not None:
            self._set(turns=1.0, shell_step=_SHELL_STEP_CM)
            self._arrays["hair"].render(instances=_HAIR_SHELLS)
        self._set(turns=0.0, shell_step=0.0)
        self._arrays["body"].render(instances=1)
        self._gl.enable_only(solid | self._gl.CULL_FACE)
        for part in ("skin", "eyes", "mouth"):
            self._arrays[part].render()
        self._gl.enable_only(self._gl.DEPTH_TEST | self._gl.BLEND)
        # Lashes are blended last and hide nothing.
        self._target.depth_mask = False
        self._arrays["lashes"].render()
        self._target.depth_mask = True

    def _read(self) -> Image:
        side = self.size_px * SUPERSAMPLE
        large = np.frombuffer(self._target.read(components=3), np.uint8).reshape(side, side, 3)[::-1]
        return np.asarray(cv2.resize(large, (self.size_px,) * 2, interpolation=cv2.INTER_AREA))

    # -- set-up
    # -------------------------------------------------------------------------------------------

    def _make_programs(self) -> None:
        names: dict[str, tuple[tuple[str, ...], str]]
        names = {part: (("head.vert", f"{part}.vert"), f"{part}.frag") for part in (*_HEAD_PARTS, "id")}
        names |= {part: (("surface.vert", f"{part}.vert"), f"{part}.frag") for part in ("hair", "body")}
        names |= {part: ((f"{part}.vert",), f"{part}.frag") for part in ("backdrop", "shadow", "layout")}
        names["paint"] = (("backdrop.vert",), "paint.frag")
        self._programs = {name: self._program(*files) for name, files in names.items()}
        for program in self._programs.values():
            for name, unit in _UNITS.items():
                if name in program:
                    program[name].value = unit

    def _program(self, vertex: tuple[str, ...], fragment: str) -> Any:
        source = (SHADERS / fragment).read_text()
        if not source.startswith("#version"):
            source = (SHADERS / "common.glsl").read_text() + source
        if len(vertex) > 1:
            vertex = ("light.glsl", *vertex)
        before = "".join((SHADERS / name).read_text() for name in vertex)
        before = before if before.startswith("#version") else "#version 330\n" + before
        return self._gl.program(vertex_shader=before, fragment_shader=source)

    def _make_buffers(self) -> None:
        self._static = self._gl.buffer(self._mesh.attributes.tobytes())
        self._dynamic = self._gl.buffer(reserve=len(self._mesh.source) * 24, dynamic=True)
        self._hair = self._gl.buffer(reserve=HAIR_GRID[0] * HAIR_GRID[1] * 44, dynamic=True)
        self._body = self._gl.buffer(reserve=BODY_GRID[0] * BODY_GRID[1] * 44, dynamic=True)
        triangles: dict[str, Int] = dict(self._mesh.indices)
        triangles |= {"hair": grid_triangles(*HAIR_GRID), "body": grid_triangles(*BODY_GRID)}
        index = {name: self._gl.buffer(t.astype(np.int32).tobytes()) for name, t in triangles.items()}
        self._arrays = {p: self._head_array(p, index[p]) for p in _HEAD_PARTS}
        self._arrays |= {p: self._surface_array(p, index[p]) for p in ("hair", "body")}
        self._id_arrays = {p: self._head_array("id", index[p]) for p in ("skin", "eyes", "mouth")}
        strides = {
            "skin": (self._dynamic, "3f 3x4"),
            "hair": (self._hair, "3f 8x4"),
            "body": (self._body, "3f 8x4"),
        }
        self._shadow_arrays = {
            p: self._array("shadow", [(b, f, "in_position")], index[p]) for p, (b, f) in strides.items()
        }
        self._layout_array = self._head_array("layout", index["skin"])
        self._paint_array = self._gl.vertex_array(self._programs["paint"], [])
        self._backdrop_array = self._gl.vertex_array(self._programs["backdrop"], [])

    def _head_array(self, program: str, index: Any) -> Any:
        static = (self._static, "3f 2f 1f 1f", "in_rest", "in_uv", "in_material", "in_above")
        return self._array(program, [(self._dynamic, "3f 3f", "in_position", "in_normal"), static], index)

    def _surface_array(self, part: str, index: Any) -> Any:
        buffer = self._hair if part == "hair" else self._body
        content = (buffer, "3f 3f 3f 2f", "in_position", "in_normal", "in_tangent", "in_uv")
        return self._array(part, [content], index)

    def _array(self, program: str, content: list[Any], index: Any) -> Any:
        return self._gl.vertex_array(self._programs[program], content, index, skip_errors=True)

    def _make_targets(self) -> None:
        size = (self.size_px * SUPERSAMPLE,) * 2
        gl = self._gl
        self._target = gl.framebuffer([gl.renderbuffer(size, 4)], gl.depth_renderbuffer(size))
        shadow = (SHADOW_SIZE * max(1, self.size_px // 256),) * 2
        self._shadow_map = gl.depth_texture(shadow)
        self._shadow_map.compare_func = ""
        self._shadow_map.filter = (gl.NEAREST, gl.NEAREST)
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        atlas = (768 * max(1, self.size_px // 256), 512 * max(1, self.size_px // 256))
        self._atlas = gl.texture(atlas, 4)
        self._atlas.filter = (gl.LINEAR_MIPMAP_NEAREST, gl.LINEAR)
        self._set(texel=(1.0 / atlas[0], 1.0 / atlas[1]))
        self._growth = gl.texture(atlas, 4, dtype="f2")
        self._growth.use(_GROWTH_UNIT)
        gl.framebuffer([self._growth]).use()
        gl.clear()
        gl.enable_only(0)
        self._layout_array.render(instances=5)
        self._canvas = gl.framebuffer([self._atlas])
        self._atlas.use(_ATLAS_UNIT)
        self._shadow = gl.framebuffer(depth_attachment=self._shadow_map)
        self._shadow_map.use(_SHADOW_UNIT)

    def _make_textures(self) -> None:
        gl, side = self._gl, (paint.SIZE, paint.SIZE)
        self._face = gl.texture(side, 4, paint.face_map(self._marks).tobytes())
        self._brows = gl.texture(side, 1)
        self._noise = gl.texture((paint.NOISE_SIZE,) * 2, 4, paint.noise_texture().tobytes())
        self._noise.build_mipmaps()
        self._noise.filter = (gl.LINEAR_MIPMAP_NEAREST, gl.LINEAR)
        self._face.build_mipmaps()
        self._backdrop: Any = None
        for texture, unit in (
            (self._face, _FACE_UNIT),
            (self._brows, _BROW_UNIT),
            (self._noise, _NOISE_UNIT),
        ):
            texture.use(unit)

    def _set_backdrop(self, picture: Image) -> None:
        size = (picture.shape[1], picture.shape[0])
        if self._backdrop is None or self._backdrop.size != size:
            if self._backdrop is not None:
                self._backdrop.release()
            self._backdrop = self._gl.texture(size, 3, alignment=1)
            self._backdrop.repeat_x = self._backdrop.repeat_y = False
            self._backdrop.use(_BACKDROP_UNIT)
        self._backdrop.write(np.ascontiguousarray(picture[::-1]).tobytes(), alignment=1)

    def _set(self, **uniforms: Any) -> None:
        """Write a uniform to every program that has it; matrices are written column by column."""
        for name, value in uniforms.items():
            matrix = (
                value.T.astype(np.float32).tobytes()
                if isinstance(value, np.ndarray) and value.ndim == 2
                else None
            )
            for program in self._programs.values():
                if name in program:
                    if matrix is not None:
                        program[name].write(matrix)
                    else:
                        program[name].value = value


def _unit(direction: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = np.asarray(direction, float) / np.linalg.norm(direction)
    return float(x), float(y), float(z)


def _person_uniforms(person: Person) -> dict[str, Any]:
    skin, eyes, hair, light, clothes = person.skin, person.eyes, person.hair, person.light, person.clothes
    return {
        "skin_colour": skin.colour, "lip_colour": skin.lips, "blush_colour": skin.blush,
        "lip_strength": skin.lip_strength, "stubble": skin.stubble, "freckles": skin.freckles,
        "blotches": skin.blotches, "pores": skin.pores, "oil": skin.oil, "eye_shade": skin.eye_shade,
        "brow_colour": skin.brow, "brow_strength": skin.brow_strength,
        "iris_colour": eyes.iris, "sclera_colour": eyes.sclera, "iris_size": eyes.iris_size,
        "lash_strength": eyes.lashes, "lash_colour": (0.012, 0.009, 0.008),
        "hair_colour": hair.colour, "scalp_hair": hair.scalp, "gloss": hair.gloss,
        "strand_count": hair.strand_count, "edge_softness": hair.edge_softness, "shells": float(_HAIR_SHELLS),
        "cloth_colour": clothes.colour, "cloth_second": clothes.second, "stripes": clothes.stripes,
        "teeth_colour": person.teeth, "gum_colour": person.gums, "teeth_material": 3.0, "lift": 0.0,
        "key_direction": _unit(light.key_direction), "key_colour": light.key,
        "fill_direction": _unit(light.fill_direction), "fill_colour": light.fill,
        "sky_colour": light.sky, "ground_colour": light.ground,
    }  # fmt: skip


def _light_from_camera(direction: Float, distance_cm: float) -> Float:
    """Compute the orthographic projection ``[4, 4]`` along the key light, centred on the face."""
    # Orthonormal axes with z along the light.
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    rotation = np.stack([x, np.cross(z, x), z])
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = rotation @ [0.0, 3.0, distance_cm + 4.0]
    scale = np.diag([1 / _SHADOW_REACH_CM, 1 / _SHADOW_REACH_CM, -1 / 40.0, 1.0])
    return (scale @ out).astype(np.float32)
