#include "src/control/node.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <set>
#include <utility>

#include "src/base/log.h"
#include "src/control/descriptors.h"
#include "src/control/meeting.h"
#include "src/control/tree_shape.h"

namespace comity::control {
namespace {

constexpr uint64_t kFlushWithinMs = 1000;
// The root answers a declared fault at once; one that does not is stopped or cut off, and must not keep the
// verdict.
constexpr uint64_t kRootAnswersWithinMs = 400;

// Nodes that stand in a tree, relays that their user has left included. Control thread only; never destroyed,
// as the thread may outlive statics.
std::set<std::shared_ptr<Node>>& standing_nodes() {
  static auto& all = *new std::set<std::shared_ptr<Node>>();
  return all;
}

// A host that vanished without a word is noticed within half a minute.
void watch_for_silence(int fd) {
  const int on = 1;
  const int idle_s = 10;
  const int interval_s = 5;
  const int probes = 3;
  const unsigned unacknowledged_ms = 25'000;
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof(unacknowledged_ms));
}

// Cut here, so that the declaring rank has the same sentence as those that are told.
Fault fault_of(Code code, std::string text) {
  if (text.size() > kMaxTextBytes) text.resize(kMaxTextBytes);
  const bool is_error = code != Code::kSuccess && code != Code::kInProgress;
  return Fault{is_error ? code : Code::kInternalError, std::move(text)};
}

void send(const std::shared_ptr<Channel>& channel, MessageType type, std::span<const std::byte> payload) {
  channel->send(static_cast<uint16_t>(type), payload);
}

}  // namespace

Node::Node(Loop& loop, Options options)
    : loop_(loop),
      options_(std::move(options)),
      communicator_(communicator_id_of(options_.id.secret)),
      data_secret_(data_secret_of(options_.id.secret)),
      gathering_(*this,
                 [this](uint64_t sequence, GatherResult result) {
                   const std::lock_guard<std::mutex> lock(waits_.mutex);
                   waits_.results[sequence] = std::move(result);
                   waits_.changed.notify_all();
                 }),
      inquest_(loop, *this, calls_) {}

template <typename Visitor>
void Node::for_each_neighbour(Visitor visitor) {
  if (parent_) visitor(*parent_);
  for (auto& child : children_) visitor(child.second);
}

void Node::to_parent(MessageType type, std::span<const std::byte> payload) {
  if (parent_) send(parent_->channel, type, payload);
}

void Node::to_children(MessageType type, std::span<const std::byte> payload) {
  for (const auto& child : children_) send(child.second.channel, type, payload);
}

// --- Joining
// --------------------------------------------------------------------------------------------------------

void Node::start(Listeners listeners) {
  const auto self = shared_from_this();
  standing_nodes().insert(self);
  if (options_.nranks == 1) {
    Meeting::close_if_here(communicator_);
    return go();
  }
  Joining::Options options;
  options.rank = options_.rank;
  options.nranks = options_.nranks;
  options.secret = options_.id.secret;
  options.communicator = communicator_;
  options.meeting = options_.id.addresses;
  options.own = std::move(listeners.addresses);
  options.deadline = options_.deadline;
  if (!listeners.sockets.empty()) {
    acceptor_ = Acceptor::open(
        loop_, std::move(listeners.sockets),
        [self](const HandshakeHello&) { return &self->options_.id.secret; },
        [self](UniqueFd fd, const HandshakeHello& hello) { self->on_child_proven(std::move(fd), hello); });
  }
  Joining::Events events;
  events.parent = [self](UniqueFd fd) { self->on_parent_proven(std::move(fd)); };
  events.failed = [self](const Status& why) { self->give_up(why); };
  joining_ = Joining::start(loop_, std::move(options), std::move(events));
}

std::shared_ptr<Channel> Node::open_channel(UniqueFd fd, uint32_t peer, bool is_parent) {
  watch_for_silence(fd.get());
  const auto self = shared_from_this();
  Channel::Events events;
  events.message = [self, peer, is_parent](uint16_t type, std::span<const std::byte> payload) {
    self->on_message(peer, is_parent, type, payload);
  };
  events.closed = [self, peer, is_parent](const std::string& why) { self->on_closed(peer, is_parent, why); };
  return Channel::open(loop_, std::move(fd), kTreePayloadBytes, std::move(events));
}

void Node::on_child_proven(UniqueFd fd, const HandshakeHello& hello) {
  if (hello.role != SocketRole::kTree || hello.peer_rank != options_.rank || finished_) return;
  if (!is_child_of(hello.rank, options_.rank, options_.nranks)) return;
  Neighbour& child = children_[hello.rank];
  if (child.channel && child.standing) return;  // somebody else claims to be that rank
  if (child.channel) child.channel->close();    // a connection that the child had given up
  child = Neighbour{};
  child.rank = hello.rank;
  child.channel = open_channel(std::move(fd), hello.rank, false);
  if (const Verdict* verdict = this->verdict()) {
    send(child.channel, MessageType::kVerdict, encode(Fault{verdict->code, verdict->message}));
  }
}

void Node::on_parent_proven(UniqueFd fd) {
  Neighbour parent;
  parent.rank = parent_of(options_.rank);
  parent.channel = open_channel(std::move(fd), parent.rank, true);
  parent_ = std::move(parent);
  to_parent(MessageType::kStanding, {});
  check_ready();
}

void Node::check_ready() {
  uint32_t standing = 0;
  uint32_t ready = 0;
  for (const auto& child : children_) {
    standing += child.second.standing ? 1 : 0;
    ready += child.second.ready ? 1 : 0;
  }
  const uint32_t all = child_count_of(options_.rank, options_.nranks);
  if (standing == all && acceptor_) std::exchange(acceptor_, nullptr)->close();
  if (ready < all || ready_sent_ || verdict() != nullptr) return;
  if (options_.rank == 0) {
    ready_sent_ = true;
    go();
  } else if (has_parent()) {
    ready_sent_ = true;
    to_parent(MessageType::kReady, {});
  }
}

void Node::go() {
  to_children(MessageType::kGo, {});
  if (joining_) std::exchange(joining_, nullptr)->complete();
  joined_ = true;
  register_communicator(communicator_, data_secret_);
  set_joined(Status());
}

void Node::set_joined(const Status& status) {
  const std::lock_guard<std::mutex> lock(waits_.mutex);
  if (!waits_.joined) waits_.joined = status;
  waits_.changed.notify_all();
}

void Node::give_up(const Status& why) {
  if (joined_ || finished_) return;
  if (joining_) std::exchange(joining_, nullptr)->stop(why, true);
  set_joined(why);
  abort_with(why.code(), std::string(why.message()));
}

// --- Messages
// -------------------------------------------------------------------------------------------------------

void Node::on_message(uint32_t peer, bool is_parent, uint16_t type, std::span<const std::byte> payload) {
  const auto kind = static_cast<MessageType>(type);
  bool accepted = false;
  if (is_parent) {
    accepted = on_parent_message(kind, payload);
  } else if (const auto child = children_.find(peer); child != children_.end()) {
    accepted = on_child_message(child->second, kind, payload);
  }
  if (accepted || finished_) return;
  declare_fault(
      Code::kRemoteError,
      fmt::format("rank {} sent rank {} a control message that cannot be (type {}, {} bytes); run the same "
                  "release everywhere",
                  peer, options_.rank, type, payload.size()));
}

bool Node::on_child_message(Neighbour& child, MessageType type, std::span<const std::byte> payload) {
  switch (type) {
    case MessageType::kStanding:
      child.standing = true;
      check_ready();
      return payload.empty();
    case MessageType::kReady:
      if (!child.standing || child.ready || !payload.empty()) return false;
      child.ready = true;
      check_ready();
      return true;
    case MessageType::kGatherUp:
      return gathering_.on_gather_up(child.rank, payload);
    case MessageType::kAgreeUp:
      return gathering_.on_agree_up(child.rank, payload);
    case MessageType::kReport:
      return inquest_.on_report(payload);
    case MessageType::kOpinion:
      return inquest_.on_opinion(payload);
    case MessageType::kDeclare: {
      auto fault = decode_fault(payload);
      if (fault) declare_fault(fault->code, std::move(fault->text));
      return fault.has_value();
    }
    case MessageType::kLeaving:
      return on_leaving(child, payload);
    case MessageType::kLeavingAck:
      child.knows = true;
      check_left();
      return payload.empty();
    default:
      return false;
  }
}

bool Node::on_parent_message(MessageType type, std::span<const std::byte> payload) {
  if (!parent_) return true;
  switch (type) {
    case MessageType::kGo:
      if (!ready_sent_ || joined_ || !payload.empty()) return false;
      if (verdict() == nullptr) go();
      return true;
    case MessageType::kGatherDown:
      return gathering_.on_gather_down(payload);
    case MessageType::kAgreeDown:
      return gathering_.on_agree_down(payload);
    case MessageType::kAsk:
      return inquest_.on_ask(payload);
    case MessageType::kVerdict: {
      auto fault = decode_fault(payload);
      if (fault) adopt(std::move(*fault));
      return fault.has_value();
    }
    case MessageType::kLeaving:
      return on_leaving(*parent_, payload);
    case MessageType::kLeavingAck:
      parent_->knows = true;
      check_left();
      return payload.empty();
    default:
      return false;
  }
}

// --- Faults
// ---------------------------------------------------------------------------------------------------------

void Node::report(uint64_t number) {
  auto& on_the_way = reports_on_the_way_[number % reports_on_the_way_.size()];
  if (on_the_way.exchange(number) == number) return;
  const bool posted = loop_.post([self = shared_from_this(), number, &on_the_way] {
    // First, so that whoever comes from now on is not merged into a report that is already being sent.
    uint64_t expected = number;
    on_the_way.compare_exchange_strong(expected, 0);
    if (!self->finished_ && self->verdict() == nullptr) self->inquest_.report(number);
  });
  if (!posted) on_the_way.store(0);
}

void Node::declare_fault(Code code, std::string text) {
  if (verdict() != nullptr || pending_ || finished_) return;
  Fault fault = fault_of(code, std::move(text));
  if (!has_parent()) return adopt(std::move(fault));
  to_parent(MessageType::kDeclare, encode(fault));
  pending_ = std::move(fault);
  pending_timer_ = loop_.after_ms(kRootAnswersWithinMs, [self = shared_from_this()] {
    if (self->pending_) self->adopt(*self->pending_);
  });
}

void Node::adopt(Fault fault) {
  if (verdict() != nullptr) return;
  loop_.cancel(std::exchange(pending_timer_, 0));
  to_children(MessageType::kVerdict, encode(fault));
  verdict_storage_ = std::make_unique<const Verdict>(Verdict{fault.code, std::move(fault.text)});
  verdict_.store(verdict_storage_.get(), std::memory_order_release);
  inquest_.stop();
  const Status status(verdict_storage_->code, verdict_storage_->message);
  if (!has_parent() && !left_) {
    COMITY_LOG_WARN("rank {} of communicator {:016x}: {}", options_.rank, communicator_, status.message());
  }
  if (joining_) std::exchange(joining_, nullptr)->stop(status, !has_parent());
  set_joined(status);  // also wakes whoever waits for something else
}

void Node::abort_with(Code code, std::string text) {
  if (verdict() != nullptr) return;
  Fault fault = fault_of(code, std::move(text));
  to_parent(MessageType::kDeclare, encode(fault));
  adopt(std::move(fault));
}

void Node::on_closed(uint32_t peer, bool is_parent, const std::string& why) {
  Neighbour gone;
  if (is_parent) {
    if (!parent_) return;
    gone = std::move(*parent_);
    parent_.reset();
    gone.standing = true;
  } else {
    const auto child = children_.find(peer);
    if (child == children_.end()) return;
    gone = std::move(child->second);
    children_.erase(child);
  }
  if (finished_ || !gone.standing) return;
  if (gone.leaving) {
    inquest_.answer_for(peer, gone.last_number);
  } else if (verdict() == nullptr) {
    COMITY_LOG_INFO("rank {}: lost rank {}: {}", options_.rank, peer, why);
    declare_fault(Code::kRemoteError,
                  fmt::format("rank {} died or was killed (its control connection closed)", peer));
  }
  // What was declared upwards and not answered is now this part's to decide.
  if (is_parent && pending_) adopt(*pending_);
  check_left();
}

// --- Leaving
// --------------------------------------------------------------------------------------------------------

bool Node::on_leaving(Neighbour& neighbour, std::span<const std::byte> payload) {
  const auto leaving = decode_leaving(payload);
  if (!leaving || neighbour.leaving) return false;
  neighbour.leaving = true;
  neighbour.last_number = leaving->last_number;
  send(neighbour.channel, MessageType::kLeavingAck, {});
  return true;
}

void Node::leave(bool orderly) {
  if (left_) return;
  left_ = true;
  if (joined_) unregister_communicator(communicator_);
  inquest_.set_left();
  if (orderly && joined_ && verdict() == nullptr) {
    const Bytes payload = encode(Leaving{calls_.last_number()});
    for_each_neighbour(
        [&](Neighbour& neighbour) { send(neighbour.channel, MessageType::kLeaving, payload); });
    return check_left();
  }
  abort_with(Code::kRemoteError, fmt::format("rank {} aborted", options_.rank));
  finish();
}

void Node::check_left() {
  if (!left_ || finished_) return;
  bool all_know = true;
  for_each_neighbour([&](Neighbour& neighbour) { all_know &= neighbour.knows; });
  if (!all_know) return;
  {
    const std::lock_guard<std::mutex> lock(waits_.mutex);
    waits_.left = true;
    waits_.changed.notify_all();
  }
  if (children_.empty()) finish();
}

void Node::finish() {
  if (finished_) return;
  const auto self = shared_from_this();
  finished_ = true;
  loop_.cancel(std::exchange(pending_timer_, 0));
  inquest_.stop();
  if (joining_) std::exchange(joining_, nullptr)->stop(Status(Code::kRemoteError, "left"), false);
  if (acceptor_) std::exchange(acceptor_, nullptr)->close();
  for_each_neighbour([](Neighbour& neighbour) { neighbour.channel->close_after_flush(kFlushWithinMs); });
  parent_.reset();
  children_.clear();
  standing_nodes().erase(self);
  const std::lock_guard<std::mutex> lock(waits_.mutex);
  waits_.left = true;
  waits_.changed.notify_all();
}

}  // namespace comity::control
