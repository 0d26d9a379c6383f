"""The sink ``webrtc``: sends results to browsers and WHEP players."""

from __future__ import annotations

from collections.abc import Callable

import cv2

from mimicam.engine.badge import Badge, Corner
from mimicam.engine.errors import EngineError
from mimicam.engine.sinks import STOP_LIMIT_S
from mimicam.engine.types import Frame
from mimicam.engine.web.command import require_webrtc
from mimicam.engine.web.options import Options


class WebRtcSink:
    """See `engine.sinks.Sink`. Listens on this machine only, at ``url`` once it is open."""

    def __init__(
        self,
        *,
        port: int = 8443,
        badge: Corner = "bottom-right",
        token: str | None = None,
        on_url: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare the server. It does not listen yet.

        Args:
            port: 0 takes a free one.
            badge: corner of the word "synthetic", or ``off``.
            token: secret of the page. None makes a new one.
            on_url: called with the page's address once it is open.

        Raises:
            EngineError: the webrtc extra is missing.
        """
        require_webrtc()
        from mimicam.engine.web.server import Server

        self.name, self.main_thread, self.stop_limit_s = "webrtc", False, STOP_LIMIT_S
        self._label, self._where = Badge(), badge
        options = Options(port=port) if token is None else Options(port=port, token=token)
        self._server = Server(options, None, None)
        self._on_url = on_url
        self.url = ""
        """Address of the result's page, with a view key instead of the token."""

    def open(self, size: tuple[int, int], fps: float) -> None:  # noqa: ARG002 - the sinks' contract
        """Start to listen.

        Raises:
            EngineError: the port is taken, or the size is odd.
        """
        if size[0] % 2 or size[1] % 2:
            raise EngineError(f"a browser needs even sides, got {size[0]}x{size[1]}: choose another --size")
        self._server.start()
        self._server.on_loop(self._open_results)
        self._on_url(self.url)

    def _open_results(self) -> None:
        studio = self._server.studio
        assert studio is not None, "a started server has one"
        self._results, key = studio.publish_to(studio.new_identity())
        self.url = f"{self._server.url}/view#{key}"

    def write(self, frame: Frame) -> None:
        """Send one frame to all viewers."""
        from mimicam.engine.web.broadcast import Result

        image = frame.image
        if self._where != "off":
            image = image.copy()  # other sinks share the frame
            self._label(image, self._where)
        self._results.publish(
            Result(yuv=cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), captured_ns=frame.captured_ns)
        )

    def poll(self) -> None:
        """Do nothing, since the server has its own thread."""

    def close(self) -> None:
        """Hang up on all viewers and stop the server."""
        self._server.stop()
