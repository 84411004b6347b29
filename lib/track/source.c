#include "track/source.h"

#include "ruby/iseq.h"
#include "ruby/klass.h"
#include "ruby/object.h"

#include <string.h>

enum { PEEK_SPAN = 65536 }; /* neighbours are read at once, bytes */

static const struct ruby *ruby_of(void *ctx)
{
	return ((const struct track_ruby *)ctx)->rb;
}

static int code_read(void *ctx, raddr_t addr, struct track_code *ret, struct err *e)
{
	struct iseq *i;

	if (iseq_read(ruby_of(ctx), addr, &i, e) == -1)
		return -1;
	*ret = (struct track_code){
	    .impl = i,
	    .path = iseq_path(i),
	    .label = iseq_label(i),
	    .internal = iseq_is_internal(i),
	    .bytes = iseq_memory(i),
	};
	return 0;
}

static void code_free(void *ctx, struct track_code *c)
{
	(void)ctx;
	iseq_destroy(c->impl);
	*c = (struct track_code){0};
}

static bool code_holds(void *ctx, const struct track_code *c, raddr_t pc)
{
	(void)ctx;
	return iseq_holds(c->impl, pc);
}

static uint32_t code_line(void *ctx, const struct track_code *c, raddr_t pc, bool ruby_top)
{
	return iseq_line(c->impl, ruby_of(ctx)->lay, pc, ruby_top);
}

static int class_name(void *ctx, raddr_t klass, char *buf, size_t size, bool *permanent,
		      struct err *e)
{
	return ruby_class_name(ruby_of(ctx), klass, buf, size, permanent, e);
}

static const char *internal_name(void *ctx, uint32_t flags, char *buf, size_t size)
{
	return ruby_internal_name(ruby_of(ctx)->lay, flags, buf, size);
}

static bool has_class(void *ctx, uint32_t flags, raddr_t klass)
{
	return ruby_has_class(ruby_of(ctx)->lay, flags, klass);
}

static bool is_iseq(void *ctx, uint32_t flags)
{
	return ruby_is_iseq(ruby_of(ctx)->lay, flags);
}

static bool is_class(void *ctx, uint32_t flags)
{
	(void)ctx;
	return ruby_is_class(flags);
}

/* How many of the objects lie within one span of the first, in ascending order. */
static size_t neighbours(const raddr_t *obj, size_t n)
{
	size_t k = 1;

	while (k < n && obj[k] > obj[k - 1] && obj[k] - obj[0] <= PEEK_SPAN - 16)
		k++;
	return k;
}

static void peek(void *ctx, const raddr_t *obj, size_t n, struct track_peek *ret)
{
	char buf[PEEK_SPAN];

	while (n > 0) {
		size_t k = neighbours(obj, n);
		size_t got = mem_read_upto(ruby_of(ctx)->mem, obj[0], buf,
					   (size_t)(obj[k - 1] - obj[0]) + 16);

		for (size_t i = 0; i < k; i++) {
			size_t off = (size_t)(obj[i] - obj[0]);

			ret[i] = (struct track_peek){.ok = off + 16 <= got};
			if (!ret[i].ok)
				continue;
			memcpy(&ret[i].flags, buf + off, 8);
			memcpy(&ret[i].klass, buf + off + 8, 8);
		}
		obj += k;
		ret += k;
		n -= k;
	}
}

/* Every slot of the versions that can be attached to has the base size; those with several sizes
 * keep theirs in the heap page. */
static uint32_t slot_bytes(void *ctx, raddr_t obj)
{
	(void)obj;
	return ruby_of(ctx)->lay->heap.base_slot;
}

static uint64_t head(void *ctx)
{
	return ring_head(((const struct track_ruby *)ctx)->ring);
}

void track_source_ruby(const struct track_ruby *tr, struct track_source *ret)
{
	const struct ruby_layout *lay = tr->rb->lay;

	*ret = (struct track_source){
	    .ctx = (void *)tr,
	    .page_align = lay->heap.page_align,
	    .base_slot = lay->heap.base_slot,
	    .imemo_bits = lay->agent.imemo_mask << lay->agent.imemo_shift,
	    .code_read = code_read,
	    .code_free = code_free,
	    .code_holds = code_holds,
	    .code_line = code_line,
	    .class_name = class_name,
	    .internal_name = internal_name,
	    .has_class = has_class,
	    .is_iseq = is_iseq,
	    .is_class = is_class,
	    .peek = peek,
	    .slot_bytes = slot_bytes,
	    .ring_head = head,
	};
}
