"""Model families, one folder each, and their shared parts; ``load.py`` opens a model."""
