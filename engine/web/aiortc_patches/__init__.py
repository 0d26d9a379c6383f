"""All patches of aiortc and aioice, behind one `install` and one version check.

Each module describes what the library does, and what it does after the patch.
"""

from __future__ import annotations

import logging

import aiortc
from aiortc.rtcrtpreceiver import RTCRtpReceiver

from mimicam.engine.web.aiortc_patches import (
    bitrate,
    jitter_buffer,
    nack,
    picture_limits,
    playout_delay,
    rsa,
    ssrc_limit,
    udp_drain,
)

_KNOWN = ((1, 10), (1, 16))
"""First and last minor version of aiortc whose receiver was read, 2026-11."""
_PRIVATE = ("jitter_buffer", "nack_generator", "decoder_queue", "timestamp_mapper", "codecs")
"""Private attributes of aiortc's receiver that the patches of the receiver use."""
_RECEIVER = (jitter_buffer, nack, picture_limits)
"""Patches that replace parts of the receiver, and therefore need a known version of it."""
_ALWAYS = (udp_drain, playout_delay, bitrate, rsa, ssrc_limit)
"""Patches of what every version has. A missing name raises an error."""
_log = logging.getLogger(__name__)


def install() -> bool:
    """Patch aiortc and aioice in this process. Further calls change nothing.

    Returns:
        Whether all patches were installed. False: this version of aiortc is unknown, and its
        receiver is not patched.
    """
    known = _is_known(aiortc.__version__)
    for patch in (*_ALWAYS, *(_RECEIVER if known else ())):
        patch.install()
    if not known:
        names = ",".join(patch.__name__.rpartition(".")[2] for patch in _RECEIVER)
        _log.warning(
            "event=aiortc_patches_skipped reason=unknown_aiortc_version aiortc=%s patches=%s",
            aiortc.__version__,
            names,
        )
    return known


def _is_known(version: str) -> bool:
    """Check the version number, and that the receiver has the private attributes that we use."""
    major, minor = (int(part) for part in version.split(".")[:2])
    built = RTCRtpReceiver.__init__.__code__.co_names
    same = all(f"_RTCRtpReceiver__{name}" in built for name in _PRIVATE)
    return same and _KNOWN[0] <= (major, minor) <= _KNOWN[1]
