/* An image's code decoded once: one array of instructions, one bit per byte for branch targets. */
#include "code/text.h"

#include "code/flow.h"

#include <stdlib.h>

/* No libruby comes near; a section header that claims more is damaged. */
enum { TEXT_MAX = 64 << 20 };

struct text {
	const struct image *img;
	struct image_range range;
	struct insn *v; /* ascending by addr, without gaps */
	size_t n, room;
	uint8_t *targets; /* one bit per byte of range */
};

static void mark_target(void *arg, uint64_t addr)
{
	struct text *t = arg;
	uint64_t off = addr - t->range.addr;

	if (off < t->range.size)
		t->targets[off / 8] |= (uint8_t)(1u << off % 8);
}

static bool is_direct_branch(const struct insn *in)
{
	return in->op == OP_JCC || in->op == OP_JMP || in->op == OP_CALL;
}

static struct insn *next_slot(struct text *t)
{
	if (t->n == t->room) {
		size_t room = t->room + t->room / 2;
		struct insn *v = reallocarray(t->v, room, sizeof(*v));
		if (v == NULL)
			return NULL;
		t->v = v;
		t->room = room;
	}
	return &t->v[t->n++];
}

/* Linear, not by flow: what is padding or data decodes to something harmless, and what is reached
 * only through tables is seen as well. */
static int decode_all(struct text *t, const struct arch *arch, void *decoder, const uint8_t *bytes,
		      struct err *e)
{
	for (uint64_t off = 0; off < t->range.size;) {
		struct insn *in = next_slot(t);
		if (in == NULL)
			return err_set(e, ERR_NOMEM, "%s: %zu instructions: out of memory",
				       image_name(t->img), t->n);
		arch->decode(decoder, bytes + off, t->range.size - off, t->range.addr + off, in);
		if (is_direct_branch(in))
			mark_target(t, in->target);
		off += in->len;
	}
	return 0;
}

static int text_decode(struct text *t, const struct arch *arch, struct err *e)
{
	const uint8_t *bytes = image_bytes(t->img, t->range.addr, t->range.size);
	void *decoder;
	int ret;

	if (bytes == NULL)
		return err_set(e, ERR_BADELF, "%s: .text is not all in the file",
			       image_name(t->img));
	t->room = t->range.size / 4 + 64; /* compiled code averages a little over four bytes */
	t->v = calloc(t->room, sizeof(*t->v));
	t->targets = calloc(t->range.size / 8 + 1, 1);
	decoder = arch->decoder_create();
	if (t->v == NULL || t->targets == NULL || decoder == NULL)
		ret = err_set(e, ERR_NOMEM, "%s: decoding .text: out of memory",
			      image_name(t->img));
	else
		ret = decode_all(t, arch, decoder, bytes, e);
	if (decoder != NULL)
		arch->decoder_destroy(decoder);
	return ret;
}

int text_create(const struct image *img, const struct arch *arch, struct text **ret, struct err *e)
{
	struct text *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return err_set(e, ERR_NOMEM, "%s: out of memory", image_name(img));
	t->img = img;
	if (image_text(img, &t->range, e) == -1)
		goto fail;
	if (t->range.size == 0 || t->range.size > TEXT_MAX) {
		err_set(e, ERR_BADELF, "%s: .text of %" PRIu64 " bytes", image_name(img),
			t->range.size);
		goto fail;
	}
	if (text_decode(t, arch, e) == -1 || flow_each_table_entry(t, mark_target, t, e) == -1)
		goto fail;
	*ret = t;
	return 0;
fail:
	text_destroy(t);
	return -1;
}

void text_destroy(struct text *t)
{
	if (t == NULL)
		return;
	free(t->targets);
	free(t->v);
	free(t);
}

const struct image *text_image(const struct text *t)
{
	return t->img;
}

size_t text_count(const struct text *t)
{
	return t->n;
}

const struct insn *text_at(const struct text *t, size_t i)
{
	return &t->v[i];
}

size_t text_index(const struct text *t, uint64_t addr, bool floor)
{
	size_t lo = 0, hi = t->n; /* v[lo-1].addr <= addr < v[hi].addr */

	if (addr - t->range.addr >= t->range.size)
		return SIZE_MAX;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (t->v[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0 || (!floor && t->v[lo - 1].addr != addr))
		return SIZE_MAX;
	return lo - 1;
}

bool text_is_target(const struct text *t, uint64_t addr)
{
	uint64_t off = addr - t->range.addr;

	return off < t->range.size && (t->targets[off / 8] >> off % 8 & 1) != 0;
}
