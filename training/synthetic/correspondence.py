"""Rasterise where each pixel of a re-rendered face comes from: its position in the portrait, its
part, its light.

`training.synthetic.render` paints colours; here every pixel keeps numbers.
`training.synthetic.rerender` turns them into a picture with the portrait's own skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mimicam.training.synthetic.mesh import RenderMesh
from mimicam.training.synthetic.model import Float
from mimicam.training.synthetic.render import SHADERS, create_context

FINE = 2
"""Samples per pixel and axis."""
NOTHING, SKIN, EYES, MOUTH = range(4)
_PARTS = {"skin": SKIN, "eyes": EYES, "mouth": MOUTH}
_NEAR_CM, _FAR_CM = 50.0, 130.0


@dataclass(frozen=True, kw_only=True)
class Correspondence:
    """Surface seen at each sample. S = picture's side times FINE."""

    portrait: Float
    """``[S, S, 2]``: the portrait's pixel (x, y) that shows this point of the surface."""
    part: Float
    """``[S, S]``: NOTHING, SKIN, EYES or MOUTH."""
    shade: Float
    """``[S, S]``: light, interpolated from the vertices."""
    rest: Float
    """``[S, S, 3]``: position of this point on the template, head space, cm."""
    material: Float
    """``[S, S]``: index of the model's material."""


class CorrespondenceRasteriser:
    """Draws the skin, eyes and mouth of one topology."""

    def __init__(self, mesh: RenderMesh, size_px: int) -> None:
        self._mesh, self._size = mesh, size_px
        self._gl = gl = create_context()
        side = (size_px * FINE,) * 2
        self._layers = [gl.renderbuffer(side, 4, dtype="f4") for _ in range(2)]
        self._target = gl.framebuffer(self._layers, gl.depth_renderbuffer(side))
        vertex, fragment = ((SHADERS / f"places.{kind}").read_text() for kind in ("vert", "frag"))
        self._program = gl.program(vertex_shader=vertex, fragment_shader=fragment)
        self._dynamic = gl.buffer(reserve=len(mesh.source) * 24, dynamic=True)
        # Columns: rest position and material.
        fixed = np.concatenate([mesh.attributes[:, :3], mesh.attributes[:, 5:6]], 1)
        static = gl.buffer(np.ascontiguousarray(fixed, np.float32).tobytes())
        content = [
            (self._dynamic, "3f 2f 1f", "in_place", "in_portrait", "in_shade"),
            (static, "3f 1f", "in_rest", "in_material"),
        ]
        self._arrays: dict[str, Any] = {
            part: gl.vertex_array(self._program, content, gl.buffer(mesh.indices[part].tobytes()))
            for part in _PARTS
        }

    def __call__(self, places_V3: Float, portrait_V2: Float, shade_V: Float) -> Correspondence:
        """Rasterise the mesh.

        Args:
            places_V3: pixel x, y and distance in cm of the model's vertices.
            portrait_V2: pixel x, y of these vertices in the portrait.
            shade_V: light at the vertices.
        """
        source = self._mesh.source
        # Vertices are already projected: the shader only interpolates.
        clip = self._clip(places_V3[source])
        data = np.concatenate([clip, portrait_V2[source], shade_V[source, None]], 1)
        with self._gl:
            self._dynamic.write(np.ascontiguousarray(data, np.float32).tobytes())
            self._target.use()
            self._gl.enable_only(self._gl.DEPTH_TEST | self._gl.CULL_FACE)
            self._gl.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
            for part, code in _PARTS.items():
                self._program["part"].value = float(code)
                self._arrays[part].render()
            first, second = self._read(0), self._read(1)
        return Correspondence(
            portrait=first[..., :2],
            part=first[..., 2].round(),
            shade=first[..., 3],
            rest=second[..., :3],
            material=second[..., 3].round(),
        )

    def _clip(self, places: Float) -> Float:
        x = (places[:, 0] + 0.5) * (2 / self._size) - 1
        y = 1 - (places[:, 1] + 0.5) * (2 / self._size)
        z = (places[:, 2] - _NEAR_CM) * (2 / (_FAR_CM - _NEAR_CM)) - 1
        return np.stack([x, y, z], 1)

    def _read(self, layer: int) -> Float:
        side = self._size * FINE
        raw = self._target.read(components=4, attachment=layer, dtype="f4")
        # GL's first row is the bottom one.
        return np.frombuffer(raw, np.float32).reshape(side, side, 4)[::-1]
