"""The training of DAE-GAN (AAAI 2020, section 3.3): the ``daegan`` recipe."""
