// One rank as a process: control_worker ID RANK NRANKS WITHIN_MS
//
// With "create" for ID makes one and says its hex first. Joins, says "joined" or "failed CODE MESSAGE", then
// answers one line per line of standard input:
//   gather TEXT           "gathered A,B,C" or "failed CODE MESSAGE"
//   call NUMBER COUNT     records an all-reduce; "ok"
//   wait NUMBER MS        waits in that call, reporting; "verdict CODE MESSAGE" or "none"
//   verdict MS            waits without reporting; same answers
//   sockets               "N": internet sockets that this process holds, listening ones left out
//   serve TEXT            shares a memfd with TEXT as arena 1; says the name of the socket
//   declare TEXT          declares that system error; "ok"
//   leave | abort         "left"
//   split ID A,B,C        begins communicator ID of the family with these ranks; "ok"
//   in ID COMMAND         any of the above but split, in that communicator
//   exit STATUS           exits without leaving
// Ends when standard input does.
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "src/base/clock.h"
#include "tests/support/control_process.h"

namespace {

using comity::Bytes;
using comity::Code;
using comity::Deadline;
using comity::Status;
using comity::control::CallRecord;
using comity::control::Session;

void say(const std::string& line) {
  std::cout << line << std::endl;
}

std::string failed(const Status& status) {
  return "failed " + std::to_string(static_cast<int>(status.code())) + " " + std::string(status.message());
}

std::string gather(Session& session, const std::string& text) {
  const auto* raw = reinterpret_cast<const std::byte*>(text.data());
  const auto all = session.all_gather(Bytes(raw, raw + text.size()), Deadline::after_ms(30'000));
  if (!all.ok()) return failed(all.status());
  std::string line = "gathered ";
  for (const Bytes& one : *all) {
    if (line.back() != ' ') line += ',';
    line.append(reinterpret_cast<const char*>(one.data()), one.size());
  }
  return line;
}

std::string wait_for_verdict(Session& session, uint64_t number, uint64_t within_ms) {
  const Deadline deadline = Deadline::after_ms(within_ms);
  while (session.verdict() == nullptr && !deadline.passed()) {
    if (number != 0) session.report(number);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const auto* verdict = session.verdict();
  if (verdict == nullptr) return "none";
  return "verdict " + std::to_string(static_cast<int>(verdict->code)) + " " + verdict->message;
}

void record_call(Session& session, uint64_t number, uint64_t count) {
  CallRecord record;
  record.number = number;
  record.count = count;
  record.collective = comity::Collective::kAllReduce;
  record.type = comity::DataType::kFloat32;
  record.signature = signature_of(record, 1);
  session.calls().record(record);
}

int count_internet_sockets() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::atoi(entry.path().filename().c_str());
    int domain = 0;
    socklen_t size = sizeof(domain);
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) continue;
    int listens = 0;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens != 0) continue;
    count += domain == AF_INET || domain == AF_INET6 ? 1 : 0;
  }
  return count;
}

std::string serve(const std::string& text) {
  static int memory = -1;
  memory = ::memfd_create("comity test", MFD_CLOEXEC);
  if (::write(memory, text.data(), text.size()) != static_cast<ssize_t>(text.size())) return "failed 2 memfd";
  comity::control::serve_descriptors([](uint32_t arena) -> comity::Result<comity::UniqueFd> {
    if (arena != 1) return Status(Code::kInvalidArgument, "no arena " + std::to_string(arena));
    return comity::UniqueFd(::dup(memory));
  });
  const auto name = comity::control::descriptor_socket_name();
  return name.ok() ? *name : failed(name.status());
}

std::map<uint64_t, std::unique_ptr<Session>>& splits() {
  static std::map<uint64_t, std::unique_ptr<Session>> sessions;
  return sessions;
}

std::string split(Session& session, uint64_t id, const std::string& members) {
  std::vector<uint32_t> ranks;
  std::istringstream numbers(members);
  for (std::string number; std::getline(numbers, number, ',');)
    ranks.push_back(static_cast<uint32_t>(std::stoul(number)));
  auto scope = session.scope(id, std::move(ranks), {});
  if (!scope.ok()) return failed(scope.status());
  splits()[id] = std::move(scope).value();
  return "ok";
}

std::string answer(Session& session, std::istringstream& words, const std::string& command) {
  std::string text;
  uint64_t number = 0;
  uint64_t value = 0;
  if (command == "gather") return words >> text, gather(session, text);
  if (command == "call") return words >> number >> value, record_call(session, number, value), "ok";
  if (command == "wait") return words >> number >> value, wait_for_verdict(session, number, value);
  if (command == "verdict") return words >> value, wait_for_verdict(session, 0, value);
  if (command == "declare") {
    std::getline(words >> std::ws, text);
    return session.declare(Code::kSystemError, text), "ok";
  }
  if (command == "split") return words >> number >> text, split(session, number, text);
  if (command == "in") {
    words >> number >> text;
    const auto scope = splits().find(number);
    return scope == splits().end() ? "failed 4 no such communicator" : answer(*scope->second, words, text);
  }
  if (command == "sockets") return std::to_string(count_internet_sockets());
  if (command == "serve") return words >> text, serve(text);
  if (command == "leave" || command == "abort") return session.leave(command == "leave"), "left";
  return "failed 4 unknown command " + command;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  comity::control::JoinOptions options;
  if (std::string(argv[1]) != "create") {
    options.id = comity::control::testing::id_from_hex(argv[1]);
  } else {
    const auto id = comity::control::create_unique_id();
    if (!id.ok()) return say(failed(id.status())), 1;
    options.id = *id;
    say(comity::control::testing::hex_of(*id));
  }
  options.rank = static_cast<uint32_t>(std::atoi(argv[2]));
  options.nranks = static_cast<uint32_t>(std::atoi(argv[3]));
  options.deadline = Deadline::after_ms(static_cast<uint64_t>(std::atoi(argv[4])));
  auto session = Session::join(options);
  if (!session.ok()) {
    say(failed(session.status()));
    return 1;
  }
  say("joined");
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    int status = 0;
    words >> command;
    if (command == "exit") return words >> status, std::_Exit(status), status;
    say(answer(**session, words, command));
  }
  return 0;
}
