# The image puts its inittab together from the fragments of its packages; no login on the console.
do_install:append:imagebuilder() {
    echo "# replaced when the image is made" >${D}${sysconfdir}/inittab
}
RDEPENDS:${PN}:remove:imagebuilder = "ttyrun"
