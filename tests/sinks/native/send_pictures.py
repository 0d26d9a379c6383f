"""Run under the shim: the sink sends three flat pictures to the native driver."""

import os

import numpy as np

from mimicam.engine.sinks.virtual_camera import VirtualCameraSink
from mimicam.engine.types import Frame

sink = VirtualCameraSink(os.environ["FAKE_V4L2_DEVICE"])
sink.open((320, 240), 30)
print(sink.name)
for seq, colour in enumerate([(250, 10, 10), (10, 250, 10), (200, 60, 10)]):
    image = np.empty((240, 320, 3), np.uint8)
    image[:] = colour
    sink.write(Frame(image=image, seq=seq, captured_ns=seq))
sink.close()
