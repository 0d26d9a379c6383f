"""One page that shows results beside what they come from."""
