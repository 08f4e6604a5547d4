"""A dashboard whose workers prepare toys instead of networks, and a tab that looks at it."""

from pathlib import Path

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from benchmarks.dashboard import server
from benchmarks.dashboard.server import ROOT

__all__ = ["ROOT", "Dashboard", "Tab"]

TOYS = Path(__file__).parent / "fast"


class Dashboard(server.Dashboard):
    """One server on one data folder, whose workers prepare toys."""

    def __init__(self, data: Path, database: str | None = None, **more: str) -> None:
        super().__init__(data, database, imports=TOYS, **more)

    def scored(self, seed: int) -> list[str]:
        """Digests of what the workers scored for a seed, in order, repeats and all."""
        lines = (self.data / "scored.log").read_text().splitlines()
        return [words[1] for words in map(str.split, lines) if words[0] == str(seed)]


class Tab:
    """A browser tab without a browser: the websocket a page speaks."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._connecting = connect(
            dashboard.address("ws", "_stcore/stream"),
            subprotocols=[Subprotocol("streamlit")],
            origin=Origin(dashboard.address("http").rstrip("/")),
            max_size=None,
        )

    def __enter__(self) -> "Tab":
        self._socket = self._connecting.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Vanish without a word, as a closed laptop does."""
        self._socket.socket.close()

    def view(self) -> list[str]:
        """Ask for the page; the kinds of message up to the end of its script."""
        message = BackMsg()
        message.rerun_script.query_string = ""
        self._socket.send(message.SerializeToString())
        kinds: list[str] = []
        while not kinds or kinds[-1] != "script_finished":
            answer = ForwardMsg.FromString(self._socket.recv(timeout=30))
            kinds.append(answer.WhichOneof("type"))
        return kinds
