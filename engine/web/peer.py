"""An aiortc connection made from an offer, as calls and viewers have it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.sdp import SessionDescription

from mimicam.engine.web.candidates import Choose

_log = logging.getLogger(__name__)
_MAX_SECTIONS = 8
_LISTEN_S = 2.0
_CLOSE_S = 5.0
"""Seconds to wait for a connection to close. aiortc then continues in the background."""
_MAX_CANDIDATES = 128
_CODECS = ("video/vp8", "video/h264", "video/rtx")
"""Codecs in order of preference. VP8 encodes 640x480 in 3 ms on a CPU, x264 in 7 ms (2026-11)."""


class OfferError(ValueError):
    """An offer that is damaged, or contains no usable video."""


class Peer:
    """One connection. Runs on the event loop."""

    def __init__(
        self, *, choose: Choose, connect_s: float, silent_s: float, on_close: Callable[[str], None]
    ) -> None:
        """Create the connection.

        Args:
            choose: chooses the candidates of an offer to which packets are sent.
            connect_s: seconds after which it is closed if it is not established.
            silent_s: seconds without a packet after which it is closed, since the browser was
                killed or the cable cut. ICE alone takes half a minute (RFC 7675, section 5.1).
            on_close: called once, with the reason: ``left``, ``failed``, ``timeout``, ``silent``,
                or the argument of `close`.
        """
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._choose, self._connect_s, self._silent_s, self._on_close = choose, connect_s, silent_s, on_close
        self._listening: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.pc.on("connectionstatechange", self._state_changed)

    async def answer(self, sdp: str, prepare: Callable[[SessionDescription], None]) -> str:
        """Answer an offer.

        Args:
            sdp: the offer.
            prepare: adds transceivers before the offer is applied.

        Raises:
            OfferError: the offer is damaged or has no usable video. The peer is closed.
        """
        try:
            prepare(_parsed(sdp))
            offer = RTCSessionDescription(sdp=self._choose(sdp), type="offer")
            await self.pc.setRemoteDescription(offer)
            # Between the two: transceivers exist now, and the answer does not yet.
            self._reject_audio()
            await self.pc.setLocalDescription(await self.pc.createAnswer())
        except Exception as error:  # aiortc's parser checks little and raises any type
            # The peer must close in any case, or its place would stay taken.
            await self.close("refused")
            _log.info("event=offer_refused error=%s", type(error).__name__)
            message = str(error) if isinstance(error, OfferError) else "the offer cannot be read"
            raise OfferError(message) from error
        except BaseException:  # the client disconnected meanwhile
            self.begin_close("refused")
            raise
        # A client that never connects would hold its place.
        self._timer = asyncio.get_running_loop().call_later(self._connect_s, self._timed_out)
        return str(self.pc.localDescription.sdp)

    def add_video(self, direction: str, track: MediaStreamTrack | None = None) -> RTCRtpTransceiver:
        """Add a video transceiver with our codecs in order of preference."""
        transceiver = self.pc.addTransceiver("video", direction=direction)
        codecs = RTCRtpSender.getCapabilities("video").codecs
        wanted = [c for name in _CODECS for c in codecs if c.mimeType.lower() == name]
        transceiver.setCodecPreferences(wanted)
        if track is not None:
            transceiver.sender.replaceTrack(track)
        return transceiver

    def begin_close(self, reason: str) -> asyncio.Task[None]:
        """Start to close the connection. Later calls return the same task."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(reason))
        return self._closing

    async def close(self, reason: str) -> None:
        """Close the connection and wait for it."""
        await self.begin_close(reason)

    async def _close(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._listening is not None:
            self._listening.cancel()
        # First, so that the place is free even if closing takes long.
        self._on_close(reason)
        # Not awaited directly: aiortc may hang on a peer that is gone.
        closing = asyncio.ensure_future(self.pc.close())
        done, _ = await asyncio.wait({closing}, timeout=_CLOSE_S)
        if not done:
            _log.warning("event=close_is_slow seconds=%.0f", _CLOSE_S)
        elif (error := closing.exception()) is not None:
            _log.error("event=close_failed error=%s", type(error).__name__, exc_info=error)

    def _state_changed(self) -> None:
        state = self.pc.connectionState
        if state == "connected" and self._timer is not None:
            self._timer.cancel()
            self._listening = self._listening or asyncio.ensure_future(self._listen())
        elif state in ("failed", "closed"):
            self.begin_close("left" if state == "closed" else "failed")

    async def _listen(self) -> None:
        """Close the peer when it falls silent. RTCP sends every five seconds (RFC 3550, 6.2)."""
        heard, since_s = -1, 0.0
        while True:
            now_s, before = asyncio.get_running_loop().time(), heard
            report = await self.pc.getStats()
            heard = sum(stats.packetsReceived for stats in report.values() if stats.type == "transport")
            if heard != before:
                since_s = now_s
            elif now_s - since_s > self._silent_s:
                self.begin_close("silent")
                return
            await asyncio.sleep(_LISTEN_S)

    def _timed_out(self) -> None:
        if self.pc.connectionState != "connected":
            self.begin_close("timeout")

    def _reject_audio(self) -> None:
        """Reject audio and further video. aiortc would decode them although nothing reads them."""
        video = [t for t in self.pc.getTransceivers() if t.kind == "video"]
        for transceiver in self.pc.getTransceivers():
            if transceiver.kind != "video" or transceiver is not video[0]:
                transceiver.direction = "inactive"


def _parsed(sdp: str) -> SessionDescription:
    """Parse an offer and check its size, before anything is created for it.

    Raises:
        OfferError: it has no video, or too many parts.
    """
    if not sdp.startswith("v=0"):
        raise OfferError("the offer is not a session description")
    parsed = SessionDescription.parse(sdp)
    if len(parsed.media) > _MAX_SECTIONS or sdp.count("a=candidate:") > _MAX_CANDIDATES:
        raise OfferError("the offer has too many parts")
    if not any(media.kind == "video" for media in parsed.media):
        raise OfferError("the offer has no video")
    return parsed
