"""What the integration tests share: one small trained model, made once."""

from tests.support.shop import fitted, shop

__all__ = ["fitted", "shop"]
