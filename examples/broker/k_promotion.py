"""System K: a coupon from a shelf's QR code to the till, paid by the brand.

python examples/broker/k_promotion.py
"""

from __future__ import annotations

from live import Client, euro, tell

COLA = "4006381333931"


def story(broker: Client) -> None:
    """A brand takes a quarter off cola; Anna scans the shelf, walks out, and brings one back."""
    campaign, frame = broker.name("campaign"), broker.name("frame")
    terms = {
        "gtins": [COLA],
        "percent_bp": 2_500,
        "max_pieces": 4,
        "max_discount_minor": 300,
        "domain": "shop.example",
    }
    asked = {"campaign": campaign, "brand": "Cola Works", "currency": "EUR", "terms": terms}
    broker.post("/v1/campaigns", asked)
    funding = {"funding": broker.name("funding"), "amount_minor": 10_000, "currency": "EUR"}
    broker.post(f"/v1/campaigns/{campaign}/fundings", funding)
    broker.post(f"/v1/campaigns/{campaign}/start")
    print(f"The brand puts {euro(10_000)} into a campaign: 25 % off four colas")

    wish = {"frame": frame, "campaign": campaign, "store": "lab", "shelf": "A1"}
    made = broker.post("/v1/frames", {**wish, "valid_until_s": 2**40})
    signature = made["frame_sig"]
    broker.post(f"/v1/frames/{frame}/distribute", {"frame_sig": signature})
    page = broker.text(f"/v1/frames/{frame}/page")
    print(f"The shop hangs a signed frame on shelf A1 ({len(page)} bytes, with a QR code for")
    print(f"  {made['link'][:46]}...)")

    anna = broker.name("anna")
    ask = {"token_id": broker.name("token"), "client": anna}
    forged = {**ask, "frame_sig": "A" * 86}
    print(f"A sticker over the code: {broker.refused(f'/v1/frames/{frame}/tokens', forged)}")
    token = broker.post(f"/v1/frames/{frame}/tokens", {**ask, "frame_sig": signature})["token"]
    broker.post("/v1/promo-tokens/store", {"promo_token": token})
    told = broker.get("/v1/coupons?store=lab&limit=500")["coupons"]
    print("Anna's phone keeps the token; the shop learns of a coupon:")
    print(
        f"  {any(one['frame_sig'] == signature for one in told)}, bound to that frame's signature"
    )

    cart = {
        "coupon_lock": broker.name("lock"),
        "store": "lab",
        "visit": broker.name("visit"),
        "client": anna,
        "currency": "EUR",
        "promo_tokens": [token],
        "lines": [{"line_id": "1", "gtin": COLA, "quantity": 3, "total_minor": 500}],
    }
    reply = broker.post("/v1/coupon-locks", cart)
    print(f"While her cart is priced the shop locks it: {euro(reply['discount_minor'])} off")
    twice = broker.post("/v1/coupon-locks", {**cart, "coupon_lock": broker.name("again")})
    print(f"  in a second cart it is worth nothing: {twice['rejected'][0]['why']}")
    path = f"/v1/coupon-locks/{cart['coupon_lock']}"
    broker.post(f"{path}/commit", {"merchant": "corner-shop", "purchase": broker.name("p")})
    back = {"coupon_return": broker.name("return"), "line_id": "1", "quantity": 1}
    share = broker.post(f"{path}/returns", back)["discount_minor"]
    print(f"The brand pays it to the shop; one cola comes back and returns {euro(share)}")
    stats = broker.get(f"/v1/campaigns/{campaign}/stats")
    left = broker.get(f"/v1/campaigns/{campaign}")["fund_minor"]
    print(f"The brand reads: {stats['issued']} issued, {stats['redeemed']} redeemed,")
    print(f"  {euro(stats['redeemed_minor'])} paid, {euro(left)} left in the fund")


if __name__ == "__main__":
    tell(story)
