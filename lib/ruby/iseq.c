#include "ruby/iseq.h"

#include "ruby/line_table.h"
#include "ruby/object.h"

#include <stdlib.h>
#include <string.h>

/* Every version's rb_iseq_constant_body is longer, and has all that we want in its head. */
enum { BODY_READ = 192 };
enum { ISEQ_TYPE_LAST = 8 }; /* ISEQ_TYPE_PLAIN */

struct iseq {
	raddr_t encoded;
	uint32_t words; /* of the code */
	uint32_t first_line;
	bool internal;
	uint32_t nruns;
	const char *path, *label; /* behind the runs */
	size_t bytes;             /* all of this */
	struct line_run runs[];
};

struct body {
	raddr_t encoded, pathobj, label;
	uint32_t type, first_line;
	struct line_source lines;
};

static uint64_t u64_at(const uint8_t *bytes, int32_t off)
{
	uint64_t v;
	memcpy(&v, bytes + off, sizeof(v));
	return v;
}

static uint32_t u32_at(const uint8_t *bytes, int32_t off)
{
	uint32_t v;
	memcpy(&v, bytes + off, sizeof(v));
	return v;
}

static uint32_t first_line_of(const struct ruby_layout *lay, const uint8_t *bytes)
{
	uint64_t line = lay->body.lineno_fixnum ? u64_at(bytes, lay->body.first_lineno) >> 1
						: u32_at(bytes, lay->body.first_lineno);
	return line <= INT32_MAX ? (uint32_t)line : 0;
}

/* *ret has no stray bytes: two of them can be compared as memory. */
static int body_read(const struct ruby *rb, raddr_t addr, struct body *ret, struct err *e)
{
	const struct ruby_layout *lay = rb->lay;
	uint8_t bytes[BODY_READ];
	uint32_t flags;
	raddr_t body;

	if (addr == 0 || (addr & 7) != 0)
		return err_set(e, ERR_BADDATA, "no iseq is there");
	if (mem_u32(rb->mem, addr, &flags, e) == -1)
		return -1;
	if (!ruby_is_iseq(lay, flags))
		return err_set(e, ERR_BADDATA, "no iseq is there");
	if (mem_u64(rb->mem, addr + lay->agent.iseq_body, &body, e) == -1 ||
	    mem_read(rb->mem, body, bytes, sizeof(bytes), e) == -1)
		return -1;

	memset(ret, 0, sizeof(*ret));
	ret->type = u32_at(bytes, lay->body.type);
	ret->encoded = u64_at(bytes, lay->body.iseq_encoded);
	ret->pathobj = u64_at(bytes, lay->body.pathobj);
	ret->label = u64_at(bytes, lay->body.label);
	ret->first_line = first_line_of(lay, bytes);
	ret->lines.words = u32_at(bytes, lay->body.iseq_size);
	ret->lines.n = u32_at(bytes, lay->body.insns_info_size);
	ret->lines.entries = u64_at(bytes, lay->body.insns_info_body);
	ret->lines.index = u64_at(bytes, lay->body.succ_index_table);
	if (ret->type > ISEQ_TYPE_LAST || ret->lines.words == 0 ||
	    ret->lines.words > ISEQ_WORDS_CAP || ret->encoded == 0 || (ret->encoded & 7) != 0)
		return err_set(e, ERR_BADDATA, "type %u, %u words: no iseq, or not complete",
			       ret->type, ret->lines.words);
	return 0;
}

/* pathobj is the path, or an Array [path, real path]. */
static int path_read(const struct ruby *rb, raddr_t pathobj, char *buf, size_t size, struct err *e)
{
	const struct ruby_layout *lay = rb->lay;
	raddr_t elements, path = pathobj;
	uint32_t flags;

	if (mem_u32(rb->mem, pathobj, &flags, e) == -1)
		return -1;
	if ((flags & lay->agent.type_mask) == lay->agent.type_array) {
		elements = pathobj + lay->ary.embed;
		if (!(flags & lay->ary.embedded) &&
		    mem_u64(rb->mem, pathobj + lay->ary.ptr, &elements, e) == -1)
			return -1;
		if (mem_u64(rb->mem, elements, &path, e) == -1)
			return -1;
	}
	return ruby_str_read(rb, path, buf, size, e) == -1 ? -1 : 0;
}

static struct iseq *iseq_pack(const struct body *b, const struct line_run *runs, uint32_t n,
			      const char *path, const char *label)
{
	size_t runs_len = n * sizeof(*runs), path_len = strlen(path) + 1;
	size_t label_len = strlen(label) + 1;
	size_t bytes = sizeof(struct iseq) + runs_len + path_len + label_len;
	struct iseq *i = malloc(bytes);
	if (!i)
		return NULL;

	char *strings = (char *)i->runs + runs_len;
	*i = (struct iseq){
	    .encoded = b->encoded,
	    .words = b->lines.words,
	    .first_line = b->first_line,
	    .internal = strncmp(path, "<internal:", 10) == 0,
	    .nruns = n,
	    .path = memcpy(strings, path, path_len),
	    .label = memcpy(strings + path_len, label, label_len),
	    .bytes = bytes,
	};
	if (n > 0)
		memcpy(i->runs, runs, runs_len);
	return i;
}

int iseq_read(const struct ruby *rb, raddr_t addr, struct iseq **ret, struct err *e)
{
	char path[RUBY_STR_CAP + 1], label[RUBY_STR_CAP + 1];
	struct body body, now;
	struct line_run *runs = NULL;
	uint32_t n;

	if (body_read(rb, addr, &body, e) == -1 ||
	    path_read(rb, body.pathobj, path, sizeof(path), e) == -1 ||
	    ruby_str_read(rb, body.label, label, sizeof(label), e) == -1 ||
	    line_table_read(rb, &body.lines, &runs, &n, e) == -1 ||
	    body_read(rb, addr, &now, e) == -1)
		goto fail;
	if (memcmp(&body, &now, sizeof(body)) != 0) {
		err_set(e, ERR_BADDATA, "changed while it was read");
		goto fail;
	}
	*ret = iseq_pack(&body, runs, n, path, label);
	if (!*ret) {
		err_set(e, ERR_NOMEM, "out of memory");
		goto fail;
	}
	free(runs);
	return 0;
fail:
	free(runs);
	return err_prefix(e, "iseq at %" PRIRA, addr);
}

void iseq_destroy(struct iseq *i)
{
	free(i);
}

const char *iseq_path(const struct iseq *i)
{
	return i->path;
}

const char *iseq_label(const struct iseq *i)
{
	return i->label;
}

bool iseq_is_internal(const struct iseq *i)
{
	return i->internal;
}

size_t iseq_memory(const struct iseq *i)
{
	return i->bytes;
}

bool iseq_holds(const struct iseq *i, raddr_t pc)
{
	return pc >= i->encoded && (pc - i->encoded) % 8 == 0 && (pc - i->encoded) / 8 <= i->words;
}

uint32_t iseq_line(const struct iseq *i, const struct ruby_layout *lay, raddr_t pc, bool ruby_top)
{
	/* A frame that has not run an instruction yet: rb_vm_get_sourceline falls back likewise. */
	if (pc == 0)
		return i->first_line;
	if (!iseq_holds(i, pc))
		return 0;
	uint32_t pos = (uint32_t)((pc - i->encoded) / 8);
	bool current = ruby_top && lay->leaf_pc_is_current;
	if (!current && pos > 0)
		pos--;
	uint32_t line = line_table_find(i->runs, i->nruns, pos < i->words ? pos : i->words - 1);
	return line != 0 ? line : i->first_line;
}
