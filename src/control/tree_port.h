// What the conversations on the control tree (gathering, inquiries) need of the node that they run on.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/control/messages.h"

namespace comity::control {

class TreePort {
 public:
  virtual ~TreePort() = default;
  virtual uint32_t rank() const = 0;
  virtual uint32_t nranks() const = 0;
  // The first communicator's public name.
  virtual uint64_t communicator() const = 0;
  // Whether a parent stands above; without one this node is the root of its part of the tree.
  virtual bool has_parent() const = 0;
  virtual void to_parent(MessageType type, std::span<const std::byte> payload) = 0;
  virtual void to_children(MessageType type, std::span<const std::byte> payload) = 0;
  virtual void to_child(uint32_t child, MessageType type, std::span<const std::byte> payload) = 0;
  // Makes an error that of everyone in `communicator`; 0: in all of the family. See Session::declare().
  virtual void declare_fault(uint64_t communicator, Code code, std::string text) = 0;
  // What this rank says of the calls that are asked for; nothing of those that it may still make.
  virtual std::vector<Opinion> opinions_on(const Inquiry& inquiry) const = 0;
  // What this rank waits for in a communicator that it is in; nothing in one that it is not.
  virtual std::optional<Waiting> waits_in(uint64_t communicator) const = 0;
};

}  // namespace comity::control
