"""Where results go: virtual camera, window, file, nothing."""
