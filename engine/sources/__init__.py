"""Where frames come from: camera, file, pattern."""
