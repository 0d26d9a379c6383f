"""Routes that control the presets of the server's calls, for scripts and Stream Decks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web

from mimicam.engine.presets.preset import AMOUNTS, Preset
from mimicam.engine.web.auth import HttpRefusal
from mimicam.engine.web.call import Call


class PresetRoutes:
    """Handles requests about presets; see ``openapi.json``."""

    def __init__(self, presets: Sequence[Preset], calls: Callable[[], list[Call]]) -> None:
        """Offer these presets to the calls that run when a request comes."""
        self._presets, self._calls = {preset.name: preset for preset in presets}, calls

    def routes(self) -> list[web.RouteDef]:
        """List the routes to add to a server."""
        return [web.get("/presets", self.listed), web.post("/presets/{preset}", self.change)]

    async def listed(self, _: web.Request) -> web.Response:
        """``GET /presets``: names and hotkeys."""
        found = [{"name": preset.name, "key": preset.key} for preset in self._presets.values()]
        return web.json_response({"presets": found})

    async def change(self, request: web.Request) -> web.Response:
        """``POST /presets/{preset}``: ease it to ``amount``, or press its hotkey, in every call."""
        name, amount = request.match_info["preset"], _amount(request)
        if name not in self._presets:
            raise HttpRefusal(404, "preset", "there is no such preset: GET /presets lists them")
        calls = self._calls()
        if not calls:
            raise HttpRefusal(409, "call", "no call runs: start the camera first")
        for call in calls:
            if amount is None:
                call.worker.presets.press(name)
            else:
                call.worker.presets.set(name, amount)
        return web.json_response({"calls": len(calls)})


def _amount(request: web.Request) -> float | None:
    if "amount" not in request.query:
        return None
    low, high = AMOUNTS
    try:
        amount = float(request.query["amount"])
    except ValueError:
        amount = float("nan")
    if not low <= amount <= high:
        raise HttpRefusal(400, "amount", f"amount must be a number from {low:g} to {high:g}")
    return amount
