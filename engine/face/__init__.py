"""Face reading: tracker, landmarks, geometry, motion, and the filters on them."""
