// Errors as values: Status for "did it work", Result<T> for "a value or why not".
//
// An error says who, what, where and what to try in one sentence; whoever first classifies it writes the
// sentence. A success is one null pointer: it allocates nothing and is cheap enough for the hot path.
// Both types are movable and copyable, not thread-safe by themselves, and must be looked at ([[nodiscard]]).
#pragma once

#include <cassert>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace comity {

// Numeric values equal those of the C API's comityResult_t.
enum class Code : uint8_t {
  kSuccess = 0,
  kUnhandledDeviceError = 1,  // a vendor's runtime failed
  kSystemError = 2,           // the operating system refused: memory, sockets, descriptors
  kInternalError = 3,         // a broken invariant of Comity itself
  kInvalidArgument = 4,       // this argument is wrong; the call had no effect
  kInvalidUsage = 5,          // the arguments are right but not now, or ranks disagree
  kRemoteError = 6,           // another rank failed, died or aborted
  kInProgress = 7,            // not an error: not finished yet
  kTimeout = 8,               // a deadline passed
  kUnsupported = 9,           // an absent capability of a transport or device; never leaves the library
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message)
      : error_(std::make_shared<const Error>(Error{code, std::move(message)})) {}

  bool ok() const { return error_ == nullptr; }
  Code code() const { return ok() ? Code::kSuccess : error_->code; }
  // Empty on success. Valid as long as any copy of this Status.
  std::string_view message() const { return ok() ? std::string_view() : std::string_view(error_->message); }
  // The same error, with `where` in front of its message: "<where>: <message>". A success stays a success.
  Status in(std::string_view where) const {
    return ok() ? *this : Status(error_->code, std::string(where) + ": " + error_->message);
  }

 private:
  struct Error {
    Code code;
    std::string message;
  };
  std::shared_ptr<const Error> error_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor): `return value;`
  Result(Status status)
      : status_(std::move(status)) {  // NOLINT(google-explicit-constructor): `return status;`
    assert(!status_.ok());
  }
  Result(Code code, std::string message) : status_(code, std::move(message)) {}

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  // Only when ok().
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return *std::move(value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace comity

// Early return, the only macros of this header. The expression yields a Status or a Result.
#define COMITY_RETURN_IF_ERROR(expression)                                                        \
  do {                                                                                            \
    if (::comity::Status comity_status = (expression); !comity_status.ok()) return comity_status; \
  } while (0)

#define COMITY_CONCAT_INNER(a, b) a##b
#define COMITY_CONCAT(a, b) COMITY_CONCAT_INNER(a, b)

// COMITY_ASSIGN_OR_RETURN(auto x, f()): declares or assigns x, or returns f()'s error.
#define COMITY_ASSIGN_OR_RETURN(lhs, expression) \
  COMITY_ASSIGN_OR_RETURN_IMPL(COMITY_CONCAT(comity_result_, __LINE__), lhs, expression)
#define COMITY_ASSIGN_OR_RETURN_IMPL(result, lhs, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) return result.status();                   \
  lhs = std::move(result).value()
