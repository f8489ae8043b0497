"""What store.toml may say about live video, and how a mistake is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import ConfigError, parse
from tests.edge.cameras.film import PETS

TOML = (PETS / "store.toml").read_text()
SUM = "ab" * 32
MODEL = (
    '[[model]]\nid = "m"\npath = "m.onnx"\nsha256 = "{}"\ndecoder = "{}"\n'
    "width_px = 416\nheight_px = 416\n{}\n"
)


def camera(key: str, value: str) -> str:
    """The example with another value of its camera."""
    lines = [line for line in TOML.splitlines() if not line.startswith(f"{key} ")]
    at = lines.index("[[camera]]") + 1
    return "\n".join([*lines[:at], f"{key} = {value}", *lines[at:]]) + "\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (camera("url", '"rtsp://me:secret@10.0.0.2/x"'), "put them into user and password_file"),
        (camera("url", '"udp://10.0.0.2"'), "must be rtsp://host/path, http://..., or a video"),
        (camera("images_per_s", "0.0"), "must lie in 0.1 to 60"),
        (camera("model_width_px", "300"), "multiple of 32"),
        (camera("detect", '"sometimes"'), "must be one of motion, always"),
        (camera("box", '"view-1"'), "is the id of a device"),
        (TOML + MODEL.format("12", "yolox", ""), "64 hexadecimal digits"),
        (TOML + MODEL.format(SUM, "yolov8", ""), "must be one of centernet, movenet-multi"),
        (TOML + MODEL.format(SUM, "yolox", "mean = [1.0]"), "one for each of 3 colours"),
        (TOML + MODEL.format(SUM, "yolox", "std = [1, 0, 1]"), "must be above 0"),
        (TOML + MODEL.format(SUM, "yolox", "sure_score = 1.0"), "must lie in 0.01 to 0.99"),
        (TOML + 2 * MODEL.format(SUM, "yolox", ""), "already used by [[model]] 1"),
        (TOML.replace("cpu_cores = 0.8", "cpu_cores = 0"), "must lie in 0.05 to 64"),
    ],
)
def test_a_mistake_is_answered_with_the_remedy(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_files_are_taken_from_the_folder_of_store_toml_and_addresses_are_not(
    tmp_path: Path,
) -> None:
    config = parse(TOML + MODEL.format(SUM, "yolox", ""), folder=tmp_path)
    assert config.cameras[0].url == str(tmp_path / "vtest.avi")
    assert config.models[0].path == str(tmp_path / "m.onnx")
    live = parse(camera("url", '"rtsp://10.0.0.2/x"'), folder=tmp_path)
    assert live.cameras[0].url == "rtsp://10.0.0.2/x"
