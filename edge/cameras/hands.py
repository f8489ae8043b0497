"""A detector worker's look at hands: where they are and what they hold.

In a room camera hands are those of the pose net's people; in a camera of role "shelf" the net finds
the hands themselves. Products are recognised where some are enrolled; a file that cannot be used
costs the recognition of goods, never that of people.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.cameras.enrolment import EnrolmentError, read_model
from edge.cameras.models.packages import ModelsError
from edge.cameras.models.product_net import ProductNet
from edge.vision.camera_model import CameraModel
from edge.vision.detectors.found import Found
from edge.vision.hand_looks import Goods, goods_of, looked_into, told
from edge.vision.product_crops import hands_px
from edge.vision.product_recognition import ProductModel
from edge.vision.shelf_hands import hands_at_shelf, hands_of_people, shelf_fronts
from messages.arrays import Bytes8, Floats
from messages.ids import CameraId
from messages.observations import ItemSightings
from messages.store_config import Facing, Plate, StoreConfig

ALIVE_NS = 1_000_000_000  # a shelf camera says so often that it sees no hand


class Hands:
    """Of all cameras of a worker. ``trouble``: why goods are not recognised; empty where they are
    or nothing is enrolled."""

    def __init__(
        self, plates: tuple[Plate, ...], facings: tuple[Facing, ...], products: str, models: str
    ) -> None:
        self.trouble = ""
        self._store = StoreConfig(store="", plates=plates, facings=facings)  # type: ignore[arg-type]
        self._fronts = shelf_fronts(self._store)
        self._path, self._models, self._changed_ns = Path(products), models, -1
        self._net: ProductNet | None = None
        self._model: ProductModel | None = None
        self._goods = Goods(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
        self._said_ns: dict[str, int] = {}
        self.read_again()

    def read_again(self) -> None:
        """Take the enrolment in when its file is another one than before."""
        try:
            changed_ns = self._path.stat().st_mtime_ns
        except OSError:
            self._model, self.trouble, self._changed_ns = None, "", -1
            return
        if changed_ns == self._changed_ns:
            return
        self._changed_ns, self._model = changed_ns, None
        try:
            self._net = self._net or ProductNet(self._models)
            self._model = read_model(self._path, self._net.sha256)
            self.trouble = ""
        except (EnrolmentError, ModelsError) as error:
            self.trouble = str(error)
        if self._model is not None:
            self._goods = goods_of(self._store, self._model.skus)

    def of_people(
        self, camera: str, at_ns: int, model: CameraModel, image: Bytes8, found: Found
    ) -> ItemSightings | None:
        """What the people of a room camera hold near shelves; None where nothing can be told."""
        if self._model is None or found.key_points is None or not len(found):
            return None
        middles = hands_px(found.key_points)
        at = hands_of_people(middles, found.feet_px, model)
        looks = self._looks(image, middles.reshape(-1, 2), at.reshape(-1, 3), model)
        return told(CameraId(camera), at_ns, self._model, looks) if len(looks[0]) else None

    def at_shelf(
        self, camera: str, at_ns: int, model: CameraModel, image: Bytes8, found: Found
    ) -> ItemSightings | None:
        """Hands before the shelf of a near camera, whether or not it can be told what they hold."""
        boxes = found.boxes_px
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        at = hands_at_shelf(middles, model, self._fronts)
        here = np.isfinite(at).all(axis=1)
        if not here.any() and at_ns - self._said_ns.get(camera, -ALIVE_NS) < ALIVE_NS:
            return None
        self._said_ns[camera] = at_ns
        looks = self._looks(image, middles[here], at[here], model)
        if not len(looks[0]):
            bare = np.zeros((int(here.sum()), 0))
            looks = at[here], bare, bare
        return told(CameraId(camera), at_ns, self._model if looks[1].size else None, looks)

    def _looks(
        self, image: Bytes8, middles: Floats, at: Floats, model: CameraModel
    ) -> tuple[Floats, Floats, Floats]:
        if self._model is None or self._net is None:
            return np.zeros((0, 3)), np.zeros((0, 0)), np.zeros((0, 0))
        describe = self._net.features
        return looked_into(image, middles, at, model, self._model, self._goods, describe)
