# BitBake verifies no digest for file:// sources: this class does, with LOCAL_ARCHIVE_SHA256.

LOCAL_ARCHIVE ?= "${BP}.tar"
LOCAL_ARCHIVE_SHA256 ?= ""

SRC_URI = "file://${LOCAL_ARCHIVE}"

python local_archive_verify() {
    import hashlib
    import os

    wanted = d.getVar("LOCAL_ARCHIVE_SHA256")
    path = bb.fetch2.Fetch(["file://" + d.getVar("LOCAL_ARCHIVE")], d).localpaths()[0]
    if not os.path.isfile(path):
        bb.fatal("%s: no such file" % path)
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") \
            else hashlib.sha256(stream.read()).hexdigest()
    if found != wanted:
        bb.fatal("%s: SHA-256 is %s, not %s" % (path, found, wanted))
}
do_unpack[prefuncs] += "local_archive_verify"
