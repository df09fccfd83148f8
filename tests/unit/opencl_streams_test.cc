// Calls on a user's own OpenCL command queues: order, asynchrony, errors; and memory of the user's own.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "comity/opencl.h"
#include "src/base/clock.h"
#include "src/device/opencl/library.h"
#include "src/device/runtimes.h"
#include "tests/support/api_calls.h"
#include "tests/support/ranks.h"

namespace comity::test {
namespace {

constexpr size_t kCount = 100'003;
constexpr size_t kBytes = kCount * sizeof(int64_t);

const opencl::Library& cl() {
  return **opencl::library();
}

// A command queue of device 0 in Comity's context, as a program would make it, and a stream over it.
class Queue {
 public:
  Queue() {
    EXPECT_EQ(comityOpenclContext(0, &context_, &device_), comitySuccess) << last();
    queue_ = cl().clCreateCommandQueue(context_, device_, 0, nullptr);
    EXPECT_EQ(comityStreamWrap(&stream_, "opencl", queue_), comitySuccess) << last();
  }
  ~Queue() {
    EXPECT_EQ(comityStreamSynchronize(stream_), synchronizes_);
    EXPECT_EQ(comityStreamDestroy(stream_), comitySuccess);
    cl().clReleaseCommandQueue(queue_);
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  cl_command_queue queue() const { return queue_; }
  comityStream_t stream() const { return stream_; }
  void expect_error(comityResult_t result) { synchronizes_ = result; }

  // Nothing behind it begins before it is released.
  cl_event block() {
    cl_event gate = cl().clCreateUserEvent(context_, nullptr);
    EXPECT_EQ(cl().clEnqueueBarrierWithWaitList(queue_, 1, &gate, nullptr), CL_SUCCESS);
    return gate;
  }
  static void release(cl_event gate) {
    EXPECT_EQ(cl().clSetUserEventStatus(gate, CL_COMPLETE), CL_SUCCESS);
    cl().clReleaseEvent(gate);
  }
  // In the queue's order. The host's memory stays until it is done.
  void write(const void* device, const std::vector<int64_t>& from) {
    EXPECT_EQ(cl().clEnqueueWriteBuffer(queue_, buffer(device), CL_FALSE, 0, kBytes, from.data(), 0, nullptr,
                                        nullptr),
              CL_SUCCESS);
  }
  cl_event read(const void* device, std::vector<int64_t>& to) {
    cl_event done = nullptr;
    EXPECT_EQ(
        cl().clEnqueueReadBuffer(queue_, buffer(device), CL_FALSE, 0, kBytes, to.data(), 0, nullptr, &done),
        CL_SUCCESS);
    EXPECT_EQ(cl().clFlush(queue_), CL_SUCCESS);
    return done;
  }

 private:
  static cl_mem buffer(const void* device) {
    cl_mem buffer = nullptr;
    EXPECT_EQ(comityOpenclBuffer(device, &buffer, nullptr), comitySuccess) << last();
    return buffer;
  }
  cl_context context_ = nullptr;
  cl_device_id device_ = nullptr;
  cl_command_queue queue_ = nullptr;
  comityStream_t stream_ = nullptr;
  comityResult_t synchronizes_ = comitySuccess;
};

bool is_done(cl_event event) {
  cl_int state = CL_QUEUED;
  EXPECT_EQ(cl().clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, nullptr),
            CL_SUCCESS);
  EXPECT_GE(state, 0);
  return state == CL_COMPLETE;
}

bool done_within(cl_event event, uint64_t ms) {
  const Deadline deadline = Deadline::after_ms(ms);
  while (!is_done(event) && !deadline.passed()) std::this_thread::yield();
  const bool done = is_done(event);
  cl().clReleaseEvent(event);
  return done;
}

// A rank's buffer on the device, and what its user's queue writes and reads.
struct Data {
  explicit Data(int64_t value) : source(kCount, value), result(kCount) {
    EXPECT_EQ(comityMemAllocOn(&memory, kBytes, "opencl"), comitySuccess) << last();
  }
  ~Data() { EXPECT_EQ(comityMemFree(memory), comitySuccess) << last(); }
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;
  std::vector<int64_t> source, result;
  void* memory = nullptr;
};

comityResult_t sum_on(const Data& data, comityComm_t comm, comityStream_t stream) {
  return comityAllReduce(data.memory, data.memory, kCount, comityInt64, comitySum, comm, stream);
}

class OpenclStreams : public testing::Test {
 protected:
  void SetUp() override {
    if (!open_runtime("opencl").ok()) GTEST_SKIP() << "needs an OpenCL driver (pocl-opencl-icd)";
  }
};

TEST_F(OpenclStreams, ACallBehindBlockedWorkReturnsAtOnceAndItsResultAppearsAfterTheRelease) {
  Ranks ranks(2), others(2);
  Queue queues[2], free_queues[2];
  Data data[2] = {Data(3), Data(4)}, free_data[2] = {Data(5), Data(6)};
  const cl_event gate = queues[0].block();
  cl_event read[2], free_read[2];
  for (size_t r = 0; r < 2; ++r) {
    queues[r].write(data[r].memory, data[r].source);  // rank 0's is behind the gate
    ASSERT_EQ(sum_on(data[r], ranks.comms[r], queues[r].stream()), comitySuccess) << last();
    read[r] = queues[r].read(data[r].memory, data[r].result);
  }
  EXPECT_EQ(comityStreamQuery(queues[0].stream()), comityInProgress);
  // Other streams of the device go on.
  for (size_t r = 0; r < 2; ++r) {
    free_queues[r].write(free_data[r].memory, free_data[r].source);
    ASSERT_EQ(sum_on(free_data[r], others.comms[r], free_queues[r].stream()), comitySuccess) << last();
    free_read[r] = free_queues[r].read(free_data[r].memory, free_data[r].result);
  }
  for (size_t r = 0; r < 2; ++r) {
    EXPECT_TRUE(done_within(free_read[r], 20'000));
    for (const int64_t value : free_data[r].result) ASSERT_EQ(value, 11);
  }
  EXPECT_FALSE(is_done(read[0]));
  EXPECT_FALSE(is_done(read[1])) << "rank 1 has a result before rank 0 gave its part";
  Queue::release(gate);
  for (size_t r = 0; r < 2; ++r) {
    EXPECT_TRUE(done_within(read[r], 20'000));
    for (const int64_t value : data[r].result) ASSERT_EQ(value, 7);
  }
}

TEST_F(OpenclStreams, CallsOfAGroupOnOneQueueDoNotWaitForEachOther) {
  Ranks first(2), second(2);
  Queue queues[2];
  Data one[2] = {Data(1), Data(2)}, two[2] = {Data(10), Data(20)};
  for (size_t r = 0; r < 2; ++r) {
    queues[r].write(one[r].memory, one[r].source);
    queues[r].write(two[r].memory, two[r].source);
    ASSERT_EQ(comityGroupStart(), comitySuccess);
    // In other orders on the two ranks.
    ASSERT_EQ(sum_on(r == 0 ? one[r] : two[r], (r == 0 ? first : second).comms[r], queues[r].stream()),
              comitySuccess);
    ASSERT_EQ(sum_on(r == 0 ? two[r] : one[r], (r == 0 ? second : first).comms[r], queues[r].stream()),
              comitySuccess);
    ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  }
  for (size_t r = 0; r < 2; ++r) {
    EXPECT_TRUE(done_within(queues[r].read(one[r].memory, one[r].result), 20'000));
    EXPECT_TRUE(done_within(queues[r].read(two[r].memory, two[r].result), 20'000));
    for (const int64_t value : one[r].result) ASSERT_EQ(value, 3);
    for (const int64_t value : two[r].result) ASSERT_EQ(value, 30);
  }
}

TEST_F(OpenclStreams, TheEndOfACallThatFailsLetsTheQueueGoOn) {
  Ranks ranks(2);
  Queue queue;
  Data data(1);
  ASSERT_EQ(sum_on(data, ranks.comms[0], queue.stream()), comitySuccess) << last();
  const cl_event behind = queue.read(data.memory, data.result);
  EXPECT_FALSE(is_done(behind)) << "rank 1 has not come";
  queue.expect_error(comityRemoteError);
  EXPECT_EQ(comityCommAbort(ranks.comms[0]), comitySuccess);
  EXPECT_TRUE(done_within(behind, 20'000));
  EXPECT_EQ(comityCommAbort(ranks.comms[1]), comitySuccess);
  ranks.comms.clear();
}

TEST_F(OpenclStreams, AQueueWaitsForAnEventOfAnotherStreamWithItsUsersWork) {
  Ranks ranks(2);
  Queue queues[2], waiter;
  Data data[2] = {Data(1), Data(2)};
  for (size_t r = 0; r < 2; ++r) queues[r].write(data[r].memory, data[r].source);
  ASSERT_EQ(sum_on(data[0], ranks.comms[0], queues[0].stream()), comitySuccess) << last();
  comityEvent_t event = nullptr;
  ASSERT_EQ(comityEventCreate(&event), comitySuccess);
  ASSERT_EQ(comityEventRecord(event, queues[0].stream()), comitySuccess);
  ASSERT_EQ(comityStreamWaitEvent(waiter.stream(), event), comitySuccess) << last();
  const cl_event read = waiter.read(data[0].memory, data[0].result);
  EXPECT_FALSE(is_done(read));
  ASSERT_EQ(sum_on(data[1], ranks.comms[1], queues[1].stream()), comitySuccess) << last();
  EXPECT_TRUE(done_within(read, 20'000));
  for (const int64_t value : data[0].result) ASSERT_EQ(value, 3);
  EXPECT_EQ(comityEventDestroy(event), comitySuccess);
}

TEST_F(OpenclStreams, WrappingSaysWhatIsWrong) {
  comityStream_t stream = nullptr;
  Queue queue;
  EXPECT_EQ(comityStreamWrap(nullptr, "opencl", queue.queue()), comityInvalidArgument);
  EXPECT_EQ(comityStreamWrap(&stream, "opencl", nullptr), comityInvalidArgument);
  EXPECT_EQ(comityStreamWrap(&stream, nullptr, queue.queue()), comityInvalidArgument);
  EXPECT_EQ(comityStreamWrap(&stream, "gpu", queue.queue()), comityInvalidArgument);
  EXPECT_NE(last().find("opencl:0"), std::string::npos) << last();
  EXPECT_EQ(comityStreamWrap(&stream, "host", queue.queue()), comityInvalidUsage);
  EXPECT_NE(last().find("no streams"), std::string::npos) << last();
  EXPECT_EQ(stream, nullptr);
}

TEST_F(OpenclStreams, BuffersAndPointersOfTheProgramAreMemoryThatCallsTake) {
  cl_context context = nullptr;
  ASSERT_EQ(comityOpenclContext(0, &context, nullptr), comitySuccess) << last();
  cl_mem buffer = cl().clCreateBuffer(context, CL_MEM_READ_WRITE, kBytes, nullptr, nullptr);
  void* shared = cl().clSVMAlloc(context, CL_MEM_READ_WRITE, kBytes, 0);
  void* named = nullptr;
  ASSERT_EQ(comityOpenclName(0, buffer, &named), comitySuccess) << last();
  ASSERT_EQ(comityOpenclAdopt(0, shared, kBytes), comitySuccess) << last();
  std::vector<int64_t> values(kCount, 21), result(kCount);
  for (void* memory : {named, shared})
    ASSERT_EQ(comityMemCopy(memory, values.data(), kBytes), comitySuccess) << last();
  Ranks ranks(2);
  ranks.run([&](int rank, comityComm_t comm) {
    void* memory = rank == 0 ? named : shared;
    EXPECT_EQ(comityAllReduce(memory, memory, kCount, comityInt64, comitySum, comm, nullptr), comitySuccess)
        << last();
  });
  for (void* memory : {named, shared}) {
    ASSERT_EQ(comityMemCopy(result.data(), memory, kBytes), comitySuccess) << last();
    for (const int64_t value : result) ASSERT_EQ(value, 42);
    EXPECT_EQ(comityMemFree(memory), comityInvalidArgument) << "it is the program's";
    EXPECT_EQ(comityOpenclForget(memory), comitySuccess) << last();
    EXPECT_EQ(comityOpenclForget(memory), comityInvalidArgument);
  }
  cl().clReleaseMemObject(buffer);
  cl().clSVMFree(context, shared);
}

TEST_F(OpenclStreams, AContextIsTheProgramsOnlyBeforeTheFirstUse) {
  cl_context context = nullptr;
  cl_device_id id = nullptr;
  ASSERT_EQ(comityOpenclContext(0, &context, &id), comitySuccess) << last();
  cl_context mine = cl().clCreateContext(nullptr, 1, &id, nullptr, nullptr, nullptr);
  EXPECT_EQ(comityOpenclUseContext(0, mine), comityInvalidUsage);
  EXPECT_NE(last().find("in use"), std::string::npos) << last();
  EXPECT_EQ(comityOpenclUseContext(0, context), comitySuccess) << last();
  EXPECT_EQ(comityOpenclUseContext(999, mine), comityInvalidArgument);
  cl().clReleaseContext(mine);
}

}  // namespace
}  // namespace comity::test

int main(int argc, char** argv) {
  ::setenv("COMITY_DEVICES", comity::open_runtime("opencl").ok() ? "host,opencl" : "host", 1);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
