// Asynchronous copies as late as the device may be: the destination holds garbage from the start of
// a copy until its thread waits for it. So whoever still reads the old contents (a missing
// barrier), or reads the new ones too early (a missing wait or commit), gets a wrong result.
#pragma once

namespace emulation {

// Copies `bytes`, or writes as many zeros when not `valid`, from global to shared memory.
void start_copy(void* shared, const void* global, int bytes, bool valid);
void commit_copies();
void wait_for_copies(int groups_under_way);

// The thread has exited; what it didn't wait for never arrives.
void forget_copies(int thread);

}  // namespace emulation
