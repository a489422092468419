#!/bin/sh
# Finishes the base image that everybody builds from; run by mmdebstrap on the host as a --customize-hook.
#
#   base_image.sh ROOT MINOR        e.g. base_image.sh /tmp/mmdebstrap.x 3.11
#
# What is wanted is what the official "slim" image of Python has: a Debian that can install packages, Python, pip
# and ensurepip; but with Debian's Python, and with bytecode for the standard library, which nobody then has to make.
set -eu

root="$1" minor="$2"

# What the tools' own Dockerfiles install of Debian's packages is kept for a mirror of our own.
chroot "$root" apt-get install --yes --quiet --no-install-recommends --download-only \
    bash build-essential ca-certificates git gnupg2 nginx

# As in Debian's official images: what was installed from leaves nothing behind in a layer.
cat > "$root/etc/apt/apt.conf.d/docker-clean" <<'END'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
END
rm -f "$root"/var/cache/apt/*.bin

rm -f "$root/usr/lib/python$minor/EXTERNALLY-MANAGED"
wheel="$(cd "$root" && ls usr/share/python-wheels/pip-*.whl)"
chroot "$root" python3 "/$wheel/pip" install --quiet --no-index --no-deps --no-compile --root-user-action ignore "/$wheel"
ln -s python3 "$root/usr/bin/python"
find "$root/usr" -name __pycache__ -prune -exec rm -rf {} +
chroot "$root" /usr/bin/python3 -I -m compileall -q -f --invalidation-mode unchecked-hash \
    /usr/lib/python3 "/usr/lib/python$minor"
