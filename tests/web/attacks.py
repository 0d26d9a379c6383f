"""Malicious clients, run as ``python -m tests.web.attacks NAME URL TOKEN``.

Each prints a JSON line with the statuses that it received and the bytes that it sent.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

TWO_GIGABYTES = 2_200_000_000
_BLOCK = bytes(1 << 20)


class Client:
    """A raw HTTP client that can violate the protocol."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self.address = (str(parts.hostname), int(parts.port or 80))
        self.token = token

    def head(self, method: str, path: str, **headers: str) -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.address[0]}",
            f"Authorization: Bearer {self.token}",
        ]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=60)

    def status(self, connection: socket.socket) -> int:
        """Status of the answer, 0 if the server hung up without one."""
        try:
            line = connection.makefile("rb").readline()
        except OSError:
            return 0
        return int(line.split()[1]) if line.startswith(b"HTTP/") else 0

    def post(self, path: str, kind: str, body: bytes) -> int:
        with self.connect() as connection:
            connection.sendall(
                self.head("POST", path, Content_Type=kind, Content_Length=str(len(body)), Connection="close")
            )
            with contextlib.suppress(OSError):
                connection.sendall(body)
            return self.status(connection)


def _pour(client: Client, head: bytes, blocks: Iterator[bytes]) -> tuple[list[int], int]:
    """Send without reading, until the server hangs up or all is sent."""
    sent = 0
    with client.connect() as connection:
        connection.sendall(head)
        answer = ThreadPoolExecutor(1).submit(client.status, connection)
        with contextlib.suppress(OSError):
            for block in blocks:
                connection.sendall(block)
                sent += len(block)
        return [answer.result(60)], sent


def declared_upload(client: Client) -> tuple[list[int], int]:
    """Announce two gigabytes, and send them whatever the server answers."""
    head = client.head("POST", "/portraits", Content_Type="image/png", Content_Length=str(TWO_GIGABYTES))
    return _pour(client, head, (_BLOCK for _ in range(TWO_GIGABYTES // len(_BLOCK))))


def hidden_upload(client: Client) -> tuple[list[int], int]:
    """Send two gigabytes in chunks, without a length."""
    head = client.head("POST", "/portraits", Content_Type="image/png", Transfer_Encoding="chunked")
    chunk = f"{len(_BLOCK):x}\r\n".encode() + _BLOCK + b"\r\n"
    return _pour(client, head, (chunk for _ in range(TWO_GIGABYTES // len(_BLOCK))))


def bombs(client: Client) -> tuple[list[int], int]:
    """Upload small files that decode to gigabytes, sixteen at a time."""
    files = [_png(60_000, 60_000), _png(20_000, 20_000), _png(65_535, 1), _png(4_900, 4_890)] * 4
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda body: client.post("/portraits", "image/png", body), files)), sum(
            map(len, files)
        )


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(min(height * (width * 3 + 1), 20_000_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def thousand_offers(client: Client) -> tuple[list[int], int]:
    """Send a thousand malformed offers, thirty at a time."""
    body = json.dumps(
        {"sdp": "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=candidate:\r\n", "type": "offer"}
    ).encode()
    with ThreadPoolExecutor(30) as pool:
        statuses = list(pool.map(lambda _: client.post("/offer", "application/json", body), range(1000)))
    return statuses, 1000 * len(body)


def slow_readers(client: Client) -> tuple[list[int], int]:
    """Open 200 connections that never read, and 200 that never finish their headers."""
    held = []
    for n in range(400):
        connection = client.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        whole = client.head("GET", "/static/app.js")
        connection.settimeout(0.05)
        with contextlib.suppress(OSError):
            connection.sendall(whole * 40 if n % 2 else whole[:-2])
        held.append(connection)
    with client.connect() as other:
        other.sendall(client.head("GET", "/healthz"))
        return [client.status(other)], 0


ATTACKS: dict[str, Callable[[Client], tuple[list[int], int]]] = {
    attack.__name__: attack
    for attack in (declared_upload, hidden_upload, bombs, thousand_offers, slow_readers)
}

if __name__ == "__main__":
    statuses, sent = ATTACKS[sys.argv[1]](Client(sys.argv[2], sys.argv[3]))
    print(json.dumps({"statuses": Counter(statuses), "sent": sent}))
