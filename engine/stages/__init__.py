"""Steps of the frame path that are the same for every model family."""
