SUMMARY = "Test agent of debug images"
DESCRIPTION = "Runs the commands that come through a virtio-serial port, and a shell on the console."
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "\
    file://agent \
    file://imagebuilder-agent.service \
    file://inittab \
    file://serial-getty.conf \
"

# Older series unpack into WORKDIR.
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

inherit allarch systemd

INHIBIT_DEFAULT_DEPS = "1"

SYSTEMD_SERVICE:${PN} = "imagebuilder-agent.service"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0755 ${S}/agent ${D}${libexecdir}/imagebuilder/agent
    if ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
        install -D -m 0644 ${S}/imagebuilder-agent.service \
            ${D}${systemd_system_unitdir}/imagebuilder-agent.service
        install -D -m 0644 ${S}/serial-getty.conf \
            ${D}${systemd_system_unitdir}/serial-getty@.service.d/imagebuilder.conf
    else
        install -D -m 0644 ${S}/inittab ${D}${datadir}/imagebuilder/inittab.d/90-agent
    fi
}

FILES:${PN} += "${datadir}/imagebuilder ${libexecdir}/imagebuilder ${systemd_system_unitdir}"
