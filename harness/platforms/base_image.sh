#!/bin/sh
# Finishes the root file system of Debian's base image; run by mmdebstrap on the host as its --extract-hook.
#
#   base_image.sh ROOT MINOR DROPPED...     e.g. base_image.sh /tmp/mmdebstrap.x 3.11 dpkg tar
#
# The packages are unpacked without being configured (mmdebstrap's variant "extract"), so what their own scripts
# would do, as far as an image needs it, is done here.
set -eu

root="$1" minor="$2"
shift 2
dropped=" $* "

# Dependencies that only installing needs go; of the others the control files stay, where scanners look for them.
mkdir -p "$root/var/lib/dpkg/status.d"
for deb in "$root"/var/cache/apt/archives/*.deb; do
    name="$(dpkg-deb --field "$deb" Package)"
    case "$dropped" in
        *" $name "*) dpkg-deb --fsys-tarfile "$deb" | tar -t | grep -v '/$' | (cd "$root" && xargs -d '\n' rm -f) ;;
        *) dpkg-deb --field "$deb" > "$root/var/lib/dpkg/status.d/$name" ;;
    esac
done
share="$root/usr/share"
rm -rf "$share/doc" "$share/man" "$share/info" "$share/locale" "$share/lintian" "$share/bug" "$share/menu" \
    "$share/perl5" "$share/debconf" "$share/dpkg" "$share/zoneinfo/right" "$share/zoneinfo/posix" \
    "$root/usr/lib/dpkg" "$root/etc/dpkg" "$root/etc/hostname" "$root/etc/resolv.conf"

cat > "$root/etc/passwd" <<END
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
nonroot:x:65532:65532:nonroot:/tmp:/usr/sbin/nologin
END
printf 'root:x:0:\nnogroup:x:65534:\nnonroot:x:65532:\n' > "$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' > "$root/etc/nsswitch.conf"
ln -sf /usr/share/zoneinfo/Etc/UTC "$root/etc/localtime"
mkdir -p "$root/usr/local/bin" "$root/usr/local/lib" "$root/run"
rm -rf "$root/var/run" "$root/var/lock" "$root/var/local"
ln -s /run "$root/var/run"
find "$root" -xdev '(' -type f -o -type d ')' -perm /6000 -exec chmod ug-s {} +

chroot "$root" /sbin/ldconfig
rm -rf "$root/var/cache/ldconfig"

# The bytecode of the standard library must not depend on the sources' dates, which the archive clamps: with
# Debian's own bytecode, which does, every start in a read-only container would compile the library anew.
find "$root/usr/lib" -name __pycache__ -exec rm -rf {} +
chroot "$root" /usr/bin/python3 -I -m compileall -q -f --invalidation-mode unchecked-hash \
    /usr/lib/python3 "/usr/lib/python$minor"
rm -rf "$root"/var/log/*

# mmdebstrap is told not to clean up after apt: it would leave folders that belong to apt's own user or to root,
# depending on where it runs.
rm -rf "$root/var/cache/apt" "$root/var/lib/apt"
