"""Who took what: attributes weight steps to carts, or asks.

A final weight step is held until people are known up to its end. Then its explanations (what
moved, who moved it) get probabilities from mass, place and reach, and a verdict follows: a sure
part becomes ``ItemTaken`` or ``ItemReturned``, a doubt becomes ``ReviewRequested``, nothing
becomes a count. Steps are judged in order of their end, each with the carts and the live planogram
that the ones before left. A guess that charges somebody is a defect; an honest review is a feature.

The model is in docs/CARTS.md; its pieces are in edge/carts/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from edge.carts.answers import InvalidAnswer, UnknownVisit, resolution
from edge.carts.decision import (
    Circumstances,
    Doubt,
    SurePart,
    Verdict,
    put_verdict,
    take_verdict,
)
from edge.carts.gains import Weighing, after_weighing, noise_of
from edge.carts.handing import Handed, proven
from edge.carts.holdings import holdings, line_of_return, probability_of_coming_back
from edge.carts.memory import Memory, after_look_at_facings, after_put, after_take, wrong_facings
from edge.carts.outcomes import Outcomes, StepView, fits
from edge.carts.planogram import Planogram
from edge.carts.proposals import after_look_at_levels, after_take_here, proposals
from edge.carts.put import Holdings, explain_put
from edge.carts.questions import (
    all_in_doubt,
    evidence_of,
    handed_over,
    returned,
    taken,
    undecided,
)
from edge.carts.sightings import kept, sighting_log_ratio
from edge.carts.state import (
    PARTS_MAX,
    CartTrackerState,
    HeldStep,
    PartOfLift,
    VisitRecord,
    held_steps,
    joined,
    step_view,
)
from edge.carts.take import explain_take
from edge.carts.touches import LIKELY_MIN, NEAR_NS, Touch, apart, near, touches_of
from edge.carts.unweighed import Doubtful, People, looked, passed_on
from edge.carts.who import Actors, actors_at
from edge.sensors.weight_steps import StepFlag, WeightSteps
from messages.arrays import Bools, Floats
from messages.cart import DEADLINE, Cart
from messages.events import (
    Event,
    Evidence,
    PlanogramProposed,
    ReviewRequested,
    ReviewResolved,
    VisitJoined,
    VisitKind,
    VisitStarted,
)
from messages.ids import LineId, ReviewId, Sku, VisitId
from messages.observations import ItemSightings, ReviewAnswer
from messages.store_config import StoreConfig

__all__ = ["CartTracker", "CartTrackerState", "InvalidAnswer", "People"]

HOLD_NS = 1_000_000_000  # the longest wait for people; cameras may be dark
PUT_WAIT_NS = 1_500_000_000  # a put that nobody can have made: its take may still be reported
REACHING_NS, LEAVING_NS = 300_000_000, 200_000_000  # the hand is there before and after the mass
GAP_MARGIN_NS = 2_000_000_000  # around a step after a gap: its bounds are only what was seen
GAP_CONFIDENCE = 0.9  # other things may have happened while the sensors were off
MISTAKABLE_CONFIDENCE = 0.9  # with the default threshold a person decides
NOTICEABLE = 0.02
OTHERS_NS = 1_200_000_000  # until steps that ended within a second are reported
TOUCHES_MAX = 256  # a quarter of a minute of the busiest store
LIFT_UNITS_MAX = 2  # in one hand that holds them half lifted
FITS_BADLY, FITS_WELL = 0.5, 0.9  # a step that is part of a lift, and the lift
CLIPPED_CONFIDENCE = 0.9  # a plate that could not be read may have hidden part of it
HELD_STEPS_MAX = 512  # some thirty shelves knocked at once; beyond, the oldest is judged at once
REVIEWS_MAX = 1024  # open questions: a shelf that rattles all day; beyond, the oldest ends
NEVER_NS = 2**62
BOTH_WAYS = "steps_both_ways"  # judged as two: a take and a put
EVIDENCE = "evidence"  # ``ReviewResolved.by`` when later steps decided


class CartTracker:
    """The carts of everybody inside. See the module's head."""

    def __init__(self, config: StoreConfig, state: CartTrackerState | None = None) -> None:
        self.config = config
        self.state = state or CartTrackerState()
        self._planogram = Planogram(config, self.state.facing_sku)
        self._plates_m = np.array([(p.x_m, p.y_m) for p in config.plates]).reshape(-1, 2)
        self._skus = [product.id for product in config.products]
        self._strangers = 0  # inside while the steps at hand are judged
        self._looks_the_same: Callable[[VisitId, int], bool] = lambda visit, since_ns: False

    @property
    def carts(self) -> dict[VisitId, Cart]:
        return self.state.carts

    @property
    def reviews(self) -> dict[ReviewId, ReviewRequested]:
        """Open questions, the oldest first."""
        return self.state.reviews

    def visit_started(self, event: VisitStarted) -> None:
        self.state.visits[event.visit] = VisitRecord(
            kind=event.kind, started_at_ns=event.at_ns, people=event.party_size
        )
        self.state.carts[event.visit] = Cart(visit=event.visit)

    def visit_joined(self, event: VisitJoined) -> None:
        self._record(event.visit).people += event.party_size

    def visit_left(self, visit: VisitId, at_ns: int) -> list[Event]:
        """The party is out: steps that begin after ``at_ns`` cannot be theirs."""
        self._record(visit).left_at_ns = at_ns
        theirs = [m for m in self.state.meetings if visit in m.visits]
        charge_min = self.config.decision.charge_probability_min
        return self._unweighed(at_ns, passed_on(self.state, theirs, charge_min))

    def planogram_changed(self, facing: str, sku: Sku) -> None:
        """A facing holds another product from now on.

        Raises:
            InvalidAnswer: no such facing or SKU.
        """
        if facing not in self._planogram.facing_ids or sku not in self.config.product_index:
            raise InvalidAnswer(f"planogram change names an unknown facing or SKU: {facing} {sku}")
        self.state.facing_sku[facing] = sku
        self.state.facing_wrong.pop(facing, None)
        self.state.suspicions.pop(facing, None)
        self.state.sold_out.pop(facing, None)
        self._planogram = Planogram(self.config, self.state.facing_sku)

    def seen_in_hands(self, now_ns: int, seen: ItemSightings) -> None:
        """Looks into hands; they weigh for the steps that are judged in the next seconds."""
        self.state.in_hands = kept(self.state.in_hands, seen, now_ns)

    def step(
        self, now_ns: int, steps: WeightSteps, people: People, *, strangers: int = 0
    ) -> list[Event]:
        """Hold the new steps; judge those whose people are known.

        Args:
            now_ns: store time.
            steps: final steps since the last call.
            people: tracks; read only.
            strangers: people inside who came through a gate without a credential.
        """
        self._strangers, self._looks_the_same = strangers, people.looks_the_same
        charge_min = self.config.decision.charge_probability_min
        seen = looked(self.state, people, self._plates_m, charge_min, strangers=strangers)
        met = self._unweighed(now_ns, seen)
        new = held_steps(now_ns, steps, self.config, self._planogram)
        self._count("steps", len(new))
        if len(new) > len(steps.step_id):
            self._count(BOTH_WAYS, len(new) - len(steps.step_id))
        due = sorted([*self.state.held, *new], key=lambda h: (h.ended_at_ns, h.step_id))
        over, early = len(due) - HELD_STEPS_MAX, False
        self.state.held, waiting = due, list[HeldStep]()
        events: list[Event] = []
        for i, new_or_held in enumerate(due):
            held = self._with_rivals(new_or_held, people)
            ready = now_ns - held.held_at_ns >= (OTHERS_NS if held.rivals else HOLD_NS)
            ready = ready or held.rivals is False
            early = (early or not ready) and i >= over  # what came later waits as well
            made = None if early else self._judged(now_ns, held, people, final=i < over)
            if made is None:
                waiting.append(held)
            else:
                events += made
        self.state.held = waiting
        return [*met, *events, *self._overdue(now_ns)]

    def look_at_shelves(self, now_ns: int, level_g: Floats) -> list[Event]:
        """What is sold out, or no longer; ``level_g``: (p,) mass on each plate, NaN unknown."""
        self.state.sold_out, events = after_look_at_levels(
            self.state.sold_out, self._planogram, level_g, now_ns
        )
        return list(events)

    def pending(self, visit: VisitId) -> bool:
        """True while a held step may still be this visit's."""
        record = self._record(visit)
        return any(record.overlaps(h.started_at_ns, h.ended_at_ns) for h in self.state.held)

    def exit_uncertain(self, visits: Iterable[VisitId], now_ns: int) -> None:
        """Somebody left who may have been of these visits, and was counted for another.

        Whoever is still inside under their identity may be somebody else: until they plainly look
        like the visit again, their lines are asked about, not charged.

        Args:
            now_ns: ``NEVER_NS`` where looks prove nothing, since nobody watched meanwhile.
        """
        for visit in visits:
            self._record(visit).mistakable_ns = now_ns

    def answer(self, answer: ReviewAnswer, now_ns: int, operator: str) -> list[Event]:
        """A person decided.

        Raises:
            InvalidAnswer: unknown review, visit or SKU, or a quantity that cannot be. Nothing
                was changed then.
        """
        review = self.state.reviews.get(answer.review)
        visits = self.state.visits
        staff = {v for v, record in visits.items() if record.kind is VisitKind.STAFF}
        event = resolution(answer, review, self.config, set(visits), staff)
        return [self._resolve(replace(event, at_ns=now_ns, by=operator))]

    def expire(self, visit: VisitId, now_ns: int) -> list[Event]:
        """The visit's deadline passed: close the questions that no other open cart waits for."""
        open_ = [self.state.reviews.get(r.review) for r in self.carts[visit].reviews]
        return [
            self._resolve(undecided(review, now_ns))
            for review in open_
            if review is not None and not self._waited_for(review, besides=visit)
        ]

    def doubt_all(self, now_ns: int, reason: str) -> list[Event]:
        """Something failed: what every open cart holds is uncertain, so nobody is charged."""
        return [
            self._ask(now_ns, all_in_doubt(cart, reason), Evidence(note=reason))
            for visit, cart in list(self.carts.items())
            if self.state.visits[visit].kind is VisitKind.SHOPPER
        ]

    def close(self, visit: VisitId) -> Cart:
        """The final cart; the tracker forgets the visit.

        Raises:
            UnknownVisit: it was never started, or is closed already.
        """
        self._record(visit)
        del self.state.visits[visit]
        self.state.stooped_ns.pop(visit, None)
        return self.state.carts.pop(visit)

    # --- goods from hand to hand ---------------------------------------------------------------

    def _unweighed(self, now_ns: int, doubtful: Doubtful) -> list[Event]:
        """Lines that may have left a cart are asked about; likely ones go to the other cart."""
        events: list[Event] = []
        for line, note in doubtful:
            events += [self._handed_over(now_ns, line, note)] if line.moves else []
            events.append(self._ask(now_ns, line.doubt(), note))
        return events

    def _handed_over(self, now_ns: int, line: Handed, note: Evidence) -> Event:
        assert line.taker is not None
        name = self._new_line(line.taker)
        return self._emit(handed_over(now_ns, line, line.taker, name, note))

    def _proven(self, now_ns: int, part: SurePart) -> list[Event]:
        """Who puts something back had it: a question whether it was passed on is answered."""
        sku = self.config.products[part.product].id
        found = proven(part.visit, sku, self.carts[part.visit], self.reviews)
        if found is None:
            return []
        review, units = found
        event = replace(undecided(review, now_ns), by=EVIDENCE)
        return [
            self._resolve(
                replace(event, visit=part.visit, sku=sku, quantity=units) if units else event
            )
        ]

    # --- judging a step ----------------------------------------------------------------------

    def _judged(
        self, now_ns: int, held: HeldStep, people: People, *, final: bool
    ) -> list[Event] | None:
        """The step's events; None when it should wait for what other shelves may still report."""
        view = step_view(held, self.config, self._planogram, self.state.gains)
        if view is None:
            self._count("steps_without_place")
            return []
        actors = self._actors(held, view, people)
        touches = touches_of(held, actors)
        actors = apart(actors, held, self._others(held, people), self._several())
        about = self._circumstances(held, actors)
        made = self._verdict(now_ns, held, view, people, about, final=final)
        if made is not None:
            self.state.touches = [*self.state.touches, *touches][-TOUCHES_MAX:]
        return made

    def _verdict(
        self,
        now_ns: int,
        held: HeldStep,
        view: StepView,
        people: People,
        about: Circumstances,
        *,
        final: bool,
    ) -> list[Event] | None:
        if view.mass_g < 0:
            return self._take(now_ns, held, view, people, about)
        return self._put(now_ns, held, view, about, final=final)

    def _take(
        self, now_ns: int, held: HeldStep, view: StepView, people: People, about: Circumstances
    ) -> list[Event]:
        outcomes, before = self._explained(view, about), list[Event]()
        whole = self._whole_lift(held, people) if fits(outcomes) < FITS_BADLY else None
        if whole is not None:
            part, held, view, about = whole
            outcomes = self._explained(view, about)
            undone = undecided(self.reviews[part.review], now_ns)
            before.append(self._resolve(replace(undone, by=EVIDENCE)))
        verdict = take_verdict(outcomes, about)
        ids = self._planogram.facing_ids
        self.state.facing_wrong = after_look_at_facings(
            self.state.facing_wrong, outcomes, ids, about.staff
        )
        memory = Memory(misplaced=self.state.misplaced, foreign=self.state.foreign)
        memory = after_take(memory, outcomes)
        events = self._events_of(now_ns, held, view, about.actors, verdict, memory)
        if fits(outcomes) < FITS_BADLY and verdict.doubts:
            first = PartOfLift(held=held, review=next(reversed(self.reviews)))
            self.state.parts = [*self.state.parts, first][-PARTS_MAX:]
        return [*before, *events, *self._proposed(now_ns, held, view, outcomes, about)]

    def _proposed(
        self, now_ns: int, held: HeldStep, view: StepView, outcomes: Outcomes, about: Circumstances
    ) -> list[PlanogramProposed]:
        """Changes of the planogram that takes speak for, told once each."""
        state, planogram = self.state, self._planogram
        known = after_take_here(state.suspicions, outcomes, planogram, about.staff, held.step_id)
        evidence = evidence_of(held, view, about.actors, planogram)
        state.suspicions, events = proposals(known, state.facing_wrong, planogram, evidence, now_ns)
        return events

    def _whole_lift(
        self, held: HeldStep, people: People
    ) -> tuple[PartOfLift, HeldStep, StepView, Circumstances] | None:
        """The lift that a step ends, with an earlier step that is still in question."""
        for part in reversed(self.state.parts):
            both = joined(part.held, held) if part.review in self.reviews else None
            view = (
                None
                if both is None
                else step_view(both, self.config, self._planogram, self.state.gains)
            )
            if both is not None and view is not None:
                about = self._circumstances(both, self._actors(both, view, people))
                if fits(self._explained(view, about), LIFT_UNITS_MAX) >= FITS_WELL:
                    return part, both, view, about
        return None

    def _explained(self, view: StepView, about: Circumstances) -> Outcomes:
        """What may have been taken."""
        state, planogram = self.state, self._planogram
        sources = planogram.sources(view.shelf, state.misplaced)
        wrong = wrong_facings(state.facing_wrong, planogram.facing_ids)
        return explain_take(
            view, planogram, sources, state.foreign, about.actors, wrong, about.looks
        )

    def _put(
        self, now_ns: int, held: HeldStep, view: StepView, about: Circumstances, *, final: bool
    ) -> list[Event] | None:
        actors, state = about.actors, self.state
        stock = np.append(about.staff[:-1], True)  # staff, or somebody unseen, may fill shelves
        mine = holdings(actors.visits, self.carts, self.reviews, self.config.product_index)
        sources = self._planogram.sources(view.shelf, state.misplaced)
        outcomes = explain_put(view, self._planogram, mine, actors, stock, sources, about.looks)
        back = self._came_back(held, outcomes, mine, about)
        verdict = put_verdict(outcomes, mine, about)
        young = now_ns - held.held_at_ns < PUT_WAIT_NS and not final
        if young and back is None and not verdict.sure and verdict.counted != "nothing":
            return None
        memory = Memory(misplaced=state.misplaced, foreign=state.foreign)
        memory = after_put(memory, outcomes, view, self._planogram, held.ended_at_ns)
        if back is not None:
            verdict = Verdict(counted="returns_of_takes_in_doubt")
        events = self._events_of(now_ns, held, view, actors, verdict, memory)
        if back is not None:
            events.append(self._resolve(replace(undecided(back, now_ns), by=EVIDENCE)))
        return events

    def _actors(self, held: HeldStep, view: StepView, people: People) -> Actors:
        """Who may have done it, at the step's place and at each place it may have come from."""
        gap = bool(held.flags & StepFlag.AFTER_GAP)
        margin_ns = GAP_MARGIN_NS if gap else 0
        start_ns, end_ns = held.started_at_ns - margin_ns, held.ended_at_ns + margin_ns
        window = people.between(start_ns - REACHING_NS, end_ns + LEAVING_NS)
        inside = [v for v, r in self.state.visits.items() if r.overlaps(start_ns, end_ns)]
        sources = self._planogram.sources(view.shelf, self.state.misplaced)
        size = np.abs(view.plate_mass_g)
        weights: Floats = np.vstack([size / size.sum(), sources.stands])
        shelf = self._planogram.shelves[view.shelf]
        points = weights @ shelf.position_m
        return actors_at(
            window, inside, points, shelf.along, strangers=self._strangers, after_gap=gap
        )

    def _with_rivals(self, held: HeldStep, people: People) -> HeldStep:
        """Once people are known up to its end: whether other steps may tell who made it."""
        covered = people.covered_until_ns() >= held.ended_at_ns + LEAVING_NS
        if held.rivals is not None or not covered:
            return held
        view = step_view(held, self.config, self._planogram, self.state.gains)
        if view is None:
            return replace(held, rivals=False)
        likely = self._actors(held, view, people).probability[:-1, 0] >= LIKELY_MIN
        return replace(held, rivals=bool(likely.sum() > 1))

    def _others(self, held: HeldStep, people: People) -> list[Touch]:
        """Who may have made other steps that ended at about the same time."""
        result = list(self.state.touches)
        for other in self.state.held:
            if abs(other.ended_at_ns - held.ended_at_ns) < NEAR_NS:
                view = step_view(other, self.config, self._planogram, self.state.gains)
                if view is not None:
                    result += touches_of(other, self._actors(other, view, people))
        known = {(t.step_id, t.visit): t for t in result}
        return [t for t in known.values() if near(held, t.step_id, t.plate, t.ended_at_ns)]

    def _several(self) -> set[VisitId]:
        return {visit for visit, record in self.state.visits.items() if record.people > 1}

    def _circumstances(self, held: HeldStep, actors: Actors) -> Circumstances:
        confidence, warning = 1.0, ""
        if held.flags & StepFlag.CLIPPED:
            confidence, warning = CLIPPED_CONFIDENCE, "A plate of this shelf could not be read."
        if held.flags & StepFlag.AFTER_GAP:
            confidence, warning = GAP_CONFIDENCE, "The sensors were off while this happened."
        if self._mistakable(actors):
            confidence = min(confidence, MISTAKABLE_CONFIDENCE)
            warning = warning or "Somebody left whom we may have taken for another shopper."
        return Circumstances(
            skus=self._skus,
            actors=actors,
            staff=self._staff(actors),
            charge_min=self.config.decision.charge_probability_min,
            confidence=confidence,
            warning=warning,
            looks=self._looks(held),
        )

    def _looks(self, held: HeldStep) -> Floats | None:
        """What hands at the step's place were seen to hold; None where nobody looked."""
        if not self.state.in_hands:
            return None
        shelf = self._planogram.shelves[self.config.shelf_index[held.shelf]]
        size = np.abs(held.plate_mass_g)
        return sighting_log_ratio(
            self.state.in_hands,
            self.config.product_index,
            size @ shelf.position_m / size.sum(),
            held.started_at_ns,
            held.ended_at_ns,
            put=held.mass_g > 0,
        )

    def _mistakable(self, actors: Actors) -> bool:
        """True when one of those who may have done it may in truth have left already."""
        likely = actors.probability[: actors.nobody].max(axis=1, initial=0.0) >= NOTICEABLE
        visits = self.state.visits
        return any(
            not self._looks_the_same(visit, visits[visit].mistakable_ns)
            for visit, counts in zip(actors.visits, likely, strict=True)
            if counts and visits[visit].mistakable_ns
        )

    def _staff(self, actors: Actors) -> Bools:
        kinds = [self.state.visits[v].kind is VisitKind.STAFF for v in actors.visits]
        return np.array([*kinds, False], dtype=bool)

    def _came_back(
        self, held: HeldStep, outcomes: Outcomes, mine: Holdings, about: Circumstances
    ) -> ReviewRequested | None:
        """A take in question on this shelf whose very units are back, whoever had them."""
        for review in self.reviews.values():
            if review.evidence.shelf == held.shelf:
                visits = about.actors.visits
                back = probability_of_coming_back(review, outcomes, mine, visits, self._skus)
                if back * about.confidence >= about.charge_min:
                    return review
        return None

    # --- events ------------------------------------------------------------------------------

    def _events_of(
        self,
        now_ns: int,
        held: HeldStep,
        view: StepView,
        actors: Actors,
        verdict: Verdict,
        memory: Memory,
    ) -> list[Event]:
        self._count(verdict.counted)
        self.state.misplaced, self.state.foreign = memory.misplaced, memory.foreign
        self._learn_gains(held, verdict)
        evidence = evidence_of(held, view, actors, self._planogram)
        events: list[Event] = []
        for part in verdict.sure:
            if view.mass_g < 0:
                events.append(self._taken(now_ns, part, evidence))
            else:
                events += [self._returned(now_ns, part, evidence), *self._proven(now_ns, part)]
        return [*events, *(self._ask(now_ns, doubt, evidence) for doubt in verdict.doubts)]

    def _learn_gains(self, held: HeldStep, verdict: Verdict) -> None:
        """A step that surely was one thing is a weighing of a known mass."""
        if len(verdict.sure) != 1 or verdict.doubts or held.flags or held.earlier:
            return
        part, sign = verdict.sure[0], np.sign(held.mass_g)
        seen = Weighing(
            plate_mass_g=sign * held.plate_mass_g,
            mass_g=abs(held.mass_g),
            noise_sd_g=noise_of(held.mass_g, held.mass_sd_g),
        )
        unit_g = float(self._planogram.unit_mass_g[part.product])
        unit_sd_g = float(self._planogram.unit_sd_g[part.product])
        self.state.gains = after_weighing(
            self.state.gains, held.plates, seen, unit_g, unit_sd_g, part.quantity
        )

    def _taken(self, now_ns: int, part: SurePart, evidence: Evidence) -> Event:
        product = self.config.products[part.product]
        return self._emit(taken(now_ns, part, product, self._new_line(part.visit), evidence))

    def _returned(self, now_ns: int, part: SurePart, evidence: Evidence) -> Event:
        product = self.config.products[part.product]
        line = line_of_return(self.carts[part.visit], product.id)
        return self._emit(returned(now_ns, part, product, line, evidence))

    def _new_line(self, visit: VisitId) -> LineId:
        record = self._record(visit)
        record.lines_made += 1
        return LineId(f"{visit}-l{record.lines_made}")

    def _ask(self, now_ns: int, doubt: Doubt, evidence: Evidence) -> Event:
        self.state.reviews_made += 1
        event = ReviewRequested(
            at_ns=now_ns,
            review=ReviewId(f"{self.config.store}-r{self.state.reviews_made}"),
            reason=doubt.reason,
            candidates=doubt.candidates,
            evidence=evidence,
            visits=doubt.visits,
        )
        self.state.reviews[event.review] = event
        self._count("reviews_requested")
        return self._emit(event)

    def _resolve(self, event: ReviewResolved) -> Event:
        del self.state.reviews[event.review]
        self._count(f"reviews_by_{event.by if event.by in (DEADLINE, EVIDENCE) else 'person'}")
        return self._emit(event)

    def _emit(self, event: Event) -> Event:
        """Every cart folds every event, as the cloud does."""
        self.state.carts = {v: cart.after(event) for v, cart in self.carts.items()}
        return event

    def _overdue(self, now_ns: int) -> list[Event]:
        """Questions that no open cart waits for end at the same deadline as the others.

        Beyond the bound the oldest ends undecided as well: its units stay shown, uncharged.
        """
        limit_ns = round(self.config.decision.review_deadline_s * 1e9)
        over = len(self.reviews) - REVIEWS_MAX
        ended = [
            review
            for i, review in enumerate(self.reviews.values())
            if i < over or (now_ns - review.at_ns >= limit_ns and not self._waited_for(review))
        ]
        return [self._resolve(undecided(review, now_ns)) for review in ended]

    def _waited_for(self, review: ReviewRequested, besides: VisitId | None = None) -> bool:
        return any(v in self.carts and v != besides for v in review.visits)

    def _record(self, visit: VisitId) -> VisitRecord:
        if visit not in self.state.visits:
            raise UnknownVisit(f"visit {visit!r} is not open")
        return self.state.visits[visit]

    def _count(self, name: str, units: int = 1) -> None:
        self.state.counters[name] = self.state.counters.get(name, 0) + units
