"""A WebSocket server on python's websockets: says its port, then a line for everything that it saw of the client."""

import asyncio
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosedError


def say(*words):
    print(*words, flush=True)


async def handler(ws):
    path = ws.request.path
    say("open", path, ws.subprotocol, [type(e).__name__ for e in ws.protocol.extensions])
    if path.startswith("/close/"):
        await ws.close(int(path.split("/")[2]), "as told \u03ba")
    elif path == "/fragments":
        await ws.send(iter(["a" * 1000, "\u03ba" * 1000, "z"]))
    elif path == "/ping":
        for _ in range(3):
            latency = await (await ws.ping())
            say("pong", latency < 5)
    try:
        async for message in ws:
            await ws.send(message)
    except ConnectionClosedError:
        pass
    received = ws.protocol.close_rcvd
    say("closed", received.code if received else None)


def insist(ws, request, response):
    """An extension that the client did not offer."""
    if request.path == "/insists":
        response.headers["Sec-WebSocket-Extensions"] = "permessage-deflate"


async def main():
    options = {
        "subprotocols": ["chat.v2", "chat.v1"] if "chat" in sys.argv else None,
        "compression": "deflate",
        "ping_interval": 0.05 if "pings" in sys.argv else None,
        "ping_timeout": 5,
        "process_response": insist,
    }
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        say(server.sockets[0].getsockname()[1])
        # Ends with the test that started it.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
