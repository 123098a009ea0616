# What all images of imagebuilder share.

inherit core-image

IMAGE_FEATURES += "read-only-rootfs"
# A root that is read-only runs nothing at first boot, so it needs nothing for that.
ROOTFS_BOOTSTRAP_INSTALL = ""
IMAGE_LINGUAS = ""

IMAGE_INSTALL = "packagegroup-imagebuilder-base packagegroup-imagebuilder-inference ${IMAGEBUILDER_PACKAGES}"

# Recommended by busybox, and of no use here: DHCP is started by imagebuilder-init.
BAD_RECOMMENDATIONS += "busybox-syslog busybox-udhcpd busybox-udhcpc busybox-hwclock"

# Series differ in where they look for kickstart files.
# nooelint: oelint.vars.inconspaces - a list with colons
WKS_SEARCH_PATH:append = ":${IMAGEBUILDER_LAYERDIR}/files/wic"

# How wic's plugins for boot partitions begin: they were renamed after scarthgap.
IMAGEBUILDER_BOOTIMG = "bootimg${@'-' if d.getVar('LAYERSERIES_CORENAMES') == 'scarthgap' else '_'}"

IMAGEBUILDER_VARIANT ?= "release"

imagebuilder_finish() {
    install -d ${IMAGE_ROOTFS}/models ${IMAGE_ROOTFS}/data
    if [ -d ${IMAGE_ROOTFS}${datadir}/imagebuilder/inittab.d ]; then
        cat ${IMAGE_ROOTFS}${datadir}/imagebuilder/inittab.d/* >${IMAGE_ROOTFS}${sysconfdir}/inittab
        rm -r ${IMAGE_ROOTFS}${datadir}/imagebuilder/inittab.d
    fi
    if [ -e ${IMAGE_ROOTFS}${nonarch_libdir}/os-release ]; then
        echo "VARIANT_ID=${IMAGEBUILDER_VARIANT}" >>${IMAGE_ROOTFS}${nonarch_libdir}/os-release
    fi
    install -d ${IMAGE_ROOTFS}${sysconfdir}/imagebuilder
    sed 's/"variant": "[a-z]*"/"variant": "${IMAGEBUILDER_VARIANT}"/' ${IMAGEBUILDER_INFO} \
        >${IMAGE_ROOTFS}${sysconfdir}/imagebuilder/image.json
}
ROOTFS_POSTPROCESS_COMMAND += "imagebuilder_finish"

# Which packages are installed and how large each is, for `imagebuilder inspect`.
python imagebuilder_packages() {
    import json
    from oe.packagedata import read_pkgdatafile
    from oe.rootfs import image_list_installed_packages

    def value(data, name):
        # Keys end in the package's name before it was renamed, as glibc to libc6.
        found = (text for key, text in data.items() if key.split(":")[0] == name)
        return next(found, "")

    rows = []
    for name, installed in sorted(image_list_installed_packages(d).items()):
        data = read_pkgdatafile(d.expand("${PKGDATA_DIR}/runtime-reverse/" + name))
        rows.append({
            "kind": "package",
            "name": name,
            "version": installed.get("ver") or value(data, "PKGV"),
            "size": int(value(data, "PKGSIZE") or 0),
            "licenses": [value(data, "LICENSE")] if value(data, "LICENSE") else [],
        })
    path = d.expand("${IMGDEPLOYDIR}/${IMAGE_LINK_NAME}.packages.json")
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(rows, stream, indent=2, sort_keys=True)
}
ROOTFS_POSTUNINSTALL_COMMAND += "imagebuilder_packages"

# What every file of the root should be; check-files reads it when a server does not start.
# Over an empty /etc/machine-id systemd mounts the identity.
imagebuilder_digests() {
    install -d ${IMAGE_ROOTFS}${datadir}/imagebuilder
    cd ${IMAGE_ROOTFS}
    find . -type f ! -path './models/*' ! -path './data/*' ! -path './boot/*' \
        ! -path './etc/machine-id' ! -path '.${datadir}/imagebuilder/sha256sums' -printf '%P\0' | LC_ALL=C sort -z \
        | xargs -0 sha256sum >${WORKDIR}/sha256sums
    install -m 0644 ${WORKDIR}/sha256sums ${IMAGE_ROOTFS}${datadir}/imagebuilder/sha256sums
}
IMAGE_PREPROCESS_COMMAND += "imagebuilder_digests"

# What is in the image, with the models' digests: part of no package, so that another model
# changes its own recipe and the images only.
IMAGEBUILDER_INFO = "${IMAGEBUILDER_SOURCES}/image.json"
do_rootfs[file-checksums] += "${IMAGEBUILDER_INFO}:${@os.path.exists(d.getVar('IMAGEBUILDER_INFO'))}"
