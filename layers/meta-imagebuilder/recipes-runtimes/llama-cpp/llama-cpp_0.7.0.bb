SUMMARY = "Server for language models in the GGUF format"
DESCRIPTION = "llama.cpp's own server with its OpenAI routes, for the CPU. Only the server is built, \
as one program with its libraries inside."
HOMEPAGE = "https://github.com/ggml-org/llama.cpp"
SECTION = "net"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=223b26b3c1143120c87e2b13111d3e99"

# The commit of the tag v0.7.0, which is on no branch for certain: the version that Debian has.
SRC_URI = "\
    git://github.com/ggml-org/llama.cpp.git;protocol=https;nobranch=1;destsuffix=${BP} \
    file://inittab \
    file://llama-server.service \
    file://serve-text \
"
SRCREV = "620d2225cc436ab0b001e3200e590e3b286ef9ab"

python () {
    if not d.getVar("IMAGEBUILDER_SOURCES"):
        raise bb.parse.SkipRecipe("no layer of a firmware has inferd, which verifies its model (IMAGEBUILDER_SOURCES)")
}

inherit cmake pkgconfig systemd useradd

USERADD_PACKAGES = "llama-server"
GROUPADD_PARAM:llama-server = "--system --gid 902 llama-server"
USERADD_PARAM:llama-server = "--system --uid 902 --gid llama-server --home-dir / --no-create-home --shell /bin/false llama-server"

SYSTEMD_PACKAGES = "llama-server"
SYSTEMD_SERVICE:llama-server = "llama-server.service"

PACKAGECONFIG ??= ""
PACKAGECONFIG[openmp] = "-DGGML_OPENMP=ON,-DGGML_OPENMP=OFF"
PACKAGECONFIG[openssl] = "-DLLAMA_OPENSSL=ON,-DLLAMA_OPENSSL=OFF,openssl"

# The number and commit are given, and ggml is kept from asking git, so that the same source gives
# the same program, which says the version of the release; without a user interface nothing is
# downloaded while building. No request can have it start another program.
EXTRA_OECMAKE = "\
    -DBUILD_SHARED_LIBS=OFF \
    -DFETCHCONTENT_FULLY_DISCONNECTED=ON \
    -DGGML_CCACHE=OFF \
    -DGGML_NATIVE=OFF \
    -DGIT_EXE=OFF \
    -DLLAMA_BUILD_COMMIT=${@d.getVar('SRCREV')[:7]} \
    -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_IS_DEV=OFF \
    -DLLAMA_BUILD_NUMBER=0 \
    -DLLAMA_BUILD_SERVER=ON \
    -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_UI=OFF \
    -DLLAMA_SUBPROCESS=OFF \
    -DLLAMA_USE_PREBUILT_UI=OFF \
"

# The machine's tune alone decides which instructions are used.
EXTRA_OECMAKE:append:x86-64 = "\
    -DGGML_AVX=OFF \
    -DGGML_AVX2=OFF \
    -DGGML_BMI2=OFF \
    -DGGML_F16C=OFF \
    -DGGML_FMA=OFF \
    -DGGML_SSE42=OFF \
"
EXTRA_OECMAKE:append:riscv64 = "\
    -DGGML_RVV=OFF \
    -DGGML_RV_ZFH=OFF \
    -DGGML_RV_ZICBOP=OFF \
    -DGGML_RV_ZIHINTPAUSE=OFF \
    -DGGML_RV_ZVFH=OFF \
"

OECMAKE_TARGET_COMPILE = "llama-server"

# Its HTTP library does not support 32 bit.
COMPATIBLE_HOST = "(aarch64|riscv64|x86_64).*-linux"

# Older series unpack into WORKDIR.
LLAMA_FILES = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

do_install() {
    install -D -m 0755 ${B}/bin/llama-server ${D}${bindir}/llama-server
    install -D -m 0755 ${LLAMA_FILES}/serve-text ${D}${libexecdir}/imagebuilder/serve-text
    if ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
        install -D -m 0644 ${LLAMA_FILES}/llama-server.service \
            ${D}${systemd_system_unitdir}/llama-server.service
    else
        install -D -m 0644 ${LLAMA_FILES}/inittab \
            ${D}${datadir}/imagebuilder/inittab.d/50-llama-server
    fi
}

PACKAGES = "${PN}-src ${PN}-dbg llama-server"
FILES:llama-server += "${bindir}/llama-server ${datadir}/imagebuilder ${libexecdir}/imagebuilder"

# serve-text has it verify the model.
RDEPENDS:llama-server += "inferd-bin"
