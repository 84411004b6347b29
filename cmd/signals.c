#include "signals.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

static volatile sig_atomic_t ends, suspends;

static void on_end(int sig)
{
	(void)sig;
	if (ends < SIG_ATOMIC_MAX)
		ends = ends + 1;
}

static void on_suspend(int sig)
{
	(void)sig;
	suspends = 1;
}

/* SIGINT is taken even where it is ignored: shells do that to every command started with `&`, and
 * `kill -INT` from a script is how such a profile is ended. */
static const struct held {
	void (*handler)(int);
	int sig;
	bool for_good; /* not given back */
	bool keep_ignored;
} held[] = {
    {on_end, SIGINT, false, false},   {on_end, SIGTERM, false, false},
    {on_end, SIGHUP, true, true},     {on_end, SIGQUIT, false, false},
    {on_end, SIGUSR1, false, false},  {on_end, SIGUSR2, false, false},
    {on_end, SIGXCPU, false, false},  {on_suspend, SIGTSTP, false, false},
    {SIG_IGN, SIGTTIN, false, false}, {SIG_IGN, SIGTTOU, false, false},
    {SIG_IGN, SIGXFSZ, true, false}, /* EFBIG says the same and can be reported */
};

enum { NHELD = sizeof(held) / sizeof(held[0]) };

static struct sigaction before[NHELD];

void signals_hold(void)
{
	for (size_t i = 0; i < NHELD; i++) {
		struct sigaction sa = {.sa_handler = held[i].handler}; /* no SA_RESTART */
		sigaction(held[i].sig, NULL, &before[i]);
		if (!(held[i].keep_ignored && before[i].sa_handler == SIG_IGN))
			sigaction(held[i].sig, &sa, NULL);
	}
}

void signals_release(void)
{
	for (size_t i = 0; i < NHELD; i++)
		if (!held[i].for_good)
			sigaction(held[i].sig, &before[i], NULL);
}

unsigned signals_ends(void)
{
	return (unsigned)ends;
}

bool signals_suspend_asked(void)
{
	bool asked = suspends;
	suspends = 0;
	return asked;
}
