#include "ruby/layout.h"

#include "ruby/layouts.h"

const struct ruby_layout *ruby_layout_find(uint32_t version)
{
	for (size_t i = 0; i < ruby_layouts_count; i++) {
		const struct ruby_layout *lay = &ruby_layouts[i];
		if (lay->from <= version && version < lay->until)
			return lay;
	}
	return NULL;
}
