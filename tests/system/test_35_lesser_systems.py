# SPDX-License-Identifier: MIT
"""Files and large bodies where the system has less than usual: file systems that do not know
files without a name, filters of system calls, disks that fail. And larger pages than usual."""
import errno
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from conftest import BUILD, Server, wait_for
from filtered import CLOSE_RANGE, OPENAT, OPENAT2, PREAD64, SENDFILE, refusing
import test_50_processes
import test_76_exec
from test_76_exec import run  # noqa: F401

O_TMPFILE = 0x400000


@pytest.fixture
def start_on(tmp_path):
    """A function that starts a sampler behind `before`; it is stopped after the test."""
    servers = []

    def starter(*before, workers="1", **environment):
        servers.append(Server(str(tmp_path), ["--workers", workers], environment, before=before))
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
    server = start_on(TMPDIR=str(tmp_path / "nowhere"), SAMPLER_LOG_REPEAT_MS="4294967295")
    began = time.monotonic()
    for _ in range(8):
        with server.client() as client:
            client.send(chunked(300000))
            assert client.answer().status == 507
    says = f"{tmp_path}/nowhere ($TMPDIR, else /tmp): No such file"
    wait_for(lambda: says in server.log(), what="the line about the directory")
    assert server.get("/hello").status == 200
    assert server.log().count(says) <= 1 + time.monotonic() - began, "once a second is enough"


@pytest.fixture
def root(tmp_path):
    """A folder of files, with links inside and out of it."""
    folder = tmp_path / "root"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "deep" / "file.txt").write_text("inside")
    (folder / "deep" / "index.html").write_text("index")
    (folder / "deep" / "deeper" / "file.txt").write_text("deeper")
    (folder / "there").symlink_to("deep")
    (folder / "file.txt").symlink_to("deep/file.txt")
    (folder / "out").symlink_to("/etc")
    (folder / "passwd").symlink_to("/etc/passwd")
    return folder


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_files_where_openat2_is_refused(start_on, root, error):
    server = start_on(*refusing(OPENAT2, error), SAMPLER_STATIC=str(root))
    assert server.log().count("links below mounts are not followed") == 1
    assert os.strerror(error) in server.log()
    for path, body in (("deep/file.txt", b"inside"), ("deep//file.txt", b"inside"),
                       ("deep/deeper/file.txt", b"deeper"), ("deep/", b"index")):
        answer = server.get(f"/static/{path}")
        assert (answer.status, answer.body) == (200, body), path
    assert server.get("/static/deep").header("Location") == "/static/deep/"
    for path in ("out/passwd", "passwd", "there/file.txt", "file.txt", "nothing", "deep/nothing",
                 "deep/file.txt/", "deep/file.txt/x", "/etc/passwd", "%2fetc/passwd",
                 "../root/deep/file.txt", "deep/%2e%2e/deep/file.txt", "deep/" + "x" * 300):
        assert server.get(f"/static/{path}").status in (400, 404), path


def test_where_openat2_is_allowed_links_inside_are_followed(start_on, root):
    server = start_on(SAMPLER_STATIC=str(root))
    assert "links" not in server.log()
    assert server.get("/static/there/file.txt").body == b"inside"
    assert server.get("/static/passwd").status == 404


def test_a_disk_that_fails_is_no_file_that_is_not_there(start_on, root):
    server = start_on(*refusing(OPENAT2, errno.EIO), SAMPLER_STATIC=str(root))
    assert server.get("/static/deep/file.txt").status == 500
    says = f"a file of {root} cannot be opened: Input/output error"
    wait_for(lambda: says in server.log(), what="the line about the disk")


def test_a_file_that_cannot_be_read_is_told(start_on, root):
    server = start_on(*refusing(SENDFILE, errno.EIO), SAMPLER_STATIC=str(root))
    with server.client() as client:
        client.send(b"GET /static/deep/file.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in client.read_until(b"\r\n\r\n")
        assert client.is_closed()
    wait_for(lambda: "cannot be sent to its end: Input/output error" in server.log(),
             what="the line about the disk")


@pytest.mark.parametrize("relative", [False, True])
def test_a_folder_that_is_made_anew(start_on, root, tmp_path, monkeypatch, relative):
    monkeypatch.chdir(tmp_path)
    server = start_on(SAMPLER_STATIC="root" if relative else str(root))
    assert server.get("/static/deep/file.txt").body == b"inside"
    shutil.rmtree(root)
    assert server.get("/static/deep/file.txt").status == 404
    wait_for(lambda: f"{root} was removed, and cannot be opened again: No such file" in server.log(), what="the line about it")
    root.mkdir()
    (root / "new.txt").write_text("new")
    for _ in range(2):
        answer = server.get("/static/new.txt")
        assert (answer.status, answer.body) == (200, b"new")
    assert server.get("/static/deep/file.txt").status == 404
    wait_for(lambda: server.log().count("was made anew") == 1, what="one line about it")


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_workers_hold_what_is_theirs_where_close_range_is_refused(start_on, error):
    test_50_processes.test_a_worker_holds_no_client_and_no_other_worker(
        lambda option, workers: start_on(*refusing(CLOSE_RANGE, error), workers=workers))


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_nothing_is_inherited_where_close_range_is_refused(run, error):  # noqa: F811
    test_76_exec.test_nothing_else_is_inherited(
        lambda **options: run(before=refusing(CLOSE_RANGE, error), **options))


# A root's folder, which is in both layers: so it has one link, and keeps it when it is removed.
OVERLAY = """mount -t tmpfs none "$0" && cd "$0" &&
mkdir -p lower/root upper/root work over && echo old > lower/root/old.txt &&
mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work over && exec "$@" """


def test_a_folder_that_is_made_anew_where_links_are_not_counted(start_on, tmp_path):
    place = tmp_path / "layers"
    place.mkdir()
    apart = ["unshare", "-m" if os.getuid() == 0 else "-rm", "sh", "-c", OVERLAY, str(place)]
    if subprocess.run([*apart, "true"], check=False).returncode != 0:
        pytest.skip("overlayfs cannot be mounted here")
    server = start_on(*apart, SAMPLER_STATIC=str(place / "over" / "root"))
    root = pathlib.Path(f"/proc/{server.pid}/root{place}/over/root")
    assert server.get("/static/old.txt").body == b"old\n"
    shutil.rmtree(root)
    assert server.get("/static/old.txt").status == 404
    root.mkdir()
    (root / "new.txt").write_text("new")
    for _ in range(2):
        answer = server.get("/static/new.txt")
        assert (answer.status, answer.body) == (200, b"new")
    wait_for(lambda: server.log().count("was made anew") == 1, what="one line about it")


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


@pytest.mark.skipif(bool(os.environ.get("CREW_CFLAGS")), reason="a sanitizer is to be loaded first")
@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("page", [16384, 65536])
def test_pages_of_other_sizes(start, page, kind):
    """As of ARM64, where the kernel can be built for them."""
    shim = os.path.abspath(os.path.join(BUILD, "tests", "pages.so"))
    assert os.path.exists(shim)
    server = start("--workers", "2", "--worker-class", kind, LD_PRELOAD=shim,
                   PAGE_BYTES=str(page))
    with server.client() as client:
        body = b"x" * 3_000_000
        assert client.request("POST", "/echo", body=body).body == body
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: before[0] not in server.workers(), what="a worker in its place")
    for path in ("/hello", "/status", "/bytes/100000"):
        assert server.get(path).status == 200
