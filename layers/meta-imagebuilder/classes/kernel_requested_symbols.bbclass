# Fails the build when a kernel symbol that a fragment asked for is not so in the final .config.
#
# IMAGEBUILDER_KERNEL_FRAGMENTS names the fragments among the recipe's sources. The check does not
# depend on how a kernel merges them, since it reads what came out. The bbappend that a firmware
# has for its kernel inherits this class.

IMAGEBUILDER_KERNEL_FRAGMENTS ??= ""

python do_check_requested_symbols() {
    import os
    import re

    def values(path):
        found = {}
        with open(path, encoding="utf-8", errors="replace") as stream:
            for number, line in enumerate(stream, 1):
                line = line.strip()
                unset = re.fullmatch(r"# (CONFIG_\w+) is not set", line)
                if unset:
                    found[unset[1]] = ("n", number)
                elif line.startswith("CONFIG_") and "=" in line:
                    name, _, value = line.partition("=")
                    found[name] = (value, number)
        return found

    folder = d.getVar("UNPACKDIR") or d.getVar("WORKDIR")
    config = values(os.path.join(d.getVar("B"), ".config"))
    problems = []
    asked = {}
    for name in d.getVar("IMAGEBUILDER_KERNEL_FRAGMENTS").split():
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            problems.append("%s: this fragment is not among the kernel's sources" % name)
            continue
        # As when they are merged: the last fragment that names a symbol decides.
        for symbol, (wanted, number) in values(path).items():
            asked[symbol] = (wanted, "%s:%d" % (name, number))
    for symbol, (wanted, place) in asked.items():
        got = config.get(symbol, ("n", 0))[0]
        if got != wanted:
            problems.append("%s: %s=%s is not in the final kernel configuration, which has %s"
                            % (place, symbol, wanted, got))
    if problems:
        bb.fatal("kernel symbols did not take effect:\n  " + "\n  ".join(problems))
}
addtask check_requested_symbols after do_configure before do_compile
do_check_requested_symbols[vardeps] += "IMAGEBUILDER_KERNEL_FRAGMENTS"

# For kernels that have no mechanism of their own for fragments; a firmware's bbappend calls it.
imagebuilder_merge_fragments() {
    fragments=""
    for name in ${IMAGEBUILDER_KERNEL_FRAGMENTS}; do
        fragments="$fragments ${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}/$name"
    done
    ${S}/scripts/kconfig/merge_config.sh -m -O ${B} ${B}/.config $fragments
    oe_runmake_call -C ${S} O=${B} olddefconfig
}

# The configuration is part of the evidence.
do_deploy:append() {
    install -m 0644 ${B}/.config ${DEPLOYDIR}/kernel-config
}
