// The async proxy, through which warpgroup products read shared memory: it sees what a thread's
// asynchronous copies wrote only after that thread's fence. Ordinary stores are not followed.
#pragma once

namespace emulation {

// The running thread has written up to 16 bytes of shared memory, inside one vector.
void note_write(const void* shared);
void fence_async_proxy();

// Ends the program when the 16 bytes at `shared` were written and not fenced.
void check_fenced(const void* shared);

// The thread has exited.
void forget_writes(int thread);

}  // namespace emulation
