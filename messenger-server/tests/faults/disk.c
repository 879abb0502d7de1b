/* Loaded before the C library: a disk that fails while a file of the fault's name is in $FAULTS. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int has(const char *fault)
{
    const char *folder = getenv("FAULTS");
    char path[4096];
    if (folder == NULL)
        return 0;
    snprintf(path, sizeof path, "%s/%s", folder, fault);
    return access(path, F_OK) == 0;
}

int fdatasync(int file)
{
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (has("sync")) {
        errno = EIO;
        return -1;
    }
    return sync(file);
}

int fsync(int file)
{
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (has("sync")) {
        errno = EIO;
        return -1;
    }
    return sync(file);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t place)
{
    ssize_t (*write)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    if (has("readonly")) {
        errno = EROFS;
        return -1;
    }
    return write(file, bytes, count, place);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t place)
{
    return pwrite64(file, bytes, count, place);
}
