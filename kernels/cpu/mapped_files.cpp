/*
 * The handler of SIGBUS. It runs on whichever thread read the page, in the midst of anything: it
 * calls only what signal-safety(7) allows, and reads a table that others may be writing to.
 */
#include "mapped_files.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <mutex>

#include "../sx_kernels.h"

namespace {

/* Models have some hundred files at most; a longer path is shown by its end. */
constexpr int kMappings = 1024;
constexpr int kPath = 512;
/* EXIT_CODES.file of lib/errors.ts. */
constexpr int kExitCode = 3;

struct Mapping {
  std::atomic<uintptr_t> begin; /* 0: free */
  std::atomic<uintptr_t> end;
  char path[kPath];
};

Mapping mappings[kMappings];
int guarded = 0;
struct sigaction earlier;
std::mutex writing;

void say(const char* text) {
  size_t left = strlen(text);
  while (left > 0) {
    const ssize_t count = write(STDERR_FILENO, text, left);
    if (count <= 0) return;
    text += count;
    left -= static_cast<size_t>(count);
  }
}

void on_bus_error(int number, siginfo_t* info, void* context) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Mapping& mapping : mappings) {
    const uintptr_t begin = mapping.begin.load(std::memory_order_acquire);
    if (begin == 0 || address < begin || address >= mapping.end.load()) continue;
    say("error: Cannot go on with ");
    say(mapping.path);
    say(" as it became shorter, or could not be read, while it was mapped into memory "
        "(--copy_weights reads weights into memory once)\n");
    _exit(kExitCode);
  }
  if ((earlier.sa_flags & SA_SIGINFO) != 0 && earlier.sa_sigaction != nullptr) {
    earlier.sa_sigaction(number, info, context);
  } else if (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN) {
    earlier.sa_handler(number);
  } else {
    /* The same instruction fails again when this returns, and then ends the process. */
    signal(number, SIG_DFL);
  }
}

/* Whether a signal goes to the handler above now. */
bool is_ours() {
  struct sigaction now;
  return sigaction(SIGBUS, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 &&
         now.sa_sigaction == on_bus_error;
}

}  // namespace

int32_t sx_guard_mapping(const void* address, uint64_t bytes, const char* path) {
  if (address == nullptr || bytes == 0 || path == nullptr) return SX_INVALID_ARGUMENT;
  const std::lock_guard<std::mutex> lock(writing);
  for (Mapping& mapping : mappings) {
    if (mapping.begin.load() != 0) continue;
    const size_t length = strlen(path);
    const bool is_long = length >= kPath;
    snprintf(mapping.path, kPath, "%s%s", is_long ? "..." : "",
             is_long ? path + length - (kPath - 4) : path);
    const uintptr_t begin = reinterpret_cast<uintptr_t>(address);
    mapping.end.store(begin + bytes);
    mapping.begin.store(begin, std::memory_order_release);
    guarded++;
    if (!is_ours()) {
      struct sigaction action = {};
      action.sa_sigaction = on_bus_error;
      action.sa_flags = SA_SIGINFO | SA_ONSTACK;
      sigemptyset(&action.sa_mask);
      sigaction(SIGBUS, &action, &earlier);
    }
    return SX_OK;
  }
  return SX_OUT_OF_MEMORY;
}

int32_t sx_release_mapping(const void* address) {
  const std::lock_guard<std::mutex> lock(writing);
  for (Mapping& mapping : mappings) {
    if (address == nullptr || mapping.begin.load() != reinterpret_cast<uintptr_t>(address)) {
      continue;
    }
    mapping.begin.store(0);
    if (--guarded == 0 && is_ours()) sigaction(SIGBUS, &earlier, nullptr);
    return SX_OK;
  }
  return SX_INVALID_ARGUMENT;
}
