"""All calls and viewers of one server, and their limits."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections import Counter
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from mimicam.engine.concurrency.threads import start_pool
from mimicam.engine.process_switches import return_free_memory
from mimicam.engine.web import candidates
from mimicam.engine.web.broadcast import ResultBroadcast, ResultSource
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
_TIDY_AFTER_S = (0.0, 0.1, 1.0, 10.0)
"""Waits before each attempt to free a connection. Its last callbacks may run during the first."""
_log = logging.getLogger(__name__)


class TooManyCalls(Exception):  # noqa: N818 - a state, not an error of ours
    """All cameras' places are taken."""


class TooManyViewers(Exception):  # noqa: N818 - a state, not a fault
    """All viewers' places are taken."""


class CallSuperseded(Exception):  # noqa: N818 - a state, not a fault
    """A newer call with the same key replaced this one."""


class Draining(Exception):  # noqa: N818 - a state, not a fault
    """The server is stopping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedCall:
    """A call that has started, with its answer and keys."""

    call: Call
    sdp: str
    """Answer to the offer."""
    own: str
    """Key with which the same person resumes this call's broadcast after a break."""
    view: str
    """Key for viewers such as OBS."""


class Studio:
    """Starts and ends calls and viewers. Belongs to one event loop."""

    def __init__(self, options: Options, pool: FramePathPool | None, library: PortraitLibrary | None) -> None:
        """Without pool and library there are no calls, only results that a program publishes."""
        self._options = options
        self._choose = (
            candidates.on_this_machine if options.for_this_machine_only else candidates.on_a_network
        )
        # Two threads: one slow enrolment does not hold up everything else.
        self._executor = start_pool(2, "studio")
        self._services: CallServices | None = None
        if pool is not None and library is not None:
            self._services = CallServices(
                pool=pool, library=library, executor=self._executor, limits=options.limits,
                calls=lambda: len(self._calls), choose=self._choose,
            )  # fmt: skip
        self._keys = ViewKeys(options.token)
        self._broadcasts: dict[str, ResultBroadcast] = {}
        self._calls: dict[str, Call] = {}
        self._viewers: dict[str, Peer] = {}
        self._pending: Counter[str] = Counter()
        """Offers that are being answered, by identity. They count as calls."""
        self._newest_push = ""
        """Identity of the last WHIP call or program. WHEP shows it if no key is given."""
        self.draining = False
        self._drained_by_s = 0.0
        self._tidying: set[asyncio.Task[None]] = set()
        self.ended: Counter[str] = Counter()
        """Number of ended calls by reason."""

    @property
    def executor(self) -> ThreadPoolExecutor:
        """Runs slow work of the handlers."""
        return self._executor

    @property
    def calls(self) -> list[Call]:
        """List the running calls."""
        return list(self._calls.values())

    @property
    def viewers(self) -> int:
        """Number of result-only connections."""
        return len(self._viewers)

    @property
    def tidying(self) -> int:
        """Number of ended connections whose memory is not yet returned."""
        return len(self._tidying)

    @property
    def shows_driver(self) -> bool:
        """Whether results are the drivers' own pictures, which only they may see."""
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
            own: key of an earlier call. Its broadcast is resumed, and the call ended if it runs.
            settings: initial values by name. The others are the server's defaults.
            sends: whether the result goes back on the same connection.

        Raises:
            TooManyCalls: all places are taken.
            CallSuperseded: a newer offer with the same key came meanwhile.
            Draining: the server stops.
            MessageError: the settings do not fit the schema, or the portrait is unknown.
            EngineError: the portrait cannot be enrolled.
            OfferError: the offer is damaged.
        """
        services = self._services
        assert services is not None, "a server without camera has no route for calls"
        identity = (self._keys.identity("own", own) if own else None) or self._keys.new_identity()
        if self.draining:
            raise Draining
        # A set of identities: an offer that replaces a call needs no further place.
        if len({*self._calls, *self._pending, identity}) > self._options.limits.calls:
            raise TooManyCalls
        # Counted before the first await: two offers at once must not both take the last place.
        self._pending[identity] += 1
        try:
            state = await self._initial_state(services, settings or {})
            while (
                running := self._calls.get(identity)
            ) is not None:  # also one that started while another was closed
                await running.close("taken")
            call = self._calls[identity] = self._new_call(services, identity, state, sends)
        finally:
            self._pending[identity] -= 1
            self._pending += Counter()  # drops counts of zero
        # From here on the call holds its place itself, and gives it back when it ends.
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
            view: key of the result. None: the newest of WHIP or of a program.

        Returns:
            The viewer's id, and the answer.

        Raises:
            KeyError: there is no such result.
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
        # Joined before the answer, so that the first picture waits when the connection stands.
        track = self.broadcast(identity).viewer()

        def closed(reason: str) -> None:
            self._viewers.pop(name, None)
            track.stop()
            self._tidy_after(peer.close(reason), peer.pc)
            _log.info("event=viewer_left reason=%s viewers=%d", reason, len(self._viewers))

        limits = self._options.limits
        peer = self._viewers[name] = Peer(
            choose=self._choose, connect_s=limits.connect_s, silent_s=limits.silent_s, on_close=closed
        )
        answer = await peer.answer(sdp, lambda _: void(peer.add_video("sendonly", track)))
        return name, answer

    async def stop_viewer(self, name: str) -> bool:
        """Hang up on a viewer. Returns whether there was one with that id."""
        peer = self._viewers.get(name)
        if peer is not None:
            await peer.close("hung_up")
        return peer is not None

    async def stop_call(self, own: str) -> bool:
        """End a call. Returns whether there was one with that key."""
        call = self._calls.get(self._keys.identity("own", own) or "")
        if call is not None:
            await call.close("hung_up")
        return call is not None

    def is_view_key(self, key: str) -> bool:
        """Whether this server made the key."""
        return self._keys.identity("view", key) is not None

    def publish_to(self, identity: str) -> tuple[ResultSource, str]:
        """Source for the results of a program, and its view key. WHEP shows them by default."""
        self._newest_push = identity
        return self.broadcast(identity).source(), self._keys.key("view", identity)

    def new_identity(self) -> str:
        """Return a new identity for `publish_to`."""
        return self._keys.new_identity()

    def broadcast(self, identity: str) -> ResultBroadcast:
        """Broadcast of an identity, made at its first use."""
        found = self._broadcasts.get(identity)
        if found is None:
            self._forget_broadcasts()
            found = self._broadcasts[identity] = ResultBroadcast(asyncio.get_running_loop())
        return found

    async def drain(self) -> None:
        """Refuse new calls, notify the running ones, wait, then close everything."""
        self.draining = True
        for call in self.calls:
            call.send({"type": "bye", "reason": "drain"})
        self._drained_by_s = time.monotonic() + self._options.drain_s
        while self._calls and time.monotonic() < self._drained_by_s:
            await asyncio.sleep(0.05)
        await self.close()

    def hurry(self) -> None:
        """End the waiting of `drain`."""
        self._drained_by_s = 0.0

    async def close(self) -> None:
        """Close all connections and threads."""
        self.draining = True
        peers = list(self._viewers.values())
        # All at once: each may take seconds.
        await asyncio.gather(*(c.close("drain") for c in self.calls), *(p.close("drain") for p in peers))
        for task in self._tidying:
            task.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _initial_state(self, services: CallServices, changes: Mapping[str, Any]) -> CallState:
        first = Settings(portrait=services.library.default, edit=self._options.edit)
        pool = services.pool
        settings = changed(first, changes).require(
            pool.modes, has_blendshapes=pool.has_blendshapes, own_face=pool.edits_own_face
        )
        return CallState(settings=settings, portrait=await load(services, settings))

    async def _answered(self, call: Call, sdp: str) -> str:
        """Answer of a call, unless the call was replaced or the server stopped meanwhile."""
        try:
            answer = await call.answer(sdp)
        except OfferError:
            if self.draining:
                raise Draining from None
            if call.ended == "taken":  # by the next offer with the same key
                raise CallSuperseded from None
            raise
        if self.draining:
            await call.close("drain")
            raise Draining
        return answer

    def _new_call(self, services: CallServices, identity: str, state: CallState, sends: bool) -> Call:
        def closed(call: Call, reason: str) -> None:
            # Not if a newer call with the same key has taken its place.
            if self._calls.get(identity) is call:
                del self._calls[identity]
            self.ended[reason] += 1
            self._tidy_after(call.wait_closed(), call, call.peer.pc)
            seconds = time.monotonic() - call.began_s
            _log.info("event=call_ended reason=%s seconds=%.1f calls=%d", reason, seconds, len(self._calls))

        return Call(services, self.broadcast(identity), state, sends=sends, on_close=closed)

    def _tidy_after(self, end: Coroutine[Any, Any, None], *parts: object) -> None:
        """Return the memory of a connection and its parts to the system, once it and its threads
        have ended."""
        # Weak references: a strong one would keep alive what is to be freed.
        task = asyncio.get_running_loop().create_task(self._tidy(end, [weakref.ref(part) for part in parts]))
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)

    async def _tidy(self, end: Coroutine[Any, Any, None], parts: list[weakref.ref[Any]]) -> None:
        await end
        for wait_s in _TIDY_AFTER_S:
            await asyncio.sleep(wait_s)
            await asyncio.get_running_loop().run_in_executor(self._executor, return_free_memory)
            if all(part() is None for part in parts):
                return

    def _forget_broadcasts(self) -> None:
        """Drop old broadcasts without call and viewers, or all such if there are too many."""
        now_s = time.monotonic()
        crowded = len(self._broadcasts) >= _MAX_BROADCASTS
        for identity, broadcast in list(self._broadcasts.items()):
            idle = not broadcast.viewers and identity not in self._calls and identity != self._newest_push
            if idle and (crowded or now_s - broadcast.used_s > _FORGET_AFTER_S):
                del self._broadcasts[identity]


def void(_: object) -> None:
    """Discard a value, where a callback must return None."""
