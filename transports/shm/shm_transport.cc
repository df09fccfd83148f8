#include "transports/shm/shm_transport.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <random>

#include "src/base/fork.h"
#include "src/base/log.h"
#include "src/base/unique_fd.h"
#include "transports/shm/doorbell.h"
#include "transports/shm/group.h"

namespace comity::shm {
namespace {

constexpr uint64_t kBoardWithinMs = 10'000;
constexpr uint64_t kUntoldNs = 1'000'000;  // a sleep that something may end without a ring
// The region with a host's boards: made here, or mapped from whoever made it.
struct BoardMemory {
  SharedRegion made;
  SharedMapping mapped;
  std::byte* data() const { return made.number() != 0 ? made.data() : mapped.data(); }
  uint64_t bytes() const { return made.number() != 0 ? made.bytes() : mapped.bytes(); }
};
using SharedBoards = std::shared_ptr<const BoardMemory>;

// Those of this process by who made them, so that ranks that are its threads share one mapping and its
// lifetime. Under ProcessLock::kBoards.
using RegionName = std::pair<uint64_t, uint32_t>;  // process nonce, number
constinit OfThisProcess<std::map<RegionName, std::weak_ptr<const BoardMemory>>> boards_here;

SharedBoards find_boards(const RegionName& name) {
  const std::lock_guard lock(process_lock(ProcessLock::kBoards));
  const auto& boards = boards_here.get();
  const auto found = boards.find(name);
  return found == boards.end() ? nullptr : found->second.lock();
}

// The memory itself, or what another thread has put there meanwhile.
SharedBoards share_boards(const RegionName& name, BoardMemory memory) {
  auto shared = std::make_shared<const BoardMemory>(std::move(memory));
  const std::lock_guard lock(process_lock(ProcessLock::kBoards));
  auto& boards = boards_here.get();
  std::erase_if(boards, [](const auto& entry) { return entry.second.expired(); });
  auto& entry = boards[name];
  if (SharedBoards earlier = entry.lock()) return earlier;
  entry = shared;
  return shared;
}

class ShmTransport final : public Transport {
 public:
  ShmTransport(const TransportContext& context, const ShmOptions& options)
      : context_(context), options_(options), regions_(context.descriptors), peers_(context.nranks) {}
  Status open();

  std::string_view name() const override { return "shm"; }
  const std::vector<std::byte>& address() const override { return encoded_; }
  Status reach(uint32_t peer, std::span<const std::byte> address) override;
  Result<std::span<Endpoint* const>> endpoints(uint32_t peer) override;
  Status progress() override { return failure_; }
  GroupProvider* group(std::span<const uint32_t> members) override;

  void arm(Sleeper& sleeper) override;
  void disarm(Sleeper&) override { shm::disarm(bell()); }

 private:
  Doorbell& bell() { return board_.valid() ? board_.doorbell() : lone_bell_; }
  Status make_boards();
  Status check_place(uint32_t peer_rank) const;
  Status share_memory_with(const Peer& peer);
  Result<SharedBoards> boards_of(const Peer& peer) const;
  Result<UniqueFd> fetch_boards(const Address& address) const;
  void lay_boards();
  void probe_cross_memory(Peer& peer) const;
  std::unique_ptr<ShmGroup> make_group(std::span<const uint32_t> members, uint64_t key, int area);

  TransportContext context_;
  ShmOptions options_;
  Address address_;
  std::vector<std::byte> encoded_;
  uint64_t probe_ = 0;
  SharedBoards own_;                // the region that this rank made; peers may still come to map it
  SharedBoards shared_;             // the one in use
  uint32_t maker_ = kUnknownMaker;  // of the one in use: the lowest rank reached, this one included
  BoardRegion region_;              // in shared_
  Board board_;
  Doorbell lone_bell_{};  // until this rank has a board
  PeerRegions regions_;
  std::vector<std::unique_ptr<Peer>> peers_;  // by rank; null: not reached
  Status failure_;                            // a group that this rank alone could not have
  uint32_t ranks_here_ = 1;
  CpuMask cpus_here_{};   // which those ranks may use
  bool crowded_ = false;  // more ranks here than cores they may use
  std::map<std::vector<uint32_t>, std::unique_ptr<ShmGroup>> groups_;
};

Status ShmTransport::open() {
  COMITY_ASSIGN_OR_RETURN(address_.host, this_host());
  const bool makes = options_.maker == kUnknownMaker || options_.maker == context_.rank;
  address_.board_arena = kNoBoards;
  if (makes) COMITY_RETURN_IF_ERROR(make_boards());
  std::random_device random;
  probe_ = (uint64_t{random()} << 32) | random();
  address_.uid = ::geteuid();
  address_.pid = static_cast<uint32_t>(::getpid());
  address_.process = process_nonce();
  address_.socket_name = context_.descriptor_socket_name;
  address_.probe_address = reinterpret_cast<uint64_t>(&probe_);
  address_.probe_value = probe_;
  address_.cpus = options_.cores == 0 ? usable_cpus() : first_cpus(options_.cores);
  cpus_here_ = address_.cpus;
  encoded_ = encode(address_);
  return {};
}

Status ShmTransport::make_boards() {
  auto region = SharedRegion::create(BoardRegion::bytes_for(context_.nranks), "comity-boards");
  if (!region.ok()) return region.status().in(fmt::format("shm: the boards of rank {}", context_.rank));
  address_.board_arena = region->number();
  own_ = share_boards({process_nonce(), address_.board_arena}, BoardMemory{std::move(region).value(), {}});
  shared_ = own_;
  maker_ = context_.rank;
  region_ = BoardRegion::create(own_->data(), context_.rank, context_.nranks);
  lay_boards();
  return {};
}

Status ShmTransport::reach(uint32_t peer_rank, std::span<const std::byte> address) {
  if (peer_rank >= context_.nranks || peer_rank == context_.rank) {
    return Status(Code::kInvalidArgument, fmt::format("shm: rank {} cannot reach rank {} of {}",
                                                      context_.rank, peer_rank, context_.nranks));
  }
  auto decoded = decode(address);
  if (!decoded.ok()) return decoded.status().in(fmt::format("rank {}", peer_rank));
  if (decoded->board_arena == 0)
    return Status(Code::kUnsupported, fmt::format("shm: rank {} has no shared memory", peer_rank));
  if (decoded->host != address_.host || decoded->uid != address_.uid) {
    return Status(
        Code::kUnsupported,
        fmt::format("shm: rank {} is on another host or of another user: {}, uid {}; here {}, uid {}",
                    peer_rank, decoded->host, decoded->uid, address_.host, address_.uid));
  }
  auto peer = std::make_unique<Peer>(peer_rank, std::move(decoded).value(), regions_);
  peer->same_process = peer->address.process == address_.process;
  COMITY_RETURN_IF_ERROR(check_place(peer_rank));
  COMITY_RETURN_IF_ERROR(share_memory_with(*peer));
  peer->plain_addressable = peer->same_process && options_.address_plain;
  if (!peer->plain_addressable && options_.cross_memory) probe_cross_memory(*peer);
  ++ranks_here_;
  cpus_here_ = join(cpus_here_, peer->address.cpus);
  crowded_ = options_.crowded || ranks_here_ > count(cpus_here_);
  if (region_.valid()) peer->board = region_.board(peer_rank);
  peers_[peer_rank] = std::move(peer);
  return {};
}

// Two ranks whose boards would lie at one place cannot share a region.
Status ShmTransport::check_place(uint32_t peer_rank) const {
  if (context_.nranks <= kMaxBoards) return {};
  for (uint32_t rank = board_place(peer_rank); rank < context_.nranks; rank += kMaxBoards) {
    if (rank != peer_rank && (rank == context_.rank || peers_[rank] != nullptr)) {
      return Status(Code::kSystemError,
                    fmt::format("shm: ranks {} and {} are {} apart on one host, too far to share memory",
                                rank, peer_rank, rank > peer_rank ? rank - peer_rank : peer_rank - rank));
    }
  }
  return {};
}

// All ranks of a host use the region of the lowest among them.
Status ShmTransport::share_memory_with(const Peer& peer) {
  if (peer.rank > maker_) return {};
  if (peer.address.board_arena == kNoBoards) {
    if (peer.rank != options_.maker) return {};
    return Status(Code::kRemoteError, fmt::format("shm: rank {} was to make this host's boards, and did not; "
                                                  "all ranks of a host must know the same maker",
                                                  peer.rank));
  }
  const std::string what = fmt::format("shm: mapping the boards that rank {} made", peer.rank);
  auto boards = boards_of(peer);
  if (!boards.ok()) return boards.status().in(what);
  auto region = BoardRegion::open((*boards)->data(), (*boards)->bytes(), peer.rank, context_.nranks);
  if (!region.ok()) return region.status().in(what);
  shared_ = std::move(boards).value();
  region_ = *region;
  maker_ = peer.rank;
  lay_boards();
  return {};
}

Result<SharedBoards> ShmTransport::boards_of(const Peer& peer) const {
  const RegionName name{peer.address.process, peer.address.board_arena};
  if (SharedBoards here = find_boards(name)) return here;
  if (peer.same_process) return Status(Code::kRemoteError, "the rank has ended");
  COMITY_ASSIGN_OR_RETURN(const UniqueFd descriptor, fetch_boards(peer.address));
  BoardMemory memory;
  COMITY_ASSIGN_OR_RETURN(memory.mapped, SharedMapping::import(descriptor.get()));
  return share_boards(name, std::move(memory));
}

Result<UniqueFd> ShmTransport::fetch_boards(const Address& address) const {
  if (context_.descriptors == nullptr)
    return Status(Code::kInternalError, "there is no way to ask another process for its memory");
  const auto fetch = context_.descriptors->fetch(address.socket_name, address.board_arena, {});
  for (const Deadline deadline = Deadline::after_ms(kBoardWithinMs); !deadline.passed();) {
    COMITY_ASSIGN_OR_RETURN(const int fd, fetch->poll());
    if (fd >= 0) return own_fd(fd);
    fetch->wait(deadline.left_ms(100));
  }
  return Status(Code::kTimeout, "the process that owns the memory did not answer in time");
}

void ShmTransport::lay_boards() {
  board_ = region_.board(context_.rank);
  for (const auto& peer : peers_) {
    if (peer != nullptr) peer->board = region_.board(peer->rank);
  }
}

// Whether the kernel lets us read that process, and it is that process: PIDs are other ones in another PID
// namespace.
void ShmTransport::probe_cross_memory(Peer& peer) const {
  uint64_t found = 0;
  const auto* at = reinterpret_cast<const void*>(peer.address.probe_address);
  peer.cross_memory =
      read_process(peer.address.pid, &found, at, sizeof(found)) && found == peer.address.probe_value;
  if (!peer.cross_memory) {
    COMITY_LOG_INFO("shm: rank {} may not use cross-memory attach on rank {}: copies go by staging memory",
                    context_.rank, peer.rank);
  }
}

Result<std::span<Endpoint* const>> ShmTransport::endpoints(uint32_t peer_rank) {
  Peer* peer = peer_rank < context_.nranks ? peers_[peer_rank].get() : nullptr;
  if (peer == nullptr || !region_.valid()) {
    return Status(Code::kInvalidUsage,
                  fmt::format("shm: rank {} did not reach rank {}", context_.rank, peer_rank));
  }
  if (peer->ring == nullptr) {
    const int index = board_.take_ring(peer_rank);
    if (index < 0) {
      return Status(Code::kSystemError,
                    fmt::format("shm: rank {} already talks to {} ranks on this host, the most it can",
                                context_.rank, kMaxRings));
    }
    RingOptions options{context_.rank, peer_rank, peer->address.pid, board_, peer->board, &crowded_};
    peer->ring = std::make_unique<RingEndpoint>(options, index);
    peer->endpoints[0] = peer->ring.get();
  }
  return std::span<Endpoint* const>(peer->endpoints);
}

// Posts are fenced where ranks outnumber cores; answers of the control plane ring nobody.
void ShmTransport::arm(Sleeper& sleeper) {
  shm::arm(bell(), sleeper);
  const bool asks = std::any_of(groups_.begin(), groups_.end(),
                                [](const auto& entry) { return entry.second->asks_for_memory(); });
  if (!crowded_ || asks) sleeper.at_most(kUntoldNs);
}

GroupProvider* ShmTransport::group(std::span<const uint32_t> members) {
  std::vector<uint32_t> key(members.begin(), members.end());
  if (const auto found = groups_.find(key); found != groups_.end()) return found->second.get();
  const bool reached = std::all_of(key.begin(), key.end(), [this](uint32_t rank) {
    return rank == context_.rank || (rank < context_.nranks && peers_[rank] != nullptr);
  });
  if (!reached || !region_.valid() || std::find(key.begin(), key.end(), context_.rank) == key.end())
    return nullptr;
  const int area = board_.take_group(group_key(members));
  if (area < 0) {
    failure_ =
        Status(Code::kSystemError,
               fmt::format("shm: rank {} is already in {} groups, the most it can; make fewer kinds of "
                           "groups per communicator",
                           context_.rank, kMaxGroups));
    return nullptr;
  }
  auto& made = groups_[std::move(key)];
  made = make_group(members, group_key(members), area);
  return made.get();
}

std::unique_ptr<ShmGroup> ShmTransport::make_group(std::span<const uint32_t> members, uint64_t key,
                                                   int area) {
  GroupCore core;
  core.waits_crowded = crowded_;
  CpuMask cpus{};
  for (const uint32_t rank : members) {
    if (rank == context_.rank) core.me = core.size();
    Peer* peer = rank == context_.rank ? nullptr : peers_[rank].get();
    cpus = join(cpus, peer == nullptr ? address_.cpus : peer->address.cpus);
    Member member;
    member.rank = rank;
    member.peer = peer;
    core.members.push_back(member);
  }
  core.members_crowded = core.size() > count(cpus);
  return std::make_unique<ShmGroup>(std::move(core), key, board_, area);
}

}  // namespace

Result<std::unique_ptr<Transport>> make_shm_transport(const TransportContext& context,
                                                      const ShmOptions& options) {
  auto transport = std::make_unique<ShmTransport>(context, options);
  COMITY_RETURN_IF_ERROR(transport->open());
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace comity::shm
