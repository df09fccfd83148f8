// OpenCL: devices of whoever brings a driver. Those that are accelerators or GPUs and say their bus id are
// devices of the graph; the CPU as an OpenCL device is a line for people.
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "topology/discover/library.h"
#include "topology/discover/vendor.h"

namespace comity::topology {
namespace {

using Handle = void*;
constexpr int kGood = 0;
// Numbers of CL/cl.h and of cl_khr_pci_bus_info.
constexpr uint64_t kAll = 0xFFFFFFFF, kGpu = 1 << 2, kAccelerator = 1 << 3;
constexpr uint32_t kType = 0x1000, kName = 0x102B, kVendor = 0x102C, kPciBusInfo = 0x410F;

struct OpenCl {
  int (*platforms)(uint32_t, Handle*, uint32_t*) = nullptr;
  int (*devices)(Handle, uint64_t, uint32_t, Handle*, uint32_t*) = nullptr;
  int (*info)(Handle, uint32_t, size_t, void*, size_t*) = nullptr;
};

std::string text_of(const OpenCl& opencl, Handle device, uint32_t what) {
  std::array<char, 257> text{};
  const bool good = opencl.info(device, what, text.size() - 1, text.data(), nullptr) == kGood;
  return good ? text.data() : "";
}

std::string vendor_word(std::string text) {
  text = text.substr(0, text.find_first_of(" ,("));
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text == "advanced" ? "amd" : text;
}

std::vector<Handle> all_devices(const OpenCl& opencl) {
  std::vector<Handle> found;
  std::array<Handle, 64> platforms{};
  uint32_t count = 0;
  if (opencl.platforms(platforms.size(), platforms.data(), &count) != kGood) return found;
  for (uint32_t platform = 0; platform < std::min<size_t>(count, platforms.size()); ++platform) {
    std::array<Handle, 256> devices{};
    uint32_t here = 0;
    if (opencl.devices(platforms[platform], kAll, devices.size(), devices.data(), &here) != kGood) continue;
    found.insert(found.end(), devices.begin(), devices.begin() + std::min<size_t>(here, devices.size()));
  }
  return found;
}

}  // namespace

Result<VendorReport> report_of_opencl(const std::string& file) {
  COMITY_ASSIGN_OR_RETURN(Library library, Library::open(file, {"libOpenCL.so.1"}));
  OpenCl opencl;
  library.required("clGetPlatformIDs", opencl.platforms)
      .required("clGetDeviceIDs", opencl.devices)
      .required("clGetDeviceInfo", opencl.info);
  COMITY_RETURN_IF_ERROR(library.complete());
  VendorReport report;
  std::string others;
  for (Handle handle : all_devices(opencl)) {
    uint64_t type = 0;
    std::array<uint32_t, 4> pci{};
    opencl.info(handle, kType, sizeof type, &type, nullptr);
    const std::string name = text_of(opencl, handle, kName);
    const bool placed = opencl.info(handle, kPciBusInfo, sizeof pci, pci.data(), nullptr) == kGood;
    const bool accelerates = (type & (kGpu | kAccelerator)) != 0;
    if (!accelerates || !placed) {
      others += fmt::format("; {} is {}", name, accelerates ? "nowhere on PCI" : "no accelerator");
      continue;
    }
    VendorDevice& device = report.devices.emplace_back();
    device.bus_id = fmt::format("{:04x}:{:02x}:{:02x}.{:x}", pci[0], pci[1], pci[2], pci[3]);
    device.name = name;
    device.vendor = vendor_word(text_of(opencl, handle, kVendor));
    device.attributes["opencl"] = name;
  }
  report.text = fmt::format("{} devices on PCI{}", report.devices.size(), others);
  return report;
}

}  // namespace comity::topology
