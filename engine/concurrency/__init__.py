"""Clock, hand-over between threads, timings."""
