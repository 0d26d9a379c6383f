"""What reads a face: tracker, landmarks, geometry, motion, and the filters on them."""
