#include "topology/diff_fields.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

namespace comity::topology {
namespace {

using Kind = Difference::Kind;
using Attributes = std::map<std::string, std::string>;

// New at each start of a machine: they would tell of every restart.
constexpr std::string_view kOfThisBoot[] = {"boot_id", "nccl.host_hash"};

std::string bandwidth_text(uint64_t bytes_per_s) {
  if (bytes_per_s == 0) return "unknown";
  return fmt::format("{:.6g} GB/s", static_cast<double>(bytes_per_s) / 1e9);
}

std::string latency_text(uint64_t latency_ns) {
  return latency_ns == 0 ? "latency unknown" : fmt::format("{} ns", latency_ns);
}

std::string source_text(Source source) {
  std::string text(name_of(source));
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

// What grew or shrank; what is known of one side only is neither.
Kind kind_of(uint64_t was, uint64_t is, Kind less, Kind more) {
  if (was == 0 || is == 0 || was == is) return Kind::kOther;
  return is < was ? less : more;
}

std::optional<uint64_t> number_of(const std::string* text) {
  uint64_t value = 0;
  if (text == nullptr || text->empty()) return std::nullopt;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return value;
}

const std::string* find(const Attributes& attributes, const std::string& key) {
  const auto found = attributes.find(key);
  return found == attributes.end() ? nullptr : &found->second;
}

// Rates and sizes as people read them; `key` loses its unit.
std::string attribute_text(std::string_view key, const std::string* value) {
  const std::optional<uint64_t> number = number_of(value);
  if (value == nullptr) return "not told";
  if (number && key.ends_with("_bytes_per_s")) return bandwidth_text(*number);
  if (number && key.ends_with("_bytes") && *number >= 1u << 30)
    return fmt::format("{:.6g} GiB", static_cast<double>(*number) / (1u << 30));
  return fmt::format("\"{}\"", *value);
}

Difference difference_of(const std::string& name, std::string_view key, const std::string* was,
                         const std::string* is) {
  const uint64_t before = number_of(was).value_or(0), now = number_of(is).value_or(0);
  Kind kind = Kind::kOther;
  if (key.ends_with("_bytes_per_s")) kind = kind_of(before, now, Kind::kSlower, Kind::kFaster);
  if (key.ends_with("_bytes")) kind = kind_of(before, now, Kind::kMissing, Kind::kAdded);
  return {kind, fmt::format("{}: {} {}, was {}", name, key.substr(0, key.find("_bytes")),
                            attribute_text(key, is), attribute_text(key, was))};
}

void compare(const std::string& name, const Attributes& was, const Attributes& is,
             std::vector<Difference>& found) {
  std::set<std::string> keys;
  for (const Attributes* each : {&was, &is}) {
    for (const auto& [key, value] : *each) keys.insert(key);
  }
  for (const std::string_view key : kOfThisBoot) keys.erase(std::string(key));
  for (const std::string& key : keys) {
    const std::string *before = find(was, key), *now = find(is, key);
    if (before != nullptr && now != nullptr && *before == *now) continue;
    found.push_back(difference_of(name, key, before, now));
  }
}

}  // namespace

std::string exact_figure(const Link& link) {
  const std::string one = bandwidth_text(link.bandwidth_bytes_per_s);
  return link.count == 1 ? one : fmt::format("{} x {}", link.count, one);
}

std::vector<Difference> differences_of(const Node& was, const Node& is) {
  // Every field of Node is named here.
  const auto& [id, kind, name, host, vendor, numa, bus_id, attributes] = was;
  const auto& [is_id, is_kind, is_name, is_host, is_vendor, is_numa, is_bus_id, is_attributes] = is;
  (void)kind, (void)is_kind, (void)is_id, (void)host, (void)is_host;
  std::vector<Difference> found;
  const auto say = [&found](Kind each, std::string text) { found.push_back({each, std::move(text)}); };
  if (bus_id != is_bus_id)
    say(Kind::kMoved,
        fmt::format("{} is at {}, was at {}", id, is_bus_id.empty() ? "no known place" : is_bus_id,
                    bus_id.empty() ? "no known place" : bus_id));
  if (numa != is_numa)
    say(Kind::kMoved, fmt::format("{} is near NUMA domain {}, was near {}", id, is_numa, numa));
  if (name != is_name) say(Kind::kOther, fmt::format("{} is \"{}\", was \"{}\"", id, is_name, name));
  if (vendor != is_vendor)
    say(Kind::kOther, fmt::format("{} is of vendor \"{}\", was of \"{}\"", id, is_vendor, vendor));
  compare(id, attributes, is_attributes, found);
  return found;
}

std::vector<Difference> differences_of(const std::string& name, const Link& was, const Link& is) {
  // Every field of Link is named here.
  const auto& [from, to, kind, bandwidth, latency, count, source, shared, attributes] = was;
  const auto& [is_from, is_to, is_kind, is_bandwidth, is_latency, is_count, is_source, is_shared,
               is_attributes] = is;
  (void)from, (void)to, (void)kind, (void)is_from, (void)is_to, (void)is_kind, (void)shared, (void)is_shared;
  std::vector<Difference> found;
  const bool resourced = source != is_source;
  const std::string by = resourced ? fmt::format(" ({})", source_text(source)) : "";
  const std::string is_by = resourced ? fmt::format(" ({})", source_text(is_source)) : "";
  if (bandwidth != is_bandwidth || count != is_count) {
    found.push_back({kind_of(was.total_bytes_per_s(), is.total_bytes_per_s(), Kind::kSlower, Kind::kFaster),
                     fmt::format("{} {}{}, was {}{}", name, exact_figure(is), is_by, exact_figure(was), by)});
  }
  if (latency != is_latency) {
    found.push_back(
        {kind_of(latency, is_latency, Kind::kFaster, Kind::kSlower),
         fmt::format("{} {}{}, was {}{}", name, latency_text(is_latency), is_by, latency_text(latency), by)});
  }
  if (resourced && found.empty()) {
    found.push_back({Kind::kOther, fmt::format("{} {} by {}, was by {}", name, exact_figure(is),
                                               source_text(is_source), source_text(source))});
  }
  compare(name, attributes, is_attributes, found);
  return found;
}

}  // namespace comity::topology
