// Reading sysfs: small files that may be missing, refuse to be read, or say "Unknown". Nothing here fails:
// what cannot be read is empty.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace comity::topology {

// First 64 KiB of a file without the blanks at its end; empty if it cannot be read.
std::string read_text(const std::string& path);
// Decimal or with 0x in front; what follows the number is ignored ("16.0 GT/s" is 16).
std::optional<int64_t> read_number(const std::string& path);
// Names in a folder, sorted; empty if there is none.
std::vector<std::string> list_folder(const std::string& path);
bool exists(const std::string& path);
// The target with all links resolved, or empty.
std::string resolve(const std::string& path);
// The name that a symbolic link's target ends in, or empty.
std::string link_name(const std::string& path);

// As sysfs writes it: "0000:17:00.0", domains of Intel's VMD in five digits.
bool is_bus_id(std::string_view text);
// The PCI function that a device of sysfs belongs to: the last bus id in its resolved path, or empty.
std::string bus_id_of(const std::string& resolved_path);

}  // namespace comity::topology
