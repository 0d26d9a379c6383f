"""Fixtures that the commands' tests share with those of the recipes."""

from tests.training.dpe.conftest import face_files

__all__ = ["face_files"]
