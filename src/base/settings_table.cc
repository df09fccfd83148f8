// The table of settings.
#include "src/base/settings.h"

namespace comity {
namespace {

constexpr uint64_t kMostCores = 1u << 20;
constexpr uint64_t kMostMs = INT32_MAX;

constexpr Setting kSettings[] = {
    {"COMITY_ACCUMULATE", "", true, "fp32",
     "keeps and sends partial results of 8- and 16-bit floats in fp32; default: they are rounded once per "
     "level"},
    {"COMITY_ALGO", "", true, "collective:algorithm, comma-separated, as all_reduce:ring",
     "forces algorithms; `comity plan` shows what there is"},
    {"COMITY_ARENA_CAP", "0", false, "bytes",
     "most that MemAlloc may hold in this process; 0: half of physical memory"},
    {.name = "COMITY_CONF_FILE",
     .default_value = "",
     .agreed = false,
     .accepts = "a file of lines NAME = value",
     .meaning = "settings that beat those of ~/.config/comity/comity.conf and /etc/comity.conf",
     .environment_only = true},
    {"COMITY_DETERMINISTIC", "0", true, "0 or 1",
     "1: results have the same bits for any transport, topology, algorithm and timing", 0, 1},
    {"COMITY_DEVICES", "host", false, "host, opencl, sim, names and files of plugins, comma-separated",
     "devices to open: all of a runtime (opencl), or one (opencl:1)"},
    {"COMITY_DEVICE_TIMEOUT", "60", false, "seconds",
     "a device on which nothing that was begun ends for so long hangs, and its calls fail; 0: never", 0,
     kMostMs},
    {"COMITY_HOSTID", "", false, "any text",
     "overrides how this rank's host is recognised; equal text means the same host"},
    {"COMITY_IDLE_CLOSE_MS", "300000", false, "milliseconds",
     "a data connection on which nothing came or went for so long is closed until it is needed; 0: never", 0,
     kMostMs},
    {"COMITY_INIT_TIMEOUT_MS", "60000", false, "milliseconds", "how long CommInitRank waits for all ranks", 1,
     kMostMs},
    {"COMITY_LOG", "warn", false, "error, warn, info or debug", "what is said on standard error"},
    {"COMITY_MAX_LANES", "0", true, "a number", "plans use at most so many lanes; 0: as many as they like", 0,
     1024},
    {.name = "COMITY_NRANKS",
     .default_value = "",
     .agreed = false,
     .accepts = "a number",
     .meaning = "with COMITY_RANK: how many ranks comityCommInitEnv joins",
     .least = 1,
     .environment_only = true},
    {"COMITY_OPENCL_MEMORY", "", false, "shared or buffer",
     "what memory of OpenCL devices Comity allocates: shared virtual memory, or buffers behind addresses "
     "without access; default: shared where a device has it"},
    {"COMITY_PLUGIN_PATH", "", false, "folders, separated by colons",
     "where plugins of devices lie, as libcomity_device_NAME.so"},
    {"COMITY_PORT", "29655", false, "a number from 1 to 65535",
     "where rank 0 meets the others if only its host's name is known (torchrun, Slurm without PMI)", 1,
     65535},
    {"COMITY_PROGRESS_CPU", "", false, "the number of a core",
     "where the thread runs that advances streams; default: anywhere", 0, kMostCores},
    {.name = "COMITY_RANK",
     .default_value = "",
     .agreed = false,
     .accepts = "a number from 0 to COMITY_NRANKS - 1",
     .meaning = "this process's rank for comityCommInitEnv, where no launcher says it",
     .environment_only = true},
    {.name = "COMITY_RENDEZVOUS",
     .default_value = "",
     .agreed = false,
     .accepts = "a file that is not there yet, on a folder that all ranks share",
     .meaning = "with COMITY_RANK: where rank 0 leaves the unique id for comityCommInitEnv",
     .environment_only = true},
    {"COMITY_SECRET_FILE", "", false, "a file that its owner alone may read (0600)",
     "a secret of the ranks that comityCommInitEnv starts, which no launcher sees"},
    {"COMITY_SOCKET_ADDRESS", "", false, "addresses, comma-separated, as 10.0.0.1 or [fd00::1]:5000",
     "what control and TCP sockets bind to; a port is the meeting point's"},
    {"COMITY_SOCKET_IFNAME", "", false,
     "beginnings of names, comma-separated, as eth,ib; =eth0 is just that; ^ excludes",
     "interfaces for sockets; several are rails"},
    {"COMITY_STRIPE", "", true, "verbs, tcp or ucx, tcp",
     "transports of which a pair of ranks on two hosts uses all that join it, at once, each by its speed; "
     "default: the best one alone"},
    {"COMITY_TCP_CONGESTION", "", false, "a name of net.ipv4.tcp_available_congestion_control",
     "congestion control of data sockets; default: the better one, measured on this host"},
    {"COMITY_TCP_CONNECTIONS", "1", true, "a number from 1 to 16", "TCP connections per peer and rail", 1,
     16},
    {"COMITY_TIMEOUT", "0", false, "seconds",
     "how long a collective may get no further, its peers alive, or CommFinalize wait for ranks, before it "
     "fails; 0: no limit; 1500ms is 1.5 s",
     0, 1'000'000'000},
    {"COMITY_TOPO_FILE", "", false, "a file that `comity topo` wrote",
     "describes this machine, instead of discovery"},
    {"COMITY_TRANSPORTS", "", false, "shm, verbs, ucx, tcp, comma-separated",
     "transports to use, the preferred one first; default: shm, verbs where there are ports, and tcp, by "
     "what "
     "joins two ranks best"},
    {"COMITY_VERBS_DEVICES", "", false, "names, comma-separated, as mlx5_0,mlx5_1:1",
     "RDMA devices and ports to use; several are rails; default: all"},
    {"COMITY_VERBS_GID_INDEX", "", false, "a number",
     "which address of a RoCE port is used; default: RoCE v2 with IPv4, if there is one", 0, 255},
    {"COMITY_VERBS_MTU", "0", false, "256, 512, 1024, 2048 or 4096",
     "longest packet of RDMA connections; 0: what both ports carry", 0, 4096},
    {"COMITY_VERBS_QUEUE_PAIRS", "2", false, "a number from 1 to 8",
     "RDMA connections per peer and rail, which take different ways through a network", 1, 8},
    {"COMITY_VERBS_RETRIES", "6", false, "a number from 0 to 7",
     "how often an RDMA device sends a packet again before the connection fails; 7 has no end on some", 0, 7},
    {"COMITY_VERBS_SERVICE_LEVEL", "0", false, "a number from 0 to 15", "service level of RDMA connections",
     0, 15},
    {"COMITY_VERBS_TIMEOUT", "14", false, "a number from 1 to 31",
     "after 4.096 us times two to this power an RDMA device sends a packet again", 1, 31},
    {"COMITY_VERBS_TRAFFIC_CLASS", "0", false, "a number from 0 to 255", "traffic class of RoCE connections",
     0, 255},
};

}  // namespace

std::span<const Setting> settings() {
  return kSettings;
}

}  // namespace comity
