"""What runs a network: OpenVINO, eager PyTorch, TensorRT."""
