"""A token in the first address, then a cookie: who may use the dashboard. Pure.

Whoever opens the dashboard at `http://host:8501/?token=...` gets a cookie and is sent on to the
same page without the token. Programs send `Authorization: Bearer ...`.
"""

import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from pages.door.refusing import header, refuse

OPEN = ("/_stcore/health",)
"""What answers without a token: it says that the server is up, and nothing else."""

NEEDED = (
    "This dashboard is opened with a token. Ask whoever started it for the address that ends in "
    "?token=..., and open that once in this browser."
)


class Token:
    """ASGI layer: without the token nothing is answered, no page and no websocket.

    Args:
        app: What answers.
        token: The secret, from BITDIAL_TOKEN; "" lets everybody in.
    """

    def __init__(self, app: Any, token: str) -> None:
        self._app, self._token = app, token
        # the cookie is no use for the address, and the other way round
        self._pass = hmac.new(token.encode(), b"bitdial cookie", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket") or not self._token:
            await self._app(scope, receive, send)
            return
        pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in pairs if name == "token"]
        if scope["type"] == "http" and any(_same(value, self._token) for value in given):
            kept = urlencode([pair for pair in pairs if pair[0] != "token"])
            await self._send_on(scope, receive, send, kept)
        elif self._is_known(scope) or scope["path"] in OPEN:
            await self._app(scope, receive, send)
        else:
            await refuse(scope, receive, send, 401, NEEDED, (b"www-authenticate", b"Bearer"))

    def _is_known(self, scope: Any) -> bool:
        words = [value.partition(" ") for value in header(scope, b"authorization")]
        if any(kind.lower() == "bearer" and _same(said, self._token) for kind, _, said in words):
            return True
        return any(_same(said, self._pass) for said in _cookies(scope, _name(scope)))

    async def _send_on(self, scope: Any, receive: Any, send: Any, query: str) -> None:
        """Give the cookie, and go to the same page without the token in its address."""
        # one slash: "//host/" would be the address of another server
        path = "/" + quote(scope["path"].lstrip("/\\"))
        cookie = f"{_name(scope)}={self._pass}; Path=/; HttpOnly; SameSite=Lax"
        if scope.get("scheme") == "https":
            cookie += "; Secure"
        place = path + (f"?{query}" if query else "")
        more = ((b"location", place.encode("ascii")), (b"set-cookie", cookie.encode("ascii")))
        await refuse(scope, receive, send, 303, "Welcome.", *more)


def _same(said: str, secret: str) -> bool:
    return hmac.compare_digest(said.encode("utf-8", "replace"), secret.encode())


def _name(scope: Any) -> str:
    """Cookies are a host's, whatever the port: two dashboards of one host have two names."""
    port = (header(scope, b"host") or [""])[0].rpartition(":")[2]
    return f"bitdial-{port}" if port.isascii() and port.isdigit() else "bitdial"


def _cookies(scope: Any, name: str) -> list[str]:
    pairs = [pair.partition("=") for value in header(scope, b"cookie") for pair in value.split(";")]
    return [said.strip() for key, _, said in pairs if key.strip() == name]
