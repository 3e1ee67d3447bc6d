"""Whatever bytes come from outside, a decoder gives a value or an error that is documented, and soon."""

import pytest

from tests.support.decoders import CORPUS, Decoder, campaign, decoders

INPUTS = 100_000
SEED = 1


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> tuple[Decoder, ...]:
    """All decoders."""
    return decoders(tmp_path_factory.mktemp("decoders"))


def test_shares_are_whole(every):
    """The shares of the decoders are those of 10,000 inputs."""
    assert sum(decoder.share for decoder in every) == 10_000


def test_corpus_is_decoded_as_documented(every):
    """What once was a fault is none, and each kept input has its decoder."""
    for decoder in every:
        for seed in decoder.seeds:
            decoder.check(seed)
    # Parquet is read by the tests of data files.
    assert {folder.name for folder in CORPUS.iterdir()} <= {decoder.name for decoder in every} | {"parquet"}


def test_no_input_is_more_than_refused(every):
    """Documented errors only; what decodes is written and read back the same; time and memory are bounded."""
    done = campaign(every, inputs=INPUTS, seed=SEED)
    for name, outcomes in done.outcomes.items():
        # Of an artifact, whose every byte is looked at, hardly one in a hundred.
        assert outcomes["decoded"] or outcomes.total() < 500, f"{name}: nothing was decoded"
    refused = {word for found in done.outcomes.values() for word in found} - {"decoded"}
    assert {"not-json", "wrong-type", "too-deep", "key-not-utf8", "StateError", "ArtifactError"} <= refused


def test_a_decoder_that_fails_is_found(every):
    """Another error than the documented, a slow answer, or another value read back, each is told."""

    def failing(data: bytes) -> str:
        return data.decode()

    def forgetting(data: bytes) -> bytes:
        return data[:3]

    first = every[0]
    for read, write in ((failing, None), (bytes, forgetting)):
        made = Decoder("broken", 10_000, first.seeds, first.mutate, read, write, ())
        with pytest.raises(AssertionError, match=r"seed 1, input \d+ of broken"):
            campaign([made], inputs=1_000, seed=1)
