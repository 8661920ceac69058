"""The systems, each with its default settings as far as the question allows:

- Tidetable with nothing set but the number of serving threads
- Redis without persistence, so that its single thread does nothing but answer
- nginx with one worker, no log, and a fixed body as long as the median value
"""

import os
import re
import subprocess

from . import client
from .errors import Failed
from .processes import Process, free_port, pinned

DATASET = "recs"


class Tidetable:
    name = "Tidetable"

    def __init__(self, binary, data, cores, threads, log, join=None):
        self.data, self.port = data, free_port()
        command = [binary, "serve", "--data", data, "--listen", f"127.0.0.1:{self.port}"]
        if threads:
            command += ["--threads", str(threads)]
        self.process = Process(self.name, command, cores, log, join=join)
        self.process.wait_for_port(self.port)
        client.wait_until_ready(self.port, self.process)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.process.stop()


class Redis:
    name = "Redis"

    def __init__(self, directory, cores, log):
        os.makedirs(directory, exist_ok=True)
        self.port = free_port()
        self.process = Process(self.name, [
            "redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "",
            "--appendonly", "no", "--daemonize", "no", "--dir", directory], cores, log, stdout=subprocess.DEVNULL)
        self.process.wait_for_port(self.port)

    def pipe(self, resp, cores):
        """Loads a file of commands; the number that Redis answered."""
        with open(resp, "rb") as file:
            done = subprocess.run(pinned(cores, ["redis-cli", "-p", str(self.port), "--pipe"]),
                                  stdin=file, capture_output=True, text=True)
        answers = re.search(r"errors: (\d+), replies: (\d+)", done.stdout)
        if done.returncode != 0 or not answers or answers.group(1) != "0":
            raise Failed(f"redis-cli --pipe did not load {resp}: {done.stdout}{done.stderr}")
        return int(answers.group(2))

    def info(self, name):
        done = subprocess.run(["redis-cli", "-p", str(self.port), "info", "memory"],
                              capture_output=True, text=True, check=True)
        return int(re.search(rf"^{name}:(\d+)", done.stdout, re.M).group(1))

    def get(self, key):
        done = subprocess.run(["redis-cli", "-p", str(self.port), "get", key], capture_output=True, check=True)
        return done.stdout.rstrip(b"\n")

    def stop(self):
        self.process.stop()


NGINX = """\
daemon off;
worker_processes {workers};
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{
    listen 127.0.0.1:{port} reuseport;
    location / {{ default_type application/json; return 200 '{body}'; }}
  }}
}}
"""


class Nginx:
    name = "nginx"

    def __init__(self, directory, body, cores, workers, log):
        os.makedirs(directory, exist_ok=True)
        self.port = free_port()
        config = os.path.join(directory, "nginx.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(NGINX.format(dir=directory, workers=workers, port=self.port, body=body))
        self.process = Process(self.name, ["nginx", "-c", config, "-p", directory], cores, log)
        self.process.wait_for_port(self.port)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.process.stop()
