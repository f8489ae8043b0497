"""One thing comes back while another is taken from the same plates: both weigh as one."""

import numpy as np

from edge.carts.decision import Circumstances, put_verdict
from edge.carts.outcomes import Kind, StepView
from edge.carts.planogram import Planogram
from edge.carts.put import Holdings, explain_put
from edge.carts.who import Actors
from messages.ids import Sku, VisitId
from sim.layouts import layout

A, B = VisitId("a"), VisitId("b")
CONFIG = layout("corner")
PLANOGRAM = Planogram(CONFIG, {})
SKUS = [product.id for product in CONFIG.products]
BATTERIES, TEA = SKUS.index(Sku("batteries-aa-4")), SKUS.index(Sku("tea-black-25"))


def view_of(net_g: float) -> StepView:
    """A step on the plates of the tea."""
    facing = next(f for f in CONFIG.facings if f.sku == SKUS[TEA])
    plate = CONFIG.plate_index[facing.plates[0]]
    shelf = next(i for i, s in enumerate(PLANOGRAM.shelves) if plate in s.plates.tolist())
    order = PLANOGRAM.shelves[shelf].plates.tolist()
    mass = np.where(np.array(order) == plate, net_g, 0.0)
    sd = np.hypot(0.5, 0.04 * np.abs(mass))
    return StepView(
        shelf=shelf,
        mass_g=net_g,
        mass_sd_g=float(np.hypot(0.7, 0.04 * net_g)),
        plate_mass_g=mass,
        plate_sd_g=sd,
    )


def verdict_of(net_g: float, held: list[int]):
    view = view_of(net_g)
    sources = PLANOGRAM.sources(view.shelf, [])
    column = np.array([[0.5], [0.49], [0.01]])
    actors = Actors(
        visits=(A, B),
        probability=np.repeat(column, 1 + len(sources.product), axis=1),
        tracks=(1, 2),
        seen=True,
        weight=np.full(1 + len(sources.product), 60.0),
        touch=np.zeros((0, 1 + len(sources.product))),
        identity=np.zeros((0, 3)),
    )
    k = len(held)
    holdings = Holdings(
        actor=np.zeros(k, dtype=np.int64),
        product=np.array(held, dtype=np.int64),
        sure=np.ones(k, dtype=np.int64),
        possible=np.zeros(k, dtype=np.int64),
        possible_probability=np.zeros(k),
    )
    nobody = np.array([False, False, True])
    outcomes = explain_put(view, PLANOGRAM, holdings, actors, nobody, sources)
    about = Circumstances(skus=SKUS, actors=actors, staff=~nobody & False, charge_min=0.99)
    return outcomes, put_verdict(outcomes, holdings, about)


def test_the_difference_of_two_goods_asks_about_both():
    net_g = CONFIG.products[BATTERIES].mass_g - CONFIG.products[TEA].mass_g
    outcomes, verdict = verdict_of(net_g, [BATTERIES])
    assert outcomes.probability[outcomes.kind == Kind.EXCHANGE].sum() > 0.1
    assert not verdict.sure
    came, went = verdict.doubts
    assert (came.candidates[0].visit, came.candidates[0].sku) == (A, SKUS[BATTERIES])
    assert came.candidates[0].quantity == -1
    assert came.visits == (A,)
    assert went.candidates[0].sku == SKUS[TEA]
    assert set(went.visits) == {A, B}


def test_who_holds_nothing_exchanges_nothing():
    net_g = CONFIG.products[BATTERIES].mass_g - CONFIG.products[TEA].mass_g
    _, verdict = verdict_of(net_g, [])
    assert verdict.doubts == ()


def test_a_mass_that_the_two_goods_do_not_differ_by_is_no_question():
    outcomes, verdict = verdict_of(180.0, [BATTERIES])
    assert outcomes.probability[outcomes.kind == Kind.EXCHANGE].sum() < 0.01
    assert verdict.doubts == ()
