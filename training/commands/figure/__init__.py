"""``mimicam figure``: figures of the papers."""
