"""Expression presets: what they add to a face, where they are kept, and how they ease in and
out."""
