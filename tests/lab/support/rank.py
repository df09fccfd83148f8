"""One rank as a process that does what it is told, a line at a time on standard input, through the C library.

Each command is answered with one line: "ok ...", "wrong ..." (data), or "error ..." with the library's sentence. A driver says
when, so a rank can be early, late, or gone without anybody sleeping.
Usage: rank.py LIBRARY
"""
import ctypes
import sys

ID_BYTES = 128
UINT8, SUM = 1, 0


class Rank:
    def __init__(self, library):
        self.comity = ctypes.CDLL(library)
        self.comity.comityGetLastError.restype = ctypes.c_char_p
        self.comity.comityGetLastError.argtypes = [ctypes.c_void_p]
        self.comm = ctypes.c_void_p()

    def check(self, result):
        if result != 0:
            raise RuntimeError((self.comity.comityGetLastError(self.comm) or b"").decode(errors="replace"))

    def do_id(self):
        unique = ctypes.create_string_buffer(ID_BYTES)
        self.check(self.comity.comityGetUniqueId(unique))
        return unique.raw.hex()

    def do_init(self, nranks, rank, hex_id):
        class Id(ctypes.Structure):
            _fields_ = [("internal", ctypes.c_char * ID_BYTES)]

        unique = Id.from_buffer_copy(bytes.fromhex(hex_id))
        self.check(self.comity.comityCommInitRank(ctypes.byref(self.comm), int(nranks), unique, int(rank)))

    def do_broadcast(self, size, root):
        size, root = int(size), int(root)
        rank = ctypes.c_int()
        self.check(self.comity.comityCommUserRank(self.comm, ctypes.byref(rank)))
        wanted = (bytes(range(251)) * (size // 251 + 1))[:size]
        source = ctypes.create_string_buffer(wanted if rank.value == root else b"", size)
        target = ctypes.create_string_buffer(size)
        self.check(self.comity.comityBroadcast(source, target, ctypes.c_size_t(size), UINT8, root, self.comm, None))
        if target.raw != wanted:
            raise ValueError("data")

    def do_allreduce(self, count, nranks):
        source = ctypes.create_string_buffer(b"\1" * int(count), int(count))
        self.check(self.comity.comityAllReduce(source, source, ctypes.c_size_t(int(count)), UINT8, SUM, self.comm, None))
        if source.raw != bytes([int(nranks)]) * int(count):
            raise ValueError("data")

    def do_barrier(self):
        self.check(self.comity.comityBarrier(self.comm, None))

    def do_destroy(self):
        comm, self.comm = self.comm, ctypes.c_void_p()
        self.check(self.comity.comityCommDestroy(comm))


def main():
    rank = Rank(sys.argv[1])
    for line in sys.stdin:
        name, *arguments = line.split()
        if name == "exit":
            break
        try:
            print("ok", getattr(rank, "do_" + name)(*arguments) or name, flush=True)
        except ValueError as error:
            print("wrong", error, flush=True)
        except RuntimeError as error:
            print("error", error, flush=True)


main()
