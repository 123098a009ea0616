SUMMARY = "Compiler of the protobuf version that ONNX Runtime has inside"
DESCRIPTION = "Generated sources and library have to be of one version; installed where no other \
recipe finds it."
HOMEPAGE = "https://protobuf.dev"
SECTION = "devel"
LICENSE = "BSD-3-Clause"
LIC_FILES_CHKSUM = "file://LICENSE;md5=37b5762e07f0af8c74ce80a8bda4266b"

# The commit of the tag v21.12, the same that ONNX Runtime is built with.
SRC_URI = "git://github.com/protocolbuffers/protobuf.git;protocol=https;nobranch=1;destsuffix=${BP}"
SRCREV = "f0dc78d7e6e331b8c6bb2d5283e06aa26883ca7c"

inherit cmake native

EXTRA_OECMAKE = "\
    -DBUILD_SHARED_LIBS=OFF \
    -Dprotobuf_BUILD_TESTS=OFF \
    -Dprotobuf_WITH_ZLIB=OFF \
"

OECMAKE_TARGET_COMPILE = "protoc"

do_install() {
    install -D -m 0755 ${B}/protoc ${D}${libdir}/onnxruntime/protoc
}
