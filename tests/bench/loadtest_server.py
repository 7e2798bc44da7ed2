"""A scoring endpoint for benches: answers at once, or is frozen for one second of every ten.

Run: ``python tests/bench/loadtest_server.py [--freeze]``. Prints its port. Frozen means what a stop-the-world pause means:
it neither reads nor writes, and answers everything that came meanwhile afterwards.
"""

from __future__ import annotations

import asyncio
import sys
import time

PERIOD_S, FROZEN_S = 10.0, 1.0
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{"prediction": 3}'


class Scoring(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._read = b""

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._read) < end + 4 + length:
                return
            self._read = self._read[end + 4 + length :]
            assert isinstance(self._transport, asyncio.WriteTransport)
            self._transport.write(ANSWER)


async def serve(*, freezes: bool) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Scoring, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    begun = time.monotonic()
    for number in range(10**6):
        await asyncio.sleep(begun + (number + 0.5) * PERIOD_S - time.monotonic())
        if freezes:
            time.sleep(FROZEN_S)  # noqa: ASYNC251 - that nothing else runs meanwhile is the point


if __name__ == "__main__":
    asyncio.run(serve(freezes="--freeze" in sys.argv))
