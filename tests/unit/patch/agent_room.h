/*
 * The agent in our own process: its blob in a mapping laid out like the stub, over a Ruby made by
 * hand. Offsets are none of any real Ruby; the agent has to take them from its configuration.
 */
#ifndef MEMPROF_TESTS_PATCH_AGENT_ROOM_H
#define MEMPROF_TESTS_PATCH_AGENT_ROOM_H

#include "agent/abi.h"

#include <check.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

extern const uint8_t mp_blob[], mp_blob_end[];

enum { UNITS = 64, SLOTS = 64, FRAMES = 12 };
enum { T_STRING = 5, T_ARRAY = 7, T_IMEMO = 0x1a, IMEMO_ISEQ = 7, NOEMBED = 1 << 13,
       ARY_EMBED = 1 << 13, CFRAME = 0x80 };

struct slot { /* of the heap */
	uint64_t flags, klass, w[6];
};

struct frame_made {
	uint64_t pad, ep, pc, iseq, more[3]; /* ep 8, pc 16, iseq 24, size 56 */
};

struct room {
	struct slot *heap;	/* SLOTS of them, then a page that can't be touched */
	uint8_t *forbidden;	/* inside the heap's bounds */
	uint64_t heap_lo, heap_hi, gc_count;
	uint32_t ractors;
	uint64_t ec[8], *ec_now;
	struct frame_made frame[FRAMES]; /* the last one is the VM's dummy */
	uint64_t env_ruby[1], env_c[1];
	uint64_t body[4];
	struct mp_shm *shm;
	struct mp_ctl *ctl;
	struct mp_unit *ring;
	uint8_t *stub;
	struct mp_config *config;
	const struct mp_blob_head *head;
};

static const char *const internal_path = "<internal:kernel>";

static inline void room_config(struct room *r)
{
	*r->config = (struct mp_config){
	    .magic = MP_SHM_MAGIC,
	    .shm = (uintptr_t)r->shm,
	    .ctl = (uintptr_t)r->ctl,
	    .ring = (uintptr_t)r->ring,
	    .units = UNITS,
	    .lap_shift = 6,
	    .abi = MP_ABI_VERSION,
	    .stale_tsc = 1ull << 62,
	    .gc_count = (uintptr_t)&r->gc_count,
	    .ractors = (uintptr_t)&r->ractors,
	    .heap_lo = (uintptr_t)&r->heap_lo,
	    .heap_hi = (uintptr_t)&r->heap_hi,
	    .ec_global = (uintptr_t)&r->ec_now,
	    .ruby = {.ec_cfp = 16, .ec_vm_stack = 0, .ec_vm_stack_size = 8, .ec_thread = 40,
		     .cfp_pc = 16, .cfp_iseq = 24, .cfp_ep = 8, .cfp_size = sizeof(struct frame_made),
		     .iseq_body = 16, .body_pathobj = 8,
		     .str_embed = 24, .str_ptr = 24, .str_len = 16, .ary_embed = 16, .ary_ptr = 32,
		     .str_noembed = NOEMBED, .ary_embedded = ARY_EMBED, .type_mask = 0x1f,
		     .type_string = T_STRING, .type_array = T_ARRAY, .type_imemo = T_IMEMO,
		     .imemo_shift = 12, .imemo_mask = 15, .imemo_iseq = IMEMO_ISEQ,
		     .frame_cframe = CFRAME},
	};
}

static inline void *pages(size_t len, int prot)
{
	void *p = mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert(p != MAP_FAILED);
	return p;
}

static inline struct room *room_create(void)
{
	const size_t blob = (size_t)(mp_blob_end - mp_blob);
	struct room *r = pages(sizeof(*r), PROT_READ | PROT_WRITE);

	r->heap = pages(3 * 4096, PROT_READ | PROT_WRITE);
	r->forbidden = (uint8_t *)r->heap + 4096;
	ck_assert_uint_le(SLOTS * sizeof(struct slot), 4096);
	mprotect(r->forbidden, 2 * 4096, PROT_NONE);
	r->heap_lo = (uintptr_t)r->heap;
	r->heap_hi = (uintptr_t)r->heap + 2 * 4096; /* the third page lies behind the heap */
	r->gc_count = 0x10042;
	r->ractors = 1;
	r->env_c[0] = CFRAME | 0x1000;
	r->env_ruby[0] = 0x2000;
	r->ec_now = r->ec;
	r->ec[0] = (uintptr_t)r->frame; /* vm_stack; its last frame is not looked at */
	r->ec[1] = sizeof(r->frame) / 8;
	r->ec[2] = (uintptr_t)&r->frame[FRAMES - 1];
	r->ec[5] = 0x7f0000001000;
	r->shm = pages(MP_SHM_RING_OFF + UNITS * sizeof(struct mp_unit), PROT_READ | PROT_WRITE);
	r->ring = (struct mp_unit *)((uint8_t *)r->shm + MP_SHM_RING_OFF);
	r->ctl = pages(4096, PROT_READ | PROT_WRITE);
	r->ctl->enabled = 1;
	r->stub = pages(MP_STUB_AGENT + blob, PROT_READ | PROT_WRITE);
	r->config = (struct mp_config *)(r->stub + MP_STUB_CONFIG);
	memcpy(r->stub + MP_STUB_AGENT, mp_blob, blob);
	room_config(r);
	mprotect(r->stub + MP_STUB_AGENT, blob, PROT_READ | PROT_EXEC);
	r->head = (const struct mp_blob_head *)(r->stub + MP_STUB_AGENT);
	ck_assert_uint_eq(r->head->magic, MP_BLOB_MAGIC);
	ck_assert_uint_eq(r->head->size, blob);
	return r;
}

/* -- Ruby made by hand ----------------------------------------------------------------------- */

/* Push a frame: a Ruby frame of that iseq, or (iseq 0) a C frame. */
static inline void push_frame(struct room *r, uint64_t iseq, uint64_t pc)
{
	struct frame_made *f = (struct frame_made *)r->ec[2] - 1;

	ck_assert(f >= r->frame);
	f->ep = (uintptr_t)(iseq ? r->env_ruby : r->env_c);
	f->iseq = iseq;
	f->pc = pc;
	r->ec[2] = (uintptr_t)f;
}

static inline void pop_frames(struct room *r)
{
	r->ec[2] = (uintptr_t)&r->frame[FRAMES - 1];
}

static inline uint64_t slot_at(const struct room *r, size_t i)
{
	return (uintptr_t)&r->heap[i];
}

/* An iseq in slot i whose path object is `path`; body lies outside the heap, as malloc has it. */
static inline uint64_t make_iseq(struct room *r, size_t i, uint64_t *body, uint64_t path)
{
	body[1] = path;
	r->heap[i] = (struct slot){.flags = T_IMEMO | IMEMO_ISEQ << 12, .w = {(uintptr_t)body}};
	return slot_at(r, i);
}

static inline uint64_t make_embedded(struct room *r, size_t i, const char *text)
{
	ck_assert_uint_lt(strlen(text), sizeof(r->heap[i].w) - 8);
	r->heap[i] = (struct slot){.flags = T_STRING};
	memcpy(&r->heap[i].w[1], text, strlen(text) + 1);
	return slot_at(r, i);
}

static inline uint64_t make_string(struct room *r, size_t i, const char *text)
{
	r->heap[i] = (struct slot){.flags = T_STRING | NOEMBED, .w = {strlen(text), (uintptr_t)text}};
	return slot_at(r, i);
}

/* -- calling --------------------------------------------------------------------------------- */

/* All general registers but rsp, before and after; vector registers after. */
struct call {
	uint64_t r[16], flags; /* by the CPU's numbers; r[4] unused */
	uint64_t xmm[32];
};
_Static_assert(offsetof(struct call, flags) == 128 && offsetof(struct call, xmm) == 136, "asm");

void agent_call(struct call *c, const void *entry);
__asm__(".pushsection .text\n"
	"agent_call:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	push %rsi; push %rdi\n"
	".macro xmms op\n"
	"	.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	\\op \\n\n"
	"	.endr\n"
	".endm\n"
	".macro xload n\n	movdqu 136+16*\\n(%rdi),%xmm\\n\n.endm\n"
	".macro xstore n\n	movdqu %xmm\\n,136+16*\\n(%rdi)\n.endm\n"
	"	xmms xload\n"
	"	push 128(%rdi); popfq\n"
	"	mov 0(%rdi),%rax; mov 8(%rdi),%rcx; mov 16(%rdi),%rdx; mov 24(%rdi),%rbx\n"
	"	mov 40(%rdi),%rbp; mov 48(%rdi),%rsi; mov 64(%rdi),%r8; mov 72(%rdi),%r9\n"
	"	mov 80(%rdi),%r10; mov 88(%rdi),%r11; mov 96(%rdi),%r12; mov 104(%rdi),%r13\n"
	"	mov 112(%rdi),%r14; mov 120(%rdi),%r15; mov 56(%rdi),%rdi\n"
	"	call *8(%rsp)\n"
	"	pushfq; push %rdi; mov 16(%rsp),%rdi\n"
	"	mov %rax,0(%rdi); mov %rcx,8(%rdi); mov %rdx,16(%rdi); mov %rbx,24(%rdi)\n"
	"	mov %rbp,40(%rdi); mov %rsi,48(%rdi); mov %r8,64(%rdi); mov %r9,72(%rdi)\n"
	"	mov %r10,80(%rdi); mov %r11,88(%rdi); mov %r12,96(%rdi); mov %r13,104(%rdi)\n"
	"	mov %r14,112(%rdi); mov %r15,120(%rdi); pop 56(%rdi); pop 128(%rdi)\n"
	"	xmms xstore\n"
	"	pop %rdi; pop %rsi\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n.popsection\n");

/* Call a door with the object (and destination), every register full of its own pattern; all of
 * them have to come back. */
static inline void agent(struct room *r, enum mp_event ev, uint64_t obj, uint64_t to)
{
	struct call before = {.flags = 0x202}, c;

	for (size_t i = 0; i < 16; i++)
		before.r[i] = 0x0101010101010101 * (i + 1);
	for (size_t i = 0; i < 32; i++)
		before.xmm[i] = 0xfedcba9800000000 + i;
	before.r[7] = obj;
	before.r[6] = to;
	c = before;
	agent_call(&c, r->stub + MP_STUB_AGENT + r->head->entry[ev]);
	before.r[6] = c.r[6]; /* rsi, rdi and the arithmetic flags are the agent's */
	before.r[7] = c.r[7];
	ck_assert_mem_eq(c.r, before.r, sizeof(c.r));
	ck_assert_mem_eq(c.xmm, before.xmm, sizeof(c.xmm));
	ck_assert_uint_eq(c.flags & ~0x8d5ull, before.flags);
}

static inline void alloc(struct room *r, uint64_t obj)
{
	agent(r, MP_EV_ALLOC, obj, 0);
}

#endif
