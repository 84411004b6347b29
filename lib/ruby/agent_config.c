#include "ruby/ruby.h"

void ruby_agent_config(const struct ruby *rb, struct mp_config *cfg)
{
	cfg->gc_count = rb->objspace + rb->lay->objspace.gc_count;
	cfg->heap_lo = rb->objspace + rb->lay->objspace.heap_range;
	cfg->heap_hi = cfg->heap_lo + 8;
	cfg->ractors = rb->lay->vm.ractor_count != LAYOUT_NONE
			   ? rb->vm + (uint64_t)rb->lay->vm.ractor_count
			   : 0;
	cfg->ec_tls = rb->ec_tls;
	cfg->ec_global = 0;
	cfg->ruby = rb->lay->agent;
}
