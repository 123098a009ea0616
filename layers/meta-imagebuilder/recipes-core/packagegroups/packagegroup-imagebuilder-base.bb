SUMMARY = "Base system of an imagebuilder firmware"
DESCRIPTION = "What every image needs to boot and to reach the network."

PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit packagegroup

# nooelint: oelint.vars.dependsordered - conditional ones stand last
RDEPENDS:${PN} = "\
    base-files \
    base-passwd \
    busybox \
    imagebuilder-init \
    os-release \
    ${@bb.utils.contains('VIRTUAL-RUNTIME_init_manager', 'systemd', 'systemd', '', d)} \
    ${@'dropbear' if bb.utils.to_boolean(d.getVar('IMAGEBUILDER_SSH')) else ''} \
    ${MACHINE_ESSENTIAL_EXTRA_RDEPENDS} \
"

RRECOMMENDS:${PN} = "\
    ${MACHINE_ESSENTIAL_EXTRA_RRECOMMENDS} \
    ${MACHINE_EXTRA_RRECOMMENDS} \
"
