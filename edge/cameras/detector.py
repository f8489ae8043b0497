"""The process of one detector worker: looks at the newest images of its cameras, tells the daemon.

``python -m edge.cameras.detector``, started by the fleet. Whichever image waits is the newest:
older ones were overwritten in shared memory. An image that needs no look gives a packet all the
same, with nobody in it.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from edge.cameras.clip_keeper import ClipKeeper
from edge.cameras.hands import Hands
from edge.cameras.image_slot import ImageSlot, SlotHeader, SlotImage
from edge.cameras.jobs import SAY_EVERY_S, DetectorJob, Watched, received_job, say
from edge.cameras.models.nets import Net, NetFile, net_file
from edge.cameras.models.packages import ModelsError
from edge.cameras.node_link import NodeLink
from edge.vision.camera_model import CalibrationError, CameraModel, camera_model
from edge.vision.colour_stripes import colour_stripes
from edge.vision.detector_schedule import Allowance, Waiting, most_urgent, needs_look
from edge.vision.detectors.decoders import DecodeError
from edge.vision.detectors.found import Found, nothing
from messages.arrays import Bytes8, Floats32
from messages.ids import CameraId, CommandId
from messages.observations import PersonDetections

IDLE_S = 0.5  # without a ring: time to speak, and to find what was missed
LONG_AGO_NS = -(10**18)
_BLACK = np.zeros((1, 1, 3), dtype=np.uint8)


@dataclass(slots=True, eq=False)
class _Camera:
    """What is known of one camera: the image that was last dealt with, and what it showed."""

    watched: Watched
    slot: ImageSlot
    net: Net
    model: CameraModel
    number: int = 0
    looked_at_ns: int = LONG_AGO_NS
    people: int = 0
    sequence: int = 0


class Worker:
    def __init__(self, job: DetectorJob) -> None:
        """Raises ModelsError where a net is missing."""
        self.counts: Counter[str] = Counter(looks=0, gated=0, unusable=0, unsent=0, people=0)
        self.counts["hands"] = self.counts["products_unusable"] = 0
        self._job = job
        self._nets: dict[NetFile, Net] = {}
        self._cameras = [self._camera(watched) for watched in job.cameras]
        self._link = NodeLink(job.socket)
        self._hands = Hands(job.plates, job.facings, job.products, job.models_folder)
        self._clips = ClipKeeper(
            [w.camera for w in job.cameras if w.calibration.role == "room"],
            job.clips,
            job.clips_key_file,
            job.clip_s,
            job.clips_days,
        )
        self._allowance = Allowance(job.cpu_cores, time.monotonic_ns())
        self._say_at_s = 0.0

    def run(self) -> None:
        """For ever. Raises ModelsError where a net and its description do not fit."""
        while True:
            self._step()
            if time.monotonic() >= self._say_at_s:
                self._say_at_s = time.monotonic() + SAY_EVERY_S
                self._hands.read_again()
                self._keep_clips()
                self.counts["products_unusable"] = int(bool(self._hands.trouble))
                say(dict(self.counts))

    def _step(self) -> None:
        """One look, or a wait: for an image, or for the budget."""
        waiting = most_urgent(self._waiting())
        if waiting is None:
            self._wait(IDLE_S)
        elif self._allowance.suffices(time.monotonic_ns()):
            self._look(self._cameras[waiting.camera])
        else:
            self._wait(self._allowance.wait_s(time.monotonic_ns()))

    def _wait(self, seconds: float) -> None:
        ready, _, _ = select.select([self._job.bell_fd], [], [], min(seconds, IDLE_S))
        if ready:
            os.eventfd_read(self._job.bell_fd)

    def _waiting(self) -> list[Waiting]:
        """Cameras whose newest image needs a look; the others' are answered at once."""
        found = []
        for index, camera in enumerate(self._cameras):
            header = camera.slot.header()
            if header is None or header.number == camera.number:
                continue
            image = Waiting(
                camera=index,
                captured_at_ns=header.captured_at_ns,
                looked_at_ns=camera.looked_at_ns,
                people=camera.people,
                moving=header.moving,
                always=camera.watched.always,
            )
            if header.state == "ok" and needs_look(image):
                found.append(image)
            else:
                self._pass(camera, header)
        return found

    def _pass(self, camera: _Camera, header: SlotHeader) -> None:
        """Nothing moved, or nothing is to be seen: a packet without people."""
        camera.number = header.number
        self.counts["gated" if header.state == "ok" else "unusable"] += 1
        if camera.watched.calibration.role == "shelf":
            self._tell_hands(camera, nothing(), header.captured_at_ns, None)
        else:
            self._tell(camera, nothing(), header.captured_at_ns, header.state)

    def _look(self, camera: _Camera) -> None:
        started_s = time.process_time()
        image = camera.slot.read()
        if image is None:
            return
        camera.number = image.number
        found = self._people(camera, image)
        camera.looked_at_ns, camera.people = image.captured_at_ns, len(found)
        self.counts["looks"] += 1
        if camera.watched.calibration.role == "room":
            self.counts["people"] += len(found)
            looks = colour_stripes(image.pixels, found.boxes_px)
            self._tell(camera, found, image.captured_at_ns, image.state, looks)
        self._tell_hands(camera, found, image.captured_at_ns, image.pixels)
        self._clips.saw(camera.watched.camera, image.captured_at_ns, image.pixels, found)
        self._allowance.spend(time.process_time() - started_s)

    def _people(self, camera: _Camera, image: SlotImage) -> Found:
        try:
            return camera.net.people(image.pixels)
        except DecodeError as error:
            raise ModelsError(str(error)) from error

    def _tell(
        self,
        camera: _Camera,
        found: Found,
        captured_at_ns: int,
        state: str,
        looks: Floats32 | None = None,
    ) -> None:
        camera.sequence += 1
        wrists = found.wrists_px
        packet = PersonDetections(
            camera=CameraId(camera.watched.camera),
            received_at_ns=0,
            captured_at_ns=captured_at_ns,
            sequence=camera.sequence,
            boxes_px=found.boxes_px.astype(np.float32),
            feet_px=found.feet_px.astype(np.float32),
            scores=found.scores.astype(np.float32),
            wrists_px=None if wrists is None else wrists.astype(np.float32),
            embeddings=looks,
            image_state=state,
        )
        if not self._link.send(packet):
            self.counts["unsent"] += 1

    def _keep_clips(self) -> None:
        for clip in self._link.received():
            self._clips.ask(replace(clip, id=CommandId(f"{clip.id}.{self._job.worker}")))
        self._clips.work(time.time_ns())
        self.counts["clips"], self.counts["clips_failed"] = self._clips.kept, self._clips.failed

    def _tell_hands(self, camera: _Camera, found: Found, at_ns: int, image: Bytes8 | None) -> None:
        """After the packet of people, which is worth more and comes first."""
        about = camera.watched.calibration
        see = self._hands.at_shelf if about.role == "shelf" else self._hands.of_people
        packet = see(about.id, at_ns, camera.model, _BLACK if image is None else image, found)
        if packet is not None:
            self.counts["hands"] += len(packet.positions_store_m)
            self.counts["unsent"] += not self._link.send(packet)

    def _camera(self, watched: Watched) -> _Camera:
        file = net_file(
            watched.model,
            self._job.models,
            self._job.models_folder,
            width_px=watched.model_width_px,
        )
        if file not in self._nets:
            self._nets[file] = Net(file)
        slot = ImageSlot(watched.slot_fd, watched.width_px, watched.height_px)
        return _Camera(watched, slot, self._nets[file], camera_model(watched.calibration))


def main() -> int:
    import cv2

    cv2.setNumThreads(1)
    job = received_job(DetectorJob)
    try:
        Worker(job).run()
    except (ModelsError, CalibrationError) as error:
        say({}, error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
