// Reductions: the five that every type has, and sums of scaled inputs.
#pragma once

#include <memory>
#include <utility>

#include "comity/comity.h"
#include "comity/handle.hpp"
#include "comity/types.hpp"

namespace comity {
inline namespace hpp {

// As comityRedOp_t, where their arithmetic stands.
enum class Op : int {
  sum = comitySum,
  prod = comityProd,
  max = comityMax,
  min = comityMin,
  avg = comityAvg,
};

// Multiplies this rank's input by a scalar of its own, then sums (Communicator::pre_mul_sum). Valid with its
// communicator alone. The destructor gives it back; calls that were made with it go on. Movable.
template <Number T>
class PreMulSum {
 public:
  PreMulSum(std::weak_ptr<detail::Handle> comm, comityRedOp_t op) : comm_(std::move(comm)), op_(op) {}
  PreMulSum(PreMulSum&& other) noexcept
      : comm_(std::move(other.comm_)), op_(std::exchange(other.op_, comitySum)) {}
  PreMulSum& operator=(PreMulSum&& other) noexcept {
    std::swap(comm_, other.comm_);
    std::swap(op_, other.op_);
    return *this;
  }
  ~PreMulSum() {
    const auto comm = comm_.lock();
    if (op_ >= comityNumOps && comm != nullptr) comityRedOpDestroy(op_, comm->comm());
  }
  comityRedOp_t native() const noexcept { return op_; }

 private:
  std::weak_ptr<detail::Handle> comm_;
  comityRedOp_t op_;
};

// What a call on elements of type T may be told to do. T is a Number: the calls say so, in their own words.
template <typename T>
class OpOf {
 public:
  OpOf(Op op) : native_(static_cast<comityRedOp_t>(op)) {}  // NOLINT: an Op is given as it is
  OpOf(const PreMulSum<T>& op) : native_(op.native()) {}    // NOLINT
  comityRedOp_t native() const noexcept { return native_; }

 private:
  comityRedOp_t native_;
};

}  // namespace hpp
}  // namespace comity
