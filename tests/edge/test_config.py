"""``store.toml``: the few keys that are needed, and messages that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import ConfigError, load, parse

POSE = "[[1,0,0,1],[0,-1,0,2],[0,0,-1,3],[0,0,0,1]]"
FIXED_KEYS = f"""
[[plate]]
id = "p1"
shelf = "s1"
x_m = 1
y_m = 2.0
z_m = 0.9
width_m = 0.3
depth_m = 0.4

[[sku]]
id = "milk"
mass_g = 1030
mass_sd_g = 4.0

[[facing]]
sku = "milk"
plates = ["p1"]

[[gate]]
id = "g1"
x_m = 0.0
y_m = 0.0

[[camera]]
id = "c1"
camera_matrix = [[600, 0, 320], [0, 600, 240], [0, 0, 1]]
distortion = [0, 0, 0, 0, 0]
store_from_camera = {POSE}
"""
DEVICES = """
[[shelf_node]]
id = "n1"
port = "ptys/n1"
plates = ["p1"]

[[reader]]
id = "r1"
port = "/dev/ttyACM0"
gate = "g1"

[[gate_node]]
id = "gn1"
port = "socket://127.0.0.1:9"
gate = "g1"
"""


def problems(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return "\n".join(caught.value.problems)


def test_fixed_keys_alone_make_a_store() -> None:
    config = parse(FIXED_KEYS)
    assert config.store == "store"
    assert config.plates[0].x_m == 1.0
    assert type(config.plates[0].x_m) is float
    assert config.facings[0].id == "p1"
    assert config.cameras[0].store_from_camera[2] == (0.0, 0.0, -1.0, 3.0)
    assert config.limits.step_every_ms == 100.0
    assert config.toml == FIXED_KEYS


def test_empty_text_is_a_store_without_devices() -> None:
    assert parse("").plates == ()


def test_two_facings_on_one_plate_get_ids_of_their_own() -> None:
    text = FIXED_KEYS + '[[sku]]\nid="tea"\nmass_g=90\nmass_sd_g=1\n'
    text += '[[facing]]\nsku="tea"\nplates=["p1"]\n'
    assert [f.id for f in parse(text).facings] == ["p1", "p1/tea"]


def test_flat_matrix_of_a_calibration_tool_is_read_row_by_row() -> None:
    flat = FIXED_KEYS.replace(POSE, "[1,0,0,1, 0,-1,0,2, 0,0,-1,3, 0,0,0,1]")
    assert parse(flat).cameras == parse(FIXED_KEYS).cameras


def test_relative_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    file = tmp_path / "store.toml"
    file.write_text(FIXED_KEYS + DEVICES + '[cloud]\nbroker_key_file = "broker.key"\n')
    config = load(file)
    assert config.paths.journal == str(tmp_path / "journal.db")
    assert config.paths.camera_socket == str(tmp_path / "run/cameras.sock")
    assert config.cloud.broker_key_file == str(tmp_path / "broker.key")
    assert config.cloud.retailer_key_file == ""
    assert config.shelf_nodes[0].port == str(tmp_path / "ptys/n1")
    assert config.readers[0].port == "/dev/ttyACM0"
    assert config.gate_nodes[0].port == "socket://127.0.0.1:9"


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("width_m = 0.3", "width_cm = 30", "this key is in m, not cm; write width_m = 0.3"),
        ("mass_g = 1030", "mass_kg = 1.03", "this key is in g, not kg; write mass_g = 1030"),
        ("width_m = 0.3", "width = 0.3", "the unit belongs to the key; write width_m"),
        ("depth_m = 0.4", "dpeth_m = 0.4", "did you mean depth_m?"),
        ("mass_g = 1030", "mass_g = -5", "mass_g = -5: must be above 0"),
        ("mass_g = 1030", "mass_g = nan", "is not finite"),
        ("mass_g = 1030", 'mass_g = "1,03"', "a number is needed"),
        ("x_m = 1\n", "x_m = true\n", "a number is needed"),
        ("[[facing]]", "[[facng]]", "[facng] unknown table; did you mean [[facing]]?"),
        ("[[sku]]", "[[product]]", "did you mean [[sku]]?"),
        ('sku = "milk"', 'sku = "mlik"', 'sku = "mlik": no [[sku]] has this id'),
        ('plates = ["p1"]', 'plates = ["p2"]', 'no [[plate]] has the id "p2"'),
        ('plates = ["p1"]', "plates = []", "name at least one plate"),
        ('plates = ["p1"]', 'plates = "p1"', "a list is needed"),
        ("[[600, 0, 320], [0, 600, 240], [0, 0, 1]]", "[[600, 0], [0, 600]]", "3 rows of 3"),
        ("[0,0,-1,3]", "[0,0,1,3]", "no rotation"),
        ("[0,0,-1,3]", "[0,0,-1,-3]", "in or below the floor"),
        ('id = "g1"', 'id = ""', "id is empty"),
        ("[[gate]]", "[gate]", "write [[gate]]"),
    ],
)
def test_wrong_line_is_named_with_its_remedy(right: str, wrong: str, told: str) -> None:
    assert right in FIXED_KEYS
    assert told in problems(FIXED_KEYS.replace(right, wrong, 1))


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ('gate = "g1"', 'gate = "g9"', 'gate = "g9": no [[gate]] has this id'),
        ('id = "r1"', 'id = "n1"', 'id = "n1": already used by [[shelf_node]] 1'),
        ('port = "/dev/ttyACM0"', 'port = "ptys/n1"', 'already used by "n1"'),
        ('port = "ptys/n1"', "", "port: is missing"),
    ],
)
def test_wrong_device_is_named_with_its_remedy(right: str, wrong: str, told: str) -> None:
    parse(FIXED_KEYS + DEVICES)
    assert told in problems(FIXED_KEYS + DEVICES.replace(right, wrong, 1))


def test_shelf_nodes_with_addresses_share_a_bus_and_others_do_not() -> None:
    plate = FIXED_KEYS[: FIXED_KEYS.index("[[sku]]")].replace('"p1"', '"p2"')
    node = '[[shelf_node]]\nid = "{0}"\nport = "/dev/ttyUSB0"\nplates = ["{1}"]\nnode = {2}\n'
    bus = FIXED_KEYS + plate + node.format("n1", "p1", 1) + node.format("n2", "p2", 2)
    assert len(parse(bus).shelf_nodes) == 2
    assert "its own node" in problems(bus.replace("node = 2", "node = 1"))


def test_credential_key_is_32_bytes_of_hexadecimal() -> None:
    key = '[[credential_key]]\nkid = "k"\npublic_key = "{}"\n'
    assert parse(key.format("ab" * 32)).credential_keys[0].kid == "k"
    assert "64 hexadecimal digits" in problems(key.format("ab" * 31))


def test_all_problems_are_told_together_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "store.toml"
    file.write_text('[store]\nidd = "x"\n[[plate]]\nid = "p"\nwidth_cm = 4\n[limit]\n')
    with pytest.raises(ConfigError) as caught:
        load(file)
    text = str(caught.value)
    assert f'{file}:2: [store] idd = "x": unknown key; did you mean id?' in text
    assert f"{file}:5: [[plate]] 1 'p': width_cm = 4" in text
    assert f"{file}:3: [[plate]] 1 'p': shelf: is missing" in text
    assert f"{file}:6: [limit] unknown table; did you mean [limits]?" in text


def test_unreadable_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'[store]\nname = "caf\xe9"\n')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "latin.toml")
    assert "not TOML" in problems("[store\n")
