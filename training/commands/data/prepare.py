"""``mimicam prepare``: full videos to clips that 'mimicam pack' reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from mimicam.engine.errors import EngineError
from mimicam.training.data.prepare import PrepareOptions, Preparer, find_videos, prepare_all


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Cut face clips (one fixed box each, 256x256, 25 fps) from full videos. Run again to go on."""

    videos: Path
    """Folder of videos: ``person/.../video.mp4``, or ``person.mp4``."""
    out: Path
    """Folder that receives the clips and ``clips.csv``."""
    size_px: int = 256
    fps: float = 25.0
    min_s: float = 2.0
    """Shorter clips are left out."""
    max_s: float = 30.0
    """Longer ones are split."""
    min_box_px: float = 128.0
    """Smaller faces are left out: side of the box in the video."""
    shard: int = 0
    """With --shards N, this process takes every N-th video, from this one on."""
    shards: int = 1
    """How many processes share the work."""

    def __post_init__(self) -> None:
        if not 0 <= self.shard < self.shards:
            raise EngineError(f"--shard must lie in 0..{self.shards - 1}, got {self.shard}")
        if self.size_px % 2 or self.size_px < 64:
            raise EngineError(f"--size-px must be even and at least 64, got {self.size_px}")
        if self.fps <= 0 or not 0 < self.min_s <= self.max_s:
            raise EngineError("--fps must be positive, and --min-s positive and at most --max-s")

    def run(self) -> int:
        """Prepare what is missing. Returns 1 if videos could not be read."""
        found = find_videos(self.videos)[self.shard :: self.shards]
        if not found:
            raise EngineError(
                f"{self.videos} holds no video: give a folder of mp4, mkv, webm, mov or avi files"
            )
        self.out.mkdir(parents=True, exist_ok=True)
        options = PrepareOptions(
            size_px=self.size_px, fps=self.fps, min_s=self.min_s, max_s=self.max_s, min_box_px=self.min_box_px
        )
        with Progress() as bar:
            task = bar.add_task("preparing", total=len(found))
            clips, bad = prepare_all(
                Preparer(videos=self.videos, out=self.out, options=options),
                found,
                bar.console.print,
                lambda: bar.advance(task),
            )
        print(f"{self.out}: {clips} clips written now; {bad} of {len(found)} videos could not be read")
        return 1 if bad else 0
