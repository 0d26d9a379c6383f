"""A driver's call: camera in, result out, settings and stats on the data channel."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiortc import RTCDataChannel
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import SessionDescription

from mimicam.engine.errors import EngineError
from mimicam.engine.portrait import Portrait
from mimicam.engine.web.aiortc_patches.picture_limits import is_too_large
from mimicam.engine.web.broadcast import ResultBroadcast, ResultTrack
from mimicam.engine.web.call_worker import CallState, CallWorker
from mimicam.engine.web.candidates import Choose
from mimicam.engine.web.options import Limits
from mimicam.engine.web.peer import OfferError, Peer
from mimicam.engine.web.pipeline_pool import FramePathPool
from mimicam.engine.web.portrait_library import PortraitLibrary
from mimicam.engine.web.protocol import changed, parse
from mimicam.engine.web.settings import MessageError, Settings

CHANNEL = "mimicam"
_STATS_S = 0.5
_CHANNEL_OPENS_S, _LOOK_AGAIN_S = 3.0, 0.1
"""Seconds for which a broken call waits for its data channel, and between looks at it."""
_MAX_BUFFERED = 65_536
"""Unsent bytes of a channel above which messages are skipped, so that memory stays bounded."""
_MAX_WAITING = 64
"""Messages of one call that may wait to be handled."""
_GONE = "that portrait is not there any more: choose another one"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallServices:
    """Objects that all calls of a server share."""

    pool: FramePathPool
    library: PortraitLibrary
    executor: Executor
    """Runs work that takes more than a millisecond."""
    limits: Limits
    calls: Callable[[], int]
    """Returns the number of calls."""
    choose: Choose
    """Chooses the candidates of an offer to which packets are sent."""


class Call:
    """The call of one driver. Runs on the event loop, except for the worker's threads."""

    def __init__(
        self,
        services: CallServices,
        broadcast: ResultBroadcast,
        state: CallState,
        *,
        sends: bool,
        on_close: Callable[[Call, str], None],
    ) -> None:
        """Prepare the connection and the worker.

        Args:
            services: those that calls share.
            broadcast: sends results to viewers.
            state: initial settings and portrait.
            sends: whether the driver receives the result on the same connection. False in WHIP.
            on_close: called once, with the reason.
        """
        self._services, self.broadcast, self._state, self._sends = services, broadcast, state, sends
        self._loop = asyncio.get_running_loop()
        self._on_close = on_close
        self.began_s = time.monotonic()
        limits = services.limits
        self.peer = Peer(
            choose=services.choose,
            connect_s=limits.connect_s,
            silent_s=limits.silent_s,
            on_close=self._closed,
        )
        self._results = broadcast.source()
        self.worker = CallWorker(
            services.pool, state, publish=self._results.publish, on_fail=self._worker_failed
        )
        self._channel: RTCDataChannel | None = None
        # Bounded: a page that floods the channel must not fill the memory.
        self._messages: asyncio.Queue[str | bytes] = asyncio.Queue(_MAX_WAITING)
        self._tasks: list[asyncio.Task[None]] = []
        self.ended = ""
        """Reason of the end. Empty while the call runs."""
        self.own_view: ResultTrack | None = None
        # aiortc emits ``track`` while it applies the offer, so the handlers are needed before.
        self.peer.pc.on("track", self._on_track)
        self.peer.pc.on("datachannel", self._on_channel)

    @property
    def settings(self) -> Settings:
        """Settings in use now."""
        return self._state.settings

    async def answer(self, sdp: str) -> str:
        """Answer an offer and start the worker.

        Raises:
            OfferError: see `Peer.answer`. Also raised when the call was closed meanwhile.
        """
        # `_prepare` runs between the offer and the answer, in which the track must stand.
        answer = await self.peer.answer(sdp, self._prepare)
        # Another offer with the same key may have closed this call while it was answered.
        if self.ended:
            raise OfferError("the call was closed before it began")
        self.worker.start()
        self._spawn(self._serve_messages())
        self._spawn(self._send_stats())
        return answer

    async def close(self, reason: str) -> None:
        """End the call. Wait for its connection and threads."""
        self.send({"type": "bye", "reason": reason if reason in ("drain", "taken") else "failed"})
        self.peer.begin_close(reason)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait for the connection and threads of a call that ends."""
        # The connection first: it is what feeds the threads below.
        await self.peer.close(self.ended)
        # Joining blocks, and the event loop also serves the other calls.
        await self._loop.run_in_executor(self._services.executor, self.worker.join, 2.0)

    async def change(self, changes: Mapping[str, Any]) -> None:
        """Change settings. Enrols the portrait first, if it was not yet.

        Raises:
            MessageError: the schema or the model does not allow it, or the portrait is gone.
            EngineError: the portrait cannot be enrolled.
        """
        pool = self._services.pool
        settings = changed(self.settings, changes).require(
            pool.modes, has_blendshapes=pool.has_blendshapes, own_face=pool.edits_own_face
        )
        portrait = self._state.portrait
        if (settings.portrait, settings.background) != (self.settings.portrait, self.settings.background):
            portrait = await load(self._services, settings)
        # Replaced as a whole: a thread must never see new settings with the old portrait.
        self._state = CallState(settings=settings, portrait=portrait)
        self.worker.change(self._state)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message to the driver, if the data channel is open and not congested."""
        channel = self._channel
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount < _MAX_BUFFERED:
            channel.send(json.dumps(message, separators=(",", ":")))

    def stats(self) -> dict[str, Any]:
        """Build the message ``stats``; see ``schema.json``."""
        status, worker = self.worker.status, self.worker
        age = None if self.own_view is None else self.own_view.age.percentiles()
        return {
            "type": "stats",
            "face": "standby" if status is None else status.face,
            "backend": "" if status is None else status.backend,
            "fps_in": round(worker.came_in.per_s(), 1),
            "fps_out": round(worker.went_out.per_s(), 1),
            "busy": round(worker.busy(), 2),
            "age_p50_ms": 0.0 if age is None else round(age.p50, 1),
            "age_p95_ms": 0.0 if age is None else round(age.p95, 1),
            "dropped": worker.drops.total(),
            "calls": self._services.calls(),
            "viewers": max(0, self.broadcast.viewers - int(self.own_view is not None)),
            "driver_size": list(worker.driver_size),
            "result_size": list(self.settings.size),
            "stages_ms": {} if status is None else {k: round(v, 2) for k, v in status.stages.items()},
        }

    def _prepare(self, _: SessionDescription) -> None:
        if self._sends:
            self.own_view = self.broadcast.viewer()
        self.peer.add_video("sendrecv" if self._sends else "recvonly", self.own_view)

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video":
            self._spawn(self._drain(track))

    async def _drain(self, track: MediaStreamTrack) -> None:
        """Take each decoded picture at once, since aiortc's queue has no limit.

        The worker keeps the newest and drops the others.

        Raises:
            EngineError: a picture is too large, which ends the call.
        """
        try:
            while True:
                picture: Any = await track.recv()  # an `av.VideoFrame`, or `TooLarge`
                # Before it is converted: pictures of 67 megapixels fit into 112 kB.
                if is_too_large(picture):
                    size = f"{picture.width}x{picture.height}"
                    raise EngineError(f"the camera sends {size} pixels: choose 1920x1080 or less")
                self.worker.put(picture, time.monotonic_ns())
        except MediaStreamError:
            return

    def _on_channel(self, channel: RTCDataChannel) -> None:
        # A second channel would double the stats, so only the first one is accepted.
        if channel.label != CHANNEL or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.on("message", self._on_message)
        self.send({"type": "settings", "settings": self.settings.values()})

    def _on_message(self, message: str | bytes) -> None:
        # Handling a message may take seconds (enrolling), so a flood is refused, not queued.
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            self.send({"type": "error", "error": "flood", "message": "too many messages at once"})

    async def _serve_messages(self) -> None:
        while True:
            message = await self._messages.get()
            try:
                await self._serve(message)
            except MessageError as error:
                self.send({"type": "error", "error": "message", "message": str(error)})
            except EngineError as error:
                self.send({"type": "error", "error": "portrait", "message": str(error)})

    async def _serve(self, text: str | bytes) -> None:
        message = parse(text)
        if message["type"] == "ping":
            self.send({"type": "pong", "t": message["t"]})
        elif message["type"] == "calibrate":
            self.worker.calibrate()
        elif message["type"] == "select_face":
            self.worker.select_next_face()
        elif message["type"] == "preset":
            self._change_preset(message["name"], message.get("amount"))
        else:
            await self.change(message["settings"])
            self.send({"type": "settings", "settings": self.settings.values()})

    def _change_preset(self, name: str, amount: float | None) -> None:
        try:
            if amount is None:
                self.worker.presets.press(name)
            else:
                self.worker.presets.set(name, amount)
        except EngineError as error:
            raise MessageError(str(error)) from error

    async def _send_stats(self) -> None:
        while True:
            await asyncio.sleep(_STATS_S)
            self.send(self.stats())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """End the call when one of its tasks failed, since it would ignore the driver."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._broken(error)

    def _worker_failed(self, error: BaseException) -> None:
        """End the call and send the reason. Called on one of the worker's threads."""
        self._loop.call_soon_threadsafe(self._broken, error)

    def _broken(self, error: BaseException) -> None:
        if isinstance(error, EngineError):
            message = str(error)
        else:
            message = "an error in the server: its log has the details"
            _log.error("event=call_broken error=%s", type(error).__name__, exc_info=error)
        self._tell_and_close(message, round(_CHANNEL_OPENS_S / _LOOK_AGAIN_S))

    def _tell_and_close(self, message: str, looks: int) -> None:
        """Send the reason, as soon as the data channel is open, and end the call."""
        opened = self._channel is not None and self._channel.readyState == "open"
        # The first picture may come before the channel opens: its driver has to hear the reason too.
        if not opened and looks:
            self._loop.call_later(_LOOK_AGAIN_S, self._tell_and_close, message, looks - 1)
            return
        self.send({"type": "error", "error": "engine", "message": message})
        self.send({"type": "bye", "reason": "failed"})
        # Not at once, so that both messages are sent first.
        self._loop.call_later(0.2, self.peer.begin_close, "broken")

    def _closed(self, reason: str) -> None:
        # Runs once, from the peer, whichever side ended the call.
        self.ended = reason
        # Only asks: joining would block the event loop; see `wait_closed`.
        self.worker.close()
        for task in self._tasks:
            task.cancel()
        if self.own_view is not None:
            self.own_view.stop()
        self._results.end()
        self._on_close(self, reason)


async def load(services: CallServices, settings: Settings) -> Portrait:
    """Load the enrolled portrait that the settings name, outside of the event loop.

    Raises:
        MessageError: there is no such portrait.
        EngineError: it cannot be enrolled.
    """
    if services.library.entry(settings.portrait) is None:
        raise MessageError(_GONE)
    work = partial(services.library.portrait, settings.portrait, settings.background)
    try:
        return await asyncio.get_running_loop().run_in_executor(services.executor, work)
    except KeyError as error:  # removed meanwhile
        raise MessageError(_GONE) from error
