/* Preloaded into the processes of the campaign: ends the process inside the k-th fsync or fdatasync,
   before the disk has it. Armed by a call from Python; otherwise it only passes on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

static volatile int left = 0;

void sync_kill_arm(int passes) { left = passes; }

static void count(void) {
    if (left > 0 && __sync_sub_and_fetch(&left, 1) == 0)
        kill(getpid(), SIGKILL);
}

int fsync(int file) {
    count();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file) {
    count();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}
