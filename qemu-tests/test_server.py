"""The server: who it is, what it takes, and that it comes back."""

import time

from imagebuilder import device
from imagebuilder.target import api


def server_pid(host):
    return host.check_output("pidof inferd").split()[0]


def test_runs_as_its_own_user(host, inferd):
    uid = host.check_output(f"awk '/^Uid:/ {{print $2}}' /proc/{server_pid(host)}/status")
    assert int(uid) == device.SERVER_UID


def test_memory_within_budget(host, inferd, session, record_property):
    kib = int(host.check_output(f"awk '/^VmHWM:/ {{print $2}}' /proc/{server_pid(host)}/status"))
    record_property("server.peak_kib", kib)
    assert kib * 1024 <= session.memory_budgets["inferd"]


def test_comes_back_after_a_kill(host, inferd):
    before = server_pid(host)
    assert host.run(f"kill -9 {before}").rc == 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        # The old one takes a moment to end, and its file with it.
        after = host.run("pidof inferd").stdout.split()
        if after not in ([], [before]) and host.file(device.READY_PATH).exists:
            break
        time.sleep(0.2)
    assert server_pid(host) != before
    assert api.request(inferd, "GET", "/v2/health/ready").status == 200


def test_a_token_is_needed_where_it_is_asked_for(host, inferd):
    if not inferd.api_token:
        assert "token_file" not in host.file(device.SERVER_CONFIG_PATH).content_string
        return
    assert len(inferd.api_token) >= 16
    assert api.request(inferd, "GET", "/v2", token="wrong").status == 401
    assert api.request(inferd, "GET", "/metrics", token="").status == 401
    assert api.request(inferd, "GET", "/v2").status == 200
    path = host.check_output(
        f'sed -n \'s/.*"token_file": "\\(.*\\)".*/\\1/p\' {device.SERVER_CONFIG_PATH}'
    )
    if path == device.SERVER_TOKEN_PATH:
        assert host.file(path).user == device.SERVER_USER
        assert host.file(path).mode == 0o400
