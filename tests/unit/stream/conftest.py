"""What tests of the pure core share."""

import pytest

from tests.support.partitions import Partition, serving_of


@pytest.fixture
def partition() -> Partition:
    """A partition with weights in force and the rules of ``RULES``."""
    return Partition(serving_of())
