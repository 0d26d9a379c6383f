"""Marks of a result: what made it, its IPTC digital source type, and hashes of what it comes from.

They are written as a comment for people and as XMP for programs. Neither is signed: whoever changes
a file can remove or forge them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from xml.sax.saxutils import quoteattr, unescape

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for pictures that a trained network moved and completed."""
_NAME = "mimicam"
_NAMESPACE = "urn:mimicam:provenance:1:"
_COMMENT_WORD = re.compile(
    r"\b(DigitalSourceType|Live|(?:Driver)?Covered|(?:Source|Driver|Model)Sha256)=(\S+)"
)
_COMMENT_NOTE = re.compile(r"(?:Synthetic|Edited): [^.\n]{1,80} by mimicam\.")
_XMP_VALUE = r":%s\s*=\s*(?:\"([^\"]*)\"|'([^']*)')|<[\w.-]{1,40}:%s\b[^<>]*>([^<]*)<"
"""XMP writes a simple property as an attribute or as an element (ISO 16684-1, 7.9.2.2)."""
_XMP_RESOURCE = r"<[\w.-]{1,40}:%s\b[^<>]*\brdf:resource\s*=\s*\"([^\"]*)\""
_LIVE_ROLES = ("source", "driver")
_VALUE_MAX = 2048
_NO_COUNTS = "none"
_COUNTS = re.compile(r"(?:(?:mouth|eyes):[0-9]{1,9},?){1,2}")
_DRIVERS_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Statements of a file's marks. Hashes are SHA-256, hexadecimal; empty where none is stated."""

    note: str = ""
    """One sentence for people."""
    tool: str = ""
    """The program that made it, with its version. Empty in marks to be written: this program."""
    source_type: str = SOURCE_TYPE
    """IPTC digital source type, an address. Empty where a file states none."""
    source: str = ""
    """The edited video, or the portrait's picture."""
    drivers: tuple[str, ...] = ()
    """The driver, or those of several people."""
    model: str = ""
    """The model's weights."""
    live: str = ""
    """``source`` or ``driver``, if that was a live camera, which has no hash."""
    covered: Mapping[str, int] | None = None
    """Number of frames in which something covers ``mouth`` or ``eyes`` of an edited face; a part
    that never is covered is left out. None: nobody looked for it."""
    driver_covered: Mapping[str, int] | None = None
    """The same of the driver's face."""

    @property
    def by_mimicam(self) -> bool:
        """Whether the marks name this program."""
        return self.tool.split(" ")[0] == _NAME

    @property
    def comment(self) -> str:
        """The marks in one line of text, for containers that have no XMP."""
        hashes = [("Source", self.source), *(("Driver", one) for one in self.drivers), ("Model", self.model)]
        words = [f"{name}Sha256={value}" for name, value in hashes if value]
        words += [f"Live={self.live}"] if self.live else []
        words += [f"{name}={value}" for name, value in self._counts.items()]
        return " ".join([self.note, f"DigitalSourceType={self.source_type}", *words])

    @property
    def tags(self) -> Mapping[str, str]:
        """Metadata of a video. Matroska keeps both, MP4 and AVI the comment."""
        return {"comment": self.comment, "DIGITAL_SOURCE_TYPE": self.source_type}

    @property
    def xmp(self) -> bytes:
        """The marks as an XMP packet (ISO 16684-1)."""
        own = {
            "Note": self.note,
            "SourceSha256": self.source,
            "DriverSha256": " ".join(self.drivers),
            "ModelSha256": self.model,
            "Live": self.live,
            **self._counts,
        }
        values = {
            "Iptc4xmpExt:DigitalSourceType": self.source_type,
            "xmp:CreatorTool": self.tool or this_program(),
            **{f"mimicam:{name}": value for name, value in own.items() if value},
        }
        attributes = " ".join(f"{name}={quoteattr(value)}" for name, value in values.items())
        return (
            # The id is the same in every packet, so that programs find it (ISO 16684-1).
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
            ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
            f' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:mimicam="{_NAMESPACE}" {attributes}/>'
            '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
        ).encode()

    @property
    def _counts(self) -> dict[str, str]:
        found = {"Covered": self.covered, "DriverCovered": self.driver_covered}
        return {name: _count_text(counts) for name, counts in found.items() if counts is not None}


def _count_text(counts: Mapping[str, int]) -> str:
    return ",".join(f"{part}:{count}" for part, count in counts.items()) or _NO_COUNTS


ANIMATED = Provenance(note="Synthetic: a portrait animated by mimicam.")
EDITED = Provenance(note="Edited: an expression changed by mimicam.")


def this_program() -> str:
    """Return this program's name and version."""
    try:
        return f"{_NAME} {version(_NAME)}"
    except PackageNotFoundError:  # a checkout that is not installed
        return _NAME


def read_tags(tags: Mapping[str, str]) -> Provenance | None:
    """Read the metadata of a video; None where they hold no marks."""
    # Containers change the case of names.
    lower = {name.lower(): value for name, value in tags.items()}
    comment = lower.get("comment", "")[: 4 * _VALUE_MAX]
    words = _COMMENT_WORD.findall(comment)
    # Reversed, so that the first of several wins: text behind a comment cannot replace its marks.
    found = dict(reversed(words))
    match = _COMMENT_NOTE.search(comment)
    note = _printable(match[0]) if match else ""
    source_type = _address(lower.get("digital_source_type", "") or found.get("DigitalSourceType", ""))
    if not note and not source_type:
        return None
    return Provenance(
        note=note,
        tool=_NAME if note else "",
        source_type=source_type,
        source=_hash(found.get("SourceSha256", "")),
        drivers=_hashes(value for name, value in words if name == "DriverSha256"),
        model=_hash(found.get("ModelSha256", "")),
        live=_role(found.get("Live", "")),
        covered=_counts(found.get("Covered", "")),
        driver_covered=_counts(found.get("DriverCovered", "")),
    )


def read_xmp(packet: str) -> Provenance | None:
    """Read an XMP packet of any program; None where it holds no marks.

    It is searched, not parsed: nothing in it is expanded or opened.
    """
    tool, source_type = _xmp_value(packet, "CreatorTool"), _address(_xmp_value(packet, "DigitalSourceType"))
    own = tool.split(" ")[0] == _NAME
    if not own and not source_type:
        return None
    # What these names mean in another program's marks is not known.
    if not own:
        return Provenance(tool=tool, source_type=source_type)
    return Provenance(
        note=_xmp_value(packet, "Note"),
        tool=tool,
        source_type=source_type,
        source=_hash(_xmp_value(packet, "SourceSha256")),
        drivers=_hashes(_xmp_value(packet, "DriverSha256").split()),
        model=_hash(_xmp_value(packet, "ModelSha256")),
        live=_role(_xmp_value(packet, "Live")),
        covered=_counts(_xmp_value(packet, "Covered")),
        driver_covered=_counts(_xmp_value(packet, "DriverCovered")),
    )


def _xmp_value(packet: str, name: str) -> str:
    patterns = (_XMP_RESOURCE % name, _XMP_VALUE % (name, name))
    found = next((match for each in patterns if (match := re.search(each, packet)) is not None), None)
    text = next((group for group in found.groups() if group is not None), "") if found else ""
    return _printable(unescape(text.strip(), {"&quot;": '"', "&apos;": "'"}))


def _printable(value: str) -> str:
    """Return a value as it is; empty if it is long, or has control characters, which would act in
    the terminals where marks of strangers are printed."""
    return value if len(value) <= _VALUE_MAX and value.isprintable() else ""


def _address(text: str) -> str:
    """Return an address as IPTC's terms have; empty for anything else."""
    return text if re.fullmatch(r"https?://[!-~]{1,200}", text) else ""


def is_sha256(text: str) -> bool:
    """Tell a SHA-256 in lower-case hexadecimal from other text."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def _hash(text: str) -> str:
    return text if is_sha256(text) else ""


def _role(text: str) -> str:
    return text if text in _LIVE_ROLES else ""


def _counts(text: str) -> dict[str, int] | None:
    if text == _NO_COUNTS:
        return {}
    if _COUNTS.fullmatch(text) is None:
        return None
    pairs = (pair.partition(":") for pair in text.strip(",").split(","))
    return {part: int(count) for part, _, count in pairs}


def _hashes(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(one for one in texts if _hash(one))[:_DRIVERS_MAX]
