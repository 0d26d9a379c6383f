"""DPE (CVPR 2023): pose and expression split in a latent space."""
