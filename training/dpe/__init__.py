"""The paper's training of DPE (CVPR 2023, sections 3.2, 3.3, 4.1): the ``published`` recipe."""
