"""Only pages of this very server may talk to it: host and port of their origin are its own. Pure.

Streamlit compares hosts without ports, lets any page of the machine's own addresses in, and asks a
service outside for one of those as soon as a stranger knocks. Here a stranger is refused first.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from pages.door.refusing import header, refuse

WORDS = (
    "A page of another site asked for this, and only the dashboard's own pages may. Behind a proxy "
    "that changes the Host header, name the site with --server.corsAllowedOrigins."
)


def is_own(origin: str, host: str, others: Iterable[str] = ()) -> bool:
    """Whether a page of this origin may talk to the server it calls by this host.

    Args:
        origin: As browsers send it, "http://localhost:8501"; "null" of a page that has none.
        host: What the request calls the server, "localhost:8501".
        others: Origins that are let in besides.
    """
    if origin in {other.strip().rstrip("/") for other in others}:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower() != ""


class OwnPages:
    """ASGI layer: what comes from a page of another origin is refused, websockets too.

    Programs that are no browsers send no origin and are let in.

    Args:
        app: What answers.
        others: Origins that are let in besides the server's own.
    """

    def __init__(self, app: Any, others: Iterable[str] = ()) -> None:
        self._app = app
        self._others = tuple(others)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] in ("http", "websocket"):
            host = (header(scope, b"host") or [""])[0]
            for origin in header(scope, b"origin"):
                if not is_own(origin, host, self._others):
                    await refuse(scope, receive, send, 403, WORDS)
                    return
        await self._app(scope, receive, send)
