"""``mimicam data prepare``: cut full videos into clips that ``mimicam data pack`` reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from mimicam.engine.errors import EngineError
from mimicam.training.data.prepare import PrepareOptions, Preparer, find_videos, prepare_all


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Cut face clips (one fixed box each, 256x256, 25 fps) from full videos.

    Run it again to continue.
    """

    videos: Path
    """Folder of videos: ``person/.../video.mp4``, or ``person.mp4``."""
    out: Path
    """Folder that receives the clips and ``clips.csv``."""
    size_px: int = 256
    """Side of the clips, pixels."""
    fps: float = 25.0
    """Frame rate of the clips."""
    min_s: float = 2.0
    """Length of the shortest clip that is kept, seconds."""
    max_s: float = 30.0
    """Length at which a clip is split, seconds."""
    min_box_px: float = 128.0
    """Side of the smallest face box that is kept, pixels of the video."""
    shard: int = 0
    """Number of this process, 0 to --shards minus 1: it takes every n-th video from this one on."""
    shards: int = 1
    """Number of processes that share the work."""

    def __post_init__(self) -> None:
        if not 0 <= self.shard < self.shards:
            raise EngineError(f"--shard must lie in 0..{self.shards - 1}, got {self.shard}")
        if self.size_px % 2 or self.size_px < 64:
            raise EngineError(f"--size-px must be even and at least 64, got {self.size_px}")
        if self.fps <= 0 or not 0 < self.min_s <= self.max_s:
            raise EngineError("--fps must be positive, and --min-s positive and at most --max-s")

    def run(self) -> int:
        """Prepare what is missing; return 1 if videos could not be read."""
        # Every n-th instead of a block, so that machines share the long videos of one folder.
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
