"""Model families, a folder each, and what they share. ``load.py`` opens one by name or path."""
