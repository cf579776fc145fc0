// Counts a process's calls that touch a folder, and at one of them ends the process or fails.
//
// Loaded in front of the C library (LD_PRELOAD). Variables of the environment:
//   TORTURE_FOLDER  the folder, without a slash at its end
//   TORTURE_LOG     gets a line for each call: its number, its name, the path
//   TORTURE_AT      the number of the call at which something happens, from 1 on; 0 for none
//   TORTURE_MEMORY  the number of the CPU library's request for memory that is refused, from 1 on; 0
//                   only writes them to the log
//   TORTURE_RANK    the rank whose requests for memory are counted; -1 for all processes
//   TORTURE_HOW     before, half, after: the process is killed there, `half` after half of a write;
//                   or a number: the call fails with this errno
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>

namespace {

constexpr size_t kPath = 4096;

struct Settings {
  char folder[kPath] = "";
  long at = 0;
  char how[16] = "";
  int log = -1;
};

const Settings& settings() {
  static const Settings made = [] {
    Settings s;
    const char* folder = getenv("TORTURE_FOLDER");
    const char* at = getenv("TORTURE_AT");
    const char* how = getenv("TORTURE_HOW");
    const char* log = getenv("TORTURE_LOG");
    if (folder) snprintf(s.folder, sizeof s.folder, "%s", folder);
    if (at) s.at = atol(at);
    if (how) snprintf(s.how, sizeof s.how, "%s", how);
    if (log)
      s.log = static_cast<int>(
          syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    return s;
  }();
  return made;
}

std::atomic<long> calls{0};

[[noreturn]] void die() {
  syscall(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

/** Whether a path is the folder or lies in it; it is made absolute. */
bool touches(const char* path, char* whole) {
  if (path == nullptr) return false;
  if (path[0] == '/') {
    snprintf(whole, kPath, "%s", path);
  } else {
    if (getcwd(whole, kPath) == nullptr) return false;
    const size_t length = strlen(whole);
    if (strcmp(path, ".") != 0) snprintf(whole + length, kPath - length, "/%s", path);
  }
  const char* folder = settings().folder;
  const size_t length = strlen(folder);
  return length > 0 && strncmp(whole, folder, length) == 0 &&
         (whole[length] == '/' || whole[length] == '\0');
}

bool touches(int fd, char* whole) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, whole, kPath - 1);
  // Pipes and the like have no path.
  if (length <= 0 || whole[0] != '/') return false;
  whole[length] = '\0';
  char path[kPath];
  snprintf(path, sizeof path, "%s", whole);
  return touches(path, whole);
}

/** A call that touches the folder: what happens before and behind it. */
class Call {
 public:
  template <typename Place>
  Call(const char* name, Place place) {
    const int before = errno;
    char path[kPath];
    if (settings().folder[0] != '\0' && touches(place, path)) {
      number_ = ++calls;
      if (settings().log >= 0) {
        char line[kPath + 64];
        const int length = snprintf(line, sizeof line, "%ld %s %s\n", number_, name, path);
        (void)!syscall(SYS_write, settings().log, line, static_cast<size_t>(length));
      }
      if (is("before")) die();
    }
    errno = before;
  }

  bool is(const char* how) const {
    return number_ > 0 && number_ == settings().at && strcmp(settings().how, how) == 0;
  }

  /** Whether the call has to fail; errno is set then. */
  bool fails() const {
    if (number_ == 0 || number_ != settings().at) return false;
    const int code = atoi(settings().how);
    if (code > 0) errno = code;
    return code > 0;
  }

  template <typename Result>
  Result done(Result result) const {
    if (is("after")) die();
    return result;
  }

 private:
  long number_ = 0;
};

template <typename Function>
Function next(const char* name, Function) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

const char* openName(int flags) {
  return (flags & O_CREAT) != 0            ? "create"
         : (flags & O_ACCMODE) != O_RDONLY ? "open_write"
                                           : "open_read";
}

mode_t modeOf(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

}  // namespace

#define NEXT(name) static const auto real = next(#name, &name)

#define OPEN(name)                                        \
  extern "C" int name(const char* path, int flags, ...) { \
    va_list arguments;                                    \
    va_start(arguments, flags);                           \
    const mode_t mode = modeOf(flags, arguments);         \
    va_end(arguments);                                    \
    NEXT(name);                                           \
    const Call call(openName(flags), path);               \
    if (call.fails()) return -1;                          \
    return call.done(real(path, flags, mode));            \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                  \
  extern "C" int name(int folder, const char* path, int flags, ...) { \
    va_list arguments;                                                \
    va_start(arguments, flags);                                       \
    const mode_t mode = modeOf(flags, arguments);                     \
    va_end(arguments);                                                \
    NEXT(name);                                                       \
    const Call call(openName(flags), path);                           \
    if (call.fails()) return -1;                                      \
    return call.done(real(folder, path, flags, mode));                \
  }
OPENAT(openat)
OPENAT(openat64)

extern "C" ssize_t write(int fd, const void* bytes, size_t count) {
  NEXT(write);
  const Call call("write", fd);
  if (call.fails()) return -1;
  if (call.is("half")) {
    (void)!real(fd, bytes, count / 2);
    die();
  }
  return call.done(real(fd, bytes, count));
}

extern "C" ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t at) {
  NEXT(pwrite64);
  const Call call("write", fd);
  if (call.fails()) return -1;
  if (call.is("half")) {
    (void)!real(fd, bytes, count / 2, at);
    die();
  }
  return call.done(real(fd, bytes, count, at));
}

extern "C" ssize_t writev(int fd, const iovec* parts, int count) {
  NEXT(writev);
  const Call call("write", fd);
  if (call.fails()) return -1;
  return call.done(real(fd, parts, count));
}

extern "C" ssize_t read(int fd, void* bytes, size_t count) {
  NEXT(read);
  const Call call("read", fd);
  if (call.fails()) return -1;
  return call.done(real(fd, bytes, count));
}

// One argument, a descriptor or a path.
#define UNARY(name, shown, type, ...)           \
  extern "C" int name(type place) __VA_ARGS__ { \
    NEXT(name);                                 \
    const Call call(shown, place);              \
    if (call.fails()) return -1;                \
    return call.done(real(place));              \
  }
UNARY(fsync, "fsync", int)
UNARY(fdatasync, "fdatasync", int)
UNARY(unlink, "unlink", const char*, noexcept)
UNARY(rmdir, "rmdir", const char*, noexcept)

#define BINARY(name, shown, type, second, ...)                \
  extern "C" int name(type place, second value) __VA_ARGS__ { \
    NEXT(name);                                               \
    const Call call(shown, place);                            \
    if (call.fails()) return -1;                              \
    return call.done(real(place, value));                     \
  }
BINARY(ftruncate, "truncate", int, off_t, noexcept)
BINARY(ftruncate64, "truncate", int, off64_t, noexcept)
BINARY(mkdir, "mkdir", const char*, mode_t, noexcept)
BINARY(rename, "rename", const char*, const char*, noexcept)

extern "C" int unlinkat(int folder, const char* path, int flags) noexcept {
  NEXT(unlinkat);
  const Call call("unlink", path);
  if (call.fails()) return -1;
  return call.done(real(folder, path, flags));
}

extern "C" DIR* opendir(const char* path) {
  NEXT(opendir);
  const Call call("list", path);
  if (call.fails()) return nullptr;
  return call.done(real(path));
}

namespace {

/** Whether this is the rank whose memory is counted. */
bool isCountedRank() {
  static const bool is = [] {
    const char* rank = getenv("TORTURE_RANK");
    if (rank == nullptr) return false;
    if (strcmp(rank, "-1") == 0) return true;
    char line[kPath] = "";
    const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY));
    const long length = syscall(SYS_read, fd, line, sizeof line - 1);
    syscall(SYS_close, fd);
    char wanted[32];
    snprintf(wanted, sizeof wanted, "--rank=%s", rank);
    for (long at = 0; at < length; at += static_cast<long>(strlen(line + at)) + 1) {
      if (strcmp(line + at, wanted) == 0) return true;
    }
    return false;
  }();
  return is;
}

/** Whether a request for memory is the one that is refused. */
bool isRefused(const void* caller, size_t bytes) {
  static std::atomic<long> requests{0};
  Dl_info info;
  if (!isCountedRank() || dladdr(caller, &info) == 0 || info.dli_fname == nullptr) return false;
  if (strstr(info.dli_fname, "libsx_cpu") == nullptr) return false;
  const long number = ++requests;
  char line[64];
  const int length = snprintf(line, sizeof line, "%ld memory %zu\n", number, bytes);
  if (settings().log >= 0)
    (void)!syscall(SYS_write, settings().log, line, static_cast<size_t>(length));
  const char* at = getenv("TORTURE_MEMORY");
  return at != nullptr && atol(at) == number;
}

}  // namespace

extern "C" void* aligned_alloc(size_t alignment, size_t bytes) noexcept {
  NEXT(aligned_alloc);
  return isRefused(__builtin_return_address(0), bytes) ? nullptr : real(alignment, bytes);
}

extern "C" void* mmap(void* address, size_t bytes, int access, int flags, int fd,
                      off_t at) noexcept {
  const bool isMemory = fd == -1 && (flags & MAP_ANONYMOUS) != 0;
  if (isMemory && isRefused(__builtin_return_address(0), bytes)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, bytes, access, flags, fd, at));
}
