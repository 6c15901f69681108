"""Process of a door: listens, and ends without losing what it has begun to answer."""

import asyncio
import logging.config
import signal
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from aiohttp.log import server_logger

from streams.contract.errors import RefusedStart
from streams.contract.settings import Settings
from streams.observability.logs import log_configuration
from streams.serving.clickstream import ClickstreamWriter
from streams.serving.door import Door
from streams.serving.outputs import KnownItems, OutputReader
from streams.serving.page.page import Page
from streams.serving.slates import new_memory


def run_door(
    settings: Settings, loglevel: str, notify: Callable[[str], None], address_file: Path | None = None
) -> None:
    """Serves until SIGTERM or Ctrl-C; what is being answered then is answered.

    Args:
        notify: Called with the address when the door listens.
        address_file: The address is written to it, too; removed at the end.

    Raises:
        RefusedStart: The port is in use, or the address is not this machine's.
    """
    logging.config.dictConfig(log_configuration(settings.log.form, loglevel))
    # The library reports each request that is no HTTP with a traceback; the door logs its own faults.
    logging.getLogger(server_logger.name).setLevel(logging.CRITICAL)
    asyncio.run(_serve(settings, notify, address_file))


async def _serve(settings: Settings, notify: Callable[[str], None], address_file: Path | None) -> None:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    writer = ClickstreamWriter(settings, loop)
    memory, items = new_memory(settings), KnownItems(settings)
    reader = OutputReader(settings, memory, items, loop)
    page = Page(settings, items) if settings.serve.page else None
    door = Door(settings, writer, memory, items, reader.reasons_not_ready, page)
    runner = web.AppRunner(door.application(), **door.runner_options())
    try:
        await runner.setup()
        if page is not None:
            page.follow(loop)
        address = await _listen(runner, settings.serve.host, settings.serve.port)
        if address_file is not None:
            address_file.write_text(f"{address}\n", "utf-8")
        notify(f"listening on {address}")
        await ending.wait()
        door.end()
    finally:
        if address_file is not None:
            address_file.unlink(missing_ok=True)
        await runner.cleanup()
        if page is not None:
            await page.close()
        await reader.close()
        await writer.close()


async def _listen(runner: web.AppRunner, host: str, port: int) -> str:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise RefusedStart(
            f"cannot listen on {host}:{port} ({error.strerror}): set serve.port to a free one, or to 0 for any"
        ) from error
    bound_host, bound_port = runner.addresses[0][:2]
    return f"http://[{bound_host}]:{bound_port}" if ":" in bound_host else f"http://{bound_host}:{bound_port}"
