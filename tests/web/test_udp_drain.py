"""Reading several datagrams in one iteration."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from aioice.ice import StunProtocol

from mimicam.engine.web.aiortc_patches import udp_drain
from tests.web.conftest import Run


class _Receiver:
    """Receives the datagrams of aioice's protocol."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def data_received(self, data: bytes, _: int) -> None:
        self.got.append(data)

    def protocol_lost(self, _: StunProtocol) -> None: ...


class _Candidate:
    component = 1


@pytest.mark.skipif(os.name == "nt", reason="Windows' event loop reads its sockets in another way")
def test_waiting_datagrams_are_read_in_order_in_few_iterations(run: Run) -> None:
    udp_drain.install()

    async def work() -> None:
        loop, receiver = asyncio.get_running_loop(), _Receiver()
        _, protocol = await loop.create_datagram_endpoint(
            lambda: StunProtocol(receiver), local_addr=("127.0.0.1", 0)
        )
        protocol.local_candidate = _Candidate()
        handle = protocol._rest
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for n in range(udp_drain.MAX_DATAGRAMS + 20):
                sender.sendto(b"\xff%d" % n, protocol.transport.get_extra_info("sockname"))
        for _ in range(6):
            await asyncio.sleep(0)
        assert receiver.got == [b"\xff%d" % n for n in range(udp_drain.MAX_DATAGRAMS + 20)]
        await protocol.close()
        assert handle.fileno() == -1, "its second handle is closed with it"

    run(work())
