"""Fuzz targets: what others send or hand over is read, or refused in one line.

``make fuzz`` runs each for a minute. ``test_corpus.py`` runs their corpus and a few examples with the
other tests.
"""
