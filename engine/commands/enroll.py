"""``mimicam enroll``: compute once what every frame needs of a portrait."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Enroll:
    """Find the face in a picture, encode it, and keep the result in a folder for run and render."""

    portrait: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PORTRAIT")]
    """A picture (JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF, BMP) of one face, the name of a bundled
    portrait, or a video, whose calmest frame is taken. A DAE-GAN takes several pictures of one
    person, the first of which is shown at rest, or several frames of the video."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    """Folder to write."""
    model: str = "compact"
    """Name of a bundled model ('mimicam models list'), or the path of one."""

    def run(self) -> int:
        """Enroll the portrait and save it."""
        from mimicam.engine.assets_manifest import portrait_path
        from mimicam.engine.commands.live import print_notes
        from mimicam.engine.errors import EngineError
        from mimicam.engine.files import refuse_to_overwrite_inputs
        from mimicam.engine.models.load import load_model
        from mimicam.engine.portrait import enroll, enrolled_files, save_portrait

        if not self.portrait:
            raise EngineError("no portrait is given: name a picture, for example mimicam enroll me.jpg -o me")
        first, *more = map(portrait_path, self.portrait)
        refuse_to_overwrite_inputs(enrolled_files(self.out), [first, *more, Path(self.model)])
        portrait = enroll(first, model=load_model(self.model), more=more)
        save_portrait(portrait, self.out)
        print_notes(portrait)
        print(f"wrote {self.out}; use it with: mimicam run --portrait {self.out}")
        return 0
