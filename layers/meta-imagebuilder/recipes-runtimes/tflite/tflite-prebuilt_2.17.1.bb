SUMMARY = "TensorFlow Lite's C library, with XNNPACK"
DESCRIPTION = "The library as a Python package ships it: its source, 2 GB, brings its own build system, \
which fetches while it builds."
HOMEPAGE = "https://www.tensorflow.org/lite"

# What is linked into the library; the wheel has the text of the first one.
LICENSE = "Apache-2.0 & BSD-2-Clause & BSD-3-Clause & MIT & MPL-2.0"
LIC_FILES_CHKSUM = "file://${WHEEL_NAME}.dist-info/licenses/LICENSE;md5=86d3f3a95c324c9479bd8986968f4327"

PYPI_PACKAGE = "pymicro_wakeword"

inherit pypi

# nooelint: oelint.var.order.SECTION - the class sets one too
SECTION = "libs"

WHEEL_NAME = "${PYPI_PACKAGE}-2.5.0"
WHEEL_ARCH = "${@d.getVar('TARGET_ARCH').replace('arm', 'armv7l')}"
WHEEL = "${WHEEL_NAME}-py3-none-manylinux_2_35_${WHEEL_ARCH}.whl"

# The class has the registry's address for sources, beside which the wheels are; BitBake unpacks a
# wheel by another ending only.
# nooelint: oelint.vars.srcurichecksum - all names that WHEEL_ARCH can have follow
PYPI_SRC_URI = "${@pypi_src_uri(d).partition('/source/')[0]}/py3/p/${PYPI_PACKAGE}/${WHEEL};name=${WHEEL_ARCH};downloadfilename=${WHEEL}.zip;subdir=${PYPI_PACKAGE}-${PV}"
SRC_URI[aarch64.sha256sum] = "6c75b77c936efd19b8c35a094cb7e3fdbd4ebcd0f63635a0851ce591990829f2"
SRC_URI[armv7l.sha256sum] = "af92b862fe0488fba7422b9819b1a8c88781b2f90fb3e4b7f1dcfd1d90a6b69b"
SRC_URI[x86_64.sha256sum] = "3869f536402b1254e3be3549d3a462ecd6ed21ce2c3e77ec8eb501c3c700417c"

# The library's version is not that of the package around it.
UPSTREAM_VERSION_UNKNOWN = "1"
CVE_PRODUCT = "google:tensorflow"
SPDX_PACKAGE_URLS = "pkg:pypi/pymicro-wakeword@2.5.0"

# Built for the GNU C library.
COMPATIBLE_HOST = "(aarch64|arm|x86_64).*-linux"
COMPATIBLE_HOST:libc-musl = "null"

# For 32-bit Arm it passes floats in registers and multiplies and adds in one instruction.
python () {
    features = set((d.getVar("TUNE_FEATURES") or "").split())
    fused = {"armv7ve", "cortexa5", "cortexa7", "cortexa15", "cortexa17", "vfpv4"}
    fits = {"callconvention-hard", "neon"} <= features and fused & features
    if d.getVar("TARGET_ARCH") == "arm" and not fits:
        raise bb.parse.SkipRecipe("needs a tune with hard floats, NEON and VFPv4 (Cortex-A7 and later)")
}

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0755 ${S}/pymicro_wakeword/lib/libtensorflowlite_c.so ${D}${libdir}/libtensorflowlite_c.so
}

# The server opens the library by this name, so it belongs to the package itself.
FILES_SOLIBSDEV = ""
FILES:${PN} += "${libdir}/libtensorflowlite_c.so"

# Built and stripped by others, whose linker flags are not ours.
INSANE_SKIP:${PN} = "already-stripped ldflags"
