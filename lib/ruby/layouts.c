#include "ruby/layouts.h"

#include "ruby/object.h"

/* clang-format off */

/* internal/imemo.h, enum imemo_type; 7 is iseq, which has a name of its own */
static const char *const imemo_names_3_0[] = {
	"env",	"cref", "svar", "throw_data",	  "ifunc",    "memo",	   "ment",
	"iseq", "tmpbuf", "ast", "parser_strterm", "callinfo", "callcache", "constcache",
	NULL,
};

const struct ruby_layout ruby_layouts[] = {
	{
		/* rb_vm_struct moves inside 3.1 (a field came between .2 and .7): of it, only the
		 * head is here, and the objspace pointer is derived from code. */
		.from = RUBY_VERSION_OF(3, 1, 0),
		.until = RUBY_VERSION_OF(3, 2, 0),
		.source = "DWARF of 3.1.2 and 3.1.7, x86-64; vm_core.h, gc.c, iseq.c, st.c",
		.agent = {
			.ec_vm_stack = 0,
			.ec_vm_stack_size = 8,
			.ec_cfp = 16,
			.ec_thread = 48,
			.cfp_pc = 0,
			.cfp_iseq = 16,
			.cfp_ep = 32,
			.cfp_size = 64,
			.iseq_body = 16,
			.body_pathobj = 64,
			.str_embed = 16,
			.str_ptr = 24,
			.str_len = 16,
			.ary_embed = 16,
			.ary_ptr = 32,
			.str_noembed = 1u << 13,
			.ary_embedded = 1u << 13,
			.type_mask = 31,
			.type_string = RT_STRING,
			.type_array = RT_ARRAY,
			.type_imemo = RT_IMEMO,
			.imemo_shift = 12,
			.imemo_mask = 15,
			.imemo_iseq = 7,
			.frame_cframe = 0x80,
		},
		.objspace = {
			.flags = 16,
			.total_allocated = 24,
			.heap_range = 288,
			.final_slots = 312,
			.major_gc_count = 392,
			.gc_count = 440,
			.total_freed = 448,
			.total_moved = 1080,
			.pools = 1,
			.mode_mask = 3,
		},
		.vm = {.ractor_count = 24, .main_ractor = 32},
		.ractor = {.running_ec = 520, .main_thread = 528},
		.thread = {.ec = 40, .tid = 88, .name = 352},
		.body = {
			.type = 0,
			.iseq_size = 4,
			.iseq_encoded = 8,
			.pathobj = 64,
			.base_label = 72,
			.label = 80,
			.first_lineno = 88,
			.lineno_fixnum = true,
			.insns_info_body = 120,
			.insns_info_size = 136,
			.succ_index_table = 144,
			.insn_info_size = 12,
			.parent_iseq = 168,
			.local_iseq = 176,
		},
		.str = {
			.noembed = 1u << 13,
			.embed = 16,
			.ptr = 24,
			.heap_len = 16,
			.embed_len_shift = 14,
			.embed_len_mask = 31,
		},
		.ary = {.embedded = 1u << 13, .embed = 16, .ptr = 32},
		.klass = {
			.super = 16,
			.ext = 24,
			.iv_tbl = 8,
			.singleton = 1u << 12,
			.word = 8,
		},
		.st = {
			.num_entries = 16,
			.entries_start = 32,
			.entries_bound = 40,
			.entries = 48,
			.entry_size = 24,
			.entry_key = 8,
			.entry_record = 16,
		},
		.heap = {.base_slot = 40, .page_align = 1u << 14, .page_slot_size = 0},
		.imemo_names = imemo_names_3_0,
		.leaf_pc_is_current = true,
	},
};

const size_t ruby_layouts_count = sizeof(ruby_layouts) / sizeof(ruby_layouts[0]);
