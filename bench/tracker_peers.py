"""Runs in the peers' environment, apart from the product: imports nothing of ours.

    python tracker_peers.py versions PEER...              each peer imported and made
    python tracker_peers.py time PEER SCENE.npz SECONDS    process-CPU milliseconds of each update
    python tracker_peers.py track PEER DET.txt FPS OUT.txt
    python tracker_peers.py score GT.txt RESULT.txt ...    pairs; TrackEval on each and on all

Peers have their own defaults; those without a rule for scores get boxes of ``PLAIN_SCORE`` or more.
"""

import contextlib
import io
import json
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np

warnings.filterwarnings("ignore")
PLAIN_SCORE = 0.5
LOST_IMAGES = 30  # how long trackers that ask keep somebody unseen
UPDATES_MIN = 8  # of a slow peer, whatever the seconds
BOX = np.zeros((0, 4))


class Peer:
    """``ready`` makes the peer's input, ``update`` is timed, ``read`` gives ids and boxes."""

    package = ""

    def __init__(self, fps):
        self.fps, self.names = fps, {}

    def ready(self, boxes, scores):
        keep = scores >= PLAIN_SCORE
        return np.ascontiguousarray(np.column_stack((boxes, scores))[keep], dtype=np.float32)

    def update(self, given):
        return self.tracker.update(given)

    def read(self, found):
        found = np.asarray(found, dtype=float).reshape(len(found), -1)
        return (found[:, 4].astype(int), found[:, :4]) if len(found) else (np.zeros(0, int), BOX)

    def numbered(self, keys):
        return np.array([self.names.setdefault(k, len(self.names) + 1) for k in keys], dtype=int)


class Supervision(Peer):
    package = "supervision"

    def __init__(self, fps):
        import supervision

        super().__init__(fps)
        self.tracker = supervision.ByteTrack(frame_rate=round(fps))

    def ready(self, boxes, scores):
        import supervision

        return supervision.Detections(
            xyxy=boxes.astype(np.float32),
            confidence=scores.astype(np.float32),
            class_id=np.zeros(len(boxes), int),
        )

    def update(self, given):
        return self.tracker.update_with_detections(given)

    def read(self, found):
        ids = np.asarray([] if found.tracker_id is None else found.tracker_id, dtype=int)
        known = ids >= 0
        return ids[known], np.asarray(found.xyxy, float).reshape(-1, 4)[known]


def roboflow(name, **options):
    class Roboflow(Supervision):
        package = "trackers"

        def __init__(self, fps):
            import trackers

            Peer.__init__(self, fps)
            self.tracker = getattr(trackers, name)(frame_rate=fps, **options)

        def update(self, given):
            return self.tracker.update(given)

    return Roboflow


class Motpy(Peer):
    package = "motpy"

    def __init__(self, fps):
        from motpy import MultiObjectTracker

        super().__init__(fps)
        self.tracker = MultiObjectTracker(dt=1 / fps)

    def ready(self, boxes, scores):
        from motpy import Detection

        keep = scores >= PLAIN_SCORE
        return [
            Detection(box=b, score=float(s)) for b, s in zip(boxes[keep], scores[keep], strict=True)
        ]

    def update(self, given):
        return self.tracker.step(given)

    def read(self, found):
        return self.numbered([x.id for x in found]), np.array([x.box for x in found]).reshape(-1, 4)


class EdgeFirst(Peer):
    package = "edgefirst-tracker"

    def __init__(self, fps):
        import edgefirst.tracker

        super().__init__(fps)
        self.images = 0
        self.tracker = edgefirst.tracker.ByteTrack(lifespan_ns=int(LOST_IMAGES / fps * 1e9))

    def ready(self, boxes, scores):
        return boxes.astype(np.float32), scores.astype(np.float32), np.zeros(len(boxes), np.uint64)

    def update(self, given):
        self.images += 1
        return self.tracker.update(*given, int(self.images * 1e9 / self.fps))

    def read(self, found):
        found = [x for x in found if x is not None]
        boxes = np.array([x.tracked_location for x in found], float).reshape(-1, 4)
        return self.numbered([str(x.uuid) for x in found]), boxes


def ioutrack(name):
    class IouTrack(Peer):
        package = "ioutrack_rs"

        def __init__(self, fps):
            import ioutrack

            super().__init__(fps)
            self.tracker = getattr(ioutrack, name)(max_age=LOST_IMAGES)

        def ready(self, boxes, scores):
            keep = scores >= (PLAIN_SCORE if name == "Sort" else 0.0)
            rows = np.column_stack((boxes, scores))[keep]
            return np.ascontiguousarray(rows, dtype=np.float32)

    return IouTrack


class VisionTrack(Peer):
    package = "visiontrack-cpp"

    def __init__(self, fps):
        import visiontrack_cpp

        super().__init__(fps)
        self.tracker = visiontrack_cpp.ByteTracker()

    def ready(self, boxes, scores):
        return boxes.astype(float), scores.astype(float)

    def update(self, given):
        return self.tracker.update(*given)

    def read(self, found):
        return np.asarray(found[0], int), np.asarray(found[1], float).reshape(-1, 4)


class Norfair(Peer):
    package = "norfair"

    def __init__(self, fps):
        import norfair

        super().__init__(fps)
        self.tracker = norfair.Tracker(
            distance_function="iou", distance_threshold=0.7, hit_counter_max=LOST_IMAGES
        )

    def ready(self, boxes, scores):
        from norfair import Detection

        keep = scores >= PLAIN_SCORE
        return [
            Detection(points=b.reshape(2, 2), scores=np.array([s, s]))
            for b, s in zip(boxes[keep], scores[keep], strict=True)
        ]

    def update(self, given):
        self.given = {id(x) for x in given}
        return self.tracker.update(given)

    def read(self, found):
        found = [x for x in found if id(x.last_detection) in self.given]  # those seen now
        boxes = np.array([x.estimate.reshape(4) for x in found], float).reshape(-1, 4)
        return np.array([x.id for x in found], int), boxes


PEERS = {
    "trackers_sort": roboflow("SORTTracker"),
    "trackers_bytetrack": roboflow("ByteTrackTracker"),
    "trackers_ocsort": roboflow("OCSORTTracker"),
    "trackers_botsort": roboflow("BoTSORTTracker", enable_cmc=False),
    "trackers_cbiou": roboflow("CBIoUTracker"),
    "supervision_bytetrack": Supervision,
    "motpy": Motpy,
    "edgefirst_bytetrack": EdgeFirst,
    "ioutrack_rs_sort": ioutrack("Sort"),
    "ioutrack_rs_bytetrack": ioutrack("ByteTrack"),
    "visiontrack_bytetrack": VisionTrack,
    "norfair_iou": Norfair,
}


def versions(*names):
    """Each package's version; fails where a peer cannot be made."""
    found = {}
    for name in names:
        try:
            PEERS[name](25.0)
        except Exception as error:
            sys.exit(f"peer {name} ({PEERS[name].package}): {type(error).__name__}: {error}")
        found[name] = f"{PEERS[name].package} {version(PEERS[name].package)}"
    return found


def timed(name, scene, seconds):
    """Process-CPU milliseconds of each update, as many as fit into the seconds."""
    data = np.load(scene)
    ends, peer, spent = np.cumsum(data["counts"]), PEERS[name](15.0), []
    boxes, scores = data["boxes"], data["scores"]
    until = time.perf_counter() + float(seconds)
    for start, end in zip(ends - data["counts"], ends, strict=True):
        given = peer.ready(boxes[start:end], scores[start:end])
        began = time.process_time_ns()
        peer.update(given)
        spent.append((time.process_time_ns() - began) / 1e6)
        if time.perf_counter() > until and len(spent) >= UPDATES_MIN:
            break
    return {"ms": spent}


def track(name, detections, fps, out):
    """MOTChallenge text to MOTChallenge text."""
    rows = np.loadtxt(detections, delimiter=",", ndmin=2)
    peer = PEERS[name](float(fps))
    with open(out, "w") as file:
        for frame in range(int(rows[:, 0].min()), int(rows[:, 0].max()) + 1):
            here = rows[rows[:, 0] == frame]
            boxes = np.column_stack((here[:, 2:4], here[:, 2:4] + here[:, 4:6]))
            ids, found = peer.read(peer.update(peer.ready(boxes, here[:, 6])))
            for i, (x1, y1, x2, y2) in zip(ids, found, strict=True):
                file.write(f"{frame},{i},{x1},{y1},{x2 - x1},{y2 - y1},1,-1,-1,-1\n")
    return {}


def score(*files):
    """HOTA, IDF1 and MOTA in percent, and identity switches, of each pair of files and of all."""
    from trackeval import metrics

    with contextlib.redirect_stdout(io.StringIO()):
        hota, clear, identity = metrics.HOTA(), metrics.CLEAR(), metrics.Identity()
    parts = {}
    for k in range(0, len(files), 2):
        data = sequence(files[k], files[k + 1])
        parts[str(k)] = [m.eval_sequence(data) for m in (hota, clear, identity)]
    pooled = [
        m.combine_sequences({key: part[j] for key, part in parts.items()})
        for j, m in enumerate((hota, clear, identity))
    ]
    return {"each": [figures(*part) for part in parts.values()], "all": figures(*pooled)}


def figures(hota, clear, identity):
    return {
        "hota": round(100 * float(np.mean(hota["HOTA"])), 2),
        "idf1": round(100 * float(identity["IDF1"]), 2),
        "mota": round(100 * float(clear["MOTA"]), 2),
        "switches": int(clear["IDSW"]),
    }


def sequence(truth, result):
    """What TrackEval's metrics take; truth rows of confidence 0 are not asked for."""
    truth, result = (np.loadtxt(f, delimiter=",", ndmin=2).reshape(-1, 10) for f in (truth, result))
    truth = truth[truth[:, 6] != 0]
    ids = [np.unique(rows[:, 1], return_inverse=True) for rows in (truth, result)]
    frames = np.unique(np.concatenate((truth[:, 0], result[:, 0])))
    data = {
        "gt_ids": [ids[0][1][truth[:, 0] == f] for f in frames],
        "tracker_ids": [ids[1][1][result[:, 0] == f] for f in frames],
        "similarity_scores": [
            overlaps(truth[truth[:, 0] == f], result[result[:, 0] == f]) for f in frames
        ],
        "num_timesteps": len(frames),
        "num_gt_ids": len(ids[0][0]),
        "num_tracker_ids": len(ids[1][0]),
        "num_gt_dets": len(truth),
        "num_tracker_dets": len(result),
    }
    return data


def overlaps(a, b):
    """(n, m) intersection over union of MOTChallenge rows."""
    low = np.maximum(a[:, None, 2:4], b[None, :, 2:4])
    high = np.minimum(a[:, None, 2:4] + a[:, None, 4:6], b[None, :, 2:4] + b[None, :, 4:6])
    both = np.prod(np.clip(high - low, 0, None), axis=2)
    area = np.prod(a[:, 4:6], axis=1)[:, None] + np.prod(b[:, 4:6], axis=1)
    return both / np.maximum(area - both, 1e-9)


if __name__ == "__main__":
    commands = {"versions": versions, "time": timed, "track": track, "score": score}
    print(json.dumps(commands[sys.argv[1]](*sys.argv[2:])))
