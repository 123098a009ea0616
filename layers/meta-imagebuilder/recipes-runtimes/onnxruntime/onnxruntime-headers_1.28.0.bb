require onnxruntime-release.inc

SUMMARY = "Headers of ONNX Runtime's C API"
DESCRIPTION = "What a program is compiled with that opens the library at run time; apart from the \
libraries, so that another library does not build the program anew."
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=0f7e3b1308cb5c00b372a6e78835732d"

# The headers are the same for every architecture.
SRC_URI = "https://github.com/microsoft/onnxruntime/releases/download/v${PV}/onnxruntime-linux-aarch64-${PV}.tgz;subdir=${BP};striplevel=1"
SRC_URI[sha256sum] = "e15ff8b5d85afe6c144d97c6fd432254bf76a219daaf17658087d6ecb3e8f0bb"

inherit allarch

INHIBIT_DEFAULT_DEPS = "1"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${includedir}/onnxruntime
    install -m 0644 ${S}/include/*.h ${D}${includedir}/onnxruntime/
}

ALLOW_EMPTY:${PN} = "1"
