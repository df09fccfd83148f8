// The parts of the control plane that touch no socket: messages, the meeting's book, the tree's shape.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <set>

#include "src/control/address_book.h"
#include "src/control/call_log.h"
#include "src/control/inquest.h"
#include "src/control/meeting.h"
#include "src/control/messages.h"
#include "src/control/process_name.h"
#include "src/control/rank_list.h"
#include "src/control/rank_set.h"
#include "src/control/tree_shape.h"
#include "src/control/unique_id.h"

namespace comity::control {
namespace {

SocketAddress address_of(const char* text) {
  return *SocketAddress::parse(text);
}

// Decodes what `encoded` says, every shorter prefix and one byte more, of which only the whole may pass, and
// the same with random bytes changed, which must not crash.
template <typename Decode>
void expect_only_whole(const Bytes& encoded, Decode decode) {
  EXPECT_TRUE(decode(encoded).has_value());
  for (size_t size = 0; size < encoded.size(); ++size) {
    // At its exact size on the heap, so that a sanitizer sees any read beyond.
    const Bytes prefix(encoded.begin(), encoded.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(decode(prefix).has_value()) << size << " of " << encoded.size();
  }
  Bytes longer = encoded;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode(longer).has_value());
  std::mt19937_64 random(3);
  for (int round = 0; round < 2000; ++round) {
    Bytes changed = encoded;
    for (int change = 0; change < 3; ++change)
      changed[random() % changed.size()] = static_cast<std::byte>(random());
    (void)decode(changed);
  }
}

TEST(ControlMessages, VisitsRoundTripAndNothingShorterPasses) {
  Visit visit;
  visit.purpose = VisitPurpose::kGiveUp;
  visit.nranks = 77;
  visit.visitor = 0x123456789abcdef0;
  visit.code = Code::kTimeout;
  visit.text = "why";
  visit.addresses = {address_of("10.0.0.1:5"), address_of("[fd00::1]:6")};
  expect_only_whole(encode(visit), decode_visit);
  const auto decoded = decode_visit(encode(visit));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->purpose, VisitPurpose::kGiveUp);
  EXPECT_EQ(decoded->nranks, 77u);
  EXPECT_EQ(decoded->visitor, visit.visitor);
  EXPECT_EQ(decoded->code, Code::kTimeout);
  EXPECT_EQ(decoded->text, "why");
  ASSERT_EQ(decoded->addresses.size(), 2u);
  EXPECT_EQ(decoded->addresses[1].text(), "[fd00::1]:6");
}

TEST(ControlMessages, AnswersRoundTripAndNothingShorterPasses) {
  Answer answer;
  answer.kind = AnswerKind::kComeBack;
  answer.come_back_ms = 12;
  answer.missing = "2, 5-7 of 8";
  answer.addresses = {address_of("10.0.0.1:5")};
  expect_only_whole(encode(answer), decode_answer);
  const auto decoded = decode_answer(encode(answer));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->kind, AnswerKind::kComeBack);
  EXPECT_EQ(decoded->come_back_ms, 12u);
  EXPECT_EQ(decoded->missing, "2, 5-7 of 8");
}

Fault death_of(uint32_t rank) {
  Fault fault = fault_of(Code::kRemoteError, "died");
  fault.rank = rank;
  fault.left = {17, 18};
  return fault;
}

TEST(ControlMessages, PartsOfACommunicatorsGatheringRoundTrip) {
  ScopePart part;
  part.communicator = 7;
  part.sequence = 2;
  part.members = 5;
  part.came.add(1);
  part.came.add(4);
  part.items = {{1, Bytes(3)}, {4, Bytes()}};
  expect_only_whole(encode(part), decode_scope_part);
  EXPECT_EQ(decode_scope_part(encode(part))->items[0].bytes.size(), 3u);
  part.items[1].rank = 3;
  EXPECT_FALSE(decode_scope_part(encode(part))) << "of a rank that did not come";
  part.items.pop_back();
  EXPECT_FALSE(decode_scope_part(encode(part))) << "two came, and one brought something";
  part.items.clear();
  part.compares = true;
  part.lowest = 40;
  part.balance = {1, UINT64_MAX};
  expect_only_whole(encode(part), decode_scope_part);
  EXPECT_EQ(decode_scope_part(encode(part))->balance, part.balance);
  part.came.add(5);
  EXPECT_FALSE(decode_scope_part(encode(part))) << "a rank that is not there";
  LateScope late{7, 2, 1, {6, 9}, "comityCommFinalize"};
  expect_only_whole(encode(late), decode_late_scope);
  EXPECT_EQ(decode_late_scope(encode(late))->members, late.members);
  late.rank = 2;
  EXPECT_FALSE(decode_late_scope(encode(late))) << "no member";
}

TEST(ControlMessages, TreeMessagesRoundTripAndNothingShorterPasses) {
  Gathered gathered;
  gathered.sequence = 9;
  gathered.items = {{1, Bytes(3)}, {4, Bytes()}, {1000, Bytes(50)}};
  expect_only_whole(encode(gathered), decode_gathered);
  EXPECT_EQ(decode_gathered(encode(gathered))->items[2].bytes.size(), 50u);
  expect_only_whole(encode(Agreement{3, true, {}}), decode_agreement);
  Opinion opinion{4, 5, 6, Standing::kCalled, {}};
  opinion.record.number = 4;
  opinion.record.collective = Collective::kBroadcast;
  opinion.record.root = 3;
  Opinion never{5, 7, 8, Standing::kLeft, {}};
  never.record.number = 2;
  expect_only_whole(encode(Opinions{9, {opinion, never}}), decode_opinions);
  EXPECT_EQ(decode_opinions(encode(Opinions{9, {opinion}}))->opinions[0].record.root, 3u);
  expect_only_whole(encode(Inquiry{1, 2, 3, 4}), decode_inquiry);
  Waiting waiting{
      1, 2, 3, 4, 5, opinion.record, {6, true, 0, {{7, true, 8}, {9, false, 10}}, {{11, 12, 13}}}};
  expect_only_whole(encode(waiting), decode_waits);
  EXPECT_EQ(decode_waits(encode(waiting))->now, waiting.now);
  expect_only_whole(encode(WhoWaits{1, 2, {3, 4}}), decode_who_waits);
  const Fault death = death_of(3);
  expect_only_whole(encode(death), decode_fault);
  EXPECT_EQ(decode_fault(encode(death))->left, death.left);
  expect_only_whole(encode(Decided{2, death}), decode_decided);
  expect_only_whole(encode(Leaving{{{7, 1, 20}, {8, 0, 0}}}), decode_leaving);
  expect_only_whole(encode(Parted{{7, 8}}), decode_parted);
  expect_only_whole(encode(Ended{7}), decode_ended);
  const Gone gone{RankSet(2, 7), RankSet(3, 1)};
  expect_only_whole(encode(gone), [](std::span<const std::byte> all) { return decode_gone(all, 9); });
  EXPECT_EQ(decode_gone(encode(gone), 9), gone);
  EXPECT_FALSE(decode_gone(encode(gone), 8)) << "a rank that is not there";
  expect_only_whole(encode(Lead{7, 1, std::nullopt}), decode_lead);
  expect_only_whole(encode(Lead{7, 1, death}), decode_lead);
  TreeState state;
  state.ballot = 9;
  state.slot = 3;
  state.promised = RankSet(2, 7);
  state.gone.all.add(1);
  state.gone.all.add(30);
  state.gone.left.add(1);
  state.accepted = Accepted{4, fault_of(Code::kTimeout, "late")};
  const auto decode_state = [](std::span<const std::byte> bytes) { return decode_tree_state(bytes, 31); };
  expect_only_whole(encode(state), decode_state);
  const auto decoded = decode_state(encode(state));
  EXPECT_EQ(decoded->slot, 3u);
  EXPECT_EQ(decoded->promised, state.promised);
  EXPECT_EQ(decoded->gone, state.gone);
  EXPECT_EQ(decoded->accepted->fault.text, "late");
  EXPECT_FALSE(decode_tree_state(encode(state), 30)) << "a rank that is not there";
}

TEST(ControlMessages, NumbersThatWouldIndexTooFarAreRefused) {
  const auto is_taken = [](const Opinion& opinion) {
    return decode_opinions(encode(Opinions{1, {opinion}})).has_value();
  };
  Opinion opinion{4, 0, 0, Standing::kCalled, {}};
  opinion.record.number = 4;
  EXPECT_TRUE(is_taken(opinion));
  opinion.record.type = static_cast<DataType>(kDataTypeCount);
  EXPECT_FALSE(is_taken(opinion));
  opinion.record.type = DataType::kInt8;
  opinion.record.collective = static_cast<Collective>(kCallKindCount);
  EXPECT_FALSE(is_taken(opinion));
  opinion.record.collective = Collective::kBarrier;
  opinion.record.number = 3;
  EXPECT_FALSE(is_taken(opinion)) << "it called number 4 as its third";
  opinion.standing = Standing::kLeft;
  EXPECT_TRUE(is_taken(opinion));
  opinion.record.number = 4;
  EXPECT_FALSE(is_taken(opinion)) << "it left before the fourth, and made it";
  EXPECT_FALSE(decode_inquiry(encode(Inquiry{1, 2, 0, 4}))) << "calls count from 1";
  EXPECT_FALSE(decode_inquiry(encode(Inquiry{1, 2, 4, 3})));
  EXPECT_TRUE(decode_inquiry(encode(Inquiry{1, 2, 4, 4 + kMostAsked - 1})));
  EXPECT_FALSE(decode_inquiry(encode(Inquiry{1, 2, 4, 4 + kMostAsked})));
  Fault success;
  success.code = Code::kSuccess;
  EXPECT_FALSE(decode_fault(encode(success)));
  Gathered twice;
  twice.items = {{1, {}}, {1, {}}};
  EXPECT_FALSE(decode_gathered(encode(twice)));
  ByteWriter huge;
  huge.put(uint64_t{1}).put(UINT32_MAX);
  EXPECT_FALSE(decode_gathered(huge.bytes()));
}

Visit join_visit(uint32_t nranks, uint64_t visitor, const char* address) {
  Visit visit;
  visit.nranks = nranks;
  visit.visitor = visitor;
  visit.addresses = {address_of(address)};
  return visit;
}

TEST(MeetingBook, SendsARankBackUntilItsParentCame) {
  MeetingBook book;
  const Answer early = book.answer(9, join_visit(10, 109, "10.0.0.9:1"));
  EXPECT_EQ(early.kind, AnswerKind::kComeBack);
  EXPECT_GT(early.come_back_ms, 0u);
  EXPECT_EQ(early.missing, "0-8 of 10");
  EXPECT_EQ(book.answer(0, join_visit(10, 100, "10.0.0.1:1")).kind, AnswerKind::kParent);
  EXPECT_EQ(book.answer(1, join_visit(10, 101, "10.0.0.2:1")).addresses[0].text(), "10.0.0.1:1");
  const Answer again = book.answer(9, join_visit(10, 109, "10.0.0.9:1"));
  EXPECT_EQ(again.kind, AnswerKind::kParent);
  EXPECT_EQ(again.addresses[0].text(), "10.0.0.2:1");
  EXPECT_EQ(again.missing, "2-8 of 10");
}

TEST(MeetingBook, OnceFailedRefusesEverybodyWithTheFirstReason) {
  MeetingBook book;
  EXPECT_NE(book.answer(0, join_visit(2, 1, "10.0.0.1:1")).kind, AnswerKind::kRefused);
  const Answer twice = book.answer(0, join_visit(2, 2, "10.0.0.1:1"));
  EXPECT_EQ(twice.kind, AnswerKind::kRefused);
  const Answer later = book.answer(1, join_visit(3, 3, "10.0.0.1:1"));
  EXPECT_EQ(later.kind, AnswerKind::kRefused);
  EXPECT_EQ(later.text, twice.text);
  EXPECT_TRUE(book.failed());
}

TEST(MeetingBook, AnImpossibleRankIsRefusedAndHarmsNobody) {
  MeetingBook book;
  EXPECT_EQ(book.answer(5, join_visit(5, 1, "10.0.0.1:1")).kind, AnswerKind::kRefused);
  EXPECT_EQ(book.answer(0, join_visit(UINT32_MAX, 1, "10.0.0.1:1")).kind, AnswerKind::kRefused);
  EXPECT_FALSE(book.failed());
  EXPECT_EQ(book.answer(0, join_visit(1, 1, "10.0.0.1:1")).kind, AnswerKind::kParent);
  EXPECT_TRUE(book.all_came());
}

TEST(RankList, WritesRangesAndCutsLongLists) {
  std::vector<bool> present(8, true);
  EXPECT_EQ(list_absent(present), "");
  present[2] = present[5] = present[6] = present[7] = false;
  EXPECT_EQ(list_absent(present), "2, 5-7");
  std::vector<bool> sparse(100, true);
  for (size_t i = 0; i < 100; i += 2) sparse[i] = false;
  EXPECT_EQ(list_absent(sparse), "0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30 and 34 more");
}

TEST(RankSet, BehavesAsASetOfNumbers) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    RankSet set, other;
    std::set<uint32_t> plain, plain_other;
    for (int i = 0; i < 30; ++i) {
      const auto first = static_cast<uint32_t>(random() % 60);
      const auto count = static_cast<uint32_t>(random() % 6);
      const bool to_other = random() % 3 == 0;
      (to_other ? other : set).add(first, count);
      for (uint32_t k = 0; k < count; ++k) (to_other ? plain_other : plain).insert(first + k);
      if (random() % 4 != 0) continue;
      set.remove(first);
      plain.erase(first);
    }
    const RankSet rest = set.without(other);
    RankSet both = set;
    both.add(other);
    for (uint32_t rank = 0; rank < 70; ++rank) {
      ASSERT_EQ(set.contains(rank), plain.contains(rank));
      ASSERT_EQ(rest.contains(rank), plain.contains(rank) && !plain_other.contains(rank));
      ASSERT_EQ(both.contains(rank), plain.contains(rank) || plain_other.contains(rank));
      uint32_t absent = rank;
      while (plain.contains(absent)) ++absent;
      ASSERT_EQ(set.next_absent(rank), absent);
    }
    ASSERT_EQ(set.size(), plain.size());
    ByteWriter writer;
    set.encode(writer);
    ByteReader reader(writer.bytes());
    ASSERT_EQ(RankSet::decode(reader, 70), set);
  }
}

TEST(AddressBook, KeepsAddressesOncePerHostAndPortsPerRank) {
  AddressBook book;
  for (uint32_t rank = 0; rank < 512; ++rank) {
    SocketAddress first = address_of(rank < 256 ? "10.0.0.1:1" : "10.0.0.2:1");
    SocketAddress second = address_of(rank < 256 ? "[fd00::1]:1" : "[fd00::2]:1");
    first.set_port(static_cast<uint16_t>(1000 + rank));
    second.set_port(static_cast<uint16_t>(3000 + rank));
    book.set(rank, {first, second}, ProcessName{rank < 256 ? 7u : 8u, 100 + rank / 2, 5});
  }
  const Bytes encoded = book.encode();
  EXPECT_LT(encoded.size(), 512 * 20 + 200u);
  const auto decoded = AddressBook::decode(encoded, 512);
  ASSERT_TRUE(decoded);
  ASSERT_EQ(decoded->of(300).size(), 2u);
  EXPECT_EQ(decoded->of(300)[0].text(), "10.0.0.2:1300");
  EXPECT_EQ(decoded->of(3)[1].text(), "[fd00::1]:3003");
  EXPECT_EQ(decoded->process_of(300), (ProcessName{8, 250, 5}));
  EXPECT_EQ(decoded->neighbour_of(4), 6u) << "5 is a thread of the same process";
  EXPECT_EQ(decoded->neighbour_of(255), 0u) << "256 is on another host";
  EXPECT_TRUE(decoded->of(512).empty());
  EXPECT_FALSE(AddressBook::decode(encoded, 511)) << "a rank that is not there";
  const auto decode = [](std::span<const std::byte> bytes) { return AddressBook::decode(bytes, 4); };
  AddressBook small;
  small.set(3, {address_of("10.0.0.1:5")});
  small.set(1, {});
  small.set(3, {address_of("10.0.0.1:6")});
  EXPECT_EQ(small.size(), 2u);
  EXPECT_FALSE(small.neighbour_of(3)) << "nobody says what process it is";
  EXPECT_EQ(small.of(3)[0].text(), "10.0.0.1:6");
  expect_only_whole(small.encode(), decode);
}

TEST(AddressBook, TakesInTheBooksOfSubtreesWhoseRanksInterleave) {
  AddressBook whole, one, other;
  const auto fill = [](AddressBook& book, uint32_t rank, uint16_t port) {
    SocketAddress address = address_of(rank % 3 == 0 ? "10.0.0.1" : "10.0.0.2");
    address.set_port(port);
    book.set(rank, {address}, ProcessName{rank % 3, rank, 5});
  };
  for (uint32_t rank = 0; rank < 100; ++rank) {
    fill(rank % 2 == 0 ? one : other, rank, static_cast<uint16_t>(rank));
    fill(whole, rank, static_cast<uint16_t>(1000 + rank));
  }
  fill(one, 7, 999);  // which `other` says otherwise
  one.add(other);
  ASSERT_EQ(one.size(), 100u);
  for (uint32_t rank = 0; rank < 100; ++rank) {
    EXPECT_EQ(one.of(rank)[0].port(), rank);
    EXPECT_EQ(one.process_of(rank), (ProcessName{rank % 3, rank, 5}));
  }
  one.add(whole);
  EXPECT_EQ(one.size(), 100u);
  EXPECT_EQ(one.of(99)[0].port(), 1099);
  EXPECT_EQ(AddressBook::decode(one.encode(), 100)->of(50)[0].text(), "10.0.0.2:1050");
}

TEST(AddressBook, IsDecodedOnceForAllRanksThatHaveTheSame) {
  AddressBook book;
  for (uint32_t rank = 0; rank < 40; ++rank) book.set(rank, {address_of("10.0.0.1:5")});
  const Bytes encoded = book.encode();
  CommonBooks books;
  const auto first = books.decode(7, encoded, 40);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(books.decode(7, encoded, 40), first);
  EXPECT_NE(books.decode(8, encoded, 40), first) << "another communicator's";
  book.set(39, {address_of("10.0.0.1:6")});
  const auto moved = books.decode(7, book.encode(), 40);
  ASSERT_NE(moved, nullptr);
  EXPECT_EQ(moved->of(39)[0].port(), 6u) << "as long, and not the same bytes";
  EXPECT_EQ(first->of(39)[0].port(), 5u);
  EXPECT_EQ(books.decode(7, std::span(encoded).first(20), 40), nullptr);
  EXPECT_GT(first->memory_bytes(), 40 * 20u);
}

TEST(ProcessName, IsProvenByTheStartAndKnownInOneSpaceOnly) {
  const ProcessName self = this_process();
  ASSERT_NE(self.space, 0u);
  EXPECT_EQ(self.pid, static_cast<uint32_t>(::getpid()));
  auto opened = open_process(self, self);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  pollfd ended{opened->get(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 0), 0) << "this process has not ended";
  ProcessName earlier = self;
  --earlier.started;
  EXPECT_EQ(open_process(earlier, self).status().code(), Code::kRemoteError) << "the PID was given again";
  ProcessName elsewhere = self;
  ++elsewhere.space;
  EXPECT_EQ(open_process(elsewhere, self).status().code(), Code::kUnsupported);
  EXPECT_EQ(open_process(ProcessName{}, self).status().code(), Code::kUnsupported);
}

TEST(TreeShape, EveryRankHasOneParentAndSubtreesAddUp) {
  for (const uint32_t nranks : {1u, 2u, 9u, 10u, 73u, 74u, 1000u}) {
    EXPECT_EQ(subtree_size_of(0, nranks), nranks);
    for (uint32_t rank = 0; rank < nranks; ++rank) {
      uint32_t below = 1;
      for (uint32_t i = 0; i < child_count_of(rank, nranks); ++i) {
        const auto child = static_cast<uint32_t>(first_child_of(rank) + i);
        EXPECT_TRUE(is_child_of(child, rank, nranks));
        EXPECT_TRUE(in_subtree_of(child, rank));
        below += subtree_size_of(child, nranks);
      }
      EXPECT_EQ(subtree_size_of(rank, nranks), below);
    }
  }
  EXPECT_FALSE(in_subtree_of(2, 1));
  EXPECT_FALSE(is_child_of(9, 0, 20));
}

TEST(UniqueIds, CarryAddressesAndSecret) {
  IdContent content;
  content.addresses = {address_of("10.0.0.1:5"), address_of("[fd00::1]:6"), address_of("127.0.0.1:7"),
                       address_of("192.0.2.1:8")};
  content.secret.fill(std::byte{9});
  const auto decoded = decode_id(encode_id(content));
  ASSERT_TRUE(decoded.ok()) << decoded.status().message();
  ASSERT_EQ(decoded->addresses.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(decoded->addresses[i].text(), content.addresses[i].text());
  EXPECT_EQ(decoded->secret, content.secret);
  EXPECT_EQ(decoded->left_out, 0u);
}

TEST(UniqueIds, KeepTheBestThatFitAndCountWhatTheyLeaveOut) {
  IdContent content;
  for (int i = 1; i <= 8; ++i)
    content.addresses.push_back(address_of(fmt::format("10.0.{}.1:{}", i, 5000 + i).c_str()));
  content.addresses.push_back(address_of("[fd00::1]:6000"));
  content.addresses.push_back(address_of("[fd00::2]:6001"));  // does not fit any more
  content.left_out = 3;
  const auto decoded = decode_id(encode_id(content));
  ASSERT_TRUE(decoded.ok()) << decoded.status().message();
  ASSERT_EQ(decoded->addresses.size(), 9u);
  for (size_t i = 0; i < 9; ++i) EXPECT_EQ(decoded->addresses[i].text(), content.addresses[i].text());
  EXPECT_EQ(decoded->left_out, 4u);
}

TEST(UniqueIds, OfAnotherReleaseAreNamedSo) {
  IdContent content;
  content.addresses = {address_of("10.0.0.1:5")};
  UniqueId id = encode_id(content);
  id[4] = std::byte{1};
  const auto decoded = decode_id(id);
  EXPECT_EQ(decoded.status().code(), Code::kInvalidArgument);
  EXPECT_NE(decoded.status().message().find("same release"), std::string::npos) << decoded.status().message();
}

}  // namespace
}  // namespace comity::control
