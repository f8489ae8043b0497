"""The version under which runs are kept and resumed."""

from __future__ import annotations

from pathlib import Path

from sim.version import HASH_DIGITS, source_hash, version


def test_version_names_the_package_and_the_source() -> None:
    package, _, source = version().partition("+")
    assert package[0].isdigit()
    assert len(source) == HASH_DIGITS
    assert version() == version()


def test_a_changed_moved_or_new_file_changes_the_hash_and_other_files_do_not(
    tmp_path: Path,
) -> None:
    module = tmp_path / "core" / "a.py"
    module.parent.mkdir()
    module.write_text("x = 1\n")
    first = source_hash(tmp_path, ["core"])
    (tmp_path / "core" / "notes.txt").write_text("not source")
    assert source_hash(tmp_path, ["core"]) == first

    module.write_text("x = 2\n")
    changed = source_hash(tmp_path, ["core"])
    module.rename(module.with_name("b.py"))
    moved = source_hash(tmp_path, ["core"])
    module.write_text("")
    assert len({first, changed, moved, source_hash(tmp_path, ["core"])}) == 4
