"""Walking: people keep apart, pass each other, stay out of fixtures and never lock an aisle."""

from __future__ import annotations

import numpy as np
import pytest

from messages.store_config import Fixture, StoreArea
from sim.first_store import first_store
from sim.geometry import fixture_boxes, pushed_out
from sim.layouts import layout
from sim.motion import BODY_RADIUS_M, MOVE_MAX_M_S, SQUEEZE, Walls, moved, pushes, wanted_velocity
from sim.routes import Routes

TICK_S = 0.05
MARKET = layout("market")


def _walls(lower=(), upper=(), size=(40.0, 4.0)) -> Walls:
    return Walls(
        np.array(lower, dtype=float).reshape(-1, 2),
        np.array(upper, dtype=float).reshape(-1, 2),
        np.zeros(2) + BODY_RADIUS_M,
        np.array(size) - BODY_RADIUS_M,
    )


def _walk(start, goal, walls, seconds, speed=1.2, radius=None):
    """Everybody straight to a goal; (ticks, n, 2) positions."""
    position, goal = np.array(start, dtype=float), np.array(goal, dtype=float)
    velocity, n = np.zeros_like(position), len(position)
    track = [position]
    for _ in range(int(seconds / TICK_S)):
        wanted = wanted_velocity(position, goal, np.full(n, speed), np.ones(n, bool))
        still, inside = np.zeros(n, bool), np.ones(n, bool)
        position, velocity = moved(
            position, velocity, wanted, still, inside, walls, TICK_S, 1.0, radius
        )
        track.append(position)
    return np.array(track)


def test_lone_walker_reaches_the_goal_at_its_speed() -> None:
    track = _walk([[1.0, 2.0]], [[11.0, 2.0]], _walls(), 12.0)
    assert np.linalg.norm(track[-1, 0] - [11.0, 2.0]) < 0.05
    speed = np.linalg.norm(np.diff(track[:, 0], axis=0), axis=1) / TICK_S
    assert np.median(speed[20:120]) == pytest.approx(1.2, abs=0.05)


def test_two_who_meet_head_on_pass_on_the_right_without_touching() -> None:
    track = _walk([[2.0, 2.0], [12.0, 2.0]], [[12.0, 2.0], [2.0, 2.0]], _walls(), 14.0)
    assert np.abs(track[-1] - [[12.0, 2.0], [2.0, 2.0]]).max() < 0.1
    gap = np.linalg.norm(track[:, 0] - track[:, 1], axis=1)
    assert gap.min() > 2 * BODY_RADIUS_M * SQUEEZE - 0.02
    meet = gap.argmin()
    assert track[meet, 0, 1] < 2.0 < track[meet, 1, 1]  # each one keeps to its right


def test_push_points_away_is_stronger_ahead_and_grows_when_the_other_comes() -> None:
    position = np.array([[0.0, 0.0], [0.8, 0.0]])
    radius = np.full(2, BODY_RADIUS_M)
    still, east = np.zeros((2, 2)), np.array([[1.0, 0.0], [0.0, 0.0]])
    seen = pushes(position, still, east, radius)[0]
    unseen = pushes(position, still, -east, radius)[0]
    assert seen[0] < unseen[0] < 0
    coming = np.array([[0.0, 0.0], [-1.0, 0.0]])
    assert pushes(position, coming, east, radius)[0, 0] < seen[0]


def test_wide_bodies_keep_farther_apart() -> None:
    start, goal = [[4.0, 2.0], [6.0, 2.0]], [[5.0, 2.0], [5.0, 2.0]]
    gaps = [
        np.linalg.norm(np.diff(_walk(start, goal, _walls(), 8.0, radius=np.full(2, r))[-1], axis=0))
        for r in (0.2, 0.35)
    ]
    assert gaps[1] > gaps[0] + 0.2


def test_nobody_walks_through_a_fixture_or_jumps() -> None:
    walls = _walls([[5.0, 0.0]], [[6.0, 3.2]])
    rng = np.random.default_rng(1)
    start = rng.uniform((1.0, 0.5), (4.5, 3.5), (25, 2))
    track = _walk(start, np.tile([[10.0, 1.0]], (25, 1)), walls, 20.0)
    inside = (track > walls.lower[0]) & (track < walls.upper[0])
    assert not inside.all(axis=2).any()
    assert np.linalg.norm(np.diff(track, axis=0), axis=2).max() <= MOVE_MAX_M_S * TICK_S + 1e-9


def test_corner_between_two_fixtures_traps_nobody_inside_one() -> None:
    walls = _walls([[4.0, 0.0], [5.0, 2.0]], [[6.0, 2.1], [6.5, 4.0]])
    start = np.array([[3.0, 3.0], [3.2, 2.6], [3.4, 3.4], [4.5, 2.6]])
    track = _walk(start, np.tile([[9.0, 1.0]], (4, 1)), walls, 10.0)
    for low, high in zip(walls.lower, walls.upper, strict=True):
        assert not ((track > low) & (track < high)).all(axis=2).any()


def test_points_are_pushed_to_the_nearest_side_and_out_of_neighbours() -> None:
    lower, upper = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[2.1, 1.0], [4.0, 1.0]])
    out = pushed_out(np.array([[0.1, 0.5], [2.05, 0.9], [5.0, 0.5]]), lower, upper)
    assert out[0].tolist() == [0.0, 0.5]
    assert out[2].tolist() == [5.0, 0.5]
    inside = ((out[:, None] > lower) & (out[:, None] < upper)).all(axis=2)
    assert not inside.any()
    assert pushed_out(np.empty((0, 2)), lower, upper).shape == (0, 2)


def test_counterflow_of_sixty_in_one_aisle_gets_through() -> None:
    """Thirty from each end of an aisle of 2.4 m: all arrive."""
    rng = np.random.default_rng(2)
    walls = _walls(size=(60.0, 2.4))
    west = np.column_stack([rng.uniform(1, 15, 30), rng.uniform(0.4, 2.0, 30)])
    east = np.column_stack([rng.uniform(30, 44, 30), rng.uniform(0.4, 2.0, 30)])
    start = np.vstack([west, east])
    goal = np.vstack([west + np.array([35.0, 0.0]), east - np.array([27.0, 0.0])])
    track = _walk(start, goal, walls, 60.0)
    left = np.linalg.norm(track[-1] - goal, axis=1)
    assert (left < 1.0).mean() > 0.95
    assert track[-1, :30, 0].min() > 30
    assert track[-1, 30:, 0].max() < 25


def _free_points(count: int, rng: np.random.Generator) -> np.ndarray:
    lower, upper = fixture_boxes(MARKET.fixtures, 0.4)
    area = MARKET.area
    points = rng.uniform(
        (area.x_min_m + 0.5, area.y_min_m + 2.6), (area.x_max_m - 0.5, area.y_max_m - 0.5), (999, 2)
    )
    inside = (points[:, None] > lower[:, :2]) & (points[:, None] < upper[:, :2])
    return points[~inside.all(axis=2).any(axis=1)][:count]


def test_sixty_people_in_the_market_keep_moving_and_reach_their_goals() -> None:
    rng = np.random.default_rng(3)
    n, routes, walls = 60, Routes.of(MARKET), Walls.of(MARKET)
    position, velocity = _free_points(n, rng), np.zeros((n, 2))
    radius = rng.uniform(0.2, 0.26, n)
    ways: list[list[np.ndarray]] = [[] for _ in range(n)]
    arrived, left_s, left_at = np.zeros(n, int), np.zeros(n), position.copy()
    stuck_s, overlap_m, goals = 0.0, 0.0, iter(_free_points(900, rng))
    for tick in range(int(45 / TICK_S)):
        for i, way in enumerate(ways):
            while way and np.linalg.norm(way[0] - position[i]) < (0.3 if len(way) > 1 else 0.5):
                way.pop(0)
                if not way:
                    arrived[i] += 1
            if not way:
                ways[i] = routes.way(position[i], next(goals))
        gone = np.linalg.norm(position - left_at, axis=1) > 0.5
        left_at[gone], left_s[gone] = position[gone], tick * TICK_S
        stuck_s = max(stuck_s, float((tick * TICK_S - left_s).max()))
        target = np.array([way[0] for way in ways])
        wanted = wanted_velocity(position, target, np.full(n, 1.1), np.zeros(n, bool))
        flags = np.zeros(n, bool), np.ones(n, bool)
        position, velocity = moved(position, velocity, wanted, *flags, walls, TICK_S, 1.0, radius)
        inside = (position[:, None] > walls.lower) & (position[:, None] < walls.upper)
        assert not inside.all(axis=2).any()
        gap = np.linalg.norm(position[:, None] - position[None], axis=2)
        np.fill_diagonal(gap, 9.0)
        overlap_m = max(overlap_m, float((SQUEEZE * (radius[:, None] + radius) - gap).max()))
    assert arrived.min() >= 2
    assert arrived.mean() > 4
    assert stuck_s < 10.0  # in which somebody does not get half a metre on
    assert overlap_m < 0.2


def test_who_leans_on_a_fixture_goes_round_it_by_the_nearer_end() -> None:
    walls = _walls([[5.0, 1.0]], [[6.0, 3.2]])
    start = np.array([[4.99, 3.0], [4.99, 1.3]])
    track = _walk(start, [[9.0, 3.0], [9.0, 1.3]], walls, 10.0)
    assert np.abs(track[-1] - [[9.0, 3.0], [9.0, 1.3]]).max() < 0.1
    assert track[:, 0, 1].max() > 3.2
    assert track[:, 1, 1].min() < 1.0


def test_moving_the_origin_moves_everybody_with_it() -> None:
    rng = np.random.default_rng(4)
    start, goal = rng.uniform(1, 3, (6, 2)), rng.uniform(1, 3, (6, 2))
    shift = np.array([10.0, -5.0])
    here = _walls([[1.5, 1.5]], [[2.0, 2.5]])
    there = Walls(
        here.lower + shift, here.upper + shift, here.area_lower + shift, here.area_upper + shift
    )
    a, b = _walk(start, goal, here, 2.0), _walk(start + shift, goal + shift, there, 2.0)
    assert np.abs(a + shift - b).max() < 1e-6


def test_those_who_stand_are_not_pushed_away() -> None:
    n, walls = 3, _walls()
    position = np.array([[5.0, 2.0], [5.3, 2.0], [5.6, 2.0]])
    fixed = np.array([False, True, False])
    goal, velocity = moved(
        position, np.zeros((n, 2)), np.zeros((n, 2)), fixed, np.ones(n, bool), walls, TICK_S
    )
    assert goal[1].tolist() == [5.3, 2.0]
    assert velocity[1].tolist() == [0.0, 0.0]
    assert goal[0, 0] < 5.0 < 5.6 < goal[2, 0]


def test_walls_of_a_store_are_its_fixtures_widened_by_a_body() -> None:
    store = first_store()
    walls = Walls.of(store)
    fixture: Fixture = store.fixtures[0]
    area: StoreArea = store.area
    assert walls.upper[0, 0] == pytest.approx(fixture.x_m + fixture.width_m / 2 + BODY_RADIUS_M)
    assert walls.area_upper[0] == pytest.approx(area.x_max_m - BODY_RADIUS_M)
    assert moved(*(np.zeros((0, 2)),) * 3, *(np.zeros(0, bool),) * 2, walls, TICK_S)[0].shape == (
        0,
        2,
    )
