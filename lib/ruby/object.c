#include "ruby/object.h"

#include <stdio.h>
#include <string.h>

/* No string of a living process is longer: what claims to be is no string. */
#define STR_SANE (1ull << 40)

/* Addresses of objects are aligned; the few other words that are so too (false, nil) are small. */
static bool is_object(raddr_t v)
{
	return v > 8 && (v & 7) == 0;
}

static uint64_t word_at(const uint8_t *slot, int32_t off)
{
	uint64_t w;
	memcpy(&w, slot + off, sizeof(w));
	return w;
}

ssize_t ruby_str_read(const struct ruby *rb, raddr_t str, char *buf, size_t size, struct err *e)
{
	const struct ruby_layout *lay = rb->lay;
	uint8_t slot[40];

	if (!is_object(str))
		return err_set(e, ERR_BADDATA, "%" PRIRA " is no String", str);
	if (mem_read(rb->mem, str, slot, sizeof(slot), e) == -1)
		return -1;
	uint64_t flags = word_at(slot, 0);
	if ((flags & lay->agent.type_mask) != lay->agent.type_string)
		return err_set(e, ERR_BADDATA, "object at %" PRIRA " is no String", str);

	bool on_heap = flags & lay->str.noembed;
	raddr_t text = on_heap ? word_at(slot, lay->str.ptr) : str + lay->str.embed;
	uint64_t len = on_heap || lay->str.embed_len_mask == 0
			   ? word_at(slot, lay->str.heap_len)
			   : flags >> lay->str.embed_len_shift & lay->str.embed_len_mask;
	if (len > STR_SANE)
		return err_set(e, ERR_BADDATA, "String at %" PRIRA " has an impossible length",
			       str);

	size_t n = len < size ? (size_t)len : size - 1;
	if (n > RUBY_STR_CAP)
		n = RUBY_STR_CAP;
	if (n > 0 && mem_read(rb->mem, text, buf, n, e) == -1)
		return -1;
	buf[n] = '\0';
	return (ssize_t)n;
}

static uint32_t type_of(const struct ruby_layout *lay, uint32_t flags)
{
	return flags & lay->agent.type_mask;
}

static const char *imemo_name(const struct ruby_layout *lay, uint32_t flags)
{
	uint32_t type = flags >> lay->agent.imemo_shift & lay->agent.imemo_mask;
	for (uint32_t i = 0; lay->imemo_names[i]; i++)
		if (i == type)
			return lay->imemo_names[i];
	return NULL;
}

static const char *const type_names[32] = {
    [RT_OBJECT] = "Object",   [RT_CLASS] = "Class",     [RT_MODULE] = "Module",
    [RT_FLOAT] = "Float",     [RT_STRING] = "String",   [RT_REGEXP] = "Regexp",
    [RT_ARRAY] = "Array",     [RT_HASH] = "Hash",       [RT_STRUCT] = "Struct",
    [RT_BIGNUM] = "Integer",  [RT_FILE] = "File",       [RT_DATA] = "Data",
    [RT_MATCH] = "MatchData", [RT_COMPLEX] = "Complex", [RT_RATIONAL] = "Rational",
    [RT_SYMBOL] = "Symbol",
};

/* Types that no Ruby program ever sees, whatever their second word says. */
static const char *internal_type_name(uint32_t type)
{
	switch (type) {
	case RT_NONE:
		return "(none)";
	case RT_NODE:
		return "(node)";
	case RT_ICLASS:
		return "(iclass)";
	case RT_ZOMBIE:
		return "(zombie)";
	case RT_MOVED:
		return "(moved)";
	default:
		return NULL;
	}
}

const char *ruby_internal_name(const struct ruby_layout *lay, uint32_t flags, char *buf,
			       size_t size)
{
	uint32_t type = type_of(lay, flags);
	const char *name = internal_type_name(type);

	if (name)
		snprintf(buf, size, "%s", name);
	else if (ruby_is_iseq(lay, flags))
		snprintf(buf, size, "(iseq)");
	else if (type == lay->agent.type_imemo && (name = imemo_name(lay, flags)))
		snprintf(buf, size, "(imemo:%s)", name);
	else if (type == lay->agent.type_imemo)
		snprintf(buf, size, "(imemo)");
	else if ((name = type_names[type & 31]))
		snprintf(buf, size, "(hidden %s)", name);
	else
		snprintf(buf, size, "(type %u)", type);
	return buf;
}

bool ruby_has_class(const struct ruby_layout *lay, uint32_t flags, raddr_t klass)
{
	uint32_t type = type_of(lay, flags);
	return is_object(klass) && type != lay->agent.type_imemo && !internal_type_name(type);
}

bool ruby_is_iseq(const struct ruby_layout *lay, uint32_t flags)
{
	return type_of(lay, flags) == lay->agent.type_imemo &&
	       (flags >> lay->agent.imemo_shift & lay->agent.imemo_mask) == lay->agent.imemo_iseq;
}

bool ruby_is_class(uint32_t flags)
{
	uint32_t type = flags & 31;
	return type == RT_CLASS || type == RT_MODULE;
}
