"""A WebSocket server that sends back what it gets: `echo.py PORT`. The node of the Autobahn cases."""

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
    # The cases send messages of up to 16 MiB and want no ping that they did not ask for.
    options = {"max_size": None, "ping_interval": None, "compression": "deflate"}
    async with serve(echo, "127.0.0.1", port, **options) as server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
