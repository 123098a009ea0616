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

# Every dependency as in cmake/deps.txt of this release, in a folder of the name that it has there, by
# the commit of the tag that it names.
SRC_URI = "\
    git://github.com/microsoft/onnxruntime.git;protocol=https;nobranch=1;destsuffix=${BP} \
    git://github.com/abseil/abseil-cpp.git;protocol=https;nobranch=1;name=abseil-cpp;destsuffix=${BP}/deps/abseil_cpp \
    git://github.com/pytorch/cpuinfo.git;protocol=https;nobranch=1;name=cpuinfo;destsuffix=${BP}/deps/pytorch_cpuinfo \
    git://github.com/HowardHinnant/date.git;protocol=https;nobranch=1;name=date;destsuffix=${BP}/deps/date \
    git://github.com/eigen-mirror/eigen.git;protocol=https;nobranch=1;name=eigen;destsuffix=${BP}/deps/eigen \
    git://github.com/google/flatbuffers.git;protocol=https;nobranch=1;name=flatbuffers;destsuffix=${BP}/deps/flatbuffers \
    git://github.com/microsoft/GSL.git;protocol=https;nobranch=1;name=gsl;destsuffix=${BP}/deps/microsoft_gsl \
    git://github.com/nlohmann/json.git;protocol=https;nobranch=1;name=json;destsuffix=${BP}/deps/json \
    git://github.com/boostorg/mp11.git;protocol=https;nobranch=1;name=mp11;destsuffix=${BP}/deps/mp11 \
    git://github.com/onnx/onnx.git;protocol=https;nobranch=1;name=onnx;destsuffix=${BP}/deps/onnx \
    git://github.com/protocolbuffers/protobuf.git;protocol=https;nobranch=1;name=protobuf;destsuffix=${BP}/deps/protobuf \
    git://github.com/google/re2.git;protocol=https;nobranch=1;name=re2;destsuffix=${BP}/deps/re2 \
    git://github.com/dcleblanc/SafeInt.git;protocol=https;nobranch=1;name=safeint;destsuffix=${BP}/deps/safeint \
    file://${IMAGEBUILDER_ONNX_OPERATORS};subdir=${BP} \
"
SRCREV_FORMAT = "default"
# The commit of the tag v1.28.0, which is on a release branch.
SRCREV = "da9b5e364c465de65c49d91e696cd6485270757f"
SRCREV_abseil-cpp = "987c57f325f7fa8472fa84e1f885f7534d391b0d"
SRCREV_cpuinfo = "4628dc060ce4e82345dc166bbac875609db4ff69"
SRCREV_date = "6e921e1b1d21e84a5c82416ba7ecd98e33a436d0"
SRCREV_eigen = "1d8b82b0740839c0de7f1242a3585e3390ff5f33"
SRCREV_flatbuffers = "0100f6a5779831fa7a651e4b67ef389a8752bd9b"
SRCREV_gsl = "249146590e322123cd0b378b1f364d6069717687"
SRCREV_json = "9cca280a4d0ccf0c08f47a99aa71d1b0e52f8d03"
SRCREV_mp11 = "0a0b5fb001ce0233ae3a6f99d849c0649e5a7361"
SRCREV_onnx = "2bb50465112feca9003e1ed654d77f01ff1415ca"
SRCREV_protobuf = "f0dc78d7e6e331b8c6bb2d5283e06aa26883ca7c"
SRCREV_re2 = "6dcd83d60f7944926bfd308cc13979fc53dd69ca"
SRCREV_safeint = "4cafc9196c4da9c817992b20f5253ef967685bf8"

# nooelint: oelint.vars.fileextrapaths,oelint.vars.outofcontext - the sources are in the layer of the firmware
FILESEXTRAPATHS:prepend := "${IMAGEBUILDER_SOURCES}:"

inherit cmake python3native

python () {
    if not d.getVar("IMAGEBUILDER_ONNX_OPERATORS"):
        raise bb.parse.SkipRecipe("no model of a firmware takes it (IMAGEBUILDER_ONNX_OPERATORS)")
}

OECMAKE_SOURCEPATH = "${S}/cmake"

# Without exceptions any error would end the server instead of the request.
# Disconnected, as the class has it, CMake would not take the dependencies from their folders.
EXTRA_OECMAKE = "\
    --compile-no-warning-as-error \
    -DCMAKE_BUILD_TYPE=MinSizeRel \
    -DCMAKE_POLICY_VERSION_MINIMUM=3.5 \
    -DFETCHCONTENT_FULLY_DISCONNECTED=OFF \
    -DFETCHCONTENT_TRY_FIND_PACKAGE_MODE=NEVER \
    -DFLATBUFFERS_BUILD_FLATC=OFF \
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

# A local path in deps.txt, instead of CMake's own variable for a folder, has upstream's patches
# applied to the dependency.
# The CMake option alone reduces nothing: the script writes the sources that it then takes.
# Its reduction of types needs the Python module of flatbuffers.
# The library would name the compiler's flags, and with them folders of the build.
do_configure:prepend() {
    sed -i '/cmake cxx flags:/d' ${S}/cmake/CMakeLists.txt
    for folder in ${S}/deps/*; do
        name=$(basename $folder)
        grep -q "^$name;" ${S}/cmake/deps.txt || bbfatal "cmake/deps.txt has no $name"
        sed -i "s#^$name;[^;]*#$name;$folder#" ${S}/cmake/deps.txt
    done
    PYTHONPATH=${S}/deps/flatbuffers/python \
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

# Upstream's build strips a minimal library when it links it.
INSANE_SKIP:${PN} = "already-stripped"
