// Errors as values: Expected<T> is a value or the Error that says why there is none.
//
// It has the shape of std::expected<T, Error> of C++23, so that a program may move to that. Movable where T
// is, not thread-safe by itself, and must be looked at ([[nodiscard]]). A success of Expected<void> allocates
// nothing.
#pragma once

#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "comity/comity.h"

namespace comity {
inline namespace hpp {

// What comityResult_t and comityGetLastError told.
struct Error {
  comityResult_t code = comityInternalError;
  std::string message;  // which rank, what failed, where, what to try
};

// Thrown by value() alone, where there is none: its what() is the error's sentence.
class BadAccess : public std::runtime_error {
 public:
  explicit BadAccess(const Error& error) : std::runtime_error(error.message), code_(error.code) {}
  comityResult_t code() const noexcept { return code_; }

 private:
  comityResult_t code_;
};

template <typename T>
class [[nodiscard]] Expected {
 public:
  using value_type = T;
  using error_type = Error;

  Expected(T value) : held_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: `return value;`
  Expected(Error error) : held_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: `return error;`

  bool has_value() const noexcept { return held_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  // Undefined where there is no value.
  T& operator*() & { return *std::get_if<0>(&held_); }
  const T& operator*() const& { return *std::get_if<0>(&held_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&held_)); }
  T* operator->() { return std::get_if<0>(&held_); }
  const T* operator->() const { return std::get_if<0>(&held_); }

  // Throw BadAccess where there is none.
  T& value() & { return checked(), **this; }
  const T& value() const& { return checked(), **this; }
  T&& value() && { return checked(), std::move(**this); }
  template <typename U>
  T value_or(U&& other) const& {
    return has_value() ? **this : static_cast<T>(std::forward<U>(other));
  }
  template <typename U>
  T value_or(U&& other) && {
    return has_value() ? std::move(**this) : static_cast<T>(std::forward<U>(other));
  }

  // Undefined where there is a value.
  const Error& error() const& { return *std::get_if<1>(&held_); }
  Error&& error() && { return std::move(*std::get_if<1>(&held_)); }

  // next(value), itself an Expected, or this error.
  template <typename F>
  auto and_then(F&& next) && -> std::invoke_result_t<F, T&&> {
    if (!has_value()) return std::move(*this).error();
    return std::forward<F>(next)(std::move(**this));
  }
  template <typename F>
  auto and_then(F&& next) & -> std::invoke_result_t<F, T&> {
    if (!has_value()) return error();
    return std::forward<F>(next)(**this);
  }

 private:
  void checked() const {
    if (!has_value()) throw BadAccess(error());
  }
  std::variant<T, Error> held_;
};

// Whether it worked, or why not.
template <>
class [[nodiscard]] Expected<void> {
 public:
  using value_type = void;
  using error_type = Error;

  Expected() = default;
  Expected(Error error) : held_(std::move(error)) {}  // NOLINT: `return error;`

  bool has_value() const noexcept { return held_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  // Throws BadAccess where it did not work.
  void value() const {
    if (!has_value()) throw BadAccess(error());
  }
  // Undefined where it worked.
  const Error& error() const& { return *std::get_if<1>(&held_); }
  Error&& error() && { return std::move(*std::get_if<1>(&held_)); }

  // next(), itself an Expected, or this error.
  template <typename F>
  auto and_then(F&& next) const -> std::invoke_result_t<F> {
    if (!has_value()) return error();
    return std::forward<F>(next)();
  }

 private:
  std::variant<std::monostate, Error> held_;
};

namespace detail {

// The error that `result` stands for, with the sentence of `comm` (of this thread where it is NULL).
inline Error error_of(comityResult_t result, comityComm_t comm = COMITY_COMM_NULL) {
  const char* sentence = comityGetLastError(comm);
  if (sentence[0] == '\0' && comm != COMITY_COMM_NULL) sentence = comityGetLastError(COMITY_COMM_NULL);
  return {result, sentence[0] != '\0' ? sentence : comityGetErrorString(result)};
}

// comityInProgress is no error: what was begun goes on behind the caller's back.
inline Expected<void> checked(comityResult_t result, comityComm_t comm = COMITY_COMM_NULL) {
  if (result == comitySuccess || result == comityInProgress) return {};
  return error_of(result, comm);
}

// A question whether something has ended: true, false (comityInProgress), or its error.
inline Expected<bool> answered(comityResult_t result) {
  if (result == comitySuccess || result == comityInProgress) return result == comitySuccess;
  return error_of(result);
}

}  // namespace detail
}  // namespace hpp
}  // namespace comity
