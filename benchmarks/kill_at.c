/* Kill a process at its n-th change of files below a folder, in the middle of that change.
 *
 *   cc -shared -fPIC -O2 -o kill_at.so kill_at.c -ldl
 *   LD_PRELOAD=./kill_at.so KILL_BELOW=/folder KILL_AT=17 python ...
 *
 * What is on disk changes only at these calls, so killing at every n from 1 to the number of them
 * (written to KILL_COUNT at the end of a run with KILL_AT=0) is killing at every moment there is.
 * A write is cut in half; every other call is left out.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic long seen;
static const char *below;
static long at;
static size_t length;

__attribute__((constructor)) static void begin(void) {
    const char *n = getenv("KILL_AT");
    below = getenv("KILL_BELOW");
    length = below ? strlen(below) : 0;
    at = n ? atol(n) : 0;
}

__attribute__((destructor)) static void end(void) {
    const char *name = getenv("KILL_COUNT");
    FILE *file = name && below && seen ? fopen(name, "w") : NULL;
    if (file) {
        fprintf(file, "%ld\n", (long)seen);
        fclose(file);
    }
}

static int counts(const char *path) {
    return below && strncmp(path, below, length) == 0 && ++seen == at;
}

static int counts_fd(int fd) {
    char link[64], path[PATH_MAX];
    if (!below) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return counts(path);
}

static void die(void) { kill(getpid(), SIGKILL); pause(); }

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (counts_fd(fd)) { real(fd, data, size / 2); die(); }
    return real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (counts_fd(fd)) { write(fd, parts[0].iov_base, parts[0].iov_len / 2); die(); }
    return real(fd, parts, n);
}

static int creates(int flags) { return flags & (O_CREAT | O_TRUNC); }

static mode_t mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, rest); \
        va_end(rest); \
        if (creates(flags) && counts(path)) die(); \
        return real(path, flags, mode); \
    }

OPEN(open)
OPEN(open64)

#define ON_PATH(name) \
    int name(const char *path) { \
        REAL(int, name, const char *); \
        if (counts(path)) die(); \
        return real(path); \
    }

ON_PATH(unlink)
ON_PATH(rmdir)

int unlinkat(int folder, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    if (counts_fd(folder)) die();
    return real(folder, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    if (counts(path)) die();
    return real(path, mode);
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    if (counts(to)) die();
    return real(from, to);
}

int ftruncate64(int fd, off64_t size) {
    REAL(int, ftruncate64, int, off64_t);
    if (counts_fd(fd)) die();
    return real(fd, size);
}
