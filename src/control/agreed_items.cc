#include "src/control/agreed_items.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

namespace comity::control {
namespace {

constexpr size_t kMaxValueBytes = 200;

using Items = std::vector<std::pair<std::string, std::string>>;

std::string shown(const std::string& value) {
  return value.size() <= kMaxValueBytes ? value : value.substr(0, kMaxValueBytes) + "...";
}

}  // namespace

Bytes encode_items(std::span<const std::pair<std::string, std::string>> items) {
  ByteWriter writer;
  writer.put(static_cast<uint32_t>(items.size()));
  for (const auto& item : items) writer.put_text(item.first).put_text(item.second);
  return writer.take();
}

namespace {

Items decode_items(const Bytes& bytes) {
  ByteReader reader(bytes);
  Items items;
  const auto count = reader.get<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    std::string name = reader.get_text();
    std::string value = reader.get_text();
    if (reader.ok()) items.emplace_back(std::move(name), std::move(value));
  }
  return items;
}

}  // namespace

// The lowest item, then the lowest rank, at which a rank differs from rank 0. Every rank computes the same
// sentence.
Status first_difference(const std::vector<Bytes>& everyone) {
  const Items reference = decode_items(everyone[0]);
  std::optional<std::pair<size_t, uint32_t>> found;
  Items found_items;
  for (uint32_t rank = 1; rank < everyone.size(); ++rank) {
    if (everyone[rank] == everyone[0]) continue;
    Items items = decode_items(everyone[rank]);
    const auto differs = std::mismatch(reference.begin(), reference.end(), items.begin(), items.end());
    const auto index = static_cast<size_t>(differs.first - reference.begin());
    if (found && found->first <= index) continue;
    found = {index, rank};
    found_items = std::move(items);
  }
  if (!found) return Status(Code::kInternalError, "ranks had different hashes of equal items");
  const auto describe_item = [&](const Items& items, const std::string& name) {
    const auto has =
        std::find_if(items.begin(), items.end(), [&](const auto& item) { return item.first == name; });
    return has == items.end() ? std::string("nothing") : fmt::format("\"{}\"", shown(has->second));
  };
  const bool extra = found->first >= reference.size();
  const std::string name = extra ? found_items[found->first].first : reference[found->first].first;
  return Status(
      Code::kInvalidUsage,
      fmt::format("ranks disagree on {}: rank 0 has {}, rank {} has {}; give all ranks the same", name,
                  describe_item(reference, name), found->second, describe_item(found_items, name)));
}

}  // namespace comity::control
