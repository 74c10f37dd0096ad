/* Holds a namespace open: the first process of every pod, and of the node's own process namespace.
 * It reaps the orphans that the kernel hands to it, ends on SIGTERM and SIGINT, and does nothing else. */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

int main(void) {
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGTERM);
    sigaddset(&awaited, SIGINT);
    sigprocmask(SIG_BLOCK, &awaited, NULL);
    for (;;) {
        int received;
        if (sigwait(&awaited, &received) != 0)
            continue;
        if (received != SIGCHLD)
            return 0;
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
}
