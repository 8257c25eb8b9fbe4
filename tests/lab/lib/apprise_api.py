"""The part of the Apprise API server that Gantry speaks to, around the real Apprise.

    apprise_api.py KEY=URL...

What is posted to /notify/KEY is passed on to the URLs of that key. Statuses and words are those of the Apprise API
server (https://github.com/caronc/apprise-api): 200 when all were told, 204 for a key that it does not know, 400 for what
is no message, 424 when somebody could not be told. It listens on a free port of 127.0.0.1 and prints its address, as
HOST:PORT, once it does. It ends with its standard input, so that it does not outlive whoever started it.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import apprise

TYPES = {"info", "success", "warning", "failure"}


class Api(BaseHTTPRequestHandler):
    # What each key stands for.
    told = {}

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        folder, _, key = self.path.strip("/").partition("/")
        if folder != "notify" or not key:
            return self.answer(404, "There is no such page")
        if self.headers.get("Content-Type") != "application/json":
            return self.answer(400, "The message format is not supported")
        try:
            content = json.loads(content)
        except ValueError:
            return self.answer(400, "Invalid JSON provided")
        kind = content.get("type", "info")
        if not content.get("body") or kind not in TYPES:
            return self.answer(400, "Payload lacks minimum requirements")
        if key not in self.told:
            return self.answer(204, None)
        if not self.told[key].notify(body=content["body"], title=content.get("title", ""), notify_type=kind):
            return self.answer(424, "One or more notification could not be sent")
        return self.answer(200, None)

    def answer(self, status, error):
        body = b"" if status == 204 else json.dumps({"error": error}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def end_with_standard_input():
    sys.stdin.buffer.read()
    os._exit(0)


def main():
    for argument in sys.argv[1:]:
        key, _, url = argument.partition("=")
        if not Api.told.setdefault(key, apprise.Apprise()).add(url):
            sys.exit(f"Apprise does not understand {url}")
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    print(f"127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


main()
