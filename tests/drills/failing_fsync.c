/* Loaded before the C library, this makes fsync and fdatasync fail with EIO for files whose path has the text in the
   file that DRILL_EIO_FILE names; without that file, all is as ever. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int struck(int fd)
{
    char wanted[256], name[64], path[4096];
    const char *order = getenv("DRILL_EIO_FILE");
    int file = order ? open(order, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return 0;
    ssize_t size = read(file, wanted, sizeof wanted - 1);
    close(file);
    if (size <= 0)
        return 0;
    wanted[size] = 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    size = readlink(name, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return strstr(path, wanted) != NULL;
}

static int fails(int fd)
{
    int kept = errno;
    int found = struck(fd);
    errno = found ? EIO : kept;
    return found;
}

int fsync(int fd) { return fails(fd) ? -1 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd); }
