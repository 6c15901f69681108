"""Secret key of the door: where a request carries it, and its comparison."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from streams.contract.errors import ConfigurationError
from streams.contract.settings import Serve

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def presented_keys(headers: Mapping[str, str]) -> list[str]:
    """Returns the keys that a request carries: ``X-API-Key``, a bearer token, or either half of basic credentials.

    The libraries of Segment send the key as the user name, with an empty password.

    >>> presented_keys({"Authorization": "Basic a2V5Og=="})
    ['key']
    """
    found = [headers["X-API-Key"]] if "X-API-Key" in headers else []
    scheme, _, credentials = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found.append(credentials.strip())
    elif scheme.lower() == "basic":
        try:
            pair = base64.b64decode(credentials.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            pair = ""
        found += pair.split(":", 1)
    return [key for key in found if key]


class KeyCheck:
    """Comparison of presented keys with the one in the settings, of which only the hash is known.

    Raises:
        ConfigurationError: There is no key, and the address is reached from other machines.
    """

    def __init__(self, settings: Serve) -> None:
        if not settings.key_sha256 and settings.host not in _LOOPBACK:
            raise ConfigurationError(
                f"serve.host is {settings.host}, which other machines reach: set serve.key_sha256 to the SHA-256 of a "
                "secret key, or serve.host to 127.0.0.1"
            )
        self._expected = settings.key_sha256
        self.is_required = bool(settings.key_sha256)

    def is_known(self, headers: Mapping[str, str]) -> bool:
        """Says whether a request carries the secret key; never, if none is set."""
        known = False
        for key in presented_keys(headers):
            digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
            known |= bool(self._expected) and hmac.compare_digest(digest, self._expected)
        return known
