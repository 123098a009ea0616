# Scans the root file system of a release image; what must not ship fails the build.

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
        if re.search(r"\b(getty|login|-?/bin/(ba|a)?sh)\b", command) and not line.startswith("#"):
            problems.append("/etc/inittab starts a shell: %s" % line)
    for unit in ("serial-getty@", "getty@", "telnetd", "debug-shell"):
        wants = os.path.join(root, "etc/systemd/system")
        for folder, _, names in os.walk(wants):
            problems += ["%s is enabled" % name for name in names if name.startswith(unit)]
    if problems:
        bb.fatal("not fit for release:\n  " + "\n  ".join(problems))
}
ROOTFS_POSTPROCESS_COMMAND:append = " release_check"
