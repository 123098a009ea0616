SUMMARY = "Firmware image for tests"
DESCRIPTION = "The release image with a shell on the console and a test agent on a virtio-serial port."
LICENSE = "MIT"

inherit imagebuilder_image

IMAGE_INSTALL += "packagegroup-imagebuilder-debug"

IMAGEBUILDER_VARIANT = "debug"
