# nooelint: oelint.vars.noncoreoverride - a search path is in no signature
FILESEXTRAPATHS:prepend := "${THISDIR}/busybox:"

# What the start-up scripts and the test agent use besides OE-core's configuration.
SRC_URI:append:imagebuilder = " file://imagebuilder.cfg"
