"""A guest under QEMU's software emulation: a kernel, an initramfs made here, and a script that it runs.

Needs qemu-system-x86_64, a static busybox, depmod and, once, apt-get for the kernel's package, which is unpacked and not
installed. Whoever imports this gets SystemExit 77 (a counted skip) where one is missing.
"""
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile

SKIP = 77
BEGIN, END = "comity-guest-begin", "comity-guest-end"
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /sbin /bin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
/bin/busybox ln -sf /bin/busybox /sbin/modprobe
export PATH=/bin:/sbin:/usr/bin
for module in {modules}; do modprobe $module; done
cd /
{script}
poweroff -f
"""


def skip(why):
    print(f"skipped: needs {why}")
    sys.exit(SKIP)


def kernel(folder):
    """The folder of an unpacked kernel package with boot/vmlinuz-* and lib/modules; fetched by apt-get if it is not there."""
    folder = pathlib.Path(folder)
    if not list(folder.glob("boot/vmlinuz-*")):
        folder.mkdir(parents=True, exist_ok=True)
        depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=False).stdout
        package = re.search(r"Depends: (linux-image-\S+)", depends)
        if package is None:
            skip("apt's package linux-image-amd64")
        subprocess.run(["apt-get", "-qq", "download", package.group(1)], cwd=folder, check=False, capture_output=True)
        for file in folder.glob("linux-image-*.deb"):
            subprocess.run(["dpkg", "-x", file, folder], check=True)
            file.unlink()
    if not list(folder.glob("boot/vmlinuz-*")):
        skip(f"a kernel in {folder}: its package could not be fetched")
    return folder


class Root:
    """The files of the initramfs, put together in a folder."""

    def __init__(self, folder, kernel_folder):
        self.folder = pathlib.Path(folder)
        self.kernel = pathlib.Path(kernel_folder)
        self.version = next(self.kernel.glob("lib/modules/*")).name
        self.add_file(shutil.which("busybox"), "bin/busybox")

    def add_file(self, source, target):
        target = self.folder / target.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)

    def add_program(self, program):
        """A program as /usr/bin/NAME, and the libraries that ldd names at their places."""
        self.add_file(program, f"usr/bin/{pathlib.Path(program).name}")
        self.add_libraries(program)

    def add_libraries(self, program):
        for library in re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout):
            self.add_file(library, library)

    def add_plugin(self, library):
        """A library that is opened at run time, at its place, and those that it needs."""
        self.add_file(library, str(library))
        if pathlib.Path(library).suffix != ".driver":
            self.add_libraries(library)

    def add_modules(self, names):
        """Modules and what they depend on, by depmod's list over the whole package."""
        base = self.kernel / "lib/modules" / self.version
        if not (base / "modules.dep").exists():
            subprocess.run(["depmod", "-b", self.kernel, self.version], check=True)
        depends = dict(line.split(":", 1) for line in (base / "modules.dep").read_text().splitlines())
        by_name = {pathlib.Path(path).name.split(".")[0].replace("-", "_"): path for path in depends}
        for name in names:
            path = by_name.get(name)
            if path is None:
                continue  # built in
            for each in [path, *depends[path].split()]:
                self.add_file(base / each, f"lib/modules/{self.version}/{each}")
        subprocess.run(["depmod", "-b", self.folder, self.version], check=True, capture_output=True)

    def add_init(self, modules, script):
        path = self.folder / "init"
        path.write_text(INIT.format(modules=" ".join(modules), script=script))
        path.chmod(0o755)

    def pack(self, target):
        """As an archive in cpio's "newc" format, which the kernel unpacks."""
        with open(target, "wb") as archive:
            paths = sorted(self.folder.rglob("*"))
            for inode, path in enumerate(paths, 1):
                self._pack_one(archive, str(path.relative_to(self.folder)), path, inode)
            self._pack_one(archive, "TRAILER!!!", None, 0)

    @staticmethod
    def _pack_one(archive, name, path, inode):
        mode, data = 0, b""
        if path is not None:
            mode = path.stat().st_mode
            data = path.read_bytes() if stat.S_ISREG(mode) else b""
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = [inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        archive.write(b"070701" + b"".join(b"%08X" % field for field in fields))
        head = 110 + len(name) + 1
        archive.write(name.encode() + b"\0" + b"\0" * (-head % 4))
        archive.write(data + b"\0" * (-len(data) % 4))


def run(machine, programs, plugins, modules, script, kernel_folder, timeout_s=240):
    """Boots; returns what `script` printed. `machine`: QEMU's arguments for the hardware; `plugins`: files kept at their places."""
    for tool in ("qemu-system-x86_64", "busybox", "depmod"):
        if shutil.which(tool) is None:
            skip(tool)
    kernel_folder = kernel(kernel_folder)
    with tempfile.TemporaryDirectory() as folder:
        root = Root(pathlib.Path(folder, "root"), kernel_folder)
        for program in programs:
            root.add_program(program)
        for plugin in plugins:
            root.add_plugin(plugin)
        root.add_modules(modules)
        root.add_init(modules, f"echo {BEGIN}\n{script}\necho {END}")
        root.pack(pathlib.Path(folder, "initrd"))
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio",
                   "-kernel", str(next(kernel_folder.glob("boot/vmlinuz-*"))), "-initrd", str(pathlib.Path(folder, "initrd")),
                   "-append", "console=ttyS0 panic=-1 quiet loglevel=1 net.ifnames=0", *machine]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as late:
            said = (late.stdout or b"").decode(errors="replace").replace("\r", "")
            raise AssertionError(f"the guest was not done within {timeout_s} s:\n{said[-4000:]}") from None
    output = done.stdout.replace("\r", "")
    found = re.search(rf"{BEGIN}\n(.*?)^{END}$", output, re.S | re.M)
    if found is None:
        raise AssertionError(f"the guest did not come to its end:\n{output[-4000:]}\n{done.stderr[-2000:]}")
    return found.group(1)
