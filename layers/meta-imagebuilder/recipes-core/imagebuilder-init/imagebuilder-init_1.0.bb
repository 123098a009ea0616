SUMMARY = "Start-up of an imagebuilder firmware"
DESCRIPTION = "Mounts models and data, gives the device its identity, starts network and servers: \
scripts for busybox init, units for systemd."
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "\
    file://after-volatile.conf \
    file://announce \
    file://check-files \
    file://dropbear.conf \
    file://ethernet.network \
    file://imagebuilder-announce.service \
    file://imagebuilder-storage.service \
    file://inittab \
    file://inittab-dropbear \
    file://journald.conf \
    file://mounts \
    file://prepare \
    file://rc \
    file://resolved.conf \
    file://storage \
    file://sysctl.conf \
    file://timesyncd.conf \
    file://tmp.conf \
    file://udhcpc \
    file://volatile.conf \
"

# Older series unpack into WORKDIR.
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

inherit systemd

INHIBIT_DEFAULT_DEPS = "1"
PACKAGE_ARCH = "${MACHINE_ARCH}"

SYSTEMD_SERVICE:${PN} = "imagebuilder-announce.service imagebuilder-storage.service"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${libexecdir}/imagebuilder ${D}/models ${D}/data
    install -m 0755 ${S}/announce ${S}/check-files ${D}${libexecdir}/imagebuilder/
    install -m 0644 ${S}/storage ${D}${libexecdir}/imagebuilder/
    if ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
        for unit in ${SYSTEMD_SERVICE:${PN}}; do
            install -D -m 0644 ${S}/$unit ${D}${systemd_system_unitdir}/$unit
        done
        install -m 0755 ${S}/prepare ${D}${libexecdir}/imagebuilder/
        # OE's own begin with 00, and its network with 80: the first that matches counts.
        for daemon in journald resolved timesyncd; do
            install -D -m 0644 ${S}/$daemon.conf ${D}${systemd_unitdir}/$daemon.conf.d/50-imagebuilder.conf
        done
        for daemon in resolved timesyncd; do
            install -D -m 0644 ${S}/after-volatile.conf \
                ${D}${systemd_system_unitdir}/systemd-$daemon.service.d/imagebuilder.conf
        done
        install -D -m 0644 ${S}/tmp.conf ${D}${systemd_system_unitdir}/tmp.mount.d/imagebuilder.conf
        install -D -m 0644 ${S}/volatile.conf ${D}${systemd_system_unitdir}/var-volatile.mount.d/imagebuilder.conf
        install -D -m 0644 ${S}/ethernet.network ${D}${systemd_unitdir}/network/70-imagebuilder.network
        install -D -m 0644 ${S}/sysctl.conf ${D}${nonarch_libdir}/sysctl.d/50-imagebuilder.conf
        if ${@'true' if bb.utils.to_boolean(d.getVar('IMAGEBUILDER_SSH')) else 'false'}; then
            for unit in dropbear@ dropbearkey; do
                install -D -m 0644 ${S}/dropbear.conf ${D}${systemd_system_unitdir}/$unit.service.d/imagebuilder.conf
            done
        fi
        return
    fi
    for script in mounts rc udhcpc; do
        install -m 0755 ${S}/$script ${D}${libexecdir}/imagebuilder/
    done
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
    ${nonarch_libdir}/sysctl.d \
    ${systemd_unitdir} \
"

# Checks and mends the data partition before it is mounted.
RDEPENDS:${PN} = "e2fsprogs-e2fsck"
