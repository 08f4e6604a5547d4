"""Refusing a request in words, a websocket before it is opened. Pure."""

from typing import Any


def header(scope: Any, name: bytes) -> list[str]:
    """Every value that a request gives for a header; `name` in small letters."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


async def refuse(
    scope: Any, receive: Any, send: Any, status: int, words: str, *more: tuple[bytes, bytes]
) -> None:
    """Answer with a status and a sentence of plain text.

    Args:
        scope: The request, as ASGI describes it; a websocket is closed before it opens (403).
        receive: Where its messages come from.
        send: Where the answer goes.
        status: Of HTTP, such as 403.
        words: What the person at the browser reads.
        more: Further headers.
    """
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    content = words.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
