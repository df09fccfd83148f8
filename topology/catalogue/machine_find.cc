// Machines by name: a file beside the program if there is one, else the copy built in.

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>

#include "src/base/file.h"
#include "topology/catalogue/embedded.h"
#include "topology/catalogue/machine.h"

namespace comity::topology {
namespace {

constexpr size_t kMostFileBytes = size_t{1} << 20;

// "/usr/local/share/comity/machines" of "/usr/local/bin/comity"; empty if the program is not in a folder bin.
std::string installed_folder() {
  char program[4096];
  const ssize_t size = readlink("/proc/self/exe", program, sizeof program);
  if (size <= 0 || static_cast<size_t>(size) == sizeof program) return "";
  std::string path(program, static_cast<size_t>(size));
  path.resize(path.rfind('/'));
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || path.substr(slash) != "/bin") return "";
  return path.substr(0, slash) + "/share/comity/machines";
}

// nullopt: there is no such file.
Result<std::optional<std::string>> read_if_there(const std::string& path) {
  if (::access(path.c_str(), R_OK) != 0) return std::optional<std::string>();
  COMITY_ASSIGN_OR_RETURN(std::string text, read_file(path, kMostFileBytes));
  return std::optional<std::string>(std::move(text));
}

// Levenshtein's distance: how many letters to change, add or leave out.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string lower(std::string_view text) {
  std::string all(text);
  for (char& c : all) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return all;
}

// "dgx-h100" of "dgx-h10", "dgx-h100 or dgx-h200" of "dgx": what may be meant; empty: nothing is near.
std::string guesses(const std::string& name, const std::vector<std::string>& names) {
  const auto nearest = std::min_element(names.begin(), names.end(), [&name](const auto& a, const auto& b) {
    return distance(name, a) < distance(name, b);
  });
  if (nearest != names.end() && distance(name, *nearest) <= 2) return *nearest;
  std::string guesses;
  for (const std::string& each : names) {
    if (name.size() >= 3 && each.find(name) != std::string::npos)
      guesses += (guesses.empty() ? "" : " or ") + each;
  }
  if (guesses.empty() && nearest != names.end() && distance(name, *nearest) <= 3) return *nearest;
  return guesses;
}

Status unknown(std::string_view name, const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& each : names) all += (all.empty() ? "" : ", ") + each;
  const std::string near = guesses(lower(name), names);
  if (!near.empty()) {
    return Status(Code::kInvalidArgument,
                  fmt::format("there is no machine \"{}\"; is {} meant? There are {}", name, near, all));
  }
  return Status(Code::kInvalidArgument, fmt::format("there is no machine \"{}\"; there are {}", name, all));
}

}  // namespace

std::vector<std::string> machine_names() {
  std::vector<std::string> names;
  for (const EmbeddedMachine& machine : embedded_machines()) names.emplace_back(machine.name);
  return names;
}

Result<Machine> find_machine(std::string_view name) {
  const std::vector<EmbeddedMachine> machines = embedded_machines();
  const std::string wanted = lower(name);
  const auto found = std::find_if(machines.begin(), machines.end(),
                                  [&wanted](const EmbeddedMachine& each) { return each.name == wanted; });
  if (found == machines.end()) return unknown(name.substr(0, 64), machine_names());
  const std::string folder = installed_folder();
  if (!folder.empty()) {
    const std::string path = fmt::format("{}/{}.json", folder, wanted);
    COMITY_ASSIGN_OR_RETURN(const std::optional<std::string> text, read_if_there(path));
    if (text) {
      Result<Machine> machine = parse_machine(*text);
      return machine.ok() ? std::move(machine) : Result<Machine>(machine.status().in(path));
    }
  }
  Result<Machine> machine = parse_machine(found->json);
  return machine.ok() ? std::move(machine) : Result<Machine>(machine.status().in(name));
}

}  // namespace comity::topology
