"""What each answer tells the browser: no frames, nothing from elsewhere. Pure.

The policy names what Streamlit's own pages need. Components and downloads are made of blobs, styles
are written while a page is drawn, and Plotly draws into pictures of its own. Of scripts written
into a page only those that Streamlit's first page has are known, by their hash.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def policy(page: str) -> str:
    """The Content-Security-Policy.

    Args:
        page: HTML of Streamlit's first page; the scripts written in it may run, and no others.
    """
    known = " ".join(f"'sha256-{_hash(script)}'" for script in _INLINE.findall(page))
    rules = {
        "default-src": "'self'",
        "script-src": f"'self' blob: {known}".strip(),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "media-src": "'self' data: blob:",
        # a page asks its own server only; pictures are saved from what was drawn
        "connect-src": "'self' data: blob:",
        "worker-src": "'self' blob:",
        "frame-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(script: str) -> str:
    return b64encode(hashlib.sha256(script.encode()).digest()).decode()


class Headers:
    """ASGI layer: the same headers on every answer, whoever gives it.

    Args:
        app: What answers.
        policy: The Content-Security-Policy, from `policy`.
    """

    def __init__(self, app: Any, policy: str) -> None:
        self._app = app
        self._ours = {
            b"content-security-policy": policy.encode("ascii"),
            b"x-frame-options": b"DENY",
            b"x-content-type-options": b"nosniff",
            b"referrer-policy": b"same-origin",
            b"cross-origin-opener-policy": b"same-origin",
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""

        async def send_more(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": list(self._with(message.get("headers", ())))}
            await send(message)

        await self._app(scope, receive, send_more)

    def _with(self, headers: Any) -> Iterator[tuple[bytes, bytes]]:
        yield from ((name, value) for name, value in headers if name.lower() not in self._ours)
        yield from self._ours.items()
