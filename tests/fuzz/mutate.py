"""Changed copies of the files in a target's corpus, as Hypothesis strategies."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"
_ODD = (0, 1, 0x7F, 0x80, 0xFF)
"""Bytes at which lengths and signs change."""


def check_line(error: Exception) -> None:
    """Check that an error is a line that a person can read."""
    text = str(error)
    assert text, "an error says something"
    assert "\n" not in text, "an error is one line"
    assert len(text) < 1000, "an error is short"


def seeds(target: str) -> list[Path]:
    """Return the files of a target's corpus."""
    return sorted((CORPUS / target).iterdir())


@st.composite
def changed_bytes(draw: st.DrawFn, data: bytes, *, most: int = 6) -> bytes:
    """Change up to ``most`` places of a file: bytes, runs of bytes, or its end."""
    out = bytearray(data)
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, max(len(out) - 1, 0)))
        kind = draw(st.sampled_from(("byte", "run", "remove", "insert", "copy", "cut")))
        size = draw(st.integers(1, 16))
        if kind == "byte":
            out[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "run":
            out[at : at + size] = bytes([draw(st.sampled_from(_ODD))]) * size
        elif kind == "remove":
            del out[at : at + size]
        elif kind == "insert":
            out[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "copy":
            start = draw(st.integers(0, max(len(out) - 1, 0)))
            out[at:at] = out[start : start + size]
        else:
            del out[at:]
    return bytes(out)


@st.composite
def changed_lines(draw: st.DrawFn, text: str) -> str:
    """Remove, repeat, swap and change lines of a text."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(len(lines) - 1, 0)))
        kind = draw(st.sampled_from(("remove", "repeat", "swap", "word", "bytes")))
        if not lines or kind == "remove":
            del lines[at : at + 1]
        elif kind == "repeat":
            lines[at:at] = [lines[at]] * draw(st.integers(1, 5))
        elif kind == "swap":
            lines[at], lines[0] = lines[0], lines[at]
        elif kind == "word":
            words = lines[at].split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(_WORDS)
            lines[at] = " ".join(words)
        else:
            changed = draw(changed_bytes(lines[at].encode(), most=2))
            lines[at] = changed.decode(errors="replace")
    return "\r\n".join(lines) + "\r\n"


_WORDS = st.sampled_from(
    (
        "",
        "0",
        "-1",
        "65536",
        "99999999999999999999",
        "1.5",
        "x",
        "é",
        "IN",
        "apt=96",
        "224.0.0.1",
        "::",
        "a.local",
    )
) | st.text(max_size=8)
