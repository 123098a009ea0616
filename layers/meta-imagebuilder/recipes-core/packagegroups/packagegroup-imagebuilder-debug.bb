SUMMARY = "What only debug images have"
DESCRIPTION = "A shell on the console and the test agent."

inherit packagegroup

RDEPENDS:${PN} = "imagebuilder-agent"
