"""TensorRT: plans of exported networks, built, checked, stored and run."""
