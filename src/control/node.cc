#include "src/control/node.h"

#include <fmt/core.h>

#include <utility>

#include "src/base/log.h"
#include "src/control/descriptors.h"
#include "src/control/meeting.h"
#include "src/control/standing_nodes.h"
#include "src/control/tree_shape.h"

namespace comity::control {
namespace {

// A host that vanished without a word is noticed: within seconds while ranks begin and wait for each other,
// within half a minute afterwards. A process that is merely stopped is not: its kernel answers.
SilenceLimits silence_limits(bool working) {
  return working ? SilenceLimits{10, 5, 3, 25'000} : SilenceLimits{2, 1, 4, 6'000};
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
      base_(std::make_shared<Scope>(communicator_, std::vector<uint32_t>{}, options_.rank, options_.nranks,
                                    options_.name)),
      scopes_{{communicator_, base_}},
      gathering_(*this,
                 [this](uint64_t sequence, GatherResult result) {
                   finish_operation(communicator_, sequence, std::move(result));
                 }),
      scoped_gathering_(loop, *this,
                        [this](uint64_t communicator, uint64_t sequence, GatherResult result) {
                          finish_operation(communicator, sequence, std::move(result));
                        }),
      inquest_(loop, *this),
      ring_search_(loop, *this),
      decision_(options_.rank, options_.nranks) {}

void Node::to_parent(MessageType type, std::span<const std::byte> payload) {
  if (parent_) send(parent_->channel, type, payload);
}

void Node::to_children(MessageType type, std::span<const std::byte> payload) {
  for (const auto& child : children_) send(child.second.channel, type, payload);
}

void Node::to_child(uint32_t child, MessageType type, std::span<const std::byte> payload) {
  if (const auto found = children_.find(child); found != children_.end())
    send(found->second.channel, type, payload);
}

void Node::finish_operation(uint64_t communicator, uint64_t sequence, GatherResult result) {
  const auto scope = scopes_.find(communicator);
  if (scope == scopes_.end()) return;
  const std::lock_guard<std::mutex> lock(waits_.mutex);
  scope->second->results[sequence] = std::move(result);
  waits_.changed.notify_all();
}

// --- Joining ---------------------------------------------------------------------------------------------

void Node::start(Listeners listeners) {
  const auto self = shared_from_this();
  standing_nodes(loop_).insert(self);
  if (options_.nranks == 1) {
    Meeting::close_if_here(loop_, communicator_);
    return go_as_root();
  }
  below_.set(options_.rank, listeners.addresses, loop_.process());
  Joining::Options options;
  options.rank = options_.rank;
  options.nranks = options_.nranks;
  options.secret = options_.id.secret;
  options.communicator = communicator_;
  options.meeting = options_.id.addresses;
  options.left_out = options_.id.left_out;
  // Who has no children needs not be found before all have joined.
  if (child_count_of(options_.rank, options_.nranks) > 0) options.own = std::move(listeners.addresses);
  options.deadline = options_.deadline;
  options.settings = options_.settings;
  acceptor_ = Acceptor::open(
      loop_, std::move(listeners.sockets),
      [self](const HandshakeHello&) { return &self->options_.id.secret; },
      [self](StreamPtr stream, const HandshakeHello& hello) { self->on_proven(std::move(stream), hello); });
  Joining::Events events;
  events.parent = [self](StreamPtr stream) {
    self->on_parent_proven(parent_of(self->rank()), std::move(stream));
  };
  events.failed = [self](const Status& why) {
    self->end_all(fault_of(why.code(), std::string(why.message())));  // as the meeting point says it to all
  };
  joining_ = Joining::start(loop_, std::move(options), std::move(events));
}

std::shared_ptr<Channel> Node::open_channel(StreamPtr stream, uint32_t peer, Side side) {
  stream->notice_silence(silence_limits(working_));
  const auto self = shared_from_this();
  Channel::Events events;
  events.message = [self, peer, side](uint16_t type, std::span<const std::byte> payload) {
    self->on_message(peer, side, type, payload);
  };
  events.closed = [self, peer, side](const std::string& why, bool silent) {
    self->on_closed(peer, side, why, silent);
  };
  return Channel::open(loop_, std::move(stream), kTreePayloadBytes, std::move(events));
}

void Node::on_proven(StreamPtr stream, const HandshakeHello& hello) {
  if (hello.role != SocketRole::kTree || hello.peer_rank != options_.rank || finished_) return;
  if (hello.rank == options_.rank || hello.rank >= options_.nranks) return;
  if (hello.detail == static_cast<uint64_t>(TreePurpose::kBeMyChild)) {
    if (joined_) on_called(hello.rank, std::move(stream));
    return;
  }
  if (departing_) {  // it finds another one when this rank is gone
    turned_away_.push_back(std::move(stream));
    return;
  }
  if (!joined_ && !is_child_of(hello.rank, options_.rank, options_.nranks)) return;
  const auto known = children_.find(hello.rank);
  if (!joined_ && known != children_.end() && known->second.standing) return;  // two claim to be that rank
  greet(new_child(hello.rank, std::move(stream)));
}

// In place of an earlier connection, which the child has given up.
Node::Neighbour& Node::new_child(uint32_t rank, StreamPtr stream) {
  Neighbour& child = children_[rank];
  if (child.channel) child.channel->close();
  lost_.remove(rank);
  child = Neighbour{};
  child.rank = rank;
  child.channel = open_channel(std::move(stream), rank, Side::kChild);
  watch_process(rank);
  return child;
}

void Node::on_parent_proven(uint32_t parent, StreamPtr stream) {
  parent_ = Neighbour{};
  parent_->rank = parent;
  parent_->standing = !joined_;  // one that took this rank in afterwards says so by kLead
  parent_->channel = open_channel(std::move(stream), parent, Side::kParent);
  watch_process(parent);
  to_parent(MessageType::kStanding, {});
  if (!joined_) return check_ready();
  tell_verdicts(*parent_);
  tell_standing(*parent_);
  to_parent(MessageType::kState, encode(decision_.state()));
  pass_on_roll_call();
  scoped_gathering_.on_tree_mended();
  if (!decision_.wishes().empty()) press();
  if (left_ && !departing_) tell_leaving(*parent_);
}

void Node::check_ready() {
  uint32_t ready = 0;
  for (const auto& child : children_) ready += child.second.ready ? 1 : 0;
  const uint32_t all = child_count_of(options_.rank, options_.nranks);
  if (ready < all || ready_sent_ || over()) return;
  if (options_.rank == 0) {
    ready_sent_ = true;
    go_as_root();
  } else if (has_parent()) {
    ready_sent_ = true;
    to_parent(MessageType::kReady, below_.encode());
  }
}

bool Node::on_ready(Neighbour& child, std::span<const std::byte> payload) {
  const auto below = AddressBook::decode(payload, options_.nranks);
  if (!below || !child.standing || child.ready || joined_) return false;
  below_.add(*below);
  child.ready = true;
  check_ready();
  return true;
}

bool Node::on_go(std::span<const std::byte> payload) {
  if (!ready_sent_ || joined_) return false;
  auto all = loop_.common_part<CommonBooks>().decode(communicator_, payload, options_.nranks);
  if (!all) return false;
  if (over()) return true;
  book_ = std::move(all);
  below_ = AddressBook();
  go(payload);
  return true;
}

void Node::go_as_root() {
  book_ = std::make_shared<const AddressBook>(std::exchange(below_, AddressBook()));
  go(book_->encode());
}

// `book`: that of all, for those below.
void Node::go(std::span<const std::byte> book) {
  to_children(MessageType::kGo, book);
  if (joining_) std::exchange(joining_, nullptr)->complete();
  joined_ = true;
  register_communicator(communicator_, data_secret_);
  watch_processes();
  set_joined(Status());
}

void Node::set_joined(const Status& status) {
  const std::lock_guard<std::mutex> lock(waits_.mutex);
  if (!waits_.joined) waits_.joined = status;
  waits_.changed.notify_all();
}

void Node::give_up(const Status& why) {
  if (joined_ || finished_) return;
  Meeting::abandon_if_here(loop_, communicator_);
  if (joining_) std::exchange(joining_, nullptr)->stop(why, true);
  set_joined(why);
}

void Node::begin_work() {
  working_ = true;
  for_each_neighbour([](Neighbour& neighbour) { neighbour.channel->notice_silence(silence_limits(true)); });
}

// --- Messages --------------------------------------------------------------------------------------------

void Node::on_message(uint32_t peer, Side side, uint16_t type, std::span<const std::byte> payload) {
  const auto kind = static_cast<MessageType>(type);
  if (side == Side::kCaller && caller_ && caller_->rank == peer) return on_call(kind, payload);
  bool accepted = false;
  if (side != Side::kChild) {
    accepted = !parent_ || parent_->rank != peer || on_parent_message(kind, payload);
  } else if (const auto child = children_.find(peer); child != children_.end()) {
    accepted = on_child_message(child->second, kind, payload);
  }
  if (accepted || finished_) return;
  declare_fault(
      0, Code::kRemoteError,
      fmt::format("rank {} sent rank {} a control message that cannot be (type {}, {} bytes); run the same "
                  "release everywhere",
                  peer, options_.rank, type, payload.size()));
}

bool Node::on_any_message(Neighbour& neighbour, MessageType type, std::span<const std::byte> payload) {
  switch (type) {
    case MessageType::kVerdict:
      return on_verdict(payload, neighbour.channel.get());
    case MessageType::kFarewell:
      return on_farewell(neighbour, payload);
    case MessageType::kEnded:
      return on_ended(payload);
    case MessageType::kLeaving:
      return on_leaving(neighbour, payload);
    case MessageType::kParted:
      return on_parted(neighbour.rank, payload);
    case MessageType::kShared:
      return on_shared(neighbour.channel.get(), payload);
    case MessageType::kLetter:
      return on_letter(neighbour.channel.get(), payload);
    case MessageType::kLeavingAck:
      if (!payload.empty() || neighbour.answered == neighbour.told) return false;
      ++neighbour.answered;
      on_leaving_known(neighbour);
      return true;
    default:
      return false;
  }
}

bool Node::on_child_message(Neighbour& child, MessageType type, std::span<const std::byte> payload) {
  switch (type) {
    case MessageType::kStanding:
      child.standing = true;
      return payload.empty();
    case MessageType::kReady:
      return on_ready(child, payload);
    case MessageType::kGatherUp:
      return gathering_.on_gather_up(child.rank, payload);
    case MessageType::kAgreeUp:
      return gathering_.on_agree_up(child.rank, payload);
    case MessageType::kReport:
      return inquest_.on_report(payload);
    case MessageType::kOpinion:
      return inquest_.on_opinions(payload);
    case MessageType::kWaits:
      return ring_search_.on_waits(payload);
    case MessageType::kScopeUp:
      return scoped_gathering_.on_up(child.rank, payload);
    case MessageType::kScopeLate:
      return scoped_gathering_.on_late(payload);
    case MessageType::kDeclare:
      return on_declare(payload);
    case MessageType::kState:
      return on_state(child, payload);
    case MessageType::kRollCall:
      call_roll_soon();
      return payload.empty();
    case MessageType::kPing:
      send(child.channel, MessageType::kPong, {});
      return payload.empty();
    default:
      return on_any_message(child, type, payload);
  }
}

bool Node::on_parent_message(MessageType type, std::span<const std::byte> payload) {
  switch (type) {
    case MessageType::kGo:
      return on_go(payload);
    case MessageType::kGatherDown:
      return gathering_.on_gather_down(payload);
    case MessageType::kAgreeDown:
      return gathering_.on_agree_down(payload);
    case MessageType::kGone:
      return on_gone(*parent_, payload);
    case MessageType::kWhoWaits:
      return ring_search_.on_who_waits(payload);
    case MessageType::kScopeDown:
      return scoped_gathering_.on_down(payload);
    case MessageType::kAsk:
      return inquest_.on_ask(payload);
    case MessageType::kLead:
      return on_lead(payload);
    case MessageType::kPong:
      pinged_ = false;
      if (departing_) finish();  // the parent has read why
      return payload.empty();
    default:
      return on_any_message(*parent_, type, payload);
  }
}

}  // namespace comity::control
