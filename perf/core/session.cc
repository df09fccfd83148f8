#include "perf/core/session.h"

#include <fmt/core.h>

#include <cstdio>
#include <cstring>

#include "perf/core/comm_board.h"
#include "perf/job/affinity.h"
#include "src/api/id_file.h"

namespace comity::perf {
namespace {

Result<comityUniqueId> new_id() {
  comityUniqueId id;
  COMITY_RETURN_IF_ERROR(status_of(comityGetUniqueId(&id), nullptr, "making the unique id"));
  return id;
}

}  // namespace

Result<std::unique_ptr<Session>> Session::of_child(const World& world, const Options& options) {
  std::unique_ptr<Session> session(new Session(world.rank, world.nranks));
  if (options.pin && world.nranks <= machine_core_count()) {
    COMITY_RETURN_IF_ERROR(pin_to_core(allowed_cores()[static_cast<size_t>(world.rank)]));
    session->pinned_ = true;
  }
  COMITY_ASSIGN_OR_RETURN(auto board, SharedBoard::attach(world.board.get(), world.rank, world.nranks));
  session->shared_ = board.get();
  session->board_ = std::move(board);
  COMITY_ASSIGN_OR_RETURN(const comityUniqueId id, session->meet_on_board());
  COMITY_RETURN_IF_ERROR(session->join(id));
  return session;
}

Result<std::unique_ptr<Session>> Session::of_outsider(const Options& options) {
  std::unique_ptr<Session> session(new Session(options.rank, options.nranks));
  if (options.cpu >= 0) {
    COMITY_RETURN_IF_ERROR(pin_to_core(options.cpu));
    session->pinned_ = true;
  }
  if (!options.board_file.empty()) {
    COMITY_ASSIGN_OR_RETURN(auto board,
                            SharedBoard::attach_file(options.board_file, options.rank, options.nranks));
    session->shared_ = board.get();
    session->board_ = std::move(board);
  }
  const bool by_options = !options.id_hex.empty() || !options.id_file.empty() || session->shared_ == nullptr;
  COMITY_ASSIGN_OR_RETURN(const comityUniqueId id,
                          by_options ? session->meet_by_options(options) : session->meet_on_board());
  const Status joined = session->join(id);
  if (options.rank == 0 && !options.id_file.empty()) std::remove(options.id_file.c_str());
  COMITY_RETURN_IF_ERROR(joined);
  if (session->board_ == nullptr) session->board_ = std::make_unique<CommBoard>(session->comm_);
  return session;
}

Result<std::unique_ptr<Session>> Session::of_launcher(const Options& options) {
  std::unique_ptr<Session> session(new Session(0, 1));
  if (options.cpu >= 0) {
    COMITY_RETURN_IF_ERROR(pin_to_core(options.cpu));
    session->pinned_ = true;
  }
  comityComm_t& comm = session->comm_;
  COMITY_RETURN_IF_ERROR(status_of(comityCommInitEnv(&comm), nullptr, "joining as the launcher says"));
  COMITY_RETURN_IF_ERROR(status_of(comityCommUserRank(comm, &session->rank_), comm, "asking for the rank"));
  COMITY_RETURN_IF_ERROR(status_of(comityCommCount(comm, &session->nranks_), comm, "asking for the ranks"));
  if (options.root >= session->nranks_) {
    return Status(Code::kInvalidArgument,
                  fmt::format("-r {}: the launcher started {} ranks", options.root, session->nranks_));
  }
  session->board_ = std::make_unique<CommBoard>(comm);
  return session;
}

Session::~Session() {
  if (comm_ != COMITY_COMM_NULL) comityCommDestroy(comm_);
}

Result<comityUniqueId> Session::meet_on_board() {
  if (rank_ == 0) {
    COMITY_ASSIGN_OR_RETURN(const comityUniqueId id, new_id());
    BoardId bytes;
    static_assert(sizeof bytes == sizeof id.internal);
    std::memcpy(bytes.data(), id.internal, bytes.size());
    shared_->publish_id(bytes);
    return id;
  }
  COMITY_ASSIGN_OR_RETURN(const BoardId bytes, shared_->await_id());
  comityUniqueId id;
  std::memcpy(id.internal, bytes.data(), bytes.size());
  return id;
}

Result<comityUniqueId> Session::meet_by_options(const Options& options) {
  if (!options.id_hex.empty()) return api::id_from_hex(options.id_hex);
  if (rank_ != 0) return api::await_id_file(options.id_file);
  COMITY_ASSIGN_OR_RETURN(const comityUniqueId id, new_id());
  if (!options.id_file.empty()) {
    COMITY_RETURN_IF_ERROR(api::write_id_file(options.id_file, id));
  } else if (nranks_ > 1) {
    fmt::print("# id {}\n", api::hex_of(id));
    std::fflush(stdout);
  }
  return id;
}

Status Session::join(const comityUniqueId& id) {
  return status_of(comityCommInitRank(&comm_, nranks_, id, rank_), nullptr,
                   fmt::format("rank {} joining {} ranks", rank_, nranks_));
}

}  // namespace comity::perf
