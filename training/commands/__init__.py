"""Commands that this package adds to ``mimicam``: one folder a group, one file a command."""
