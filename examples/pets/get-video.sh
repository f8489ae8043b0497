#!/bin/sh
# Puts vtest.avi (PETS 2009 S2.L1, view 1) beside this file: from Debian's package opencv-doc.
# The University of Reading made the data set; it is free for research. Needs apt, not root.
set -eu
cd "$(dirname "$0")"
name=usr/share/doc/opencv-doc/examples/data/vtest.avi
sha256=45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf
[ -f vtest.avi ] && exit 0
if [ -f "/$name" ]; then
  cp "/$name" vtest.avi
  exit 0
fi
command -v apt-get >/dev/null 2>&1 || {
  echo "get-video.sh: no apt-get here; copy vtest.avi of OpenCV's samples/data to $(pwd)" >&2
  exit 1
}
into=$(mktemp -d)
trap 'rm -rf "$into"' EXIT
(cd "$into" && apt-get download -qq opencv-doc 2>/dev/null) || {
  echo "get-video.sh: opencv-doc cannot be downloaded (95 MB); try: sudo apt-get update" >&2
  exit 1
}
dpkg-deb --fsys-tarfile "$into"/opencv-doc_*.deb | tar -xO "./$name" >"$into/vtest.avi"
echo "$sha256  $into/vtest.avi" | sha256sum --check --quiet -
mv "$into/vtest.avi" vtest.avi
