"""The newest image in shared memory: never half of one and half of another."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from edge.cameras.image_slot import ImageSlot, make_slot, slot_bytes

W, H = 320, 240
IMAGES = 1500
WRITER = f"""
import sys
import numpy as np
from edge.cameras.image_slot import ImageSlot
slot = ImageSlot(int(sys.argv[1]), {W}, {H})
for n in range(1, {IMAGES} + 1):
    slot.write(np.full(({H}, {W}, 3), n % 251, np.uint8), n, n / 1e4, "ok")
"""


def test_a_reader_beside_a_fast_writer_gets_whole_images() -> None:
    fd = make_slot("t", W, H)
    slot = ImageSlot(fd, W, H)
    assert slot.read() is None
    with subprocess.Popen([sys.executable, "-c", WRITER, str(fd)], pass_fds=[fd]) as writer:
        numbers = []
        while not numbers or numbers[-1] < IMAGES:
            image = slot.read()
            if image is None:
                continue
            assert (image.pixels == image.captured_at_ns % 251).all()
            assert image.number == image.captured_at_ns
            numbers.append(image.number)
            assert writer.poll() in (None, 0)
    os.close(fd)
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 1


def test_a_writer_that_follows_a_dead_one_goes_on_counting() -> None:
    fd = make_slot("t", 8, 8)
    image = np.zeros((8, 8, 3), np.uint8)
    first = ImageSlot(fd, 8, 8)
    first.write(image, 1, 0.0, "ok")
    first.write(image, 2, 0.0, "dark")
    second = ImageSlot(fd, 8, 8)
    second.write(image, 3, 0.5, "frozen")
    os.close(fd)
    found = first.header()
    assert found is not None
    assert (found.number, found.captured_at_ns, found.moving, found.state) == (3, 3, 0.5, "frozen")


def test_an_image_of_another_size_is_refused() -> None:
    fd = make_slot("t", 8, 8)
    with pytest.raises(ValueError, match=r"an image of \(4, 4, 3\) for a slot of \(8, 8, 3\)"):
        ImageSlot(fd, 8, 8).write(np.zeros((4, 4, 3), np.uint8), 1, 0.0, "ok")
    os.close(fd)


def test_images_have_no_name_on_any_disk() -> None:
    fd = make_slot("t", 8, 8)
    assert os.fstat(fd).st_nlink == 0
    assert os.fstat(fd).st_size == slot_bytes(8, 8)
    os.close(fd)
