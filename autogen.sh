#!/bin/sh
# autogen.sh - make ./configure and the Makefile.in from their sources. Needed once in a fresh clone; a tarball has them.
set -eu
cd "$(dirname "$0")"

missing=
need() { # PROGRAM DEBIAN-PACKAGE FEDORA-PACKAGE
  command -v "$1" >/dev/null 2>&1 && return
  echo "autogen.sh: $1 is missing. Debian, Ubuntu: apt-get install $2. Fedora: dnf install $3." >&2
  missing=yes
}
need autoconf autoconf autoconf
need automake automake automake
need libtoolize libtool libtool
need pkg-config pkg-config pkgconf-pkg-config
test -z "$missing" || exit 1

mkdir -p m4
exec autoreconf --install --warnings=all "$@"
