"""What a person may answer to a question, and what is refused by name."""

from __future__ import annotations

from collections.abc import Set

from messages.events import ReviewRequested, ReviewResolved
from messages.ids import VisitId
from messages.observations import ReviewAnswer
from messages.store_config import StoreConfig

QUANTITY_MAX = 99  # units of one answer; more is a slip of the finger


class InvalidAnswer(ValueError):  # noqa: N818  the engine's and the console's word
    """An operator's input that cannot be applied. Nothing was changed."""


class UnknownReview(InvalidAnswer):
    """No such question is open: never asked, answered before, or past its deadline."""


class UnknownVisit(InvalidAnswer):
    """The visit is neither inside nor named by the question."""


class UnknownSku(InvalidAnswer):
    """The store does not sell it, or the answer names a visit without an item."""


class BadQuantity(InvalidAnswer):
    """Zero, too many, or of the wrong sign: taken is positive, put back is negative."""


def resolution(
    answer: ReviewAnswer,
    review: ReviewRequested | None,
    config: StoreConfig,
    open_visits: Set[VisitId],
    staff: Set[VisitId],
) -> ReviewResolved:
    """The event of an answer; ``visit`` None or a staff visit means that nobody is charged.

    Raises:
        UnknownReview, UnknownVisit, UnknownSku, BadQuantity: with the value that was refused.
    """
    if review is None:
        raise UnknownReview(f"review {answer.review!r} is not open")
    nobody = ReviewResolved(review=review.review, visit=None, sku=None, quantity=0, by="")
    if answer.visit is None:
        return nobody
    if answer.visit not in open_visits and answer.visit not in review.visits:
        raise UnknownVisit(f"visit {answer.visit!r} is not in question in {review.review}")
    if answer.sku is None or answer.sku not in config.product_index:
        raise UnknownSku(f"SKU {answer.sku!r} is not sold here")
    if not _fits(answer.quantity, review):
        raise BadQuantity(f"quantity {answer.quantity} cannot answer {review.review}")
    if answer.visit in staff:
        return nobody
    return ReviewResolved(
        review=review.review,
        visit=answer.visit,
        sku=answer.sku,
        quantity=answer.quantity,
        by="",
    )


def _fits(quantity: int, review: ReviewRequested) -> bool:
    """The sign is the question's: an item cannot be taken by what put mass on a shelf."""
    signs = {candidate.quantity > 0 for candidate in review.candidates}
    if review.evidence.shelf is None:  # a doubt about a whole cart: either way
        signs = {True, False}
    return 0 < abs(quantity) <= QUANTITY_MAX and ((quantity > 0) in signs or not signs)
