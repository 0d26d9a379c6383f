"""Identity distance between two pictures, by dlib's face recognition network.

The papers' CSIM is the cosine of ArcFace embeddings, whose weights no package ships; ours is named
after its network. dlib's (King, "Dlib-ml", JMLR 2009; model CC0) has 128 values; the Euclidean
distance of two pictures of one person is usually under 0.6. The packages ``dlib-bin`` and
``face-recognition-models`` ship it.
"""

from __future__ import annotations

import numpy as np

from mimicam.engine.types import Float, Image
from mimicam.training.evaluation.dlib_models import load_dlib

# dlib's 5-point model: outer and inner corner of the left eye, of the right eye, base of the nose;
# MediaPipe's numbers.
_FIVE_POINTS = (263, 362, 33, 133, 2)


class IdentityDistance:
    """Embeds faces that are aligned by the tracker's landmarks."""

    def __init__(self) -> None:
        """Load the network.

        Raises:
            EngineError: dlib or its model is not installed.
        """
        self._dlib, model = load_dlib("the identity distance", "dlib_face_recognition_resnet_model_v1.dat")
        self._net = self._dlib.face_recognition_model_v1(model)

    def embed(self, image: Image, landmarks_px: Float) -> Float:
        """Embed the face with these landmarks ``[478, 3]`` as ``[128]``."""
        points = [
            self._dlib.point(round(float(x)), round(float(y))) for x, y in landmarks_px[_FIVE_POINTS, :2]
        ]
        low, high = landmarks_px[:, :2].min(axis=0), landmarks_px[:, :2].max(axis=0)
        # Only the five points align the face; dlib wants a box all the same.
        box = self._dlib.rectangle(int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        shape = self._dlib.full_object_detection(box, points)
        return np.array(self._net.compute_face_descriptor(np.ascontiguousarray(image), shape), np.float32)
