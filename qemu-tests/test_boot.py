"""The image boots, and is what it says."""

import json

from imagebuilder import device
from imagebuilder.target.console import PANIC


def test_boots_to_a_server_that_answers(target):
    assert set(device.STAGES) <= set(target.console.stages)


def test_console_shows_no_panic(target):
    assert not PANIC.search(target.console.text())


def test_image_is_the_one_that_was_built(host, artifacts):
    info = json.loads(host.file(device.IMAGE_PATH).content_string)
    assert info["name"] == artifacts.name
    assert info["version"] == artifacts.version
    assert info["machine"] == artifacts.machine
    assert info["models"] == {model.name: model.digest for model in artifacts.models}


def test_root_and_models_are_read_only(host):
    for path in ("/", device.MODELS_PATH):
        assert host.run(f"touch {path}/x").rc != 0
        assert host.run(f"mount -o remount,rw {path} && touch {path}/x").rc != 0


def test_data_is_writable_and_holds_the_identity(host):
    assert host.run("touch /data/x && rm /data/x").rc == 0
    assert host.run("grep -Ex '[0-9a-f]{32}' /etc/machine-id").rc == 0
