// Runs a fuzz target where libFuzzer is not: first every file of the given folders, then mutants of them
// until the time is over. The mutants are the same in every run: the first of a run is that of seed 1.
//
//   topology_json_fuzz [--seconds=8] FOLDER...
//
// An input on which the target aborts, or stays longer than 10 s, is left in the working folder as
// crash-<target>; exit status 1 where no file was found.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr unsigned kMostSecondsPerInput = 10;
constexpr size_t kMostBytes = 16384;  // of a mutant: larger ones only take time

std::string crash_file = "crash";
std::string current;  // what the target has now

// In a signal handler: only system calls.
void keep_current(int signal) {
  const int file = open(crash_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file >= 0 && write(file, current.data(), current.size()) >= 0) close(file);
  std::signal(SIGABRT, SIG_DFL);
  if (signal != SIGABRT) std::abort();
}

void run(std::string input) {
  current = std::move(input);
  alarm(kMostSecondsPerInput);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(current.data()), current.size());
  alarm(0);
}

class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& inputs) : inputs_(inputs) {}

  std::string next() {
    std::string text = pick();
    for (size_t steps = 1 + below(4); steps > 0; --steps) change(text);
    if (text.size() > kMostBytes) text.resize(kMostBytes);
    return text;
  }

 private:
  size_t below(size_t bound) { return bound == 0 ? 0 : random_() % bound; }
  const std::string& pick() { return inputs_[below(inputs_.size())]; }

  // A few bytes of `text`, most often a word.
  std::string_view piece_of(std::string_view text) {
    const size_t begin = below(text.size() + 1);
    return text.substr(begin, 1 + below(24));
  }

  void change(std::string& text) {
    static constexpr std::array<std::string_view, 12> kWords = {
        "0", "-1", "4294967296", "18446744073709551616", "1e309", "nan", "<", "/>", "\"", "\n", "{", "]"};
    const size_t at = below(text.size() + 1);
    switch (below(6)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        return;
      case 1:
        text.erase(at, 1 + below(24));
        return;
      case 2:
        text.insert(at, piece_of(std::string(text)));
        return;
      case 3:
        text.insert(at, piece_of(pick()));
        return;
      case 4:
        text.replace(at, 1 + below(8), kWords[below(kWords.size())]);
        return;
      default:
        text.replace(at, 1 + below(24), piece_of(pick()));
        return;
    }
  }

  const std::vector<std::string>& inputs_;
  std::mt19937_64 random_{1};
};

std::vector<std::string> files_under(const char* folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& each : std::filesystem::recursive_directory_iterator(folder)) {
    if (each.is_regular_file()) paths.push_back(each.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> files;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    files.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  std::chrono::seconds limit{8};
  std::vector<std::string> inputs;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.rfind("--seconds=", 0) == 0) {
      limit = std::chrono::seconds(std::atoi(argv[i] + 10));
      continue;
    }
    for (std::string& each : files_under(argv[i])) inputs.push_back(std::move(each));
  }
  if (inputs.empty()) {
    std::fprintf(stderr, "%s: no inputs in the folders given\n", argv[0]);
    return 1;
  }
  crash_file = "crash-" + std::filesystem::path(argv[0]).filename().string();
  for (const int each : {SIGABRT, SIGALRM, SIGSEGV}) std::signal(each, keep_current);
  const auto deadline = Clock::now() + limit;
  for (const std::string& each : inputs) run(each);
  Mutator mutator(inputs);
  size_t mutants = 0;
  for (; Clock::now() < deadline; ++mutants) run(mutator.next());
  std::printf("%zu files and %zu mutants of them: none aborted\n", inputs.size(), mutants);
  return 0;
}
