// The kernels' text by the real run-time compiler of NVIDIA's toolkit, where that is. In a program of its
// own: the compiler looks for a driver, and would find a fake.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iterator>
#include <string>

#include "src/device/dialect/dialect.h"

namespace comity::test {
namespace {

// The compiler of NVIDIA's toolkit needs no GPU.
TEST(DialectKernels, CompileByTheRealCompiler) {
  const char* file = std::getenv("COMITY_TEST_NVRTC");
  const std::string path = file != nullptr ? file : "/usr/local/cuda/lib64/libnvrtc.so";
  dialect::Dialect cuda = dialect::dialects()[0];
  cuda.compiler_libraries[0] = path.c_str();
  for (size_t i = 1; i < std::size(cuda.compiler_libraries); ++i) cuda.compiler_libraries[i] = nullptr;
  const auto image = dialect::compile_kernels(cuda);
  if (!image.ok() && image.status().code() == Code::kUnsupported)
    GTEST_SKIP() << "needs NVRTC (the CUDA toolkit)";
  ASSERT_TRUE(image.ok()) << image.status().message();
  EXPECT_NE(image->find(".entry reduce_e5m2("), std::string::npos);
  EXPECT_EQ(image->find("fma"), std::string::npos) << "a multiplication is fused with an addition";
  EXPECT_EQ(image->find("ftz"), std::string::npos) << "subnormals are not kept";
}

}  // namespace
}  // namespace comity::test
