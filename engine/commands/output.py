"""Standard output and error that outlive their reader."""

from __future__ import annotations

import errno
import io
import sys

_NO_READER = {errno.EPIPE, errno.EIO, errno.EBADF, *([errno.EINVAL] if sys.platform == "win32" else [])}
"""Error numbers of a closed pipe, terminal or descriptor. Windows reports a closed pipe as an
invalid argument."""


class _Forgiving(io.FileIO):
    """Discards output that has no reader any more: a recording continues, and a program that prints
    ends as usual."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno not in _NO_READER:
                raise
            return memoryview(data).nbytes  # type: ignore[arg-type]


def make_output_safe() -> None:
    """Replace standard output and error by ones that never fail.

    A reader may go away (``| head``, a closed terminal). A character may be missing in the
    encoding: on Windows a pipe takes one code page, and the name of a camera would end the program.
    """
    sys.stdout, sys.stderr = _forgiving(sys.stdout), _forgiving(sys.stderr)


def _forgiving(stream: object) -> io.TextIOWrapper:
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # type: ignore[return-value]  # not a file: replaced by a test or a notebook
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
