"""Edit the expression of a person in a video; only the face changes."""
