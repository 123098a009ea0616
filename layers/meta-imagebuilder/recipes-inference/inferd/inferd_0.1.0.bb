SUMMARY = "Inference server for small devices"
DESCRIPTION = "Serves sealed model bundles by the Open Inference Protocol v2; its source comes with \
the firmware's own layer, so that server and bundles always fit."
SECTION = "net"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

DEPENDS = "libevent libsodium nlohmann-json onnxruntime-headers"

# nooelint: oelint.vars.fileextrapaths,oelint.vars.outofcontext - the sources are in the layer of the firmware
FILESEXTRAPATHS:prepend := "${IMAGEBUILDER_SOURCES}:"

LOCAL_ARCHIVE_SHA256 = "${IMAGEBUILDER_INFERD_SHA256}"
IMAGEBUILDER_INFERD_SHA256 ??= ""

inherit local_archive

SRC_URI += "\
    file://credential \
    file://explain \
    file://inferd.service \
    file://inittab \
    file://serve \
"

python () {
    if not d.getVar("IMAGEBUILDER_SOURCES"):
        raise bb.parse.SkipRecipe("no layer of a firmware has its source (IMAGEBUILDER_SOURCES)")
}

inherit cmake pkgconfig systemd useradd

USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system --gid 901 inferd"
USERADD_PARAM:${PN} = "--system --uid 901 --gid inferd --home-dir / --no-create-home --shell /bin/false inferd"

SYSTEMD_SERVICE:${PN} = "inferd.service"

# Older series unpack into WORKDIR.
INFERD_FILES = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

do_install:append() {
    install -d ${D}${libexecdir}/imagebuilder
    for script in credential explain serve; do
        install -m 0755 ${INFERD_FILES}/$script ${D}${libexecdir}/imagebuilder/
    done
    if ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
        install -D -m 0644 ${INFERD_FILES}/inferd.service ${D}${systemd_system_unitdir}/inferd.service
    else
        install -D -m 0644 ${INFERD_FILES}/inittab ${D}${datadir}/imagebuilder/inittab.d/50-inferd
    fi
}

# The program alone, for images where it only verifies bundles for another server.
PACKAGE_BEFORE_PN = "${PN}-bin"
FILES:${PN} += "${datadir}/imagebuilder ${libexecdir}/imagebuilder"
RDEPENDS:${PN} += "${PN}-bin"
