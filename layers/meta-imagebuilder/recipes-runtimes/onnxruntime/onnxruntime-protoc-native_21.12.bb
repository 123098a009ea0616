SUMMARY = "Compiler of the protobuf version that ONNX Runtime has inside"
DESCRIPTION = "Generated sources and library have to be of one version; installed where no other \
recipe finds it."
HOMEPAGE = "https://protobuf.dev"
SECTION = "devel"
LICENSE = "BSD-3-Clause"
LIC_FILES_CHKSUM = "file://protobuf-${PV}/LICENSE;md5=37b5762e07f0af8c74ce80a8bda4266b"

SRC_URI = "https://github.com/protocolbuffers/protobuf/archive/refs/tags/v${PV}.zip;downloadfilename=protobuf-${PV}.zip;subdir=${BP}"
SRC_URI[sha256sum] = "6a31b662deaeb0ac35e6287bda2f3369b19836e6c9f8828d4da444346f420298"

# The same archive that ONNX Runtime is built with, held by its digest.
INSANE_SKIP += "src-uri-bad"

inherit cmake native

OECMAKE_SOURCEPATH = "${S}/protobuf-${PV}"

EXTRA_OECMAKE = "\
    -DBUILD_SHARED_LIBS=OFF \
    -Dprotobuf_BUILD_TESTS=OFF \
    -Dprotobuf_WITH_ZLIB=OFF \
"

OECMAKE_TARGET_COMPILE = "protoc"

do_install() {
    install -D -m 0755 ${B}/protoc ${D}${libdir}/onnxruntime/protoc
}
