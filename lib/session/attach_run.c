/* While the target runs: read the ring, keep names and heartbeat fresh, notice that it went. */
#include "session/attach_priv.h"

#include <poll.h>
#include <unistd.h>

enum {
	/* Sleeps between looks into the ring. Waking costs the machine more than reading, so they
	 * are as long as the ring allows; the longest is how late a name can be read. */
	IDLE_MIN_US = 100,
	IDLE_MAX_US = 2000,
	BUSY_SHARE = 16, /* of the ring: found that full after a sleep, the next one is shorter */
	ALIVE_EVERY_NS = 100000000,
	REFRESH_EVERY_NS = 1000000000,
};

void attach_run_init(struct attach *a)
{
	a->last_alive_ns = a->last_refresh_ns = a->start_ns;
	a->idle_us = IDLE_MIN_US;
}

size_t attach_drain(struct attach *a, uint64_t until_ns)
{
	size_t total = 0, n;

	while ((n = ring_read(&a->ring, a->batch, ATTACH_BATCH)) > 0) {
		track_events(a->track, a->batch, n);
		total += n;
		if (total % (64 * ATTACH_BATCH) < n && tracee_now_ns() > until_ns)
			break;
	}
	return total;
}

static void beat(struct attach *a, uint64_t now)
{
	struct mp_shm *shm = a->planted.shm.local;

	__atomic_store_n(&shm->heartbeat, now, __ATOMIC_RELAXED);
}

void attach_rewatch(struct attach *a)
{
	const struct mp_shm *shm = a->planted.shm.local;
	/* Enabled again, and nothing remembered of iseqs that may have died meanwhile. */
	const struct mp_ctl fresh = {.enabled = 1};
	uint64_t n = __atomic_load_n(&shm->count.gave_up, __ATOMIC_ACQUIRE), since;

	if (n == a->gave_up_seen)
		return;
	since =
	    a->target.arch->ticks() - __atomic_load_n(&shm->count.gave_up_tsc, __ATOMIC_RELAXED);
	a->gave_up_seen = n;
	a->unwatched_s += (double)since * a->tick_ns / 1e9;
	track_gap(a->track);
	if (pwrite(a->target.mem_fd, &fresh, sizeof(fresh), (off_t)a->planted.ctl) != sizeof(fresh))
		a->gone = !target_is_alive(&a->target);
}

/* Ends that did not fit into the ring: what lies at an address now may not be what lay there. */
static void notice_drops(struct attach *a)
{
	const struct mp_shm *shm = a->planted.shm.local;
	uint64_t ends = __atomic_load_n(&shm->count.dropped[MP_EV_FREE], __ATOMIC_RELAXED) +
			__atomic_load_n(&shm->count.dropped[MP_EV_MOVE], __ATOMIC_RELAXED);

	if (ends != a->dropped_ends)
		track_gap(a->track);
	a->dropped_ends = ends;
}

bool attach_target_is_there(const struct attach *a)
{
	uint64_t word;

	return target_process_lives(a->target.pid, a->target.starttime) &&
	       mem_read_upto(&a->target.mem, a->planted.stub, &word, sizeof(word)) == sizeof(word);
}

static int look_around(struct attach *a, uint64_t now, struct err *e)
{
	const struct mp_shm *shm = a->planted.shm.local;

	if (now - a->last_alive_ns >= ALIVE_EVERY_NS) {
		a->last_alive_ns = now;
		beat(a, now);
		attach_rewatch(a);
		a->gone = a->gone || !attach_target_is_there(a);
	}
	if (!a->gone && now - a->last_refresh_ns >= REFRESH_EVERY_NS) {
		a->last_refresh_ns = now;
		notice_drops(a);
		track_refresh(a->track);
	}
	if (__atomic_load_n(&shm->count.suspect, __ATOMIC_RELAXED) != 0)
		return err_set(e, ERR_FAILED,
			       "%d: a hook saw an address that is no object of the heap; its sites "
			       "are not what they were proven to be",
			       a->target.pid);
	return 0;
}

/* All is read: sleep, longer or shorter by how much there was; the target's exit wakes us. */
static void idle(struct attach *a, uint64_t lag, uint64_t now, uint64_t until)
{
	struct pollfd p = {.fd = a->target.pid_fd, .events = POLLIN};
	uint64_t ns;

	if (lag > a->ring.units / BUSY_SHARE && a->idle_us > IDLE_MIN_US)
		a->idle_us /= 2;
	else if (lag < a->ring.units / (4 * BUSY_SHARE) && a->idle_us < IDLE_MAX_US)
		a->idle_us += a->idle_us / 4;
	ns = (uint64_t)a->idle_us * 1000;
	track_idle(a->track, a->ring.tail);
	if (now + ns > until)
		ns = until - now;
	const struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000),
				    .tv_nsec = (long)(ns % 1000000000)};
	if (ppoll(&p, 1, &ts, NULL) > 0)
		a->gone = true;
}

static void fill_status(struct attach *a, uint64_t now, struct attach_status *st)
{
	const struct mp_shm *shm = a->planted.shm.local;
	struct track_totals tot;

	track_totals(a->track, &tot);
	*st = (struct attach_status){
	    .elapsed_s = (double)(now - a->start_ns) / 1e9,
	    .allocated = tot.allocated,
	    .freed = tot.freed,
	    .live = tot.live,
	    .unwatched_s = a->unwatched_s,
	};
	for (size_t i = 0; i < MP_EVENTS; i++)
		st->dropped += __atomic_load_n(&shm->count.dropped[i], __ATOMIC_RELAXED);
}

int attach_step(struct attach *a, unsigned ms, struct attach_status *st, struct err *e)
{
	uint64_t now = tracee_now_ns(), until = now + (uint64_t)ms * 1000000;
	int ret = 0;

	do {
		uint64_t lag = ring_lag(&a->ring);

		attach_drain(a, now + ALIVE_EVERY_NS);
		now = tracee_now_ns();
		ret = look_around(a, now, e);
		if (ret == 0 && !a->gone && now < until)
			idle(a, lag, now, until);
		now = tracee_now_ns();
	} while (ret == 0 && !a->gone && now < until);
	fill_status(a, now, st);
	return ret == -1 ? -1 : !a->gone;
}
