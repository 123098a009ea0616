SUMMARY = "Models, runtimes and servers of a firmware"
DESCRIPTION = "What IMAGEBUILDER_MODELS, IMAGEBUILDER_RUNTIMES and IMAGEBUILDER_SERVERS name, and the \
servers' configuration."

PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit packagegroup

# nooelint: oelint.vars.dependsordered - what a firmware names stands last
RDEPENDS:${PN} = "\
    firmware-config \
    ${IMAGEBUILDER_MODELS} \
    ${IMAGEBUILDER_RUNTIMES} \
    ${IMAGEBUILDER_SERVERS} \
"
