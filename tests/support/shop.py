"""One small simulated shop and a model of it, for the tests that send events through a worker."""

import pytest

from models.fitting import Fitted, train_from_frame
from models.networks import NetworkConfig
from models.training import TrainingConfig
from stream.settings import Settings
from stream.simulation import Simulation, SimulationConfig, simulate

SMALL = NetworkConfig(units=16)
SHORT = TrainingConfig(epochs=2, refit=False)


def small_shop() -> Simulation:
    """A small shop and what its users did."""
    return simulate(SimulationConfig(events=6_000, users=200, items=400))


def small_model(shop: Simulation, *, seed: int = SHORT.seed) -> Fitted:
    """A model of that shop, trained on the first half of its events."""
    return train_from_frame(
        shop.events.head(shop.events.height // 2),
        trained_at_ms=1_700_000_000_000 + seed,
        items=shop.items,
        rule=Settings.load().segment_rule,
        network=SMALL,
        training=TrainingConfig(epochs=SHORT.epochs, refit=SHORT.refit, seed=seed),
    )


def hasty_model(shop: Simulation) -> Fitted:
    """A model of a shop's first events, for runs that compare lists and ask nothing of them."""
    return train_from_frame(
        shop.events[:5_000],
        trained_at_ms=1,
        items=shop.items,
        training=TrainingConfig(epochs=1, validation_share=0.0, refit=False),
    )


@pytest.fixture(scope="session")
def shop() -> Simulation:
    """A small shop and what its users did."""
    return small_shop()


@pytest.fixture(scope="session")
def fitted(shop: Simulation) -> Fitted:
    """A model of that shop, trained on the first half of its events."""
    return small_model(shop)
