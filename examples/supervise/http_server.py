# SPDX-License-Identifier: MIT
"""What http_server.c runs: serves a directory on a socket that it is given.
Without crew or systemd: systemd-socket-activate -l 8000 python3 http_server.py DIRECTORY"""
import functools
import http.server
import os
import signal
import socket
import sys
import threading


def inherited_listener():
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        sys.exit("one socket is needed, by LISTEN_FDS")
    listener = socket.socket(fileno=3)
    listener.setblocking(False)  # the other copy may have been faster
    return listener


def notify(text):
    name = os.environ.get("NOTIFY_SOCKET")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), "\0" + name[1:] if name[0] == "@" else name)


class Handler(http.server.SimpleHTTPRequestHandler):
    timeout = 5

    def end_headers(self):
        self.send_header("Served-By", str(os.getpid()))
        super().end_headers()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for what is being served


def main():
    listener = inherited_listener()
    handler = functools.partial(Handler, directory=sys.argv[1])
    server = Server(listener.getsockname(), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    stop = threading.Thread(target=server.shutdown)
    signal.signal(signal.SIGTERM, lambda *_: stop.ident or stop.start())
    notify("READY=1")
    server.serve_forever()
    server.server_close()


main()
