"""Update engine/assets/manifest.json: hashes of listed files, and entries for new ones.

python scripts/assets.py                  hashes of listed files, and what is not listed yet
python scripts/assets.py FILE LICENCE ORIGIN   list one more file (path below engine/assets)
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace

from mimicam.engine.assets_manifest import ASSETS, MANIFEST, Asset, entries, unlisted
from mimicam.engine.files import sha256_of


def main(arguments: list[str]) -> int:
    """Rewrite the manifest; return 1 if files remain that it does not list."""
    listed = {asset.file: asset for asset in entries()} if (ASSETS / MANIFEST).exists() else {}
    if arguments:
        file, licence, origin = arguments
        listed[file] = Asset(file=file, sha256="", licence=licence, origin=origin)
    fresh = [
        replace(a, sha256=sha256_of(ASSETS / a.file)) for a in listed.values() if (ASSETS / a.file).exists()
    ]
    rows = [asdict(asset) for asset in sorted(fresh, key=lambda asset: asset.file)]
    (ASSETS / MANIFEST).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    left = unlisted()
    for name in left:
        print(f"not listed: {name}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
