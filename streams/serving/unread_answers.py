"""Connections of clients that read none of their answers, and would hold a descriptor and a buffer for good."""

import socket
import sys

from aiohttp import web


def limit_unread(request: web.BaseRequest, timeout_s: float) -> None:
    """Has the kernel end a request's connection when its client has read nothing for so long (RFC 5482).

    Linux only: others have no such option, and there a proxy has to do it.
    """
    if sys.platform == "linux" and request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * timeout_s))
