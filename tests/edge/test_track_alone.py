"""`walkout track`: text in, text out, by the command and by the functions behind it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edge.track_alone import Rows, estimated_fps, filled, track_ground, track_mot
from edge.track_text import TrackFileError, read_mot
from walkout import app

FPS = 10


def walk(path: Path, images: int = 40, hidden=(), step_px: float = 6.0) -> Path:
    """Two people walk apart in height, one line a box; frames of ``hidden`` lack the first."""
    lines = []
    for k in range(1, images + 1):
        if k not in hidden:
            lines.append(f"{k},-1,{100 + step_px * k:.1f},100,40,100,0.9,-1,-1,-1")
        lines.append(f"{k},-1,{900 - step_px * k:.1f},300,40,100,0.95,-1,-1,-1")
    path.write_text("\n".join(lines) + "\n")
    return path


def rows_of(path: Path) -> np.ndarray:
    return np.loadtxt(path, delimiter=",", ndmin=2)


def test_boxes_come_out_in_motchallenge_columns_with_ids(tmp_path):
    out = tmp_path / "out" / "tracks.txt"
    done = track_mot(walk(tmp_path / "det.txt"), out, fps=FPS)
    rows = rows_of(out)
    assert rows.shape == (80, 10)
    assert (rows[:, 7:] == -1).all()
    assert set(rows[:, 1]) == {1, 2}
    assert rows[-1, 2:6] == pytest.approx([660, 300, 40, 100], abs=2)
    assert (done.tracks, done.rows_in, done.rows_out, done.fps) == (2, 80, 80, FPS)


def test_gaps_are_bridged_unless_only_the_online_rows_are_wanted(tmp_path):
    file = walk(tmp_path / "det.txt", hidden=range(20, 26))
    track_mot(file, tmp_path / "all.txt", fps=FPS)
    track_mot(file, tmp_path / "online.txt", fps=FPS, online=True)
    whole, online = rows_of(tmp_path / "all.txt"), rows_of(tmp_path / "online.txt")
    assert len(whole) == 80
    assert len(online) == 80 - 6 - 2 * 2
    bridged = whole[(whole[:, 0] == 22) & (whole[:, 1] == 1)]
    assert bridged[0, 2] == pytest.approx(232, abs=4)


def test_the_same_file_gives_the_same_bytes_in_any_order_of_lines(tmp_path):
    file = walk(tmp_path / "det.txt")
    track_mot(file, tmp_path / "a.txt", fps=FPS)
    lines = file.read_text().splitlines()
    by_person = lines[::2] + lines[1::2]
    file.write_text("\n".join(by_person))
    track_mot(file, tmp_path / "b.txt", fps=FPS)
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty_files_give_empty_files(tmp_path, text):
    file = tmp_path / "empty.txt"
    file.write_text(text)
    assert track_mot(file, tmp_path / "o.txt").tracks == 0
    assert (tmp_path / "o.txt").read_text() == ""
    assert track_ground(file, tmp_path / "g.csv").tracks == 0
    assert (tmp_path / "g.csv").read_text() == "t_s,track,x_m,y_m\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1,-1,5", "3 fields"),
        ("1,-1,a,2,3,4,0.5", "'a' is no number"),
        ("1.5,-1,1,2,3,4,0.5", "whole number"),
        ("-3,-1,1,2,3,4,0.5", "whole number"),
        ("nan,-1,1,2,3,4,0.5", "whole number"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, says):
    file = tmp_path / "det.txt"
    file.write_text(f"1,-1,1,2,3,4,0.5\n\n{line}\n")
    with pytest.raises(TrackFileError, match=f"det.txt:3: .*{says}"):
        read_mot(file)


def test_six_columns_mean_score_one(tmp_path):
    file = tmp_path / "det.txt"
    file.write_text("1,-1,1,2,3,4\n")
    assert read_mot(file).score.tolist() == [1.0]


def test_broken_boxes_are_left_out_and_counted(tmp_path):
    file = walk(tmp_path / "det.txt")
    file.write_text(file.read_text() + "40,-1,5,5,-3,9,0.9\n40,-1,nan,5,3,9,0.9\n")
    assert track_mot(file, tmp_path / "o.txt", fps=FPS).rows_left_out == 2


def test_scores_beyond_one_make_every_box_good(tmp_path):
    file = walk(tmp_path / "det.txt")
    file.write_text(file.read_text().replace("0.95", "23.5"))
    done = track_mot(file, tmp_path / "o.txt", fps=FPS)
    assert (done.scores_used, done.tracks) == (False, 2)


def test_the_rate_comes_from_seqinfo_then_from_walking_speed(tmp_path):
    file = walk(tmp_path / "det.txt", images=100, step_px=6.0)
    assert track_mot(file, tmp_path / "o.txt").fps == pytest.approx(10.0, rel=0.05)
    assert estimated_fps(read_mot(walk(tmp_path / "slow.txt", step_px=0.0))) == 30.0
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nframeRate=14\n")
    done = track_mot(file, tmp_path / "o.txt")
    assert (done.fps, done.fps_from) == (14.0, "seqinfo.ini")
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nframeRate=often\n")
    with pytest.raises(TrackFileError, match=r"seqinfo\.ini.*--fps"):
        track_mot(file, tmp_path / "o.txt")


def test_a_long_gap_is_left_open():
    instant = np.array([1, 4, 20])
    one, sure = np.ones(3, np.int64), np.ones(3, np.bool_)
    rows = Rows(instant, one, np.array([[1.0], [4.0], [20.0]]), np.ones(3), sure)
    whole = filled(rows, 5)
    assert sorted(whole.instant.tolist()) == [1, 2, 3, 4, 20]
    assert sorted(whole.where.ravel().tolist()) == [1, 2, 3, 4, 20]


def floor(path: Path, cameras=("left", "right"), apart_s: float = 0.0) -> Path:
    lines = ["t_s,camera,x_m,y_m,score"]
    for k in range(45):
        for c, camera in enumerate(cameras):
            t = 1000 + k / 15 + apart_s * c
            lines += [f"{t:.4f},{camera},{1 + k / 15:.3f},{2 + 0.05 * c},0.9"]
            lines += [f"{t:.4f},{camera},{9 - k / 15:.3f},{4 + 0.05 * c},0.9"]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("apart_s", [0.0, 0.01])
def test_floor_points_of_two_cameras_become_one_track_a_person(tmp_path, apart_s):
    done = track_ground(floor(tmp_path / "in.csv", apart_s=apart_s), tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "t_s,track,x_m,y_m"
    rows = np.array([[float(v) for v in line.split(",")] for line in lines[1:]])
    assert done.tracks == 2
    assert len(rows) == 90
    one = rows[rows[:, 1] == 1]
    assert one[0, 0] == pytest.approx(1000 + apart_s)
    assert np.abs(one[-1, 2:] - [3.93, 2.02]).max() < 0.15


def test_a_bad_floor_point_is_named(tmp_path):
    file = tmp_path / "in.csv"
    file.write_text("t_s,camera,x_m,y_m,score\n0,a,1,1,1\ninf,a,1,1,1\n")
    with pytest.raises(TrackFileError, match=r"in\.csv:3: t_s is inf"):
        track_ground(file, tmp_path / "o.csv")
    file.write_text("0,a,1\n")
    with pytest.raises(TrackFileError, match=r"in\.csv:1: 3 fields"):
        track_ground(file, tmp_path / "o.csv")


def test_the_command_says_what_it_did(tmp_path):
    file, out = walk(tmp_path / "det.txt"), tmp_path / "o.txt"
    command = ["track", str(file), "--format", "mot", "--out", str(out), "--fps", "10"]
    said = CliRunner().invoke(app, [*command, "--json"])
    assert said.exit_code == 0
    assert json.loads(said.stdout)["tracks"] == 2
    said = CliRunner().invoke(app, command)
    assert "2 tracks in 80 rows" in said.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "kitti"], "no format named 'kitti'"),
        (["--format", "ground", "--fps", "5"], "--fps is for"),
        (["--fps", "-1"], "--fps -1"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(tmp_path, arguments, says):
    file = walk(tmp_path / "det.txt")
    said = CliRunner().invoke(app, ["track", str(file), "--out", str(tmp_path / "o"), *arguments])
    assert said.exit_code == 2
    assert says in said.output


def test_a_missing_file_is_one_line(tmp_path):
    said = CliRunner().invoke(app, ["track", str(tmp_path / "no.txt"), "--out", "x"])
    assert said.exit_code == 2
    assert "No such file" in said.output
