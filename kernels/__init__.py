"""GPU operations: one op is a contract, a PyTorch reference, a dispatch and a CUDA source.

Importing this package needs neither torch nor a GPU; importing an op (``kernels.warp_blend``) needs
torch.
"""

from mimicam.kernels.errors import KernelBuildError

__all__ = ["KernelBuildError"]
