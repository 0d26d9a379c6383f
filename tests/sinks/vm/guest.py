"""Runs inside the guest: what the sink sends to the real v4l2loopback is what another program reads."""

import threading

import cv2
import numpy as np

from mimicam.engine.doctor import self_test
from mimicam.engine.sinks.virtual_camera import VirtualCameraSink
from mimicam.engine.sources.devices import list_cameras
from mimicam.engine.sources.pattern import paint_code, read_code
from mimicam.engine.types import Frame

DEVICE, SIZE, FRAMES = "/dev/video10", (640, 480), 40


def picture(number: int) -> Frame:
    """A coloured picture with its number in the pixels."""
    image = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    image[:] = (200, 60, 30)
    paint_code(image, number)
    return Frame(image=image, seq=number, captured_ns=0)


def read_codes(
    capture: cv2.VideoCapture, found: list[int], colours: list[list[int]], enough: threading.Event
) -> None:
    """Read as a video call would, until two different pictures were seen."""
    while len(set(found)) < 2:
        ok, image = capture.read()
        code = read_code(np.asarray(image, np.uint8)) if ok else None
        if code is not None:
            found.append(code)
            colours.append(image[400, 320].tolist())
    enough.set()


def main() -> None:
    """Raises when anything is not as it should be."""
    print("cameras:", [(camera.index, camera.name) for camera in list_cameras()])
    assert self_test() is True, "the doctor's test picture did not come back"
    sink = VirtualCameraSink(DEVICE)
    sink.open(SIZE, 15)
    print(sink.name)
    sink.write(picture(0))
    capture = cv2.VideoCapture(DEVICE, cv2.CAP_V4L2)
    assert capture.isOpened()
    found: list[int] = []
    colours: list[list[int]] = []
    enough = threading.Event()
    threading.Thread(target=read_codes, args=(capture, found, colours, enough), daemon=True).start()
    for number in range(1, FRAMES):
        sink.write(picture(number))
        if enough.wait(0.1):
            break
    assert enough.wait(10), f"only these pictures were read: {found}"
    sink.close()
    assert found == sorted(found), f"pictures came out of order: {found}"
    assert np.abs(np.array(colours) - (30, 60, 200)).max() <= 8, f"colours changed: {colours[0]}"
    print("read", found)


if __name__ == "__main__":
    main()
