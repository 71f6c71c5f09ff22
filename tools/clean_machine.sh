#!/bin/sh
# A Debian with nothing but python3, pip and make; in it a clone of this repository and the README's two commands.
#
#   tools/clean_machine.sh [--keep] [--mount DIR]... [FOLDER]
#
# As root, with debootstrap and git. FOLDER (default build/clean-machine) takes 4 GB; it is emptied at the end unless
# --keep is given. What is committed is cloned. --mount: a folder that the machine inside sees too, read-only, such as
# one of Python packages. How pip is configured here (PIP_* variables, /etc/pip.conf, /etc/xdg/pip) and which
# certificates are trusted holds inside. MIRROR, SUITE: Debian's packages (default bookworm, which has Python 3.11).
set -eu

keep=no
mounts=
while [ $# -gt 0 ]; do
  case $1 in
    --keep) keep=yes ;;
    --mount) mounts="$mounts $2"; shift ;;
    -*) sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 2 ;;
    *) break ;;
  esac
  shift
done
source=$(cd "$(dirname "$0")/.." && pwd)
root=${1:-$source/build/clean-machine}
if [ "$(id -u)" != 0 ]; then
  echo "Run as root: a folder becomes the root of a system of its own." >&2; exit 2
fi
if [ -e "$root" ]; then
  echo "$root is there already. Remove it, or name another folder." >&2; exit 2
fi

clean_up() {
  for place in $mounts /proc /dev/shm; do umount "$root$place" 2>/dev/null || true; done
  # A mount that is left would be emptied too.
  if [ $keep = no ] && ! grep -q " $root/" /proc/mounts; then rm -rf "$root"; fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

mkdir -p "$root"
debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,make "${SUITE:-bookworm}" "$root" \
  "${MIRROR:-http://deb.debian.org/debian}" > "$root.log" 2>&1 || { tail -5 "$root.log" >&2; exit 1; }
cp -r /etc/ssl/certs/. "$root/etc/ssl/certs/"
for place in /etc/pip.conf /etc/xdg/pip; do
  if [ -e $place ]; then mkdir -p "$root$(dirname $place)" && cp -r $place "$root$place"; fi
done
for place in $mounts; do
  mkdir -p "$root$place" && mount --bind "$place" "$root$place" && mount -o remount,bind,ro "$root$place"
done
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm" && mount -t tmpfs tmpfs "$root/dev/shm"
cp /etc/resolv.conf /etc/hosts "$root/etc/"
git clone --quiet "$source" "$root/root/prompt-hub"

pip_settings=$(env | grep -E '^(PIP_|SSL_CERT|REQUESTS_CA)' || true)
inside() {
  started=$(date +%s)
  # shellcheck disable=SC2086
  chroot "$root" env -i HOME=/root PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 $pip_settings \
    sh -c "cd /root/prompt-hub && $1" || { echo "$1: failed" >&2; exit 1; }
  echo "$1: done in $(($(date +%s) - started)) s"
}
echo "$(chroot "$root" python3 --version), $(chroot "$root" make --version | head -1), $(git -C "$source" rev-parse --short HEAD)"
inside "make quickstart"
inside "make test"
