# Installs a firmware's configuration: that of its servers, keys, files and units of its own.
#
# FIRMWARE_FILES: SOURCE:PATH:MODE for each file; FIRMWARE_SERVICES: systemd units;
# FIRMWARE_DEVICES: device nodes that inferd opens.

SUMMARY ?= "Configuration of this firmware"
DESCRIPTION ?= "What the firmware's manifest says of the server, the image and files of its own."
SECTION ?= "base"
LICENSE ?= "CLOSED"

FIRMWARE_FILES ?= ""
FIRMWARE_SERVICES ?= ""
FIRMWARE_DEVICES ?= ""

FIRMWARE_CONFIGS = "\
    ${@bb.utils.contains('IMAGEBUILDER_SERVERS', 'inferd', 'inferd.json', '', d)} \
    ${@bb.utils.contains('IMAGEBUILDER_SERVERS', 'llama-server', 'llama-server.conf', '', d)} \
"
FIRMWARE_KEYS = "${@'authorized_keys' if bb.utils.to_boolean(d.getVar('IMAGEBUILDER_SSH')) else ''}"

SRC_URI = "\
    ${@' '.join('file://' + name for name in d.getVar('FIRMWARE_CONFIGS').split())} \
    ${@' '.join('file://' + name for name in d.getVar('FIRMWARE_KEYS').split())} \
    ${@' '.join('file://' + entry.split(':')[0] for entry in d.getVar('FIRMWARE_FILES').split())} \
    ${@' '.join('file://' + name for name in d.getVar('FIRMWARE_SERVICES').split())} \
"

# Older series unpack into WORKDIR.
FIRMWARE_SOURCE = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"
S = "${FIRMWARE_SOURCE}"

inherit systemd

INHIBIT_DEFAULT_DEPS = "1"
PACKAGE_ARCH = "${MACHINE_ARCH}"

SYSTEMD_SERVICE:${PN} = "${FIRMWARE_SERVICES}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

# The sandbox of inferd has no devices but these. A BSP may have rules for the same nodes, hence :=.
firmware_devices_systemd() {
    unit=${D}${systemd_system_unitdir}/inferd.service.d/devices.conf
    rules=${D}${nonarch_base_libdir}/udev/rules.d/70-inferd.rules
    install -d ${unit%/*} ${rules%/*}
    printf '[Service]\nPrivateDevices=no\nDevicePolicy=closed\n' >$unit
    for node in ${FIRMWARE_DEVICES}; do
        echo "DeviceAllow=$node rw" >>$unit
        echo "ENV{DEVNAME}==\"$node\", GROUP:=\"inferd\", MODE:=\"0660\"" >>$rules
    done
}

# The script that starts inferd gives them to it.
firmware_devices_busybox() {
    printf '%s\n' ${FIRMWARE_DEVICES} >${D}${sysconfdir}/inferd.devices
}

do_install() {
    install -d ${D}${sysconfdir}
    for name in ${FIRMWARE_CONFIGS}; do
        install -m 0644 ${FIRMWARE_SOURCE}/$name ${D}${sysconfdir}/
    done
    # busybox init has the limit from the configuration itself.
    memory=$(sed -n 's/^memory=//p' ${D}${sysconfdir}/llama-server.conf 2>/dev/null || true)
    if [ -n "$memory" ] && ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
        install -d ${D}${systemd_system_unitdir}/llama-server.service.d
        printf '[Service]\nMemoryMax=%s\n' "$memory" \
            >${D}${systemd_system_unitdir}/llama-server.service.d/memory.conf
    fi
    if [ -n "${FIRMWARE_DEVICES}" ]; then
        if ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
            firmware_devices_systemd
        else
            firmware_devices_busybox
        fi
    fi
    if [ -n "${FIRMWARE_KEYS}" ]; then
        install -d -m 0700 ${D}${ROOT_HOME} ${D}${ROOT_HOME}/.ssh
        install -m 0600 ${FIRMWARE_SOURCE}/authorized_keys ${D}${ROOT_HOME}/.ssh/
    fi
    for entry in ${FIRMWARE_FILES}; do
        source=${entry%%:*}
        rest=${entry#*:}
        install -D -m ${rest##*:} "${FIRMWARE_SOURCE}/$source" "${D}${rest%:*}"
    done
    for unit in ${FIRMWARE_SERVICES}; do
        install -D -m 0644 "${FIRMWARE_SOURCE}/$unit" "${D}${systemd_system_unitdir}/$unit"
    done
}

FILES:${PN} += "${ROOT_HOME} ${sysconfdir} ${systemd_system_unitdir} \
    ${@' '.join(entry.split(':')[1] for entry in d.getVar('FIRMWARE_FILES').split())}"
