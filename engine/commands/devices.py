"""``mimicam devices``: list cameras and virtual cameras."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Devices:
    """List the cameras to choose with --source, and the virtual cameras that --sink can use."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""

    def run(self) -> int:
        """Print cameras, then virtual cameras."""
        from mimicam.engine.doctor import virtual_cameras
        from mimicam.engine.sources.devices import list_cameras

        cameras, virtual = list_cameras(), virtual_cameras()
        if self.json:
            both = {
                "cameras": [asdict(row) for row in cameras],
                "virtual_cameras": [asdict(row) for row in virtual],
            }
            print(json.dumps(both, indent=1))
            return 0
        for camera in cameras:
            print(f"camera:{camera.index}  {camera.name}")
        for driver in virtual:
            print(f"virtual-camera  {driver.driver}: {driver.device or driver.reason}")
            if driver.remedy:
                print(f"                -> {driver.remedy}")
        if not cameras:
            print("no camera: plug one in, or play a file with --source PATH")
        return 0
