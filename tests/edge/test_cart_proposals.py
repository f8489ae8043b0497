"""What the shelves tell the store: other goods on a facing, sold-out facings, and who is told."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from cart_study import MASSES, PLATES, Story, store
from typer.testing import CliRunner

import walkout
from edge.carts.planogram import Planogram
from edge.carts.proposals import after_look_at_levels, facings_left
from edge.control import ControlError, set_planogram
from messages.codec import decode_state, encode_state
from messages.events import (
    FacingRefilled,
    FacingSoldOut,
    ItemTaken,
    PlanogramProposed,
    VisitKind,
)
from messages.ids import FacingId, Sku
from sim.first_store import first_store
from sim.in_process import play, prepared
from sim.layouts import layout
from sim.scenario import library
from sim.store_toml import store_toml
from sim.world import Options


@pytest.fixture
def story() -> Story:
    """Somebody stands before the facing of sku06, 250 g a unit."""
    story = Story(store(MASSES))
    visit = story.enter("v1")
    story.stand(visit, 0, 6).wrist = (0.6, 0.2, 1.1)
    return story


def proposed(story: Story) -> list[PlanogramProposed]:
    return [event for event in story.events if isinstance(event, PlanogramProposed)]


def test_two_takes_that_weigh_like_another_product_propose_it(story: Story) -> None:
    story.move(0, {6: -45.2})
    assert not proposed(story)
    story.move(0, {6: -44.9})
    (told,) = proposed(story)
    assert (told.facing, told.sku, told.instead_of) == ("p0-06", "sku04", "sku06")
    assert told.takes == 2
    assert told.probability >= 0.9
    assert told.evidence.step_ids == (1, 2)
    assert told.evidence.shelf == "s0"
    story.move(0, {6: -45.0})
    assert len(proposed(story)) == 1  # told once


def test_products_of_one_mass_stay_side_by_side(story: Story) -> None:
    story.stand(story.scene.visits[0], 0, 5).wrist = (0.5, 0.2, 1.1)
    for mass_g in (331.0, 330.8, 331.2):
        story.move(0, {5: -mass_g})
    (told,) = proposed(story)
    assert {c.sku for c in told.candidates} == {"sku01", "sku02"}
    assert all(0.3 < c.probability < 0.7 for c in told.candidates)
    assert told.probability == told.candidates[0].probability


def test_a_take_that_fits_the_books_again_ends_the_suspicion(story: Story) -> None:
    story.move(0, {6: -45.2})
    for _ in range(3):
        story.move(0, {6: -250.0})
    assert not story.tracker.state.suspicions
    story.move(0, {6: -45.2})
    assert not proposed(story)


def test_what_staff_take_off_a_facing_proposes_nothing(story: Story) -> None:
    story.leave_shelf(story.scene.visits[0])
    clerk = story.enter("v2", VisitKind.STAFF)
    story.stand(clerk, 0, 6).wrist = (0.6, 0.2, 1.1)
    for _ in range(3):
        story.move(0, {6: -45.2})
    assert not proposed(story)
    assert not story.tracker.state.suspicions


def test_an_operators_change_accepts_the_proposal_and_later_takes_are_sure(story: Story) -> None:
    story.move(0, {6: -45.2})
    story.move(0, {6: -44.9})
    story.tracker.planogram_changed("p0-06", Sku("sku04"))
    assert not story.tracker.state.suspicions
    (taken,) = story.move(0, {6: -45.1})
    assert isinstance(taken, ItemTaken)
    assert taken.sku == "sku04"


def test_suspicions_survive_a_restart(story: Story) -> None:
    story.move(0, {6: -45.2})
    state = story.tracker.state
    again = decode_state(encode_state(state), type(state))
    assert again.suspicions == state.suspicions != {}


def levels(grams: dict[int, float]) -> np.ndarray:
    """Every plate of the small store holds two units of its product, but these."""
    config = store(MASSES)
    level_g = np.array([2.0 * MASSES[i % PLATES] for i in range(len(config.plates))])
    for plate, mass_g in grams.items():
        level_g[plate] = mass_g
    return level_g


def test_units_left_are_estimated_from_the_level_with_their_doubt() -> None:
    planogram = Planogram(store(MASSES), {})
    units, none_left = facings_left(planogram, levels({0: 3.0, 4: 20.0, 5: -8.0, 6: 255.0}))
    assert units[0] == pytest.approx(0.0, abs=1e-3)
    assert none_left[0] > 0.99  # of 500 g
    assert 0.5 < none_left[4] < 0.95  # of 45 g: it may be one, or the plate's zero that is off
    assert none_left[5] > 0.99
    assert units[6] == pytest.approx(1.0, abs=1e-3)
    assert units[7] == pytest.approx(2.0, abs=1e-3)
    gum = Planogram(store([20.0, *MASSES[1:]]), {})
    assert facings_left(gum, levels({0: 9.0}))[1][0] < 0.9  # one of 20 g may be left


def test_plates_that_are_unknown_or_shared_say_nothing() -> None:
    planogram = Planogram(store(MASSES), {})
    assert np.isnan(facings_left(planogram, levels({3: np.nan}))[1][3])
    config = store(MASSES)
    both = (config.facings[0], config.facings[0], *config.facings[2:])
    object.__setattr__(config, "facings", both)
    assert np.isnan(facings_left(Planogram(config, {}), levels({}))[1][:2]).all()
    empty = Planogram(store(MASSES), {FacingId("p0-00"): Sku("no such thing")})
    assert np.isnan(facings_left(empty, levels({}))[0][0])


def test_a_facing_is_sold_out_once_and_refilled_once() -> None:
    planogram = Planogram(store(MASSES), {})
    known, events = after_look_at_levels({}, planogram, levels({0: 2.0}), 7)
    (gone,) = events
    assert isinstance(gone, FacingSoldOut)
    assert (gone.facing, gone.sku, gone.at_ns) == ("p0-00", "sku00", 7)
    assert after_look_at_levels(known, planogram, levels({0: -2.0}), 8) == (known, [])
    known, events = after_look_at_levels(known, planogram, levels({0: 1010.0}), 9)
    (back,) = events
    assert isinstance(back, FacingRefilled)
    assert back.units == pytest.approx(2.0, abs=0.01)
    assert known == {}


def test_a_clerk_who_empties_and_fills_a_facing_is_seen_by_the_whole_core() -> None:
    scenario = next(s for s in library() if s.name == "staff-planogram-change")
    done, seen = prepared(layout(scenario.store), Options(seed=101), script=scenario)
    play(done, seen, duration_s=scenario.duration_s)
    news = [e for e in done.events if isinstance(e, FacingSoldOut | FacingRefilled)]
    assert [(type(e), e.facing) for e in news] == [
        (FacingSoldOut, "a3-tea-black-25"),
        (FacingRefilled, "a3-tea-black-25"),
    ]
    assert done.engine.view()["sold_out"] == {}
    assert done.engine.view()["proposals"] == []


# --- the command line -----------------------------------------------------------------------------


def shop(folder: Path, **status: object) -> Path:
    """A store whose daemon wrote this status just now."""
    config = folder / "store.toml"
    config.write_text(store_toml(first_store()), encoding="utf-8")
    (folder / "run").mkdir()
    text = json.dumps({"wall_ns": time.time_ns(), "healthy": True, **status})
    (folder / "run" / "status.json").write_text(text)
    return config


def test_proposals_and_sold_out_facings_are_listed(tmp_path: Path) -> None:
    proposal = {
        "facing": "f001",
        "sku": "apple",
        "takes": 2,
        "probability": 0.9,
        "candidates": {"apple": 0.9, "pear": 0.1},
    }
    config = shop(tmp_path, proposals=[proposal], sold_out={"f002": 0.98})
    found = CliRunner().invoke(walkout.app, ["planogram", "list", "--config", str(config)])
    assert found.exit_code == 0
    for word in ("f001", "apple 0.81", "pear 0.09", "f002", "0.980"):
        assert word in found.output
    listed = CliRunner().invoke(
        walkout.app, ["planogram", "list", "--json", "--config", str(config)]
    )
    assert json.loads(listed.output)["proposals"] == [proposal]


def test_nothing_proposed_is_said_so(tmp_path: Path) -> None:
    config = shop(tmp_path)
    found = CliRunner().invoke(walkout.app, ["planogram", "list", "--config", str(config)])
    assert "nothing is proposed, nothing is sold out" in found.output


def test_a_change_names_what_is_not_in_the_store(tmp_path: Path) -> None:
    config = first_store()
    facing = str(config.facings[0].id)
    with pytest.raises(ControlError, match=f"did you mean '{facing}'"):
        set_planogram(config, f"{facing}x", str(config.products[0].id))
    with pytest.raises(ControlError, match="no SKU"):
        set_planogram(config, facing, "moon-cheese")
    toml = shop(tmp_path)
    words = ["planogram", "set", facing, "moon-cheese", "--config", str(toml)]
    told = CliRunner().invoke(walkout.app, words)
    assert told.exit_code == 2
    assert "no SKU 'moon-cheese' in this store" in told.output
