SUMMARY = "Models, runtimes and servers of a firmware"
DESCRIPTION = "What IMAGEBUILDER_MODELS, IMAGEBUILDER_RUNTIMES and IMAGEBUILDER_SERVERS name, and the \
servers' configuration."

PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit packagegroup

# Without the layer of a firmware there is nothing to serve.
RDEPENDS:${PN} = "\
    ${@'firmware-config' if d.getVar('IMAGEBUILDER_SOURCES') else ''} \
    ${IMAGEBUILDER_MODELS} \
    ${IMAGEBUILDER_RUNTIMES} \
    ${IMAGEBUILDER_SERVERS} \
"
