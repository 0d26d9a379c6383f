"""How well a model transfers motion, on people it was never trained on (``mimicam evaluate``)."""
