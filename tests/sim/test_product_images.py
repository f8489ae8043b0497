"""Drawn goods: the same for the same seed, and no two alike."""

from __future__ import annotations

import numpy as np
import pytest

from sim.product_images import IN_STORE, KINDS, PHOTO, packages, picture

GOODS = packages(12, 4)  # four brands, one of each kind


def test_goods_and_pictures_are_the_same_for_the_same_seed() -> None:
    again = packages(12, 4)
    assert all((a.front == b.front).all() for a, b in zip(GOODS, again, strict=True))
    one, two = (
        picture(GOODS[1], IN_STORE, np.random.default_rng(8), GOODS).tobytes() for _ in range(2)
    )
    assert one == two
    other = picture(GOODS[1], IN_STORE, np.random.default_rng(9), GOODS)
    assert other.tobytes() != one


def test_flavours_of_a_brand_share_their_kind_and_differ_in_their_labels() -> None:
    assert [g.kind for g in GOODS[::3]] == list(KINDS)
    for first in range(0, 12, 3):
        flavours = GOODS[first : first + 3]
        assert len({f.kind for f in flavours}) == 1
        assert len({f.front.tobytes() for f in flavours}) == 3


@pytest.mark.parametrize("kind", range(4))
def test_a_package_fills_the_middle_of_its_picture(kind: int) -> None:
    """The same scene with and without the package differs in the middle most."""
    with_it = picture(GOODS[3 * kind], PHOTO, np.random.default_rng(2)).astype(float)
    bare = picture(None, PHOTO, np.random.default_rng(2)).astype(float)
    apart = np.abs(with_it - bare).mean(axis=2)
    assert with_it.shape == (PHOTO.seen_px, PHOTO.seen_px, 3)
    assert apart[60:100, 60:100].mean() > 2 * apart[:30, :30].mean()


def test_an_empty_hand_shows_skin_and_no_package() -> None:
    image = picture(None, IN_STORE, np.random.default_rng(3), GOODS)
    assert image.shape == (IN_STORE.seen_px,) * 2 + (3,)
    middle = image[45:65, 45:65].reshape(-1, 3).mean(axis=0)
    assert middle[2] > middle[0]  # redder than blue, whatever the skin
