#include "tests/support/rank_calls.h"

#include <algorithm>
#include <sstream>

namespace comity::test {
namespace {

using Words = std::vector<int64_t>;

// Element i of what rank `from` gives in call `number`.
int64_t word(int64_t number, int from, size_t i) {
  return number << 40 | int64_t{from} << 32 | static_cast<int64_t>(i);
}

std::string failed(comityComm_t comm) {
  return std::string("failed ") + comityGetLastError(comm);
}

std::string ended(comityResult_t result, comityComm_t comm) {
  return result == comitySuccess ? "ok" : failed(comm);
}

std::string compared(const Words& got, const Words& want) {
  const auto differs = std::mismatch(got.begin(), got.end(), want.begin(), want.end()).first;
  return differs == got.end() ? "right" : "wrong " + std::to_string(differs - got.begin());
}

// What one rank gives and must get.
struct Content {
  Words in, out, want;
};

Content content_of(const std::string& name, int64_t number, int rank, int size, size_t count, int root) {
  const auto ranks = static_cast<size_t>(size), own = static_cast<size_t>(rank);
  const bool blocks_in = name == "scatter" || name == "all_to_all";
  const bool blocks_out = name == "gather" || name == "all_to_all";
  Content content;
  content.in.resize(count * (blocks_in ? ranks : 1));
  for (size_t i = 0; i < content.in.size(); ++i) content.in[i] = word(number, rank, i);
  if (name == "barrier" || ((name == "gather" || name == "reduce") && rank != root)) return content;
  content.out.resize(count * (blocks_out ? ranks : 1));
  for (size_t i = 0; i < content.out.size(); ++i) {
    int64_t value = 0;
    if (name == "broadcast") value = word(number, root, i);
    if (name == "scatter") value = word(number, root, own * count + i);
    if (name == "gather") value = word(number, static_cast<int>(i / count), i % count);
    if (name == "all_to_all") value = word(number, static_cast<int>(i / count), own * count + i % count);
    for (int r = 0; name == "reduce" || name == "all_reduce" ? r < size : false; ++r)
      value += word(number, r, i);
    content.want.push_back(value);
  }
  return content;
}

comityResult_t make(const std::string& name, Content& content, size_t count, int root, comityComm_t comm) {
  const void* in = content.in.data();
  void* out = content.out.data();
  if (name == "barrier") return comityBarrier(comm, nullptr);
  if (name == "broadcast") return comityBroadcast(in, out, count, comityInt64, root, comm, nullptr);
  if (name == "gather") return comityGather(in, out, count, comityInt64, root, comm, nullptr);
  if (name == "scatter") return comityScatter(in, out, count, comityInt64, root, comm, nullptr);
  if (name == "all_to_all") return comityAlltoAll(in, out, count, comityInt64, comm, nullptr);
  if (name == "reduce") return comityReduce(in, out, count, comityInt64, comitySum, root, comm, nullptr);
  return comityAllReduce(in, out, count, comityInt64, comitySum, comm, nullptr);
}

}  // namespace

size_t RankCalls::add(comityComm_t comm) {
  Member& member = members_.emplace_back();
  member.comm = comm;
  static_cast<void>(comityCommUserRank(comm, &member.rank));
  static_cast<void>(comityCommCount(comm, &member.size));
  return members_.size() - 1;
}

std::string RankCalls::call(Member& member, const std::string& name, size_t count, int root) {
  Content content = content_of(name, ++member.calls, member.rank, member.size, count, root);
  if (make(name, content, count, root, member.comm) != comitySuccess) return failed(member.comm);
  return compared(content.out, content.want);
}

std::string RankCalls::exchange(Member& member, const std::vector<std::string>& messages) {
  std::vector<Content> contents(messages.size());
  comityResult_t result = comitySuccess;
  const auto note = [&](comityResult_t of) { result = result == comitySuccess ? of : result; };
  if (messages.size() > 1) note(comityGroupStart());
  for (size_t m = 0; m < messages.size(); ++m) {
    const size_t colon = messages[m].find(':');
    const int peer = std::stoi(messages[m].substr(1, colon - 1));
    Words words(std::stoul(messages[m].substr(colon + 1)));
    const bool sends = messages[m][0] == 's';
    const std::pair<int, int> way = sends ? std::pair(member.rank, peer) : std::pair(peer, member.rank);
    const int64_t number = ++member.messages[{peer, sends}];
    for (size_t i = 0; i < words.size(); ++i) words[i] = word(number, way.first * 64 + way.second, i);
    (sends ? contents[m].in : contents[m].want) = words;
    if (!sends) contents[m].out.resize(words.size());
    note(sends ? comitySend(contents[m].in.data(), words.size(), comityInt64, peer, member.comm, nullptr)
               : comityRecv(contents[m].out.data(), words.size(), comityInt64, peer, member.comm, nullptr));
  }
  if (messages.size() > 1) note(comityGroupEnd());
  if (result != comitySuccess) return failed(member.comm);
  for (const Content& content : contents) {
    if (const std::string answer = compared(content.out, content.want); answer != "right") return answer;
  }
  return "right";
}

std::string RankCalls::split(Member& member, int color, int key) {
  comityComm_t made = nullptr;
  if (comityCommSplit(member.comm, color, key, &made, nullptr) != comitySuccess) return failed(member.comm);
  if (made == nullptr) return "ok none";
  const size_t number = add(made);
  return "ok " + std::to_string(number) + " " + std::to_string(members_[number].rank) + " " +
         std::to_string(members_[number].size);
}

std::optional<std::string> RankCalls::answer(const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  size_t number = 0;
  words >> verb >> number;
  if (number >= members_.size()) return "no such communicator";
  Member& member = members_[number];
  if (verb == "finalize") return ended(comityCommFinalize(member.comm), member.comm);
  if (verb == "destroy") return ended(comityCommDestroy(member.comm), nullptr);
  if (verb == "abort") return ended(comityCommAbort(member.comm), nullptr);
  if (verb == "call") {
    std::string name;
    size_t count = 0;
    int root = 0;
    words >> name >> count >> root;
    return call(member, name, count, root);
  }
  if (verb == "split") {
    int color = 0, key = 0;
    words >> color >> key;
    return split(member, color, key);
  }
  if (verb != "exchange") return std::nullopt;
  std::vector<std::string> messages;
  for (std::string message; words >> message;) messages.push_back(message);
  return exchange(member, messages);
}

}  // namespace comity::test
