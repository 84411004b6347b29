/* How one exported function reaches the objspace: shared by the derivation and the site finders. */
#ifndef MEMPROF_RUBY_CODE_DERIVE_H
#define MEMPROF_RUBY_CODE_DERIVE_H

#include "code/text.h"

#include <stdbool.h>
#include <stdint.h>

struct vm_access {
	uint64_t var;  /* vaddr of the variable that points to the VM */
	uint64_t slot; /* vaddr of the GOT slot that holds var's address; 0: reached directly */
	int32_t vm_objspace;    /* offset of the objspace pointer in the VM */
	int32_t objspace_field; /* offset of the first field of the objspace that is read */
	bool tests_bit5;        /* what was read there is tested for bit 5, and no other */
};

/* Follow the exported function `symbol` from its entry to its first read of the objspace.
 * Returns 0, or -1 and e: ERR_UNSUPPORTED with the step that failed. */
int vm_access_derive(const struct text *t, const char *symbol, struct vm_access *ret,
		     struct err *e);

#endif
