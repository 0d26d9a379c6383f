#!/usr/bin/env bash
# The real v4l2loopback module, without touching this machine's kernel: Debian's kernel and the module, built here, run in
# a guest of QEMU by software emulation. The guest sees this machine's files read-only, and runs one Python script.
#
# usage: run_guest.sh PYTHON MODULE ROOT WORK     (as root on Debian; WORK keeps kernel and module for the next time)
set -euo pipefail
python=$1 module=$2 root=$3 work=$4
mkdir -p "$work"
cd "$work"

install_tools() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -qq -y --no-install-recommends \
    qemu-system-x86 busybox-static cpio kmod linux-headers-amd64 gcc make >/dev/null 2>&1 && return
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends \
    qemu-system-x86 busybox-static cpio kmod linux-headers-amd64 gcc make >/dev/null
}

fetch_kernel() {
  [ -d kernel ] && [ -d loopback ] && return
  apt-get download -qq "linux-image-$version" v4l2loopback-dkms
  dpkg -x linux-image-*.deb kernel
  dpkg -x v4l2loopback-dkms*.deb dkms
  cp -r dkms/usr/src/v4l2loopback-* loopback
}

build_module() {
  [ -f loopback/v4l2loopback.ko ] || make -s -C "/usr/src/linux-headers-$version" M="$PWD/loopback" modules
}

pack_guest() {
  local modules="kernel/lib/modules/$version/kernel" name
  rm -rf guest && mkdir -p guest/{bin,mod,proc,sys,dev,mnt} && cp /bin/busybox guest/bin/
  for name in drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev \
    drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci fs/netfs/netfs fs/fscache/fscache \
    net/9p/9pnet net/9p/9pnet_virtio fs/9p/9p drivers/media/mc/mc drivers/media/v4l2-core/videodev; do
    cp "$modules/$name.ko" guest/mod/
  done
  cp loopback/v4l2loopback.ko guest/mod/
  write_init > guest/init && chmod +x guest/init
  (cd guest && find . | cpio -o -H newc --quiet | gzip -1) > guest.gz
}

write_init() {
  cat <<INIT
#!/bin/busybox sh
b=/bin/busybox
\$b mount -t proc p /proc; \$b mount -t sysfs s /sys; \$b mount -t devtmpfs d /dev
for m in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci netfs fscache \
  9pnet 9pnet_virtio 9p mc videodev; do \$b insmod /mod/\$m.ko; done
\$b insmod /mod/v4l2loopback.ko video_nr=10 card_label=mimicam exclusive_caps=0
\$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose host /mnt
\$b mount -t proc p /mnt/proc; \$b mount -t sysfs s /mnt/sys; \$b mount --bind /dev /mnt/dev
\$b mount -t tmpfs t /mnt/var/tmp
cd /
HOME=/var/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$root PATH=/usr/bin:/bin \$b chroot /mnt $python -u -m $module
echo GUEST_EXIT=\$?
\$b poweroff -f
INIT
}

run_guest() {
  timeout 300 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nodefaults -nographic -no-reboot \
    -serial stdio -kernel "kernel/boot/vmlinuz-$version" -initrd guest.gz \
    -append "console=ttyS0 quiet panic=-1 rdinit=/init mitigations=off" \
    -fsdev local,id=f0,path=/,security_model=none,readonly=on,multidevs=remap \
    -device virtio-9p-pci,fsdev=f0,mount_tag=host </dev/null | tee guest.log
  grep -aq "GUEST_EXIT=0" guest.log
}

install_tools
version=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/{print $2}')
version=${version#linux-image-}
fetch_kernel
build_module
pack_guest
run_guest
