"""DAE-GAN (AAAI 2020): multi-frame face embedding and a conditional generator."""
