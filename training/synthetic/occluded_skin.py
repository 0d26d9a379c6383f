"""Give skin that is occluded in the portrait a texture position there.

Vertices under the chin, behind the lips and in the folds of the lids project onto other skin. Where
an expression uncovers them, they take the texture between the visible skin around them: their
positions solve the discrete Laplace equation on the mesh, with visible vertices as the boundary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimicam.training.synthetic.correspondence import FINE, SKIN, Correspondence
from mimicam.training.synthetic.model import Float, Int

Mask = npt.NDArray[np.bool_]
_BEHIND_CM = 0.25
_FACING = 0.05
_ROUNDS = 150


def visible(places_V3: Float, normals_V3: Float, seen: Correspondence) -> Mask:
    """Find the visible vertices ``[V]``: turned to the camera, with nothing in front.

    Args:
        places_V3: pixel x, y and distance.
        normals_V3: in the camera's axes, z towards it.
        seen: rasterised from the same positions, with the distance as shade.
    """
    side = seen.part.shape[0]
    x, y = ((places_V3[:, i] + 0.5) * FINE for i in (0, 1))
    inside = (x >= 0) & (y >= 0) & (x < side) & (y < side)
    column, row = (np.clip(c, 0, side - 1).astype(int) for c in (x, y))
    # Infinity where no skin is drawn: nothing hides the vertex there.
    nearest = np.where(seen.part[row, column] == SKIN, seen.shade[row, column], np.inf)
    front = places_V3[:, 2] < nearest + _BEHIND_CM
    return np.asarray(inside & front & (normals_V3[:, 2] > _FACING))


def with_ring(triangles: Int, chosen: Mask) -> Mask:
    """Add all vertices that share a triangle with a chosen one, ``[V]``."""
    out = chosen.copy()
    out[triangles[chosen[triangles].any(1)].reshape(-1)] = True
    return out


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Edges of a mesh among ``free`` vertices and from them to others, grouped by vertex."""

    free: Int
    other: Int
    starts: Int
    counts: Int

    @classmethod
    def of(cls, triangles: Int, free: Mask) -> Neighbours:
        """Collect the edges of ``[T, 3]`` triangles; ``free`` is ``[V]``."""
        a = triangles[:, [0, 1, 2, 1, 2, 0]].reshape(-1)
        b = triangles[:, [1, 2, 0, 0, 1, 2]].reshape(-1)
        # Shared edges occur once per triangle: count them once.
        edges = np.unique(np.stack([a, b], 1)[free[a]], axis=0)
        vertex, starts, counts = np.unique(edges[:, 0], return_index=True, return_counts=True)
        return cls(
            free=vertex, other=edges[:, 1], starts=starts.astype(np.int32), counts=counts.astype(np.int32)
        )

    def relax(self, values_V2: Float) -> Float:
        """Solve for the free vertices' values by Jacobi iteration; enough rounds for bands a few
        vertices wide."""
        out = values_V2.copy()
        if not len(self.free):
            return out
        for _ in range(_ROUNDS):
            # Each free vertex moves to the mean of its neighbours.
            mean = np.add.reduceat(out[self.other], self.starts, axis=0) / self.counts[:, None]
            out[self.free] = mean
        return out
