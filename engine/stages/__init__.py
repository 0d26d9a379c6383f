"""The steps of the frame path that no model family changes, and what surrounds a face."""
