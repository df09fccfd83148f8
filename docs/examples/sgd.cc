// Data-parallel training: every rank computes the gradient of its part of a batch, an all-reduce adds them
// up, and every rank takes the same step. In deterministic mode the loss is that of one process which
// computes all parts itself and adds them in the order that the mode promises, bit for bit.
//
//   sgd RANKS    the ranks are threads of this process
//   sgd          a rank of the job that a launcher started (mpirun, srun, torchrun, ...)
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include "comity/comity.hpp"

namespace {

constexpr int kInputs = 8, kHidden = 16, kSamplesPerRank = 64, kSteps = 50;
constexpr std::size_t kWeights = kHidden * (kInputs + 2) + 1;
constexpr float kRate = 0.2F;

// The gradient of a part of the batch, and in its last place the part's loss: one all-reduce for both.
using Gradient = std::vector<float>;
using Weights = std::array<float, kWeights>;

struct Sample {
  std::array<float, kInputs> x;
  float y;
};

// What rank `rank` has of the batch of one step.
std::vector<Sample> samples_of(int rank, int step) {
  std::mt19937 random(static_cast<std::uint32_t>(step * 1009 + rank));
  const auto number = [&] { return static_cast<float>(random() % 2001) / 1000.0F - 1.0F; };
  std::vector<Sample> samples(kSamplesPerRank);
  for (Sample& sample : samples) {
    std::generate(sample.x.begin(), sample.x.end(), number);
    sample.y = std::sin(2 * sample.x[0]) + sample.x[1] * sample.x[2];
  }
  return samples;
}

Weights first_weights() {
  std::mt19937 random(7);
  Weights weights;
  for (float& w : weights) w = (static_cast<float>(random() % 2001) / 1000.0F - 1.0F) * 0.5F;
  return weights;
}

// Adds one sample's part to `sum`: a layer of tanh, a linear one, squared error.
void add_gradient(const Weights& w, const Sample& sample, Gradient& sum) {
  constexpr std::size_t kStride =
      kInputs + 2;  // of a hidden unit: its inputs' weights, its bias, its way out
  std::array<float, kHidden> hidden;
  float out = w[kWeights - 1];
  for (std::size_t h = 0; h < kHidden; ++h) {
    float in = w[h * kStride + kInputs];
    for (std::size_t i = 0; i < kInputs; ++i) in += w[h * kStride + i] * sample.x[i];
    hidden[h] = std::tanh(in);
    out += w[h * kStride + kInputs + 1] * hidden[h];
  }
  const float error = out - sample.y;
  for (std::size_t h = 0; h < kHidden; ++h) {
    const float back = error * w[h * kStride + kInputs + 1] * (1 - hidden[h] * hidden[h]);
    for (std::size_t i = 0; i < kInputs; ++i) sum[h * kStride + i] += back * sample.x[i];
    sum[h * kStride + kInputs] += back;
    sum[h * kStride + kInputs + 1] += error * hidden[h];
  }
  sum[kWeights - 1] += error;
  sum[kWeights] += error * error / 2;
}

Gradient gradient_of(const Weights& weights, int rank, int step) {
  Gradient sum(kWeights + 1, 0.0F);
  for (const Sample& sample : samples_of(rank, step)) add_gradient(weights, sample, sum);
  return sum;
}

// Takes a step along the gradient of the whole batch; returns the loss before it.
float take_step(Weights& weights, const Gradient& sum, int nranks) {
  const auto samples = static_cast<float>(nranks * kSamplesPerRank);
  for (std::size_t i = 0; i < kWeights; ++i) weights[i] -= kRate * sum[i] / samples;
  return sum[kWeights] / samples;
}

std::vector<float> train_together(comity::Communicator& comm) {
  Weights weights = first_weights();
  std::vector<float> losses;
  for (int step = 0; step < kSteps; ++step) {
    Gradient sum = gradient_of(weights, comm.rank(), step);
    comm.all_reduce(sum).value();
    losses.push_back(take_step(weights, sum, comm.nranks()));
  }
  return losses;
}

// The order that deterministic mode promises: a balanced binary tree over the ranks first .. first + n - 1,
// cut at the largest power of two below n.
Gradient fold(const std::vector<Gradient>& parts, std::size_t first, std::size_t n) {
  if (n == 1) return parts[first];
  const std::size_t lower = std::bit_floor(n - 1);
  Gradient sum = fold(parts, first, lower);
  const Gradient other = fold(parts, first + lower, n - lower);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
  return sum;
}

std::vector<float> train_alone(int nranks) {
  Weights weights = first_weights();
  std::vector<float> losses;
  for (int step = 0; step < kSteps; ++step) {
    std::vector<Gradient> parts;
    for (int rank = 0; rank < nranks; ++rank) parts.push_back(gradient_of(weights, rank, step));
    losses.push_back(take_step(weights, fold(parts, 0, parts.size()), nranks));
  }
  return losses;
}

// 0 if both runs have the same bits at every step and learned something.
int compare(const std::vector<float>& together, int nranks) {
  const std::vector<float> alone = train_alone(nranks);
  std::size_t differing = 0;
  for (std::size_t step = 0; step < alone.size(); ++step) {
    differing += std::bit_cast<std::uint32_t>(together[step]) != std::bit_cast<std::uint32_t>(alone[step]);
    if (step % 10 == 0 || step + 1 == alone.size()) {
      std::printf("step %2zu  loss of %d ranks %a  alone %a\n", step, nranks, together[step], alone[step]);
    }
  }
  std::printf("%zu of %zu steps differ; the loss fell from %g to %g\n", differing, alone.size(),
              alone.front(), alone.back());
  return differing == 0 && alone.back() < alone.front() / 2 ? 0 : 1;
}

int with_threads(int nranks) {
  auto comms = comity::Communicator::init_all(nranks).value();
  std::vector<std::vector<float>> losses(comms.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < comms.size(); ++i) {
    threads.emplace_back([&, i] { losses[i] = train_together(comms[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  return compare(losses.front(), nranks);
}

int with_launcher() {
  comity::Communicator comm = comity::Communicator::init_env().value();
  const std::vector<float> losses = train_together(comm);
  return comm.rank() == 0 ? compare(losses, comm.nranks()) : 0;
}

}  // namespace

int main(int argc, char** argv) {
  setenv("COMITY_DETERMINISTIC", "1", 1);  // or comity::Config::deterministic, for one communicator alone
  const int nranks = argc > 1 ? std::atoi(argv[1]) : 0;
  try {
    return nranks > 0 ? with_threads(nranks) : with_launcher();
  } catch (const comity::BadAccess& error) {
    std::fprintf(stderr, "sgd: %s\n", error.what());
    return 1;
  }
}
