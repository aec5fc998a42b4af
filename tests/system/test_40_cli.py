# SPDX-License-Identifier: MIT
"""The command line: what it understands, and what it says where it does not."""
import json
import os
import re
import socket
import stat
import subprocess

import pytest

from conftest import BUILD, SAMPLER, Server, free_port, wait_for


# What the library was built with, where that must be said to the linker too.
FLAGS = os.environ.get("CREW_CFLAGS", "").split()


def run(*arguments, program=SAMPLER):
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=10,
                          stdin=subprocess.DEVNULL, check=False)


def test_help_and_version():
    for program in (SAMPLER, os.path.join(BUILD, "crew")):
        done = run("--help", program=program)
        assert done.returncode == 0 and "Usage:" in done.stdout and not done.stderr
        assert max(map(len, done.stdout.splitlines())) <= 100
        assert run("-h", program=program).stdout == done.stdout
        done = run("--version", program=program)
        assert done.returncode == 0 and re.search(r"crew \d+\.\d+\.\d+", done.stdout)
    for option in ("--listen", "--workers", "--log-level"):
        assert option in run("--help").stdout


@pytest.mark.parametrize("arguments,says", [
    (["--nonsense"], "--nonsense"), (["word"], "word"), (["--listen"], "value"),
    (["-w4"], "no option -w;"), (["--workers", "2", "-4w"], "no option -4;"),
    (["--daemon=yes"], "--daemon takes no value"), (["--log"], "--log is the beginning of several"),
    (["--nope=3"], "no option --nope;"), (["--workers", "2", "-\u00e9"], "no option -\u00e9;"),
    (["--log-format", "xml"], "auto, plain, systemd, json or logfmt"),
    (["--listen", "nowhere"], "ADDRESS:PORT"), (["--listen", "127.0.0.1:99999"], "ADDRESS:PORT"),
    (["--listen", "unix:"], "path"), (["--listen", "unix:@"], "name"),
    (["--listen-mode", "0888"], "octal"), (["--listen-mode", "4666"], "octal"),
    (["--listen-mode", "444"], "write"), (["--listen-mode", "66"], "octal"),
    (["--listen-mode", "-66"], "octal"), (["--listen", "unix:" + "x" * 200], "longer"),
    (["--loop", "poll"], "auto, epoll or io_uring"),
    (["--workers", "0"], "1 to"), (["--workers", "many"], "many"), (["--workers", "-1"], "-1"),
    (["--workers", "99999"], "1 to"), (["--dispatchers", "0"], "from 1 to 16"),
    (["--workers", "items=0"], 'from 1 to 512, not "0"'), (["--workers=items="], 'not ""'),
    (["--workers", "item=2"], 'no pool "item"; there is "sampler", "items"'),
    (["--workers", "=2"], 'no pool ""'), (["--workers", "items=x=2"], 'no pool "items=x"'),
    (["--dispatchers", "17"], "from 1 to 16"), (["--spin", "1001"], "from 1 to 1000"),
    (["--spin", "often"], "auto, off or a number"), (["--spin", "0"], "auto, off or a number"),
    (["--coalesce", "1001"], "from 1 to 1000"), (["--coalesce", "yes"], "auto, off or a number"),
    (["--idle-timeout", "0"], "from 1 to 86400"), (["--idle-timeout", "86401"], "from 1 to 86400"),
    (["--log-file", ""], "--log-file: its value is empty"), (["--directory="], "value is empty"),
    (["--listen", ""], "--listen: its value is empty"), (["--pidfile", ""], "value is empty"),
    (["--policy", "idle"], "beside, batch or normal"), (["--log-level", "loud"], "debug, info")])
def test_what_is_not_understood(arguments, says):
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr and not done.stdout
    assert len(done.stderr.strip().split("\n")) == 1


def test_a_port_in_use(start):
    server = start()
    done = run("--listen", f"127.0.0.1:{server.address[1]}")
    assert done.returncode == 1
    assert "in use" in done.stderr and "--listen" in done.stderr


@pytest.mark.parametrize("arguments,says", [
    (["--listen", "unix:/no/such/folder/s"], "create the directory of the socket"),
    (["--directory", "/no/such/folder"], "name one that is there"),
    (["--log-file", "/"], "Is a directory; name a file in it"),
    (["--log-file", "/no/such/folder/log"], "does its directory exist")])
def test_what_is_not_there_is_told_with_what_to_do(arguments, says):
    done = run("--listen", "127.0.0.1:0", *arguments)
    assert done.returncode == 1
    assert says in done.stderr


def test_an_address_of_another_machine():
    done = run("--listen", f"192.0.2.1:{free_port()}")
    assert done.returncode == 1
    assert "192.0.2.1" in done.stderr


def test_a_directory_that_is_not_there(monkeypatch):
    monkeypatch.setenv("SAMPLER_STATIC", "/nowhere")
    done = run("--listen", "127.0.0.1:0")
    assert done.returncode == 1
    assert "/nowhere" in done.stderr


def test_unix_socket(tmp_path):
    path = str(tmp_path / "socket")
    for _ in range(2):
        folder = tmp_path / str(_)
        folder.mkdir()
        server = Server(str(folder), ["--listen", f"unix:{path}"])
        assert server.get("/hello").status == 200
        assert b'"unix:"' in server.get("/headers").body
        done = run("--listen", f"unix:{path}")
        assert done.returncode == 1 and "in use" in done.stderr
        assert server.stop() == 0
        assert not os.path.exists(path)


@pytest.mark.parametrize("arguments,mode", [([], 0o666), (["--listen-mode", "0660"], 0o660),
                                            (["--listen-mode", "600"], 0o600)])
def test_who_may_connect_to_a_unix_socket(tmp_path, arguments, mode):
    """What runs as another user, such as a proxy, may, unless it is said otherwise; whatever
    the umask of who starts the server, which its workers keep."""
    path = str(tmp_path / "socket")
    server = Server(str(tmp_path), ["--listen", f"unix:{path}", *arguments],
                    before=["sh", "-c", 'umask 077; exec "$@"', "sh"])
    try:
        assert stat.S_IMODE(os.stat(path).st_mode) == mode
        for pid in (server.pid, server.workers()[0]):
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                assert re.search(r"^Umask:\s*0077$", file.read(), re.M)
    finally:
        server.stop()


def test_a_limit_for_each_client_is_one_for_all_of_a_unix_socket(start, tmp_path):
    server = start("--listen", f"unix:{tmp_path / 'socket'}", SAMPLER_QUEUE_CLIENT_MAX="5")
    wait_for(lambda: 'pool "sampler": all clients' in server.log(), what="the warning")
    assert "all clients" not in start(SAMPLER_QUEUE_CLIENT_MAX="5").log()


@pytest.mark.parametrize("more", [[], ["--dispatchers", "2"], ["--directory", "/"]])
def test_an_abstract_unix_socket(tmp_path, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    name = f"@crew-test-{os.getpid()}"
    server = Server(str(tmp_path), ["--listen", f"unix:{name}", *more])
    try:
        assert server.address == "\0" + name[1:]
        assert server.get("/hello").status == 200
        assert os.listdir(tmp_path) == ["log"], "it is no file"
        done = run("--listen", f"unix:{name}")
        assert done.returncode == 1 and "in use" in done.stderr
    finally:
        assert server.stop() == 0


def test_a_descriptor_sent_in_the_middle_of_a_request(tmp_path):
    """A read ends where a descriptor came along, with bytes behind it; the
    descriptor itself is nobody's business."""
    server = Server(str(tmp_path), ["--listen", f"unix:{tmp_path / 'socket'}"])
    with server.client() as client, open("/dev/null", "rb") as null:
        for part in (b"GET /hel", b"lo HTTP/1.1\r\nHost: x\r\n\r\nGET /he"):
            try:
                socket.send_fds(client.socket, [part], [null.fileno()])
            except PermissionError:  # from Linux 6.16 on it can be refused
                client.send(part)
        client.send(b"llo HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.answer().status == 200 and client.answer().status == 200
    assert server.stop() == 0


def test_a_socket_that_the_dead_left_behind_is_replaced(tmp_path):
    path = str(tmp_path / "socket")
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        server = Server(str(folder), ["--listen", f"unix:{path}"])
        if number == 0:
            server.process.kill()
            server.process.wait()
            assert os.path.exists(path)
        server.stop()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    assert run("--listen", f"unix:{path}").returncode == 1
    assert path.read_text() == "data"


@pytest.mark.parametrize("level,stops", [("debug", 3), ("info", 0)])
def test_workers_and_log_level(start, level, stops):
    """Of who stops in order only debug tells."""
    server = start("--workers", "3", "--log-level", level)
    assert len(server.workers()) == 3
    server.stop()
    assert len(re.findall(r"sampler\[\d\] \(pid \d+\) has stopped after", server.log())) == stops


def test_ipv6(start):
    server = start("--listen", "[::1]:0")
    assert server.address[0] == "::1"
    assert json.loads(server.get("/headers").body)["client"].startswith("[::1]:")


def test_crew_run(tmp_path):
    source = tmp_path / "app.c"
    source.write_text("""
        #include <crew/crew.h>
        static crew_reply hi(struct crew_request *request) { return crew_text(request, 200, "hi"); }
        static const struct crew_app app = { .name = "app", .routes = (const struct crew_route[]){
            { .on = "GET /hi", .run = hi }, { 0 } } };
        const unsigned crew_server_abi = CREW_ABI;
        const struct crew_server crew_server = { .pools = { { .app = &app, .workers = 1 } } };
    """)
    include = os.path.join(os.path.dirname(__file__), "..", "..", "include")
    subprocess.run(["gcc", *FLAGS, "-shared", "-fPIC", "-std=c17", f"-I{include}", "-o",
                    str(tmp_path / "app.so"), str(source), f"-L{BUILD}", "-lcrew"], check=True)
    crew = os.path.join(BUILD, "crew")
    assert "needs the file" in run("run", program=crew).stderr
    assert run("run", "/nowhere.so", program=crew).returncode == 1
    done = run("run", str(tmp_path / "app.so"), "--bad", program=crew)
    assert done.returncode == 2 and "--bad" in done.stderr
    assert "see crew run app.so --help" in done.stderr
    assert "Usage: crew run app.so [OPTION]" in run("run", str(tmp_path / "app.so"), "--help",
                                                    program=crew).stdout
    server = Server(str(tmp_path), program=str(tmp_path / "app.so"), before=[crew, "run"])
    try:
        assert server.get("/hi").body == b"hi"
    finally:
        assert server.stop() == 0
    assert "interface" not in server.log()


def test_crew_run_of_the_example(tmp_path):
    """As README has it."""
    server = Server(str(tmp_path), program=os.path.join(BUILD, "examples", "shared.so"),
                    before=[os.path.join(BUILD, "crew"), "run"])
    try:
        assert server.get("/hello/you").body == b'{"hello":"you"}'
        assert len(server.workers()) == 2
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("abi,code,says", [
    ("CREW_EXPORT_SERVER", 0, ""), ("const struct crew_server crew_server", 0, "does not say"),
    ("const unsigned crew_server_abi = CREW_ABI + 1; const struct crew_server crew_server", 1,
     "build it anew")])
def test_crew_run_looks_for_what_it_was_built(tmp_path, abi, code, says):
    source = tmp_path / "app.c"
    source.write_text("""
        #include <crew/crew.h>
        static const struct crew_app app = { .name = "app" };
        %s = { .pools = { { .app = &app, .workers = 1 } } };
    """ % abi)
    include = os.path.join(os.path.dirname(__file__), "..", "..", "include")
    hidden = ["-fvisibility=hidden"] if abi == "CREW_EXPORT_SERVER" else []
    subprocess.run(["gcc", *FLAGS, *hidden, "-shared", "-fPIC", "-std=c17", f"-I{include}", "-Wall",
                    "-Wextra", "-Werror", "-Wmissing-declarations", "-o", str(tmp_path / "app.so"),
                    str(source), f"-L{BUILD}", "-lcrew"], check=True)
    done = run("run", str(tmp_path / "app.so"), "--version", program=os.path.join(BUILD, "crew"))
    assert done.returncode == code and says in done.stderr and bool(says) == bool(done.stderr)


def test_the_help_says_what_holds_for_this_program(tmp_path):
    source = tmp_path / "app.c"
    source.write_text("""
        #include <crew/crew.h>
        static const struct crew_app app = { .name = "app" };
        int main(int argc, char **argv) {
            return crew_main(argc, argv, &(struct crew_server){ .listen = "[::1]:9", .dispatchers = 3,
                .listen_mode = 0600, .log_level = CREW_ERROR, .spin_us = CREW_NEVER,
                .idle_timeout_ms = 75000, .daemon.pidfile = "/run/x.pid", .pools = { { .app = &app, .workers = 7,
                .kind = CREW_THREAD } } });
        }
    """)
    include = os.path.join(os.path.dirname(__file__), "..", "..", "include")
    program = str(tmp_path / "app")
    subprocess.run(["gcc", "-std=c17", *FLAGS, f"-I{include}", "-o", program, str(source), f"-L{BUILD}",
                    f"-Wl,-rpath,{os.path.abspath(BUILD)}", "-lcrew"], check=True)
    text = run("--help", program=program).stdout
    assert "WEB_CONCURRENCY" not in text and "WEB_CONCURRENCY" in run("--help").stdout
    options = dict(re.findall(r"^  --(\S+)(.*?)(?=^  --|^$)", text, re.M | re.S))
    for option, default in (("listen", "[::1]:9"), ("dispatchers", "3"), ("listen-mode", "0600"),
                            ("log-level", "error"), ("spin", "off"), ("pidfile", "/run/x.pid"),
                            ("workers", "7"), ("idle-timeout", "75"), ("worker-class", "thread"), ("policy", "beside"),
                            ("log-format", "auto")):
        assert f"(default {default})" in options[option], option
    assert "default" not in options["user"] and "default" not in options["daemon"]


def test_the_static_library_is_whole(tmp_path):
    """A program that has it inside runs without the shared one, and sees public names only."""
    source = tmp_path / "app.c"
    source.write_text("""
        #include <crew/crew.h>
        static crew_reply hi(struct crew_request *request) { return crew_text(request, 200, "hi"); }
        static const struct crew_app app = { .name = "app", .routes = (const struct crew_route[]){
            { .on = "GET /hi", .run = hi }, { 0 } } };
        /* Ours, whatever the library has of that name within. */
        int loop_init(void);
        int loop_init(void) { return 7; }
        int main(int argc, char **argv) {
            return loop_init() == 7 ? crew_main(argc, argv, &(struct crew_server){
                .listen = "127.0.0.1:0", .pools = { { .app = &app, .workers = 1 } } }) : 1;
        }
    """)
    include = os.path.join(os.path.dirname(__file__), "..", "..", "include")
    program = str(tmp_path / "app")
    libraries = subprocess.run(["pkg-config", "--libs", "jansson", "liburing"], check=True,
                               capture_output=True, text=True).stdout.split()
    subprocess.run(["gcc", "-std=c17", *FLAGS, f"-I{include}", "-o", program, str(source),
                    os.path.join(BUILD, "libcrew.a"), *libraries], check=True)
    assert "libcrew" not in subprocess.run(["ldd", program], capture_output=True, text=True,
                                           check=True).stdout
    server = Server(str(tmp_path), program=program)
    try:
        assert server.get("/hi").body == b"hi"
    finally:
        server.stop()


def test_what_is_installed_is_found(tmp_path):
    """README's way: install, and build the first program with pkg-config alone."""
    root = str(tmp_path / "root")
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", root],
                   check=True, capture_output=True, stdin=subprocess.DEVNULL)
    found = [folder for folder, _, names in os.walk(root) if "crew.pc" in names]
    assert len(found) == 1
    where = found[0][len(root):]

    def ask(*arguments, **environment):
        return subprocess.run(["pkg-config", *arguments], check=True, capture_output=True, text=True,
                              env={**os.environ, **environment}).stdout.strip()

    assert where in ask("--variable", "pc_path", "pkg-config").split(":"), "pkg-config looks there"
    prefix = ask("--variable", "prefix", "crew", PKG_CONFIG_PATH=found[0])
    flags = ask("--cflags", "--libs", f"--define-variable=prefix={root}{prefix}", "crew",
                PKG_CONFIG_PATH=found[0]).split()
    assert "-lcrew" in flags and any(root in flag for flag in flags)
    program = str(tmp_path / "hello")
    source = os.path.join(os.path.dirname(__file__), "..", "..", "examples", "hello.c")
    subprocess.run(["cc", *FLAGS, source, *flags, "-o", program], check=True)
    libraries = os.path.dirname(found[0])
    environment = {"LD_LIBRARY_PATH": libraries}
    assert libraries in subprocess.run(["ldd", program], capture_output=True, text=True, check=True,
                                       env={**os.environ, **environment}).stdout
    server = Server(str(tmp_path), environment=environment, program=program)
    try:
        assert b'"bolt"' in server.get("/api/item/7").body
        done = subprocess.run([f"{root}{prefix}/bin/crew", "--version"], capture_output=True,
                              env={**os.environ, **environment}, check=False)
        assert done.returncode == 0
    finally:
        server.stop()


def test_files_at_the_root_are_what_no_route_has(tmp_path):
    source = tmp_path / "app.c"
    source.write_text("""
        #include <crew/crew.h>
        static crew_reply hi(struct crew_request *request) { return crew_text(request, 200, "hi"); }
        static const struct crew_app app = { .name = "app", .routes = (const struct crew_route[]){
            { .on = "GET /hi", .run = hi }, { .on = "GET /health", .run = hi },
            { .on = "POST /deep", .run = hi }, { .on = "POST /form", .run = hi }, { 0 } } };
        int main(int argc, char **argv) {
            return crew_main(argc, argv, &(struct crew_server){ .mounts = { { "/", "root" } },
                .pools = { { .app = &app, .workers = 1 } } });
        }
    """)
    include = os.path.join(os.path.dirname(__file__), "..", "..", "include")
    program = str(tmp_path / "app")
    subprocess.run(["gcc", "-std=c17", *FLAGS, f"-I{include}", "-o", program, str(source), f"-L{BUILD}",
                    f"-Wl,-rpath,{os.path.abspath(BUILD)}", "-lcrew"], check=True)
    for name in ("index.html", "hi", "deep/index.html"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(name)
    server = Server(str(tmp_path), program=program, before=["env", "-C", str(tmp_path)])
    try:
        with server.client() as client:
            for path, body in (("/hi", b"hi"), ("/", b"index.html"), ("/deep/", b"deep/index.html")):
                assert client.get(path).body == body
            assert client.get("/deep").status == 301 and client.get("/nothing").status == 404
            answer = client.request("POST", "/hi", body=b"x" * 100)
            assert answer.status == 405 and answer.header("Allow") == "GET, HEAD"
            assert client.request("POST", "/nothing", body=b"x" * 100).status == 405
            assert client.request("POST", "/deep", body=b"x" * 100).body == b"hi"
            answer = client.get("/form")
            assert answer.status == 405 and answer.header("Allow") == "POST", "no such file"
            assert b'"ok"' in client.get("/health").body
        assert 'route "GET /health": no client reaches it: a built-in page' in server.log()
    finally:
        assert server.stop() == 0


BAD_TABLES = [
    ('{ .on = "GET /x/{a:date}", .run = hi }', "unknown type"),
    ('{ .on = "GET /x/{}", .run = hi }', "no name"),
    ('{ .on = "GET x", .run = hi }', "slash"),
    ('{ .on = "get /x", .run = hi }', "capital"),
    ('{ .on = "GET /x", .run = hi }, { .on = "GET /x/", .run = hi }', "twice"),
    ('{ .on = "GET /x/{a}", .run = hi }, { .on = "GET /x/{b}", .run = hi }', "twice"),
    ('{ .on = "GET /x/{a}/{a}", .run = hi }', "same name"),
    ('{ .on = "GET /x/{a", .run = hi }', "not closed"),
    ('{ .on = "GET /**/x", .run = hi }', "follow"),
    ('{ .on = "GET /x" }', "handler"),
]


@pytest.mark.parametrize("rows,says", BAD_TABLES, ids=[row[1] for row in BAD_TABLES])
def test_a_bad_table_is_refused_by_row(tmp_path, rows, says):
    source = tmp_path / "bad.c"
    source.write_text("""
        #include <crew/crew.h>
        static crew_reply hi(struct crew_request *request) { return crew_text(request, 200, "hi"); }
        static const struct crew_app app = { .name = "app", .routes = (const struct crew_route[]){
            { .on = "GET /good", .run = hi }, %s, { 0 } } };
        int main(int argc, char **argv) {
            return crew_main(argc, argv, &(struct crew_server){ .listen = "127.0.0.1:0",
                .pools = { { .app = &app, .workers = 1 } } });
        }
    """ % rows)
    include = os.path.join(os.path.dirname(__file__), "..", "..", "include")
    program = str(tmp_path / "bad")
    subprocess.run(["gcc", "-std=c17", *FLAGS, f"-I{include}", "-o", program, str(source), f"-L{BUILD}",
                    f"-Wl,-rpath,{os.path.abspath(BUILD)}", "-lcrew"], check=True)
    done = run(program=program)
    assert done.returncode == 2
    assert says in done.stderr and "row" in done.stderr and '"app"' in done.stderr, done.stderr
