"""The studio: page, signalling and WebRTC."""
