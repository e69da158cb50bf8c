#!/usr/bin/env bash
# Installs the Debian packages that the named groups need, and says which and why.
# Usage: setup.sh GROUP...   (groups: build desktop programs image netboot rig planes windows cards va peers)
set -euo pipefail

# One line a package: group, name, why.
packages() {
    cat <<'LIST'
build    build-essential     links Rust programs, builds bundled C (zstd, SQLite, ring)
build    nasm                the fast paths of the H.264 codec
build    pkg-config          finds the libraries below
build    libdrm-dev          KMS on the terminal
build    libinput-dev        keyboards, mice and touch on the terminal
build    libudev-dev         device discovery
build    libxkbcommon-dev    keymaps in the session
build    libpcsclite-dev     smart cards on the terminal
build    libpam0g-dev        people's logins on the server
desktop  foot                the terminal emulator that sessions start
desktop  fonts-dejavu-core   text on desktops and on the terminal's own screens
desktop  xkb-data            keyboard layouts
desktop  adwaita-icon-theme  mouse cursors
desktop  dbus-daemon         a session bus for each desktop
desktop  waybar              the panel
desktop  fuzzel              the launcher
desktop  mako-notifier       notifications
desktop  swaylock            the screen's lock
desktop  procps              closes the launcher by its own button
desktop  xwayland            X11 programs
desktop  libegl1             Xwayland ends without it
desktop  libgl1-mesa-dri     GLES on the processor, which tests of flat outputs draw with
desktop  libgbm1             buffers that GLES draws into for the encoder
programs xterm               X11 programs that tests look at
programs xclip               copy and paste of X11 programs
programs wl-clipboard        copy and paste of Wayland programs
programs procps              ends programs
image    binutils            strips the terminal's program
image    kmod                checks the image's module lists
image    cpio                checks the image's archives
image    openssl             makes keys for the tests of signed images
image    sbsigntool          signs images for Secure Boot
netboot  dnsmasq-base        DHCP, ProxyDHCP and TFTP
netboot  ipxe                boot programs for firmware without HTTP
rig      qemu-system-x86     terminals as virtual machines
rig      ipxe-qemu           their network boot ROM
rig      ipxe                the boot program for ROMs without HTTP
rig      ovmf                their UEFI firmware
rig      dnsmasq-base        DHCP, ProxyDHCP and TFTP
rig      iproute2            network namespaces and taps
planes   qemu-system-x86     the machine whose display has planes for video
planes   debian-archive-keyring  verifies its kernel
planes   util-linux          a namespace to build it in
planes   xz-utils            unpacks its sources
planes   binutils            strips what runs in it
planes   libva2              loads the VA driver in it
planes   libva-drm2          displays for it
planes   libwayland-client0  clients in it
planes   libegl-mesa0        GLES in it, which composes a flat output
planes   libgl1-mesa-dri     draws for that with the processor
planes   libgbm1             buffers for it
windows  qemu-system-gui     the terminals' windows on your desktop
cards    pcscd               the card service, for tests without a virtual machine
cards    vsmartcard-vpcd     a virtual reader for it
cards    opensc              reads our virtual cards as a third party, and signs with them
cards    opensc-pkcs11       the same through PKCS #11
cards    yubico-piv-tool     another third party
cards    openssl             checks certificates and signatures
cards    iproute2            a loopback interface for each test
va       libva2              loads the VA driver of the tests
va       libva-drm2          displays for it
va       libva-dev           the headers that its structures are compared with
va       vainfo              a third party that lists what it offers
va       ffmpeg              a third party that encodes, decodes and converts with it
peers    tigervnc-standalone-server  Xvnc, which the bench compares with
peers    sway                a compositor without a screen, for the two below
peers    wayvnc              VNC out of it
peers    waypipe             windows into it
peers    xvfb                X servers without a screen, for those below and their viewers
peers    freerdp2-shadow-x11 RDP out of one
peers    freerdp2-x11        its viewer
peers    weston              RDP out of Wayland, with the same viewer
peers    openssl             its key and certificate
peers    xpra                a desktop of its own, and its viewer
peers    python3-gi-cairo    without which Xpra's windows stay empty
peers    python3-pil         without which Xpra serves nobody
peers    python3-numpy       pictures in Xpra
peers    python3-lz4         compression in Xpra
peers    iproute2            addresses of links
LIST
}

wanted=$(for group in "$@"; do packages | awk -v g="$group" '$1 == g'; done)
missing=$(while read -r _ name why; do
    [ -z "$name" ] || [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%-20s %s\n' "$name" "$why"
done <<<"$wanted")
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || { echo "setup: needs apt-get; install by hand: $(awk '{print $1}' <<<"$missing" | xargs)" >&2; exit 1; }
echo "setup: installing from the distribution:"
sed 's/^/  /' <<<"$missing"
as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "setup: run this as root, or install sudo" >&2; exit 1; }
    echo "setup: asking sudo for the right to install them"
    as_root=(sudo)
fi
names=$(awk '{print $1}' <<<"$missing")
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@"; }
# shellcheck disable=SC2086 # The names are words on purpose.
apt install -y --no-install-recommends $names || { apt update && apt install -y --no-install-recommends $names; }
