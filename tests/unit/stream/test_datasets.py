"""Readers of data files: every format gives the common columns, every fault one line that names it."""

import gzip
import lzma
import os
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from models.behavior import Behavior
from stream.columns import EVENT_SCHEMA
from stream.datasets import load_events, read_events, read_items
from stream.errors import DatasetError
from tests.support.kafka_broker import PROJECT

TAOBAO = (
    "1,2268318,2520377,pv,1511544070\n"
    "1,2333346,2520771,fav,1511561733\n"
    "9,5,7,cart,1511561734\n"
    "9,5,7,buy,1511561735\n"
)
TAOBAO_ROWS = [
    ("1", "2268318", "2520377", 0, 1511544070000),
    ("1", "2333346", "2520771", 1, 1511561733000),
    ("9", "5", "7", 2, 1511561734000),
    ("9", "5", "7", 3, 1511561735000),
]
TIANCHI_HEADER = "user_id,item_id,behavior_type,user_geohash,item_category,time\n"
TIANCHI = "98047837,232431562,1,,4245,2014-12-06 02\n98047837,383583590,4,94gn6nd,5894,2014-12-09 20\n"
TIANCHI_ROWS = [
    ("98047837", "232431562", "4245", 0, int(datetime(2014, 12, 6, 2, tzinfo=UTC).timestamp() * 1000)),
    ("98047837", "383583590", "5894", 3, int(datetime(2014, 12, 9, 20, tzinfo=UTC).timestamp() * 1000)),
]
PLAIN = "user_id,item_id,timestamp\n"
PACKERS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
NOON_MS = 1_511_524_800_000  # 2017-11-24 12:00 UTC


@pytest.fixture
def write(tmp_path: Path):
    """Write a file of the given text or bytes and return its path."""

    def write_file(content: str | bytes, name: str = "events.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def refused(path: Path, **options) -> str:
    """The one line with which reading ``path`` fails."""
    with pytest.raises(DatasetError) as caught:
        list(read_events(path, **options))
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize(
    "header", ["", "user,item,category,type,ts\n", "user_id,item_id,category_id,behavior,timestamp\n"]
)
def test_taobao_is_recognised(write, header, packing):
    """UserBehavior reads alike with any header or none, plain or packed."""
    events = load_events(write(PACKERS[packing]((header + TAOBAO).encode()), "data" + packing))
    assert events.rows() == TAOBAO_ROWS
    assert events.schema == pl.Schema(EVENT_SCHEMA)


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("header", ["", TIANCHI_HEADER])
def test_tianchi_is_recognised(write, header, packing):
    """Tianchi operations read alike with a header or none; their hours are UTC."""
    events = load_events(write(PACKERS[packing]((header + TIANCHI).encode()), "data" + packing))
    assert events.rows() == TIANCHI_ROWS


def test_packing_is_told_by_content_not_by_name(write):
    """A gzip file without its suffix is still unpacked."""
    assert load_events(write(gzip.compress(TAOBAO.encode()), "data.csv")).rows() == TAOBAO_ROWS


def test_columns_are_mapped(write):
    """Columns named by the caller give the common ones, a tab-separated file included."""
    path = write("SessionId\tItemId\tTime\n3\t214716935\t1396437466.94\n")
    columns = {"user_id": "SessionId", "item_id": "ItemId", "timestamp": "Time"}
    assert load_events(path, columns=columns, time_unit="s").rows() == [
        ("3", "214716935", None, int(Behavior.CLICK), 1396437466940)
    ]


def test_column_under_our_own_name_needs_no_mapping(write):
    """Only what is called differently must be named; a session id goes along."""
    path = write("ts_ms,user_id,session_id,item_id\n1506826800026,59,s1,234853\n")
    events = load_events(path, columns={"timestamp": "ts_ms"})
    assert events.to_dicts() == [
        {
            "user_id": "59",
            "item_id": "234853",
            "category_id": None,
            "behavior": 0,
            "timestamp": 1506826800026,
            "session_id": "s1",
        }
    ]


def test_constant_behavior(write):
    """A source that begins with = gives all events that behaviour, whatever the file's columns."""
    path = write("user_id,item_id,timestamp,behavior\nu,i,1511544070,click\n")
    assert load_events(path, columns={"behavior": "=purchase"})["behavior"].to_list() == [3]


def test_behavior_words_in_any_case(write):
    """The words of the published sets and their common synonyms are understood."""
    words = ["Click", "favourite", "ADD_TO_CART", "transaction", "2"]
    path = write(
        "user_id,item_id,timestamp,behavior\n" + "".join(f"u,i,1511544070,{word}\n" for word in words)
    )
    assert load_events(path)["behavior"].to_list() == [0, 1, 2, 3, 1]


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2017-11-24 12", NOON_MS),
        ("2017-11-24 12:00", NOON_MS),
        ("2017-11-24 12:00:00", NOON_MS),
        ("2017-11-24T12:00:00.250Z", NOON_MS + 250),
        ("2017-11-24T20:00:00+08:00", NOON_MS),
        ("2017-11-24 07:00:00.5-0500", NOON_MS + 500),
        ("2017-11-24", NOON_MS - 12 * 3_600_000),
    ],
)
def test_date_times(write, text, milliseconds):
    """Date-times of any precision are read, in UTC unless they name a zone."""
    assert load_events(write(f"{PLAIN}u,i,{text}\n"))["timestamp"].to_list() == [milliseconds]


@pytest.mark.parametrize(
    ("number", "unit"),
    [
        ("1511524800", "s"),
        ("1511524800.0", "s"),
        ("1511524800000", "ms"),
        ("1511524800", None),
        ("1511524800000", None),
    ],
)
def test_numeric_times(write, number, unit):
    """Seconds and milliseconds give the same time, with the unit said or told by the size."""
    assert load_events(write(f"{PLAIN}u,i,{number}\n"), time_unit=unit)["timestamp"].to_list() == [NOON_MS]


def test_windows_line_ends_byte_order_mark_and_blank_lines(write):
    """What a spreadsheet adds to a file changes nothing."""
    path = write("\ufeff" + PLAIN.replace("\n", "\r\n") + "u,i,1511544070\r\n\r\nv,j,1511544071\r\n\r\n")
    assert load_events(path)["user_id"].to_list() == ["u", "v"]


def test_quoted_fields(write):
    """Separators, line breaks and doubled marks inside quotation marks belong to the field."""
    path = write(
        PLAIN + 'u,"a,b",1511544070\nu,"c\nd",1511544071\nu,"e""f",1511544072\nu,5" nail,1511544073\n'
    )
    assert load_events(path)["item_id"].to_list() == ["a,b", "c\nd", 'e"f', '5" nail']


@pytest.mark.parametrize("block_bytes", [1, 40, 100, 10_000])
@pytest.mark.parametrize("quoted_at", [None, 0, 57])
def test_blocks_do_not_show(write, block_bytes, quoted_at):
    """However small the blocks, the events are the same and stay in file order."""
    items = [f'"i{row}"' if row == quoted_at else f"i{row}" for row in range(100)]
    path = write(PLAIN + "".join(f"u{row},{item},{1511544070 + row}\n" for row, item in enumerate(items)))
    frames = list(read_events(path, block_bytes=block_bytes))
    assert pl.concat(frames)["item_id"].to_list() == [f"i{row}" for row in range(100)]
    assert len(frames) > 1 or block_bytes > 1_000 or quoted_at == 0


def test_parquet(tmp_path):
    """Numbers, date-times and strings of Parquet are read by the same rules, in chunks."""
    path = tmp_path / "events.parquet"
    times = [datetime(2017, 11, 24, 12, second=second) for second in range(3)]  # noqa: DTZ001  # as files have them
    pl.DataFrame({"u": [1, 2, 3], "i": [7.0, 8.0, 9.0], "at": times}).write_parquet(path)
    columns = {"user_id": "u", "item_id": "i", "timestamp": "at"}
    frames = list(read_events(path, columns=columns, block_bytes=1))
    assert len(frames) == 3
    assert pl.concat(frames).rows() == [
        (str(n + 1), str(n + 7), None, 0, NOON_MS + 1000 * n) for n in range(3)
    ]


def test_a_large_parquet_file_is_prepared_for_training_in_little_memory(tmp_path):
    """Beside the process itself 500 bytes an event at most, of which the log that is kept takes 25."""
    count = 400_000
    command = [
        sys.executable,
        "-m",
        "tests.support.large_events",
        str(tmp_path / "large.parquet"),
        str(count),
    ]
    # The room that each thread keeps for itself would depend on the machine.
    run = partial(
        subprocess.run, command, cwd=PROJECT, env=os.environ | {"POLARS_MAX_THREADS": "1"}, check=True
    )
    run()
    peak_bytes, held_bytes = map(int, run(capture_output=True, text=True).stdout.split())
    assert held_bytes == 25 * count
    assert peak_bytes < 500 * count


def test_items_of_the_tianchi_table(write):
    """An item listed at several places occurs once; one without a category has none."""
    path = write("item_id,item_geohash,item_category\n312051294,,8270\n312051294,94gn,8270\n99999754,,\n")
    assert read_items(path).rows() == [("312051294", "8270"), ("99999754", None)]


def test_items_of_a_file_of_events(write):
    """Items and their categories can be taken from events too."""
    assert read_items(write(TAOBAO)).rows() == [("2268318", "2520377"), ("2333346", "2520771"), ("5", "7")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",i,1511544070", "row 3: user_id is missing"),
        ("u,,1511544070", "row 3: item_id is missing"),
        ("u,NaN,1511544070", "row 3: item_id is 'NaN', no usable id"),
        ("null,i,1511544070", "row 3: user_id is 'null', no usable id"),
        ("u,i,", "row 3: timestamp is missing"),
        ("u,i", "row 3: timestamp is missing"),
        ("u,i,soon", "row 3: timestamp is 'soon', not a number"),
        ("u,i,nan", "row 3: timestamp is 'nan', not a number"),
        ("u,i,1511544070,x", "row 3 has 4 fields where 3 are expected"),
        ('u,"i,1511544070', "near row 3: quotation marks do not fit (unexpected end of data)"),
        (f"{'u' * 257},i,1511544070", f"row 3: user_id is '{'u' * 59}..., no usable id"),
        ("u,i,15115440", "row 3: timestamp '15115440' read as seconds is not between 1980 and 2100"),
    ],
)
def test_row_that_cannot_be_read(write, row, reason):
    """A bad row is named by its number, the header counted, and by what is wrong with it."""
    assert refused(write(f"{PLAIN}u,i,1511544070\n{row}\n")) == reason


def test_row_number_counts_over_blocks_and_blank_lines(write):
    """The number is that of the line in the file, however it was read."""
    path = write(PLAIN + "u,i,1511544070\n\n" * 50 + "u,i,\n")
    assert refused(path, block_bytes=64) == "row 102: timestamp is missing"


def test_bytes_that_are_no_text(write):
    """A row that is not UTF-8 is named."""
    assert (
        refused(write(PLAIN.encode() + b"u,i,1511544070\nu,\xff\xfe,1511544070\n"))
        == "row 3 is not UTF-8 text"
    )


def test_unknown_behavior(write):
    """A behaviour without meaning is not taken for a click."""
    path = write(TAOBAO.replace("fav", "wish"))
    assert refused(path) == "row 2: behavior is 'wish', no behaviour we know"


def test_wrong_date_time(write):
    """A file of date-times does not go on with one that is none."""
    path = write(TIANCHI_HEADER + TIANCHI + "1,2,1,,3,2014-13-06 02\n")
    assert refused(path) == "row 4: timestamp is '2014-13-06 02', an unknown date-time"


@pytest.mark.parametrize(
    ("number", "unit", "reason"),
    [
        (
            "1511544070",
            "ms",
            (
                "timestamp '1511544070' read as milliseconds is not between 1980 and 2100; "
                "it looks like seconds: give the time unit s (--time-unit s)"
            ),
        ),
        (
            "1511544070123",
            "s",
            (
                "timestamp '1511544070123' read as seconds is not between 1980 and 2100; "
                "it looks like milliseconds: give the time unit ms (--time-unit ms)"
            ),
        ),
        ("12", None, "timestamp '12' is neither seconds nor milliseconds of a time between 1980 and 2100"),
    ],
)
def test_wrong_time_unit(write, number, unit, reason):
    """A number read in the wrong unit is told by the impossible year, and the right unit named."""
    assert refused(write(f"{PLAIN}u,i,{number}\n"), time_unit=unit) == f"row 2: {reason}"


def test_few_impossible_times_of_taobao_are_left_out(write):
    """UserBehavior has a few times that cannot be; they do not stop a file of thousands."""
    good = "".join(f"1,2,3,pv,{1511544070 + row}\n" for row in range(2_000))
    assert load_events(write(good + "1,2,3,pv,-1000\n")).height == 2_000
    assert "row 2001: timestamp '-1000'" in refused(write(good + "1,2,3,pv,-1000\n" * 3))


def test_wrong_column_name(write):
    """A column that is not there is named with those that are."""
    assert refused(write("a,b,c\n1,2,3\n"), columns={"user_id": "a", "item_id": "x", "timestamp": "c"}) == (
        "no column 'x' for item_id; the file's columns are 'a', 'b', 'c'; name them with item_id=COLUMN"
    )


def test_column_named_twice(write):
    """Two columns of one name are a fault only where we need the name."""
    assert refused(write("user_id,item_id,item_id,timestamp\n")) == "has more than one column named 'item_id'"
    path = write('user_id,item_id,x,x,timestamp\nu,i,1,2,1511544070\nu,"i",1,2,1511544070\n')
    assert load_events(path)["item_id"].to_list() == ["i", "i"]


def test_file_of_an_unknown_format(write):
    """A file that is none of the formats says which column is not found."""
    assert refused(write("a,b,c\n1,2,3\n")).startswith(
        "no column 'user_id' for user_id; the file's columns are"
    )


def test_unknown_constant_behavior(write):
    """A constant behaviour that is none is refused before the file is read."""
    assert refused(write(PLAIN + "u,i,1511544070\n"), columns={"behavior": "=wish"}).startswith(
        "'wish' is no"
    )


def test_field_that_is_not_ours(write):
    """A mapping to a column that we do not have is refused."""
    assert refused(write(PLAIN + "u,i,1511544070\n"), columns={"price": "p"}).startswith(
        "cannot map a column to 'price'"
    )


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"", "a.csv", "the file is empty"),
        (PLAIN.encode(), "a.csv", "holds a header and no events"),
        (b"\n\n", "a.csv", "row 1 is blank; a header or an event is expected there"),
        (gzip.compress(b"", mtime=0), "a.gz", "row 1 is blank; a header or an event is expected there"),
        (b"PK\x03\x04rest", "a.zip", "is packed with zip; unpack it, or pack it with gzip or xz"),
        (TAOBAO.encode(), "a.gz", "is not what its name says; its data is not gz"),
        (b"\0" * 100, "a.csv", "row 1 holds a zero byte; this is not a text file in UTF-8"),
        (b"x" * 2_000_000, "a.csv", "a line at or after row 1 is longer than 1048576 bytes"),
    ],
)
def test_file_that_cannot_be_read(write, content, name, reason):
    """Empty, foreign and mislabelled files are named for what they are."""
    assert refused(write(content, name)) == reason


@pytest.mark.parametrize("packing", [".gz", ".xz"])
def test_packed_file_that_is_cut_off(write, packing):
    """A download that was cut off is not taken for the whole file."""
    packed = PACKERS[packing](TAOBAO.encode() * 50)
    path = write(packed[: len(packed) - 10], "data" + packing)
    assert refused(path) == "the compressed data ends too early; the file is cut off"


@pytest.mark.parametrize("packing", [".gz", ".xz"])
def test_packed_file_that_is_damaged(write, packing):
    """A changed byte in the packed data is found."""
    packed = bytearray(PACKERS[packing](TAOBAO.encode() * 50))
    packed[len(packed) // 2] ^= 0xFF
    assert refused(write(bytes(packed), "data" + packing)).startswith("the compressed data is damaged (")


def test_damaged_parquet(write):
    """A file that begins as Parquet and is none is a fault of the file."""
    assert refused(write(b"PAR1 and no more", "a.parquet")).startswith("not a whole Parquet file (")


def test_parquet_with_a_damaged_page(write):
    """Where polars gives the reading up in its own way, it is a fault of the file all the same."""
    damaged = Path(__file__).parents[2] / "corpus" / "parquet" / "damaged-page"
    assert refused(write(damaged.read_bytes(), "a.parquet")).startswith("not a whole Parquet file (")


def test_packed_parquet(tmp_path, write):
    """Parquet inside gzip is refused with the remedy."""
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "plain")
    packed = write(gzip.compress((tmp_path / "plain").read_bytes()), "a.parquet.gz")
    assert refused(packed) == "is Parquet packed once more; unpack it"


def test_file_that_is_not_there(tmp_path):
    """A missing file and a folder are told apart."""
    assert refused(tmp_path / "none.csv") == "there is no such file"
    assert refused(tmp_path) == "is a folder; name a file in it"


def test_published_taobao_sample(shared_data):
    """The counts of the published sample come out."""
    events = load_events(shared_data / "taobao_userbehavior_100k.csv.xz")
    counts = events.select(pl.col("user_id", "item_id", "category_id").n_unique()).row(0)
    assert (events.height, *counts) == (100_001, 983, 64_467, 3_128)


def test_published_tianchi_sample(shared_data):
    """The counts of the paper's own format come out, and every item of it that is listed has a category."""
    folder = shared_data / "tianchi_mobile_2k"
    events = load_events(folder / "sample_user_behavior.csv")
    assert (events.height, events["user_id"].n_unique()) == (1_999, 34)
    assert read_items(folder / "sample_item_info.csv")["category_id"].null_count() == 0


def test_published_sets_with_mapped_columns(shared_data):
    """The other sets read by naming their columns."""
    rsc15 = {"user_id": "SessionId", "item_id": "ItemId", "timestamp": "Time"}
    sessions = load_events(shared_data / "rsc15_100k" / "train_full.tsv.xz", columns=rsc15, time_unit="s")
    assert (sessions.height, sessions["item_id"].n_unique()) == (70_278, 2_933)
    retail = {"timestamp": "ts", "behavior": "=purchase"}
    bought = load_events(shared_data / "online_retail_purchases.csv.xz", columns=retail)
    assert (bought.height, bought["user_id"].n_unique(), bought["item_id"].n_unique()) == (
        397_924,
        4_339,
        3_665,
    )
    assert bought["timestamp"].is_sorted()
