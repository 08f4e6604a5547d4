"""The import form for a made-up language model; a test opens it as a page."""

from pages.configs.import_form import import_form
from pages.shared import session
from qcore.problem import SensitivityTable
from store import save_table
from tests.qcore.formats.gguf.language_nets import llama

MODEL = llama(1)


def table(widths=(2, 3, 4, 6, 8)):
    """Damage that falls with the width; every layer has its own."""
    return SensitivityTable(
        "kl",
        "nats",
        {
            layer.name: {bits: (1 + at) * 4.0**-bits for bits in widths}
            for at, layer in enumerate(MODEL.layers)
        },
        n=100,
    )


def draw(known: bool) -> None:
    store = session.database()
    if known:
        save_table(store, "kl/made-up", MODEL.digest, table())
    import_form(store, MODEL, [], [])
