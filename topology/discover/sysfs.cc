#include "topology/discover/sysfs.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace comity::topology {

namespace fs = std::filesystem;

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(64 << 10, '\0');
  // A read that the driver refuses leaves nothing; no exception is switched on.
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
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

namespace {

struct BusId {
  unsigned domain = 0, bus = 0, device = 0, function = 0;
};

bool all_hexadecimal(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

bool parse_bus_id(std::string_view text, BusId& id) {
  const size_t dot = text.rfind('.');
  const size_t second = text.rfind(':', dot);
  if (dot == std::string_view::npos || second == std::string_view::npos) return false;
  const size_t first = second == 0 ? std::string_view::npos : text.rfind(':', second - 1);
  const bool has_domain = first != std::string_view::npos;
  const std::string domain(has_domain ? text.substr(0, first) : "0");
  const size_t bus_at = has_domain ? first + 1 : 0;
  const std::string bus(text.substr(bus_at, second - bus_at));
  const std::string device(text.substr(second + 1, dot - second - 1));
  const std::string function(text.substr(dot + 1));
  if (domain.size() > 8 || bus.size() != 2 || device.size() != 2 || function.size() != 1) return false;
  for (const std::string& part : {domain, bus, device, function})
    if (!all_hexadecimal(part)) return false;
  const auto number = [](const std::string& part) {
    return static_cast<unsigned>(std::strtoul(part.c_str(), nullptr, 16));
  };
  id = {number(domain), number(bus), number(device), number(function)};
  return true;
}

}  // namespace

bool is_bus_id(std::string_view text) {
  BusId id;
  return std::count(text.begin(), text.end(), ':') == 2 && text.find(':') >= 4 && parse_bus_id(text, id);
}

std::string short_bus_id(std::string_view text) {
  BusId id;
  if (!parse_bus_id(text, id)) return {};
  return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", id.domain, id.bus, id.device, id.function);
}

std::string bus_id_of(const std::string& resolved_path) {
  std::string found;
  for (const fs::path& part : fs::path(resolved_path))
    if (is_bus_id(part.string())) found = part.string();
  return found;
}

}  // namespace comity::topology
