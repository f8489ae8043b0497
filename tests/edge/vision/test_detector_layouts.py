"""Each output layout on tensors made by hand: one person at a known place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.detectors.decoders import DECODER_OF, DecodeError, people_in
from edge.vision.detectors.found import Found, suppressed, usable
from edge.vision.detectors.net_input import Placement, in_image, net_input
from edge.vision.detectors.net_spec import COMMON_LEAST, COMMON_SURE, NetSpec
from messages.vision_config import DECODERS

SAME = Placement(scale_x=1.0, scale_y=1.0, offset_x_px=0.0, offset_y_px=0.0)
W, H = 128, 96
BOX = [40.0, 24.0, 72.0, 88.0]  # of the person in every layout


def spec(decoder: str, **more: object) -> NetSpec:
    known = NetSpec(id="net", decoder=decoder, width_px=W, height_px=H)
    return replace(known, **more)


def found(decoder: str, *outputs: np.ndarray, **more: object) -> Found:
    arrays = [np.asarray(o, dtype=np.float32) for o in outputs]
    return people_in(arrays, spec(decoder, **more), SAME, W, H)


def test_every_layout_of_the_configuration_has_a_decoder() -> None:
    assert set(DECODER_OF) == set(DECODERS)


def test_centernet_takes_the_peak_and_its_reach() -> None:
    heat, reach = np.zeros((1, 24, 32, 80)), np.zeros((1, 24, 32, 4))
    heat[0, 14, 14, 0] = 0.9
    heat[0, 14, 15, 0] = 0.8  # a neighbour is no peak of its own
    heat[0, 3, 3, 7] = 0.99  # another class
    reach[0, 14, 14] = [16, 32, 16, 32]
    seen = found("centernet", heat, reach)
    assert seen.boxes_px.tolist() == [BOX]
    assert seen.scores == pytest.approx(0.9)
    assert seen.feet_px.tolist() == [[56.0, 88.0]]


def test_movenet_gives_boxes_and_wrists_in_pixels() -> None:
    rows = np.zeros((1, 6, 56))
    rows[0, 2, 51:] = [24 / H, 40 / W, 88 / H, 72 / W, 0.8]
    rows[0, 2, 27:33] = [0.5, 0.25, 0.9, 0.1, 0.1, 0.05]  # left wrist seen, right one not
    seen = found("movenet-multi", rows)
    np.testing.assert_allclose(seen.boxes_px, [BOX], atol=1e-4)
    assert seen.wrists_px is not None
    np.testing.assert_allclose(seen.wrists_px[0, 0], [32.0, 48.0])
    assert np.isnan(seen.wrists_px[0, 1]).all()


def test_movenet_that_sees_nobody_still_has_wrists_to_give() -> None:
    seen = found("movenet-multi", np.zeros((1, 6, 56)))
    assert len(seen) == 0
    assert seen.wrists_px is not None
    assert seen.wrists_px.shape == (0, 2, 2)


def test_nanodet_takes_the_mean_of_each_distribution() -> None:
    classes = [np.zeros((1, (W // s) * (H // s), 80)) for s in (8, 16, 32)]
    bins = [np.zeros((1, (W // s) * (H // s), 44)) for s in (8, 16, 32)]
    cell = 3 * 8 + 3  # of stride 16: its centre is (56, 56)
    classes[1][0, cell, 0] = 0.7
    distances = np.full((4, 11), -30.0)
    distances[[0, 1, 2, 3], [1, 2, 1, 2]] = 30.0
    bins[1][0, cell] = distances.ravel()
    seen = found("nanodet", *classes, *bins)
    np.testing.assert_allclose(seen.boxes_px, [BOX], atol=1e-3)


def test_ssd_orders_corners_and_takes_the_best_of_its_classes() -> None:
    corners = [[24 / H, 40 / W, 88 / H, 72 / W], [0, 0, 0.2, 0.2]]
    scores = [[[0.1, 0.2, 0.6], [0.99, 0.001, 0.001]]]
    seen = found("ssd", corners, scores, classes=(1, 2))
    np.testing.assert_allclose(seen.boxes_px, [BOX], atol=1e-4)
    assert seen.scores == pytest.approx(0.6)


def test_yolox_adds_the_cell_and_multiplies_objectness() -> None:
    cells = sum((W // s) * (H // s) for s in (8, 16, 32))
    rows = np.zeros((1, cells, 85))
    rows[0, :, 2:4] = 0.0
    cell = 7 * 16 + 7  # of stride 8
    rows[0, cell, :5] = [0.0, 0.0, np.log(32 / 8), np.log(64 / 8), 0.9]
    rows[0, cell, 5] = 0.8
    seen = found("yolox", rows)
    np.testing.assert_allclose(seen.boxes_px, [BOX], atol=1e-3)
    assert seen.scores == pytest.approx(0.72)


@pytest.mark.parametrize(("activation", "score"), [("softmax", 0.787), ("sigmoid", 0.881)])
def test_detr_knows_both_kinds_of_scores(activation: str, score: float) -> None:
    logits = [[[2.0, 0.0, 0.0], [-9.0, -9.0, 9.0]]]
    boxes = [[[56 / W, 56 / H, 32 / W, 64 / H], [0.5, 0.5, 1, 1]]]
    seen = found("detr", logits, boxes, activation=activation)
    np.testing.assert_allclose(seen.boxes_px, [BOX], atol=1e-3)
    assert seen.scores == pytest.approx(score, abs=1e-3)


def test_dets_come_with_the_class_beside_or_apart() -> None:
    rows = [[[*BOX, 0.8, 0], [1, 1, 20, 20, 0.9, 5]]]
    together = found("dets", rows)
    apart = found("dets", np.asarray(rows)[..., :5], [[0, 5]])
    assert together.boxes_px.tolist() == apart.boxes_px.tolist() == [BOX]


@pytest.mark.parametrize("decoder", DECODERS)
def test_outputs_of_another_layout_are_told_with_their_shapes(decoder: str) -> None:
    with pytest.raises(DecodeError, match=rf"model net: .*\(2, 3\).*'{decoder}' layout"):
        found(decoder, np.zeros((2, 3)))


@pytest.mark.parametrize("decoder", DECODERS)
def test_boxes_that_are_not_finite_are_left_out(decoder: str) -> None:
    broken = Found(np.array([[np.nan, 0, 9, 9], [5, 5, 1, 9], [1, 1, 9, 9]]), np.array([1, 1, 0.5]))
    assert usable(broken).boxes_px.tolist() == [[1, 1, 9, 9]]


def test_an_outstretched_arm_is_no_second_person_but_one_behind_is() -> None:
    body, with_arm = [40, 20, 80, 120], [40, 22, 76, 100]
    behind = [50, 20, 62, 50]  # far away, over the shoulder
    seen = Found(np.array([body, with_arm, behind], dtype=float), np.array([0.9, 0.5, 0.6]))
    kept = suppressed(usable(seen), 0.9)
    assert kept.boxes_px.tolist() == [body, behind]


def test_scores_of_all_nets_are_on_the_trackers_scale() -> None:
    for sure in (0.09, 0.3, 0.6):
        net = spec("dets", sure_score=sure)
        assert sure**net.exponent == pytest.approx(COMMON_SURE)
        assert net.least_score**net.exponent == pytest.approx(COMMON_LEAST)


def test_an_image_goes_in_as_the_net_was_trained() -> None:
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    image[..., 0] = 255  # blue
    tensor, _ = net_input(image, spec("dets", mean=(127.5,) * 3, std=(127.5,) * 3))
    np.testing.assert_allclose(tensor[0, 0, 0], [-1, -1, 1])
    first, _ = net_input(image, spec("dets", layout="NCHW", colour="BGR"))
    assert first.shape == (1, 3, H, W)
    assert first[0, :, 0, 0].tolist() == [255, 0, 0]


def test_nets_of_any_size_keep_the_shape_of_the_image() -> None:
    net = spec("nanodet", width_px=416, any_size=True)
    assert net.input_px(768, 576) == (416, 320)
    assert net.input_px(1920, 1080) == (416, 224)


@given(st.integers(40, 900), st.integers(40, 900), st.sampled_from(["corner", "centre", "stretch"]))
@settings(max_examples=40, deadline=None)
def test_a_box_finds_its_way_back_into_the_image(width: int, height: int, pad: str) -> None:
    image = np.zeros((height, width, 3), dtype=np.uint8)
    _, p = net_input(image, spec("dets", pad=pad))
    box = np.array([[0.1 * width, 0.2 * height, 0.6 * width, 0.9 * height]])
    scale, offset = [p.scale_x, p.scale_y] * 2, [p.offset_x_px, p.offset_y_px] * 2
    seen = Found(box * scale + offset, np.ones(1))
    np.testing.assert_allclose(in_image(seen, p, width, height).boxes_px, box, atol=1e-6)
