"""Measure how well a model transfers motion, on people whom it was never trained on
(``mimicam evaluate``)."""
