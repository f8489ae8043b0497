"""The net that turns a crop into an embedding, for enrolling products and for recognising them."""

from __future__ import annotations

import numpy as np

from edge.cameras.models.catalogue import EMBEDDING_SIDE_PX, MODEL_OF
from edge.cameras.models.install import model_path, models_folder, state_of
from edge.cameras.models.nets import Net, NetFile
from edge.cameras.models.packages import ModelsError
from edge.vision.detectors.net_input import net_input
from edge.vision.detectors.net_spec import NetSpec
from edge.vision.product_crops import EMBEDDING, features
from messages.arrays import Bytes8, Floats32

PRODUCT_MODEL = "efficientnet-lite0"
PRODUCT_SPEC = NetSpec(
    id=PRODUCT_MODEL,
    decoder="",  # it finds nothing: it describes
    width_px=EMBEDDING_SIDE_PX,
    height_px=EMBEDDING_SIDE_PX,
    layout="NCHW",
    colour="RGB",
    mean=(127.0, 127.0, 127.0),  # of the Lite family
    std=(128.0, 128.0, 128.0),
    pad="stretch",
)


class ProductNet:
    """Not shared between threads."""

    def __init__(self, folder: str = "") -> None:
        """Raises ModelsError where the net is not installed."""
        at, model = models_folder(folder or None), MODEL_OF[PRODUCT_MODEL]
        state = state_of(model, at)
        if state != "installed":
            raise ModelsError(
                f"products need a model: {PRODUCT_MODEL} is {state} in {at}; "
                f"run: walkout models install {PRODUCT_MODEL}"
            )
        path = model_path(PRODUCT_MODEL, at)
        self.sha256 = model.sha256
        self._net = Net(NetFile(spec=PRODUCT_SPEC, path=path, sha256=model.sha256))

    def features(self, crop: Bytes8) -> Floats32:
        """(FEATURES,) of a crop (h, w, 3), blue first."""
        tensor, _ = net_input(crop, PRODUCT_SPEC)
        (embedding,) = self._net.run(tensor)
        assert embedding.shape == (1, EMBEDDING)
        return features(np.asarray(embedding[0]), crop)
