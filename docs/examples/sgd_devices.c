/* Data-parallel SGD with each rank's gradients on a device of its own: sgd_devices [DEVICE..], by default one
 * rank on the host and one on OpenCL. Linear regression on data that each rank makes; the gradients are
 * summed by an all-reduce in deterministic mode. It trains twice, with all ranks on the host and with the
 * devices given, and ends well if every loss has the same bits. */
#include <comity/comity.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kFeatures = 33, kSamples = 64, kSteps = 25, kMostRanks = 16 };

static void must(comityResult_t result) {
  if (result == comitySuccess) return;
  fprintf(stderr, "%s: %s\n", comityGetErrorString(result), comityGetLastError(NULL));
  exit(1);
}

/* The same numbers on every machine. */
static float next_number(uint32_t* state) {
  *state = *state * 1664525u + 1013904223u;
  return (float)(*state >> 8) / (float)(1 << 24) - 0.5f;
}

struct Rank {
  comityComm_t comm;
  void* sums; /* on the rank's device: the gradient, and the loss behind it */
  float weights[kFeatures], inputs[kSamples][kFeatures], targets[kSamples];
};

static void make_data(struct Rank* rank, uint32_t seed) {
  for (int s = 0; s < kSamples; ++s) {
    rank->targets[s] = 0;
    for (int f = 0; f < kFeatures; ++f) {
      rank->inputs[s][f] = next_number(&seed);
      rank->targets[s] += rank->inputs[s][f] * (float)(f % 5);
    }
  }
  memset(rank->weights, 0, sizeof rank->weights);
}

/* This rank's part of gradient and loss. */
static void differentiate(const struct Rank* rank, float* sums) {
  memset(sums, 0, (kFeatures + 1) * sizeof *sums);
  for (int s = 0; s < kSamples; ++s) {
    float error = -rank->targets[s];
    for (int f = 0; f < kFeatures; ++f) error += rank->weights[f] * rank->inputs[s][f];
    for (int f = 0; f < kFeatures; ++f) sums[f] += error * rank->inputs[s][f];
    sums[kFeatures] += error * error;
  }
}

/* Writes the loss of each step. */
static void train(int nranks, const char* const* devices, float* losses) {
  static struct Rank ranks[kMostRanks];
  comityComm_t comms[kMostRanks];
  float sums[kFeatures + 1];
  must(comityCommInitAll(comms, nranks, NULL));
  for (int r = 0; r < nranks; ++r) {
    ranks[r].comm = comms[r];
    make_data(&ranks[r], (uint32_t)r + 1);
    must(comityMemAllocOn(&ranks[r].sums, sizeof sums, devices[r]));
  }
  for (int step = 0; step < kSteps; ++step) {
    for (int r = 0; r < nranks; ++r) {
      differentiate(&ranks[r], sums);
      must(comityMemCopy(ranks[r].sums, sums, sizeof sums));
    }
    must(comityGroupStart());
    for (int r = 0; r < nranks; ++r)
      must(comityAllReduce(ranks[r].sums, ranks[r].sums, kFeatures + 1, comityFloat32, comityAvg,
                           ranks[r].comm, NULL));
    must(comityGroupEnd());
    for (int r = 0; r < nranks; ++r) {
      must(comityMemCopy(sums, ranks[r].sums, sizeof sums));
      for (int f = 0; f < kFeatures; ++f) ranks[r].weights[f] -= 0.02f * sums[f];
      if (r == 0) losses[step] = sums[kFeatures];
      if (losses[step] != sums[kFeatures]) exit(3); /* ranks that differ */
    }
  }
  for (int r = 0; r < nranks; ++r) {
    must(comityMemFree(ranks[r].sums));
    must(comityCommDestroy(ranks[r].comm));
  }
}

int main(int argc, char** argv) {
  const char* standard[2] = {"host", "opencl"};
  const char* host[kMostRanks];
  const int nranks = argc > 1 ? argc - 1 : 2;
  const char* const* devices = argc > 1 ? (const char* const*)(argv + 1) : standard;
  float alone[kSteps], mixed[kSteps];
  if (nranks > kMostRanks) return 2;
  setenv("COMITY_DETERMINISTIC", "1", 1);
  if (getenv("COMITY_DEVICES") == NULL) setenv("COMITY_DEVICES", "host,opencl", 1);
  for (int r = 0; r < nranks; ++r) host[r] = "host";
  train(nranks, host, alone);
  train(nranks, devices, mixed);
  for (int step = 0; step < kSteps; step += 6)
    printf("step %2d: loss %.9g on the host, %.9g with these devices\n", step, alone[step], mixed[step]);
  const int same = memcmp(alone, mixed, sizeof alone) == 0 && mixed[kSteps - 1] < mixed[0];
  printf("%s\n", same ? "the same bits" : "DIFFERENT");
  return same ? 0 : 1;
}
