// A device that was opened, and its ports that are of use.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/settings.h"
#include "transports/verbs/library.h"
#include "transports/verbs/rails.h"

namespace comity::verbs {

// One per device and transport. What is made of it goes before it.
class OpenDevice {
 public:
  // kSystemError: no permission, or no memory to pin.
  static Result<std::unique_ptr<OpenDevice>> open(const Library& library, ibv_device* device);
  ~OpenDevice();
  OpenDevice(const OpenDevice&) = delete;
  OpenDevice& operator=(const OpenDevice&) = delete;

  const Library& library() const { return library_; }
  const std::string& name() const { return name_; }
  ibv_context* context() const { return context_; }
  ibv_pd* domain() const { return domain_; }
  ibv_comp_channel* channel() const { return channel_; }
  // An event that tells that this port, or all, can carry nothing any more; nothing: none did. Never blocks.
  struct Trouble {
    uint8_t port = 0;  // 0: the device
    std::string what;
  };
  std::vector<Trouble> troubles();
  // Takes what the channel tells, so that it can tell anew. False: nothing. Never blocks.
  bool drain_channel();
  // Registers memory that the device reads, and that peers who have its key may write. kSystemError names the
  // limit.
  Result<ibv_mr*> register_memory(std::byte* data, uint64_t bytes);

 private:
  OpenDevice(const Library& library, std::string name, ibv_context* context)
      : library_(library), name_(std::move(name)), context_(context) {}

  const Library& library_;
  std::string name_;
  ibv_context* context_;
  ibv_pd* domain_ = nullptr;
  ibv_comp_channel* channel_ = nullptr;
};

// A port that is up.
struct Rail {
  OpenDevice* device = nullptr;
  uint8_t port = 1;
  uint8_t gid_index = 0;
  bool always_routed = false;  // InfiniBand: the global header is needed inside a subnet, too
  std::string network;         // of RoCE: the interface's name
  RailAddress address;

  // "rxe0 port 1 RoCE 10.0.0.1".
  std::string describe() const;
};

struct Ports {
  std::vector<std::unique_ptr<OpenDevice>> devices;
  std::vector<Rail> rails;
};
// Opens what COMITY_VERBS_DEVICES lists, or everything, at most kMaxRails ports. Errors: kSystemError
// (nothing is of use: says what was found), kInvalidArgument (the setting).
Result<Ports> open_ports(const Library& library, const Settings& settings);

}  // namespace comity::verbs
