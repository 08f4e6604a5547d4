import pytest


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    """An empty data folder; cards of this test are forgotten after it."""
    with monkeypatch.context() as patch:
        patch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
        yield tmp_path / "data"
