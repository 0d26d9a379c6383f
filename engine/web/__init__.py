"""The studio: a page, its server, and WebRTC signalling for programs.

    browser --camera--> call -> call worker (two threads) -> broadcast -> viewers

Viewers are the driver's own browser, OBS and WHEP clients. The package needs the ``webrtc``
extra. Only the command line and the sink ``webrtc`` import it.
"""
