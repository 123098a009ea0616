# Installs a sealed model bundle below /models, after verifying all of it.
#
# A recipe sets LICENSE and MODEL_BUNDLE_SHA256 (the SHA-256 of bundle.json, which holds the digest
# of every other file) and is called model-bundle-NAME; ${BP}.tar beside it holds the bundle.

SUMMARY ?= "Model ${MODEL_BUNDLE}"
DESCRIPTION ?= "Sealed model bundle: a model with its metadata, golden vectors and digests."
SECTION ?= "ai"

MODEL_BUNDLE ?= "${@d.getVar('BPN')[len('model-bundle-'):]}"
MODEL_BUNDLE_SHA256 ?= ""

SRC_URI = "file://${BP}.tar"

inherit allarch

INHIBIT_DEFAULT_DEPS = "1"

# The licence texts are those of the licences named; a bundle's own text travels in the bundle.
python () {
    import os

    folder = d.getVar("COMMON_LICENSE_DIR")
    names = d.getVar("LICENSE").replace("(", " ").replace(")", " ")
    names = [name for name in names.split() if name not in ("&", "|")]
    names = [name for name in names if os.path.isfile(os.path.join(folder, name))]
    if not d.getVar("LIC_FILES_CHKSUM"):
        sums = [bb.utils.md5_file(os.path.join(folder, name)) for name in names]
        # Not expanded: signatures would have the folder that OE-core lies in.
        uris = ["file://${COMMON_LICENSE_DIR}/%s;md5=%s" % pair for pair in zip(names, sums)]
        d.setVar("LIC_FILES_CHKSUM", " ".join(uris))
}

python model_bundle_verify() {
    import hashlib
    import json
    import os

    def digest(path):
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()

    folder = d.getVar("S")
    manifest = os.path.join(folder, "bundle.json")
    if not os.path.isfile(manifest):
        bb.fatal("%s.tar holds no bundle.json" % d.getVar("BP"))
    if digest(manifest) != d.getVar("MODEL_BUNDLE_SHA256"):
        bb.fatal("bundle.json has the SHA-256 %s, not %s"
                 % (digest(manifest), d.getVar("MODEL_BUNDLE_SHA256")))
    with open(manifest, encoding="utf-8") as stream:
        files = json.load(stream)["files"]
    problems = ["%s is not listed" % name for name in sorted(os.listdir(folder))
                if name not in files and name not in ("bundle.json", "bundle.sig")]
    for name, entry in sorted(files.items()):
        path = os.path.join(folder, name)
        if "/" in name or os.path.islink(path) or not os.path.isfile(path):
            problems.append("%s is missing" % name)
        elif os.path.getsize(path) != entry["size"] or digest(path) != entry["sha256"]:
            problems.append("%s is another file than bundle.json lists" % name)
    if problems:
        bb.fatal("damaged model bundle: " + "; ".join(problems))
}
do_unpack[postfuncs] += "model_bundle_verify"
do_unpack[vardeps] += "MODEL_BUNDLE_SHA256"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}/models/${MODEL_BUNDLE}
    install -m 0644 ${S}/* ${D}/models/${MODEL_BUNDLE}/
}

PACKAGES = "${PN}"
FILES:${PN} += "/models"
