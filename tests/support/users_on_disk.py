"""What a worker that has ended left on its disk, read with RocksDB alone."""

from pathlib import Path

from rocksdict import Options, Rdict

MARK = b""


def partitions_on_disk(data_dir: Path) -> list[Path]:
    """Return the folders of the partitions in a worker's data folder."""
    return sorted(place for place in (data_dir / "users").glob("*") if place.is_dir())


def users_on_disk(data_dir: Path) -> dict[bytes, bytes]:
    """Return each user's record."""
    users: dict[bytes, bytes] = {}
    for place in partitions_on_disk(data_dir):
        database = Rdict(str(place), Options(raw_mode=True))
        found = {key: value for key, value in database.items() if key != MARK}
        assert not users.keys() & found.keys()
        users |= found
        database.close()
    return users
