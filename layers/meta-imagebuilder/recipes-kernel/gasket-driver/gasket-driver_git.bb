SUMMARY = "Driver of the Coral Edge TPU on PCIe"
DESCRIPTION = "The modules gasket and apex, which give the accelerator's queues and memory to the \
delegate of TensorFlow Lite as /dev/apex_0."
HOMEPAGE = "https://coral.ai"
SECTION = "kernel"
LICENSE = "GPL-2.0-only"
LIC_FILES_CHKSUM = "file://LICENSE;md5=b234ee4d69f5fce4486a80fdaf4a4263"

PV = "1.0.18+git"

SRC_URI = "\
    git://github.com/google/gasket-driver.git;protocol=https;branch=main;destsuffix=${BP} \
    file://0001-leave-out-no_llseek.patch \
    file://0002-import-dma-buf-by-a-string.patch \
"
SRCREV = "5815ee3908a46a415aac616ac7b9aedcb98a504c"

inherit module

# Upstream's own targets ask the build host for its kernel.
MAKE_TARGETS = "modules"
MODULES_MODULE_SYMVERS_LOCATION = "src"
EXTRA_OEMAKE += "-C ${STAGING_KERNEL_DIR} M=${S}/src"

KERNEL_MODULE_AUTOLOAD = "apex gasket"
