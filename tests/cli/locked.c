// Leaves while a lock of its own slot belongs, for ever, to whoever holds the session's first slot.
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    sigset_t set;
    sigemptyset(&set);
    for (int signal = SIGRTMIN; signal <= SIGRTMIN + 12; signal += 3)
        sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, NULL);
    uint64_t blocked;
    memcpy(&blocked, &set, sizeof blocked);
    raise(SIGRTMIN); // now the slot is in use

    char line[512];
    int damaged = 0; // also a word that only looks like the slot's
    uint64_t *from = NULL, *to = NULL;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "/dev/shm/ringer-"))
            sscanf(line, "%p-%p", (void **)&from, (void **)&to);
    fclose(maps);
    to = from + (4 << 20) / sizeof *from; // the tables come first
    for (; from && from < to; from++) {
        if ((*from & blocked) != blocked)
            continue;
        uint32_t *words = (uint32_t *)(from + 1);
        for (int i = 0; i < 18; i++)
            if (words[i] == 0)
                words[i] = 1 << 15 | 1; // its first thread
        damaged = 1;
    }
    puts(damaged ? "damaged" : "found nothing");
    return 7;
}
