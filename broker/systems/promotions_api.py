"""Routes of system K: campaigns, frames, tokens, coupon locks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from broker import openapi
from broker.database import Transaction
from broker.problems import ProblemError
from broker.routes import Call, Command, Nothing, Question, Route
from broker.systems import (
    campaigns,
    coupon_returns,
    coupons,
    frames,
    funds,
    parties,
    promo_tokens,
    qr,
)
from broker.validation import AMOUNT, ID, NAMED, NOT_NEGATIVE, Listed, Text, Whole, also

also(
    {
        "campaign": ID,
        "brand": NAMED,
        "funding": ID,
        "percent_bp": Whole(0, campaigns.BASIS_POINTS),
        "off_minor": NOT_NEGATIVE,
        "max_discount_minor": AMOUNT,
        "max_pieces": Whole(1, 1000),
        "min_total_minor": NOT_NEGATIVE,
        "per_client_max": Whole(1, 1000),
        "per_frame_max": Whole(1, 1_000_000),
        "token_validity_s": Whole(60, 400 * 24 * 3600),
        "domain": Text(r"[a-z0-9-]+(\.[a-z0-9-]+)+", 200),
        "frame": ID,
        "shelf": NAMED,
        "frame_sig": Text(r"[A-Za-z0-9_-]{86}", 86),
        "token_id": ID,
        "client": ID,
        "promo_token": Text(r"v4\.public\.[A-Za-z0-9._-]+", 2000),
        "promo_tokens": Listed(coupons.TOKENS_MAX, least=1, each=Text(r"[A-Za-z0-9._-]+", 2000)),
        "coupon_lock": ID,
        "coupon_return": ID,
    }
)


def _coupons(call: Call) -> Callable[[Transaction], Awaitable[promo_tokens.CouponPage]]:
    store = call.query.get("store", "")
    if ID.wrong(store):
        raise ProblemError(422, "invalid-query", "name a store: ?store=lab", param="store")
    after, limit = call.page()
    return lambda db: promo_tokens.coupons(db, store, after, limit)


def _status(verb: campaigns.CampaignSignal) -> Command:
    return Command(
        path=f"/v1/campaigns/{{id}}/{verb.value}",
        scope="admin",
        takes=Nothing,
        gives=campaigns.Campaign,
        status=200,
        effect=campaigns.signalled(verb),
    )


_ROWS: tuple[Route, ...] = (
    Command(
        path="/v1/campaigns",
        scope="admin",
        takes=campaigns.CampaignRequest,
        gives=campaigns.Campaign,
        effect=campaigns.create,
    ),
    Question(
        path="/v1/campaigns/{id}",
        scope="admin",
        gives=campaigns.Campaign,
        ask=lambda call: lambda db: campaigns.campaign(db, call, call.named),
    ),
    Question(
        path="/v1/campaigns/{id}/stats",
        scope="admin",
        gives=campaigns.Stats,
        ask=lambda call: lambda db: campaigns.stats(db, call, call.named),
    ),
    *(_status(verb) for verb in campaigns.CampaignSignal),
    Command(
        path="/v1/campaigns/{id}/fundings",
        scope="admin",
        takes=funds.FundingRequest,
        gives=campaigns.CampaignFunding,
        effect=campaigns.fund,
    ),
    Command(
        path="/v1/frames",
        scope="holds",
        takes=frames.FrameRequest,
        gives=frames.Frame,
        effect=frames.create,
    ),
    Question(
        path="/v1/frames/{id}",
        scope="holds",
        gives=frames.Frame,
        ask=lambda call: lambda db: frames.frame(db, call, call.named),
    ),
    qr.Picture(
        path="/v1/frames/{id}/page",
        scope="holds",
        gives=qr.Svg,
        ask=lambda call: lambda db: frames.page(db, call),
        media_type="text/html",
    ),
    Command(
        path="/v1/frames/{id}/distribute",
        scope="holds",
        takes=frames.SignedFrame,
        gives=frames.Frame,
        status=200,
        effect=frames.distribute,
    ),
    Command(
        path="/v1/frames/{id}/withdraw",
        scope="holds",
        takes=Nothing,
        gives=frames.Frame,
        status=200,
        effect=frames.withdraw,
    ),
    promo_tokens.TokenCommand(
        path="/v1/frames/{id}/tokens",
        scope="accounts",
        takes=promo_tokens.TokenRequest,
        gives=promo_tokens.PromoToken,
        effect=promo_tokens.mint,
    ),
    Command(
        path="/v1/promo-tokens/store",
        scope="accounts",
        takes=promo_tokens.StoreTokenRequest,
        gives=promo_tokens.PromoToken,
        status=200,
        effect=promo_tokens.store_token,
    ),
    Question(
        path="/v1/coupons",
        scope="holds",
        gives=promo_tokens.CouponPage,
        ask=_coupons,
        query=(openapi.text("store", maxLength=128), *openapi.PAGED),
    ),
    Command(
        path="/v1/coupon-locks",
        scope="holds",
        takes=coupons.LockRequest,
        gives=coupons.CouponLock,
        effect=coupons.lock,
    ),
    Question(
        path="/v1/coupon-locks/{id}",
        scope="holds",
        gives=coupons.CouponLock,
        ask=lambda call: lambda db: coupons.coupon_lock(db, call, call.named),
    ),
    Command(
        path="/v1/coupon-locks/{id}/commit",
        scope="captures",
        takes=coupons.CommitRequest,
        gives=coupons.CouponLock,
        status=200,
        effect=coupons.commit,
    ),
    Command(
        path="/v1/coupon-locks/{id}/release",
        scope="holds",
        takes=Nothing,
        gives=coupons.CouponLock,
        status=200,
        effect=coupons.release,
    ),
    Command(
        path="/v1/coupon-locks/{id}/returns",
        scope="captures",
        takes=coupon_returns.ReturnRequest,
        gives=coupon_returns.CouponReturn,
        effect=coupon_returns.give_back,
    ),
)

ROUTES = parties.operators(
    _ROWS,
    but=("POST /v1/coupon-locks/{id}/commit",),
)
