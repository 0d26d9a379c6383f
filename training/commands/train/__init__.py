"""``mimicam train``: one file a recipe."""
