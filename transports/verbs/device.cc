#include "transports/verbs/device.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "src/base/errno_text.h"
#include "src/base/text.h"

namespace comity::verbs {
namespace {

constexpr int kMostGids = 256;

constexpr const char* kNeeded =
    "this user may not read and write /dev/infiniband/uverbs*; the group rdma, or a rule of udev, gives that "
    "right";

// The library says of a device that this process may not open that there is none.
bool may_use_devices() {
  std::error_code error;
  for (const auto& each : std::filesystem::directory_iterator("/dev/infiniband", error)) {
    if (each.path().filename().string().starts_with("uverbs") &&
        ::access(each.path().c_str(), R_OK | W_OK) != 0)
      return false;
  }
  return true;
}

void make_non_blocking(int descriptor) {
  ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK);
}

// What the port carries, from its width and speed as the standard numbers them.
uint64_t bandwidth_of(const ibv_port_attr& port) {
  const uint32_t lanes = port.active_width == 1 ? 1 : port.active_width == 16 ? 2 : port.active_width * 2u;
  double gigabits = 2;
  switch (port.active_speed) {
    case 2:
      gigabits = 4;
      break;
    case 4:
    case 8:
      gigabits = 8;
      break;
    case 16:
      gigabits = 10.3;
      break;
    case 32:
      gigabits = 25;
      break;
    case 64:
      gigabits = 50;
      break;
    case 128:
      gigabits = 100;
      break;
    default:
      break;
  }
  return static_cast<uint64_t>(gigabits * 1e9 / 8) * lanes;
}

// Bits of the network of the interface's address that a GID holds; 0 if it is no address of one.
uint8_t prefix_of(const Gid& gid, bool ipv4) {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return 0;
  uint8_t bits = 0;
  for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_netmask == nullptr) continue;
    if (ipv4 && each->ifa_addr->sa_family == AF_INET) {
      const auto& address = reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr;
      const auto& mask = reinterpret_cast<const sockaddr_in*>(each->ifa_netmask)->sin_addr;
      if (std::memcmp(&address, gid.data() + 12, 4) == 0)
        bits = static_cast<uint8_t>(96 + std::popcount(mask.s_addr));
    } else if (!ipv4 && each->ifa_addr->sa_family == AF_INET6) {
      const auto& address = reinterpret_cast<const sockaddr_in6*>(each->ifa_addr)->sin6_addr;
      const auto& mask = reinterpret_cast<const sockaddr_in6*>(each->ifa_netmask)->sin6_addr;
      if (std::memcmp(&address, gid.data(), 16) != 0) continue;
      bits = 0;
      for (const uint8_t byte : mask.s6_addr) bits = static_cast<uint8_t>(bits + std::popcount(byte));
    }
  }
  ::freeifaddrs(all);
  return bits;
}

bool is_ipv4(const Gid& gid) {
  return gid[10] == std::byte{0xff} && gid[11] == std::byte{0xff} && gid[0] == std::byte{0};
}
bool is_link_local(const Gid& gid) {
  return gid[0] == std::byte{0xfe} && gid[1] == std::byte{0x80};
}

// The GID of a RoCE port that others reach best: version 2 before 1, IPv4 before IPv6.
struct Choice {
  uint8_t index = 0;
  ibv_gid_entry entry{};
  Gid gid{};
};
std::optional<Choice> choose_gid(const OpenDevice& device, uint8_t port, int entries, int wanted) {
  std::optional<Choice> best;
  int best_rank = -1;
  for (int index = 0; index < std::min(entries, kMostGids); ++index) {
    if (wanted >= 0 && index != wanted) continue;
    Choice found;
    found.index = static_cast<uint8_t>(index);
    if (device.library().query_gid_ex(device.context(), port, static_cast<uint32_t>(index), &found.entry, 0,
                                      sizeof(found.entry)) != 0)
      continue;
    std::memcpy(found.gid.data(), found.entry.gid.raw, found.gid.size());
    if (wanted < 0 && is_link_local(found.gid)) continue;  // any cable may lead there
    const int rank = (found.entry.gid_type == IBV_GID_TYPE_ROCE_V2 ? 2 : 0) + (is_ipv4(found.gid) ? 1 : 0);
    if (rank <= best_rank) continue;
    best = found;
    best_rank = rank;
  }
  return best;
}

bool is_listed(const std::vector<std::string>& wanted, const std::string& device, uint8_t port) {
  return wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const std::string& each) {
           return each == device || each == fmt::format("{}:{}", device, port);
         });
}

// Why a port is of no use; empty: it is in `rails`.
std::string add_port(OpenDevice& device, uint8_t number, int wanted_gid, std::vector<Rail>& rails) {
  ibv_port_attr port{};
  verbs_context* const extended = verbs_get_ctx_op(device.context(), query_port);
  if (extended == nullptr || extended->query_port(device.context(), number, &port, sizeof(port)) != 0)
    return "cannot be asked";
  if (port.state != IBV_PORT_ACTIVE) return "is down";
  Rail rail;
  rail.device = &device;
  rail.port = number;
  rail.address.mtu = static_cast<uint8_t>(port.active_mtu);
  rail.address.bandwidth_bytes_per_s = bandwidth_of(port);
  const bool roce = port.link_layer == IBV_LINK_LAYER_ETHERNET;
  rail.address.layer = roce ? LinkLayer::kRoce : LinkLayer::kInfiniBand;
  rail.address.lid = port.lid;
  rail.always_routed = (port.flags & IBV_QPF_GRH_REQUIRED) != 0;
  const auto gid =
      choose_gid(device, number, port.gid_tbl_len, roce ? wanted_gid : 0);  // InfiniBand: the first
  if (!gid) return "has no address: give its interface one";
  rail.gid_index = gid->index;
  rail.address.gid = gid->gid;
  rail.address.prefix_bits = roce ? prefix_of(gid->gid, is_ipv4(gid->gid)) : 64;
  char name[IF_NAMESIZE] = "";
  if (roce && ::if_indextoname(gid->entry.ndev_ifindex, name) != nullptr) rail.network = name;
  rails.push_back(std::move(rail));
  return "";
}

}  // namespace

// --- a device ----------------------------------------------------------------------------------------------

Result<std::unique_ptr<OpenDevice>> OpenDevice::open(const Library& library, ibv_device* device) {
  const std::string name = library.get_device_name(device);
  errno = 0;
  ibv_context* const context = library.open_device(device);
  if (context == nullptr) {
    const int error = errno;
    return Status(Code::kSystemError, fmt::format("{} cannot be opened: {}", name,
                                                  may_use_devices() ? errno_text(error) : kNeeded));
  }
  std::unique_ptr<OpenDevice> made(new OpenDevice(library, name, context));
  made->domain_ = library.alloc_pd(context);
  made->channel_ = library.create_comp_channel(context);
  if (made->domain_ == nullptr || made->channel_ == nullptr)
    return Status(Code::kSystemError, fmt::format("{} has no resources left: {}", name, errno_text(errno)));
  make_non_blocking(made->channel_->fd);
  make_non_blocking(context->async_fd);
  return made;
}

OpenDevice::~OpenDevice() {
  if (channel_ != nullptr) library_.destroy_comp_channel(channel_);
  if (domain_ != nullptr) library_.dealloc_pd(domain_);
  library_.close_device(context_);
}

std::vector<OpenDevice::Trouble> OpenDevice::troubles() {
  std::vector<Trouble> found;
  ibv_async_event event;
  while (library_.get_async_event(context_, &event) == 0) {
    const std::string what = library_.event_type_str(event.event_type);
    if (event.event_type == IBV_EVENT_PORT_ERR)
      found.push_back({static_cast<uint8_t>(event.element.port_num), what});
    if (event.event_type == IBV_EVENT_DEVICE_FATAL) found.push_back({0, what});
    library_.ack_async_event(&event);
  }
  return found;
}

bool OpenDevice::drain_channel() {
  ibv_cq* queue = nullptr;
  void* unused = nullptr;
  bool any = false;
  for (; library_.get_cq_event(channel_, &queue, &unused) == 0; any = true) library_.ack_cq_events(queue, 1);
  return any;
}

Result<ibv_mr*> OpenDevice::register_memory(std::byte* data, uint64_t bytes) {
  ibv_mr* made = library_.reg_mr(domain_, data, bytes, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  if (made == nullptr && errno == EFAULT)
    made = library_.reg_mr(domain_, data, bytes, 0);  // that is only read
  if (made != nullptr) return made;
  const int error = errno;
  std::string advice;
  rlimit limit{};
  if ((error == ENOMEM || error == EAGAIN) && ::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
      limit.rlim_cur != RLIM_INFINITY) {
    advice = fmt::format(
        "; this process may pin {} bytes in all (RLIMIT_MEMLOCK): raise it with `ulimit -l "
        "unlimited`, in /etc/security/limits.conf, or for a container with --ulimit memlock=-1",
        limit.rlim_cur);
  }
  return Status(Code::kSystemError, fmt::format("{} cannot pin {} bytes of memory: {}{}", name_, bytes,
                                                errno_text(error), advice));
}

// --- ports -------------------------------------------------------------------------------------------------

std::string Rail::describe() const {
  return fmt::format(
      "{} port {} {}", device->name(), port,
      address.layer == LinkLayer::kRoce
          ? fmt::format("RoCE {}{}{}", network, network.empty() ? "" : " ", text_of(address.gid))
          : fmt::format("InfiniBand LID {}", address.lid));
}

Result<Ports> open_ports(const Library& library, const Settings& settings) {
  std::vector<std::string> wanted;
  for (const std::string_view each : split(settings.text("COMITY_VERBS_DEVICES"))) wanted.emplace_back(each);
  const std::string& gid_text = settings.text("COMITY_VERBS_GID_INDEX");
  int wanted_gid = -1;
  if (!gid_text.empty()) {
    COMITY_ASSIGN_OR_RETURN(const uint64_t number, settings.number("COMITY_VERBS_GID_INDEX"));
    wanted_gid = static_cast<int>(number);
  }
  int count = 0;
  ibv_device** const list = library.get_device_list(&count);
  Ports ports;
  std::string found;
  const auto note = [&found](const std::string& text) { found += (found.empty() ? "" : ", ") + text; };
  for (int i = 0; list != nullptr && i < count; ++i) {
    const std::string name = library.get_device_name(list[i]);
    const auto of_this = [&](const std::string& each) {
      return each == name || each.starts_with(name + ":");
    };
    if (!wanted.empty() && std::none_of(wanted.begin(), wanted.end(), of_this)) continue;
    auto opened = OpenDevice::open(library, list[i]);
    if (!opened.ok()) {
      note(std::string(opened.status().message()));
      continue;
    }
    ibv_device_attr attributes{};
    library.query_device((*opened)->context(), &attributes);
    for (uint8_t port = 1; port <= attributes.phys_port_cnt && ports.rails.size() < kMaxRails; ++port) {
      if (!is_listed(wanted, name, port)) continue;
      if (const std::string why = add_port(**opened, port, wanted_gid, ports.rails); !why.empty())
        note(fmt::format("{} port {} {}", name, port, why));
    }
    if (!ports.rails.empty() && ports.rails.back().device == opened->get())
      ports.devices.push_back(std::move(opened).value());
  }
  if (list != nullptr) library.free_device_list(list);
  if (!ports.rails.empty()) return ports;
  if (found.empty())
    found = wanted.empty() ? "none is here (`rdma link` lists them)" : "none of that name is here";
  return Status(
      Code::kSystemError,
      fmt::format("no RDMA port is of use{}: {}",
                  wanted.empty() ? "" : " of COMITY_VERBS_DEVICES=" + settings.text("COMITY_VERBS_DEVICES"),
                  found));
}

}  // namespace comity::verbs
