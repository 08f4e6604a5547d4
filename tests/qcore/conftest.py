import pytest

from tests.pictures import picture


@pytest.fixture
def photos(tmp_path):
    """Twelve colour images in one folder and a folder below it."""
    for number in range(12):
        picture(tmp_path / ("deep" if number % 2 else ".") / f"{number:02}.png", seed=number)
    return tmp_path
