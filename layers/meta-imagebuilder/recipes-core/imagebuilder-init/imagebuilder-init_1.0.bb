SUMMARY = "Start-up of an imagebuilder firmware"
DESCRIPTION = "Mounts models and data, gives the device its identity, starts network and servers: \
scripts for busybox init, units for systemd."
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "\
    file://announce \
    file://check-files \
    file://data.mount \
    file://dropbear.conf \
    file://imagebuilder-announce.service \
    file://inittab \
    file://inittab-dropbear \
    file://models.mount \
    file://mounts \
    file://rc \
    file://storage \
    file://udhcpc \
"

# Older series unpack into WORKDIR.
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

inherit systemd

INHIBIT_DEFAULT_DEPS = "1"
PACKAGE_ARCH = "${MACHINE_ARCH}"

SYSTEMD_SERVICE:${PN} = "data.mount imagebuilder-announce.service models.mount"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${libexecdir}/imagebuilder ${D}/models ${D}/data
    install -m 0755 ${S}/announce ${D}${libexecdir}/imagebuilder/
    if ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
        for unit in ${SYSTEMD_SERVICE:${PN}}; do
            install -D -m 0644 ${S}/$unit ${D}${systemd_system_unitdir}/$unit
        done
        if ${@'true' if bb.utils.to_boolean(d.getVar('IMAGEBUILDER_SSH')) else 'false'}; then
            for unit in dropbear@ dropbearkey; do
                install -D -m 0644 ${S}/dropbear.conf ${D}${systemd_system_unitdir}/$unit.service.d/imagebuilder.conf
            done
        fi
        return
    fi
    for script in check-files mounts rc udhcpc; do
        install -m 0755 ${S}/$script ${D}${libexecdir}/imagebuilder/
    done
    install -m 0644 ${S}/storage ${D}${libexecdir}/imagebuilder/
    install -D -m 0644 ${S}/inittab ${D}${datadir}/imagebuilder/inittab.d/00-base
    if ${@'true' if bb.utils.to_boolean(d.getVar('IMAGEBUILDER_SSH')) else 'false'}; then
        install -m 0644 ${S}/inittab-dropbear ${D}${datadir}/imagebuilder/inittab.d/60-dropbear
    fi
    install -d ${D}${sysconfdir}
    ln -s /run/resolv.conf ${D}${sysconfdir}/resolv.conf
    ln -s /data/machine-id ${D}${sysconfdir}/machine-id
}

FILES:${PN} += "\
    /data \
    /models \
    ${datadir}/imagebuilder \
    ${libexecdir}/imagebuilder \
    ${systemd_system_unitdir} \
"

# Checks and mends the data partition before it is mounted.
RDEPENDS:${PN} = "e2fsprogs-e2fsck"
