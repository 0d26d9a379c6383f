"""Keys of calls and results. They stay valid when a server restarts with the same token."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Literal

Right = Literal["own", "view"]
_ID_BYTES = 16
_MAC_BYTES = 16


class ViewKeys:
    """Makes and checks keys ``identity.signature``.

    The key for viewing does not reveal the key for owning.
    """

    def __init__(self, token: str) -> None:
        self._secret = hashlib.sha256(b"mimicam stage keys\0" + token.encode()).digest()

    def new_identity(self) -> str:
        """Return 128 random bits as text."""
        return _text(secrets.token_bytes(_ID_BYTES))

    def key(self, right: Right, identity: str) -> str:
        """Return the key that gives ``right`` on a call or its result."""
        return f"{identity}.{self._sign(right, identity)}"

    def identity(self, right: Right, key: str) -> str | None:
        """Return the identity of a key. None: this server did not make it."""
        identity, _, signature = key.partition(".")
        if not (key.isascii() and _is_identity(identity)):
            return None
        # In constant time: its duration must not reveal how much of a signature is right.
        return identity if hmac.compare_digest(signature, self._sign(right, identity)) else None

    def _sign(self, right: Right, identity: str) -> str:
        mac = hmac.new(self._secret, f"{right}:{identity}".encode(), hashlib.sha256).digest()
        return _text(mac[:_MAC_BYTES])


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _is_identity(text: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(text + "==")) == _ID_BYTES
    except (binascii.Error, ValueError):
        return False
