# SPDX-License-Identifier: MIT
"""Files and large bodies where the system has less than usual: file systems that do not know
files without a name, filters of system calls, disks that fail."""
import errno
import os

import pytest

from conftest import Server, wait_for
from filtered import OPENAT, PREAD64, refusing

O_TMPFILE = 0x400000


@pytest.fixture
def start_on(tmp_path):
    """A function that starts a sampler behind `before`; it is stopped after the test."""
    servers = []

    def starter(*before, **environment):
        servers.append(Server(str(tmp_path), ["--workers", "1"], environment, before=before))
        return servers[-1]
    yield starter
    for server in servers:
        server.stop()


def chunked(size):
    """The bytes of a request whose body does not say its length, so that it goes to a file."""
    return (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size))


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL])
def test_large_bodies_where_all_files_have_names(start_on, tmp_path, error):
    folder = tmp_path / "bodies"
    folder.mkdir()
    server = start_on(*refusing(OPENAT, error, 2, O_TMPFILE), TMPDIR=str(folder))
    with server.client() as client:
        for _ in range(2):
            client.send(chunked(300000))
            answer = client.answer()
            assert (answer.status, answer.body) == (200, b"x" * 300000)
            assert not os.listdir(folder), "what is there goes with whoever dies"


def test_it_is_said_where_large_bodies_were_to_be_kept(start_on, tmp_path):
    server = start_on(TMPDIR=str(tmp_path / "nowhere"))
    with server.client() as client:
        client.send(chunked(300000))
        assert client.answer().status == 507
    says = f"{tmp_path}/nowhere ($TMPDIR, else /tmp): No such file"
    wait_for(lambda: says in server.log(), what="the line about the directory")
    assert server.get("/hello").status == 200


@pytest.mark.parametrize("path", ["/echo", "/echo/1"])
def test_a_body_that_cannot_be_read_back(start_on, path):
    """Of its file the second MiB cannot be: the worker has some of it already."""
    server = start_on(*refusing(PREAD64, errno.EIO, 3, 0x100000))
    with server.client() as client:
        answer = client.request("POST", path, b"x" * (5 << 20))
        assert answer.status == 500
        assert b"read back" in answer.body
        for _ in range(3):
            assert client.get("/hello").status == 200
    wait_for(lambda: "cannot be read back: Input/output error" in server.log(),
             what="the line about the disk")
