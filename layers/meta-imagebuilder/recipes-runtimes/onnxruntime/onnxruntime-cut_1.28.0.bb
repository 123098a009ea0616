require onnxruntime-release.inc

SUMMARY = "ONNX Runtime with the operators of the firmware's models only"
DESCRIPTION = "Minimal build: reads models in the ORT format only, and has the operators and types \
that the file IMAGEBUILDER_ONNX_OPERATORS lists, which the firmware's layer has in its sources folder."

# What is linked into the library; ThirdPartyNotices.txt has the texts.
LICENSE = "MIT & Apache-2.0 & BSD-2-Clause & BSD-3-Clause & BSL-1.0 & MPL-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=0f7e3b1308cb5c00b372a6e78835732d \
    file://ThirdPartyNotices.txt;md5=9eeadcc203053c6f321b6fa0a0f9b06b"

DEPENDS += "onnxruntime-protoc-native"
PROVIDES += "onnxruntime"

IMAGEBUILDER_ONNX_OPERATORS ??= ""

# Name, address and version of every archive as in cmake/deps.txt of this release.
SRC_URI = "\
    git://github.com/microsoft/onnxruntime.git;protocol=https;nobranch=1;destsuffix=${BP} \
    https://github.com/abseil/abseil-cpp/archive/refs/tags/20250814.0.zip;name=abseil_cpp;downloadfilename=abseil-cpp-20250814.0.zip;subdir=${BP}/deps \
    https://github.com/boostorg/mp11/archive/refs/tags/boost-1.82.0.zip;name=mp11;downloadfilename=mp11-boost-1.82.0.zip;subdir=${BP}/deps \
    https://github.com/dcleblanc/SafeInt/archive/refs/tags/3.0.28.zip;name=safeint;downloadfilename=SafeInt-3.0.28.zip;subdir=${BP}/deps \
    https://github.com/eigen-mirror/eigen/archive/1d8b82b0740839c0de7f1242a3585e3390ff5f33/eigen-1d8b82b0740839c0de7f1242a3585e3390ff5f33.zip;name=eigen;subdir=${BP}/deps \
    https://github.com/google/flatbuffers/archive/refs/tags/v23.5.26.zip;name=flatbuffers;downloadfilename=flatbuffers-23.5.26.zip;subdir=${BP}/deps \
    https://github.com/google/re2/archive/refs/tags/2024-07-02.zip;name=re2;downloadfilename=re2-2024-07-02.zip;subdir=${BP}/deps \
    https://github.com/HowardHinnant/date/archive/refs/tags/v3.0.1.zip;name=date;downloadfilename=date-3.0.1.zip;subdir=${BP}/deps \
    https://github.com/microsoft/GSL/archive/refs/tags/v4.2.1.zip;name=gsl;downloadfilename=GSL-4.2.1.zip;subdir=${BP}/deps \
    https://github.com/nlohmann/json/archive/refs/tags/v3.11.3.zip;name=json;downloadfilename=nlohmann-json-3.11.3.zip;subdir=${BP}/deps \
    https://github.com/onnx/onnx/archive/refs/tags/v1.22.0.zip;name=onnx;downloadfilename=onnx-1.22.0.zip;subdir=${BP}/deps \
    https://github.com/protocolbuffers/protobuf/archive/refs/tags/v21.12.zip;name=protobuf;downloadfilename=protobuf-21.12.zip;subdir=${BP}/deps \
    https://github.com/pytorch/cpuinfo/archive/4628dc060ce4e82345dc166bbac875609db4ff69.zip;name=cpuinfo;downloadfilename=cpuinfo-4628dc060ce4e82345dc166bbac875609db4ff69.zip;subdir=${BP}/deps \
    file://${IMAGEBUILDER_ONNX_OPERATORS};subdir=${BP} \
"
# The commit of the tag v1.28.0, which is on a release branch.
SRCREV = "da9b5e364c465de65c49d91e696cd6485270757f"
SRC_URI[abseil_cpp.sha256sum] = "b2bdcf6682d8cb53df365bcc5d6c318a22e55821d9978a10fdb61404c026daff"
SRC_URI[cpuinfo.sha256sum] = "2ed3ebc6c2656cc0aafc7af319e5cb0f97cc9b415eae180f566def84f1ca6a29"
SRC_URI[date.sha256sum] = "f4300b96f7a304d4ef9bf6e0fa3ded72159f7f2d0f605bdde3e030a0dba7cf9f"
SRC_URI[eigen.sha256sum] = "6a60d76351f97132669daeeb721d6bf14b008101883ad2d687a3201c5c461eb0"
SRC_URI[flatbuffers.sha256sum] = "57bd580c0772fd1a726c34ab8bf05325293bc5f9c165060a898afa1feeeb95e1"
SRC_URI[gsl.sha256sum] = "c9291d95f5f6e5c561990d06a589b01d89e553d0f366f0ce723dd1788e7a6076"
SRC_URI[json.sha256sum] = "04022b05d806eb5ff73023c280b68697d12b93e1b7267a0b22a1a39ec7578069"
SRC_URI[mp11.sha256sum] = "81431bdc44c439a324e02c07ed067f8f556419fd86f2d8b486ff568df6aac899"
SRC_URI[onnx.sha256sum] = "8dc1181d33529a1249e031226126d0699ac9bdfc571ee530ee3a12f4656f2be3"
SRC_URI[protobuf.sha256sum] = "6a31b662deaeb0ac35e6287bda2f3369b19836e6c9f8828d4da444346f420298"
SRC_URI[re2.sha256sum] = "a835fe55fbdcd8e80f38584ab22d0840662c67f2feb36bd679402da9641dc71e"
SRC_URI[safeint.sha256sum] = "3ffbd9a2fdff45da77da3e7269e9aa512ea43bed5c38ce8fd8f3d1068a032c3f"

# The archives that upstream names with digests: a changed one does not pass as another source.
INSANE_SKIP += "src-uri-bad"

# nooelint: oelint.vars.fileextrapaths,oelint.vars.outofcontext - the sources are in the layer of the firmware
FILESEXTRAPATHS:prepend := "${IMAGEBUILDER_SOURCES}:"

inherit cmake python3native

python () {
    if not d.getVar("IMAGEBUILDER_ONNX_OPERATORS"):
        raise bb.parse.SkipRecipe("no model of a firmware takes it (IMAGEBUILDER_ONNX_OPERATORS)")
}

OECMAKE_SOURCEPATH = "${S}/cmake"

# Without exceptions any error would end the server instead of the request.
EXTRA_OECMAKE = "\
    --compile-no-warning-as-error \
    -DCMAKE_BUILD_TYPE=MinSizeRel \
    -DCMAKE_POLICY_VERSION_MINIMUM=3.5 \
    -DFETCHCONTENT_FULLY_DISCONNECTED=ON \
    -DFETCHCONTENT_SOURCE_DIR_ABSEIL_CPP=${S}/deps/abseil-cpp-20250814.0 \
    -DFETCHCONTENT_SOURCE_DIR_DATE=${S}/deps/date-3.0.1 \
    -DFETCHCONTENT_SOURCE_DIR_EIGEN3=${S}/deps/eigen-1d8b82b0740839c0de7f1242a3585e3390ff5f33 \
    -DFETCHCONTENT_SOURCE_DIR_FLATBUFFERS=${S}/deps/flatbuffers-23.5.26 \
    -DFETCHCONTENT_SOURCE_DIR_GSL=${S}/deps/GSL-4.2.1 \
    -DFETCHCONTENT_SOURCE_DIR_MP11=${S}/deps/mp11-boost-1.82.0 \
    -DFETCHCONTENT_SOURCE_DIR_NLOHMANN_JSON=${S}/deps/json-3.11.3 \
    -DFETCHCONTENT_SOURCE_DIR_ONNX=${S}/deps/onnx-1.22.0 \
    -DFETCHCONTENT_SOURCE_DIR_PROTOBUF=${S}/deps/protobuf-21.12 \
    -DFETCHCONTENT_SOURCE_DIR_PYTORCH_CPUINFO=${S}/deps/cpuinfo-4628dc060ce4e82345dc166bbac875609db4ff69 \
    -DFETCHCONTENT_SOURCE_DIR_RE2=${S}/deps/re2-2024-07-02 \
    -DFETCHCONTENT_SOURCE_DIR_SAFEINT=${S}/deps/SafeInt-3.0.28 \
    -DONNX_CUSTOM_PROTOC_EXECUTABLE=${STAGING_LIBDIR_NATIVE}/onnxruntime/protoc \
    -Donnxruntime_BUILD_SHARED_LIB=ON \
    -Donnxruntime_BUILD_UNIT_TESTS=OFF \
    -Donnxruntime_DISABLE_EXCEPTIONS=OFF \
    -Donnxruntime_ENABLE_PYTHON=OFF \
    -Donnxruntime_MINIMAL_BUILD=ON \
    -Donnxruntime_REDUCED_OPS_BUILD=ON \
"

# Single files are compiled for newer cores and chosen at run time, which a fixed -mcpu forbids.
TUNE_CCARGS:aarch64 = "-march=armv8-a"

OECMAKE_TARGET_COMPILE = "onnxruntime"

# The CMake option alone reduces nothing: this script writes the sources that it then takes.
# Its reduction of types needs the Python module of flatbuffers.
do_configure:prepend() {
    PYTHONPATH=${S}/deps/flatbuffers-23.5.26/python \
        ${PYTHON} ${S}/tools/ci_build/reduce_op_kernels.py --cmake_build_dir ${B} \
        --enable_type_reduction ${S}/${IMAGEBUILDER_ONNX_OPERATORS}
}

COMPATIBLE_HOST = "(aarch64|arm|riscv64|x86_64).*-linux"

do_install() {
    install -D -m 0755 ${B}/libonnxruntime.so.${PV} ${D}${libdir}/libonnxruntime.so
}

# The server opens the library by this name, so it belongs to the package itself.
FILES_SOLIBSDEV = ""
FILES:${PN} += "${libdir}/libonnxruntime.so"
RPROVIDES:${PN} = "onnxruntime"
RCONFLICTS:${PN} = "onnxruntime-prebuilt"
