#include "topology/discover/sysfs.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdlib>
#include <filesystem>

#include "src/base/file.h"

namespace comity::topology {

namespace fs = std::filesystem;

std::string read_text(const std::string& path) {
  // A read that the driver refuses leaves nothing.
  std::string text = read_beginning(path, 64u << 10);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\0')) text.pop_back();
  return text;
}

std::optional<int64_t> read_number(const std::string& path) {
  const std::string text = read_text(path);
  const bool hexadecimal = text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
  char* end = nullptr;
  const int64_t value = std::strtoll(text.c_str(), &end, hexadecimal ? 16 : 10);
  if (end == text.c_str()) return std::nullopt;
  return value;
}

std::vector<std::string> list_folder(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator at(path, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error))
    names.push_back(at->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

bool exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::string resolve(const std::string& path) {
  std::error_code error;
  const fs::path target = fs::canonical(path, error);
  return error ? std::string() : target.string();
}

std::string link_name(const std::string& path) {
  std::error_code error;
  const fs::path target = fs::read_symlink(path, error);
  return error ? std::string() : target.filename().string();
}

bool is_bus_id(std::string_view text) {
  if (text.size() < 12 || text.size() > 16) return false;
  const std::string_view tail = text.substr(text.size() - 8);  // ":17:00.0"
  if (tail[0] != ':' || tail[3] != ':' || tail[6] != '.') return false;
  return std::count_if(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; }) ==
         static_cast<std::ptrdiff_t>(text.size()) - 3;
}

std::string bus_id_of(const std::string& resolved_path) {
  std::string found;
  for (const fs::path& part : fs::path(resolved_path))
    if (is_bus_id(part.string())) found = part.string();
  return found;
}

}  // namespace comity::topology
