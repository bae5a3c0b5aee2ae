"""A web application that answers with a directory's files; LAB_WORK says what it does for an answer."""

import os
import time
import zlib

ROOT = os.environ["LAB_ROOT"]
WORK = os.environ.get("LAB_WORK", "plain")


def app(environ, start_response):
    with open(os.path.join(ROOT, os.path.basename(environ["PATH_INFO"])), "rb") as file:
        body = file.read()
    if WORK == "gzip":
        body = zlib.compress(body)
    elif WORK == "sleep":
        # As an application that asks a service on another continent.
        time.sleep(0.06)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
