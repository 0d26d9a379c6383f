"""Complete DTLS handshakes with peers that have an RSA certificate, as GStreamer has.

aiortc offers ciphers for ECDSA certificates only, so these handshakes fail. Here its ciphers are
also offered for RSA. The fingerprint in the session description authenticates either kind. Keys
stay ephemeral (ECDHE: RFC 8827, section 6.5).
"""

from __future__ import annotations

from typing import Any

from aiortc.rtcdtlstransport import RTCCertificate

CIPHERS = tuple(
    f"ECDHE-{kind}-{cipher}"
    for kind in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "CHACHA20-POLY1305", "AES128-SHA", "AES256-SHA")
)
"""aiortc's four, and the same for RSA certificates."""
_create_ssl_context = RTCCertificate._create_ssl_context


def install() -> None:
    """Offer both kinds of ciphers in handshakes that begin from now on."""
    setattr(RTCCertificate, "_create_ssl_context", _create_with_rsa)  # noqa: B010 - types do not allow it


def _create_with_rsa(self: RTCCertificate, *args: Any, **options: Any) -> Any:
    context = _create_ssl_context(self, *args, **options)
    context.set_cipher_list(":".join(CIPHERS).encode())
    return context
