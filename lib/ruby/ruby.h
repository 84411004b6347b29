/* A live Ruby VM: its addresses, derived from code, and the facts read through struct mem. */
#ifndef MEMPROF_RUBY_RUBY_H
#define MEMPROF_RUBY_RUBY_H

#include "agent/abi.h"
#include "code/site.h"
#include "code/text.h"
#include "mem/mem.h"
#include "ruby/layout.h"

#include <stdbool.h>

/* Addresses derived from exported code, as vaddrs and offsets: valid for every process that maps
 * this image. */
struct ruby_code {
	uint64_t vm_ptr;	/* vaddr of the variable that points to the VM */
	int32_t vm_objspace;	/* offset of the objspace pointer in the VM */
	int32_t objspace_flags; /* offset of the flags word that rb_during_gc tests */
	uint64_t ec_tls_got;	/* vaddr of the {module, offset} pair of ruby_current_ec */
};

/* Derive them from rb_gc_count and rb_during_gc, which must agree. e: ERR_UNSUPPORTED with the
 * step that failed. */
int ruby_code_derive(const struct text *t, struct ruby_code *ret, struct err *e);

/*
 * All allocation, free and move sites of an image, each with its proof; family by version.
 * Returns 0 and *ret (owned: site_list_deinit), or -1 and e: ERR_UNSUPPORTED with the reason.
 * A move site that can't be proven is left out and *moves_known is false.
 */
int ruby_sites_find(const struct text *t, const struct ruby_version *v, const struct ruby_code *code,
		    const struct ruby_layout *lay, struct site_list *ret, bool *moves_known,
		    struct err *e);
void site_list_deinit(struct site_list *l); /* zeroed is allowed */

/* One live VM. Small and copyable; borrows mem and lay. */
struct ruby {
	const struct mem *mem;
	const struct ruby_layout *lay;
	raddr_t vm, objspace;
	raddr_t main_ractor;	/* 0 when that Ruby has none */
	int64_t ec_tls;		/* offset of the current ec from a thread's base; see ruby_tls */
	raddr_t c_object, c_class, c_module, c_string, c_array; /* rb_cObject and friends */
	uint64_t classpath_id, tmp_classpath_id; /* names of the ivars that hold a class's name */
};

/* Read the VM's addresses. e: ERR_UNSUPPORTED the VM has not booted (says so), or what is there is
 * no VM. bias: load bias of the image. */
int ruby_open(const struct mem *m, const struct image *img, uint64_t bias,
	      const struct ruby_code *code, const struct ruby_layout *lay, struct ruby *ret,
	      struct err *e);

/*
 * Probe the layout on live memory, while other threads may run: names of known classes, a String
 * and an Array of known content, and a control frame of the main thread's ec whose pc lies in its
 * iseq and whose path is a String. e: ERR_UNSUPPORTED naming the probe that failed.
 * Retries what may have changed under its hands.
 */
int ruby_probe(const struct ruby *rb, struct err *e);

/*
 * Offset of the current execution context from a thread's base, for a libruby that came with the
 * program (static TLS). tls_base: of any thread that has run Ruby. Checked by reading that
 * thread's ec. e: ERR_UNSUPPORTED the offset is not the same for every thread (dlopened libruby).
 */
int ruby_tls_offset(const struct mem *m, uint64_t bias, const struct ruby_code *code,
		    raddr_t tls_base, int64_t *ret, struct err *e);

/* True if the thread with this base has an ec, and it looks like one (cfp inside its VM stack). */
bool ruby_thread_has_ec(const struct ruby *rb, raddr_t tls_base);

struct ruby_counters {
	uint64_t allocated, freed; /* objects, ever */
	uint64_t zombies;	   /* finalizers not run yet: freed events seen, not counted yet */
	uint64_t gc_count, major_gc_count;
	uint64_t moved;		   /* by compaction, ever */
	bool gc_running;	   /* a cycle is under way (marking or sweeping) */
	uint32_t ractors;	   /* 0: unknown */
};
int ruby_counters_read(const struct ruby *rb, struct ruby_counters *ret, struct err *e);

/* Fill the Ruby part of the agent's configuration (everything but magic, shm, ctl, ring, units,
 * stale_tsc). */
void ruby_agent_config(const struct ruby *rb, struct mp_config *cfg);

#endif
