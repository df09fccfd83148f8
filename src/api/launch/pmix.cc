#include "src/api/launch/pmix.h"

#include <dlfcn.h>
#include <fmt/core.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <type_traits>

namespace comity::launch {
namespace {

// What is used of the standard's C interface, whose layout is the same from version 2 to 5.
constexpr uint32_t kRankWildcard = UINT32_MAX - 1;
constexpr uint16_t kTypeString = 3;
constexpr uint16_t kTypeUint32 = 14;
constexpr uint8_t kScopeGlobal = 3;
constexpr int kTimedOut = -24;
constexpr int kNotFound = -46;
constexpr const char* kJobSize = "pmix.job.size";
constexpr timespec kNap{0, 10'000'000};

struct Process {
  char job[256];
  uint32_t rank;
};
struct Value {
  uint16_t type;
  union {
    char* string;
    uint32_t number;
    uint64_t room[4];  // as large as the largest that there is
  } data;
};
using GetDone = void (*)(int status, Value* value, void* context);

struct Library {
  int (*init)(Process*, void* info, size_t count);
  int (*finalize)(const void* info, size_t count);
  int (*put)(uint8_t scope, const char* key, Value* value);
  int (*commit)();
  int (*get_nb)(const Process*, const char* key, const void* info, size_t count, GetDone, void* context);
  const char* (*error_string)(int status);
};

Result<Library> open_library() {
  void* handle = nullptr;
  for (const char* name : {"libpmix.so.2", "libpmix.so"}) {
    handle = dlopen(name, RTLD_NOW | RTLD_GLOBAL);  // its own plugins look for its symbols
    if (handle != nullptr) break;
  }
  if (handle == nullptr) {
    return Status(
        Code::kSystemError,
        fmt::format("the launcher speaks PMIx, and its client library cannot be opened ({}): install "
                    "libpmix2, or put its folder into LD_LIBRARY_PATH",
                    dlerror()));
  }
  Library library{};
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    return function != nullptr;
  };
  if (find(library.init, "PMIx_Init") && find(library.finalize, "PMIx_Finalize") &&
      find(library.put, "PMIx_Put") && find(library.commit, "PMIx_Commit") &&
      find(library.get_nb, "PMIx_Get_nb") && find(library.error_string, "PMIx_Error_string"))
    return library;
  return Status(Code::kSystemError, "libpmix lacks functions of PMIx 2: it is older than that");
}

// A question to the server, which may answer after nobody waits any more.
struct Question {
  std::mutex mutex;
  std::condition_variable answered;
  bool done = false;
  int status = 0;
  uint16_t type = 0;
  uint32_t number = 0;
  std::string text;
  // False: nobody has put it yet.
  bool there() const { return status != kNotFound && status != kTimedOut; }
};

void take_answer(int status, Value* value, void* context) {
  const std::unique_ptr<std::shared_ptr<Question>> held(static_cast<std::shared_ptr<Question>*>(context));
  Question& question = **held;
  const std::lock_guard lock(question.mutex);
  question.status = status;
  if (status == 0 && value != nullptr) {
    question.type = value->type;
    if (value->type == kTypeString && value->data.string != nullptr) question.text = value->data.string;
    if (value->type == kTypeUint32) question.number = value->data.number;
  }
  question.done = true;
  question.answered.notify_all();
}

class PmixStoreImpl final : public PmixStore {
 public:
  PmixStoreImpl(const Library& library, const Process& self)
      : library_(library), self_(self), process_(getpid()) {}

  Result<Place> place(const Deadline& deadline) override {
    COMITY_ASSIGN_OR_RETURN(const auto size, ask(kRankWildcard, kJobSize, deadline));
    if (size->type != kTypeUint32 || self_.rank >= size->number)
      return Status(Code::kSystemError, "the PMIx server does not say how many processes the job has");
    return Place{self_.rank, size->number};
  }

  Status give(const std::string& key, const std::string& value, const Deadline&) override {
    std::string copy = value;
    Value put{};
    put.type = kTypeString;
    put.data.string = copy.data();
    COMITY_RETURN_IF_ERROR(check(library_.put(kScopeGlobal, key.c_str(), &put), "PMIx_Put"));
    return check(library_.commit(), "PMIx_Commit");
  }

  // A server keeps the question until rank 0 has put the answer, or for two seconds (Open MPI 4), or answers
  // at once that there is none.
  Result<std::string> take(const std::string& key, const Deadline& deadline) override {
    while (true) {
      COMITY_ASSIGN_OR_RETURN(const auto answer, ask(0, key.c_str(), deadline));
      if (answer->type == kTypeString) return answer->text;
      if (answer->there())
        return Status(Code::kSystemError, fmt::format("the PMIx server keeps something else as {}", key));
      if (deadline.passed()) return nothing_there(key);
      ::nanosleep(&kNap, nullptr);
    }
  }

  bool usable() const { return process_ == getpid(); }
  void take_leave() const {
    if (usable()) library_.finalize(nullptr, 0);
  }

 private:
  // The answer, which may be that there is none yet.
  Result<std::shared_ptr<Question>> ask(uint32_t rank, const char* key, const Deadline& deadline) {
    const auto question = std::make_shared<Question>();
    Process of = self_;
    of.rank = rank;
    auto* held = new std::shared_ptr<Question>(question);
    const int begun = library_.get_nb(&of, key, nullptr, 0, &take_answer, held);
    if (begun != 0) {
      delete held;
      question->status = begun;
      question->done = true;
    }
    std::unique_lock lock(question->mutex);
    while (!question->done) {
      if (deadline.passed()) return nothing_there(key);
      question->answered.wait_for(lock, std::chrono::milliseconds(deadline.left_ms(100)));
    }
    if (question->there()) COMITY_RETURN_IF_ERROR(check(question->status, "PMIx_Get"));
    return question;
  }

  static Status nothing_there(const std::string& key) {
    return Status(
        Code::kTimeout,
        fmt::format("rank 0 has not called comityCommInitEnv within COMITY_INIT_TIMEOUT_MS ({})", key));
  }

  Status check(int status, const char* function) const {
    if (status == 0) return {};
    return Status(Code::kSystemError, fmt::format("{}: {}", function, library_.error_string(status)));
  }

  Library library_;
  Process self_;
  pid_t process_;
};

PmixStoreImpl* store_of_process = nullptr;

}  // namespace

Result<PmixStore*> pmix_store() {
  if (store_of_process != nullptr && store_of_process->usable()) return store_of_process;
  if (store_of_process != nullptr) {
    return Status(Code::kInvalidUsage,
                  "the connection to the PMIx server is a parent process's: only processes that the launcher "
                  "started can ask it");
  }
  COMITY_ASSIGN_OR_RETURN(const Library library, open_library());
  Process self{};
  if (const int status = library.init(&self, nullptr, 0); status != 0) {
    return Status(Code::kSystemError,
                  fmt::format("the PMIx server does not take this process in (PMIx_Init): {}",
                              library.error_string(status)));
  }
  store_of_process = new PmixStoreImpl(library, self);  // lives as long as the process
  std::atexit([] { store_of_process->take_leave(); });
  return store_of_process;
}

}  // namespace comity::launch
