"""What the integration tests share: one small trained model, made once."""

import pytest

from models.fitting import Fitted
from stream.simulation import Simulation
from tests.support.shop import small_model, small_shop


@pytest.fixture(scope="session")
def shop() -> Simulation:
    """A small shop and what its users did."""
    return small_shop()


@pytest.fixture(scope="session")
def fitted(shop: Simulation) -> Fitted:
    """A model of that shop, trained on the first half of its events."""
    return small_model(shop)
