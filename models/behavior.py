"""What a user did to an item, in the order of increasing commitment."""

from enum import IntEnum


class Behavior(IntEnum):
    """The four behaviours of the Tianchi data; each has an event topic of its own.

    The numbers are stored in user records and artifacts, so they never change. They also
    order events of the same millisecond: a click comes before the purchase it led to.
    """

    CLICK = 0
    FAVORITE = 1
    CART = 2
    PURCHASE = 3
