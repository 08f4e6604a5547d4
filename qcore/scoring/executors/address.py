"""Where allocations are scored, as one line of text: the evaluator address. Torch-free."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from qcore.errors import InvalidParams

KNOWN = "inline, procs:N (N local processes), tcp://HOST:PORT or tls://HOST:PORT (a Dask cluster)"


@dataclass(frozen=True, slots=True)
class Address:
    """A checked evaluator address.

    Attributes:
        scheme: Key of EVALUATORS: "inline", "procs", "tcp" or "tls".
        text: The address as it was given.
        processes: Local processes, 1 or more; 0 for other schemes.
    """

    scheme: str
    text: str
    processes: int = 0


def parse_address(text: str) -> Address:
    """Read an evaluator address.

    Raises:
        InvalidParams: it is none of `KNOWN`; the message says what is wrong with it.
    """
    text = text.strip()
    if text == "inline":
        return Address("inline", text)
    scheme, _, rest = text.partition(":")
    if scheme == "procs":
        if not (rest.isascii() and rest.isdigit()) or int(rest) < 1:
            raise InvalidParams(
                f"{text!r} needs a whole number of processes, 1 or more, after the colon: procs:4."
            )
        return Address("procs", text, int(rest))
    if scheme in ("tcp", "tls"):
        _check_host(text, scheme)
        return Address(scheme, text)
    raise InvalidParams(f"Unknown evaluator address {text!r}; known: {KNOWN}.")


def check_address(text: str) -> None:
    """Raise unless `text` is an evaluator address; nothing is started or reached.

    Raises:
        InvalidParams: it is none of `KNOWN`.
    """
    parse_address(text)


def _check_host(text: str, scheme: str) -> None:
    wanted = f"write {scheme}://HOST:PORT, such as {scheme}://10.0.0.5:8786."
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidParams(f"{text!r} is no cluster address ({error}); {wanted}") from None
    if not host:
        raise InvalidParams(f"{text!r} names no host; {wanted}")
    if not port:
        raise InvalidParams(f"{text!r} names no port; {wanted}")
    if text != f"{scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise InvalidParams(f"{text!r} has more than a host and a port; {wanted}")
