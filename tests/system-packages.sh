#!/bin/sh
# System packages beyond Python and make: installed when run as root, named clearly when not.
#   tests/system-packages.sh venv [python3]   what `make setup` needs
#   tests/system-packages.sh tests            what the tests need
set -eu
want=""
case "${1:-}" in
  venv)
    python="${2:-python3}"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
      echo "walkout needs Python 3.11 or newer; '$python' is $("$python" --version 2>&1). Try: make setup PYTHON=python3.12" >&2
      exit 1
    }
    # Debian and Ubuntu ship ensurepip in a package of its own.
    "$python" -c 'import ensurepip, venv' 2>/dev/null || want="python3-venv"
    ;;
  tests)
    command -v systemd-analyze >/dev/null 2>&1 || want="systemd"
    command -v chromium >/dev/null 2>&1 || want="$want chromium"
    # Video: a real RTSP server, a real message broker, and a film of real people.
    python3=/usr/bin/python3  # GStreamer's bindings are Debian's, outside any environment
    "$python3" -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null || want="$want gir1.2-gst-rtsp-server-1.0 python3-gst-1.0"
    [ -n "$(find /usr/lib -name libgstx264.so 2>/dev/null | head -n 1)" ] || want="$want gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
    command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || want="$want mosquitto"
    # Models are taken from an npm package, by the user's own client.
    command -v npm >/dev/null 2>&1 || want="$want npm"
    # The broker's tests start a cluster of their own.
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null 2>&1 || want="$want postgresql"
    ;;
  *)
    echo "usage: $0 venv [python] | tests" >&2
    exit 2
    ;;
esac
film() {
  [ "$1" = tests ] || return 0
  get="$(dirname "$0")/../examples/pets/get-video.sh"
  "$get" 2>/dev/null || { [ "$(id -u)" = 0 ] && apt-get update -qq; "$get"; }
}
[ -z "$want" ] && film "$1" && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing system packages: $want"
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $want >/dev/null
  film "$1"
else
  echo "missing system packages: $want" >&2
  echo "install them with: sudo apt-get install $want" >&2
  exit 1
fi
