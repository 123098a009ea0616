require onnxruntime-release.inc

SUMMARY = "ONNX Runtime as its developers built it"
DESCRIPTION = "The release archive's library for the CPU: minutes instead of hours of compiling. \
This version has no telemetry; the server sets ORT_DISABLE_TELEMETRY all the same."
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=0f7e3b1308cb5c00b372a6e78835732d"

# nooelint: oelint.vars.srcurichecksum - both names that ORT_ARCH can have follow
SRC_URI = "https://github.com/microsoft/onnxruntime/releases/download/v${PV}/onnxruntime-linux-${ORT_ARCH}-${PV}.tgz;name=${ORT_ARCH};subdir=${BP};striplevel=1"
SRC_URI[aarch64.sha256sum] = "e15ff8b5d85afe6c144d97c6fd432254bf76a219daaf17658087d6ecb3e8f0bb"
SRC_URI[x64.sha256sum] = "a3e1b79d7bb1bf09696ce675f49e4064e6c81f6202b8225624fff0e93f8d6407"

# The archive is for the GNU C library only.
COMPATIBLE_HOST = "(aarch64|x86_64).*-linux"
COMPATIBLE_HOST:libc-musl = "null"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0755 ${S}/lib/libonnxruntime.so.${PV} ${D}${libdir}/libonnxruntime.so
    install -D -m 0644 ${S}/ThirdPartyNotices.txt ${D}${datadir}/doc/${PN}/ThirdPartyNotices.txt
}

# The server opens the library by this name, so it belongs to the package itself.
FILES_SOLIBSDEV = ""
FILES:${PN} += "${libdir}/libonnxruntime.so"

# Built and stripped by its developers, whose linker flags are not ours.
INSANE_SKIP:${PN} = "already-stripped ldflags"
