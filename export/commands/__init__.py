"""Commands that this package adds to ``mimicam``, one file each."""
