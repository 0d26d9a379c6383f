"""The studio: a page, its server, and WebRTC signalling for programs.

    browser --camera--> call -> worker (two threads) -> stage -> viewers (the same browser, OBS, WHEP clients)

Needs the ``webrtc`` extra; nothing else of engine imports this package.
"""
