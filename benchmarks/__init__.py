"""Latency, stages, kernels, soak, quality. Results land in results/."""
