// What the conversations on the control tree (gathering, inquiries) need of the node that they run on.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/bytes.h"
#include "src/control/messages.h"

namespace comity::control {

class TreePort {
 public:
  virtual ~TreePort() = default;
  virtual uint32_t rank() const = 0;
  virtual uint32_t nranks() const = 0;
  // Whether a parent stands above; without one this node is the root of its part of the tree.
  virtual bool has_parent() const = 0;
  virtual void to_parent(MessageType type, std::span<const std::byte> payload) = 0;
  virtual void to_children(MessageType type, std::span<const std::byte> payload) = 0;
  // Makes an error everyone's: see Session::declare().
  virtual void declare_fault(Code code, std::string text) = 0;
};

}  // namespace comity::control
