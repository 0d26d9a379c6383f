"""Standard output and error that outlive their reader."""

from __future__ import annotations

import errno
import io
import sys

_NOBODY_READS = {errno.EPIPE, errno.EIO, errno.EBADF, *([errno.EINVAL] if sys.platform == "win32" else [])}
"""A closed pipe; a closed terminal; a closed descriptor. Windows calls the first an invalid argument."""


class _Forgiving(io.FileIO):
    """Throws away what nobody reads any more: a program that records goes on, one that prints ends as usual."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno not in _NOBODY_READS:
                raise
            return memoryview(data).nbytes  # type: ignore[arg-type]


def print_whatever_happens() -> None:
    """Replace standard output and error.

    A reader that goes away (``| head``, a closed terminal) is no error. Nor is a letter that the encoding lacks: a pipe
    on Windows takes those of one code page, and a camera's name in others would end the program.
    """
    sys.stdout, sys.stderr = _forgiving(sys.stdout), _forgiving(sys.stderr)


def _forgiving(stream: object) -> io.TextIOWrapper:
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # type: ignore[return-value]  # somebody's own: a test's, a notebook's
    raw = getattr(stream.buffer, "raw", stream.buffer)  # with PYTHONUNBUFFERED there is no buffer
    if type(raw) is not io.FileIO:
        stream.reconfigure(errors="backslashreplace")
        return stream
    stream.flush()
    forgiving = _Forgiving(raw.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        forgiving if stream.buffer is raw else io.BufferedWriter(forgiving),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
