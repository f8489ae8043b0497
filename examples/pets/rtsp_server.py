#!/usr/bin/python3
"""A real RTSP server (GStreamer) for raw images on its standard input: a stand-in for a camera.

    /usr/bin/python3 rtsp_server.py WIDTH HEIGHT FPS PORT      serves rtsp://127.0.0.1:PORT/view-1

Run by ``serve.py`` with Debian's Python, which has GStreamer's bindings: packages
gir1.2-gst-rtsp-server-1.0, python3-gst-1.0, gstreamer1.0-plugins-base, -good and -ugly. Images are
blue, green, red bytes; they are taken from the input only while somebody watches.
"""

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = (
    "( appsrc name=images is-live=true do-timestamp=true format=time block=true max-bytes=4000000 "
    "caps=video/x-raw,format=BGR,width={},height={},framerate={}/1 ! "
    "videoconvert ! video/x-raw,format=I420 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast bitrate=3000 key-int-max={} ! "
    "rtph264pay name=pay0 pt=96 config-interval=1 )"
)


class Film(GstRtspServer.RTSPMediaFactory):
    """One stream for all who watch."""

    def __init__(self, width, height, fps):
        super().__init__()
        self._image_bytes = width * height * 3
        self.set_shared(True)
        self.set_latency(0)
        self.set_launch(LAUNCH.format(width, height, fps, 2 * fps))

    def do_configure(self, media):
        source = media.get_element().get_child_by_name("images")
        over = threading.Event()
        media.connect("unprepared", lambda _: over.set())
        threading.Thread(target=self._feed, args=(source, over), daemon=True).start()

    def _feed(self, source, over):
        while not over.is_set():
            image = sys.stdin.buffer.read(self._image_bytes)
            if len(image) < self._image_bytes:
                source.emit("end-of-stream")
                return
            if source.emit("push-buffer", Gst.Buffer.new_wrapped(image)) != Gst.FlowReturn.OK:
                return


def main():
    width, height, fps, port = (int(v) for v in sys.argv[1:5])
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    film = Film(width, height, fps)
    film.connect("media-configure", lambda factory, media: factory.do_configure(media))
    server.get_mount_points().add_factory("/view-1", film)
    if not server.attach(None):
        sys.exit(f"port {port} is taken; give another")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
