// Sockets whose bytes stay in this process, so that the same bytes arrive at the same polls in every run.
//
// The program is linked with --wrap for the calls by which a transport moves bytes (CMakeLists.txt). Before
// take_over() they go to the kernel. From then on what is sent into one end of a connection lies in memory,
// kPipeBytes at most, until the other end takes it: a send takes what there is room for, a receive what is
// there. What the stand-in itself executes is not counted. One thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace comity::guard {

inline constexpr size_t kPipeBytes = size_t{256} << 10;  // as a kernel's buffers hold about

// Takes over every TCP connection that has both ends in this process; nothing may be under way on any.
// Returns how many there are.
size_t take_over();
// Gives them back to the kernel; what was not received is lost.
void give_back();
// Bytes sent over what was taken over, ever.
uint64_t scripted_bytes();

// Begins and ends counting; what runs between is counted, the stand-in left out.
void count_from_here();
void count_to_here();

}  // namespace comity::guard
