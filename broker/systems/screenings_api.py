"""Routes of system E: policies, screenings, tokens."""

from __future__ import annotations

from broker.routes import Command, Nothing, Question, Route
from broker.systems import screenings
from broker.systems.parties import operators
from broker.systems.secret_codes import CODE, CodeCommand
from broker.validation import ID, Listed, Text, Whole, also

WORD = Text(r"[a-z][a-z0-9_]*", 32)

also(
    {
        "screening": ID,
        "fact": WORD,
        "source": WORD,
        "needs": Listed(screenings.FACTS_MAX, 0, WORD),
        "features": Listed(screenings.FACTS_MAX, 0, WORD),
        "sources": Listed(screenings.FACTS_MAX),
        "rules": Listed(screenings.RULES_MAX),
        "evidence": Listed(screenings.FACTS_MAX),
        "ttl_s": Whole(1, screenings.VALIDITY_S_MAX),
        "gate": ID,
        "code": CODE,
    }
)

_ROWS: tuple[Route, ...] = (
    Command(
        path="/v1/screening-policies/{id}",
        scope="admin",
        takes=screenings.PolicyRequest,
        gives=screenings.Policy,
        effect=screenings.set_policy,
        method="PUT",
        status=200,
        edits=True,
    ),
    Question(
        path="/v1/screening-policies/{id}",
        scope="gates",
        gives=screenings.Policy,
        ask=lambda call: lambda db: screenings.policy_of(db, call, call.named),
    ),
    CodeCommand(
        path="/v1/screenings",
        scope="screenings",
        takes=screenings.ScreeningRequest,
        gives=screenings.ScreeningToken,
        effect=screenings.issue,
        purpose=screenings.PURPOSE,
        names="screening",
    ),
    Command(
        path="/v1/screenings/redeem",
        scope="gates",
        takes=screenings.RedeemRequest,
        gives=screenings.Redeemed,
        effect=screenings.redeem,
        status=200,
    ),
    Command(
        path="/v1/screenings/{id}/revoke",
        scope="screenings",
        takes=Nothing,
        gives=screenings.Screening,
        effect=screenings.revoke,
        status=200,
    ),
    Question(
        path="/v1/screenings/{id}",
        scope="screenings",
        gives=screenings.Screening,
        ask=lambda call: lambda db: screenings.screening(db, call, call.named),
    ),
)

ROUTES = operators(_ROWS)
