"""Send a test picture by WHIP and watch the result by WHEP, with GStreamer's webrtcbin.

Uses no code of mimicam, as an example for other programs. On Debian and Ubuntu:

    apt install python3-gi gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice \
        gstreamer1.0-plugins-{base,good,bad}
    mimicam serve --no-browser                       # prints http://127.0.0.1:8443/?token=TOKEN
    python3 gstreamer_whip_whep.py http://127.0.0.1:8443 TOKEN --pictures 60

Prints a JSON line with the number of returned pictures, their size and their brightness.
"""

import argparse
import json
import sys
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402 - after require_version

SEND = """
videotestsrc is-live=true pattern=smpte ! video/x-raw,width=640,height=480,framerate=30/1 ! videoconvert
 ! vp8enc deadline=1 cpu-used=8 keyframe-max-dist=60 target-bitrate=1000000 ! rtpvp8pay pt=96
 ! application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000 ! webrtcbin name=peer bundle-policy=max-bundle
"""
VP8 = "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000"


class Peer:
    """One WHIP or WHEP connection (RFC 9725; WHEP is a draft)."""

    def __init__(self, pipeline: Any, url: str, token: str) -> None:
        self.pipeline, self.url, self.token = pipeline, url, token
        self.peer = pipeline.get_by_name("peer")
        self.resource = self.reply = None
        self.offered = False
        self.peer.connect("notify::ice-gathering-state", self.gathered)
        self.peer.connect("on-negotiation-needed", self.negotiate)

    def negotiate(self, _: Any) -> None:
        if not self.offered:
            self.offered = True
            self.peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.described, None))

    def described(self, promise: Any, _: Any) -> None:
        self.reply = promise.get_reply()  # owns the offer, so it must stay alive
        self.peer.emit("set-local-description", self.reply.get_value("offer"), Gst.Promise.new())

    def gathered(self, *_: Any) -> None:
        """Post the offer with all its candidates, since there is no trickle ICE."""
        if self.peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            threading.Thread(target=self.post, daemon=True).start()

    def post(self) -> None:
        sdp = self.peer.get_property("local-description").sdp.as_text()
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url, data=sdp.encode(), headers=headers, method="POST")
        with urllib.request.urlopen(request, timeout=20) as response:
            self.resource = response.headers["Location"]
            answer = response.read()
        _, message = GstSdp.SDPMessage.new()
        GstSdp.sdp_message_parse_buffer(answer, message)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.peer.emit("set-remote-description", description, Gst.Promise.new())

    def hang_up(self, base: str) -> None:
        self.pipeline.set_state(Gst.State.NULL)
        if self.resource:
            request = urllib.request.Request(
                base + self.resource, headers={"Authorization": f"Bearer {self.token}"}, method="DELETE"
            )
            urllib.request.urlopen(request, timeout=10).close()


def watcher() -> Any:
    """Make a pipeline that receives one video. `show` completes it once the pad exists."""
    pipeline = Gst.Pipeline.new("watch")
    peer = Gst.ElementFactory.make("webrtcbin", "peer")
    peer.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
    peer.set_property("latency", 50)
    pipeline.add(peer)
    return pipeline


def show(pipeline: Any, pad: Any, on_picture: Callable[[Any], Any]) -> None:
    """Decode the video of a pad."""
    tail = Gst.parse_bin_from_description(
        "rtpvp8depay ! vp8dec ! videoconvert ! video/x-raw,format=GRAY8 ! appsink name=out emit-signals=true"
        " sync=false max-buffers=2 drop=true",
        True,
    )
    tail.get_by_name("out").connect("new-sample", on_picture)
    pipeline.add(tail)
    tail.sync_state_with_parent()
    pad.link(tail.get_static_pad("sink"))


def options_of_this_run() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server")
    parser.add_argument("token")
    parser.add_argument(
        "--options", default="badge=off", help="settings in the address of WHIP: mode=exp&framing=wide"
    )
    parser.add_argument("--pictures", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit")
    return parser.parse_args()


class Watched:
    """Collects size and mean brightness of the returned pictures."""

    def __init__(self, enough: int, loop: Any) -> None:
        self.enough, self.loop, self.seen = enough, loop, []

    def on_picture(self, sink: Any) -> Any:
        sample = sink.emit("pull-sample")
        caps, buffer = sample.get_caps().get_structure(0), sample.get_buffer()
        grey = buffer.extract_dup(0, buffer.get_size())[::97]
        self.seen.append((caps.get_value("width"), caps.get_value("height"), sum(grey) / len(grey)))
        if len(self.seen) >= self.enough:
            self.loop.quit()
        return Gst.FlowReturn.OK

    def report(self) -> str:
        greys = [grey for *_, grey in self.seen]
        return json.dumps(
            {
                "pictures": len(self.seen),
                "size": list(self.seen[-1][:2]) if self.seen else None,
                "grey_from": min(greys, default=None),
                "grey_to": max(greys, default=None),
                "gstreamer": Gst.version_string(),
            }
        )


def main() -> int:
    """Send, watch and print. Returns 0 if enough pictures were returned."""
    options = options_of_this_run()
    Gst.init(None)
    loop = GLib.MainLoop()
    watched = Watched(options.pictures, loop)
    sender = Peer(Gst.parse_launch(SEND), f"{options.server}/whip?{options.options}", options.token)
    pipeline = watcher()
    viewer = Peer(pipeline, f"{options.server}/whep", options.token)
    viewer.peer.connect("pad-added", lambda _, pad: show(pipeline, pad, watched.on_picture))
    viewer.peer.emit(
        "add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(VP8)
    )

    def watch_when_sending() -> bool:
        if sender.peer.get_property("connection-state") != GstWebRTC.WebRTCPeerConnectionState.CONNECTED:
            return True
        pipeline.set_state(Gst.State.PLAYING)
        return False

    GLib.timeout_add(100, watch_when_sending)
    GLib.timeout_add(int(options.seconds * 1000), loop.quit)
    sender.pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    for peer in (viewer, sender):
        peer.hang_up(options.server)
    print(watched.report())
    return 0 if len(watched.seen) >= options.pictures else 1


if __name__ == "__main__":
    sys.exit(main())
