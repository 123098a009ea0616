# Scans the root file system of a release image; what must not ship fails the build.

# Under systemd a login waits on every console, by a recipe, by presets, which some series apply
# after this, or by a generator. What is masked none of them starts.
RELEASE_MASKED_UNITS = "getty.target getty@.service serial-getty@.service autovt@.service debug-shell.service"

release_mask_logins() {
    install -d ${IMAGE_ROOTFS}${sysconfdir}/systemd/system
    rm -rf ${IMAGE_ROOTFS}${sysconfdir}/systemd/system/getty.target.wants
    for unit in ${RELEASE_MASKED_UNITS}; do
        ln -sf /dev/null ${IMAGE_ROOTFS}${sysconfdir}/systemd/system/$unit
    done
}

python release_check() {
    import os
    import re

    root = d.getVar("IMAGE_ROOTFS")

    def lines(path):
        try:
            with open(os.path.join(root, path), encoding="utf-8", errors="replace") as stream:
                return stream.read().splitlines()
        except OSError:
            return []

    def masked(path):
        return os.path.islink(path) and os.readlink(path) == "/dev/null"

    problems = []
    for path in ("usr/libexec/imagebuilder/agent", "usr/lib/systemd/system/imagebuilder-agent.service"):
        if os.path.lexists(os.path.join(root, path)):
            problems.append("the test agent is installed: /%s" % path)
    for path in ("etc/passwd", "etc/shadow"):
        for line in lines(path):
            name, password = (line.split(":") + [""])[:2]
            if password == "" and line:
                problems.append("/%s: %s has an empty password" % (path, name))
            elif not re.fullmatch(r"x|[*!].*", password):
                problems.append("/%s: %s has a password" % (path, name))
    for line in lines("etc/inittab"):
        command = line.rsplit(":", 1)[-1]
        if re.search(r"(^-?|[\s/])(getty|(su)?login|(ba|a)?sh)(\s|$)", command) and not line.startswith("#"):
            problems.append("/etc/inittab starts a shell: %s" % line)
    units = os.path.join(root, "etc/systemd/system")
    for folder, _, names in os.walk(units):
        for name in names:
            if re.match("(serial-)?getty@|telnetd|debug-shell", name) and not masked(os.path.join(folder, name)):
                problems.append("%s is enabled" % name)
    systemd = [path for path in ("usr/lib", "lib") if os.path.lexists(os.path.join(root, path, "systemd/systemd"))]
    if systemd and not masked(os.path.join(units, "getty.target")):
        problems.append("getty.target is not masked, so that systemd starts a login on each console")
    if problems:
        bb.fatal("not fit for release:\n  " + "\n  ".join(problems))
}
ROOTFS_POSTPROCESS_COMMAND:append = " ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'release_mask_logins', '', d)} release_check"
