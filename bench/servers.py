# SPDX-License-Identifier: MIT
"""The servers that are compared: how each is started, and what it is asked for. Each
answers the same nineteen bytes of JSON, from its shortest path to an answer. Some also answer
/bytes/N with so many bytes (nginx from a file), and what is posted to them with the same."""
import atexit
import contextlib
import functools
import glob
import os
import shutil
import socket
import subprocess
import tempfile
import time

# nginx, haproxy and php-fpm lie where Debian has only root look.
os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin"

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("CREW_BUILD", os.path.join(HERE, "..", "build"))
SAMPLER = os.path.join(BUILD, "examples", "sampler")
ANSWER = '{"message":"hello"}'
TYPE = "application/json"
PATIENCE_S = 15  # until a server that has begun answers

WSGI = f"""
def app(environ, start_response):
    path, answer = environ["PATH_INFO"], b'{ANSWER}'
    if environ["REQUEST_METHOD"] == "POST":
        answer = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    elif path.startswith("/bytes/"):
        answer = b"x" * int(path[7:])
    start_response("200 OK", [("Content-Type", "{TYPE}"), ("Content-Length", str(len(answer)))])
    return [answer]
application = app
"""
ASGI = f"""
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    path, answer = scope["path"], b'{ANSWER}'
    if scope["method"] == "POST":
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message["body"])
            more = message["more_body"]
        answer = b"".join(parts)
    elif path.startswith("/bytes/"):
        answer = b"x" * int(path[7:])
    await send({{"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"{TYPE}"),
                            (b"content-length", b"%d" % len(answer))]}})
    await send({{"type": "http.response.body", "body": answer}})
"""
NODE = f"""
const cluster = require('cluster'), http = require('http');
if (cluster.isPrimary) {{ for (let i = 0; i < 2; i++) cluster.fork(); }}
else http.createServer((q, a) => {{
  const answer = q.url.startsWith('/bytes/') ? Buffer.alloc(+q.url.slice(7), 'x') : '{ANSWER}';
  const size = q.method === 'POST' ? q.headers['content-length'] : answer.length;
  a.writeHead(200, {{'Content-Type': '{TYPE}', 'Content-Length': size}});
  if (q.method === 'POST') q.pipe(a); else a.end(answer);
}}).listen(+process.argv[2], '127.0.0.1');
"""
RACK = f"""
run ->(env) {{ [200, {{'content-type' => '{TYPE}', 'content-length' => '{len(ANSWER)}'}},
              ['{ANSWER}']] }}
"""
PHP = f"<?php header('Content-Type: {TYPE}'); header('Content-Length: {len(ANSWER)}'); " \
      f"echo '{ANSWER}';"
PHP_FPM = """
[global]
error_log = {folder}/fpm.log
daemonize = no
[www]
listen = {folder}/fpm.sock
listen.mode = 0666
user = nobody
listen.backlog = 4096
pm = static
pm.max_children = 2
"""
KORE = """
#include <kore/kore.h>
#include <kore/http.h>
int hello(struct http_request *);
int hello(struct http_request *request)
{
	http_response_header(request, "content-type", "application/json");
	http_response(request, 200, "{\\"message\\":\\"hello\\"}", 19);
	return KORE_RESULT_OK;
}
"""
KORE_CONF = """
server plain {{
	bind 127.0.0.1 {port}
	tls no
}}
load {folder}/hello.so
workers 1
worker_max_connections 4096
root {folder}
runas nobody
domain * {{
	attach plain
	route / hello
}}
"""
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 20000; }}
http {{ access_log off; keepalive_requests 1000000000; default_type application/json;
client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; client_max_body_size 100m;
"""
DIRECT = NGINX + """
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 '{answer}'; }}
location /bytes/ {{ root {bodies}; sendfile on; open_file_cache max=10; }} }} }}
"""
BEHIND = NGINX + """
server {{ listen unix:{folder}/back.sock backlog=4096; location / {{ return 200 '{answer}'; }}
location /bytes/ {{ root {bodies}; sendfile on; open_file_cache max=10; }} }} }}
"""
FRONT = NGINX + """
upstream back {{ server unix:{folder}/back.sock; keepalive 512; keepalive_requests 1000000000; }}
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://back;
proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
"""
FRONT_PHP = NGINX + """
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
fastcgi_pass unix:{folder}/fpm.sock; fastcgi_param SCRIPT_FILENAME {folder}/index.php;
fastcgi_param REQUEST_METHOD $request_method; }} }} }}
"""
HAPROXY = """
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:{port} backlog 4096
  default_backend back
backend back
  http-reuse always
  server one unix@{folder}/back.sock
"""
H2O = """
num-threads: 1
listen: {{host: 127.0.0.1, port: {port}}}
user: nobody
hosts:
  default:
    paths:
      /:
        file.dir: {folder}
        file.index: [hello.json]
"""


@functools.lru_cache
def bodies():
    """A folder of files that are as long as they are named, for the time of this run."""
    folder = tempfile.mkdtemp(prefix="crew-bench-bodies-")
    atexit.register(shutil.rmtree, folder)
    os.chmod(folder, 0o755)
    os.mkdir(os.path.join(folder, "bytes"))
    for size in (4096, 65536, 1048576):
        with open(os.path.join(folder, "bytes", str(size)), "wb") as file:
            file.write(b"x" * size)
    return folder


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(pid):
    """A process and all its descendants."""
    found = [pid]
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            for child in file.read().split():
                found += family(int(child))
    return found


class Server:
    """`commands`: one for each program of it, started in order; all are stopped."""

    def __init__(self, name, commands, files=None, path="/", kind="peer", build=None):
        self.name, self.commands, self.path, self.kind = name, commands, path, kind
        self.files, self.build = files or {}, build
        self.start_s = None  # from the last program's exec to the first answer

    def missing(self):
        return [command[0] for command in self.commands if not shutil.which(command[0])]

    @contextlib.contextmanager
    def running(self):
        """Yields (port, pids of its processes, folder)."""
        processes = []
        with tempfile.TemporaryDirectory(prefix="crew-bench-") as folder:
            os.chmod(folder, 0o755)
            port = free_port()
            fill = {"folder": folder, "port": port, "answer": ANSWER, "bodies": bodies()}
            for name, text in self.files.items():
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text.format(**fill) if name.endswith((".conf", ".cfg", ".yaml"))
                               else text)
            if self.build:
                built = subprocess.run([word.format(**fill) for word in self.build], cwd=folder,
                                       capture_output=True, text=True)
                if built.returncode:
                    raise RuntimeError(f"{self.name} cannot be built:\n{built.stderr[-2000:]}")
            try:
                for command in self.commands:
                    time.sleep(0.2 if processes else 0)
                    with open(os.path.join(folder, "out"), "ab") as out:
                        processes.append(subprocess.Popen(
                            [word.format(**fill) for word in command], cwd=folder,
                            stdin=subprocess.DEVNULL, stdout=out, stderr=out))
                    began = time.monotonic()  # Popen returns after the exec
                self.wait(port, processes, folder)
                self.start_s = time.monotonic() - began
                yield port, lambda: sum((family(p.pid) for p in processes), []), folder
                if any(process.poll() is not None for process in processes):
                    raise RuntimeError(f"{self.name} ended under the load")
            finally:
                for process in reversed(processes):
                    process.terminate()
                for process in processes:
                    try:
                        process.wait(15)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()

    def wait(self, port, processes, folder):
        end, why = time.monotonic() + PATIENCE_S, f"does not answer within {PATIENCE_S} s"
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(OSError), \
                    socket.create_connection(("127.0.0.1", port), min(left, 2)) as sock:
                sock.sendall(f"GET {self.path} HTTP/1.1\r\nHost: x\r\n"
                             "Connection: close\r\n\r\n".encode())
                if b"200" in sock.recv(4096).split(b"\r\n")[0]:
                    return
            if any(process.poll() is not None for process in processes):
                why = "has ended"
                break
            time.sleep(0.0002)
        with open(os.path.join(folder, "out"), encoding="utf-8", errors="replace") as file:
            raise RuntimeError(f"{self.name} {why}:\n{file.read()[-2000:]}")


def crew(name, workers, path, *options):
    return Server(name, [[SAMPLER, "--listen", "127.0.0.1:{port}", "--workers", str(workers),
                          "--log-level", "warning", *options]], path=path, kind="crew")


def nginx(name):
    return ["nginx", "-c", "{folder}/" + name]


def all_servers():
    return [
        crew("crew /local/hello", 1, "/local/hello"),
        crew("crew, 1 worker", 1, "/hello"),
        crew("crew, 2 workers", 2, "/hello"),
        crew("crew, 4 workers", 4, "/hello"),
        crew("crew, 2 threads", 2, "/hello", "--worker-class", "thread"),
        crew("crew, 1 worker, epoll", 1, "/hello", "--loop", "epoll"),
        Server("nginx return", [nginx("one.conf")], {"one.conf": DIRECT}),
        Server("nginx to nginx", [nginx("back.conf"), nginx("front.conf")],
               {"back.conf": BEHIND, "front.conf": FRONT.replace("nginx.pid", "front.pid")}),
        Server("haproxy to nginx", [nginx("back.conf"),
                                    ["haproxy", "-db", "-f", "{folder}/front.cfg"]],
               {"back.conf": BEHIND, "front.cfg": HAPROXY}),
        Server("h2o file", [["h2o", "-c", "{folder}/h2o.yaml"]],
               {"h2o.yaml": H2O, "hello.json": ANSWER}),
        Server("kore", [["kore", "-fnr", "-c", "{folder}/kore.conf"]],
               {"kore.conf": KORE_CONF, "hello.c": KORE},
               build=["gcc", "-O2", "-shared", "-fPIC", "-o", "hello.so", "hello.c"]),
        Server("node cluster, 2", [["node", "{folder}/app.js", "{port}"]], {"app.js": NODE}),
        # Without uvloop or httptools it would be five times slower, and say nothing.
        Server("uvicorn, 1", [["/usr/bin/uvicorn", "--port", "{port}", "--no-access-log",
                               "--loop", "uvloop", "--http", "httptools",
                               "--log-level", "warning", "app:app"]], {"app.py": ASGI}),
        # By itself it closes each connection; --http11-socket would keep two clients, and answer
        # no others.
        Server("uwsgi, 2", [["uwsgi", "--plugin", "python3", "--http-socket",
                             "127.0.0.1:{port}", "--add-header", "Connection: close",
                             "--listen", "1024", "--wsgi-file", "{folder}/app.py", "--master",
                             "--processes", "2", "--disable-logging", "--die-on-term"]],
               {"app.py": WSGI}),
        Server("uwsgi http, 2", [["uwsgi", "--plugin", "python3,http", "--http",
                                  "127.0.0.1:{port}", "--http-keepalive=60",
                                  "--so-keepalive", "--listen", "1024", "--wsgi-file",
                                  "{folder}/app.py", "--master", "--processes", "2",
                                  "--disable-logging", "--die-on-term"]], {"app.py": WSGI}),
        Server("gunicorn sync, 2", [["/usr/bin/gunicorn", "-w2", "-b127.0.0.1:{port}",
                                     "app:app"]], {"app.py": WSGI}),
        # Its sync workers close each connection; these keep them.
        Server("gunicorn gthread, 2", [["/usr/bin/gunicorn", "-w2", "-kgthread", "--threads=4",
                                        "-b127.0.0.1:{port}", "app:app"]], {"app.py": WSGI}),
        Server("puma, 2", [["puma", "-q", "-w", "2", "-t", "1:1", "-b",
                            "tcp://127.0.0.1:{port}", "{folder}/config.ru"]],
               {"config.ru": RACK}),
        Server("nginx to php-fpm", [["php-fpm8.2", "-F", "-R", "-y", "{folder}/fpm.conf"],
                                    nginx("front.conf")],
               {"fpm.conf": PHP_FPM, "front.conf": FRONT_PHP, "index.php": PHP}),
    ]
