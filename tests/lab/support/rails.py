"""Two hosts joined by shaped cables, and the perf programs run across them."""
import json
import os
import pathlib
import subprocess
import tempfile

import ranks


class Rails(ranks.Hosts):
    """Cables rail0, rail1, ... of 10.77.<rail>.0/24 between two hosts, each way at `rate`."""

    def __init__(self, rails, rate):
        super().__init__(2)
        self.rails, self.rate = rails, rate

    def __enter__(self):
        super().__enter__()
        for host in range(2):
            self.ip(host, "link", "set", "lo", "up")
        for rail in range(self.rails):
            name = f"rail{rail}"
            self.wire(0, 1, name)
            for host in range(2):
                self.ip(host, "addr", "add", f"10.77.{rail}.{host + 1}/24", "dev", name)
                self.shape(host, name, self.rate)
        return self

    def perf(self, program, per_host, interfaces, *arguments, **settings):
        """Runs `program` with `per_host` ranks on each host; every rank must end well. Returns rank 0's JSON."""
        with tempfile.TemporaryDirectory() as folder:
            results = pathlib.Path(folder, "results.json")
            started = []
            for rank in range(2 * per_host):
                command = ["ip", "netns", "exec", self.names[rank // per_host], str(program), "--rank", str(rank), "--nranks",
                           str(2 * per_host), "--id-file", str(pathlib.Path(folder, "id")), *arguments]
                if rank == 0:
                    command += ["-J", str(results)]
                environment = {**os.environ, "COMITY_SOCKET_IFNAME": interfaces, "COMITY_LOG": "warn", **settings}
                started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            try:
                outputs = [each.communicate(timeout=2 * ranks.LIMIT_S)[0] for each in started]
            finally:
                for each in started:
                    each.kill()
            for each, output in zip(started, outputs):
                assert each.returncode == 0, f"a rank ended with {each.returncode}:\n{output}"
            print(outputs[0])
            return json.loads(results.read_text())
