// comityCommSplit: communicators that come from one, without another meeting.
//
//   all_gather of 16 bytes   colour, key, next free index -> who is with whom, as which rank, and the index
//   make what others reach   shared memory with the members on this host
//   all_gather               its address, or why there is none
//   reach, plans, engine     from the parent's topology: nothing is measured again
//   all_gather of 16 bytes   done, or not. Nobody returns, and so nobody sends, before all members are there
//
// Between the second and the third, if a split of another communicator of the family, at the same time on
// another thread, came to the same index: both offer anew. All are calls of the parent, so that a rank which
// makes another call instead is found by signatures.
#include <fmt/core.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <utility>
#include <vector>

#include "src/api/rank_parts.h"
#include "src/base/hash.h"
#include "src/base/log.h"
#include "transports/shm/shm_transport.h"

namespace comity::api {
namespace {

struct Offer {
  int32_t color = -1;
  int32_t key = 0;
  uint32_t next_index = 0;  // the least that this rank never used
  uint32_t settings = 0;    // that all members must share: settings_of()
};
static_assert(sizeof(Offer) == 16);

// deterministic in the highest bit, maxLanes below.
uint32_t settings_of(const CommConfig& config) {
  return (config.deterministic ? 1u << 31 : 0u) | std::min(config.max_lanes, (1u << 31) - 1);
}
std::string in_words(uint32_t settings) {
  return fmt::format("deterministic {}, maxLanes {}", settings >> 31, settings & ~(1u << 31));
}

// How far a rank came.
struct Outcome {
  static constexpr size_t kRoom = 1012;
  uint32_t code = 0;  // Code
  uint32_t bytes = 0;
  uint32_t taken = 0;        // 1: its index
  char content[kRoom] = {};  // an address, or, if code is not 0, why there is none
};
static_assert(sizeof(Outcome) == 1024);

struct Arrived {
  uint32_t code = 0;
  uint32_t taken = 0;  // 1: its index
  uint32_t reserved[2] = {};
};
static_assert(sizeof(Arrived) == 16);

class Splitter {
 public:
  Splitter(RankParts& parent, const SplitRequest& request)
      : parent_(parent), request_(request), deadline_(Deadline::after_ms(request.config.split_timeout_ms)) {}

  Result<std::unique_ptr<Assembly>> run() {
    COMITY_RETURN_IF_ERROR(exchange_offers());
    Status status = is_member() ? begin() : Status();
    COMITY_RETURN_IF_ERROR(exchange_addresses(status));
    COMITY_RETURN_IF_ERROR(settle_index());
    if (is_member() && failed_.ok()) status = finish();
    if (!status.ok()) {
      COMITY_LOG_ERROR("{}: split: {}", name_of_rank(parent_.places.rank, request_.config), status.message());
    }
    COMITY_RETURN_IF_ERROR(exchange_ends(status));
    if (!failed_.ok()) return failed_;
    return std::unique_ptr<Assembly>(std::move(made_));
  }

 private:
  static constexpr uint64_t kSpread = 64;  // of offers that follow a collision
  bool bounded() const { return request_.config.split_timeout_ms != 0; }
  bool is_member() const { return request_.color >= 0; }

  // Everyone's `mine`, by rank of the parent, as a call of it.
  template <typename Message>
  Result<std::vector<Message>> gather(const Message& mine) {
    std::vector<Message> all(parent_.places.family_rank.size());
    engine::Call call;
    call.collective = Collective::kSplit;
    call.type = DataType::kUint8;
    call.count = sizeof(Message);
    call.input = &mine;
    call.output = all.data();
    const uint64_t left_ms = bounded() ? static_cast<uint64_t>(deadline_.left_ms(INT_MAX)) : 0;
    parent_.engine().set_patience(std::max(left_ms, uint64_t{bounded() ? 1u : 0u}) * 1'000'000u);
    const Status status = parent_.engine().run(call);
    parent_.engine().set_patience(0);
    if (status.code() == Code::kTimeout && bounded())
      return status.in(fmt::format("within the split's initTimeoutMs, {}", request_.config.split_timeout_ms));
    COMITY_RETURN_IF_ERROR(status);
    return all;
  }

  Status exchange_offers() {
    COMITY_ASSIGN_OR_RETURN(const auto offers,
                            gather(Offer{std::max(request_.color, -1), request_.key,
                                         parent_.family->engine.next_index(), settings_of(request_.config)}));
    number_ = parent_.engine().calls_started();
    if (!is_member()) return {};
    for (uint32_t rank = 0; rank < offers.size(); ++rank) {
      if (offers[rank].color == request_.color) members_.push_back(rank);
    }
    std::stable_sort(members_.begin(), members_.end(),
                     [&](uint32_t a, uint32_t b) { return offers[a].key < offers[b].key; });
    choose_index(offers);
    compare_settings(offers);
    return {};
  }

  void compare_settings(const std::vector<Offer>& offers) {
    const uint32_t first = members_.front();
    for (const uint32_t member : members_) {
      if (offers[member].settings == offers[first].settings) continue;
      failed_ = Status(
          Code::kInvalidUsage,
          fmt::format("ranks {} and {} of the communicator that was split give configs that differ in what "
                      "all of one colour must share: {}, and {}",
                      first, member, in_words(offers[first].settings), in_words(offers[member].settings)));
      return;
    }
  }

  void choose_index(const std::vector<Offer>& offers) {
    for (const uint32_t member : members_) index_ = std::max(index_, offers[member].next_index);
    taken_ = !parent_.family->engine.reserve(index_);
  }

  uint64_t id() const {
    return mix(mix(parent_.session().communicator_id(), number_), static_cast<uint32_t>(request_.color));
  }

  // Rarely anything to do. Every round gives the greatest index that is asked for to whoever asks for it, and
  // offers differ from split to split.
  Status settle_index() {
    const auto is_taken = [](const auto& its) { return its.taken != 0; };
    const auto is_mine_taken = [&](const auto& all) {
      return std::any_of(members_.begin(), members_.end(), [&](uint32_t m) { return is_taken(all[m]); });
    };
    bool mine = is_mine_taken(outcomes_);
    bool any = std::any_of(outcomes_.begin(), outcomes_.end(), is_taken);
    for (uint32_t round = 1; any; ++round) {
      const uint32_t next =
          parent_.family->engine.next_index() + static_cast<uint32_t>(mix(id(), round) % kSpread);
      COMITY_ASSIGN_OR_RETURN(const auto offers, gather(Offer{request_.color, request_.key, next, 0}));
      taken_ = false;
      if (mine) choose_index(offers);
      COMITY_ASSIGN_OR_RETURN(const auto all, gather(Arrived{0, taken_ ? 1u : 0u, {}}));
      mine = is_mine_taken(all);
      any = std::any_of(all.begin(), all.end(), is_taken);
    }
    return {};
  }

  // What this rank can make alone.
  Status begin() {
    const RankParts::Places& from = parent_.places;
    made_ = std::make_unique<RankParts>(request_.config, parent_.family);
    RankParts::Places& places = made_->places;
    places.oversubscribed = from.oversubscribed;
    for (const uint32_t member : members_) {
      if (member == from.rank) places.rank = static_cast<uint32_t>(places.family_rank.size());
      places.family_rank.push_back(from.family_rank[member]);
      places.host_of_rank.push_back(from.host_of_rank[member]);
      places.transport_of_peer.push_back(from.transport_of_peer[member]);
    }
    made_->layout = parent_.layout.restricted_to(members_);
    return members_.size() > 1 ? open_transports() : Status();
  }

  // The same ones in the same order as the parent has: those to other hosts are the family's.
  Status open_transports() {
    for (Transport* transport : parent_.transports()) {
      if (parent_.family->owns(transport)) {
        made_->add(*transport);
        continue;
      }
      TransportContext context;
      context.rank = made_->places.rank;
      context.nranks = static_cast<uint32_t>(members_.size());
      context.communicator = parent_.family->id;
      context.secret = parent_.family->secret;
      context.descriptors = parent_.family->descriptors.get();
      context.descriptor_socket_name = parent_.family->descriptor_socket_name;
      shm::ShmOptions options;
      options.crowded = made_->places.oversubscribed;
      options.maker = lowest_in_memory();
      if (shares_memory()) {
        COMITY_ASSIGN_OR_RETURN(made_->memory, shm::make_shm_transport(context, options));
      } else {
        made_->memory = shm::make_absent_transport(Status(Code::kUnsupported, "no member is on this host"));
      }
      made_->add(*made_->memory);
    }
    return {};
  }

  bool in_memory(uint32_t peer) const {
    if (peer == made_->places.rank) return false;  // no transport joins a rank to itself
    return parent_.transports()[made_->places.transport_of_peer[peer]] == parent_.memory.get();
  }
  bool shares_memory() const {
    for (uint32_t peer = 0; peer < members_.size(); ++peer) {
      if (in_memory(peer)) return true;
    }
    return false;
  }

  // Of this rank and those that it shares memory with.
  uint32_t lowest_in_memory() const {
    uint32_t lowest = 0;
    while (lowest != made_->places.rank && !in_memory(lowest)) ++lowest;
    return lowest;
  }

  Status exchange_addresses(const Status& status) {
    Outcome mine;
    std::span<const std::byte> content;
    if (status.ok() && made_ != nullptr && made_->memory != nullptr) content = made_->memory->address();
    if (!status.ok()) content = std::as_bytes(std::span(status.message().data(), status.message().size()));
    mine.code = static_cast<uint32_t>(status.code());
    mine.taken = taken_ ? 1 : 0;
    if (status.ok() && content.size() > Outcome::kRoom) {
      mine.code = static_cast<uint32_t>(Code::kInternalError);
      content = {};
    }
    mine.bytes = static_cast<uint32_t>(std::min(content.size(), Outcome::kRoom));
    if (mine.bytes > 0) std::memcpy(mine.content, content.data(), mine.bytes);
    COMITY_ASSIGN_OR_RETURN(outcomes_, gather(mine));
    for (const uint32_t member : members_) {
      const Outcome& its = outcomes_[member];
      if (its.code == 0 || !failed_.ok()) continue;
      failed_ =
          Status(static_cast<Code>(its.code),
                 fmt::format("rank {} of the communicator that was split: {}", member,
                             std::string_view(its.content, std::min<size_t>(its.bytes, Outcome::kRoom))));
    }
    return {};
  }

  // What needs the others' parts.
  Status finish() {
    for (uint32_t peer = 0; peer < members_.size(); ++peer) {
      if (!in_memory(peer)) continue;
      const Outcome& its = outcomes_[members_[peer]];
      COMITY_RETURN_IF_ERROR(made_->memory->reach(peer, std::as_bytes(std::span(its.content, its.bytes))));
    }
    COMITY_RETURN_IF_ERROR(made_->choose());
    COMITY_ASSIGN_OR_RETURN(made_->control,
                            parent_.session().scope(id(), made_->places.family_rank, request_.config.name));
    made_->oversight = std::make_unique<SessionOversight>(*made_->control);
    made_->make_engine(index_);
    return {};
  }

  Status exchange_ends(const Status& status) {
    COMITY_ASSIGN_OR_RETURN(const auto all, gather(Arrived{static_cast<uint32_t>(status.code()), 0, {}}));
    for (const uint32_t member : members_) {
      if (all[member].code == 0 || !failed_.ok()) continue;
      const auto code = static_cast<Code>(all[member].code);
      failed_ =
          Status(code, fmt::format("rank {} of the communicator that was split could not make its part; "
                                   "its log says why",
                                   member));
    }
    return {};
  }

  RankParts& parent_;
  const SplitRequest& request_;
  const Deadline deadline_;        // if it is bounded
  uint64_t number_ = 0;            // of the call in the parent
  std::vector<uint32_t> members_;  // ranks of the parent, by rank of the new communicator
  uint32_t index_ = 0;
  bool taken_ = false;  // by another split of this rank
  std::unique_ptr<RankParts> made_;
  std::vector<Outcome> outcomes_;
  Status failed_;  // of the new communicator, the same on all its members
};

}  // namespace

Result<std::unique_ptr<Assembly>> RankParts::split(const SplitRequest& request) {
  return Splitter(*this, request).run();
}

}  // namespace comity::api
