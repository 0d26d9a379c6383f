"""``mimicam data``: one file a command."""
