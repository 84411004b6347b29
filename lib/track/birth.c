#include "track/birth.h"

enum {
	ROWS_MAX = 1 << 17,
	NAMES_BYTES = 32 << 20,
	NAME_MAX_INTERNAL = 64,
};

int births_init(struct births *bs, const struct track_source *src, uint32_t max, struct err *e)
{
	*bs = (struct births){.src = src, .max = max, .high = 1, .names.limit = NAMES_BYTES};
	TAILQ_INIT(&bs->waiting);
	codes_init(&bs->codes, src, &bs->names);
	rows_init(&bs->rows, ROWS_MAX);
	/* Zero pages of the kernel: only what is used takes memory. */
	bs->hot = aligned_alloc(64, max * sizeof(*bs->hot));
	bs->cold = calloc(max, sizeof(*bs->cold));
	bs->free = calloc(max, sizeof(*bs->free));
	if (bs->hot == NULL || bs->cold == NULL || bs->free == NULL) {
		births_deinit(bs);
		return err_set(e, ERR_NOMEM, "birth sites: out of memory");
	}
	bs->hot[BIRTH_OTHER] = (struct birth_hot){0};
	bs->cold[BIRTH_OTHER] = (struct birth){.used = true, .row = bs->rows.other.key};
	return 0;
}

void births_deinit(struct births *bs)
{
	HASH_CLEAR(hh, bs->table);
	codes_deinit(&bs->codes);
	rows_deinit(&bs->rows);
	names_deinit(&bs->names);
	free(bs->hot);
	free(bs->cold);
	free(bs->free);
}

/* -- ids ------------------------------------------------------------------------------------- */

static uint32_t id_of(const struct births *bs, const struct birth *b)
{
	return (uint32_t)(b - bs->cold);
}

/* BIRTH_OTHER when there are none. */
static uint32_t id_take(struct births *bs)
{
	uint32_t id = BIRTH_OTHER;

	if (bs->nfree > 0)
		id = bs->free[--bs->nfree];
	else if (bs->high < bs->max)
		id = bs->high++;
	if (id != BIRTH_OTHER) {
		bs->hot[id] = (struct birth_hot){0};
		bs->cold[id] = (struct birth){.used = true};
	}
	return id;
}

static void id_give_back(struct births *bs, uint32_t id)
{
	bs->cold[id].used = false;
	bs->free[bs->nfree++] = id;
}

/* -- names ----------------------------------------------------------------------------------- */

static void site_collected(struct birth *b)
{
	b->row.file = names_collected_code;
	b->row.method = names_none;
	b->row.line = 0;
}

static void site_name(struct births *bs, struct birth *b, const struct code *c, raddr_t pc,
		      bool ruby_top)
{
	const struct track_code *i = &c->iseq;

	if (i->impl == NULL || (pc != 0 && !bs->src->code_holds(bs->src->ctx, i, pc))) {
		site_collected(b);
		return;
	}
	b->row.file = names_intern(&bs->names, i->path);
	b->row.method = names_intern(&bs->names, i->label);
	b->row.line = bs->src->code_line(bs->src->ctx, i, pc, ruby_top);
}

/* The agent names a caller when it found the birth frame in an <internal:...> file; what we read
 * must not say otherwise. */
static bool is_internal(const struct birth *b)
{
	const struct code *c = b->code[BIRTH_ISEQ];

	return b->code[BIRTH_CALLER] != NULL && (c->iseq.impl == NULL || c->iseq.internal);
}

/* File, line and method, by the rule of the birth site. */
static void birth_name(struct births *bs, uint32_t id)
{
	const struct birth_key *k = &bs->hot[id].key;
	struct birth *b = &bs->cold[id];

	for (int part = BIRTH_ISEQ; part <= BIRTH_CALLER; part++)
		if (b->code[part] != NULL) {
			code_get(&bs->codes, CODE_ISEQ, b->code[part]->addr);
			b->ref[part].ready_at = b->code[part]->ready_at;
		}
	b->row.internal = NULL;
	b->row.file = b->row.method = names_none;
	b->site = BIRTH_ISEQ;
	if (is_internal(b)) {
		const struct track_code *i = &b->code[BIRTH_ISEQ]->iseq;

		b->site = BIRTH_CALLER;
		b->row.internal =
		    i->impl != NULL ? names_intern(&bs->names, i->path) : names_collected_code;
		site_name(bs, b, b->code[BIRTH_CALLER], k->caller_pc, false);
	} else if (b->code[BIRTH_ISEQ] != NULL) {
		site_name(bs, b, b->code[BIRTH_ISEQ], k->pc, k->who & 1);
	}
}

static const char *hidden_name(struct births *bs, uint32_t kind)
{
	char name[NAME_MAX_INTERNAL];

	bs->src->internal_name(bs->src->ctx, kind, name, sizeof(name));
	return names_intern(&bs->names, name);
}

/* -- new sites ------------------------------------------------------------------------------- */

/* Code without this pc is not what ran: its end went unseen. Start afresh. */
static void iseq_verify(struct births *bs, raddr_t addr, raddr_t pc)
{
	struct code *c = addr != 0 ? code_get(&bs->codes, CODE_ISEQ, addr) : NULL;

	if (c != NULL && c->iseq.impl != NULL && pc != 0 &&
	    !bs->src->code_holds(bs->src->ctx, &c->iseq, pc))
		births_close(bs, CODE_ISEQ, addr, UINT64_MAX);
}

static bool part_get(struct births *bs, enum code_kind kind, raddr_t addr, struct code **ret)
{
	*ret = addr != 0 ? code_get(&bs->codes, kind, addr) : NULL;
	return addr == 0 || *ret != NULL;
}

static bool parts_get(struct births *bs, const struct birth_key *k, struct code **ret)
{
	bool hidden = k->klass & BIRTH_HIDDEN;

	codes_trim(&bs->codes);
	iseq_verify(bs, k->iseq, k->pc);
	iseq_verify(bs, k->caller_iseq, k->caller_pc);
	return part_get(bs, CODE_ISEQ, k->iseq, &ret[BIRTH_ISEQ]) &&
	       part_get(bs, CODE_ISEQ, k->iseq ? k->caller_iseq : 0, &ret[BIRTH_CALLER]) &&
	       part_get(bs, CODE_CLASS, hidden ? 0 : k->klass, &ret[BIRTH_CLASS]);
}

static void part_link(struct births *bs, uint32_t id, enum birth_part part, struct code *c)
{
	struct birth *b = &bs->cold[id];

	b->code[part] = c;
	b->ref[part].birth = id;
	if (c != NULL)
		LIST_INSERT_HEAD(&c->births, &b->ref[part], link);
}

static void part_unlink(struct birth *b, enum birth_part part)
{
	if (b->code[part] != NULL)
		LIST_REMOVE(&b->ref[part], link);
	b->code[part] = NULL;
}

static uint32_t birth_add(struct births *bs, const struct birth_key *key)
{
	struct code *code[BIRTH_PARTS];
	struct birth *b;
	uint32_t id;

	if (bs->nfree == 0 && bs->high >= bs->max)
		return BIRTH_OTHER;
	if (!parts_get(bs, key, code))
		return BIRTH_OTHER;
	id = id_take(bs);
	b = &bs->cold[id];
	bs->hot[id].key = *key;
	HASH_ADD_KEYPTR(hh, bs->table, &bs->hot[id].key, sizeof(*key), b);
	if (b->hh.tbl == NULL) {
		bs->hot[id].key = (struct birth_key){0};
		id_give_back(bs, id);
		return BIRTH_OTHER;
	}
	for (int part = 0; part < BIRTH_PARTS; part++)
		part_link(bs, id, part, code[part]);
	birth_name(bs, id);
	b->row.thread = (uint32_t)(key->who >> 1);
	if (key->klass & BIRTH_HIDDEN) {
		b->hidden = (uint32_t)key->klass;
		b->row.klass = hidden_name(bs, b->hidden);
	}
	return id;
}

uint32_t births_look_up(struct births *bs, const struct birth_key *key, uint32_t front)
{
	struct birth *b;
	uint32_t id;

	HASH_FIND(hh, bs->table, key, sizeof(*key), b);
	id = b != NULL ? id_of(bs, b) : birth_add(bs, key);
	bs->front[front] = id;
	return id;
}

uint32_t births_reveal(struct births *bs, uint32_t id, raddr_t klass)
{
	struct code *c = code_get(&bs->codes, CODE_CLASS, klass);
	uint32_t new = c != NULL ? id_take(bs) : BIRTH_OTHER;

	if (new == BIRTH_OTHER)
		return id;
	bs->cold[new].row = bs->cold[id].row;
	part_link(bs, new, BIRTH_CLASS, c);
	return new;
}

/* -- ends ------------------------------------------------------------------------------------ */

static bool is_closed(const struct births *bs, uint32_t id)
{
	return bs->hot[id].key.klass == 0;
}

static void birth_close(struct births *bs, uint32_t id)
{
	HASH_DEL(bs->table, &bs->cold[id]);
	bs->hot[id].key.klass = 0;
}

static void birth_fold(struct births *bs, uint32_t id)
{
	struct row *r = birth_row(bs, id);
	struct row_figures f = birth_figures(bs, id);

	r->ended.allocated += f.allocated;
	r->ended.freed += f.freed;
	for (int part = 0; part < BIRTH_PARTS; part++)
		part_unlink(&bs->cold[id], part);
	id_give_back(bs, id);
}

/* True as long as a name it took may turn out to be another's. */
static bool is_pending(const struct birth *b, uint64_t pos)
{
	return (b->code[BIRTH_ISEQ] != NULL && b->ref[BIRTH_ISEQ].ready_at > pos) ||
	       (b->code[BIRTH_CALLER] != NULL && b->ref[BIRTH_CALLER].ready_at > pos) ||
	       (b->code[BIRTH_CLASS] != NULL && b->code[BIRTH_CLASS]->ready_at > pos);
}

void births_dead(struct births *bs, uint32_t id, uint64_t pos)
{
	struct birth *b = &bs->cold[id];

	if (id == BIRTH_OTHER || b->waiting)
		return;
	if (!is_pending(b, pos)) {
		birth_fold(bs, id);
		return;
	}
	b->waiting = true;
	TAILQ_INSERT_TAIL(&bs->waiting, b, wait);
}

/* The part's last word about its name. */
static void part_end(struct birth *b, enum birth_part part, uint64_t pos)
{
	struct code *c = b->code[part];

	if (part == BIRTH_CLASS)
		b->row.klass = code_last_name(c, pos);
	else if (pos < b->ref[part].ready_at && part == b->site)
		site_collected(b);
	else if (pos < b->ref[part].ready_at && b->row.internal != NULL)
		b->row.internal = names_collected_code;
	part_unlink(b, part);
}

void births_close(struct births *bs, enum code_kind kind, raddr_t addr, uint64_t pos)
{
	struct code *c = code_find(&bs->codes, kind, addr);
	struct code_ref *ref;

	if (c == NULL)
		return;
	while ((ref = LIST_FIRST(&c->births)) != NULL) {
		uint32_t id = ref->birth;
		struct birth *b = &bs->cold[id];

		part_end(b, (enum birth_part)(ref - b->ref), pos);
		if (!is_closed(bs, id))
			birth_close(bs, id);
		if (bs->hot[id].live == 0)
			births_dead(bs, id, pos);
	}
	code_end(&bs->codes, c);
}

void births_gap(struct births *bs, uint64_t pos)
{
	for (int kind = 0; kind < CODE_KINDS; kind++)
		while (bs->codes.table[kind] != NULL)
			births_close(bs, kind, bs->codes.table[kind]->addr, pos);
}

void births_settle(struct births *bs, uint64_t pos)
{
	struct birth *b;

	while ((b = TAILQ_FIRST(&bs->waiting)) != NULL && !is_pending(b, pos)) {
		TAILQ_REMOVE(&bs->waiting, b, wait);
		birth_fold(bs, id_of(bs, b));
	}
}

/* A frame whose iseq has ended has had its last word. */
static bool has_frames(const struct births *bs, uint32_t id)
{
	const struct birth_key *k = &bs->hot[id].key;
	const struct birth *b = &bs->cold[id];

	return (k->iseq == 0 || b->code[BIRTH_ISEQ] != NULL) &&
	       (k->caller_iseq == 0 || b->code[BIRTH_CALLER] != NULL);
}

static void iseq_changed(void *arg, struct code *c)
{
	struct births *bs = arg;
	struct code_ref *ref;

	LIST_FOREACH(ref, &c->births, link)
	if (has_frames(bs, ref->birth))
		birth_name(bs, ref->birth);
}

void births_refresh(struct births *bs, size_t max, uint64_t pos)
{
	codes_trim(&bs->codes);
	codes_refresh(&bs->codes, max, pos, iseq_changed, bs);
}

/* -- figures --------------------------------------------------------------------------------- */

struct row *birth_row(struct births *bs, uint32_t id)
{
	const struct birth *b = &bs->cold[id];
	struct row_key key = b->row;

	if (b->code[BIRTH_CLASS] != NULL)
		key.klass = b->code[BIRTH_CLASS]->name;
	return rows_get(&bs->rows, &key);
}

struct row_figures birth_figures(const struct births *bs, uint32_t id)
{
	const struct birth_hot *h = &bs->hot[id];

	return (struct row_figures){
	    .allocated = h->allocated,
	    .freed = h->allocated - h->live - bs->cold[id].untracked,
	    .live = h->live,
	};
}

size_t births_memory(const struct births *bs)
{
	return bs->high * (sizeof(*bs->hot) + sizeof(*bs->cold) + sizeof(*bs->free)) +
	       HASH_OVERHEAD(hh, bs->table);
}
