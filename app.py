"""bitdial: choose how many bits each layer of a neural network gets. `streamlit run app.py`.

Streamlit reads this file twice: as the server's application, which starts the worker supervisor
once, and as the script of each page view, which shows the navigation.
"""

import logging
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from streamlit.runtime.pages_manager import PagesManager

from pages.door import headers
from pages.door.origins import OwnPages
from pages.door.token import Token
from pages.plots.style import icon
from pages.searches.notes import finished_note
from pages.shared.notes.setup import is_loopback, network_warning, setup_warning
from pages.shared.session import database, database_explained
from qcore.data_folder import data_folder
from qcore.errors import InvalidParams, QcoreError, StoreError
from store import Store, Supervisor, load_recordings, open_store
from store.health.backup import keep_backups
from store.health.private import shut
from store.settings import TOKEN_VARIABLE, read_settings, token

# a comment, for Streamlit shows a bare string: the one file of styles, nothing in it is a user's
CONTRAST = Path(__file__).parent / "pages" / "shared" / "contrast.css"


def page() -> None:
    """Draw what every page shares, then the chosen page."""
    st.set_page_config(page_title="bitdial", page_icon=icon(), layout="wide")
    st.html(CONTRAST)
    views = [
        st.Page("pages/views/explore.py", title="Explore", icon=":material/tune:", default=True),
        st.Page("pages/views/searches.py", title="Searches", icon=":material/manage_search:"),
        st.Page("pages/views/compare.py", title="Compare", icon=":material/compare:"),
        st.Page("pages/views/run_time.py", title="Run time", icon=":material/speed:"),
        st.Page("pages/views/workbench.py", title="Workbench", icon=":material/construction:"),
        st.Page("pages/views/models.py", title="Models", icon=":material/deployed_code:"),
        st.Page("pages/views/configs.py", title="Configs", icon=":material/inventory_2:"),
        st.Page("pages/views/guide.py", title="Guide", icon=":material/menu_book:"),
        st.Page("pages/views/settings.py", title="Settings", icon=":material/settings:"),
    ]
    chosen = st.navigation(views)
    network_warning(st.get_option("server.address"))
    setup_warning()
    # a database that cannot be used is explained by each page in its own place
    with suppress(StoreError):
        finished_note(database(), on_searches=chosen.url_path == "searches")
    with database_explained():
        chosen.run()


def bring_recordings(store: Store) -> None:
    """Give a new database its first results; without them the dashboard works all the same."""
    try:
        if read_settings().recordings:
            load_recordings(store)
    except QcoreError as error:
        logging.getLogger("bitdial").warning("No recorded results: %s", error)


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    """Run searches in the background for as long as the server lives."""
    supervisor, stopping = None, threading.Event()
    try:
        store = open_store()
        if words := shut(data_folder()):
            logging.getLogger("bitdial").warning(words)
        bring_recordings(store)
        supervisor = Supervisor(store)
        supervisor.start()
        backups = threading.Thread(target=keep_backups, args=(store, stopping), daemon=True)
        backups.start()
    except StoreError as error:
        # the pages explain it to whoever opens them; without a database there is nothing to run
        logging.getLogger("bitdial").error("Searches will not run: %s", error)
    try:
        yield {}
    finally:
        stopping.set()
        if supervisor is not None:
            supervisor.stop()


def door_token() -> str:
    """The token that this server asks for; "" where it asks for none.

    Ends the program where the token cannot be used, and where others could come in without one.
    """
    try:
        found = token()
    except InvalidParams as error:
        sys.exit(str(error))
    address = st.get_option("server.address")
    if found or is_loopback(address):
        return found
    sys.exit(
        f"Others could reach this dashboard (it would listen on {address or 'every address'}), and "
        f"it has no token. Set {TOKEN_VARIABLE}, or start it with --server.address localhost."
    )


def door() -> list[Middleware]:
    """What each request passes before Streamlit answers it, from the outside in."""
    first_page = Path(st.__file__).parent / "static" / "index.html"
    # Streamlit asks only the connections of pages for their host; files and uploads are theirs too
    hosts = st.get_option("server.allowedHosts") or ["*"]
    return [
        Middleware(headers.Headers, policy=headers.policy(first_page.read_text(encoding="utf-8"))),
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        Middleware(OwnPages, others=st.get_option("server.corsAllowedOrigins")),
        Middleware(Token, token=door_token()),
    ]


if __name__ == "__main__":
    page()
else:
    # results, logs and uploads are their owner's: files of the server and its workers are 0600
    os.umask(0o077)
    # a folder named "pages" makes Streamlit expect its older kind of app until a page was shown:
    # whoever opens a link first is told "Page not found"; it has no public switch for this
    PagesManager.uses_pages_directory = False
    app = st.App(__file__, lifespan=lifespan, middleware=door())
