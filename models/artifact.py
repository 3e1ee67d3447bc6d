"""A recommender as files: safetensors, JSON and digests; nothing in it is ever executed.

An artifact is a folder:
- manifest.json: the version, how the weights were made, the SHA-256 of every other file;
- weights.safetensors: the network's weights by their names;
- tables.safetensors: item_category and popularity, (N,) each;
- vocabulary.json: the item and category ids in the order of their rows;
- blend.safetensors: the blend's neighbours and weights, where the artifact has one.
"""

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from upath import UPath

from models.blend import Blend
from models.errors import ArtifactError
from models.networks import Network, NetworkConfig
from models.recommender import Recommender
from models.segment import SegmentRule
from models.vocabulary import Vocabulary

FORMAT = 1  # raised when an older program could not read the files any more
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
TABLES = "tables.safetensors"
VOCABULARY = "vocabulary.json"
BLEND = "blend.safetensors"
LATEST_MS = 253_402_300_799_999  # the last millisecond of the year 9999

Config = TypeVar("Config", NetworkConfig, SegmentRule)

Folder = Path | UPath
"""A folder of this machine, or one of an object store."""


@dataclass(frozen=True)
class Manifest:
    """What an artifact says of itself.

    ``files`` maps each file's name to its SHA-256. ``training`` and ``metrics`` are for people and
    for comparison; loading depends on neither. ``origin`` says what the weights came from, to the job
    that makes the next ones.
    """

    format: int
    version: str
    trained_at_ms: int
    code_version: str
    network: NetworkConfig
    rule: SegmentRule
    n_items: int
    n_categories: int
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]
    files: Mapping[str, str]
    origin: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The manifest as it stands in its file."""
        return json.dumps(_finite(asdict(self)), indent=2, sort_keys=True, allow_nan=False) + "\n"


def save(
    target: Folder,
    recommender: Recommender,
    *,
    training: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write a recommender to ``target``, which appears complete or not at all.

    In an object store files appear one by one, and what has no manifest is no artifact. One of the same
    version already there is left as it is. Raises ArtifactError when something else is there or it
    cannot be written.
    """
    if target.exists() if isinstance(target, Path) else (target / MANIFEST).exists():
        manifest = read_manifest(target)
        if manifest.version != recommender.version:
            raise ArtifactError(f"{target} holds the artifact {manifest.version}; give another folder")
        return manifest
    said = training or {}, metrics or {}, origin or {}
    try:
        if not isinstance(target, Path):
            return _write(target, recommender, *said)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            manifest = _write(draft, recommender, *said)
            draft.chmod(0o755)  # mkdtemp lets nobody else read it
            draft.rename(target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as failure:
        raise ArtifactError(f"cannot write the artifact {target}: {failure.strerror or failure}") from failure
    return manifest


def _write(
    draft: Folder,
    recommender: Recommender,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> Manifest:
    """Write every file, the manifest last."""
    vocabulary = recommender.vocabulary
    tables = {"item_category": vocabulary.item_category, "popularity": recommender.popularity}
    ids = {"items": vocabulary.item_ids, "categories": vocabulary.category_ids}
    contents = {
        WEIGHTS: safetensors.torch.save(recommender.network.state_dict()),
        TABLES: safetensors.numpy.save(tables),
        VOCABULARY: json.dumps(ids, ensure_ascii=False, separators=(",", ":")).encode(),
    }
    if recommender.blend is not None:
        contents[BLEND] = safetensors.numpy.save(recommender.blend.arrays)
    for name, content in contents.items():
        (draft / name).write_bytes(content)
    manifest = Manifest(
        format=FORMAT,
        version=recommender.version,
        trained_at_ms=recommender.trained_at_ms,
        code_version=metadata.version("freshet"),
        network=recommender.network.config,
        rule=recommender.rule,
        n_items=vocabulary.n_items,
        n_categories=vocabulary.n_categories,
        training=training,
        metrics=metrics,
        files={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        origin=origin,
    )
    (draft / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def read_manifest(folder: Folder, content: bytes | None = None) -> Manifest:
    """The manifest of the artifact in ``folder``; raises ArtifactError naming the file.

    With ``content`` that is taken for what stands in the file.
    """
    path = folder / MANIFEST
    try:
        said = _parsed(_read(path) if content is None else content)
        written_as = said["format"]
    except (ValueError, TypeError, KeyError) as failure:
        raise ArtifactError(f"{path} cannot be understood ({failure}); {_REMEDY}") from failure
    if written_as != FORMAT:
        raise ArtifactError(
            f"{path} is of format {written_as} and this freshet reads {FORMAT}; "
            "train again, or use the freshet that wrote it"
        )
    try:
        network = _checked_config(NetworkConfig(**_BEFORE | said["network"]))
        shape = {"network": network, "rule": _checked_config(SegmentRule(**said["rule"]))}
        return _checked_manifest(Manifest(**said | shape))
    except (ValueError, TypeError, KeyError) as failure:
        raise ArtifactError(f"{path} cannot be understood ({failure}); {_REMEDY}") from failure


def _parsed(content: bytes) -> Any:
    """What a JSON text says; raises ValueError where it is none that this program would have written."""
    try:
        return json.loads(content, parse_float=_number, parse_constant=_number)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number


def _checked_config(config: Config) -> Config:
    """The settings, whose defaults say of which type each must be."""
    for one in fields(config):
        value = getattr(config, one.name)
        wanted = type(one.default)
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise TypeError(f"{one.name} is {value!r} and should be of type {wanted.__name__}")
    return config


def _checked_manifest(manifest: Manifest) -> Manifest:
    """The manifest, if each of its values is of the type that it must be."""
    for name, wanted in _TYPES.items():
        if type(getattr(manifest, name)) is not wanted:
            raise TypeError(f"{name} should be of type {wanted.__name__}")
    if not 0 <= manifest.trained_at_ms <= LATEST_MS:
        raise ValueError("trained_at_ms is before 1970 or after the year 9999")
    if not all(isinstance(digest, str) for digest in manifest.files.values()):
        raise TypeError("a digest is no text")
    manifest.version.encode()  # what is no Unicode is a ValueError
    return manifest


def load(folder: Folder, manifest_content: bytes | None = None) -> Recommender:
    """The recommender saved in ``folder``, every file checked against its digest first.

    ``manifest_content`` is what the caller has read of the manifest and found to be right: nobody can
    have put another in its place since. Raises ArtifactError naming the file when one is missing,
    damaged or of another format.
    """
    manifest = read_manifest(folder, manifest_content)
    try:
        return _built(manifest, lambda name: _checked(folder / name, manifest.files))
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError, SafetensorError) as failure:
        reason = str(failure).splitlines()[0]
        raise ArtifactError(
            f"{folder} does not hold what its manifest says ({reason}); {_REMEDY}"
        ) from failure


def _built(manifest: Manifest, content: Callable[[str], bytes]) -> Recommender:
    """The recommender of files that are as they were written; ``content`` gives that of each.

    One is read after the other, the largest first, and the weights become the network's without a copy:
    beside what is in force there is then never more than what comes in its place.
    """
    weights = safetensors.torch.load(content(WEIGHTS))
    tables: dict[str, NDArray[Any]] = safetensors.numpy.load(content(TABLES))
    ids = _checked_ids(_parsed(content(VOCABULARY)))
    vocabulary = Vocabulary(tuple(ids["items"]), tuple(ids["categories"]), tables["item_category"])
    category = torch.from_numpy(vocabulary.item_category.astype(np.int64))
    with torch.device("meta"):
        network = Network(manifest.network, category, n_categories=vocabulary.n_categories)
    _check_shapes(weights, network)
    network.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    blend = Blend.from_arrays(safetensors.numpy.load(content(BLEND))) if BLEND in manifest.files else None
    return Recommender(
        version=manifest.version,
        network=network,
        vocabulary=vocabulary,
        rule=manifest.rule,
        popularity=tables["popularity"],
        trained_at_ms=manifest.trained_at_ms,
        blend=blend,
    )


def _checked_ids(ids: Any) -> Mapping[str, list[str]]:
    """The ids of a vocabulary, if all of them are texts that can be sent."""
    for name in ("items", "categories"):
        if type(ids[name]) is not list:
            raise TypeError(f"{name} are no list")
        "".join(ids[name]).encode()
    found: Mapping[str, list[str]] = ids
    return found


def _check_shapes(weights: Mapping[str, torch.Tensor], network: Network) -> None:
    """Refuse weights of other shapes than the manifest's network, whose own take no memory yet."""
    for name, weight in network.state_dict().items():
        if weights[name].shape != weight.shape or not weights[name].is_floating_point():
            raise ValueError(f"{name} is {tuple(weights[name].shape)} and should be {tuple(weight.shape)}")


def _checked(path: Folder, digests: Mapping[str, str]) -> bytes:
    """The content of a file whose digest is the one in the manifest."""
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != digests.get(path.name):
        raise ArtifactError(f"{path} is damaged: its SHA-256 is not the manifest's; {_REMEDY}")
    return content


def _read(path: Folder) -> bytes:
    """The content of a file, or ArtifactError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; {_REMEDY}") from None
    except OSError as failure:
        raise ArtifactError(f"cannot read {path}: {failure.strerror or failure}") from failure


def _finite(value: Any) -> Any:
    """The value with null for numbers that JSON has no word for."""
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


# Of what type each value of a manifest is.
_TYPES: Mapping[str, type] = {
    **dict.fromkeys(("version", "code_version"), str),
    **dict.fromkeys(("trained_at_ms", "n_items", "n_categories"), int),
    **dict.fromkeys(("training", "metrics", "files", "origin"), dict),
}

# What networks were before their manifests said so.
_BEFORE: Mapping[str, Any] = {"scale": 0.0}

_REMEDY = "copy the artifact again, or train a new one with `freshet train`"
