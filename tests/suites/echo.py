"""A WebSocket server that echoes every message: `echo.py PORT`. It is the node of the Autobahn cases."""

import asyncio
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(connection):
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass


async def main(port):
    # The cases send messages of up to 16 MiB and expect no ping that they did not ask for.
    options = {"max_size": None, "ping_interval": None, "compression": "deflate"}
    async with serve(echo, "127.0.0.1", port, **options) as server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
