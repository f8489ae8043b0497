"""Serves a video file over RTSP, in its own time, as a camera would.

    python examples/pets/serve.py examples/pets/vtest.avi [PORT]

Then ``url = "rtsp://127.0.0.1:8554/view-1"`` in store.toml. The film starts when somebody watches.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2

SERVER = Path(__file__).parent / "rtsp_server.py"
DEBIAN_PYTHON = "/usr/bin/python3"  # has GStreamer's bindings; environments have not


def serve(video: Path, port: int) -> int:
    """Until the film is over; the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the server ends with us
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        print(f"{video}: is no video; run get-video.sh", file=sys.stderr)
        return 2
    width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, 4))
    fps = round(capture.get(cv2.CAP_PROP_FPS))
    command = [DEBIAN_PYTHON, str(SERVER), str(width), str(height), str(fps), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as server:
        assert server.stdin is not None
        try:
            _play(capture, server.stdin, fps)
        except BrokenPipeError:
            return 1
        finally:
            server.terminate()
    return 0


def _play(capture: cv2.VideoCapture, into, fps: float) -> None:
    """The first image waits until somebody watches; the others follow at their times."""
    index, started_s = 0, 0.0
    while True:
        ok, image = capture.read()
        if not ok:
            time.sleep(1.0)  # what is on its way arrives
            return
        if index:
            time.sleep(max(started_s + index / fps - time.monotonic(), 0.0))
        into.write(image.tobytes())
        started_s = started_s or time.monotonic()
        index += 1


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8554
    sys.exit(serve(Path(sys.argv[1]), port))
