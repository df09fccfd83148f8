// What brute force explores: a plan's steps, tile by tile, as jobs over concrete memory. Private to
// brute_force.cc.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "src/plan/plan.h"

namespace comity::test::world {

using plan::ChunkRun;
using plan::Part;
using plan::Plan;
using plan::Shape;
using plan::Space;
using plan::Step;
using plan::StepKind;

// Content of a chunk, written out and numbered: equal text, equal number. 0 is undefined.
class Contents {
 public:
  struct Content {
    std::string text;
    std::map<std::string, int> leaves;  // contribution -> how often
    int divisions = 0;
    bool divided_whole = true;  // every division had all contributions below it
  };

  Contents() { contents_.push_back({"?", {{"?", 1}}, 0, true}); }
  int leaf(const std::string& name) { return number({name, {{name, 1}}, 0, true}); }
  int fold(const std::vector<int>& sources, bool divide, size_t whole) {
    if (sources.size() == 1 && !divide) return sources[0];
    Content content{"(", {}, 0, true};
    for (const int source : sources) {
      const Content& part = contents_[static_cast<size_t>(source)];
      content.text += (content.text.size() > 1 ? "+" : "") + part.text;
      for (const auto& [name, times] : part.leaves) content.leaves[name] += times;
      content.divisions += part.divisions;
      content.divided_whole = content.divided_whole && part.divided_whole;
    }
    content.text += divide ? ")/p" : ")";
    if (divide) {
      ++content.divisions;
      content.divided_whole = content.divided_whole && content.leaves.size() == whole;
    }
    return number(std::move(content));
  }
  const Content& operator[](int id) const { return contents_[static_cast<size_t>(id)]; }

 private:
  int number(Content content) {
    const auto [found, fresh] = numbers_.try_emplace(content.text, static_cast<int>(contents_.size()));
    if (fresh) contents_.push_back(std::move(content));
    return found->second;
  }
  std::vector<Content> contents_;
  std::map<std::string, int> numbers_;
};

struct Place {
  int buffer = 0;  // 0 input, 1 output, 2 scratch, 3 landing
  uint32_t tile = 0, a = 0, b = 0, chunk = 0;
  auto operator<=>(const Place&) const = default;
};

// One step of one tile of one rank.
struct Job {
  const Step* step = nullptr;
  uint32_t rank = 0, lane = 0, index = 0, tile = 0;
  std::vector<size_t> waits_for;  // jobs that end before this begins
  std::optional<size_t> follows;  // job that begins before this begins
  std::optional<size_t> partner;  // recv: its send; send: its recv
  std::optional<size_t> previous_of_channel;
  std::vector<std::vector<Place>> reads;
  std::vector<Place> writes;
  std::vector<std::vector<uint32_t>> read_cells;  // the same, as indexes into State::memory
  std::vector<uint32_t> write_cells;
};

struct State {
  std::vector<char> phase;  // by job: 0 not begun, 1 at work, 2 ended
  std::vector<int> memory;
  std::vector<std::vector<int>> held;  // by job: what it read, until its writing or its receiver's

  std::string key() const {
    std::string text(phase.begin(), phase.end());
    text.append(reinterpret_cast<const char*>(memory.data()), memory.size() * sizeof(int));
    for (const auto& contents : held) {
      text += static_cast<char>(contents.size());
      text.append(reinterpret_cast<const char*>(contents.data()), contents.size() * sizeof(int));
    }
    return text;
  }
};

// Everything that can be said before anything moves. found() is set if that is already a fault.
class World {
 public:
  World(const Plan& plan, bool in_place, uint32_t tiles)
      : shape_(plan.shape),
        in_place_(in_place),
        tiles_(plan.shape.collective == Collective::kBarrier ? 1 : tiles) {
    if (plan.parts.size() != shape_.nranks) fault("as many parts as ranks");
    for (const Part& part : plan.parts) parts_.push_back(plan::expand(part));
    for (uint32_t rank = 0; rank < parts_.size() && !fault_; ++rank) add_rank(rank);
    if (!fault_) pair_messages();
    if (!fault_) fill();
  }

  const std::optional<std::string>& found() const { return fault_; }

 protected:
  void fault(std::string what) {
    if (!fault_) fault_ = (in_place_ ? "in place: " : "out of place: ") + std::move(what);
  }

  void fault_at(const Job& job, std::string_view what) {
    fault(fmt::format("rank {} lane {} step {}: {}", job.rank, job.lane, job.index, what));
  }

  bool has_input(uint32_t rank) const {
    return shape_.collective != Collective::kBarrier &&
           (!gives_from_root(shape_.collective) || rank == shape_.root);
  }

  bool has_output(uint32_t rank) const {
    return shape_.collective != Collective::kBarrier &&
           (!takes_to_root(shape_.collective) || rank == shape_.root);
  }

  uint32_t inputs() const { return has_input_blocks(shape_.collective) ? shape_.nranks : 1; }

  uint32_t outputs() const { return has_output_blocks(shape_.collective) ? shape_.nranks : 1; }

  // In place all blocks live in buffer 0: of the output where it has more of them, else of the input.
  Place user_place(uint32_t rank, bool output, uint32_t block, uint32_t chunk, uint32_t tile) const {
    if (!in_place_) return {output ? 1 : 0, tile, block, 0, chunk};
    if (has_output_blocks(shape_.collective)) return {0, tile, output ? block : rank, 0, chunk};
    if (has_input_blocks(shape_.collective)) return {0, tile, output ? rank : block, 0, chunk};
    return {0, tile, 0, 0, chunk};
  }

  void judge_content(uint32_t rank, uint32_t block, uint32_t chunk, uint32_t tile, int id) {
    const Contents::Content& content = contents_[id];
    std::map<std::string, int> wanted;
    switch (shape_.collective) {
      case Collective::kAllReduce:
      case Collective::kReduce:
      case Collective::kReduceScatter:
        for (uint32_t other = 0; other < shape_.nranks; ++other) {
          wanted[leaf_name(other, shape_.collective == Collective::kReduceScatter ? rank : 0, chunk, tile)] =
              1;
        }
        break;
      case Collective::kBroadcast:
        wanted[leaf_name(shape_.root, 0, chunk, tile)] = 1;
        break;
      case Collective::kAllGather:
        wanted[leaf_name(block, 0, chunk, tile)] = 1;
        break;
      case Collective::kGather:
        wanted[leaf_name(block, 0, chunk, tile)] = 1;
        break;
      case Collective::kScatter:
        wanted[leaf_name(shape_.root, rank, chunk, tile)] = 1;
        break;
      case Collective::kAllToAll:
        wanted[leaf_name(block, rank, chunk, tile)] = 1;
        break;
      default:
        return;
    }
    const bool divides = is_reduction(shape_.collective) && shape_.nranks > 1;
    const bool right = content.leaves == wanted && content.divided_whole &&
                       (divides ? content.divisions == 1 : content.divisions <= 1);
    if (!right)
      fault(fmt::format("rank {} block {} chunk {} tile {} ends as {}", rank, block, chunk, tile,
                        content.text));
  }

  const Shape& shape_;
  bool in_place_;
  uint32_t tiles_;
  std::vector<Job> jobs_;
  Contents contents_;
  State start_;
  std::optional<std::string> fault_;
  std::map<std::pair<uint32_t, Place>, uint32_t> cells_;  // of each rank's places, in State::memory

 private:
  static bool same_place(ChunkRun a, const ChunkRun& b) {
    a.partial = b.partial;  // says what lies there, not where
    return a == b;
  }

  std::vector<Place> places(const Job& job, const ChunkRun& run, bool writes) {
    std::vector<Place> result;
    const Part& part = parts_[job.rank];
    const auto chunks = static_cast<uint32_t>(shape_.weights.size());
    if (run.count == 0 || run.first >= chunks || run.count > chunks - run.first)
      fault_at(job, "chunks outside the tile");
    if (run.space == Space::kInput && (writes || !has_input(job.rank) || run.block >= inputs()))
      fault_at(job, "not its input");
    if (run.space == Space::kOutput && (!has_output(job.rank) || run.block >= outputs()))
      fault_at(job, "not its output");
    if (run.space == Space::kScratch && run.block >= shape_.scratch_slots) fault_at(job, "no such slot");
    if (run.space == Space::kReceived && writes &&
        (job.step->kind != StepKind::kRecv || run.block != job.index)) {
      fault_at(job, "lands elsewhere");
    }
    if (run.space == Space::kReceived && !writes) {
      const auto& steps = part.lanes[job.lane].steps;
      if (run.block >= job.index || steps[run.block].kind != StepKind::kRecv ||
          steps[run.block].dst.size() != 1 || !same_place(steps[run.block].dst[0], run)) {
        fault_at(job, "nothing landed there");
      }
    }
    if (fault_) return result;
    const uint32_t window = job.tile % shape_.window;
    for (uint32_t chunk = run.first; chunk < run.first + run.count; ++chunk) {
      switch (run.space) {
        case Space::kInput:
          result.push_back(user_place(job.rank, false, run.block, chunk, job.tile));
          break;
        case Space::kOutput:
          result.push_back(user_place(job.rank, true, run.block, chunk, job.tile));
          break;
        case Space::kScratch:
          result.push_back({2, window, run.block, 0, chunk});
          break;
        case Space::kReceived:
          result.push_back({3, window, job.lane, run.block, chunk});
          break;
      }
    }
    return result;
  }

  void add_rank(uint32_t rank) {
    if (parts_[rank].rank != rank) return fault("a part under another rank's number");
    const auto& lanes = parts_[rank].lanes;
    for (uint32_t tile = 0; tile < tiles_; ++tile) {
      for (uint32_t lane = 0; lane < lanes.size(); ++lane) {
        for (uint32_t index = 0; index < lanes[lane].steps.size(); ++index) {
          Job job;
          job.step = &lanes[lane].steps[index];
          job.rank = rank;
          job.lane = lane;
          job.index = index;
          job.tile = tile;
          number_[{rank, tile, lane, index}] = jobs_.size();
          jobs_.push_back(std::move(job));
        }
      }
    }
    for (Job& job : jobs_) {
      if (job.rank == rank && !fault_) link(job);
    }
  }

  void link(Job& job) {
    const auto& lanes = parts_[job.rank].lanes;
    const auto steps = static_cast<uint32_t>(lanes[job.lane].steps.size());
    if (job.index > 0) {
      job.follows = number_.at({job.rank, job.tile, job.lane, job.index - 1});
    } else if (job.tile > 0) {
      job.follows = number_.at({job.rank, job.tile - 1, job.lane, steps - 1});
    }
    for (const plan::After& after : job.step->after) {
      if (after.in_place_only && !in_place_) continue;
      const auto found = number_.find({job.rank, job.tile, after.lane, after.step});
      if (found == number_.end()) return fault_at(job, "waits for a step that does not exist");
      job.waits_for.push_back(found->second);
    }
    if (job.tile >= shape_.window) {
      for (size_t other = 0; other < jobs_.size(); ++other) {
        if (jobs_[other].rank == job.rank && jobs_[other].tile == job.tile - shape_.window)
          job.waits_for.push_back(other);
      }
    }
    check_form(job);
    size_t length = 0;
    for (const ChunkRun& run : job.step->src) job.reads.push_back(places(job, run, false));
    for (const ChunkRun& run : job.step->dst) job.writes = places(job, run, true);
    if (fault_) return;
    length = job.reads.empty() ? job.writes.size() : job.reads[0].size();
    for (const auto& read : job.reads) {
      if (read.size() != length || read.front().chunk != job.reads[0].front().chunk)
        fault_at(job, "lengths differ");
    }
    if (job.step->dst.size() == 1 && !job.reads.empty() &&
        (job.writes.size() != length || job.writes.front().chunk != job.reads[0].front().chunk)) {
      fault_at(job, "lengths differ");
    }
  }

  void check_form(const Job& job) {
    const Step& step = *job.step;
    const bool edge = step.kind == StepKind::kSend || step.kind == StepKind::kRecv;
    const size_t sources = step.src.size(), destinations = step.dst.size();
    if (edge && (step.peer >= shape_.nranks || step.peer == job.rank)) fault_at(job, "no such peer");
    if (step.kind == StepKind::kSend && (sources != 1 || destinations != 0))
      fault_at(job, "not a send's form");
    if (step.kind == StepKind::kRecv && (sources != 0 || destinations != 1))
      fault_at(job, "not a receive's form");
    if (step.kind == StepKind::kCopy && (sources != 1 || destinations != 1))
      fault_at(job, "not a copy's form");
    if (step.kind == StepKind::kReduce && (sources < 1 || destinations != 1))
      fault_at(job, "not a reduction's form");
    if (step.kind == StepKind::kReduce && !is_reduction(shape_.collective))
      fault_at(job, "nothing to reduce with");
    if (step.kind == StepKind::kGroup) fault_at(job, "a group inside a group");
  }

  void pair_messages() {
    std::map<std::tuple<uint32_t, uint32_t, uint32_t>, std::pair<std::vector<size_t>, std::vector<size_t>>>
        channels;
    for (size_t job = 0; job < jobs_.size(); ++job) {
      const Job& here = jobs_[job];
      if (here.step->kind == StepKind::kSend)
        channels[{here.rank, here.step->peer, here.lane}].first.push_back(job);
      if (here.step->kind == StepKind::kRecv)
        channels[{here.step->peer, here.rank, here.lane}].second.push_back(job);
    }
    for (auto& [key, ends] : channels) {
      if (ends.first.size() != ends.second.size()) return fault("as many sends as receives");
      for (size_t i = 0; i < ends.first.size(); ++i) {
        Job& send = jobs_[ends.first[i]];
        Job& recv = jobs_[ends.second[i]];
        if (!(send.step->src[0].first == recv.step->dst[0].first &&
              send.step->src[0].count == recv.step->dst[0].count)) {
          return fault_at(recv, "receives another length than was sent");
        }
        send.partner = ends.second[i];
        recv.partner = ends.first[i];
        if (i > 0) send.previous_of_channel = ends.first[i - 1];
      }
    }
  }

  std::string leaf_name(uint32_t rank, uint32_t block, uint32_t chunk, uint32_t tile) const {
    return fmt::format("r{}b{}c{}t{}", rank, block, chunk, tile);
  }

  void fill() {
    start_.phase.assign(jobs_.size(), 0);
    start_.held.resize(jobs_.size());
    for (Job& job : jobs_) {
      for (const Place& place : job.writes) job.write_cells.push_back(cell(job.rank, place));
      for (const auto& read : job.reads) {
        auto& cells = job.read_cells.emplace_back();
        for (const Place& place : read) cells.push_back(cell(job.rank, place));
      }
    }
    for (uint32_t rank = 0; rank < shape_.nranks; ++rank) {
      for (uint32_t tile = 0; has_input(rank) && tile < tiles_; ++tile) {
        for (uint32_t block = 0; block < inputs(); ++block) {
          for (uint32_t chunk = 0; chunk < shape_.weights.size(); ++chunk) {
            const uint32_t at = cell(rank, user_place(rank, false, block, chunk, tile));
            start_.memory[at] = contents_.leaf(leaf_name(rank, block, chunk, tile));
          }
        }
      }
    }
  }

  uint32_t cell(uint32_t rank, const Place& place) {
    const auto [found, fresh] =
        cells_.try_emplace({rank, place}, static_cast<uint32_t>(start_.memory.size()));
    if (fresh) start_.memory.push_back(0);
    return found->second;
  }

  std::vector<Part> parts_;
  std::map<std::tuple<uint32_t, uint32_t, uint32_t, uint32_t>, size_t> number_;
};

}  // namespace comity::test::world
