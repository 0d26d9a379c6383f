"""All calls and viewers of one server, and how many there may be."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from mimicam.engine.web.broadcast import ResultBroadcast
from mimicam.engine.web.call import Call, CallServices, load
from mimicam.engine.web.call_worker import CallState
from mimicam.engine.web.options import Options
from mimicam.engine.web.peer import OfferError, Peer
from mimicam.engine.web.pipeline_pool import FramePathPool
from mimicam.engine.web.portrait_library import PortraitLibrary
from mimicam.engine.web.protocol import changed
from mimicam.engine.web.settings import Settings
from mimicam.engine.web.view_keys import ViewKeys

_FORGET_AFTER_S = 600.0
_MAX_BROADCASTS = 256
_log = logging.getLogger(__name__)


class TooManyCalls(Exception):  # noqa: N818 - a state, not a fault
    """All cameras' places are taken."""


class TooManyViewers(Exception):  # noqa: N818 - a state, not a fault
    """All viewers' places are taken."""


class CallSuperseded(Exception):  # noqa: N818 - a state, not a fault
    """The same person opened another call meanwhile."""


class Draining(Exception):  # noqa: N818 - a state, not a fault
    """The server is about to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedCall:
    """A call that has begun."""

    call: Call
    sdp: str
    """The answer."""
    own: str
    """Key with which the same person takes this stage again after a break."""
    view: str
    """Key for viewers, OBS among them."""


class Studio:
    """Lives on one event loop."""

    def __init__(self, options: Options, pool: FramePathPool | None, library: PortraitLibrary | None) -> None:
        """Without pool and library there are no calls: it only shows what a program publishes."""
        self._options = options
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="studio")
        self._services: CallServices | None = None
        if pool is not None and library is not None:
            self._services = CallServices(
                pool=pool, library=library, executor=self._executor, limits=options.limits,
                calls=lambda: len(self._calls),
            )  # fmt: skip
        self._keys = ViewKeys(options.token)
        self._broadcasts: dict[str, ResultBroadcast] = {}
        self._calls: dict[str, Call] = {}
        self._viewers: dict[str, Peer] = {}
        self._pending: Counter[str] = Counter()
        """Offers that are being looked at, by identity; they count as calls."""
        self._newest_push = ""
        """Identity of the last WHIP call or published stage, which WHEP shows when it is given no key."""
        self.draining = False
        self._drained_by_s = 0.0
        self.ended: Counter[str] = Counter()
        """Why calls ended."""

    @property
    def executor(self) -> ThreadPoolExecutor:
        """For slow work of the handlers."""
        return self._executor

    @property
    def calls(self) -> list[Call]:
        """Running ones."""
        return list(self._calls.values())

    @property
    def viewers(self) -> int:
        """Result-only connections."""
        return len(self._viewers)

    @property
    def shows_driver(self) -> bool:
        """Results are the drivers' own pictures, so nobody else may see them."""
        return self._services is not None and self._services.pool.shows_driver

    async def start_call(
        self,
        sdp: str,
        *,
        own: str | None = None,
        settings: Mapping[str, Any] | None = None,
        sends: bool = True,
    ) -> StartedCall:
        """Answer a driver's offer.

        Args:
            sdp: the offer.
            own: key of an earlier call, to take its stage (and end it, if it still runs).
            settings: to begin with; the rest is default.
            sends: give the result back on the same connection.

        Raises:
            TooManyCalls: all places are taken.
            CallSuperseded: a newer offer with the same key came meanwhile.
            Draining: the server stops.
            MessageError: settings that the schema does not allow, or an unknown portrait.
            EngineError: the portrait cannot be enrolled.
            OfferError: the offer is damaged.
        """
        services = self._services
        assert services is not None, "a server without camera has no route for calls"
        identity = (self._keys.identity("own", own) if own else None) or self._keys.new_identity()
        if self.draining:
            raise Draining
        if len({*self._calls, *self._pending, identity}) > self._options.limits.calls:
            raise TooManyCalls
        self._pending[identity] += 1
        try:
            state = await self._initial_state(services, settings or {})
            while (
                running := self._calls.get(identity)
            ) is not None:  # also one that came while that was closed
                await running.close("taken")
            call = self._calls[identity] = self._new_call(services, identity, state, sends)
        finally:
            self._pending[identity] -= 1
            self._pending += Counter()  # forgets those at zero
        answer = await self._answered(call, sdp)
        if not sends:
            self._newest_push = identity
        _log.info("event=call_started calls=%d", len(self._calls))
        return StartedCall(
            call=call, sdp=answer, own=self._keys.key("own", identity), view=self._keys.key("view", identity)
        )

    async def watch(self, sdp: str, view: str | None) -> tuple[str, str]:
        """Answer a viewer's offer.

        Args:
            sdp: the offer.
            view: key of the stage; None is the newest that was pushed by WHIP or a program.

        Returns:
            The viewer's id, and the answer.

        Raises:
            KeyError: no such stage.
            TooManyViewers: all places are taken.
            Draining: the server stops.
            OfferError: the offer is damaged.
        """
        identity = self._newest_push if view is None else self._keys.identity("view", view)
        if not identity:
            raise KeyError("view")
        if self.draining:
            raise Draining
        if len(self._viewers) >= self._options.limits.viewers:
            raise TooManyViewers
        name = self._keys.new_identity()
        track = self.broadcast(identity).viewer()

        def closed(reason: str) -> None:
            self._viewers.pop(name, None)
            track.stop()
            _log.info("event=viewer_left reason=%s viewers=%d", reason, len(self._viewers))

        limits = self._options.limits
        peer = self._viewers[name] = Peer(
            connect_s=limits.connect_s, silent_s=limits.silent_s, on_close=closed
        )
        answer = await peer.answer(sdp, lambda _: void(peer.add_video("sendonly", track)))
        return name, answer

    async def stop_viewer(self, name: str) -> bool:
        """Hang up on a viewer. False: there is none of that id."""
        peer = self._viewers.get(name)
        if peer is not None:
            await peer.close("hung_up")
        return peer is not None

    async def stop_call(self, own: str) -> bool:
        """End a call. False: there is none with that key."""
        call = self._calls.get(self._keys.identity("own", own) or "")
        if call is not None:
            await call.close("hung_up")
        return call is not None

    def is_view_key(self, key: str) -> bool:
        """Whether we made it."""
        return self._keys.identity("view", key) is not None

    def publish_to(self, identity: str) -> tuple[ResultBroadcast, str]:
        """A stage for results that a program brings, and its view key; WHEP shows it by default."""
        self._newest_push = identity
        return self.broadcast(identity), self._keys.key("view", identity)

    def new_identity(self) -> str:
        """For `publish_to`."""
        return self._keys.new_identity()

    def broadcast(self, identity: str) -> ResultBroadcast:
        """The stage of an identity, made when it is first asked for."""
        found = self._broadcasts.get(identity)
        if found is None:
            self._forget_broadcasts()
            found = self._broadcasts[identity] = ResultBroadcast(asyncio.get_running_loop())
        return found

    async def drain(self) -> None:
        """No more newcomers; tell everybody, wait a little, then close everything."""
        self.draining = True
        for call in self.calls:
            call.send({"type": "bye", "reason": "drain"})
        self._drained_by_s = time.monotonic() + self._options.drain_s
        while self._calls and time.monotonic() < self._drained_by_s:
            await asyncio.sleep(0.05)
        await self.close()

    def hurry(self) -> None:
        """Drain no longer."""
        self._drained_by_s = 0.0

    async def close(self) -> None:
        """Close all connections and threads."""
        self.draining = True
        peers = list(self._viewers.values())
        await asyncio.gather(*(c.close("drain") for c in self.calls), *(p.close("drain") for p in peers))
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _initial_state(self, services: CallServices, changes: Mapping[str, Any]) -> CallState:
        first = Settings(portrait=services.library.default, edit=self._options.edit)
        settings = changed(first, changes).require_mode(services.pool.modes)
        return CallState(settings=settings, portrait=await load(services, settings))

    async def _answered(self, call: Call, sdp: str) -> str:
        """The answer of a call that is still wanted when it is there."""
        try:
            answer = await call.answer(sdp)
        except OfferError:
            if self.draining:
                raise Draining from None
            if call.ended == "taken":  # by the next offer of the same person
                raise CallSuperseded from None
            raise
        if self.draining:
            await call.close("drain")
            raise Draining
        return answer

    def _new_call(self, services: CallServices, identity: str, state: CallState, sends: bool) -> Call:
        def closed(call: Call, reason: str) -> None:
            if self._calls.get(identity) is call:
                del self._calls[identity]
            self.ended[reason] += 1
            seconds = time.monotonic() - call.began_s
            _log.info("event=call_ended reason=%s seconds=%.1f calls=%d", reason, seconds, len(self._calls))

        return Call(services, self.broadcast(identity), state, sends=sends, on_close=closed)

    def _forget_broadcasts(self) -> None:
        """Old ones without call and viewers; all such if there are too many."""
        now_s = time.monotonic()
        crowded = len(self._broadcasts) >= _MAX_BROADCASTS
        for identity, broadcast in list(self._broadcasts.items()):
            idle = not broadcast.viewers and identity not in self._calls and identity != self._newest_push
            if idle and (crowded or now_s - broadcast.used_s > _FORGET_AFTER_S):
                del self._broadcasts[identity]


def void(_: object) -> None:
    """Forget a value where a callback must return nothing."""
